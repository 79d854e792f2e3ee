//! Ending many tokens at once: a session, a user's other sessions, everything from before an instant.
//!
//! What makes them refused is one short transaction: the row of the session, or a cutoff, with its event. What follows is for
//! others: the rows of the sessions, which lists show, and a blacklist row for every recorded token that could still be used,
//! which is all that Django knows of. There may be hundreds of thousands, so that these are read in pages and written in batches.

mod blacklist;
mod cut_off;
mod sweep;

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use self::blacklist::blacklist;
pub(super) use self::blacklist::blacklist_all_of;
pub(super) use self::cut_off::until_now;
use self::sweep::rows;
pub use self::sweep::{Meant, Rows, Sweep};
use super::connection::AnyConnection;
use super::events::{self, Action, NewEvent, user_target};
use super::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_token};
use super::sessions::{self, End};
use super::shared::Shared;
use super::time::{earliest, stored};
use super::{Actor, Ledger, LedgerError, RevokeOutcome, UserKey, dialect};
use crate::token::SessionId;

/// A session to be ended.
#[derive(Clone, Debug)]
pub struct SessionEnding {
    /// Which.
    pub id: SessionId,
    /// Only if it is this user's.
    pub owner: Option<UserKey>,
    /// Until when it has to be known that it is over, where it is not recorded here.
    pub keep_until: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// Who does it.
    pub actor: Actor,
    /// Now.
    pub at: DateTime<Utc>,
}

/// A session that is over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionEnded {
    /// What was new.
    pub outcome: RevokeOutcome,
    /// How many recorded tokens of it came onto the blacklist.
    pub rows: u64,
}

/// The sessions of a user that are to be ended, but for one.
#[derive(Clone, Debug)]
pub struct OthersEnding {
    /// Whose.
    pub user: UserKey,
    /// The one that stays.
    pub keep: SessionId,
    /// Why.
    pub reason: String,
    /// Who does it.
    pub actor: Actor,
    /// Now.
    pub at: DateTime<Utc>,
}

/// The live tokens of a session that we recorded, and nobody has blacklisted.
fn own_rows(
    connection: &mut AnyConnection,
    shared: &Shared,
    session: SessionId,
    at: DateTime<Utc>,
) -> QueryResult<Vec<i64>> {
    simplejwt_token::table
        .inner_join(outstanding_tokens::table.on(shared.same_jti()))
        .left_join(blacklisted_tokens::table.on(blacklisted_tokens::token_id.eq(outstanding_tokens::id)))
        .filter(simplejwt_token::session_id.eq(session.to_string()))
        .filter(simplejwt_token::superseded_at.is_null())
        .filter(blacklisted_tokens::id.nullable().is_null())
        .filter(outstanding_tokens::expires_at.gt(stored(at)))
        .select(outstanding_tokens::id)
        .load(connection)
}

fn end_session(
    connection: &mut AnyConnection,
    shared: &Shared,
    ending: &SessionEnding,
) -> QueryResult<Option<SessionEnded>> {
    let SessionEnding { id, owner, keep_until, reason, actor, at } = ending;
    let (id, name) = (*id, id.to_string());
    dialect::lock_session(connection, &name)?;
    let was = sessions::find(connection, &name)?;
    if let Some(owner) = owner
        && was.as_ref().and_then(|was| was.user_id.as_deref()) != Some(owner.as_str())
    {
        return Ok(None);
    }
    let user = was.as_ref().and_then(|was| was.user_id.clone()).map(UserKey::from);
    let end = End { at: *at, reason, by: None, user: None, keep_until: stored(*keep_until) };
    // What is recorded is kept for as long as its tokens need it.
    let newly = match &was {
        Some(was) if was.ended_at.is_some() => false,
        Some(_) => sessions::end(connection, &name, &End { keep_until: earliest(), ..end })?,
        None => sessions::end(connection, &name, &end)?,
    };
    // Whoever restores the token that had ended it does not open it again.
    let more =
        was.as_ref().is_some_and(|was| was.ended_by.is_some()) && sessions::settle(connection, &name, reason)? > 0;
    if newly || more {
        let (user, session) = (user.as_ref().map(UserKey::as_str), Some(name.as_str()));
        let (action, reason) = (Action::EndSession, Some(reason.as_str()));
        events::insert(connection, &NewEvent { at: *at, action, target: &name, user, session, reason, actor })?;
    }
    let mut ids = own_rows(connection, shared, id, *at)?;
    if user.is_some() {
        let sweep = Sweep { user, meant: Meant::Session(id), at: *at };
        ids.extend(rows(connection, shared, &sweep, i64::MIN, i64::MAX)?.ids);
    }
    let outcome = match (was, newly) {
        (None, true) => RevokeOutcome::UnknownRecorded,
        (_, true) => RevokeOutcome::Newly,
        (_, false) => RevokeOutcome::Already,
    };
    Ok(Some(SessionEnded { outcome, rows: blacklist(connection, shared, &ids, *at)? }))
}

impl Ledger {
    /// Ends a session: all its tokens are refused from now on, and those that are recorded come onto the blacklist, also those
    /// that Django rotated. [`None`] if it is not the owner's. One that is not recorded here is recorded as ended.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_session_and_tokens(&self, ending: SessionEnding) -> Result<Option<SessionEnded>, LedgerError> {
        if ending.owner.as_ref().is_some_and(|owner| !owner.is_storable()) {
            return Ok(None);
        }
        let shared = self.shared().await?;
        self.write(move |connection| Ok(end_session(connection, &shared, &ending)?)).await
    }

    /// Ends every session of a user but one, and says how many were open.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_other_sessions(&self, ending: OthersEnding) -> Result<u64, LedgerError> {
        if !ending.user.is_storable() {
            return Ok(0);
        }
        self.write_long(move |connection| {
            let OthersEnding { user, keep, reason, actor, at } = &ending;
            let (keep, target) = (keep.to_string(), user_target(user));
            let ended = sessions::end_all_but(connection, user, Some(&keep), reason, *at)?;
            let event = NewEvent {
                at: *at,
                action: Action::EndSessions,
                target: &target,
                user: Some(user.as_str()),
                session: Some(&keep),
                reason: Some(reason),
                actor,
            };
            events::insert(connection, &event)?;
            Ok(ended)
        })
        .await
    }
}
