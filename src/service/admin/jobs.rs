//! What takes longer than somebody waits for a page: a flush, what it would delete, and many revocations. It goes on in the background of this process; a
//! page looks at how far it is. What is done is on disk and among the events, whether or not the process lives to its end.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::ledger::{Actor, Cursor, Flushed, TokenOrder, TokenRow, TokenSearch};
use crate::service::{FlushOptions, Refusal, Simplejwt, Target};
use crate::token::Jti;

/// So many that are over stay to be looked at.
const KEPT: usize = 20;

/// So many tokens are revoked in one transaction: others have to get their turn.
const TOGETHER: usize = 200;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Counts what a flush would delete.
    DryRun,
    /// Deletes it.
    Flush,
    /// Blacklists many tokens.
    Blacklist,
}

impl Work {
    /// The words for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DryRun => "Dry run of a flush",
            Self::Flush => "Flush",
            Self::Blacklist => "Blacklist",
        }
    }

    /// Whether it has steps between which it can be ended.
    #[must_use]
    pub const fn has_steps(self) -> bool {
        match self {
            Self::DryRun => false,
            Self::Flush | Self::Blacklist => true,
        }
    }
}

/// A piece of work in the background.
#[derive(Debug)]
pub struct Job {
    id: String,
    work: Work,
    who: String,
    started_at: DateTime<Utc>,
    done: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
    outcome: Mutex<Option<Result<String, String>>>,
}

impl Job {
    /// The name under which it is found again.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it does.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }

    /// Who started it.
    #[must_use]
    pub fn who(&self) -> &str {
        &self.who
    }

    /// When.
    #[must_use]
    pub const fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// How many rows or tokens are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How many there are in all, more or less; 0 if nobody knows.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// What came of it, in words; [`None`] while it goes on.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<String, String>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it after the step that is under way.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The first end counts.
    fn end(&self, outcome: Result<String, String>) {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(outcome);
    }
}

/// A job in the hands of whoever does it. If nobody says how it ended, it broke off.
struct Running(Arc<Job>);

impl Deref for Running {
    type Target = Job;

    fn deref(&self) -> &Job {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(Err("it broke off; what was done until then stays done".to_owned()));
    }
}

/// The jobs of this process, the newest first.
#[derive(Debug, Default)]
pub(in crate::service) struct Jobs(Mutex<VecDeque<Arc<Job>>>);

impl Jobs {
    fn add(&self, job: Job) -> Arc<Job> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let job = Arc::new(job);
        jobs.push_front(Arc::clone(&job));
        let mut over = 0;
        jobs.retain(|job| {
            over += usize::from(job.outcome().is_some());
            over <= KEPT || job.outcome().is_none()
        });
        job
    }

    fn all(&self) -> Vec<Arc<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Arc::clone).collect()
    }
}

/// What is to be blacklisted at once.
#[derive(Clone, Debug)]
pub enum Many {
    /// These tokens.
    These(Vec<Jti>),
    /// All that a search finds.
    Found(TokenSearch),
}

