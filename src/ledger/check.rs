//! Whether a token is refused.

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
use super::{Ledger, LedgerError, UserKey, blacklisted, outstanding, tokens};
use crate::token::{Jti, SessionId};

/// How a token stands in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// It is recorded here.
    pub known: bool,
    /// It is on the blacklist, whoever put it there and why ever.
    pub blacklisted: bool,
    /// A rotation replaced it.
    pub superseded: bool,
    /// Its session is over.
    pub session_ended: bool,
    /// Whose it is, as far as recorded.
    pub user: Option<UserKey>,
}

impl Standing {
    /// Whether the token must be refused.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.blacklisted || self.superseded || self.session_ended
    }
}

/// The check of every request, in one statement: each `exists` is a look into an index, and SQLite stops at the first
/// that holds. The token's own facts count beside the blacklist, because Django deletes its rows at `exp`, which is
/// earlier than the moment from which the token is refused by itself.
fn is_refused(connection: &mut AnyConnection, shared: &Shared, jti: &str, session: Option<&str>) -> QueryResult<bool> {
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
            .or(exists(blacklisted_once(gone, session))),
    )
    .get_result(connection)
}

/// What the log has of a token that Django blacklisted, and has deleted since.
#[auto_type]
#[expect(clippy::elidable_lifetime_names, reason = "the type that the attribute writes has to name it")]
fn forgotten<'a>(is_forgotten: Raw<Bool>, jti: &'a str) -> _ {
    simplejwt_revocation::table.filter(simplejwt_revocation::jti.eq(jti)).filter(is_forgotten)
}

fn standing(
    connection: &mut AnyConnection,
    shared: &Shared,
    jti: &Jti,
    session: Option<String>,
) -> QueryResult<Standing> {
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
    let user = match row.and_then(|row| row.user_id) {
        Some(text) => Some(shared.key(text)),
        None => match &session {
            Some(session) => sessions::find(connection, session)?.and_then(|state| state.user_id).map(UserKey::from),
            None => None,
        },
    };
    Ok(Standing { known, blacklisted: listed || revoked, superseded, session_ended, user })
}

impl Ledger {
    /// Whether a token must be refused: it is blacklisted, or its session is over. A session is also over when Django or a
    /// line of SQL blacklisted a token of it.
    ///
    /// # Errors
    ///
    /// When the database does not answer. That is never "no".
    pub async fn is_refused(&self, jti: &Jti, session: Option<SessionId>) -> Result<bool, LedgerError> {
        let (jti, session) = (jti.clone(), session.map(|id| id.to_string()));
        let shared = self.shared().await?;
        self.run(move |connection| Ok(is_refused(connection, &shared, jti.as_str(), session.as_deref())?)).await
    }

    /// How a token stands, in detail. Without `session`, the session that is recorded of the token counts.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn standing(&self, jti: &Jti, session: Option<SessionId>) -> Result<Standing, LedgerError> {
        let (jti, session) = (jti.clone(), session.map(|id| id.to_string()));
        let shared = self.shared().await?;
        self.run(move |connection| {
            Ok(dialect::snapshot(connection, |connection| standing(connection, &shared, &jti, session))?)
        })
        .await
    }
}
