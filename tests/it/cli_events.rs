//! `events list|follow`: who did what, and why.

use serde_json::{Value, json};

use crate::support::following::Following;
use crate::support::mint::jti;
use crate::support::server::Server;

/// The values of one field, in the order of the list.
fn all<'a>(rows: &'a Value, field: &str) -> Vec<&'a Value> {
    rows.as_array().expect("a list").iter().map(|row| &row[field]).collect()
}

#[test]
fn what_was_done_is_listed_with_who_and_why() {
    let server = Server::with_ada();
    let (first, second) = (server.login("ada"), server.login("ada"));
    assert!(server.cli(&["blacklist", &jti(&first.refresh), "--reason", "laptop stolen"]).success());
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": second.refresh }));
    assert!(server.cli(&["users", "disable", "ada"]).success());
    let list = |arguments: &[&str]| {
        let output = server.cli(&[&["--format", "json", "events", "list"], arguments].concat());
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{output:?}");
        output.json()
    };
    let rows = list(&[]);
    assert_eq!(all(&rows, "action"), ["disable_user", "blacklist", "blacklist", "add_user"], "{rows}");
    assert_eq!(all(&rows, "via"), ["cli", "http", "cli", "cli"]);
    let (user, target) = (server.user_id("ada"), format!("user:{}", server.user_id("ada")));
    assert_eq!(all(&rows, "target"), [target.as_str(), &jti(&second.refresh), &jti(&first.refresh), target.as_str()]);
    let theft = &rows[2];
    assert_eq!((&theft["reason"], &theft["user"]), (&json!("laptop stolen"), &json!(user)));
    assert!(theft["who"].as_str().is_some_and(|who| who.starts_with("cli:")), "{theft}");
    assert_eq!((&rows[1]["who"], &rows[1]["address"]), (&json!(format!("user:{user}")), &json!("127.0.0.1")));
    let session = theft["session"].as_str().expect("a session");
    for (arguments, expected) in [
        (&["--user", user.as_str()][..], 4),
        (&["--user", "999"], 0),
        (&["--session", session], 1),
        (&["--action", "blacklist"], 2),
        (&["--target", &target], 2),
        (&["--since", "1h"], 4),
        (&["--since", "2100-01-01T00:00:00Z"], 0),
        (&["--limit", "1"], 1),
        (&["--before", &rows[1]["id"].to_string()], 2),
    ] {
        assert_eq!(list(arguments).as_array().map(Vec::len), Some(expected), "{arguments:?}");
    }
    let output = server.cli(&["events", "list", "--action", "blacklst"]);
    assert!(output.code() == 2 && output.stderr.contains("unblacklist"), "{output:?}");
    let output = server.cli(&["events", "list", "--limit", "2"]);
    assert!(output.stderr.contains(&format!("--before {}", rows[1]["id"])), "{output:?}");
    assert!(output.stdout.contains("disable_user") && !output.stdout.contains("laptop"), "{output:?}");
    for token in [&first.refresh, &second.refresh] {
        assert!(!rows.to_string().contains(token.as_str()), "no token is in the list");
    }
}

#[test]
fn what_happens_is_shown_as_it_happens_a_line_each() {
    let server = Server::with_ada();
    let pairs: Vec<_> = (0..3).map(|_| server.login("ada")).collect();
    let blacklist = |number: usize| {
        let body = json!({ "refresh": pairs[number].refresh });
        server.client().post_json("/api/token/blacklist/", &body).assert(200, &json!({}));
    };
    blacklist(0);
    let mut all = Following::start(&server, &["--since", "1h"]);
    let mut some = Following::start(&server, &["--since", "1h", "--action", "disable_user"]);
    all.wait_for(&jti(&pairs[0].refresh));
    blacklist(1);
    assert!(server.cli(&["blacklist", &jti(&pairs[2].refresh), "--reason", "two words"]).success());
    assert!(server.cli(&["users", "disable", "ada"]).success());
    let user = format!("user:{}", server.user_id("ada"));
    // The user was added, and disabled.
    all.wait_for_all(&[&user, &user]);
    some.wait_for(&user);
    let mut targets: Vec<_> = pairs.iter().map(|pair| jti(&pair.refresh)).collect();
    targets.insert(0, user.clone());
    targets.push(user.clone());
    assert_eq!(all.targets(), targets);
    assert_eq!(some.targets(), [user]);
    assert_eq!((&all.events()[3]["reason"], &all.events()[3]["via"]), (&json!("two words"), &json!("cli")));
    assert_eq!((all.signal("INT").code(), some.signal("TERM").code()), (Some(0), Some(0)));
    assert_eq!(all.said(), "");
    let missing = Server::new();
    assert_eq!(missing.cli(&["events", "follow"]).code(), 2, "there is no database");
}
