//! Attacks on the command line: cases 113 to 115 and 120 of the attack list. Exit codes stand for
//! statuses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::attack::VERIFY;
use crate::support::database::{BLACKLISTED, OUTSTANDING, instant};
use crate::support::mint::claims;
use crate::support::server::{Output, PASSWORD, Server};
use crate::support::{now, unique};

/// The tables in which a blacklisting would leave something.
fn rows(server: &Server) -> Vec<i64> {
    let mut database = server.database();
    [OUTSTANDING, BLACKLISTED, "simplejwt_token", "simplejwt_session", "simplejwt_event"]
        .map(|table| database.count(table))
        .into()
}

/// Fails unless the command was refused as wrong usage, in one line.
#[track_caller]
fn wrong_usage(case: &str, output: &Output) {
    assert_eq!(output.code(), 2, "{case}: {output:?}");
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{case}: {output:?}");
    assert!(output.stdout.is_empty(), "{case}: {output:?}");
    assert!(!output.stderr.contains("panicked"), "{case}: {output:?}");
}

// Case 113.
#[test]
fn what_is_no_jti_is_not_blacklisted() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let before = rows(&server);
    let good = unique("good");
    let long = "j".repeat(256);
    let token = claims("refresh").sign();
    for bad in [
        "",
        " ",
        "-x",
        "--help-me",
        "a b",
        "a\nb",
        "a\r",
        "a/b",
        "a'b",
        "é",
        "a\u{202e}",
        "*",
        "%",
        &long,
        &token,
        "\u{ff41}",
    ] {
        wrong_usage(bad, &server.cli(&["blacklist", bad]));
        wrong_usage(bad, &server.cli(&["blacklist", &good, bad]));
        wrong_usage(bad, &server.cli(&["unblacklist", bad]));
    }
    for bad in [
        "",
        "\n",
        "\0",
        "a\0b\n",
        "a b\n",
        " a\n",
        "-x y\n",
        "\u{feff}a\n",
        "a\tb\n",
        "é\n",
        &format!("{long}\n"),
        &"j".repeat(1 << 20),
    ] {
        let shown = &bad[..bad.len().min(8)];
        wrong_usage(shown, &server.cli_stdin(&["blacklist", "--stdin"], bad));
        wrong_usage(shown, &server.cli_stdin(&["blacklist", "-"], bad));
    }
    for list in
        [format!("{good}\n\nother\n"), format!("{good}\n{long}\n"), format!("{good}\na b"), format!("{good}\n\0\n")]
    {
        wrong_usage("one bad line in a list", &server.cli_stdin(&["blacklist", "--stdin"], &list));
    }
    for bad in ["", "x", "a.b.c", "\0", "..", &"x".repeat(1 << 20)] {
        let output = server.cli_stdin(&["blacklist", "--token", "-"], &format!("{bad}\n"));
        assert!(matches!(output.code(), 1 | 2), "{output:?}");
        assert!(!output.stderr.contains("panicked"), "{output:?}");
    }
    assert_eq!(rows(&server), before, "none of it was recorded");
    assert!(server.cli(&["blacklist", &good]).success());
    assert!(server.database().is_blacklisted(&good));
}

