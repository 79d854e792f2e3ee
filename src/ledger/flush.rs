//! What may be forgotten, and when; in batches, each a transaction of its own.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use diesel::dsl::{count_star, exists, max, not, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use super::adopt::OUTSTANDING;
use super::connection::AnyConnection;
use super::dialect::{self, EXPIRES_AT, EXPIRES_AT_TEXT};
use super::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_event, simplejwt_session, simplejwt_token};
use super::sessions::{self, End};
use super::time::{Foreign, earliest, stored};
use super::{Ledger, LedgerError};
use crate::token::TokenKind;

/// What may go.
#[derive(Clone, Copy, Debug)]
pub struct FlushPlan {
    /// The moment for which it is decided.
    pub as_of: DateTime<Utc>,
    /// How long after its expiry a token might still be taken for valid somewhere: leeway and a reserve.
    pub margin: TimeDelta,
    /// How long a sliding token can be renewed. A row of which nothing else is known may be of one.
    pub sliding_refresh_lifetime: TimeDelta,
    /// Events before this moment go too.
    pub events_before: Option<DateTime<Utc>>,
}

/// How many rows went, or would go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Outstanding tokens.
    pub outstanding: u64,
    /// Those of them that were on the blacklist.
    pub blacklisted: u64,
    /// What was known of tokens beside.
    pub tokens: u64,
    /// Sessions.
    pub sessions: u64,
    /// Events.
    pub events: u64,
}

impl Flushed {
    /// All rows together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.outstanding + self.blacklisted + self.tokens + self.sessions + self.events
    }
}

impl AddAssign for Flushed {
    fn add_assign(&mut self, more: Self) {
        self.outstanding += more.outstanding;
        self.blacklisted += more.blacklisted;
        self.tokens += more.tokens;
        self.sessions += more.sessions;
        self.events += more.events;
    }
}

/// How far a flush has come. The default is the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushCursor(Stage);

/// What has been gone through up to where. A row that had to stay is not looked at again in the same run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    /// Outstanding rows, by expiry.
    ByExpiry(String, i64),
    /// Outstanding rows, by key, where adopted tables have no index on the expiry: looking for the expired ones would go
    /// through the whole table for each batch.
    ByKey(i64),
    /// Facts of tokens without an outstanding row.
    Facts(NaiveDateTime),
    Sessions(NaiveDateTime),
    Events,
}

/// What one batch did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushBatch {
    /// How many rows went.
    pub flushed: Flushed,
    /// Where the next batch begins, if anything may be left.
    pub next: Option<FlushCursor>,
    /// For how long no other writer could go on.
    pub held: Duration,
}

/// An outstanding row that may have to go, with all that decides on it.
#[derive(Debug, Queryable)]
struct Candidate {
    id: i64,
    jti: String,
    expires_at: Foreign,
    /// The same as text that orders as the column does.
    order: String,
    created_at: Option<Foreign>,
    blacklisted: Option<i64>,
    facts: Option<Facts>,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = simplejwt_token)]
struct Facts {
    kind: Option<String>,
    session_id: Option<String>,
    superseded_at: Option<NaiveDateTime>,
    revoked_at: Option<NaiveDateTime>,
    keep_until: NaiveDateTime,
}

