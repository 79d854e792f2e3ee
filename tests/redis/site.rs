//! A ledger, and processes that share a Redis: here they are tasks, each with connections of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rocket_simplejwt::blacklist::{
    Blacklist as _, DatabaseBlacklist, Presented, RedisBlacklist, RedisOptions, Revocable,
};
use rocket_simplejwt::ledger::{Ledger, LedgerOptions, MigrateOptions, Retention};
use rocket_simplejwt::token::{Clock as _, Jti, SystemClock};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::database::TestDatabase;

/// How old what a process believes may be.
pub(crate) const BOUND: Duration = Duration::from_millis(800);

/// Within what time everything that must come about has.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Repeats a change until it is acknowledged. A machine that is busy may need that, and it does no harm.
macro_rules! acknowledged {
    ($change:expr) => {{
        let begun = std::time::Instant::now();
        while let Err(error) = $change.await {
            assert!(begun.elapsed() < crate::site::SOON, "{error}");
        }
    }};
}
pub(crate) use acknowledged;

/// A ledger of one's own.
pub(crate) struct Site {
    database: TestDatabase,
    _directory: TempDir,
    pub(crate) ledger: Ledger,
    pub(crate) direct: DatabaseBlacklist,
    url: String,
    prefix: String,
}

impl Site {
    /// One beside the Redis at this URL.
    pub(crate) async fn new(url: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = TestDatabase::new(directory.path());
        let ledger = open(&database, true);
        ledger.migrate(MigrateOptions::default()).await.expect("the tables");
        let direct = DatabaseBlacklist::new(ledger.clone(), Arc::new(SystemClock::default()));
        Self { database, _directory: directory, ledger, direct, url: url.to_owned(), prefix: "test".to_owned() }
    }

    fn options(&self) -> RedisOptions {
        let margin = TimeDelta::zero();
        let retention =
            Retention { margin, sliding_refresh_lifetime: TimeDelta::days(1), access_lifetime: TimeDelta::minutes(5) };
        RedisOptions {
            url: self.url.parse().expect("a URL"),
            prefix: self.prefix.clone(),
            poll_interval: Duration::from_millis(50),
            staleness_bound: BOUND,
            retention,
        }
    }

    /// A process with the ledger.
    pub(crate) fn process(&self) -> Process {
        let ledger = open(&self.database, false);
        Process::new(RedisBlacklist::new(ledger, self.options(), Arc::new(SystemClock::default())))
    }

    /// One that reaches Redis through another port.
    pub(crate) fn process_through(&self, port: u16) -> Process {
        let (rest, _) = self.url.rsplit_once(':').expect("a port");
        let options = RedisOptions { url: format!("{rest}:{port}").parse().expect("a URL"), ..self.options() };
        let ledger = open(&self.database, false);
        Process::new(RedisBlacklist::new(ledger, options, Arc::new(SystemClock::default())))
    }

    /// One that hardly ever asks the ledger what is new.
    pub(crate) fn process_that_polls_every(&self, poll_interval: Duration) -> Process {
        let options = RedisOptions { poll_interval, ..self.options() };
        let ledger = open(&self.database, false);
        Process::new(RedisBlacklist::new(ledger, options, Arc::new(SystemClock::default())))
    }

    /// A process without it.
    pub(crate) fn process_without_ledger(&self) -> Process {
        Process::new(RedisBlacklist::without_ledger(self.options(), Arc::new(SystemClock::default())))
    }

    /// Revokes a token in the ledger, past every process.
    pub(crate) async fn revoke(&self, jti: &Jti) {
        acknowledged!(self.direct.register(&token(jti)));
    }
}

fn open(database: &TestDatabase, create: bool) -> Ledger {
    let url = database.url().parse().expect("a URL");
    Ledger::open(&LedgerOptions { create, ..LedgerOptions::new(url) }).expect("a ledger")
}

pub(crate) fn now() -> DateTime<Utc> {
    SystemClock::default().now()
}

/// A token that expires in an hour.
pub(crate) fn token(jti: &Jti) -> Revocable {
    Revocable::Token { jti: jti.clone(), until: now() + TimeDelta::hours(1) }
}

pub(crate) fn presented(jti: &Jti) -> Presented<'_> {
    Presented { jti, session: None, issued_at: Some(now().timestamp()), user: Some("ada") }
}

/// A process, as far as its blacklist is concerned.
pub(crate) struct Process {
    pub(crate) blacklist: RedisBlacklist,
    following: JoinHandle<()>,
}

impl Process {
    fn new(blacklist: RedisBlacklist) -> Self {
        let follower = blacklist.clone();
        Self { blacklist, following: tokio::spawn(async move { follower.follow().await }) }
    }

    /// Waits until it believes Redis.
    pub(crate) async fn believing(self) -> Self {
        self.believes_again().await;
        self
    }

    pub(crate) async fn believes_again(&self) {
        eventually("it believes Redis", || self.blacklist.state().believed).await;
    }

    /// Whether it refuses the token.
    pub(crate) async fn refuses(&self, jti: &Jti) -> bool {
        self.blacklist.is_blacklisted(presented(jti)).await.expect("an answer")
    }

    /// Whether it refuses the token, by Redis.
    pub(crate) async fn refuses_by_redis(&self, jti: &Jti) -> bool {
        let begun = Instant::now();
        loop {
            let before = self.blacklist.answers();
            let refused = self.refuses(jti).await;
            if self.blacklist.answers() > before {
                return refused;
            }
            assert!(begun.elapsed() < SOON, "Redis is not believed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Revokes a new token in the way of a request, and checks that it is refused here from then on.
    pub(crate) async fn revoke(&self) -> Jti {
        let jti = Jti::random();
        acknowledged!(self.blacklist.register(&token(&jti)));
        assert!(self.refuses(&jti).await, "the process that acknowledged accepts it");
        jti
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.following.abort();
    }
}

pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Presents tokens that are revoked to a process, again and again, until it is asked what came of it.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn over(process: &Process, revoked: &[Jti]) -> Self {
        let (stop, accepted, asked): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let task = |offset: usize| {
            let (stop, accepted, asked) = (Arc::clone(&stop), Arc::clone(&accepted), Arc::clone(&asked));
            let (blacklist, revoked) = (process.blacklist.clone(), revoked.to_vec());
            tokio::spawn(async move {
                for jti in revoked.iter().cycle().skip(offset) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    // An error is a refusal too.
                    if matches!(blacklist.is_blacklisted(presented(jti)).await, Ok(false)) {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::task::yield_now().await;
                }
            })
        };
        let tasks = (0..4).map(|number| task(number * 17)).collect();
        Self { stop, accepted, asked, tasks }
    }

    /// Fails if any of them was ever accepted.
    pub(crate) async fn found_nothing(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a task that ended well");
        }
        let (accepted, asked) = (self.accepted.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed));
        assert!(asked > 20, "only asked {asked} times");
        assert_eq!(accepted, 0, "revoked tokens were accepted, of {asked} questions");
    }
}

/// So many tokens, revoked by a process, and so long ago that every other must know it.
pub(crate) async fn revoked(process: &Process, number: usize) -> Vec<Jti> {
    let mut all = Vec::new();
    for _ in 0..number {
        all.push(process.revoke().await);
    }
    tokio::time::sleep(BOUND).await;
    all
}
