//! The database as another program sees it: Django, `sqlite3`, a script.

use std::path::Path;

use chrono::DateTime;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use serde_json::Value;

use super::mint::Claims;

/// The tables of Django's simplejwt.
pub(crate) const OUTSTANDING: &str = "token_blacklist_outstandingtoken";
pub(crate) const BLACKLISTED: &str = "token_blacklist_blacklistedtoken";

/// A connection of our own.
pub(crate) struct Database(SqliteConnection);

#[derive(QueryableByName)]
struct Cell {
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
}

impl Database {
    /// Opens a file that exists.
    pub(crate) fn open(path: &Path) -> Self {
        assert!(path.exists(), "no database at {}", path.display());
        let mut connection = SqliteConnection::establish(&path.to_string_lossy()).expect("open the database");
        connection.batch_execute("PRAGMA busy_timeout = 5000").expect("set the timeout");
        Self(connection)
    }

    /// Runs statements, as Django or an operator would. Returns how many rows the last one changed.
    pub(crate) fn execute(&mut self, sql: &str) -> usize {
        self.try_execute(sql).unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// As [`execute`](Self::execute), for statements that may fail.
    pub(crate) fn try_execute(&mut self, sql: &str) -> QueryResult<usize> {
        self.0.batch_execute(sql)?;
        let changed = diesel::sql_query("SELECT CAST(changes() AS TEXT) AS value").get_result::<Cell>(&mut self.0)?;
        Ok(changed.value.and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    /// The only column of a query, as text; NULL is [`None`].
    pub(crate) fn column(&mut self, select: &str) -> Vec<Option<String>> {
        let sql = format!("WITH answer(value) AS ({select}) SELECT CAST(value AS TEXT) AS value FROM answer");
        let cells: Vec<Cell> =
            diesel::sql_query(sql).load(&mut self.0).unwrap_or_else(|error| panic!("{error}: {select}"));
        cells.into_iter().map(|cell| cell.value).collect()
    }

    /// The only column of a query, as text; fails on NULL.
    pub(crate) fn strings(&mut self, select: &str) -> Vec<String> {
        self.column(select).into_iter().map(|value| value.unwrap_or_else(|| panic!("NULL in {select}"))).collect()
    }

    /// The only value of a query; fails if there is no row, or more than one.
    pub(crate) fn value(&mut self, select: &str) -> Option<String> {
        let mut rows = self.column(select);
        assert_eq!(rows.len(), 1, "one row from {select}");
        rows.pop().expect("one row")
    }

    /// The only value of a query as a number.
    pub(crate) fn number(&mut self, select: &str) -> i64 {
        let value = self.value(select);
        value
            .as_deref()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no number: {value:?} of {select}"))
    }

    /// The rows of a table, or of a table with a condition: `count("simplejwt_user WHERE id > 3")`.
    pub(crate) fn count(&mut self, from: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {from}"))
    }

    /// Whether this jti stands on the blacklist.
    pub(crate) fn is_blacklisted(&mut self, jti: &str) -> bool {
        let join = format!("{BLACKLISTED} b JOIN {OUTSTANDING} o ON b.token_id = o.id WHERE o.jti = '{jti}'");
        self.count(&join) == 1
    }

    /// Whether this jti is recorded.
    pub(crate) fn is_outstanding(&mut self, jti: &str) -> bool {
        self.count(&format!("{OUTSTANDING} WHERE jti = '{jti}'")) == 1
    }

    /// Records a token the way Django's simplejwt does: a row in its own table and nothing else. For a sliding token the
    /// row says `exp`, as Django's does.
    pub(crate) fn record_as_django(&mut self, claims: &Claims) {
        let exp = claims.get("exp").as_i64().expect("a whole exp");
        let user = match claims.get("user_id") {
            Value::String(id) => format!("'{}'", id.replace('\'', "''").replace('\0', "")),
            Value::Number(id) => format!("'{id}'"),
            _ => "NULL".to_owned(),
        };
        self.record_row(claims.jti(), exp, &user);
    }

    /// Inserts an outstanding row. `user` is SQL: `NULL`, or a quoted string.
    pub(crate) fn record_row(&mut self, jti: &str, expires_at: i64, user: &str) {
        let (created, expires) = (instant(super::now()), instant(expires_at));
        self.execute(&format!(
            "INSERT INTO {OUTSTANDING} (token, created_at, expires_at, user_id, jti) \
             VALUES ('', '{created}', '{expires}', {user}, '{jti}')"
        ));
    }

    /// Blacklists a recorded token the way Django's admin page does: one row, nothing else.
    pub(crate) fn blacklist_as_django(&mut self, jti: &str) {
        let at = instant(super::now());
        let inserted = self.execute(&format!(
            "INSERT INTO {BLACKLISTED} (blacklisted_at, token_id) SELECT '{at}', id FROM {OUTSTANDING} WHERE jti = '{jti}'"
        ));
        assert_eq!(inserted, 1, "a token that is recorded");
    }

    /// Everything that is stored, as text: to look for what must not be there.
    pub(crate) fn dump(&mut self) -> String {
        let tables = self.strings("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
        let mut dump = Vec::new();
        for table in tables {
            for column in self.strings(&format!("SELECT name FROM pragma_table_info('{table}')")) {
                let values = self.column(&format!("SELECT {column} FROM {table}")).into_iter().flatten();
                dump.extend(values.map(|value| format!("{table}.{column}={value}")));
            }
        }
        dump.join("\n")
    }
}

/// An instant as Django writes it on SQLite: UTC, no zone, no fraction where it is zero.
pub(crate) fn instant(unix_seconds: i64) -> String {
    DateTime::from_timestamp(unix_seconds, 0).expect("an instant").format("%Y-%m-%d %H:%M:%S").to_string()
}
