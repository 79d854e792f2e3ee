//! `POST /api/token/`: a name and a password for a pair of tokens. Cases 1 to 6, 10 to 17 and 19 to 23.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::mint::{header, jti, payload};
use crate::support::server::{PASSWORD, Server};
use crate::support::{now, unique};

static SERVER: LazyLock<Server> = LazyLock::new(Server::with_ada);

const REQUIRED: &str = "This field is required.";
const BLANK: &str = "This field may not be blank.";
const NULL: &str = "This field may not be null.";

#[track_caller]
fn obtain(server: &Server, body: &Value) -> Reply {
    server.client().post_json("/api/token/", body)
}

fn credentials(name: &str, password: &str) -> Value {
    json!({"username": name, "password": password})
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn is_jti(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

// Cases 1, 2, 3.
#[test]
fn every_missing_field_is_named() {
    obtain(&SERVER, &json!({})).assert(400, &json!({"username": [REQUIRED], "password": [REQUIRED]}));
    obtain(&SERVER, &json!({"username": "ada"})).assert(400, &json!({"password": [REQUIRED]}));
    obtain(&SERVER, &json!({"password": PASSWORD})).assert(400, &json!({"username": [REQUIRED]}));
}

// Case 4.
#[test]
fn a_blank_field_and_a_null_are_told_apart() {
    obtain(&SERVER, &credentials("", "")).assert(400, &json!({"username": [BLANK], "password": [BLANK]}));
    obtain(&SERVER, &json!({"username": null, "password": null}))
        .assert(400, &json!({"username": [NULL], "password": [NULL]}));
    obtain(&SERVER, &json!({"username": "", "password": null}))
        .assert(400, &json!({"username": [BLANK], "password": [NULL]}));
    obtain(&SERVER, &json!({"username": null})).assert(400, &json!({"username": [NULL], "password": [REQUIRED]}));
}

#[test]
fn a_field_that_is_no_string_is_refused() {
    for wrong in [json!([]), json!({"$ne": ""}), json!(true)] {
        obtain(&SERVER, &json!({"username": wrong, "password": wrong}))
            .assert(400, &json!({"username": ["Not a valid string."], "password": ["Not a valid string."]}));
    }
}

#[test]
fn null_characters_are_refused_and_space_around_a_name_is_dropped() {
    obtain(&SERVER, &credentials("ada\0", PASSWORD))
        .assert(400, &json!({"username": ["Null characters are not allowed."]}));
    assert_eq!(obtain(&SERVER, &credentials(" ada\n", PASSWORD)).status, 200);
    obtain(&SERVER, &credentials(" ", PASSWORD)).assert(400, &json!({"username": [BLANK]}));
}

#[test]
fn a_member_twice_is_refused() {
    let body = format!(r#"{{"username": "ada", "password": "{PASSWORD}", "username": "ada"}}"#);
    let reply = SERVER.client().post("/api/token/", "application/json", body.as_bytes());
    assert_eq!(reply.status, 400, "two readers could take different ones: {reply:?}");
}

// Case 5.
#[test]
fn a_body_that_is_no_object_is_named_by_its_type() {
    obtain(&SERVER, &json!(["ada", PASSWORD]))
        .assert(400, &json!({"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}));
    obtain(&SERVER, &json!("ada"))
        .assert(400, &json!({"non_field_errors": ["Invalid data. Expected a dictionary, but got str."]}));
    obtain(&SERVER, &json!(7))
        .assert(400, &json!({"non_field_errors": ["Invalid data. Expected a dictionary, but got int."]}));
}

// Case 6.
#[test]
fn broken_json_is_a_parse_error() {
    for broken in ["{", "{\"username\": \"ada\",}", "nonsense", "{\"username\": \"ada\"} {}", "\u{feff}{}"] {
        let reply = SERVER.client().post("/api/token/", "application/json", broken.as_bytes());
        let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.starts_with("JSON parse error - "), "{broken:?}: {reply:?}");
        reply.assert(400, &json!({ "detail": detail }));
    }
    let latin1 = SERVER.client().post("/api/token/", "application/json", b"{\"username\": \"\xe9\"}");
    assert_eq!(latin1.status, 400, "{latin1:?}");
    assert!(latin1.string("detail").starts_with("JSON parse error - "), "{latin1:?}");
}

// Cases 10, 11, 12.
#[test]
fn wrong_password_unknown_user_and_inactive_user_look_the_same() {
    let inactive = SERVER.another_user();
    let output = SERVER.cli(&["users", "disable", &inactive]);
    assert!(output.success(), "{output:?}");

    let expected = json!({"detail": "No active account found with the given credentials"});
    let wrong = obtain(&SERVER, &credentials("ada", "wrong"));
    wrong.assert(401, &expected);
    for (name, password) in [(unique("nobody"), "wrong"), (unique("nobody"), PASSWORD), (inactive, PASSWORD)] {
        let reply = obtain(&SERVER, &credentials(&name, password));
        reply.assert(401, &expected);
        assert_eq!(reply.text, wrong.text, "byte for byte");
        assert_eq!(reply.header("content-length"), wrong.header("content-length"));
    }
}

#[test]
fn names_and_passwords_are_compared_exactly() {
    for (name, password) in [
        ("ADA", PASSWORD.to_owned()),
        ("ada", PASSWORD.to_uppercase()),
        ("ada", format!("{PASSWORD}x")),
        ("ada", PASSWORD[1..].to_owned()),
        ("ada' OR '1'='1", PASSWORD.to_owned()),
        ("ad_", PASSWORD.to_owned()),
        ("ada", format!("{PASSWORD} ")),
    ] {
        assert_eq!(obtain(&SERVER, &credentials(name, &password)).status, 401, "{name:?} {password:?}");
    }
}

// Case 13 and 19.
#[test]
fn right_credentials_give_a_pair_of_the_right_kinds() {
    let name = SERVER.another_user();
    let before = now();
    let reply = obtain(&SERVER, &credentials(&name, PASSWORD));
    let after = now();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(names(&reply.json()), ["access", "refresh"]);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("www-authenticate"), None);

    let id = SERVER.user_id(&name);
    let (access, refresh) = (reply.string("access"), reply.string("refresh"));
    for (token, kind, lifetime) in [(&access, "access", 300), (&refresh, "refresh", 86_400)] {
        assert_eq!(header(token), json!({"alg": "HS256", "typ": "JWT"}));
        let claims = payload(token);
        let fresh: &[&str] = if kind == "access" { &["fresh"] } else { &[] };
        assert_eq!(names(&claims), [&["exp"], fresh, &["iat", "jti", "sid", "token_type", "user_id"]].concat());
        assert_eq!(claims["token_type"], kind);
        let issued = claims["iat"].as_i64().expect("whole seconds");
        assert!((before..=after).contains(&issued), "{claims}");
        assert_eq!(claims["exp"], issued + lifetime);
        assert!(is_jti(&claims["jti"]), "{claims}");
        assert_eq!(claims["user_id"], Value::String(id.clone()), "a JSON string for an integer id");
    }
    assert_ne!(jti(&access), jti(&refresh));
}

#[test]
fn a_login_opens_a_session_that_both_tokens_name() {
    let name = SERVER.another_user();
    let (first, second) = (SERVER.login(&name), SERVER.login(&name));
    let session = |token: &str| payload(token)["sid"].as_str().expect("a session").to_owned();
    let sid = session(&first.refresh);
    assert_eq!(session(&first.access), sid);
    assert_ne!(session(&second.refresh), sid, "every login is a session of its own");
    let uuid: uuid::Uuid = sid.parse().expect("a UUID");
    assert_eq!(uuid.get_version_num(), 7);
    assert_eq!(uuid.hyphenated().to_string(), sid, "one spelling");

    let mut database = SERVER.database();
    let user = database.value(&format!("SELECT user_id FROM simplejwt_session WHERE id = '{sid}'"));
    assert_eq!(user, Some(SERVER.user_id(&name)));
    assert_eq!(database.count(&format!("simplejwt_session WHERE id = '{sid}' AND ended_at IS NULL")), 1);
}

// Cases 14 and 15.
#[test]
fn only_the_refresh_token_is_recorded_and_without_its_text() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    let claims = payload(&pair.refresh);
    let mut database = SERVER.database();
    let of_user = format!("token_blacklist_outstandingtoken WHERE user_id = '{}'", SERVER.user_id(&name));
    assert_eq!(database.count(&of_user), 1, "one row for one login");
    let [expires_at, created_at] = ["expires_at", "created_at"].map(|column| database.seconds(column));
    let mut field = |column: &str| database.value(&format!("SELECT {column} FROM {of_user}"));
    assert_eq!(field("jti"), claims["jti"].as_str().map(str::to_owned));
    assert_eq!(field("token"), Some(String::new()), "no token text in the database");
    assert_eq!(field(&expires_at), Some(claims["exp"].to_string()));
    assert_eq!(field(&created_at), Some(claims["iat"].to_string()));
    assert!(!database.is_outstanding(&jti(&pair.access)), "an access token leaves no row");
    let dump = database.dump();
    for token in [&pair.refresh, &pair.access] {
        let signature = token.rsplit('.').next().expect("three parts");
        assert!(!dump.contains(signature), "token text in the database");
    }
    assert!(!SERVER.log().contains(&pair.refresh) && !SERVER.log().contains(PASSWORD), "secrets in the log");
}

// Case 16.
#[test]
fn a_login_leaves_last_login_alone() {
    let name = SERVER.another_user();
    SERVER.login(&name);
    let last = SERVER.database().value(&format!("SELECT last_login FROM simplejwt_user WHERE username = '{name}'"));
    assert_eq!(last, None);
}

// Case 17.
#[test]
fn a_login_sets_last_login_where_it_is_asked_to() {
    let server = Server::new().set("update_last_login", "true").start_with_ada();
    let seconds = server.database().seconds("last_login");
    let last_login = &format!("SELECT {seconds} FROM simplejwt_user WHERE username = 'ada'");
    assert_eq!(obtain(&server, &credentials("ada", "wrong")).status, 401);
    assert_eq!(server.database().value(last_login), None, "a failed login is none");

    let before = now();
    server.login("ada");
    let last = server.database().number(last_login);
    assert!((before..=now()).contains(&last), "{last}");

    server.database().execute("UPDATE simplejwt_user SET last_login = NULL");
    let sliding = server.client().post_json("/api/token/sliding/", &credentials("ada", PASSWORD));
    assert_eq!(sliding.status, 200, "{sliding:?}");
    let last = server.database().number(last_login);
    assert!((before..=now()).contains(&last), "{last}");
}

// Case 20.
#[test]
fn the_user_claim_holds_the_field_that_is_asked_for() {
    let server = Server::new().set("user_id_field", "\"username\"").set("user_id_claim", "\"sub\"").start_with_ada();
    let pair = server.login("ada");
    for token in [&pair.access, &pair.refresh] {
        let claims = payload(token);
        assert_eq!(claims["sub"], "ada");
        assert_eq!(claims.get("user_id"), None);
    }
    let who = server.client().get("/api/token/whoami/", Some(&pair.access));
    assert_eq!((who.status, who.string("user_id")), (200, "ada".to_owned()), "{who:?}");
    let refreshed = server.client().post_json("/api/token/refresh/", &json!({"refresh": pair.refresh}));
    assert_eq!(refreshed.status, 200, "the user is found again by that field: {refreshed:?}");
    assert_eq!(payload(&refreshed.string("access"))["sub"], "ada");
}

// Case 21.
#[test]
fn issuer_and_audience_stand_in_every_token() {
    let issuer = "https://tokens.example";
    let server = Server::new().set("issuer", &format!("{issuer:?}")).set("audience", "\"clients\"").start_with_ada();
    let pair = server.login("ada");
    let refreshed = server.client().post_json("/api/token/refresh/", &json!({"refresh": pair.refresh}));
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let rotated = (refreshed.string("access"), refreshed.string("refresh"));
    for token in [&pair.access, &pair.refresh, &rotated.0, &rotated.1] {
        let claims = payload(token);
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(issuer), &json!("clients")));
    }
    assert_eq!(server.client().get("/api/token/whoami/", Some(&rotated.0)).status, 200);
}

// Case 22; that every other 401 has the challenge is checked wherever a body is.
#[test]
fn a_refused_login_names_the_scheme_and_no_error() {
    for body in [credentials("ada", "wrong"), credentials(&unique("nobody"), "wrong")] {
        let reply = obtain(&SERVER, &body);
        assert_eq!(reply.status, 401);
        assert_eq!(reply.headers_named("www-authenticate"), [r#"Bearer realm="api""#], "{reply:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    }
}

// Case 23.
#[test]
fn tokens_carry_the_revoke_claim_where_it_is_switched_on() {
    let server = Server::new().set("check_revoke_token", "true").set("revoke_token_claim", "\"pw\"").start_with_ada();
    let (pair, again) = (server.login("ada"), server.login("ada"));
    let claim = |token: &str| payload(token)["pw"].as_str().expect("a revoke claim").to_owned();
    assert!(!claim(&pair.refresh).is_empty());
    assert_eq!(claim(&pair.access), claim(&pair.refresh));
    assert_eq!(claim(&again.refresh), claim(&pair.refresh), "the same as long as the password is");
    let hash = server.database().strings("SELECT password FROM simplejwt_user").concat();
    assert!(!claim(&pair.refresh).contains(&hash) && !hash.contains(&claim(&pair.refresh)), "not the hash itself");
    assert_eq!(payload(&SERVER.login("ada").access).get("hash_password"), None, "and not where it is off");
}

#[test]
fn settings_come_from_the_environment_as_well() {
    let server = Server::new().env("ROCKET_SIMPLEJWT", "{access_token_lifetime=\"7m\"}").start_with_ada();
    let claims = payload(&server.login("ada").access);
    assert_eq!(claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(420));
}
