//! Revoking: the only way to blacklist a token.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::dialect;
use super::events::{self, Action, NewEvent};
use super::outstanding::{self, NewOutstanding};
use super::sessions::{self, End};
use super::shared::Shared;
use super::time::stored;
use super::tokens::{self, Facts, NewFacts};
use super::{Actor, Ledger, LedgerError, UserKey, blacklisted};
#[cfg(feature = "mutants")]
use crate::mutant::{self, Mutant};
use crate::token::{Jti, SessionId, TokenKind};

/// Tokens to be revoked together: all of them, or none.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The tokens.
    pub items: Vec<RevokeItem>,
    /// Why.
    pub reason: Option<String>,
    /// Who does it.
    pub actor: Actor,
    /// Whether the sessions of the refresh and sliding tokens among them end too. That of a token which a rotation
    /// replaced ends in any case: it is its successor that is meant.
    pub ends_session: bool,
    /// Now.
    pub at: DateTime<Utc>,
}

/// A token to be revoked.
#[derive(Clone, Debug)]
pub struct RevokeItem {
    /// Its identity.
    pub jti: Jti,
    /// What it is for, if that is known.
    pub kind: Option<TokenKind>,
    /// Its session, if that is known.
    pub session: Option<SessionId>,
    /// Whose it is, if that is known.
    pub user: Option<UserKey>,
    /// When it expires. Counts only where no outstanding row says so.
    pub expires_at: DateTime<Utc>,
    /// Until when it has to be refused at least.
    pub keep_until: DateTime<Utc>,
    /// Until when it has to be known that its session ended: an access token of it may outlive it.
    pub session_keep_until: DateTime<Utc>,
    /// Whether a verified token stood behind all this, and not only somebody's word.
    pub token_known: bool,
}

/// A token that is revoked now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoked {
    /// Its identity.
    pub jti: Jti,
    /// What was new.
    pub outcome: RevokeOutcome,
    /// Whether its session was open, and ended with it.
    pub session_ended: bool,
    /// When the token expires, as far as the ledger knows.
    pub expires_at: DateTime<Utc>,
}

/// What a revocation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeOutcome {
    /// The token is refused from now on.
    Newly,
    /// It was refused before: revoked, or replaced in a rotation.
    Already,
    /// Nobody here knew a token of that name. If there ever is one, it is refused.
    UnknownRecorded,
}

/// Fewer tokens than this are revoked within the usual time.
const FEW: usize = 100;

/// What is known of a token, which nobody else can change now.
fn locked(connection: &mut AnyConnection, jti: &Jti) -> QueryResult<Option<Facts>> {
    dialect::lock_token(connection, jti)?;
    tokens::find(connection, jti)
}

