//! What keeps a copy as the ledger is.

use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::compare::Round;
use super::{Copied, FOLLOWING, Follower, IDLE, LOADING};
use crate::blacklist::BlacklistError;
use crate::blacklist::feed::Watch;
use crate::blacklist::freshness::now;
use crate::chain::chain;
use crate::ledger::{LedgerError, Position, Pull};
#[cfg(feature = "mutants")]
use crate::mutant::{self, Mutant};
use crate::token::Change;

/// How many rows of the log are read at once.
const ROWS: i64 = 5000;

/// How long to wait after a failure, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a long load says how far it is, and a long outage that it goes on.
const TOLD: Duration = Duration::from_secs(5);

/// Puts the blacklist back to asking the ledger, however whoever followed the log came to its end.
struct Following<'a>(&'a AtomicU8);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.store(IDLE, Ordering::Release);
    }
}

impl<C: Copied> Follower<C> {
    /// Loads the copy and follows the log, until this is dropped: from then on the ledger is asked again.
    pub(crate) async fn follow(&self) {
        if self.stage.compare_exchange(IDLE, LOADING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            log::error!("somebody follows the log of this blacklist already");
            return;
        }
        let _following = Following(&self.stage);
        #[cfg(feature = "mutants")]
        if mutant::is(Mutant::ServeBeforeLoad) {
            self.freshness.note(now(), 0);
            self.stage.store(FOLLOWING, Ordering::Release);
        }
        // Before the load, so that nothing is believed that a log without triggers tells.
        let looked = self.mend().await;
        self.load_first().await;
        let woken = || {
            self.tally.woken();
            self.woken.notify_one();
        };
        let watch = Watch::new(is_soon(&looked));
        tokio::join!(self.keep_up(), self.keep_house(watch), self.keep_writing_back(), self.ledger.listen(woken));
    }

    /// Waits until the copy answers, for so long at most.
    pub(crate) async fn loaded_within(&self, most: Duration) {
        let end = Instant::now() + most;
        while self.stage.load(Ordering::Acquire) != FOLLOWING && Instant::now() < end {
            let loaded = self.updated.notified();
            let _ = tokio::time::timeout(Duration::from_millis(20), loaded).await;
        }
    }

    /// Pulls what is new, again and again.
    async fn keep_up(&self) {
        let (mut pause, mut told) = (AGAIN.0, None::<Instant>);
        loop {
            match self.pull_in_turn().await {
                Ok(()) => {
                    (pause, told) = (AGAIN.0, None);
                    // Whether anybody says so or not, it looks.
                    let _ = tokio::time::timeout(self.options.poll_interval, self.woken.notified()).await;
                }
                Err(error) => {
                    self.tally.failed();
                    if told.is_none_or(|at| at.elapsed() >= TOLD) {
                        told = Some(Instant::now());
                        log::warn!("the blacklist in memory is not up to date: {}", chain(&error));
                    }
                    tokio::time::sleep(pause.min(self.options.poll_interval)).await;
                    pause = AGAIN.1.min(pause * 2);
                }
            }
        }
    }

    /// Pulls what is new, and answers from then on. Whoever waits to pull meanwhile sees that it does.
    async fn pull_in_turn(&self) -> Result<(), BlacklistError> {
        let mut position = self.position.lock().await;
        self.pull(&mut position).await?;
        self.stage.store(FOLLOWING, Ordering::Release);
        Ok(())
    }

    /// Drops what is over, looks at what feeds the log, and compares a part with the ledger, each minute. What feeds the log also
    /// at once, when something was missed.
    async fn keep_house(&self, mut watch: Watch) {
        let mut round = Round::default();
        loop {
            let everything = watch.next(&self.feed).await;
            let looked = self.mend().await;
            if everything {
                self.copy.expire(self.clock.now());
                if let Err(error) = self.compare(&mut round).await {
                    log::warn!("the blacklist in memory cannot be compared with the ledger: {}", chain(&error));
                }
            }
            watch.done(everything, is_soon(&looked)).await;
        }
    }

    async fn load_first(&self) {
        let (mut pause, begun) = (AGAIN.0, Instant::now());
        loop {
            match self.load().await {
                Ok(position) => {
                    *self.position.lock().await = Some(position);
                    let (rows, took) = (self.loaded.load(Ordering::Relaxed), begun.elapsed());
                    log::info!("the blacklist is loaded: {rows} rows in {:.1} s", took.as_secs_f64());
                    return;
                }
                Err(error) => {
                    log::error!("the blacklist cannot be loaded yet: {}", chain(&error));
                    tokio::time::sleep(pause).await;
                    pause = AGAIN.1.min(pause * 2);
                }
            }
        }
    }

