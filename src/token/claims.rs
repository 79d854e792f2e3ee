//! The payload of a token, with exact JSON types.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{Jti, SessionId, StatedKind};

/// The latest instant that a token may name: the end of the year 9999, in seconds since 1970.
const END_OF_TIME: i64 = 253_402_300_799;

/// How the claims are called whose names can be set, as in simplejwt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// `token_type_claim`
    pub token_type: String,
    /// `jti_claim`
    pub jti: String,
    /// `user_id_claim`
    pub user_id: String,
    /// `sliding_token_refresh_exp_claim`
    pub refresh_exp: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            token_type: "token_type".into(),
            jti: "jti".into(),
            user_id: "user_id".into(),
            refresh_exp: "refresh_exp".into(),
        }
    }
}

impl ClaimNames {
    /// Whether the token itself sets this claim, so that nobody else may.
    pub(super) fn is_reserved(&self, name: &str) -> bool {
        [&self.token_type, &self.jti, &self.user_id, &self.refresh_exp].into_iter().any(|own| own == name)
            || ["exp", "iat", "jti", SESSION].contains(&name)
    }
}

/// The claim that names the session.
pub(super) const SESSION: &str = "sid";

/// The claim that holds the secret of a token in a cookie, as in flask-jwt-extended: whoever sends the cookie has to know it.
pub(crate) const CSRF: &str = "csrf";

/// The claim that says whether, or until when, a token comes right from a login, as in flask-jwt-extended.
pub(crate) const FRESH: &str = "fresh";

/// The claims of one token. Times are whole seconds since 1970, UTC.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    pub(super) kind: StatedKind,
    pub(super) jti: Option<Jti>,
    pub(super) exp: Option<i64>,
    pub(super) iat: Option<i64>,
    pub(super) nbf: Option<i64>,
    pub(super) refresh_exp: Option<i64>,
    pub(super) user: Option<String>,
    pub(super) session: Option<SessionId>,
    /// Every other claim, `iss` and `aud` among them.
    pub(super) others: Map<String, Value>,
}

impl Claims {
    /// Reads the decoded bytes of a token's second part. No member may stand there twice, and each that we know has its
    /// exact JSON type; [`None`] otherwise.
    pub(super) fn parse(json: &[u8], names: &ClaimNames) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let claims = ClaimsSeed(names).deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(claims)
    }

    /// What a descendant of this token inherits: everything but `token_type`, `exp`, `iat`, `jti`, the user and the
    /// session, which are set anew, and but `csrf` and `fresh`.
    pub(super) fn inherited(&self) -> Map<String, Value> {
        let mut inherited = self.others.clone();
        // Where the jti has another name, a claim of this one is somebody else's identity: not to be passed on either.
        inherited.remove("jti");
        // Both belong to the one token.
        inherited.remove(CSRF);
        inherited.remove(FRESH);
        if let Some(nbf) = self.nbf {
            inherited.insert("nbf".into(), nbf.into());
        }
        inherited
    }
}

/// Reads with simplejwt's default names, for those who decode with another library.
impl<'de> serde::Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ClaimsSeed(&ClaimNames::default()).deserialize(deserializer)
    }
}

struct ClaimsSeed<'a>(&'a ClaimNames);

