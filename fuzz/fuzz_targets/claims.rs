//! Any bytes as the payload of a token that is signed with the right key. What passes must be what another reader of JSON
//! sees too, with the types that we promise.
#![no_main]

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use rocket_simplejwt::token::{Algorithm, KeyRing, SigningKey, TokenRules, Verified, Verifier};
use serde_json::{Map, Value};

const KEY: &[u8] = b"kY3vW8qLr5Zt1Nc7Xb2Mf9Hs4Gd6Jp0QaTuEiOyRwSxV";
const NOW: i64 = 1_800_000_000;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let key = SigningKey::from_text(Algorithm::HS256, None, KEY).expect("a good key");
    let ring = KeyRing::new(Some(key), Vec::new()).expect("a good ring");
    Verifier::new(Arc::new(ring), Arc::new(TokenRules::default()))
});

fn verify(header: &[u8], payload: &[u8]) -> Option<Verified> {
    let now: DateTime<Utc> = DateTime::from_timestamp(NOW, 0).expect("an instant");
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), message.as_bytes());
    VERIFIER.verify(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref())), now).ok()
}

fuzz_target!(|data: &[u8]| {
    // The same bytes as a header: nothing but an object of three strings gets through.
    if verify(data, br#"{"exp":1900000000,"jti":"a"}"#).is_some() {
        let header: Map<String, Value> = serde_json::from_slice(data).expect("a JSON object");
        assert!(header.values().all(Value::is_string), "{header:?}");
        assert_eq!(header["alg"], "HS256");
    }
    let Some(token) = verify(br#"{"alg":"HS256"}"#, data) else { return };
    let read: Map<String, Value> = serde_json::from_slice(data).expect("a JSON object");
    assert_eq!(read["jti"].as_str(), Some(token.jti().as_str()));
    assert!(token.expires_at().timestamp() > NOW);
    let exp = read["exp"].as_f64().expect("a number");
    assert!(token.expires_at().timestamp() as f64 <= exp, "valid for longer than it says");
    if let Some(user) = read.get("user_id") {
        assert!(user.is_string() || user.is_i64() || user.is_u64());
    }
    for name in ["nbf", "iat"] {
        assert!(read.get(name).is_none_or(|start| start.as_f64().is_some_and(|start| start <= NOW as f64)));
    }
    for (name, value) in token.custom_claims() {
        assert_eq!(read.get(name), Some(value), "the claim '{name}'");
    }
});
