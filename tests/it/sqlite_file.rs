//! What only a database in a file can meet: the file is missing, no database, replaced, or has no room.

use serde_json::json;

use crate::cli_exit_codes::{COMMANDS, ends};
use crate::support::attack::{Spawned, VERIFY, WHOAMI};
use crate::support::database::{Database, OUTSTANDING, TestDatabase};
use crate::support::mint::{claims, jti};
use crate::support::server::{Server, run};
use crate::support::unique;

const BLACKLIST: &str = "/api/token/blacklist/";

#[test]
fn a_database_or_tables_that_are_not_there_are_2_and_nothing_is_made() {
    let server = Server::new();
    for command in COMMANDS {
        ends(&server.cli(command), 2, "there is no database at");
    }
    assert!(!server.database_path().exists());
    std::fs::write(server.database_path(), "").expect("an empty file");
    for command in COMMANDS.iter().filter(|command| **command != ["migrate", "--check"]) {
        ends(&server.cli(command), 2, "simplejwt migrate");
    }
    ends(&server.cli(&["migrate", "--check"]), 1, "simplejwt migrate");
    std::fs::write(server.database_path(), "no database at all, only text".repeat(100)).expect("a file");
    for command in COMMANDS {
        ends(&server.cli(command), 2, "is not an SQLite database");
    }
}

// Case 114.
#[test]
fn what_is_no_database_is_not_written_to() {
    let server = Server::new();
    let jti = unique("x");
    let elsewhere = |name: &str| format!("sqlite:///{}", server.directory().join(name).display());
    std::fs::write(server.directory().join("text"), "no database".repeat(1000)).expect("write");
    std::fs::write(server.directory().join("empty"), "").expect("write");
    std::fs::create_dir(server.directory().join("directory")).expect("make a directory");
    for name in ["missing", "text", "empty", "directory", "no/such/directory"] {
        let output = server.cli(&["--database-url", &elsewhere(name), "blacklist", &jti]);
        assert!(matches!(output.code(), 2 | 75), "{name}: {output:?}");
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{name}: {output:?}");
    }
    assert!(!server.directory().join("missing").exists(), "no database was made");
    let mut empty = Database::open(&TestDatabase::file(&server.directory().join("empty")));
    assert_eq!(empty.count("sqlite_master"), 0, "no table was made");
}

#[test]
fn the_database_is_that_of_the_flag_the_variable_the_settings_the_other_variable() {
    let server = Server::new();
    let named = |name: &str| format!("sqlite:///{}", server.directory().join(name).display());
    for name in ["flag", "variable", "other"] {
        assert!(server.cli(&["--database-url", &named(name), "migrate"]).success());
    }
    assert!(server.cli(&["migrate"]).success());
    let used = |server: &Server, flag: Option<&str>, variable: Option<&str>, other: Option<&str>| {
        let mut command = server.command();
        command.args(["--format", "json", "status"]);
        if let Some(name) = flag {
            command.args(["--database-url", &named(name)]);
        }
        command.envs(variable.map(|name| ("SIMPLEJWT_DATABASE_URL", named(name))));
        command.envs(other.map(|name| ("DATABASE_URL", named(name))));
        let output = run(command, "");
        if output.success() {
            output.json()["database"].as_str().expect("a database").to_owned()
        } else {
            output.stderr
        }
    };
    assert!(used(&server, Some("flag"), Some("variable"), Some("other")).ends_with("/flag"));
    assert!(used(&server, None, Some("variable"), Some("other")).ends_with("/variable"));
    assert!(used(&server, None, None, Some("other")).ends_with("/tokens.sqlite3"));
    let silent = Server::new().unset("database_url");
    assert!(used(&silent, None, None, Some("other")).ends_with("/other"));
    assert!(
        used(&silent, None, None, None).contains("sqlite://simplejwt.sqlite3"),
        "relative to the working directory"
    );
}

// Fault 3, with a limit on the size of files instead of a full disk.
#[test]
fn without_space_nothing_is_acknowledged_and_nothing_lost() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let tokens: Vec<_> = (0..400).map(|_| claims("refresh")).collect();
    let mut database = server.database();
    database.begin();
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

/// What an operator does who restores a backup and forgets to stop the server: the file is another one from then on. A
/// revocation that lands in it must count, and none may land in the file that is gone.
#[test]
fn a_server_notices_that_its_database_file_was_replaced() {
    let server = Server::with_ada();
    let (first, second) = (server.login("ada"), server.login("ada"));
    let path = server.database_path();
    let copy = path.with_extension("copy");
    server.database().execute(&format!("VACUUM INTO '{}'", copy.display()));
    for ending in ["-wal", "-shm"] {
        let mut beside = path.clone().into_os_string();
        beside.push(ending);
        std::fs::remove_file(beside).expect("the file beside");
    }
    std::fs::rename(&copy, &path).expect("the copy in its place");

    let output = server.cli(&["blacklist", &jti(&first.refresh)]);
    assert!(output.success(), "{output:?}");
    assert_eq!(server.client().get(WHOAMI, Some(&first.access)).status, 401, "blacklisted in the new file");
    server.client().post_json(BLACKLIST, &json!({"refresh": second.refresh})).assert(200, &json!({}));
    assert!(server.database().is_blacklisted(&jti(&second.refresh)), "and not in the old one");
}
