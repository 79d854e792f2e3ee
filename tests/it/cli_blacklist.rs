//! `blacklist` and `unblacklist`.

use serde_json::json;

use crate::support::database::{BLACKLISTED, OUTSTANDING};
use crate::support::mint::{claims, jti};
use crate::support::now;
use crate::support::server::Server;

fn migrated() -> Server {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    server
}

fn issue(server: &Server, kind: &str) -> String {
    let output = server.cli(&["issue", "--user", "1", "--kind", kind]);
    assert!(output.success(), "{output:?}");
    output.stdout.trim().to_owned()
}

#[test]
fn every_jti_is_reported_with_the_database() {
    let server = migrated();
    let known = jti(&issue(&server, "refresh"));
    let output = server.cli(&["blacklist", &known, "unheard-of"]);
    assert_eq!(output.code(), 0, "{output:?}");
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[0], format!("{known}  blacklisted, and its session ended"));
    assert!(lines[1].starts_with("unheard-of  unknown: recorded until 20"), "{output:?}");
    assert_eq!(lines[2], format!("2 tokens on the blacklist of {}", server.test_database()));
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    assert!(output.stderr.starts_with("warning: unheard-of is not known in "), "{output:?}");

    let again = server.cli(&["revoke", &known, "unheard-of", "--format", "json"]);
    assert_eq!((again.code(), again.stderr.as_str()), (0, ""), "{again:?}");
    for row in again.json().as_array().expect("an array") {
        assert_eq!(row["outcome"], "already_blacklisted");
        assert_eq!(row["error"], json!(null));
        assert_eq!(row["database"], server.test_database().to_string());
    }
    assert_eq!(server.database().count(BLACKLISTED), 2);
    assert_eq!(
        server.database().count("simplejwt_event WHERE action = 'blacklist'"),
        2,
        "what changes nothing is no event"
    );
}

#[test]
fn an_unknown_jti_is_kept_until_the_last_token_it_could_be_has_ended_or_as_long_as_told() {
    let server = migrated();
    let row =
        |arguments: &[&str]| server.cli(&[&["--format", "json", "blacklist"], arguments].concat()).json()[0].clone();
    let end = |row: &serde_json::Value| {
        let text = row["expires_at"].as_str().expect("an instant").to_owned();
        chrono::DateTime::parse_from_rfc3339(&text).expect("RFC 3339").timestamp()
    };
    let unknown = row(&["a"]);
    assert_eq!(unknown["outcome"], "unknown_recorded");
    assert!((end(&unknown) - now() - 30 * 86_400).abs() < 60, "30 days at least: {unknown}");
    assert_eq!(end(&row(&["b", "--expires-at", "2033-05-18T05:33:20+02:00"])), 2_000_000_000);
    assert_eq!(end(&row(&["c", "--expires-at", "2000000000"])), 2_000_000_000);
    for bad in ["1", "2020-01-01T00:00:00Z", "tomorrow", ""] {
        let output = server.cli(&["blacklist", "d", "--expires-at", bad]);
        assert_eq!(output.code(), 2, "{bad}: {output:?}");
    }
    assert!(!server.database().is_outstanding("d"));
}

#[test]
fn all_or_nothing_unless_told_to_keep_going() {
    let server = migrated();
    let token = issue(&server, "refresh");
    for bad in ["no jti", "", token.as_str()] {
        let output = server.cli(&["blacklist", "a", bad, "b"]);
        assert_eq!(output.code(), 2, "{output:?}");
        assert!(
            output.stderr.contains("argument 2: ") && output.stderr.contains("nothing was blacklisted"),
            "{output:?}"
        );
        assert!(!output.stderr.contains(&token), "{output:?}");
    }
    assert_eq!(server.database().count(BLACKLISTED), 0);
    let output = server.cli_stdin(&["blacklist", "--stdin", "--keep-going", "--format", "json"], "a\n\nb\n");
    assert_eq!(output.code(), 2, "{output:?}");
    let outcomes: Vec<_> = output.json().as_array().expect("rows").iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["unknown_recorded", "error", "unknown_recorded"]);
    assert!(output.stderr.contains("error: line 2 of standard input: "), "{output:?}");
    assert_eq!(server.database().count(BLACKLISTED), 2);
    let expired = claims("refresh").with("iat", 1).with("exp", 2).sign();
    let output = server.cli(&["blacklist", "c", "--token", &expired, "--keep-going"]);
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(server.database().is_blacklisted("c"));
}

#[test]
fn a_list_comes_on_standard_input() {
    let server = migrated();
    assert!(server.cli_stdin(&["blacklist", "--stdin"], "a\nb\r\nc").success());
    assert!(server.cli_stdin(&["blacklist", "d", "-", "e"], "f\n").success());
    for jti in ["a", "b", "c", "d", "e", "f"] {
        assert!(server.database().is_blacklisted(jti), "{jti}");
    }
    for (arguments, input) in [
        (&["blacklist", "--stdin"][..], ""),
        (&["blacklist", "-"], ""),
        (&["blacklist", "-", "-"], "x\n"),
        (&["blacklist", "-", "--stdin"], "x\n"),
        (&["blacklist", "--stdin", "--token", "-"], "x\n"),
    ] {
        assert_eq!(server.cli_stdin(arguments, input).code(), 2, "{arguments:?}");
    }
    let many: Vec<_> = (0..5001).map(|row| format!("many-{row}\n")).collect();
    let output = server.cli_stdin(&["blacklist", "--stdin"], &many.concat());
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(output.stderr.contains("--keep-going"), "{output:?}");
    assert_eq!(server.database().count(OUTSTANDING), 6);
}

