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
use crate::support::database::{BLACKLISTED, TestDatabase};
use crate::support::mint::{KEY, claims};
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
        let server = Server::new().set("blacklist", "\"database\"");
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

/// A handle with a clock that the test sets, on a database of its own.
struct Clocked {
    _database: TestDatabase,
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
        let database = TestDatabase::new(directory.path());
        let mut settings = Settings::default();
        settings.signing_key = Some(Secret::new(str::from_utf8(KEY).expect("ASCII")));
        settings.database_url = Some(database.url());
        change(&mut settings);
        let clock = Arc::new(ManualClock::at(start()));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let jwt = Simplejwt::builder(settings).clock(shared).open(OpenMode::Serve).await.expect("a handle");
        Self { _database: database, _directory: directory, clock, jwt }
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
    lock.begin();
    for token in &tokens {
        lock.record_as_django(token);
    }
    lock.execute("COMMIT");
    lock.keep_writers_out();
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
    lock.let_writers_in();
    for token in &tokens {
        client.post_json(BLACKLIST, &json!({"refresh": token.sign()})).assert(200, &json!({}));
    }
}
