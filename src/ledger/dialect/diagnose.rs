//! What the databases mean by what they say. Only SQLite's and MariaDB's words for it are always English; PostgreSQL is asked
//! for it where we may, and tells the errors that matter most by their number.

use diesel::result::DatabaseErrorKind;

use crate::ledger::adopt::BLACKLISTED;
use crate::ledger::error::{LedgerError, SchemaError};

/// What an error of the database means, unless it means nothing in particular.
pub(in crate::ledger) fn diagnose(kind: DatabaseErrorKind, message: &str) -> Option<LedgerError> {
    match kind {
        DatabaseErrorKind::UniqueViolation => return Some(LedgerError::Duplicate("key")),
        // No key of ours refers to anything that a transaction of ours does not see; somebody else took it away meanwhile.
        DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::ForeignKeyViolation => {
            return Some(LedgerError::Conflict);
        }
        DatabaseErrorKind::ReadOnlyTransaction => return Some(LedgerError::ReadOnly),
        DatabaseErrorKind::ClosedConnection => return Some(LedgerError::Lost),
        _ => {}
    }
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    let error = if says(LOCKED) {
        LedgerError::Busy
    } else if says(CONFLICT) || (says(&["SAVEPOINT"]) && says(&["does not exist"])) {
        LedgerError::Conflict
    } else if says(LOST) {
        LedgerError::Lost
    } else if says(READ_ONLY) {
        LedgerError::ReadOnly
    } else if says(FULL) {
        LedgerError::Full
    } else if says(&["is not a database"]) {
        LedgerError::NotADatabase
    } else if says(&["malformed"]) {
        LedgerError::Corrupt(message.to_owned())
    } else if says(&["disk I/O error", "unable to open database file"]) {
        LedgerError::Io(message.to_owned())
    } else if says(DENIED) {
        LedgerError::Denied(format!("{}; {}", message.trim_end(), to_grant(message)))
    } else if says(MISSING) || (says(&["relation \"", "column \"", "Table '"]) && says(NOT_THERE)) {
        SchemaError::Missing(message.to_owned()).into()
    } else {
        return None;
    };
    Some(error)
}

/// What to grant, and to whom, so that the statement that was refused is allowed.
fn to_grant(message: &str) -> String {
    // PostgreSQL names what it is about at the end.
    let named = |what: &str| message.split_once(what).map(|(_, name)| name.trim());
    if let Some(schema) = named("permission denied for schema ") {
        return format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO the user of the database URL");
    }
    if let Some(table) = named("must be owner of table ").or_else(|| named("must be owner of relation ")) {
        return format!("run it as the owner of {table}, or GRANT the owner's role TO the user of the database URL");
    }
    if let Some(table) = named("permission denied for table ") {
        // We put triggers on that one, and the words for the absence of that right are the same.
        let trigger = if table == BLACKLISTED { ", TRIGGER" } else { "" };
        return format!("GRANT SELECT, INSERT, UPDATE, DELETE{trigger} ON {table} TO the user of the database URL");
    }
    if let Some(sequence) = named("permission denied for sequence ") {
        return format!("GRANT USAGE, SELECT ON SEQUENCE {sequence} TO the user of the database URL");
    }
    if message.contains("log_bin_trust_function_creators") {
        return "while the server writes a binary log, it takes triggers only after SET GLOBAL log_bin_trust_function_creators = 1, \
                or from a user with SUPER"
            .to_owned();
    }
    if message.contains("specified as a definer") {
        return "a trigger runs with the rights of an account that is gone: drop the triggers named simplejwt_… and run \
                `simplejwt migrate`"
            .to_owned();
    }
    // MariaDB and MySQL say who was refused, with quotes, and what of.
    if let Some((right, rest)) = message.split_once(" command denied to user ") {
        let user = rest.split_whitespace().next().unwrap_or_default();
        let rights = match right.trim() {
            // Whoever may make our tables should be able to take them out again.
            "CREATE" => "CREATE, DROP",
            "INSERT" | "UPDATE" | "DELETE" => "SELECT, INSERT, UPDATE, DELETE",
            other => other,
        };
        let database = rest.split_once("for table `").and_then(|(_, table)| table.split_once("`."));
        let place = database.map_or_else(|| "the database".to_owned(), |(name, _)| format!("`{name}`.*"));
        return format!("GRANT {rights} ON {place} TO {user}");
    }
    "GRANT the user of the database URL what \"Rights\" in docs/django.md lists".to_owned()
}

