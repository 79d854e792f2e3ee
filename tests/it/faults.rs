//! Faults that need no special tool: too few files, no space, nobody who reads the log, weak settings, strange rows, and a
//! clock that is wrong. `scripts/faults` has those that need one.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rocket_simplejwt::service::{FlushError, FlushOptions, FlushReport, Health, OpenMode, Target};
use rocket_simplejwt::settings::{Secret, Settings};
use rocket_simplejwt::token::{Clock, ManualClock, SystemClock};
use rocket_simplejwt::{Actor, Issue, Refusal, Simplejwt, Via};
use serde_json::json;

use crate::support::attack::{Spawned, VERIFY, WHOAMI, attempt};
use crate::support::database::{BLACKLISTED, OUTSTANDING, instant};
use crate::support::mint::{KEY, claims};
use crate::support::now;
use crate::support::server::Server;

const BLACKLIST: &str = "/api/token/blacklist/";

// Fault 54.
#[test]
fn a_server_without_free_files_goes_on_when_there_are_some() {
    let server = Server::new();
    let mut spawned = Spawned::start(&server, r#"ulimit -n 64; exec "$@" >/dev/null 2>&1"#);
    let token = claims("refresh");
    server.database().record_as_django(&token);
    let mut held: Vec<TcpStream> = Vec::new();
    let address = ([127, 0, 0, 1], spawned.port).into();
    // Beyond the queue of the listening socket nobody is even answered.
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
        if held.len() == 400 {
            break;
        }
    }
    assert!(held.len() > 64, "{} connections", held.len());
    // Whether somebody is served now is a matter of luck; that nobody is let in is not.
    thread::sleep(Duration::from_millis(300));
    assert!(spawned.runs(), "the server ended");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while attempt(spawned.port, VERIFY, &json!({"token": token.sign()})).map(|(status, _)| status) != Some(200) {
        assert!(Instant::now() < deadline, "the server does not recover");
        thread::sleep(Duration::from_millis(50));
    }
    spawned.client().post_json(BLACKLIST, &json!({"refresh": token.sign()})).assert(200, &json!({}));
    assert!(server.database().is_blacklisted(token.jti()));
}

// Fault 60.
#[test]
fn a_server_whose_log_nobody_takes_goes_on() {
    for script in [r#"exec "$@" >&- 2>&-"#, r#"exec "$@" >/dev/full 2>/dev/full"#, r#"exec "$@" 2>&- >/dev/null"#] {
        let server = Server::new();
        let mut spawned = Spawned::start(&server, script);
        let token = claims("refresh");
        server.database().record_as_django(&token);
        // Each of these has something to log.
        for _ in 0..50 {
            assert_eq!(spawned.client().get(WHOAMI, Some("x.y.z")).status, 401, "{script}");
        }
        spawned.client().post_json(BLACKLIST, &json!({"refresh": token.sign()})).assert(200, &json!({}));
        server.database().execute(&format!("ALTER TABLE {BLACKLISTED} RENAME TO away"));
        assert_eq!(spawned.client().get(WHOAMI, Some(&claims("access").sign())).status, 503, "{script}");
        server.database().execute(&format!("ALTER TABLE away RENAME TO {BLACKLISTED}"));
        assert_eq!(spawned.client().get(WHOAMI, Some(&claims("access").sign())).status, 200, "{script}");
        assert!(spawned.runs(), "{script}");
    }
}

