//! The JOSE header, read strictly.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// The members of a header that we read: `alg`, `kid`, `typ`, each at most once and each a string. A header with any
/// other member is refused, since every other one that exists changes how the token is to be read (`crit`, `b64`, `zip`,
/// `enc`, `cty`) or where its key comes from (`jwk`, `jku`, `x5c`, `x5u`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub alg: Cow<'a, str>,
    pub kid: Option<Cow<'a, str>>,
    pub typ: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    /// Reads the decoded bytes of a token's first part.
    pub(super) fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_struct`: that would take an array of the members as well.
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut alg, mut kid, mut typ) = (None, None, None);
        while let Some(Text(name)) = map.next_key()? {
            let slot = match &*name {
                "alg" => &mut alg,
                "kid" => &mut kid,
                "typ" => &mut typ,
                _ => return Err(A::Error::custom("unknown member")),
            };
            let Text(value) = map.next_value()?;
            if slot.replace(value).is_some() {
                return Err(A::Error::custom("a member twice"));
            }
        }
        Ok(Header { alg: alg.ok_or_else(|| A::Error::missing_field("alg"))?, kid, typ })
    }
}

/// A JSON string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_alg_kid_and_typ_are_read() {
        let header = Header::parse(br#"{"alg":"HS256","typ":"JWT","kid":"a"}"#).expect("a good header");
        assert_eq!((&*header.alg, header.kid.as_deref(), header.typ.as_deref()), ("HS256", Some("a"), Some("JWT")));
        for bad in [
            r"{}",
            r#"{"alg":null}"#,
            r#"{"alg":0}"#,
            r#"{"alg":[]}"#,
            r#"{"alg":"none","alg":"HS256"}"#,
            r#"{"alg":"HS256","\u0061lg":"none"}"#,
            r#"{"alg":"HS256","kid":null}"#,
            r#"{"alg":"HS256","kid":5}"#,
            r#"{"alg":"HS256","typ":1}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","b64":true}"#,
            r#"["HS256",null,null]"#,
            r#"{"alg":"HS256"} {}"#,
            "\u{feff}{\"alg\":\"HS256\"}",
        ] {
            assert_eq!(Header::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
