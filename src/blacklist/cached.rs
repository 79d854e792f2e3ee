//! The blacklist in memory: no input or output on a request.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::follower::{CacheOptions, CacheState, Copied, Follower};
use super::index::{Index, PARTS, Size};
use super::{Blacklist, BlacklistError, DatabaseBlacklist, Presented};
use crate::ledger::Ledger;
use crate::token::{Change, Clock, Revocable};

/// Answers from an index in memory, which follows the log of the ledger.
///
/// Until [`follow`](Self::follow) runs it asks the ledger each time, so that a handle by itself, without a server around it, is as
/// exact. While the index is loaded for the first time there is no answer.
#[derive(Clone, Debug)]
pub struct CachedBlacklist {
    follower: Arc<Follower<Index>>,
    ledger: DatabaseBlacklist,
}

impl CachedBlacklist {
    /// An index of nothing yet, over a ledger.
    #[must_use]
    pub fn new(ledger: Ledger, options: CacheOptions, clock: Arc<dyn Clock>) -> Self {
        let index = Index::new(clock.now());
        let database = DatabaseBlacklist::new(ledger.clone(), Arc::clone(&clock));
        Self { follower: Arc::new(Follower::new(ledger, options, index, clock)), ledger: database }
    }

    /// Loads the index and follows the log, until this is dropped: from then on the ledger is asked again.
    pub async fn follow(&self) {
        self.follower.follow().await;
    }

    /// Waits until the index answers, for so long at most.
    pub async fn loaded_within(&self, most: Duration) {
        self.follower.loaded_within(most).await;
    }

    /// Whether the token must be refused: it was revoked, or its session has ended.
    ///
    /// # Errors
    /// [`BlacklistError`], where that cannot be told: the index is not loaded, or older than it may be. The token must be refused
    /// then, too.
    pub async fn is_blacklisted(&self, token: Presented<'_>) -> Result<bool, BlacklistError> {
        self.follower.is_blacklisted(token).await
    }

    /// Takes in what was committed before this was called, by whomever. After a revocation this is called before it is
    /// acknowledged, so that the process which acknowledged it refuses from then on.
    ///
    /// # Errors
    /// [`BlacklistError`], where the ledger cannot be asked. Nothing is decided by the index then, until it could be.
    pub async fn catch_up(&self) -> Result<(), BlacklistError> {
        self.follower.catch_up().await
    }

    /// How the index stands.
    #[must_use]
    pub fn state(&self) -> CacheState {
        self.follower.state()
    }

    pub(super) fn copied_ledger(&self) -> Option<&Ledger> {
        self.follower.copied_ledger()
    }

    pub(super) async fn holds(&self, token: &Presented<'_>) -> Option<bool> {
        self.follower.holds(token).await
    }

    pub(super) fn missed(&self) {
        self.follower.missed();
    }

    #[cfg(test)]
    pub(super) fn follower(&self) -> &Follower<Index> {
        &self.follower
    }
}

/// What is registered is written to the ledger, and known here before it is acknowledged.
#[async_trait::async_trait]
impl Blacklist for CachedBlacklist {
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.ledger.register(what).await?;
        self.catch_up().await
    }

    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        self.follower.is_blacklisted(*token).await
    }

    async fn unregister(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.ledger.unregister(what).await?;
        self.catch_up().await
    }
}

impl Copied for Index {
    const IS_OURS: bool = true;

    async fn take(&self, changes: Vec<Change>) -> Result<(), BlacklistError> {
        self.apply(changes);
        Ok(())
    }

    async fn refuses(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        Ok(Self::refuses(self, token))
    }

    fn knows(&self, what: &Revocable) -> bool {
        Self::knows(self, what)
    }

    fn part(&self, number: usize, after: DateTime<Utc>) -> Option<Vec<Revocable>> {
        (number < PARTS).then(|| Self::part(self, number, after))
    }

    fn expire(&self, now: DateTime<Utc>) {
        Self::expire(self, now);
    }

    fn size(&self) -> Size {
        Self::size(self)
    }
}
