//! Undoing a revocation, together with the end of the session that it caused.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SubsecRound, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::events::{self, Action, NewEvent};
use super::outstanding::Known;
use super::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_event, simplejwt_token};
use super::shared::Shared;
use super::time::Foreign;
use super::{Actor, Ledger, LedgerError, UserKey, blacklisted, cutoffs, dialect, outstanding, sessions, tokens};
use crate::token::{Jti, SessionId, TokenKind};

/// Tokens to be taken off the blacklist.
#[derive(Clone, Debug)]
pub struct Restoration {
    /// The tokens.
    pub jtis: Vec<Jti>,
    /// Who does it.
    pub actor: Actor,
    /// Why.
    pub reason: Option<String>,
    /// Now.
    pub at: DateTime<Utc>,
}

/// What became of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Its identity.
    pub jti: Jti,
    /// What was done.
    pub outcome: RestoreOutcome,
}

/// What was done, or why nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// It is off the blacklist.
    Restored {
        /// Whether its session was over because of it, and is open again.
        session_reopened: bool,
    },
    /// It was not on the blacklist.
    NotBlacklisted,
    /// The ledger does not know it.
    Unknown,
    /// A rotation replaced it. Its successor is the one to use.
    Superseded,
    /// Everything from before an instant is refused, and so would it be.
    CutOff,
    /// Its session ended for another reason, so that it would be refused all the same.
    SessionEndedOtherwise {
        /// That reason.
        reason: String,
    },
}

/// Those of some tokens that were revoked for this reason, the last time that they were.
fn revoked_for(connection: &mut AnyConnection, jtis: &[Jti], reason: &str) -> QueryResult<HashSet<String>> {
    let mut found = HashSet::new();
    for jtis in jtis.chunks(500) {
        let names: Vec<_> = jtis.iter().map(Jti::as_str).collect();
        let said: Vec<(String, Option<String>)> = simplejwt_event::table
            .filter(simplejwt_event::target.eq_any(names))
            .filter(simplejwt_event::action.eq(Action::Blacklist.as_str()))
            .order(simplejwt_event::id)
            .select((simplejwt_event::target, simplejwt_event::reason))
            .load(connection)?;
        let last: HashMap<_, _> = said.into_iter().collect();
        found.extend(last.into_iter().filter(|(_, said)| said.as_deref() == Some(reason)).map(|(target, _)| target));
    }
    Ok(found)
}

/// The other tokens of the session whose revocation keeps it over. Those that a rotation replaced are none: they stay
/// refused for ever, so that the end of a session which they caused is not to be undone.
fn others_revoked(
    connection: &mut AnyConnection,
    shared: &Shared,
    session: &str,
    jti: &Jti,
) -> QueryResult<Vec<String>> {
    let listed = outstanding_tokens::table.inner_join(blacklisted_tokens::table).filter(shared.same_jti());
    simplejwt_token::table
        .filter(simplejwt_token::session_id.eq(session))
        .filter(simplejwt_token::jti.ne(jti.as_str()))
        .filter(simplejwt_token::superseded_at.is_null())
        .filter(simplejwt_token::kind.is_null().or(simplejwt_token::kind.ne(TokenKind::Access.as_str())))
        .filter(simplejwt_token::revoked_at.is_not_null().or(exists(listed)))
        .select(simplejwt_token::jti)
        .load(connection)
}

/// Why a token without a session stays refused.
const PARENT_REVOKED: &str = "the token that it replaced was reused or revoked";

/// Whether a cutoff refuses a token, as far as its record tells when it began and whose it is.
fn is_cut_off(
    connection: &mut AnyConnection,
    shared: &Shared,
    row: Option<&Known>,
    session: Option<&str>,
) -> QueryResult<bool> {
    let session = session.and_then(|session| session.parse::<SessionId>().ok()?.started_at_millis());
    let began = match (session.and_then(DateTime::from_timestamp_millis), row) {
        (Some(began), _) => Some(began),
        (None, Some(row)) => {
            let row = outstanding_tokens::table.find(row.id).select(outstanding_tokens::created_at);
            let created_at: Option<Foreign> = row.first(connection)?;
            // Its `iat` has whole seconds.
            created_at.and_then(Foreign::instant).map(|at| at.trunc_subsecs(0))
        }
        (None, None) => None,
    };
    let Some(began) = began else { return Ok(false) };
    let user = row.and_then(|row| row.user_id.clone()).map(|text| shared.key(text));
    let of_user = match user.as_ref().filter(|user| user.is_storable()) {
        Some(user) => cutoffs::is_there(connection, Some(user.as_str()), began)?,
        None => false,
    };
    Ok(of_user || cutoffs::is_there(connection, None, began)?)
}

