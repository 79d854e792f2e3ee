//! `outstanding list|show` and `blacklisted list`: what the ledger holds.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Value, json};

use super::connect::{Common, Keys, name_of};
use super::exit::{Exit, Failure};
use super::input;
use super::output::{instant, instant_text, maybe};
use crate::ledger::{EventRow, TokenFilter, TokenRow, TokenState};
use crate::token::TokenKind;

#[derive(Subcommand)]
pub(super) enum OutstandingCommand {
    /// List recorded tokens, a page at a time
    #[command(after_help = "Examples:
  simplejwt outstanding list --user 42 --active
  simplejwt outstanding list --since 2h --format json
  simplejwt outstanding list --limit 1000 --after 83120 --format csv

Pages go by id: the next one begins after the last id of this one.")]
    List(OutstandingArgs),
    /// Show one token and what happened to it
    #[command(after_help = "Examples:
  simplejwt outstanding show 8f14e45fceea467a9d4f2f6a0c3f5d11

Exit code: 0 it is recorded, 1 it is not.")]
    Show {
        /// The jti claim of the token
        jti: String,
    },
}

#[derive(Subcommand)]
pub(super) enum BlacklistedCommand {
    /// List blacklisted tokens, a page at a time
    #[command(after_help = "Examples:
  simplejwt blacklisted list --since 1d
  simplejwt blacklisted list --user 42 --format json

With --since: those that were blacklisted since then.")]
    List(ListArgs),
}

#[derive(clap::Args)]
pub(super) struct OutstandingArgs {
    #[command(flatten)]
    list: ListArgs,

    /// Only those that can be used
    #[arg(long, group = "state")]
    active: bool,

    /// Only those whose time has passed
    #[arg(long, group = "state")]
    expired: bool,

    /// Only those that somebody revoked
    #[arg(long, group = "state")]
    blacklisted: bool,

    /// Only those that a rotation replaced
    #[arg(long, group = "state")]
    superseded: bool,
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only those of this user (the user's id, as in the token)
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// Only those of this kind
    #[arg(long, value_parser = input::kind_parser())]
    kind: Option<TokenKind>,

    /// Only those since then: how long ago (2h, 7d), RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = input::parse_since)]
    since: Option<DateTime<Utc>>,

    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,

    /// Only those with a greater id
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    after: i64,
}

impl ListArgs {
    fn filter(&self, state: Option<TokenState>) -> TokenFilter {
        TokenFilter {
            user: self.user.as_deref().map(Into::into),
            kind: self.kind,
            state,
            since: self.since,
            after: self.after,
            limit: self.limit,
        }
    }
}

impl OutstandingArgs {
    fn state(&self) -> Option<TokenState> {
        let states = [
            (self.active, TokenState::Active),
            (self.expired, TokenState::Expired),
            (self.blacklisted, TokenState::Blacklisted),
            (self.superseded, TokenState::Superseded),
        ];
        states.into_iter().find_map(|(asked, state)| asked.then_some(state))
    }
}

/// Runs `outstanding …`.
pub(super) async fn outstanding(common: &Common, command: OutstandingCommand) -> Result<Exit, Failure> {
    match command {
        OutstandingCommand::List(args) => {
            let jwt = common.open(Keys::Unused).await?;
            let rows = jwt.outstanding(&args.list.filter(args.state())).await?;
            page(common, &rows, args.list.limit)
        }
        OutstandingCommand::Show { jti } => {
            let jti = input::jti_argument(&jti)?;
            let jwt = common.open(Keys::Unused).await?;
            let Some(row) = jwt.record_of_jti(&jti).await? else {
                return Err(Failure::Failed(format!("no token {jti} is recorded in {}", name_of(jwt.database()))));
            };
            let events = jwt.events_of(&jti).await?;
            show(common, &row, &events)
        }
    }
}

/// Runs `blacklisted …`.
pub(super) async fn blacklisted(common: &Common, command: BlacklistedCommand) -> Result<Exit, Failure> {
    let BlacklistedCommand::List(args) = command;
    let jwt = common.open(Keys::Unused).await?;
    let rows = jwt.blacklisted(&args.filter(None)).await?;
    page(common, &rows, args.limit)
}

/// The fields of a token, in every list and in `show`.
const FIELDS: [&str; 15] = [
    "id",
    "jti",
    "user",
    "kind",
    "created_at",
    "expires_at",
    "blacklisted_at",
    "superseded_at",
    "revoked_at",
    "reason",
    "session",
    "session_ended_at",
    "parent",
    "successor",
    "keep_until",
];

/// What a token has in these fields.
fn cells(row: &TokenRow) -> [Value; FIELDS.len()] {
    [
        row.id.into(),
        row.jti.as_str().into(),
        row.user.as_deref().into(),
        row.kind.map(TokenKind::as_str).into(),
        maybe(row.created_at),
        instant(row.expires_at),
        maybe(row.blacklisted_at),
        maybe(row.superseded_at),
        maybe(row.revoked_at),
        row.reason.as_deref().into(),
        row.session.as_deref().into(),
        maybe(row.session_ended_at),
        row.parent.as_deref().into(),
        row.successor.as_deref().into(),
        maybe(row.keep_until),
    ]
}

/// The fields that people see in a list: what fits a line.
const SHORT: [&str; 7] = ["id", "jti", "user", "kind", "expires_at", "state", "reason"];

fn page(common: &Common, rows: &[TokenRow], limit: i64) -> Result<Exit, Failure> {
    let output = common.output();
    if output.is_for_people() {
        let now = input::now();
        let short: Vec<_> = rows.iter().map(|row| short(row, now)).collect();
        output.rows(&SHORT, &short)?;
        if let Some(last) = rows.last().filter(|_| i64::try_from(rows.len()).is_ok_and(|count| count == limit)) {
            output.aside(format_args!("there may be more: --after {}", last.id));
        }
    } else {
        let rows: Vec<_> = rows.iter().map(|row| cells(row).to_vec()).collect();
        output.rows(&FIELDS, &rows)?;
    }
    Ok(Exit::Done)
}

fn short(row: &TokenRow, now: DateTime<Utc>) -> Vec<Value> {
    let state = if row.superseded_at.is_some() {
        "superseded"
    } else if row.blacklisted_at.is_some() || row.revoked_at.is_some() {
        "blacklisted"
    } else if row.session_ended_at.is_some() {
        "session ended"
    } else if row.expires_at <= now {
        "expired"
    } else {
        "active"
    };
    vec![
        row.id.into(),
        row.jti.as_str().into(),
        row.user.as_deref().into(),
        row.kind.map(TokenKind::as_str).into(),
        instant(row.expires_at),
        state.into(),
        row.reason.as_deref().into(),
    ]
}

fn show(common: &Common, row: &TokenRow, events: &[EventRow]) -> Result<Exit, Failure> {
    let output = common.output();
    let mut record: Vec<_> = FIELDS.into_iter().zip(cells(row)).collect();
    if !output.is_for_people() {
        record.push(("events", events.iter().map(event).collect()));
        output.record(&record)?;
        return Ok(Exit::Done);
    }
    output.record(&record)?;
    for event in events {
        let reason = event.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let from = event.address.as_deref().map(|address| format!(" from {address}")).unwrap_or_default();
        let at = instant_text(event.at);
        output.done(format_args!("{at}  {} by {} ({}){from}{reason}", event.action, event.who, event.via))?;
    }
    Ok(Exit::Done)
}

fn event(event: &EventRow) -> Value {
    json!({
        "at": instant(event.at),
        "action": event.action,
        "who": event.who,
        "via": event.via,
        "address": event.address,
        "reason": event.reason,
    })
}
