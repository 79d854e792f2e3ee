//! The database as another program sees it: Django, `sqlite3`, `psql`, a script.

use chrono::DateTime;
use diesel::prelude::QueryResult;
use serde_json::Value;

use super::mint::Claims;
pub(crate) use super::test_database::{Kind, TestDatabase};

/// The tables of Django's simplejwt.
pub(crate) const OUTSTANDING: &str = "token_blacklist_outstandingtoken";
pub(crate) const BLACKLISTED: &str = "token_blacklist_blacklistedtoken";

/// A connection of our own.
pub(crate) struct Database(super::test_database::TestConnection);

impl Database {
    /// Opens a database that exists.
    pub(crate) fn open(database: &TestDatabase) -> Self {
        Self(database.connect())
    }

    /// Of which sort it is.
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind()
    }

    /// Runs statements, as Django or an operator would. Returns how many rows the last one changed.
    pub(crate) fn execute(&mut self, sql: &str) -> usize {
        self.try_execute(sql).unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// As [`execute`](Self::execute), for statements that may fail.
    pub(crate) fn try_execute(&mut self, sql: &str) -> QueryResult<usize> {
        self.0.execute(sql)
    }

    /// Begins a transaction, one that writes; `COMMIT` and `ROLLBACK` end it everywhere.
    pub(crate) fn begin(&mut self) {
        self.try_begin().unwrap_or_else(|error| panic!("{error}: BEGIN"));
    }

    /// As [`begin`](Self::begin), where the server may be gone.
    pub(crate) fn try_begin(&mut self) -> QueryResult<()> {
        self.try_execute(if self.0.kind() == Kind::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }).map(drop)
    }

    /// Keeps everybody else from writing until [`let_writers_in`](Self::let_writers_in). Readers go on.
    pub(crate) fn keep_writers_out(&mut self) {
        self.0.keep_writers_out();
    }

    /// Ends what [`keep_writers_out`](Self::keep_writers_out) began.
    pub(crate) fn let_writers_in(&mut self) {
        self.0.let_writers_in();
    }

    /// The only column of a query, as text; NULL is [`None`].
    pub(crate) fn column(&mut self, select: &str) -> Vec<Option<String>> {
        self.0.column(select)
    }

    /// The instant in a column as whole seconds since 1970, in SQL.
    pub(crate) fn seconds(&self, column: &str) -> String {
        self.0.kind().seconds(column)
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
        self.try_count(from).unwrap_or_else(|error| panic!("{error}: {from}"))
    }

    /// As [`count`](Self::count), where the server may be gone.
    pub(crate) fn try_count(&mut self, from: &str) -> QueryResult<i64> {
        let counted = self.0.try_column(&format!("SELECT count(*) FROM {from}"))?.into_iter().flatten().next();
        Ok(counted.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no number of {from}")))
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

    /// Everything that is stored, as text: to look for what must not be there, and to see whether something has changed.
    pub(crate) fn dump(&mut self) -> String {
        let mut dump = Vec::new();
        for table in self.watched() {
            let columns = match self.0.kind() {
                Kind::Sqlite => format!("SELECT name FROM pragma_table_info('{table}')"),
                Kind::Postgres => format!(
                    "SELECT column_name FROM information_schema.columns \
                     WHERE table_schema = current_schema() AND table_name = '{table}'"
                ),
                Kind::Mysql => format!(
                    "SELECT column_name FROM information_schema.columns \
                     WHERE table_schema = database() AND table_name = '{table}'"
                ),
            };
            for column in self.strings(&columns) {
                let values = self.column(&format!("SELECT {column} FROM {table}")).into_iter().flatten();
                dump.extend(values.map(|value| format!("{table}.{column}={value}")));
            }
        }
        dump.join("\n")
    }

    /// All tables but the one that each server adds its counts to by the clock, whatever is asked of it.
    fn watched(&mut self) -> Vec<String> {
        self.0.tables().into_iter().filter(|table| table != "simplejwt_hour").collect()
    }

    /// What changes whenever somebody else writes.
    pub(crate) fn version(&mut self) -> String {
        let tables = self.watched();
        let select = match self.0.kind() {
            // Together with its number each row says which transaction wrote it last.
            Kind::Postgres => tables
                .iter()
                .map(|table| {
                    format!("SELECT '{table}' || coalesce(string_agg(xmin::text || t::text, ',' ORDER BY t::text), '') FROM {table} t")
                })
                .collect::<Vec<_>>()
                .join(" UNION ALL "),
            Kind::Sqlite | Kind::Mysql => return self.dump(),
        };
        self.strings(&select).join("\n")
    }

    /// Fails unless no row of a blacklist stands alone and, on SQLite, the file is sound.
    #[track_caller]
    pub(crate) fn assert_sound(&mut self) {
        if self.0.kind() == Kind::Sqlite {
            assert_eq!(self.strings("SELECT * FROM pragma_integrity_check"), ["ok"]);
            assert_eq!(self.count("pragma_foreign_key_check"), 0);
        }
        let alone = format!("{BLACKLISTED} b LEFT JOIN {OUTSTANDING} o ON o.id = b.token_id WHERE o.id IS NULL");
        assert_eq!(self.count(&alone), 0, "no row of a blacklist stands alone");
    }
}

/// An instant as Django writes it on SQLite: UTC, no zone, no fraction where it is zero. Our connections to other databases
/// read it in UTC too.
pub(crate) fn instant(unix_seconds: i64) -> String {
    DateTime::from_timestamp(unix_seconds, 0).expect("an instant").format("%Y-%m-%d %H:%M:%S").to_string()
}
