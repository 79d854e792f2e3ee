//! Is this token refused?
//!
//! The question is asked of every access and sliding token, on every request. [`DatabaseBlacklist`] answers it from the
//! ledger with one prepared query: always exact, for tokens that were blacklisted here, on the command line, by another
//! process or by Django.

mod database;

pub use database::DatabaseBlacklist;

use crate::token::{Jti, SessionId, Verified};

/// What a blacklist needs to know of a token.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Its identity.
    pub jti: &'a Jti,
    /// The login that it descends from: when that has ended, so has the token.
    pub session: Option<SessionId>,
}

impl<'a> From<&'a Verified> for Presented<'a> {
    fn from(token: &'a Verified) -> Self {
        Self { jti: token.jti(), session: token.session() }
    }
}

/// Why a blacklist could not answer. It never means "not blacklisted".
#[derive(Debug, thiserror::Error)]
#[error("the blacklist cannot be asked")]
pub struct BlacklistError(#[source] pub(crate) Box<dyn std::error::Error + Send + Sync>);
