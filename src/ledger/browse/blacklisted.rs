//! The tokens that somebody revoked, those blacklisted last first.

use chrono::DateTime;
use diesel::prelude::*;

use super::pace::{Pace, STEP};
use super::search::search;
use super::{Cursor, TokenPage, TokenSearch};
use crate::ledger::connection::AnyConnection;
use crate::ledger::events::{self, Action, EventRow};
use crate::ledger::list::{TokenRow, TokenState, under};
use crate::ledger::schema::blacklisted_tokens;
use crate::ledger::shared::Shared;
use crate::ledger::{Ledger, LedgerError, UserKey};

/// A page of revoked tokens.
#[derive(Clone, Debug, Default)]
pub struct BlacklistedPage {
    /// Its rows, those that were blacklisted last first, each with the event of it, if there was one here.
    pub rows: Vec<(TokenRow, Option<EventRow>)>,
    /// The key of the row before which the next page begins: of the blacklist, or of a user the outstanding one. [`None`]: there are
    /// no more.
    pub next: Option<i64>,
    /// Whether it ends before it is full, because its time was over.
    pub unfinished: bool,
}

/// Adds who revoked them.
fn with_events(connection: &mut AnyConnection, page: TokenPage) -> QueryResult<BlacklistedPage> {
    let jtis: Vec<&str> = page.rows.iter().map(|row| row.jti.as_str()).collect();
    let mut events = events::last_of(connection, &jtis, Action::Blacklist)?;
    let rows =
        page.rows.into_iter().map(|row| (events.remove(&row.jti), row)).map(|(event, row)| (row, event)).collect();
    Ok(BlacklistedPage { rows, next: page.next.map(|cursor| cursor.id), unfinished: page.unfinished })
}

fn blacklisted(
    connection: &mut AnyConnection,
    shared: &Shared,
    before: Option<i64>,
    limit: usize,
) -> QueryResult<TokenPage> {
    let mut steps = Pace::new(STEP);
    let mut page = TokenPage::default();
    let (mut before, cursor) = (before, |id: i64| Cursor { id, key: String::new() });
    loop {
        let mut query = blacklisted_tokens::table
            .order(blacklisted_tokens::id.desc())
            .limit(steps.rows)
            .select((blacklisted_tokens::id, blacklisted_tokens::token_id))
            .into_boxed();
        if let Some(before) = before {
            query = query.filter(blacklisted_tokens::id.lt(before));
        }
        let listed: Vec<(i64, i64)> = query.load(connection)?;
        let ids: Vec<i64> = listed.iter().map(|(_, token)| *token).collect();
        let condition = shared.is_number_of_page("token_blacklist_outstandingtoken.id", &ids);
        // Most of them a rotation replaced: nobody revoked those.
        let state = Some(TokenState::Blacklisted);
        let mut rows = under(connection, shared, &condition, None, state, DateTime::UNIX_EPOCH)?;
        let place = |row: &TokenRow| ids.iter().position(|id| *id == row.id);
        rows.sort_by_cached_key(place);
        let room = limit - page.rows.len();
        let overflows = rows.len() > room;
        rows.truncate(room);
        let last = rows.last().and_then(place).and_then(|place| listed.get(place)).map(|(id, _)| *id);
        page.rows.append(&mut rows);
        let whole = i64::try_from(listed.len()).is_ok_and(|count| count == steps.rows);
        if overflows || page.rows.len() == limit {
            page.next = last.filter(|_| overflows || whole).map(cursor);
            break;
        }
        before = listed.last().map(|(id, _)| *id).filter(|_| whole);
        page.next = before.map(cursor);
        if before.is_none() {
            break;
        }
        if !steps.goes_on() {
            page.unfinished = true;
            break;
        }
    }
    Ok(page)
}

impl Ledger {
    /// The tokens that somebody revoked, those blacklisted last first, before the row with this key, at most `limit`. Those of a user
    /// are in the order in which they were issued.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn blacklisted_newest(
        &self,
        user: Option<UserKey>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<BlacklistedPage, LedgerError> {
        let (shared, limit) = (self.shared().await?, limit.max(1));
        let find = move |connection: &mut AnyConnection| {
            let page = match &user {
                None => blacklisted(connection, &shared, before, limit)?,
                Some(user) => {
                    let (user, state) = (Some(user.clone()), Some(TokenState::Blacklisted));
                    let of_user = TokenSearch { user, state, ..TokenSearch::default() };
                    let after = before.map(|id| Cursor { id, key: String::new() });
                    search(connection, &shared, &of_user, after, limit, DateTime::UNIX_EPOCH)?
                }
            };
            Ok(with_events(connection, page)?)
        };
        self.run(find).await
    }
}
