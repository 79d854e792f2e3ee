//! Attacks with a token of another kind: case 57 of the attack list, and forged tokens at the endpoints that write (61, 63).

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::attack::{Stage, WHOAMI};
use crate::support::mint::{Claims, Hash, KEY, claims, jti, payload};
use crate::support::now;
use crate::support::server::{PASSWORD, Server};

static SERVER: LazyLock<Server> = LazyLock::new(Server::with_ada);

/// Where a token can be presented.
const PLACES: [&str; 5] = ["whoami", "refresh", "sliding/refresh", "verify", "blacklist"];

fn present(server: &Server, place: &str, token: &str) -> u16 {
    let path = format!("/api/token/{place}/");
    let reply = match place {
        "whoami" => server.client().get(&path, Some(token)),
        "refresh" | "blacklist" => server.client().post_json(&path, &json!({ "refresh": token })),
        _ => server.client().post_json(&path, &json!({ "token": token })),
    };
    assert!(matches!(reply.status, 200 | 401), "{place}: {reply:?}");
    reply.status
}

/// Where a token of this kind is taken.
fn places_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "access" => &["whoami", "verify"],
        "refresh" => &["refresh", "verify", "blacklist"],
        "sliding" => &["sliding/refresh", "verify"],
        // Neither we nor simplejwt know what it is for; the verify endpoint says that it is genuine.
        _ => &["verify"],
    }
}

// Case 57.
#[test]
fn every_kind_is_taken_where_it_belongs_and_nowhere_else() {
    let login = |path: &str| {
        let reply = SERVER.client().post_json(path, &json!({"username": "ada", "password": PASSWORD}));
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    };
    let issued = |kind: &str| -> String {
        let answer = match kind {
            "access" | "refresh" => login("/api/token/")[kind].clone(),
            "sliding" => login("/api/token/sliding/")["token"].clone(),
            _ => return claims("x").with("token_type", kind).sign(),
        };
        answer.as_str().expect("a token").to_owned()
    };
    for kind in ["access", "refresh", "sliding", "id", "untyped", "Refresh", "csrf"] {
        for place in PLACES {
            let expected = if places_of(kind).contains(&place) { 200 } else { 401 };
            assert_eq!(present(&SERVER, place, &issued(kind)), expected, "{kind} at {place}");
        }
    }
    let none = claims("access").without("token_type");
    for place in PLACES {
        let expected = if place == "verify" { 200 } else { 401 };
        assert_eq!(present(&SERVER, place, &none.sign()), expected, "no kind at {place}");
    }
}