const LOCKED: &[&str] = &["is locked", "due to lock timeout", "Lock wait timeout exceeded"];
/// MariaDB rolls the whole transaction back, so that its savepoints are gone when we go back to one.
const CONFLICT: &[&str] = &[
    "deadlock detected",
    "Deadlock found",
    "could not serialize",
    "Record has changed since last read",
    "tuple concurrently",
];
const LOST: &[&str] = &[
    "server closed the connection",
    "terminating connection",
    "connection to server was lost",
    "no connection to the server",
    "could not receive data",
    "could not send data",
    "SSL SYSCALL error",
    "is starting up",
    "is shutting down",
    "gone away",
    "Lost connection",
    "Connection was killed",
    "Server shutdown in progress",
];
const READ_ONLY: &[&str] = &["readonly database", "read-only transaction", "read-only option", "super-read-only"];
const FULL: &[&str] = &["disk is full", "No space left on device", "Disk full", "is full"];
const DENIED: &[&str] = &[
    "permission denied",
    "command denied to user",
    "must be owner of",
    "Access denied",
    "log_bin_trust_function_creators",
    "specified as a definer",
];
const MISSING: &[&str] = &["no such table", "no such column", "has no column named", "Unknown column"];
const NOT_THERE: &[&str] = &["does not exist", "doesn't exist"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_is_missing_is_named_with_what_to_grant() {
        for (said, grant) in [
            ("permission denied for schema public", "GRANT USAGE, CREATE ON SCHEMA public TO the user of"),
            ("permission denied for table x", "GRANT SELECT, INSERT, UPDATE, DELETE ON x TO the user of"),
            (
                "permission denied for table token_blacklist_blacklistedtoken",
                "GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON token_blacklist_blacklistedtoken TO the user of",
            ),
            ("permission denied for sequence x_id_seq", "GRANT USAGE, SELECT ON SEQUENCE x_id_seq TO the user of"),
            ("must be owner of table x", "run it as the owner of x, or GRANT the owner's role TO the user of"),
            (
                "CREATE command denied to user 'app'@'localhost' for table `d`.`t`",
                "GRANT CREATE, DROP ON `d`.* TO 'app'@'localhost'",
            ),
            (
                "UPDATE command denied to user 'app'@'%' for table 't'",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON the database TO 'app'@'%'",
            ),
            ("INDEX command denied to user 'app'@'%' for table `d`.`t`", "GRANT INDEX ON `d`.* TO 'app'@'%'"),
            (
                "TRIGGER command denied to user 'app'@'%' for table `d`.`token_blacklist_blacklistedtoken`",
                "GRANT TRIGGER ON `d`.* TO 'app'@'%'",
            ),
            (
                "You do not have the SUPER privilege and binary logging is enabled (you *might* want to use the less safe \
                 log_bin_trust_function_creators variable)",
                "SET GLOBAL log_bin_trust_function_creators = 1",
            ),
            (
                "The user specified as a definer ('gone'@'%') does not exist",
                "drop the triggers named simplejwt_… and run",
            ),
            ("Access denied for user 'app'@'%' to database 'd'", "GRANT the user of the database URL what"),
        ] {
            let error = diagnose(DatabaseErrorKind::Unknown, said).map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(said) && error.contains(grant), "{error}");
        }
    }
}