// Fault 3, with a limit on the size of files instead of a full disk.
#[test]
fn without_space_nothing_is_acknowledged_and_nothing_lost() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let tokens: Vec<_> = (0..400).map(|_| claims("refresh")).collect();
    let mut database = server.database();
    database.execute("BEGIN IMMEDIATE");
    for token in &tokens {
        database.record_as_django(token);
    }
    database.execute("COMMIT");
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    let size = std::fs::metadata(server.database_path()).expect("a file").len();
    // In blocks of 512 bytes. The database may grow a little, and so may the log beside it.
    let blocks = (size + 200_000) / 512;
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    {
        // A reader keeps the log from being written back and started anew, so that it grows until there is no room.
        let mut reader = server.database();
        reader.execute("BEGIN");
        assert!(reader.count(OUTSTANDING) > 0);
        let mut spawned =
            Spawned::start(&server, &format!(r#"trap "" XFSZ; ulimit -f {blocks}; exec "$@" >/dev/null 2>&1"#));
        for token in &tokens {
            let reply = spawned.client().post_json(BLACKLIST, &json!({"refresh": token.sign()}));
            match reply.status {
                200 => acknowledged.push(token),
                503 => refused += 1,
                _ => panic!("{reply:?}"),
            }
            if refused > 20 {
                break;
            }
        }
        assert!(refused > 20, "there was room for all {} of them", acknowledged.len());
        assert!(spawned.runs());
        let good = claims("access").sign();
        assert_eq!(spawned.client().get(WHOAMI, Some(&good)).status, 200, "readers go on");
        for token in &acknowledged {
            let reply = spawned.client().post_json(VERIFY, &json!({"token": token.sign()}));
            assert_eq!(reply.status, 401, "{reply:?}");
        }
        reader.execute("ROLLBACK");
    }
    let server = server.start();
    assert!(!acknowledged.is_empty());
    for token in &acknowledged {
        let reply = server.client().post_json(VERIFY, &json!({"token": token.sign()}));
        reply.assert_not_valid("Token is blacklisted");
    }
    assert_eq!(database.strings("SELECT * FROM pragma_integrity_check"), ["ok"]);
    let last = tokens.last().expect("tokens").sign();
    server.client().post_json(BLACKLIST, &json!({"refresh": last})).assert(200, &json!({}));
}

// Fault 9.
#[test]
fn a_database_that_could_forget_is_set_right_or_not_used() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let mode = |server: &Server| server.database().value("SELECT journal_mode FROM pragma_journal_mode");
    for weak in ["DELETE", "TRUNCATE", "PERSIST"] {
        server.database().execute(&format!("PRAGMA journal_mode = {weak}"));
        assert_ne!(mode(&server).as_deref(), Some("wal"));
        let output = server.cli(&["--format", "json", "status"]);
        assert_eq!(output.code(), 0, "{output:?}");
        assert_eq!(mode(&server).as_deref(), Some("wal"), "set right by whoever opens it");
    }
    // Somebody who reads in the old mode keeps everybody from changing it.
    server.database().execute("PRAGMA journal_mode = DELETE");
    let mut reader = server.database();
    reader.execute("BEGIN");
    assert_eq!(reader.count(OUTSTANDING), 0);
    let output = server.cli(&["blacklist", "a"]);
    assert_eq!(output.code(), 75, "{output:?}");
    reader.execute("ROLLBACK");
    let output = server.cli(&["blacklist", "a"]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert_eq!(mode(&server).as_deref(), Some("wal"));
}

// Fault 62.
#[test]
fn strange_rows_hinder_nobody() {
    let server = Server::new().start();
    let (good, bad) = (claims("refresh"), claims("refresh"));
    let mut database = server.database();
    for token in [&good, &bad] {
        database.record_as_django(token);
    }
    database.blacklist_as_django(bad.jti());
    let (at, far) = (instant(now()), "9999-12-31 23:59:59.999999");
    let rows = [
        format!("'', '{at}', '{far}', NULL, '{}'", "j".repeat(1 << 20)),
        format!("'', '{at}', '{far}', NULL, CAST(x'ff00fe41' AS TEXT)"),
        format!("'', '{at}', '{far}', CAST(x'c3' AS TEXT), x'00ff'"),
        format!("'', '{at}', '{far}', NULL, ''"),
        format!("'', '{at}', '{far}', 'a' || char(10) || 'b', 'line' || char(10) || 'break'"),
        format!("'', '{at}', '{far}', NULL, 'nul' || char(0) || 'byte'"),
        format!("'', '{at}', '{far}', NULL, char(27) || '[31m' || char(8238)"),
        "'', NULL, 'soon', NULL, 'no-instant'".to_owned(),
        "'', 'x', '', NULL, 'no-instant-2'".to_owned(),
        "'', NULL, 0, 17, 'a-number'".to_owned(),
        "'', 1e300, 9e99, 1.5, 'a-large-number'".to_owned(),
        "'', NULL, -1, NULL, 'a-negative-number'".to_owned(),
        "'', '0001-01-01 00:00:00', '0000-00-00 00:00:00', NULL, 'before-all'".to_owned(),
        "'', '99999-01-01 00:00:00', '99999-01-01 00:00:00', NULL, 'after-all'".to_owned(),
        "'', x'00', x'ff', x'ff', 'bytes'".to_owned(),
        format!("'{}', '{at}', '{far}', NULL, 'a-long-token'", "t".repeat(1 << 20)),
    ];
    for (index, row) in rows.iter().enumerate() {
        database.execute(&format!(
            "INSERT INTO {OUTSTANDING} (token, created_at, expires_at, user_id, jti) VALUES ({row})"
        ));
        let when = ["'soon'", "0", "x'ff'", "''", "1e300"][index % 5];
        database.execute(&format!(
            "INSERT INTO {BLACKLISTED} (blacklisted_at, token_id) VALUES ({when}, last_insert_rowid())"
        ));
    }
    let strange = database.count(OUTSTANDING) - 2;
    assert_eq!(strange, 16);

    let verify =
        |token: &crate::support::mint::Claims| server.client().post_json(VERIFY, &json!({"token": token.sign()}));
    let check = || {
        assert_eq!(verify(&good).status, 200);
        verify(&bad).assert_not_valid("Token is blacklisted");
        for jti in ["no-instant", "a-number", "before-all", "after-all", "bytes"] {
            verify(&claims("access").with("jti", jti)).assert_not_valid("Token is blacklisted");
        }
    };
    check();
    let commands: [&[&str]; 9] = [
        &["outstanding", "list", "--limit", "1000"],
        &["--format", "json", "outstanding", "list", "--limit", "1000"],
        &["--format", "csv", "blacklisted", "list", "--limit", "1000"],
        &["blacklisted", "list"],
        &["outstanding", "show", "no-instant"],
        &["check", "a-number"],
        &["status"],
        &["flushexpiredtokens", "--dry-run", "--force"],
        &["flushexpiredtokens", "--force"],
    ];
    for command in commands {
        let output = server.cli(command);
        assert!(matches!(output.code(), 0 | 1), "{command:?}: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{command:?}: {output:?}");
        if output.code() == 1 {
            assert_eq!(output.stderr.trim_end().lines().count().max(1), 1, "{command:?}: {output:?}");
        }
        assert!(
            !output.stdout.contains('\u{1b}') || command.contains(&"csv") || command.contains(&"json"),
            "{command:?}"
        );
    }
    assert_eq!(verify(&good).status, 200, "after a flush");
    verify(&bad).assert_not_valid("Token is blacklisted");
    let left = database.count(&format!("{BLACKLISTED} b JOIN {OUTSTANDING} o ON o.id = b.token_id"));
    assert_eq!(left, database.count(BLACKLISTED), "nothing stands alone");
    let output = server.cli(&["blacklist", "no-instant"]);
    assert!(output.success(), "{output:?}");
}

/// A handle with a clock that the test sets, on a database of its own.
struct Clocked {
    _directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    jwt: Simplejwt,
}

/// The present of these tests: late enough to be believed.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000, 0).expect("an instant")
}

