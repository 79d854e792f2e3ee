//! Settings of a database that endanger what was acknowledged: found at every start and in `status`, and refused unless
//! somebody allows them; then warned of at every start.

use crate::support::database::{Database, Kind};
use crate::support::mint::jti;
use crate::support::server::{Output, run};
use crate::throwaway::{Site, Throwaway, eventually};
use crate::traffic::{Ask, RECOVERY, assert_put_off, blacklist, whoami};

/// A database with this setting.
struct Unsafe<'a> {
    site: &'a Site,
    /// What has to be said: the setting, what it is, what it has to be.
    says: [&'a str; 3],
}

impl Unsafe<'_> {
    #[track_caller]
    fn said_by(&self, output: &Output) {
        let line = output.stderr.trim_end();
        assert!(self.says.iter().all(|word| line.contains(word)), "{:?} are not all in {output:?}", self.says);
    }

    /// Whatever could lose something is refused, and says why; `status` shows it.
    fn refused(&self) {
        let site = self.site;
        for command in [
            &["serve", "--port", "0"][..],
            &["blacklist", "a"],
            &["migrate"],
            &["flushexpiredtokens"],
            &["issue", "--user", "1", "--kind", "refresh"],
        ] {
            let output = site.cli(command);
            assert_eq!(output.code(), 1, "{command:?}: {output:?}");
            assert_eq!(output.stderr.trim_end().lines().count(), 1, "{command:?}: {output:?}");
            self.said_by(&output);
        }
        assert!(!site.database().is_outstanding("a"));
        let output = site.cli(&["status"]);
        assert_eq!(output.code(), 0, "{output:?}");
        self.said_by(&output);
        let output = site.cli(&["--format", "json", "status"]);
        assert_eq!(output.code(), 0, "{output:?}");
        let warnings = output.json()["warnings"].to_string();
        assert!(self.says.iter().all(|word| warnings.contains(word)), "{warnings}");
    }

    /// With the flag it runs, and warns each time.
    fn allowed(&self) {
        let site = self.site;
        for command in [&["blacklist", "a"][..], &["blacklist", "a"], &["migrate"], &["flushexpiredtokens"]] {
            let output = site.cli(&[&["--allow-unsafe-durability"], command].concat());
            assert_eq!(output.code(), 0, "{command:?}: {output:?}");
            self.said_by(&output);
        }
        assert!(site.database().is_blacklisted("a"));
    }
}

/// The same by the setting, in a server that is started twice.
fn served(mut site: Site, says: &[&str]) {
    site = site.set("allow_unsafe_durability", "true");
    site.server.restart();
    for _ in 0..2 {
        let log = site.server.log();
        assert!(says.iter().all(|word| log.contains(word)), "{says:?} are not all in {log}");
        site.assert_silent(&log);
        site.server.restart();
    }
    let token = crate::traffic::recorded(&mut site.database(), 1).remove(0);
    assert_eq!(blacklist(&site.server, &token.sign()), 200);
}

fn migrated(host: Throwaway) -> Site {
    let site = Site::on(host);
    assert_eq!(site.cli(&["migrate"]).code(), 0);
    site
}

// Fault 27.
#[test]
fn postgres_without_fsync() {
    let site = migrated(Throwaway::new(Kind::Postgres));
    let says = ["fsync", " off", " on"];
    site.set_global("fsync", "off");
    Unsafe { site: &site, says }.refused();
    Unsafe { site: &site, says }.allowed();
    served(site, &says);
}

// Fault 27: what a session may choose, ours chooses itself.
#[test]
fn postgres_without_synchronous_commit_is_set_right_by_us() {
    let site = migrated(Throwaway::new(Kind::Postgres));
    let mut database = site.database();
    database.execute("ALTER ROLE simplejwt SET synchronous_commit = off");
    database.execute(&format!("ALTER DATABASE {} SET synchronous_commit = off", site.name()));
    site.set_global("synchronous_commit", "off");
    let seen = site.database().value("SELECT current_setting('synchronous_commit')");
    assert_eq!(seen.as_deref(), Some("off"), "everybody else has it");
    let output = site.cli(&["--format", "json", "status"]);
    assert_eq!((output.code(), output.json()["warnings"].as_array().map(Vec::len)), (0, Some(0)), "{output:?}");
    // Who commits without waiting is not counted as written to disk when the answer comes; ours is.
    // What wakes others is a transaction after ours, for which nobody waits.
    let site = site.set("wake_ups", "false").started();
    let pair = site.server.login("ada");
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    let behind = "SELECT CAST(pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn() AS text)";
    assert_eq!(site.database().value(behind).as_deref(), Some("true"), "written before it was acknowledged");
}

