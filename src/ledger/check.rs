//! Whether a token is refused.

use chrono::{DateTime, Utc};
use diesel::dsl::{auto_type, exists};
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::connection::AnyConnection;
use super::dialect;
use super::log::is_forgotten;
use super::raw::Raw;
use super::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_revocation, simplejwt_token};
use super::sessions::{self, blacklisted_elsewhere, blacklisted_once, ended};
use super::shared::Shared;
use super::time::{Stored, stored};
use super::{Ledger, LedgerError, UserKey, blacklisted, cutoffs, outstanding, tokens};
use crate::token::{Jti, Presented, SessionId};

/// How a token stands in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// It is recorded here.
    pub known: bool,
    /// It is on the blacklist, whoever put it there and why ever.
    pub blacklisted: bool,
    /// It is refused for another reason than that a rotation replaced it.
    pub revoked: bool,
    /// A rotation replaced it.
    pub superseded: bool,
    /// Its session is over.
    pub session_ended: bool,
    /// Everything of its user, or of everybody, from before an instant is over, and so is it.
    pub cut_off: bool,
    /// Whose it is, as far as recorded.
    pub user: Option<UserKey>,
    /// Why its session ended, where its own row says so.
    pub session_ended_reason: Option<String>,
    /// When its session is over, however often it is refreshed, where that was set at the login.
    pub session_absolute_end: Option<DateTime<Utc>>,
    /// When its session was last used, if it is recorded.
    pub session_last_used_at: Option<DateTime<Utc>>,
}

impl Standing {
    /// Whether the token must be refused.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.blacklisted || self.superseded || self.session_ended || self.cut_off
    }

    /// The same, but for that a rotation replaced it: such a token may have grace.
    #[must_use]
    pub const fn is_refused_for_good(&self) -> bool {
        self.revoked || self.session_ended || self.cut_off
    }
}

/// The check of every request, in one statement: each `exists` is a look into an index, and SQLite stops at the first
/// that holds. The token's own facts count beside the blacklist, because Django deletes its rows at `exp`, which is
/// earlier than the moment from which the token is refused by itself.
fn is_refused(connection: &mut AnyConnection, shared: &Shared, asked: &Asked) -> QueryResult<bool> {
    let (jti, session) = (asked.jti.as_str(), asked.session.as_deref());
    let listed = blacklisted_tokens::table
        .inner_join(outstanding_tokens::table)
        .filter(outstanding_tokens::jti.eq(jti))
        .filter(shared.is_exactly(jti));
    let marked = simplejwt_token::table
        .filter(simplejwt_token::jti.eq(jti))
        .filter(simplejwt_token::superseded_at.is_not_null().or(simplejwt_token::revoked_at.is_not_null()));
    let gone = is_forgotten(connection);
    diesel::select(
        exists(listed)
            .or(exists(marked))
            .or(exists(ended(session)))
            .or(exists(blacklisted_elsewhere(shared.same_jti(), session)))
            .or(exists(forgotten(gone.clone(), jti)))
            .or(exists(blacklisted_once(gone, session)))
            .or(exists(cutoffs::of_everybody(asked.began_at)))
            .or(exists(cutoffs::of_user(asked.user.as_deref(), asked.began_at))),
    )
    .get_result(connection)
}

/// A token, by what is kept of it: its claims do not outlive the request that they came with.
struct Asked {
    jti: Jti,
    session: Option<String>,
    user: Option<String>,
    /// What cutoffs are compared with.
    began_at: Stored,
}

impl From<Presented<'_>> for Asked {
    fn from(token: Presented<'_>) -> Self {
        let began_at = DateTime::from_timestamp_millis(token.began_at_millis()).unwrap_or(DateTime::<Utc>::MIN_UTC);
        Self {
            jti: token.jti.clone(),
            session: token.session.map(|id| id.to_string()),
            // No cutoff is of a user whom the database cannot name.
            user: token.user.filter(|user| UserKey::from(*user).is_storable()).map(str::to_owned),
            began_at: stored(began_at),
        }
    }
}