impl Clocked {
    async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut settings = Settings::default();
        settings.signing_key = Some(Secret::new(str::from_utf8(KEY).expect("ASCII")));
        settings.database_url = Some(format!("sqlite:///{}", directory.path().join("tokens.sqlite3").display()));
        change(&mut settings);
        let clock = Arc::new(ManualClock::at(start()));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let jwt = Simplejwt::builder(settings).clock(shared).open(OpenMode::Serve).await.expect("a handle");
        Self { _directory: directory, clock, jwt }
    }

    fn set(&self, seconds_from_start: i64) {
        self.clock.advance((start() - self.clock.now()).num_seconds() + seconds_from_start);
    }

    async fn flush(&self, force: bool) -> Result<FlushReport, FlushError> {
        let options = FlushOptions { force, ..FlushOptions::default() };
        self.jwt.flush_expired_tokens(&options, &AtomicBool::new(false), |_| ()).await
    }

    async fn revoked(&self) -> String {
        let token = self.jwt.issue(Issue::refresh("1")).await.expect("a token").text;
        let verified = self.jwt.verify(&token).await.expect("a good token");
        let actor = Actor { who: "test".into(), via: Via::Library, address: None };
        self.jwt.revoke(vec![Target::from(verified)], None, actor).await.expect("revoked");
        token
    }

    async fn is_revoked(&self, token: &str) -> bool {
        matches!(self.jwt.verify(token).await, Err(Refusal::Blacklisted))
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}

