//! What may be forgotten, and when; in batches, each a transaction of its own.

mod batch;
mod estimate;
mod rule;

use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use batch::Stage;
use chrono::{DateTime, Utc};
use diesel::dsl::max;
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::dialect::{self, Work};
use super::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_session};
use super::time::{Foreign, stored};
use super::{LONG, Ledger, LedgerError, Retention};
#[cfg(feature = "mutants")]
use crate::mutant::{self, Mutant};

/// How long a batch waits for a row at which somebody else is, and how long for its turn to commit.
const ROW_WAIT: Duration = Duration::from_millis(1);
const COMMIT_WAIT: Duration = Duration::from_millis(500);

/// What may go.
#[derive(Clone, Copy, Debug)]
pub struct FlushPlan {
    /// The moment for which it is decided.
    pub as_of: DateTime<Utc>,
    /// How long what makes a token refused has to stay.
    pub retention: Retention,
    /// Events before this moment go too.
    pub events_before: Option<DateTime<Utc>>,
    /// From where something was done before this moment is forgotten.
    pub addresses_before: Option<DateTime<Utc>>,
}

/// How many rows went, or would go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Outstanding tokens.
    pub outstanding: u64,
    /// Those of them that were on the blacklist.
    pub blacklisted: u64,
    /// What was known of tokens beside.
    pub tokens: u64,
    /// Sessions.
    pub sessions: u64,
    /// Events.
    pub events: u64,
    /// Addresses that were forgotten, in sessions and events that stay.
    pub addresses: u64,
}

impl Flushed {
    /// All rows together that went.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.outstanding + self.blacklisted + self.tokens + self.sessions + self.events
    }
}

impl AddAssign for Flushed {
    fn add_assign(&mut self, more: Self) {
        self.outstanding += more.outstanding;
        self.blacklisted += more.blacklisted;
        self.tokens += more.tokens;
        self.sessions += more.sessions;
        self.events += more.events;
        self.addresses += more.addresses;
    }
}

/// How far a flush has come. The default is the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushCursor(Stage);

/// What one batch did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushBatch {
    /// How many rows went.
    pub flushed: Flushed,
    /// Where the next batch begins, if anything may be left.
    pub next: Option<FlushCursor>,
    /// For how long no other writer could go on.
    pub held: Duration,
}

/// The latest moment at which anything was written, as far as the rows say.
/// A flush run is no evidence: it believed the clock that the next one asks about.
fn newest(connection: &mut AnyConnection) -> QueryResult<Option<DateTime<Utc>>> {
    // What is later than every instant is none.
    let end = stored(DateTime::<Utc>::MAX_UTC);
    let created = outstanding_tokens::table
        .filter(outstanding_tokens::created_at.le(end))
        .select(max(outstanding_tokens::created_at))
        .first::<Option<Foreign>>(connection)?;
    let blacklisted = blacklisted_tokens::table
        .filter(blacklisted_tokens::blacklisted_at.le(end))
        .select(max(blacklisted_tokens::blacklisted_at))
        .first::<Option<Foreign>>(connection)?;
    let session =
        simplejwt_session::table.select(max(simplejwt_session::created_at)).first::<Option<Foreign>>(connection)?;
    let rows = [created, blacklisted, session].into_iter().flatten().filter_map(Foreign::instant);
    Ok(rows.max())
}

impl Ledger {
    /// Deletes the next batch: of about so many `rows`, those that may go. Call it again with the cursor that it
    /// returns, until it returns none. Safe to stop at any time, and to run several times at once.
    ///
    /// # Errors
    ///
    /// When the database does not answer; then nothing of the batch is deleted, or all of it.
    pub async fn flush_batch(
        &self,
        plan: &FlushPlan,
        cursor: FlushCursor,
        rows: i64,
    ) -> Result<FlushBatch, LedgerError> {
        let (plan, shared, patience) = (*plan, self.shared().await?, self.pool.patience());
        #[cfg(feature = "mutants")]
        let plan = if mutant::is(Mutant::FlushAtExp) { FlushPlan { retention: Retention::NONE, ..plan } } else { plan };
        if cursor.0 == Stage::LOG {
            // What is still in the inbox has to stay as long.
            self.sequence_backlog().await;
        }
        let begun = AtomicBool::new(false);
        let work = move |connection: &mut AnyConnection| {
            let gives_way = dialect::give_way_after(connection, ROW_WAIT)?;
            let locked = Instant::now();
            // Locks cost as much again as the deleting, and are needed only where somebody is in the way.
            let careful = begun.swap(true, Ordering::Relaxed);
            let done = batch::batch(connection, &shared, &plan, &cursor.0, rows.max(1), careful);
            let done = done.map_err(|error| match error {
                LedgerError::Busy if gives_way => LedgerError::Conflict,
                error => error,
            })?;
            dialect::give_way_after(connection, COMMIT_WAIT)?;
            Ok((done, locked))
        };
        // Two flushes take turns, or each would come upon the rows that the other is deleting.
        let work = move |connection: &mut AnyConnection| {
            dialect::alone(connection, Work::FlushBatch, |connection| dialect::write(connection, patience, work))
        };
        let ((flushed, next), locked) = self.pool.lend(true, LONG, work).await?;
        Ok(FlushBatch { flushed, next: next.map(FlushCursor), held: locked.elapsed() })
    }

    /// How many rows of each table a flush would delete now. Deletes nothing.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn flush_estimate(&self, plan: &FlushPlan) -> Result<Flushed, LedgerError> {
        let (plan, shared) = (*plan, self.shared().await?);
        self.run_long(move |connection| {
            Ok(dialect::snapshot(connection, |connection| estimate::estimate(connection, &shared, &plan))?)
        })
        .await
    }

    /// The latest moment at which anything was written, as far as the rows say: a clock that shows less is wrong, or was.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn newest_record(&self) -> Result<Option<DateTime<Utc>>, LedgerError> {
        self.run_long(|connection| Ok(newest(connection)?)).await
    }
}
