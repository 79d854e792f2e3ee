//! `blacklist` and `unblacklist`: the emergency brake, and letting it go.

use std::fmt;
use std::io;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::actor::actor;
use super::connect::{Common, Keys, name_of};
use super::exit::{Exit, Failure};
use super::input;
use super::output::{Output, complain, instant, instant_text, maybe};
use crate::ledger::{RestoreOutcome, Restored, RevokeOutcome, Revoked};
use crate::service::{Refusal, Simplejwt, Target};
use crate::token::{Jti, TokenError};

/// More tokens than this do not go into one transaction: everybody else would wait for it.
const MOST_AT_ONCE: usize = 10_000;

/// A reason is a remark, not a document.
const LONGEST_REASON: usize = 500;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt blacklist 8f14e45fceea467a9d4f2f6a0c3f5d11 --reason 'laptop stolen'
  simplejwt blacklist --token @leaked.txt
  psql -At -c 'SELECT jti FROM suspects' | simplejwt blacklist --stdin --keep-going

All of them are blacklisted or none, unless --keep-going is given. Doing it twice is no error.
Exit code: 0 all are on the blacklist, 1 one was refused, 2 one was no jti or token,
75 try again (the database is locked, read-only or out of reach).")]
pub(super) struct BlacklistArgs {
    /// What to blacklist: the jti claim of a token; - for standard input
    #[arg(value_name = "JTI", required_unless_present_any = ["token", "stdin"])]
    jtis: Vec<String>,

    /// A token instead of its jti: the token itself, - for standard input, @FILE for a file
    #[arg(long, value_name = "TOKEN")]
    token: Vec<String>,

    /// Read jtis from standard input, one a line
    #[arg(long)]
    stdin: bool,

    /// Why, for the audit
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: Option<String>,

    /// For a jti that is not known here: when its token expires (RFC 3339 or Unix seconds)
    /// [default: as late as any token could]
    #[arg(long, value_name = "TIME", value_parser = input::parse_instant)]
    expires_at: Option<DateTime<Utc>>,

    /// Each in a transaction of its own: what is wrong with one does not hinder the others
    #[arg(long)]
    keep_going: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt unblacklist 8f14e45fceea467a9d4f2f6a0c3f5d11 --reason 'wrong laptop'

The session that was ended together with the token is opened again. A token that a rotation
replaced stays refused, and so does one whose session ended for another reason.
Exit code: 0 none of them is on the blacklist, 1 one was refused or is not known here.")]
pub(super) struct UnblacklistArgs {
    /// What to take off the blacklist; - for standard input
    #[arg(value_name = "JTI", required_unless_present = "stdin")]
    jtis: Vec<String>,

    /// Read jtis from standard input, one a line
    #[arg(long)]
    stdin: bool,

