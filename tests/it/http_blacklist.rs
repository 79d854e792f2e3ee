//! `POST /api/token/blacklist/`: never again. Cases 69 to 77.

use std::sync::LazyLock;

use serde_json::json;

use crate::support::client::Reply;
use crate::support::mint::{claims, jti};
use crate::support::now;
use crate::support::server::{PASSWORD, Server};

static SERVER: LazyLock<Server> = LazyLock::new(Server::with_ada);

fn blacklist(server: &Server, token: &str) -> Reply {
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": token }))
}

fn refresh(server: &Server, token: &str) -> Reply {
    server.client().post_json("/api/token/refresh/", &json!({ "refresh": token }))
}

fn whoami(server: &Server, token: &str) -> Reply {
    server.client().get("/api/token/whoami/", Some(token))
}

/// The columns of the outstanding row of `jti`, for a comparison.
fn row(server: &Server, jti: &str) -> [Option<String>; 3] {
    let mut database = server.database();
    ["user_id", "created_at", "expires_at"].map(|column| {
        database.value(&format!("SELECT {column} FROM token_blacklist_outstandingtoken WHERE jti = '{jti}'"))
    })
}

// Case 69.
#[test]
fn the_field_is_required() {
    for (body, message) in [
        (json!({}), "This field is required."),
        (json!({"refresh": ""}), "This field may not be blank."),
        (json!({"refresh": null}), "This field may not be null."),
        (json!({"token": "x"}), "This field is required."),
    ] {
        SERVER.client().post_json("/api/token/blacklist/", &body).assert(400, &json!({ "refresh": [message] }));
    }
}

// Cases 70, 71 and 72.
#[test]
fn a_blacklisted_token_buys_nothing_and_blacklisting_it_again_is_no_error() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    let jti = jti(&pair.refresh);
    let recorded = row(&SERVER, &jti);
    let reply = blacklist(&SERVER, &pair.refresh);
    reply.assert(200, &json!({}));
    assert_eq!(reply.header("cache-control"), Some("no-store"));

    let mut database = SERVER.database();
    let of_user = format!("token_blacklist_outstandingtoken WHERE user_id = '{}'", SERVER.user_id(&name));
    assert_eq!(database.count(&of_user), 1);
    assert!(database.is_blacklisted(&jti));
    let blacklisted_at = format!(
        "SELECT b.blacklisted_at FROM token_blacklist_blacklistedtoken b \
         JOIN token_blacklist_outstandingtoken o ON o.id = b.token_id WHERE o.jti = '{jti}'"
    );
    let first = database.value(&blacklisted_at);

    blacklist(&SERVER, &pair.refresh).assert(200, &json!({}));
    assert_eq!(database.value(&blacklisted_at), first, "when it happened does not change");
    assert_eq!(row(&SERVER, &jti), recorded);

    refresh(&SERVER, &pair.refresh).assert_not_valid("Token is blacklisted");
    assert_eq!(whoami(&SERVER, &pair.access).status, 401, "its session ended");
}

#[test]
fn only_its_own_session_ends() {
    let name = SERVER.another_user();
    let (one, other) = (SERVER.login(&name), SERVER.login(&name));
    let later = refresh(&SERVER, &one.refresh);
    assert_eq!(later.status, 200, "{later:?}");
    blacklist(&SERVER, &later.string("refresh")).assert(200, &json!({}));
    for access in [&one.access, &later.string("access")] {
        assert_eq!(whoami(&SERVER, access).status, 401, "every access token of the session");
    }
    assert_eq!(whoami(&SERVER, &other.access).status, 200);
    assert_eq!(refresh(&SERVER, &other.refresh).status, 200);
}

#[test]
fn blacklisting_a_superseded_token_ends_its_session() {
    let pair = SERVER.login(&SERVER.another_user());
    let later = refresh(&SERVER, &pair.refresh);
    blacklist(&SERVER, &pair.refresh).assert(200, &json!({}));
    refresh(&SERVER, &later.string("refresh")).assert_not_valid("Token is blacklisted");
    assert_eq!(whoami(&SERVER, &later.string("access")).status, 401);
}