    /// Takes in everything that the ledger refuses, beside what is in the index already: nothing leaves it because the ledger
    /// does not know it any more.
    pub(super) async fn load(&self) -> Result<Position, BlacklistError> {
        let sink = |changes: Vec<Change>, rows: u64| {
            self.loaded.store(rows, Ordering::Relaxed);
            self.copy.take(changes)
        };
        let mut loading = pin!(self.ledger.load_revocations(self.clock.now(), self.options.retention, sink));
        let loaded: Result<Position, BlacklistError> = loop {
            // Also where it is the database that makes it wait.
            match tokio::time::timeout(TOLD, &mut loading).await {
                Ok(loaded) => break loaded,
                Err(_) => log::info!("loading the blacklist: {} rows so far", self.loaded.load(Ordering::Relaxed)),
            }
        };
        if let Ok(position) = &loaded {
            self.divergence.read_from(&position.generation);
        }
        loaded
    }

    /// Reads what is new in the log, to its end.
    pub(super) async fn pull(&self, position: &mut Option<Position>) -> Result<(), BlacklistError> {
        self.pull_and_tell(position, |_| {}).await
    }

    /// The same, and tells somebody what has changed, or with nothing that everything was loaded.
    pub(super) async fn pull_and_tell(
        &self,
        position: &mut Option<Position>,
        mut told: impl FnMut(Option<&[Change]>),
    ) -> Result<(), BlacklistError> {
        // Before the question, so that the index is never thought fresher than it is.
        let asked = now();
        loop {
            let from = match position.as_ref() {
                Some(from) => from,
                None => {
                    told(None);
                    position.insert(self.load().await?)
                }
            };
            let pull = self.ledger.revocations_since(from, self.options.retention, ROWS).await;
            match pull? {
                Pull::Changes { changes, position: next, more } => {
                    told(Some(&changes));
                    self.copy.take(changes).await?;
                    let sequence = next.seq;
                    let read = position.insert(next);
                    if !more {
                        self.divergence.read_from(&read.generation);
                        self.freshness.note(asked, sequence);
                        // Where everything had to be loaded, it was.
                        self.feed.loaded();
                        self.tally.pulled(self.clock.now());
                        self.updated.notify_waiters();
                        return Ok(());
                    }
                }
                Pull::Reload(why) => {
                    log::warn!("the blacklist is loaded anew: {why}");
                    self.tally.reloaded();
                    told(None);
                    *position = if why.may_have_lost() { Some(self.went_back(from, why).await?) } else { None };
                }
            }
        }
    }

    /// Puts back what feeds the log, where it was lost.
    async fn mend(&self) -> Result<(), LedgerError> {
        let looked = self.feed.look(&self.ledger, &self.tally).await;
        match looked {
            Ok(false) => {}
            Ok(true) => {
                let mut position = self.position.lock().await;
                *position = None;
                self.feed.loads();
                drop(position);
                self.woken.notify_one();
            }
            Err(ref error) => {
                log::warn!("whether revocations are told to every process cannot be seen: {}", chain(error));
            }
        }
        looked.map(drop)
    }
}

