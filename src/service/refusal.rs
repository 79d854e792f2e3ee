//! Why a request is not granted: the one error of the use cases.

use std::sync::Arc;
use std::time::Duration;

use crate::blacklist::BlacklistError;
use crate::ledger::{LedgerError, Reuse};
use crate::token::{MintError, TokenError};
use crate::users::{AuthenticatorError, PasswordError};

/// Why a use case was refused. What a client is told of it, `web` decides; the [`Display`](std::fmt::Display) text is
/// simplejwt's where simplejwt has the case.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The token is no good in itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Somebody revoked the token, or its session has ended.
    #[error("Token is blacklisted")]
    Blacklisted,
    /// A refresh token that a rotation has replaced was used again: a client that was too late, or a thief. Its session is over.
    #[error("Token is blacklisted")]
    Reused(Reuse),
    /// A refresh token that the ledger does not know.
    #[error("Token is invalid")]
    Unknown,
    /// The application's own callback refused what the token claims.
    #[error("User claims verification failed")]
    ClaimsRefused,
    /// Unknown name, wrong password or inactive user; the client cannot tell which.
    #[error("No active account found with the given credentials")]
    BadCredentials,
    /// The user has as many sessions as may be, and none makes room.
    #[error("Maximum number of sessions reached; log out elsewhere first.")]
    TooManySessions,
    /// The user of the token is gone or may not log in any more.
    #[error("No active account found for the given token.")]
    NoActiveAccount,
    /// The password was changed since the token was issued.
    #[error("The user's password has been changed.")]
    PasswordChanged,
    /// The token names no user, and one is needed.
    #[error("Token contained no recognizable user identification")]
    NoUserId,
    /// The user whom the token names does not exist.
    #[error("User not found")]
    UserNotFound,
    /// The user whom the token names may not log in.
    #[error("User is inactive")]
    UserInactive,
    /// Everything from before an instant was to be refused that is yet to come.
    #[error("The instant lies in the future")]
    FutureCutoff,
    /// A jti was to be refused of which the token has expired already.
    #[error("The expiry lies in the past: that token is of no use to anybody any more")]
    PastExpiry,
    /// Too often in too short a time. After so long it may be tried again.
    #[error("Request was throttled. Expected available in {}.", in_seconds(.0))]
    TooMany(Duration),
    /// The sessions of a user were to end but for the one of a token that has none.
    #[error("The token names no session")]
    NoSession,
    /// Only a token that is the direct result of a login does.
    #[error("Fresh token required")]
    NotFresh,
    /// The answer could not be found out or the change not be made: try again later. Nothing was acknowledged.
    #[error("The service is not available, try again later")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The application asked for something that cannot be, such as a custom claim named `exp`.
    #[error("The token cannot be issued")]
    Misuse(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// A wait in the words of Django's REST framework.
fn in_seconds(wait: &Duration) -> String {
    let seconds = whole_seconds(*wait);
    format!("{seconds} second{}", if seconds == 1 { "" } else { "s" })
}

/// A wait in seconds, and not one too few.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Refusal {
    pub(super) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::UserChanged => Self::BadCredentials,
            LedgerError::TooManySessions => Self::TooManySessions,
            LedgerError::UserKey | LedgerError::VerifiesOnly | LedgerError::NoDatabase => Self::Misuse(Arc::new(error)),
            other => Self::unavailable(other),
        }
    }
}

impl From<BlacklistError> for Refusal {
    fn from(error: BlacklistError) -> Self {
        Self::unavailable(error)
    }
}

impl From<AuthenticatorError> for Refusal {
    fn from(error: AuthenticatorError) -> Self {
        Self::unavailable(error)
    }
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Unavailable => Self::unavailable(error),
            _ => Self::Misuse(Arc::new(error)),
        }
    }
}

impl From<MintError> for Refusal {
    fn from(error: MintError) -> Self {
        Self::Misuse(Arc::new(error))
    }
}

/// The clock says a time before this program was written.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the clock of this machine is wrong: it says a time before 2026")]
pub struct ClockError;

impl From<ClockError> for Refusal {
    fn from(error: ClockError) -> Self {
        Self::unavailable(error)
    }
}
