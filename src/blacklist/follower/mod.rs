//! What keeps a copy of what the ledger refuses, and answers from it.
//!
//! | file | what it holds |
//! |---|---|
//! | `compare` | finds where copy and ledger do not agree, and mends it |
//! | `feed` | loads the copy from the ledger, and follows the ledger's log |

mod compare;
mod feed;
#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, Notify};

use super::feed::Feed;
use super::freshness::{self, Freshness, Moment};
use super::index::Size;
use super::seen::Seen;
use super::tally::Tally;
use super::{BlacklistError, DatabaseBlacklist, Presented};
use crate::ledger::{Ledger, Position, Retention};
#[cfg(feature = "mutants")]
use crate::mutant::{self, Mutant};
use crate::token::{Change, Clock, Revocable};
use compare::Divergence;
#[cfg(test)]
pub(super) use compare::Round;

/// How a process follows what others revoke.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// How often the ledger is asked what is new.
    pub poll_interval: Duration,
    /// How old the copy may be. Beyond it nothing is decided by it.
    pub staleness_bound: Duration,
    /// What happens beyond it.
    pub when_stale: WhenStale,
    /// How long what makes a token refused has to be remembered.
    pub retention: Retention,
}

/// What happens to a request while the copy is older than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenStale {
    /// No answer: the request gets a 503.
    Refuse,
    /// The ledger is asked.
    AskLedger,
}

/// A copy of what the ledger refuses.
pub(crate) trait Copied: Send + Sync + 'static {
    /// Whether it is in our memory, and has nothing but what the ledger told. What is the application's own may refuse what the
    /// ledger knows nothing of, and cannot be asked what it has.
    const IS_OURS: bool;

    /// Takes in how things stand now. To take in the same twice does no harm.
    fn take(&self, changes: Vec<Change>) -> impl Future<Output = Result<(), BlacklistError>> + Send;

    /// Whether it has the token as refused.
    fn refuses(&self, token: &Presented<'_>) -> impl Future<Output = Result<bool, BlacklistError>> + Send;

    /// Whether it has this as refused, or cannot tell.
    fn knows(&self, what: &Revocable) -> bool;

    /// What it has of a part of it that is kept beyond the hour of a moment. None after the last part, or where it cannot tell.
    fn part(&self, number: usize, after: DateTime<Utc>) -> Option<Vec<Revocable>>;

    /// Lets go of what is over.
    fn expire(&self, now: DateTime<Utc>);

    /// How much is in it, as far as this process can tell.
    fn size(&self) -> Size;
}

type Answer = Result<bool, BlacklistError>;

/// A copy, and what keeps it as the ledger is.
///
/// Until [`follow`](Self::follow) runs the ledger is asked each time, so that a handle by itself, without a server around it, is
/// as exact. While the copy is loaded for the first time there is no answer.
pub(crate) struct Follower<C> {
    ledger: Ledger,
    database: DatabaseBlacklist,
    options: CacheOptions,
    copy: C,
    clock: Arc<dyn Clock>,
    stage: AtomicU8,
    freshness: Freshness,
    seen: Seen,
    tally: Tally,
    /// How many rows the first load has read.
    loaded: AtomicU64,
    /// Up to where the log was read. Whoever pulls holds it.
    position: Mutex<Option<Position>>,
    divergence: Divergence,
    feed: Feed,
    /// Tells whoever waits for it that the copy was brought up to date.
    updated: Notify,
    /// Tells whoever pulls that there is something new.
    woken: Notify,
}

/// Nobody follows the log: the ledger is asked.
const IDLE: u8 = 0;
/// The copy is being loaded.
const LOADING: u8 = 1;
/// The copy answers while it is fresh.
const FOLLOWING: u8 = 2;

impl<C> fmt::Debug for Follower<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("options", &self.options).finish_non_exhaustive()
    }
}

/// How a copy of what the ledger refuses stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheState {
    /// Whether it answers now.
    pub ready: bool,
    /// Whether it does so by what it has; otherwise the ledger is asked each time.
    pub believed: bool,
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
    /// When the log was last read to its end.
    pub last_pull: Option<DateTime<Utc>>,
    /// How often it was.
    pub pulls: u64,
    /// How often it could not be read.
    pub failures: u64,
    /// How often everything had to be loaded anew.
    pub reloads: u64,
    /// How many triggers that feed the log were found wrong and put back.
    pub mended: u64,
    /// How often somebody said that there is something new.
    pub wake_ups: u64,
    /// How many revocations were found in the ledger that its log had not told of.
    pub repaired: u64,
    /// How many were found missing in the ledger, and written back.
    pub lost_rows: u64,
    /// How many triggers that feed the log are wrong, as far as this process can see, and could not be put back. The ledger is asked
    /// each time until they are.
    pub trigger_faults: usize,
    /// How often Redis has decided about a token; nothing where there is no Redis.
    pub answers: Option<u64>,
    /// How often it was asked, and could not be believed.
    pub disbelieved: Option<u64>,
}

impl<C: Copied> Follower<C> {
    /// A copy of nothing yet, over a ledger.
    pub(crate) fn new(ledger: Ledger, options: CacheOptions, copy: C, clock: Arc<dyn Clock>) -> Self {
        Self {
            database: DatabaseBlacklist::new(ledger.clone(), Arc::clone(&clock)),
            ledger,
            options,
            copy,
            clock,
            stage: AtomicU8::new(IDLE),
            freshness: Freshness::default(),
            seen: Seen::default(),
            tally: Tally::default(),
            loaded: AtomicU64::new(0),
            position: Mutex::new(None),
            divergence: Divergence::default(),
            feed: Feed::default(),
            updated: Notify::new(),
            woken: Notify::new(),
        }
    }

