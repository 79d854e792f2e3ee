//! Where the databases differ. Every `match` here is total, so that a new database is a compile error in each place
//! that has to know of it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{BigInt, Text};

use super::connection::AnyConnection;
use super::error::{LedgerError, SchemaError};
use super::url::DatabaseUrl;
use super::user_key::{UserKey, UserKeyType};

/// Opens a connection and makes it keep the promises, or says why it cannot.
pub(super) fn dial(url: &DatabaseUrl, patience: Duration) -> Result<AnyConnection, LedgerError> {
    let unreachable = |reason: String| LedgerError::Unreachable { url: url.to_string(), reason };
    if let Some(path) = url.path()
        && !path.try_exists().map_err(|error| unreachable(error.to_string()))?
    {
        return Err(LedgerError::Missing { url: url.to_string() });
    }
    let established = SqliteConnection::establish(&url.sqlite_uri());
    let mut connection = AnyConnection::Sqlite(established.map_err(|error| unreachable(error.to_string()))?);
    // First of all, or the statements after it would not wait for a lock.
    connection.batch_execute(&format!("PRAGMA busy_timeout = {}", patience.as_millis()))?;
    connection.batch_execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    if url.path().is_some() {
        write_ahead(&mut connection, patience)?;
    }
    match durability(&mut connection)?.into_iter().next() {
        Some(warning) if url.path().is_some() => Err(LedgerError::Unsafe(warning)),
        _ => Ok(connection),
    }
}

/// Which file a database is, if it is one: device and number.
pub(super) type FileId = (u64, u64);

/// Which file the URL leads to now.
#[cfg(unix)]
pub(super) fn file_id(url: &DatabaseUrl) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::metadata(url.path()?).ok()?;
    Some((file.dev(), file.ino()))
}

