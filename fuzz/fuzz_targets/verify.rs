//! Any text as a token. It must be refused, unless what was signed is what is read; and nothing may panic.
#![no_main]

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use libfuzzer_sys::fuzz_target;
use rocket_simplejwt::token::{
    Algorithm, Jti, KeyRing, Minter, NewToken, SigningKey, TokenKind, TokenRules, Verifier, generate_key,
};

const KEY: &[u8] = b"kY3vW8qLr5Zt1Nc7Xb2Mf9Hs4Gd6Jp0QaTuEiOyRwSxV";

/// A verifier, and a good token of its key.
struct Party(Verifier, String);

static PARTIES: LazyLock<Vec<Party>> = LazyLock::new(|| {
    [Algorithm::HS256, Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA].map(party).into()
});

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("an instant")
}

fn party(algorithm: Algorithm) -> Party {
    let text = match algorithm {
        Algorithm::HS256 => KEY.to_vec(),
        _ => generate_key(algorithm).expect("a key").trim().into(),
    };
    let key = SigningKey::from_text(algorithm, None, &text).expect("a good key");
    let ring = Arc::new(KeyRing::new(Some(key), Vec::new()).expect("a good ring"));
    let rules = Arc::new(TokenRules::default());
    let token = NewToken {
        kind: TokenKind::Access,
        jti: Jti::random(),
        issued_at: now(),
        expires_at: now() + TimeDelta::seconds(300),
        refresh_expires_at: None,
        user: Some("1".into()),
        session: None,
        custom: serde_json::Map::new(),
    };
    let good = Minter::new(Arc::clone(&ring), Arc::clone(&rules)).mint(&token).expect("a token");
    Party(Verifier::new(ring, rules), good)
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for Party(verifier, good) in PARTIES.iter() {
        // As it comes. None of our keys made it.
        assert!(verifier.verify(&text, now()).is_err(), "{text:?} passes");
        // As the signature of a good token, and as what stands before a good signature.
        let (signed, signature) = good.rsplit_once('.').expect("three parts");
        assert!(verifier.verify(&format!("{signed}.{text}"), now()).is_err(), "a signature of {text:?} passes");
        assert!(verifier.verify(&format!("{text}.{signature}"), now()).is_err(), "{text:?} under a signature passes");
    }
    // With a good signature on it: everything after the signature is reached. What passes must be exactly two parts of
    // base64url, the first a header that names the algorithm.
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), text.as_bytes());
    let signed = format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
    if PARTIES[0].0.verify(&signed, now()).is_ok() {
        let (header, payload) = text.split_once('.').expect("two parts");
        let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
        let header: serde_json::Map<_, _> = serde_json::from_slice(&header).expect("a JSON object");
        assert_eq!(header["alg"], "HS256");
        assert!(header.keys().all(|name| matches!(name.as_str(), "alg" | "kid" | "typ")));
        let _: serde_json::Map<_, _> = serde_json::from_slice(&payload).expect("a JSON object");
    }
});
