//! Is this token refused?
//!
//! The question is asked of every access and sliding token, on every request. A [`Blacklist`] answers it:
//!
//! | blacklist | how it answers |
//! |---|---|
//! | [`DatabaseBlacklist`] | asks the ledger with one prepared query: always exact, for tokens that were blacklisted here, on the command line, by another process or by Django |
//! | [`CachedBlacklist`] | from memory, which follows the ledger's log: no query on a request, exact on the process that acknowledged a revocation, and within a stated bound on every other |
//! | [`InMemoryBlacklist`] | from memory that nothing feeds but whoever registers: for tests, and tools of one process |
//! | `RedisBlacklist` (feature `redis`) | from Redis, which many processes share and keep as the ledger is; it is asked where Redis cannot be believed |
//! | a type of the application | however it likes. It is fed from the ledger's log, so that it learns of every revocation |
//!
//! What an application knows beside all that it can tell by a [`Source`], which is read into memory, or by a closure
//! (`token_in_blacklist`), which is asked each time.
//!
//! Refresh tokens are asked of the ledger wherever they are used, as something is written or read there anyway.

mod cached;
mod caught;
mod chosen;
mod database;
mod feed;
mod follower;
mod freshness;
mod index;
mod memory;
mod own;
#[cfg(feature = "redis")]
mod redis;
mod seen;
mod source;
mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod uncertain;

use std::error::Error;

pub use cached::CachedBlacklist;
pub use database::DatabaseBlacklist;
pub use follower::{CacheOptions, CacheState, WhenStale};
pub use memory::InMemoryBlacklist;
#[cfg(feature = "redis")]
pub use redis::{RedisBlacklist, RedisOptions, RedisUrl, RedisUrlError};
pub use source::{Blacklisted, Source};

pub use crate::token::{Change, Presented, Revocable};

pub(crate) use chosen::{Asked, Blacklists, Chosen};
pub(crate) use own::OwnBlacklist;
pub(crate) use source::SourceBlacklist;
pub(crate) use uncertain::{Pending, Uncertain};

use crate::ledger::LedgerError;

/// What can refuse tokens, sessions and everything before an instant, and says of a token whether it does.
///
/// An application that keeps revoked tokens in a store of its own implements it and hands it to
/// [`SimplejwtFairing::blacklist`](crate::SimplejwtFairing::blacklist). The ledger stays the truth: it commits first, and the store
/// is told of every revocation in the order of the ledger's log, whoever made it, before it is acknowledged; at each start, of
/// everything that is refused. So it is told many things twice, and by each process.
///
/// ```
/// use std::collections::HashSet;
/// use std::sync::RwLock;
///
/// use rocket_simplejwt::async_trait;
/// use rocket_simplejwt::blacklist::{Blacklist, BlacklistError, Presented, Revocable};
///
/// /// Knows single tokens and sessions by their names. It has no cutoffs, and says so.
/// #[derive(Default)]
/// struct Names(RwLock<HashSet<String>>);
///
/// impl Names {
///     fn of(what: &Revocable) -> Result<String, BlacklistError> {
///         match what {
///             Revocable::Token { jti, .. } => Ok(format!("token {jti}")),
///             Revocable::Session { id, .. } => Ok(format!("session {id}")),
///             Revocable::Cutoff { .. } => Err(BlacklistError::unsupported("cutoffs")),
///         }
///     }
/// }
///
/// #[async_trait]
/// impl Blacklist for Names {
///     async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
///         let name = Self::of(what)?;
///         self.0.write().map_err(|_| BlacklistError::of("poisoned"))?.insert(name);
///         Ok(())
///     }
///
///     async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
///         let names = self.0.read().map_err(|_| BlacklistError::of("poisoned"))?;
///         let session = token.session.map(|id| format!("session {id}"));
///         Ok(names.contains(&format!("token {}", token.jti)) || session.is_some_and(|name| names.contains(&name)))
///     }
///
///     async fn unregister(&self, what: &Revocable) -> Result<(), BlacklistError> {
///         let name = Self::of(what)?;
///         self.0.write().map_err(|_| BlacklistError::of("poisoned"))?.remove(&name);
///         Ok(())
///     }
/// }
/// ```
#[async_trait::async_trait]
pub trait Blacklist: Send + Sync + 'static {
    /// Refuses it from now on: when this returns, [`is_blacklisted`](Self::is_blacklisted) says so, and goes on doing so at least
    /// until its `until`. To register something again is no error, and never shortens the time.
    ///
    /// # Errors
    /// [`BlacklistError`], where it is not certain that it is refused.
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError>;

    /// Whether the token is refused: it was registered, or its session, or a cutoff that is not before its beginning
    /// ([`Presented::began_at_millis`]).
    ///
    /// # Errors
    /// [`BlacklistError`], where that cannot be told. It is never taken for "no": the request is answered with 503.
    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError>;

    /// Refuses it no longer. A store that cannot take anything back keeps the default, and goes on refusing.
    ///
    /// # Errors
    /// [`BlacklistError`], where it may still be refused; [`BlacklistError::unsupported`] where it stays so.
    async fn unregister(&self, what: &Revocable) -> Result<(), BlacklistError> {
        let _ = what;
        Err(BlacklistError::unsupported("to take back what was registered"))
    }
}

/// Why a blacklist could not answer, or not do as it was told. It never means "not blacklisted".
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct BlacklistError {
    what: &'static str,
    #[source]
    reason: Box<dyn Error + Send + Sync>,
    unsupported: bool,
}

impl BlacklistError {
    /// For this reason. It may be logged: no token, no key, no password.
    pub fn of(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: "the blacklist cannot be asked", reason: reason.into(), unsupported: false }
    }

    /// The blacklist has no such thing, and never will.
    #[must_use]
    pub fn unsupported(what: &str) -> Self {
        Self { what: "the blacklist has no such thing", reason: what.into(), unsupported: true }
    }

    /// Whether the blacklist has no such thing.
    #[must_use]
    pub const fn is_unsupported(&self) -> bool {
        self.unsupported
    }
}

impl From<LedgerError> for BlacklistError {
    fn from(error: LedgerError) -> Self {
        Self::of(error)
    }
}
