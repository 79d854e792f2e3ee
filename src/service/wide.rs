//! What is revoked at once beyond single tokens: a session, a user, everybody.
//!
//! It is done in two steps. The first is one transaction, and makes all of it refused: the end of a session, or a cutoff. The
//! second goes through what is recorded, in batches: sessions are marked as ended, for lists, and tokens come onto the blacklist,
//! for Django, which knows nothing else.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::revoke::UNKNOWN_AT_LEAST;
use super::{Refusal, RevokeReport, Simplejwt};
use crate::blacklist::Pending;
use crate::ledger::{Actor, LedgerError, Meant, NewCutoff, OthersEnding, RevokeOutcome, SessionEnding, Sweep, UserKey};
use crate::token::SessionId;

/// More than one token, to be refused from now on.
#[derive(Clone, Debug)]
pub(super) enum Wide {
    /// A login; only if it is this user's.
    Session { id: SessionId, owner: Option<UserKey> },
    /// Every login of a user but one.
    Others { user: UserKey, keep: SessionId },
    /// Everything of a user, or of everybody, until an instant, or until now.
    Until { user: Option<UserKey>, at: Option<DateTime<Utc>> },
}

/// What is left to do when everything is refused.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    sweep: Sweep,
    reason: String,
}

/// What is refused from now on.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) report: RevokeReport,
    /// What is left to do, if anything is.
    pub(super) rest: Option<Rest>,
    /// What was committed, as far as it is known by name: this process has to know of it.
    pub(super) committed: Vec<Pending>,
}

/// How many rows are looked at at once, and how many are written in one transaction: few, so that nobody waits for them.
const PAGE: i64 = 10_000;
const BATCH: usize = 500;

/// A cutoff is waited for that many milliseconds at most, also where a clock stands still.
const MOST_WAITS: u32 = 3;

/// As many sessions of one user are refused here where it is not certain that they have ended.
const UNCERTAIN: i64 = 1000;

impl Wide {
    /// Why, where nobody says so.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Session { .. } => "session ended",
            Self::Others { .. } => "other sessions ended",
            Self::Until { user: Some(_), .. } => "all tokens of the user revoked",
            Self::Until { user: None, .. } => "all tokens revoked",
        }
    }
}

impl Simplejwt {
    /// Refuses a cutoff that lies in the future: it would refuse what is yet to be issued.
    pub(super) fn check_instant(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), Refusal> {
        if at.is_some_and(|at| at > now) { Err(Refusal::FutureCutoff) } else { Ok(()) }
    }

