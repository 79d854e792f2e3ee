//! Filling a page, step by step.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::keys::{JTI, keys};
use super::pace::{Pace, STEP};
use super::{Cursor, TokenPage, TokenSearch};
use crate::ledger::connection::AnyConnection;
use crate::ledger::list::under;
use crate::ledger::schema::simplejwt_token;
use crate::ledger::shared::Shared;
use crate::token::{Jti, SessionId};

/// So many tokens of one session are found at most.
const OF_A_SESSION: i64 = 1_000;

/// The tokens of a session: there are few, and an index has them. A page of them is cut out here.
fn of_session(
    connection: &mut AnyConnection,
    shared: &Shared,
    session: SessionId,
    search: &TokenSearch,
    after: Option<&Cursor>,
    limit: usize,
    now: DateTime<Utc>,
) -> QueryResult<TokenPage> {
    let jtis: Vec<String> = simplejwt_token::table
        .filter(simplejwt_token::session_id.eq(session.to_string()))
        .select(simplejwt_token::jti)
        .limit(OF_A_SESSION)
        .load(connection)?;
    let jtis: Vec<Jti> = jtis.into_iter().filter_map(|jti| jti.parse().ok()).collect();
    let condition = shared.is_token_among(JTI, &jtis).into();
    let mut rows = under(connection, shared, &condition, search.kind, search.state, now)?;
    let order = search.order();
    rows.retain(|row| search.takes(row) && after.is_none_or(|after| order.place_of(row) > order.place(after)));
    rows.sort_by_cached_key(|row| order.place_of(row));
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| Cursor { id: row.id, key: order.key_of(row) });
    Ok(TokenPage { rows, next, unfinished: false })
}

pub(super) fn search(
    connection: &mut AnyConnection,
    shared: &Shared,
    search: &TokenSearch,
    after: Option<Cursor>,
    limit: usize,
    now: DateTime<Utc>,
) -> QueryResult<TokenPage> {
    let search = &search.bounded(now);
    if let Some(session) = search.session {
        return of_session(connection, shared, session, search, after.as_ref(), limit, now);
    }
    let mut steps = Pace::new(if search.leaves_out() { STEP } else { i64::try_from(limit).unwrap_or(STEP) });
    let mut page = TokenPage { next: after, ..TokenPage::default() };
    if page.next.is_none() {
        page.next = search.begin(connection)?;
    }
    loop {
        let found = keys(connection, shared, search, page.next.as_ref(), steps.rows)?;
        let ids: Vec<i64> = found.iter().map(|cursor| cursor.id).collect();
        let condition = shared.is_number_of_page("token_blacklist_outstandingtoken.id", &ids);
        let mut rows = under(connection, shared, &condition, search.kind, search.state, now)?;
        let place = |id: i64| ids.iter().position(|known| *known == id);
        rows.sort_by_cached_key(|row| place(row.id));
        let over = rows.last().is_some_and(|row| search.ends_at(row));
        rows.retain(|row| search.takes(row));
        let room = limit - page.rows.len();
        let overflows = rows.len() > room;
        rows.truncate(room);
        page.rows.append(&mut rows);
        let whole = i64::try_from(found.len()).is_ok_and(|count| count == steps.rows);
        if overflows || page.rows.len() == limit {
            // The next page begins after the last row of this one.
            let last = page.rows.last().and_then(|row| place(row.id));
            page.next = last.and_then(|last| found.get(last).cloned()).filter(|_| overflows || whole);
            break;
        }
        page.next = found.into_iter().next_back();
        if !whole || over {
            page.next = None;
            break;
        }
        if !steps.goes_on() {
            page.unfinished = true;
            break;
        }
    }
    Ok(page)
}
