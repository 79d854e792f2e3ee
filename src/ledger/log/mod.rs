//! What changed, in the order of the commits: how every process learns of every revocation, whoever made it.
//!
//! Triggers write the log (`migrations/*/2026-11-22-000003_revocation`), so that what Django, a line of SQL or another version of
//! this program does is in it. A row says only *what* changed; whoever reads it asks the tables, at the same moment, whether that
//! token or session is refused now. So it does not matter whether a row stands for an insert or a delete, reading one twice does
//! no harm, and the tables stay the truth. What the log alone still knows is said in `forgotten`.
//!
//! Ids and times are not the order of the commits, and a reader that goes by them loses rows for ever. How the numbers come to be
//! that order:
//!
//! | database | how |
//! |---|---|
//! | SQLite | one writer at a time |
//! | PostgreSQL | the trigger runs within COMMIT, and takes a lock and then a number |
//! | MariaDB, MySQL | the trigger writes into an inbox; whichever process comes first moves what is committed to the log |
//!
//! A reader loads everything once ([`Ledger::load_revocations`]) and then pulls what is new ([`Ledger::revocations_since`]).

mod compare;
mod forgotten;
mod load;
mod position;
mod prune;
mod pull;
mod resolve;
mod state;
mod triggers;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;

pub use compare::{Part, PartCursor};
pub(super) use forgotten::is_forgotten;
pub use position::{Position, Reload};
pub(super) use prune::prune;
pub(super) use resolve::{Asked, resolve};
pub use state::LogState;
pub use triggers::{TriggerFault, TriggerWrong};
pub(super) use triggers::{faults, put_back, visible_faults};

use super::connection::AnyConnection;
use super::dialect;
use super::pool::handed_on;
use super::shared::Shared;
use super::{LONG, Ledger, LedgerError, Retention};
use crate::token::Change;

/// What a pull gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pull {
    /// What changed since. Several rows of the same token are one change.
    Changes {
        /// How what changed stands now.
        changes: Vec<Change>,
        /// Where to go on from.
        position: Position,
        /// Whether there is more already. Until that was read too, nothing is known of it.
        more: bool,
    },
    /// What changed since cannot be told: everything has to be loaded anew.
    Reload(Reload),
}

/// How many rows one page of a load has, or twice as many at most. Three pages are in memory at once at most. Fewer cost a database more: to PostgreSQL,
/// pages of 10,000 are twice the work. In a test there are several all the same.
const PAGE: i64 = if cfg!(test) { 700 } else { 30_000 };

/// How many rows are moved in one transaction, and how many such transactions one pull makes at most.
const MOVED: (i64, u32) = (1000, 10);

/// A page that is being read, and where the one after it begins if both may be read at the same time.
struct Reading {
    /// One task, which ends with whoever wants to know.
    page: JoinSet<Result<load::Page, LedgerError>>,
    ahead: Option<load::Stage>,
}

impl Ledger {
    /// Loads everything that is refused and not dead at `as_of`, page by page, with the number of rows that were looked at so
    /// far. Some of it may come twice. What it returns is where to go on from: what was loaded is right once all that
    /// [`revocations_since`](Self::revocations_since) has from there on was read.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or the sink fails. What it was given until then is not everything.
    pub async fn load_revocations<E: From<LedgerError>, Taken: Future<Output = Result<(), E>>>(
        &self,
        as_of: DateTime<Utc>,
        retention: Retention,
        mut sink: impl FnMut(Vec<Change>, u64) -> Taken,
    ) -> Result<Position, E> {
        let shared = self.shared().await?;
        self.sequence_backlog().await;
        // First of all: what changes meanwhile comes after it.
        let position = self.run(|connection| Ok(dialect::snapshot(connection, position::latest)?)).await?;
        let (mut reading, mut rows) = (Some(self.read_page(&shared, retention, load::Stage::default()).await?), 0);
        while let Some(Reading { mut page, ahead }) = reading {
            let ahead = match ahead {
                Some(from) => Some(self.read_page(&shared, retention, from).await?),
                None => None,
            };
            let read = page.join_next().await.and_then(Result::ok).unwrap_or(Err(LedgerError::Aborted));
            let load::Page { changes, rows: more, next } = read?;
            rows += more;
            let is_live = |change: &Change| change.what.until() > as_of;
            let taken = sink(changes.into_iter().filter(is_live).collect(), rows);
            // Begins to read the next one before this one is taken.
            let following = async {
                match (ahead, next) {
                    (Some(ahead), _) => Ok(Some(ahead)),
                    (None, Some(next)) => self.read_page(&shared, retention, next).await.map(Some),
                    (None, None) => Ok(None),
                }
            };
            let (following, taken) = tokio::join!(following, taken);
            taken?;
            reading = following?;
        }
        Ok(position)
    }

    /// Begins to read a page.
    async fn read_page(
        &self,
        shared: &Arc<Shared>,
        retention: Retention,
        from: load::Stage,
    ) -> Result<Reading, LedgerError> {
        let find = move |connection: &mut AnyConnection| load::extent(connection, from, PAGE);
        let (extent, ahead) = self.run_long(move |connection| Ok(dialect::snapshot(connection, find)?)).await?;
        let (ledger, shared) = (self.clone(), Arc::clone(shared));
        let read = move |connection: &mut AnyConnection| load::page(connection, &shared, &retention, &extent, PAGE);
        let page = async move { ledger.run_long(move |connection| Ok(dialect::snapshot(connection, read)?)).await };
        let mut reading = JoinSet::new();
        reading.spawn(handed_on(page));
        Ok(Reading { page: reading, ahead: ahead.filter(|_| self.pool.has_room()) })
    }

