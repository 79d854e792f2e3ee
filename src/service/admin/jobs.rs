//! What takes longer than somebody waits for a page: a flush, and many revocations. It goes on in the background of this process; a
//! page looks at how far it is. What is done is on disk and among the events, whether or not the process lives to its end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::ledger::{Actor, Cursor, Flushed, TokenOrder, TokenSearch};
use crate::service::{FlushOptions, Refusal, Simplejwt, Target};
use crate::token::Jti;

/// So many that are over stay to be looked at.
const KEPT: usize = 20;

/// So many tokens are revoked in one transaction: others have to get their turn.
const TOGETHER: usize = 200;

/// A piece of work in the background.
#[derive(Debug)]
pub struct Job {
    id: String,
    what: &'static str,
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

    /// What it does, in words.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        self.what
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

    fn end(&self, outcome: Result<String, String>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
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

    fn get(&self, id: &str) -> Option<Arc<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|job| job.id == id).map(Arc::clone)
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
        self.inner.admin.jobs.get(id)
    }

    fn new_job(&self, what: &'static str, actor: &Actor, total: u64) -> Arc<Job> {
        self.inner.admin.jobs.add(Job {
            id: uuid::Uuid::new_v4().simple().to_string(),
            what,
            who: actor.who.clone(),
            started_at: self.inner.clock.now(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(total),
            stop: AtomicBool::new(false),
            outcome: Mutex::new(None),
        })
    }

    /// Starts a flush, and notes who did.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`]: it was not started.
    pub async fn start_flush(&self, actor: Actor) -> Result<Arc<Job>, Refusal> {
        self.ledger().note_flush_by(&actor, self.now()?).await?;
        let job = self.new_job("Flush", &actor, 0);
        let (jwt, running) = (self.clone(), Arc::clone(&job));
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

    /// Starts to blacklist many tokens.
    ///
    /// # Errors
    /// [`Refusal`]: it was not started.
    pub fn start_blacklisting(&self, many: Many, reason: Option<String>, actor: Actor) -> Result<Arc<Job>, Refusal> {
        self.need_blacklist()?;
        let total = match &many {
            Many::These(jtis) => jtis.len() as u64,
            Many::Found(_) => 0,
        };
        let job = self.new_job("Blacklist", &actor, total);
        let (jwt, running) = (self.clone(), Arc::clone(&job));
        tokio::spawn(async move {
            let done = match many {
                Many::These(jtis) => jwt.blacklist_these(&jtis, reason.as_deref(), &actor, &running).await,
                Many::Found(search) => jwt.blacklist_found(&search, reason.as_deref(), &actor, &running).await,
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
        reason: Option<&str>,
        actor: &Actor,
        job: &Job,
    ) -> Result<(), Refusal> {
        // What is recorded meanwhile was not meant.
        let search = TokenSearch { order: TokenOrder::Newest, ..search.clone() };
        let mut after: Option<Cursor> = None;
        loop {
            let page = self.search_tokens(&search, after, TOGETHER * 5).await?;
            let is_refused = |row: &crate::ledger::TokenRow| {
                row.blacklisted_at.is_some() || row.revoked_at.is_some() || row.superseded_at.is_some()
            };
            let jtis: Vec<Jti> =
                page.rows.iter().filter(|row| !is_refused(row)).filter_map(|row| row.jti.parse().ok()).collect();
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
