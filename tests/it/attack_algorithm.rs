//! Attacks on the algorithm and the key: cases 1 to 14 of the attack list.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::support::attack::{PrivateKey, Stage, WHOAMI, hs256, pem_text};
use crate::support::mint::{Claims, Hash, KEY, base64url, claims, sign};
use crate::support::now;
use crate::support::server::Server;

/// HS256, with the key of every test.
static S1: LazyLock<Stage> = LazyLock::new(|| Stage::new(Server::new().start(), good().sign()));
/// RS256.
static S2: LazyLock<(Stage, PrivateKey)> = LazyLock::new(|| asymmetric("RS256"));
/// ES256.
static S3: LazyLock<(Stage, PrivateKey)> = LazyLock::new(|| asymmetric("ES256"));

fn good() -> Claims {
    claims("access").with("exp", now() + 3600)
}

fn asymmetric(alg: &'static str) -> (Stage, PrivateKey) {
    let server = Server::new();
    let key = PrivateKey::generate(&server, alg);
    let token = key.sign_claims(&good());
    (Stage::new(server_with(server, &key).start(), token), key)
}

/// A server that signs with this key.
fn server_with(server: Server, key: &PrivateKey) -> Server {
    let file = server.directory().join("signing.pem");
    std::fs::write(&file, &key.pem).expect("write the key");
    server
        .unset("signing_key")
        .set("algorithm", &format!("{:?}", key.alg))
        .set("signing_key_file", &format!("{:?}", file.display().to_string()))
}

/// The three servers, each with its name.
fn stages() -> [(&'static str, &'static Stage); 3] {
    [("HS256", &S1), ("RS256", &S2.0), ("ES256", &S3.0)]
}

/// The payload of claims that nobody has seen before.
fn payload() -> String {
    claims("access").json()
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().expect("three parts")
}

// Cases 1 and 2.
#[test]
fn there_is_no_algorithm_none() {
    for (name, stage) in stages() {
        let [_, body, signature] = parts(&stage.good);
        for alg in ["none", "None", "NONE", "nOnE", "none ", " none", "none\0", "", "NULL", "n\u{043e}ne"] {
            let header = base64url(json!({"alg": alg, "typ": "JWT"}).to_string().as_bytes());
            for payload in [body, &base64url(payload().as_bytes())] {
                for signature in ["", signature, "AA"] {
                    stage.refused(&format!("{name}: {alg:?}"), &format!("{header}.{payload}.{signature}"));
                }
            }
        }
        let raw = base64url(b"{\"alg\":\"none\0\"}");
        stage.refused("a NUL byte in the header", &format!("{raw}.{body}."));
    }
}

