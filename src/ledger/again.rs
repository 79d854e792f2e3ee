//! A token that a rotation replaced, presented again: by a client that lost the answer, or by a thief.
//!
//! | | within the grace | later |
//! |---|---|---|
//! | its successor was not used yet | the same successor again | reuse, [`Recent`](Reuse::Recent) |
//! | its successor was used | reuse, [`AfterUse`](Reuse::AfterUse) | reuse, [`Stale`](Reuse::Stale) |

use chrono::{DateTime, TimeDelta, Utc};

use super::connection::AnyConnection;
use super::events::{self, Action, NewEvent};
use super::rotate::{Rotated, Rotation};
use super::sessions::{self, End};
use super::shared::Shared;
use super::time::stored;
use super::tokens;
use super::{LedgerError, UserKey, blacklisted, dialect, family, outstanding, record};
use crate::token::Jti;

/// How long a token that was replaced gets its successor again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grace {
    /// Counted from the rotation, and from nothing later. Zero: never.
    pub lasts: TimeDelta,
    /// However long it takes, until its successor is used.
    pub until_used: bool,
}

/// A token that a rotation gave and nobody has used yet, as it is recorded. Its claims are those of the one that would have been
/// given now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// Its identity.
    pub jti: Jti,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

/// What it looks like when a token is presented again that has no grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Its successor was not used, but the grace is over: a client that was late, or a thief who was first.
    Recent,
    /// Within the grace, but its successor was used: two that think they are the only one.
    AfterUse,
    /// Long after: an old token from a log, a backup or a thief.
    Stale,
}

impl Reuse {
    /// The word for it in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recent => "recent",
            Self::AfterUse => "after_use",
            Self::Stale => "stale",
        }
    }
}

/// Why a session is over of which a token was used twice.
const REASON: &str = "refresh token reused";

/// What becomes of a token that may have been replaced, in the transaction that presents it again. [`None`]: it was not.
pub(super) fn presented(
    connection: &mut AnyConnection,
    shared: &Shared,
    rotation: &Rotation,
    session: Option<&str>,
) -> Result<Option<Rotated>, LedgerError> {
    let Rotation { old, at, grace, .. } = rotation;
    // One after the other: whoever ends the session here does it for all who come later, and retries can be counted.
    dialect::lock_token(connection, old)?;
    let Some(facts) = tokens::find(connection, old)? else { return Ok(None) };
    let Some(since) = facts.superseded_at.map(|since| since.and_utc()) else { return Ok(None) };
    // Somebody revoked it: never any grace.
    if facts.revoked_at.is_some() {
        return Ok(Some(Rotated::Blacklisted));
    }
    if let Some(session) = session
        && sessions::is_over(connection, shared, session)?
    {
        return Ok(Some(Rotated::SessionEnded));
    }
    let in_time = grace.lasts > TimeDelta::zero() && *at - since < grace.lasts;
    let reuse = match unused(connection, shared, rotation)? {
        Some(successor) if in_time || grace.until_used => {
            retry(connection, shared, rotation, session)?;
            return Ok(Some(Rotated::Again(Box::new(successor))));
        }
        Some(_) => Reuse::Recent,
        None if in_time => Reuse::AfterUse,
        None => Reuse::Stale,
    };
    Ok(Some(end(connection, shared, rotation, session, reuse)?))
}

/// The successor of a token, unless it was used or refused, is past its time, or says something else than one would that is given
/// now: then it is another token that was presented, under the same name.
fn unused(
    connection: &mut AnyConnection,
    shared: &Shared,
    rotation: &Rotation,
) -> Result<Option<Successor>, LedgerError> {
    let Some(jti) = tokens::successor(connection, &rotation.old)? else { return Ok(None) };
    let (row, facts) = (outstanding::find(connection, shared, &jti)?, tokens::find(connection, &jti)?);
    let (Some(row), Some(facts)) = (row, facts) else { return Ok(None) };
    if facts.superseded_at.is_some() || facts.revoked_at.is_some() || blacklisted::contains(connection, row.id)? {
        return Ok(None);
    }
    let created_at = outstanding::created_at(connection, row.id)?;
    let (Some(created_at), Some(expires_at)) = (created_at, row.expires_at.instant()) else { return Ok(None) };
    let same = tokens::claims(connection, &jti)? == Some(record::claims_text(&rotation.new));
    Ok((same && rotation.at < expires_at).then_some(Successor { jti, created_at, expires_at }))
}

/// Notes that a successor is given again.
fn retry(
    connection: &mut AnyConnection,
    shared: &Shared,
    rotation: &Rotation,
    session: Option<&str>,
) -> Result<(), LedgerError> {
    if let Some(access) = &rotation.access {
        record::record(connection, shared, access)?;
    }
    if let Some(session) = session {
        // Nothing of it lives longer for that: its newest refresh token is the same.
        sessions::touch(connection, session, rotation.at, rotation.at)?;
    }
    events::count(connection, &event(rotation, session, Action::RefreshRetry, None))?;
    Ok(())
}

/// Ends what descends from a login of which a token was used twice.
fn end(
    connection: &mut AnyConnection,
    shared: &Shared,
    rotation: &Rotation,
    session: Option<&str>,
    reuse: Reuse,
) -> Result<Rotated, LedgerError> {
    let (at, user) = (rotation.at, rotation.old_user.as_ref().map(UserKey::as_str));
    let ended = match session {
        Some(session) => {
            let keep_until = stored(rotation.session_keep_until);
            family::end(connection, shared, session, &End { at, reason: REASON, by: None, user, keep_until })?
        }
        None => family::refuse_line(connection, shared, &rotation.old, at)?,
    };
    if ended {
        let subtype = Some(reuse.as_str());
        events::insert(connection, &event(rotation, session, Action::Reuse, subtype))?;
        Ok(Rotated::Reused(reuse))
    } else {
        Ok(Rotated::Blacklisted)
    }
}

fn event<'a>(
    rotation: &'a Rotation,
    session: Option<&'a str>,
    action: Action,
    reason: Option<&'a str>,
) -> NewEvent<'a> {
    let user = rotation.old_user.as_ref().filter(|user| user.is_storable()).map(UserKey::as_str);
    NewEvent { at: rotation.at, action, target: rotation.old.as_str(), user, session, reason, actor: &rotation.actor }
}
