//! The blacklist in Redis: one memory for many processes, which can only ever make us refuse more.
//!
//! | file | what it holds |
//! |---|---|
//! | `address` | where Redis is |
//! | `link` | the connection to it |
//! | `keys`, `store`, `*.lua` | what it holds, and the scripts that read and write it |
//! | `feed`, `load` | keep Redis as the ledger is |
//! | `trust` | whether what Redis says is believed |
//!
//! # Why a revoked token is not accepted
//!
//! Redis forgets: it is wiped, started again without its data, replaced by a copy that lacks the latest writes, or throws keys away.
//! So a key that is not there says nothing by itself. The *head* says how far the keys are: an epoch, a version and a position in
//! the log of the ledger. All keys are on one node, so that a script sees all of them as they are at one moment.
//!
//! **What the head says is true.** For every epoch and version: the keys refuse everything that the log of the ledger has up to the
//! head's position, as it stood when somebody read it after the version before was written.
//! - A step reads the head, then asks the ledger what changed since its position, then writes it with a script that does nothing
//!   unless epoch and version are still the same. So whatever was written before the last write was read before it, too: of two
//!   answers about one token the older never comes last, whether that is a revocation or its undoing, and whoever of several
//!   processes is faster. An answer that lies in a stopped Redis, or in a stopped process, for an hour is void when it arrives late.
//! - The position moves only with rows whose changes are in the same write, or in batches before it under the same guard. What waits
//!   in the inbox of MariaDB is written without moving it, so that it is read again once it has its place in the log.
//! - Everything is loaded under a new epoch, whose head says that it is being loaded: from then on nothing of the old epoch can be
//!   written, and nothing is believed before the last page is in. Others wait for whoever loads; if it says nothing for 15 s, one
//!   of them begins an epoch of its own, and the first one can write nothing any more. Keys are only added by a load. The log is
//!   then read from where the load began; or from where the old head was, if that is known, so that what was taken off the blacklist
//!   since is allowed again. What was taken off and is in no log any more stays refused until its end.
//! - Now and then one process adds everything once more, within the epoch. A page of it may be older than an undoing that others
//!   have written meanwhile, and refuse what is allowed; so the position then goes back to where that began. Never the other way
//!   round: a load takes nothing away.
//! - An epoch belongs to one run of one server, by the names that the server gives itself, and a script that finds another one writes
//!   nothing. So there are never two histories of one epoch: a copy that took over has a head of the past, which nobody moves.
//! - Keys end by the clock of Redis, two minutes after what they refuse. The head ends by the same clock, a minute after the last word
//!   of any process: a clock that jumps far enough to end a key early has ended the head before.
//! - Keys that are thrown away are counted by Redis. The count is in the head, and every check compares it.
//!
//! **What a process believes.** A step that came to the end of the log knows: all that was committed when it began (by a clock that goes
//! on while the machine sleeps, read before any question) is refused at this version. A check takes the answer of Redis only if
//! its head has that epoch and that version or a later one, is complete, and if that moment is no longer ago than the bound when
//! the answer has come. All else asks the ledger, or without a ledger is an error. So Redis is a cache of what each process has
//! confirmed for itself, no word of another process or of Redis is taken for it, and no clock but its own.
//!
//! **What an acknowledgement means.** The ledger has it; nothing else makes it durable. Whoever acknowledges has brought Redis up to date
//! before, or does not believe it until that could be done: it refuses the token from then on, either way. Others believe Redis
//! at most until their bound is over, and then ask the ledger. So a Redis that is out of reach delays no revocation and fails none.
//!
//! Whoever can write to our keys can allow a token: this defends against accidents, not against a Redis that lies with care.

mod address;
mod feed;
mod keys;
mod link;
mod load;
mod store;
mod trust;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, Notify};

pub use address::{RedisUrl, RedisUrlError};

use super::feed::Feed;
use super::freshness::{Moment, now};
use super::seen::Seen;
use super::tally::Tally;
use super::{Blacklist, BlacklistError, CacheState, DatabaseBlacklist, Presented, Revocable};
use crate::ledger::{Ledger, Retention};
use crate::token::Clock;
use keys::Keys;
use link::Link;
use store::Store;
use trust::Trust;

/// How the blacklist in Redis is used.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where Redis is.
    pub url: RedisUrl,
    /// What the names of all keys begin with. Nobody else may use it, and no other ledger.
    pub prefix: String,
    /// How often the ledger is asked what is new.
    pub poll_interval: Duration,
    /// How long ago this may have been. Beyond it Redis is not believed.
    pub staleness_bound: Duration,
    /// How long what makes a token refused has to be remembered.
    pub retention: Retention,
}

