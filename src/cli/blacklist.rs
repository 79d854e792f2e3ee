//! `blacklist`: the emergency brake.

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::actor::actor;
use super::connect::{Common, Keys, name_of};
use super::exit::{Exit, Failure};
use super::input::{self, NamedJti};
use super::output::{self, Output, complain, instant, instant_text, maybe};
use super::wide;
use crate::ledger::{RevokeOutcome, Revoked, UserKey};
use crate::service::{Refusal, Simplejwt, Target};
use crate::token::{Jti, SessionId, TokenError};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt blacklist 8f14e45fceea467a9d4f2f6a0c3f5d11 --reason 'laptop stolen'
  simplejwt blacklist --token @leaked.txt
  psql -At -c 'SELECT jti FROM suspects' | simplejwt blacklist --stdin --keep-going
  simplejwt blacklist --user 42 --reason 'account taken over'
  simplejwt blacklist --before 2026-11-30T04:00:00Z --dry-run

All of them are blacklisted or none, unless --keep-going is given. Doing it twice is no error.
Exit code: 0 all are on the blacklist, 1 one was refused, 2 one was no jti or token,
75 try again (the database is locked, read-only or out of reach).")]
pub(super) struct BlacklistArgs {
    /// What to blacklist: the jti claim of a token; - for standard input
    #[arg(value_name = "JTI", required_unless_present_any = ["token", "stdin", "user", "session", "all", "before"])]
    jtis: Vec<String>,

    /// A token instead of its jti: the token itself, - for standard input, @FILE for a file
    #[arg(long, value_name = "TOKEN")]
    token: Vec<String>,

    /// Read jtis from standard input, one a line
    #[arg(long)]
    stdin: bool,

    /// Everything that was issued to this user until now (the user's id, as in the token)
    #[arg(long, value_name = "ID", conflicts_with_all = SINGLE)]
    user: Vec<String>,

    /// All tokens of this session (the sid claim)
    #[arg(long, value_name = "ID", value_parser = input::parse_session, conflicts_with_all = SINGLE)]
    session: Vec<SessionId>,

    /// Everything that was issued to anybody until now: everybody has to log in again
    #[arg(long, conflicts_with_all = SINGLE, conflicts_with_all = ["user", "session"])]
    all: bool,

    /// Everything that began at an instant or before, of --user or of everybody: how long ago (2h, 7d),
    /// RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = input::parse_since, conflicts_with_all = SINGLE, conflicts_with = "session")]
    before: Option<DateTime<Utc>>,

    /// With these four: change nothing, and show what would be hit
    #[arg(long, conflicts_with_all = SINGLE)]
    dry_run: bool,

    /// Do not ask before everybody is logged out
    #[arg(short, long)]
    yes: bool,

    /// Why, for the audit
    #[arg(long, value_name = "TEXT", value_parser = input::parse_reason)]
    reason: Option<String>,

    /// For a jti that is not known here: when its token expires (RFC 3339 or Unix seconds)
    /// [default: as late as any token could]
    #[arg(long, value_name = "TIME", value_parser = input::parse_instant)]
    expires_at: Option<DateTime<Utc>>,

    /// Each in a transaction of its own: what is wrong with one does not hinder the others
    #[arg(long)]
    keep_going: bool,
}

/// What names single tokens, or says something of them.
const SINGLE: [&str; 5] = ["jtis", "token", "stdin", "expires_at", "keep_going"];

/// Blacklists what was named.
pub(super) async fn run(common: &Common, args: BlacklistArgs) -> Result<Exit, Failure> {
    let output = common.output();
    let wide = args.wide();
    if !wide.is_empty() {
        return run_wide(common, args, wide).await;
    }
    // Before a database is opened, which would not be asked.
    Simplejwt::check_expiry(args.expires_at, input::now())?;
    let items = args.items()?;
    if items.is_empty() {
        return Err(Failure::Usage("no jti was given, neither as an argument nor on standard input".into()));
    }
    if !args.keep_going {
        let bad = items.iter().find_map(|item| item.what.as_ref().err().map(|why| (&item.name, why)));
        if let Some((name, why)) = bad {
            return Err(Failure::Usage(format!("{name}: {why}; nothing was blacklisted")));
        }
        if items.len() > input::MOST_AT_ONCE {
            let why =
                format!("{} are too many for one transaction; nothing was blacklisted; use --keep-going", items.len());
            return Err(Failure::Usage(why));
        }
    }
    let keys = if args.token.is_empty() { Keys::Unused } else { Keys::ToVerify };
    let jwt = common.open(keys).await?;
    let report =
        if args.keep_going { one_by_one(&jwt, items, &args).await? } else { together(&jwt, items, &args).await? };
    let database = name_of(jwt.database());
    report.print(output, &database)?;
    Ok(report.exit)
}