// Fault 28.
#[test]
fn mariadb_that_flushes_its_log_later() {
    let site = migrated(Throwaway::new(Kind::Mysql));
    for value in ["0", "2"] {
        site.set_global("innodb_flush_log_at_trx_commit", value);
        Unsafe { site: &site, says: ["innodb_flush_log_at_trx_commit", value, "1"] }.refused();
    }
    let says = ["innodb_flush_log_at_trx_commit", "2", "1"];
    Unsafe { site: &site, says }.allowed();
    served(site, &says);
}

#[test]
fn mariadb_with_a_binary_log() {
    let site = migrated(Throwaway::with(Kind::Mysql, &["--with", "log-bin=binlog", "--with", "sync-binlog=1"]));
    // It is 0 where nobody sets it, and would be of no interest without the log.
    let says = ["sync_binlog", "0", "1 while the binary log is on"];
    site.set_global("sync_binlog", "1");
    assert_eq!(site.cli(&["blacklist", "safe"]).code(), 0);
    site.set_global("sync_binlog", "0");
    Unsafe { site: &site, says }.refused();
    Unsafe { site: &site, says }.allowed();
    site.set_global("sync_binlog", "1");
    site.set_global("binlog_format", "'STATEMENT'");
    let output = site.cli(&["blacklist", "b"]);
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(output.stderr.contains("binlog_format is STATEMENT"), "{output:?}");
}

/// What the database empties after a crash, or cannot take back with a transaction.
fn a_table_that_no_crash_survives(kind: Kind) {
    let site = migrated(Throwaway::new(kind));
    let mut database = site.database();
    let (worse, better, engine) = match kind {
        Kind::Postgres => ("SET UNLOGGED", "SET LOGGED", "UNLOGGED"),
        Kind::Sqlite | Kind::Mysql => ("ENGINE = Aria", "ENGINE = InnoDB", "Aria"),
    };
    // Which takes no key as long as some of ours are, unless it may cut them.
    if kind == Kind::Mysql {
        database.execute("SET SESSION sql_mode = 'ANSI'");
    }
    // Of simplejwt's two PostgreSQL lets none be unlogged that the other refers to, and Aria has no references.
    let shared = if kind == Kind::Postgres { &["token_blacklist_blacklistedtoken"][..] } else { &[] };
    let tables = database.strings(
        "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'mysql', 'sys') \
         AND table_name LIKE 'simplejwt%' AND table_type = 'BASE TABLE'",
    );
    assert!(tables.len() > 10, "{tables:?}");
    for table in tables.iter().map(String::as_str).chain(shared.iter().copied()) {
        database.execute(&format!("ALTER TABLE {table} {worse}"));
        let says = ["the kind of a table", engine, table];
        let output = site.cli(&["blacklist", "a"]);
        assert_eq!(output.code(), 1, "{table}: {output:?}");
        Unsafe { site: &site, says }.said_by(&output);
        if table == "simplejwt_event" {
            Unsafe { site: &site, says }.refused();
            Unsafe { site: &site, says }.allowed();
        }
        database.execute(&format!("ALTER TABLE {table} {better}"));
    }
    assert_eq!(site.cli(&["blacklist", "b"]).code(), 0);
}

