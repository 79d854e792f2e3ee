//! One batch: what goes, table by table, and how far it has come.

use std::collections::HashSet;

use diesel::dsl::count_star;
use diesel::prelude::*;

use super::rule::{Candidate, candidates};
use super::{FlushPlan, Flushed};
use crate::ledger::LedgerError;
use crate::ledger::adopt::OUTSTANDING;
use crate::ledger::connection::AnyConnection;
use crate::ledger::dialect;
use crate::ledger::log;
use crate::ledger::raw::Raw;
use crate::ledger::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_event, simplejwt_session, simplejwt_token,
};
use crate::ledger::sessions::{self, End};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Stored, earliest, stored};
use crate::token::Jti;

/// What has been gone through up to where. A row that had to stay is not looked at again in the same run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Start,
    /// Outstanding rows, by expiry.
    ByExpiry(String, i64),
    /// Outstanding rows, by key, where adopted tables have no index on the expiry: looking for the expired ones would go
    /// through the whole table for each batch.
    ByKey(i64),
    /// Facts of tokens without an outstanding row, by the time to which they are kept, and by name.
    Facts(Stored, String),
    /// Sessions, in the same way.
    Sessions(Stored, String),
    /// The log, by number.
    Log(i64),
    Events,
}

impl Stage {
    /// The beginning of the log.
    pub(super) const LOG: Self = Self::Log(i64::MIN);
}

const OUTSTANDING_ID: &str = "token_blacklist_outstandingtoken.id";

/// Few enough for one statement on every database.
const CHUNK: usize = 2000;

fn flush_outstanding(
    connection: &mut AnyConnection,
    shared: &Shared,
    plan: &FlushPlan,
    stage: &Stage,
    rows: i64,
    careful: bool,
) -> Result<(Flushed, Stage), LedgerError> {
    let found = candidates(connection, shared, plan, stage, rows)?;
    let going: Vec<_> = found.iter().filter(|row| plan.lets_go(row)).collect();
    let mut flushed = Flushed { tokens: delete_facts(connection, plan, &going)?, ..Flushed::default() };
    for row in &going {
        let Some(session) = row.session_to_end() else { continue };
        // The session has to stay over, although what said so goes.
        let end = End {
            at: plan.as_of,
            reason: "token blacklisted elsewhere",
            by: Some(&row.jti),
            user: None,
            keep_until: plan.all_dead_by(),
        };
        sessions::end(connection, session, &end)?;
    }
    let ids: Vec<_> = going.iter().map(|row| row.id).collect();
    if careful {
        dialect::lock_outstanding(connection, &ids)?;
    }
    look_for_news(connection, &going)?;
    // Children first: not every database deletes them along, and Django's tables never do. All of them before any parent:
    // whoever blacklists one of them meanwhile waits for us, and must not have to be waited for.
    let blacklisted = Raw::is_one_of("token_blacklist_blacklistedtoken.token_id", &ids);
    flushed.blacklisted = count(diesel::delete(blacklisted_tokens::table.filter(blacklisted)).execute(connection)?);
    let outstanding = Raw::is_one_of(OUTSTANDING_ID, &ids);
    flushed.outstanding = count(diesel::delete(outstanding_tokens::table.filter(outstanding)).execute(connection)?);
    let next = match found.last().filter(|_| is_full(&found, rows)) {
        None => Stage::Facts(earliest(), String::new()),
        Some(last) if matches!(stage, Stage::ByKey(_)) => Stage::ByKey(last.id),
        Some(last) => Stage::ByExpiry(last.order.clone(), last.id),
    };
    Ok((flushed, next))
}

/// Deletes what is known of tokens beside their rows. A revocation may have found one of them worth keeping since they were
/// looked at; then it has to be decided anew.
fn delete_facts(connection: &mut AnyConnection, plan: &FlushPlan, going: &[&Candidate]) -> Result<u64, LedgerError> {
    use simplejwt_token::{keep_until, table};

    // What is known of a token stands under a jti of ours, whatever others may have written.
    let known = going.iter().filter(|row| row.facts.is_some()).filter_map(|row| row.jti.parse().ok());
    let known: Vec<Jti> = known.collect();
    let over = table.filter(Raw::is_one_of_tokens("simplejwt_token.jti", known.iter()));
    let deleted = diesel::delete(over.filter(keep_until.le(stored(plan.as_of)))).execute(connection)?;
    if deleted == known.len() { Ok(count(deleted)) } else { Err(LedgerError::Conflict) }
}

/// Looks whether something has become known meanwhile of a token of which nothing was; then it has to be decided anew.
fn look_for_news(connection: &mut AnyConnection, going: &[&Candidate]) -> Result<(), LedgerError> {
    let unknown: Vec<_> = going.iter().filter(|row| row.facts.is_none()).map(|row| row.jti.as_str()).collect();
    for jtis in unknown.chunks(CHUNK) {
        let known = simplejwt_token::table.filter(simplejwt_token::jti.eq_any(jtis));
        if known.select(count_star()).first::<i64>(connection)? > 0 {
            return Err(LedgerError::Conflict);
        }
    }
    Ok(())
}