fn restore(
    connection: &mut AnyConnection,
    shared: &Shared,
    jti: &Jti,
    order: &Restoration,
) -> Result<RestoreOutcome, LedgerError> {
    dialect::lock_token(connection, jti)?;
    let row = outstanding::find(connection, shared, jti)?;
    let facts = tokens::find(connection, jti)?;
    if row.is_none() && facts.is_none() {
        return Ok(RestoreOutcome::Unknown);
    }
    if facts.as_ref().is_some_and(|facts| facts.superseded_at.is_some()) {
        return Ok(RestoreOutcome::Superseded);
    }
    let listed = match &row {
        Some(row) => blacklisted::contains(connection, row.id)?,
        None => false,
    };
    if !listed && facts.as_ref().is_none_or(|facts| facts.revoked_at.is_none()) {
        return Ok(RestoreOutcome::NotBlacklisted);
    }
    let session = facts.and_then(|facts| facts.session_id);
    if session.is_none()
        && let Some(parent) = tokens::parent(connection, jti)?
        && tokens::find(connection, &parent)?.is_some_and(|parent| parent.revoked_at.is_some())
    {
        // It was used after it was replaced, or revoked then: what it became is refused for good.
        return Ok(RestoreOutcome::SessionEndedOtherwise { reason: PARENT_REVOKED.to_owned() });
    }
    if is_cut_off(connection, shared, row.as_ref(), session.as_deref())? {
        return Ok(RestoreOutcome::CutOff);
    }
    let mut session_reopened = false;
    if let Some(session) = &session {
        dialect::lock_session(connection, session)?;
        let others = others_revoked(connection, shared, session, jti)?;
        match sessions::find(connection, session)?.filter(|state| state.ended_at.is_some()) {
            // Over because of this token: over because of another from now on, or open again.
            Some(state) if state.ended_by.as_deref() == Some(jti.as_str()) => {
                sessions::attribute(connection, session, others.iter().min().map(String::as_str))?;
                session_reopened = others.is_empty();
            }
            // Over because of another already.
            Some(state) if state.ended_by.as_ref().is_some_and(|by| others.contains(by)) => {}
            Some(state) => {
                let reason = state.ended_reason.unwrap_or_else(|| "unknown".to_owned());
                return Ok(RestoreOutcome::SessionEndedOtherwise { reason });
            }
            // Over only because the blacklist says so of a token, or not over at all.
            None => session_reopened = others.is_empty() && sessions::is_over(connection, shared, session)?,
        }
    }
    if let Some(row) = &row
        && !blacklisted::remove(connection, row.id)?
    {
        // Somebody else deleted it before, and it was refused all the same. That this is over now, others hear of the row alone.
        blacklisted::add(connection, row.id, order.at)?;
        blacklisted::remove(connection, row.id)?;
    }
    tokens::clear_revoked(connection, jti)?;
    let user = row.and_then(|row| row.user_id).map(|text| shared.key(text)).filter(UserKey::is_storable);
    let event = NewEvent {
        at: order.at,
        action: Action::Unblacklist,
        target: jti.as_str(),
        user: user.as_ref().map(UserKey::as_str),
        session: session.as_deref(),
        reason: order.reason.as_deref(),
        actor: &order.actor,
    };
    events::insert(connection, &event)?;
    Ok(RestoreOutcome::Restored { session_reopened })
}

impl Ledger {
    /// Writes down that these tokens, which were refused already, were revoked once more, as far as that was for a reason which
    /// whoever gave it may take back.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn insist(
        &self,
        jtis: Vec<Jti>,
        undoable: &'static str,
        reason: Option<String>,
        actor: Actor,
        at: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        let asked = jtis.clone();
        let undoable = self.run(move |connection| Ok(revoked_for(connection, &asked, undoable)?)).await?;
        if undoable.is_empty() {
            return Ok(());
        }
        self.write(move |connection| {
            for jti in jtis.iter().filter(|jti| undoable.contains(jti.as_str())) {
                let (action, target, reason) = (Action::Blacklist, jti.as_str(), reason.as_deref());
                let event = NewEvent { at, action, target, user: None, session: None, reason, actor: &actor };
                events::insert(connection, &event)?;
            }
            Ok(())
        })
        .await
    }

    /// Takes tokens off the blacklist, and opens their sessions again where only they had ended them. One that cannot
    /// be restored does not hinder the others.
    ///
    /// # Errors
    ///
    /// When the database does not answer; then none is restored, or it is unknown whether they are
    /// ([`LedgerError::Timeout`]).
    pub async fn restore(&self, restoration: Restoration) -> Result<Vec<Restored>, LedgerError> {
        let shared = self.shared().await?;
        self.write(move |connection| {
            let restore = |jti: &Jti| {
                restore(connection, &shared, jti, &restoration).map(|outcome| Restored { jti: jti.clone(), outcome })
            };
            restoration.jtis.iter().map(restore).collect()
        })
        .await
    }
}
