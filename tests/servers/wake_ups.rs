//! PostgreSQL wakes whoever follows the log. The servers here look by themselves every 20 seconds, so that what they hear of sooner they
//! were told.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::json;

use crate::proxy::Proxy;
use crate::standby::pooler;
use crate::support::database::Kind;
use crate::support::mint::{Claims, claims};
use crate::support::server::Server;
use crate::throwaway::{Site, eventually};
use crate::traffic::{blacklist, whoami};

/// How soon something is heard of that somebody tells: far less than the time between two looks, and enough for a busy machine.
const SOON: Duration = Duration::from_secs(4);

/// Connections that listen.
const LISTENING: &str =
    "pg_stat_activity WHERE query LIKE '%LISTEN simplejwt%' AND query NOT LIKE '%pg_stat_activity%'";

fn site() -> Site {
    Site::new(Kind::Postgres)
        .set("blacklist", r#""cached""#)
        .set("poll_interval", r#""20s""#)
        .set("staleness_bound", r#""60s""#)
}

fn access(server: &Server) -> Claims {
    claims("access").with("user_id", server.user_id("ada"))
}

fn listening(site: &Site) -> i64 {
    site.database().count(LISTENING)
}

#[track_caller]
fn assert_refused_soon(server: &Server, token: &str) {
    eventually(SOON, || whoami(server, token) == 401);
}

#[test]
fn postgres_tells_every_server_what_another_process_revoked() {
    let site = site().started();
    let sibling = site.server.sibling();
    eventually(SOON, || listening(&site) == 2);
    let pair = site.server.login("ada");
    assert_eq!(whoami(&sibling, &pair.access), 200);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert_refused_soon(&sibling, &pair.access);
    // The command line tells, too, and so does its undoing.
    let token = access(&site.server);
    let text = token.sign();
    assert_eq!(site.cli(&["blacklist", token.jti(), "--expires-at", "2099-01-01T00:00:00Z"]).code(), 0);
    assert_refused_soon(&site.server, &text);
    assert_refused_soon(&sibling, &text);
    assert_eq!(site.cli(&["unblacklist", token.jti()]).code(), 0);
    eventually(SOON, || whoami(&site.server, &text) == 200 && whoami(&sibling, &text) == 200);
    let pair = site.server.login("ada");
    assert_eq!(site.cli(&["users", "disable", "ada"]).code(), 0);
    assert_refused_soon(&sibling, &pair.access);
}

#[test]
fn postgres_tells_of_the_last_of_many_revocations() {
    let site = site().started();
    let sibling = site.server.sibling();
    let pairs: Vec<_> = (0..30).map(|_| site.server.login("ada")).collect();
    for pair in &pairs {
        site.server
            .client()
            .post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh }))
            .assert(200, &json!({}));
    }
    for pair in &pairs {
        assert_refused_soon(&sibling, &pair.access);
    }
}

#[test]
fn postgres_tells_nobody_where_the_setting_says_so() {
    let site = site().set("wake_ups", "false").started();
    let token = access(&site.server);
    let text = token.sign();
    assert_eq!(whoami(&site.server, &text), 200);
    assert_eq!(listening(&site), 0);
    assert_eq!(site.cli(&["blacklist", token.jti(), "--expires-at", "2099-01-01T00:00:00Z"]).code(), 0);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(whoami(&site.server, &text), 200, "who told it?");
    assert!(site.server.cli(&["status"]).success());
}

// Fault 18.
#[test]
fn postgres_that_closes_the_connection_is_listened_to_on_another() {
    let site = site().started();
    eventually(SOON, || listening(&site) == 1);
    for _ in 0..3 {
        let (first, second) = (site.server.login("ada"), access(&site.server));
        let mut database = site.database();
        // A row that nobody tells of, while nobody listens.
        database.begin();
        database.blacklist_as_django(&crate::support::mint::jti(&first.refresh));
        assert_eq!(database.count(&format!("(SELECT pg_terminate_backend(pid) FROM {LISTENING}) AS ended")), 1);
        database.execute("COMMIT");
        assert_refused_soon(&site.server, &first.access);
        eventually(SOON, || listening(&site) == 1);
        let text = second.sign();
        assert_eq!(site.cli(&["blacklist", second.jti(), "--expires-at", "2099-01-01T00:00:00Z"]).code(), 0);
        assert_refused_soon(&site.server, &text);
    }
}