    /// Makes it refused: the first step. [`None`] where a session is not its owner's.
    pub(super) async fn begin_wide(
        &self,
        wide: &Wide,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<Option<Held>, Refusal> {
        let at = self.now()?;
        let reason = reason.unwrap_or(wide.reason()).to_owned();
        let until = self.wide_until(at);
        let rest = |user, meant| Rest { sweep: Sweep { user, meant, at }, reason: reason.clone() };
        Ok(match wide {
            Wide::Session { id, owner } => {
                let (reason, actor) = (reason.clone(), actor.clone());
                let ending = SessionEnding { id: *id, owner: owner.clone(), keep_until: until, reason, actor, at };
                let done = self.ledger().end_session_and_tokens(ending).await;
                // Whose it is, the ledger was to say.
                let noted = if owner.is_none() { vec![Pending::of_session(*id, until)] } else { Vec::new() };
                let Some(ended) = self.certain(done, noted)? else { return Ok(None) };
                let mut report = RevokeReport { rows: ended.rows, ..RevokeReport::default() };
                match ended.outcome {
                    RevokeOutcome::Newly => report.sessions = 1,
                    RevokeOutcome::UnknownRecorded => report.unknown_sessions.push(*id),
                    RevokeOutcome::Already => {}
                }
                Some(Held { report, rest: None, committed: vec![Pending::of_session(*id, until)] })
            }
            Wide::Others { user, keep } => {
                let key = self.key_or_claim(user).await;
                let meant = Meant::AllBut(*keep);
                let sweep = Sweep { user: Some(key.clone()), meant, at };
                let open = self.ledger().sessions_to_end(&sweep, "", UNCERTAIN).await?;
                let noted = open.iter().filter_map(|name| Some(Pending::of_session(name.parse().ok()?, until)));
                let committed: Vec<Pending> = noted.collect();
                let (actor, user) = (actor.clone(), key.clone());
                let ending = OthersEnding { user, keep: *keep, reason: reason.clone(), actor, at };
                let ended = self.certain(self.ledger().end_other_sessions(ending).await, committed.clone())?;
                let report = RevokeReport { sessions: ended, ..RevokeReport::default() };
                Some(Held { report, rest: Some(rest(Some(key), meant)), committed })
            }
            Wide::Until { user, at: instant } => {
                Self::check_instant(*instant, at)?;
                let key = match user {
                    Some(claim) => Some(self.key_or_claim(claim).await),
                    None => None,
                };
                let cutoff = NewCutoff {
                    user: user.clone(),
                    not_before: instant.unwrap_or(at),
                    keep_until: until,
                    reason: Some(reason.clone()),
                    actor: actor.clone(),
                    at,
                };
                let pending = |at| vec![Pending::of_cutoff(user.as_ref().map(UserKey::as_str), at, until)];
                let noted = pending(cutoff.not_before);
                let done = match instant {
                    Some(_) => self.ledger().cut_off_until(cutoff).await,
                    None => self.ledger().cut_off_until_now(cutoff, key.clone()).await,
                };
                let mark = self.certain(done, noted)?;
                self.pass(mark).await;
                let report = RevokeReport { cutoff: Some(mark), ..RevokeReport::default() };
                Some(Held { report, rest: Some(rest(key, Meant::Until(mark))), committed: pending(mark) })
            }
        })
    }

    /// The second step: sessions and recorded tokens, in batches. Gives one session of each batch, which stands for the others.
    pub(super) async fn finish_wide(&self, rest: &Rest, report: &mut RevokeReport) -> Result<Vec<Pending>, Refusal> {
        self.sweep(rest, report).await.map_err(|error| Refusal::unavailable(Unfinished(error)))
    }

    async fn sweep(&self, rest: &Rest, report: &mut RevokeReport) -> Result<Vec<Pending>, LedgerError> {
        let Rest { sweep, reason } = rest;
        let (until, mut committed) = (self.wide_until(sweep.at), Vec::new());
        if let Meant::Until(_) = sweep.meant {
            let mut after = String::new();
            loop {
                let names =
                    self.ledger().sessions_to_end(sweep, &after, i64::try_from(BATCH).unwrap_or(i64::MAX)).await?;
                let Some(last) = names.last() else { break };
                after.clone_from(last);
                committed.extend(last.parse().ok().map(|id| Pending::of_session(id, until)));
                report.sessions += self.ledger().end_listed_sessions(names, reason, sweep.at).await?;
            }
        }
        let mut after = Some(i64::MIN);
        while let Some(from) = after {
            let page = self.ledger().rows_to_blacklist(sweep, from, PAGE).await?;
            for ids in page.ids.chunks(BATCH) {
                report.rows += self.ledger().blacklist_rows(ids.to_vec(), sweep.at).await?;
            }
            after = page.next;
        }
        Ok(committed)
    }

    /// The second step after a cutoff of a user, which was made together with something else.
    pub(super) async fn finish_cutoff(&self, user: UserKey, at: DateTime<Utc>, reason: &str) -> Result<(), Refusal> {
        self.pass(at).await;
        let sweep = Sweep { user: Some(user), meant: Meant::Until(at), at };
        self.finish_wide(&Rest { sweep, reason: reason.to_owned() }, &mut RevokeReport::default()).await.map(drop)
    }

    /// Waits until the millisecond of a cutoff is over: what is issued after the answer is not meant.
    async fn pass(&self, mark: DateTime<Utc>) {
        for _ in 0..MOST_WAITS {
            if self.inner.clock.now().timestamp_millis() > mark.timestamp_millis() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What would be hit: open sessions, and recorded tokens that are not on the blacklist. Writes nothing.
    pub(super) async fn foresee(&self, wide: &Wide) -> Result<RevokeReport, Refusal> {
        let now = self.now()?;
        let (user, meant) = match wide {
            Wide::Session { id, .. } => return self.foresee_session(*id).await,
            Wide::Others { user, keep } => (Some(self.key_or_claim(user).await), Meant::AllBut(*keep)),
            Wide::Until { user, at } => {
                Self::check_instant(*at, now)?;
                let key = match user {
                    Some(claim) => Some(self.key_or_claim(claim).await),
                    None => None,
                };
                (key, Meant::Until(at.unwrap_or(now)))
            }
        };
        let sweep = Sweep { user, meant, at: now };
        let mut report = RevokeReport::default();
        let mut after = String::new();
        loop {
            let names = self.ledger().sessions_to_end(&sweep, &after, PAGE).await?;
            report.sessions += names.len() as u64;
            let Some(last) = names.last() else { break };
            after.clone_from(last);
        }
        let mut from = Some(i64::MIN);
        while let Some(after) = from {
            let page = self.ledger().rows_to_blacklist(&sweep, after, PAGE).await?;
            report.rows += page.ids.len() as u64;
            from = page.next;
        }
        Ok(report)
    }

    async fn foresee_session(&self, id: SessionId) -> Result<RevokeReport, Refusal> {
        let now = self.now()?;
        let Some(chain) = self.ledger().session(id, now).await? else {
            return Ok(RevokeReport { unknown_sessions: vec![id], ..RevokeReport::default() });
        };
        let sessions = u64::from(chain.session.ended_at.is_none());
        let is_live = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at > now);
        let live = chain.tokens.iter().filter(|token| token.blacklisted_at.is_none() && is_live(token.expires_at));
        Ok(RevokeReport { sessions, rows: live.count() as u64, ..RevokeReport::default() })
    }

    /// Until when it has to be known: as long as any token could live, and the access token that it buys in its last second.
    pub(super) fn wide_until(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        let lifetime = self.settings().longest_lifetime().max(UNKNOWN_AT_LEAST);
        self.session_keep_until(at + lifetime.as_delta())
    }

    /// The key under which the ledger has the user whom tokens name so. Where the users cannot be asked, the revocation goes ahead
    /// by that name: it matters more.
    async fn key_or_claim(&self, claim: &UserKey) -> UserKey {
        match self.key_of(claim.as_str()).await {
            Ok(key) => key,
            Err(error) => {
                log::warn!(
                    "the users cannot be asked whose tokens those of {claim} are: {}",
                    crate::chain::chain(&error)
                );
                claim.clone()
            }
        }
    }

    /// What the ledger answered. Where it is not certain whether it was done, it counts here from now on: whoever asked for it
    /// does not learn it, but meant it.
    fn certain<T>(&self, done: Result<T, LedgerError>, noted: Vec<Pending>) -> Result<T, Refusal> {
        done.map_err(|error| {
            if error.is_uncertain() {
                self.inner.blacklist.uncertain.note(noted);
            }
            error.into()
        })
    }
}

/// The second step was not finished.
#[derive(Debug, thiserror::Error)]
#[error(
    "everything is refused here from now on, but not every recorded token is on the blacklist yet, which is all that Django reads; \
     do it again"
)]
struct Unfinished(#[source] LedgerError);
