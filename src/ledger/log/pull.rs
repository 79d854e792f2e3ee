//! What changed after a position.

use diesel::prelude::*;

use super::position::{self, Head};
use super::resolve::{Asked, resolve};
use super::{Position, Pull, Reload};
use crate::ledger::connection::AnyConnection;
use crate::ledger::dialect;
use crate::ledger::foreign_text::ForeignText;
use crate::ledger::schema::simplejwt_revocation;
use crate::ledger::shared::Shared;
use crate::ledger::time::Foreign;
use crate::ledger::{Retention, is_full};
#[cfg(feature = "mutants")]
use crate::mutant::{self, Mutant};

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = simplejwt_revocation)]
struct Row {
    seq: i64,
    token_id: Option<i64>,
    jti: Option<ForeignText>,
    session_id: Option<String>,
    cutoff_id: Option<i64>,
    at: Foreign,
}

/// What was read at once.
pub(super) struct Page {
    /// What is in the log; whether there is more says nothing of the inbox.
    pub(super) pull: Pull,
    /// The last row that was read of the inbox, if there may be more after it.
    pub(super) waiting: Option<i64>,
}

/// Reads so many rows after a position, and so many of those that wait after another to be moved to the log. In a snapshot, so that none can be
/// moved between the two looks, and that what the tables say is at least as new as the rows.
pub(super) fn pull(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    from: &Position,
    limit: i64,
    after: i64,
) -> QueryResult<Page> {
    let limit = limit.max(1);
    let head = position::head(connection)?;
    #[cfg(feature = "mutants")]
    if mutant::is(Mutant::IdCursor) {
        return pull_by_id(connection, shared, retention, from, limit);
    }
    // With the row at the position itself, to see that it is the same.
    let mut rows: Vec<Row> = simplejwt_revocation::table
        .filter(simplejwt_revocation::seq.ge(from.seq))
        .order(simplejwt_revocation::seq)
        .limit(limit.saturating_add(1))
        .select(Row::as_select())
        .load(connection)?;
    if let Some(reload) = reload(from, &head, rows.first()) {
        return Ok(Page { pull: Pull::Reload(reload), waiting: None });
    }
    rows.retain(|row| row.seq > from.seq);
    // One more than asked for where the row at the position is pruned.
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let inbox = dialect::waiting(connection, after, limit)?;
    let more = is_full(&rows, limit);
    let waiting = inbox.last().map(|row| row.id).filter(|_| is_full(&inbox, limit));
    let position = rows.last().map_or_else(
        || from.clone(),
        |row| Position { generation: head.generation.clone(), seq: row.seq, at: row.at.instant() },
    );
    let mut asked = Asked::default();
    for row in inbox {
        asked.add(row.token_id, row.jti, row.session_id, row.cutoff_id);
    }
    for row in rows {
        asked.add(row.token_id, ForeignText::of(row.jti), row.session_id, row.cutoff_id);
    }
    let changes = resolve(connection, shared, retention, asked)?;
    Ok(Page { pull: Pull::Changes { changes, position, more }, waiting })
}

/// Reads so many rows of the blacklist after a key.
#[cfg(feature = "mutants")]
fn pull_by_id(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    from: &Position,
    limit: i64,
) -> QueryResult<Page> {
    use crate::ledger::schema::blacklisted_tokens::{id, table, token_id};

    let rows: Vec<(i64, i64)> =
        table.filter(id.gt(from.seq)).order(id).limit(limit).select((id, token_id)).load(connection)?;
    let seq = rows.last().map_or(from.seq, |row| row.0);
    let more = is_full(&rows, limit);
    let mut asked = Asked::default();
    for (_, token) in rows {
        asked.add(Some(token), None, None, None);
    }
    let changes = resolve(connection, shared, retention, asked)?;
    Ok(Page { pull: Pull::Changes { changes, position: Position { seq, ..from.clone() }, more }, waiting: None })
}

/// Whether a reader at this position cannot simply go on; `first` is the first row that is not before it.
fn reload(from: &Position, head: &Head, first: Option<&Row>) -> Option<Reload> {
    let same_log = from.generation == head.generation;
    if from.seq < head.pruned_through {
        return Some(if same_log { Reload::Pruned } else { Reload::Replaced });
    }
    // The row itself may be pruned.
    let pruned = from.seq == head.pruned_through;
    let there = pruned || first.is_some_and(|row| row.seq == from.seq && row.at.instant() == from.at);
    match (same_log, there) {
        (true, true) => None,
        (false, true) => Some(Reload::Generation),
        (true, false) => Some(Reload::WentBack),
        (false, false) => Some(Reload::Replaced),
    }
}
