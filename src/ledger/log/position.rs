//! Where a reader of the log is.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::{simplejwt_revocation, simplejwt_revocation_state};
use crate::ledger::time::{Foreign, stored};
#[cfg(feature = "mutants")]
use {
    crate::ledger::schema::blacklisted_tokens,
    crate::mutant::{self, Mutant},
    diesel::dsl::max,
};

/// Where a reader of the log is: the last row that it has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which log. Another one is made where rows may have been missed.
    pub generation: String,
    /// The number of that row, or the one up to which all are pruned.
    pub seq: i64,
    /// When that row was written. A log that went back to an older state has another one in its place.
    pub at: Option<DateTime<Utc>>,
}

/// Why everything has to be loaded anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reload {
    /// The log is another one: the tables were made anew, or changes may have been missed.
    Generation,
    /// Rows after the position are pruned.
    Pruned,
    /// The log went back: the row at the position is not in it. A backup was restored, or another server took over that had not
    /// received everything.
    WentBack,
    /// The row at the position is not in it, and it is another log: a backup from before it was begun anew, or another database.
    Replaced,
}

impl Reload {
    /// Whether the ledger may not know any more what it once said.
    #[must_use]
    pub const fn may_have_lost(self) -> bool {
        match self {
            Self::WentBack | Self::Replaced => true,
            Self::Generation | Self::Pruned => false,
        }
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generation => "the log of revocations was begun anew",
            Self::Pruned => "the log of revocations was pruned beyond what was read of it",
            Self::WentBack => "the database went back to an older state: revocations may be lost in it",
            Self::Replaced => "the database is another one, or an older state of it",
        })
    }
}

/// The key of the one row of the state.
pub(super) const THE_ONE: i64 = 1;

/// That row.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = simplejwt_revocation_state)]
pub(super) struct Head {
    pub(super) generation: String,
    pub(super) pruned_through: i64,
}

pub(super) fn head(connection: &mut AnyConnection) -> QueryResult<Head> {
    simplejwt_revocation_state::table.find(THE_ONE).select(Head::as_select()).first(connection)
}

/// The last row that was written no later than a moment, by the clock of the database, from which a reader goes on whose own
/// position is lost: what was written since is new to it. That the rows are not quite in the order of their times does no harm, as
/// to read one twice does none.
pub(super) fn written_by(connection: &mut AnyConnection, moment: DateTime<Utc>) -> QueryResult<Position> {
    let Head { generation, pruned_through } = head(connection)?;
    let last: Option<(i64, Foreign)> = simplejwt_revocation::table
        .filter(simplejwt_revocation::at.le(stored(moment)))
        .order(simplejwt_revocation::seq.desc())
        .select((simplejwt_revocation::seq, simplejwt_revocation::at))
        .first(connection)
        .optional()?;
    Ok(at(generation, pruned_through, last))
}

fn at(generation: String, pruned_through: i64, last: Option<(i64, Foreign)>) -> Position {
    match last {
        Some((seq, at)) if seq >= pruned_through => Position { generation, seq, at: at.instant() },
        _ => Position { generation, seq: pruned_through, at: None },
    }
}

/// The end of the log.
pub(super) fn latest(connection: &mut AnyConnection) -> QueryResult<Position> {
    let Head { generation, pruned_through } = head(connection)?;
    #[cfg(feature = "mutants")]
    if mutant::is(Mutant::IdCursor) {
        let last = blacklisted_tokens::table.select(max(blacklisted_tokens::id)).first::<Option<i64>>(connection)?;
        return Ok(Position { generation, seq: last.unwrap_or(0), at: None });
    }
    let last: Option<(i64, Foreign)> = simplejwt_revocation::table
        .order(simplejwt_revocation::seq.desc())
        .select((simplejwt_revocation::seq, simplejwt_revocation::at))
        .first(connection)
        .optional()?;
    Ok(at(generation, pruned_through, last))
}
