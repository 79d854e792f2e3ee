//! `serve`, its key, its demo; and which database and settings count.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::database::Kind;
use crate::support::server::{Server, run};

#[test]
fn one_line_on_standard_output_says_where_and_a_signal_ends_it_well() {
    let mut server = Server::with_ada();
    assert_eq!(server.client().get("/health/live", None).status, 200);
    let log = server.log();
    assert_eq!(log.matches("listening on http://127.0.0.1:").count(), 1, "{log}");
    assert!(!log.contains("Rocket has launched"), "{log}");
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn the_demo_works_as_pasted_and_leaves_nothing_behind() {
    let server = Server::new();
    let mut command = server.command();
    let temporary = server.directory().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    command.args(["serve", "--demo", "--port", "0"]).env("TMPDIR", &temporary);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start the demo");
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("a piped output")).lines() {
        lines.push(line.expect("text"));
        if lines.last().is_some_and(|line| line.starts_with("Ctrl-C")) {
            break;
        }
    }
    assert!(lines[0].starts_with("listening on http://127.0.0.1:"), "{lines:?}");
    let pasted: Vec<_> = lines.iter().filter(|line| line.contains("curl ")).cloned().collect();
    assert_eq!(pasted.len(), 4, "{lines:?}");
    let left: Vec<PathBuf> =
        std::fs::read_dir(&temporary).expect("it").map(|entry| entry.expect("one").path()).collect();
    assert_eq!(left.len(), 1);

    let mut shell = Command::new("sh");
    // The second line once more, after the session has ended.
    shell.arg("-c").arg([&pasted[..], &pasted[1..2]].concat().join("\n"));
    let output = run(shell, "");
    let answers: Vec<serde_json::Value> =
        output.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), 5, "{output:?}");
    assert!(answers[0]["access"].is_string() && answers[2]["refresh"].is_string(), "{answers:?}");
    assert_eq!((&answers[1]["token_type"], &answers[3]), (&json!("access"), &json!({})));
    assert_eq!(answers[4]["code"], "token_not_valid");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill").success());
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    assert_eq!(std::fs::read_dir(&temporary).expect("it").count(), 0, "the directory of the demo is gone");
}

#[test]
fn migrate_says_what_it_did_and_takes_it_back() {
    let server = Server::new();
    let first = server.cli(&["migrate"]);
    assert!(first.success() && first.stdout.contains("applied 2026-11-21-000001_tokens"), "{first:?}");
    let second = server.cli(&["migrate", "--format", "json"]);
    assert_eq!((second.code(), second.json()), (0, json!([])));
    let steps = server.cli(&["migrate", "--status", "--format", "json"]).json();
    assert!(steps.as_array().is_some_and(|steps| steps.iter().all(|step| step["applied"] == true)), "{steps}");
    assert!(server.cli(&["migrate", "--check"]).success());
    let kept = server.cli_stdin(&["migrate", "--remove"], "");
    assert_eq!(kept.code(), 2, "{kept:?}");
    assert_eq!(server.cli_stdin(&["migrate", "--remove"], "no\n").code(), 1);
    assert!(server.cli(&["status"]).success());
    assert!(server.cli_stdin(&["migrate", "--remove"], "y\n").success());
    assert_eq!(server.cli(&["status"]).code(), 2);
    assert_eq!(server.cli(&["migrate", "--check"]).code(), 1);
    let typed = server.cli(&["migrate", "--user-key", "integer"]);
    assert_eq!(typed.code(), 0, "{typed:?}");
    assert_eq!(server.cli(&["migrate", "--user-key", "uuid"]).code(), 2, "the column is there");
}

/// The last step of the tables is taken back, so that they are those of the version before.
fn undo_last_step(server: &Server) {
    let mut database = server.database();
    let folder = match server.test_database().kind() {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
        Kind::Mysql => "mysql",
    };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let steps = std::fs::read_dir(folder).expect("the steps").map(|entry| entry.expect("one").path());
    let last = steps.max().expect("a step");
    database.execute(&std::fs::read_to_string(last.join("down.sql")).expect("how it is taken back"));
    let versions = database.strings("SELECT version FROM __diesel_schema_migrations ORDER BY version");
    let version = versions.last().expect("a version");
    database.execute(&format!("DELETE FROM __diesel_schema_migrations WHERE version = '{version}'"));
}

// Fault 26.
#[test]
fn older_tables_are_left_alone_unless_the_settings_say_otherwise() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let newest = server.database().dump();
    undo_last_step(&server);
    let (tables, before) = (server.test_database().connect().tables(), server.database().dump());
    let output = server.cli(&["serve", "--port", "0"]);
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(output.stderr.contains("older") && output.stderr.contains("simplejwt migrate"), "{output:?}");
    assert_eq!((server.test_database().connect().tables(), server.database().dump()), (tables, before));

    let server = server.set("migrate", "true").start_with_ada();
    server.login("ada");
    let versions = |dump: &str| {
        let lines = dump.lines().filter(|line| line.starts_with("__diesel_schema_migrations.version"));
        lines.map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(versions(&server.database().dump()), versions(&newest));
}
