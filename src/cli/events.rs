//! `events list`: who did what to which token, session or user, and why.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::Value;

use super::connect::{Common, Keys};
use super::exit::{Exit, Failure};
use super::input;
use super::output::instant;
use crate::ledger::{ACTIONS, EventFilter, EventRow};

#[derive(Subcommand)]
pub(super) enum EventsCommand {
    /// List what happened, the newest first, a page at a time
    #[command(after_help = "Examples:
  simplejwt events list --since 1d
  simplejwt events list --user 42 --format json
  simplejwt events list --action blacklist --limit 1000 --before 83120 --format csv

Pages go by id: the next one begins before the last id of this one.")]
    List(ListArgs),
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
    let EventsCommand::List(ListArgs { which, limit, before }) = command;
    let filter = EventFilter { before, limit, ..which.filter() };
    let jwt = common.open(Keys::Unused).await?;
    let rows = jwt.events(&filter).await?;
    page(common, &rows, limit)
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
