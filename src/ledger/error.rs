//! Why the ledger could not answer.

use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error};

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
    #[error("there is no database at {url}; make one with `simplejwt migrate`, or name another with --database-url")]
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
    /// No answer by the deadline. The work may still be done.
    #[error("the database did not answer within {0:?}; try again")]
    Timeout(Duration),
    /// Every connection, or the turn to write, was taken for too long. Nothing was done.
    #[error("every connection to the database is in use; try again")]
    Saturated,
    /// Another process holds the lock. Nothing was done.
    #[error("the database is locked by another process; try again")]
    Busy,
    /// The database can be read only. Nothing was done.
    #[error("the database is read-only: check the rights of the file and of its directory")]
    ReadOnly,
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

impl LedgerError {
    /// Whether the same may well succeed later, with nobody mending anything but the database's surroundings.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout(_)
            | Self::Saturated
            | Self::Busy
            | Self::ReadOnly
            | Self::Full
            | Self::Io(_)
            | Self::Aborted => true,
            Self::Url(_)
            | Self::Missing { .. }
            | Self::NotADatabase
            | Self::Unsafe(_)
            | Self::Corrupt(_)
            | Self::Schema(_)
            | Self::UserChanged
            | Self::Duplicate(_)
            | Self::Query(_) => false,
        }
    }

    /// Whether the connection may have lost track of the file, so that it must not be used again.
    pub(super) const fn spoils_connection(&self) -> bool {
        // A connection that was opened read-only stays so after the rights were mended.
        matches!(self, Self::Io(_) | Self::Full | Self::ReadOnly | Self::Corrupt(_) | Self::NotADatabase)
    }
}

impl From<Error> for LedgerError {
    fn from(error: Error) -> Self {
        match &error {
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::Duplicate("key"),
            Error::DatabaseError(_, information) => {
                dialect::diagnose(information.message()).unwrap_or(Self::Query(error))
            }
            // What went wrong first says more than that cleaning up after it failed too.
            Error::RollbackErrorOnCommit { commit_error, .. } => match &**commit_error {
                Error::DatabaseError(_, information) => {
                    dialect::diagnose(information.message()).unwrap_or(Self::Query(error))
                }
                _ => Self::Query(error),
            },
            _ => Self::Query(error),
        }
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
    /// A type of user key was asked for that the existing table does not have.
    #[error("the column user_id is {found} already; --user-key can choose it only for a new database")]
    UserKey {
        /// The type that it has.
        found: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(kind: DatabaseErrorKind, message: &str) -> LedgerError {
        Error::DatabaseError(kind, Box::new(message.to_owned())).into()
    }

    #[test]
    fn what_the_database_says_is_understood() {
        let unknown = |message| database(DatabaseErrorKind::Unknown, message);
        assert!(matches!(unknown("database is locked"), LedgerError::Busy));
        assert!(matches!(unknown("attempt to write a readonly database"), LedgerError::ReadOnly));
        assert!(matches!(unknown("database or disk is full"), LedgerError::Full));
        assert!(matches!(unknown("disk I/O error"), LedgerError::Io(_)));
        assert!(matches!(unknown("database disk image is malformed"), LedgerError::Corrupt(_)));
        assert!(matches!(unknown("file is not a database"), LedgerError::NotADatabase));
        assert!(matches!(unknown("no such table: x"), LedgerError::Schema(SchemaError::Missing(_))));
        assert!(matches!(unknown("near \"x\": syntax error"), LedgerError::Query(_)));
        let unique = database(DatabaseErrorKind::UniqueViolation, "UNIQUE constraint failed: t.c");
        assert!(matches!(unique, LedgerError::Duplicate(_)));
    }

    #[test]
    fn what_may_pass_is_told_from_what_must_be_mended() {
        assert!(LedgerError::Busy.is_transient() && LedgerError::Timeout(Duration::from_secs(2)).is_transient());
        assert!(!LedgerError::NotADatabase.is_transient() && !LedgerError::Duplicate("username").is_transient());
    }
}
