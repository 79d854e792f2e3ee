//! What a token is. No input or output happens here: text in, values out.
//!
//! | file | what it holds |
//! |---|---|
//! | [`kind`](TokenKind) | access, refresh, sliding |
//! | [`jti`](Jti) | the identity of a token, and of its session ([`SessionId`]) |
//! | [`claims`](Claims) | the payload, with exact JSON types |
//! | `header` | the three members of a JOSE header that we read |
//! | [`keys`](KeyRing) | which key signs, which keys verify; one algorithm for each |
//! | [`mint`](Minter) | claims and a key to text |
//! | [`revocable`](Revocable) | what can be refused: a token, a session, everything before an instant |
//! | [`verify`](Verifier) | text to [`Verified`], the only way to get one |
//! | [`clock`](Clock) | where "now" comes from |
//!
//! A [`Verified`] says that we (or Django, with the same key) signed these claims and that they are valid now. Whether
//! somebody revoked the token since is the next layer's question.

mod algorithm;
mod claims;
mod clock;
mod digest;
mod error;
mod generate;
mod header;
mod jti;
mod jwk;
mod keys;
mod kind;
mod mint;
mod pem;
mod revocable;
mod verify;

pub use algorithm::Algorithm;
pub(crate) use claims::{CSRF, FRESH};
pub use claims::{ClaimNames, Claims};
pub use clock::{Clock, ManualClock, SystemClock};
pub(crate) use digest::sha256_hex;
pub use error::{ClaimError, KeyError, MintError, TokenError, TokenFault};
pub use generate::generate_key;
pub use jti::{Jti, ParseJtiError, ParseSessionIdError, SessionId};
pub use keys::{KeyRing, SigningKey, VerifyingKey};
pub use kind::{StatedKind, TokenKind};
pub use mint::{Minter, NewToken};
pub use revocable::{Change, Presented, Revocable};
pub use verify::{TokenRules, Verified, Verifier};