#[test]
fn sessions_go_on_where_the_setting_says_so() {
    let server = Server::new().set("blacklist_ends_session", "false").start_with_ada();
    let pair = server.login("ada");
    blacklist(&server, &pair.refresh).assert(200, &json!({}));
    refresh(&server, &pair.refresh).assert_not_valid("Token is blacklisted");
    assert_eq!(whoami(&server, &pair.access).status, 200);
}

#[test]
fn a_row_that_django_wrote_ends_the_session_too() {
    let pair = SERVER.login(&SERVER.another_user());
    assert_eq!(whoami(&SERVER, &pair.access).status, 200);
    SERVER.database().blacklist_as_django(&jti(&pair.refresh));
    refresh(&SERVER, &pair.refresh).assert_not_valid("Token is blacklisted");
    SERVER.settle();
    assert_eq!(whoami(&SERVER, &pair.access).status, 401);
}

// Case 73.
#[test]
fn only_a_refresh_token_that_is_not_expired_is_taken() {
    let pair = SERVER.login("ada");
    blacklist(&SERVER, &pair.access).assert_not_valid("Token has wrong type");
    assert_eq!(whoami(&SERVER, &pair.access).status, 200, "nothing happened to it");
    let body = json!({"username": "ada", "password": PASSWORD});
    let sliding = SERVER.client().post_json("/api/token/sliding/", &body).string("token");
    blacklist(&SERVER, &sliding).assert_not_valid("Token has wrong type");
    blacklist(&SERVER, &claims("refresh").without("token_type").sign()).assert_not_valid("Token has no type");
    let expired = claims("refresh").with("iat", now() - 60).with("exp", now() - 1);
    blacklist(&SERVER, &expired.sign()).assert_not_valid("Token is expired");
    blacklist(&SERVER, "garbage").assert_not_valid("Token is invalid");
    blacklist(&SERVER, &claims("refresh").without("exp").sign()).assert_not_valid("Token has no 'exp' claim");
    blacklist(&SERVER, &claims("refresh").without("jti").sign()).assert_not_valid("Token has no id");
    assert!(!SERVER.database().is_outstanding(expired.jti()), "a refused token is not recorded");
}

// Case 74.
#[test]
fn an_unknown_token_is_recorded_with_its_user() {
    let id = SERVER.user_id("ada");
    let token = claims("refresh").with("user_id", id.as_str()).with("iat", now() - 100);
    let before = now();
    blacklist(&SERVER, &token.sign()).assert(200, &json!({}));
    let mut database = SERVER.database();
    assert!(database.is_blacklisted(token.jti()));
    let [expires_at, created_at] = ["expires_at", "created_at"].map(|column| database.seconds(column));
    let mut field = |column: &str| {
        database.value(&format!("SELECT {column} FROM token_blacklist_outstandingtoken WHERE jti = '{}'", token.jti()))
    };
    assert_eq!(field("user_id"), Some(id));
    assert_eq!(field(&expires_at), Some(token.get("exp").to_string()));
    let created: i64 = field(&created_at).expect("an instant").parse().expect("a number");
    assert!((before..=now()).contains(&created), "when it was recorded, not iat: {created}");
    refresh(&SERVER, &token.sign()).assert_not_valid("Token is blacklisted");

    let anonymous = claims("refresh").without("user_id");
    blacklist(&SERVER, &anonymous.sign()).assert(200, &json!({}));
    let user = SERVER
        .database()
        .value(&format!("SELECT user_id FROM token_blacklist_outstandingtoken WHERE jti = '{}'", anonymous.jti()));
    assert_eq!(user, None);
}

// Case 75.
#[test]
fn a_token_of_a_deleted_user_can_be_blacklisted() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    let output = SERVER.cli(&["users", "remove", &name, "--yes"]);
    assert!(output.success(), "{output:?}");
    blacklist(&SERVER, &pair.refresh).assert(200, &json!({}));
    let mut database = SERVER.database();
    assert!(database.is_blacklisted(&jti(&pair.refresh)));
    let user = format!("SELECT user_id FROM token_blacklist_outstandingtoken WHERE jti = '{}'", jti(&pair.refresh));
    assert_eq!(database.value(&user), None);

    let unknown = claims("refresh").with("user_id", "987654321");
    blacklist(&SERVER, &unknown.sign()).assert(200, &json!({}));
    let user = format!("SELECT user_id FROM token_blacklist_outstandingtoken WHERE jti = '{}'", unknown.jti());
    assert_eq!(database.value(&user), None, "a user who does not exist is not recorded as one");
}

