//! Is this token refused?
//!
//! The question is asked of every access and sliding token, on every request.
//!
//! | blacklist | how it answers |
//! |---|---|
//! | [`DatabaseBlacklist`] | asks the ledger with one prepared query: always exact, for tokens that were blacklisted here, on the command line, by another process or by Django |
//! | [`CachedBlacklist`] | from memory, which follows the ledger's log: no query on a request, exact on the process that acknowledged a revocation, and within a stated bound on every other |
//!
//! Refresh tokens are asked of the ledger wherever they are used, as something is written or read there anyway.

mod cached;
mod database;
mod index;
#[cfg(feature = "mutants")]
pub(crate) mod mutant;

pub use cached::{CacheOptions, CacheState, CachedBlacklist, WhenStale};
pub use database::DatabaseBlacklist;

use crate::token::{Jti, SessionId, Verified};

/// What a blacklist needs to know of a token.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Its identity.
    pub jti: &'a Jti,
    /// The login that it descends from: when that has ended, so has the token.
    pub session: Option<SessionId>,
    /// When it was issued, in seconds since 1970.
    pub issued_at: Option<i64>,
    /// Whose it is.
    pub user: Option<&'a str>,
}

impl<'a> From<&'a Verified> for Presented<'a> {
    fn from(token: &'a Verified) -> Self {
        let issued_at = token.issued_at().map(|at| at.timestamp());
        Self { jti: token.jti(), session: token.session(), issued_at, user: token.user_id() }
    }
}

/// The blacklist that the settings chose.
#[derive(Clone, Debug)]
pub(crate) enum Chosen {
    Database(DatabaseBlacklist),
    Cached(CachedBlacklist),
}

impl Chosen {
    /// Whether the token must be refused.
    pub(crate) async fn is_blacklisted(&self, token: Presented<'_>) -> Result<bool, BlacklistError> {
        let answer = match self {
            Self::Database(database) => database.is_blacklisted(token).await,
            Self::Cached(cached) => cached.is_blacklisted(token).await,
        };
        #[cfg(feature = "mutants")]
        let answer = if mutant::is(mutant::Mutant::ErrorsMeanNo) { Ok(answer.unwrap_or(false)) } else { answer };
        answer
    }

    /// Makes sure that what was committed is refused by this process.
    pub(crate) async fn catch_up(&self) -> Result<(), BlacklistError> {
        match self {
            Self::Database(_) => Ok(()),
            Self::Cached(cached) => cached.catch_up().await,
        }
    }
}

/// Why a blacklist could not answer. It never means "not blacklisted".
#[derive(Debug, thiserror::Error)]
#[error("the blacklist cannot be asked")]
pub struct BlacklistError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl BlacklistError {
    /// For this reason.
    pub(crate) fn of(reason: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(reason))
    }
}
