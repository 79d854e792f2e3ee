//! What this process did, in numbers. To count costs an addition to a number of its own, without a lock, whether anybody ever
//! asks or not.

#[cfg(feature = "metrics")]
mod text;

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Refusal, Simplejwt};
use crate::token::{TokenError, TokenFault, TokenKind};

/// A number that only grows. On a cache line of its own, so that those who count different things do not wait for each other.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    #[cfg(any(test, feature = "metrics", feature = "admin"))]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Tokens that were looked at.
    pub(super) verifications: Count,
    /// Tokens that were given to somebody, in the order of [`TokenKind::ALL`].
    issued: [Count; TokenKind::ALL.len()],
    /// Tokens that were revoked by this process, and were not before.
    pub(super) revocations: Count,
    /// Refresh tokens that were given once more, to clients that had lost the answer.
    pub(super) retries: Count,
    /// Sessions that made room for new ones.
    pub(super) evictions: Count,
    /// Revocations that this process took back.
    pub(super) restorations: Count,
    /// Requests that were refused, in the order of [`Reason::ALL`].
    refusals: [Count; Reason::ALL.len()],
    /// Requests to which there was no answer.
    unavailable: Count,
}

impl Metrics {
    pub(super) fn issued(&self, kind: TokenKind) {
        if let Some(index) = TokenKind::ALL.iter().position(|known| *known == kind) {
            self.issued[index].add(1);
        }
    }

    /// How many tokens of a kind were given to somebody.
    #[cfg(feature = "admin")]
    pub(super) fn issued_of(&self, kind: TokenKind) -> u64 {
        TokenKind::ALL.iter().position(|known| *known == kind).map_or(0, |index| self.issued[index].get())
    }

    fn refused(&self, refusal: &Refusal) {
        match Reason::of(refusal) {
            Some(reason) => self.refusals[reason as usize].add(1),
            None => self.unavailable.add(1),
        }
    }
}

impl Simplejwt {
    /// Counts what came of a request. Each public use case does it once, and calls no other that does.
    pub(super) fn counted<T>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &result {
            self.inner.metrics.refused(refusal);
        }
        result
    }

    /// Counts a request whose token was good, but not of the kind that was asked for.
    pub(crate) fn count_wrong_kind(&self) {
        self.inner.metrics.refusals[Reason::WrongType as usize].add(1);
    }

    /// Counts a request with a good token in a cookie that another site may have sent.
    pub(crate) fn count_csrf(&self) {
        self.inner.metrics.refusals[Reason::Csrf as usize].add(1);
    }

    /// Counts a request whose header could not be read.
    pub(crate) fn count_bad_header(&self) {
        self.inner.metrics.refusals[Reason::BadHeader as usize].add(1);
    }
}

macro_rules! reasons {
    ($($reason:ident = $name:literal,)*) => {
        /// Why a request was refused, as far as it is told apart: nothing that a client sends ever becomes a label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Reason { $($reason,)* }

        impl Reason {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$reason, $name),)*];
        }
    };
}

reasons! {
    BadHeader = "bad_header",
    Malformed = "malformed",
    UnknownKey = "unknown_key",
    Signature = "signature",
    Expired = "expired",
    NotYetValid = "not_yet_valid",
    TooLongLived = "too_long_lived",
    Issuer = "issuer",
    Audience = "audience",
    MissingClaim = "missing_claim",
    WrongType = "wrong_type",
    Blacklisted = "blacklisted",
    Reused = "reused",
    TooManySessions = "too_many_sessions",
    Unknown = "unknown",
    BadCredentials = "bad_credentials",
    NoActiveAccount = "no_active_account",
    PasswordChanged = "password_changed",
    NoUserId = "no_user_id",
    UserNotFound = "user_not_found",
    UserInactive = "user_inactive",
    FutureCutoff = "future_cutoff",
    PastExpiry = "past_expiry",
    ClaimsRefused = "claims_refused",
    Csrf = "csrf",
    NoSession = "no_session",
    NotFresh = "not_fresh",
    Misuse = "misuse",
    TooMany = "too_many",
}

impl Reason {
    /// The reason of a refusal; [`None`] where there was no answer.
    fn of(refusal: &Refusal) -> Option<Self> {
        Some(match refusal {
            Refusal::Token(error) => Self::of_token(error),
            Refusal::Blacklisted => Self::Blacklisted,
            Refusal::Reused(_) => Self::Reused,
            Refusal::TooManySessions => Self::TooManySessions,
            Refusal::Unknown => Self::Unknown,
            Refusal::BadCredentials => Self::BadCredentials,
            Refusal::NoActiveAccount => Self::NoActiveAccount,
            Refusal::PasswordChanged => Self::PasswordChanged,
            Refusal::NoUserId => Self::NoUserId,
            Refusal::UserNotFound => Self::UserNotFound,
            Refusal::UserInactive => Self::UserInactive,
            Refusal::FutureCutoff => Self::FutureCutoff,
            Refusal::PastExpiry => Self::PastExpiry,
            Refusal::TooMany(_) => Self::TooMany,
            Refusal::ClaimsRefused => Self::ClaimsRefused,
            Refusal::NoSession => Self::NoSession,
            Refusal::NotFresh => Self::NotFresh,
            Refusal::Unavailable(_) => return None,
            Refusal::Misuse(_) => Self::Misuse,
        })
    }

    fn of_token(error: &TokenError) -> Self {
        match error {
            TokenError::Invalid(fault) => match fault {
                TokenFault::TooLong | TokenFault::Shape | TokenFault::Header | TokenFault::Typ | TokenFault::Claims => {
                    Self::Malformed
                }
                TokenFault::UnknownKey => Self::UnknownKey,
                TokenFault::Signature => Self::Signature,
                TokenFault::NotYetValid => Self::NotYetValid,
                TokenFault::TooLongLived => Self::TooLongLived,
                TokenFault::Issuer => Self::Issuer,
                TokenFault::Audience => Self::Audience,
            },
            TokenError::Expired | TokenError::ClaimExpired(_) => Self::Expired,
            TokenError::MissingClaim(_) | TokenError::NoId | TokenError::NoType => Self::MissingClaim,
            TokenError::WrongType => Self::WrongType,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_number_and_name() {
        for (index, (reason, name)) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{name}");
            assert!(Reason::ALL[..index].iter().all(|(_, other)| other != name), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_no_refusal() {
        let metrics = Metrics::default();
        metrics.refused(&Refusal::Unavailable(std::sync::Arc::new(std::fmt::Error)));
        metrics.refused(&Refusal::Blacklisted);
        metrics.refused(&TokenError::Expired.into());
        assert_eq!(metrics.unavailable.get(), 1);
        let refused: Vec<_> =
            Reason::ALL.iter().filter(|(reason, _)| metrics.refusals[*reason as usize].get() > 0).collect();
        assert_eq!(refused, [&(Reason::Expired, "expired"), &(Reason::Blacklisted, "blacklisted")]);
    }
}
