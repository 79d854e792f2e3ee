//! `token_blacklist_blacklistedtoken`: simplejwt's table of refused tokens, a row for each outstanding one.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::dialect::if_new;
use super::many;
use super::outstanding::OutstandingToken;
use super::schema::blacklisted_tokens;
use super::shared::Shared;
use super::time::stored;

/// A refused token, as simplejwt's `BlacklistedToken` has it. Readable with any Diesel connection. To write one, use
/// [`Ledger::revoke`](super::Ledger::revoke), which ends the token's session too.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Identifiable, Associations)]
#[diesel(table_name = blacklisted_tokens, belongs_to(OutstandingToken, foreign_key = token_id))]
pub struct BlacklistedToken {
    /// The key of the row.
    pub id: i64,
    /// Since when it is refused, in UTC.
    pub blacklisted_at: NaiveDateTime,
    /// The row of the token.
    pub token_id: i64,
}

/// Blacklists an outstanding token, and says whether it was not blacklisted before.
pub(super) fn add(connection: &mut AnyConnection, token_id: i64, at: DateTime<Utc>) -> QueryResult<bool> {
    if_new(connection, |connection| {
        diesel::insert_into(blacklisted_tokens::table)
            .values((blacklisted_tokens::blacklisted_at.eq(stored(at)), blacklisted_tokens::token_id.eq(token_id)))
            .execute(connection)
    })
}

/// Blacklists outstanding tokens; fails if one of them is blacklisted already.
pub(super) fn insert_all(connection: &mut AnyConnection, new: &[(i64, DateTime<Utc>)]) -> QueryResult<()> {
    let rows: Vec<_> = new.iter().map(|(token_id, at)| [stored(*at).into(), (*token_id).into()]).collect();
    many::insert(connection, "token_blacklist_blacklistedtoken (blacklisted_at, token_id)", &rows)
}

/// Whether an outstanding token is blacklisted.
pub(super) fn contains(connection: &mut AnyConnection, token_id: i64) -> QueryResult<bool> {
    diesel::select(exists(blacklisted_tokens::table.filter(blacklisted_tokens::token_id.eq(token_id))))
        .get_result(connection)
}

/// Takes a token off the blacklist, and says whether it was there.
pub(super) fn remove(connection: &mut AnyConnection, token_id: i64) -> QueryResult<bool> {
    diesel::delete(blacklisted_tokens::table.filter(blacklisted_tokens::token_id.eq(token_id)))
        .execute(connection)
        .map(|rows| rows > 0)
}

/// Has everybody look anew at tokens that are blacklisted already: what else is known of them has changed. The triggers on the table
/// fire although nothing in the rows is another than before. Says whether all of these rows are still there.
pub(super) fn announce(connection: &mut AnyConnection, shared: &Shared, token_ids: &[i64]) -> QueryResult<bool> {
    for ids in token_ids.chunks(1000) {
        let listed = shared.is_number_among("token_blacklist_blacklistedtoken.token_id", ids);
        let told = diesel::update(blacklisted_tokens::table.filter(listed))
            .set(blacklisted_tokens::token_id.eq(blacklisted_tokens::token_id))
            .execute(connection)?;
        if told < ids.len() {
            return Ok(false);
        }
    }
    Ok(true)
}
