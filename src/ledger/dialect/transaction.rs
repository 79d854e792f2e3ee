//! Transactions: how writers wait for each other, what reads see, and who of several was first.

use std::borrow::Cow;
use std::thread::sleep;
use std::time::Duration;
#[cfg(feature = "sqlite")]
use std::time::Instant;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use diesel::connection::SimpleConnection;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};

use super::NumberRow;
use crate::chain::chain;
use crate::ledger::connection::AnyConnection;
use crate::ledger::error::LedgerError;
#[cfg(feature = "postgres")]
use crate::ledger::schema::outstanding_tokens;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::ledger::schema::{simplejwt_session, simplejwt_token, simplejwt_user};
use crate::ledger::url::{DatabaseUrl, Place};
use crate::token::Jti;

/// How often a transaction is begun anew that was in the way of another one.
const ATTEMPTS: u64 = 4;

/// How many of so many connections may be at a transaction that writes. Writers who wait for each other, or for somebody
/// else's lock, must not keep readers waiting too.
#[cfg_attr(not(any(feature = "postgres", feature = "mysql")), expect(unused_variables, reason = "SQLite has one"))]
pub(in crate::ledger) const fn writers(url: &DatabaseUrl, connections: u32) -> u32 {
    match url.place() {
        #[cfg(feature = "sqlite")]
        Place::Memory | Place::File(_) => 1,
        #[cfg(feature = "postgres")]
        Place::Postgres(_) => connections - connections / 4,
        #[cfg(feature = "mysql")]
        Place::Mysql(_) => connections - connections / 4,
    }
}

/// What ends a transaction without its being committed.
pub(in crate::ledger) trait Transaction: From<Error> {
    /// Whether it only stood in the way of another one.
    fn is_conflict(&self) -> bool;
}

impl Transaction for LedgerError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict)
    }
}

/// Runs a transaction that will write; rolled back if it ends in an error. One that stood in the way of another is begun
/// anew, a few times, after a pause that is different for each.
pub(in crate::ledger) fn write<T, E, F>(connection: &mut AnyConnection, patience: Duration, work: F) -> Result<T, E>
where
    F: Fn(&mut AnyConnection) -> Result<T, E>,
    E: Transaction,
{
    let mut attempt = 1;
    loop {
        match write_once(connection, patience, &work) {
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => {
                sleep(Duration::from_millis(attempt * u64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 8));
                attempt += 1;
            }
            done => return done,
        }
    }
}

fn write_once<T, E, F>(connection: &mut AnyConnection, patience: Duration, work: F) -> Result<T, E>
where
    F: FnOnce(&mut AnyConnection) -> Result<T, E>,
    E: From<Error>,
{
    begin(connection, patience)?;
    let done = work(connection);
    match &done {
        Ok(_) => <AnyConnection as Connection>::TransactionManager::commit_transaction(connection)?,
        // Whatever is wrong with rolling back, the answer is what went wrong before; the pool drops the connection.
        Err(_) => drop(<AnyConnection as Connection>::TransactionManager::rollback_transaction(connection)),
    }
    done
}

#[cfg_attr(not(feature = "sqlite"), expect(unused_variables, reason = "only SQLite waits by our own hand"))]
fn begin(connection: &mut AnyConnection, patience: Duration) -> QueryResult<()> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(sqlite) => begin_immediate(sqlite, patience),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(postgres) => {
            // Once more than when it was opened: nothing is written by another clock, or acknowledged before it is on disk,
            // whatever somebody in between has reset since.
            AnsiTransactionManager::begin_transaction_sql(
                postgres,
                "BEGIN; SET LOCAL TIME ZONE 'UTC'; SELECT set_config('synchronous_commit', 'on', true) \
                 WHERE current_setting('synchronous_commit') = 'off'",
            )
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => AnsiTransactionManager::begin_transaction_sql(mysql, "BEGIN"),
    }
}

/// Takes SQLite's one lock for writers, at once: a transaction that begins by reading and then finds another writer in its way
/// would fail without waiting. SQLite itself would wait in steps that grow to a tenth of a second, and sleep through the moment
/// between two batches of a flush; steps of a millisecond find it.
#[cfg(feature = "sqlite")]
fn begin_immediate(sqlite: &mut SqliteConnection, patience: Duration) -> QueryResult<()> {
    let end = Instant::now() + patience;
    sqlite.batch_execute("PRAGMA busy_timeout = 0")?;
    let begun = loop {
        match AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN IMMEDIATE") {
            Err(Error::DatabaseError(kind, said))
                if matches!(super::diagnose(kind, said.message()), Some(LedgerError::Busy)) && Instant::now() < end =>
            {
                sleep(Duration::from_millis(1));
            }
            begun => break begun,
        }
    };
    sqlite.batch_execute(&format!("PRAGMA busy_timeout = {}", patience.as_millis()))?;
    begun
}

