//! Opening a connection, and telling it what it needs to keep the promises.

use std::time::Duration;

use diesel::QueryResult;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use diesel::connection::SimpleConnection;

use crate::ledger::connection::AnyConnection;
use crate::ledger::error::LedgerError;
use crate::ledger::url::{DatabaseUrl, Place};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Access {
    /// Everything.
    ReadWrite,
    /// To read: the database itself refuses to write anything on it.
    ReadOnly,
}

/// Opens a connection. `patience` is how long its statements wait for a lock.
pub(in crate::ledger) fn dial(
    url: &DatabaseUrl,
    access: Access,
    patience: Duration,
) -> Result<AnyConnection, LedgerError> {
    match url.place() {
        #[cfg(feature = "sqlite")]
        Place::Memory | Place::File(_) => sqlite::dial(url, access, patience),
        #[cfg(feature = "postgres")]
        Place::Postgres(server) => postgres::dial(url, server, access, patience),
        #[cfg(feature = "mysql")]
        Place::Mysql(server) => mysql::dial(url, server, access, patience),
    }
}

/// The database gave no connection. What it says may be several lines.
fn unreachable(url: &DatabaseUrl, reason: &str) -> LedgerError {
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    // The words of PostgreSQL and of MariaDB.
    if reason.contains("database \"") && reason.contains("does not exist") || reason.contains("Unknown database") {
        return LedgerError::Missing { url: url.to_string() };
    }
    LedgerError::Unreachable { url: url.to_string(), reason }
}

/// Whether the other end still answers.
pub(in crate::ledger) fn is_alive(connection: &mut AnyConnection) -> bool {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => true,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => connection.batch_execute("SELECT 1").is_ok(),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => connection.batch_execute("DO 1").is_ok(),
    }
}

/// Tells a connection again how strict to be, which the making of triggers changes for a moment.
pub(in crate::ledger) fn set_mode(connection: &mut AnyConnection) -> QueryResult<()> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(()),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Ok(()),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => mysql::set_mode(mysql),
    }
}

/// Which file a database is, if it is one: device and number.
pub(in crate::ledger) type FileId = (u64, u64);

/// Which file the URL leads to now.
#[cfg(unix)]
pub(in crate::ledger) fn file_id(url: &DatabaseUrl) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::metadata(url.path()?).ok()?;
    Some((file.dev(), file.ino()))
}

