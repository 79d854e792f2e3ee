//! What can be wrong with a token, a claim, a key.

/// Why a token is not good. The text is simplejwt's, and is what a client is told; the reason behind "invalid" is for
/// the log only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token of ours, or says something that we do not take.
    #[error("Token is invalid")]
    Invalid(TokenFault),
    /// Its `exp` has come.
    #[error("Token is expired")]
    Expired,
    /// A claim that every token has is absent.
    #[error("Token has no '{0}' claim")]
    MissingClaim(String),
    /// A second time limit, such as `refresh_exp`, has come.
    #[error("Token '{0}' claim has expired")]
    ClaimExpired(String),
    /// It has no jti, so nothing could ever revoke it.
    #[error("Token has no id")]
    NoId,
    /// It does not say what kind of token it is.
    #[error("Token has no type")]
    NoType,
    /// It is of another kind than the one asked for.
    #[error("Token has wrong type")]
    WrongType,
}

/// What exactly made a token invalid. Says nothing of its content, so that it can be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// More than 8 KiB.
    #[error("longer than 8 KiB")]
    TooLong,
    /// Not three parts of unpadded base64url.
    #[error("not three base64url parts")]
    Shape,
    /// A header that is no JSON object of `alg`, `kid` and `typ`.
    #[error("header not understood")]
    Header,
    /// A `typ` header for something else.
    #[error("typ header for something else")]
    Typ,
    /// No key of ours has this algorithm and `kid`.
    #[error("no key for its alg and kid")]
    UnknownKey,
    /// The signature is not one of that key.
    #[error("wrong signature")]
    Signature,
    /// The claims are no JSON object, or one of them has the wrong type or stands there twice.
    #[error("claims not understood")]
    Claims,
    /// `nbf` or `iat` lies in the future, or `iat` after `exp`.
    #[error("not valid yet")]
    NotYetValid,
    /// It would live longer than `max_token_lifetime`.
    #[error("lives too long")]
    TooLongLived,
    /// `iss` is not the one configured.
    #[error("wrong issuer")]
    Issuer,
    /// `aud` names none of those configured.
    #[error("wrong audience")]
    Audience,
}

/// Why a custom claim cannot be read as the type asked for.
#[derive(Debug, thiserror::Error)]
#[error("the claim '{name}' has another type")]
pub struct ClaimError {
    /// The name of the claim.
    pub name: String,
    /// What the reader found.
    #[source]
    pub source: serde_json::Error,
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// There is no key to sign with: this process only verifies.
    #[error("no signing key is configured; set `signing_key` or `signing_key_file`")]
    NoSigningKey,
    /// A custom claim would overwrite one that we set.
    #[error("the claim '{0}' is set by the token itself and cannot be given")]
    ReservedClaim(String),
    /// Claims that no verifier of ours would read back, such as an `nbf` that is no time.
    #[error(
        "with these claims nobody could read the token: `nbf` must be a number, and values must not be nested too deeply"
    )]
    Unreadable,
    /// The token would be longer than any verifier of ours reads.
    #[error("with these claims the token is longer than 8 KiB")]
    TooLong,
    /// The key failed to sign.
    #[error("the signing key failed to sign")]
    Signing,
}

/// Why a key is refused. The text names the key's `kid`, never the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A secret shorter than its hash (RFC 7518 §3.2).
    #[error(
        "a key for {algorithm} needs at least {least} bytes, this one has {found}; make one with `simplejwt keys generate`"
    )]
    TooShort {
        /// The algorithm it is meant for.
        algorithm: super::Algorithm,
        /// How many bytes it needs.
        least: usize,
        /// How many it has.
        found: usize,
    },
    /// A secret that is printed in documentation.
    #[error("the key is a sample from the documentation; make one with `simplejwt keys generate`")]
    Sample,
    /// PEM text where a secret is expected.
    #[error("the key is PEM text, but {0} takes a secret; set `algorithm` to the one the key is made for")]
    PemAsSecret(super::Algorithm),
    /// No PEM, or PEM of another kind.
    #[error("the key is no PEM text that {algorithm} can use: {hint}")]
    NotPem {
        /// The algorithm it is meant for.
        algorithm: super::Algorithm,
        /// What would do.
        hint: &'static str,
    },
    /// Too weak, off its curve, or otherwise no good key for its algorithm.
    #[error("the key is no good for {algorithm}: {why}")]
    Unfit {
        /// The algorithm it is meant for.
        algorithm: super::Algorithm,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two keys that a token could not tell apart.
    #[error("two keys have the same `kid` ({0}); give each its own")]
    DuplicateKid(String),
    /// Two keys without `kid` for the same algorithm.
    #[error("two keys for {0} have no `kid`; give at least one of them a `kid`")]
    Ambiguous(super::Algorithm),
    /// Secrets and public keys in one ring: the way to take a public key for a secret.
    #[error("keys for HMAC and keys for signatures cannot verify side by side")]
    MixedFamilies,
    /// More than one key verifies, and the one that signs has no name.
    #[error("more than one key verifies, so the signing key needs a `kid`; set `signing_key_id`")]
    SigningKeyUnnamed,
    /// A key set that is no JWK Set.
    #[error("the document is no JWK Set (RFC 7517 §5) with a usable key")]
    NotAKeySet,
}