impl<'de> DeserializeSeed<'de> for ClaimsSeed<'_> {
    type Value = Claims;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Claims, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ClaimsSeed<'_> {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let names = self.0;
        let mut kind: Option<String> = None;
        let (mut jti, mut user, mut session) = (None, None, None);
        let (mut exp, mut iat, mut nbf, mut refresh_exp) = (None, None, None, None);
        let mut others = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == names.token_type {
                once(&mut kind, map.next_value()?)?;
            } else if name == names.jti {
                let text: String = map.next_value()?;
                once(&mut jti, text.parse::<Jti>().map_err(A::Error::custom)?)?;
            } else if name == names.user_id {
                once(&mut user, map.next_value::<Identity>()?.0)?;
            } else if name == names.refresh_exp {
                once(&mut refresh_exp, seconds(&map.next_value()?, f64::floor).ok_or_else(wrong::<A>)?)?;
            } else {
                match name.as_str() {
                    "exp" => once(&mut exp, seconds(&map.next_value()?, f64::floor).ok_or_else(wrong::<A>)?)?,
                    "nbf" => once(&mut nbf, seconds(&map.next_value()?, f64::ceil).ok_or_else(wrong::<A>)?)?,
                    "iat" => once(&mut iat, map.next_value::<Number>()?.as_i64().ok_or_else(wrong::<A>)?)?,
                    SESSION => {
                        let text: String = map.next_value()?;
                        once(&mut session, text.parse::<SessionId>().map_err(A::Error::custom)?)?;
                    }
                    _ => {
                        let value = map.next_value()?;
                        if others.insert(name, value).is_some() {
                            return Err(twice());
                        }
                    }
                }
            }
        }
        let kind = match kind {
            None => StatedKind::Missing,
            Some(word) => word.parse().map_or(StatedKind::Other, StatedKind::Known),
        };
        Ok(Claims { kind, jti, exp, iat, nbf, refresh_exp, user, session, others })
    }
}

fn once<T, E: serde::de::Error>(slot: &mut Option<T>, value: T) -> Result<(), E> {
    if slot.replace(value).is_some() { Err(twice()) } else { Ok(()) }
}

fn twice<E: serde::de::Error>() -> E {
    E::custom("a claim twice")
}

fn wrong<'de, A: MapAccess<'de>>() -> A::Error {
    A::Error::custom("a time that is none")
}

/// A JSON number as whole seconds; one with a fraction is rounded by `rounding`, to the stricter side.
fn seconds(number: &Number, rounding: fn(f64) -> f64) -> Option<i64> {
    let whole = number.as_i64().or_else(|| {
        let rounded = rounding(number.as_f64()?);
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        (rounded.abs() < 1e15).then_some(rounded as i64)
    })?;
    (-END_OF_TIME..=END_OF_TIME).contains(&whole).then_some(whole)
}

/// A user's id: a string that is not empty or, from older issuers, an integer.
struct Identity(String);

impl<'de> serde::Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if !text.is_empty() => Ok(Self(text)),
            Value::Number(number) if number.is_i64() || number.is_u64() => Ok(Self(number.to_string())),
            _ => Err(D::Error::custom("neither a string nor an integer")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Option<Claims> {
        Claims::parse(json.as_bytes(), &ClaimNames::default())
    }

    #[test]
    fn known_claims_have_exact_types() {
        let good = r#"{"token_type":"access","exp":10,"iat":5,"jti":"a","user_id":7,"role":"x"}"#;
        let claims = parse(good).expect("good claims");
        assert_eq!(claims.user.as_deref(), Some("7"));
        assert_eq!(claims.others["role"], "x");
        for bad in [
            r#"{"exp":"10"}"#,
            r#"{"exp":null}"#,
            r#"{"exp":true}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":18446744073709551615}"#,
            r#"{"exp":253402300800}"#,
            r#"{"iat":1.5}"#,
            r#"{"iat":"5"}"#,
            r#"{"nbf":null}"#,
            r#"{"jti":5}"#,
            r#"{"jti":""}"#,
            r#"{"jti":"a b"}"#,
            r#"{"jti":"a","jti":"b"}"#,
            r#"{"jti":"a","j\u0074i":"b"}"#,
            r#"{"exp":1,"\u0065xp":2}"#,
            r#"{"x":1,"x":2}"#,
            r#"{"user_id":""}"#,
            r#"{"user_id":[]}"#,
            r#"{"user_id":1.5}"#,
            r#"{"token_type":["access"]}"#,
            r#"{"token_type":null}"#,
            r#"{"sid":"x"}"#,
            r#"["access",1,2]"#,
            r"{} {}",
            r"null",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_fraction_counts_as_the_stricter_second() {
        let claims = parse(r#"{"exp":10.9,"nbf":10.1}"#).expect("good claims");
        assert_eq!((claims.exp, claims.nbf), (Some(10), Some(11)));
        assert_eq!(parse(r#"{"exp":-0.5}"#).and_then(|claims| claims.exp), Some(-1));
    }
}
