//! Real processes, and what an operator sees.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::host::Redis;
use crate::support::client::Reply;
use crate::support::database::Kind;
use crate::support::mint::{claims, jti};
use crate::support::server::{Pair, Server};

pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn whoami(server: &Server, token: &str) -> Reply {
    server.client().get("/api/token/whoami/", Some(token))
}

pub(crate) fn blacklist(server: &Server, pair: &Pair) {
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
}

pub(crate) fn on(redis: &Redis) -> Server {
    Server::new().set("blacklist", r#""redis""#).set("redis_url", &format!("{:?}", redis.url))
}

#[track_caller]
fn soon(server: &Server, token: &str, status: u16) {
    let begun = Instant::now();
    while whoami(server, token).status != status {
        assert!(begun.elapsed() < SOON, "{:?}", whoami(server, token));
        sleep(Duration::from_millis(10));
    }
}

#[track_caller]
pub(crate) fn believed(server: &Server) {
    let begun = Instant::now();
    loop {
        let reply = server.client().get("/health/ready", None);
        if reply.json()["blacklist"]["believed"] == true {
            return;
        }
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(begun.elapsed() < SOON, "{reply:?}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_process_hears_of_every_revocation() {
    let mut redis = Redis::server();
    let server = on(&redis).start_with_ada();
    let sibling = server.sibling();
    believed(&server);
    believed(&sibling);
    for _ in 0..5 {
        let pair = server.login("ada");
        assert_eq!(whoami(&sibling, &pair.access).status, 200);
        blacklist(&server, &pair);
        assert_eq!(whoami(&server, &pair.access).status, 401);
        soon(&sibling, &pair.access, 401);
    }
    let pair = server.login("ada");
    server.database().blacklist_as_django(&jti(&pair.refresh));
    soon(&server, &pair.access, 401);
    soon(&sibling, &pair.access, 401);
    let token = claims("access").with("user_id", server.user_id("ada"));
    let text = token.sign();
    assert!(server.cli(&["blacklist", token.jti(), "--expires-at", "2099-01-01T00:00:00Z"]).success());
    soon(&server, &text, 401);
    soon(&sibling, &text, 401);
    assert!(server.cli(&["unblacklist", token.jti()]).success());
    soon(&server, &text, 200);
    soon(&sibling, &text, 200);
    // And when Redis is gone, and comes back empty.
    redis.signal(0, "KILL");
    let pair = server.login("ada");
    blacklist(&server, &pair);
    assert_eq!(whoami(&server, &pair.access).status, 401);
    soon(&sibling, &pair.access, 401);
    assert_eq!(server.client().get("/health/ready", None).status, 200, "the ledger answers");
    redis.start_again();
    believed(&server);
    believed(&sibling);
    assert_eq!(whoami(&server, &pair.access).status, 401);
    for server in [server, sibling] {
        let log = server.log();
        assert!(log.contains("Redis") && !log.contains(&redis.password), "{log}");
    }
}

#[test]
fn what_the_log_does_not_tell_of_is_refused_by_whoever_acknowledged_it() {
    let redis = Redis::server();
    let server = on(&redis).set("metrics_token", r#""a-token-for-figures""#).start_with_ada();
    let sibling = server.sibling();
    believed(&server);
    believed(&sibling);
    let pair = server.login("ada");
    assert_eq!((whoami(&server, &pair.access).status, whoami(&sibling, &pair.access).status), (200, 200));
    let figure = |name: &str| -> u64 {
        let text = server.client().get("/metrics", Some("a-token-for-figures")).text;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    assert!(figure("simplejwt_blacklist_redis_answers_total") > 0);
    assert_eq!(figure("simplejwt_blacklist_redis_disbelieved_total"), 0);
    assert_eq!(figure("simplejwt_blacklist_believed"), 1);
    let mut database = server.database();
    let (listed, session) = ("token_blacklist_blacklistedtoken", "simplejwt_session");
    let triggers: &[(&str, &str)] = match database.kind() {
        Kind::Postgres => &[("simplejwt_blacklisted", listed), ("simplejwt_session_update", session)],
        Kind::Sqlite | Kind::Mysql => &[("simplejwt_blacklisted_insert", ""), ("simplejwt_session_update", "")],
    };
    for (name, table) in triggers {
        let place = if table.is_empty() { String::new() } else { format!("ON {table}") };
        database.execute(&format!("DROP TRIGGER {name} {place}"));
    }
    blacklist(&server, &pair);
    assert_eq!(whoami(&server, &pair.access).status, 401);
    soon(&sibling, &pair.access, 401);
    assert!(server.log().contains("was put back"), "{}", server.log());
    believed(&server);
    assert_eq!(whoami(&server, &pair.access).status, 401);
}

#[test]
fn a_redis_that_throws_keys_away_refuses_the_start() {
    let redis = Redis::start("redis", &["--with", "maxmemory-policy=allkeys-lfu"]);
    let server = on(&redis);
    let output = server.cli(&["serve", "--port", "0"]);
    assert!(!output.success());
    assert!(output.stderr.contains("allkeys-lfu") && output.stderr.contains("noeviction"), "{}", output.stderr);
    assert!(!output.stderr.contains(&redis.password), "{}", output.stderr);
    // A command needs no Redis.
    assert!(server.cli(&["migrate"]).success());
}

#[test]
fn a_server_starts_while_redis_is_out_of_reach() {
    let mut redis = Redis::server();
    redis.signal(0, "KILL");
    let server = on(&redis).start_with_ada();
    let pair = server.login("ada");
    assert_eq!(whoami(&server, &pair.access).status, 200);
    blacklist(&server, &pair);
    assert_eq!(whoami(&server, &pair.access).status, 401);
    redis.start_again();
    believed(&server);
    assert_eq!(whoami(&server, &pair.access).status, 401);
}

#[test]
fn a_url_that_is_none_says_what_is_wrong_and_no_secret() {
    for (url, said) in [
        ("http://:s3cret@x", "redis+sentinel://"),
        ("redis://:s3cret@a,b", "several"),
        ("redis+sentinel://:s3cret@a", "master"),
    ] {
        let server = Server::new().set("blacklist", r#""redis""#).set("redis_url", &format!("{url:?}"));
        let output = server.cli(&["check"]);
        let all = format!("{}{}", output.stdout, output.stderr);
        let output = server.cli(&["serve", "--port", "0"]);
        let all = format!("{all}{}{}", output.stdout, output.stderr);
        assert!(all.contains("redis_url") && all.contains(said), "{all}");
        assert!(!all.contains("s3cret"), "{all}");
    }
}

#[test]
fn a_service_that_only_verifies_needs_no_database() {
    let redis = Redis::server();
    let primary = on(&redis).start_with_ada();
    believed(&primary);
    let verifier = primary.beside("", &["--verify-only"]).unset("database_url");
    let verifier = verifier.set("blacklist", r#""redis""#).set("redis_url", &format!("{:?}", redis.url));
    let verifier = verifier.set("staleness_bound", r#""1s""#).start();
    let begun = Instant::now();
    // Until Redis is believed, nothing is decided.
    while verifier.client().get("/health/ready", None).status != 200 {
        assert!(begun.elapsed() < SOON, "{}", verifier.log());
        sleep(Duration::from_millis(20));
    }
    assert_eq!(verifier.client().get("/health/ready", None).json()["role"], "verifier");
    let pair = primary.login("ada");
    soon(&verifier, &pair.access, 200);
    blacklist(&primary, &pair);
    soon(&verifier, &pair.access, 401);
    let verify = |token: &str| verifier.client().post_json("/api/token/verify/", &json!({ "token": token })).status;
    assert_eq!(verify(&primary.login("ada").refresh), 401, "it knows no refresh token");
    assert!(std::fs::read_dir(verifier.directory()).expect("the directory").count() == 1, "no database was made");
    // Without anybody who has a database, nothing is accepted, however long ago Redis was told.
    let pair = primary.login("ada");
    soon(&verifier, &pair.access, 200);
    let mut primary = primary;
    primary.kill9();
    soon(&verifier, &pair.access, 503);
}

/// Presents a refresh token.
fn renew(server: &Server, token: &str) -> Reply {
    server.client().post_json("/api/token/refresh/", &json!({ "refresh": token }))
}

#[test]
fn attack_68_a_refresh_token_that_was_used_ends_its_session_also_after_redis_was_wiped() {
    let redis = Redis::server();
    let server = on(&redis).start_with_ada();
    let sibling = server.sibling();
    believed(&server);
    believed(&sibling);
    for wipes_again in [false, true] {
        let (pair, other) = (server.login("ada"), server.login("ada"));
        let second = renew(&server, &pair.refresh);
        assert_eq!(second.status, 200, "{second:?}");
        // From here on the first one gets no grace.
        let third = renew(&sibling, &second.string("refresh"));
        assert_eq!(third.status, 200, "{third:?}");
        redis.say(0, &["FLUSHALL", "SYNC"]);
        assert_eq!(renew(&server, &pair.refresh).status, 401, "it was used");
        if wipes_again {
            redis.say(0, &["FLUSHALL", "SYNC"]);
        }
        let family = [pair.access.clone(), second.string("access"), third.string("access")];
        for access in &family {
            assert_eq!(whoami(&server, access).status, 401, "its session is over where that was found");
            soon(&sibling, access, 401);
        }
        for (server, token) in [(&sibling, third.string("refresh")), (&server, second.string("refresh"))] {
            assert_eq!(renew(server, &token).status, 401, "what it became is no good either");
        }
        // And by what Redis is filled with anew.
        for server in [&server, &sibling] {
            believed(server);
            assert!(family.iter().all(|access| whoami(server, access).status == 401));
            assert_eq!(whoami(server, &other.access).status, 200);
        }
    }
}
