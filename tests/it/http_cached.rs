//! `blacklist = "cached"`: what is refused is in memory, on every process, within the staleness bound.

use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::client::Reply;
use crate::support::mint::{claims, jti};
use crate::support::server::{Pair, Server};

/// One process that has everything in memory, and a second one on the same database.
static PROCESSES: LazyLock<(Server, Server)> = LazyLock::new(|| {
    let server = cached().start_with_ada();
    let sibling = server.sibling();
    (server, sibling)
});

/// Within what time a process must know what another one did: the bound, and time for a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(5);

fn cached() -> Server {
    Server::new().set("blacklist", r#""cached""#).set("staleness_bound", r#""1s""#)
}

fn login() -> Pair {
    PROCESSES.0.login(&PROCESSES.0.another_user())
}

fn whoami(server: &Server, token: &str) -> Reply {
    server.client().get("/api/token/whoami/", Some(token))
}

#[track_caller]
fn assert_blacklisted(reply: &Reply) {
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(reply.text.contains("Token is blacklisted"), "{reply:?}");
}

/// Waits until the token is refused by this process, as one that was revoked; before that it must be accepted.
#[track_caller]
fn assert_refused_soon(server: &Server, token: &str) {
    let begun = Instant::now();
    loop {
        let reply = whoami(server, token);
        match reply.status {
            401 => return assert_blacklisted(&reply),
            200 => assert!(begun.elapsed() < SOON, "accepted for {:?}", begun.elapsed()),
            _ => panic!("neither accepted nor refused: {reply:?}"),
        }
        sleep(Duration::from_millis(10));
    }
}

fn blacklist(server: &Server, pair: &Pair) {
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
}

// Case 104.
#[test]
fn the_process_that_acknowledges_refuses_at_once_and_the_other_soon() {
    let (server, sibling) = &*PROCESSES;
    for _ in 0..5 {
        let pair = login();
        assert_eq!(whoami(sibling, &pair.access).status, 200);
        blacklist(server, &pair);
        assert_blacklisted(&whoami(server, &pair.access));
        assert_refused_soon(sibling, &pair.access);
        assert_blacklisted(&whoami(server, &pair.access));
    }
}

#[test]
fn only_what_was_revoked_is_refused() {
    let (server, _) = &*PROCESSES;
    let (gone, other) = (login(), login());
    blacklist(server, &gone);
    assert_eq!(whoami(server, &other.access).status, 200);
    let refresh = server.client().post_json("/api/token/refresh/", &json!({ "refresh": other.refresh }));
    assert_eq!(refresh.status, 200);
    assert_eq!(whoami(server, &other.access).status, 200, "a rotation revokes nothing but the refresh token");
}

#[test]
fn a_row_that_django_or_a_line_of_sql_wrote_is_heard_of() {
    let pair = login();
    PROCESSES.0.database().blacklist_as_django(&jti(&pair.refresh));
    assert_refused_soon(&PROCESSES.0, &pair.access);
    assert_refused_soon(&PROCESSES.1, &pair.access);
}

#[test]
fn the_command_line_is_heard_of_and_so_is_its_undoing() {
    let (server, sibling) = &*PROCESSES;
    let token = claims("access").with("user_id", server.user_id("ada"));
    let text = token.sign();
    assert_eq!(whoami(server, &text).status, 200);
    assert!(server.cli(&["blacklist", token.jti(), "--expires-at", "2099-01-01T00:00:00Z"]).success());
    assert_refused_soon(server, &text);
    assert_refused_soon(sibling, &text);
    assert!(server.cli(&["unblacklist", token.jti()]).success());
    let begun = Instant::now();
    while whoami(server, &text).status != 200 || whoami(sibling, &text).status != 200 {
        assert!(begun.elapsed() < SOON, "still refused");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_user_who_is_disabled_is_out_on_every_process() {
    let (server, sibling) = &*PROCESSES;
    let name = server.another_user();
    let pair = server.login(&name);
    assert!(server.cli(&["users", "disable", &name]).success());
    assert_refused_soon(server, &pair.access);
    assert_refused_soon(sibling, &pair.access);
}

// Case 103.
#[test]
fn what_was_revoked_is_refused_by_the_first_answer_after_a_restart() {
    let mut server = cached().start_with_ada();
    let pair = server.login("ada");
    blacklist(&server, &pair);
    server.kill9();
    server.restart();
    let begun = Instant::now();
    loop {
        let reply = whoami(&server, &pair.access);
        if reply.status == 401 {
            break;
        }
        assert_eq!(reply.status, 503, "nothing is decided before everything is in memory: {reply:?}");
        assert!(begun.elapsed() < SOON);
    }
}

#[test]
fn a_process_that_slept_accepts_nothing_that_was_revoked_meanwhile() {
    let server = cached().start_with_ada();
    let sibling = server.sibling();
    let pid = Pid::from_raw(i32::try_from(sibling.pid()).expect("a process id")).expect("a process");
    for _ in 0..3 {
        let pair = server.login("ada");
        assert_eq!(whoami(&sibling, &pair.access).status, 200);
        kill_process(pid, Signal::STOP).expect("stop it");
        blacklist(&server, &pair);
        sleep(Duration::from_millis(1500));
        kill_process(pid, Signal::CONT).expect("wake it");
        let reply = whoami(&sibling, &pair.access);
        assert!([401, 503].contains(&reply.status), "it decided by what it knew before it slept: {reply:?}");
        assert_refused_or_unavailable_until_refused(&sibling, &pair.access);
    }
}

#[track_caller]
fn assert_refused_or_unavailable_until_refused(server: &Server, token: &str) {
    let begun = Instant::now();
    while whoami(server, token).status != 401 {
        assert_ne!(whoami(server, token).status, 200);
        assert!(begun.elapsed() < SOON);
    }
}

#[test]
fn readiness_says_how_the_memory_stands() {
    let reply = PROCESSES.0.client().get("/health/ready", None);
    assert_eq!(reply.status, 200);
    let blacklist = &reply.json()["blacklist"];
    assert!(
        blacklist["entries"].is_u64() && blacklist["bytes"].is_u64() && blacklist["sequence"].is_i64(),
        "{reply:?}"
    );
    assert!(blacklist["lag_ms"].as_u64().is_some_and(|lag| lag < 5000), "{reply:?}");
}
