//! Text to [`Verified`]. Nothing else in this crate decides whether a token is genuine.
//!
//! The order is: length and shape, header, one key with one algorithm, signature, claims, time, issuer and audience, jti. The
//! signature is checked before anything that the token says is looked at, let alone looked up.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::claims::{CSRF, FRESH};
use super::header::Header;
use super::{ClaimError, ClaimNames, Claims, Jti, KeyRing, SessionId, StatedKind, TokenError, TokenFault, TokenKind};

/// The longest token that is looked at, in bytes.
pub(super) const MAX_LENGTH: usize = 8 * 1024;

/// What a token must say to be taken, beside its signature.
#[derive(Clone, Debug, Default)]
pub struct TokenRules {
    /// How the claims are called.
    pub names: ClaimNames,
    /// The `iss` that every token must have, and gets.
    pub issuer: Option<String>,
    /// The audiences of which every token must name one, and gets all. Empty: `aud` is not looked at.
    pub audience: Vec<String>,
    /// By how many seconds a clock may be wrong.
    pub leeway: i64,
    /// Whether the `typ` header must say the kind of token (RFC 8725 §3.11).
    pub explicit_typ: bool,
    /// How many seconds into the future `exp` may lie at most.
    pub max_token_lifetime: Option<i64>,
    /// What the names of public claims begin with.
    pub public_claim_namespace: String,
    /// What the names of private claims begin with.
    pub private_claim_prefix: String,
}

/// Checks tokens.
#[derive(Clone, Debug)]
pub struct Verifier {
    ring: Arc<KeyRing>,
    rules: Arc<TokenRules>,
}

impl Verifier {
    /// A verifier that takes what the ring's keys signed.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>, rules: Arc<TokenRules>) -> Self {
        Self { ring, rules }
    }

    /// Checks everything about a token but its kind and whether somebody revoked it.
    ///
    /// # Errors
    /// [`TokenError`], the first thing that is wrong.
    pub fn verify(&self, text: &str, now: DateTime<Utc>) -> Result<Verified, TokenError> {
        let claims = self.signed(text)?;
        let exp = self.check_times(&claims, now.timestamp())?;
        self.check_origin(&claims)?;
        let jti = claims.jti.clone().ok_or(TokenError::NoId)?;
        Ok(Verified { jti, exp, claims, rules: Arc::clone(&self.rules) })
    }

    /// The jti of a token that one of the ring's keys signed, for whoever looks for its record: its time may be over. It is no
    /// reason to trust the token.
    ///
    /// # Errors
    /// [`TokenError`], the first thing that is wrong beside its time.
    pub fn jti_of(&self, text: &str) -> Result<Jti, TokenError> {
        let claims = self.signed(text)?;
        self.check_origin(&claims)?;
        claims.jti.ok_or(TokenError::NoId)
    }

    /// What a token claims that one of the ring's keys signed.
    fn signed(&self, text: &str) -> Result<Claims, TokenError> {
        if text.len() > MAX_LENGTH {
            return Err(TokenError::Invalid(TokenFault::TooLong));
        }
        let (signed, header, payload, signature) = split(text).ok_or(TokenError::Invalid(TokenFault::Shape))?;

        let header = decode(header)?;
        let header = Header::parse(&header).ok_or(TokenError::Invalid(TokenFault::Header))?;
        let key =
            self.ring.select(&header.alg, header.kid.as_deref()).ok_or(TokenError::Invalid(TokenFault::UnknownKey))?;
        if !key.verifies(signed.as_bytes(), &decode(signature)?) {
            return Err(TokenError::Invalid(TokenFault::Signature));
        }

        let claims = Claims::parse(&decode(payload)?, &self.rules.names);
        let claims = claims.ok_or(TokenError::Invalid(TokenFault::Claims))?;
        self.check_typ(header.typ.as_deref(), claims.kind)?;
        Ok(claims)
    }

    fn check_typ(&self, typ: Option<&str>, kind: StatedKind) -> Result<(), TokenError> {
        let fits = match (self.rules.explicit_typ, typ, kind) {
            (true, Some(typ), StatedKind::Known(kind)) => typ.eq_ignore_ascii_case(kind.explicit_typ()),
            (true, ..) => false,
            (false, typ, _) => typ.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT")),
        };
        if fits { Ok(()) } else { Err(TokenError::Invalid(TokenFault::Typ)) }
    }

    /// Gives `exp`. A token that says none is refused: it could never be forgotten.
    fn check_times(&self, claims: &Claims, now: i64) -> Result<i64, TokenError> {
        let TokenRules { leeway, max_token_lifetime, .. } = *self.rules;
        let exp = claims.exp.ok_or_else(|| TokenError::MissingClaim("exp".into()))?;
        if now >= exp.saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        let starts = [claims.nbf, claims.iat];
        let early = starts.into_iter().flatten().any(|start| start > now.saturating_add(leeway));
        if early || claims.iat.is_some_and(|iat| iat < 0 || iat > exp) {
            return Err(TokenError::Invalid(TokenFault::NotYetValid));
        }
        if max_token_lifetime.is_some_and(|most| exp > now.saturating_add(most).saturating_add(leeway)) {
            return Err(TokenError::Invalid(TokenFault::TooLongLived));
        }
        Ok(exp)
    }

    fn check_origin(&self, claims: &Claims) -> Result<(), TokenError> {
        if let Some(issuer) = &self.rules.issuer
            && claims.others.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(TokenError::Invalid(TokenFault::Issuer));
        }
        let ours = |name: &Value| name.as_str().is_some_and(|name| self.rules.audience.iter().any(|own| own == name));
        let meant = match claims.others.get("aud") {
            _ if self.rules.audience.is_empty() => true,
            Some(Value::Array(names)) => names.iter().all(Value::is_string) && names.iter().any(ours),
            Some(name) => ours(name),
            None => false,
        };
        if meant { Ok(()) } else { Err(TokenError::Invalid(TokenFault::Audience)) }
    }
}

