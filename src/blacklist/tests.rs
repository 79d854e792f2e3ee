//! Every blacklist does what each must, over the database that the tests run on.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;

use super::follower::Round;
use super::*;
use crate::ledger::tests::Test;
use crate::ledger::{Actor, Retention, Revocation, RevokeItem, Via};
use crate::token::{Clock as _, Jti, ManualClock, SystemClock};

fn options() -> CacheOptions {
    let day = TimeDelta::days(1);
    CacheOptions {
        poll_interval: Duration::from_millis(20),
        staleness_bound: Duration::from_secs(60),
        when_stale: WhenStale::Refuse,
        retention: Retention { margin: TimeDelta::zero(), sliding_refresh_lifetime: day, access_lifetime: day },
    }
}

fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::default())
}

#[tokio::test]
async fn the_one_that_nothing_feeds() {
    testing::conforms(&InMemoryBlacklist::default()).await;
}

#[tokio::test]
async fn the_one_that_nothing_feeds_forgets_what_is_over() {
    let start = clock().now();
    let clock = Arc::new(ManualClock::at(start));
    let blacklist = InMemoryBlacklist::new(Arc::<ManualClock>::clone(&clock));
    let register = async |minutes| {
        let (jti, until) = (Jti::random(), start + TimeDelta::minutes(minutes));
        blacklist.register(&Revocable::Token { jti: jti.clone(), until }).await.unwrap();
        jti
    };
    let refuses = async |jti| {
        let token = Presented { jti, session: None, issued_at: None, user: None };
        blacklist.is_blacklisted(&token).await.unwrap()
    };
    let (soon, late) = (register(1).await, register(600).await);
    assert!(refuses(&soon).await && refuses(&late).await);
    clock.advance(3 * 3600);
    register(600).await;
    assert!(!refuses(&soon).await && refuses(&late).await);
}

#[tokio::test]
async fn the_database() {
    let test = Test::new().await;
    testing::conforms(&DatabaseBlacklist::new(test.ledger.clone(), clock())).await;
}

#[tokio::test]
async fn the_one_in_memory_while_nobody_follows() {
    let test = Test::new().await;
    testing::conforms(&CachedBlacklist::new(test.ledger.clone(), options(), clock())).await;
}

#[tokio::test]
async fn the_one_in_memory() {
    let test = Test::new().await;
    let blacklist = CachedBlacklist::new(test.ledger.clone(), options(), clock());
    let trial = async {
        blacklist.loaded_within(Duration::from_secs(10)).await;
        testing::conforms(&blacklist).await;
        assert!(blacklist.state().entries > 0, "the index answered, and not the database");
    };
    tokio::select! {
        () = blacklist.follow() => unreachable!("it is followed until it is dropped"),
        () = trial => {}
    }
}

/// A store that knows single tokens, takes nothing back, and can be away.
#[derive(Clone, Default)]
struct Few(Arc<Mutex<(HashSet<String>, bool)>>);

#[async_trait::async_trait]
impl Blacklist for Few {
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
        let Revocable::Token { jti, .. } = what else { return Err(BlacklistError::unsupported("sessions")) };
        let (names, away) = &mut *self.0.lock().unwrap();
        names.insert(jti.as_str().to_owned());
        if *away { Err(BlacklistError::of("away")) } else { Ok(()) }
    }

    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        let (names, away) = &*self.0.lock().unwrap();
        if *away { Err(BlacklistError::of("away")) } else { Ok(names.contains(token.jti.as_str())) }
    }
}

/// An application's store, told by the ledger's log of what is registered with the ledger.
struct Fed(Box<OwnBlacklist>, DatabaseBlacklist);

#[async_trait::async_trait]
impl Blacklist for Fed {
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.1.register(what).await?;
        self.0.catch_up().await
    }

    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        self.0.is_blacklisted(*token).await
    }

    async fn unregister(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.1.unregister(what).await?;
        self.0.catch_up().await
    }
}

impl Fed {
    fn new(test: &Test, store: impl Blacklist) -> Self {
        let own = OwnBlacklist::over(Arc::new(store), test.ledger.clone(), options(), clock());
        Self(Box::new(own), DatabaseBlacklist::new(test.ledger.clone(), clock()))
    }

    async fn while_followed(&self, trial: impl Future<Output = ()>) {
        let loaded = async {
            self.0.loaded_within(Duration::from_secs(10)).await;
            trial.await;
        };
        tokio::select! {
            () = self.0.follow() => unreachable!("it is followed until it is dropped"),
            () = loaded => {}
        }
    }
}

#[tokio::test]
async fn a_store_of_the_applications_own() {
    let test = Test::new().await;
    let fed = Fed::new(&test, InMemoryBlacklist::default());
    fed.while_followed(testing::conforms(&fed)).await;
}