// Case 3.
#[test]
fn the_algorithm_is_named_exactly() {
    for alg in
        ["null", r#""""#, "0", "256", "[]", "{}", "true", r#""hs256""#, r#""Hs256""#, r#""HS256 ""#, r#"["HS256"]"#]
    {
        let header = format!(r#"{{"alg":{alg},"typ":"JWT"}}"#);
        S1.refused(&header, &hs256(KEY, &header, &payload()));
    }
    S1.refused("no alg", &hs256(KEY, r#"{"typ":"JWT"}"#, &payload()));
    S1.refused("no header", &hs256(KEY, "{}", &payload()));
    S1.accepted("as it should be", &hs256(KEY, r#"{"alg":"HS256","typ":"JWT"}"#, &payload()));
    for (stage, key) in [&*S2, &*S3] {
        for alg in [key.alg.to_ascii_lowercase(), format!("{} ", key.alg), "RSA".into(), "ES".into()] {
            let header = json!({"alg": alg, "typ": "JWT"}).to_string();
            stage.refused(&header, &key.token(header.as_bytes(), payload().as_bytes()));
        }
    }
}

/// The spellings in which a public key could be taken for a secret.
fn spellings(key: &PrivateKey) -> Vec<Vec<u8>> {
    let mut texts = vec![key.public_pem(), key.jwk("a").to_string(), json!({"keys": [key.jwk("a")]}).to_string()];
    if key.alg.starts_with("RS") {
        texts.push(pem_text("RSA PUBLIC KEY", key.public_bytes()));
    } else {
        let point = key.public_bytes();
        let mut blob = Vec::new();
        for field in [&b"ecdsa-sha2-nistp256"[..], b"nistp256", &point] {
            blob.extend_from_slice(&u32::try_from(field.len()).expect("short").to_be_bytes());
            blob.extend_from_slice(field);
        }
        let blob = STANDARD.encode(blob);
        texts.extend([format!("ecdsa-sha2-nistp256 {blob}"), format!("ecdsa-sha2-nistp256 {blob} root@host")]);
    }
    let mut spellings = vec![key.public_der(), key.public_bytes(), key.public_bytes()[1..].to_vec()];
    let modulus = key.jwk("a")[if key.alg.starts_with("RS") { "n" } else { "x" }].as_str().expect("a part").to_owned();
    texts.push(modulus);
    for text in texts {
        let bare = text.trim_end();
        for spelling in [
            text.clone(),
            bare.to_owned(),
            bare.replace('\n', "\r\n"),
            format!("{}\r\n", bare.replace('\n', "\r\n")),
            format!(" {text}"),
            format!("\t{text}"),
            format!("{bare} "),
            bare.replace('\n', ""),
            base64url(text.as_bytes()),
        ] {
            spellings.push(spelling.into_bytes());
        }
    }
    spellings
}

// Cases 4 and 5.
#[test]
fn a_public_key_is_no_secret() {
    for (stage, key) in [&*S2, &*S3] {
        for secret in spellings(key) {
            for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
                let header = json!({"alg": hash.alg(), "typ": "JWT"}).to_string();
                let token = sign(hash, &secret, header.as_bytes(), payload().as_bytes());
                let case = format!("{} with {:?}", hash.alg(), String::from_utf8_lossy(&secret));
                stage.refused(&case, &token);
            }
            let header = json!({"alg": key.alg, "typ": "JWT"}).to_string();
            stage.refused("an HMAC where a signature should be", &hs256(&secret, &header, &payload()));
        }
    }
}

// Cases 6 and 7.
#[test]
fn a_key_has_one_algorithm() {
    let (stage, key) = &*S2;
    for alg in ["PS256", "PS384", "PS512", "RS384", "RS512"] {
        for named in [alg, "RS256"] {
            let header = json!({"alg": named, "typ": "JWT"}).to_string();
            let message = format!("{}.{}", base64url(header.as_bytes()), base64url(payload().as_bytes()));
            let signature = base64url(&key.sign(alg, message.as_bytes()));
            stage.refused(&format!("{alg} called {named}"), &format!("{message}.{signature}"));
        }
    }
    for hash in [Hash::Sha384, Hash::Sha512] {
        S1.refused(hash.alg(), &claims("access").sign_with(hash, KEY));
        let header = r#"{"alg":"HS256","typ":"JWT"}"#;
        S1.refused("another hash", &sign(hash, KEY, header.as_bytes(), payload().as_bytes()));
        let header = json!({"alg": hash.alg(), "typ": "JWT"}).to_string();
        S1.refused("the right hash under another name", &hs256(KEY, &header, &payload()));
    }
}

// Case 8.
#[test]
fn a_curve_is_not_another() {
    let (stage, key) = &*S3;
    for alg in ["ES384", "ES512", "ES256K", "EdDSA", "RS256", "HS256"] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        stage.refused(alg, &key.token(header.as_bytes(), payload().as_bytes()));
    }
    let other = PrivateKey::generate(&stage.server, "ES384");
    for alg in ["ES256", "ES384"] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        stage.refused("P-384", &other.token(header.as_bytes(), payload().as_bytes()));
    }
}

// Case 9.
#[test]
fn every_bit_of_the_signature_counts() {
    for (name, stage) in stages() {
        let [header, body, signature] = parts(&stage.good);
        let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let with = |signature: &[u8]| format!("{header}.{body}.{}", base64url(signature));
        let case = |what: &str| format!("{name}: {what}");
        stage.refused(&case("no signature"), &format!("{header}.{body}"));
        stage.refused(&case("an empty one"), &format!("{header}.{body}."));
        stage.refused(&case("one byte"), &format!("{header}.{body}.AA"));
        stage.refused(&case("cut"), &stage.good[..stage.good.len() - 4]);
        stage.refused(&case("doubled"), &with(&bytes.repeat(2)));
        stage.refused(&case("zeros"), &with(&vec![0; bytes.len()]));
        stage.refused(&case("one byte more"), &with(&[&bytes[..], &[0]].concat()));
        stage.refused(&case("a zero before it"), &with(&[&[0], &bytes[..]].concat()));
        for bit in [0, 7, bytes.len() * 4, bytes.len() * 8 - 1] {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            stage.refused(&case(&format!("bit {bit}")), &with(&flipped));
        }
    }
    let sign = |claims: &Claims| [claims.sign(), S2.1.sign_claims(claims), S3.1.sign_claims(claims)];
    for ((name, stage), other) in stages().into_iter().zip(sign(&good())) {
        let ([header, body, _], [_, other_body, signature]) = (parts(&stage.good), parts(&other));
        stage.accepted("the other one itself", &other);
        stage.refused(&format!("{name}: another token's signature"), &format!("{header}.{body}.{signature}"));
        let own = parts(&stage.good)[2];
        stage.refused(&format!("{name}: another token's claims"), &format!("{header}.{other_body}.{own}"));
    }
}

// Cases 10 and 11.
#[test]
fn no_guess_is_the_key() {
    let text = str::from_utf8(KEY).expect("ASCII");
    // A key with zero bytes after it would be the same key: HMAC fills a short one up with them.
    let hex = KEY.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let near = [
        format!("{text}\n"),
        format!("{text}\r\n"),
        format!(" {text}"),
        text[..text.len() - 1].to_owned(),
        text.to_lowercase(),
        STANDARD.encode(KEY),
        base64url(KEY),
        hex,
        format!("{text}{text}"),
        format!("{text:?}"),
    ];
    let guesses = [
        "",
        "secret",
        "Secret",
        "changeme",
        "change-me",
        "password",
        "your-256-bit-secret",
        "your-secret-key",
        "jwt",
        "key",
        "test",
        "token",
        "admin",
        "1234567890",
        "0",
        "null",
        "undefined",
        "private",
        "HS256",
        "django-insecure",
        "change-me-change-me-change-me-change-me",
        "simplejwt",
        "rocket",
        "signing_key",
        "\0",
    ];
    for guess in guesses.iter().map(|guess| (*guess).to_owned()).chain(near) {
        for (name, stage) in stages() {
            stage.refused(&format!("{name}: {guess:?}"), &claims("access").sign_with(Hash::Sha256, guess.as_bytes()));
        }
    }
}

/// The order of the curve P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order less a number below it.
fn order_less(number: &[u8]) -> [u8; 32] {
    let mut result = [0; 32];
    let mut borrow = 0;
    for index in (0..32).rev() {
        let digit = i16::from(ORDER[index]) - i16::from(number[index]) - borrow;
        borrow = i16::from(digit < 0);
        result[index] = u8::try_from(digit + 256 * borrow).expect("a byte");
    }
    result
}

/// A number plus the order, in 33 bytes.
fn plus_order(number: &[u8]) -> Vec<u8> {
    let mut result = vec![0; 33];
    let mut carry = 0;
    for index in (0..32).rev() {
        let digit = u16::from(ORDER[index]) + u16::from(number[index]) + carry;
        carry = digit >> 8;
        result[index + 1] = u8::try_from(digit & 0xff).expect("a byte");
    }
    result[0] = u8::try_from(carry).expect("a bit");
    result
}

/// Two numbers as a DER sequence, the other way to write an ECDSA signature.
fn der(numbers: [&[u8]; 2]) -> Vec<u8> {
    let mut body = Vec::new();
    for number in numbers {
        let padded = if number[0] & 0x80 == 0 { number.to_vec() } else { [&[0], number].concat() };
        body.extend([2, u8::try_from(padded.len()).expect("short")]);
        body.extend(padded);
    }
    [vec![0x30, u8::try_from(body.len()).expect("short")], body].concat()
}

// Case 12.
#[test]
fn an_elliptic_signature_is_two_numbers_below_the_order() {
    let (stage, _) = &*S3;
    let [header, body, signature] = parts(&stage.good);
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let (r, s) = bytes.split_at(32);
    let (zero, mut one) = ([0; 32], [0; 32]);
    one[31] = 1;
    let big = vec![0xaa; 1_000_000];
    for (case, signature) in [
        ("(0, 0)", [zero, zero].concat()),
        ("(0, 1)", [zero, one].concat()),
        ("(1, 0)", [one, zero].concat()),
        ("(1, 1)", [one, one].concat()),
        ("(n, n)", [ORDER, ORDER].concat()),
        ("(r, 0)", [r, &zero].concat()),
        ("(0, s)", [&zero, s].concat()),
        ("(s, r)", [s, r].concat()),
        ("(n - r, s)", [&order_less(r), s].concat()),
        ("(r + n, s)", [&plus_order(r), s].concat()),
        ("(r, s + n)", [r, &plus_order(s)].concat()),
        ("DER", der([r, s])),
        ("63 bytes", bytes[..63].to_vec()),
        ("65 bytes", [&bytes[..], &[0]].concat()),
        ("66 bytes", [&[0], r, &[0], s].concat()),
        ("a megabyte", big),
    ] {
        stage.refused(case, &format!("{header}.{body}.{}", base64url(&signature)));
    }
}

// Case 13.
#[test]
fn a_second_spelling_of_a_signature_is_the_same_token() {
    let server = Server::new();
    let key = PrivateKey::generate(&server, "ES256");
    let server = server_with(server, &key).start();
    let token = claims("access");
    let text = key.sign_claims(&token);
    let [header, body, signature] = parts(&text);
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let (r, s) = bytes.split_at(32);
    let twin = format!("{header}.{body}.{}", base64url(&[r, &order_less(s)].concat()));
    let whoami = |token: &str| server.client().get(WHOAMI, Some(token));
    for token in [&text, &twin] {
        assert_eq!(whoami(token).status, 200);
    }
    let output = server.cli(&["blacklist", token.jti()]);
    assert!(output.success(), "{output:?}");
    for token in [&twin, &text] {
        assert_eq!(whoami(token).status, 401, "the jti is what was revoked, not the text");
    }
}

// Case 14.
#[test]
fn a_key_serves_under_its_own_name_and_no_longer_than_it_is_listed() {
    let server = Server::new();
    let [old, new] = ["ES256", "RS256"].map(|alg| PrivateKey::generate(&server, alg));
    let public = server.directory().join("old.pub");
    std::fs::write(&public, old.public_pem()).expect("write the key");
    let entry = format!(r#"[{{ kid = "old", algorithm = "ES256", key_file = {:?} }}]"#, public.display().to_string());
    let mut server = server_with(server, &new).set("signing_key_id", r#""new""#).set("verifying_keys", &entry).start();
    let header = |alg: &str, kid: &str| json!({"alg": alg, "typ": "JWT", "kid": kid}).to_string();
    let token = |key: &PrivateKey, header: &str| key.token(header.as_bytes(), good().json().as_bytes());
    let (by_old, by_new) = (token(&old, &header("ES256", "old")), token(&new, &header("RS256", "new")));
    let stage = Stage::new(server, by_new.clone());
    stage.accepted("the old key", &by_old);
    for (case, bad) in [
        ("the other's name", token(&old, &header("ES256", "new"))),
        ("the other's name and algorithm", token(&old, &header("RS256", "new"))),
        ("its own name, the other's algorithm", token(&old, &header("RS256", "old"))),
        ("the other's name", token(&new, &header("RS256", "old"))),
        ("the other's name and algorithm", token(&new, &header("ES256", "old"))),
        ("an HMAC under the name of a key", hs256(old.public_pem().as_bytes(), &header("HS256", "old"), &payload())),
    ] {
        stage.refused(case, &bad);
    }
    server = stage.server.unset("verifying_keys");
    server.restart();
    let stage = Stage::new(server, by_new);
    stage.refused("a key that was taken out", &by_old);
}
