//! The file of the database is removed, or exchanged for another one, under a process that has everything in memory.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::database::{Database, TestDatabase};
use crate::support::mint::jti;
use crate::support::server::{Pair, Server};

const SOON: Duration = Duration::from_secs(15);

fn whoami(server: &Server, token: &str) -> u16 {
    server.client().get("/api/token/whoami/", Some(token)).status
}

fn blacklist(server: &Server, pair: &Pair) {
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
}

/// The file and what SQLite keeps beside it.
fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|ending| PathBuf::from(format!("{}{ending}", path.display())))
}

fn rename(from: &Path, to: &Path) {
    for (from, to) in files(from).iter().zip(files(to)) {
        if from.exists() {
            std::fs::rename(from, to).expect("rename a file");
        }
    }
}

/// Puts one file in place of another, with nothing beside it.
fn exchange(old: &Path, new: &Path) {
    for beside in &files(old)[1..] {
        drop(std::fs::remove_file(beside));
    }
    std::fs::rename(new, old).expect("rename a file");
}

/// Waits until an answer is given. A token that was revoked must not be accepted meanwhile.
#[track_caller]
fn until(server: &Server, token: &str, status: u16, revoked: &str) {
    let begun = Instant::now();
    while whoami(server, token) != status {
        assert!([401, 503].contains(&whoami(server, revoked)), "a revoked token is accepted");
        assert!(begun.elapsed() < SOON, "never {status}:\n{}", server.log());
        sleep(Duration::from_millis(20));
    }
}

// Fault 7.
#[test]
fn what_was_refused_stays_so_whatever_becomes_of_the_file() {
    let server = Server::new().set("blacklist", r#""cached""#).set("staleness_bound", r#""1s""#).start_with_ada();
    let [open, lost, before] = [(); 3].map(|()| server.login("ada"));
    blacklist(&server, &before);
    let (path, copy) = (server.database_path(), server.directory().join("copy"));
    server.database().execute(&format!("VACUUM INTO '{}'", copy.display()));
    blacklist(&server, &lost);
    assert_eq!(whoami(&server, &lost.access), 401);

    // Removed: nothing is decided, and nothing acknowledged, until it is there again.
    let away = server.directory().join("away");
    rename(&path, &away);
    until(&server, &open.access, 503, &lost.access);
    let reply = server.client().post_json("/api/token/blacklist/", &json!({ "refresh": open.refresh }));
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(!path.exists(), "no database is made in its place");
    rename(&away, &path);
    until(&server, &lost.access, 401, &lost.access);
    until(&server, &before.access, 401, &lost.access);

    // An older copy in its place: what that has lost is written back into it.
    exchange(&path, &copy);
    let begun = Instant::now();
    loop {
        assert!([401, 503].contains(&whoami(&server, &lost.access)), "a revoked token is accepted");
        let ready = server.client().get("/health/ready", None).json();
        if ready["blacklist"]["lost_rows"].as_u64() >= Some(1) {
            break;
        }
        assert!(begun.elapsed() < SOON, "{ready}\n{}", server.log());
        sleep(Duration::from_millis(20));
    }
    let sibling = server.sibling();
    until(&sibling, &lost.access, 401, &before.access);
    server.database().assert_sound();

    // Somebody else's: nothing is written into that, and what was refused stays so here.
    let other = server.directory().join("other");
    let url = format!("sqlite:///{}", other.display());
    assert!(server.cli(&["--database-url", &url, "migrate"]).success());
    let ours = server.directory().join("ours");
    rename(&path, &ours);
    std::fs::rename(&other, &path).expect("rename a file");
    let begun = Instant::now();
    while !server.log().contains("knows nothing of what it refused") {
        assert!([401, 503].contains(&whoami(&server, &lost.access)), "a revoked token is accepted");
        assert!(begun.elapsed() < SOON, "{}", server.log());
        sleep(Duration::from_millis(20));
    }
    until(&server, &lost.access, 401, &before.access);
    let mut database = Database::open(&TestDatabase::file(&path));
    assert_eq!(database.count("simplejwt_session"), 0);
    assert!(!database.is_blacklisted(&jti(&lost.refresh)));
    drop(database);

    // Ours again: what it has lost meanwhile is written back, at once and from then on.
    rename(&path, &server.directory().join("theirs"));
    rename(&ours, &path);
    let begun = Instant::now();
    while !server.log().contains("is the one again that it was before") {
        assert!([401, 503].contains(&whoami(&server, &lost.access)), "a revoked token is accepted");
        assert!(begun.elapsed() < SOON, "{}", server.log());
        sleep(Duration::from_millis(20));
    }
    until(&server, &lost.access, 401, &lost.access);
    while server.client().get("/health/ready", None).json()["status"] != json!("ready") {
        assert!(begun.elapsed() < SOON, "{}", server.log());
        sleep(Duration::from_millis(20));
    }
    let fresh = server.login("ada");
    blacklist(&server, &fresh);
    assert_eq!(whoami(&server, &fresh.access), 401);
}
