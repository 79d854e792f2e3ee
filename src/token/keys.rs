//! Which key signs, and which keys verify.
//!
//! A key is bound to one algorithm when it is loaded. A token's header can only choose among the keys that are here, by `kid`
//! and `alg` together; it can never bring one, name a file or a URL, or use a key with another algorithm.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::algorithm::Family;
use super::{Algorithm, KeyError, MintError, jwk, pem};

/// The key printed in the documentation. Whoever copies it gets an error, not a service that anybody can forge tokens for.
const SAMPLE_KEY: &str = "change-me-change-me-change-me-change-me";

/// A key that makes signatures. Its [`Debug`](fmt::Debug) shows the algorithm and `kid` only.
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    kid: Option<String>,
    private: EncodingKey,
    public: DecodingKey,
}

impl SigningKey {
    /// A key for `algorithm` from its text: a secret for HMAC, PEM (PKCS #8) for the others.
    ///
    /// # Errors
    /// [`KeyError`], where the key is weak, a documentation sample, or not made for the algorithm.
    pub fn from_text(algorithm: Algorithm, kid: Option<String>, text: &[u8]) -> Result<Self, KeyError> {
        let (private, public) = if algorithm.family() == Family::Hmac {
            check_secret(algorithm, text)?;
            (EncodingKey::from_secret(text), DecodingKey::from_secret(text))
        } else {
            pem::private_key(algorithm, text)?
        };
        Ok(Self { algorithm, kid, private, public })
    }

    /// The algorithm that this key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's name, which goes into the header of every token that it signs.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey::new(self.algorithm, self.kid.clone(), self.public.clone())
    }

    /// Signs with the library that this crate was built with, whatever other features of it a dependent turned on.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        (DEFAULT_PROVIDER.signer_factory)(&self.algorithm.library(), &self.private)
            .ok()
            .and_then(|signer| signer.try_sign(message).ok())
            .ok_or(MintError::Signing)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A key that checks signatures. Its [`Debug`](fmt::Debug) shows the algorithm and `kid` only.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: Option<String>,
    public: DecodingKey,
}

impl VerifyingKey {
    pub(super) fn new(algorithm: Algorithm, kid: Option<String>, public: DecodingKey) -> Self {
        Self { algorithm, kid, public }
    }

    /// A key for `algorithm` from its text: a secret for HMAC, a public key in PEM for the others.
    ///
    /// # Errors
    /// [`KeyError`], where the key is weak, a documentation sample, or not made for the algorithm.
    pub fn from_text(algorithm: Algorithm, kid: Option<String>, text: &[u8]) -> Result<Self, KeyError> {
        let public = if algorithm.family() == Family::Hmac {
            check_secret(algorithm, text)?;
            DecodingKey::from_secret(text)
        } else {
            pem::public_key(algorithm, text)?
        };
        Ok(Self { algorithm, kid, public })
    }

    /// The usable keys of a JWK Set (RFC 7517 §5). Keys of other kinds, without `kid` or for encryption are passed over.
    ///
    /// # Errors
    /// [`KeyError`], where there is no usable key, or one that only looks usable.
    pub fn from_jwk_set(json: &[u8], algorithm: Algorithm) -> Result<Vec<Self>, KeyError> {
        jwk::key_set(json, algorithm)
    }

    /// The one algorithm that this key verifies.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's name.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether both are the same key, whatever they are called.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        use jsonwebtoken::DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        self.algorithm == other.algorithm
            && match (self.public.kind(), other.public.kind()) {
                (SecretOrDer(own), SecretOrDer(theirs)) => own == theirs,
                (RsaModulusExponent { n, e }, RsaModulusExponent { n: m, e: f }) => n == m && e == f,
                _ => false,
            }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.library(), &self.public)
            .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

fn check_secret(algorithm: Algorithm, secret: &[u8]) -> Result<(), KeyError> {
    if secret.starts_with(b"-----BEGIN") {
        return Err(KeyError::PemAsSecret(algorithm));
    }
    if secret == SAMPLE_KEY.as_bytes() {
        return Err(KeyError::Sample);
    }
    let (least, found) = (algorithm.least_secret(), secret.len());
    if found < least { Err(KeyError::TooShort { algorithm, least, found }) } else { Ok(()) }
}