// Fault 19.
#[test]
fn postgres_that_falls_silent_is_listened_to_on_another_connection() {
    let site = site();
    let proxy = Proxy::to(site.host.port);
    let url = site.url(proxy.port, "simplejwt");
    let direct = site.url(site.host.port, "simplejwt");
    let site = site.set("database_url", &format!("{url:?}")).started();
    eventually(SOON, || listening(&site) == 1);
    let token = access(&site.server);
    let text = token.sign();
    assert_eq!(whoami(&site.server, &text), 200);
    proxy.stall();
    // The server has not heard that the first one is gone.
    let took = eventually(Duration::from_secs(30), || listening(&site) == 2);
    assert!(took < Duration::from_secs(20), "took {took:?}");
    let revoked = ["blacklist", token.jti(), "--expires-at", "2099-01-01T00:00:00Z"];
    assert_eq!(site.cli_at(&direct, &revoked).code(), 0);
    assert_refused_soon(&site.server, &text);
}

// Fault 20. The queue would be full at eight gigabytes; one that cannot grow at all refuses what it is told in the same way.
#[test]
fn postgres_that_can_tell_nobody_revokes_all_the_same() {
    let site = Site::new(Kind::Postgres).set("blacklist", r#""cached""#).set("staleness_bound", r#""10s""#).started();
    let sibling = site.server.sibling();
    eventually(SOON, || listening(&site) == 2);
    let pair = site.server.login("ada");
    // The longest name that a token can have.
    let token = access(&site.server).with("jti", "j".repeat(255));
    let text = token.sign();
    assert_eq!((whoami(&sibling, &pair.access), whoami(&sibling, &text)), (200, 200));
    // Whoever listens in a transaction keeps everything in the queue.
    let mut idle = site.database();
    idle.execute("LISTEN simplejwt_revocation");
    idle.begin();
    assert_eq!(idle.number("SELECT 1"), 1);
    let queue = site.host.directory.join("data/pg_notify");
    set_permissions(&queue, Permissions::from_mode(0o000)).expect("lock the queue up");
    let mut teller = site.database();
    let mut told = 0;
    // As long as ours, so that none of ours fits where none of these does.
    while teller.try_execute("NOTIFY simplejwt_revocation, ''").is_ok() {
        told += 1;
        assert!(told < 100_000, "the queue grows");
    }

    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert_refused_soon(&site.server, &pair.access);
    assert_refused_soon(&sibling, &pair.access);
    assert_eq!(site.cli(&["blacklist", token.jti(), "--expires-at", "2099-01-01T00:00:00Z"]).code(), 0);
    assert_refused_soon(&sibling, &text);
    assert!(teller.try_execute("NOTIFY simplejwt_revocation, ''").is_err(), "somebody was told");

    set_permissions(&queue, Permissions::from_mode(0o700)).expect("unlock the queue");
    idle.execute("COMMIT");
    eventually(Duration::from_secs(30), || listening(&site) == 2);
}

#[test]
fn postgres_is_listened_to_beside_the_connections_that_requests_need() {
    let site = site().set("database_pool_size", "1").started();
    eventually(SOON, || listening(&site) == 1);
    let pair = site.server.login("ada");
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert_eq!(whoami(&site.server, &pair.access), 401);
    // It asks nothing on it: what it said first was the last.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(listening(&site), 1);
}

#[test]
fn postgres_behind_a_pooler_wakes_as_well() {
    let site = site();
    assert_eq!(site.cli(&["migrate"]).code(), 0);
    let (_running, port) = pooler(&site, "session");
    let url = site.url(port, "simplejwt");
    let site = site.set("database_url", &format!("{url:?}")).started();
    eventually(SOON, || listening(&site) == 1);
    let token = access(&site.server);
    let text = token.sign();
    assert_eq!(whoami(&site.server, &text), 200);
    assert_eq!(site.cli(&["blacklist", token.jti(), "--expires-at", "2099-01-01T00:00:00Z"]).code(), 0);
    assert_refused_soon(&site.server, &text);
}

#[test]
fn postgres_wakes_a_service_that_may_only_read() {
    let site = site().started();
    site.database().execute("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader");
    let verifier = site.server.beside(&site.url(site.host.port, "reader"), &["--verify-only"]);
    let verifier = verifier.set("poll_interval", r#""20s""#).set("staleness_bound", r#""60s""#).start();
    eventually(SOON, || listening(&site) == 2);
    let pair = site.server.login("ada");
    assert_eq!(whoami(&verifier, &pair.access), 200);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert_refused_soon(&verifier, &pair.access);
    // Longer than two beats: it is heard by itself.
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(listening(&site), 2);
    let log = verifier.log();
    assert!(!log.contains("not heard"), "{log}");
}
