//! Key files: PEM text to keys, with the checks that the signature library leaves to its caller.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::algorithm::Family;
use super::{Algorithm, KeyError};

const PRIVATE_HINT: &str = "expected -----BEGIN PRIVATE KEY----- (PKCS #8); \
    convert others with `openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW`";
const PUBLIC_HINT: &str = "expected -----BEGIN PUBLIC KEY-----; \
    write it with `openssl pkey -in PRIVATE -pubout -out PUBLIC`";

/// Reads a private key, and derives the public one that goes with it.
pub(super) fn private_key(algorithm: Algorithm, pem: &[u8]) -> Result<(EncodingKey, DecodingKey), KeyError> {
    let family = algorithm.family();
    let allowed: &[&str] = if family == Family::Rsa { &["PRIVATE KEY", "RSA PRIVATE KEY"] } else { &["PRIVATE KEY"] };
    expect_tag(algorithm, pem, allowed, PRIVATE_HINT)?;
    let unfit = |why| KeyError::Unfit { algorithm, why };
    let utils = &DEFAULT_PROVIDER.key_utils;
    match family {
        Family::Hmac => Err(KeyError::PemAsSecret(algorithm)),
        Family::Rsa => {
            let private = EncodingKey::from_rsa_pem(pem).map_err(|_| unfit("it is no RSA key"))?;
            let (n, e) = (utils.rsa_pub_components_from_private_key)(private.as_bytes())
                .map_err(|_| unfit("it is no sound RSA key of 2048 to 8192 bits"))?;
            Ok((private, rsa(algorithm, &n, &e)?))
        }
        Family::Ec => {
            let private = EncodingKey::from_ec_pem(pem).map_err(|_| unfit("it is no EC key"))?;
            let (_, x, y) = (utils.ec_pub_components_from_private_key)(private.as_bytes(), algorithm.library())
                .map_err(|_| unfit("it is no key on the curve of this algorithm"))?;
            Ok((private, ec(algorithm, &[&[4], x.as_slice(), y.as_slice()].concat())?))
        }
        Family::Ed => {
            let private = EncodingKey::from_ed_pem(pem).map_err(|_| unfit("it is no Ed25519 key"))?;
            let x = (utils.ed_pub_components_from_private_key)(private.as_bytes(), &EllipticCurve::Ed25519)
                .map_err(|_| unfit("it is no Ed25519 key"))?;
            Ok((private, ed(algorithm, &x)?))
        }
    }
}

/// Reads a public key.
pub(super) fn public_key(algorithm: Algorithm, pem: &[u8]) -> Result<DecodingKey, KeyError> {
    let family = algorithm.family();
    let allowed: &[&str] = if family == Family::Rsa { &["PUBLIC KEY", "RSA PUBLIC KEY"] } else { &["PUBLIC KEY"] };
    expect_tag(algorithm, pem, allowed, PUBLIC_HINT)?;
    let unfit = |why| KeyError::Unfit { algorithm, why };
    match family {
        Family::Hmac => Err(KeyError::PemAsSecret(algorithm)),
        Family::Rsa => {
            let key = DecodingKey::from_rsa_pem(pem).map_err(|_| unfit("it is no RSA key"))?;
            let der = key.try_get_as_bytes().map_err(|_| unfit("it is no RSA key"))?;
            let (n, e) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der)
                .map_err(|_| unfit("it is no sound RSA key of 2048 to 8192 bits"))?;
            rsa(algorithm, &n, &e)
        }
        Family::Ec => {
            let key = DecodingKey::from_ec_pem(pem).map_err(|_| unfit("it is no EC key"))?;
            ec(algorithm, key.try_get_as_bytes().map_err(|_| unfit("it is no EC key"))?)
        }
        Family::Ed => {
            let key = DecodingKey::from_ed_pem(pem).map_err(|_| unfit("it is no Ed25519 key"))?;
            ed(algorithm, key.try_get_as_bytes().map_err(|_| unfit("it is no Ed25519 key"))?)
        }
    }
}

/// An RSA public key of at least 2048 bits, whose exponent is not a small one.
pub(super) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<DecodingKey, KeyError> {
    let unfit = |why| Err(KeyError::Unfit { algorithm, why });
    let n = strip_zeros(n);
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return unfit("an RSA key needs 2048 to 8192 bits");
    }
    let e = strip_zeros(e);
    let exponent = e.iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
    if e.len() > 8 || exponent < 65_537 || exponent % 2 == 0 {
        return unfit("its public exponent is not an odd number of at least 65537");
    }
    Ok(DecodingKey::from_rsa_raw_components(n, e))
}

/// An uncompressed point on the algorithm's curve.
pub(super) fn ec(algorithm: Algorithm, point: &[u8]) -> Result<DecodingKey, KeyError> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
    let curve = if algorithm == Algorithm::ES384 { &ECDSA_P384_SHA384_FIXED } else { &ECDSA_P256_SHA256_FIXED };
    match ParsedPublicKey::new(curve, point) {
        Ok(_) if point.first() == Some(&4) => Ok(DecodingKey::from_ec_der(point)),
        _ => Err(KeyError::Unfit { algorithm, why: "it is no point on the curve of this algorithm" }),
    }
}

/// The 32 bytes of an Ed25519 public key.
pub(super) fn ed(algorithm: Algorithm, x: &[u8]) -> Result<DecodingKey, KeyError> {
    use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
    match ParsedPublicKey::new(&ED25519, x) {
        Ok(_) if x.len() == 32 => Ok(DecodingKey::from_ed_der(x)),
        _ => Err(KeyError::Unfit { algorithm, why: "it is no Ed25519 key" }),
    }
}

fn expect_tag(algorithm: Algorithm, text: &[u8], allowed: &[&str], hint: &'static str) -> Result<(), KeyError> {
    match pem::parse(text) {
        Ok(document) if allowed.contains(&document.tag()) => Ok(()),
        _ => Err(KeyError::NotPem { algorithm, hint }),
    }
}

fn strip_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}
