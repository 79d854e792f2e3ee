//! The kinds of token.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a token is for. A token of one kind is refused wherever another is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Opens a protected route. Short-lived, not recorded.
    Access,
    /// Buys a new access token. Recorded in the ledger.
    Refresh,
    /// Both in one: opens a route, and can be renewed until its `refresh_exp`. Recorded in the ledger.
    Sliding,
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Access, Self::Refresh, Self::Sliding];

    /// The value of the `token_type` claim.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Sliding => "sliding",
        }
    }

    /// simplejwt's name of the class, as its error bodies give it.
    #[must_use]
    pub const fn class_name(self) -> &'static str {
        match self {
            Self::Access => "AccessToken",
            Self::Refresh => "RefreshToken",
            Self::Sliding => "SlidingToken",
        }
    }

    /// The `typ` header where `explicit_typ` is on (RFC 8725 §3.11; `at+jwt` is RFC 9068's).
    #[must_use]
    pub const fn explicit_typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "rt+jwt",
            Self::Sliding => "sl+jwt",
        }
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

/// A word that names no kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of token; use access, refresh or sliding")]
pub struct UnknownKind;

/// What a token says of its own kind. Only the verify endpoint takes a token that says nothing we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatedKind {
    /// The claim is absent.
    Missing,
    /// The claim names a kind.
    Known(TokenKind),
    /// The claim is a string that names no kind.
    Other,
}
