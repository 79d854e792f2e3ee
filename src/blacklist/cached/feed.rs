//! What keeps the index as the ledger is.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::freshness::now;
use super::{CachedBlacklist, FOLLOWING, IDLE, Inner, LOADING};
use crate::blacklist::BlacklistError;
use crate::blacklist::index;
use crate::chain::chain;
use crate::ledger::{Change, LedgerError, Position, Pull};

/// How many rows of the log are read at once.
const ROWS: i64 = 5000;

/// How often what is over is dropped from the index, and what feeds the log is looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// How often everything is read once more.
const READ_AGAIN: Duration = Duration::from_secs(600);

/// How long to wait after a failure, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a long load says how far it is, and a long outage that it goes on.
const TOLD: Duration = Duration::from_secs(5);

/// Puts the blacklist back to asking the ledger, however whoever followed the log came to its end.
struct Following<'a>(&'a Inner);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.stage.store(IDLE, Ordering::Release);
    }
}

impl CachedBlacklist {
    /// Loads the index and follows the log, until this is dropped: from then on the ledger is asked again.
    pub async fn follow(&self) {
        let inner = &*self.inner;
        if inner.stage.compare_exchange(IDLE, LOADING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            log::error!("somebody follows the log of this blacklist already");
            return;
        }
        let _following = Following(inner);
        inner.load_first().await;
        tokio::join!(inner.keep_up(), inner.keep_house());
    }

    /// Waits until the index answers, for so long at most.
    pub async fn loaded_within(&self, most: Duration) {
        let end = Instant::now() + most;
        while self.inner.stage.load(Ordering::Acquire) != FOLLOWING && Instant::now() < end {
            let loaded = self.inner.updated.notified();
            let _ = tokio::time::timeout(Duration::from_millis(20), loaded).await;
        }
    }
}

impl Inner {
    /// Pulls what is new, again and again.
    async fn keep_up(&self) {
        let (mut pause, mut told) = (AGAIN.0, None::<Instant>);
        loop {
            let pulled = self.pull(&mut *self.position.lock().await).await;
            match pulled {
                Ok(()) => {
                    self.stage.store(FOLLOWING, Ordering::Release);
                    (pause, told) = (AGAIN.0, None);
                    tokio::time::sleep(self.options.poll_interval).await;
                }
                Err(error) => {
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

    /// Drops what is over, looks at what feeds the log, and reads everything once more.
    async fn keep_house(&self) {
        let mut read = Instant::now();
        loop {
            tokio::time::sleep(HOUSEKEEPING).await;
            self.index.expire(self.clock.now());
            self.mend().await;
            if read.elapsed() >= READ_AGAIN {
                read = Instant::now();
                if let Err(error) = self.read_again().await {
                    log::warn!("the blacklist in memory cannot be compared with the ledger: {}", chain(&error));
                }
            }
        }
    }

    /// Finds what triggers cannot tell of: rows that came while they were switched off, or in a way that passes them by.
    async fn read_again(&self) -> Result<(), BlacklistError> {
        let position = self.load().await.map_err(BlacklistError::of)?;
        // What changed while it was read may have been taken in before it. Nobody else pulls meanwhile, or of two answers about
        // the same token the older could be taken in last.
        let mut shared = self.position.lock().await;
        self.pull(&mut Some(position)).await?;
        // The load may have known more than that pull began with.
        self.pull(&mut shared).await
    }

    async fn load_first(&self) {
        let (mut pause, begun) = (AGAIN.0, Instant::now());
        loop {
            match self.load().await {
                Ok(position) => {
                    *self.position.lock().await = Some(position);
                    let (entries, took) = (self.index.size().entries, begun.elapsed());
                    log::info!("the blacklist is in memory: {entries} entries, loaded in {:.1} s", took.as_secs_f64());
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
    async fn load(&self) -> Result<Position, LedgerError> {
        let mut told = Instant::now();
        let sink = |changes: Vec<Change>, rows: u64| {
            self.index.apply(changes.into_iter().map(index::Change::from));
            self.loaded.store(rows, Ordering::Relaxed);
            if told.elapsed() >= TOLD {
                told = Instant::now();
                log::info!("loading the blacklist: {rows} rows so far");
            }
        };
        self.ledger.load_revocations(self.clock.now(), self.options.retention, sink).await
    }

    /// Reads what is new in the log, to its end.
    pub(super) async fn pull(&self, position: &mut Option<Position>) -> Result<(), BlacklistError> {
        // Before the question, so that the index is never thought fresher than it is.
        let asked = now();
        loop {
            let from = match position.as_ref() {
                Some(from) => from,
                None => position.insert(self.load().await.map_err(BlacklistError::of)?),
            };
            let pull = self.ledger.revocations_since(from, self.options.retention, ROWS).await;
            match pull.map_err(BlacklistError::of)? {
                Pull::Changes { changes, position: next, more } => {
                    self.index.apply(changes.into_iter().map(index::Change::from));
                    let sequence = next.seq;
                    *position = Some(next);
                    if !more {
                        self.freshness.note(asked, sequence);
                        self.updated.notify_waiters();
                        return Ok(());
                    }
                }
                Pull::Reload(why) => {
                    log::warn!("the blacklist is loaded anew: {why}");
                    *position = None;
                }
            }
        }
    }

    /// Puts back what feeds the log, where it was lost.
    async fn mend(&self) {
        match self.ledger.mend_log().await {
            Ok(faults) if faults.is_empty() => {}
            Ok(faults) => {
                for fault in faults {
                    log::warn!("{fault}; it was put back, and everything is loaded anew");
                }
                *self.position.lock().await = None;
            }
            Err(error) => log::warn!("whether revocations are told to every process cannot be seen: {}", chain(&error)),
        }
    }
}

impl From<Change> for index::Change {
    fn from(change: Change) -> Self {
        match change {
            Change::Token { jti, refused, until } => Self::Token { jti, refused, until },
            Change::Session { id, refused, until } => Self::Session { id, refused, until },
            Change::Cutoff { user, not_before, until } => {
                Self::Cutoff { user: user.map(|user| user.as_str().to_owned()), not_before, until }
            }
        }
    }
}
