//! How the log stands, for an operator.

use diesel::dsl::count_star;
use diesel::prelude::*;

use super::position;
use super::{Position, TriggerFault, faults};
use crate::ledger::LedgerError;
use crate::ledger::connection::AnyConnection;
use crate::ledger::dialect;
use crate::ledger::schema::simplejwt_revocation;

/// How the log of revocations stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogState {
    /// Its end.
    pub position: Position,
    /// Up to where rows are gone. Whoever has read less has to load everything anew.
    pub pruned_through: i64,
    /// How many rows it has.
    pub rows: u64,
    /// How many more wait to be moved to it. Only MariaDB and MySQL have such.
    pub waiting: u64,
    /// What is wrong with what feeds it.
    pub faults: Vec<TriggerFault>,
}

pub(super) fn state(connection: &mut AnyConnection) -> Result<LogState, LedgerError> {
    let faults = faults(connection)?;
    let (position, pruned_through, rows, waiting) = dialect::snapshot(connection, |connection| {
        let rows: i64 = simplejwt_revocation::table.select(count_star()).first(connection)?;
        let pruned_through = position::head(connection)?.pruned_through;
        Ok((position::latest(connection)?, pruned_through, rows, dialect::count_waiting(connection)?))
    })?;
    let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
    Ok(LogState { position, pruned_through, rows: count(rows), waiting: count(waiting), faults })
}
