//! The helpers of these tests, on the database of this run: a helper that counts wrongly would make other tests pass.

use crate::support::database::{Database, TestDatabase, instant};
use crate::support::now;
use crate::support::server::Server;

fn server() -> Server {
    let server = Server::new();
    if server.test_database().url().starts_with("sqlite:") {
        std::fs::write(server.database_path(), "").expect("an empty file");
    }
    server.database().execute("CREATE TABLE thing (id integer PRIMARY KEY, name varchar(20), at timestamp NULL)");
    server
}

#[test]
fn rows_are_counted_ordered_and_read_as_text() {
    let server = server();
    let mut database = server.database();
    let at = now();
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)";
    let insert =
        format!("INSERT INTO thing (id, name, at) {numbers} SELECT i, concat('x-', i), '{}' FROM n", instant(at));
    assert_eq!(database.execute(&insert), 2500);
    assert_eq!(database.execute("UPDATE thing SET name = NULL WHERE id <= 3"), 3);
    assert_eq!(database.execute("UPDATE thing SET name = NULL WHERE id <= 3"), 3, "found, although not changed");
    assert_eq!(database.execute("DELETE FROM thing WHERE id > 9999"), 0);
    assert_eq!(database.count("thing WHERE name IS NULL"), 3);
    let named = "SELECT name FROM thing WHERE id < 6 OR id > 2498 ORDER BY id DESC";
    let expected = [Some("x-2500"), Some("x-2499"), Some("x-5"), Some("x-4"), None, None, None];
    assert_eq!(database.column(named), expected.map(|name| name.map(str::to_owned)));
    let seconds = database.seconds("at");
    assert_eq!(database.number(&format!("SELECT max({seconds}) FROM thing")), at);
    assert!(database.dump().contains("thing.name=x-77\n"));
    assert!(database.try_execute("INSERT INTO thing (id) VALUES (1)").is_err());
}

#[test]
fn a_write_of_somebody_else_is_noticed_and_a_look_is_none() {
    let server = server();
    let (mut database, mut other) = (server.database(), server.database());
    let before = database.version();
    assert_eq!(other.count("thing"), 0);
    assert_eq!(database.version(), before);
    other.execute("INSERT INTO thing (id, name) VALUES (1, 'a')");
    let after = database.version();
    assert_ne!(after, before);
    other.execute("UPDATE thing SET name = 'b'");
    assert_ne!(database.version(), after);
}

#[test]
fn whoever_is_kept_out_waits_and_readers_do_not() {
    let server = server();
    let (mut lock, mut other) = (server.database(), server.database());
    lock.execute("INSERT INTO thing (id, name) VALUES (1, 'a')");
    lock.begin();
    lock.execute("INSERT INTO thing (id, name) VALUES (2, 'b')");
    assert_eq!(other.count("thing"), 1);
    lock.execute("COMMIT");
    lock.keep_writers_out();
    assert_eq!(other.count("thing"), 2);
    let waited = std::thread::scope(|scope| {
        let writers = [
            "INSERT INTO thing (id) VALUES (3)",
            "UPDATE thing SET name = 'c' WHERE id = 1",
            "DELETE FROM thing WHERE id = 2",
        ]
        .map(|sql| {
            let mut writer = server.database();
            scope.spawn(move || assert_eq!(writer.execute(sql), 1))
        });
        // Time in which a writer that is not kept out would be done.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let waited = writers.each_ref().map(|writer| !writer.is_finished());
        lock.let_writers_in();
        for writer in writers {
            writer.join().expect("a writer");
        }
        waited
    });
    assert_eq!(waited, [true; 3]);
    assert_eq!(other.column("SELECT name FROM thing ORDER BY id"), [Some("c".to_owned()), None]);
}

#[test]
fn a_database_goes_when_it_is_dropped_and_shows_no_password() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = TestDatabase::new(directory.path());
    let (url, shown) = (first.url(), first.to_string());
    if let Some(password) = first.password() {
        assert!(!shown.contains(password) && shown.contains(":***@"), "{shown}");
    }
    assert!(shown.ends_with(url.split('?').next().and_then(|url| url.rsplit('/').next()).expect("a name")), "{shown}");
    let server = server();
    let (name, mut held) = (server.test_database().to_string(), server.database());
    held.begin();
    held.count("thing");
    if url.starts_with("sqlite:") {
        let path = server.database_path();
        drop(server);
        assert!(!path.exists());
    } else {
        let all = if url.starts_with("mysql:") {
            "SELECT schema_name FROM information_schema.schemata"
        } else {
            "SELECT datname FROM pg_database"
        };
        let mut other = Database::open(&first);
        let mut is_there = || other.strings(all).iter().any(|known| name.ends_with(known));
        assert!(is_there());
        drop(server);
        assert!(!is_there(), "although somebody is connected to it");
    }
}
