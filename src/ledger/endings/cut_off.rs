//! Refusing everything from before an instant, though the clocks by which it began may differ.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::max;
use diesel::prelude::*;

use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::simplejwt_session;
use crate::ledger::{Ledger, LedgerError, NewCutoff, UserKey, cutoffs};
use crate::token::SessionId;

/// How far the clock of a process that opened a session may be ahead of one that cuts it off.
const AHEAD: TimeDelta = TimeDelta::minutes(1);

/// The last microsecond of the millisecond of an instant: a session tells its beginning to the millisecond.
pub(super) fn end_of_millisecond(at: DateTime<Utc>) -> DateTime<Utc> {
    let start = DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at);
    start + TimeDelta::microseconds(999)
}

/// The first name that a session could have which begins at an instant.
fn first_name(at: DateTime<Utc>) -> String {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    let mut name = SessionId::starting_at(millis).to_string();
    name.truncate("018bcfe5-687b-7".len());
    name
}

/// The beginning of the newest session that began by a clock which is ahead of ours. It is there, so it is meant.
fn newest_ahead(
    connection: &mut AnyConnection,
    user: Option<&UserKey>,
    now: DateTime<Utc>,
) -> QueryResult<Option<DateTime<Utc>>> {
    let ahead = simplejwt_session::table
        .filter(simplejwt_session::id.ge(first_name(now)))
        .filter(simplejwt_session::id.lt(first_name(now + AHEAD)));
    let newest: Option<String> = match user {
        Some(user) => ahead
            .filter(simplejwt_session::user_id.eq(user.as_str()))
            .select(max(simplejwt_session::id))
            .first(connection)?,
        None => ahead.select(max(simplejwt_session::id)).first(connection)?,
    };
    let began = newest.and_then(|name| name.parse::<SessionId>().ok()?.started_at_millis());
    Ok(began.and_then(DateTime::from_timestamp_millis))
}

/// The cutoff that meets everything from before its instant, whatever clock it began by. `key` is the user in the tables.
pub(in crate::ledger) fn until_now(
    connection: &mut AnyConnection,
    cutoff: &NewCutoff,
    key: Option<&UserKey>,
) -> QueryResult<NewCutoff> {
    let now = cutoff.not_before;
    let ahead = newest_ahead(connection, key, now)?;
    Ok(NewCutoff { not_before: end_of_millisecond(ahead.map_or(now, |ahead| ahead.max(now))), ..cutoff.clone() })
}

impl Ledger {
    /// Refuses everything that was issued until now, to the cutoff's user or to everybody, and says until which instant. That is
    /// later than `not_before` where a session is on record that began by a faster clock. `key` is the user in the tables.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UserKey`] if there can be no such user; otherwise when the database does not answer.
    pub async fn cut_off_until_now(
        &self,
        cutoff: NewCutoff,
        key: Option<UserKey>,
    ) -> Result<DateTime<Utc>, LedgerError> {
        let named = cutoff.user.iter().chain(&key);
        if named.into_iter().any(|user| !user.is_storable()) {
            return Err(LedgerError::UserKey);
        }
        self.write(move |connection| {
            let cutoff = until_now(connection, &cutoff, key.as_ref())?;
            cutoffs::insert(connection, &cutoff)?;
            Ok(cutoff.not_before)
        })
        .await
    }

    /// The same for what began at an earlier instant or before.
    ///
    /// # Errors
    ///
    /// As [`cut_off`](Self::cut_off).
    pub async fn cut_off_until(&self, cutoff: NewCutoff) -> Result<DateTime<Utc>, LedgerError> {
        let mark = end_of_millisecond(cutoff.not_before);
        self.cut_off(NewCutoff { not_before: mark, ..cutoff }).await?;
        Ok(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_sessions_stand_in_the_order_of_their_beginnings() {
        let at = |millis: i64| DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap();
        let before = SessionId::starting_at(1_799_999_999_999).to_string();
        let within = SessionId::starting_at(1_800_000_000_000).to_string();
        assert!(before < first_name(at(0)) && within >= first_name(at(0)) && within < first_name(at(1)));
    }
}
