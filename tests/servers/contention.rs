//! Others who hold what we need: rows, tables, connections.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::database::{BLACKLISTED, Database, Kind, OUTSTANDING};
use crate::support::mint::{Claims, jti};
use crate::support::now;
use crate::throwaway::{Site, eventually, signal};
use crate::traffic::{ANSWER, Ask, RECOVERY, assert_put_off, blacklist, recorded, whoami};

/// The sessions of ours that wait for a lock.
fn waiting(database: &mut Database, kind: Kind) -> i64 {
    if kind == Kind::Postgres {
        database.count("pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'simplejwt'")
    } else {
        // It looks anew only for somebody who has not asked for a tenth of a second.
        thread::sleep(Duration::from_millis(150));
        database.count("information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
    }
}

// Fault 22.
fn no_free_connection(kind: Kind) {
    let site = Site::new(kind);
    assert_eq!(site.cli(&["migrate"]).code(), 0);
    let url = site.application();
    let site = site.set("database_url", &format!("{url:?}")).started();
    let pair = site.server.login("ada");
    let mut database = site.database();
    // Others have them all, and ours are lost.
    let others = [(); 12].map(|()| site.database());
    let (limit, free, ours, end) = if kind == Kind::Postgres {
        let ours = "SELECT pid FROM pg_stat_activity WHERE usename = 'app'";
        let limit = "ALTER ROLE app CONNECTION LIMIT 0";
        (limit, "ALTER ROLE app CONNECTION LIMIT -1", ours, "SELECT pg_terminate_backend")
    } else {
        let ours = "SELECT id FROM information_schema.processlist WHERE user = 'app'";
        ("SET GLOBAL max_connections = 10", "SET GLOBAL max_connections = 400", ours, "KILL ")
    };
    database.execute(limit);
    for id in database.strings(ours) {
        database.execute(&format!("{end}({id})"));
    }
    eventually(Duration::from_secs(5), || database.strings(ours).is_empty());
    // A connection that was used a moment ago is not asked first whether it is still there.
    thread::sleep(Duration::from_millis(1100));
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let start = Instant::now();
                assert_put_off(&Ask::Whoami(pair.access.clone()), site.server.client());
                assert!(start.elapsed() < Duration::from_millis(1800), "took {:?}", start.elapsed());
            });
        }
    });
    let output = site.cli(&["blacklist", "a"]);
    assert_eq!(output.code(), 75, "{output:?}");
    database.execute(free);
    drop(others);
    eventually(RECOVERY, || whoami(&site.server, &pair.access) == 200);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
}

// Fault 23.
fn a_deadlock_is_tried_again(kind: Kind) {
    let site = Site::with_ada(kind);
    let mut jtis = [(); 2].map(|()| jti(&site.server.login("ada").refresh));
    jtis.sort();
    let (mut other, mut watch) = (site.database(), site.database());
    if kind == Kind::Mysql {
        // The one that has written less is ended; so this one writes more.
        other.execute("CREATE TABLE heavy (x integer)");
    }
    other.begin();
    if kind == Kind::Mysql {
        let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)";
        other.execute(&format!("INSERT INTO heavy (x) {numbers} SELECT i FROM n"));
    }
    let lock = |jti: &str| format!("UPDATE simplejwt_token SET kind = kind WHERE jti = '{jti}'");
    other.execute(&lock(&jtis[1]));
    let output = thread::scope(|scope| {
        let ours = scope.spawn(|| site.cli(&["blacklist", &jtis[0], &jtis[1]]));
        eventually(Duration::from_secs(5), || waiting(&mut watch, kind) > 0);
        // Now each waits for the other, until the server ends ours.
        other.execute(&lock(&jtis[0]));
        other.execute("COMMIT");
        ours.join().expect("a command")
    });
    assert_eq!(output.code(), 0, "{output:?}");
    let mut database = site.database();
    assert!(jtis.iter().all(|jti| database.is_blacklisted(jti)));
    let deadlocks = if kind == Kind::Postgres {
        format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{}'", site.name())
    } else {
        "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'".to_owned()
    };
    eventually(Duration::from_secs(5), || database.number(&deadlocks) > 0);
    database.assert_sound();
}

