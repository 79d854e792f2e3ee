//! Many tokens at once, the flush, and how far they are.

use askama::Template;
use rocket::http::Status;

use super::answer::{Answer, Problem};
use super::form::Form;
use super::show::{When, maybe, when};
use super::token::reason;
use super::tokens::{Wanted, search_of};
use super::visit::{Frame, Visit, encoded};
use crate::service::admin::{Job, Many, TokenSearch, Work, in_words};
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
    /// How many were chosen beside them that have no jti.
    odd: usize,
}

/// Those that were chosen, and how many of them cannot be blacklisted: Django may have recorded under any text, and no token has that
/// for its jti.
fn chosen(sent: &Form) -> Result<(Vec<Jti>, usize), Problem> {
    let count = sent.all("jti").count();
    if count > MOST_CHOSEN {
        return Err(Problem::bad("So many cannot be chosen one by one."));
    }
    let jtis: Vec<Jti> = sent.all("jti").filter_map(|text| text.parse().ok()).collect();
    let odd = count - jtis.len();
    if jtis.is_empty() && odd > 0 {
        return Err(Problem::bad("That is no jti."));
    }
    Ok((jtis, odd))
}

fn all(sent: &Form) -> Result<Option<(Wanted, TokenSearch)>, Problem> {
    let Some(query) = sent.text("all")? else { return Ok(None) };
    let asked = Form::parse(query)?;
    Ok(Some((Wanted::of(&asked)?, search_of(&asked)?)))
}

/// Asks whether these are meant. Changes nothing.
pub(super) async fn ask(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let everything = sent.text("which")? == Some("all");
    let (jtis, odd) = if everything { (Vec::new(), 0) } else { chosen(sent)? };
    let (all, count, exact) = match all(sent)?.filter(|_| everything) {
        Some((wanted, search)) => {
            let (count, exact) = visit.jwt.count_found(&search, COUNTED).await?;
            (Some(wanted), count, exact)
        }
        None => (None, jtis.len(), true),
    };
    if count == 0 && exact {
        return Err(Problem::bad("No token was chosen."));
    }
    Answer::page(Status::Ok, &BulkPage { frame: visit.frame("tokens"), jtis, all, count, exact, odd })
}

/// Starts to blacklist them.
pub(super) async fn blacklist(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let many = match all(sent)? {
        Some((_, search)) => Many::Found(search),
        None => Many::These(chosen(sent)?.0),
    };
    if matches!(&many, Many::These(jtis) if jtis.is_empty()) {
        return Err(Problem::bad("No token was chosen."));
    }
    let reason = reason(sent)?;
    visit.need_confirmed(sent).await?;
    let job = visit.jwt.start_blacklisting(many, reason, visit.actor()).await?;
    Ok(to_job(visit, &job))
}

fn to_job(visit: &Visit<'_>, job: &Job) -> Answer {
    visit.redirect(&format!("/job?id={}", encoded(job.id())))
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
    /// Whether it can be ended between its steps.
    stops: bool,
    outcome: String,
    failed: bool,
    /// Whether it is time to decide on the flush of which this was the dry run.
    asks: bool,
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
        what: job.work().as_str(),
        who: job.who(),
        started: when(job.started_at(), visit.jwt.clock_now()),
        done: job.done(),
        total: job.total().max(job.done()),
        running: outcome.is_none(),
        stops: job.work().has_steps(),
        asks: job.work() == Work::DryRun && outcome.is_some(),
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
    jobs: Vec<Listed>,
}

/// A job in the list of all.
struct Listed {
    id: String,
    what: &'static str,
    who: String,
    started: When,
    state: &'static str,
}

impl Listed {
    fn of(visit: &Visit<'_>, job: &Job) -> Self {
        Self {
            id: job.id().to_owned(),
            what: job.work().as_str(),
            who: job.who().to_owned(),
            started: when(job.started_at(), visit.jwt.clock_now()),
            state: match job.outcome() {
                None => "at work",
                Some(Ok(_)) => "over",
                Some(Err(_)) => "failed",
            },
        }
    }
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
            outcome: match run.outcome {
                Some(outcome) => outcome.as_str(),
                None if run.is_dead(now) => "stopped without an end",
                None => "at work",
            },
            flushed: in_words(&run.flushed),
        }
    }
}

/// The page of the flush, and of all that is done in the background here.
pub(super) async fn flush(visit: &Visit<'_>) -> Result<Answer, Problem> {
    let last = visit.jwt.last_flush().await?.map(|run| LastFlush::of(visit, &run));
    let jobs = visit.jwt.jobs().iter().map(|job| Listed::of(visit, job)).collect();
    Answer::page(Status::Ok, &FlushPage { frame: visit.frame("flush"), last, jobs })
}

/// Starts to count what a flush would delete: that may go through whole tables.
pub(super) fn dry_run(visit: &Visit<'_>) -> Answer {
    to_job(visit, &visit.jwt.start_dry_run(&visit.actor()))
}

/// Starts a flush.
pub(super) async fn start_flush(visit: &Visit<'_>) -> Result<Answer, Problem> {
    let job = visit.jwt.start_flush(visit.actor()).await?;
    Ok(to_job(visit, &job))
}
