//! A protected route, `GET /api/token/whoami/`. Cases 78 to 82 and 85 to 87; 83 to 85 with a user are in `http_library`.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::mint::{Claims, Hash, KEY, claims, payload};
use crate::support::now;
use crate::support::server::Server;

static SERVER: LazyLock<Server> = LazyLock::new(Server::with_ada);

const WHOAMI: &str = "/api/token/whoami/";
const SENT: &str = r#"Bearer realm="api", error="invalid_token""#;

fn not_provided() -> Value {
    json!({"detail": "Authentication credentials were not provided."})
}

fn bad_header() -> Value {
    json!({"detail": "Authorization header must contain two space-delimited values", "code": "bad_authorization_header"})
}

fn no_class(message: &str) -> Value {
    json!({
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [{"token_class": "AccessToken", "token_type": "access", "message": message}],
    })
}

fn whoami(server: &Server, token: &str) -> Reply {
    server.client().get(WHOAMI, Some(token))
}

fn with_header(server: &Server, name: &str, value: &str) -> Reply {
    server.client().request("GET", WHOAMI, &[(name, value)], b"")
}

#[test]
fn a_good_token_says_who_calls() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    let reply = whoami(&SERVER, &pair.access);
    assert_eq!(reply.status, 200, "{reply:?}");
    let (body, claims) = (reply.json(), payload(&pair.access));
    let mut members: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["expires_at", "session", "token_type", "user_id"]);
    assert_eq!(body["user_id"], SERVER.user_id(&name));
    assert_eq!(body["token_type"], "access");
    assert_eq!(body["session"], claims["sid"]);
    assert!(!body["expires_at"].is_null(), "{body}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

// Case 78.
#[test]
fn without_a_token_there_are_no_credentials() {
    let pair = SERVER.login("ada");
    let none = SERVER.client().get(WHOAMI, None);
    none.assert(401, &not_provided());
    assert_eq!(none.header("www-authenticate"), Some(r#"Bearer realm="api""#));
    for other in [
        String::new(),
        " ".to_owned(),
        "Basic YWRhOmFkYQ==".to_owned(),
        format!("Token {}", pair.access),
        format!("Bearer2 {}", pair.access),
        pair.access.clone(),
    ] {
        let reply = SERVER.client().get_as(WHOAMI, &other);
        reply.assert(401, &not_provided());
        assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="api""#), "{other:?}");
    }
    let elsewhere = SERVER.client().get(&format!("{WHOAMI}?token={0}&access_token={0}", pair.access), None);
    elsewhere.assert(401, &not_provided());
    let cookie =
        with_header(&SERVER, "Cookie", &format!("access_token={0}; access={0}; Authorization={0}", pair.access));
    cookie.assert(401, &not_provided());
}

// Case 78, and where we differ.
#[test]
fn the_scheme_has_no_case() {
    let access = SERVER.login("ada").access;
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let reply = SERVER.client().get_as(WHOAMI, &format!("{scheme} {access}"));
        assert_eq!(reply.status, 200, "{scheme}: {reply:?}");
    }
    let reply = with_header(&SERVER, "aUTHORIZATION", &format!("Bearer {access}"));
    assert_eq!(reply.status, 200, "{reply:?}");
}

// Case 79.
#[test]
fn a_scheme_has_exactly_one_value() {
    let access = SERVER.login("ada").access;
    let client = SERVER.client();
    for bad in ["Bearer".to_owned(), "bearer ".to_owned(), format!("Bearer {access} x"), format!("Bearer a {access}")] {
        client.get_as(WHOAMI, &bad).assert(401, &bad_header());
    }
    let good = format!("Bearer {access}");
    for (first, second) in [(good.as_str(), good.as_str()), (&good, "Basic YQ=="), ("Basic YQ==", &good), ("", &good)] {
        let headers = [("Authorization", first), ("authorization", second)];
        client.request("GET", WHOAMI, &headers, b"").assert(401, &bad_header());
    }
}

// Case 80.
#[test]
fn every_bad_token_is_given_its_reason() {
    let expired = claims("access").with("iat", now() - 60).with("exp", now() - 1);
    let cases: [(&str, String, &str); 8] = [
        ("expired", expired.sign(), "Token is expired"),
        ("no exp", claims("access").without("exp").sign(), "Token has no 'exp' claim"),
        ("no jti", claims("access").without("jti").sign(), "Token has no id"),
        ("no type", claims("access").without("token_type").sign(), "Token has no type"),
        ("refresh", SERVER.login("ada").refresh, "Token has wrong type"),
        ("other key", claims("access").sign_with(Hash::Sha256, &KEY[1..]), "Token is invalid"),
        ("other hash", claims("access").sign_with(Hash::Sha512, KEY), "Token is invalid"),
        ("garbage", "garbage".to_owned(), "Token is invalid"),
    ];
    for (name, token, message) in cases {
        let reply = whoami(&SERVER, &token);
        reply.assert(401, &no_class(message));
        assert_eq!(reply.header("www-authenticate"), Some(SENT), "{name}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{name}");
    }
}

#[test]
fn a_blacklisted_access_token_is_refused_and_recorded() {
    let pair = SERVER.login(&SERVER.another_user());
    let jti = payload(&pair.access)["jti"].as_str().expect("a jti").to_owned();
    let output = SERVER.cli(&["blacklist", &jti]);
    assert!(output.success(), "{output:?}");
    whoami(&SERVER, &pair.access).assert(401, &no_class("Token is blacklisted"));
    assert!(SERVER.database().is_blacklisted(&jti));
    let output = SERVER.cli(&["unblacklist", &jti]);
    assert!(output.success(), "{output:?}");
    assert_eq!(whoami(&SERVER, &pair.access).status, 200);
}

// Case 81.
#[test]
fn every_configured_scheme_works_and_the_first_is_shown() {
    let server = Server::new().set("auth_header_types", r#"["JWT", "Bearer"]"#).start_with_ada();
    let access = server.login("ada").access;
    for scheme in ["JWT", "Bearer", "jwt"] {
        let reply = server.client().get_as(WHOAMI, &format!("{scheme} {access}"));
        assert_eq!(reply.status, 200, "{scheme}: {reply:?}");
    }
    let reply = server.client().get_as(WHOAMI, &format!("Token {access}"));
    reply.assert(401, &not_provided());
    assert_eq!(reply.header("www-authenticate"), Some(r#"JWT realm="api""#));
    server.client().get_as(WHOAMI, "JWT").assert(401, &bad_header());
    let refused = server.client().post_json("/api/token/", &json!({"username": "ada", "password": "wrong"}));
    assert_eq!(refused.header("www-authenticate"), Some(r#"JWT realm="api""#));
}

// Case 82.
#[test]
fn the_token_is_read_from_the_configured_header_only() {
    let server = Server::new().set("auth_header_name", "\"X-Access-Token\"").start_with_ada();
    let good = format!("Bearer {}", server.login("ada").access);
    assert_eq!(with_header(&server, "X-Access-Token", &good).status, 200);
    assert_eq!(with_header(&server, "x-access-token", &good).status, 200);
    with_header(&server, "Authorization", &good).assert(401, &not_provided());
    let both = [("Authorization", "Basic YQ=="), ("X-Access-Token", good.as_str())];
    assert_eq!(server.client().request("GET", WHOAMI, &both, b"").status, 200, "the other header is not ours to read");
    let twice = [("X-Access-Token", good.as_str()), ("X-Access-Token", good.as_str())];
    assert_eq!(server.client().request("GET", WHOAMI, &twice, b"").status, 401);
}

// Case 85 for a guard that reads no user.
#[test]
fn a_token_without_a_user_says_so() {
    let reply = whoami(&SERVER, &claims("access").without("user_id").sign());
    assert_eq!((reply.status, &reply.json()["user_id"]), (200, &Value::Null), "{reply:?}");
}

// Case 86.
#[test]
fn a_client_s_day() {
    let pair = SERVER.login("ada");
    assert_eq!(whoami(&SERVER, &pair.access).status, 200);
    let renewed = SERVER.client().post_json("/api/token/refresh/", &json!({"refresh": pair.refresh}));
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(whoami(&SERVER, &renewed.string("access")).status, 200);
    assert_eq!(whoami(&SERVER, &pair.access).status, 200, "the first access token has its own time");
}

// Case 87: the access token guard reads no user, so the identity comes from the claims.
#[test]
fn identity_comes_from_the_claims() {
    for user in ["987654321", "somebody@example.org"] {
        let reply = whoami(&SERVER, &claims("access").with("user_id", user).sign());
        assert_eq!((reply.status, reply.string("user_id")), (200, user.to_owned()), "{reply:?}");
    }
    let reply = whoami(&SERVER, &claims("access").with("user_id", 7).sign());
    assert_eq!((reply.status, reply.string("user_id")), (200, "7".to_owned()), "{reply:?}");
}

#[test]
fn issuer_and_audience_are_required_exactly_when_they_are_configured() {
    let of = |token: Claims| token.with("iss", "https://tokens.example").with("aud", "others");
    assert_eq!(whoami(&SERVER, &of(claims("access")).sign()).status, 200, "not configured, not looked at");

    let server = Server::new().set("issuer", "\"https://a.example\"").set("audience", r#"["a", "b"]"#).start();
    let good = || claims("access").with("iss", "https://a.example").with("aud", "b");
    for aud in [json!("a"), json!("b"), json!(["x", "a"])] {
        assert_eq!(whoami(&server, &good().with("aud", aud.clone()).sign()).status, 200, "{aud}");
    }
    for aud in
        [json!("c"), json!([]), json!(["x"]), json!(["a", 1]), json!({"a": 1}), json!(null), json!("A"), json!("a ")]
    {
        let reply = whoami(&server, &good().with("aud", aud).sign());
        reply.assert(401, &no_class("Token is invalid"));
    }
    whoami(&server, &good().without("aud").sign()).assert(401, &no_class("Token is invalid"));
    for iss in [json!("https://b.example"), json!(["https://a.example"]), json!(null), json!("https://a.example/")] {
        let reply = whoami(&server, &good().with("iss", iss).sign());
        reply.assert(401, &no_class("Token is invalid"));
    }
    whoami(&server, &good().without("iss").sign()).assert(401, &no_class("Token is invalid"));
}
