//! The blacklist that is told everything, and forgets it with the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::index::Index;
use super::{Blacklist, BlacklistError, Presented, Revocable};
use crate::token::{Change, Clock, SystemClock};

/// An index in memory that nothing feeds but whoever registers, and that ends with its process: for tests, and for tools that
/// check tokens of their own. A server wants [`CachedBlacklist`](super::CachedBlacklist), which remembers by the ledger.
///
/// ```
/// use rocket_simplejwt::blacklist::{Blacklist, InMemoryBlacklist, Presented, Revocable};
/// use rocket_simplejwt::token::Jti;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), rocket_simplejwt::blacklist::BlacklistError> {
/// let (blacklist, jti) = (InMemoryBlacklist::default(), Jti::random());
/// let until = chrono::Utc::now() + chrono::TimeDelta::minutes(5);
/// blacklist.register(&Revocable::Token { jti: jti.clone(), until }).await?;
/// let token = Presented { jti: &jti, session: None, issued_at: None, user: None };
/// assert!(blacklist.is_blacklisted(&token).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct InMemoryBlacklist {
    index: Arc<Index>,
    clock: Arc<dyn Clock>,
    /// The hour in which it last forgot what is over.
    tidied: Arc<AtomicI64>,
}

impl InMemoryBlacklist {
    /// An empty one that forgets what is over by this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { index: Arc::new(Index::new(clock.now())), clock, tidied: Arc::default() }
    }

    /// Forgets what is over, once in an hour: the index knows no smaller time.
    fn tidy(&self) {
        let now = self.clock.now();
        let hour = now.timestamp().div_euclid(3600);
        if self.tidied.swap(hour, Ordering::Relaxed) != hour {
            self.index.expire(now);
        }
    }
}

impl Default for InMemoryBlacklist {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock::default()))
    }
}

#[async_trait::async_trait]
impl Blacklist for InMemoryBlacklist {
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.tidy();
        self.index.apply([Change::refused(what.clone())]);
        Ok(())
    }

    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        Ok(self.index.refuses(token))
    }

    async fn unregister(&self, what: &Revocable) -> Result<(), BlacklistError> {
        if let Revocable::Cutoff { .. } = what {
            return Err(BlacklistError::unsupported("to take back a cutoff"));
        }
        self.tidy();
        self.index.apply([Change { what: what.clone(), refused: false }]);
        Ok(())
    }
}