/// The keys of one process: at most one that signs, and those that verify.
#[derive(Debug, Default)]
pub struct KeyRing {
    signing: Option<SigningKey>,
    fixed: Vec<VerifyingKey>,
    fetched: RwLock<Arc<[VerifyingKey]>>,
}

impl KeyRing {
    /// A ring of `signing`, whose public half verifies too, and `verifying`.
    ///
    /// # Errors
    /// [`KeyError`], where a token could not tell two keys apart, or secrets and public keys would stand side by side.
    pub fn new(signing: Option<SigningKey>, verifying: Vec<VerifyingKey>) -> Result<Self, KeyError> {
        let own = signing.as_ref().map(SigningKey::verifying_key);
        let fixed: Vec<_> = own.into_iter().chain(verifying).collect();
        distinguishable(&fixed)?;
        if fixed.len() > 1 && signing.as_ref().is_some_and(|key| key.kid.is_none()) {
            return Err(KeyError::SigningKeyUnnamed);
        }
        Ok(Self { signing, fixed, fetched: RwLock::default() })
    }

    /// The key that signs, if this process issues tokens.
    #[must_use]
    pub fn signing(&self) -> Option<&SigningKey> {
        self.signing.as_ref()
    }

    /// Every key that verifies now.
    #[must_use]
    pub fn verifying(&self) -> Vec<VerifyingKey> {
        self.fixed.iter().chain(self.fetched().iter()).cloned().collect()
    }

    /// Replaces the keys that came from a key set elsewhere; the configured ones stay.
    ///
    /// # Errors
    /// [`KeyError`], as [`KeyRing::new`]. The keys of before stay in use then.
    pub fn replace_fetched(&self, keys: Vec<VerifyingKey>) -> Result<(), KeyError> {
        // An issuer finds its own key in the set that it publishes.
        let known = |key: &VerifyingKey| self.fixed.iter().any(|own| own.is_same_key(key));
        let keys: Vec<_> = keys.into_iter().filter(|key| !known(key)).collect();
        distinguishable(&[self.fixed.as_slice(), keys.as_slice()].concat())?;
        *self.fetched.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(())
    }

