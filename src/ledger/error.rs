//! Why the ledger could not answer.

use std::time::Duration;

use diesel::result::Error;

use super::dialect;
use super::url::DatabaseUrlError;

/// Why the ledger could not answer. Never means "not blacklisted", and after a write never means "not done" unless the
/// variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The URL names no database that this build can open.
    #[error(transparent)]
    Url(#[from] DatabaseUrlError),
    /// There is no such database, and nobody asked for a new one.
    #[error("there is no database at {url}; {}, or name another with --database-url", how_to_make(url))]
    Missing {
        /// The URL, without a password.
        url: String,
    },
    /// The database cannot be opened.
    #[error("the database {url} cannot be opened: {reason}")]
    Unreachable {
        /// The URL, without a password.
        url: String,
        /// What the database said.
        reason: String,
    },
    /// The file is no database.
    #[error("the file is not an SQLite database, or it is encrypted; name another with --database-url")]
    NotADatabase,
    /// The database is set in a way that could lose what it acknowledged.
    #[error("the database cannot keep its promises: {0}")]
    Unsafe(super::Warning),
    /// Something between us and the server hands out its sessions by the transaction.
    #[error(
        "the PostgreSQL server is behind a pooler that shares sessions between transactions; connect to the server itself, or set the pooler to session pooling"
    )]
    Pooled,
    /// No answer by the deadline. The work may still be done.
    #[error("the database did not answer within {0:?}; try again")]
    Timeout(Duration),
    /// Every connection, or the turn to write, was taken for too long. Nothing was done.
    #[error("every connection to the database is in use; try again")]
    Saturated,
    /// Another process holds the lock. Nothing was done.
    #[error("the database is locked by another process; try again")]
    Busy,
    /// Another transaction stood in the way, several times. Nothing was done.
    #[error("other transactions stood in the way; try again")]
    Conflict,
    /// The connection broke. The work may be done.
    #[error("the connection to the database was lost; try again")]
    Lost,
    /// The database can be read only. Nothing was done.
    #[error(
        "the database is read-only: check the rights of the file and its directory, or that the server is the primary"
    )]
    ReadOnly,
    /// The ledger was opened only to read it. Nothing was done.
    #[error("this process only verifies tokens: it opened the database to read it, and can issue and revoke nothing")]
    VerifiesOnly,
    /// There is no database: this process was opened without one.
    #[error(
        "this process has no database, only Redis: it can tell neither of users nor of records, and can write nothing"
    )]
    NoDatabase,
    /// The user of the database lacks a right: which, and what to grant. Nothing was done.
    #[error("the database refused for want of rights: {0}")]
    Denied(String),
    /// No space is left. Nothing was done.
    #[error("the disk of the database is full")]
    Full,
    /// Reading or writing the file failed. Whether the work was done is unknown.
    #[error("reading or writing the database failed: {0}")]
    Io(String),
    /// The file is damaged.
    #[error("the database file is damaged ({0}); stop every program that uses it and restore a backup")]
    Corrupt(String),
    /// The tables are not those that this version needs.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The user of a login was disabled, removed or got another password while the login was checked.
    #[error("the user was changed during the login")]
    UserChanged,
    /// The id of a user is none that every database could hold.
    #[error("the id of a user has 500 characters at most, and no NUL")]
    UserKey,
    /// The user has as many sessions as may be. Nothing was done.
    #[error("the user has as many sessions as may be (setting `max_sessions_per_user`)")]
    TooManySessions,
    /// There is one of that name already.
    #[error("there is one already with the same {0}")]
    Duplicate(&'static str),
    /// The database refused a statement.
    #[error("the database refused a statement: {0}")]
    Query(#[source] Error),
    /// The work ended without an answer, because it panicked or the program is ending.
    #[error("the work on the database ended without an answer")]
    Aborted,
}

/// What makes the database of this URL.
fn how_to_make(url: &str) -> &'static str {
    if url.starts_with("sqlite:") {
        "make one with `simplejwt migrate`"
    } else {
        "make one on that server (CREATE DATABASE)"
    }
}

impl LedgerError {
    /// Whether the same may well succeed later, with nobody mending anything but the database's surroundings.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout(_)
            | Self::Saturated
            | Self::Busy
            | Self::Conflict
            | Self::Lost
            | Self::ReadOnly
            | Self::Full
            | Self::Io(_)
            | Self::Aborted => true,
            Self::Url(_)
            | Self::Missing { .. }
            | Self::NotADatabase
            | Self::Unsafe(_)
            | Self::Pooled
            | Self::VerifiesOnly
            | Self::NoDatabase
            | Self::Denied(_)
            | Self::Corrupt(_)
            | Self::Schema(_)
            | Self::UserChanged
            | Self::UserKey
            | Self::TooManySessions
            | Self::Duplicate(_)
            | Self::Query(_) => false,
        }
    }

    /// Whether a change may have been made all the same.
    #[must_use]
    pub const fn is_uncertain(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Lost | Self::Io(_) | Self::Corrupt(_) | Self::Query(_) | Self::Aborted => true,
            Self::Url(_)
            | Self::Missing { .. }
            | Self::Unreachable { .. }
            | Self::NotADatabase
            | Self::Unsafe(_)
            | Self::Pooled
            | Self::Saturated
            | Self::Busy
            | Self::Conflict
            | Self::ReadOnly
            | Self::VerifiesOnly
            | Self::NoDatabase
            | Self::Denied(_)
            | Self::Full
            | Self::Schema(_)
            | Self::UserChanged
            | Self::UserKey
            | Self::TooManySessions
            | Self::Duplicate(_) => false,
        }
    }

    /// Whether the connection may be of no use any more.
    pub(super) const fn spoils_connection(&self) -> bool {
        match self {
            // One to a file that was opened read-only stays so after the rights were mended.
            Self::Io(_)
            | Self::Full
            | Self::ReadOnly
            | Self::Corrupt(_)
            | Self::NotADatabase
            | Self::Lost
            | Self::Unsafe(_)
            // Nobody knows what state it is in.
            | Self::Query(_)
            | Self::Aborted => true,
            Self::Url(_)
            | Self::Missing { .. }
            | Self::Unreachable { .. }
            | Self::Timeout(_)
            | Self::Saturated
            | Self::Busy
            | Self::Conflict
            | Self::VerifiesOnly
            | Self::NoDatabase
            | Self::Denied(_)
            | Self::Pooled
            | Self::Schema(_)
            | Self::UserChanged
            | Self::UserKey
            | Self::TooManySessions
            | Self::Duplicate(_) => false,
        }
    }
}

