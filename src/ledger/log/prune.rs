//! What of the log nobody can need any more.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::position::THE_ONE;
use crate::ledger::Retention;
use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::{outstanding_tokens, simplejwt_cutoff, simplejwt_revocation, simplejwt_revocation_state};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, stored};

/// Of a row: its number, when it was written, when its token expires as far as it says, and as the token says itself.
type Row = (i64, Foreign, Option<Foreign>, Option<Foreign>);

/// Deletes what may go of the next so many rows after a number, and returns where to go on. At the end, cutoffs that are over go
/// too. Up to where anything was deleted is written down in the same transaction, so that a reader who comes late notices.
pub(in crate::ledger) fn prune(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    as_of: DateTime<Utc>,
    after: i64,
    rows: i64,
) -> QueryResult<Option<i64>> {
    // Where the outstanding row is still there, it says better when the token expires; on SQLite it alone does.
    let token = simplejwt_revocation::token_id.eq(outstanding_tokens::id.nullable());
    let found: Vec<Row> = simplejwt_revocation::table
        .left_join(outstanding_tokens::table.on(token))
        .filter(simplejwt_revocation::seq.gt(after))
        .order(simplejwt_revocation::seq)
        .limit(rows)
        .select((
            simplejwt_revocation::seq,
            simplejwt_revocation::at,
            simplejwt_revocation::expires_at,
            outstanding_tokens::expires_at.nullable(),
        ))
        .load(connection)?;
    let lets_go = |row: &&Row| retention.log_lets_go(as_of, row.1, row.3.or(row.2));
    let going: Vec<i64> = found.iter().filter(lets_go).map(|row| row.0).collect();
    if let Some(last) = going.last() {
        diesel::delete(simplejwt_revocation::table.filter(shared.is_number_among("simplejwt_revocation.seq", &going)))
            .execute(connection)?;
        let state = simplejwt_revocation_state::table.find(THE_ONE);
        let state = state.filter(simplejwt_revocation_state::pruned_through.lt(*last));
        diesel::update(state).set(simplejwt_revocation_state::pruned_through.eq(*last)).execute(connection)?;
    }
    // The numbers are nearly the order of the times: behind one that was written lately there is none to go.
    let horizon = retention.log_horizon(as_of);
    let last = found.last().filter(|row| row.1.instant().is_none_or(|at| stored(at) <= horizon));
    if let Some(last) = last.filter(|_| crate::ledger::is_full(&found, rows)) {
        return Ok(Some(last.0));
    }
    let over = simplejwt_cutoff::table.filter(simplejwt_cutoff::keep_until.le(stored(as_of)));
    diesel::delete(over).execute(connection)?;
    Ok(None)
}