/// Runs reads that all see the database as it was at one moment.
pub(in crate::ledger) fn snapshot<T, F>(connection: &mut AnyConnection, work: F) -> QueryResult<T>
where
    F: FnOnce(&mut AnyConnection) -> QueryResult<T>,
{
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(sqlite) => AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN")?,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(postgres) => AnsiTransactionManager::begin_transaction_sql(
            postgres,
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL TIME ZONE 'UTC'",
        )?,
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => AnsiTransactionManager::begin_transaction_sql(
            mysql,
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION READ ONLY",
        )?,
    }
    let done = work(connection);
    // Nothing was written that could be lost.
    drop(<AnyConnection as Connection>::TransactionManager::rollback_transaction(connection));
    done
}

/// Runs `work` while nobody else on this database runs work of that name. Where there is only one writer anyway, its own
/// transaction has to see to that.
pub(in crate::ledger) fn alone<T, F>(connection: &mut AnyConnection, name: Work, work: F) -> Result<T, LedgerError>
where
    F: FnOnce(&mut AnyConnection) -> Result<T, LedgerError>,
{
    let Some((lock, unlock)) = named_lock(connection, &name.name()) else { return work(connection) };
    if diesel::sql_query(lock).get_result::<NumberRow>(connection)?.number == 0 {
        return Err(LedgerError::Busy);
    }
    let done = work(connection);
    match diesel::sql_query(unlock).get_result::<NumberRow>(connection) {
        Ok(_) => done,
        // A lock that cannot be given back has to go with its connection, whatever came of the work.
        Err(unlocking) => {
            if let Err(error) = &done {
                log::warn!("{}, and then {unlocking}", chain(error));
            }
            Err(LedgerError::Lost)
        }
    }
}

/// How a lock of that name is taken, and given back.
#[cfg_attr(not(any(feature = "postgres", feature = "mysql")), expect(unused_variables, reason = "SQLite has none"))]
#[cfg_attr(not(feature = "sqlite"), expect(clippy::unnecessary_wraps, reason = "SQLite needs none"))]
fn named_lock(connection: &AnyConnection, name: &str) -> Option<(String, String)> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => None,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Some((
            format!("SELECT CAST(1 AS bigint) AS number FROM pg_advisory_lock(hashtext('simplejwt.{name}'))"),
            format!("SELECT CAST(1 AS bigint) AS number FROM pg_advisory_unlock(hashtext('simplejwt.{name}'))"),
        )),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => {
            // Such names are shared by all databases of a server.
            let name = format!("CONCAT('simplejwt.{name}.', LEFT(MD5(DATABASE()), 32))");
            Some((
                format!("SELECT CAST(COALESCE(GET_LOCK({name}, @@innodb_lock_wait_timeout), 0) AS SIGNED) AS number"),
                format!("SELECT CAST(COALESCE(RELEASE_LOCK({name}), 0) AS SIGNED) AS number"),
            ))
        }
    }
}

/// Work of which only one may be at it at a time.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) enum Work {
    /// Making or removing tables.
    Migrate,
    /// Deciding whether a flush may begin.
    BeginFlush,
    /// Deleting a batch of a flush.
    FlushBatch,
    /// Recording a login of one user, who is known by a number here.
    Login(u64),
}

impl Work {
    fn name(self) -> Cow<'static, str> {
        match self {
            Self::Migrate => "migrate".into(),
            Self::BeginFlush => "flush".into(),
            Self::FlushBatch => "flush-batch".into(),
            // MariaDB's names have 64 characters at most.
            Self::Login(user) => format!("u{user:016x}").into(),
        }
    }
}

/// Whether the making of a table can be taken back.
pub(in crate::ledger) const fn migrates_in_transaction(connection: &AnyConnection) -> bool {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => true,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => true,
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => false,
    }
}

