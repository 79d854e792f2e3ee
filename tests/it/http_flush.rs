//! What `flushexpiredtokens` deletes, and that nothing refused becomes good by it. Cases 88 to 91.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::DateTime;
use rocket_simplejwt::service::{FlushOptions, OpenMode};
use rocket_simplejwt::settings::{Secret, Span};
use rocket_simplejwt::token::{Clock as _, ManualClock};
use rocket_simplejwt::{Settings, Simplejwt};
use serde_json::json;

use crate::support::client::Reply;
use crate::support::database::{BLACKLISTED, Database, OUTSTANDING, instant};
use crate::support::mint::{KEY, claims, jti};
use crate::support::now;
use crate::support::server::Server;

const DAY: i64 = 86_400;

fn refresh(server: &Server, token: &str) -> Reply {
    server.client().post_json("/api/token/refresh/", &json!({ "refresh": token }))
}

/// A row as Django would have written it `age` seconds ago.
fn old_row(database: &mut Database, jti: &str, age: i64, expires_at: i64) {
    database.record_row(jti, expires_at, "NULL");
    let created = instant(now() - age);
    database.execute(&format!("UPDATE {OUTSTANDING} SET created_at = '{created}' WHERE jti = '{jti}'"));
}

fn flush(server: &Server) {
    let output = server.cli(&["flushexpiredtokens"]);
    assert_eq!(output.code(), 0, "{output:?}");
}

// Case 88, at keep-until.
#[test]
fn the_expired_go_with_their_blacklist_rows_and_the_rest_keeps_its_order() {
    let server = Server::with_ada();
    let mut database = server.database();
    for (name, expires_at, blacklisted) in [
        ("a", now() + 300, true),
        ("b", now() - 5 * DAY, true),
        ("c", now() + 200, false),
        ("d", now() - 6 * DAY, true),
        ("e", now() + DAY, true),
        ("f", now() + 100, false),
    ] {
        old_row(&mut database, name, 10 * DAY, expires_at);
        if blacklisted {
            database.blacklist_as_django(name);
        }
    }
    assert_eq!((database.count(OUTSTANDING), database.count(BLACKLISTED)), (6, 4));
    flush(&server);
    assert_eq!(database.strings(&format!("SELECT jti FROM {OUTSTANDING} ORDER BY id")), ["a", "c", "e", "f"]);
    let left =
        format!("SELECT o.jti FROM {BLACKLISTED} b LEFT JOIN {OUTSTANDING} o ON o.id = b.token_id ORDER BY b.id");
    assert_eq!(database.strings(&left), ["a", "e"]);
}

// Case 89, at keep-until: 60 seconds after the expiry of a token whose kind cannot be sliding any more.
#[test]
fn a_row_goes_when_its_keep_until_is_reached_and_not_before() {
    let server = Server::with_ada();
    server.login("ada");
    let mut database = server.database();
    for (name, age, expires_at) in [
        ("expired-now", 2 * DAY, now()),
        ("expired-30-s-ago", 2 * DAY, now() - 30),
        ("expired-60-s-ago", 2 * DAY, now() - 60),
        ("expired-61-s-ago", 2 * DAY, now() - 61),
        ("could-be-slid-for-another-30-s", DAY - 30, now() - 600),
        ("could-be-slid-until-60-s-ago", DAY + 60, now() - 600),
        ("could-be-slid-until-30-s-ago", DAY + 30, now() - 600),
    ] {
        old_row(&mut database, name, age, expires_at);
        database.blacklist_as_django(name);
    }
    flush(&server);
    let left = database.strings(&format!("SELECT jti FROM {OUTSTANDING} WHERE length(jti) <> 32 ORDER BY id"));
    let kept = ["expired-now", "expired-30-s-ago", "could-be-slid-for-another-30-s", "could-be-slid-until-30-s-ago"];
    assert_eq!(left, kept);
    assert_eq!(database.count(BLACKLISTED), 4);
}

