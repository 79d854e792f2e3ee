//! The blacklist in memory: no input or output on a request.
//!
//! | file | what it holds |
//! |---|---|
//! | `feed` | loads the index from the ledger, and follows the ledger's log |
//! | `freshness` | how old the index is, by a clock that counts the time while the machine slept |

mod feed;
mod freshness;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::index::{Index, Question};
#[cfg(feature = "mutants")]
use super::mutant::{self, Mutant};
use super::{BlacklistError, DatabaseBlacklist, Presented};
use crate::ledger::{Ledger, Position, Retention};
use crate::token::Clock;
use freshness::{Freshness, Moment};

/// How a process follows what others revoke.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// How often the ledger is asked what is new.
    pub poll_interval: Duration,
    /// How old the index may be. Beyond it nothing is decided by it.
    pub staleness_bound: Duration,
    /// What happens beyond it.
    pub when_stale: WhenStale,
    /// How long what makes a token refused has to be remembered.
    pub retention: Retention,
}

/// What happens to a request while the index is older than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenStale {
    /// No answer: the request gets a 503.
    Refuse,
    /// The ledger is asked.
    AskLedger,
}

/// Answers from an index in memory, which follows the log of the ledger.
///
/// Until [`follow`](Self::follow) runs it asks the ledger each time, so that a handle by itself, without a server around it, is as
/// exact. While the index is loaded for the first time there is no answer.
#[derive(Clone, Debug)]
pub struct CachedBlacklist {
    inner: Arc<Inner>,
}

struct Inner {
    ledger: Ledger,
    database: DatabaseBlacklist,
    options: CacheOptions,
    index: Index,
    clock: Arc<dyn Clock>,
    stage: AtomicU8,
    freshness: Freshness,
    /// How many rows the first load has read.
    loaded: AtomicU64,
    /// Up to where the log was read. Whoever pulls holds it.
    position: Mutex<Option<Position>>,
    /// Tells whoever waits for it that the index was brought up to date.
    updated: Notify,
}

/// Nobody follows the log: the ledger is asked.
const IDLE: u8 = 0;
/// The index is being loaded.
const LOADING: u8 = 1;
/// The index answers while it is fresh.
const FOLLOWING: u8 = 2;

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedBlacklist").field("options", &self.options).finish_non_exhaustive()
    }
}

/// How the index stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheState {
    /// Whether it answers now.
    pub ready: bool,
    /// How many rows of the ledger its first load has read.
    pub loaded: u64,
    /// How many tokens, sessions and cutoffs are refused.
    pub entries: usize,
    /// The memory that they take.
    pub bytes: usize,
    /// How old it is: for how long a revocation of another process may be unknown here.
    pub lag: Duration,
    /// The last row of the log that was read.
    pub sequence: Option<i64>,
}

impl CachedBlacklist {
    /// An index of nothing yet, over a ledger.
    #[must_use]
    pub fn new(ledger: Ledger, options: CacheOptions, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            database: DatabaseBlacklist::new(ledger.clone()),
            ledger,
            options,
            index: Index::new(clock.now()),
            clock,
            stage: AtomicU8::new(IDLE),
            freshness: Freshness::default(),
            loaded: AtomicU64::new(0),
            position: Mutex::new(None),
            updated: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether the token must be refused: it was revoked, or its session has ended.
    ///
    /// # Errors
    /// [`BlacklistError`], where that cannot be told: the index is not loaded, or older than it may be. The token must be refused
    /// then, too.
    pub async fn is_blacklisted(&self, token: Presented<'_>) -> Result<bool, BlacklistError> {
        let inner = &*self.inner;
        match inner.stage.load(Ordering::Acquire) {
            FOLLOWING => {}
            LOADING => return Err(BlacklistError::of(Unloaded { rows: inner.loaded.load(Ordering::Relaxed) })),
            _ => return inner.database.is_blacklisted(token).await,
        }
        // The clock comes last: whoever was stopped after the look at the index must not answer by it.
        let asked = inner.freshness.asked();
        let refused = inner.index.refuses(&Question {
            jti: token.jti,
            session: token.session,
            issued_at: token.issued_at,
            user: token.user,
        });
        let age = asked.age();
        if age <= inner.options.staleness_bound && inner.freshness.is_enough(asked) {
            return Ok(refused);
        }
        match inner.options.when_stale {
            WhenStale::Refuse => Err(BlacklistError::of(Stale { age })),
            WhenStale::AskLedger => inner.database.is_blacklisted(token).await,
        }
    }

    /// Takes in what was committed before this was called, by whomever. After a revocation this is called before it is
    /// acknowledged, so that the process which acknowledged it refuses from then on.
    ///
    /// # Errors
    /// [`BlacklistError`], where the ledger cannot be asked. Nothing is decided by the index then, until it could be.
    pub async fn catch_up(&self) -> Result<(), BlacklistError> {
        #[cfg(feature = "mutants")]
        if mutant::is(Mutant::NoCatchUp) {
            return Ok(());
        }
        let inner = &*self.inner;
        let arrived = freshness::now();
        let caught_up = match inner.stage.load(Ordering::Acquire) {
            FOLLOWING => self.catch_up_with(arrived).await,
            // Whoever loads the index reads the log after that.
            LOADING => {
                inner.freshness.require(arrived);
                Ok(())
            }
            _ => Ok(()),
        };
        if caught_up.is_err() {
            inner.freshness.require(arrived);
        }
        caught_up
    }

    async fn catch_up_with(&self, arrived: Moment) -> Result<(), BlacklistError> {
        let inner = &*self.inner;
        // Whoever is at it may be loading everything anew.
        let waited = tokio::time::timeout(inner.options.staleness_bound, inner.position.lock()).await;
        let mut position = waited.map_err(|_| BlacklistError::of(Stale { age: inner.freshness.asked().age() }))?;
        // Somebody who waited here as well may have done it.
        if inner.freshness.is_later_than(arrived) {
            return Ok(());
        }
        inner.pull(&mut position).await
    }

    /// How the index stands.
    #[must_use]
    pub fn state(&self) -> CacheState {
        let inner = &*self.inner;
        let (size, asked) = (inner.index.size(), inner.freshness.asked());
        let lag = asked.age();
        let ready = match inner.stage.load(Ordering::Acquire) {
            FOLLOWING => {
                lag <= inner.options.staleness_bound && inner.freshness.is_enough(asked)
                    || inner.options.when_stale == WhenStale::AskLedger
            }
            LOADING => false,
            _ => true,
        };
        CacheState {
            ready,
            loaded: inner.loaded.load(Ordering::Relaxed),
            entries: size.entries,
            bytes: size.bytes,
            lag,
            sequence: inner.freshness.sequence(),
        }
    }
}

/// The index is loaded for the first time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the blacklist is being loaded: {rows} rows so far")]
struct Unloaded {
    rows: u64,
}

/// The index is older than it may be.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the blacklist in memory is {} ms old: the ledger does not tell what was revoked since", age.as_millis())]
struct Stale {
    age: Duration,
}