// Fault 33: what a server does with transactions where nobody says, ours says.
fn transactions_of_another_kind(kind: Kind) {
    let settings = match kind {
        Kind::Postgres => &["--with", "default_transaction_isolation=serializable"][..],
        Kind::Sqlite | Kind::Mysql => &["--with", "autocommit=0", "--with", "transaction-isolation=REPEATABLE-READ"],
    };
    let site = Site::on(Throwaway::with(kind, settings));
    // Each look at the log is one of its own, and nobody is woken.
    let site = site.set("blacklist", r#""cached""#).set("wake_ups", "false").started();
    for _ in 0..3 {
        let (pair, other) = (site.server.login("ada"), site.server.login("ada"));
        assert_eq!(whoami(&site.server, &pair.access), 200);
        assert_eq!(site.cli(&["blacklist", &jti(&pair.refresh)]).code(), 0);
        eventually(RECOVERY, || whoami(&site.server, &pair.access) == 401);
        assert_eq!(whoami(&site.server, &other.access), 200);
        // And what it says is done is there for everybody else.
        assert_eq!(blacklist(&site.server, &other.refresh), 200);
        assert_eq!(site.cli(&["check", &jti(&other.refresh)]).code(), 1);
    }
}

/// What makes everything read-only, and back.
fn set_read_only(site: &Site, database: &mut Database, on: bool) {
    let (name, value) = match (site.host.is_postgres(), on) {
        (true, true) => ("default_transaction_read_only", "on"),
        (true, false) => ("default_transaction_read_only", "off"),
        (false, true) => ("read_only", "1"),
        (false, false) => ("read_only", "0"),
    };
    crate::throwaway::set_global(database, site.host.kind, name, value);
}

// Faults 14, 34 and 35.
fn a_read_only_server(kind: Kind) {
    let site = migrated(Throwaway::new(kind));
    let url = site.application();
    let site = site.set("database_url", &format!("{url:?}")).started();
    let (pair, other) = (site.server.login("ada"), site.server.login("ada"));
    let mut database = site.database();
    set_read_only(&site, &mut database, true);
    // One that runs acknowledges nothing more, and forgets nothing.
    for _ in 0..3 {
        assert_put_off(&Ask::Blacklist(pair.refresh.clone()), site.server.client());
        assert_put_off(&Ask::Refresh(other.refresh.clone()), site.server.client());
    }
    assert!(matches!(whoami(&site.server, &pair.access), 200 | 503));
    assert!(Ask::Ready.send(site.server.client()).json()["status"] != "ready");
    // To read, a server that follows another one is no good either; PostgreSQL says that in another way.
    if kind == Kind::Mysql {
        let output = site.cli(&["serve", "--port", "0", "--verify-only"]);
        assert_eq!(output.code(), 1, "{output:?}");
        assert!(output.stderr.contains("read_only"), "{output:?}");
    }
    // None that starts takes it for a place to write to.
    let says = if kind == Kind::Postgres {
        ["default_transaction_read_only", " on", " off"]
    } else {
        ["read_only", " ON", " 0"]
    };
    for command in [&["serve", "--port", "0"][..], &["blacklist", "a"], &["migrate"]] {
        let output = site.cli(command);
        assert_eq!(output.code(), 1, "{command:?}: {output:?}");
        assert!(says.iter().all(|word| output.stderr.contains(word)), "{output:?}");
    }
    let output = site.cli(&["status"]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(says.iter().all(|word| output.stderr.contains(word)), "{output:?}");
    // Allowed, it is still one that cannot be written to.
    let output = site.cli(&["--allow-unsafe-durability", "blacklist", "a"]);
    assert_eq!(output.code(), 75, "{output:?}");
    assert!(output.stderr.contains("read-only"), "{output:?}");
    set_read_only(&site, &mut database, false);
    eventually(RECOVERY, || blacklist(&site.server, &pair.refresh) == 200);
    assert_eq!(whoami(&site.server, &pair.access), 401);
    assert_eq!(whoami(&site.server, &other.access), 200);
    eventually(RECOVERY, || Ask::Ready.send(site.server.client()).json()["status"] == "ready");
}

// Fault 26.
fn tables_of_another_version(kind: Kind) {
    let site = migrated(Throwaway::new(kind));
    let mut database = site.database();
    let refused = |says: &str| {
        for command in [&["serve", "--port", "0"][..], &["blacklist", "a"], &["status"], &["flushexpiredtokens"]] {
            let output = site.cli(command);
            assert_eq!(output.code(), 2, "{command:?}: {output:?}");
            assert!(output.stderr.contains(says), "{command:?}: {output:?}");
        }
    };
    database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')");
    refused("newer version");
    let output = site.cli(&["migrate"]);
    assert_eq!(output.code(), 2, "{output:?}");
    database.execute("DELETE FROM __diesel_schema_migrations WHERE version = '29990101000000'");
    assert_eq!(site.cli(&["blacklist", "a"]).code(), 0);
    let versions = database.strings("SELECT version FROM __diesel_schema_migrations ORDER BY version");
    let last = versions.last().expect("a version");
    let deleted = database.execute(&format!("DELETE FROM __diesel_schema_migrations WHERE version = '{last}'"));
    assert_eq!(deleted, 1);
    let before = database.dump();
    for command in [&["serve", "--port", "0"][..], &["blacklist", "b"], &["status"]] {
        let output = site.cli(command);
        assert_eq!(output.code(), 2, "{command:?}: {output:?}");
        assert!(output.stderr.contains("simplejwt migrate"), "{command:?}: {output:?}");
    }
    assert_eq!(database.dump(), before);
}

/// What a server says before its tables are looked at.
#[test]
fn no_help_and_no_refused_url_shows_a_password() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        let site = Site::new(kind);
        let url = site.server.test_database().url();
        for command in
            [&["--help"][..], &["serve", "--help"], &["status"], &["-vv", "status"], &["-vv", "blacklist", "a"]]
        {
            site.cli(command);
            let mut command_with_variable = site.server.command();
            command_with_variable.args(command).env("SIMPLEJWT_DATABASE_URL", &url);
            let output = run(command_with_variable, "");
            site.assert_silent(&format!("{output:?}"));
        }
        for wrong in ["nowhere", "?x=y", "/?sslmode=nonsense"] {
            let url = url.replace(&site.name(), wrong);
            for command in [&["status"][..], &["-vv", "serve", "--port", "0"]] {
                let output = site.cli_at(&url, command);
                assert!(!output.success(), "{output:?}");
            }
        }
        let wrong_port = site.url(1, "simplejwt");
        assert_eq!(site.cli_at(&wrong_port, &["status"]).code(), 75);
    }
}

on_both!(a_read_only_server, a_table_that_no_crash_survives, tables_of_another_version, transactions_of_another_kind,);