    /// Whether the token must be refused: it was revoked, or its session has ended.
    ///
    /// # Errors
    /// [`BlacklistError`], where that cannot be told: nothing is loaded, or it is older than it may be. The token must be refused
    /// then, too.
    pub(crate) async fn is_blacklisted(&self, token: Presented<'_>) -> Result<bool, BlacklistError> {
        match self.stage.load(Ordering::Acquire) {
            FOLLOWING => {}
            LOADING => return Err(BlacklistError::of(Unloaded { rows: self.loaded.load(Ordering::Relaxed) })),
            _ if C::IS_OURS => return self.ask_ledger(token).await,
            _ => return Ok(self.copy.refuses(&token).await? || self.ask_ledger(token).await?),
        }
        // The clock comes last: whoever was stopped after the look at the copy must not answer by it.
        let asked = self.freshness.asked();
        let refused = self.seen.refuses(token.jti, asked) || self.copy.refuses(&token).await?;
        // Not everything was told, at whatever age.
        if self.feed.is_broken() {
            return Ok(refused || self.ask_ledger(token).await?);
        }
        let age = asked.age();
        if age <= self.options.staleness_bound && self.freshness.is_enough(asked) {
            return Ok(refused);
        }
        match self.options.when_stale {
            _ if refused && !C::IS_OURS => Ok(true),
            WhenStale::Refuse => Err(BlacklistError::of(Stale { age })),
            WhenStale::AskLedger => self.ask_ledger(token).await,
        }
    }

    /// Boxed, so that the many futures that could come here have no room for it.
    fn ask_ledger<'a>(&'a self, token: Presented<'a>) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            let refused = self.database.is_blacklisted(token).await?;
            // Where nothing is copied, nothing will decide otherwise.
            if refused && self.stage.load(Ordering::Acquire) != IDLE {
                self.seen.note(token.jti, Some(self.freshness.asked()));
            }
            Ok(refused)
        })
    }

    /// Takes in what was committed before this was called, by whomever. After a revocation this is called before it is
    /// acknowledged, so that the process which acknowledged it refuses from then on.
    ///
    /// # Errors
    /// [`BlacklistError`], where the ledger cannot be asked. Nothing is decided by the copy then, until it could be.
    pub(crate) async fn catch_up(&self) -> Result<(), BlacklistError> {
        #[cfg(feature = "mutants")]
        if mutant::is(Mutant::NoCatchUp) {
            return Ok(());
        }
        let arrived = freshness::now();
        let caught_up = match self.stage.load(Ordering::Acquire) {
            FOLLOWING => self.catch_up_with(arrived).await,
            // Whoever loads the copy reads the log after that.
            LOADING => {
                self.freshness.require(arrived);
                Ok(())
            }
            _ => Ok(()),
        };
        if caught_up.is_err() {
            self.freshness.require(arrived);
        }
        caught_up
    }

    async fn catch_up_with(&self, arrived: Moment) -> Result<(), BlacklistError> {
        // Whoever is at it may be loading everything anew.
        let waited = tokio::time::timeout(self.options.staleness_bound, self.position.lock()).await;
        let mut position = waited.map_err(|_| BlacklistError::of(Stale { age: self.freshness.asked().age() }))?;
        // Somebody who waited here as well may have done it.
        if self.freshness.is_later_than(arrived) {
            return Ok(());
        }
        self.pull(&mut position).await
    }

    /// The ledger, while what it refuses is copied, and the copy is to decide.
    pub(crate) fn copied_ledger(&self) -> Option<&Ledger> {
        let asked_anyway = self.stage.load(Ordering::Acquire) == IDLE || self.feed.faults() > 0;
        (!asked_anyway).then_some(&self.ledger)
    }

    /// Whether the copy refuses the token, however old it is. Nothing, where that cannot be told.
    pub(crate) async fn holds(&self, token: &Presented<'_>) -> Option<bool> {
        if self.stage.load(Ordering::Acquire) != FOLLOWING {
            return None;
        }
        self.copy.refuses(token).await.ok()
    }

    /// Something was committed, and the log does not tell of it.
    pub(crate) fn missed(&self) {
        self.feed.missed();
    }

    /// How the copy stands.
    pub(crate) fn state(&self) -> CacheState {
        let (size, asked) = (self.copy.size(), self.freshness.asked());
        let lag = asked.age();
        let stage = self.stage.load(Ordering::Acquire);
        let (fed, in_time) = (!self.feed.is_broken(), lag <= self.options.staleness_bound);
        let fresh = fed && in_time && self.freshness.is_enough(asked);
        let ready = match stage {
            FOLLOWING => fresh || !fed || self.options.when_stale == WhenStale::AskLedger,
            LOADING => false,
            _ => true,
        };
        let [pulls, failures, reloads, mended, wake_ups] = self.tally.counts();
        CacheState {
            ready,
            believed: stage == FOLLOWING && fresh,
            loaded: self.loaded.load(Ordering::Relaxed),
            entries: size.entries,
            bytes: size.bytes,
            lag: self.freshness.age(),
            sequence: self.freshness.sequence(),
            last_pull: self.tally.last_pull(),
            pulls,
            failures,
            reloads,
            mended,
            wake_ups,
            repaired: self.divergence.repaired(),
            lost_rows: self.divergence.lost(),
            trigger_faults: self.feed.faults(),
            answers: None,
            disbelieved: None,
        }
    }
}

/// The copy is loaded for the first time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the blacklist is being loaded: {rows} rows so far")]
struct Unloaded {
    rows: u64,
}

/// The copy is older than it may be.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("what is known of revocations is {} ms old: the ledger does not tell what was revoked since", age.as_millis())]
struct Stale {
    age: Duration,
}
