//! `token_blacklist_outstandingtoken`: simplejwt's table of recorded tokens, one row each.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamp};

use super::connection::AnyConnection;
use super::dialect::if_new;
use super::error::LedgerError;
use super::foreign_text::ForeignText;
use super::many::{self, Value};
use super::raw::Raw;
use super::schema::outstanding_tokens;
use super::shared::Shared;
use super::time::{Foreign, stored};
use super::user_key::UserKey;
use crate::token::Jti;

/// A recorded token, as simplejwt's `OutstandingToken` has it. Readable and writable with any Diesel connection, so that an
/// application can query it beside its own tables.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Identifiable)]
#[diesel(table_name = outstanding_tokens)]
pub struct OutstandingToken {
    /// The key of the row.
    pub id: i64,
    /// Empty: no token is ever stored. Django stores one here.
    pub token: String,
    /// When it was recorded, in UTC.
    pub created_at: Option<NaiveDateTime>,
    /// When it expires, in UTC; of a sliding token, its `refresh_exp`.
    pub expires_at: NaiveDateTime,
    /// Whose it is.
    pub user_id: Option<String>,
    /// The token's identity.
    pub jti: String,
}

/// What the other files need of a row, whoever wrote it.
#[derive(Debug, Queryable)]
pub(super) struct Known {
    pub(super) id: i64,
    pub(super) expires_at: Foreign,
    pub(super) user_id: Option<String>,
}

/// The row of a token.
pub(super) fn find(connection: &mut AnyConnection, shared: &Shared, jti: &Jti) -> QueryResult<Option<Known>> {
    outstanding_tokens::table
        .filter(outstanding_tokens::jti.eq(jti.as_str()))
        .filter(shared.is_exactly(jti.as_str()))
        .select((outstanding_tokens::id, outstanding_tokens::expires_at, shared.user_text()))
        .first(connection)
        .optional()
}

/// When the token of a row was issued, if that is said.
pub(super) fn created_at(connection: &mut AnyConnection, id: i64) -> QueryResult<Option<DateTime<Utc>>> {
    let at: Option<Foreign> =
        outstanding_tokens::table.find(id).select(outstanding_tokens::created_at).first(connection)?;
    Ok(at.and_then(Foreign::instant))
}

/// A row, and whether it is blacklisted.
pub(super) struct Listed {
    pub(super) row: Known,
    pub(super) listed: bool,
}

/// The rows of tokens, by their jti.
pub(super) fn find_all(
    connection: &mut AnyConnection,
    shared: &Shared,
    jtis: &[&str],
) -> QueryResult<HashMap<String, Listed>> {
    type Columns = (Text, BigInt, Timestamp, Nullable<Text>, Nullable<BigInt>);
    type Row = (ForeignText, i64, Foreign, Option<String>, Option<i64>);

    let select = format!(
        "SELECT token_blacklist_outstandingtoken.jti, token_blacklist_outstandingtoken.id, \
         token_blacklist_outstandingtoken.expires_at, {}, token_blacklist_blacklistedtoken.token_id \
         FROM token_blacklist_outstandingtoken LEFT JOIN token_blacklist_blacklistedtoken \
         ON token_blacklist_blacklistedtoken.token_id = token_blacklist_outstandingtoken.id \
         WHERE token_blacklist_outstandingtoken.jti",
        shared.user_as_text()
    );
    let found: Vec<Row> = many::find::<Columns, _>(connection, &select, jtis, "")?;
    // By the very name, as some databases find a jti also where another one was asked for.
    let known = |(jti, id, expires_at, user_id, listed): Row| {
        Some((jti.0?, Listed { row: Known { id, expires_at, user_id }, listed: listed.is_some() }))
    };
    Ok(found.into_iter().filter_map(known).collect())
}

/// A row to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewOutstanding<'a> {
    pub(super) jti: &'a Jti,
    pub(super) user: Option<&'a UserKey>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

/// Records a token; fails if it is recorded already.
pub(super) fn insert(connection: &mut AnyConnection, shared: &Shared, new: NewOutstanding<'_>) -> QueryResult<usize> {
    let user = shared.to_write(connection, new.user)?;
    diesel::insert_into(outstanding_tokens::table)
        .values((
            // Nobody reads the token back, and what is not there cannot leak.
            outstanding_tokens::token.eq(""),
            outstanding_tokens::created_at.eq(stored(new.created_at)),
            outstanding_tokens::expires_at.eq(stored(new.expires_at)),
            outstanding_tokens::user_id.eq(shared.user_value(user)),
            outstanding_tokens::jti.eq(new.jti.as_str()),
        ))
        .execute(connection)
}

/// Records tokens, each with what is written for its user; fails if one of them is recorded already.
pub(super) fn insert_all(
    connection: &mut AnyConnection,
    shared: &Shared,
    new: &[(NewOutstanding<'_>, Option<&str>)],
) -> QueryResult<()> {
    const INTO: &str = "token_blacklist_outstandingtoken (token, created_at, expires_at, user_id, jti)";

    let mut rows: Vec<[Value<'_>; 5]> = Vec::with_capacity(new.len());
    for (NewOutstanding { jti, created_at, expires_at, .. }, user) in new {
        // Nobody reads the token back, as above.
        let (created_at, expires_at) = (stored(*created_at), stored(*expires_at));
        rows.push(["".into(), created_at.into(), expires_at.into(), shared.user_in_row(*user), jti.as_str().into()]);
    }
    many::insert(connection, INTO, &rows)
}

/// The row of a token, made if missing.
pub(super) fn obtain(
    connection: &mut AnyConnection,
    shared: &Shared,
    new: NewOutstanding<'_>,
) -> Result<Known, LedgerError> {
    if let Some(known) = find(connection, shared, new.jti)? {
        return Ok(known);
    }
    // Somebody else may have been quicker, and that is as good.
    if_new(connection, |connection| insert(connection, shared, new))?;
    // Django's table may take another jti for this one. Otherwise it was there, and somebody deleted it meanwhile.
    let gone = if shared.is_loose() { LedgerError::Duplicate(ALIKE) } else { LedgerError::Conflict };
    find(connection, shared, new.jti)?.ok_or(gone)
}

const ALIKE: &str = "jti, but for upper and lower case or spaces at its end";

/// Takes a user's name off their tokens, which stay recorded. Django does the same when a user is deleted.
pub(super) fn disown(connection: &mut AnyConnection, shared: &Shared, user: &UserKey) -> QueryResult<usize> {
    let Some(text) = shared.text(user) else { return Ok(0) };
    diesel::update(outstanding_tokens::table.filter(shared.is_of_user(text)))
        // As a word, because a parameter would have a type that the column may not have.
        .set(outstanding_tokens::user_id.eq(Raw::<Nullable<Text>>::new("NULL")))
        .execute(connection)
}