async fn run_wide(common: &Common, args: BlacklistArgs, targets: Vec<Target>) -> Result<Exit, Failure> {
    if args.before.is_some_and(|at| at > input::now()) {
        return Err(Failure::Usage(
            "--before lies in the future: it would refuse tokens that are yet to be issued".into(),
        ));
    }
    let jwt = common.open(Keys::Unused).await?;
    if args.user.is_empty() && args.session.is_empty() && !args.dry_run {
        let database = name_of(jwt.database());
        input::confirm(&format!("Refuse the tokens of everybody in {database}?"), args.yes)?;
    }
    wide::run(common, &jwt, targets, args.reason, actor(), args.dry_run).await
}

/// Something to be blacklisted, or what is wrong with it, with a name to report it by. A token has none: it is a secret.
struct Item {
    name: String,
    what: Result<What, String>,
}

enum What {
    Jti(Jti),
    Token(String),
}

impl BlacklistArgs {
    /// What is asked for beyond single tokens.
    fn wide(&self) -> Vec<Target> {
        let user = |user: &String| UserKey::from(user.as_str());
        let mut targets: Vec<_> = self.session.iter().copied().map(Target::Session).collect();
        match self.before {
            Some(at) if self.user.is_empty() => targets.push(Target::Before { user: None, at }),
            Some(at) => targets.extend(self.user.iter().map(|it| Target::Before { user: Some(user(it)), at })),
            None => targets.extend(self.user.iter().map(|it| Target::User(user(it)))),
        }
        targets.extend((self.all && self.before.is_none()).then_some(Target::Everybody));
        targets
    }

    fn items(&self) -> Result<Vec<Item>, Failure> {
        if self.token.iter().filter(|token| *token == "-").count() + input::readers(&self.jtis, self.stdin) > 1 {
            return Err(input::read_twice());
        }
        let jtis = input::jtis(&self.jtis, self.stdin)?;
        let mut items: Vec<_> =
            jtis.into_iter().map(|NamedJti { name, jti }| Item { name, what: jti.map(What::Jti) }).collect();
        for (index, argument) in self.token.iter().enumerate() {
            let token = input::token(argument).map_err(|failure| failure.to_string());
            items.push(Item { name: format!("token {}", index + 1), what: token.map(What::Token) });
        }
        Ok(items)
    }
}

/// What became of each item, and what it all comes to.
struct Report {
    lines: Vec<Line>,
    /// How many were not tried.
    left: usize,
    exit: Exit,
}

struct Line {
    name: String,
    outcome: Result<Revoked, String>,
}

async fn together(jwt: &Simplejwt, items: Vec<Item>, args: &BlacklistArgs) -> Result<Report, Failure> {
    let mut targets = Vec::with_capacity(items.len());
    for Item { name, what } in items {
        let what = what.map_err(|why| Failure::Usage(format!("{name}: {why}")))?;
        targets.push(target(jwt, what, args).map_err(|failure| named(&name, &failure))?);
    }
    let report = jwt.revoke(targets, args.reason.clone(), actor()).await?;
    let lines =
        report.tokens.into_iter().map(|revoked| Line { name: revoked.jti.to_string(), outcome: Ok(revoked) }).collect();
    Ok(Report { lines, left: 0, exit: Exit::Done })
}

