//! A store of the application's own, fed from the log of the ledger.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::caught::caught;
use super::follower::{CacheOptions, Copied, Follower};
use super::index::{Index, Size};
use super::{Blacklist, BlacklistError, Presented};
use crate::ledger::Ledger;
use crate::token::{Change, Clock, Revocable};

/// A store of the application's own, and what keeps it as the ledger is.
pub(crate) type OwnBlacklist = Follower<Own>;

/// A store, and in memory what it cannot hold.
pub(crate) struct Own {
    store: Arc<dyn Blacklist>,
    rest: Index,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").finish_non_exhaustive()
    }
}

impl OwnBlacklist {
    pub(crate) fn over(
        store: Arc<dyn Blacklist>,
        ledger: Ledger,
        options: CacheOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let rest = Index::new(clock.now());
        Self::new(ledger, options, Own { store, rest }, clock)
    }
}

impl Copied for Own {
    const IS_OURS: bool = false;

    async fn take(&self, changes: Vec<Change>) -> Result<(), BlacklistError> {
        for change in changes {
            let Change { what, refused } = &change;
            let done = if *refused {
                caught(self.store.register(what)).await
            } else {
                caught(self.store.unregister(what)).await
            };
            match done {
                Err(error) if !error.is_unsupported() => return Err(error),
                // What it could not hold may have to be taken back later, though.
                Ok(()) if *refused => {}
                _ => self.rest.apply([change]),
            }
        }
        Ok(())
    }

    async fn refuses(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        Ok(self.rest.refuses(token) || caught(self.store.is_blacklisted(token)).await?)
    }

    /// What the store has, only the store can tell.
    fn knows(&self, _: &Revocable) -> bool {
        true
    }

    fn part(&self, _: usize, _: DateTime<Utc>) -> Option<Vec<Revocable>> {
        None
    }

    fn expire(&self, now: DateTime<Utc>) {
        self.rest.expire(now);
    }

    fn size(&self) -> Size {
        self.rest.size()
    }
}
