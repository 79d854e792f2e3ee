//! `unblacklist`: letting the brake go.

use serde_json::Value;

use super::actor::actor;
use super::connect::{Common, Keys, name_of};
use super::exit::{Exit, Failure};
use super::input::{self, NamedJti};
use super::output::complain;
use crate::ledger::{RestoreOutcome, Restored};

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
    #[arg(long, value_name = "TEXT", value_parser = input::parse_reason)]
    reason: Option<String>,
}

/// Takes tokens off the blacklist.
pub(super) async fn run(common: &Common, args: UnblacklistArgs) -> Result<Exit, Failure> {
    let output = common.output();
    if input::readers(&args.jtis, args.stdin) > 1 {
        return Err(input::read_twice());
    }
    let mut jtis = Vec::new();
    for NamedJti { name, jti } in input::jtis(&args.jtis, args.stdin)? {
        jtis.push(jti.map_err(|why| Failure::Usage(format!("{name}: {why}; nothing was changed")))?);
    }
    if jtis.len() > input::MOST_AT_ONCE {
        return Err(Failure::Usage(format!("{} are too many for one transaction; nothing was changed", jtis.len())));
    }
    let jwt = common.open(Keys::Unused).await?;
    let restored = jwt.restore(jtis, args.reason, actor()).await?;
    let off = restored.iter().filter(|token| is_off(&token.outcome)).count();
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
        let tokens = if off == 1 { "token" } else { "tokens" };
        output.done(format_args!("{off} {tokens} off the blacklist of {database}"))?;
    } else {
        let rows: Vec<_> = restored.iter().map(|token| restored_cells(token, &database)).collect();
        output.rows(&["jti", "outcome", "session_reopened", "detail", "database"], &rows)?;
    }
    Ok(if off < restored.len() { Exit::Refused } else { Exit::Done })
}

/// Whether the token is off the blacklist now.
const fn is_off(outcome: &RestoreOutcome) -> bool {
    matches!(outcome, RestoreOutcome::Restored { .. } | RestoreOutcome::NotBlacklisted)
}

/// A word for programs, and a sentence for people.
fn told(outcome: &RestoreOutcome) -> (&'static str, String) {
    match outcome {
        RestoreOutcome::Restored { session_reopened: true } => {
            ("restored", "restored, and its session is open again".into())
        }
        RestoreOutcome::Restored { session_reopened: false } => ("restored", "restored".into()),
        RestoreOutcome::NotBlacklisted => ("not_blacklisted", "was not blacklisted".into()),
        RestoreOutcome::Unknown => ("unknown", "no such token is recorded here; is this the right database?".into()),
        RestoreOutcome::Superseded => {
            ("superseded", "a rotation replaced it, so that it stays refused; its successor is the one to use".into())
        }
        RestoreOutcome::CutOff => (
            "cut_off",
            "everything from before an instant was revoked since it was issued, so that it stays refused".into(),
        ),
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
