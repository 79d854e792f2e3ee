//! What may be forgotten: the loop behind `simplejwt flushexpiredtokens`.
//!
//! Rows go in small batches, each a transaction of its own, so that a run can stop anywhere, start again anywhere, and run
//! beside another one. The size of a batch follows the time that batches take, not the other way round: whoever waits for the
//! database waits for one batch at most.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{ClockError, Simplejwt};
use crate::ledger::{FlushCursor, FlushOutcome, FlushPlan, FlushStart, Flushed, LedgerError, NewFlushRun};
use crate::settings::Span;

/// How a flush is to go about it.
#[derive(Clone, Debug, Default)]
pub struct FlushOptions {
    /// Count what would go, and let it stay.
    pub dry_run: bool,
    /// How long one batch should take. If nothing is said, 50 ms where the database lets in one writer at a time, who waits for
    /// that long, and 250 ms elsewhere.
    pub batch_time: Option<Duration>,
    /// How long to rest between batches. If nothing is said, 10 ms where the database lets in one writer at a time, so that
    /// others get their turn, and not at all elsewhere.
    pub pause: Option<Duration>,
    /// When to stop at the latest.
    pub max_time: Option<Duration>,
    /// After how many rows of any table to stop, give or take a batch.
    pub max_rows: Option<u64>,
    /// For how long rows stay although they could go.
    pub older_than: Span,
    /// Believe the clock, also where the ledger contradicts it.
    pub force: bool,
    /// Give up where another flush is running, instead of sharing the work with it.
    pub fail_if_running: bool,
    /// Count first, roughly, so that progress has a total.
    pub with_total: bool,
}

/// Where a flush stands, after each batch.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is gone.
    pub flushed: Flushed,
    /// How many outstanding tokens will have gone at the end, more or less, where that was counted.
    pub total: Option<u64>,
}

/// What a flush did.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FlushReport {
    /// Whether nothing was deleted, and only counted.
    pub dry_run: bool,
    /// How it ended.
    pub outcome: FlushOutcome,
    /// What went, or in a dry run what would go.
    pub flushed: Flushed,
    /// The instant that was taken for now when expiry was decided.
    pub as_of: DateTime<Utc>,
    /// What the clock says, where the ledger gave no reason to believe it and the run took an earlier instant for now.
    pub clock_ahead: Option<DateTime<Utc>>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why a flush did not run, or not to its end. What was deleted until then stays deleted, and a next run goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The ledger holds times that lie ahead of this machine's clock.
    #[error("the ledger has a record of {newest}, but this machine's clock says {now}: set the clock, or use --force")]
    ClockBehind {
        /// The newest time in the ledger.
        newest: DateTime<Utc>,
        /// What the clock says.
        now: DateTime<Utc>,
    },
    /// The clock is plainly wrong.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// Another flush is running, and `fail_if_running` was asked for.
    #[error("another flush is running since {since}; try again later")]
    Running {
        /// When it started.
        since: DateTime<Utc>,
    },
    /// The ledger gave no answer.
    #[error("the flush stopped after {} rows", flushed.total())]
    Ledger {
        /// What had gone by then.
        flushed: Flushed,
        /// What went wrong.
        #[source]
        source: LedgerError,
    },
}

impl From<LedgerError> for FlushError {
    fn from(source: LedgerError) -> Self {
        Self::Ledger { flushed: Flushed::default(), source }
    }
}

/// How long one batch should take and how long to rest after it, where others can write only then.
const ALONE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(10));

/// The same where others write at the same time.
const SIDE_BY_SIDE: (Duration, Duration) = (Duration::from_millis(250), Duration::ZERO);

/// How often a long run notes in the ledger that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// For how long a run tries to get past others who stand in its way: well below the minute after which it would count as dead.
const PERSISTENCE: Duration = Duration::from_secs(30);