/// Facts whose outstanding row is gone: Django deletes its rows at their expiry, and ours have to stay longer. What is still
/// recorded is asked for by name: to look for what is not, the database would go through whole tables for each batch.
fn flush_facts(
    connection: &mut AnyConnection,
    plan: &FlushPlan,
    (from, after): (Stored, &str),
    rows: i64,
) -> QueryResult<(Flushed, Stage)> {
    use simplejwt_token::{jti, keep_until, table};

    let now = stored(plan.as_of);
    let found: Vec<(Stored, String)> = table
        .filter(keep_until.between(from, now))
        .filter(keep_until.gt(from).or(jti.gt(after)))
        .order((keep_until, jti))
        .limit(rows)
        .select((keep_until, jti))
        .load(connection)?;
    let mut flushed = Flushed::default();
    for chunk in found.chunks(CHUNK) {
        let names = || chunk.iter().map(|(_, name)| name);
        let recorded = outstanding_tokens::table.filter(outstanding_tokens::jti.eq_any(names()));
        let recorded: HashSet<String> =
            recorded.select(outstanding_tokens::jti).load(connection)?.into_iter().collect();
        // Once more the condition: a revocation may have found one worth keeping since.
        let going =
            table.filter(jti.eq_any(names().filter(|name| !recorded.contains(*name)))).filter(keep_until.le(now));
        flushed.tokens += count(diesel::delete(going).execute(connection)?);
    }
    let more = is_full(&found, rows);
    let next = found.into_iter().next_back().filter(|_| more);
    Ok((flushed, next.map_or(Stage::Sessions(earliest(), String::new()), |(last, name)| Stage::Facts(last, name))))
}

/// Sessions of which no token is left.
fn flush_sessions(
    connection: &mut AnyConnection,
    plan: &FlushPlan,
    (from, after): (Stored, &str),
    rows: i64,
) -> QueryResult<(Flushed, Stage)> {
    use simplejwt_session::{id, keep_until, table};

    let now = stored(plan.as_of);
    let found: Vec<(Stored, String)> = table
        .filter(keep_until.between(from, now))
        .filter(keep_until.gt(from).or(id.gt(after)))
        .order((keep_until, id))
        .limit(rows)
        .select((keep_until, id))
        .load(connection)?;
    let mut flushed = Flushed::default();
    for chunk in found.chunks(CHUNK) {
        let names = || chunk.iter().map(|(_, name)| name);
        let descended = simplejwt_token::table.filter(simplejwt_token::session_id.eq_any(names().map(Some)));
        let descended: HashSet<Option<String>> =
            descended.select(simplejwt_token::session_id).distinct().load(connection)?.into_iter().collect();
        // Once more the condition: somebody may have ended one, or refreshed it at Django, since.
        let over = names().filter(|name| !descended.contains(&Some((*name).clone())));
        let going = table.filter(id.eq_any(over)).filter(keep_until.le(now));
        flushed.sessions += count(diesel::delete(going).execute(connection)?);
    }
    let more = is_full(&found, rows);
    let next = found.into_iter().next_back().filter(|_| more);
    Ok((flushed, next.map_or(Stage::LOG, |(last, name)| Stage::Sessions(last, name))))
}

/// Events of which the time to keep them is over.
fn flush_events(connection: &mut AnyConnection, before: Stored, rows: i64) -> QueryResult<(Flushed, bool)> {
    use simplejwt_event::{at, id, table};

    let found: Vec<i64> = table.filter(at.lt(before)).order((at, id)).limit(rows).select(id).load(connection)?;
    let mut flushed = Flushed::default();
    for chunk in found.chunks(CHUNK) {
        flushed.events += count(diesel::delete(table.filter(id.eq_any(chunk))).execute(connection)?);
    }
    Ok((flushed, is_full(&found, rows)))
}

/// Deletes the next batch, and says where the one after it begins. A `careful` one keeps others away from what it deletes.
pub(super) fn batch(
    connection: &mut AnyConnection,
    shared: &Shared,
    plan: &FlushPlan,
    stage: &Stage,
    rows: i64,
    careful: bool,
) -> Result<(Flushed, Option<Stage>), LedgerError> {
    let (flushed, next) = match stage {
        Stage::Start => {
            let indexed = dialect::has_index(connection, OUTSTANDING, "expires_at")?;
            let stage = if indexed { stage } else { &Stage::ByKey(i64::MIN) };
            flush_outstanding(connection, shared, plan, stage, rows, careful)?
        }
        Stage::ByExpiry(..) | Stage::ByKey(_) => flush_outstanding(connection, shared, plan, stage, rows, careful)?,
        Stage::Facts(from, after) => flush_facts(connection, plan, (*from, after), rows)?,
        Stage::Sessions(from, after) => flush_sessions(connection, plan, (*from, after), rows)?,
        Stage::Log(after) => {
            let next = log::prune(connection, &plan.retention, plan.as_of, *after, rows)?;
            (Flushed::default(), next.map_or(Stage::Events, Stage::Log))
        }
        Stage::Events => {
            let Some(before) = plan.events_before else { return Ok((Flushed::default(), None)) };
            let (flushed, more) = flush_events(connection, stored(before), rows)?;
            return Ok((flushed, more.then_some(Stage::Events)));
        }
    };
    Ok((flushed, Some(next)))
}

/// Whether a batch had as many rows as it could, so that there may be more.
pub(super) fn is_full<T>(found: &[T], rows: i64) -> bool {
    i64::try_from(found.len()).is_ok_and(|found| found >= rows)
}

const fn count(rows: usize) -> u64 {
    rows as u64
}
