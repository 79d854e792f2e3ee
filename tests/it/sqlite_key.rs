//! The key that is made beside the database's file where none is configured.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::server::{PASSWORD, Server};

#[test]
fn a_server_without_a_key_makes_one_that_every_command_uses() {
    let server = Server::new().unset("signing_key").start();
    let log = server.log();
    assert!(log.contains("no key was configured: made one in "), "{log}");
    server.add_user("ada", PASSWORD);
    let pair = server.login("ada");
    assert_eq!(server.cli(&["verify", &pair.refresh]).code(), 0);
    let issued = server.cli(&["issue", "--user", "1"]).stdout;
    assert_eq!(server.client().get("/api/token/whoami/", Some(issued.trim())).status, 200);
    let mut server = server;
    server.restart();
    assert_eq!(server.client().get("/api/token/whoami/", Some(&pair.access)).status, 200, "the key stays");
    assert!(!server.log().contains("made one"), "{}", server.log());
    let key = server.directory().join("tokens.sqlite3.key");
    assert_eq!(std::fs::read(key).expect("the key").len(), 129);
}

#[test]
fn servers_that_start_at_once_without_a_key_agree_on_one() {
    let server = Server::new().unset("signing_key");
    let servers: Vec<_> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(|| server.sibling())).collect();
        starting.into_iter().map(|starting| starting.join().expect("a server")).collect()
    });
    server.add_user("ada", PASSWORD);
    let pair = servers[0].login("ada");
    for other in &servers {
        assert_eq!(other.client().get("/api/token/whoami/", Some(&pair.access)).status, 200);
    }
    let files = std::fs::read_dir(server.directory()).expect("the directory").count();
    assert_eq!(files, 5, "settings, database with its two helpers, key; no draft of a key is left");
}

// Case 119.
#[test]
fn a_key_that_we_make_is_nobody_else_s_from_its_first_moment_on() {
    let own = Server::new().unset("signing_key").start();
    let made = own.directory().join("tokens.sqlite3.key");
    for file in [made, own.database_path()] {
        let found = std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
        assert_eq!(found, 0o600, "{}", file.display());
    }
}
