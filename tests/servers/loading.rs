//! What is revoked while a process reads the log for the first time.

use std::thread;
use std::time::Duration;

use crate::support::database::Kind;
use crate::support::mint::jti;
use crate::throwaway::{Site, eventually};
use crate::traffic::{blacklist, whoami};

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
