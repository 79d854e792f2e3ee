//! `sessions list|show|end`: who is logged in, and no longer.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Value, json};

use super::actor::actor;
use super::connect::{Common, Keys, name_of};
use super::exit::{Exit, Failure};
use super::input;
use super::output::{self, instant, maybe};
use super::wide;
use crate::ledger::{SessionFilter, SessionRow, SessionState, SessionToken};
use crate::service::Target;
use crate::token::{SessionId, TokenKind};

#[derive(Subcommand)]
pub(super) enum SessionsCommand {
    /// List sessions, the newest first, a page at a time
    #[command(after_help = "Examples:
  simplejwt sessions list --user 42 --active
  simplejwt sessions list --since 1d --format csv

Pages follow each other: the next one begins after the last id of this one.")]
    List(ListArgs),
    /// Show one session with its tokens, each after the one that it replaced
    #[command(after_help = "Examples:
  simplejwt sessions show 019ad0c2-7f3e-7a51-b2c4-0d9d3c1a2b4f

Exit code: 0 it is on record, 1 it is not.")]
    Show {
        /// The session: the sid claim of its tokens
        #[arg(value_name = "ID", value_parser = input::parse_session)]
        id: SessionId,
    },
    /// End sessions: every token of them is refused from now on
    #[command(after_help = "Examples:
  simplejwt sessions end 019ad0c2-7f3e-7a51-b2c4-0d9d3c1a2b4f --reason 'laptop stolen'
  simplejwt sessions end --user 42 --but 019ad0c2-7f3e-7a51-b2c4-0d9d3c1a2b4f

All sessions of a user: simplejwt blacklist --user ID
Exit code: 0 they are over, 2 bad input, 75 try again.")]
    End(EndArgs),
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only those of this user (the user's id)
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// Only those whose tokens can be used
    #[arg(long, group = "state")]
    active: bool,

    /// Only those that somebody ended
    #[arg(long, group = "state")]
    ended: bool,

    /// Only those whose last token has expired
    #[arg(long, group = "state")]
    expired: bool,

    /// Only those that began since then: how long ago (2h, 7d), RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = input::parse_since)]
    since: Option<DateTime<Utc>>,

    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,

    /// Only those that come after this one in the list
    #[arg(long, value_name = "ID", value_parser = input::parse_session)]
    after: Option<SessionId>,
}

#[derive(clap::Args)]
pub(super) struct EndArgs {
    /// Which: the sid claim of its tokens
    #[arg(value_name = "ID", value_parser = input::parse_session, required_unless_present = "user")]
    ids: Vec<SessionId>,

    /// All of this user (as named in the token) but one
    #[arg(long, value_name = "ID", requires = "but", conflicts_with = "ids")]
    user: Option<String>,

    /// The one that stays
    #[arg(long, value_name = "ID", value_parser = input::parse_session, requires = "user")]
    but: Option<SessionId>,

    /// Why, for the audit
    #[arg(long, value_name = "TEXT", value_parser = input::parse_reason)]
    reason: Option<String>,

