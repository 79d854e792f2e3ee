//! Recognising the tables of an existing simplejwt, by their columns: the names of Django's migrations say little,
//! because projects add their own.

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::dialect::{self, Column};
use super::error::SchemaError;

/// The name of the outstanding table.
pub(super) const OUTSTANDING: &str = "token_blacklist_outstandingtoken";
/// The name of the blacklist table.
pub(super) const BLACKLISTED: &str = "token_blacklist_blacklistedtoken";

/// Whether simplejwt's two tables are there, in a form that we can share.
pub(super) fn shared_tables(connection: &mut AnyConnection) -> QueryResult<Result<bool, SchemaError>> {
    let outstanding = dialect::columns(connection, OUTSTANDING)?;
    let blacklisted = dialect::columns(connection, BLACKLISTED)?;
    Ok(judge(&outstanding, &blacklisted))
}

fn judge(outstanding: &[Column], blacklisted: &[Column]) -> Result<bool, SchemaError> {
    match (outstanding.is_empty(), blacklisted.is_empty()) {
        (true, true) => return Ok(false),
        (false, true) => {
            return Err(SchemaError::Missing(format!("only {OUTSTANDING} is there, without {BLACKLISTED}")));
        }
        (true, false) => {
            return Err(SchemaError::Missing(format!("only {BLACKLISTED} is there, without {OUTSTANDING}")));
        }
        (false, false) => {}
    }
    let column = |name: &str| outstanding.iter().find(|column| column.name == name);
    let too_old = |what: &str| Err(SchemaError::TooOld(what.to_owned()));
    // In the order of simplejwt's own migrations: jti became text, then user and created_at optional, then ids grew.
    if column("jti").is_none_or(|jti| !jti.declared.contains("char") && !jti.declared.contains("text")) {
        return too_old("there is no jti column of text");
    }
    if column("created_at").is_some_and(|column| column.required)
        || column("user_id").is_some_and(|column| column.required)
    {
        return too_old("created_at or user_id is required");
    }
    if blacklisted.iter().any(|column| column.name == "token_id" && !column.declared.contains("bigint")) {
        return too_old("token_id is no bigint");
    }
    has_all(OUTSTANDING, outstanding, &["id", "token", "created_at", "expires_at", "user_id", "jti"])?;
    has_all(BLACKLISTED, blacklisted, &["id", "blacklisted_at", "token_id"])?;
    Ok(true)
}

/// Nothing but these may be required, or we could not insert.
fn has_all(table: &'static str, found: &[Column], wanted: &[&str]) -> Result<(), SchemaError> {
    let foreign = |what: String| Err(SchemaError::Foreign { table, what });
    if let Some(missing) = wanted.iter().find(|name| found.iter().all(|column| column.name != **name)) {
        return foreign(format!("the column {missing} is missing"));
    }
    match found.iter().find(|column| column.required && !wanted.contains(&column.name.as_str())) {
        Some(extra) => foreign(format!("the column {} is required, and unknown here", extra.name)),
        None => Ok(()),
    }
}