// Case 89, to the second.
#[test]
fn keep_until_itself_is_the_moment() {
    let server = Server::new();
    assert_eq!(server.cli(&["migrate"]).code(), 0);
    let mut database = server.database();
    let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(now(), 0).expect("an instant")));
    let mut settings = Settings::default();
    settings.database_url = Some(server.test_database().url());
    settings.leeway = Span::from_secs(7);
    settings.signing_key = Some(Secret::new(str::from_utf8(KEY).expect("an ASCII key")));
    let opened = Simplejwt::builder(settings).clock(Arc::clone(&clock) as _).open(OpenMode::Existing);
    rocket::execute(async {
        let jwt = opened.await.expect("a handle");
        old_row(&mut database, "row", 2 * DAY, now());
        database.blacklist_as_django("row");
        let expired = database.number(&format!("SELECT {} FROM {OUTSTANDING}", database.seconds("expires_at")));
        clock.advance(expired + 66 - clock.now().timestamp());
        for left in [1, 0] {
            let done = jwt.flush_expired_tokens(&FlushOptions::default(), &AtomicBool::new(false), |_| ()).await;
            let report = done.expect("a flush");
            assert_eq!(database.count(OUTSTANDING), left, "{report:?}");
            assert_eq!(database.count(BLACKLISTED), left, "{report:?}");
            clock.advance(1);
        }
    });
}

// Case 90.
#[test]
fn the_flush_waits_for_the_leeway() {
    let server = Server::new().set("leeway", "120").start_with_ada();
    let token =
        claims("refresh").with("user_id", server.user_id("ada")).with("iat", now() - 2 * DAY).with("exp", now() - 30);
    let mut database = server.database();
    old_row(&mut database, token.jti(), 2 * DAY, now() - 30);
    let mut good = claims("refresh").with("user_id", server.user_id("ada")).with("exp", now() - 30);
    good = good.with("iat", now() - 300);
    old_row(&mut database, good.jti(), 2 * DAY, now() - 30);
    database.blacklist_as_django(token.jti());
    flush(&server);
    assert!(database.is_blacklisted(token.jti()));
    refresh(&server, &token.sign()).assert_not_valid("Token is blacklisted");
    assert_eq!(refresh(&server, &good.sign()).status, 200, "the leeway is what keeps it alive");
}

// Case 91.
#[test]
fn a_second_flush_does_nothing() {
    let server = Server::with_ada();
    let pair = server.login("ada");
    assert_eq!(refresh(&server, &pair.refresh).status, 200);
    let mut database = server.database();
    for number in 0..50 {
        old_row(&mut database, &format!("old-{number}"), 10 * DAY, now() - 5 * DAY);
    }
    flush(&server);
    let left = database.strings(&format!("SELECT jti FROM {OUTSTANDING} ORDER BY id"));
    assert_eq!(left.len(), 2, "{left:?}");
    flush(&server);
    assert_eq!(database.strings(&format!("SELECT jti FROM {OUTSTANDING} ORDER BY id")), left);
    assert_eq!(database.count(BLACKLISTED), 1);
    let old = server.client().post_json("/api/token/verify/", &json!({ "token": pair.refresh }));
    old.assert_not_valid("Token is blacklisted");
}

#[test]
fn servers_go_on_answering_while_a_flush_runs() {
    let server = Server::with_ada();
    let mut database = server.database();
    let (created, expired) = (instant(now() - 10 * DAY), instant(now() - 5 * DAY));
    database.execute(&format!(
        "INSERT INTO {OUTSTANDING} (token, created_at, expires_at, user_id, jti) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         SELECT '', '{created}', '{expired}', NULL, concat('old-', i) FROM n"
    ));
    database.execute(&format!(
        "INSERT INTO {BLACKLISTED} (blacklisted_at, token_id) SELECT '{created}', id FROM {OUTSTANDING} WHERE id % 2 = 0"
    ));
    let mut pair = server.login("ada");
    let refused = pair.refresh.clone();
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| flush(&server));
        let mut first = true;
        while first || !flushing.is_finished() {
            first = false;
            let reply = refresh(&server, &pair.refresh);
            assert_eq!(reply.status, 200, "{reply:?}");
            pair.refresh = reply.string("refresh");
            assert_eq!(server.client().get("/api/token/whoami/", Some(&reply.string("access"))).status, 200);
        }
        flushing.join().expect("the flush");
    });
    assert_eq!(database.count(&format!("{OUTSTANDING} WHERE jti LIKE 'old-%'")), 0);
    assert!(database.is_blacklisted(&jti(&refused)));
    refresh(&server, &refused).assert_not_valid("Token is blacklisted");
}