// Fault 43.
#[test]
fn a_clock_that_was_set_back_stops_the_flush() {
    run(async {
        let it = Clocked::new(|_| ()).await;
        let token = it.revoked().await;
        for back in [-31, -3600, -2 * 86_400, -30 * 86_400] {
            it.set(back);
            let refused = it.flush(false).await;
            assert!(matches!(refused, Err(FlushError::ClockBehind { .. })), "{back}: {refused:?}");
        }
        it.set(-29);
        assert!(it.flush(false).await.is_ok(), "within the skew that the settings allow");
        it.set(0);
        assert!(it.is_revoked(&token).await);
    });
}

#[test]
fn the_machine_s_clock_never_runs_backwards_within_a_process() {
    let clock = SystemClock::default();
    let mut latest = clock.now();
    for _ in 0..10_000 {
        let now = clock.now();
        assert!(now >= latest);
        latest = now;
    }
}

// Fault 44.
#[test]
fn a_clock_that_jumped_forward_makes_the_flush_forget_nothing() {
    run(async {
        let it = Clocked::new(|settings| settings.refresh_token_lifetime = "30d".parse().expect("a length")).await;
        let token = it.revoked().await;
        for forward in [2 * 86_400, 60 * 86_400, 3650 * 86_400] {
            it.set(forward);
            let report = it.flush(false).await.expect("a report");
            assert!(report.clock_ahead.is_some(), "{report:?}");
            assert_eq!(report.flushed.total(), 0, "{report:?}");
            it.set(0);
            assert!(it.is_revoked(&token).await, "after a jump of {forward} s and a flush");
        }
    });
}

#[test]
fn whoever_forces_the_flush_is_obeyed() {
    run(async {
        let it = Clocked::new(|_| ()).await;
        it.revoked().await;
        it.set(86_400 + 59);
        assert_eq!(it.flush(true).await.expect("a report").flushed.blacklisted, 0, "not before its last moment");
        it.set(86_400 + 61);
        assert_eq!(it.flush(true).await.expect("a report").flushed.blacklisted, 1);
    });
}

// Fault 45.
#[test]
fn a_clock_that_is_plainly_wrong_decides_nothing() {
    run(async {
        let it = Clocked::new(|_| ()).await;
        let good = it.jwt.issue(Issue::refresh("1")).await.expect("a token").text;
        let revoked = it.revoked().await;
        for at in [0, 30, -1, -86_400, -100_000_000_000, 1_767_225_599] {
            it.set(at - start().timestamp());
            for token in [&good, &revoked] {
                let verdict = it.jwt.verify(token).await;
                assert!(matches!(verdict, Err(Refusal::Unavailable(_))), "at {at}: {verdict:?}");
            }
            let issued = it.jwt.issue(Issue::refresh("1")).await;
            assert!(matches!(issued, Err(Refusal::Unavailable(_))), "at {at}: {issued:?}");
            assert!(it.flush(true).await.is_err(), "at {at}");
            assert_eq!(it.jwt.health().await, Health::Unready, "at {at}");
            assert!(it.jwt.status().await.is_ok_and(|status| !status.warnings.is_empty()), "at {at}");
        }
        it.set(0);
        assert!(it.jwt.verify(&good).await.is_ok() && it.is_revoked(&revoked).await, "and when it is right again");
    });
}

