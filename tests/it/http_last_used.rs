//! When a session was last used, without a write for each request.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::Client;
use crate::support::database::Kind;
use crate::support::held::session;
use crate::support::server::Server;

const METRICS: &str = "scrape-0123456789";

fn server(interval: &str) -> Server {
    let server = Server::new().set("metrics_token", &format!("{METRICS:?}")).env("ROCKET_IP_HEADER", "X-Real-IP");
    server.set("last_used_interval", &format!("{interval:?}")).start_with_ada()
}

fn figure(client: Client, name: &str) -> u64 {
    let text = client.get("/metrics", Some(METRICS)).text;
    let line = text.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

fn used(server: &Server, address: &str, access: &str) {
    let bearer = format!("Bearer {access}");
    let headers = [("Authorization", bearer.as_str()), ("X-Real-IP", address)];
    assert_eq!(server.client().request("GET", "/api/token/whoami/", &headers, b"").status, 200);
}

#[test]
fn many_requests_are_one_write() {
    let server = server("1s");
    let sessions: Vec<_> = (0..3).map(|_| server.login("ada").access).collect();
    let mut database = server.database();
    let text = "SELECT max(last_used_at) FROM simplejwt_session";
    let before = database.value(text).expect("an instant");
    let begun = Instant::now();
    for number in 0..100 {
        used(&server, "192.0.2.7", &sessions[number % 3]);
    }
    let written = || figure(server.client(), "simplejwt_last_used_total{fate=\"written\"}");
    while written() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is written");
        sleep(Duration::from_millis(50));
    }
    // Each session leaves one note in a second, and all of them are written together once in a second.
    let seconds = begun.elapsed().as_secs() + 2;
    assert!(written() <= 3 * seconds, "{} notes in {seconds} s", written());
    let writes = figure(server.client(), "simplejwt_last_used_writes_total");
    assert!((1..=seconds).contains(&writes), "{writes} writes in {seconds} s");
    assert_eq!(figure(server.client(), "simplejwt_last_used_total{fate=\"dropped\"}"), 0);
    assert!(database.value(text).expect("an instant") > before);
    assert_eq!(database.count("simplejwt_session WHERE address = '192.0.2.7'"), 3);
}

/// Writes down what is written about the last use of sessions, as the database sees it.
fn watch(server: &Server) {
    let mut database = server.database();
    database.execute("CREATE TABLE watched (session varchar(64), used varchar(64))");
    let row = "INSERT INTO watched VALUES (new.id, new.last_used_at)";
    let trigger = "CREATE TRIGGER watching AFTER UPDATE";
    match server.test_database().kind() {
        Kind::Sqlite => {
            database.execute(&format!("{trigger} OF last_used_at ON simplejwt_session BEGIN {row}; END"));
        }
        Kind::Postgres => {
            database.execute(&format!(
                "CREATE FUNCTION watching() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {row}; RETURN NULL; END $$"
            ));
            let each = "FOR EACH ROW EXECUTE FUNCTION watching()";
            database.execute(&format!("{trigger} OF last_used_at ON simplejwt_session {each}"));
        }
        Kind::Mysql => {
            database.execute(&format!("{trigger} ON simplejwt_session FOR EACH ROW {row}"));
        }
    }
}

#[test]
fn the_database_gets_one_write_for_each_session_and_interval() {
    let mut server = server("1s");
    let sessions: Vec<_> = (0..3).map(|_| server.login("ada").access).collect();
    watch(&server);
    let begun = Instant::now();
    let mut requests = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        used(&server, "192.0.2.7", &sessions[requests % 3]);
        requests += 1;
        sleep(Duration::from_millis(5));
    }
    let intervals = i64::try_from(begun.elapsed().as_secs()).expect("few") + 2;
    let before = figure(server.client(), "simplejwt_last_used_total{fate=\"written\"}");
    assert!(server.terminate().success());
    let mut database = server.database();
    for access in &sessions {
        let id = session(access);
        let writes = database.count(&format!("watched WHERE session = '{id}'"));
        // The first note is written within an interval of the first request, and the last at the end.
        assert!((3..=intervals).contains(&writes), "{writes} writes of {requests} requests in {intervals} s");
        let again = format!("SELECT count(*) - count(DISTINCT used) FROM watched WHERE session = '{id}'");
        assert_eq!(database.number(&again), 0, "each is of another moment");
    }
    let written = database.count("watched");
    assert!(u64::try_from(written).expect("some") >= before, "{written}, {before} of them before the end");
}

#[test]
fn what_cannot_be_written_holds_up_nobody_and_is_written_later() {
    let server = server("1s");
    let access = server.login("ada").access;
    let mut database = server.database();
    database.keep_writers_out();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        used(&server, "192.0.2.9", &access);
        assert!(asked.elapsed() < Duration::from_secs(1), "a request waited for a write: {:?}", asked.elapsed());
        sleep(Duration::from_millis(20));
    }
    assert_eq!(figure(server.client(), "simplejwt_last_used_total{fate=\"written\"}"), 0);
    database.let_writers_in();
    let noted = format!("simplejwt_session WHERE id = '{}' AND address = '192.0.2.9'", session(&access));
    let begun = Instant::now();
    while database.count(&noted) < 1 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it was given up");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_was_noted_is_written_at_the_end() {
    let mut server = server("1h");
    let access = server.login("ada").access;
    for number in 0..5 {
        used(&server, &format!("192.0.2.{number}"), &access);
    }
    let address = format!("SELECT address FROM simplejwt_session WHERE id = '{}'", session(&access));
    assert_eq!(server.database().value(&address).as_deref(), Some("127.0.0.1"), "nothing is written on a request");
    assert!(server.terminate().success());
    assert_eq!(server.database().value(&address).as_deref(), Some("192.0.2.0"), "the first request left the note");
}

#[test]
fn nothing_is_noted_where_it_is_off_or_of_a_token_that_is_refused() {
    let mut off = server("0s");
    used(&off, "192.0.2.1", &off.login("ada").access);
    assert!(off.terminate().success());
    assert_eq!(off.database().count("simplejwt_session WHERE address = '192.0.2.1'"), 0);

    let mut server = server("1h");
    let pair = server.login("ada");
    assert_eq!(server.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).status, 200);
    let bearer = format!("Bearer {}", pair.access);
    let headers = [("Authorization", bearer.as_str()), ("X-Real-IP", "192.0.2.1")];
    assert_eq!(server.client().request("GET", "/api/token/whoami/", &headers, b"").status, 401);
    assert!(server.terminate().success());
    assert_eq!(server.database().count("simplejwt_session WHERE address = '192.0.2.1'"), 0);
}

#[test]
fn addresses_are_forgotten_by_the_flush() {
    let server = Server::new().set("address_retention", "\"0s\"").start_with_ada();
    let pair = server.login("ada");
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh }));
    let known = |table: &str| server.database().count(&format!("{table} WHERE address IS NOT NULL"));
    assert_eq!((known("simplejwt_session"), known("simplejwt_event")), (1, 1));
    // What happened in the very moment in which it runs stays.
    sleep(Duration::from_millis(20));
    let report = server.cli(&["flush", "--format", "json"]).json();
    assert_eq!((&report["addresses"], &report["total"]), (&json!(2), &json!(0)), "{report}");
    assert_eq!((known("simplejwt_session"), known("simplejwt_event")), (0, 0));
    let report = server.cli(&["flush", "--format", "json"]).json();
    assert_eq!(report["addresses"], 0, "{report}");
    assert_eq!(server.database().count("simplejwt_session"), 1);
}