/// Whoever is in the way each time is given up, after a few times and in time.
fn conflicts_without_end_are_put_off(kind: Kind) {
    let site = Site::with_ada(kind);
    let pair = site.server.login("ada");
    let mut database = site.database();
    // What counts the attempts must not be rolled back with them.
    let (conflict, attempts, peace) = if kind == Kind::Postgres {
        database.execute("CREATE SEQUENCE attempt");
        (
            format!(
                "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('attempt'); \
                 RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END $$; \
                 CREATE TRIGGER conflict BEFORE INSERT ON {BLACKLISTED} FOR EACH ROW EXECUTE FUNCTION conflict()"
            ),
            "SELECT last_value FROM attempt",
            format!("DROP TRIGGER conflict ON {BLACKLISTED}"),
        )
    } else {
        database.execute("CREATE TABLE attempt (x integer) ENGINE = Aria TRANSACTIONAL = 0");
        (
            format!(
                "CREATE TRIGGER conflict BEFORE INSERT ON {BLACKLISTED} FOR EACH ROW BEGIN INSERT INTO attempt VALUES (1); \
                 SIGNAL SQLSTATE '40001' SET MESSAGE_TEXT = 'Deadlock found when trying to get lock', MYSQL_ERRNO = 1213; \
                 END"
            ),
            "SELECT count(*) FROM attempt",
            "DROP TRIGGER conflict".to_owned(),
        )
    };
    database.execute(&conflict);
    let before = database.number("SELECT count(*) FROM simplejwt_event");
    assert_put_off(&Ask::Blacklist(pair.refresh.clone()), site.server.client());
    assert_eq!(database.number(attempts), 4);
    assert_put_off(&Ask::Refresh(pair.refresh.clone()), site.server.client());
    assert_eq!(database.number(attempts), 8);
    let output = site.cli(&["blacklist", "a"]);
    assert_eq!(output.code(), 75, "{output:?}");
    assert!(output.stderr.contains("other transactions"), "{output:?}");
    assert_eq!(database.number("SELECT count(*) FROM simplejwt_event"), before);
    assert!(!database.is_outstanding("a"), "nothing is half done");
    assert_eq!(whoami(&site.server, &pair.access), 200);
    database.execute(&peace);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert_eq!(whoami(&site.server, &pair.access), 401);
}

