//! `sessions list|show|end`, and `blacklist` of more than single tokens.

use serde_json::{Value, json};

use crate::support::database::BLACKLISTED;
use crate::support::mint::{jti, payload};
use crate::support::server::{Output, Server};

fn migrated() -> Server {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    server
}

/// A refresh token of a user, and its session.
fn issue(server: &Server, user: &str) -> (String, String) {
    let output = server.cli(&["issue", "--user", user, "--kind", "refresh"]);
    assert!(output.success(), "{output:?}");
    let token = output.stdout.trim().to_owned();
    let session = payload(&token)["sid"].as_str().expect("a session").to_owned();
    (token, session)
}

fn json_of(server: &Server, arguments: &[&str]) -> Value {
    let output = server.cli(&[&["--format", "json"], arguments].concat());
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{arguments:?}: {output:?}");
    output.json()
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|row| row["id"].as_str().expect("an id")).collect()
}

fn counts(output: &Output) -> (Value, Value) {
    assert!(output.success(), "{output:?}");
    let row = &output.json()[0];
    (row["sessions"].clone(), row["tokens"].clone())
}

#[test]
fn sessions_are_listed_shown_and_ended() {
    let server = migrated();
    let (first, second, foreign) = (issue(&server, "1"), issue(&server, "1"), issue(&server, "2"));
    assert_eq!(ids(&json_of(&server, &["sessions", "list"])), [&*foreign.1, &*second.1, &*first.1]);
    assert_eq!(ids(&json_of(&server, &["sessions", "list", "--user", "1", "--limit", "1"])), [&*second.1]);
    assert_eq!(ids(&json_of(&server, &["sessions", "list", "--after", &second.1])), [&*first.1]);

    let ended = server.cli(&["sessions", "end", &first.1, "--reason", "laptop stolen"]);
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""), "{ended:?}");
    let said = format!("session {}: 1 session ended, 1 recorded token on the blacklist", first.1);
    assert_eq!(ended.stdout.lines().next(), Some(said.as_str()));
    let again = server.cli(&["sessions", "end", &first.1]);
    assert!(again.stdout.contains("0 sessions ended, 0 recorded tokens"), "{again:?}");

    assert_eq!(ids(&json_of(&server, &["sessions", "list", "--active"])), [&*foreign.1, &*second.1]);
    assert_eq!(ids(&json_of(&server, &["sessions", "list", "--ended"])), [&*first.1]);
    let shown = json_of(&server, &["sessions", "show", &first.1]);
    assert_eq!(
        (&shown["state"], &shown["ended_reason"], &shown["user"]),
        (&json!("ended"), &json!("laptop stolen"), &json!("1"))
    );
    assert_eq!((&shown["tokens"][0]["jti"], &shown["tokens"][0]["kind"]), (&json!(jti(&first.0)), &json!("refresh")));
    assert!(shown["tokens"][0]["blacklisted_at"].is_string(), "{shown}");
    let table = server.cli(&["sessions", "show", &first.1]);
    assert!(table.stdout.contains(&jti(&first.0)) && table.stdout.contains("laptop stolen"), "{table:?}");
    let event = &json_of(&server, &["events", "list", "--session", &first.1])[0];
    assert_eq!((&event["action"], &event["reason"]), (&json!("end_session"), &json!("laptop stolen")));
    let restored = server.cli(&["unblacklist", &jti(&first.0)]);
    assert_eq!(restored.code(), 1, "{restored:?}");
}

#[test]
fn a_session_that_is_not_known_is_warned_of_and_what_is_none_is_refused() {
    let server = migrated();
    let unknown = "01890000-0000-7000-8000-000000000000";
    let ended = server.cli(&["blacklist", "--session", unknown]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(ended.stderr.starts_with(&format!("warning: the session {unknown} is not known in ")), "{ended:?}");
    let absent = server.cli(&["sessions", "show", "01890000-0000-7000-8000-000000000001"]);
    assert_eq!(absent.code(), 1, "{absent:?}");
    for arguments in [
        &["sessions", "show", "x"][..],
        &["sessions", "end", "x"],
        &["sessions", "end"],
        &["sessions", "end", "--user", "1"],
        &["sessions", "end", "--but", unknown],
        &["blacklist", "--session", "X"],
        &["blacklist", "--all", "--user", "1"],
        &["blacklist", "--user", "1", "some-jti"],
        &["blacklist", "some-jti", "--dry-run"],
        &["blacklist", "--before", "tomorrow"],
        &["blacklist"],
    ] {
        let output = server.cli(arguments);
        assert_eq!(output.code(), 2, "{arguments:?}: {output:?}");
    }
    assert_eq!(server.database().count("simplejwt_cutoff"), 0);
}

#[test]
fn a_dry_run_says_what_would_be_hit_and_changes_nothing() {
    let server = migrated();
    let (_, session) = issue(&server, "1");
    issue(&server, "1");
    issue(&server, "2");
    let before = server.database().dump();
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).to_rfc3339();
    for (what, expected) in [
        (&["blacklist", "--session", &session][..], 1),
        (&["sessions", "end", "--user", "1", "--but", &session], 1),
        (&["blacklist", "--user", "1"], 2),
        (&["blacklist", "--user", "3"], 0),
        (&["blacklist", "--before", &now], 3),
        (&["blacklist", "--before", "2026-01-01T00:00:00Z"], 0),
        (&["blacklist", "--all"], 3),
    ] {
        let arguments = [&["--format", "json"], what, &["--dry-run"]].concat();
        assert_eq!(counts(&server.cli(&arguments)), (json!(expected), json!(expected)), "{what:?}");
        assert_eq!(server.database().dump(), before, "{what:?}");
    }
    for (what, expected) in [
        (&["blacklist", "--session", &session][..], 1),
        (&["blacklist", "--user", "1"], 1),
        (&["blacklist", "--all", "--yes"], 1),
    ] {
        let arguments = [&["--format", "json"], what].concat();
        assert_eq!(counts(&server.cli(&arguments)), (json!(expected), json!(expected)), "{what:?}");
    }
    assert_eq!(server.database().count(BLACKLISTED), 3);
    assert_eq!(server.database().count("simplejwt_event"), 3, "one event for each");
}

#[test]
fn everybody_is_logged_out_only_by_somebody_who_means_it() {
    let server = migrated();
    issue(&server, "1");
    for (arguments, input, code) in [
        (&["blacklist", "--all"][..], "n\n", 1),
        (&["blacklist", "--all"], "", 2),
        (&["blacklist", "--before", "1d"], "no\n", 1),
    ] {
        let output = server.cli_stdin(arguments, input);
        assert_eq!(output.code(), code, "{arguments:?} {input:?}: {output:?}");
        assert!(output.stderr.contains("not confirmed"), "{output:?}");
        assert_eq!(server.database().count("simplejwt_cutoff"), 0);
    }
    for arguments in [&["blacklist", "--all", "--yes"][..], &["revoke", "--user", "1"]] {
        assert!(server.cli(arguments).success(), "{arguments:?}");
    }
    assert_eq!(server.database().count("simplejwt_cutoff"), 2);
}