#[test]
fn a_token_is_taken_from_its_text_a_file_or_standard_input() {
    let server = migrated();
    let tokens = ["refresh", "access", "sliding"].map(|kind| issue(&server, kind));
    let file = server.directory().join("token");
    std::fs::write(&file, format!("{}\n", tokens[1])).expect("write");
    assert!(server.cli(&["blacklist", "--token", &tokens[0]]).success());
    assert!(server.cli(&["blacklist", "--token", &format!("@{}", file.display())]).success());
    assert!(server.cli_stdin(&["blacklist", "--token", "-"], &tokens[2]).success());
    for token in &tokens {
        assert!(server.database().is_blacklisted(&jti(token)));
        assert_eq!(server.cli(&["check", "--token", token]).code(), 1);
    }
    assert!(server.cli(&["blacklist", "--token", &tokens[0]]).stdout.contains("already blacklisted"));
    let forged = claims("refresh").sign_with(crate::support::mint::Hash::Sha256, b"another key of thirty-two bytes!");
    let output = server.cli(&["blacklist", "--token", &forged]);
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(output.stderr.contains("wrong signature") && !output.stderr.contains(&forged), "{output:?}");
    assert!(!server.database().is_outstanding(&jti(&forged)));
}

#[test]
fn a_jti_is_blacklisted_without_a_key_and_under_any_key_setting() {
    let mut server = migrated().unset("signing_key");
    assert!(server.cli(&["blacklist", "a"]).success());
    server.change("signing_key_file", "\"/nowhere/key\"");
    assert!(server.cli(&["blacklist", "b"]).success());
    assert_eq!(server.cli(&["blacklist", "--token", "x.y.z"]).code(), 2);
}

#[test]
fn unblacklist_takes_it_back_and_says_who_did() {
    let server = migrated();
    let token = issue(&server, "refresh");
    assert!(server.cli(&["blacklist", &jti(&token), "--reason", "laptop stolen"]).success());
    let output = server.cli(&["unblacklist", &jti(&token), "--reason", "laptop found"]);
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{output:?}");
    assert!(
        output.stdout.starts_with(&format!("{}  restored, and its session is open again\n", jti(&token))),
        "{output:?}"
    );
    assert_eq!(server.cli(&["check", "--token", &token]).code(), 0);
    let again = server.cli(&["unblacklist", &jti(&token)]);
    assert_eq!(again.code(), 0, "{again:?}");
    assert!(again.stdout.contains("was not blacklisted"), "{again:?}");
    let shown = server.cli(&["outstanding", "show", &jti(&token), "--format", "json"]).json();
    let events = shown["events"].as_array().expect("events");
    let told: Vec<_> = events.iter().map(|event| (event["action"].clone(), event["reason"].clone())).collect();
    assert_eq!(told, [(json!("unblacklist"), json!("laptop found")), (json!("blacklist"), json!("laptop stolen"))]);
    assert!(
        events.iter().all(|event| event["who"].as_str().is_some_and(|who| who.starts_with("cli:") && who.len() > 4))
    );
}

#[test]
fn what_must_stay_refused_is_not_restored() {
    let server = Server::with_ada();
    let first = server.login("ada");
    let reply = server.client().post_json("/api/token/refresh/", &json!({ "refresh": first.refresh }));
    assert_eq!(reply.status, 200, "{reply:?}");
    let disabled = server.login("ada");
    assert!(server.cli(&["blacklist", &jti(&disabled.refresh)]).success());
    let superseded = server.cli(&["unblacklist", &jti(&first.refresh), "unheard-of"]);
    assert_eq!(superseded.code(), 1, "{superseded:?}");
    assert!(superseded.stderr.contains("a rotation replaced it"), "{superseded:?}");
    assert!(superseded.stderr.contains("unheard-of: no such token"), "{superseded:?}");
    let json = server.cli(&["unblacklist", &jti(&first.refresh), &jti(&disabled.refresh), "--format", "json"]);
    let outcomes: Vec<_> = json.json().as_array().expect("rows").iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["superseded", "restored"]);
    assert!(server.database().is_blacklisted(&jti(&first.refresh)));
}

#[test]
fn a_reason_is_a_remark() {
    let server = migrated();
    for bad in ["", " ", "two\nlines", "\u{1b}[31mred", &"x".repeat(501)] {
        assert_eq!(server.cli(&["blacklist", "a", "--reason", bad]).code(), 2, "{bad:?}");
    }
    assert_eq!(server.database().count(OUTSTANDING), 0);
}
