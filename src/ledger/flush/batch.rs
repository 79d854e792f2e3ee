//! One batch: what goes, table by table, and how far it has come.

use std::collections::{HashMap, HashSet};

use diesel::dsl::count_star;
use diesel::prelude::*;

use super::rule::{Candidate, Known, are_all_ours, candidates, ends, names};
use super::{FlushPlan, Flushed};
use crate::ledger::adopt::OUTSTANDING;
use crate::ledger::connection::AnyConnection;
use crate::ledger::dialect;
use crate::ledger::log;
use crate::ledger::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_event, simplejwt_session, simplejwt_token,
};
use crate::ledger::sessions::{self, End};
use crate::ledger::shared::Shared;
use crate::ledger::taking::take;
use crate::ledger::time::{Stored, earliest, stored};
use crate::ledger::uses::{forget_of_events, forget_of_sessions};
use crate::ledger::{LedgerError, is_full};
use crate::token::{Jti, SessionId};

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
    /// Addresses of sessions, by name.
    SessionAddresses(String),
    /// Addresses of events, by key.
    EventAddresses(i64),
}

impl Stage {
    /// The beginning of the log.
    pub(super) const LOG: Self = Self::Log(i64::MIN);

    /// The first address.
    const ADDRESSES: Self = Self::SessionAddresses(String::new());
}

pub(super) const OUTSTANDING_ID: &str = "token_blacklist_outstandingtoken.id";

/// Few enough for one statement on every database.
const CHUNK: usize = 2000;

/// A row that goes, with the session that is over if it is blacklisted.
struct Going<'a> {
    row: &'a Candidate,
    ends: Option<String>,
}

fn flush_outstanding(
    connection: &mut AnyConnection,
    shared: &Shared,
    plan: &FlushPlan,
    stage: &Stage,
    rows: i64,
    careful: bool,
) -> Result<(Flushed, Stage), LedgerError> {
    let (found, next) = candidates(connection, shared, plan, stage, rows).map_err(|error| match error {
        // The last of them went while we looked.
        diesel::NotFound => LedgerError::Conflict,
        other => other.into(),
    })?;
    let over = found.iter().filter(|row| plan.is_over(row));
    let (mut going, mut left) = take_usual(connection, shared, plan, over.collect())?;
    let mut flushed = Flushed { tokens: count(going.len()), ..Flushed::default() };
    let mut known = Known::of(connection, shared, &left)?;
    left.retain(|row| plan.lets_go(row, &known));
    let (other, unknown): (Vec<_>, Vec<_>) = left.into_iter().partition(|row| known.knows(row));
    flushed.tokens += delete_facts(connection, shared, plan, &names(&other))?;
    let mut ends = |row: &Candidate| known.facts.remove(&row.jti)?.ends;
    going.extend(other.into_iter().map(|row| Going { ends: ends(row), row }));
    going.extend(unknown.iter().map(|row| Going { row, ends: None }));

    let ids: Vec<_> = going.iter().map(|going| going.row.id).collect();
    if careful {
        dialect::lock_outstanding(connection, &ids)?;
    }
    look_for_news(connection, shared, &unknown)?;
    // Children first: not every database deletes them along, and Django's tables never do. All of them before any parent:
    // whoever blacklists one of them meanwhile waits for us, and must not have to be waited for.
    let listed = take_listed(connection, shared, &ids)?;
    flushed.blacklisted = count(listed.len());
    going.retain(|going| going.ends.is_some() && listed.contains(&going.row.id));
    let all_ours = !going.is_empty() && are_all_ours(connection, shared)?;
    for Going { row, ends } in &going {
        let Some(session) = ends else { continue };
        if all_ours && sessions::has_ended(connection, session)? {
            continue;
        }
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
    let outstanding = shared.is_number_among(OUTSTANDING_ID, &ids);
    flushed.outstanding = count(diesel::delete(outstanding_tokens::table.filter(outstanding)).execute(connection)?);
    Ok((flushed, next.unwrap_or_else(|| Stage::Facts(earliest(), String::new()))))
}

/// Deletes what is known of tokens where that alone decides, as it mostly does: the kind is known, and the time is over. Gives
/// the rows whose facts went, and those that are still to be decided on.
fn take_usual<'a>(
    connection: &mut AnyConnection,
    shared: &Shared,
    plan: &FlushPlan,
    over: Vec<&'a Candidate>,
) -> Result<(Vec<Going<'a>>, Vec<&'a Candidate>), LedgerError> {
    use simplejwt_token::{jti, keep_until, kind, table};

    // Tokens are mostly kept for the margin beyond their expiry: what is known of them stands together in an index, where it is
    // found and deleted in a fraction of the time that it takes to look for each.
    let Some((from, to)) = plan.kept_between(&over) else { return Ok((Vec::new(), over)) };
    let between = || table.filter(keep_until.between(from, to)).filter(kind.is_not_null());
    // Of tokens that stay there may be any number.
    let most = i64::try_from(2 * over.len()).unwrap_or(i64::MAX);
    let found: Vec<(String, Option<String>)> = between().select((jti, ends())).limit(most).load(connection)?;
    let (complete, all) = (!is_full(&found, most), found.len());
    let mut found: HashMap<String, Option<String>> = found.into_iter().collect();
    let (mut going, mut left, mut jtis) =
        (Vec::with_capacity(found.len()), Vec::new(), Vec::with_capacity(found.len()));
    for row in over {
        // What others wrote under a name that no token can have is none of ours.
        match row.jti.parse::<Jti>().ok().zip(found.remove(&row.jti)) {
            Some((name, ends)) => {
                going.push(Going { row, ends });
                jtis.push(name);
            }
            None => left.push(row),
        }
    }
    let deleted = if complete && going.len() == all {
        diesel::delete(between()).execute(connection)?
    } else {
        let named = shared.is_token_among("simplejwt_token.jti", &jtis);
        diesel::delete(between().filter(named)).execute(connection)?
    };
    // A revocation may have found one of them worth keeping since.
    if deleted == going.len() { Ok((going, left)) } else { Err(LedgerError::Conflict) }
}