/// What the log has of a token that Django blacklisted, and has deleted since.
#[auto_type]
#[expect(clippy::elidable_lifetime_names, reason = "the type that the attribute writes has to name it")]
fn forgotten<'a>(is_forgotten: Raw<Bool>, jti: &'a str) -> _ {
    simplejwt_revocation::table.filter(simplejwt_revocation::jti.eq(jti)).filter(is_forgotten)
}

fn standing(connection: &mut AnyConnection, shared: &Shared, asked: &Asked) -> QueryResult<Standing> {
    let (jti, session) = (&asked.jti, asked.session.clone());
    let row = outstanding::find(connection, shared, jti)?;
    let facts = tokens::find(connection, jti)?;
    let listed = match &row {
        Some(row) => blacklisted::contains(connection, row.id)?,
        None => {
            let gone = is_forgotten(connection);
            diesel::select(exists(forgotten(gone, jti.as_str()))).get_result(connection)?
        }
    };
    let known = row.is_some() || facts.is_some();
    let superseded = facts.as_ref().is_some_and(|facts| facts.superseded_at.is_some());
    let revoked = facts.as_ref().is_some_and(|facts| facts.revoked_at.is_some());
    let session = session.or_else(|| facts.and_then(|facts| facts.session_id));
    let session_ended = match &session {
        Some(session) => sessions::is_over(connection, shared, session)?,
        None => false,
    };
    let session = match &session {
        Some(session) => sessions::find(connection, session)?,
        None => None,
    };
    let session_absolute_end = session.as_ref().and_then(|state| state.absolute_end).map(|end| end.and_utc());
    let session_last_used_at = session.as_ref().map(|state| state.last_used_at.and_utc());
    let user = match row.and_then(|row| row.user_id) {
        Some(text) => Some(shared.key(text)),
        None => session.as_ref().and_then(|state| state.user_id.clone()).map(UserKey::from),
    };
    let session_ended_reason = session.and_then(|state| state.ended_reason);
    let cut_off = diesel::select(
        exists(cutoffs::of_everybody(asked.began_at))
            .or(exists(cutoffs::of_user(asked.user.as_deref(), asked.began_at))),
    )
    .get_result(connection)?;
    Ok(Standing {
        known,
        blacklisted: listed || revoked,
        revoked: revoked || (listed && !superseded),
        superseded,
        session_ended,
        cut_off,
        user,
        session_ended_reason,
        session_absolute_end,
        session_last_used_at,
    })
}

impl Ledger {
    /// Whether a token must be refused: it is blacklisted, or its session is over, or a cutoff is not before its beginning. A
    /// session is also over when Django or a line of SQL blacklisted a token of it.
    ///
    /// # Errors
    ///
    /// When the database does not answer. That is never "no".
    pub async fn is_refused(&self, token: Presented<'_>) -> Result<bool, LedgerError> {
        let asked = Asked::from(token);
        let shared = self.shared().await?;
        self.run(move |connection| Ok(is_refused(connection, &shared, &asked)?)).await
    }

    /// Until when a session is kept in mind, if it is on record: none of its tokens lives longer.
    pub(crate) async fn session_kept_until(&self, id: SessionId) -> Result<Option<DateTime<Utc>>, LedgerError> {
        use super::schema::simplejwt_session::dsl;
        let name = id.to_string();
        self.run(move |connection| {
            let kept: Option<Stored> =
                dsl::simplejwt_session.find(name).select(dsl::keep_until).first(connection).optional()?;
            Ok(kept.map(Stored::and_utc))
        })
        .await
    }

    /// How a token stands, in detail. Without a session, the one that is recorded of the token counts.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn standing(&self, token: Presented<'_>) -> Result<Standing, LedgerError> {
        let asked = Asked::from(token);
        let shared = self.shared().await?;
        self.run(move |connection| {
            Ok(dialect::snapshot(connection, |connection| standing(connection, &shared, &asked))?)
        })
        .await
    }
}
