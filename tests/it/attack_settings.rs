//! Attacks through the configuration: cases 116 to 119 of the attack list. A server that could not keep its promises does not
//! start.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::attack::{PrivateKey, pem_text};
use crate::support::mint::KEY;
use crate::support::server::Server;

/// RSA with 1024 bits, made by openssl: nothing of today makes one.
const RSA_1024: &str = "-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAK7QRHK0jnY1EGqi
CyXjFFXmp3WY5s1Zwc9D+DfeZhPXruK5a/0IHFFL8Pm5etuCaN1m1O2QicmZz5PG
akNpDp3HSa0YGLemAhvJ3PfmJnogBma8B3GHSTFrxy0oc/tpkLYE6Q2ENuoAOOpP
asxDrZNFn6RA6OnZf4ebi27iEYgJAgMBAAECgYBS+ZHzrBYOr4M6Se3mrtEhMNj9
bXTntZnTilyQECT9eBuPjBlgwe/G+rfHoK1a8ZxasouQs1FjenlXmA8qLfx8SJ9z
0vhFmeWO43s7NynvnnO3EscQGrNc1N/l9nAhy6eq6CTMsjotyG+29TmbD0zIOGN0
Mcth00N2vpkIAu5YcQJBANP8gE6mqbKCfnCXYhbOeG14OkM3WRZnrorC01Ccm3Nc
PER/x9/EGoP3qhSCDTuiVp0Y5qDIdMmexzLrs1Lem+UCQQDTG/U5mTkU2ADBIym8
HBzrAhFTkpJOw98yhHzytdqAy/7VwM3TmOOX9cYA84ZUcO0zFWOKpp7MK48jIFc7
XmFVAkBO/TNCG0/4OC+s/HuMS/sLr1TmXuVPN+sNwXLEAtbZsXCzhXmQo53Ntqcl
ZSBRLDhh6Tlmh8scpZFMJA95vYERAkEAsdStP7XIlbxW9lrOfz0XRwfY3JNtV5g7
3ewo7LMvuqscoabmO0ZhAdLw1kBNebget5de4J72yXov+yD1GneoeQJATajmjwWv
CRIJoKUxcB6fZYIph1O+3dMWI0q7tgx8hqv4PdK5EcIZf4+yoAcBNb9IvSxm0FIZ
R8AjvKECXC39mg==
-----END PRIVATE KEY-----
";

/// Its public half.
const RSA_1024_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCu0ERytI52NRBqogsl4xRV5qd1
mObNWcHPQ/g33mYT167iuWv9CBxRS/D5uXrbgmjdZtTtkInJmc+TxmpDaQ6dx0mt
GBi3pgIbydz35iZ6IAZmvAdxh0kxa8ctKHP7aZC2BOkNhDbqADjqT2rMQ62TRZ+k
QOjp2X+Hm4tu4hGICQIDAQAB
-----END PUBLIC KEY-----
";

/// RSA with 2048 bits and the exponent 3.
const RSA_EXPONENT_3: &str = "-----BEGIN PUBLIC KEY-----
MIIBIDANBgkqhkiG9w0BAQEFAAOCAQ0AMIIBCAKCAQEA3y/W6FwO6PwDuaMjqrnF
kJqCCEdcyD8jKw6E8opvjhjmbBg/rGs1udaFB5VHO+b1x51medYdLaGTzppYD3rd
wR/1fKCJEoZKQe+rIV3mXJ/H6sF7a4Q2Kka5I/HivsTlaH2aTVdPiBx5tUy+8mrt
LrffueA3qcyRM1ocGTmwVtQQlNrJfOtaFzVg52hmcFSXuJEciYzSlDWtSZhUlGCV
PYg/BlrBqApDbuqlD/M1AsH2h8mlzV8y2eIYagbhHoZqpT4PNZT9uzuW28dVjuFl
5yOJ8PwykHVMJnpNTYqAijMDHVBqcf4/wXvmU4dUaGPTWBHdXY3RUHBlJVywVkcr
PQIBAw==
-----END PUBLIC KEY-----
";