#[test]
fn no_argument_makes_a_command_panic() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let odd = [
        "",
        "\u{202e}",
        "-",
        "--",
        "-1",
        "99999999999999999999",
        "1e9",
        "'; DROP TABLE simplejwt_user;--",
        "@/nowhere",
        "@/",
        "\u{1b}[2J",
    ];
    let commands: [&[&str]; 22] = [
        &["blacklist", "--reason", "ODD", "a"],
        &["blacklist", "--expires-at", "ODD", "a"],
        &["blacklist", "--token", "ODD"],
        &["check", "ODD"],
        &["check", "--token", "ODD"],
        &["verify", "ODD"],
        &["issue", "--user", "ODD"],
        &["issue", "--user", "1", "--kind", "ODD"],
        &["issue", "--user", "1", "--claim", "ODD"],
        &["issue", "--user", "1", "--lifetime", "ODD"],
        &["outstanding", "list", "--user", "ODD"],
        &["outstanding", "list", "--since", "ODD"],
        &["outstanding", "list", "--limit", "ODD"],
        &["outstanding", "show", "ODD"],
        &["flushexpiredtokens", "--dry-run", "--older-than", "ODD"],
        &["flushexpiredtokens", "--dry-run", "--max-rows", "ODD"],
        &["flushexpiredtokens", "--dry-run", "--batch-time", "ODD"],
        &["users", "add", "ODD"],
        &["users", "disable", "ODD"],
        &["migrate", "--user-key", "ODD"],
        &["--database-url", "ODD", "status"],
        &["--config", "ODD", "status"],
    ];
    for command in commands {
        for odd in odd {
            let arguments: Vec<&str> = command.iter().map(|part| if *part == "ODD" { odd } else { part }).collect();
            let output = server.cli(&arguments);
            assert!(matches!(output.code(), 0 | 1 | 2 | 75), "{arguments:?}: {output:?}");
            assert!(!output.stderr.contains("panicked"), "{arguments:?}: {output:?}");
            assert!(output.code() == 0 || output.stderr.trim_end().lines().count() == 1, "{arguments:?}: {output:?}");
            for written in [&output.stdout, &output.stderr] {
                assert!(!written.contains('\u{1b}') && !written.contains('\u{202e}'), "{arguments:?}: {output:?}");
            }
        }
    }
}

// Case 114.
#[test]
fn a_locked_database_is_said_to_be_within_seconds() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let jti = unique("x");
    let quick = |case: &str, code: i32, output: &dyn Fn() -> Output| {
        let start = Instant::now();
        let output = output();
        assert_eq!(output.code(), code, "{case}: {output:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{case} took {:?}", start.elapsed());
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{case}: {output:?}");
    };
    let before = rows(&server);
    let mut lock = server.database();
    lock.keep_writers_out();
    for command in [&["blacklist", &jti][..], &["unblacklist", &jti], &["flushexpiredtokens"]] {
        quick("locked", 75, &|| server.cli(command));
    }
    lock.let_writers_in();
    assert_eq!(rows(&server), before, "what was put off was not done");
}

#[test]
fn no_password_of_a_url_is_shown() {
    let server = Server::new();
    let jti = unique("x");
    for url in [
        "postgres://root:hunter2@127.0.0.1:1/x",
        "mysql://root:hunter2@127.0.0.1:1/x",
        "sqlserver://root:hunter2@127.0.0.1:1/x",
        "root:hunter2@127.0.0.1/x",
        "hunter2",
        "sqlite:hunter2://",
    ] {
        let output = server.cli(&["--database-url", url, "blacklist", &jti]);
        assert!(!output.success(), "{url}: {output:?}");
        assert!(!output.stderr.contains("hunter2") && !output.stdout.contains("hunter2"), "{output:?}");
    }
}

