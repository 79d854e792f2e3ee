//! What a webhook has still to be told: the events of which the column `delivery` says that nobody has told them yet.
//!
//! Every event is written as one that is open, by whichever process and settings. Who delivers takes some for a while, by counting an
//! attempt: of several processes the conditional update picks one. Whoever dies over it leaves them open, and when the while is over
//! somebody else takes them. Late commits need no care, since a row says itself whether it is open.

use chrono::{DateTime, Utc};
use diesel::dsl::{count_star, min};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::events::{EventRow, Row};
use super::schema::simplejwt_event::dsl;
use super::time::{Stored, stored};
use super::{Ledger, LedgerError};

/// Nobody has taken it, or not for good.
const OPEN: i16 = 0;

/// Whoever was to be told has been told.
const DELIVERED: i16 = 1;

/// It was tried for as long as it is tried.
const GIVEN_UP: i16 = 2;

/// What somebody wants to deliver.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only events of these sorts.
    pub actions: Vec<String>,
    /// Only what happened since then: what is older is not delivered any more.
    pub since: DateTime<Utc>,
    /// At most so many.
    pub limit: i64,
}

/// An event that was taken to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// The event.
    pub event: EventRow,
    /// Which attempt this is, counted from 1.
    pub attempt: u16,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// It was delivered.
    Delivered,
    /// It was not; not before this instant it is to be tried again.
    Again(DateTime<Utc>),
    /// It was not, and is not to be tried again.
    GivenUp,
}

/// How much is left to be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// How many events.
    pub events: u64,
    /// When the oldest of them happened.
    pub oldest: Option<DateTime<Utc>>,
}

/// The ids of events that are to be delivered now, with the attempts that were made, the oldest first.
fn due(connection: &mut AnyConnection, wanted: &Wanted, now: Stored) -> QueryResult<Vec<(i64, i16)>> {
    dsl::simplejwt_event
        .filter(dsl::delivery.eq(OPEN))
        .filter(dsl::action.eq_any(&wanted.actions))
        .filter(dsl::at.ge(stored(wanted.since)))
        .filter(dsl::due_at.is_null().or(dsl::due_at.le(now)))
        .order((dsl::at, dsl::id))
        .limit(wanted.limit)
        .select((dsl::id, dsl::attempts))
        .load(connection)
}

fn take(
    connection: &mut AnyConnection,
    wanted: &Wanted,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<Vec<Taken>> {
    let mut ours = Vec::new();
    for (id, attempts) in due(connection, wanted, stored(now))? {
        let open = dsl::simplejwt_event.find(id).filter(dsl::delivery.eq(OPEN)).filter(dsl::attempts.eq(attempts));
        let taken = diesel::update(open)
            .set((dsl::attempts.eq(attempts.saturating_add(1)), dsl::due_at.eq(stored(until))))
            .execute(connection)?;
        if taken == 1 {
            ours.push(id);
        }
    }
    let rows = dsl::simplejwt_event.filter(dsl::id.eq_any(ours)).order((dsl::at, dsl::id));
    let rows: Vec<(Row, i16)> = rows.select((Row::as_select(), dsl::attempts)).load(connection)?;
    let taken = |(row, attempts): (Row, i16)| Taken { event: row.into(), attempt: attempts.unsigned_abs() };
    Ok(rows.into_iter().map(taken).collect())
}

fn settle(connection: &mut AnyConnection, id: i64, attempted: Attempted) -> QueryResult<usize> {
    // Whoever took longer than it was taken for may be late: what was delivered meanwhile stays so.
    let open = dsl::simplejwt_event.find(id).filter(dsl::delivery.eq(OPEN));
    match attempted {
        Attempted::Delivered => diesel::update(open).set(dsl::delivery.eq(DELIVERED)).execute(connection),
        Attempted::GivenUp => diesel::update(open).set(dsl::delivery.eq(GIVEN_UP)).execute(connection),
        Attempted::Again(at) => diesel::update(open).set(dsl::due_at.eq(stored(at))).execute(connection),
    }
}

fn backlog(connection: &mut AnyConnection, actions: &[String], since: Stored) -> QueryResult<Backlog> {
    let open = dsl::simplejwt_event
        .filter(dsl::delivery.eq(OPEN))
        .filter(dsl::action.eq_any(actions))
        .filter(dsl::at.ge(since));
    let (events, oldest): (i64, Option<Stored>) = open.select((count_star(), min(dsl::at))).first(connection)?;
    Ok(Backlog { events: u64::try_from(events).unwrap_or(0), oldest: oldest.map(Stored::and_utc) })
}

impl Ledger {
    /// Takes events to deliver them; nobody else gets them before `until`.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn take_deliveries(
        &self,
        wanted: &Wanted,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Taken>, LedgerError> {
        // Mostly there is nothing, and then nobody is kept from writing.
        let asked = Wanted { limit: 1, ..wanted.clone() };
        if self.run(move |connection| Ok(due(connection, &asked, stored(now))?)).await?.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = wanted.clone();
        self.write(move |connection| Ok(take(connection, &wanted, now, until)?)).await
    }

    /// Notes what came of attempts to deliver events.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn settle_deliveries(&self, attempts: Vec<(i64, Attempted)>) -> Result<(), LedgerError> {
        self.write(move |connection| {
            for (id, attempted) in &attempts {
                settle(connection, *id, *attempted)?;
            }
            Ok(())
        })
        .await
    }

    /// How many events of these sorts, that happened since then, are not delivered yet.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn undelivered(&self, actions: &[String], since: DateTime<Utc>) -> Result<Backlog, LedgerError> {
        let actions = actions.to_owned();
        self.run_long(move |connection| Ok(backlog(connection, &actions, stored(since))?)).await
    }
}