/// What is signed, and the three parts. Exactly two dots: a token of five parts is an encrypted one.
fn split(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    if payload.contains('.') { None } else { Some((signed, header, payload, signature)) }
}

/// Unpadded base64url, where no text has two spellings.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Invalid(TokenFault::Shape))
}

/// A token whose signature and claims are good. Only a [`Verifier`] makes one.
///
/// It may still be revoked, or be of another kind than is wanted: [`Verified::require`] asks for the kind.
#[derive(Clone, Debug)]
pub struct Verified {
    jti: Jti,
    exp: i64,
    claims: Claims,
    rules: Arc<TokenRules>,
}

impl Verified {
    /// Its identity.
    #[must_use]
    pub fn jti(&self) -> &Jti {
        &self.jti
    }

    /// What it says of its kind.
    #[must_use]
    pub fn kind(&self) -> StatedKind {
        self.claims.kind
    }

    /// The login that it descends from, if we issued it.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.claims.session
    }

    /// The user's id, as the claim has it.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.claims.user.as_deref()
    }

    /// When it expires.
    #[must_use]
    pub fn expires_at(&self) -> DateTime<Utc> {
        instant(self.exp)
    }

    /// When it was issued, if it says so.
    #[must_use]
    pub fn issued_at(&self) -> Option<DateTime<Utc>> {
        self.claims.iat.map(instant)
    }

    /// For a sliding token: until when it can be renewed.
    #[must_use]
    pub fn refresh_expires_at(&self) -> Option<DateTime<Utc>> {
        self.claims.refresh_exp.map(instant)
    }

    /// The claims that are neither the token's own (`token_type`, `exp`, `iat`, `jti`) nor the user nor the session.
    #[must_use]
    pub fn custom_claims(&self) -> &Map<String, Value> {
        &self.claims.others
    }

    /// One of the custom claims, as `T`; [`None`] where the token has none of that name.
    ///
    /// # Errors
    /// [`ClaimError`], where the claim is no `T`.
    pub fn claim<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ClaimError> {
        let read = |value: &Value| serde_json::from_value(value.clone());
        let found = self.claims.others.get(name).map(read).transpose();
        found.map_err(|source| ClaimError { name: name.into(), source })
    }

    /// One of the public claims, as [`Verified::claim`]: its name gets the setting `public_claim_namespace` in front.
    ///
    /// # Errors
    /// [`ClaimError`], where the claim is no `T`.
    pub fn public_claim<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ClaimError> {
        self.claim(&format!("{}{name}", self.rules.public_claim_namespace))
    }

    /// One of the private claims, as [`Verified::claim`]: its name gets the setting `private_claim_prefix` in front.
    ///
    /// # Errors
    /// [`ClaimError`], where the claim is no `T`.
    pub fn private_claim<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ClaimError> {
        self.claim(&format!("{}{name}", self.rules.private_claim_prefix))
    }

    /// The secret that a page has to send back with the token's cookie: for a hidden field of a form. Only where tokens travel in cookies.
    #[must_use]
    pub fn csrf(&self) -> Option<&str> {
        self.claims.others.get(CSRF).and_then(Value::as_str)
    }

    /// Whether it comes right from a login: its claim `fresh` is `true`, or an instant after `now`.
    #[must_use]
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        match self.claims.others.get(FRESH) {
            Some(Value::Bool(fresh)) => *fresh,
            Some(Value::Number(until)) => until.as_i64().is_some_and(|until| now.timestamp() < until),
            _ => false,
        }
    }

    /// Asks for a kind of token.
    ///
    /// # Errors
    /// [`TokenError::NoType`] or [`TokenError::WrongType`].
    pub fn require(&self, kind: TokenKind) -> Result<(), TokenError> {
        match self.claims.kind {
            StatedKind::Known(stated) if stated == kind => Ok(()),
            StatedKind::Missing => Err(TokenError::NoType),
            _ => Err(TokenError::WrongType),
        }
    }

    /// For a sliding token: asks that its time to be renewed has not passed, and gives the end of that time.
    ///
    /// # Errors
    /// [`TokenError::MissingClaim`] or [`TokenError::ClaimExpired`].
    pub fn require_renewable(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, TokenError> {
        let name = || self.rules.names.refresh_exp.clone();
        let end = self.claims.refresh_exp.ok_or_else(|| TokenError::MissingClaim(name()))?;
        let passed = now.timestamp() >= end.saturating_add(self.rules.leeway);
        if passed { Err(TokenError::ClaimExpired(name())) } else { Ok(instant(end)) }
    }

    /// The claims that a descendant of this token inherits (simplejwt's rule): all but those that are set anew.
    pub(crate) fn inherited(&self) -> Map<String, Value> {
        self.claims.inherited()
    }
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
