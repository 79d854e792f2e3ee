//! Fresh keys.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use uuid::Uuid;

use super::Algorithm;
use super::algorithm::Family;

/// A fresh key for `algorithm` as text: 64 random bytes in hexadecimal for HMAC, PEM (PKCS #8) for the others, RSA with 3072
/// bits. [`None`] where the system has no randomness to give.
#[must_use]
pub fn generate_key(algorithm: Algorithm) -> Option<String> {
    let random = SystemRandom::new();
    let der = match algorithm.family() {
        Family::Hmac => return secret(),
        Family::Rsa => {
            let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa3072).ok()?;
            pair.as_der().ok()?.as_ref().to_vec()
        }
        Family::Ec => {
            let curve = if algorithm == Algorithm::ES384 {
                &ECDSA_P384_SHA384_FIXED_SIGNING
            } else {
                &ECDSA_P256_SHA256_FIXED_SIGNING
            };
            EcdsaKeyPair::generate_pkcs8(curve, &random).ok()?.as_ref().to_vec()
        }
        Family::Ed => Ed25519KeyPair::generate_pkcs8v1(&random).ok()?.as_ref().to_vec(),
    };
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Some(pem::encode_config(&pem::Pem::new("PRIVATE KEY", der), config))
}

fn secret() -> Option<String> {
    let mut bytes = [0u8; 64];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(
        bytes
            .chunks(16)
            .filter_map(|chunk| Uuid::from_slice(chunk).ok())
            .map(|part| part.simple().to_string())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::token::{Jti, KeyRing, Minter, NewToken, SigningKey, TokenKind, TokenRules, Verifier};

    #[test]
    fn a_token_made_with_a_fresh_key_verifies_under_every_algorithm() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a good time");
        for algorithm in Algorithm::ALL {
            let text = generate_key(algorithm).expect("randomness");
            let key = SigningKey::from_text(algorithm, Some("k".into()), text.trim().as_bytes()).expect("a good key");
            let ring = Arc::new(KeyRing::new(Some(key), vec![]).expect("a good ring"));
            let rules = Arc::new(TokenRules::default());
            let token = NewToken {
                kind: TokenKind::Access,
                jti: Jti::random(),
                issued_at: now,
                expires_at: now + chrono::TimeDelta::seconds(60),
                refresh_expires_at: None,
                user: Some("7".into()),
                session: None,
                custom: serde_json::Map::new(),
            };
            let text = Minter::new(Arc::clone(&ring), Arc::clone(&rules)).mint(&token).expect("a token");
            let verified = Verifier::new(ring, rules).verify(&text, now).expect("a good token");
            assert_eq!((verified.jti(), verified.user_id()), (&token.jti, Some("7")), "{algorithm}");
        }
    }
}