#[test]
fn a_setting_decides_which_kinds_open_a_route() {
    for (classes, open) in [
        (r#"["sliding"]"#, &["sliding"][..]),
        (r#"["access", "sliding"]"#, &["access", "sliding"]),
        (r#"["refresh"]"#, &["refresh"]),
    ] {
        let server = Server::new().set("auth_token_classes", classes).start();
        for kind in ["access", "refresh", "sliding", "other"] {
            let token = claims(kind);
            server.database().record_as_django(&token);
            let expected = if open.contains(&kind) { 200 } else { 401 };
            assert_eq!(present(&server, "whoami", &token.sign()), expected, "{kind} with {classes}");
        }
    }
}

/// Tokens with a real jti that somebody without the key could make of a real token.
fn forgeries(real: &str) -> Vec<String> {
    let claims = payload(real).to_string();
    let sign = |alg: &str, key: &[u8]| {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        crate::support::mint::sign(Hash::Sha256, key, header.as_bytes(), claims.as_bytes())
    };
    let unsigned = format!("{}.", real.rsplit_once('.').expect("three parts").0);
    vec![
        sign("HS256", b"another key of at least thirty-two bytes"),
        sign("none", KEY),
        sign("HS512", KEY),
        unsigned,
        real[..real.len() - 1].to_owned(),
        format!("{real}A"),
    ]
}

// Case 61.
#[test]
fn a_forged_token_revokes_nothing_and_renews_nothing() {
    let server = Server::with_ada();
    let pair = server.login("ada");
    let sliding = server.client().post_json("/api/token/sliding/", &json!({"username": "ada", "password": PASSWORD}));
    let stage = Stage::new(server, pair.access.clone());
    for real in [&pair.refresh, &pair.access, &sliding.string("token")] {
        for forged in forgeries(real) {
            for place in PLACES {
                assert_eq!(present(&stage.server, place, &forged), 401, "{place}");
                stage.good_as_ever(place);
            }
        }
    }
    assert!(!stage.server.database().is_blacklisted(&jti(&pair.refresh)));
    assert_eq!(present(&stage.server, "refresh", &pair.refresh), 200, "and the real one still works");
}

// Case 63 as DESIGN settles it: an expired token is refused, and leaves nothing behind.
#[test]
fn what_is_refused_leaves_no_row() {
    let server = Server::new().start();
    let stage = Stage::new(server, claims("access").with("exp", now() + 3600).sign());
    let spoilt: Vec<(&str, Claims)> = vec![
        ("expired", claims("refresh").with("iat", now() - 60).with("exp", now() - 1)),
        ("no exp", claims("refresh").without("exp")),
        ("no jti", claims("refresh").without("jti")),
        ("no kind", claims("refresh").without("token_type")),
        ("access", claims("access")),
        ("sliding", claims("sliding")),
        ("a bad jti", claims("refresh").with("jti", "a b")),
        ("a long jti", claims("refresh").with("jti", "j".repeat(256))),
        ("a bad user", claims("refresh").with("user_id", json!([]))),
        ("a bad session", claims("refresh").with("sid", "x")),
        ("not yet", claims("refresh").with("nbf", now() + 600)),
    ];
    for (case, token) in spoilt {
        for place in ["refresh", "sliding/refresh", "blacklist"] {
            if (case, place) == ("sliding", "sliding/refresh") {
                continue;
            }
            assert_eq!(present(&stage.server, place, &token.sign()), 401, "{case} at {place}");
            stage.good_as_ever(case);
        }
    }
    // Good in every way, but never recorded: nothing is issued for it.
    for (place, kind) in [("refresh", "refresh"), ("sliding/refresh", "sliding")] {
        assert_eq!(present(&stage.server, place, &claims(kind).sign()), 401, "{kind} that nobody issued");
        stage.good_as_ever(kind);
    }
}

#[test]
fn an_access_token_never_becomes_more_than_that() {
    let pair = SERVER.login(&SERVER.another_user());
    let mut tried = 0;
    for field in ["refresh", "token", "access"] {
        for place in ["refresh", "sliding/refresh", "sliding", "blacklist", ""] {
            let path = format!("/api/token/{place}{}", if place.is_empty() { "" } else { "/" });
            let reply = SERVER.client().post_json(&path, &json!({ field: pair.access }));
            assert!(matches!(reply.status, 400 | 401), "{field} at {path}: {reply:?}");
            tried += 1;
        }
    }
    assert_eq!(tried, 15);
    let bearer =
        [("Authorization", format!("Bearer {}", pair.access)), ("Content-Type", "application/json".to_owned())];
    let bearer = bearer.each_ref().map(|(name, value)| (*name, value.as_str()));
    for place in ["refresh", "blacklist"] {
        let reply = SERVER.client().request("POST", &format!("/api/token/{place}/"), &bearer, b"{}");
        reply.assert(400, &json!({"refresh": ["This field is required."]}));
    }
    assert_eq!(SERVER.client().get(WHOAMI, Some(&pair.access)).status, 200);
    assert_eq!(SERVER.client().get(WHOAMI, Some(&pair.refresh)).status, 401);
}

// Case 64: a jti that was revoked before a token had it.
#[test]
fn a_jti_that_was_revoked_in_advance_stays_so() {
    let token = claims("refresh").with("exp", now() + 86_000);
    let output = SERVER.cli(&["blacklist", token.jti()]);
    assert!(output.success(), "{output:?}");
    assert!(SERVER.database().is_blacklisted(token.jti()));
    for place in ["refresh", "verify"] {
        assert_eq!(present(&SERVER, place, &token.sign()), 401, "{place}");
    }
    let output = SERVER.cli(&["flushexpiredtokens"]);
    assert!(output.success(), "{output:?}");
    for place in ["refresh", "verify"] {
        assert_eq!(present(&SERVER, place, &token.sign()), 401, "{place} after a flush");
    }
    let access = claims("access").with("jti", token.jti());
    assert_eq!(present(&SERVER, "whoami", &access.sign()), 401, "whatever kind the token turns out to be");
}

#[test]
fn a_jti_has_one_successor_whatever_its_claims_say() {
    let (mine, theirs) = (SERVER.another_user(), SERVER.another_user());
    let pair = SERVER.login(&mine);
    let mut claims = payload(&pair.refresh);
    claims["user_id"] = Value::from(SERVER.user_id(&theirs));
    // Only a holder of the key can make this one.
    let header = json!({"alg": "HS256", "typ": "JWT"}).to_string();
    let token = crate::support::mint::sign(Hash::Sha256, KEY, header.as_bytes(), claims.to_string().as_bytes());
    let status = present(&SERVER, "refresh", &token);
    let after = present(&SERVER, "refresh", &pair.refresh);
    assert!(status == 401 || after == 401, "one token, one successor: {status} {after}");
}