/// Answers from Redis, which several processes share and keep as the ledger is, and asks the ledger where Redis cannot be believed.
///
/// Until [`follow`](Self::follow) runs it asks the ledger each time.
#[derive(Clone, Debug)]
pub struct RedisBlacklist {
    inner: Arc<Inner>,
}

struct Inner {
    /// The truth, unless this process has none and relies on others.
    ledger: Option<Ledger>,
    /// How something is written there.
    database: Option<DatabaseBlacklist>,
    options: RedisOptions,
    store: Store,
    clock: Arc<dyn Clock>,
    stage: AtomicU8,
    trust: Trust,
    seen: Seen,
    link: ArcSwapOption<Link>,
    /// Whoever takes a step holds it.
    turn: Mutex<()>,
    /// Has the next step taken at once.
    wake: Notify,
    /// How many rows the last load has read.
    loaded: AtomicU64,
    tally: Tally,
    /// Whether the log tells of everything.
    triggers: Feed,
    /// Since when there is this.
    begun: Moment,
}

/// Nobody follows the log.
const IDLE: u8 = 0;
/// Somebody does.
const FOLLOWING: u8 = 1;

/// A future in a box, so that the many futures that could come here have no room for it, nor have to know what is in it.
type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How long a request waits for Redis.
const PATIENCE: Duration = Duration::from_millis(50);

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBlacklist").field("options", &self.options).finish_non_exhaustive()
    }
}

impl RedisBlacklist {
    /// One that keeps Redis as a ledger is.
    #[must_use]
    pub fn new(ledger: Ledger, options: RedisOptions, clock: Arc<dyn Clock>) -> Self {
        Self::over(Some(ledger), options, clock)
    }

    /// One in a process that has no ledger. It answers only while others keep Redis up to date, and only once
    /// [`follow`](Self::follow) runs.
    #[must_use]
    pub fn without_ledger(options: RedisOptions, clock: Arc<dyn Clock>) -> Self {
        Self::over(None, options, clock)
    }

    fn over(ledger: Option<Ledger>, options: RedisOptions, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            database: ledger.as_ref().map(|ledger| DatabaseBlacklist::new(ledger.clone(), Arc::clone(&clock))),
            ledger,
            store: Store { keys: Keys::new(&options.prefix) },
            options,
            clock,
            stage: AtomicU8::new(IDLE),
            trust: Trust::default(),
            seen: Seen::default(),
            link: ArcSwapOption::empty(),
            turn: Mutex::new(()),
            wake: Notify::new(),
            loaded: AtomicU64::new(0),
            tally: Tally::default(),
            triggers: Feed::default(),
            begun: now(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether the token must be refused: it was revoked, or its session has ended, or it is from before a cutoff.
    ///
    /// # Errors
    /// [`BlacklistError`], where Redis cannot be believed and the ledger gives no answer or is not there. The token must be refused
    /// then, too.
    pub async fn is_blacklisted(&self, token: Presented<'_>) -> Result<bool, BlacklistError> {
        self.inner.decide(token).await
    }

    /// Looks whether this Redis may be used at all, and says why it may not: its `maxmemory-policy` throws keys away, or it does not
    /// let us see that.
    ///
    /// # Errors
    /// [`BlacklistError`]. [`BlacklistError::is_unsupported`] tells this from a Redis that does not answer, which may come back.
    pub async fn probe(&self) -> Result<(), BlacklistError> {
        let probe: Later<'_, _> = Box::pin(self.inner.probe());
        probe.await
    }

    /// How Redis stands. It has no count of the entries and their bytes.
    #[must_use]
    pub fn state(&self) -> CacheState {
        let inner = &*self.inner;
        let confirmed = inner.trust.confirmed();
        let believed = inner.doubt().is_none();
        let [pulls, failures, reloads, mended, wake_ups] = inner.tally.counts();
        CacheState {
            ready: believed || inner.ledger.is_some(),
            believed,
            loaded: inner.loaded.load(Ordering::Relaxed),
            entries: 0,
            bytes: 0,
            // Of what was never confirmed, or is not any more, nothing is known since then.
            lag: inner.trust.last_asked().unwrap_or(inner.begun).age(),
            sequence: confirmed.and_then(|confirmed| confirmed.sequence),
            last_pull: inner.tally.last_pull(),
            pulls,
            failures,
            reloads,
            mended,
            wake_ups,
            repaired: 0,
            lost_rows: 0,
            trigger_faults: inner.triggers.faults(),
            answers: Some(self.answers()),
            disbelieved: Some(self.disbelieved()),
        }
    }

    pub(super) fn copied_ledger(&self) -> Option<&Ledger> {
        let inner = &*self.inner;
        let asked_anyway = inner.stage.load(Ordering::Acquire) == IDLE || inner.triggers.faults() > 0;
        inner.ledger.as_ref().filter(|_| !asked_anyway)
    }

    /// Whether Redis refuses the token. Nothing, where it is not believed.
    pub(super) async fn holds(&self, token: &Presented<'_>) -> Option<bool> {
        self.inner.ask_redis(token).await.ok()
    }

    /// Something was committed, and the log does not tell of it.
    pub(super) fn missed(&self) {
        self.inner.triggers.missed();
    }

    /// How often Redis has decided about a token.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.inner.trust.answers()
    }

    /// How often Redis was asked, and what it said could not be believed: another epoch, an older version, junk.
    #[must_use]
    pub fn disbelieved(&self) -> u64 {
        self.inner.trust.disbelieved()
    }
}

/// What is registered is written to the ledger, and known here before it is acknowledged.
#[async_trait::async_trait]
impl Blacklist for RedisBlacklist {
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.inner.database()?.register(what).await?;
        self.catch_up().await
    }

    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        self.is_blacklisted(*token).await
    }

    async fn unregister(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.inner.database()?.unregister(what).await?;
        self.catch_up().await
    }
}

