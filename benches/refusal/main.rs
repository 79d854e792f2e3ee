//! From the end of `simplejwt blacklist` to the first refusal by a server that has the blacklist in memory.
//!
//! `TEST_DATABASE=URL cargo bench --features postgres,mysql --bench refusal [-- COUNT [SETTING=VALUE]…]`
//!
//! `TEST_DATABASE` is a server without a database, such as `scripts/throwaway` gives it; without one it is SQLite.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints, and stops where something is wrong"
)]

#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::mint::claims;
use support::server::Server;

/// How often the server is asked.
const ASKED: Duration = Duration::from_millis(1);

/// What is too long whatever is set.
const LIMIT: Duration = Duration::from_secs(30);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let count: usize = arguments.next().map_or(200, |count| count.parse().expect("how many"));
    let mut server = Server::new().set("blacklist", r#""cached""#);
    for setting in arguments {
        let (name, value) = setting.split_once('=').expect("SETTING=VALUE");
        server = server.set(name, value);
    }
    let server = server.start_with_ada();
    let mut times: Vec<f64> = (0..count).map(|_| measure(&server)).collect();
    times.sort_by(f64::total_cmp);
    let at = |hundredths: usize| times[(times.len() - 1) * hundredths / 100];
    println!(
        "{:?}, {count} revocations: from the end of the command to the first refusal, in ms",
        server.test_database().kind()
    );
    println!("least {:.1}   p50 {:.1}   p90 {:.1}   p99 {:.1}   most {:.1}", at(0), at(50), at(90), at(99), at(100));
    println!("a negative time: the server refused before the command had ended");
}

/// Milliseconds.
fn measure(server: &Server) -> f64 {
    let token = claims("access").with("user_id", server.user_id("ada"));
    let text = token.sign();
    let status = || server.client().get("/api/token/whoami/", Some(&text)).status;
    assert_eq!(status(), 200, "good before it is revoked");
    // At any time between two looks of the server at the log: the last refusal came right after one.
    thread::sleep(Duration::from_millis(u64::from(uuid::Uuid::new_v4().as_bytes()[0])));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let begun = Instant::now();
            while begun.elapsed() < LIMIT && !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                if status() == 401 {
                    return Instant::now();
                }
                thread::sleep(ASKED.saturating_sub(asked.elapsed()));
            }
            panic!("not refused within {LIMIT:?}");
        });
        let mut command = server.command();
        command.args(["blacklist", token.jti(), "--expires-at", "2099-01-01T00:00:00Z", "--quiet"]);
        let ended =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("run the command");
        let at = Instant::now();
        if !ended.success() {
            over.store(true, Ordering::Relaxed);
        }
        assert!(ended.success(), "{ended}");
        let refused = asking.join().expect("a refusal");
        let later = refused.saturating_duration_since(at).as_secs_f64();
        (later - at.saturating_duration_since(refused).as_secs_f64()) * 1000.0
    })
}