/// How long a run rests before it tries again, at first and at most.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Since when others stand in the way of a run.
#[derive(Default)]
struct Hindrance(Option<Instant>);

impl Hindrance {
    /// Whether it is not worth while to try again, or there is no time for it.
    fn is_final(&mut self, options: &FlushOptions, started: Instant) -> bool {
        let since = *self.0.get_or_insert_with(Instant::now);
        since.elapsed() >= PERSISTENCE || options.max_time.is_some_and(|most| started.elapsed() + self.pause() >= most)
    }

    /// The longer it lasts, the longer the rest.
    fn pause(&self) -> Duration {
        self.0.map_or(REST.0, |since| (since.elapsed() / 4).clamp(REST.0, REST.1))
    }
}

impl Simplejwt {
    /// Deletes what nobody can need any more: records of tokens whose `exp` (and `refresh_exp`) passed by more than the
    /// leeway and a minute, the sessions of such tokens, and audit events beyond their retention. It never deletes a record
    /// that still makes a token refused.
    ///
    /// `stop` ends the run after the batch that is under way.
    ///
    /// # Errors
    /// [`FlushError`].
    pub async fn flush_expired_tokens(
        &self,
        options: &FlushOptions,
        stop: &AtomicBool,
        mut progress: impl FnMut(&Progress) + Send,
    ) -> Result<FlushReport, FlushError> {
        let started = Instant::now();
        let (plan, clock_ahead) = self.plan_flush(options).await?;
        let report = |outcome, flushed| FlushReport {
            dry_run: options.dry_run,
            outcome,
            flushed,
            as_of: plan.as_of,
            clock_ahead,
            elapsed: started.elapsed(),
        };
        if options.dry_run {
            return Ok(report(FlushOutcome::Done, self.ledger().flush_estimate(&plan).await?));
        }
        let run = NewFlushRun { started_at: self.now()?, as_of: plan.as_of };
        let id = match self.ledger().begin_flush(run, options.fail_if_running).await? {
            FlushStart::Started(id) => id,
            FlushStart::Busy { since } => return Err(FlushError::Running { since }),
        };
        // To count exactly would take as long as to delete. Without a count there is progress all the same.
        let counted = if options.with_total { self.ledger().counts(plan.as_of).await.ok() } else { None };
        let total = counted.map(|counts| counts.expired);

        let (batch_time, pause) = if self.database().is_embedded() { ALONE } else { SIDE_BY_SIDE };
        let (batch_time, pause) = (options.batch_time.unwrap_or(batch_time), options.pause.unwrap_or(pause));
        let mut flushed = Flushed::default();
        let mut cursor = FlushCursor::default();
        let mut rows = FIRST_BATCH;
        let mut noted = Instant::now();
        let mut hindrance = Hindrance::default();
        let outcome = loop {
            if stop.load(Ordering::Relaxed) {
                break FlushOutcome::Interrupted;
            }
            let over_time = options.max_time.is_some_and(|most| started.elapsed() >= most);
            if over_time || options.max_rows.is_some_and(|most| flushed.total() >= most) {
                break FlushOutcome::Limited;
            }
            let batch = match self.ledger().flush_batch(&plan, cursor.clone(), rows).await {
                Ok(batch) => batch,
                // Nobody waits for a flush: it tries again for longer than a request, and with fewer rows it meets fewer others.
                Err(error @ (LedgerError::Conflict | LedgerError::Busy)) if !hindrance.is_final(options, started) => {
                    log::debug!("a batch of the flush is tried again: {error}");
                    rows = (rows / 2).max(SMALLEST_BATCH);
                    tokio::time::sleep(hindrance.pause()).await;
                    continue;
                }
                Err(source) => {
                    // The run has failed already; that its end cannot be noted adds nothing.
                    let at = self.inner.clock.now();
                    let _ = self.ledger().end_flush(id, FlushOutcome::Failed, flushed, at).await;
                    return Err(FlushError::Ledger { flushed, source });
                }
            };
            hindrance = Hindrance::default();
            rows = next_size(rows, batch.held, batch_time);
            flushed += batch.flushed;
            progress(&Progress { flushed, total });
            match batch.next {
                Some(next) => cursor = next,
                None => break FlushOutcome::Done,
            }
            if noted.elapsed() >= HEARTBEAT {
                let told = self.ledger().note_flush(id, flushed, self.inner.clock.now()).await;
                told.map_err(|source| FlushError::Ledger { flushed, source })?;
                noted = Instant::now();
            }
            tokio::time::sleep(pause).await;
        };
        let ended = self.ledger().end_flush(id, outcome, flushed, self.inner.clock.now()).await;
        ended.map_err(|source| FlushError::Ledger { flushed, source })?;
        Ok(report(outcome, flushed))
    }

