//! `POST /api/token/verify/`: is this token good? Cases 62 to 68.

use std::sync::LazyLock;

use serde_json::json;

use crate::support::client::Reply;
use crate::support::mint::{Claims, Hash, KEY, claims, jti};
use crate::support::now;
use crate::support::server::{PASSWORD, Server};

static SERVER: LazyLock<Server> = LazyLock::new(Server::with_ada);

fn verify(server: &Server, token: &str) -> Reply {
    server.client().post_json("/api/token/verify/", &json!({ "token": token }))
}

fn known(claims: &Claims) -> String {
    SERVER.database().record_row(claims.jti(), now() + 300, "NULL");
    claims.sign()
}

// Case 62.
#[test]
fn the_field_is_required() {
    for (body, message) in [
        (json!({}), "This field is required."),
        (json!({"token": ""}), "This field may not be blank."),
        (json!({"token": null}), "This field may not be null."),
    ] {
        SERVER.client().post_json("/api/token/verify/", &body).assert(400, &json!({ "token": [message] }));
    }
}

// Case 63.
#[test]
fn a_good_token_of_every_kind_is_good() {
    let pair = SERVER.login("ada");
    let body = json!({"username": "ada", "password": PASSWORD});
    let sliding = SERVER.client().post_json("/api/token/sliding/", &body).string("token");
    for token in [&pair.access, &pair.refresh, &sliding] {
        let reply = verify(&SERVER, token);
        reply.assert(200, &json!({}));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    verify(&SERVER, &claims("access").sign()).assert(200, &json!({}));
}

// Case 64.
#[test]
fn the_kind_does_not_matter() {
    for kind in ["", "untyped", "Access"] {
        verify(&SERVER, &claims(kind).sign()).assert(200, &json!({}));
    }
    verify(&SERVER, &claims("access").without("token_type").sign()).assert(200, &json!({}));
    let wrong = claims("access").with("token_type", json!(["access"])).sign();
    verify(&SERVER, &wrong).assert_not_valid("Token is invalid");
}

// Case 65.
#[test]
fn a_token_that_has_no_exp_or_is_expired_is_refused() {
    for kind in ["access", "refresh", "sliding"] {
        verify(&SERVER, &known(&claims(kind).without("exp"))).assert_not_valid("Token has no 'exp' claim");
        let expired = claims(kind).with("iat", now() - 60).with("exp", now() - 1);
        verify(&SERVER, &known(&expired)).assert_not_valid("Token is expired");
    }
}

// Case 66.
#[test]
fn a_token_without_jti_is_refused() {
    verify(&SERVER, &claims("access").without("jti").sign()).assert_not_valid("Token has no id");
}

#[test]
fn a_token_that_we_did_not_sign_is_refused() {
    let token = claims("access");
    for bad in ["x", "a.b.c", &token.sign_with(Hash::Sha512, KEY), &token.sign_with(Hash::Sha256, &KEY[1..])] {
        verify(&SERVER, bad).assert_not_valid("Token is invalid");
    }
}

// Case 67, and where we differ: 401, whoever put it on the blacklist and however.
#[test]
fn a_blacklisted_token_is_refused() {
    let pair = SERVER.login(&SERVER.another_user());
    let reply = SERVER.client().post_json("/api/token/blacklist/", &json!({"refresh": pair.refresh}));
    assert_eq!(reply.status, 200, "{reply:?}");
    verify(&SERVER, &pair.refresh).assert_not_valid("Token is blacklisted");
    verify(&SERVER, &pair.access).assert_not_valid("Token is blacklisted");

    let rotated = SERVER.login(&SERVER.another_user());
    assert_eq!(SERVER.client().post_json("/api/token/refresh/", &json!({"refresh": rotated.refresh})).status, 200);
    verify(&SERVER, &rotated.refresh).assert_not_valid("Token is blacklisted");
    verify(&SERVER, &rotated.access).assert(200, &json!({}));

    let by_command = SERVER.login(&SERVER.another_user());
    let output = SERVER.cli(&["blacklist", &jti(&by_command.access)]);
    assert!(output.success(), "{output:?}");
    verify(&SERVER, &by_command.access).assert_not_valid("Token is blacklisted");
    verify(&SERVER, &by_command.refresh).assert(200, &json!({}));

    for kind in ["access", "refresh", "sliding", "other"] {
        let by_django = claims(kind);
        let text = known(&by_django);
        verify(&SERVER, &text).assert(200, &json!({}));
        SERVER.database().blacklist_as_django(by_django.jti());
        SERVER.settle();
        verify(&SERVER, &text).assert_not_valid("Token is blacklisted");
    }
}

#[test]
fn a_token_stays_refused_when_its_rows_are_deleted_as_django_s_flush_does() {
    let client = SERVER.client();
    let (rotated, revoked) = (SERVER.login(&SERVER.another_user()), SERVER.login(&SERVER.another_user()));
    assert_eq!(client.post_json("/api/token/refresh/", &json!({"refresh": rotated.refresh})).status, 200);
    assert_eq!(client.post_json("/api/token/blacklist/", &json!({"refresh": revoked.refresh})).status, 200);
    for token in [&rotated.refresh, &revoked.refresh] {
        let row = format!("SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{}'", jti(token));
        SERVER.database().execute(&format!("DELETE FROM token_blacklist_blacklistedtoken WHERE token_id IN ({row})"));
        SERVER.database().execute(&format!("DELETE FROM token_blacklist_outstandingtoken WHERE id IN ({row})"));
        verify(&SERVER, token).assert_not_valid("Token is blacklisted");
    }
    assert_eq!(client.get("/api/token/whoami/", Some(&revoked.access)).status, 401);
}

// Case 68, and where we differ: no setting makes a blacklisted token good.
#[test]
fn a_blacklisted_token_is_refused_without_blacklisting_after_rotation_too() {
    let server = Server::new()
        .set("rotate_refresh_tokens", "false")
        .set("blacklist_after_rotation", "false")
        .set("unknown_refresh_tokens", "\"accept\"")
        .start_with_ada();
    let pair = server.login("ada");
    let reply = server.client().post_json("/api/token/blacklist/", &json!({"refresh": pair.refresh}));
    assert_eq!(reply.status, 200, "{reply:?}");
    verify(&server, &pair.refresh).assert_not_valid("Token is blacklisted");
    verify(&server, &claims("refresh").sign()).assert(200, &json!({}));
}

#[test]
fn a_refresh_token_that_the_ledger_does_not_know_is_refused() {
    let reply = verify(&SERVER, &claims("refresh").sign());
    assert_eq!((reply.status, &reply.json()["code"]), (401, &json!("token_not_valid")), "{reply:?}");
}

#[test]
fn the_user_is_not_looked_at() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    SERVER.database().execute(&format!("UPDATE simplejwt_user SET is_active = FALSE WHERE username = '{name}'"));
    verify(&SERVER, &pair.access).assert(200, &json!({}));
    SERVER.database().execute(&format!("DELETE FROM simplejwt_user WHERE username = '{name}'"));
    verify(&SERVER, &pair.access).assert(200, &json!({}));
    verify(&SERVER, &pair.refresh).assert(200, &json!({}));
}
