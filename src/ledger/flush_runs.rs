//! `simplejwt_flush_run`: the runs of `flushexpiredtokens`, so that two do not get in each other's way and an operator
//! sees when the last one was.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::dialect::{self, Work};
use super::schema::simplejwt_flush_run::{self, dsl};
use super::time::stored;
#[cfg(feature = "admin")]
use super::{
    Actor,
    events::{self, Action, NewEvent},
};
use super::{Flushed, Ledger, LedgerError};

/// After so long without a sign of life, a run counts as dead.
const SILENCE: Duration = Duration::from_secs(60);

/// A run to be.
#[derive(Clone, Copy, Debug)]
pub struct NewFlushRun {
    /// Now.
    pub started_at: DateTime<Utc>,
    /// The moment for which it is decided what may go.
    pub as_of: DateTime<Utc>,
}

/// Whether a run may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushStart {
    /// It may; this is its number.
    Started(i64),
    /// Another one is at work.
    Busy {
        /// Since when.
        since: DateTime<Utc>,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlushOutcome {
    /// Nothing is left to delete.
    Done,
    /// It came to its limit of time or rows.
    Limited,
    /// It was asked to stop.
    Interrupted,
    /// The database failed it.
    Failed,
    /// It fell silent, and another run found it so.
    Died,
}

impl FlushOutcome {
    const ALL: [Self; 5] = [Self::Done, Self::Limited, Self::Interrupted, Self::Failed, Self::Died];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Limited => "limited",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Died => "died",
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushRunRow {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Its last sign of life.
    pub heartbeat_at: DateTime<Utc>,
    /// When it ended, if it did.
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended, if it did.
    pub outcome: Option<FlushOutcome>,
    /// The moment for which it was decided what may go.
    pub as_of: DateTime<Utc>,
    /// What it has deleted so far.
    pub flushed: Flushed,
}

impl FlushRunRow {
    /// Whether it has not ended, and gave no sign of life for so long that it counts as dead.
    #[must_use]
    pub fn is_dead(&self, now: DateTime<Utc>) -> bool {
        // A sign of life from the future is none: the clock was wrong then, or is wrong now.
        let silence = (now - self.heartbeat_at).abs();
        self.outcome.is_none()
            && self.finished_at.is_none()
            && silence > TimeDelta::from_std(SILENCE).unwrap_or_default()
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = simplejwt_flush_run)]
struct Row {
    id: i64,
    started_at: NaiveDateTime,
    heartbeat_at: NaiveDateTime,
    finished_at: Option<NaiveDateTime>,
    outcome: Option<String>,
    as_of: NaiveDateTime,
    outstanding: i64,
    blacklisted: i64,
    tokens: i64,
    sessions: i64,
    events: i64,
}

impl From<Row> for FlushRunRow {
    fn from(row: Row) -> Self {
        let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
        Self {
            id: row.id,
            started_at: row.started_at.and_utc(),
            heartbeat_at: row.heartbeat_at.and_utc(),
            finished_at: row.finished_at.map(|at| at.and_utc()),
            outcome: FlushOutcome::ALL.into_iter().find(|outcome| row.outcome.as_deref() == Some(outcome.as_str())),
            as_of: row.as_of.and_utc(),
            flushed: Flushed {
                outstanding: count(row.outstanding),
                blacklisted: count(row.blacklisted),
                tokens: count(row.tokens),
                sessions: count(row.sessions),
                events: count(row.events),
                ..Flushed::default()
            },
        }
    }
}

fn begin(connection: &mut AnyConnection, new: NewFlushRun, alone: bool) -> QueryResult<FlushStart> {
    // A sign of life from the future is none: the clock was wrong then, or is wrong now.
    let (since, until) = (stored(new.started_at - SILENCE), stored(new.started_at + SILENCE));
    let silent = dsl::simplejwt_flush_run
        .filter(dsl::finished_at.is_null())
        .filter(dsl::heartbeat_at.lt(since).or(dsl::heartbeat_at.gt(until)));
    diesel::update(silent)
        .set((dsl::finished_at.eq(stored(new.started_at)), dsl::outcome.eq(FlushOutcome::Died.as_str())))
        .execute(connection)?;
    let at_work: Option<NaiveDateTime> = dsl::simplejwt_flush_run
        .filter(dsl::finished_at.is_null())
        .order(dsl::id.desc())
        .select(dsl::started_at)
        .first(connection)
        .optional()?;
    if let Some(since) = at_work.filter(|_| alone) {
        return Ok(FlushStart::Busy { since: since.and_utc() });
    }
    diesel::insert_into(dsl::simplejwt_flush_run)
        .values((
            dsl::started_at.eq(stored(new.started_at)),
            dsl::heartbeat_at.eq(stored(new.started_at)),
            dsl::as_of.eq(stored(new.as_of)),
            dsl::outstanding.eq(0),
            dsl::blacklisted.eq(0),
            dsl::tokens.eq(0),
            dsl::sessions.eq(0),
            dsl::events.eq(0),
        ))
        .execute(connection)?;
    dialect::last_id(connection).map(FlushStart::Started)
}

fn note(connection: &mut AnyConnection, id: i64, flushed: Flushed, at: DateTime<Utc>) -> QueryResult<usize> {
    let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    diesel::update(dsl::simplejwt_flush_run.find(id))
        .set((
            dsl::heartbeat_at.eq(stored(at)),
            dsl::outstanding.eq(count(flushed.outstanding)),
            dsl::blacklisted.eq(count(flushed.blacklisted)),
            dsl::tokens.eq(count(flushed.tokens)),
            dsl::sessions.eq(count(flushed.sessions)),
            dsl::events.eq(count(flushed.events)),
        ))
        .execute(connection)
}

/// The run that began last.
pub(super) fn last(connection: &mut AnyConnection) -> QueryResult<Option<FlushRunRow>> {
    let row = dsl::simplejwt_flush_run.order(dsl::id.desc()).select(Row::as_select()).first(connection).optional()?;
    Ok(row.map(FlushRunRow::from))
}

impl Ledger {
    /// Begins a run. Two share the work, unless this one wants to be `alone` and another one is at work.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn begin_flush(&self, run: NewFlushRun, alone: bool) -> Result<FlushStart, LedgerError> {
        let patience = self.pool.patience();
        let work = move |connection: &mut AnyConnection| {
            dialect::alone(connection, Work::BeginFlush, |connection| {
                dialect::write(connection, patience, |connection| Ok(begin(connection, run, alone)?))
            })
        };
        self.pool.lend(true, self.pool.deadline(), work).await
    }

    /// Gives a sign of life, with all that the run has deleted so far.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn note_flush(&self, id: i64, flushed: Flushed, at: DateTime<Utc>) -> Result<(), LedgerError> {
        self.write(move |connection| {
            note(connection, id, flushed, at)?;
            Ok(())
        })
        .await
    }

    /// Ends a run.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_flush(
        &self,
        id: i64,
        outcome: FlushOutcome,
        flushed: Flushed,
        at: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        self.write(move |connection| {
            note(connection, id, flushed, at)?;
            diesel::update(dsl::simplejwt_flush_run.find(id))
                .set((dsl::finished_at.eq(stored(at)), dsl::outcome.eq(outcome.as_str())))
                .execute(connection)?;
            Ok(())
        })
        .await
    }

    /// Writes down who starts a flush by hand.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    #[cfg(feature = "admin")]
    pub async fn note_flush_by(&self, actor: &Actor, at: DateTime<Utc>) -> Result<(), LedgerError> {
        let actor = actor.clone();
        self.write(move |connection| {
            let (action, target) = (Action::Flush, "flush");
            let actor = &actor;
            events::insert(
                connection,
                &NewEvent { at, action, target, user: None, session: None, reason: None, actor },
            )?;
            Ok(())
        })
        .await
    }

    /// The run that began last.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn last_flush(&self) -> Result<Option<FlushRunRow>, LedgerError> {
        self.run(|connection| Ok(last(connection)?)).await
    }
}