/// Runs an insert, and says whether it inserted: `false` means that there is a row with that key already. The insert
/// itself decides, in a savepoint, because some databases give up the whole transaction after a failed statement.
pub(in crate::ledger) fn if_new<F>(connection: &mut AnyConnection, insert: F) -> QueryResult<bool>
where
    F: FnOnce(&mut AnyConnection) -> QueryResult<usize>,
{
    match connection.transaction(insert) {
        Ok(_) => Ok(true),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The key that the last insert of this connection was given.
pub(in crate::ledger) fn last_id(connection: &mut AnyConnection) -> QueryResult<i64> {
    let query = match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => "SELECT last_insert_rowid() AS number",
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => "SELECT lastval() AS number",
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => "SELECT CAST(LAST_INSERT_ID() AS SIGNED) AS number",
    };
    diesel::sql_query(query).get_result::<NumberRow>(connection).map(|row| row.number)
}

/// How long this transaction, for which nobody waits, waits for a lock from now on, and whether that can be said here at all. So short
/// that it is hardly ever part of a deadlock that ends somebody else's: PostgreSQL ends the one that looks for it first, and looks
/// once, after having waited for a second. MariaDB and MySQL end the one that has changed less, at once.
#[cfg_attr(
    not(feature = "postgres"),
    expect(unused_variables, clippy::unnecessary_wraps, reason = "only PostgreSQL has it")
)]
pub(in crate::ledger) fn give_way_after(connection: &mut AnyConnection, wait: Duration) -> QueryResult<bool> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(false),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(postgres) => {
            postgres.batch_execute(&format!("SET LOCAL lock_timeout = {}", wait.as_millis().max(1))).map(|()| true)
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => Ok(false),
    }
}

/// Keeps everybody else from changing the row that a query finds by `$key`, until the end of this transaction. Where there is
/// only one writer at a time, nobody else can.
macro_rules! lock_row {
    ($connection:ident, $key:ident, $row:expr, $of:ty) => {{
        let _only_there = $key;
        match $connection {
            #[cfg(feature = "sqlite")]
            AnyConnection::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            AnyConnection::Postgres(postgres) => $row.for_update().first::<$of>(postgres).optional().map(drop),
            #[cfg(feature = "mysql")]
            AnyConnection::Mysql(mysql) => $row.for_update().first::<$of>(mysql).optional().map(drop),
        }
    }};
}

/// Keeps everybody else from changing what is known of a token.
pub(in crate::ledger) fn lock_token(connection: &mut AnyConnection, jti: &Jti) -> QueryResult<()> {
    lock_row!(connection, jti, simplejwt_token::table.find(jti.as_str()).select(simplejwt_token::jti), String)
}

/// The same for a session.
pub(in crate::ledger) fn lock_session(connection: &mut AnyConnection, session: &str) -> QueryResult<()> {
    lock_row!(connection, session, simplejwt_session::table.find(session).select(simplejwt_session::id), String)
}

/// The same for a user of the built-in table.
pub(in crate::ledger) fn lock_user(connection: &mut AnyConnection, id: i64) -> QueryResult<()> {
    lock_row!(connection, id, simplejwt_user::table.find(id).select(simplejwt_user::id), i64)
}

/// How a SELECT of several rows does the same for all of them, in the order of their keys, and for no other row: what stands after the
/// table, and at the end; and whether the statement may be used again when it has failed.
pub(in crate::ledger) const fn locks_rows(connection: &AnyConnection) -> (&'static str, &'static str, bool) {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => ("", "", true),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => ("", " FOR UPDATE", true),
        // In a small table it would look at all the rows, and wait for those that others have locked. A deadlock comes when the answer has
        // begun, and MariaDB's client library waits for the rest of that, for ever, when the statement is used again.
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => (" FORCE INDEX (PRIMARY)", " FOR UPDATE", false),
    }
}

/// The same for outstanding rows that are about to go: nobody can blacklist one of them any more, so that they can go.
#[cfg_attr(
    not(feature = "postgres"),
    expect(unused_variables, clippy::unnecessary_wraps, reason = "others do without")
)]
pub(in crate::ledger) fn lock_outstanding(connection: &mut AnyConnection, ids: &[i64]) -> QueryResult<()> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(()),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(postgres) => {
            let rows = outstanding_tokens::table.filter(outstanding_tokens::id.eq_any(ids));
            let rows = rows.order(outstanding_tokens::id).select(outstanding_tokens::id).for_update();
            rows.load::<i64>(postgres).map(drop)
        }
        // Whoever blacklists one has made a row before the key is looked at. To wait for it with that row would be a deadlock,
        // as we may come upon the row where we delete those that were there before.
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => Ok(()),
    }
}
