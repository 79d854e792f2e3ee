//! What can be refused, and what of a token decides whether it is.

use chrono::{DateTime, Utc};

use super::{Jti, SessionId, Verified};

/// Something that can be refused, and until when anybody has to remember it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocable {
    /// One token.
    Token {
        /// Its identity.
        jti: Jti,
        /// When it is dead by itself.
        until: DateTime<Utc>,
    },
    /// All tokens of a login.
    Session {
        /// Which login.
        id: SessionId,
        /// When the last of them is dead by itself.
        until: DateTime<Utc>,
    },
    /// All tokens of sessions that did not begin later than an instant. Of several the latest counts.
    Cutoff {
        /// Whose tokens; everybody's, if it is missing.
        user: Option<String>,
        /// The instant, to the millisecond. A token without a session is compared by its `iat`, to the second.
        not_before: DateTime<Utc>,
        /// When the last of the tokens is dead by itself.
        until: DateTime<Utc>,
    },
}

impl Revocable {
    /// When all that it refuses is dead by itself.
    #[must_use]
    pub const fn until(&self) -> DateTime<Utc> {
        match self {
            Self::Token { until, .. } | Self::Session { until, .. } | Self::Cutoff { until, .. } => *until,
        }
    }
}

impl Revocable {
    /// The same, to be remembered until another moment.
    #[must_use]
    pub fn kept_until(mut self, end: DateTime<Utc>) -> Self {
        match &mut self {
            Self::Token { until, .. } | Self::Session { until, .. } | Self::Cutoff { until, .. } => *until = end,
        }
        self
    }

    /// Whether the other one is the same token, session or cutoff, until whenever either is remembered.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token { jti: one, .. }, Self::Token { jti: other, .. }) => one == other,
            (Self::Session { id: one, .. }, Self::Session { id: other, .. }) => one == other,
            (Self::Cutoff { user: one, not_before: since, .. }, Self::Cutoff { user: other, not_before, .. }) => {
                one == other && since == not_before
            }
            _ => false,
        }
    }
}

/// How something stands now that can be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// A token, a session or a cutoff.
    pub what: Revocable,
    /// Whether it is refused. A cutoff always is.
    pub refused: bool,
}

impl Change {
    /// It is refused from now on.
    #[must_use]
    pub const fn refused(what: Revocable) -> Self {
        Self { what, refused: true }
    }
}

/// A token, as far as its refusal depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Its identity.
    pub jti: &'a Jti,
    /// The login that it descends from: when that has ended, so has the token.
    pub session: Option<SessionId>,
    /// When it was issued, in seconds since 1970.
    pub issued_at: Option<i64>,
    /// Whose it is, as its claim has it.
    pub user: Option<&'a str>,
}

impl<'a> From<&'a Verified> for Presented<'a> {
    fn from(token: &'a Verified) -> Self {
        let issued_at = token.issued_at().map(|at| at.timestamp());
        Self { jti: token.jti(), session: token.session(), issued_at, user: token.user_id() }
    }
}

impl Presented<'_> {
    /// The moment that cutoffs are compared with, in milliseconds since 1970: the beginning of its session, however often it was
    /// renewed since; of a token without one, the second in which it was issued. One that tells neither has been there for ever.
    #[must_use]
    pub fn began_at_millis(&self) -> i64 {
        let session = self.session.and_then(SessionId::started_at_millis);
        session.or_else(|| self.issued_at?.checked_mul(1000)).unwrap_or(i64::MIN)
    }
}