    /// Change nothing, and show what would be hit
    #[arg(long)]
    dry_run: bool,
}

/// Runs `sessions …`.
pub(super) async fn run(common: &Common, command: SessionsCommand) -> Result<Exit, Failure> {
    let jwt = common.open(Keys::Unused).await?;
    match command {
        SessionsCommand::List(args) => {
            let states = [
                (args.active, SessionState::Active),
                (args.ended, SessionState::Ended),
                (args.expired, SessionState::Expired),
            ];
            let filter = SessionFilter {
                user: args.user.as_deref().map(Into::into),
                state: states.into_iter().find_map(|(asked, state)| asked.then_some(state)),
                since: args.since,
                after: args.after,
                limit: args.limit,
            };
            list(common, &jwt.sessions(&filter).await?, args.limit)
        }
        SessionsCommand::Show { id } => match jwt.session(id).await? {
            Some(chain) => show(common, &chain.session, &chain.tokens, chain.more),
            None => Err(Failure::Failed(format!("no session {id} is on record in {}", name_of(jwt.database())))),
        },
        SessionsCommand::End(args) => {
            let targets = match (args.user, args.but) {
                (Some(user), Some(keep)) => vec![Target::OtherSessions { user: user.into(), keep }],
                _ => args.ids.into_iter().map(Target::Session).collect(),
            };
            wide::run(common, &jwt, targets, args.reason, actor(), args.dry_run).await
        }
    }
}

/// The fields of a session, in every list and in `show`.
const FIELDS: [&str; 12] = [
    "id",
    "user",
    "state",
    "created_at",
    "last_used_at",
    "address",
    "user_agent",
    "absolute_end",
    "ended_at",
    "ended_reason",
    "ended_by",
    "keep_until",
];

fn cells(row: &SessionRow) -> [Value; FIELDS.len()] {
    [
        row.id.to_string().into(),
        row.user.as_deref().into(),
        row.state.as_str().into(),
        instant(row.created_at),
        instant(row.last_used_at),
        row.address.as_deref().into(),
        row.user_agent.as_deref().into(),
        maybe(row.absolute_end),
        maybe(row.ended_at),
        row.ended_reason.as_deref().into(),
        row.ended_by.as_deref().into(),
        instant(row.keep_until),
    ]
}

/// The fields that people see in a list: what fits a line.
const SHORT: [&str; 6] = ["id", "user", "state", "last_used_at", "address", "device"];

/// How much of what a program says of itself fits a line.
const DEVICE: usize = 40;

fn list(common: &Common, rows: &[SessionRow], limit: i64) -> Result<Exit, Failure> {
    let output = common.output();
    if !output.is_for_people() {
        let rows: Vec<_> = rows.iter().map(|row| cells(row).to_vec()).collect();
        output.rows(&FIELDS, &rows)?;
        return Ok(Exit::Done);
    }
    let short = |row: &SessionRow| {
        let device = row.user_agent.as_ref().map(|text| text.chars().take(DEVICE).collect::<String>());
        let [id, user, state, _, last_used_at, address, ..] = cells(row);
        vec![id, user, state, last_used_at, address, device.into()]
    };
    output.rows(&SHORT, &rows.iter().map(short).collect::<Vec<_>>())?;
    if let Some(last) = rows.last().filter(|_| i64::try_from(rows.len()).is_ok_and(|count| count == limit)) {
        output.aside(format_args!("there may be more: --after {}", last.id));
    }
    Ok(Exit::Done)
}

/// The fields of a token of a session.
const TOKEN_FIELDS: [&str; 8] =
    ["jti", "kind", "created_at", "expires_at", "superseded_at", "revoked_at", "blacklisted_at", "reused_at"];

fn token_cells(token: &SessionToken) -> [Value; TOKEN_FIELDS.len()] {
    [
        token.jti.as_str().into(),
        token.kind.map(TokenKind::as_str).into(),
        maybe(token.created_at),
        maybe(token.expires_at),
        maybe(token.superseded_at),
        maybe(token.revoked_at),
        maybe(token.blacklisted_at),
        maybe(token.reused_at),
    ]
}

fn show(common: &Common, row: &SessionRow, tokens: &[SessionToken], more: bool) -> Result<Exit, Failure> {
    let output = common.output();
    let mut record: Vec<_> = FIELDS.into_iter().zip(cells(row)).collect();
    if !output.is_for_people() {
        let token = |token: &SessionToken| {
            let mut fields: serde_json::Map<_, _> =
                TOKEN_FIELDS.into_iter().map(str::to_owned).zip(token_cells(token)).collect();
            fields.insert("parent".to_owned(), token.parent.as_deref().into());
            fields.insert("successor".to_owned(), token.successor.as_deref().into());
            Value::Object(fields)
        };
        record.push(("tokens", tokens.iter().map(token).collect()));
        record.push(("more_tokens", json!(more)));
        output.record(&record)?;
        return Ok(Exit::Done);
    }
    output.record(&record)?;
    output::line("")?;
    output.rows(&TOKEN_FIELDS, &tokens.iter().map(|token| token_cells(token).to_vec()).collect::<Vec<_>>())?;
    if more {
        output.aside("older tokens of it are not shown");
    }
    Ok(Exit::Done)
}