#[tokio::test]
async fn what_a_store_cannot_hold_is_held_beside_it_and_what_it_does_not_take_is_not_acknowledged() {
    let test = Test::new().await;
    let (few, clock) = (Few::default(), clock());
    let fed = Fed::new(&test, few.clone());
    let until = clock.now() + TimeDelta::hours(1);
    let (before, jti, late, session) =
        (Jti::random(), Jti::random(), Jti::random(), crate::token::SessionId::starting_at(5));
    let token = |jti: &Jti| Revocable::Token { jti: jti.clone(), until };
    let asked = |jti, session| Presented { jti, session, issued_at: None, user: None };
    // By the ledger alone, as another process would.
    fed.1.register(&token(&before)).await.unwrap();
    fed.while_followed(async {
        assert!(fed.is_blacklisted(&asked(&before, None)).await.unwrap(), "it was there before the store was followed");
        fed.register(&token(&jti)).await.unwrap();
        assert!(few.0.lock().unwrap().0.contains(jti.as_str()), "the store was told");
        fed.register(&Revocable::Session { id: session, until }).await.unwrap();
        assert!(
            fed.is_blacklisted(&asked(&late, Some(session))).await.unwrap(),
            "the session is held beside the store"
        );
        // Nor can it take anything back: it goes on refusing.
        fed.unregister(&token(&jti)).await.unwrap();
        assert!(fed.is_blacklisted(&asked(&jti, None)).await.unwrap());

        few.0.lock().unwrap().1 = true;
        assert!(fed.is_blacklisted(&asked(&before, None)).await.is_err(), "an error is not \"no\"");
        assert!(fed.register(&token(&late)).await.is_err(), "the store has not taken it");
        few.0.lock().unwrap().1 = false;
        // It is in the ledger, so that the store is told again.
        let told = async {
            while !fed.is_blacklisted(&asked(&late, None)).await.is_ok_and(|refused| refused) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("the store is told in the end");
        assert!(few.0.lock().unwrap().0.contains(late.as_str()));
    })
    .await;
}

/// What only the store refuses, of which the ledger has never heard.
#[tokio::test]
async fn what_only_the_store_refuses_is_refused_also_where_the_ledger_is_asked() {
    let test = Test::new().await;
    let (store, clock) = (InMemoryBlacklist::default(), clock());
    let own = |when_stale, bound| {
        let options = CacheOptions { when_stale, staleness_bound: Duration::from_millis(bound), ..options() };
        OwnBlacklist::over(Arc::new(store.clone()), test.ledger.clone(), options, Arc::<SystemClock>::clone(&clock))
    };
    let (jti, other) = (Jti::random(), Jti::random());
    store.register(&Revocable::Token { jti: jti.clone(), until: clock.now() + TimeDelta::hours(1) }).await.unwrap();
    let asked = |jti| Presented { jti, session: None, issued_at: None, user: None };
    // Nobody follows.
    let idle = own(WhenStale::Refuse, 60_000);
    assert!(idle.is_blacklisted(asked(&jti)).await.unwrap());
    assert!(!idle.is_blacklisted(asked(&other)).await.unwrap());
    // Nothing is ever fresh enough.
    let stale = own(WhenStale::AskLedger, 0);
    let trial = async {
        stale.loaded_within(Duration::from_secs(10)).await;
        assert!(stale.is_blacklisted(asked(&jti)).await.unwrap());
        assert!(!stale.is_blacklisted(asked(&other)).await.unwrap());
        assert!(!stale.state().believed, "the ledger was asked");
    };
    tokio::select! {
        () = stale.follow() => unreachable!("it is followed until it is dropped"),
        () = trial => {}
    }
}

/// A store that panics as often as it is told.
#[derive(Clone, Default)]
struct Panics(InMemoryBlacklist, Arc<AtomicUsize>);

impl Panics {
    fn maybe(&self) {
        let left = self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "a fault of the application's");
    }
}

#[async_trait::async_trait]
impl Blacklist for Panics {
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.maybe();
        self.0.register(what).await
    }

    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        self.0.is_blacklisted(token).await
    }
}

#[tokio::test]
async fn a_store_that_panics_is_told_again() {
    let test = Test::new().await;
    let panics = Panics::default();
    let fed = Fed::new(&test, panics.clone());
    let (jti, until) = (Jti::random(), clock().now() + TimeDelta::hours(1));
    fed.while_followed(async {
        panics.1.store(3, Ordering::SeqCst);
        let registered = fed.register(&Revocable::Token { jti: jti.clone(), until }).await;
        assert!(registered.is_err(), "the store has not taken it");
        let told = async {
            let asked = Presented { jti: &jti, session: None, issued_at: None, user: None };
            while !fed.is_blacklisted(&asked).await.is_ok_and(|refused| refused) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("the store is told in the end");
        let asked = Presented { jti: &jti, session: None, issued_at: None, user: None };
        assert!(panics.0.is_blacklisted(&asked).await.unwrap(), "the store itself");
    })
    .await;
}

/// A store that takes its time.
#[derive(Clone, Default)]
struct Slow(InMemoryBlacklist, Arc<AtomicUsize>);

#[async_trait::async_trait]
impl Blacklist for Slow {
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.register(what).await
    }

    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        self.0.is_blacklisted(token).await
    }
}

