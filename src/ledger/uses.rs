//! When and from where sessions were last used, and forgetting from where.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::{simplejwt_event, simplejwt_session};
use super::time::stored;
use super::{Ledger, LedgerError};
use crate::token::SessionId;

/// A use of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUse {
    /// The session.
    pub session: SessionId,
    /// When.
    pub at: DateTime<Utc>,
    /// From where, if known.
    pub address: Option<String>,
}

/// Notes a use, unless a later one is noted.
fn note(connection: &mut AnyConnection, used: &SessionUse) -> QueryResult<usize> {
    use simplejwt_session::dsl;

    let at = stored(used.at);
    let row = dsl::simplejwt_session.find(used.session.to_string()).filter(dsl::last_used_at.lt(at));
    match &used.address {
        Some(address) => {
            diesel::update(row).set((dsl::last_used_at.eq(at), dsl::address.eq(address))).execute(connection)
        }
        None => diesel::update(row).set(dsl::last_used_at.eq(at)).execute(connection),
    }
}

impl Ledger {
    /// Notes uses of sessions, all in one transaction. They are to be in the order of their ids, so that two who note the same
    /// ones do not wait for each other in a circle.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn note_uses(&self, uses: Vec<SessionUse>) -> Result<(), LedgerError> {
        self.write(move |connection| {
            for used in &uses {
                note(connection, used)?;
            }
            Ok(())
        })
        .await
    }
}

/// Forgets from where sessions were used that nobody has used since, of those whose ids come after one; gives the number, and the id
/// after which the next ones come.
pub(super) fn forget_of_sessions(
    connection: &mut AnyConnection,
    before: DateTime<Utc>,
    after: &str,
    rows: i64,
) -> QueryResult<(usize, Option<String>)> {
    use simplejwt_session::dsl;

    // An id begins with the time at which the session did: what began later cannot have been used before.
    let millis = u64::try_from(before.timestamp_millis()).unwrap_or_default();
    let first_later = SessionId::from_u128(u128::from(millis.saturating_add(1)) << 80).to_string();
    let found: Vec<String> = dsl::simplejwt_session
        .filter(dsl::id.gt(after))
        .filter(dsl::id.lt(first_later))
        .order(dsl::id)
        .limit(rows)
        .select(dsl::id)
        .load(connection)?;
    let mut forgotten = 0;
    for ids in found.chunks(CHUNK) {
        let old = dsl::simplejwt_session.filter(dsl::id.eq_any(ids)).filter(dsl::last_used_at.lt(stored(before)));
        let known = old.filter(dsl::address.is_not_null());
        forgotten += diesel::update(known).set(dsl::address.eq(None::<String>)).execute(connection)?;
    }
    let more = super::is_full(&found, rows);
    Ok((forgotten, found.into_iter().next_back().filter(|_| more)))
}

/// The same of events, in the order of their numbers.
pub(super) fn forget_of_events(
    connection: &mut AnyConnection,
    before: DateTime<Utc>,
    after: i64,
    rows: i64,
) -> QueryResult<(usize, Option<i64>)> {
    use simplejwt_event::dsl;

    let found: Vec<i64> = dsl::simplejwt_event
        .filter(dsl::id.gt(after))
        .filter(dsl::at.lt(stored(before)))
        .order(dsl::id)
        .limit(rows)
        .select(dsl::id)
        .load(connection)?;
    let mut forgotten = 0;
    for ids in found.chunks(CHUNK) {
        let known = dsl::simplejwt_event.filter(dsl::id.eq_any(ids)).filter(dsl::address.is_not_null());
        forgotten += diesel::update(known).set(dsl::address.eq(None::<String>)).execute(connection)?;
    }
    let more = super::is_full(&found, rows);
    Ok((forgotten, found.last().copied().filter(|_| more)))
}

/// Few enough for one statement on every database.
const CHUNK: usize = 2000;