/// Elsewhere an open file cannot be replaced.
#[cfg(not(unix))]
pub(super) fn file_id(_: &DatabaseUrl) -> Option<FileId> {
    None
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

/// The settings of this connection that endanger a promise, as the database itself gives them.
pub(super) fn durability(connection: &mut AnyConnection) -> QueryResult<Vec<Warning>> {
    let AnyConnection::Sqlite(_) = connection;
    let wanted = [("journal_mode", "wal", "wal"), ("synchronous", "2", "2 (FULL)"), ("foreign_keys", "1", "1 (on)")];
    let mut warnings = Vec::new();
    for (setting, value, wanted) in wanted {
        // A pragma cannot be a part of a query, except as the table-valued function of its name.
        let query = format!("SELECT CAST({setting} AS TEXT) AS text FROM pragma_{setting}");
        let found = diesel::sql_query(query).get_result::<TextRow>(connection)?.text;
        if found != value {
            warnings.push(Warning { setting, found, wanted });
        }
    }
    Ok(warnings)
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

/// How many transactions that write can run at once.
pub(super) const fn writers(_url: &DatabaseUrl) -> u32 {
    1
}

/// Runs a transaction that will write; rolled back if it ends in an error. SQLite takes its lock at once: one that
/// begins by reading and then finds another writer in its way would fail without waiting.
pub(super) fn write<T, E, F>(connection: &mut AnyConnection, patience: Duration, work: F) -> Result<T, E>
where
    F: FnOnce(&mut AnyConnection) -> Result<T, E>,
    E: From<Error>,
{
    match connection {
        AnyConnection::Sqlite(sqlite) => begin_immediate(sqlite, patience)?,
    }
    let done = work(connection);
    match &done {
        Ok(_) => <AnyConnection as Connection>::TransactionManager::commit_transaction(connection)?,
        // Whatever is wrong with rolling back, the answer is what went wrong before; the pool drops the connection.
        Err(_) => drop(<AnyConnection as Connection>::TransactionManager::rollback_transaction(connection)),
    }
    done
}

/// Takes SQLite's one lock for writers. SQLite itself would wait in steps that grow to a tenth of a second, and sleep through
/// the moment between two batches of a flush; steps of a millisecond find it.
fn begin_immediate(sqlite: &mut SqliteConnection, patience: Duration) -> QueryResult<()> {
    let end = Instant::now() + patience;
    sqlite.batch_execute("PRAGMA busy_timeout = 0")?;
    let begun = loop {
        match AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN IMMEDIATE") {
            Err(Error::DatabaseError(_, said))
                if matches!(diagnose(said.message()), Some(LedgerError::Busy)) && Instant::now() < end =>
            {
                sleep(Duration::from_millis(1));
            }
            begun => break begun,
        }
    };
    sqlite.batch_execute(&format!("PRAGMA busy_timeout = {}", patience.as_millis()))?;
    begun
}

/// Runs an insert, and says whether it inserted: `false` means that there is a row with that key already. The insert
/// itself decides, in a savepoint, because some databases give up the whole transaction after a failed statement.
pub(super) fn if_new<F>(connection: &mut AnyConnection, insert: F) -> QueryResult<bool>
where
    F: FnOnce(&mut AnyConnection) -> QueryResult<usize>,
{
    match connection.transaction(insert) {
        Ok(_) => Ok(true),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What an error message of the database means.
pub(super) fn diagnose(message: &str) -> Option<LedgerError> {
    let says = |text: &str| message.contains(text);
    let error = if says("is locked") {
        LedgerError::Busy
    } else if says("readonly database") {
        LedgerError::ReadOnly
    } else if says("disk is full") {
        LedgerError::Full
    } else if says("is not a database") {
        LedgerError::NotADatabase
    } else if says("malformed") {
        LedgerError::Corrupt(message.to_owned())
    } else if says("disk I/O error") || says("unable to open database file") {
        LedgerError::Io(message.to_owned())
    } else if says("no such table") || says("no such column") || says("has no column named") {
        SchemaError::Missing(message.to_owned()).into()
    } else {
        return None;
    };
    Some(error)
}

/// `expires_at` of an outstanding row, as text that orders as the column does. Others write that column too: what they
/// wrote may be no instant, and still has its place in the order.
pub(super) const EXPIRES_AT_TEXT: &str = "CAST(token_blacklist_outstandingtoken.expires_at AS TEXT)";

/// `expires_at` of an outstanding row is compared with such text that follows.
pub(super) const EXPIRES_AT: &str = "token_blacklist_outstandingtoken.expires_at";

diesel::table! {
    /// The columns of a table, as SQLite describes them.
    pragma_table_info (name) {
        name -> Text,
        #[sql_name = "type"]
        declared -> Text,
        notnull -> Bool,
        dflt_value -> Nullable<Text>,
        arg -> Text,
    }
}

diesel::table! {
    /// The foreign keys of a table, as SQLite describes them.
    pragma_foreign_key_list (arg) {
        arg -> Text,
        #[sql_name = "from"]
        from_column -> Text,
        #[sql_name = "table"]
        to_table -> Text,
        #[sql_name = "to"]
        to_column -> Nullable<Text>,
    }
}

/// A column of a table, as its database describes it.
#[derive(Debug, Queryable)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its declared type, in lower case.
    pub(super) declared: String,
    /// A row without it is refused.
    pub(super) required: bool,
}

/// The columns of `table`; none if there is no such table.
pub(super) fn columns(connection: &mut AnyConnection, table: &str) -> QueryResult<Vec<Column>> {
    use pragma_table_info::{arg, declared, dflt_value, name, notnull, table as info};

    let AnyConnection::Sqlite(_) = connection;
    let mut found: Vec<Column> =
        info.filter(arg.eq(table)).select((name, declared, notnull.and(dflt_value.is_null()))).load(connection)?;
    for column in &mut found {
        column.declared.make_ascii_lowercase();
    }
    Ok(found)
}

/// Whether an index begins with this column.
pub(super) fn has_index(connection: &mut AnyConnection, table: &str, column: &str) -> QueryResult<bool> {
    let AnyConnection::Sqlite(_) = connection;
    let found = diesel::sql_query(
        "SELECT count(*) AS number FROM pragma_index_list AS list \
         JOIN pragma_index_info AS info ON info.arg = list.name \
         WHERE list.arg = ? AND info.seqno = 0 AND info.name = ?",
    )
    .bind::<Text, _>(table)
    .bind::<Text, _>(column)
    .get_result::<NumberRow>(connection)?;
    Ok(found.number > 0)
}

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// The column `user_id` of the outstanding tokens, which may be Django's and of any type.
#[derive(Debug)]
pub(super) struct UserColumn {
    pub(super) kind: UserKeyType,
    /// Table and column of the users, where the database would refuse the id of none.
    references: Option<(String, String)>,
}

impl UserColumn {
    pub(super) fn of(connection: &mut AnyConnection) -> QueryResult<Self> {
        use pragma_foreign_key_list::{arg, from_column, table, to_column, to_table};

        const TABLE: &str = "token_blacklist_outstandingtoken";
        let found = columns(connection, TABLE)?.into_iter().find(|column| column.name == "user_id");
        let kind = found.map_or(UserKeyType::Text, |column| key_type(&column.declared));
        let references: Option<(String, Option<String>)> = table
            .filter(arg.eq(TABLE).and(from_column.eq("user_id")))
            .select((to_table, to_column))
            .first(connection)
            .optional()?;
        Ok(Self { kind, references: references.map(|(users, id)| (users, id.unwrap_or_else(|| "rowid".to_owned()))) })
    }

    /// The key as the column has it; [`None`] if it cannot hold that key.
    pub(super) fn text(&self, key: &UserKey) -> Option<String> {
        match self.kind {
            UserKeyType::Text => Some(key.as_str().to_owned()),
            UserKeyType::Integer | UserKeyType::BigInt => key.as_str().parse().ok().map(|id: i64| id.to_string()),
            UserKeyType::Uuid => key.as_str().parse().ok().map(|id: uuid::Uuid| id.simple().to_string()),
        }
    }

    /// What to write for a user: nothing if the column cannot hold the key, or if it must name a user and there is
    /// none, as simplejwt does.
    pub(super) fn to_write(
        &self,
        connection: &mut AnyConnection,
        key: Option<&UserKey>,
    ) -> QueryResult<Option<String>> {
        let Some(text) = key.and_then(|key| self.text(key)) else { return Ok(None) };
        let Some((users, id)) = &self.references else { return Ok(Some(text)) };
        let [users, id] = [users, id].map(|name| name.replace('"', "\"\""));
        let query = format!("SELECT count(*) AS number FROM \"{users}\" WHERE \"{id}\" = ?");
        let found = diesel::sql_query(query).bind::<Text, _>(&text).get_result::<NumberRow>(connection)?;
        Ok((found.number > 0).then_some(text))
    }

    /// What the column has, as a key.
    pub(super) fn key(&self, text: String) -> UserKey {
        match self.kind {
            UserKeyType::Text | UserKeyType::Integer | UserKeyType::BigInt => text.into(),
            UserKeyType::Uuid => text.parse().map_or(text, |id: uuid::Uuid| id.hyphenated().to_string()).into(),
        }
    }
}

/// The type of user key that a declared type stands for. Django keeps a UUID in 32 characters.
fn key_type(declared: &str) -> UserKeyType {
    match declared {
        "char(32)" | "uuid" => UserKeyType::Uuid,
        _ if declared.contains("bigint") => UserKeyType::BigInt,
        _ if declared.contains("int") => UserKeyType::Integer,
        _ => UserKeyType::Text,
    }
}

/// The type to declare for a user key.
pub(super) const fn declared_type(kind: UserKeyType) -> &'static str {
    match kind {
        UserKeyType::Text => "text",
        UserKeyType::Integer => "integer",
        UserKeyType::BigInt => "bigint",
        UserKeyType::Uuid => "char(32)",
    }
}