/// Elsewhere an open file cannot be replaced.
#[cfg(not(unix))]
pub(in crate::ledger) fn file_id(_: &DatabaseUrl) -> Option<FileId> {
    None
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use diesel::connection::{Connection, SimpleConnection};
    use diesel::sqlite::SqliteConnection;

    use super::{Access, unreachable};
    use crate::ledger::connection::AnyConnection;
    use crate::ledger::error::LedgerError;
    use crate::ledger::url::DatabaseUrl;

    pub(super) fn dial(url: &DatabaseUrl, access: Access, patience: Duration) -> Result<AnyConnection, LedgerError> {
        if let Some(path) = url.path()
            && !path.try_exists().map_err(|error| unreachable(url, &error.to_string()))?
        {
            return Err(LedgerError::Missing { url: url.to_string() });
        }
        let established = SqliteConnection::establish(&url.sqlite_uri(access == Access::ReadWrite));
        let mut connection = AnyConnection::Sqlite(established.map_err(|error| unreachable(url, &error.to_string()))?);
        // First of all, or the statements after it would not wait for a lock.
        connection.batch_execute(&format!("PRAGMA busy_timeout = {}", patience.as_millis()))?;
        connection.batch_execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
        match access {
            Access::ReadWrite if url.path().is_some() => write_ahead(&mut connection, patience)?,
            Access::ReadWrite => {}
            Access::ReadOnly => connection.batch_execute("PRAGMA query_only = ON")?,
        }
        Ok(connection)
    }

    /// Switches to the write-ahead log. SQLite does not wait for a lock here, so that two processes that open a new
    /// database at once would fail.
    fn write_ahead(connection: &mut AnyConnection, patience: Duration) -> Result<(), LedgerError> {
        let end = Instant::now() + patience;
        loop {
            match connection.batch_execute("PRAGMA journal_mode = WAL").map_err(LedgerError::from) {
                Err(LedgerError::Busy) if Instant::now() < end => sleep(Duration::from_millis(10)),
                done => return done,
            }
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::time::Duration;

    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;
    use diesel::sql_types::Integer;

    use super::{Access, unreachable};
    use crate::ledger::connection::AnyConnection;
    use crate::ledger::error::LedgerError;
    use crate::ledger::server::Server;
    use crate::ledger::url::DatabaseUrl;

    pub(super) fn dial(
        url: &DatabaseUrl,
        server: &Server,
        access: Access,
        patience: Duration,
    ) -> Result<AnyConnection, LedgerError> {
        let established = PgConnection::establish(&server.libpq());
        let mut connection =
            established.map_err(|error| unreachable(url, &server.without_secrets(&error.to_string())))?;
        connection.batch_execute(&format!(
            // Instants travel without a zone. A statement that was given up would still be waited for by its commit, with
            // a mere warning, so that none ever is; locks are not waited for longer than an answer. The last is for the trigger
            // on the blacklist.
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED{}; \
             SET TIME ZONE 'UTC'; SET datestyle = 'ISO'; SET statement_timeout = 0; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = '60s'; SET simplejwt.rotates = 'yes'; \
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';",
            if access == Access::ReadOnly { ", READ ONLY" } else { "" },
            patience.as_millis().max(1)
        ))?;
        // What an error means is told by its English text; not everybody may choose the language.
        drop(connection.batch_execute("SET lc_messages = 'C'"));
        Ok(AnyConnection::Postgres(connection))
    }

    #[derive(QueryableByName)]
    struct Backend {
        #[diesel(sql_type = Integer)]
        pid: i32,
    }

    pub(super) fn backend(connection: &mut AnyConnection) -> QueryResult<i32> {
        diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result::<Backend>(connection).map(|row| row.pid)
    }
}

/// Whether somebody between us and the server hands out its sessions by the transaction, so that what a session was told
/// holds for the next transaction of anybody. Two open connections of our own have two sessions otherwise.
#[cfg(feature = "postgres")]
pub(in crate::ledger) fn is_pooled_by_transaction(url: &DatabaseUrl, patience: Duration) -> Result<bool, LedgerError> {
    let dial = || dial(url, Access::ReadOnly, patience);
    let (mut one, mut other) = (dial()?, dial()?);
    let before = postgres::backend(&mut one)?;
    // While one transaction holds a session, it cannot be lent to anybody else.
    if other.batch_execute("BEGIN").is_err() {
        // Nor is there any transaction where sessions are lent for a single statement; unless the server has gone away.
        return dial().map(|_| true);
    }
    let (others, after) = (postgres::backend(&mut other)?, postgres::backend(&mut one)?);
    Ok(before == others || before != after)
}

#[cfg(feature = "mysql")]
mod mysql {
    use std::time::Duration;

    use diesel::connection::SimpleConnection;
    use diesel::mysql::MysqlConnection;
    use diesel::prelude::*;
    use diesel::sql_types::Text;

    use super::{Access, unreachable};
    use crate::ledger::Warning;
    use crate::ledger::connection::AnyConnection;
    use crate::ledger::error::LedgerError;
    use crate::ledger::server::Server;
    use crate::ledger::url::DatabaseUrl;

    pub(super) fn dial(
        url: &DatabaseUrl,
        server: &Server,
        access: Access,
        patience: Duration,
    ) -> Result<AnyConnection, LedgerError> {
        let established = MysqlConnection::establish(&server.mysql());
        let mut connection =
            established.map_err(|error| unreachable(url, &server.without_secrets(&error.to_string())))?;
        if server.asks_for_tls() && cipher(&mut connection)?.is_empty() {
            let (setting, found) = ("the connection", "not encrypted".to_owned());
            return Err(LedgerError::Unsafe(Warning { setting, found, wanted: "encrypted, as the URL asks" }));
        }
        // Reads inside a transaction have to see what was committed since it began, or whoever finds that somebody was faster
        // would not find what that one wrote. The variable is for the trigger on the blacklist. Nobody tells a server of a process that
        // vanished with its machine: what it had locked is free when nothing was asked on its connection for a minute. No connection of
        // ours is left alone that long while it holds anything, and one that lay idle is tried before it is used.
        connection.batch_execute(&format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED{read_only}; \
             SET SESSION autocommit = 1, innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}, \
             time_zone = '+00:00', {MODE}, lc_messages = 'en_US', @simplejwt_rotates = 1, \
             wait_timeout = LEAST(@@SESSION.wait_timeout, 60) /*M!100300 , idle_transaction_timeout = 60 */",
            read_only = if access == Access::ReadOnly { ", READ ONLY" } else { "" },
            seconds = patience.as_secs().max(1)
        ))?;
        Ok(AnyConnection::Mysql(connection))
    }

    /// Without strictness, what is too long would be cut without a word.
    const MODE: &str = "sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
                        NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT'";

    pub(super) fn set_mode(connection: &mut MysqlConnection) -> QueryResult<()> {
        connection.batch_execute(&format!("SET SESSION {MODE}"))
    }

    #[derive(QueryableByName)]
    struct Status {
        #[diesel(sql_type = Text)]
        #[diesel(column_name = "Value")]
        value: String,
    }

    /// How the connection is encrypted; empty if it is not. MariaDB's client library goes on in the clear where the server
    /// has no TLS.
    fn cipher(connection: &mut MysqlConnection) -> QueryResult<String> {
        let status = diesel::sql_query("SHOW SESSION STATUS LIKE 'Ssl_cipher'").get_result::<Status>(connection)?;
        Ok(status.value)
    }
}
