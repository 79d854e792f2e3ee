//! Tokens of any shape, signed without the crate under test.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::now;

/// The key of every server that does not set another.
pub(crate) const KEY: &[u8] = b"kY3vW8qLr5Zt1Nc7Xb2Mf9Hs4Gd6Jp0QaTuEiOyRwSxV";

/// The hash of an HMAC signature.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The `alg` header value.
    pub(crate) fn alg(self) -> &'static str {
        match self {
            Self::Sha256 => "HS256",
            Self::Sha384 => "HS384",
            Self::Sha512 => "HS512",
        }
    }

    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// Bytes as base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of exactly these header and payload bytes.
pub(crate) fn sign(hash: Hash, key: &[u8], header: &[u8], payload: &[u8]) -> String {
    let message = format!("{}.{}", base64url(header), base64url(payload));
    let tag = hmac::sign(&hmac::Key::new(hash.algorithm(), key), message.as_bytes());
    format!("{message}.{}", base64url(tag.as_ref()))
}

/// The payload of a token as JSON; nothing is checked.
pub(crate) fn payload(token: &str) -> Value {
    decode_part(token, 1)
}

/// The header of a token as JSON; nothing is checked.
pub(crate) fn header(token: &str) -> Value {
    decode_part(token, 0)
}

fn decode_part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap_or_else(|| panic!("no part {index} in {token:?}"));
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The jti of a token; nothing is checked.
pub(crate) fn jti(token: &str) -> String {
    payload(token)["jti"].as_str().expect("a jti").to_owned()
}

/// A payload that the server accepts (if it knows the jti, or need not), to be spoiled at will.
#[derive(Clone, Debug)]
pub(crate) struct Claims(Map<String, Value>);

/// What a token of this kind (`access`, `refresh`, `sliding`, or any other word) says: issued just now, good for five
/// minutes, of user 1, with a fresh jti and no session.
pub(crate) fn claims(kind: &str) -> Claims {
    let claims = Claims(Map::new())
        .with("token_type", kind)
        .with("exp", now() + 300)
        .with("iat", now())
        .with("jti", uuid::Uuid::new_v4().simple().to_string())
        .with("user_id", "1");
    if kind == "sliding" { claims.with("refresh_exp", now() + 86_400) } else { claims }
}

impl Claims {
    /// Sets or replaces a member.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a member.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// What a member says; fails if there is none.
    pub(crate) fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("no claim {name}"))
    }

    /// The jti.
    pub(crate) fn jti(&self) -> &str {
        self.get("jti").as_str().expect("a jti that is a string")
    }

    /// The JSON text.
    pub(crate) fn json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// The token with our key and HS256.
    pub(crate) fn sign(&self) -> String {
        self.sign_with(Hash::Sha256, KEY)
    }

    /// The token with any key and any hash.
    pub(crate) fn sign_with(&self, hash: Hash, key: &[u8]) -> String {
        let header = json!({"alg": hash.alg(), "typ": "JWT"}).to_string();
        sign(hash, key, header.as_bytes(), self.json().as_bytes())
    }

    /// The token with our key, HS256 and this header.
    pub(crate) fn sign_under(&self, header: &Value) -> String {
        sign(Hash::Sha256, KEY, header.to_string().as_bytes(), self.json().as_bytes())
    }
}
