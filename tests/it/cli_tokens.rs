//! `issue`, `check`, `verify`, `outstanding`, `blacklisted`, `status`.

use serde_json::{Value, json};

use crate::support::mint::{claims, jti, payload};
use crate::support::now;
use crate::support::server::Server;

fn migrated() -> Server {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    server
}

#[test]
fn issue_prints_the_token_alone_and_records_it() {
    let server = migrated();
    let output =
        server.cli(&["issue", "--user", "42", "--claim", "role=editor", "--claim", "level=3", "--lifetime", "90s"]);
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{output:?}");
    let said = payload(output.stdout.trim());
    assert_eq!(said["token_type"], "access");
    assert_eq!((&said["user_id"], &said["role"], &said["level"]), (&json!("42"), &json!("editor"), &json!(3)));
    assert_eq!(said["exp"].as_i64().expect("exp") - said["iat"].as_i64().expect("iat"), 90);
    assert!(server.database().is_outstanding(said["jti"].as_str().expect("a jti")));

    let row = server.cli(&["issue", "--user", "42", "--kind", "sliding", "--format", "json"]).json();
    assert_eq!(jti(row["token"].as_str().expect("a token")), row["jti"].as_str().expect("a jti"));
    assert_eq!((&row["kind"], &row["user"]), (&json!("sliding"), &json!("42")));
    assert!(row["session"].is_string(), "{row}");
}

#[test]
fn issue_refuses_what_a_token_cannot_say() {
    let server = migrated();
    for arguments in [
        &["--user", ""][..],
        &["--user", "a\nb"],
        &["--user", "1", "--kind", "id"],
        &["--user", "1", "--claim", "exp=1"],
        &["--user", "1", "--claim", "user_id=2"],
        &["--user", "1", "--claim", "role"],
        &["--user", "1", "--claim", "a=1", "--claim", "a=2"],
        &["--user", "1", "--lifetime", "0s"],
        &["--user", "1", "--lifetime", "6m"],
        &["--user", "1", "--lifetime", "5"],
        &["--user", "1", "--claim", &format!("a={}", "x".repeat(9000))],
    ] {
        let output = server.cli(&[&["issue"], arguments].concat());
        assert_eq!((output.code(), output.stdout.as_str()), (2, ""), "{arguments:?}: {output:?}");
    }
    assert_eq!(server.database().count("token_blacklist_outstandingtoken"), 0);
    server.add_user("ada", "password");
    let output = server.cli(&["issue", "--user", "ada"]);
    assert!(output.stderr.contains("the user named ada has the id 1"), "{output:?}");
}

#[test]
fn check_says_no_with_the_reason() {
    let server = Server::with_ada();
    let pair = server.login("ada");
    let answer = |arguments: &[&str]| {
        let output = server.cli(&[&["--format", "json", "check"], arguments].concat());
        (output.code(), output.json())
    };
    let (code, yes) = answer(&[&jti(&pair.refresh)]);
    assert_eq!((code, &yes["usable"], &yes["reason"]), (0, &json!(true), &Value::Null));
    assert!(yes["expires_at"].is_string());
    assert_eq!(answer(&[&jti(&pair.access)]).1["reason"], "unknown", "access tokens are not recorded");
    assert_eq!(answer(&["--token", &pair.access]).1["usable"], true);

    let reply = server.client().post_json("/api/token/refresh/", &json!({ "refresh": pair.refresh }));
    let next = reply.string("refresh");
    assert_eq!(answer(&[&jti(&pair.refresh)]).1["reason"], "superseded");
    assert_eq!(answer(&["--token", &pair.refresh]).1["reason"], "blacklisted");
    assert!(server.cli(&["blacklist", &jti(&next), "--reason", "stolen"]).success());
    let (code, no) = answer(&[&jti(&next)]);
    assert_eq!((code, &no["reason"]), (1, &json!("blacklisted")));
    assert!(no["detail"].as_str().is_some_and(|text| text.ends_with("(stolen)")), "{no}");
    assert_eq!(answer(&["--token", &pair.access]).1["reason"], "blacklisted", "its session has ended");

    let other = server.login("ada");
    assert!(server.cli(&["users", "disable", "ada"]).success());
    assert_eq!(answer(&[&jti(&other.refresh)]).1["reason"], "session_ended");
    server.database().record_row("gone", now() - 10, "NULL");
    assert_eq!(answer(&["gone"]).1["reason"], "expired");
    let expired = claims("access").with("iat", 1).with("exp", 2).sign();
    assert_eq!(answer(&["--token", &expired]).1["reason"], "expired");
    assert_eq!(answer(&["--token", "a.b.c"]).1["reason"], "invalid");
    let unknown = claims("refresh").with("user_id", "99").sign();
    assert_eq!(answer(&["--token", &unknown]).1["reason"], "unknown");
}

