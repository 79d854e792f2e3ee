//! What an application refuses beside the ledger, read into memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::caught::caught;
use super::freshness::{Freshness, now};
use super::index::Index;
use super::{BlacklistError, Presented, Revocable};
use crate::chain::chain;
use crate::token::{Change, Clock};

/// How long a source may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store of an application's own that can tell what it refuses. It is read into memory, so that no request waits for it: at the
/// start everything, and from then on every `poll_interval` what changed since. What the ledger refuses is refused all the same.
#[async_trait::async_trait]
pub trait Source: Send + Sync + 'static {
    /// What changed after a mark that an earlier answer gave; without one, everything that is refused.
    ///
    /// An answer that takes longer than 10 seconds is not waited for: the call is dropped, and it is asked again. A list that takes
    /// longer to read should be given in parts, each with the mark from where to go on.
    ///
    /// # Errors
    /// [`BlacklistError`], where that cannot be told. It is asked again soon; once the last answer is older than
    /// `staleness_bound`, requests are answered with 503.
    async fn get_blacklisted(&self, since: Option<i64>) -> Result<Blacklisted, BlacklistError>;
}

/// What a [`Source`] refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blacklisted {
    /// What is refused, or is not any more.
    pub changes: Vec<Change>,
    /// From where to go on. It has to be of the order in which changes become visible: the id of a row is not, as one with a
    /// smaller id may be committed later. Without a mark everything is asked for each time.
    pub mark: Option<i64>,
}

impl Blacklisted {
    /// Everything that is refused, from a source that keeps no order. What it stops refusing is refused until its `until`.
    pub fn everything(what: impl IntoIterator<Item = Revocable>) -> Self {
        Self { changes: what.into_iter().map(Change::refused).collect(), mark: None }
    }
}

/// What a source refuses, in memory.
pub(crate) struct SourceBlacklist {
    source: Arc<dyn Source>,
    index: Index,
    freshness: Freshness,
    followed: AtomicBool,
    poll_interval: Duration,
    staleness_bound: Duration,
    patience: Duration,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for SourceBlacklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceBlacklist").finish_non_exhaustive()
    }
}

impl SourceBlacklist {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        poll_interval: Duration,
        staleness_bound: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (index, followed) = (Index::new(clock.now()), AtomicBool::new(false));
        let (freshness, patience) = (Freshness::default(), PATIENCE);
        Self { source, index, freshness, followed, poll_interval, staleness_bound, patience, clock }
    }

    /// The same with another patience.
    #[cfg(test)]
    pub(super) fn waiting(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether the source refuses the token.
    pub(crate) async fn is_blacklisted(&self, token: Presented<'_>) -> Result<bool, BlacklistError> {
        if !self.followed.load(Ordering::Acquire) {
            self.read(None).await?;
        }
        // The clock comes last, as in `Follower`.
        let asked = self.freshness.asked();
        let refused = self.index.refuses(&token);
        let age = asked.age();
        if age <= self.staleness_bound { Ok(refused) } else { Err(BlacklistError::of(Silent { age })) }
    }

    /// Asks the source again and again, until this is dropped.
    pub(crate) async fn follow(&self) {
        let mut mark = None;
        loop {
            match self.read(mark).await {
                Ok(next) => {
                    mark = next;
                    self.followed.store(true, Ordering::Release);
                }
                Err(error) => log::warn!("what the application refuses cannot be read: {}", chain(&error)),
            }
            self.index.expire(self.clock.now());
            tokio::time::sleep(self.poll_interval).await;
        }
    }

    async fn read(&self, since: Option<i64>) -> Result<Option<i64>, BlacklistError> {
        let asked = now();
        let answer = tokio::time::timeout(self.patience, caught(self.source.get_blacklisted(since))).await;
        let Blacklisted { changes, mark } = answer.map_err(|_| BlacklistError::of(Hangs(self.patience)))??;
        self.index.apply(changes);
        self.freshness.note(asked, mark.unwrap_or_default());
        Ok(mark)
    }
}

/// The source was asked, and does not answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the application's own blacklist did not answer within {0:?}")]
struct Hangs(Duration);

/// The source has not answered for too long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the application's own blacklist has not answered for {} ms", age.as_millis())]
struct Silent {
    age: Duration,
}