/// A point on secp256k1, the curve of Bitcoin, which is none of ours.
const SECP256K1: &str = "-----BEGIN PUBLIC KEY-----
MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEI8T/DIM8eN+AK1EFZk0LHTEHqPSsuPv3
0oPGeQh2QFEYie3rPLEF3+yF0TNiuCMXNtYTFnxXSAhidbIHH2oSuw==
-----END PUBLIC KEY-----
";

/// Writes a file that only we can read, as a key should be.
fn write_private(file: &Path, content: &[u8]) {
    std::fs::write(file, content).expect("write a file");
    std::fs::set_permissions(file, Permissions::from_mode(0o600)).expect("chmod");
}

/// Fails unless a server with this configuration refuses to start, says which setting is at fault, and shows no key.
#[track_caller]
fn refuses(case: &str, setting: &str, server: &Server) {
    let start = Instant::now();
    for command in [&["serve", "--port", "0"][..], &["keys", "list"]] {
        let output = server.cli(command);
        assert_eq!(output.code(), 2, "{case}, {command:?}: {output:?}");
        assert!(output.stderr.contains(setting), "{case}, {command:?}: {output:?}");
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{case}, {command:?}: {output:?}");
        let mut words = output.stderr.split(|char: char| !char.is_ascii_alphanumeric());
        assert!(words.all(|word| word.len() < 30), "{case}, {command:?} shows the key: {output:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{case}");
    assert!(!server.has_database(), "{case}: a database was made for a server that cannot start");
}

// Case 116.
#[test]
fn a_weak_secret_does_not_start() {
    let pem = RSA_1024_PUBLIC.replace('\n', "\\n");
    let sample = "change-me-change-me-change-me-change-me";
    for key in ["", "secret", "your-256-bit-secret", &"k".repeat(31), sample, &pem] {
        refuses(key, "signing_key", &Server::new().set("signing_key", &format!("\"{key}\"")));
    }
    refuses(
        "HS384",
        "signing_key",
        &Server::new().set("algorithm", "\"HS384\"").set("signing_key", &format!("\"{}\"", "k".repeat(47))),
    );
    refuses(
        "HS512",
        "signing_key",
        &Server::new().set("algorithm", "\"HS512\"").set("signing_key", &format!("\"{}\"", "k".repeat(63))),
    );
    let server = Server::new();
    for (name, content) in [("empty", ""), ("newline", "\n"), ("short", "0123456789\n"), ("pem", RSA_1024_PUBLIC)] {
        let file = server.directory().join(name);
        write_private(&file, content.as_bytes());
        let by_file =
            Server::new().unset("signing_key").set("signing_key_file", &format!("{:?}", file.display().to_string()));
        refuses(name, "signing_key_file", &by_file);
    }
    let missing = Server::new().unset("signing_key").set("signing_key_file", "\"/nowhere/key\"");
    refuses("no such file", "signing_key_file", &missing);
    refuses("both", "signing_key", &Server::new().set("signing_key_file", "\"/nowhere/key\""));
    let written = str::from_utf8(KEY).expect("ASCII");
    let started = Server::new().set("signing_key", &format!("\"{}\"", &written[..32])).start();
    assert_eq!(started.client().get("/health/live", None).status, 200, "32 bytes do");
}

// Case 117.
#[test]
fn a_weak_or_strange_public_key_does_not_start() {
    let here = Server::new();
    let file = |name: &str, content: &str| {
        let file = here.directory().join(name);
        write_private(&file, content.as_bytes());
        format!("{:?}", file.display().to_string())
    };
    let [rsa, p256, p384, ed] = ["RS256", "ES256", "ES384", "EdDSA"].map(|alg| PrivateKey::generate(&here, alg));
    let entry =
        |kid: &str, alg: &str, file: &str| format!(r#"{{ kid = "{kid}", algorithm = "{alg}", key_file = {file} }}"#);
    let list = |entries: &[String]| {
        Server::new()
            .unset("signing_key")
            .set("algorithm", "\"RS256\"")
            .set("verifying_keys", &format!("[{}]", entries.join(", ")))
    };

    let good = file("rsa.pub", &rsa.public_pem());
    let point = file("p256.pub", &p256.public_pem());
    let started = list(&[entry("a", "RS256", &good), entry("b", "ES256", &point)]).start();
    assert_eq!(started.client().get("/health/live", None).status, 200, "as it should be");

    refuses("a kid twice", "verifying_keys", &list(&[entry("a", "RS256", &good), entry("a", "ES256", &point)]));
    let secret = file("secret", str::from_utf8(KEY).expect("ASCII"));
    refuses(
        "a secret beside public keys",
        "verifying_keys",
        &list(&[entry("a", "RS256", &good), entry("b", "HS256", &secret)]),
    );
    let beside = Server::new()
        .set("signing_key_id", "\"own\"")
        .set("verifying_keys", &format!("[{}]", entry("a", "RS256", &good)));
    refuses("public keys beside a secret", "verifying_keys", &beside);
    let unnamed = Server::new().set("verifying_keys", &format!(r#"[{{ algorithm = "HS256", key_file = {secret} }}]"#));
    refuses("two keys without a name", "verifying_keys", &unnamed);

    let mut one = pem::parse(RSA_EXPONENT_3).expect("PEM").into_contents();
    *one.last_mut().expect("bytes") = 1;
    let mut off = p256.public_der();
    *off.last_mut().expect("bytes") ^= 1;
    let infinity = [&p256.public_der()[..26], &[0]].concat();
    let rsa_private = RSA_1024;
    for (case, alg, text) in [
        ("RSA 1024", "RS256", RSA_1024_PUBLIC.to_owned()),
        ("RSA 1024", "PS512", RSA_1024_PUBLIC.to_owned()),
        ("e = 3", "RS256", RSA_EXPONENT_3.to_owned()),
        ("e = 1", "RS256", pem_text("PUBLIC KEY", one)),
        ("a point off the curve", "ES256", pem_text("PUBLIC KEY", off)),
        ("the point at infinity", "ES256", pem_text("PUBLIC KEY", infinity)),
        ("P-384 as ES256", "ES256", p384.public_pem()),
        ("P-256 as ES384", "ES384", p256.public_pem()),
        ("secp256k1 as ES256", "ES256", SECP256K1.to_owned()),
        ("RSA as ES256", "ES256", rsa.public_pem()),
        ("EC as RS256", "RS256", p256.public_pem()),
        ("Ed25519 as ES256", "ES256", ed.public_pem()),
        ("EC as EdDSA", "EdDSA", p256.public_pem()),
        ("a private key", "RS256", rsa.pem.clone()),
        ("a private key", "RS256", rsa_private.to_owned()),
        ("DER in base64", "RS256", rsa.public_pem().lines().filter(|line| !line.starts_with('-')).collect()),
        ("a JWK", "RS256", rsa.jwk("a").to_string()),
        ("a cut key", "RS256", pem_text("PUBLIC KEY", rsa.public_der()[..200].to_vec())),
        ("nothing", "RS256", String::new()),
        ("an empty frame", "RS256", pem_text("PUBLIC KEY", Vec::new())),
        ("another frame", "RS256", pem_text("CERTIFICATE", rsa.public_der())),
    ] {
        let bad = file("bad.pub", &text);
        refuses(case, "verifying_keys", &list(&[entry("a", alg, &bad)]));
        let as_setting =
            Server::new().unset("signing_key").set("algorithm", &format!("{alg:?}")).set("verifying_key_file", &bad);
        refuses(case, "verifying_key_file", &as_setting);
    }
    for (case, alg, text) in [
        ("RSA 1024", "RS256", RSA_1024.to_owned()),
        ("P-384 as ES256", "ES256", p384.pem.clone()),
        ("RSA as ES256", "ES256", rsa.pem.clone()),
        ("EC as RS256", "RS256", p256.pem.clone()),
        ("a public key", "RS256", rsa.public_pem()),
        ("a secret", "RS256", str::from_utf8(KEY).expect("ASCII").to_owned()),
    ] {
        let bad = file("bad.pem", &text);
        let server =
            Server::new().unset("signing_key").set("algorithm", &format!("{alg:?}")).set("signing_key_file", &bad);
        refuses(case, "signing_key_file", &server);
    }
    let pair = Server::new()
        .unset("signing_key")
        .set("algorithm", "\"RS256\"")
        .set("signing_key_file", &file("rsa.pem", &rsa.pem))
        .set("verifying_key_file", &file("other.pub", &PrivateKey::generate(&here, "RS256").public_pem()));
    refuses("two halves of different keys", "verifying_key_file", &pair);
    for alg in ["none", "hs256", "HS128", "ES512", "RS1", ""] {
        refuses(alg, "algorithm", &Server::new().set("algorithm", &format!("{alg:?}")));
    }
}

// Case 118.
#[test]
fn a_setting_that_breaks_a_promise_does_not_start() {
    for (setting, value) in [
        ("leeway", "-1"),
        ("leeway", "\"-1s\""),
        ("leeway", "301"),
        ("leeway", "\"301s\""),
        ("leeway", "\"1.5s\""),
        ("leeway", "true"),
        ("access_token_lifetime", "0"),
        ("refresh_token_lifetime", "\"0s\""),
        ("access_token_lifetime", "\"200years\""),
        ("max_token_lifetime", "\"1m\""),
        ("sliding_token_lifetime", "\"2d\""),
        ("blacklist", "\"off\""),
        ("blacklist", "\"none\""),
        ("unknown_refresh_tokens", "\"maybe\""),
        ("jti_claim", "\"\""),
        ("jti_claim", "\"exp\""),
        ("user_id_claim", "\"jti\""),
        ("token_type_claim", "\"jti\""),
        ("auth_header_types", "[]"),
        ("auth_header_types", "[\"\", \"Bearer\"]"),
        ("auth_header_name", "\"a b\""),
        ("auth_header_name", "\"a:\\r\\nb\""),
        ("auth_token_classes", "[]"),
        ("auth_token_classes", "[\"any\"]"),
        ("database_pool_size", "0"),
        ("database_pool_size", "100000"),
        ("issuer", "\"\""),
        ("audience", "[\"\"]"),
        ("jwk_url", "\"http://example.org/jwks.json\""),
        ("acess_token_lifetime", "\"5m\""),
    ] {
        let named = match (setting, value) {
            ("max_token_lifetime", _) => "max_token_lifetime",
            _ => setting,
        };
        refuses(&format!("{setting} = {value}"), named, &Server::new().set(setting, value));
    }
}

// Case 119.
#[test]
fn a_key_that_others_can_read_is_complained_about() {
    let server = Server::new();
    let file = server.directory().join("token.key");
    std::fs::write(&file, KEY).expect("write");
    let chmod = |mode: u32| std::fs::set_permissions(&file, Permissions::from_mode(mode)).expect("chmod");
    let mut server = server.unset("signing_key").set("signing_key_file", &format!("{:?}", file.display().to_string()));
    for open in [0o644, 0o640, 0o604, 0o660] {
        chmod(open);
        server = server.start();
        let log = server.log();
        assert!(log.contains("token.key") && log.contains("chmod 600"), "mode {open:o}: {log}");
    }
    chmod(0o600);
    server = server.start();
    assert!(!server.log().contains("chmod"), "{}", server.log());
}
