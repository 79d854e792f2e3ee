//! How a user is named in the ledger.

use std::fmt;
use std::str::FromStr;

/// A user's id, as the user claim of a token has it: text, whatever type the column has in which it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey(String);

impl UserKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The most characters that a key has: MariaDB has to find it by an index.
    pub(super) const MOST: usize = 500;

    /// Whether every database can hold it. PostgreSQL's text has no NUL.
    pub(super) fn is_storable(&self) -> bool {
        self.0.chars().count() <= Self::MOST && !self.0.contains('\0')
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for UserKey {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for UserKey {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<i64> for UserKey {
    fn from(id: i64) -> Self {
        Self(id.to_string())
    }
}

/// The type of the column `user_id` of the outstanding tokens. A new database may choose; adopted tables keep theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserKeyType {
    /// Any text.
    #[default]
    Text,
    /// A number of 32 bits, as Django's `auth_user` has it.
    Integer,
    /// A number of 64 bits.
    BigInt,
    /// A UUID.
    Uuid,
}

impl UserKeyType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Text, Self::Integer, Self::BigInt, Self::Uuid];

    /// The word for it on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Uuid => "uuid",
        }
    }
}

impl fmt::Display for UserKeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UserKeyType {
    type Err = UnknownUserKeyType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownUserKeyType)
    }
}

/// A word that names no type of user key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a type of user key; use text, integer, bigint or uuid")]
pub struct UnknownUserKeyType;
