//! Recording a token: its outstanding row, and what is known of it beside.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::connection::AnyConnection;
use super::outstanding::{self, NewOutstanding};
use super::shared::Shared;
use super::tokens::{self, NewFacts};
use super::{Ledger, LedgerError, NewSession, UserKey, dialect, room, sessions};
use crate::token::{Jti, SessionId, TokenKind};

/// A token to record.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// Its identity.
    pub jti: Jti,
    /// What it is for.
    pub kind: TokenKind,
    /// The login that it descends from.
    pub session: Option<SessionId>,
    /// The token that it replaces.
    pub parent: Option<Jti>,
    /// Whose it is.
    pub user: Option<UserKey>,
    /// When it is issued.
    pub created_at: DateTime<Utc>,
    /// When it expires; of a sliding token, its `refresh_exp`.
    pub expires_at: DateTime<Utc>,
    /// What is needed to mint it again: the user claim and the custom ones.
    pub claims: Map<String, Value>,
    /// Until when it has to be known if it is refused.
    pub keep_until: DateTime<Utc>,
}

/// The claims of a token as they are stored.
pub(super) fn claims_text(new: &NewRecord) -> String {
    Value::Object(new.claims.clone()).to_string()
}

/// Records a token; fails if its jti is known.
pub(super) fn record(connection: &mut AnyConnection, shared: &Shared, new: &NewRecord) -> Result<(), LedgerError> {
    let NewRecord { jti, created_at, expires_at, keep_until, .. } = new;
    let row = NewOutstanding { jti, user: new.user.as_ref(), created_at: *created_at, expires_at: *expires_at };
    outstanding::insert(connection, shared, row)?;
    let mut facts = NewFacts::new(jti, Some(new.kind), new.session, *keep_until);
    facts.parent = new.parent.as_ref().map(Jti::as_str);
    facts.claims = Some(claims_text(new));
    tokens::insert(connection, &facts)?;
    if let Some(session) = new.session {
        sessions::touch(connection, &session.to_string(), *created_at, *keep_until)?;
    }
    Ok(())
}

impl Ledger {
    /// Records a login with its first token, and says how many other sessions of the user ended to make room for it.
    ///
    /// # Errors
    ///
    /// [`LedgerError::TooManySessions`] if there is no room and none is made; [`LedgerError::UserChanged`] if the user is not any more as the login saw it; [`LedgerError::UserKey`] if no session of
    /// that user could be found again; [`LedgerError::Duplicate`] if the session or the jti is known; otherwise when the
    /// database does not answer.
    pub async fn record_login(&self, session: NewSession, token: NewRecord) -> Result<usize, LedgerError> {
        if session.user.as_ref().is_some_and(|user| !user.is_storable()) {
            return Err(LedgerError::UserKey);
        }
        let login = session.user.as_ref().filter(|_| session.limit.is_some()).map(room::login_of);
        let shared = self.shared().await?;
        let patience = self.pool.patience();
        let record = move |connection: &mut AnyConnection| {
            if let Some(witness) = &session.witness
                && !sessions::holds(connection, witness)?
            {
                return Err(LedgerError::UserChanged);
            }
            let ended = match (&session.limit, &session.user) {
                (Some(limit), Some(user)) => room::make(connection, &shared, user, limit, session.created_at)?,
                _ => 0,
            };
            sessions::insert(connection, &session)?;
            record(connection, &shared, &token)?;
            Ok(ended)
        };
        let Some(login) = login else { return self.write(record).await };
        // Before the transaction, and until it is committed: who counts has to see what the one before has recorded.
        let alone = move |connection: &mut AnyConnection| {
            dialect::alone(connection, login, |connection| dialect::write(connection, patience, record))
        };
        self.pool.lend(true, self.pool.deadline(), alone).await
    }

    /// Records a token, and keeps its session as long as the token lives.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Duplicate`] if the jti is known; otherwise when the database does not answer.
    pub async fn record(&self, token: NewRecord) -> Result<(), LedgerError> {
        let shared = self.shared().await?;
        self.write(move |connection| record(connection, &shared, &token)).await
    }
}
