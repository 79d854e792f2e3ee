//! JSON Web Key sets (RFC 7517) to verifying keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::algorithm::Family;
use super::{Algorithm, KeyError, VerifyingKey, pem};

/// A key set of more keys than this is refused: nobody rotates that many.
const MOST_KEYS: usize = 100;

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a JWK Set that may verify with `algorithm`. As RFC 7517 §5 wants, keys of other types, uses and algorithms
/// are passed over; so are those without `kid`, which no token could name, and secrets, which have no place in a published
/// set.
///
/// # Errors
/// Where the document is no key set, holds no usable key, holds two of the same `kid`, or holds a usable-looking key that is
/// weak or off its curve.
pub(super) fn key_set(json: &[u8], algorithm: Algorithm) -> Result<Vec<VerifyingKey>, KeyError> {
    let set: KeySet = serde_json::from_slice(json).map_err(|_| KeyError::NotAKeySet)?;
    if set.keys.len() > MOST_KEYS {
        return Err(KeyError::NotAKeySet);
    }
    let mut keys: Vec<VerifyingKey> = Vec::new();
    for jwk in set.keys {
        let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else { continue };
        let Some(kid) = jwk.kid.clone().filter(|_| jwk.serves(algorithm)) else { continue };
        if keys.iter().any(|key| key.kid() == Some(kid.as_str())) {
            return Err(KeyError::DuplicateKid(kid));
        }
        keys.push(VerifyingKey::new(algorithm, Some(kid), jwk.key(algorithm)?));
    }
    if keys.is_empty() { Err(KeyError::NotAKeySet) } else { Ok(keys) }
}

impl Jwk {
    fn serves(&self, algorithm: Algorithm) -> bool {
        let kty = match algorithm.family() {
            Family::Hmac => return false,
            Family::Rsa => "RSA",
            Family::Ec => "EC",
            Family::Ed => "OKP",
        };
        let curve = match algorithm {
            Algorithm::ES256 => Some("P-256"),
            Algorithm::ES384 => Some("P-384"),
            Algorithm::EdDSA => Some("Ed25519"),
            _ => None,
        };
        self.kty == kty
            && (curve.is_none() || self.crv.as_deref() == curve)
            && self.alg.as_deref().is_none_or(|alg| alg == algorithm.as_str())
            && self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"))
    }

    fn key(&self, algorithm: Algorithm) -> Result<jsonwebtoken::DecodingKey, KeyError> {
        let part = |text: &Option<String>| {
            text.as_ref()
                .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
                .ok_or(KeyError::Unfit { algorithm, why: "a member of the JWK is missing or no base64url" })
        };
        match algorithm.family() {
            Family::Hmac => Err(KeyError::NotAKeySet),
            Family::Rsa => pem::rsa(algorithm, &part(&self.n)?, &part(&self.e)?),
            Family::Ec => pem::ec(algorithm, &[&[4], part(&self.x)?.as_slice(), part(&self.y)?.as_slice()].concat()),
            Family::Ed => pem::ed(algorithm, &part(&self.x)?),
        }
    }
}
