//! A guarded route with each of the blacklists, against the same Rocket route with a bare `jsonwebtoken::decode`, and against one
//! without any check. With the feature `redis` also with a Redis, which is a server of the bench's own on this machine.
//!
//! `cargo bench --features redis --bench guard`; `scripts/instructions` counts instructions with it.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]

#[path = "support/guarded.rs"]
mod guarded;
mod support;

use std::path::Path;
use std::time::Duration;
use std::{env, io};

use guarded::{Application, Redis, fill};
use rocket_simplejwt::settings::BlacklistKind;
use support::{Candidate, interleave, interleave_cpu};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", folder, revoked] => fill(Path::new(folder), number(revoked)),
        ["count", folder, blacklist, revoked] => count(Path::new(folder), blacklist, number(revoked)),
        _ => compare(),
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// All in one run: by processor time, and how long an answer takes.
fn compare() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let application = |blacklist, revoked| Application::new(folder.path(), blacklist, revoked, None);
    let few = application(BlacklistKind::Cached, 0);
    let some = application(BlacklistKind::Cached, 1_000_000);
    let many = application(BlacklistKind::Cached, 10_000_000);
    let asking = [0, 1_000_000].map(|revoked| application(BlacklistKind::Database, revoked));
    let redis = cfg!(feature = "redis").then(Redis::start);
    let shared = redis.as_ref().map(|it| Application::new(folder.path(), BlacklistKind::Redis, 0, Some(&it.url)));
    let candidates = || {
        let mut candidates = vec![
            Candidate::new("jsonwebtoken::decode, no revocation", || few.ask("/bare")),
            Candidate::new("\"cached\", nothing is revoked", || few.ask("/guarded")),
            Candidate::new("\"cached\", 1 million revoked", || some.ask("/guarded")),
            Candidate::new("\"cached\", 10 million revoked", || many.ask("/guarded")),
            Candidate::new("\"database\" on SQLite, nothing is revoked", || asking[0].ask("/guarded")),
            Candidate::new("\"database\" on SQLite, 1 million revoked", || asking[1].ask("/guarded")),
            Candidate::new("no check at all", || few.ask("/open")),
        ];
        candidates.extend(
            shared.as_ref().map(|shared| Candidate::new("\"redis\" on this machine", || shared.ask("/guarded"))),
        );
        candidates
    };
    interleave_cpu("one request, without its network: processor time", candidates(), 31, Duration::from_millis(100));
    interleave("one request, without its network: until the answer", candidates(), 31, Duration::from_millis(100));
    let believed = shared.is_none_or(|shared| shared.is_ready(BlacklistKind::Redis, 0));
    assert!(believed, "Redis did not answer to the end");
}

/// For `scripts/instructions`: each line on the standard input is a path and how often it is to be asked for; when that is done,
/// a line is printed, `done` or `again`.
fn count(folder: &Path, blacklist: &str, revoked: u64) {
    let redis = (blacklist == "redis").then(Redis::start);
    let kind = match blacklist {
        "cached" => BlacklistKind::Cached,
        "database" => BlacklistKind::Database,
        _ => BlacklistKind::Redis,
    };
    let application = Application::new(folder, kind, revoked, redis.as_ref().map(|redis| redis.url.as_str()));
    println!("ready");
    for line in io::stdin().lines() {
        let line = line.expect("a line");
        let (path, requests) = line.split_once(' ').expect("a path and a number");
        (0..number(requests)).for_each(|_| application.ask(path));
        // An answer of Redis may take too long where a program is watched by another: then it was the ledger that decided.
        let decided = application.is_ready(kind, revoked);
        if !decided {
            application.wait_until_ready(kind, revoked);
        }
        println!("{}", if decided { "done" } else { "again" });
    }
}