    /// Why, for the audit
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: Option<String>,
}

fn parse_reason(text: &str) -> Result<String, String> {
    let fits = text.chars().count() <= LONGEST_REASON && !text.chars().any(char::is_control) && !text.trim().is_empty();
    let rule = || format!("a reason has 1 to {LONGEST_REASON} characters, none of them a control character");
    if fits { Ok(text.trim().to_owned()) } else { Err(rule()) }
}

/// Blacklists what was named.
pub(super) async fn blacklist(common: &Common, args: BlacklistArgs) -> Result<Exit, Failure> {
    let output = common.output();
    if args.expires_at.is_some_and(|at| at <= input::now()) {
        return Err(Failure::Usage("--expires-at lies in the past: that token is of no use to anybody any more".into()));
    }
    let items = args.items()?;
    if items.is_empty() {
        return Err(Failure::Usage("no jti was given, neither as an argument nor on standard input".into()));
    }
    if !args.keep_going {
        let bad = items.iter().find_map(|item| item.what.as_ref().err().map(|why| (&item.name, why)));
        if let Some((name, why)) = bad {
            return Err(Failure::Usage(format!("{name}: {why}; nothing was blacklisted")));
        }
        if items.len() > MOST_AT_ONCE {
            let why = format!("{} are too many for one transaction; nothing was blacklisted; use --keep-going", items.len());
            return Err(Failure::Usage(why));
        }
    }
    let keys = if args.token.is_empty() { Keys::Unused } else { Keys::Needed };
    let jwt = common.open(keys).await?;
    let report = if args.keep_going { one_by_one(&jwt, items, &args).await? } else { together(&jwt, items, &args).await? };
    let database = name_of(jwt.database());
    report.print(&output, &database)?;
    Ok(report.exit)
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
    fn items(&self) -> Result<Vec<Item>, Failure> {
        let readers = usize::from(self.stdin)
            + self.jtis.iter().filter(|jti| *jti == "-").count()
            + self.token.iter().filter(|token| *token == "-").count();
        if readers > 1 {
            return Err(Failure::Usage("standard input can be read only once: - or --stdin was given more than once".into()));
        }
        let mut items = jti_items(&self.jtis, self.stdin)?;
        for (index, argument) in self.token.iter().enumerate() {
            let name = format!("token {}", index + 1);
            let what = match input::token(argument) {
                Ok(token) => Ok(What::Token(token)),
                Err(failure) => Err(failure.to_string()),
            };
            items.push(Item { name, what });
        }
        Ok(items)
    }
}

/// The jtis among the arguments and on standard input.
fn jti_items(arguments: &[String], stdin: bool) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        if argument == "-" {
            read_items(&mut items)?;
        } else {
            let what = input::parse_jti(argument).map(What::Jti);
            // What is no jti may be a token that somebody took for one.
            let name = if what.is_ok() { argument.clone() } else { format!("argument {}", index + 1) };
            items.push(Item { name, what });
        }
    }
    if stdin {
        read_items(&mut items)?;
    }
    Ok(items)
}

fn read_items(items: &mut Vec<Item>) -> Result<(), Failure> {
    for line in input::jti_lines(io::stdin().lock()) {
        let (number, jti) = line?;
        let name = jti.as_ref().map_or_else(|_| format!("line {number} of standard input"), Jti::to_string);
        items.push(Item { name, what: jti.map(What::Jti) });
    }
    Ok(())
}

/// What became of each item, and what it all comes to.
struct Report {
    lines: Vec<Line>,
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
    let revoked = jwt.revoke(targets, args.reason.clone(), actor()).await?;
    let lines = revoked.into_iter().map(|revoked| Line { name: revoked.jti.to_string(), outcome: Ok(revoked) }).collect();
    Ok(Report { lines, exit: Exit::Done })
}

