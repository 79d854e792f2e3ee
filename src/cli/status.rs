//! `status`: what an operator wants to know at a glance.

use serde_json::{Value, json};

use super::connect::{Common, name_of};
use super::exit::{Exit, Failure};
use super::output::{self, Output, instant, instant_text, maybe};
use super::server::Server;
use crate::ledger::{Backlog, FlushOutcome, FlushRunRow, Flushed, LogState};
use crate::service::Status;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt status
  simplejwt status --format json | jq .last_flush
  simplejwt status --server http://127.0.0.1:8000 --server https://id.example.org

What a server has in memory, only that server knows: --server asks it at /health/ready.

Exit code: 0 the database answers and its tables are up to date (warnings do not change that),
2 it is not there or its tables are not, 75 it does not answer, or a --server is not ready.")]
pub(super) struct StatusArgs {
    /// Also ask this server how its blacklist in memory stands; can be repeated
    #[arg(long = "server", value_name = "URL", value_parser = super::server::address)]
    servers: Vec<String>,
}

/// Prints the state of the installation.
pub(super) async fn run(common: &Common, args: StatusArgs) -> Result<Exit, Failure> {
    let output = common.output();
    let settings = common.settings()?;
    let jwt = common.open_to_look().await?;
    let mut status = jwt.status().await?;
    if let Err(error) = settings.keys() {
        status.warnings.push(crate::chain::chain(&error).to_string());
    }
    // After the log, so that a server which keeps up has read as much of it.
    let asked: Vec<_> = args.servers.into_iter().map(Server::ask).collect();
    let mut servers = Vec::with_capacity(asked.len());
    for server in asked {
        servers.push(server.await);
    }
    print(output, &name_of(jwt.database()), &status, &servers)?;
    match servers.iter().find(|server| !server.is_ready()) {
        Some(server) => Err(Failure::TryAgain(server.sentence())),
        None => Ok(Exit::Done),
    }
}

fn print(output: Output, database: &str, status: &Status, servers: &[Server]) -> Result<(), Failure> {
    let counts = &status.counts;
    let pending: Vec<_> = status.migrations.iter().filter(|step| !step.applied).map(|step| step.name).collect();
    let applied: Vec<_> = status.migrations.iter().filter(|step| step.applied).map(|step| step.name).collect();
    let mut fields: Vec<(&str, Value)> = vec![
        ("database", database.into()),
        ("outstanding", counts.outstanding.into()),
        ("blacklisted", counts.blacklisted.into()),
        ("expired", counts.expired.into()),
        ("oldest_expired_at", maybe(counts.oldest_expired)),
        ("sessions_open", counts.sessions_open.into()),
        ("users", counts.users.into()),
    ];
    if output.is_for_people() {
        let schema = if pending.is_empty() { "up to date".into() } else { format!("pending: {}", pending.join(", ")) };
        fields.push(("last_flush", status.last_flush.as_ref().map_or_else(|| "never".into(), flush_sentence).into()));
        fields.push(("schema", schema.into()));
        fields.push(("log", log_sentence(&status.log).into()));
        fields.extend(status.undelivered.as_ref().map(|left| ("undelivered", backlog_sentence(left).into())));
        output.record(&fields)?;
        for server in servers {
            output::line(server.sentence())?;
        }
        for warning in &status.warnings {
            output::warn(warning);
        }
        return Ok(());
    }
    fields.push(("last_flush", status.last_flush.as_ref().map(flush_record).into()));
    fields.push(("schema", json!({ "applied": applied, "pending": pending })));
    fields.push(("log", log_record(&status.log)));
    let undelivered = |left: &Backlog| json!({ "events": left.events, "oldest_at": maybe(left.oldest) });
    fields.push(("undelivered", status.undelivered.as_ref().map(undelivered).into()));
    fields.push(("servers", servers.iter().map(Server::record).collect::<Vec<_>>().into()));
    fields.push(("warnings", status.warnings.as_slice().into()));
    output.record(&fields)
}

/// The log of revocations in a sentence. What is wrong with its feed is among the warnings.
fn log_sentence(log: &LogState) -> String {
    let LogState { position, pruned_through, rows, waiting, faults, .. } = log;
    let waiting = if *waiting == 0 { String::new() } else { format!(", {waiting} more waiting") };
    let feed = if faults.is_empty() { "" } else { ", not everything reaches it" };
    format!("up to {} ({rows} rows{waiting}, pruned through {pruned_through}{feed})", position.seq)
}

/// What waits for the webhook, in a sentence.
fn backlog_sentence(left: &Backlog) -> String {
    let since = left.oldest.map(|at| format!(", the oldest of {}", instant_text(at))).unwrap_or_default();
    format!("{} events{since}", left.events)
}

fn log_record(log: &LogState) -> Value {
    json!({
        "sequence": log.position.seq,
        "generation": log.position.generation,
        "rows": log.rows,
        "waiting": log.waiting,
        "pruned_through": log.pruned_through,
        "faults": log.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn flush_sentence(run: &FlushRunRow) -> String {
    let rows = run.flushed.total();
    match (run.finished_at, run.outcome) {
        (Some(at), outcome) => {
            let outcome = outcome.map_or("unknown", FlushOutcome::as_str);
            format!("{} ({outcome}, {rows} rows)", instant_text(at))
        }
        (None, _) => format!("at work since {} ({rows} rows so far)", instant_text(run.started_at)),
    }
}

fn flush_record(run: &FlushRunRow) -> Value {
    json!({
        "started_at": instant(run.started_at),
        "finished_at": maybe(run.finished_at),
        "outcome": run.outcome.map(FlushOutcome::as_str),
        "as_of": instant(run.as_of),
        "flushed": flushed(&run.flushed),
    })
}

/// How many rows of what, as every report of a flush has it.
pub(super) fn flushed(rows: &Flushed) -> Value {
    json!({
        "outstanding": rows.outstanding,
        "blacklisted": rows.blacklisted,
        "tokens": rows.tokens,
        "sessions": rows.sessions,
        "events": rows.events,
    })
}