#[test]
fn verify_shows_what_a_good_token_says() {
    let server = migrated();
    let token = server.cli(&["issue", "--user", "7", "--claim", "role=editor"]).stdout;
    let output = server.cli_stdin(&["verify", "--format", "json"], &token);
    assert_eq!(output.code(), 0, "{output:?}");
    let said = output.json();
    assert_eq!((&said["usable"], &said["kind"], &said["user"]), (&json!(true), &json!("access"), &json!("7")));
    assert_eq!(said["claims"], json!({"role": "editor"}));
    for input in ["", "\n", &format!("{token}{token}"), &"x".repeat(1 << 20)] {
        assert_eq!(server.cli_stdin(&["verify"], input).code(), 2, "{:?}", &input[..input.len().min(20)]);
    }
}

/// The jtis of a list.
fn listed(server: &Server, arguments: &[&str]) -> Vec<String> {
    let output = server.cli(&[&["--format", "json"], arguments].concat());
    assert_eq!(output.code(), 0, "{output:?}");
    let rows = output.json();
    rows.as_array().expect("rows").iter().map(|row| row["jti"].as_str().expect("a jti").to_owned()).collect()
}

#[test]
fn lists_are_filtered_and_paged() {
    let server = migrated();
    let issue = |user: &str, kind: &str| jti(&server.cli(&["issue", "--user", user, "--kind", kind]).stdout);
    let (one, two, three) = (issue("1", "refresh"), issue("2", "access"), issue("1", "sliding"));
    let mut database = server.database();
    database.record_row("django", now() + 1000, "'2'");
    database.record_row("expired", now() - 1000, "'2'");
    assert!(server.cli(&["blacklist", &three]).success());
    let list = |more: &[&str]| listed(&server, &[&["outstanding", "list"], more].concat());

    assert_eq!(list(&[]), [&one, &two, &three, "django", "expired"]);
    assert_eq!(list(&["--user", "1"]), [&*one, &*three]);
    assert_eq!(list(&["--kind", "access"]), [&*two]);
    assert_eq!(list(&["--active"]), [&one, &two, "django"]);
    assert_eq!(list(&["--expired"]), ["expired"]);
    assert_eq!(list(&["--blacklisted"]), [&*three]);
    assert_eq!(list(&["--superseded"]), [""; 0]);
    assert_eq!(list(&["--since", "1h", "--user", "1"]), [&*one, &*three]);
    assert_eq!(list(&["--since", &(now() + 100).to_string()]), [""; 0]);
    assert_eq!(list(&["--limit", "2"]), [&*one, &*two]);
    assert_eq!(list(&["--limit", "2", "--after", "2"]), [&three, "django"]);
    assert_eq!(listed(&server, &["blacklisted", "list"]), [&*three]);
    assert_eq!(listed(&server, &["blacklisted", "list", "--user", "2"]), [""; 0]);

    let page = server.cli(&["outstanding", "list", "--limit", "2"]);
    assert!(page.stderr.contains("--after 2"), "{page:?}");
    assert_eq!(page.stdout.lines().count(), 3, "a head and two rows: {page:?}");
    let csv = server.cli(&["outstanding", "list", "--format", "csv"]).stdout;
    assert!(csv.starts_with("id,jti,user,kind,created_at,expires_at,blacklisted_at,"), "{csv}");
    assert_eq!(csv.lines().count(), 6);
    let nothing = server.cli(&["outstanding", "list", "--user", "3"]);
    assert_eq!((nothing.code(), nothing.stdout.as_str(), nothing.stderr.as_str()), (0, "", "none\n"));
}

#[test]
fn what_others_wrote_into_the_database_is_not_obeyed_by_the_terminal() {
    let server = migrated();
    server.database().record_row("\u{1b}[31mred\u{202e}\nnext", now() + 1000, "'\u{7}'");
    let output = server.cli(&["outstanding", "list"]);
    assert_eq!(output.stdout.lines().count(), 2, "{output:?}");
    assert!(!output.stdout.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{output:?}");
    assert_eq!(
        listed(&server, &["outstanding", "list"]),
        ["\u{1b}[31mred\u{202e}\nnext"],
        "a program gets it as it is"
    );
}

#[test]
fn status_counts_and_tells_of_the_last_flush() {
    let server = migrated();
    server.add_user("ada", "password");
    assert!(server.cli(&["issue", "--user", "1", "--kind", "refresh"]).success());
    server.database().record_row("expired", now() - 1000, "NULL");
    let status = server.cli(&["status", "--format", "json"]).json();
    assert_eq!((&status["outstanding"], &status["blacklisted"], &status["users"]), (&json!(2), &json!(0), &json!(1)));
    assert_eq!((&status["sessions_open"], &status["last_flush"]), (&json!(1), &Value::Null));
    assert!(status["oldest_expired_at"].is_string(), "{status}");
    assert_eq!((&status["schema"]["pending"], &status["warnings"]), (&json!([]), &json!([])));
    assert!(server.cli(&["flush"]).success());
    let status = server.cli(&["status", "--format", "json"]).json();
    assert_eq!(status["last_flush"]["outcome"], "done");
    let text = server.cli(&["status"]);
    assert!(text.stdout.contains("last flush") && text.stdout.contains("up to date"), "{text:?}");

    let keyless = server.unset("signing_key");
    let output = keyless.cli(&["status"]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(output.stderr.starts_with("warning: setting `signing_key`: no key"), "{output:?}");
}