    /// Decides which instant counts as now. The clock alone is not enough: one that jumped forward would make every live
    /// token look expired, and what is deleted then is forgotten. So a run goes at most a little way beyond the newest
    /// thing that the ledger has seen.
    async fn plan_flush(&self, options: &FlushOptions) -> Result<(FlushPlan, Option<DateTime<Utc>>), FlushError> {
        let settings = self.settings();
        let now = self.now()?;
        let mut as_of = now;
        let newest = self.ledger().newest_record().await?.filter(|_| !options.force);
        if let Some(newest) = newest {
            if newest > now + settings.max_clock_skew.as_delta() {
                return Err(FlushError::ClockBehind { newest, now });
            }
            as_of = now.min(newest + settings.flush_max_clock_advance.as_delta());
        }
        let clock_ahead = (as_of < now).then_some(now);
        let plan = FlushPlan {
            as_of: as_of - options.older_than.as_delta(),
            retention: self.retention(),
            events_before: Some(as_of - settings.event_retention.as_delta()),
            addresses_before: Some(as_of - settings.address_retention.as_delta()),
        };
        Ok((plan, clock_ahead))
    }
}

const FIRST_BATCH: i64 = 200;
const SMALLEST_BATCH: i64 = 20;
const LARGEST_BATCH: i64 = 20_000;

/// The size of the next batch: what would have taken the wanted time, approached by at most a factor of two.
fn next_size(rows: i64, took: Duration, wanted: Duration) -> i64 {
    let fits = wanted.as_secs_f64() / took.as_secs_f64().max(1e-6);
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers")]
    let next = (rows as f64 * fits.clamp(0.5, 2.0)) as i64;
    next.clamp(SMALLEST_BATCH, LARGEST_BATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_tries_again_while_it_has_time_and_not_for_ever() {
        let (now, options) = (Instant::now(), FlushOptions::default());
        assert!(!Hindrance::default().is_final(&options, now));
        let mut old = Hindrance(now.checked_sub(PERSISTENCE));
        assert_eq!(old.pause(), REST.1);
        assert!(old.is_final(&options, now));
        let limited = |most| FlushOptions { max_time: Some(most), ..FlushOptions::default() };
        assert!(Hindrance::default().is_final(&limited(REST.0), now), "there is no time to rest and try again");
        assert!(!Hindrance::default().is_final(&limited(REST.1), now));
    }

    #[test]
    fn a_batch_grows_and_shrinks_towards_the_wanted_time() {
        let ms = Duration::from_millis;
        assert_eq!(next_size(200, ms(50), ms(50)), 200);
        assert_eq!(next_size(200, ms(5), ms(50)), 400, "at most twice as many");
        assert_eq!(next_size(200, ms(500), ms(50)), 100, "at least half as many");
        assert_eq!(next_size(20, ms(500), ms(50)), 20, "a batch has a few rows, however slow");
        assert_eq!(next_size(20_000, ms(1), ms(50)), 20_000);
        assert_eq!(next_size(200, Duration::ZERO, ms(50)), 400);
    }
}