    /// From where a reader goes on that had read all that was written until a moment, where its position is not in the log any more.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn position_at(&self, moment: DateTime<Utc>) -> Result<Position, LedgerError> {
        self.run(move |connection| Ok(dialect::snapshot(connection, |it| position::written_by(it, moment))?)).await
    }

    /// What changed after a position: of about so many rows of the log at most.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn revocations_since(
        &self,
        from: &Position,
        retention: Retention,
        limit: i64,
    ) -> Result<Pull, LedgerError> {
        let shared = self.shared().await?;
        let (mut from, mut after, mut all) = (from.clone(), i64::MIN, Vec::new());
        loop {
            // Before each page: the inbox gets emptier, by us or by somebody else who is at it.
            let moved = self.sequence_log().await > 0;
            let (shared, start) = (Arc::clone(&shared), from.clone());
            let read = move |connection: &mut AnyConnection| {
                let pull =
                    |connection: &mut AnyConnection| pull::pull(connection, &shared, &retention, &start, limit, after);
                Ok(dialect::snapshot(connection, pull)?)
            };
            let pull::Page { pull, waiting } = self.run(read).await?;
            let (changes, position, more) = match pull {
                Pull::Changes { changes, position, more } => (changes, position, more),
                Pull::Reload(why) => return Ok(Pull::Reload(why)),
            };
            all.extend(changes);
            match waiting {
                // Nothing can be moved, so that all of the inbox has to be read. What is moved between two pages is in the log
                // after the position. What is committed meanwhile, with whatever number, came after the question.
                Some(last) if !moved => (from, after) = (position, last),
                waiting => {
                    return Ok(Pull::Changes { changes: all, position, more: more || waiting.is_some() });
                }
            }
        }
    }

    /// Moves what is committed from the inbox to the log, where there is one, and says how much it was. Each pull begins with it.
    /// Where nobody pulls, somebody has to do it every half a minute or so: [`is_refused`](Self::is_refused) and
    /// [`standing`](Self::standing) look for what Django has flushed in the log alone, and do not know of a token that was
    /// blacklisted and flushed since the last call. Whatever hinders it does no harm otherwise, as everybody who pulls reads the
    /// inbox too.
    pub async fn sequence_log(&self) -> u64 {
        if !dialect::has_inbox(&self.url) || self.verifies_only() {
            return 0;
        }
        let patience = self.pool.patience();
        let work = move |connection: &mut AnyConnection| {
            let mut moved = 0;
            for _ in 0..MOVED.1 {
                let step = |connection: &mut AnyConnection| -> Result<u64, LedgerError> {
                    Ok(dialect::sequence(connection, MOVED.0)?)
                };
                if !dialect::is_anything_waiting(connection, i64::MAX)? {
                    break;
                }
                let step = dialect::write(connection, patience, step)?;
                moved += step;
                if step < MOVED.0.unsigned_abs() {
                    break;
                }
            }
            Ok::<_, LedgerError>(moved)
        };
        // Not in the turn of those who write: they may be waiting for somebody's lock, and this never does.
        match self.pool.lend(false, self.pool.deadline(), work).await {
            Ok(moved) => moved,
            Err(error) => {
                log::debug!("what was revoked is not moved to the log now: {error}");
                0
            }
        }
    }

    /// Moves what is in the inbox now, and not what others write meanwhile, or this would go on for as long as they do. Ends
    /// also where nothing could be moved.
    pub(super) async fn sequence_backlog(&self) {
        let Ok(Some(last)) = self.run(|connection| Ok(dialect::last_waiting(connection)?)).await else { return };
        let is_left = async || self.run(move |connection| Ok(dialect::is_anything_waiting(connection, last)?)).await;
        // Where a call moves less than it may, it came to the end.
        while self.sequence_log().await >= MOVED.0.unsigned_abs() * u64::from(MOVED.1)
            && matches!(is_left().await, Ok(true))
        {}
    }

    /// How the log stands. Goes through all of it to count.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn log_state(&self) -> Result<LogState, LedgerError> {
        self.run_long(state::state).await
    }

    /// What is wrong with what feeds the log. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn log_faults(&self) -> Result<Vec<TriggerFault>, LedgerError> {
        self.run(faults).await
    }

    /// The same, but for a user who may see no trigger, so that they all seem to be missing: then nothing is said to be wrong.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn visible_log_faults(&self) -> Result<Vec<TriggerFault>, LedgerError> {
        self.run(visible_faults).await
    }

    /// Puts back what feeds the log where it was lost, and says what it put back. Where the ledger is only read, others have to. Whoever reads the log loads everything anew
    /// then, because nobody knows what was missed.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Denied`] where this user may not; otherwise when the database does not answer.
    pub async fn mend_log(&self) -> Result<Vec<TriggerFault>, LedgerError> {
        if self.verifies_only() || self.run(faults).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.altering(LONG, put_back).await
    }
}
