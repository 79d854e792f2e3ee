//! Revoking more than single tokens: what `blacklist --user` and its like, and `sessions end`, do and say.

use chrono::Utc;
use serde_json::Value;

use super::connect::{Common, name_of};
use super::exit::{Exit, Failure};
use super::output::{self, instant_text, maybe};
use crate::ledger::Actor;
use crate::service::{RevokeReport, Simplejwt, Target};

/// Revokes each of `targets`, or shows what would be hit, and says what was done.
pub(super) async fn run(
    common: &Common,
    jwt: &Simplejwt,
    targets: Vec<Target>,
    reason: Option<String>,
    actor: Actor,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let (output, database) = (common.output(), name_of(jwt.database()));
    let mut rows = Vec::with_capacity(targets.len());
    for target in targets {
        let name = name(&target);
        let report = if dry_run {
            jwt.foresee_revocation(vec![target]).await?
        } else {
            jwt.revoke(vec![target], reason.clone(), actor.clone()).await?
        };
        for session in &report.unknown_sessions {
            output::warn(format_args!("the session {session} is not known in {database}; is this the right database?"));
        }
        if output.is_for_people() {
            output.done(sentence(&name, &report, dry_run))?;
        } else {
            rows.push(cells(&name, &report, dry_run, &database));
        }
    }
    if output.is_for_people() {
        output.done(if dry_run { "nothing was changed".to_owned() } else { format!("done in {database}") })?;
    } else {
        output.rows(&["target", "dry_run", "cutoff", "sessions", "tokens", "database"], &rows)?;
    }
    Ok(Exit::Done)
}

/// What a target is called.
fn name(target: &Target) -> String {
    match target {
        Target::Session(id) => format!("session {id}"),
        Target::User(user) => format!("user {user}"),
        Target::OtherSessions { user, keep } => format!("sessions of user {user} but {keep}"),
        Target::Everybody => "everybody".to_owned(),
        Target::Before { user: Some(user), at } => format!("user {user} before {}", instant_text(*at)),
        Target::Before { user: None, at } => format!("everybody before {}", instant_text(*at)),
        Target::Token(token) => format!("token {}", token.jti()),
        Target::Jti { jti, .. } => format!("token {jti}"),
    }
}

fn sentence(name: &str, report: &RevokeReport, dry_run: bool) -> String {
    let (sessions, tokens) = (report.sessions, report.rows);
    let (session_word, token_word) = (plural(sessions, "session"), plural(tokens, "token"));
    if dry_run {
        format!(
            "{name}: would end {sessions} open {session_word} and put {tokens} recorded {token_word} on the blacklist"
        )
    } else {
        format!("{name}: {sessions} {session_word} ended, {tokens} recorded {token_word} on the blacklist")
    }
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

fn cells(name: &str, report: &RevokeReport, dry_run: bool, database: &str) -> Vec<Value> {
    let cutoff: Option<chrono::DateTime<Utc>> = report.cutoff;
    vec![name.into(), dry_run.into(), maybe(cutoff), report.sessions.into(), report.rows.into(), database.into()]
}