impl Inner {
    fn database(&self) -> Result<&DatabaseBlacklist, BlacklistError> {
        self.database.as_ref().ok_or_else(|| BlacklistError::unsupported("a ledger to write to"))
    }

    /// Why Redis need not even be asked.
    fn doubt(&self) -> Option<Doubt> {
        let Some(confirmed) = self.trust.confirmed() else { return Some(Doubt::Unconfirmed) };
        if self.triggers.is_broken() {
            return Some(Doubt::Untold);
        }
        if self.trust.is_silent() {
            return Some(Doubt::Silent);
        }
        let age = confirmed.asked.age();
        let fresh = age <= self.options.staleness_bound && self.trust.is_enough(confirmed.asked);
        (!fresh).then_some(Doubt::Stale { age })
    }

    /// Whether the token must be refused, by Redis or else by the ledger.
    fn decide<'a>(&'a self, token: Presented<'a>) -> Later<'a, Result<bool, BlacklistError>> {
        Box::pin(async move {
            let seen = self.trust.confirmed().is_some_and(|known| self.seen.refuses(token.jti, known.asked));
            match self.ask_redis(&token).await {
                Ok(refused) => {
                    self.trust.count_answer();
                    Ok(refused || seen)
                }
                Err(doubt) => match &self.ledger {
                    Some(ledger) => self.ask_ledger(ledger, token).await,
                    None => Err(BlacklistError::of(doubt)),
                },
            }
        })
    }

    async fn ask_ledger(&self, ledger: &Ledger, token: Presented<'_>) -> Result<bool, BlacklistError> {
        let refused = ledger.is_refused(token).await?;
        // Where nobody keeps Redis as the ledger is, it will not decide otherwise.
        if refused && self.stage.load(Ordering::Acquire) != IDLE {
            self.seen.note(token.jti, self.trust.last_asked());
        }
        Ok(refused)
    }

    async fn ask_redis(&self, token: &Presented<'_>) -> Result<bool, Doubt> {
        if let Some(doubt) = self.doubt() {
            return Err(doubt);
        }
        let confirmed = self.trust.confirmed().ok_or(Doubt::Unconfirmed)?;
        let mut link = (*self.link.load_full().ok_or(Doubt::Silent)?).clone();
        let answer = match tokio::time::timeout(PATIENCE, self.store.check(&mut link, token)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                if error.is_unrecoverable_error() || error.is_timeout() {
                    self.trust.set_silent(true);
                    self.wake.notify_one();
                }
                log::debug!("Redis did not answer a check: {error}");
                return Err(self.disbelief());
            }
            Err(_) => {
                // Nobody else waits until it was heard of again.
                self.trust.set_silent(true);
                return Err(Doubt::Silent);
            }
        };
        if answer.epoch != confirmed.epoch || answer.version < confirmed.version || !answer.intact {
            self.wake.notify_one();
            return Err(self.disbelief());
        }
        // The clock comes last: whoever was stopped after the look at Redis must not answer by it.
        let age = confirmed.asked.age();
        if age > self.options.staleness_bound || !self.trust.is_enough(confirmed.asked) {
            return Err(Doubt::Stale { age });
        }
        answer.refused.ok_or_else(|| self.disbelief())
    }

    fn disbelief(&self) -> Doubt {
        self.trust.count_disbelief();
        Doubt::Wrong
    }
}

/// Why Redis is not believed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Doubt {
    #[error("it is not known how Redis stands")]
    Unconfirmed,
    #[error("not everything reaches the log that Redis is fed from")]
    Untold,
    #[error("Redis does not answer")]
    Silent,
    #[error("the blacklist in Redis was confirmed {} ms ago, which is too long", age.as_millis())]
    Stale { age: Duration },
    #[error("what Redis says is not what was confirmed")]
    Wrong,
}