pub(super) fn revoke(
    connection: &mut AnyConnection,
    shared: &Shared,
    item: &RevokeItem,
    order: &Revocation,
) -> Result<Revoked, LedgerError> {
    let RevokeItem { jti, user, expires_at, .. } = item;
    let at = order.at;
    let found = outstanding::find(connection, shared, jti)?;
    let recorded = found.is_some() || tokens::find(connection, jti)?.is_some();
    let new = NewOutstanding { jti, user: user.as_ref(), created_at: at, expires_at: *expires_at };
    let row = match found {
        Some(row) => row,
        None => outstanding::obtain(connection, shared, new)?,
    };
    let mut facts = match locked(connection, jti)? {
        Some(facts) => facts,
        None => {
            tokens::obtain(connection, jti, &NewFacts::new(jti, item.kind, item.session, item.keep_until))?;
            locked(connection, jti)?.ok_or(LedgerError::Conflict)?
        }
    };

    let listed = !blacklisted::add(connection, row.id, at)?;
    let superseded = facts.superseded_at.is_some();
    let elsewhere = listed && !superseded && facts.revoked_at.is_none();
    let newly = !listed && !superseded && facts.revoked_at.is_none();

    // The row is there; that it means more now, or for longer, has to be said.
    let means_more = listed && (facts.revoked_at.is_none() || facts.keep_until < stored(item.keep_until));

    // What a verified token says completes what was recorded, and never replaces it.
    facts.kind = facts.kind.or_else(|| item.kind.map(|kind| kind.as_str().to_owned()));
    facts.session_id = facts.session_id.or_else(|| item.session.map(|id| id.to_string()));
    facts.keep_until = facts.keep_until.max(stored(item.keep_until));
    tokens::mark_revoked(connection, jti, &facts, facts.revoked_at.unwrap_or_else(|| stored(at)))?;
    if means_more {
        blacklisted::announce(connection, row.id)?;
    }

    let user = match row.user_id {
        Some(text) => Some(shared.key(text)),
        None => item.user.clone(),
    };
    let user = user.as_ref().filter(|user| user.is_storable()).map(UserKey::as_str);
    // A session that a row of Django's had ended stays so: that row counts as ours from now on.
    let ends = order.ends_session || superseded || elsewhere;
    let ends = ends && facts.kind.as_deref() != Some(TokenKind::Access.as_str());
    let reason = order.reason.as_deref();
    let session_ended = match &facts.session_id {
        Some(session) if ends => {
            let reason = reason.unwrap_or("token blacklisted");
            let keep_until = facts.keep_until.max(stored(item.session_keep_until));
            let end = End { at, reason, by: Some(jti.as_str()), user, keep_until };
            sessions::end(connection, session, &end)?
        }
        _ => false,
    };
    if newly || session_ended {
        let (action, target, session) = (Action::Blacklist, jti.as_str(), facts.session_id.as_deref());
        let event = NewEvent { at, action, target, user, session, reason, actor: &order.actor };
        events::insert(connection, &event)?;
    }
    let outcome = match (newly, recorded || item.token_known) {
        (true, true) => RevokeOutcome::Newly,
        (true, false) => RevokeOutcome::UnknownRecorded,
        (false, _) => RevokeOutcome::Already,
    };
    let expires_at = row.expires_at.instant().unwrap_or(*expires_at);
    Ok(Revoked { jti: jti.clone(), outcome, session_ended, expires_at })
}

/// Revokes all the tokens of an order.
pub(super) fn all(
    connection: &mut AnyConnection,
    shared: &Shared,
    order: &Revocation,
) -> Result<Vec<Revoked>, LedgerError> {
    order.items.iter().map(|item| revoke(connection, shared, item, order)).collect()
}

impl Ledger {
    /// Revokes tokens, whether or not they are recorded here, and ends their sessions. Repeating it is no error. When
    /// this returns, the tokens are refused, and stay so through any crash.
    ///
    /// # Errors
    ///
    /// When the database does not answer; then none of the tokens is revoked, or it is unknown whether all are
    /// ([`LedgerError::Timeout`]).
    pub async fn revoke(&self, revocation: Revocation) -> Result<Vec<Revoked>, LedgerError> {
        #[cfg(feature = "mutants")]
        let early = mutant::is(Mutant::AnswerBeforeCommit);
        #[cfg(not(feature = "mutants"))]
        let early = false;
        if revocation.items.len() <= FEW && !early {
            return self.revoke_in_group(revocation).await;
        }
        let shared = self.shared().await?;
        let work = move |connection: &mut AnyConnection| all(connection, &shared, &revocation);
        #[cfg(feature = "mutants")]
        if early {
            return self.answered_early(work).await;
        }
        self.write_long(work).await
    }

    /// Says what a transaction did before it is committed.
    #[cfg(feature = "mutants")]
    async fn answered_early(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<Vec<Revoked>, LedgerError> + Send + 'static,
    ) -> Result<Vec<Revoked>, LedgerError> {
        let (answer, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let ledger = self.clone();
        let work = move |connection: &mut AnyConnection| {
            let done = work(connection);
            drop(done.as_ref().map(|done| answer.send(done.clone())));
            done
        };
        let committed = tokio::spawn(async move { ledger.write_long(work).await });
        match answered.recv().await {
            Some(done) => Ok(done),
            None => committed.await.map_err(|_| LedgerError::Aborted)?,
        }
    }
}
