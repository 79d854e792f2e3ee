//! The verifier, against `jsonwebtoken::decode` into the same claims.
//!
//! `cargo bench --bench verify`

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use jsonwebtoken::{DecodingKey, Validation, decode};
use rocket_simplejwt::token::{
    Algorithm, Claims, Jti, KeyRing, Minter, NewToken, SessionId, SigningKey, TokenKind, TokenRules, Verifier,
    generate_key,
};
use support::{Candidate, interleave};

fn main() {
    for algorithm in Algorithm::ALL {
        let text = generate_key(algorithm).expect("randomness");
        let key = SigningKey::from_text(algorithm, None, text.trim().as_bytes()).expect("a good key");
        let bare_key = bare_key(algorithm, text.trim().as_bytes());
        let ring = Arc::new(KeyRing::new(Some(key), vec![]).expect("a good ring"));
        let rules = Arc::new(TokenRules::default());
        let now = Utc::now();
        let token = NewToken {
            kind: TokenKind::Access,
            jti: Jti::random(),
            issued_at: now,
            expires_at: now + TimeDelta::hours(24),
            refresh_expires_at: None,
            user: Some("12345".into()),
            session: Some(SessionId::starting_at(1_800_000_000_000)),
            custom: [("role".to_owned(), "editor".into())].into_iter().collect(),
        };
        let token = Minter::new(Arc::clone(&ring), Arc::clone(&rules)).mint(&token).expect("a token");
        let verifier = Verifier::new(ring, rules);
        let mut validation = Validation::new(algorithm.as_str().parse().expect("a known algorithm"));
        validation.leeway = 0;
        validation.validate_nbf = true;

        let bare = Candidate::new("jsonwebtoken::decode::<Claims>", || {
            black_box(decode::<Claims>(black_box(&token), &bare_key, &validation).expect("a good token"));
        });
        let ours = Candidate::new("Verifier::verify", || {
            black_box(verifier.verify(black_box(&token), Utc::now()).expect("a good token"));
        });
        interleave(algorithm.as_str(), vec![bare, ours], 41, Duration::from_millis(50));
    }
}

/// The public half, in the form that `jsonwebtoken` wants it.
fn bare_key(algorithm: Algorithm, text: &[u8]) -> DecodingKey {
    use jsonwebtoken::EncodingKey;
    use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    use jsonwebtoken::jwk::EllipticCurve;
    let utils = &DEFAULT_PROVIDER.key_utils;
    match algorithm {
        algorithm if algorithm.is_symmetric() => DecodingKey::from_secret(text),
        Algorithm::ES256 | Algorithm::ES384 => {
            let private = EncodingKey::from_ec_pem(text).expect("an EC key");
            let alg = algorithm.as_str().parse().expect("a known algorithm");
            let (_, x, y) = (utils.ec_pub_components_from_private_key)(private.as_bytes(), alg).expect("an EC key");
            DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat())
        }
        Algorithm::EdDSA => {
            let private = EncodingKey::from_ed_pem(text).expect("an Ed25519 key");
            let x = (utils.ed_pub_components_from_private_key)(private.as_bytes(), &EllipticCurve::Ed25519);
            DecodingKey::from_ed_der(&x.expect("an Ed25519 key"))
        }
        _ => {
            let private = EncodingKey::from_rsa_pem(text).expect("an RSA key");
            let (n, e) = (utils.rsa_pub_components_from_private_key)(private.as_bytes()).expect("an RSA key");
            DecodingKey::from_rsa_raw_components(&n, &e)
        }
    }
}
