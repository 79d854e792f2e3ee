//! What the index is told, and what it is asked.

use chrono::{DateTime, Utc};

use crate::token::{Jti, SessionId};

/// A token, as far as its refusal depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// Its identity.
    pub(crate) jti: &'a Jti,
    /// The login that it descends from.
    pub(crate) session: Option<SessionId>,
    /// Its claim `iat`, in whole seconds since 1970.
    pub(crate) issued_at: Option<i64>,
    /// Whose it is.
    pub(crate) user: Option<&'a str>,
}

/// Something that is refused from now on, or is not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// One token.
    Token {
        /// Its identity.
        jti: Jti,
        /// Whether it is refused.
        refused: bool,
        /// When nobody will accept it anyway.
        until: DateTime<Utc>,
    },
    /// All tokens of a login.
    Session {
        /// Which login.
        id: SessionId,
        /// Whether it is over.
        refused: bool,
        /// When its last token will have expired.
        until: DateTime<Utc>,
    },
    /// All tokens of sessions that did not begin later than an instant. Of several the latest counts.
    Cutoff {
        /// Whose tokens; everybody's, if it is missing.
        user: Option<String>,
        /// The instant, to the millisecond. A token without a session is compared by its `iat`, to the second.
        not_before: DateTime<Utc>,
        /// When the last of the tokens will have expired.
        until: DateTime<Utc>,
    },
}
