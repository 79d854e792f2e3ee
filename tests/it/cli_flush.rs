//! `flushexpiredtokens` as a command. What may go is tested in `http_flush`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::database::{BLACKLISTED, OUTSTANDING, instant};
use crate::support::now;
use crate::support::server::{Server, run};

const DAY: i64 = 86_400;

/// A database with so many expired rows, every second of them blacklisted, and one that is not expired.
fn filled(rows: u32) -> Server {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let (created, expired) = (instant(now() - 10 * DAY), instant(now() - 5 * DAY));
    let mut database = server.database();
    database.record_row("live", now() + DAY, "NULL");
    database.execute(&format!(
        "INSERT INTO {OUTSTANDING} (token, created_at, expires_at, user_id, jti) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         SELECT '', '{created}', '{expired}', NULL, concat('old-', i) FROM n"
    ));
    database.execute(&format!(
        "INSERT INTO {BLACKLISTED} (blacklisted_at, token_id) SELECT '{created}', id FROM {OUTSTANDING} \
         WHERE jti <> 'live' AND id % 2 = 0"
    ));
    server
}

fn flush(server: &Server, arguments: &[&str]) -> Value {
    let output = server.cli(&[&["--format", "json", "flushexpiredtokens"], arguments].concat());
    assert_eq!(output.code(), 0, "{output:?}");
    output.json()
}

#[test]
fn a_dry_run_counts_what_a_run_deletes() {
    let server = filled(300);
    let counts = |report: &Value| [&report["outstanding"], &report["blacklisted"], &report["total"]].map(Value::clone);
    let dry = flush(&server, &["--dry-run"]);
    assert_eq!((&dry["outcome"], counts(&dry)), (&json!("dry_run"), [json!(300), json!(150), json!(450)]));
    assert_eq!(server.database().count(OUTSTANDING), 301);
    assert_eq!(server.database().count("simplejwt_flush_run"), 0);
    let done = flush(&server, &[]);
    assert_eq!((&done["outcome"], counts(&done)), (&json!("done"), counts(&dry)));
    assert_eq!(done["clock_ahead"], Value::Null);
    assert_eq!(server.database().strings(&format!("SELECT jti FROM {OUTSTANDING}")), ["live"]);
    assert_eq!(flush(&server, &[])["total"], 0);
}

#[test]
fn one_line_says_what_was_done_and_quiet_says_nothing() {
    let server = filled(10);
    let output = server.cli(&["flush"]);
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{output:?}");
    assert_eq!(output.stdout.lines().count(), 1, "{output:?}");
    assert!(output.stdout.starts_with("flushed 15 rows in "), "{output:?}");
    let quiet = server.cli(&["flush", "--quiet"]);
    assert_eq!((quiet.code(), quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
}

#[test]
fn limits_end_a_run_and_the_next_one_goes_on() {
    let server = filled(2000);
    let limited = flush(&server, &["--max-rows", "100"]);
    assert_eq!(limited["outcome"], "limited");
    let gone = limited["total"].as_i64().expect("a number");
    assert!((100..3000).contains(&gone), "{limited}");
    assert_eq!(flush(&server, &["--max-time", "0s"])["outcome"], "limited");
    assert_eq!(flush(&server, &["--older-than", "6d"])["total"], 0);
    let rest = flush(&server, &["--batch-time", "1ms", "--pause", "1ms"]);
    assert_eq!(rest["total"].as_i64().expect("a number") + gone, 3000);
}

#[test]
fn the_clock_is_not_believed_where_the_ledger_contradicts_it() {
    let server = filled(4);
    let mut database = server.database();
    database.execute(&format!("DELETE FROM {OUTSTANDING} WHERE jti = 'live'"));
    // Nothing is newer than ten days: perhaps the clock is ten days ahead.
    let output = server.cli(&["flush"]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(output.stderr.starts_with("warning: ") && output.stderr.contains("--force"), "{output:?}");
    assert!(output.stdout.starts_with("flushed 0 rows"), "{output:?}");
    assert!(flush(&server, &["--dry-run"])["clock_ahead"].is_string());
    assert_eq!(flush(&server, &["--force"])["outstanding"], 4);

    database.record_row("tomorrow", now() + 2 * DAY, "NULL");
    database.execute(&format!("UPDATE {OUTSTANDING} SET created_at = '{}'", instant(now() + DAY)));
    let output = server.cli(&["flush"]);
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(output.stderr.contains("this machine's clock says"), "{output:?}");
    assert_eq!(flush(&server, &["--force"])["outcome"], "done");
}

#[test]
fn a_signal_ends_the_run_after_its_batch() {
    let server = filled(20_000);
    for signal in ["-INT", "-TERM"] {
        let mut command = server.command();
        command.args(["--format", "json", "flush", "--batch-time", "20ms", "--pause", "50ms"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start the flush");
        let start = Instant::now();
        let left = server.database().count(OUTSTANDING);
        while server.database().count(OUTSTANDING) == left {
            assert!(start.elapsed() < Duration::from_secs(20), "nothing happens");
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill").success());
        let output = child.wait_with_output().expect("an end");
        assert_eq!(output.status.code(), Some(75), "{signal}: {output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["outcome"], "interrupted");
        let status = server.cli(&["status", "--format", "json"]).json();
        assert_eq!(status["last_flush"]["outcome"], "interrupted");
        assert_eq!(status["last_flush"]["flushed"]["outstanding"], report["outstanding"]);
    }
    flush(&server, &[]);
    assert_eq!(server.database().count(OUTSTANDING), 1);
    assert_eq!(server.database().count(BLACKLISTED), 0);
}

#[test]
fn two_at_once_share_the_work() {
    let server = filled(3000);
    let reports = std::thread::scope(|scope| {
        let runs = [(); 2].map(|()| scope.spawn(|| flush(&server, &[])));
        runs.map(|run| run.join().expect("a flush"))
    });
    let total: i64 = reports.iter().map(|report| report["total"].as_i64().expect("a number")).sum();
    assert_eq!(total, 4500, "{reports:?}");
}

/// In a terminal there is a bar; `script` makes one.
#[test]
fn progress_is_shown_on_a_terminal_only() {
    let server = filled(20_000);
    let words = |command: &Command| {
        let program = command.get_program().to_string_lossy().into_owned();
        let arguments = command.get_args().map(|argument| format!("'{}'", argument.to_string_lossy()));
        std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
    };
    let mut plain = server.command();
    plain.args(["flush", "--max-rows", "15000"]);
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &words(&plain), "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm");
    let output = run(terminal, "");
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(output.stdout.contains("of 20,000 tokens") && output.stdout.contains("left"), "{output:?}");
    assert!(output.stdout.contains("flushed "), "{output:?}");
    let piped = run(plain, "");
    assert_eq!((piped.stdout.lines().count(), piped.stderr.as_str()), (1, ""), "{piped:?}");
}
