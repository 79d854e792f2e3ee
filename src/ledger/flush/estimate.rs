//! What a flush would delete, counted without deleting.

use diesel::dsl::{count_star, exists, not};
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::batch::Stage;
use super::rule::{Known, are_all_ours, candidates, ends};
use super::{FlushPlan, Flushed};
use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_event, simplejwt_session, simplejwt_token,
};
use crate::ledger::shared::Shared;
use crate::ledger::time::stored;

/// How many rows of each table would go. The outstanding ones are looked at as a flush does; what goes with them is
/// counted as if they were gone.
pub(super) fn estimate(connection: &mut AnyConnection, shared: &Shared, plan: &FlushPlan) -> QueryResult<Flushed> {
    const ROWS: i64 = 1000;

    let mut flushed = Flushed::default();
    let mut stage = Stage::Start;
    loop {
        let (found, next) = candidates(connection, shared, plan, &stage, ROWS)?;
        let mut going: Vec<_> = found.iter().collect();
        let known = Known::of(connection, shared, &going)?;
        going.retain(|row| plan.lets_go(row, &known));
        flushed.outstanding += going.len() as u64;
        flushed.tokens += going.iter().filter(|row| known.knows(row)).count() as u64;
        let ids: Vec<_> = going.iter().map(|row| row.id).collect();
        let listed = blacklisted_tokens::table.filter(shared.is_number_among("token_id", &ids));
        flushed.blacklisted += rows(listed.select(count_star()).first(connection)?);
        let Some(next) = next else { break };
        stage = next;
    }
    let as_of = stored(plan.as_of);
    let recorded = || outstanding_tokens::table.filter(shared.same_jti());
    let orphans = simplejwt_token::table.filter(simplejwt_token::keep_until.le(as_of)).filter(plan.is_spent());
    let orphans = orphans.filter(not(exists(recorded())));
    flushed.tokens += rows(orphans.select(count_star()).first(connection)?);
    let stays = recorded().filter(outstanding_tokens::expires_at.gt(plan.horizon()));
    // A session that others ended by blacklisting a token of it stays over when that goes, by its own row.
    let listed = recorded().inner_join(blacklisted_tokens::table);
    let keeps = ends().is_not_null().and(exists(listed));
    let whatever = (!are_all_ours(connection, shared)?).into_sql::<Bool>();
    let keeps = keeps.and(simplejwt_session::ended_at.is_null().or(whatever));
    let descended =
        simplejwt_token::table.filter(simplejwt_token::session_id.eq(simplejwt_session::id.nullable())).filter(
            simplejwt_token::keep_until
                .gt(as_of)
                .or(exists(stays))
                .or(not(plan.is_spent()).and(not(exists(recorded()))))
                .or(keeps),
        );
    let sessions =
        simplejwt_session::table.filter(simplejwt_session::keep_until.le(as_of)).filter(not(exists(descended)));
    flushed.sessions = rows(sessions.select(count_star()).first(connection)?);
    if let Some(before) = plan.events_before {
        let events = simplejwt_event::table.filter(simplejwt_event::at.lt(stored(before)));
        flushed.events = rows(events.select(count_star()).first(connection)?);
    }
    Ok(flushed)
}

fn rows(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