/// A flush, for which nobody waits, gets past what would put off a request.
fn a_flush_outlasts_conflicts(kind: Kind) {
    let site = Site::with_ada(kind);
    let mut database = site.database();
    database.record_row("live", now() + 86_400, "NULL");
    database.record_row("old", now() - 5 * 86_400, "NULL");
    database.execute(&format!("UPDATE {OUTSTANDING} SET created_at = expires_at WHERE jti = 'old'"));
    // What counts the attempts must not be rolled back with them.
    let conflict = if kind == Kind::Postgres {
        database.execute("CREATE SEQUENCE attempt");
        format!(
            "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('attempt') <= 10 THEN RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF; \
             RETURN OLD; END $$; \
             CREATE TRIGGER conflict BEFORE DELETE ON {OUTSTANDING} FOR EACH ROW EXECUTE FUNCTION conflict()"
        )
    } else {
        database.execute("CREATE TABLE attempt (x integer) ENGINE = Aria TRANSACTIONAL = 0");
        format!(
            "CREATE TRIGGER conflict BEFORE DELETE ON {OUTSTANDING} FOR EACH ROW BEGIN INSERT INTO attempt VALUES (1); \
             IF (SELECT count(*) FROM attempt) <= 10 THEN SIGNAL SQLSTATE '40001' \
             SET MESSAGE_TEXT = 'Deadlock found when trying to get lock', MYSQL_ERRNO = 1213; END IF; END"
        )
    };
    database.execute(&conflict);
    let output = site.cli(&["flushexpiredtokens"]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(!database.is_outstanding("old"));
}

/// A flush that somebody keeps from a row all the time ends when it is told to, and a next one does what it could not.
fn a_flush_that_is_hindered_for_good_can_be_stopped(kind: Kind) {
    let site = Site::with_ada(kind);
    let mut database = site.database();
    database.record_row("live", now() + 86_400, "NULL");
    database.record_row("old", now() - 5 * 86_400, "NULL");
    database.execute(&format!("UPDATE {OUTSTANDING} SET created_at = expires_at WHERE jti = 'old'"));
    let mut holder = site.database();
    holder.begin();
    holder.execute(&format!("UPDATE {OUTSTANDING} SET user_id = NULL WHERE jti = 'old'"));
    let last = || site.cli(&["status", "--format", "json"]).json()["last_flush"]["outcome"].clone();

    let output = site.cli(&["flushexpiredtokens", "--max-time", "2s"]);
    assert_eq!(output.code(), 75, "{output:?}");
    assert!(output.stderr.contains("the flush stopped after 0 rows"), "{output:?}");
    assert_eq!(last(), "failed");

    let mut command = site.server.command();
    let child = command.args(["flushexpiredtokens"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().expect("start the flush");
    // By then it has tried several times.
    thread::sleep(Duration::from_secs(3));
    signal(child.id(), "INT");
    let start = Instant::now();
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    assert_eq!(last(), "interrupted");

    assert!(database.is_outstanding("old"));
    holder.execute("ROLLBACK");
    assert_eq!(site.cli(&["flushexpiredtokens"]).code(), 0);
    assert!(!database.is_outstanding("old") && database.is_outstanding("live"));
}

/// Two that rotate and blacklist crosswise, without any order: some are put off, none is half done.
fn crossing_writers_agree(kind: Kind) {
    let site = Site::with_ada(kind);
    let tokens = recorded(&mut site.database(), 40);
    let signed: Vec<_> = tokens.iter().map(Claims::sign).collect();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (signed, site) = (&signed, &site);
                scope.spawn(move || {
                    let order: Vec<_> =
                        if client % 2 == 0 { signed.iter().collect() } else { signed.iter().rev().collect() };
                    let mut statuses = Vec::new();
                    for token in order {
                        let ask = if client < 4 { Ask::Refresh(token.clone()) } else { Ask::Blacklist(token.clone()) };
                        statuses.push(ask.send(site.server.client()).status);
                    }
                    statuses
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    let put_off = statuses.iter().filter(|status| **status == 503).count();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 401 | 503)), "{statuses:?}");
    assert!(put_off * 20 < statuses.len(), "{put_off} of {} were put off", statuses.len());
    let mut database = site.database();
    for token in &tokens {
        assert!(database.is_blacklisted(token.jti()));
        let reply = Ask::Refresh(token.sign()).send(site.server.client());
        assert_eq!(reply.status, 401);
    }
    database.assert_sound();
}

// Fault 25.
fn a_locked_table_hangs_nobody(kind: Kind) {
    let site = Site::with_ada(kind);
    let (pair, other) = (site.server.login("ada"), site.server.login("ada"));
    let mut holder = site.database();
    if kind == Kind::Postgres {
        holder.execute(&format!(
            "BEGIN; LOCK TABLE {OUTSTANDING}, {BLACKLISTED}, simplejwt_token IN ACCESS EXCLUSIVE MODE"
        ));
    } else {
        holder.execute(&format!("LOCK TABLES {OUTSTANDING} WRITE, {BLACKLISTED} WRITE, simplejwt_token WRITE"));
    }
    let asks = [
        Ask::Login,
        Ask::Refresh(other.refresh.clone()),
        Ask::Blacklist(pair.refresh.clone()),
        Ask::Verify(pair.access.clone()),
        Ask::Whoami(pair.access.clone()),
    ];
    thread::scope(|scope| {
        for ask in asks.iter().cycle().take(20) {
            scope.spawn(|| assert_put_off(ask, site.server.client()));
        }
        for command in [&["blacklist", "a"][..], &["status"]] {
            let site = &site;
            scope.spawn(move || {
                let output = site.cli(command);
                assert_eq!(output.code(), 75, "{command:?}: {output:?}");
            });
        }
    });
    holder.execute(if kind == Kind::Postgres { "ROLLBACK" } else { "UNLOCK TABLES" });
    eventually(RECOVERY, || whoami(&site.server, &other.access) == 200);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert!(!site.database().is_outstanding("a"));
}

// Fault 29.
fn a_lock_that_is_not_had_undoes_all_before_it(kind: Kind) {
    let site = Site::with_ada(kind);
    let pair = site.server.login("ada");
    let mut holder = site.database();
    // The blacklist row is the last that is written; the others are there by then.
    if kind == Kind::Postgres {
        holder.execute(&format!("BEGIN; LOCK TABLE {BLACKLISTED} IN EXCLUSIVE MODE"));
    } else {
        holder.execute("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE");
        holder.execute(&format!("BEGIN; SELECT * FROM {BLACKLISTED} FOR UPDATE"));
    }
    let mut database = site.database();
    let before = database.dump();
    let start = Instant::now();
    assert_put_off(&Ask::Blacklist(pair.refresh.clone()), site.server.client());
    assert_put_off(&Ask::Refresh(pair.refresh.clone()), site.server.client());
    assert!(start.elapsed() < ANSWER * 2);
    let output = site.cli(&["blacklist", "unknown-1", "unknown-2"]);
    assert_eq!(output.code(), 75, "{output:?}");
    assert!(output.stderr.contains("locked"), "{output:?}");
    assert_eq!(database.dump(), before, "nothing is half done");
    holder.execute("ROLLBACK");
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert_eq!(site.cli(&["blacklist", "unknown-1", "unknown-2"]).code(), 0);
    assert!(database.is_blacklisted("unknown-1") && database.is_blacklisted("unknown-2"));
    database.assert_sound();
}

on_both!(
    no_free_connection,
    a_deadlock_is_tried_again,
    conflicts_without_end_are_put_off,
    a_flush_outlasts_conflicts,
    a_flush_that_is_hindered_for_good_can_be_stopped,
    crossing_writers_agree,
    a_locked_table_hangs_nobody,
    a_lock_that_is_not_had_undoes_all_before_it,
);
