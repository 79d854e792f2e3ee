//! What is revoked while a process reads the log for the first time.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::proxy::Proxy;
use crate::support::database::Kind;
use crate::support::mint::jti;
use crate::throwaway::{Site, eventually};
use crate::traffic::{Ask, RECOVERY, assert_put_off, blacklist, whoami};

/// Whoever watches it can tell a process that loads from one that is dead, and sees that it gets on.
#[test]
fn while_it_loads_it_is_live_and_not_ready_and_says_how_far_it_is() {
    let site = Site::with_ada(Kind::Postgres);
    let (pair, gone) = (site.server.login("ada"), site.server.login("ada"));
    assert_eq!(blacklist(&site.server, &gone.refresh), 200);
    let proxy = Proxy::to(site.host.port);
    let url = format!("{:?}", site.url(proxy.port, "simplejwt"));
    let site = site.set("blacklist", r#""cached""#).set("database_url", &url);
    let mut load = site.database();
    // The last table of the load.
    load.execute("BEGIN; LOCK TABLE simplejwt_cutoff IN ACCESS EXCLUSIVE MODE");
    let sibling = site.server.sibling();
    let loads = |most: Duration, until: &dyn Fn() -> bool| {
        eventually(most, || {
            let live = sibling.client().get("/health/live", None);
            assert_eq!((live.status, &live.json()["status"]), (200, &json!("live")));
            let ready = Ask::Ready.send(sibling.client());
            assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("unready")), "{ready:?}");
            let blacklist = &ready.json()["blacklist"];
            assert!(
                blacklist["sequence"].is_null() && blacklist["loaded"].is_u64(),
                "it has come to the log: {ready:?}"
            );
            for token in [&pair.access, &gone.access] {
                assert_put_off(&Ask::Whoami(token.clone()), sibling.client());
            }
            until()
        })
    };
    let begun = Instant::now();
    loads(RECOVERY, &|| begun.elapsed() > Duration::from_secs(1));
    // Whoever waits for the table gives up, and begins anew. From here on that takes more than five seconds.
    proxy.slow_down(Duration::from_millis(300));
    let begun = Instant::now();
    loads(RECOVERY, &|| begun.elapsed() > Duration::from_secs(3));
    load.execute("ROLLBACK");
    let rows_so_far = || {
        let log = sibling.log();
        let said = log.lines().find_map(|line| line.strip_prefix("loading the blacklist: "));
        said.map(|rows| rows.strip_suffix(" rows so far").and_then(|rows| rows.parse::<u64>().ok()))
    };
    loads(Duration::from_secs(20), &|| rows_so_far().is_some());
    // That of the session that is over is the only one.
    assert!(rows_so_far().flatten().is_some_and(|rows| rows <= 1), "{}", sibling.log());
    proxy.slow_down(Duration::ZERO);
    eventually(Duration::from_secs(20), || Ask::Ready.send(sibling.client()).status == 200);
    assert_eq!((whoami(&sibling, &pair.access), whoami(&sibling, &gone.access)), (200, 401));
    let log = sibling.log();
    assert!(log.contains("the blacklist is loaded: 1 rows"), "{log}");
    site.assert_silent(&log);
}

/// It answers from memory as soon as its first look at the log is over. What it acknowledged during that look, it has to refuse
/// then, although the look began before.
#[test]
fn what_a_process_acknowledges_during_its_first_look_at_the_log_it_refuses_from_then_on() {
    let site = Site::with_ada(Kind::Postgres).set("blacklist", r#""cached""#);
    let pair = site.server.login("ada");
    let (mut load, mut look) = (site.database(), site.database());
    // The last table of the load.
    load.execute("BEGIN; LOCK TABLE simplejwt_cutoff IN ACCESS EXCLUSIVE MODE");
    let sibling = site.server.sibling();
    assert_eq!(whoami(&sibling, &pair.access), 503, "it loads");
    // The first table of the look: it waits with a snapshot that it has taken already.
    look.execute("BEGIN; LOCK TABLE simplejwt_revocation_state IN ACCESS EXCLUSIVE MODE");
    load.execute("ROLLBACK");
    let waits = "pg_locks WHERE NOT granted AND relation = 'simplejwt_revocation_state'::regclass";
    let mut other = site.database();
    eventually(Duration::from_secs(5), || other.count(waits) > 0);
    let acknowledged = thread::scope(|scope| {
        let asked = scope.spawn(|| blacklist(&sibling, &pair.refresh));
        // It is committed, and has the time to be acknowledged too early.
        eventually(Duration::from_secs(5), || other.is_blacklisted(&jti(&pair.refresh)));
        thread::sleep(Duration::from_millis(300));
        look.execute("ROLLBACK");
        asked.join().expect("an answer")
    });
    // A machine that is too slow for it may put it off, and has then promised nothing.
    assert!([200, 503].contains(&acknowledged), "{acknowledged}");
    let mut accepted = 0;
    let refused = || match whoami(&sibling, &pair.access) {
        401 => true,
        status => {
            accepted += usize::from(status == 200 && acknowledged == 200);
            false
        }
    };
    eventually(Duration::from_secs(10), refused);
    assert_eq!(accepted, 0, "accepted after the same process had acknowledged that it is refused");
}
