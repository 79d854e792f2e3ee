//! `simplejwt_hour` and `simplejwt_census`: how much was done in each hour, and how much there was when it was counted last. No page
//! counts rows.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::count_star;
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::dialect::{self, if_new};
use super::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_census, simplejwt_hour, simplejwt_session, simplejwt_token,
};
use super::shared::Shared;
use super::time::stored;
use super::{Ledger, LedgerError};

/// How many recorded tokens there were of each sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// When they were counted.
    pub counted_at: DateTime<Utc>,
    /// How long that took.
    pub took: Duration,
    /// Those that could be used.
    pub live: u64,
    /// Those that a rotation had replaced, and whose time had not passed.
    pub superseded: u64,
    /// Those that somebody had revoked, and whose time had not passed.
    pub blacklisted: u64,
    /// Those whose time had passed.
    pub expired: u64,
}

/// What was done in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hour {
    /// Its beginning.
    pub at: DateTime<Utc>,
    /// How many tokens were issued.
    pub issued: u64,
    /// How many were revoked.
    pub revoked: u64,
}

impl Hour {
    /// What was done in the hour that begins at an instant.
    #[cfg(test)]
    #[must_use]
    pub(crate) const fn new(at: DateTime<Utc>, issued: u64, revoked: u64) -> Self {
        Self { at, issued, revoked }
    }
}

/// How long the hours stay: a month and a day.
const HOURS_KEPT: chrono::TimeDelta = chrono::TimeDelta::days(32);

fn number(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}

fn stored_number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The beginning of the hour.
fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp().div_euclid(3600) * 3600, 0).unwrap_or(at)
}

fn add(connection: &mut AnyConnection, at: DateTime<Utc>, issued: i64, revoked: i64) -> QueryResult<()> {
    use simplejwt_hour::dsl;
    let row = dsl::simplejwt_hour.find(stored(hour_of(at)));
    let more = (dsl::issued.eq(dsl::issued + issued), dsl::revoked.eq(dsl::revoked + revoked));
    if diesel::update(row).set(more).execute(connection)? > 0 {
        return Ok(());
    }
    diesel::delete(dsl::simplejwt_hour.filter(dsl::hour.lt(stored(at - HOURS_KEPT)))).execute(connection)?;
    let new = if_new(connection, |connection| {
        diesel::insert_into(dsl::simplejwt_hour)
            .values((dsl::hour.eq(stored(hour_of(at))), dsl::issued.eq(issued), dsl::revoked.eq(revoked)))
            .execute(connection)
    })?;
    if !new {
        diesel::update(row).set(more).execute(connection)?;
    }
    Ok(())
}

fn count(connection: &mut AnyConnection, shared: &Shared, now: DateTime<Utc>) -> QueryResult<[i64; 4]> {
    let now = stored(now);
    let all = || {
        outstanding_tokens::table
            .left_join(blacklisted_tokens::table)
            .left_join(simplejwt_token::table.on(shared.same_jti()))
            .filter(outstanding_tokens::expires_at.gt(now))
    };
    let listed = || blacklisted_tokens::id.nullable();
    let (superseded, revoked) = (simplejwt_token::superseded_at, simplejwt_token::revoked_at);
    let is_refused = listed().is_not_null().or(revoked.is_not_null());
    let over = simplejwt_session::table.on(simplejwt_session::id.nullable().eq(simplejwt_token::session_id));
    let live = all()
        .left_join(over)
        .filter(listed().is_null().and(superseded.is_null()).and(revoked.is_null()))
        .filter(simplejwt_session::ended_at.is_null());
    let expired = outstanding_tokens::table.filter(outstanding_tokens::expires_at.le(now));
    Ok([
        live.select(count_star()).first(connection)?,
        all().filter(superseded.is_not_null()).select(count_star()).first(connection)?,
        all().filter(superseded.is_null()).filter(is_refused).select(count_star()).first(connection)?,
        expired.select(count_star()).first(connection)?,
    ])
}

/// There is one row.
const ROW: i64 = 1;

fn put(connection: &mut AnyConnection, census: &Census) -> QueryResult<()> {
    use simplejwt_census::dsl;
    let values = (
        dsl::counted_at.eq(stored(census.counted_at)),
        dsl::took_millis.eq(i64::try_from(census.took.as_millis()).unwrap_or(i64::MAX)),
        dsl::live.eq(stored_number(census.live)),
        dsl::superseded.eq(stored_number(census.superseded)),
        dsl::blacklisted.eq(stored_number(census.blacklisted)),
        dsl::expired.eq(stored_number(census.expired)),
    );
    let row = dsl::simplejwt_census.find(ROW);
    if diesel::update(row).set(values).execute(connection)? == 0 {
        if_new(connection, |connection| {
            diesel::insert_into(dsl::simplejwt_census).values((dsl::id.eq(ROW), values)).execute(connection)
        })?;
    }
    Ok(())
}

impl Ledger {
    /// Adds to what was done in an hour.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn add_to_hour(&self, at: DateTime<Utc>, issued: u64, revoked: u64) -> Result<(), LedgerError> {
        let (issued, revoked) = (stored_number(issued), stored_number(revoked));
        self.write(move |connection| Ok(add(connection, at, issued, revoked)?)).await
    }

    /// What was done in each hour since then, the first of them first. Hours in which nothing was done are left out.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn hours_since(&self, since: DateTime<Utc>) -> Result<Vec<Hour>, LedgerError> {
        use simplejwt_hour::dsl;
        self.run(move |connection| {
            let rows: Vec<(NaiveDateTime, i64, i64)> = dsl::simplejwt_hour
                .filter(dsl::hour.ge(stored(since)))
                .order(dsl::hour)
                .select((dsl::hour, dsl::issued, dsl::revoked))
                .load(connection)?;
            let hour = |(at, issued, revoked): (NaiveDateTime, i64, i64)| Hour {
                at: at.and_utc(),
                issued: number(issued),
                revoked: number(revoked),
            };
            Ok(rows.into_iter().map(hour).collect())
        })
        .await
    }

    /// How much there was when it was counted last.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn census(&self) -> Result<Option<Census>, LedgerError> {
        use simplejwt_census::dsl;
        self.run(|connection| {
            let row: Option<(NaiveDateTime, i64, i64, i64, i64, i64)> = dsl::simplejwt_census
                .find(ROW)
                .select((dsl::counted_at, dsl::took_millis, dsl::live, dsl::superseded, dsl::blacklisted, dsl::expired))
                .first(connection)
                .optional()?;
            Ok(row.map(|(counted_at, took, live, superseded, blacklisted, expired)| Census {
                counted_at: counted_at.and_utc(),
                took: Duration::from_millis(number(took)),
                live: number(live),
                superseded: number(superseded),
                blacklisted: number(blacklisted),
                expired: number(expired),
            }))
        })
        .await
    }

    /// Counts the recorded tokens, and keeps the result. It goes through whole tables.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn count_tokens(&self, now: DateTime<Utc>) -> Result<Census, LedgerError> {
        let (started, shared) = (Instant::now(), self.shared().await?);
        let counted = self.run_long(move |connection| {
            Ok(dialect::snapshot(connection, |connection| count(connection, &shared, now))?)
        });
        let [live, superseded, blacklisted, expired] = counted.await?.map(number);
        let census = Census { counted_at: now, took: started.elapsed(), live, superseded, blacklisted, expired };
        self.write(move |connection| Ok(put(connection, &census)?)).await?;
        Ok(census)
    }
}
