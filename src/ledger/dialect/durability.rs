//! Settings of a database that endanger what was acknowledged.

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::Access;
use crate::ledger::connection::AnyConnection;

/// A setting of the database that endangers a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The setting.
    pub setting: &'static str,
    /// What it is.
    pub found: String,
    /// What it has to be.
    pub wanted: &'static str,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {}, and has to be {}", self.setting, self.found, self.wanted)
    }
}

/// A setting, how to ask for it as one text, which answers are good, and how to say so.
struct Rule {
    setting: &'static str,
    query: &'static str,
    good: &'static [&'static str],
    wanted: &'static str,
}

#[cfg(feature = "sqlite")]
const SQLITE: [Rule; 3] = [
    // A pragma cannot be a part of a query, except as the table-valued function of its name.
    Rule {
        setting: "journal_mode",
        query: "SELECT CAST(journal_mode AS TEXT) FROM pragma_journal_mode",
        // In memory there is no log; whoever asks for that has nothing to lose.
        good: &["wal", "memory"],
        wanted: "wal",
    },
    Rule {
        setting: "synchronous",
        query: "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous",
        good: &["2", "3"],
        wanted: "2 (FULL)",
    },
    Rule {
        setting: "foreign_keys",
        query: "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys",
        good: &["1"],
        wanted: "1 (on)",
    },
];

#[cfg(feature = "postgres")]
const POSTGRES: [Rule; 5] = [
    Rule { setting: "fsync", query: "SELECT current_setting('fsync')", good: &["on"], wanted: "on" },
    Rule {
        setting: "synchronous_commit",
        query: "SELECT current_setting('synchronous_commit')",
        good: &["on", "local", "remote_write", "remote_apply"],
        wanted: "on",
    },
    Rule {
        setting: "the server",
        query: "SELECT CASE WHEN pg_is_in_recovery() THEN 'a standby' ELSE 'a primary' END",
        good: &["a primary"],
        wanted: "a primary",
    },
    Rule {
        setting: "default_transaction_read_only",
        query: "SELECT current_setting('default_transaction_read_only')",
        good: &["off"],
        wanted: "off",
    },
    Rule {
        setting: "the kind of a table",
        query: "SELECT COALESCE((SELECT 'UNLOGGED (' || string_agg(relname, ', ') || ')' FROM pg_class \
                WHERE relpersistence <> 'p' AND oid IN (to_regclass('token_blacklist_outstandingtoken'), \
                to_regclass('token_blacklist_blacklistedtoken'), to_regclass('simplejwt_session'), \
                to_regclass('simplejwt_token'), to_regclass('simplejwt_user'), to_regclass('simplejwt_cutoff'), \
                to_regclass('simplejwt_revocation'), to_regclass('simplejwt_revocation_state'), \
                to_regclass('simplejwt_event'), to_regclass('simplejwt_flush_run'), to_regclass('simplejwt_admin_session'), \
                to_regclass('simplejwt_viewer'), to_regclass('simplejwt_hour'), to_regclass('simplejwt_census'))), 'LOGGED')",
        good: &["LOGGED"],
        wanted: "LOGGED",
    },
];

#[cfg(feature = "mysql")]
const MYSQL: [Rule; 7] = [
    Rule {
        setting: "innodb_flush_log_at_trx_commit",
        query: "SELECT CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS CHAR)",
        // At 3 MariaDB writes to disk once more than at 1.
        good: &["1", "3"],
        wanted: "1",
    },
    Rule {
        setting: "sync_binlog",
        query: "SELECT IF(@@GLOBAL.log_bin, CAST(@@GLOBAL.sync_binlog AS CHAR), '1')",
        good: &["1"],
        wanted: "1 while the binary log is on",
    },
    Rule {
        setting: "binlog_format",
        query: "SELECT IF(@@GLOBAL.log_bin, CAST(@@SESSION.binlog_format AS CHAR), 'ROW')",
        good: &["ROW", "MIXED"],
        wanted: "ROW or MIXED while the binary log is on",
    },
    Rule {
        setting: "sql_mode",
        query: "SELECT IF(@@SESSION.sql_mode LIKE '%STRICT_ALL_TABLES%', 'strict', 'not strict')",
        good: &["strict"],
        wanted: "strict",
    },
    // An older one makes our tables without the collation that tells every two texts apart.
    Rule {
        setting: "the version",
        query: "SELECT IF(EXISTS (SELECT 1 FROM information_schema.collations \
                WHERE collation_name IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin')), 'new enough', 'too old')",
        good: &["new enough"],
        wanted: "MariaDB 10.2.2, MySQL 8.0.17 or newer",
    },
    Rule {
        setting: "read_only",
        query: "SELECT CAST(@@GLOBAL.read_only AS CHAR)",
        good: &["0", "OFF"],
        wanted: "0 (off)",
    },
    Rule {
        setting: "the kind of a table",
        query: "SELECT COALESCE((SELECT CONCAT(MIN(engine), ' (', MIN(table_name), ')') FROM information_schema.tables \
                WHERE table_schema = DATABASE() AND engine <> 'InnoDB' AND table_name IN \
                ('token_blacklist_outstandingtoken', 'token_blacklist_blacklistedtoken', 'simplejwt_session', \
                'simplejwt_token', 'simplejwt_user', 'simplejwt_cutoff', 'simplejwt_revocation', \
                'simplejwt_revocation_state', 'simplejwt_inbox', 'simplejwt_event', 'simplejwt_flush_run', \
                'simplejwt_admin_session', 'simplejwt_viewer', 'simplejwt_hour', 'simplejwt_census')), 'InnoDB')",
        good: &["InnoDB"],
        wanted: "InnoDB",
    },
];

/// The settings that say that a server follows another one.
const FOLLOWS_ANOTHER: [&str; 2] = ["the server", "read_only"];

fn rules(connection: &AnyConnection) -> &'static [Rule] {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => &SQLITE,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => &POSTGRES,
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => &MYSQL,
    }
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    setting: String,
    #[diesel(sql_type = Text)]
    found: String,
}

/// The settings of this connection and its server that endanger a promise, as the database itself gives them.
///
/// Whoever only reads acknowledges nothing. What it is told may be old, though, where it asks a server that follows another one: it
/// could lag behind by any time, and nobody could tell.
pub(in crate::ledger) fn durability(connection: &mut AnyConnection, access: Access) -> QueryResult<Vec<Warning>> {
    let counts = |rule: &&Rule| access == Access::ReadWrite || FOLLOWS_ANOTHER.contains(&rule.setting);
    let rules: Vec<&Rule> = rules(connection).iter().filter(counts).collect();
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    // In one round trip, because each new connection asks.
    let all = rules.iter().map(|rule| format!("SELECT '{}' AS setting, ({}) AS found", rule.setting, rule.query));
    let answers: Vec<Answer> = diesel::sql_query(all.collect::<Vec<_>>().join(" UNION ALL ")).load(connection)?;
    let judge = |rule: &&Rule| {
        let answer = answers.iter().find(|answer| answer.setting == rule.setting);
        let found = answer.map_or("unknown", |answer| &answer.found);
        let bad = !rule.good.contains(&found);
        bad.then(|| Warning { setting: rule.setting, found: found.to_owned(), wanted: rule.wanted })
    };
    Ok(rules.iter().filter_map(judge).collect())
}