impl FlushPlan {
    /// Rows that expire later than this stay.
    fn horizon(&self) -> NaiveDateTime {
        stored(self.as_of.checked_sub_signed(self.margin).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// When the last token that could be alive now is dead, as far as one can tell without its session.
    fn all_dead_by(&self) -> NaiveDateTime {
        let lifetime = self.sliding_refresh_lifetime.checked_add(&self.margin);
        stored(lifetime.and_then(|it| self.as_of.checked_add_signed(it)).unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// The rule: whether nobody can need this row any more. What cannot be read, stays.
    fn lets_go(&self, row: &Candidate) -> bool {
        self.kept_until(row).is_some_and(|until| until <= self.as_of)
    }

    fn kept_until(&self, row: &Candidate) -> Option<DateTime<Utc>> {
        let mut end = row.expires_at.instant()?;
        let known = row.facts.as_ref().map_or(DateTime::<Utc>::MIN_UTC, |facts| facts.keep_until.and_utc());
        let kind = row.facts.as_ref().and_then(|facts| facts.kind.as_ref());
        if let (None, Some(created)) = (kind, row.created_at) {
            // It may be of a sliding token, which others renew without a word to the ledger.
            end = end.max(created.instant()?.checked_add_signed(self.sliding_refresh_lifetime)?);
        }
        Some(end.checked_add_signed(self.margin)?.max(known))
    }
}

impl Candidate {
    /// The session that is over only because of this row.
    fn session_to_end(&self) -> Option<&str> {
        let facts = self.facts.as_ref()?;
        let elsewhere = self.blacklisted.is_some() && facts.superseded_at.is_none() && facts.revoked_at.is_none();
        let ends = elsewhere && facts.kind.as_deref() != Some(TokenKind::Access.as_str());
        facts.session_id.as_deref().filter(|_| ends)
    }
}

/// The next outstanding rows to decide on.
fn candidates(
    connection: &mut AnyConnection,
    plan: &FlushPlan,
    stage: &Stage,
    rows: i64,
) -> QueryResult<Vec<Candidate>> {
    let query = outstanding_tokens::table
        .left_join(blacklisted_tokens::table)
        .left_join(simplejwt_token::table.on(simplejwt_token::jti.eq(outstanding_tokens::jti)))
        .select((
            outstanding_tokens::id,
            outstanding_tokens::jti,
            outstanding_tokens::expires_at,
            sql::<Text>(EXPIRES_AT_TEXT),
            outstanding_tokens::created_at,
            blacklisted_tokens::id.nullable(),
            Option::<Facts>::as_select(),
        ))
        .limit(rows)
        .into_boxed();
    if let Stage::ByKey(after) = stage {
        return query.filter(outstanding_tokens::id.gt(after)).order(outstanding_tokens::id).load(connection);
    }
    let mut query = query
        .filter(outstanding_tokens::expires_at.le(plan.horizon()))
        .order((outstanding_tokens::expires_at, outstanding_tokens::id));
    if let Stage::ByExpiry(after, id) = stage {
        query = query.filter(sql::<Bool>(EXPIRES_AT).sql(" >= ").bind::<Text, _>(after)).filter(
            sql::<Bool>("(")
                .sql(EXPIRES_AT)
                .sql(" > ")
                .bind::<Text, _>(after)
                .sql(" OR token_blacklist_outstandingtoken.id > ")
                .bind::<BigInt, _>(id)
                .sql(")"),
        );
    }
    query.load(connection)
}

/// Few enough for one statement on every database.
const CHUNK: usize = 500;

fn flush_outstanding(
    connection: &mut AnyConnection,
    plan: &FlushPlan,
    stage: &Stage,
    rows: i64,
) -> QueryResult<(Flushed, Stage)> {
    let found = candidates(connection, plan, stage, rows)?;
    let going: Vec<_> = found.iter().filter(|row| plan.lets_go(row)).collect();
    let mut flushed = Flushed::default();
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
    for chunk in going.chunks(CHUNK) {
        let ids: Vec<_> = chunk.iter().map(|row| row.id).collect();
        let jtis = chunk.iter().filter(|row| row.facts.is_some()).map(|row| row.jti.as_str());
        // Children first: not every database deletes them along, and Django's tables never do.
        let blacklisted = blacklisted_tokens::table.filter(blacklisted_tokens::token_id.eq_any(&ids));
        flushed.blacklisted += count(diesel::delete(blacklisted).execute(connection)?);
        let outstanding = outstanding_tokens::table.filter(outstanding_tokens::id.eq_any(&ids));
        flushed.outstanding += count(diesel::delete(outstanding).execute(connection)?);
        let facts = simplejwt_token::table.filter(simplejwt_token::jti.eq_any(jtis));
        flushed.tokens += count(diesel::delete(facts).execute(connection)?);
    }
    let next = match found.last().filter(|_| is_full(&found, rows)) {
        None => Stage::Facts(earliest()),
        Some(last) if matches!(stage, Stage::ByKey(_)) => Stage::ByKey(last.id),
        Some(last) => Stage::ByExpiry(last.order.clone(), last.id),
    };
    Ok((flushed, next))
}

/// Facts whose outstanding row is gone: Django deletes its rows at their expiry, and ours have to stay longer. All that
/// are found go, so that the time of the last one is enough to find the next.
fn flush_facts(
    connection: &mut AnyConnection,
    plan: &FlushPlan,
    from: NaiveDateTime,
    rows: i64,
) -> QueryResult<(Flushed, Stage)> {
    use simplejwt_token::{jti, keep_until, table};

    let recorded = outstanding_tokens::table.filter(outstanding_tokens::jti.eq(jti));
    let found: Vec<(NaiveDateTime, String)> = table
        .filter(keep_until.between(from, stored(plan.as_of)))
        .filter(not(exists(recorded)))
        .order(keep_until)
        .limit(rows)
        .select((keep_until, jti))
        .load(connection)?;
    let mut flushed = Flushed::default();
    for chunk in found.chunks(CHUNK) {
        let going = table.filter(jti.eq_any(chunk.iter().map(|(_, name)| name)));
        flushed.tokens += count(diesel::delete(going).execute(connection)?);
    }
    let next = found.last().filter(|_| is_full(&found, rows));
    Ok((flushed, next.map_or(Stage::Sessions(earliest()), |(last, _)| Stage::Facts(*last))))
}

/// Sessions of which no token is left.
fn flush_sessions(
    connection: &mut AnyConnection,
    plan: &FlushPlan,
    from: NaiveDateTime,
    rows: i64,
) -> QueryResult<(Flushed, Stage)> {
    use simplejwt_session::{id, keep_until, table};

    let descended = simplejwt_token::table.filter(simplejwt_token::session_id.eq(id.nullable()));
    let found: Vec<(NaiveDateTime, String)> = table
        .filter(keep_until.between(from, stored(plan.as_of)))
        .filter(not(exists(descended)))
        .order(keep_until)
        .limit(rows)
        .select((keep_until, id))
        .load(connection)?;
    let mut flushed = Flushed::default();
    for chunk in found.chunks(CHUNK) {
        let going = table.filter(id.eq_any(chunk.iter().map(|(_, name)| name)));
        flushed.sessions += count(diesel::delete(going).execute(connection)?);
    }
    let next = found.last().filter(|_| is_full(&found, rows));
    Ok((flushed, next.map_or(Stage::Events, |(last, _)| Stage::Sessions(*last))))
}

/// Events of which the time to keep them is over.
fn flush_events(connection: &mut AnyConnection, before: NaiveDateTime, rows: i64) -> QueryResult<(Flushed, bool)> {
    use simplejwt_event::{at, id, table};

    let found: Vec<i64> = table.filter(at.lt(before)).order((at, id)).limit(rows).select(id).load(connection)?;
    let mut flushed = Flushed::default();
    for chunk in found.chunks(CHUNK) {
        flushed.events += count(diesel::delete(table.filter(id.eq_any(chunk))).execute(connection)?);
    }
    Ok((flushed, is_full(&found, rows)))
}

fn batch(
    connection: &mut AnyConnection,
    plan: &FlushPlan,
    stage: &Stage,
    rows: i64,
) -> QueryResult<(Flushed, Option<Stage>)> {
    let (flushed, next) = match stage {
        Stage::Start => {
            let indexed = dialect::has_index(connection, OUTSTANDING, "expires_at")?;
            flush_outstanding(connection, plan, if indexed { stage } else { &Stage::ByKey(i64::MIN) }, rows)?
        }
        Stage::ByExpiry(..) | Stage::ByKey(_) => flush_outstanding(connection, plan, stage, rows)?,
        Stage::Facts(from) => flush_facts(connection, plan, *from, rows)?,
        Stage::Sessions(from) => flush_sessions(connection, plan, *from, rows)?,
        Stage::Events => {
            let Some(before) = plan.events_before else { return Ok((Flushed::default(), None)) };
            let (flushed, more) = flush_events(connection, stored(before), rows)?;
            return Ok((flushed, more.then_some(Stage::Events)));
        }
    };
    Ok((flushed, Some(next)))
}

/// How many rows of each table would go. The outstanding ones are looked at as a flush does; what goes with them is
/// counted as if they were gone.
fn estimate(connection: &mut AnyConnection, plan: &FlushPlan) -> QueryResult<Flushed> {
    const ROWS: i64 = 1000;

    let mut flushed = Flushed::default();
    let mut stage = Stage::Start;
    loop {
        let found = candidates(connection, plan, &stage, ROWS)?;
        for row in found.iter().filter(|row| plan.lets_go(row)) {
            flushed.outstanding += 1;
            flushed.blacklisted += u64::from(row.blacklisted.is_some());
            flushed.tokens += u64::from(row.facts.is_some());
        }
        match found.last().filter(|_| is_full(&found, ROWS)) {
            Some(last) => stage = Stage::ByExpiry(last.order.clone(), last.id),
            None => break,
        }
    }
    let as_of = stored(plan.as_of);
    let recorded = outstanding_tokens::table.filter(outstanding_tokens::jti.eq(simplejwt_token::jti));
    let orphans = simplejwt_token::table.filter(simplejwt_token::keep_until.le(as_of)).filter(not(exists(recorded)));
    flushed.tokens += rows(orphans.select(count_star()).first(connection)?);
    let stays = recorded.filter(outstanding_tokens::expires_at.gt(plan.horizon()));
    let descended = simplejwt_token::table
        .filter(simplejwt_token::session_id.eq(simplejwt_session::id.nullable()))
        .filter(simplejwt_token::keep_until.gt(as_of).or(exists(stays)));
    let sessions =
        simplejwt_session::table.filter(simplejwt_session::keep_until.le(as_of)).filter(not(exists(descended)));
    flushed.sessions = rows(sessions.select(count_star()).first(connection)?);
    if let Some(before) = plan.events_before {
        let events = simplejwt_event::table.filter(simplejwt_event::at.lt(stored(before)));
        flushed.events = rows(events.select(count_star()).first(connection)?);
    }
    Ok(flushed)
}

/// Whether a batch had as many rows as it could, so that there may be more.
fn is_full<T>(found: &[T], rows: i64) -> bool {
    i64::try_from(found.len()).is_ok_and(|found| found >= rows)
}

const fn count(rows: usize) -> u64 {
    rows as u64
}

fn rows(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The latest moment at which anything was written, as far as the rows say.
/// A flush run is no evidence: it believed the clock that the next one asks about.
fn newest(connection: &mut AnyConnection) -> QueryResult<Option<DateTime<Utc>>> {
    // What is later than every instant is none.
    let end = stored(DateTime::<Utc>::MAX_UTC);
    let created = outstanding_tokens::table
        .filter(outstanding_tokens::created_at.le(end))
        .select(max(outstanding_tokens::created_at))
        .first::<Option<Foreign>>(connection)?;
    let blacklisted = blacklisted_tokens::table
        .filter(blacklisted_tokens::blacklisted_at.le(end))
        .select(max(blacklisted_tokens::blacklisted_at))
        .first::<Option<Foreign>>(connection)?;
    let session =
        simplejwt_session::table.select(max(simplejwt_session::created_at)).first::<Option<Foreign>>(connection)?;
    let rows = [created, blacklisted, session].into_iter().flatten().filter_map(Foreign::instant);
    Ok(rows.max())
}

impl Ledger {
    /// Deletes the next batch: of about so many `rows`, those that may go. Call it again with the cursor that it
    /// returns, until it returns none. Safe to stop at any time, and to run several times at once.
    ///
    /// # Errors
    ///
    /// When the database does not answer; then nothing of the batch is deleted, or all of it.
    pub async fn flush_batch(
        &self,
        plan: &FlushPlan,
        cursor: FlushCursor,
        rows: i64,
    ) -> Result<FlushBatch, LedgerError> {
        let plan = *plan;
        let work = move |connection: &mut AnyConnection| {
            let locked = Instant::now();
            Ok((batch(connection, &plan, &cursor.0, rows.max(1))?, locked))
        };
        let ((flushed, next), locked) = self.write_long(work).await?;
        Ok(FlushBatch { flushed, next: next.map(FlushCursor), held: locked.elapsed() })
    }

    /// How many rows of each table a flush would delete now. Deletes nothing.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn flush_estimate(&self, plan: &FlushPlan) -> Result<Flushed, LedgerError> {
        let plan = *plan;
        self.run_long(move |connection| Ok(connection.transaction(|connection| estimate(connection, &plan))?)).await
    }

    /// The latest moment at which anything was written, as far as the rows say: a clock that shows less is wrong, or was.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn newest_record(&self) -> Result<Option<DateTime<Utc>>, LedgerError> {
        self.run_long(|connection| Ok(newest(connection)?)).await
    }
}
