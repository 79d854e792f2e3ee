//! How commands end: 0 done, 1 refused or failed, 2 wrong usage or bad input, 75 try again later. Whatever is not 0 says why,
//! in one line on standard error.

use std::time::{Duration, Instant};

use crate::support::database::instant;
use crate::support::mint::{claims, jti};
use crate::support::now;
use crate::support::server::{Output, Server};

/// Fails unless the command ended with this code, and said why in one line that holds `why`.
#[track_caller]
pub(crate) fn ends(output: &Output, code: i32, why: &str) {
    assert_eq!(output.code(), code, "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    assert!(output.stderr.starts_with("error: ") && output.stderr.contains(why), "{why}: {output:?}");
}

fn migrated() -> Server {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    server
}

#[test]
fn wrong_usage_is_2() {
    let server = migrated();
    ends(&server.cli(&["no-such-command"]), 2, "unrecognized subcommand");
    ends(&server.cli(&["blacklist"]), 2, "required arguments");
    ends(&server.cli(&["blacklist", "--no-such-flag", "a"]), 2, "--no-such-flag");
    ends(&server.cli(&["-q", "-v", "status"]), 2, "cannot be used with");
    ends(&server.cli(&["--format", "xml", "status"]), 2, "table, json, csv");
    ends(&server.cli(&["outstanding", "list", "--active", "--expired"]), 2, "cannot be used with");
    ends(&server.cli(&["outstanding", "list", "--limit", "0"]), 2, "1..");
    ends(&server.cli(&["outstanding", "list", "--since", "yesterday"]), 2, "2h or 7d");
    ends(&server.cli(&["flush", "--batch-time", "2s"]), 2, "1ms to 1s");
    ends(&server.cli(&["migrate", "--check", "--remove"]), 2, "cannot be used with");
    ends(&server.cli(&["serve", "--demo", "--address", "0.0.0.0"]), 2, "cannot be used with");
    ends(&server.cli(&["serve", "--port", "65536"]), 2, "65536");
    ends(&server.cli(&[]), 2, "requires a subcommand");
    // Whoever says nothing at all wants to know what there is.
    let bare = std::process::Command::new(env!("CARGO_BIN_EXE_simplejwt")).output().expect("run it");
    assert_eq!((bare.status.code(), bare.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&bare.stderr).contains("First steps:"), "{bare:?}");
}

/// What reads or writes tokens.
pub(crate) const COMMANDS: [&[&str]; 13] = [
    &["flushexpiredtokens"],
    &["blacklist", "a"],
    &["unblacklist", "a"],
    &["outstanding", "list"],
    &["outstanding", "show", "a"],
    &["blacklisted", "list"],
    &["check", "a"],
    &["verify", "a.b.c"],
    &["issue", "--user", "1"],
    &["users", "list"],
    &["users", "disable", "ada"],
    &["status"],
    &["migrate", "--check"],
];

#[test]
fn a_database_without_tables_is_2_and_stays_without_them() {
    let server = Server::new();
    // On SQLite this makes the file.
    assert_eq!(server.cli(&["migrate"]).code(), 0);
    assert_eq!(server.cli_stdin(&["migrate", "--remove"], "y\n").code(), 0);
    for command in COMMANDS.iter().filter(|command| **command != ["migrate", "--check"]) {
        ends(&server.cli(command), 2, "simplejwt migrate");
    }
    ends(&server.cli(&["migrate", "--check"]), 1, "simplejwt migrate");
}

#[test]
fn serve_migrate_and_users_add_make_the_database() {
    for command in [&["migrate"][..], &["users", "add", "ada"]] {
        let server = Server::new();
        let output = server.cli_stdin(command, "secret\n");
        assert_eq!(output.code(), 0, "{output:?}");
        assert!(server.cli(&["status"]).success());
    }
    let server = Server::new().start();
    assert!(server.cli(&["status"]).success());
}

#[test]
fn bad_settings_are_2_and_no_value_is_shown() {
    let server = migrated();
    for (text, why) in [
        ("[default.simplejwt]\nsigning_key = \"hidden-hidden-hidden", "line 2"),
        ("signing_key = \"hidden-hidden-hidden\"", "cannot be read"),
        ("[default.simplejwt]\nsigning_keyy = \"hidden\"", "did you mean `signing_key`?"),
        ("[default.simplejwt]\nsigning_key = [\"hidden\"]", "expected a string"),
        ("[default.simplejwt]\nleeway = 301", "leeway"),
        ("[default.simplejwt]\ndatabase_url = \"hidden\"", "no scheme"),
    ] {
        std::fs::write(server.config(), text).expect("write the settings");
        let output = server.cli(&["status"]);
        ends(&output, 2, why);
        assert!(!output.stderr.contains("hidden"), "{output:?}");
    }
    std::fs::remove_file(server.config()).expect("remove the settings");
    ends(&server.cli(&["status"]), 2, "Rocket.toml cannot be read");
}

#[test]
fn refused_or_failed_is_1() {
    let server = migrated();
    server.add_user("ada", "password");
    ends(&server.cli_stdin(&["users", "add", "ada"], "secret\n"), 1, "exists already");
    ends(&server.cli_stdin(&["users", "passwd", "bob"], "secret\n"), 1, "no user 'bob'");
    ends(&server.cli(&["users", "disable", "bob"]), 1, "no user 'bob'");
    ends(&server.cli_stdin(&["users", "remove", "ada"], "n\n"), 1, "not confirmed");
    ends(&server.cli(&["outstanding", "show", "a"]), 1, "no token a is recorded");
    ends(&server.cli(&["unblacklist", "a"]), 1, "no such token");
    ends(&server.cli(&["check", "a"]), 1, "no such token");
    ends(&server.cli(&["verify", "a.b.c"]), 1, "Token is invalid");
    let expired = claims("refresh").with("iat", 1).with("exp", 2).sign();
    ends(&server.cli(&["verify", &expired]), 1, "expired");
    ends(&server.cli(&["blacklist", "--token", &expired]), 1, "expired");
    let file = server.directory().join("taken");
    std::fs::write(&file, "kept").expect("write");
    ends(&server.cli(&["keys", "generate", "--out", "taken"]), 1, "never overwritten");
    assert_eq!(std::fs::read(&file).expect("read"), b"kept");
    let running = Server::new().start();
    let port = running.port().to_string();
    ends(&running.cli(&["serve", "--port", &port]), 1, "cannot be listened on");
}

#[test]
fn a_locked_database_is_75_within_five_seconds_and_nothing_is_done() {
    let server = migrated();
    server.add_user("ada", "password");
    let mut lock = server.database();
    lock.keep_writers_out();
    let commands: [(&[&str], &str); 10] = [
        (&["blacklist", "a"], ""),
        (&["blacklist", "a", "b", "--keep-going"], ""),
        (&["unblacklist", "a"], ""),
        (&["flushexpiredtokens"], ""),
        (&["issue", "--user", "1"], ""),
        (&["users", "add", "bob"], "secret\n"),
        (&["users", "passwd", "ada"], "secret\n"),
        (&["users", "disable", "ada"], ""),
        (&["users", "remove", "ada", "--yes"], ""),
        (&["migrate", "--remove", "--yes"], ""),
    ];
    for (command, input) in commands {
        let start = Instant::now();
        let output = server.cli_stdin(command, input);
        assert_eq!(output.code(), 75, "{command:?}: {output:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{command:?} took {:?}", start.elapsed());
        assert!(output.stderr.contains("locked"), "{command:?}: {output:?}");
    }
    // Whoever only reads is not held up.
    for command in
        [&["status"][..], &["outstanding", "list"], &["users", "list"], &["flush", "--dry-run"], &["migrate"]]
    {
        assert_eq!(server.cli(command).code(), 0, "{command:?}");
    }
    lock.let_writers_in();
    let mut database = server.database();
    assert_eq!(database.count("token_blacklist_outstandingtoken"), 0);
    assert_eq!(database.count("simplejwt_user WHERE username = 'ada' AND is_active"), 1);
    assert_eq!(database.count("simplejwt_user"), 1);
}

#[test]
fn another_flush_at_work_is_75_where_that_was_asked_for() {
    let server = migrated();
    let mut database = server.database();
    let at = instant(now());
    database.execute(&format!(
        "INSERT INTO simplejwt_flush_run (started_at, heartbeat_at, as_of, outstanding, blacklisted, tokens, sessions, events) \
         VALUES ('{at}', '{at}', '{at}', 0, 0, 0, 0, 0)"
    ));
    ends(&server.cli(&["flush", "--fail-if-running"]), 75, "another flush is running");
    assert_eq!(server.cli(&["flush"]).code(), 0, "it shares the work");
}

#[test]
fn whoever_stops_reading_early_is_no_error_and_a_full_disk_is() {
    let server = migrated();
    for index in 0..3 {
        let many: Vec<_> = (0..1000).map(|row| format!("list-{index}-{row}\n")).collect();
        assert!(server.cli_stdin(&["blacklist", "--stdin"], &many.concat()).success());
    }
    for format in ["table", "json", "csv"] {
        let mut command = server.command();
        command.args(["--format", format, "outstanding", "list", "--limit", "100000"]);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut child = command.stdout(writer).spawn().expect("start the command");
        drop(command);
        drop(reader);
        assert_eq!(child.wait().expect("an end").code(), Some(0), "{format}");

        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let mut command = server.command();
        command.args(["--format", format, "outstanding", "list"]);
        let status = command.stdout(full).stderr(std::process::Stdio::null()).status().expect("run the command");
        assert_eq!(status.code(), Some(1), "{format}");
    }
}

#[test]
fn yes_is_0() {
    let server = migrated();
    let token = server.cli(&["issue", "--user", "1", "--kind", "refresh"]).stdout.trim().to_owned();
    for output in [
        server.cli(&["check", &jti(&token)]),
        server.cli_stdin(&["check", "-"], &jti(&token)),
        server.cli(&["check", "--token", &token]),
        server.cli_stdin(&["check", "--token", "-"], &token),
        server.cli_stdin(&["verify"], &token),
        server.cli(&["migrate", "--check"]),
        server.cli(&["keys", "list"]),
    ] {
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{output:?}");
    }
}
