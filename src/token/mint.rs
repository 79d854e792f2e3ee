//! Claims and a key to text.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::claims::SESSION;
use super::verify::MAX_LENGTH;
use super::{Claims, Jti, KeyRing, MintError, SessionId, TokenKind, TokenRules};

/// What a token to be says.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its kind.
    pub kind: TokenKind,
    /// Its identity.
    pub jti: Jti,
    /// When it was issued; whole seconds count.
    pub issued_at: DateTime<Utc>,
    /// When it expires; whole seconds count.
    pub expires_at: DateTime<Utc>,
    /// For a sliding token: until when it can be renewed.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// Whose it is.
    pub user: Option<String>,
    /// The login that it descends from.
    pub session: Option<SessionId>,
    /// Every other claim.
    pub custom: Map<String, Value>,
}

/// Makes tokens.
#[derive(Clone, Debug)]
pub struct Minter {
    ring: Arc<KeyRing>,
    rules: Arc<TokenRules>,
}

impl Minter {
    /// A minter that signs with the ring's signing key.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>, rules: Arc<TokenRules>) -> Self {
        Self { ring, rules }
    }

    /// The text of the token.
    ///
    /// # Errors
    /// [`MintError`]: no signing key, a custom claim with a reserved name, or more text than a verifier reads.
    pub fn mint(&self, token: &NewToken) -> Result<String, MintError> {
        let key = self.ring.signing().ok_or(MintError::NoSigningKey)?;
        let typ = if self.rules.explicit_typ { token.kind.explicit_typ() } else { "JWT" };
        let mut header = json!({ "alg": key.algorithm().as_str(), "typ": typ });
        if let Some(kid) = key.kid() {
            header["kid"] = kid.into();
        }
        let claims = Value::Object(self.claims(token)?).to_string();
        if Claims::parse(claims.as_bytes(), &self.rules.names).is_none() {
            return Err(MintError::Unreadable);
        }
        let mut text = URL_SAFE_NO_PAD.encode(header.to_string());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut text);
        let signature = key.sign(text.as_bytes())?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        if text.len() > MAX_LENGTH { Err(MintError::TooLong) } else { Ok(text) }
    }

    fn claims(&self, token: &NewToken) -> Result<Map<String, Value>, MintError> {
        let names = &self.rules.names;
        if let Some(name) = token.custom.keys().find(|name| names.is_reserved(name)) {
            return Err(MintError::ReservedClaim(name.clone()));
        }
        let mut claims = token.custom.clone();
        let mut set = |name: &str, value: Value| claims.insert(name.into(), value);
        set(&names.token_type, token.kind.as_str().into());
        set("exp", token.expires_at.timestamp().into());
        set("iat", token.issued_at.timestamp().into());
        set(&names.jti, token.jti.as_str().into());
        if let Some(at) = token.refresh_expires_at {
            set(&names.refresh_exp, at.timestamp().into());
        }
        if let Some(user) = &token.user {
            set(&names.user_id, user.as_str().into());
        }
        if let Some(session) = token.session {
            set(SESSION, session.to_string().into());
        }
        if let Some(issuer) = &self.rules.issuer {
            set("iss", issuer.as_str().into());
        }
        match self.rules.audience.as_slice() {
            [] => None,
            [one] => set("aud", one.as_str().into()),
            many => set("aud", many.into()),
        };
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::token::{Algorithm, SigningKey};

    fn mint(custom: Value) -> Result<String, MintError> {
        let key = SigningKey::from_text(Algorithm::HS256, None, "k".repeat(40).as_bytes()).expect("a good key");
        let ring = Arc::new(KeyRing::new(Some(key), vec![]).expect("a good ring"));
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a good time");
        let Value::Object(custom) = custom else { panic!("claims are an object") };
        let token = NewToken {
            kind: TokenKind::Access,
            jti: Jti::random(),
            issued_at: now,
            expires_at: now + TimeDelta::minutes(5),
            refresh_expires_at: None,
            user: None,
            session: None,
            custom,
        };
        Minter::new(ring, Arc::default()).mint(&token)
    }

    #[test]
    fn what_could_not_be_read_back_is_not_minted() {
        assert!(mint(json!({ "role": "editor", "nbf": 1_800_000_000 })).is_ok());
        for reserved in ["exp", "iat", "jti", "token_type", "user_id", "refresh_exp", "sid"] {
            assert!(matches!(mint(json!({ reserved: 1 })), Err(MintError::ReservedClaim(_))), "{reserved}");
        }
        assert!(matches!(mint(json!({ "nbf": "soon" })), Err(MintError::Unreadable)));
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        assert!(matches!(mint(json!({ "deep": deep })), Err(MintError::Unreadable)));
        assert!(matches!(mint(json!({ "long": "x".repeat(9000) })), Err(MintError::TooLong)));
        assert!(matches!(
            Minter::new(Arc::default(), Arc::default()).mint(&NewToken {
                kind: TokenKind::Access,
                jti: Jti::random(),
                issued_at: DateTime::default(),
                expires_at: DateTime::default(),
                refresh_expires_at: None,
                user: None,
                session: None,
                custom: Map::new(),
            }),
            Err(MintError::NoSigningKey)
        ));
    }
}
