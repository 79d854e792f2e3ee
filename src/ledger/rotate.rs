//! Replacing a refresh token by its successor. Of all who try it with the same token, one wins.

use chrono::{DateTime, Utc};

use super::again::{self, Grace, Reuse, Successor};
use super::connection::AnyConnection;
use super::dialect::Transaction;
use super::outstanding::{self, NewOutstanding};
use super::shared::Shared;
use super::tokens::{self, NewFacts};
use super::{Actor, Ledger, LedgerError, NewRecord, UserKey, blacklisted, dialect, record, sessions};
use crate::token::{Jti, SessionId, TokenKind};

/// A refresh token to be replaced.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The token that was presented.
    pub old: Jti,
    /// Its session.
    pub old_session: Option<SessionId>,
    /// When it expires.
    pub old_expires_at: DateTime<Utc>,
    /// Whose it is.
    pub old_user: Option<UserKey>,
    /// Until when it has to be known that it was replaced.
    pub old_keep_until: DateTime<Utc>,
    /// Whether a token that the ledger does not know may be replaced.
    pub accept_unknown: bool,
    /// Whether the old token is refused from now on.
    pub blacklist_old: bool,
    /// Its successor.
    pub new: NewRecord,
    /// The access token that goes with it, where those are recorded.
    pub access: Option<NewRecord>,
    /// Whether the old token gets the same successor again, if it was replaced already.
    pub grace: Grace,
    /// Until when the session has to be known: longer than its tokens, since an access token may outlive them.
    pub session_keep_until: DateTime<Utc>,
    /// Who presented it.
    pub actor: Actor,
    /// Now.
    pub at: DateTime<Utc>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The successor is recorded.
    Done,
    /// The old token was replaced before, by this one, which is to be given once more.
    Again(Box<Successor>),
    /// The old token was replaced before, and has no grace: its session is over from now on.
    Reused(Reuse),
    /// The ledger does not know the old token. Nothing was changed.
    Unknown,
    /// The old token was revoked before, or reused. Nothing was changed.
    Blacklisted,
    /// The session of the old token is over. Nothing was changed.
    SessionEnded,
}

/// Why a rotation is rolled back.
enum Undo {
    Because(Rotated),
    Failed(LedgerError),
}

impl<E: Into<LedgerError>> From<E> for Undo {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Transaction for Undo {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_conflict())
    }
}

fn rotate(connection: &mut AnyConnection, shared: &Shared, rotation: &Rotation) -> Result<Rotated, Undo> {
    let row = outstanding::find(connection, shared, &rotation.old)?;
    let facts = tokens::find(connection, &rotation.old)?;
    if row.is_none() && facts.is_none() && !rotation.accept_unknown {
        return Err(Undo::Because(Rotated::Unknown));
    }
    let recorded = facts.as_ref().and_then(|facts| facts.session_id.clone());
    let session = rotation.old_session.map(|id| id.to_string()).or(recorded);
    let session = session.as_deref();
    if facts.as_ref().is_some_and(|facts| facts.superseded_at.is_some()) {
        return presented_again(connection, shared, rotation, session);
    }
    let revoked = facts.is_some_and(|facts| facts.revoked_at.is_some());
    let listed = match &row {
        Some(row) => blacklisted::contains(connection, row.id)?,
        None => false,
    };
    // Listed, it may have been replaced this very moment.
    if revoked || listed {
        return presented_again(connection, shared, rotation, session);
    }
    if let Some(session) = session
        && sessions::is_over(connection, shared, session)?
    {
        return Err(Undo::Because(Rotated::SessionEnded));
    }
    if rotation.blacklist_old && !supersede(connection, shared, rotation)? {
        return presented_again(connection, shared, rotation, session);
    }
    for new in rotation.access.iter().chain([&rotation.new]) {
        record::record(connection, shared, new)?;
    }
    if let Some(session) = session {
        // Whoever ends the session from here on finds the successor.
        dialect::lock_session(connection, session)?;
        if sessions::find(connection, session)?.is_some_and(|session| session.ended_at.is_some()) {
            return Err(Undo::Because(Rotated::SessionEnded));
        }
        sessions::touch(connection, session, rotation.at, rotation.session_keep_until)?;
    }
    Ok(Rotated::Done)
}

/// What becomes of a token that is not good any more.
fn presented_again(
    connection: &mut AnyConnection,
    shared: &Shared,
    rotation: &Rotation,
    session: Option<&str>,
) -> Result<Rotated, Undo> {
    match again::presented(connection, shared, rotation, session)? {
        Some(done @ (Rotated::Again(_) | Rotated::Reused(_))) => Ok(done),
        Some(refused) => Err(Undo::Because(refused)),
        None => Err(Undo::Because(Rotated::Blacklisted)),
    }
}

/// Takes the old token out of use, and says whether it was in use until now. Two statements decide, not the reading before them:
/// the mark says whether somebody else replaced or revoked it meanwhile, and the blacklist whether Django did.
fn supersede(connection: &mut AnyConnection, shared: &Shared, rotation: &Rotation) -> Result<bool, Undo> {
    let Rotation { old: jti, old_expires_at: expires_at, at, .. } = rotation;
    let facts = NewFacts::new(jti, Some(TokenKind::Refresh), rotation.old_session, rotation.old_keep_until);
    tokens::obtain(connection, jti, &facts)?;
    let user = rotation.old_user.as_ref();
    let new = NewOutstanding { jti, user, created_at: *at, expires_at: *expires_at };
    let row = outstanding::obtain(connection, shared, new)?;
    if !tokens::supersede(connection, jti, &rotation.new.jti, *at)? {
        return Ok(false);
    }
    if blacklisted::add(connection, row.id, *at)? { Ok(true) } else { Err(Undo::Because(Rotated::Blacklisted)) }
}

impl Ledger {
    /// Replaces a refresh token by its successor, unless it was revoked or its session is over. One that was replaced before gets
    /// the same successor again, or ends its session: see [`Grace`]. All of it is done, or nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Duplicate`] if the successor's jti is known; otherwise when the database does not answer.
    pub async fn rotate(&self, rotation: Rotation) -> Result<Rotated, LedgerError> {
        let (patience, shared) = (self.pool.patience(), self.shared().await?);
        let work = move |connection: &mut AnyConnection| {
            let done = dialect::write(connection, patience, |connection| rotate(connection, &shared, &rotation));
            match done {
                Ok(done) | Err(Undo::Because(done)) => Ok(done),
                Err(Undo::Failed(error)) => Err(error),
            }
        };
        self.pool.lend(true, self.pool.deadline(), work).await
    }
}
