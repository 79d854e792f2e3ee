//! The identities: of a token ([`Jti`]) and of the login that it descends from ([`SessionId`]).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The `jti` claim (RFC 7519 §4.1.7): 1 to 255 of `A-Z a-z 0-9 . _ ~ -`, compared byte for byte.
///
/// Nothing outside that alphabet is ever looked up, so no database's collation or truncation can make two tokens one.
///
/// ```
/// use rocket_simplejwt::token::Jti;
///
/// assert!("8f14e45fceea467a9d4f2f6a0c3f5d11".parse::<Jti>().is_ok());
/// assert!("two words".parse::<Jti>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jti(Box<str>);

impl Jti {
    /// A fresh one: a version 4 UUID as 32 hex digits, like simplejwt's.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string().into())
    }

    /// The text of the claim.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Jti {
    type Err = ParseJtiError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=255).contains(&text.len());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
        if fits && text.bytes().all(allowed) { Ok(Self(text.into())) } else { Err(ParseJtiError) }
    }
}

/// Text that cannot be a jti.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a jti has 1 to 255 characters out of A-Z a-z 0-9 . _ ~ -")]
pub struct ParseJtiError;

/// The `sid` claim: a version 7 UUID that names a login. Its time is the start of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Uuid);

impl SessionId {
    /// The id of a session that starts at `unix_millis`.
    #[must_use]
    pub fn starting_at(unix_millis: u64) -> Self {
        let random: [u8; 16] = Uuid::new_v4().into_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[6..]);
        Self(uuid::Builder::from_unix_timestamp_millis(unix_millis, &tail).into_uuid())
    }

    /// The id as a number.
    pub(crate) fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The id that is this number.
    pub(crate) fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }

    /// When the session started. `None` for a UUID that does not tell.
    pub(crate) fn started_at(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.started_at_millis()?)
    }

    /// When the session started, in milliseconds since 1970. `None` for a UUID that does not tell (another version than 7).
    pub(crate) fn started_at_millis(self) -> Option<i64> {
        (self.0.get_version_num() == 7).then(|| (self.0.as_u128() >> 80) as i64)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    /// Only the hyphenated form is taken: one session has one spelling.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uuid = Uuid::try_parse(text).map_err(|_| ParseSessionIdError)?;
        let id = Self(uuid);
        if id.to_string() == text { Ok(id) } else { Err(ParseSessionIdError) }
    }
}

/// Text that is no session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is a UUID in lower case with hyphens")]
pub struct ParseSessionIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jti_has_its_alphabet_and_its_length() {
        for good in ["a", "8f14e45f-ceea-467a-9d4f-2f6a0c3f5d11", "A.b_c~d-9", &"x".repeat(255)] {
            assert!(good.parse::<Jti>().is_ok(), "{good}");
        }
        for bad in ["", " a", "a\n", "a\0", "a%", "é", "'", "\\", &"x".repeat(256)] {
            assert!(bad.parse::<Jti>().is_err(), "{bad:?}");
        }
        assert_eq!(Jti::random().as_str().len(), 32);
    }

    #[test]
    fn a_session_id_has_one_spelling_and_carries_its_start() {
        let id = SessionId::starting_at(1_700_000_000_123);
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert!(text.to_uppercase().parse::<SessionId>().is_err());
        assert!(text.replace('-', "").parse::<SessionId>().is_err());
        assert!(text.starts_with("018bcfe5-687b-7"), "{text}");
        assert_eq!(id.started_at_millis(), Some(1_700_000_000_123));
        assert_eq!(SessionId(Uuid::new_v4()).started_at_millis(), None);
    }
}
