//! `events list|follow`: who did what to which token, session or user, and why.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::Value;

use super::connect::{Common, Keys};
use super::exit::{Exit, Failure};
use super::input;
use super::output::{instant, warn};
use crate::chain::chain;
use crate::ledger::{ACTIONS, EventFilter, EventRow};
use crate::service::Simplejwt;

#[derive(Subcommand)]
pub(super) enum EventsCommand {
    /// List what happened, the newest first, a page at a time
    #[command(after_help = "Examples:
  simplejwt events list --since 1d
  simplejwt events list --user 42 --format json
  simplejwt events list --action blacklist --limit 1000 --before 83120 --format csv

Pages go by id: the next one begins before the last id of this one.")]
    List(ListArgs),
    /// Show what happens, as it happens
    #[command(after_help = "Examples:
  simplejwt events follow
  simplejwt events follow --since 1h --user 42
  simplejwt events follow --format json | jq -c 'select(.action == \"reuse\")'

One line for each event; with --format json an object a line. Goes on where it was when the database
was out of reach for a while. An event that was committed late comes late, and none comes twice.
Ends on Ctrl-C, on SIGTERM, and when nobody reads any more.")]
    Follow(Which),
}

#[derive(clap::Args)]
pub(super) struct Which {
    /// Only what concerns this user (the user's id, as in the token), or a token or session of that user
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// Only what concerns this session, or a token of it
    #[arg(long, value_name = "ID")]
    session: Option<String>,

    /// Only what is of this sort, such as blacklist
    #[arg(long, value_parser = parse_action)]
    action: Option<String>,

    /// Only what was done to this jti, this session, or to user:ID
    #[arg(long)]
    target: Option<String>,

    /// Only what happened since then: how long ago (2h, 7d), RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = input::parse_since)]
    since: Option<DateTime<Utc>>,
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: Which,

    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,

    /// Only those with a smaller id
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    before: Option<i64>,
}

fn parse_action(text: &str) -> Result<String, String> {
    if ACTIONS.contains(&text) { Ok(text.to_owned()) } else { Err(format!("one of: {}", ACTIONS.join(", "))) }
}

impl Which {
    fn filter(self) -> EventFilter {
        let Self { user, session, action, target, since } = self;
        EventFilter { user: user.map(Into::into), session, action, target, since, ..EventFilter::default() }
    }
}

/// Runs `events …`.
pub(super) async fn run(common: &Common, command: EventsCommand) -> Result<Exit, Failure> {
    match command {
        EventsCommand::List(ListArgs { which, limit, before }) => {
            let filter = EventFilter { before, limit, ..which.filter() };
            let jwt = common.open(Keys::Unused).await?;
            let rows = jwt.events(&filter).await?;
            page(common, &rows, limit)
        }
        EventsCommand::Follow(which) => {
            let filter = which.filter();
            let jwt = common.open(Keys::Unused).await?;
            tokio::select! {
                ended = follow(common, &jwt, &filter) => ended,
                heard = asked_to_end() => heard,
            }
        }
    }
}

/// How often it is looked whether something happened.
const LOOK: Duration = Duration::from_millis(500);

/// The same while the database does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Shows events until nobody reads any more.
async fn follow(common: &Common, jwt: &Simplejwt, filter: &EventFilter) -> Result<Exit, Failure> {
    let mut tail = jwt.follow_events(filter.since).await?;
    let output = common.output();
    let short = SHORT.map(|field| FIELDS[field]);
    let mut stream = output.stream(if output.is_for_people() { &short } else { &FIELDS });
    let mut lost = false;
    loop {
        let rows = match jwt.next_events(&mut tail).await {
            Ok(rows) => rows,
            Err(error) if error.is_transient() => {
                if !lost {
                    warn(format_args!("{}; trying again", chain(&error)));
                }
                lost = true;
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        lost = false;
        let wanted = rows.iter().filter(|row| filter.matches(row)).map(cells);
        let rows: Vec<_> = if output.is_for_people() {
            wanted.map(|cells| SHORT.map(|field| cells[field].clone()).to_vec()).collect()
        } else {
            wanted.map(|cells| cells.to_vec()).collect()
        };
        if !stream.rows(&rows)? {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn asked_to_end() -> Result<Exit, Failure> {
    let failed = |error| Failure::io("signals cannot be caught", &error);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            heard = tokio::signal::ctrl_c() => heard.map_err(failed)?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(failed)?;
    Ok(Exit::Done)
}

/// The fields of an event.
const FIELDS: [&str; 10] = ["id", "at", "action", "target", "user", "session", "reason", "who", "via", "address"];

/// What an event has in these fields.
fn cells(row: &EventRow) -> [Value; FIELDS.len()] {
    [
        row.id.into(),
        instant(row.at),
        row.action.as_str().into(),
        row.target.as_str().into(),
        row.user.as_deref().into(),
        row.session.as_deref().into(),
        row.reason.as_deref().into(),
        row.who.as_str().into(),
        row.via.as_str().into(),
        row.address.as_deref().into(),
    ]
}

/// Those that people see in a list: what fits a line.
const SHORT: [usize; 7] = [0, 1, 2, 3, 7, 9, 6];

fn page(common: &Common, rows: &[EventRow], limit: i64) -> Result<Exit, Failure> {
    let output = common.output();
    if output.is_for_people() {
        let short: Vec<_> =
            rows.iter().map(cells).map(|cells| SHORT.map(|field| cells[field].clone()).to_vec()).collect();
        output.rows(&SHORT.map(|field| FIELDS[field]), &short)?;
        if let Some(last) = rows.last().filter(|_| i64::try_from(rows.len()).is_ok_and(|count| count == limit)) {
            output.aside(format_args!("there may be more: --before {}", last.id));
        }
    } else {
        let rows: Vec<_> = rows.iter().map(|row| cells(row).to_vec()).collect();
        output.rows(&FIELDS, &rows)?;
    }
    Ok(Exit::Done)
}