/// Deletes blacklist rows, and gives the outstanding rows that they were of.
fn take_listed(connection: &mut AnyConnection, shared: &Shared, ids: &[i64]) -> Result<HashSet<i64>, LedgerError> {
    use blacklisted_tokens::{table, token_id};

    let listed = || table.filter(shared.is_number_among("token_blacklist_blacklistedtoken.token_id", ids));
    let taken = take(connection, diesel::delete(listed()), "token_id", listed().select(token_id))?;
    Ok(taken.into_iter().collect())
}

/// Deletes what is known of tokens beside their rows. A revocation may have found one of them worth keeping since they were
/// looked at; then it has to be decided anew.
fn delete_facts(
    connection: &mut AnyConnection,
    shared: &Shared,
    plan: &FlushPlan,
    known: &[Jti],
) -> Result<u64, LedgerError> {
    use simplejwt_token::{keep_until, table};

    if known.is_empty() {
        return Ok(0);
    }
    let over = table.filter(shared.is_token_among("simplejwt_token.jti", known));
    let deleted = diesel::delete(over.filter(keep_until.le(stored(plan.as_of)))).execute(connection)?;
    if deleted == known.len() { Ok(count(deleted)) } else { Err(LedgerError::Conflict) }
}

/// Looks whether something has become known meanwhile of a token of which nothing was; then it has to be decided anew.
fn look_for_news(connection: &mut AnyConnection, shared: &Shared, unknown: &[&Candidate]) -> Result<(), LedgerError> {
    let jtis = names(unknown);
    if jtis.is_empty() {
        return Ok(());
    }
    let known = simplejwt_token::table.filter(shared.is_token_among("simplejwt_token.jti", &jtis));
    if known.select(count_star()).first::<i64>(connection)? > 0 { Err(LedgerError::Conflict) } else { Ok(()) }
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
        let going = table.filter(jti.eq_any(names().filter(|name| !recorded.contains(*name))));
        // Once more the condition: a revocation may have found one worth keeping since.
        let going = going.filter(keep_until.le(now)).filter(plan.is_spent());
        flushed.tokens += count(diesel::delete(going).execute(connection)?);
    }
    let more = is_full(&found, rows);
    let next = found.into_iter().next_back().filter(|_| more);
    Ok((flushed, next.map_or(Stage::Sessions(earliest(), String::new()), |(last, name)| Stage::Facts(last, name))))
}

/// Sessions of which no token is left.
fn flush_sessions(
    connection: &mut AnyConnection,
    shared: &Shared,
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
    // Once more the condition: somebody may have ended one, or refreshed it at Django, since.
    let over = || table.filter(keep_until.le(now)).filter(shared.has_no_token());
    let mut usual: Vec<SessionId> = Vec::new();
    let mut others: Vec<&str> = Vec::new();
    for (_, name) in &found {
        name.parse().map_or_else(|_| others.push(name), |session| usual.push(session));
    }
    let usual = shared.is_session_among("simplejwt_session.id", &usual);
    let mut flushed =
        Flushed { sessions: count(diesel::delete(over().filter(usual)).execute(connection)?), ..Flushed::default() };
    for chunk in others.chunks(CHUNK) {
        let named = id.eq_any(chunk);
        flushed.sessions += count(diesel::delete(over().filter(named)).execute(connection)?);
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
        Stage::Sessions(from, after) => flush_sessions(connection, shared, plan, (*from, after), rows)?,
        Stage::Log(after) => {
            let next = log::prune(connection, shared, &plan.retention, plan.as_of, *after, rows)?;
            (Flushed::default(), next.map_or(Stage::Events, Stage::Log))
        }
        Stage::Events => {
            let Some(before) = plan.events_before else { return Ok((Flushed::default(), Some(Stage::ADDRESSES))) };
            let (flushed, more) = flush_events(connection, stored(before), rows)?;
            (flushed, if more { Stage::Events } else { Stage::ADDRESSES })
        }
        Stage::SessionAddresses(after) => {
            let Some(before) = plan.addresses_before else { return Ok((Flushed::default(), None)) };
            let (forgotten, next) = forget_of_sessions(connection, before, after, rows)?;
            let next = next.map_or(Stage::EventAddresses(0), Stage::SessionAddresses);
            (Flushed { addresses: count(forgotten), ..Flushed::default() }, next)
        }
        Stage::EventAddresses(after) => {
            let Some(before) = plan.addresses_before else { return Ok((Flushed::default(), None)) };
            let (forgotten, next) = forget_of_events(connection, before, *after, rows)?;
            let flushed = Flushed { addresses: count(forgotten), ..Flushed::default() };
            return Ok((flushed, next.map(Stage::EventAddresses)));
        }
    };
    Ok((flushed, Some(next)))
}

const fn count(rows: usize) -> u64 {
    rows as u64
}
