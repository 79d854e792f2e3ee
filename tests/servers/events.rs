//! Events reach whoever follows them, whatever happens to the database and in whatever order they are committed.

use std::time::Duration;

use serde_json::json;

use crate::support::database::Kind;
use crate::support::following::Following;
use crate::support::mint::jti;
use crate::throwaway::{Site, eventually};
use crate::traffic::blacklist;

on_both!(who_follows_goes_on_after_a_restart_and_misses_nothing, a_late_commit_is_shown_late_and_once);

fn who_follows_goes_on_after_a_restart_and_misses_nothing(kind: Kind) {
    let mut site = Site::with_ada(kind);
    let mut following = Following::start(&site.server, &["--since", "1h", "--action", "blacklist"]);
    let pairs: Vec<_> = (0..3).map(|_| site.server.login("ada")).collect();
    assert_eq!(blacklist(&site.server, &pairs[0].refresh), 200);
    following.wait_for(&jti(&pairs[0].refresh));
    site.host.kill_and_restart();
    // Somebody finds the connections broken first.
    eventually(Duration::from_secs(20), || blacklist(&site.server, &pairs[1].refresh) == 200);
    following.wait_for(&jti(&pairs[1].refresh));
    assert_eq!(blacklist(&site.server, &pairs[2].refresh), 200);
    following.wait_for(&jti(&pairs[2].refresh));
    let shown = following.targets();
    assert_eq!(shown, pairs.iter().map(|pair| jti(&pair.refresh)).collect::<Vec<_>>(), "{}", following.said());
    site.assert_silent(&following.said());
    assert_eq!(following.signal("INT").code(), Some(0));
}

fn a_late_commit_is_shown_late_and_once(kind: Kind) {
    let site = Site::with_ada(kind);
    let pairs: Vec<_> = (0..2).map(|_| site.server.login("ada")).collect();
    assert_eq!(blacklist(&site.server, &pairs[0].refresh), 200);
    let following = Following::start(&site.server, &["--since", "1h", "--action", "blacklist"]);
    following.wait_for(&jti(&pairs[0].refresh));
    let mut late = site.database();
    late.execute("BEGIN");
    late.execute(
        "INSERT INTO simplejwt_event (at, action, target, who, via) \
         VALUES ('2099-01-15 08:00:00', 'blacklist', 'late', 'cli:root', 'cli')",
    );
    assert_eq!(blacklist(&site.server, &pairs[1].refresh), 200);
    following.wait_for(&jti(&pairs[1].refresh));
    late.execute("COMMIT");
    following.wait_for("late");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(following.targets(), [jti(&pairs[0].refresh), jti(&pairs[1].refresh), "late".to_owned()]);
    let listed = site.cli(&["--format", "json", "events", "list", "--target", "late"]).json();
    assert_eq!(listed[0]["action"], json!("blacklist"));
}
