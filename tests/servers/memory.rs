//! `blacklist = "cached"` while the database is out of reach, slow to commit, or only sometimes there: what is in memory is used
//! as long as it may be old, and not a moment longer.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::database::{Kind, TestDatabase};
use crate::support::mint::jti;
use crate::support::server::Server;
use crate::throwaway::{Site, eventually};
use crate::traffic::{Ask, RECOVERY, assert_put_off, blacklist, whoami};

fn cached(kind: Kind) -> Site {
    Site::new(kind).set("blacklist", r#""cached""#).started()
}

// Faults 12 and 48.
fn nobody_is_let_in_by_what_is_older_than_it_may_be(kind: Kind) {
    let site = cached(kind);
    let (pair, other) = (site.server.login("ada"), site.server.login("ada"));
    assert_eq!(blacklist(&site.server, &other.refresh), 200);
    site.host.freeze();
    let frozen = Instant::now();
    let mut accepted = 0;
    while frozen.elapsed() < Duration::from_secs(4) {
        let before = frozen.elapsed();
        let status = whoami(&site.server, &pair.access);
        assert!([200, 503].contains(&status), "{status}");
        accepted += u32::from(status == 200);
        // The bound is a second, counted from a moment before the database froze.
        assert!(status == 503 || before < Duration::from_secs(1), "accepted {before:?} after the database had frozen");
        assert_ne!(whoami(&site.server, &other.access), 200, "it was revoked");
    }
    assert!(accepted > 0, "what is in memory is used while it is fresh");
    let start = Instant::now();
    assert_put_off(&Ask::Whoami(pair.access.clone()), site.server.client());
    assert!(start.elapsed() < Duration::from_millis(500), "to say so needs no database: {:?}", start.elapsed());
    assert_put_off(&Ask::Ready, site.server.client());
    site.host.thaw();
    eventually(RECOVERY, || whoami(&site.server, &pair.access) == 200);
    assert_eq!(whoami(&site.server, &other.access), 401);
}

fn the_database_is_asked_instead_where_that_is_wanted(kind: Kind) {
    let site = Site::new(kind).set("blacklist", r#""cached""#).set("stale_policy", r#""database""#).started();
    the_database_is_asked(&site.server);
}

fn the_database_is_asked(server: &Server) {
    let (pair, stays) = (server.login("ada"), server.login("ada"));
    let is_fresh = || server.client().get("/health/ready", None).json()["blacklist"]["lag_ms"].as_u64() < Some(1000);
    eventually(RECOVERY, is_fresh);
    // The log cannot be read; whether a token is refused can.
    server.database().execute("ALTER TABLE simplejwt_revocation_state RENAME TO simplejwt_elsewhere");
    sleep(Duration::from_secs(2));
    assert!(!is_fresh(), "what is in memory is older than it may be");
    assert_eq!(whoami(server, &pair.access), 200);
    server.database().blacklist_as_django(&jti(&pair.refresh));
    assert_eq!(whoami(server, &pair.access), 401, "exact, as long as it is asked");
    assert_eq!(whoami(server, &stays.access), 200);
    server.database().execute("ALTER TABLE simplejwt_elsewhere RENAME TO simplejwt_revocation_state");
    eventually(RECOVERY, is_fresh);
    assert_eq!((whoami(server, &pair.access), whoami(server, &stays.access)), (401, 200));
}

// Fault 21.
fn who_commits_late_is_heard_of_all_the_same(kind: Kind) {
    let site = cached(kind);
    let (slow, pairs) = (site.server.login("ada"), [(); 5].map(|()| site.server.login("ada")));
    let mut late = site.database();
    late.begin();
    late.blacklist_as_django(&jti(&slow.refresh));
    for pair in &pairs {
        // A transaction of somebody else is in nobody's way.
        let start = Instant::now();
        assert_eq!(blacklist(&site.server, &pair.refresh), 200);
        assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
        assert_eq!(whoami(&site.server, &pair.access), 401);
    }
    sleep(Duration::from_secs(1));
    assert_eq!(whoami(&site.server, &slow.access), 200, "it is not committed");
    late.execute("COMMIT");
    eventually(Duration::from_secs(3), || whoami(&site.server, &slow.access) == 401);
}

// Fault 10.
fn what_was_acknowledged_outlives_the_database_server(kind: Kind) {
    let mut site = cached(kind);
    for _ in 0..3 {
        eventually(RECOVERY, || Ask::Login.send(site.server.client()).status == 200);
        let (gone, stays) = (site.server.login("ada"), site.server.login("ada"));
        assert_eq!(blacklist(&site.server, &gone.refresh), 200);
        site.host.kill_and_restart();
        let start = Instant::now();
        while whoami(&site.server, &stays.access) != 200 {
            assert_ne!(whoami(&site.server, &gone.access), 200);
            assert!(start.elapsed() < RECOVERY);
        }
        assert_eq!(whoami(&site.server, &gone.access), 401);
    }
}

// Triggers that are gone: whatever came while they were is found when they are put back.
fn triggers_that_were_lost_are_put_back_and_nothing_is_missed(kind: Kind) {
    triggers_are_put_back(&cached(kind).server);
}

/// It takes a minute: that is how often a process looks.
fn triggers_are_put_back(server: &Server) {
    let (pair, stays) = (server.login("ada"), server.login("ada"));
    let kind = server.test_database().kind();
    let names = match kind {
        Kind::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'simplejwt%' \
             AND tbl_name = 'token_blacklist_blacklistedtoken'"
        }
        Kind::Postgres => {
            "SELECT DISTINCT tgname::text FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'simplejwt%' \
             AND tgrelid = 'token_blacklist_blacklistedtoken'::regclass"
        }
        Kind::Mysql => {
            "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() \
             AND event_object_table = 'token_blacklist_blacklistedtoken'"
        }
    };
    let mut database = server.database();
    let lost = database.strings(names);
    assert!(!lost.is_empty());
    for name in &lost {
        let of = if kind == Kind::Postgres { "ON token_blacklist_blacklistedtoken" } else { "" };
        database.execute(&format!("DROP TRIGGER {name} {of}"));
    }
    database.blacklist_as_django(&jti(&pair.refresh));
    sleep(Duration::from_secs(2));
    assert_eq!(whoami(server, &pair.access), 200, "nobody has told");
    eventually(Duration::from_secs(75), || whoami(server, &pair.access) == 401);
    assert_eq!(whoami(server, &stays.access), 200);
    let mut there = database.strings(names);
    there.retain(|name| lost.contains(name));
    assert_eq!(there.len(), lost.len(), "all of them are there again");
    // And they tell.
    let next = server.login("ada");
    database.blacklist_as_django(&jti(&next.refresh));
    eventually(RECOVERY, || whoami(server, &next.access) == 401);
}

/// The same without a database server.
mod sqlite {
    use super::{Server, TestDatabase};

    fn on_a_file() -> Server {
        let server = Server::of(|directory| TestDatabase::file(&directory.join("tokens.sqlite3")));
        server.set("blacklist", r#""cached""#).set("staleness_bound", r#""1s""#)
    }

    #[test]
    fn the_database_is_asked_instead_where_that_is_wanted() {
        super::the_database_is_asked(&on_a_file().set("stale_policy", r#""database""#).start_with_ada());
    }

    #[test]
    fn triggers_that_were_lost_are_put_back_and_nothing_is_missed() {
        super::triggers_are_put_back(&on_a_file().start_with_ada());
    }
}

on_both!(
    nobody_is_let_in_by_what_is_older_than_it_may_be,
    the_database_is_asked_instead_where_that_is_wanted,
    who_commits_late_is_heard_of_all_the_same,
    what_was_acknowledged_outlives_the_database_server,
    triggers_that_were_lost_are_put_back_and_nothing_is_missed,
);