#[tokio::test]
async fn a_slow_store_is_compared_without_anybody_waiting_for_it() {
    const ROWS: usize = 2000;
    let test = Test::new().await;
    let clock = clock();
    let (at, slow) = (clock.now(), Slow::default());
    let item = |_| RevokeItem {
        jti: Jti::random(),
        kind: None,
        session: None,
        user: None,
        expires_at: at + TimeDelta::hours(1),
        keep_until: at + TimeDelta::hours(1),
        session_keep_until: at + TimeDelta::hours(1),
        token_known: false,
    };
    let actor = Actor { who: "test".to_owned(), via: Via::Library, address: None };
    let items = (0..ROWS).map(item).collect();
    test.ledger.revoke(Revocation { items, reason: None, actor, ends_session: true, at }).await.unwrap();
    let options = CacheOptions { staleness_bound: Duration::from_secs(1), ..options() };
    let own = OwnBlacklist::over(Arc::new(slow.clone()), test.ledger.clone(), options, clock);
    let trial = async {
        own.loaded_within(Duration::from_secs(60)).await;
        let (before, jti) = (slow.1.load(Ordering::SeqCst), Jti::random());
        assert!(before >= ROWS, "it was told everything");
        let (mut round, done) = (Round::default(), AtomicBool::new(false));
        let compared = async {
            for _ in 0..6 {
                own.compare(&mut round).await.unwrap();
            }
            done.store(true, Ordering::SeqCst);
        };
        let asked = async {
            while !done.load(Ordering::SeqCst) {
                let asked = Presented { jti: &jti, session: None, issued_at: Some(i64::MAX / 1000), user: None };
                assert!(!own.is_blacklisted(asked).await.expect("it is never too old"));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::join!(compared, asked);
        assert!(slow.1.load(Ordering::SeqCst) > before + 100, "it was told again");
    };
    tokio::select! {
        () = own.follow() => unreachable!("it is followed until it is dropped"),
        () = trial => {}
    }
}

/// A list that an application keeps.
#[derive(Clone, Default)]
struct List(Arc<Mutex<(Vec<Revocable>, bool)>>);

#[async_trait::async_trait]
impl Source for List {
    async fn get_blacklisted(&self, _: Option<i64>) -> Result<Blacklisted, BlacklistError> {
        let (all, away) = &*self.0.lock().unwrap();
        if *away { Err(BlacklistError::of("away")) } else { Ok(Blacklisted::everything(all.clone())) }
    }
}

#[tokio::test]
async fn a_list_of_the_applications_own_is_read_before_the_first_answer_and_again_and_again() {
    let (list, clock) = (List::default(), clock());
    let until = clock.now() + TimeDelta::hours(1);
    let source = SourceBlacklist::new(
        Arc::new(list.clone()),
        Duration::from_millis(10),
        Duration::from_millis(300),
        Arc::<SystemClock>::clone(&clock),
    );
    let jtis = [(); 3].map(|()| Jti::random());
    let asked = |number: usize| Presented { jti: &jtis[number], session: None, issued_at: None, user: None };
    let add = |number: usize| list.0.lock().unwrap().0.push(Revocable::Token { jti: jtis[number].clone(), until });
    add(0);
    assert!(source.is_blacklisted(asked(0)).await.unwrap(), "nobody follows it: it is asked at once");
    list.0.lock().unwrap().1 = true;
    assert!(source.is_blacklisted(asked(0)).await.is_err(), "it cannot be asked");
    list.0.lock().unwrap().1 = false;
    let trial = async {
        add(1);
        let seen = async {
            while !source.is_blacklisted(asked(1)).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect("it is read again");
        assert!(!source.is_blacklisted(asked(2)).await.unwrap());
        list.0.lock().unwrap().1 = true;
        let stale = async {
            while source.is_blacklisted(asked(2)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), stale).await.expect("what is too old decides nothing");
    };
    tokio::select! {
        () = source.follow() => unreachable!("it is followed until it is dropped"),
        () = trial => {}
    }
}

/// A list that hangs, or panics, when it is asked for the first times.
#[derive(Clone, Default)]
struct Stubborn(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl Source for Stubborn {
    async fn get_blacklisted(&self, _: Option<i64>) -> Result<Blacklisted, BlacklistError> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => std::future::pending().await,
            1 => panic!("a fault of the application's"),
            _ => Ok(Blacklisted::everything([])),
        }
    }
}

#[tokio::test]
async fn a_list_that_hangs_or_panics_is_asked_again() {
    let (list, interval) = (Stubborn::default(), Duration::from_millis(10));
    let source = SourceBlacklist::new(Arc::new(list.clone()), interval, Duration::from_secs(60), clock());
    let source = source.waiting(Duration::from_millis(50));
    let jti = Jti::random();
    let trial = async {
        // Not before it is followed, as it would be asked by this.
        while list.0.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let asked = Presented { jti: &jti, session: None, issued_at: None, user: None };
        assert!(!source.is_blacklisted(asked).await.unwrap());
    };
    let trial = tokio::time::timeout(Duration::from_secs(20), trial);
    tokio::select! {
        () = source.follow() => unreachable!("it is followed until it is dropped"),
        done = trial => done.expect("it is asked again"),
    }
}