async fn one_by_one(jwt: &Simplejwt, items: Vec<Item>, args: &BlacklistArgs) -> Result<Report, Failure> {
    let mut report = Report { lines: Vec::with_capacity(items.len()), left: 0, exit: Exit::Done };
    let (actor, total) = (actor(), items.len());
    for (index, Item { name, what }) in items.into_iter().enumerate() {
        let outcome = match what.map_err(Failure::Usage).and_then(|what| target(jwt, what, args)) {
            Ok(target) => match jwt.revoke(vec![target], args.reason.clone(), actor.clone()).await {
                Ok(report) => {
                    report.tokens.into_iter().next().ok_or_else(|| Failure::Failed("nothing was recorded".into()))
                }
                Err(refusal) => Err(refusal.into()),
            },
            Err(failure) => Err(failure),
        };
        let exit = outcome.as_ref().map_or_else(Failure::exit, |_| Exit::Done);
        report.exit = report.exit.worst(exit);
        report.lines.push(Line { name, outcome: outcome.map_err(|failure| failure.to_string()) });
        if exit == Exit::TryAgain {
            // Whatever keeps this one from the database keeps the others too, each for seconds.
            report.left = total - index - 1;
            break;
        }
    }
    Ok(report)
}

fn target(jwt: &Simplejwt, what: What, args: &BlacklistArgs) -> Result<Target, Failure> {
    match what {
        What::Jti(jti) => Ok(Target::Jti { jti, expires_at: args.expires_at }),
        What::Token(text) => match jwt.verify_unrevoked_later(&text) {
            Ok(token) => Ok(token.into()),
            Err(Refusal::Token(TokenError::Expired)) => {
                Err(Failure::Failed("the token is expired, so that nobody can use it any more".into()))
            }
            Err(refusal @ Refusal::Token(_)) => {
                Err(Failure::Usage(format!("{}; its jti can be blacklisted without it", Failure::from(refusal))))
            }
            Err(refusal) => Err(refusal.into()),
        },
    }
}

/// A failure of one item, when all are done together.
fn named(name: &str, failure: &Failure) -> Failure {
    let text = format!("{name}: {failure}; nothing was blacklisted");
    match failure.exit() {
        Exit::Usage => Failure::Usage(text),
        Exit::TryAgain => Failure::TryAgain(text),
        Exit::Refused | Exit::Done => Failure::Failed(text),
    }
}

impl Report {
    fn print(&self, output: Output, database: &str) -> Result<(), Failure> {
        for line in &self.lines {
            match &line.outcome {
                Ok(revoked) if revoked.outcome == RevokeOutcome::UnknownRecorded => {
                    output::warn(format_args!(
                        "{} is not known in {database}; is this the right database?",
                        revoked.jti
                    ));
                }
                Ok(_) => {}
                Err(why) => complain("error: ", &format_args!("{}: {why}", line.name)),
            }
        }
        if self.left > 0 {
            complain("error: ", &format_args!("{} more were not tried", self.left));
        }
        if !output.is_for_people() {
            let rows: Vec<_> = self.lines.iter().map(|line| line.cells(database)).collect();
            return output.rows(&["jti", "outcome", "expires_at", "session_ended", "error", "database"], &rows);
        }
        let done: Vec<_> = self.lines.iter().filter_map(|line| line.outcome.as_ref().ok()).collect();
        for revoked in &done {
            output.done(format_args!("{}  {}", revoked.jti, Said(revoked)))?;
        }
        let tokens = if done.len() == 1 { "token" } else { "tokens" };
        output.done(format_args!("{} {tokens} on the blacklist of {database}", done.len()))
    }
}

impl Line {
    fn cells(&self, database: &str) -> Vec<Value> {
        let (outcome, expires_at, ended, error) = match &self.outcome {
            Ok(revoked) => {
                let word = match revoked.outcome {
                    RevokeOutcome::Newly => "blacklisted",
                    RevokeOutcome::Already => "already_blacklisted",
                    RevokeOutcome::UnknownRecorded => "unknown_recorded",
                };
                (word, instant(revoked.expires_at), revoked.session_ended.into(), Value::Null)
            }
            Err(why) => ("error", maybe(None), Value::Null, why.as_str().into()),
        };
        vec![self.name.as_str().into(), outcome.into(), expires_at, ended, error, database.into()]
    }
}

/// An outcome for people.
struct Said<'a>(&'a Revoked);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.outcome {
            RevokeOutcome::Newly => f.write_str("blacklisted")?,
            RevokeOutcome::Already => f.write_str("already blacklisted")?,
            RevokeOutcome::UnknownRecorded => {
                write!(f, "unknown: recorded until {}", instant_text(self.0.expires_at))?;
            }
        }
        if self.0.session_ended { f.write_str(", and its session ended") } else { Ok(()) }
    }
}
