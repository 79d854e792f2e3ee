//! `users …` and `keys …`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::mint::header;
use crate::support::server::{PASSWORD, Server};

#[test]
fn a_user_comes_changes_and_goes() {
    let server = Server::with_ada();
    let login = |password: &str| {
        server.client().post_json("/api/token/", &json!({"username": "ada", "password": password})).status
    };
    assert_eq!(login(PASSWORD), 200);
    let output = server.cli_stdin(&["users", "passwd", "ada"], " with spaces \n");
    assert_eq!(output.code(), 0, "{output:?}");
    assert_eq!((login(PASSWORD), login("with spaces"), login(" with spaces ")), (401, 401, 200));
    let row = server.cli(&["users", "disable", "ada", "--format", "json"]).json();
    assert_eq!((&row["username"], &row["is_active"]), (&json!("ada"), &json!(false)));
    assert_eq!(login(" with spaces "), 401);
    assert!(server.cli(&["users", "enable", "ada"]).success());
    assert_eq!(login(" with spaces "), 200);
    assert!(server.cli(&["users", "remove", "ada", "--yes"]).success());
    assert_eq!(login(" with spaces "), 401);
    assert_eq!(server.cli(&["users", "list", "--format", "json"]).json(), json!([]));
}

#[test]
fn users_are_listed_without_their_passwords() {
    let server = Server::new();
    let added = server
        .cli_stdin(&["users", "add", "bob", "--email", "bob@example.org", "--staff", "--format", "json"], "secret\n");
    assert_eq!(added.code(), 0, "{added:?}");
    let row = added.json();
    assert_eq!((&row["id"], &row["email"], &row["is_staff"]), (&json!(1), &json!("bob@example.org"), &json!(true)));
    server.add_user("ada", "secret");
    for format in ["table", "json", "csv"] {
        let output = server.cli(&["users", "list", "--format", format]);
        assert!(output.stdout.contains("bob@example.org") && output.stdout.contains("ada"), "{output:?}");
        assert!(!output.stdout.contains("argon2"), "{output:?}");
    }
    let page = server.cli(&["users", "list", "--limit", "1", "--after", "1", "--format", "json"]).json();
    assert_eq!(page[0]["username"], "ada");
}

#[test]
fn a_password_is_never_taken_from_the_command_line() {
    let server = Server::new();
    for command in ["add", "passwd"] {
        let output = server.cli(&["users", command, "ada", "hunter2"]);
        assert_eq!(output.code(), 2, "{output:?}");
        assert!(output.stderr.contains("standard input") && !output.stderr.contains("hunter2"), "{output:?}");
    }
    assert!(!server.has_database());
    for (input, why) in
        [("", "empty"), ("\n", "empty"), (&"x".repeat(1025)[..], "1024"), (&"x".repeat(1 << 20)[..], "too long")]
    {
        let output = server.cli_stdin(&["users", "add", "ada"], input);
        assert_eq!(output.code(), 2, "{output:?}");
        assert!(output.stderr.contains(why), "{why}: {output:?}");
    }
    for name in ["", " ada", "a\u{1}b", &"x".repeat(151)] {
        assert_eq!(server.cli_stdin(&["users", "add", name], "secret\n").code(), 2, "{name:?}");
    }
}

#[test]
fn a_key_is_written_for_its_owner_alone_and_serves() {
    for algorithm in ["HS256", "HS512", "PS256", "ES256", "ES384", "EdDSA"] {
        let server = Server::new().unset("signing_key").set("algorithm", &format!("{algorithm:?}"));
        let output = server.cli(&["keys", "generate", "--algorithm", algorithm, "--out", "token.key"]);
        assert_eq!(output.code(), 0, "{output:?}");
        let file = server.directory().join("token.key");
        let mode = std::fs::metadata(&file).expect("the key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut server = server;
        server.change("signing_key_file", "\"token.key\"");
        assert!(server.cli(&["migrate"]).success());
        let token = server.cli(&["issue", "--user", "1"]).stdout;
        assert_eq!(header(token.trim())["alg"], algorithm);
        assert_eq!(server.cli_stdin(&["verify"], &token).code(), 0);
        let listed = server.cli(&["keys", "list", "--format", "json"]).json();
        assert_eq!((&listed[0]["algorithm"], &listed[0]["setting"]), (&json!(algorithm), &json!("signing_key_file")));
        assert_eq!(listed.as_array().map(Vec::len), Some(1));
    }
    let printed = [(); 2].map(|()| Server::new().cli(&["keys", "generate"]).stdout);
    assert_eq!(printed[0].trim().len(), 128);
    assert_ne!(printed[0], printed[1]);
}

#[test]
fn keys_are_listed_by_name_and_never_shown() {
    let server = Server::new()
        .set("signing_key_id", "\"new\"")
        .set("verifying_keys", "[{ kid = \"old\", algorithm = \"HS384\", key = \"an older secret of at least forty-eight bytes, is it not\" }]");
    let output = server.cli(&["keys", "list"]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(output.stdout.contains("new") && output.stdout.contains("verifying_keys[0]"), "{output:?}");
    assert!(!output.stdout.contains("older secret") && !output.stdout.contains("kY3vW8"), "{output:?}");
    assert_eq!(Server::new().unset("signing_key").cli(&["keys", "list"]).code(), 2);
}
