//! `status`: the log of revocations, and how servers stand.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::database::Kind;
use crate::support::server::{Output, Server};

fn status(server: &Server, more: &[&str]) -> Output {
    server.cli(&[&["status", "--format", "json"], more].concat())
}

fn log(server: &Server) -> Value {
    status(server, &[]).json()["log"].clone()
}

fn url(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port())
}

#[test]
fn the_log_of_revocations_is_shown_as_far_as_the_database_knows() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let before = log(&server);
    assert_eq!((&before["rows"], &before["waiting"]), (&json!(0), &json!(0)), "{before}");
    assert!(before["generation"].is_string() && before["pruned_through"].is_i64(), "{before}");
    for jti in ["one", "two"] {
        assert!(server.cli(&["blacklist", jti]).success());
    }
    // On MariaDB rows wait until some server moves them.
    let after = log(&server);
    let known = after["rows"].as_u64().expect("a number") + after["waiting"].as_u64().expect("a number");
    assert!(known >= 2, "{after}");
    assert_eq!(after["faults"], json!([]), "{after}");
    let text = server.cli(&["status"]).stdout;
    let line = text.lines().find(|line| line.starts_with("log ")).unwrap_or_else(|| panic!("no log in\n{text}"));
    assert!(line.contains(&format!("up to {}", after["sequence"])) && line.contains("pruned through"), "{line}");
}

#[test]
fn what_is_wrong_with_what_feeds_the_log_is_said() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let on = if server.test_database().kind() == Kind::Postgres { " ON simplejwt_session" } else { "" };
    server.database().execute(&format!("DROP TRIGGER simplejwt_session_insert{on}"));
    let output = status(&server, &[]);
    assert!(output.success(), "{output:?}");
    let found = output.json();
    let said =
        |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|it| it.to_string().contains("missing")));
    assert!(said(&found["log"]["faults"]) && said(&found["warnings"]), "{found}");
    assert!(server.cli(&["status"]).stdout.contains("not everything reaches it"));
}

#[test]
fn servers_say_how_their_memory_stands() {
    let server = Server::new().set("blacklist", r#""cached""#).start_with_ada();
    let sibling = server.sibling();
    let pair = server.login("ada");
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
    let asked = [url(&server), format!("{}/", url(&sibling))];
    let options = ["--server", &asked[0], "--server", &asked[1]];
    let begun = Instant::now();
    loop {
        let output = status(&server, &options);
        assert!(output.success(), "{output:?}");
        let found = output.json();
        let servers = found["servers"].as_array().expect("a list").clone();
        assert_eq!(servers.len(), 2, "{found}");
        let keeps_up = |it: &Value| it["blacklist"]["sequence"].as_i64() >= found["log"]["sequence"].as_i64();
        assert_eq!((&servers[0]["url"], &servers[0]["status"]), (&json!(asked[0]), &json!("ready")));
        assert!(servers[0]["blacklist"]["entries"].as_u64() > Some(0), "{found}");
        if servers.iter().all(keeps_up) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{found}");
        sleep(Duration::from_millis(50));
    }
    let text = server.cli(&[&["status"][..], &options].concat());
    assert_eq!(text.stdout.lines().filter(|line| line.contains("ready, ") && line.contains("bytes")).count(), 2);
}

#[test]
fn a_server_that_does_not_answer_is_a_reason_to_try_again() {
    let mut server = Server::new().set("blacklist", r#""database""#).start_with_ada();
    let address = url(&server);
    let output = server.cli(&["status", "--server", &address]);
    assert!(output.success() && output.stdout.contains("ready, nothing in memory"), "{output:?}");
    server.kill9();
    let output = status(&server, &["--server", &address]);
    assert_eq!(output.code(), 75, "{output:?}");
    let asked = &output.json()["servers"][0];
    assert_eq!(asked["status"], "unreachable", "{asked}");
    assert!(asked["error"].is_string() && asked["blacklist"].is_null(), "{asked}");
    for bad in ["127.0.0.1:1", "ftp://x", "http://ada:secret@x"] {
        let output = server.cli(&["status", "--server", bad]);
        assert_eq!(output.code(), 2, "{output:?}");
    }
}