#[test]
fn a_token_of_an_inactive_user_can_be_blacklisted() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    SERVER.database().execute(&format!("UPDATE simplejwt_user SET is_active = FALSE WHERE username = '{name}'"));
    blacklist(&SERVER, &pair.refresh).assert(200, &json!({}));
    assert!(SERVER.database().is_blacklisted(&jti(&pair.refresh)));
}

// Case 76.
#[test]
fn the_row_is_linked_to_the_user_whatever_field_the_claim_holds() {
    let server = Server::new().set("user_id_field", "\"email\"").start_with_ada();
    server.database().execute("UPDATE simplejwt_user SET email = 'ada@example.org'");
    let id = server.user_id("ada");
    let user = |jti: &str| {
        server.database().value(&format!("SELECT user_id FROM token_blacklist_outstandingtoken WHERE jti = '{jti}'"))
    };
    let pair = server.login("ada");
    assert_eq!(user(&jti(&pair.refresh)), Some(id.clone()), "at login");
    let unknown = claims("refresh").with("user_id", "ada@example.org");
    blacklist(&server, &unknown.sign()).assert(200, &json!({}));
    assert_eq!(user(unknown.jti()), Some(id.clone()), "when it is recorded late");
    let later = refresh(&server, &pair.refresh);
    assert_eq!(later.status, 200, "{later:?}");
    assert_eq!(user(&jti(&later.string("refresh"))), Some(id), "after a rotation");
}

// Case 77.
#[test]
fn a_blacklisted_token_stays_refused_when_its_user_is_deleted() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    blacklist(&SERVER, &pair.refresh).assert(200, &json!({}));
    let output = SERVER.cli(&["users", "remove", &name, "--yes"]);
    assert!(output.success(), "{output:?}");
    refresh(&SERVER, &pair.refresh).assert_not_valid("Token is blacklisted");
    assert_eq!(whoami(&SERVER, &pair.access).status, 401);
    assert!(SERVER.database().is_blacklisted(&jti(&pair.refresh)));
}

#[test]
fn a_revocation_holds_on_the_other_server_and_after_a_restart() {
    let mut server = Server::with_ada();
    let sibling = server.sibling();
    let pair = server.login("ada");
    assert_eq!(whoami(&sibling, &pair.access).status, 200);
    blacklist(&server, &pair.refresh).assert(200, &json!({}));
    refresh(&sibling, &pair.refresh).assert_not_valid("Token is blacklisted");
    sibling.settle();
    assert_eq!(whoami(&sibling, &pair.access).status, 401);
    server.restart();
    refresh(&server, &pair.refresh).assert_not_valid("Token is blacklisted");
    assert_eq!(whoami(&server, &pair.access).status, 401);
}

#[test]
fn what_happened_is_written_down() {
    let pair = SERVER.login(&SERVER.another_user());
    blacklist(&SERVER, &pair.refresh).assert(200, &json!({}));
    let mut database = SERVER.database();
    let events = format!("simplejwt_event WHERE target = '{}'", jti(&pair.refresh));
    assert!(database.count(&events) >= 1, "an audit event");
    assert!(!database.dump().contains(pair.refresh.rsplit('.').next().expect("three parts")), "but not the token");
}

#[test]
fn a_token_of_the_end_of_time_can_be_blacklisted() {
    let end = 253_402_300_799_i64;
    let refresh = claims("refresh").with("exp", end).with("user_id", "77");
    blacklist(&SERVER, &refresh.sign()).assert(200, &json!({}));
    let sliding = claims("sliding").with("refresh_exp", end);
    let output = SERVER.cli(&["blacklist", "--token", &sliding.sign()]);
    assert!(output.success(), "{output:?}");
    for jti in [refresh.jti(), sliding.jti()] {
        assert!(SERVER.database().is_blacklisted(jti));
    }
    for beyond in [end + 1, i64::MAX] {
        blacklist(&SERVER, &refresh.clone().with("exp", beyond).sign()).assert_not_valid("Token is invalid");
    }
}
