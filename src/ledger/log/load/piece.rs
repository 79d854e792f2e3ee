//! How the tokens of a page are read as one piece of a table, and not looked up one by one.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;

use super::super::PAGE;
use super::super::resolve::{CHUNK, Facts, Span};
use crate::ledger::Retention;
use crate::ledger::connection::AnyConnection;
use crate::ledger::foreign_text::ForeignText;
use crate::ledger::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_token};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, stored};

/// Among how many tokens those of a page lie that were blacklisted in about the order in which they were recorded.
pub(super) const DENSE: i64 = 4 * PAGE;

/// Which of a page's rows others may have written, where nearly all of the tokens were revoked or used up here; nothing where
/// that is not so. Those are kept until about when they expire, so that they are read as one range: to look each of them up by
/// its jti takes several times as long.
pub(super) fn not_ended_here(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    (after, last): (i64, Option<i64>),
    (lowest, highest): (i64, i64),
) -> QueryResult<Option<Vec<i64>>> {
    use simplejwt_token::{jti, keep_until, revoked_at, superseded_at, table};

    type Known = (ForeignText, Option<Foreign>, Option<Foreign>);
    // The first and the last of them show what the others are like.
    let ends = outstanding_tokens::table.inner_join(table.on(shared.same_jti()));
    let ends = ends.filter(superseded_at.is_not_null().or(revoked_at.is_not_null()));
    let ends: i64 = ends.filter(outstanding_tokens::id.eq_any([lowest, highest])).count().get_result(connection)?;
    if ends <= i64::from(lowest < highest) {
        return Ok(None);
    }
    let page: Vec<(i64, ForeignText, Foreign)> = blacklisted_tokens::table
        .inner_join(outstanding_tokens::table)
        .filter(blacklisted_tokens::id.gt(after).and(blacklisted_tokens::id.le(last.unwrap_or(i64::MAX))))
        .filter(outstanding_tokens::id.between(lowest, highest))
        .select((blacklisted_tokens::id, outstanding_tokens::jti, outstanding_tokens::expires_at))
        .load(connection)?;
    let moments = || page.iter().filter_map(|(.., expires_at)| expires_at.instant());
    let Some((from, to)) = moments().min().zip(moments().max()) else { return Ok(None) };
    let to = to.checked_add_signed(retention.margin).unwrap_or(to);
    // As many as are read, whatever they are: a range without an end that few of those who count lie in is not gone through.
    let about_then = table.filter(keep_until.between(stored(from), stored(to))).limit(2 * PAGE);
    let about_then: Vec<Known> = about_then.select((jti, superseded_at, revoked_at)).load(connection)?;
    let ended = about_then.into_iter().filter(|(_, superseded, revoked)| superseded.or(*revoked).is_some());
    let ended: HashSet<String> = ended.filter_map(|(name, ..)| name.0).collect();
    let count = page.len();
    let is_ended = |name: &ForeignText| name.0.as_ref().is_some_and(|name| ended.contains(name));
    let others: Vec<i64> = page.iter().filter(|(_, name, _)| !is_ended(name)).map(|(id, ..)| *id).collect();
    Ok((others.len() <= count / 4).then_some(others))
}

/// A recorded token with its span.
type Recorded = (ForeignText, Foreign, Option<Foreign>);

fn named(found: Vec<Recorded>) -> impl Iterator<Item = (String, Span)> {
    found.into_iter().filter_map(|(jti, expires_at, created_at)| Some((jti.0?, Span { expires_at, created_at })))
}

/// The spans of those of a page's tokens that are on record. Those that are kept until about the same time were mostly recorded at
/// about the same time, and are read together; the others are looked up by their jti.
pub(super) fn spans(connection: &mut AnyConnection, page: &[Facts]) -> QueryResult<HashMap<String, Span>> {
    use outstanding_tokens::{created_at, expires_at, id, jti, table};

    let until = |facts: &&Facts| facts.keep_until;
    let ends = [page.iter().min_by_key(until), page.iter().max_by_key(until)];
    let ends = ends.into_iter().flatten().map(|facts| &*facts.jti);
    let ends: Vec<i64> = table.filter(jti.eq_any(ends)).select(id).load(connection)?;
    let mut spans = HashMap::with_capacity(page.len());
    if let Some((lowest, highest)) = ends.iter().min().zip(ends.iter().max())
        && highest.saturating_sub(*lowest) < DENSE
    {
        let piece = table.filter(id.between(lowest, highest)).select((jti, expires_at, created_at));
        spans.extend(named(piece.load(connection)?));
    }
    let others: Vec<&str> = page.iter().map(|facts| &*facts.jti).filter(|name| !spans.contains_key(*name)).collect();
    for names in others.chunks(CHUNK) {
        let found = table.filter(jti.eq_any(names)).select((jti, expires_at, created_at));
        spans.extend(named(found.load(connection)?));
    }
    Ok(spans)
}
