//! `status`: what an operator wants to know at a glance.

use serde_json::{Value, json};

use super::connect::{Common, name_of};
use super::exit::{Exit, Failure};
use super::output::{self, Output, instant, instant_text, maybe};
use crate::ledger::{FlushOutcome, FlushRunRow, Flushed};
use crate::service::Status;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt status
  simplejwt status --format json | jq .last_flush

Exit code: 0 the database answers and its tables are up to date (warnings do not change that),
2 it is not there or its tables are not, 75 it does not answer.")]
pub(super) struct StatusArgs {}

/// Prints the state of the installation.
pub(super) async fn run(common: &Common, _: StatusArgs) -> Result<Exit, Failure> {
    let output = common.output();
    let settings = common.settings()?;
    let jwt = common.open_to_look().await?;
    let mut status = jwt.status().await?;
    if let Err(error) = settings.keys() {
        status.warnings.push(crate::chain::chain(&error).to_string());
    }
    print(output, &name_of(jwt.database()), &status)?;
    Ok(Exit::Done)
}

fn print(output: Output, database: &str, status: &Status) -> Result<(), Failure> {
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
        output.record(&fields)?;
        for warning in &status.warnings {
            output::warn(warning);
        }
        return Ok(());
    }
    fields.push(("last_flush", status.last_flush.as_ref().map(flush_record).into()));
    fields.push(("schema", json!({ "applied": applied, "pending": pending })));
    fields.push(("warnings", status.warnings.as_slice().into()));
    output.record(&fields)
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