// Case 115.
#[test]
fn no_secret_is_ever_shown() {
    let canary = "c4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ry";
    let server = Server::new().set("signing_key", &format!("{canary:?}")).start_with_ada();
    let pair = server.login("ada");
    let commands: [&[&str]; 14] = [
        &["-v", "-v", "status"],
        &["-v", "-v", "keys", "list"],
        &["--format", "json", "keys", "list"],
        &["--help"],
        &["serve", "--help"],
        &["-v", "-v", "outstanding", "list"],
        &["--format", "json", "outstanding", "list"],
        &["--format", "csv", "users", "list"],
        &["-v", "-v", "flushexpiredtokens"],
        &["check", "--token", &pair.access],
        &["check", "--token", "-"],
        &["blacklist", "--token", &pair.refresh],
        &["serve", "--port", "99999"],
        &["serve", "--address", "nonsense"],
    ];
    let (access, refresh) = (pair.access.rsplit('.').next(), pair.refresh.rsplit('.').next());
    // The last two are in the database, or say where it is.
    let of_database = server.test_database().password().unwrap_or("$argon2");
    let hidden =
        [canary, PASSWORD, access.expect("three parts"), refresh.expect("three parts"), "$argon2", of_database];
    for arguments in commands {
        let output = server.cli_stdin(arguments, &format!("{}\n", pair.refresh));
        for text in [&output.stdout, &output.stderr] {
            assert!(!hidden.iter().any(|secret| text.contains(secret)), "{arguments:?}: {output:?}");
        }
    }
    let log = server.log();
    assert!(!hidden.iter().any(|secret| log.contains(secret)), "{log}");
    let mut database = server.database();
    let dump = database.dump();
    assert!(!hidden[..4].iter().any(|secret| dump.contains(secret)), "the database holds a secret");
    // Whoever may list processes sees neither key nor password.
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).expect("a process");
    assert!(!line.contains(canary), "{line:?}");
    for (name, value) in [
        ("signing_key", "\"c4n4ry\""),
        ("signing_key", "[\"c4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ry\"]"),
        ("algorithm", "\"ES256\""),
    ] {
        let broken = Server::new().set("signing_key", &format!("{canary:?}")).set(name, value);
        let output = broken.cli(&["serve", "--port", "0"]);
        assert_eq!(output.code(), 2, "{output:?}");
        assert!(!output.stderr.contains("c4n4ry"), "{output:?}");
    }
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// Case 120.
#[test]
fn a_flush_beside_revocations_forgets_none() {
    let server = Server::new().set("leeway", "\"120s\"").start();
    // Rows whose time to go (leeway and a minute after their end) comes while the flushes run, and rows that stay.
    let mut database = server.database();
    let mut near = Vec::new();
    let before = instant(now() - 3 * 86_400);
    database.begin();
    for index in 0..1000 {
        let token = claims("access").with("iat", now() - 1000).with("exp", now() - 180 - 2 + index % 5);
        database.record_as_django(&token);
        database.blacklist_as_django(token.jti());
        near.push(token);
    }
    // Their end has come, their last moment has not: only the record makes them refused.
    let tokens: Vec<_> =
        (0..200).map(|index| claims("refresh").with("iat", now() - 60).with("exp", now() - 2 + index % 5)).collect();
    for token in &tokens {
        database.record_as_django(token);
    }
    // A row of unknown kind may be a sliding token's, and stays until the last renewal that its age allows.
    database.execute(&format!("UPDATE {OUTSTANDING} SET created_at = '{before}'"));
    database.execute("COMMIT");
    let verify = |text: &str| server.client().post_json(VERIFY, &json!({ "token": text }));
    let start = Instant::now();
    assert_eq!(verify(&tokens[0].sign()).status, 200, "not refused yet");

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when a check fails: or the failure would wait for the flushes for ever.
        let stopper = SetWhenDropped(&stop);
        let flushes = scope.spawn(|| {
            let mut runs = 0;
            while !stop.load(Ordering::SeqCst) {
                let output = server.cli(&["--format", "json", "flushexpiredtokens"]);
                assert_eq!(output.code(), 0, "{output:?}");
                runs += 1;
            }
            runs
        });
        for (index, token) in tokens.iter().enumerate() {
            let text = token.sign();
            if index % 2 == 0 {
                // As Django's admin page does it: nothing but this row and the flush's own rule keeps it.
                server.database().blacklist_as_django(token.jti());
            } else {
                let reply = server.client().post_json("/api/token/blacklist/", &json!({ "refresh": text }));
                reply.assert(200, &json!({}));
            }
            verify(&text).assert_not_valid("Token is blacklisted");
            if index % 20 == 0 {
                assert_eq!(verify(&near[index].sign()).status, 401);
            }
        }
        let again = Instant::now() + Duration::from_secs(3);
        while Instant::now() < again {
            for token in tokens.iter().step_by(7) {
                let reply = verify(&token.sign());
                assert_eq!(reply.status, 401, "{reply:?}");
            }
        }
        drop(stopper);
        assert!(flushes.join().expect("the flushes") > 1, "more than one flush ran");
    });
    assert!(
        start.elapsed() < Duration::from_secs(110),
        "the machine is too slow for this test: the tokens ended meanwhile"
    );
    for token in &tokens {
        verify(&token.sign()).assert_not_valid("Token is blacklisted");
        assert!(database.is_blacklisted(token.jti()));
    }
    let gone = near.iter().filter(|token| !database.is_outstanding(token.jti())).count();
    assert!(gone > 0, "the flushes deleted what had gone by");
    database.assert_sound();
}