// Fault 46: two nodes whose clocks differ take the same tokens but for the leeway.
#[test]
fn clocks_that_differ_differ_by_the_skew_and_no_more() {
    run(async {
        let it = Clocked::new(|settings| settings.leeway = "60s".parse().expect("a length")).await;
        it.set(90);
        let ahead = it.jwt.issue(Issue::refresh("1")).await.expect("a token").text;
        it.set(30);
        assert!(it.jwt.verify(&ahead).await.is_ok(), "issued a minute from now, with a leeway of a minute");
        it.set(29);
        assert!(matches!(it.jwt.verify(&ahead).await, Err(Refusal::Token(_))), "and a second more");
        let token =
            it.jwt.issue(Issue::access("1").lifetime("10s".parse().expect("a length"))).await.expect("a token").text;
        it.set(29 + 10 + 59);
        assert!(it.jwt.verify(&token).await.is_ok());
        it.set(29 + 10 + 60);
        assert!(matches!(it.jwt.verify(&token).await, Err(Refusal::Token(_))));
    });
}

// Cases 65 and 66 of the attack list, with a clock: a flush revives nothing.
#[test]
fn no_flush_revives_a_token() {
    run(async {
        let it = Clocked::new(|settings| settings.leeway = "30s".parse().expect("a length")).await;
        let refresh = it.revoked().await;
        let sliding = it.jwt.issue(Issue::sliding("1")).await.expect("a token").text;
        it.set(240);
        let renewed = it.jwt.slide(&sliding).await.map(|issued| issued.text);
        // There is no user 1 here; a sliding token of nobody in particular is not renewed.
        assert!(renewed.is_err(), "{renewed:?}");
        let verified = it.jwt.verify(&sliding).await.expect("a good token");
        let actor = Actor { who: "test".into(), via: Via::Library, address: None };
        it.jwt.revoke(vec![Target::from(verified)], None, actor).await.expect("revoked");
        // Step by step over the end of each, with a flush that believes the clock at every step.
        for at in [299, 300, 329, 330, 391, 3600, 86_399, 86_400, 86_429] {
            it.set(at);
            it.flush(true).await.expect("a report");
            let verdict = it.jwt.verify(&sliding).await;
            assert!(verdict.is_err(), "the sliding token at {at}");
            assert!(it.jwt.slide(&sliding).await.is_err(), "its renewal at {at}");
            assert!(it.is_revoked(&refresh).await, "the refresh token at {at}");
        }
        for at in [86_430, 86_489, 86_491, 200_000] {
            it.set(at);
            it.flush(true).await.expect("a report");
            for token in [&sliding, &refresh] {
                assert!(it.jwt.verify(token).await.is_err(), "at {at}");
            }
        }
        let left = it.flush(true).await.expect("a report");
        assert_eq!(left.flushed.blacklisted, 0, "all gone by now");
    });
}

// Fault 58: a hundred writers wait for a lock that is not given up; whoever does not write is not kept waiting.
#[test]
fn writers_that_wait_hold_up_nobody_else() {
    let server = Server::new().start();
    let tokens: Vec<_> = (0..100).map(|_| claims("refresh")).collect();
    let mut lock = server.database();
    lock.execute("BEGIN IMMEDIATE");
    for token in &tokens {
        lock.record_as_django(token);
    }
    lock.execute("COMMIT");
    lock.execute("BEGIN IMMEDIATE");
    let (port, client, good) = (server.port(), server.client(), claims("access").sign());
    thread::scope(|scope| {
        let writers: Vec<_> = tokens
            .iter()
            .map(|token| scope.spawn(move || attempt(port, BLACKLIST, &json!({"refresh": token.sign()}))))
            .collect();
        while !writers.iter().all(thread::ScopedJoinHandle::is_finished) {
            let start = Instant::now();
            assert_eq!(client.get("/health/live", None).status, 200);
            assert_eq!(client.get(WHOAMI, Some(&good)).status, 200);
            assert_eq!(client.get(WHOAMI, Some("x")).status, 401);
            assert!(start.elapsed() < Duration::from_secs(2), "readers wait for writers: {:?}", start.elapsed());
            thread::sleep(Duration::from_millis(20));
        }
        for writer in writers {
            let (status, _) = writer.join().expect("a thread").expect("an answer");
            assert_eq!(status, 503);
        }
    });
    assert_eq!(lock.count(BLACKLISTED), 0);
    lock.execute("ROLLBACK");
    for token in &tokens {
        client.post_json(BLACKLIST, &json!({"refresh": token.sign()})).assert(200, &json!({}));
    }
}