/// Whether a look at what feeds the log failed for a reason that may pass.
fn is_soon(looked: &Result<(), LedgerError>) -> bool {
    looked.as_ref().is_err_and(LedgerError::is_transient)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::{DateTime, TimeDelta, Utc};

    use crate::blacklist::{CacheOptions, CachedBlacklist, Presented, WhenStale};
    use crate::ledger::{
        Actor, Grace, Ledger, LedgerOptions, MigrateOptions, NewRecord, NewSession, Retention, Revocation, RevokeItem,
        Rotation, Via,
    };
    use crate::token::{Clock as _, Jti, SessionId, SystemClock, TokenKind};

    use super::*;

    const DAY: TimeDelta = TimeDelta::days(1);

    fn record(session: SessionId, parent: Option<Jti>, at: DateTime<Utc>) -> NewRecord {
        NewRecord {
            jti: Jti::random(),
            kind: TokenKind::Refresh,
            session: Some(session),
            parent,
            user: None,
            created_at: at,
            expires_at: at + DAY,
            claims: serde_json::Map::new(),
            keep_until: at + DAY,
        }
    }

    /// A login that is renewed once, and whose session is then ended. Its session.
    async fn logged_out(ledger: &Ledger, at: DateTime<Utc>) -> SessionId {
        let id = SessionId::starting_at(u64::try_from(at.timestamp_millis()).unwrap());
        let session = NewSession {
            id,
            user: None,
            created_at: at,
            keep_until: at + DAY,
            address: None,
            user_agent: None,
            absolute_end: None,
            witness: None,
            limit: None,
        };
        let first = record(id, None, at);
        let old = first.jti.clone();
        ledger.record_login(session, first).await.unwrap();
        let new = record(id, Some(old.clone()), at);
        let jti = new.jti.clone();
        let rotation = Rotation {
            old,
            old_session: Some(id),
            old_expires_at: at + DAY,
            old_user: None,
            old_keep_until: at + DAY,
            accept_unknown: false,
            blacklist_old: true,
            access: None,
            grace: Grace::default(),
            session_keep_until: at + DAY,
            new,
            actor: Actor { who: "test".to_owned(), via: Via::Library, address: None },
            at,
        };
        ledger.rotate(rotation).await.unwrap();
        let item = RevokeItem {
            jti,
            kind: Some(TokenKind::Refresh),
            session: Some(id),
            user: None,
            expires_at: at + DAY,
            keep_until: at + DAY,
            session_keep_until: at + DAY,
            token_known: true,
        };
        revoke(ledger, vec![item], at).await;
        id
    }

    async fn revoke(ledger: &Ledger, items: Vec<RevokeItem>, at: DateTime<Utc>) {
        let actor = Actor { who: "token".to_owned(), via: Via::Http, address: None };
        ledger.revoke(Revocation { items, reason: None, actor, ends_session: true, at }).await.unwrap();
    }

    #[cfg(feature = "sqlite")]
    async fn cached(directory: &tempfile::TempDir) -> (Ledger, CachedBlacklist) {
        let url = format!("sqlite://{}", directory.path().join("tokens.sqlite3").display());
        let ledger = Ledger::open(&LedgerOptions { create: true, ..LedgerOptions::new(url.parse().unwrap()) }).unwrap();
        ledger.migrate(MigrateOptions::default()).await.unwrap();
        let options = CacheOptions {
            poll_interval: Duration::from_millis(20),
            staleness_bound: Duration::from_secs(60),
            when_stale: WhenStale::Refuse,
            retention: Retention { margin: TimeDelta::zero(), sliding_refresh_lifetime: DAY, access_lifetime: DAY },
        };
        (ledger.clone(), CachedBlacklist::new(ledger, options, Arc::new(SystemClock::default())))
    }

    /// The database of somebody else was in its place for a moment, and gone again before it could be loaded.
    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn our_database_is_known_again_where_nothing_had_to_be_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let (_, blacklist) = cached(&directory).await;
        let follower = blacklist.follower();
        follower.load_first().await;
        let ours = follower.position.lock().await.as_ref().unwrap().generation.clone();
        follower.divergence.set_foreign("somebody else's");
        follower.pull_in_turn().await.unwrap();
        assert!(follower.divergence.is_foreign(), "another one may be anybody's");
        follower.divergence.set_foreign(&ours);
        follower.pull_in_turn().await.unwrap();
        assert!(!follower.divergence.is_foreign());
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_is_compared_takes_nothing_back_that_came_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, blacklist) = cached(&directory).await;
        let at = SystemClock::default().now();
        // So that it takes a while to read everything.
        let others = (0..2000).map(|_| RevokeItem {
            jti: Jti::random(),
            kind: None,
            session: None,
            user: None,
            expires_at: at + DAY,
            keep_until: at + DAY,
            session_keep_until: at + DAY,
            token_known: false,
        });
        revoke(&ledger, others.collect(), at).await;
        let following = tokio::spawn({
            let blacklist = blacklist.clone();
            async move { blacklist.follow().await }
        });
        blacklist.loaded_within(Duration::from_secs(10)).await;
        let again = [(); 2].map(|()| {
            let blacklist = blacklist.clone();
            tokio::spawn(async move {
                let mut round = Round::default();
                loop {
                    blacklist.follower().compare(&mut round).await.unwrap();
                }
            })
        });
        let mut sessions = Vec::new();
        for _ in 0..200 {
            sessions.push(logged_out(&ledger, at).await);
            blacklist.catch_up().await.unwrap();
            for session in sessions.iter().rev().take(10) {
                let token = Presented { jti: &Jti::random(), session: Some(*session), issued_at: None, user: None };
                assert!(blacklist.is_blacklisted(token).await.unwrap(), "the session of a logout is forgotten again");
            }
        }
        let state = blacklist.state();
        assert_eq!((state.repaired, state.lost_rows), (0, 0), "nothing was missing on either side");
        following.abort();
        again.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
