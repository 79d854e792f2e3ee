//! Many tokens at once, the flush, and how far they are.

use askama::Template;
use rocket::http::Status;

use super::answer::{Answer, Problem};
use super::form::Form;
use super::show::{When, maybe, when};
use super::token::reason;
use super::tokens::{Wanted, search_of};
use super::visit::{Frame, Visit, encoded};
use crate::service::FlushOptions;
use crate::service::admin::{Many, TokenSearch, in_words};
use crate::token::Jti;

/// So many tokens can be chosen one by one: those of a page.
const MOST_CHOSEN: usize = 200;

/// So many are counted before it is asked whether all of them are meant.
const COUNTED: usize = 100_000;

#[derive(Template)]
#[template(path = "admin/bulk.html")]
struct BulkPage<'a> {
    frame: Frame<'a>,
    jtis: Vec<Jti>,
    /// What was asked for, where everything is meant that it finds.
    all: Option<Wanted>,
    count: usize,
    exact: bool,
}

fn chosen(sent: &Form) -> Result<Vec<Jti>, Problem> {
    let jtis: Result<Vec<Jti>, _> = sent.all("jti").map(str::parse).collect();
    let jtis = jtis.map_err(|_| Problem::bad("That is no jti."))?;
    if jtis.len() > MOST_CHOSEN {
        return Err(Problem::bad("So many cannot be chosen one by one."));
    }
    Ok(jtis)
}

fn all(sent: &Form) -> Result<Option<(Wanted, TokenSearch)>, Problem> {
    let Some(query) = sent.text("all")? else { return Ok(None) };
    let asked = Form::parse(query)?;
    Ok(Some((Wanted::of(&asked)?, search_of(&asked)?)))
}

/// Asks whether these are meant. Changes nothing.
pub(super) async fn ask(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let everything = sent.text("which")? == Some("all");
    let jtis = if everything { Vec::new() } else { chosen(sent)? };
    let (all, count, exact) = match all(sent)?.filter(|_| everything) {
        Some((wanted, search)) => {
            let (count, exact) = visit.jwt.count_found(&search, COUNTED).await?;
            (Some(wanted), count, exact)
        }
        None => (None, jtis.len(), true),
    };
    if count == 0 {
        return Err(Problem::bad("No token was chosen."));
    }
    Answer::page(Status::Ok, &BulkPage { frame: visit.frame("tokens"), jtis, all, count, exact })
}

/// Starts to blacklist them.
pub(super) async fn blacklist(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let many = match all(sent)? {
        Some((_, search)) => Many::Found(search),
        None => Many::These(chosen(sent)?),
    };
    if matches!(&many, Many::These(jtis) if jtis.is_empty()) {
        return Err(Problem::bad("No token was chosen."));
    }
    let reason = reason(sent)?;
    visit.need_confirmed(sent).await?;
    let job = visit.jwt.start_blacklisting(many, reason, visit.actor())?;
    Ok(visit.redirect(&format!("/job?id={}", encoded(job.id()))))
}

#[derive(Template)]
#[template(path = "admin/job.html")]
struct JobPage<'a> {
    frame: Frame<'a>,
    id: &'a str,
    what: &'static str,
    who: &'a str,
    started: When,
    done: u64,
    total: u64,
    running: bool,
    outcome: String,
    failed: bool,
}

/// How far a job is.
pub(super) fn page(visit: &Visit<'_>, asked: &Form) -> Result<Answer, Problem> {
    let elsewhere =
        "No such work is known here. It may be over since long, or go on in another process: see the events.";
    let job = visit.jwt.job(asked.needed("id")?).ok_or_else(|| Problem::missing(elsewhere))?;
    let outcome = job.outcome();
    let page = JobPage {
        frame: visit.frame("flush"),
        id: job.id(),
        what: job.what(),
        who: job.who(),
        started: when(job.started_at(), visit.jwt.clock_now()),
        done: job.done(),
        total: job.total().max(job.done()),
        running: outcome.is_none(),
        failed: matches!(outcome, Some(Err(_))),
        outcome: outcome.map_or_else(String::new, |outcome| outcome.unwrap_or_else(|error| error)),
    };
    Answer::page(Status::Ok, &page)
}

/// Ends a job after the step that is under way.
pub(super) fn stop(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let id = sent.needed("id")?;
    if let Some(job) = visit.jwt.job(id) {
        job.stop();
    }
    Ok(visit.redirect(&format!("/job?id={}", encoded(id))))
}

#[derive(Template)]
#[template(path = "admin/flush.html")]
struct FlushPage<'a> {
    frame: Frame<'a>,
    last: Option<LastFlush>,
    /// What a flush would delete, where that was asked for.
    would: Option<String>,
    warning: Option<String>,
}

/// The flush that began last.
#[derive(Debug)]
pub(super) struct LastFlush {
    pub(super) started: When,
    pub(super) finished: Option<When>,
    pub(super) outcome: &'static str,
    pub(super) flushed: String,
}

impl LastFlush {
    pub(super) fn of(visit: &Visit<'_>, run: &crate::service::admin::FlushRunRow) -> Self {
        let now = visit.jwt.clock_now();
        Self {
            started: when(run.started_at, now),
            finished: maybe(run.finished_at, now),
            outcome: run.outcome.map_or("at work", crate::service::admin::FlushOutcome::as_str),
            flushed: in_words(&run.flushed),
        }
    }
}

async fn flush_shown(visit: &Visit<'_>, would: Option<String>, warning: Option<String>) -> Result<Answer, Problem> {
    let last = visit.jwt.last_flush().await?.map(|run| LastFlush::of(visit, &run));
    Answer::page(Status::Ok, &FlushPage { frame: visit.frame("flush"), last, would, warning })
}

/// The page of the flush.
pub(super) async fn flush(visit: &Visit<'_>) -> Result<Answer, Problem> {
    flush_shown(visit, None, None).await
}

/// What a flush would delete.
pub(super) async fn dry_run(visit: &Visit<'_>) -> Result<Answer, Problem> {
    let options = FlushOptions { dry_run: true, ..FlushOptions::default() };
    let tried = visit.jwt.flush_expired_tokens(&options, &std::sync::atomic::AtomicBool::new(false), |_| {}).await;
    match tried {
        Ok(report) => {
            let ahead = "The clock lies ahead of everything in the ledger. Only what expired before then would go.";
            flush_shown(visit, Some(in_words(&report.flushed)), report.clock_ahead.map(|_| ahead.to_owned())).await
        }
        Err(error) => {
            let why = crate::chain::chain(&error).to_string();
            flush_shown(visit, None, Some(why)).await
        }
    }
}

/// Starts a flush.
pub(super) async fn start_flush(visit: &Visit<'_>) -> Result<Answer, Problem> {
    let job = visit.jwt.start_flush(visit.actor()).await?;
    Ok(visit.redirect(&format!("/job?id={}", encoded(job.id()))))
}