    /// The one key that a header with this `alg` and `kid` can mean. Without `kid` it is the key that has none, or the only
    /// key of that algorithm.
    pub(super) fn select(&self, alg: &str, kid: Option<&str>) -> Option<VerifyingKeyRef<'_>> {
        let suits = |key: &&VerifyingKey| key.algorithm.as_str() == alg && kid.is_none_or(|kid| key.kid() == Some(kid));
        let mut fixed = self.fixed.iter().filter(suits);
        if let Some(first) = fixed.next() {
            let unnamed = || self.fixed.iter().filter(suits).find(|key| key.kid.is_none());
            return match fixed.next() {
                None => Some(VerifyingKeyRef::Fixed(first)),
                Some(_) => unnamed().map(VerifyingKeyRef::Fixed),
            };
        }
        let fetched = self.fetched();
        let mut candidates = (0..fetched.len()).filter(|index| suits(&&fetched[*index]));
        match (candidates.next(), candidates.next()) {
            (Some(index), None) => Some(VerifyingKeyRef::Fetched(Arc::clone(&fetched), index)),
            _ => None,
        }
    }

    fn fetched(&self) -> Arc<[VerifyingKey]> {
        Arc::clone(&self.fetched.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A key of the ring, found without copying it.
pub(super) enum VerifyingKeyRef<'a> {
    Fixed(&'a VerifyingKey),
    Fetched(Arc<[VerifyingKey]>, usize),
}

impl VerifyingKeyRef<'_> {
    pub(super) fn verifies(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        match self {
            Self::Fixed(key) => key.verifies(message, signature),
            Self::Fetched(keys, index) => keys.get(*index).is_some_and(|key| key.verifies(message, signature)),
        }
    }
}

fn distinguishable(keys: &[VerifyingKey]) -> Result<(), KeyError> {
    for (index, key) in keys.iter().enumerate() {
        for other in &keys[..index] {
            match (&key.kid, &other.kid) {
                (Some(kid), Some(same)) if kid == same => return Err(KeyError::DuplicateKid(kid.clone())),
                (None, None) if key.algorithm == other.algorithm => return Err(KeyError::Ambiguous(key.algorithm)),
                _ => {}
            }
            if key.algorithm.is_symmetric() != other.algorithm.is_symmetric() {
                return Err(KeyError::MixedFamilies);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(kid: Option<&str>, fill: char) -> VerifyingKey {
        let text = fill.to_string().repeat(64);
        VerifyingKey::from_text(Algorithm::HS256, kid.map(Into::into), text.as_bytes()).expect("a good secret")
    }

    #[test]
    fn weak_and_sample_secrets_are_refused() {
        let load = |text: &str| SigningKey::from_text(Algorithm::HS256, None, text.as_bytes());
        assert!(matches!(load(""), Err(KeyError::TooShort { found: 0, .. })));
        assert!(matches!(load(&"k".repeat(31)), Err(KeyError::TooShort { found: 31, .. })));
        assert!(load(&"k".repeat(32)).is_ok());
        assert!(matches!(load(SAMPLE_KEY), Err(KeyError::Sample)));
        assert!(matches!(load("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ"), Err(KeyError::PemAsSecret(_))));
        let long = SigningKey::from_text(Algorithm::HS512, None, "k".repeat(63).as_bytes());
        assert!(matches!(long, Err(KeyError::TooShort { least: 64, .. })));
    }

    #[test]
    fn keys_that_a_token_cannot_tell_apart_are_refused() {
        let ring = |keys| KeyRing::new(None, keys);
        assert!(matches!(ring(vec![secret(Some("a"), 'a'), secret(Some("a"), 'b')]), Err(KeyError::DuplicateKid(_))));
        assert!(matches!(ring(vec![secret(None, 'a'), secret(None, 'b')]), Err(KeyError::Ambiguous(_))));
        assert!(ring(vec![secret(None, 'a'), secret(Some("b"), 'b')]).is_ok());
        let signing = SigningKey::from_text(Algorithm::HS256, None, "s".repeat(64).as_bytes()).expect("a good secret");
        assert!(matches!(KeyRing::new(Some(signing), vec![secret(Some("b"), 'b')]), Err(KeyError::SigningKeyUnnamed)));
    }

    #[test]
    fn a_header_selects_by_kid_and_algorithm_together() {
        let ring = KeyRing::new(None, vec![secret(None, 'a'), secret(Some("b"), 'b')]).expect("a good ring");
        assert!(ring.select("HS256", None).is_some());
        assert!(ring.select("HS256", Some("b")).is_some());
        assert!(ring.select("HS256", Some("c")).is_none());
        assert!(ring.select("HS384", Some("b")).is_none());
        assert!(ring.select("none", None).is_none());
        let named = KeyRing::new(None, vec![secret(Some("a"), 'a'), secret(Some("b"), 'b')]).expect("a good ring");
        assert!(named.select("HS256", None).is_none(), "no kid, two keys: nothing to choose by");
    }

    #[test]
    fn an_issuer_may_find_its_own_key_in_the_set_that_it_publishes() {
        let text = crate::token::generate_key(Algorithm::EdDSA).expect("randomness");
        let key = SigningKey::from_text(Algorithm::EdDSA, Some("a".into()), text.as_bytes()).expect("a good key");
        let other = crate::token::generate_key(Algorithm::EdDSA).expect("randomness");
        let other = SigningKey::from_text(Algorithm::EdDSA, Some("a".into()), other.as_bytes()).expect("a good key");
        let own = key.verifying_key();
        let ring = KeyRing::new(Some(key), vec![]).expect("a good ring");
        assert!(ring.replace_fetched(vec![own]).is_ok());
        assert_eq!(ring.verifying().len(), 1);
        let conflict = ring.replace_fetched(vec![other.verifying_key()]);
        assert!(matches!(conflict, Err(KeyError::DuplicateKid(_))), "another key of the same name");
    }

    #[test]
    fn debug_shows_no_key() {
        let key =
            SigningKey::from_text(Algorithm::HS256, None, "topsecret".repeat(8).as_bytes()).expect("a good secret");
        let ring = KeyRing::new(Some(key), vec![]).expect("a good ring");
        assert!(!format!("{ring:?}").contains("topsecret"));
    }
}
