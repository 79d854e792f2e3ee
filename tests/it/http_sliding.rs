//! `POST /api/token/sliding/` and `POST /api/token/sliding/refresh/`. Cases 51 to 61.

use std::sync::LazyLock;

use serde_json::json;

use crate::support::client::Reply;
use crate::support::database::instant;
use crate::support::mint::{Claims, claims, jti, payload};
use crate::support::now;
use crate::support::server::{PASSWORD, Server};

/// A server whose protected routes take sliding tokens as well.
static SERVER: LazyLock<Server> =
    LazyLock::new(|| Server::new().set("auth_token_classes", r#"["access", "sliding"]"#).start_with_ada());

fn login(server: &Server, name: &str) -> String {
    let body = json!({"username": name, "password": PASSWORD});
    let reply = server.client().post_json("/api/token/sliding/", &body);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json().as_object().map(serde_json::Map::len), Some(1), "a token and nothing else: {reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply.string("token")
}

fn slide(server: &Server, token: &str) -> Reply {
    server.client().post_json("/api/token/sliding/refresh/", &json!({ "token": token }))
}

fn whoami(server: &Server, token: &str) -> Reply {
    server.client().get("/api/token/whoami/", Some(token))
}

fn of_ada(server: &Server) -> Claims {
    claims("sliding").with("user_id", server.user_id("ada"))
}

/// A sliding token known to the ledger as Django would have it there.
fn known(server: &Server, claims: &Claims) -> String {
    server.database().record_as_django(claims);
    claims.sign()
}

// Case 51.
#[test]
fn a_login_gives_one_token_that_is_recorded_until_it_cannot_be_renewed() {
    let name = SERVER.another_user();
    let token = login(&SERVER, &name);
    let claims = payload(&token);
    let issued = claims["iat"].as_i64().expect("seconds");
    assert_eq!(claims["token_type"], "sliding");
    assert_eq!((&claims["exp"], &claims["refresh_exp"]), (&json!(issued + 300), &json!(issued + 86_400)));
    assert_eq!(claims["user_id"], SERVER.user_id(&name));
    assert!(claims["sid"].is_string(), "{claims}");

    let mut database = SERVER.database();
    let of_user = format!("token_blacklist_outstandingtoken WHERE user_id = '{}'", SERVER.user_id(&name));
    assert_eq!(database.count(&of_user), 1);
    assert_eq!(database.value(&format!("SELECT jti FROM {of_user}")), Some(jti(&token)));
    let expires = database.number(&format!("SELECT {} FROM {of_user}", database.seconds("expires_at")));
    assert_eq!(expires, issued + 86_400, "the row lives as long as the token can be renewed");
}

// Cases 1 to 4, 10 to 12 hold here too.
#[test]
fn a_login_needs_the_same_credentials_as_for_a_pair() {
    for body in [
        json!({}),
        json!({"username": "ada"}),
        json!({"username": "", "password": null}),
        json!([]),
        json!({"username": "ada", "password": "wrong"}),
        json!({"username": "nobody", "password": PASSWORD}),
    ] {
        let pair = SERVER.client().post_json("/api/token/", &body);
        assert!(pair.status >= 400);
        SERVER.client().post_json("/api/token/sliding/", &body).assert(pair.status, &pair.json());
    }
}

// Case 52.
#[test]
fn the_field_is_required() {
    for (body, message) in [
        (json!({}), "This field is required."),
        (json!({"token": ""}), "This field may not be blank."),
        (json!({"token": null}), "This field may not be null."),
        (json!({"refresh": "x"}), "This field is required."),
    ] {
        let reply = SERVER.client().post_json("/api/token/sliding/refresh/", &body);
        reply.assert(400, &json!({ "token": [message] }));
    }
}

// Case 53.
#[test]
fn exp_must_be_there_and_ahead() {
    slide(&SERVER, &of_ada(&SERVER).without("exp").sign()).assert_not_valid("Token has no 'exp' claim");
    let expired = known(&SERVER, &of_ada(&SERVER).with("iat", now() - 60).with("exp", now() - 1));
    slide(&SERVER, &expired).assert_not_valid("Token is expired");
}

// Cases 54 and 55.
#[test]
fn refresh_exp_must_be_there_and_ahead() {
    let token = known(&SERVER, &of_ada(&SERVER).without("refresh_exp"));
    slide(&SERVER, &token).assert_not_valid("Token has no 'refresh_exp' claim");
    let token = known(&SERVER, &of_ada(&SERVER).with("refresh_exp", now() - 1));
    slide(&SERVER, &token).assert_not_valid("Token 'refresh_exp' claim has expired");
    let token = known(&SERVER, &of_ada(&SERVER).with("refresh_exp", now()));
    slide(&SERVER, &token).assert_not_valid("Token 'refresh_exp' claim has expired");
    for wrong in [json!("soon"), json!(null), json!([now() + 60])] {
        let token = known(&SERVER, &of_ada(&SERVER).with("refresh_exp", wrong));
        slide(&SERVER, &token).assert_not_valid("Token is invalid");
    }
}

// Case 56.
#[test]
fn only_a_sliding_token_slides() {
    let pair = SERVER.login("ada");
    for token in [pair.access, pair.refresh, known(&SERVER, &claims("other"))] {
        slide(&SERVER, &token).assert_not_valid("Token has wrong type");
    }
    slide(&SERVER, &known(&SERVER, &of_ada(&SERVER).without("token_type"))).assert_not_valid("Token has no type");
    slide(&SERVER, "garbage").assert_not_valid("Token is invalid");
    slide(&SERVER, &of_ada(&SERVER).without("jti").sign()).assert_not_valid("Token has no id");
}

// Case 57.
#[test]
fn a_renewal_moves_exp_and_keeps_jti_and_refresh_exp() {
    let old = of_ada(&SERVER).with("iat", now() - 200).with("exp", now() + 100).with("role", "editor");
    let text = known(&SERVER, &old);
    let reply = slide(&SERVER, &text);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json().as_object().map(serde_json::Map::len), Some(1), "{reply:?}");
    let (old, new) = (payload(&text), payload(&reply.string("token")));
    let issued = new["iat"].as_i64().expect("seconds");
    assert!((now() - 5..=now()).contains(&issued), "{new}");
    assert_eq!(new["exp"], issued + 300);
    for kept in ["jti", "refresh_exp", "user_id", "role", "token_type"] {
        assert_eq!(new[kept], old[kept], "{kept}");
    }
    assert!(!SERVER.database().is_blacklisted(&jti(&text)), "nothing is superseded");
    assert_eq!(slide(&SERVER, &text).status, 200, "the older text is good until its own exp");
    assert_eq!(slide(&SERVER, &reply.string("token")).status, 200);
}

#[test]
fn a_token_is_never_renewed_beyond_refresh_exp() {
    let token = known(&SERVER, &of_ada(&SERVER).with("refresh_exp", now() + 50));
    let reply = slide(&SERVER, &token);
    assert_eq!(reply.status, 200, "{reply:?}");
    let again = payload(&reply.string("token"));
    assert_eq!(again["refresh_exp"], payload(&token)["refresh_exp"]);
    assert!(again["exp"].as_i64() <= again["refresh_exp"].as_i64(), "the ledger forgets it then: {again}");
}

// Case 58.
#[test]
fn an_inactive_or_deleted_user_renews_nothing() {
    let gone = json!({"detail": "No active account found for the given token."});
    for sql in ["UPDATE simplejwt_user SET is_active = FALSE", "DELETE FROM simplejwt_user"] {
        let name = SERVER.another_user();
        let token = login(&SERVER, &name);
        SERVER.database().execute(&format!("{sql} WHERE username = '{name}'"));
        slide(&SERVER, &token).assert(401, &gone);
    }
}

// Case 59.
#[test]
fn a_changed_password_ends_the_token_where_that_is_checked() {
    let server = Server::new().set("check_revoke_token", "true").start_with_ada();
    server.add_user("eve", "another password");
    let token = login(&server, "ada");
    assert_eq!(slide(&server, &token).status, 200);
    server.database().execute(
        "UPDATE simplejwt_user SET password = (SELECT password FROM simplejwt_user WHERE username = 'eve') \
         WHERE username = 'ada'",
    );
    slide(&server, &token).assert(401, &json!({"detail": "The user's password has been changed."}));
    assert!(server.database().is_blacklisted(&jti(&token)));
    slide(&server, &token).assert_not_valid("Token is blacklisted");
}

// Case 60.
#[test]
fn a_sliding_token_opens_a_route_only_where_it_is_listed() {
    let name = SERVER.another_user();
    let token = login(&SERVER, &name);
    let who = whoami(&SERVER, &token);
    assert_eq!(who.status, 200, "{who:?}");
    assert_eq!((who.string("token_type"), who.string("user_id")), ("sliding".to_owned(), SERVER.user_id(&name)));
    let renewed = slide(&SERVER, &token).string("token");
    assert_eq!(whoami(&SERVER, &renewed).status, 200);
    assert_eq!(whoami(&SERVER, &SERVER.login(&name).access).status, 200);
    assert_eq!(whoami(&SERVER, &SERVER.login(&name).refresh).status, 401, "refresh is not listed");

    let only_access = Server::with_ada();
    let token = login(&only_access, "ada");
    whoami(&only_access, &token).assert(
        401,
        &json!({
            "detail": "Given token not valid for any token type",
            "code": "token_not_valid",
            "messages": [{"token_class": "AccessToken", "token_type": "access", "message": "Token has wrong type"}],
        }),
    );
    assert_eq!(slide(&only_access, &token).status, 200, "it can be renewed all the same");
}

#[test]
fn every_class_that_was_tried_is_named() {
    let expired = of_ada(&SERVER).with("iat", now() - 60).with("exp", now() - 1).sign();
    let message =
        |class: &str, kind: &str| json!({"token_class": class, "token_type": kind, "message": "Token is expired"});
    whoami(&SERVER, &expired).assert(
        401,
        &json!({
            "detail": "Given token not valid for any token type",
            "code": "token_not_valid",
            "messages": [message("AccessToken", "access"), message("SlidingToken", "sliding")],
        }),
    );
}

#[test]
fn blacklisting_a_sliding_token_ends_all_its_renewals() {
    let token = login(&SERVER, &SERVER.another_user());
    let renewed = slide(&SERVER, &token).string("token");
    let output = SERVER.cli(&["blacklist", &jti(&token)]);
    assert!(output.success(), "{output:?}");
    for text in [&token, &renewed] {
        slide(&SERVER, text).assert_not_valid("Token is blacklisted");
        assert_eq!(whoami(&SERVER, text).status, 401);
    }
}

#[test]
fn a_sliding_token_that_the_ledger_does_not_know_is_not_renewed() {
    let reply = slide(&SERVER, &of_ada(&SERVER).sign());
    assert_eq!((reply.status, &reply.json()["code"]), (401, &json!("token_not_valid")), "{reply:?}");
}

// Case 61: our own rows.
#[test]
fn no_flush_revives_a_renewed_token() {
    let server = Server::new().set("auth_token_classes", r#"["sliding"]"#).start_with_ada();
    let old = of_ada(&server).with("iat", now() - 299).with("exp", now() + 2);
    let renewed = slide(&server, &known(&server, &old)).string("token");
    let output = server.cli(&["blacklist", old.jti()]);
    assert!(output.success(), "{output:?}");
    // As it stands after the first exp.
    let mut database = server.database();
    for (column, at) in [("created_at", now() - 900), ("expires_at", now() - 600)] {
        let at = instant(at);
        database.execute(&format!("UPDATE token_blacklist_outstandingtoken SET {column} = '{at}'"));
    }
    let output = server.cli(&["flushexpiredtokens"]);
    assert!(output.success(), "{output:?}");
    slide(&server, &renewed).assert_not_valid("Token is blacklisted");
    assert_eq!(whoami(&server, &renewed).status, 401);
}

// Case 61: rows that Django wrote, of whose kind nothing is known.
#[test]
fn no_flush_revives_a_token_that_django_renewed() {
    let server = Server::new()
        .set("auth_token_classes", r#"["sliding"]"#)
        .set("unknown_refresh_tokens", "\"accept\"")
        .start_with_ada();
    let renewed = of_ada(&server);
    let mut database = server.database();
    database.record_row(renewed.jti(), now() - 600, "NULL");
    let created = instant(now() - 900);
    database.execute(&format!("UPDATE token_blacklist_outstandingtoken SET created_at = '{created}'"));
    database.blacklist_as_django(renewed.jti());
    server.settle();
    let output = server.cli(&["flushexpiredtokens"]);
    assert!(output.success(), "{output:?}");
    assert!(database.is_blacklisted(renewed.jti()), "it can still be renewed, so it is still refused");
    slide(&server, &renewed.sign()).assert_not_valid("Token is blacklisted");
    assert_eq!(whoami(&server, &renewed.sign()).status, 401);
}
