//! How many sessions a user may have, decided where a new one is recorded.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::dialect::Work;
use super::events::{self, Action, NewEvent};
use super::schema::simplejwt_session::dsl;
use super::sessions::{self, End};
use super::shared::Shared;
use super::time::{Stored, stored};
use super::{Actor, LedgerError, UserKey, cutoffs, family};
use crate::token::sha256_hex;

/// How many open sessions a user may have.
#[derive(Clone, Debug)]
pub struct SessionLimit {
    /// At most so many, with the one to be.
    pub most: u32,
    /// Whether the ones that were not used for the longest time make room, or the login is refused.
    pub evicts: bool,
    /// A session that is kept no longer than this has no refresh token any more that is good.
    pub kept_after: DateTime<Utc>,
    /// A session that was last used no later than this is over.
    pub used_after: Option<DateTime<Utc>>,
    /// Who logs in.
    pub actor: Actor,
}

/// Why a session is over that made room.
const REASON: &str = "too many sessions";

/// The work of recording a login, of which there must be only one at a time for each user.
pub(super) fn login_of(user: &UserKey) -> Work {
    // Half of a digest that is the same in every process and every version. Two users who share it wait for each other, no more.
    let digest = sha256_hex(user.as_str().as_bytes());
    Work::Login(u64::from_str_radix(&digest[..16], 16).unwrap_or_default())
}

/// Sees to it that a user may have one more session, and says how many ended for it. To be called where nobody else records a
/// login of that user.
pub(super) fn make(
    connection: &mut AnyConnection,
    shared: &Shared,
    user: &UserKey,
    limit: &SessionLimit,
    at: DateTime<Utc>,
) -> Result<usize, LedgerError> {
    let most = usize::try_from(limit.most).unwrap_or(usize::MAX);
    let mut open = recorded_open(connection, user, limit, at)?;
    if open.len() >= most {
        // Only now, as it costs a look at each: what Django or a cutoff has ended does not count.
        let mut counted = Vec::with_capacity(open.len());
        for (id, created_at) in open {
            let began = created_at.and_utc();
            let over = sessions::is_over(connection, shared, &id)?
                || cutoffs::is_there(connection, Some(user.as_str()), began)?
                || cutoffs::is_there(connection, None, began)?;
            if !over {
                counted.push((id, created_at));
            }
        }
        open = counted;
    }
    let too_many = (open.len() + 1).saturating_sub(most);
    if too_many > 0 && !limit.evicts {
        return Err(LedgerError::TooManySessions);
    }
    let keep_until = stored(limit.kept_after);
    for (id, _) in &open[..too_many] {
        let how = End { at, reason: REASON, by: None, user: Some(user.as_str()), keep_until };
        if family::end(connection, shared, id, &how)? {
            let event = NewEvent {
                at,
                action: Action::Evict,
                target: id,
                user: Some(user.as_str()),
                session: Some(id),
                reason: Some(REASON),
                actor: &limit.actor,
            };
            events::insert(connection, &event)?;
        }
    }
    Ok(too_many)
}

/// The sessions of a user that are open as far as their rows tell, the one first that was not used for the longest time.
fn recorded_open(
    connection: &mut AnyConnection,
    user: &UserKey,
    limit: &SessionLimit,
    at: DateTime<Utc>,
) -> QueryResult<Vec<(String, Stored)>> {
    let mut open = dsl::simplejwt_session
        .filter(dsl::user_id.eq(user.as_str()))
        .filter(dsl::ended_at.is_null())
        .filter(dsl::keep_until.gt(stored(limit.kept_after)))
        .filter(dsl::absolute_end.is_null().or(dsl::absolute_end.gt(stored(at))))
        .into_boxed();
    if let Some(used_after) = limit.used_after {
        open = open.filter(dsl::last_used_at.gt(stored(used_after)));
    }
    open.order((dsl::last_used_at, dsl::id)).select((dsl::id, dsl::created_at)).load(connection)
}
