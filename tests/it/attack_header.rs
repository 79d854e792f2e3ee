//! Attacks through the members of the header: cases 15 to 27 of the attack list. "Signed" means with the right key, so that
//! nothing but the reader of the header can refuse the token.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::attack::{Listener, PrivateKey, Stage, WHOAMI, hs256, resident, statuses};
use crate::support::mint::{Claims, KEY, base64url, claims};
use crate::support::now;
use crate::support::server::Server;

/// HS256, with the key of every test.
static S1: LazyLock<Stage> = LazyLock::new(|| Stage::new(Server::new().start(), good().sign()));
/// RS256, with the public key from a key set on this machine.
static S2: LazyLock<KeySet> = LazyLock::new(KeySet::new);
/// A host that tokens point to. Nobody must ever call it.
static TRAP: LazyLock<Listener> = LazyLock::new(|| Listener::new(&json!({"keys": [ATTACKER.jwk("a")]})));
/// The attacker's own key.
static ATTACKER: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(&S1.server, "RS256"));

struct KeySet {
    stage: Stage,
    key: PrivateKey,
    listener: Listener,
}

impl KeySet {
    fn new() -> Self {
        let server = Server::new();
        let key = PrivateKey::generate(&server, "RS256");
        let listener = Listener::new(&json!({"keys": [key.jwk("main")]}));
        let server = server
            .unset("signing_key")
            .set("algorithm", r#""RS256""#)
            .set("jwk_url", &format!("{:?}", listener.url("/jwks.json")))
            .start();
        let token = key.token(br#"{"alg":"RS256","kid":"main","typ":"JWT"}"#, good().json().as_bytes());
        Self { stage: Stage::new(server, token), key, listener }
    }
}

fn good() -> Claims {
    claims("access").with("exp", now() + 3600)
}

fn payload() -> String {
    claims("access").json()
}

/// Our token under a header with these members beside `alg` and `typ`.
fn signed_with(members: &Value) -> String {
    let mut header = json!({"alg": "HS256", "typ": "JWT"});
    for (name, value) in members.as_object().expect("an object") {
        header[name] = value.clone();
    }
    hs256(KEY, &header.to_string(), &payload())
}

/// The attacker's token under such a header.
fn forged_with(members: &Value) -> String {
    let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": "a"});
    for (name, value) in members.as_object().expect("an object") {
        header[name] = value.clone();
    }
    ATTACKER.token(header.to_string().as_bytes(), payload().as_bytes())
}

// Case 15.
#[test]
fn a_token_cannot_bring_its_key() {
    let oct = json!({"kty": "oct", "k": base64url(b"the attacker's own secret of 32 bytes")});
    let header = json!({"alg": "HS256", "typ": "JWT", "jwk": oct}).to_string();
    S1.refused("an oct key", &hs256(b"the attacker's own secret of 32 bytes", &header, &payload()));
    for jwk in [ATTACKER.jwk("a"), ATTACKER.jwk("main"), json!({}), json!(null), json!([])] {
        S1.refused("jwk", &forged_with(&json!({ "jwk": jwk })));
        S2.stage.refused("jwk", &forged_with(&json!({ "jwk": jwk })));
        S2.stage.refused("jwk", &forged_with(&json!({ "jwk": jwk, "kid": "main" })));
        S1.refused("jwk, signed", &signed_with(&json!({ "jwk": jwk })));
    }
    let own = json!({"alg": "RS256", "typ": "JWT", "kid": "main", "jwk": S2.key.jwk("main")}).to_string();
    S2.stage.refused("the right jwk, signed", &S2.key.token(own.as_bytes(), payload().as_bytes()));
}

// Cases 16 and 17.
#[test]
fn a_token_cannot_say_where_its_key_is() {
    let trap = TRAP.url("/keys.json");
    let host = trap.trim_start_matches("http://").to_owned();
    let own = S2.listener.url("/jwks.json");
    let urls = [
        trap,
        format!("https://{host}"),
        format!("{own}@{host}"),
        format!("http://user:password@{host}"),
        format!("{own}#@{host}"),
        format!("{own}?to=http://{host}"),
        format!("//{host}"),
        "file:///etc/passwd".to_owned(),
        String::new(),
        own.clone(),
    ];
    let asked = S2.listener.calls();
    for url in urls {
        for name in ["jku", "x5u"] {
            let member = json!({ name: url });
            S1.refused(&format!("{name}: {url}"), &forged_with(&member));
            S2.stage.refused(&format!("{name}: {url}"), &forged_with(&member));
            S1.refused(&format!("{name}, signed: {url}"), &signed_with(&member));
            let header = json!({"alg": "RS256", "typ": "JWT", "kid": "main", name: url}).to_string();
            let signed = S2.key.token(header.as_bytes(), payload().as_bytes());
            S2.stage.refused(&format!("{name}, signed: {url}"), &signed);
        }
    }
    assert_eq!(TRAP.calls(), 0, "somebody was sent to the attacker's host");
    assert_eq!(S2.listener.calls(), asked, "a token made us fetch keys");
}

// Case 18.
#[test]
fn a_token_cannot_bring_a_certificate() {
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.encode(ATTACKER.public_der());
    for members in [
        json!({"x5c": [der]}),
        json!({"x5c": [der, der]}),
        json!({"x5c": []}),
        json!({"x5t": "dGh1bWI"}),
        json!({"x5t#S256": "dGh1bWI"}),
    ] {
        S1.refused("a certificate", &forged_with(&members));
        S2.stage.refused("a certificate", &forged_with(&members));
        S1.refused("a certificate, signed", &signed_with(&members));
    }
}

// Cases 19 to 22.
#[test]
fn a_key_has_its_own_name_and_a_name_is_a_string() {
    let long = "k".repeat(5000);
    for kid in [
        json!("unknown"),
        json!(""),
        json!(" "),
        json!("../../../dev/null"),
        json!("/dev/null"),
        json!("x' UNION SELECT '1';--"),
        json!("|sleep 10"),
        json!("a\r\nSet-Cookie: a=b"),
        json!("\0"),
        json!(long),
        json!("none"),
        json!(5),
        json!(0),
        json!(null),
        json!(true),
        json!({}),
        json!([]),
        json!(["main"]),
    ] {
        S1.refused(&format!("kid {kid}, signed"), &signed_with(&json!({ "kid": kid })));
        S2.stage.refused(&format!("kid {kid}"), &forged_with(&json!({ "kid": kid })));
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": kid}).to_string();
        S2.stage.refused(&format!("kid {kid}, signed"), &S2.key.token(header.as_bytes(), payload().as_bytes()));
        for secret in ["", "1", "\0"] {
            let header = json!({"alg": "HS256", "typ": "JWT", "kid": kid}).to_string();
            S1.refused(&format!("kid {kid} with the key {secret:?}"), &hs256(secret.as_bytes(), &header, &payload()));
        }
    }
    let million = json!({"alg": "HS256", "kid": "k".repeat(1_000_000)}).to_string();
    S1.refused("kid of a megabyte", &hs256(KEY, &million, &payload()));
    for kid in ["MAIN", "main ", "mai", "main\0", "ma\u{131}n"] {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": kid}).to_string();
        S2.stage.refused(kid, &S2.key.token(header.as_bytes(), payload().as_bytes()));
    }
}

// Case 23.
#[test]
fn no_member_stands_twice() {
    for header in [
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"\u0061lg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"JWT","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"HS256","kid":"a","k\u0069d":"b"}"#,
    ] {
        S1.refused(header, &hs256(KEY, header, &payload()));
    }
    S1.accepted("an escape by itself", &hs256(KEY, r#"{"\u0061lg":"HS256"}"#, &payload()));
}

// Case 24.
#[test]
fn names_of_unknown_keys_cost_nothing() {
    let token = |_| {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": crate::support::unique("kid")}).to_string();
        format!("{}.{}.{}", base64url(header.as_bytes()), base64url(b"{}"), base64url(&[7; 384]))
    };
    let client = S2.stage.client();
    let some: Vec<String> = (0..1000).map(token).collect();
    assert!(statuses(client, WHOAMI, &some).iter().all(|status| *status == 401));
    let (before, asked) = (resident(S2.stage.server.pid()), S2.listener.calls());
    let many: Vec<String> = (0..10_000).map(token).collect();
    assert!(statuses(client, WHOAMI, &many).iter().all(|status| *status == 401));
    let grown = resident(S2.stage.server.pid()).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more after 10,000 unknown names");
    assert_eq!(S2.listener.calls(), asked, "a token made us fetch keys");
    S2.stage.good_as_ever("after 11,000 unknown names");
}

// Cases 25 and 26.
#[test]
fn a_member_that_we_do_not_know_is_not_passed_over() {
    for members in [
        json!({"crit": ["x"], "x": 1}),
        json!({"crit": ["exp"], "exp": now() + 60}),
        json!({"crit": []}),
        json!({"crit": "x"}),
        json!({"crit": null}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"crit": ["b64"], "b64": true}),
        json!({"crit": ["alg"]}),
        json!({"b64": false}),
        json!({"b64": true}),
        json!({"zip": "DEF"}),
        json!({"enc": "A128GCM"}),
        json!({"cty": "JWT"}),
        json!({"x": 1}),
        json!({"exp": now() + 60}),
        json!({"iss": "https://a.example"}),
    ] {
        S1.refused(&members.to_string(), &signed_with(&members));
    }
    // `b64: false` (RFC 7797): the payload is signed as it is.
    let header = base64url(br#"{"alg":"HS256","b64":false,"crit":["b64"]}"#);
    for payload in [payload(), base64url(payload().as_bytes())] {
        let message = format!("{header}.{payload}");
        let tag =
            aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, KEY), message.as_bytes());
        S1.refused("b64", &format!("{message}.{}", base64url(tag.as_ref())));
    }
    let nested = claims("access").sign();
    let header = json!({"alg": "HS256", "typ": "JWT", "cty": "JWT"}).to_string();
    S1.refused("a nested token", &hs256(KEY, &header, &nested));
    S1.refused("a nested token without cty", &hs256(KEY, r#"{"alg":"HS256","typ":"JWT"}"#, &nested));
}

// Case 27.
#[test]
fn a_header_of_another_use_is_refused() {
    for typ in [
        json!("rt+jwt"),
        json!("at+jwt"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!("JOSE"),
        json!("JOSE+JSON"),
        json!("JWS"),
        json!(""),
        json!(1),
        json!(null),
        json!([]),
        json!(["JWT"]),
    ] {
        S1.refused(&typ.to_string(), &signed_with(&json!({ "typ": typ })));
    }
    S1.accepted("none", &hs256(KEY, r#"{"alg":"HS256"}"#, &payload()));
    S1.accepted("JWT", &signed_with(&json!({"typ": "JWT"})));
    S1.accepted("jwt", &signed_with(&json!({"typ": "jwt"})));
}

#[test]
fn with_explicit_typ_every_kind_says_its_own() {
    let server = Server::new().set("explicit_typ", "true").start_with_ada();
    let pair = server.login("ada");
    assert_eq!(crate::support::mint::header(&pair.access)["typ"], "at+jwt");
    assert_eq!(crate::support::mint::header(&pair.refresh)["typ"], "rt+jwt");
    let stage = Stage::new(server, pair.access);
    let under = |typ: &Value, kind: &str| {
        let header = json!({"alg": "HS256", "typ": typ}).to_string();
        hs256(KEY, &header, &claims(kind).json())
    };
    stage.accepted("at+jwt", &under(&json!("at+jwt"), "access"));
    stage.accepted("AT+JWT", &under(&json!("AT+JWT"), "access"));
    for typ in
        [json!("JWT"), json!("rt+jwt"), json!("sl+jwt"), json!("application/at+jwt"), json!("at+jwt "), json!("")]
    {
        stage.refused(&typ.to_string(), &under(&typ, "access"));
    }
    stage.refused("none", &hs256(KEY, r#"{"alg":"HS256"}"#, &payload()));
    for (typ, kind) in [("at+jwt", "refresh"), ("at+jwt", "sliding"), ("rt+jwt", "sliding"), ("at+jwt", "other")] {
        stage.refused(&format!("{typ} around {kind}"), &under(&json!(typ), kind));
    }
    let without = hs256(KEY, r#"{"alg":"HS256","typ":"at+jwt"}"#, &claims("access").without("token_type").json());
    stage.refused("no kind", &without);
    // At the endpoint for refresh tokens: the very claims that it wants, in the header of an access token.
    let refresh = crate::support::mint::payload(&pair.refresh).to_string();
    for typ in ["at+jwt", "sl+jwt", "JWT"] {
        let header = json!({"alg": "HS256", "typ": typ}).to_string();
        let reply = stage.client().post_json("/api/token/refresh/", &json!({"refresh": hs256(KEY, &header, &refresh)}));
        reply.assert_not_valid("Token is invalid");
    }
    let reply = stage.client().post_json("/api/token/refresh/", &json!({"refresh": pair.refresh}));
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn a_bad_key_set_never_replaces_a_good_one() {
    let server = Server::new();
    let key = PrivateKey::generate(&server, "RS256");
    let listener = Listener::new(&json!({"keys": [key.jwk("main")]}));
    let server = server
        .unset("signing_key")
        .set("algorithm", r#""RS256""#)
        .set("jwk_url", &format!("{:?}", listener.url("/jwks.json")))
        .set("jwk_url_interval", r#""1s""#)
        .start();
    let good = key.token(br#"{"alg":"RS256","kid":"main"}"#, good().json().as_bytes());
    let stage = Stage::new(server, good);
    let forged = |kid: &str| {
        let header = json!({"alg": "RS256", "kid": kid}).to_string();
        ATTACKER.token(header.as_bytes(), payload().as_bytes())
    };
    let mut twice = ATTACKER.jwk("a");
    twice["kid"] = json!("main");
    let mut secret = json!({"keys": [{"kty": "oct", "kid": "a", "k": base64url(KEY)}]});
    secret["keys"][0]["alg"] = json!("HS256");
    let mut encryption = ATTACKER.jwk("a");
    encryption["use"] = json!("enc");
    let mut tiny = ATTACKER.jwk("a");
    tiny["n"] = json!(base64url(&[0xff; 128]));
    let mut exponent = ATTACKER.jwk("a");
    exponent["e"] = json!(base64url(&[1]));
    for document in [
        String::new(),
        "{}".to_owned(),
        "<html>".to_owned(),
        json!({"keys": []}).to_string(),
        json!({"keys": [key.jwk("main"), twice]}).to_string(),
        secret.to_string(),
        json!({"keys": [encryption]}).to_string(),
        json!({"keys": [tiny]}).to_string(),
        json!({"keys": [exponent]}).to_string(),
        format!("{}{}", json!({"keys": [ATTACKER.jwk("a")]}), " ".repeat(1 << 20)),
    ] {
        listener.say(&document);
        // One fetch that began before the change may be under way; the second after it has read the new document. A failure
        // is tried again after as long as a success, which is a second here.
        let seen = listener.calls();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while listener.calls() < seen + 2 {
            assert!(std::time::Instant::now() < deadline, "the keys are not fetched any more");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        stage.good_as_ever(&document[..document.len().min(60)]);
        stage.refused("the key of a bad set", &forged("a"));
        stage.refused("the key of a bad set", &forged("main"));
    }
    // And a good one does.
    listener.say(&json!({"keys": [ATTACKER.jwk("a")]}).to_string());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while stage.client().get(WHOAMI, Some(&forged("a"))).status != 200 {
        assert!(std::time::Instant::now() < deadline, "a good key set is not taken");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(stage.client().get(WHOAMI, Some(&stage.good)).status, 401, "a key that left the set verifies no more");
}