impl Simplejwt {
    /// A job of this process.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<Arc<Job>> {
        self.jobs().into_iter().find(|job| job.id == id)
    }

    /// The jobs of this process that are at work, and the last of those that are over; the newest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Arc<Job>> {
        self.inner.admin.jobs.all()
    }

    fn new_job(&self, work: Work, actor: &Actor, total: u64) -> Arc<Job> {
        self.inner.admin.jobs.add(Job {
            id: uuid::Uuid::new_v4().simple().to_string(),
            work,
            who: actor.who.clone(),
            started_at: self.inner.clock.now(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(total),
            stop: AtomicBool::new(false),
            outcome: Mutex::new(None),
        })
    }

    /// Starts to count what a flush would delete, unless that is being done.
    #[must_use]
    pub fn start_dry_run(&self, actor: &Actor) -> Arc<Job> {
        let is_same = |job: &Arc<Job>| job.work == Work::DryRun && job.outcome().is_none();
        if let Some(job) = self.jobs().into_iter().find(is_same) {
            return job;
        }
        let job = self.new_job(Work::DryRun, actor, 0);
        let (jwt, running) = (self.clone(), Running(Arc::clone(&job)));
        tokio::spawn(async move {
            let options = FlushOptions { dry_run: true, ..FlushOptions::default() };
            let tried = jwt.flush_expired_tokens(&options, &running.stop, |_| {}).await;
            running.end(match tried {
                Ok(report) => {
                    let ahead =
                        " The clock lies ahead of everything in the ledger: only what expired before then would go.";
                    let ahead = report.clock_ahead.map_or("", |_| ahead);
                    Ok(format!("It would delete: {}.{ahead}", in_words(&report.flushed)))
                }
                Err(error) => Err(crate::chain::chain(&error).to_string()),
            });
        });
        job
    }

    /// Starts a flush, and notes who did.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`]: it was not started.
    pub async fn start_flush(&self, actor: Actor) -> Result<Arc<Job>, Refusal> {
        self.ledger().note_flush_by(&actor, self.now()?).await?;
        let job = self.new_job(Work::Flush, &actor, 0);
        let (jwt, running) = (self.clone(), Running(Arc::clone(&job)));
        tokio::spawn(async move {
            let options = FlushOptions { with_total: true, ..FlushOptions::default() };
            let flushed = jwt
                .flush_expired_tokens(&options, &running.stop, |progress| {
                    running.done.store(progress.flushed.outstanding, Ordering::Relaxed);
                    running.total.store(progress.total.unwrap_or(0), Ordering::Relaxed);
                })
                .await;
            if flushed.is_ok() {
                jwt.recount(true).await;
            }
            running.end(match flushed {
                Ok(report) => Ok(format!("{}: {}", report.outcome.as_str(), in_words(&report.flushed))),
                Err(error) => Err(crate::chain::chain(&error).to_string()),
            });
        });
        Ok(job)
    }

    /// Starts to blacklist many tokens. Of those that a search finds they are the ones that are on record now.
    ///
    /// # Errors
    /// [`Refusal`]: it was not started.
    pub async fn start_blacklisting(
        &self,
        many: Many,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<Arc<Job>, Refusal> {
        self.need_blacklist()?;
        let (total, newest) = match &many {
            Many::These(jtis) => (jtis.len() as u64, None),
            Many::Found(_) => (0, self.ledger().newest_token().await?),
        };
        let job = self.new_job(Work::Blacklist, &actor, total);
        let (jwt, running) = (self.clone(), Running(Arc::clone(&job)));
        tokio::spawn(async move {
            let done = match many {
                Many::These(jtis) => jwt.blacklist_these(&jtis, reason.as_deref(), &actor, &running).await,
                Many::Found(search) => jwt.blacklist_found(&search, newest, reason.as_deref(), &actor, &running).await,
            };
            let count = running.done();
            running.end(match done {
                Ok(()) if running.is_stopped() => Ok(format!("stopped: {count} tokens are blacklisted")),
                Ok(()) => Ok(format!("done: {count} tokens are blacklisted")),
                Err(error) => Err(format!("{count} tokens are blacklisted; then: {}", crate::chain::chain(&error))),
            });
        });
        Ok(job)
    }

    async fn blacklist_these(
        &self,
        jtis: &[Jti],
        reason: Option<&str>,
        actor: &Actor,
        job: &Job,
    ) -> Result<(), Refusal> {
        for jtis in jtis.chunks(TOGETHER) {
            if job.is_stopped() {
                break;
            }
            let targets = jtis.iter().map(|jti| Target::Jti { jti: jti.clone(), expires_at: None }).collect();
            self.revoke(targets, reason.map(Into::into), actor.clone()).await?;
            job.done.fetch_add(jtis.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn blacklist_found(
        &self,
        search: &TokenSearch,
        newest: Option<i64>,
        reason: Option<&str>,
        actor: &Actor,
        job: &Job,
    ) -> Result<(), Refusal> {
        let search = TokenSearch { order: TokenOrder::Newest, ..search.clone() };
        let mut after: Option<Cursor> = None;
        loop {
            let page = self.search_tokens(&search, after, TOGETHER * 5).await?;
            let is_refused = |row: &TokenRow| {
                row.blacklisted_at.is_some() || row.revoked_at.is_some() || row.superseded_at.is_some()
            };
            // Whoever confirmed it did not see what was recorded since, and not every order has that at its beginning.
            let is_meant = |row: &&TokenRow| newest.is_some_and(|newest| row.id <= newest) && !is_refused(row);
            let jtis: Vec<Jti> = page.rows.iter().filter(is_meant).filter_map(|row| row.jti.parse().ok()).collect();
            self.blacklist_these(&jtis, reason, actor, job).await?;
            after = page.next;
            if after.is_none() || job.is_stopped() {
                return Ok(());
            }
        }
    }

    /// How many tokens a search finds, up to `most` or as long as somebody waits for a page; and whether that is all.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub async fn count_found(&self, search: &TokenSearch, most: usize) -> Result<(usize, bool), Refusal> {
        let (started, mut count, mut after) = (std::time::Instant::now(), 0, None);
        loop {
            let page = self.search_tokens(search, after, 1_000).await?;
            count += page.rows.len();
            after = page.next;
            if after.is_none() {
                return Ok((count, true));
            }
            if count >= most || started.elapsed() > std::time::Duration::from_secs(1) {
                return Ok((count, false));
            }
        }
    }
}

/// What a flush deletes, or would.
#[must_use]
pub(crate) fn in_words(flushed: &Flushed) -> String {
    let Flushed { outstanding, blacklisted, tokens, sessions, events, .. } = flushed;
    format!(
        "{outstanding} outstanding, {blacklisted} blacklisted, {tokens} records of tokens, {sessions} sessions, {events} events"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Arc<Job> {
        Arc::new(Job {
            id: "a".to_owned(),
            work: Work::Flush,
            who: "user:1".to_owned(),
            started_at: DateTime::UNIX_EPOCH,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            outcome: Mutex::new(None),
        })
    }

    #[test]
    fn a_job_ends_however_it_ends() {
        let (broken, done) = (job(), job());
        let running = Running(Arc::clone(&broken));
        let fallen = std::thread::spawn(move || {
            assert!(running.outcome().is_some(), "nobody has ended it");
        });
        assert!(fallen.join().is_err(), "it panicked");
        assert!(broken.outcome().is_some_and(|outcome| outcome.is_err()), "{broken:?}");
        let running = Running(Arc::clone(&done));
        running.end(Ok("done".to_owned()));
        drop(running);
        assert_eq!(done.outcome(), Some(Ok("done".to_owned())));
    }
}