impl From<Error> for LedgerError {
    fn from(error: Error) -> Self {
        let said = match &error {
            // What went wrong first says more than that cleaning up after it failed too.
            Error::RollbackErrorOnCommit { commit_error, .. } => commit_error,
            other => other,
        };
        let meaning = match said {
            Error::DatabaseError(kind, information) => dialect::diagnose(*kind, information.message()),
            Error::BrokenTransactionManager => Some(Self::Lost),
            _ => None,
        };
        meaning.unwrap_or(Self::Query(error))
    }
}

/// What is wrong with the tables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A table or column is not there.
    #[error("the database has no tables of ours ({0}); run `simplejwt migrate`")]
    Missing(String),
    /// The database is older than this program.
    #[error("the tables are older than this program, which needs {0}; run `simplejwt migrate`")]
    Older(String),
    /// The database is newer than this program.
    #[error("the tables were made by a newer version ({0}); run that version")]
    Newer(String),
    /// Tables of Django's simplejwt before 4.7.
    #[error(
        "the tables are those of a simplejwt before 4.7 ({0}); upgrade djangorestframework-simplejwt and run `manage.py migrate token_blacklist` first"
    )]
    TooOld(String),
    /// Tables of the same name with other columns.
    #[error("the table {table} is not simplejwt's: {what}")]
    Foreign {
        /// The table.
        table: &'static str,
        /// What differs.
        what: String,
    },
    /// The table of Django's users is not there.
    #[error(
        "setting `django_user_table`: the database has no table '{0}'; name the table of the project's user model, or run `manage.py migrate` first"
    )]
    NoUserTable(String),
    /// It lacks a column.
    #[error(
        "setting `django_user_columns`: the table '{table}' has no column '{column}'; set `{field}` to the name that it has there"
    )]
    NoUserColumn {
        /// The table.
        table: String,
        /// What the setting calls the column.
        field: &'static str,
        /// The name that was looked for.
        column: String,
    },
    /// A type of user key was asked for that the existing table does not have.
    #[error("the column user_id is {found} already; --user-key can choose it only for a new database")]
    UserKey {
        /// The type that it has.
        found: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use diesel::result::DatabaseErrorKind;

    use super::*;

    fn database(kind: DatabaseErrorKind, message: &str) -> LedgerError {
        Error::DatabaseError(kind, Box::new(message.to_owned())).into()
    }

    #[test]
    fn what_the_database_says_is_understood() {
        let unknown = |message| database(DatabaseErrorKind::Unknown, message);
        for locked in [
            "database is locked",
            "canceling statement due to lock timeout",
            "Lock wait timeout exceeded; try restarting transaction",
        ] {
            assert!(matches!(unknown(locked), LedgerError::Busy), "{locked}");
        }
        for conflict in [
            "deadlock detected",
            "Deadlock found when trying to get lock; try restarting transaction",
            "SAVEPOINT diesel_savepoint_1 does not exist",
        ] {
            assert!(matches!(unknown(conflict), LedgerError::Conflict), "{conflict}");
        }
        for read_only in [
            "attempt to write a readonly database",
            "cannot execute INSERT in a read-only transaction",
            "The MariaDB server is running with the --read-only option so it cannot execute this statement",
        ] {
            assert!(matches!(unknown(read_only), LedgerError::ReadOnly), "{read_only}");
        }
        for lost in ["server closed the connection unexpectedly", "Server has gone away", "Lost connection to server"] {
            assert!(matches!(unknown(lost), LedgerError::Lost), "{lost}");
        }
        assert!(matches!(unknown("database or disk is full"), LedgerError::Full));
        assert!(matches!(unknown("disk I/O error"), LedgerError::Io(_)));
        assert!(matches!(unknown("database disk image is malformed"), LedgerError::Corrupt(_)));
        assert!(matches!(unknown("file is not a database"), LedgerError::NotADatabase));
        assert!(matches!(unknown("permission denied for table x"), LedgerError::Denied(_)));
        for missing in ["no such table: x", "relation \"x\" does not exist", "Table 'd.x' doesn't exist"] {
            assert!(matches!(unknown(missing), LedgerError::Schema(SchemaError::Missing(_))), "{missing}");
        }
        assert!(matches!(unknown("near \"x\": syntax error"), LedgerError::Query(_)));
        let unique = database(DatabaseErrorKind::UniqueViolation, "UNIQUE constraint failed: t.c");
        assert!(matches!(unique, LedgerError::Duplicate(_)));
        assert!(matches!(database(DatabaseErrorKind::SerializationFailure, ""), LedgerError::Conflict));
    }

    #[test]
    fn what_may_pass_is_told_from_what_must_be_mended() {
        assert!(LedgerError::Busy.is_transient() && LedgerError::Timeout(Duration::from_secs(2)).is_transient());
        assert!(!LedgerError::NotADatabase.is_transient() && !LedgerError::Duplicate("username").is_transient());
    }
}