async fn one_by_one(jwt: &Simplejwt, items: Vec<Item>, args: &BlacklistArgs) -> Result<Report, Failure> {
    let mut report = Report { lines: Vec::with_capacity(items.len()), exit: Exit::Done };
    let (actor, total) = (actor(), items.len());
    for (index, Item { name, what }) in items.into_iter().enumerate() {
        let outcome = match what.map_err(Failure::Usage).and_then(|what| target(jwt, what, args)) {
            Ok(target) => match jwt.revoke(vec![target], args.reason.clone(), actor.clone()).await {
                Ok(revoked) => revoked.into_iter().next().ok_or_else(|| Failure::Failed("nothing was recorded".into())),
                Err(refusal) => Err(refusal.into()),
            },
            Err(failure) => Err(failure),
        };
        let exit = outcome.as_ref().map_or_else(Failure::exit, |_| Exit::Done);
        report.exit = report.exit.worst(exit);
        report.lines.push(Line { name, outcome: outcome.map_err(|failure| failure.to_string()) });
        if exit == Exit::TryAgain {
            // Whatever keeps this one from the database keeps the others too, each for seconds.
            let left = total - index - 1;
            if left > 0 {
                complain("error: ", &format_args!("the other {left} were not tried"));
            }
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
    fn print(&self, output: &Output, database: &str) -> Result<(), Failure> {
        for line in &self.lines {
            match &line.outcome {
                Ok(revoked) if revoked.outcome == RevokeOutcome::UnknownRecorded => output.warn(format_args!(
                    "{} is not known in {database}; is this the right database?",
                    revoked.jti
                )),
                Ok(_) => {}
                Err(why) => complain("error: ", &format_args!("{}: {why}", line.name)),
            }
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

/// Takes tokens off the blacklist.
pub(super) async fn unblacklist(common: &Common, args: UnblacklistArgs) -> Result<Exit, Failure> {
    let output = common.output();
    if usize::from(args.stdin) + args.jtis.iter().filter(|jti| *jti == "-").count() > 1 {
        return Err(Failure::Usage("standard input can be read only once: - or --stdin was given more than once".into()));
    }
    let mut jtis = Vec::new();
    for Item { name, what } in jti_items(&args.jtis, args.stdin)? {
        match what {
            Ok(What::Jti(jti)) => jtis.push(jti),
            Ok(What::Token(_)) => {}
            Err(why) => return Err(Failure::Usage(format!("{name}: {why}; nothing was changed"))),
        }
    }
    if jtis.is_empty() {
        return Err(Failure::Usage("no jti was given, neither as an argument nor on standard input".into()));
    }
    if jtis.len() > MOST_AT_ONCE {
        return Err(Failure::Usage(format!("{} are too many for one transaction; nothing was changed", jtis.len())));
    }
    let jwt = common.open(Keys::Unused).await?;
    let restored = jwt.restore(jtis, args.reason, actor()).await?;
    let refused = restored.iter().any(|token| !is_off(&token.outcome));
    let database = name_of(jwt.database());
    if output.is_for_people() {
        for token in &restored {
            let (_, text) = told(&token.outcome);
            if is_off(&token.outcome) {
                output.done(format_args!("{}  {text}", token.jti))?;
            } else {
                complain("error: ", &format_args!("{}: {text}", token.jti));
            }
        }
        output.done(format_args!("done in {database}"))?;
    } else {
        let rows: Vec<_> = restored.iter().map(|token| restored_cells(token, &database)).collect();
        output.rows(&["jti", "outcome", "session_reopened", "detail", "database"], &rows)?;
    }
    Ok(if refused { Exit::Refused } else { Exit::Done })
}

/// Whether the token is off the blacklist now.
const fn is_off(outcome: &RestoreOutcome) -> bool {
    matches!(outcome, RestoreOutcome::Restored { .. } | RestoreOutcome::NotBlacklisted)
}

/// A word for programs, and a sentence for people.
fn told(outcome: &RestoreOutcome) -> (&'static str, String) {
    match outcome {
        RestoreOutcome::Restored { session_reopened: true } => {
            ("restored", "off the blacklist, and its session open again".into())
        }
        RestoreOutcome::Restored { session_reopened: false } => ("restored", "off the blacklist".into()),
        RestoreOutcome::NotBlacklisted => ("not_blacklisted", "was not blacklisted".into()),
        RestoreOutcome::Unknown => ("unknown", "no such token is recorded here; is this the right database?".into()),
        RestoreOutcome::Superseded => {
            ("superseded", "a rotation replaced it, so that it stays refused; its successor is the one to use".into())
        }
        RestoreOutcome::SessionEndedOtherwise { reason } => {
            ("session_ended", format!("its session ended for another reason ({reason}), so that it stays refused"))
        }
    }
}

fn restored_cells(token: &Restored, database: &str) -> Vec<Value> {
    let (word, text) = told(&token.outcome);
    let reopened = match token.outcome {
        RestoreOutcome::Restored { session_reopened } => session_reopened.into(),
        _ => Value::Null,
    };
    vec![token.jti.as_str().into(), word.into(), reopened, text.into(), database.into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(parse_reason(" laptop stolen ").as_deref(), Ok("laptop stolen"));
        for bad in ["", "  ", "two\nlines", "\u{1b}[31m", &"x".repeat(LONGEST_REASON + 1)] {
            assert!(parse_reason(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_jti_is_not_repeated() {
        let items = jti_items(&["good".into(), "no good".into()], false).expect("nothing to read");
        assert_eq!(items[0].name, "good");
        assert_eq!(items[1].name, "argument 2");
        assert!(items[1].what.is_err());
    }
}
