//! A step of a search: the keys of the next rows, as an index has them.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::{max, min};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::order::SKEW;
use super::{Cursor, TokenOrder, TokenSearch};
use crate::ledger::connection::AnyConnection;
use crate::ledger::foreign_text::ForeignText;
use crate::ledger::raw::Raw;
use crate::ledger::schema::outstanding_tokens;
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, shifted, stored};
use crate::ledger::{UserKey, dialect};
use crate::token::Jti;

pub(super) const JTI: &str = "token_blacklist_outstandingtoken.jti";

/// Where an instant that was read as text would stand in the order of its column; [`None`] for what is none.
fn is_instant(text: &str) -> bool {
    let bare = text.strip_suffix("+00").unwrap_or(text);
    NaiveDateTime::parse_from_str(bare, "%Y-%m-%d %H:%M:%S%.f").is_ok()
}

/// The keys of the next rows, each with what it has in the column of the order.
pub(super) fn keys(
    connection: &mut AnyConnection,
    shared: &Shared,
    search: &TokenSearch,
    after: Option<&Cursor>,
    most: i64,
) -> QueryResult<Vec<Cursor>> {
    let order = search.order();
    let words = dialect::literals(connection);
    let key = match order {
        TokenOrder::Newest | TokenOrder::Oldest | TokenOrder::Jti => Raw::<Nullable<Text>>::new(JTI),
        TokenOrder::Expiry => Raw::new(words.text_of("token_blacklist_outstandingtoken.expires_at")),
        TokenOrder::User => shared.user_text(),
    };
    let mut query = outstanding_tokens::table.select((outstanding_tokens::id, key)).limit(most).into_boxed();
    // Only what the index of the order tells. The rest is asked of the rows: a database that has to find a whole page of them before
    // it answers may go through all that there are.
    let of_user = search.user.as_ref().filter(|_| order != TokenOrder::Jti);
    if let Some(user) = of_user {
        // What the column cannot hold, nobody there has.
        let Some(text) = shared.text(user) else { return Ok(Vec::new()) };
        // In this form the index is used that has the tokens of a user in their order. Where it says `=`, PostgreSQL may go through
        // those of everybody until enough of them are of a user who has many.
        query = query.filter(shared.compares_to_user(">=", text.clone())).filter(shared.compares_to_user("<=", text));
    }
    if let (TokenOrder::Jti, Some(prefix)) = (order, &search.jti) {
        query = query.filter(Raw::once(words.starts_with(JTI, prefix)));
    }
    if let (TokenOrder::Expiry, Some(from)) = (order, search.expires_from) {
        query = query.filter(outstanding_tokens::expires_at.ge(stored(from)));
    }
    if let (TokenOrder::Expiry, Some(until)) = (order, search.expires_until) {
        query = query.filter(outstanding_tokens::expires_at.lt(stored(until)));
    }
    let (id, user) = (outstanding_tokens::id, outstanding_tokens::user_id);
    query = match order {
        TokenOrder::Newest if of_user.is_some() => query.order((user.desc(), id.desc())),
        TokenOrder::Oldest if of_user.is_some() => query.order((user.asc(), id.asc())),
        TokenOrder::Newest => query.order(id.desc()),
        TokenOrder::Oldest => query.order(id.asc()),
        TokenOrder::Expiry => query.order((outstanding_tokens::expires_at.asc(), id.asc())),
        TokenOrder::User => query.filter(user.is_not_null()).order((user.asc(), id.asc())),
        TokenOrder::Jti => query.order(Raw::<Text>::new(format!("{JTI}{}", words.by_bytes.0))),
    };
    if let Some(Cursor { id: last, key }) = after {
        query = match order {
            TokenOrder::Newest => query.filter(id.lt(*last)),
            TokenOrder::Oldest => query.filter(id.gt(*last)),
            // In this form every database begins at the place in the index.
            TokenOrder::Expiry if is_instant(key) => {
                query.filter(shared.expires(">=", key)).filter(shared.expires(">", key).or(id.gt(*last)))
            }
            TokenOrder::User => {
                let Some(text) = shared.text(&UserKey::from(key.as_str())) else { return Ok(Vec::new()) };
                query
                    .filter(shared.compares_to_user(">=", text.clone()))
                    .filter(shared.compares_to_user(">", text).or(id.gt(*last)))
            }
            TokenOrder::Jti if key.parse::<Jti>().is_ok() => {
                query.filter(Raw::once(format!("{JTI} {} '{key}'", words.by_bytes.1)))
            }
            TokenOrder::Expiry | TokenOrder::Jti => return Ok(Vec::new()),
        };
    }
    let rows: Vec<(i64, Option<ForeignText>)> = query.load(connection)?;
    let cursor = |(id, key): (i64, Option<ForeignText>)| {
        let key = ForeignText::of(key).unwrap_or_default();
        let key = if order == TokenOrder::User { shared.key(key).to_string() } else { key };
        Cursor { id, key }
    };
    Ok(rows.into_iter().map(cursor).collect())
}

/// About where the first row stands that was recorded after `at`: keys and instants grow together, but for the differences of clocks.
fn place_of(connection: &mut AnyConnection, at: DateTime<Utc>) -> QueryResult<Option<i64>> {
    let bounds = outstanding_tokens::table.select((min(outstanding_tokens::id), max(outstanding_tokens::id)));
    let (Some(mut low), Some(mut high)) = bounds.first::<(Option<i64>, Option<i64>)>(connection)? else {
        return Ok(None);
    };
    let wanted = at.naive_utc();
    while low < high {
        let middle = low + (high - low) / 2;
        let (id, created): (i64, Option<Foreign>) = outstanding_tokens::table
            .filter(outstanding_tokens::id.ge(middle))
            .order(outstanding_tokens::id)
            .select((outstanding_tokens::id, outstanding_tokens::created_at))
            .first(connection)?;
        match created.and_then(|created| created.0) {
            Some(created) if created > wanted => high = middle,
            Some(_) => low = id + 1,
            // It says nothing, and the search begins at the end.
            None => return Ok(None),
        }
    }
    Ok(Some(low))
}

impl TokenSearch {
    /// Where a search by the time of recording may begin.
    pub(super) fn begin(&self, connection: &mut AnyConnection) -> QueryResult<Option<Cursor>> {
        if self.user.is_some() {
            return Ok(None);
        }
        let place = match (self.order(), self.created_from, self.created_until) {
            (TokenOrder::Newest, _, Some(until)) => place_of(connection, shifted(until, SKEW))?.map(|id| id + 1),
            (TokenOrder::Oldest, Some(from), _) => place_of(connection, shifted(from, -SKEW))?.map(|id| id - 1),
            _ => None,
        };
        Ok(place.map(|id| Cursor { id, key: String::new() }))
    }
}
