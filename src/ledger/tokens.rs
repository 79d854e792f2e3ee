//! `simplejwt_token`: what is known of a token beside its outstanding row, and outlives it.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::dialect::if_new;
use super::error::LedgerError;
use super::schema::simplejwt_token::{self, dsl};
use super::time::{Stored, stored};
use crate::token::{Jti, SessionId, TokenKind};

/// What is known of a token.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = simplejwt_token)]
pub(super) struct Facts {
    pub(super) kind: Option<String>,
    pub(super) session_id: Option<String>,
    /// A rotation replaced it.
    pub(super) superseded_at: Option<NaiveDateTime>,
    /// Somebody revoked it here. A token that Django or a line of SQL blacklisted has a blacklist row only.
    pub(super) revoked_at: Option<Stored>,
    pub(super) keep_until: Stored,
}

/// The facts of a token.
pub(super) fn find(connection: &mut AnyConnection, jti: &Jti) -> QueryResult<Option<Facts>> {
    dsl::simplejwt_token.find(jti.as_str()).select(Facts::as_select()).first(connection).optional()
}

/// Facts to be.
#[derive(Debug, Insertable)]
#[diesel(table_name = simplejwt_token)]
pub(super) struct NewFacts<'a> {
    jti: &'a str,
    kind: Option<&'static str>,
    session_id: Option<String>,
    keep_until: Stored,
    pub(super) parent: Option<&'a str>,
    pub(super) claims: Option<String>,
}

impl<'a> NewFacts<'a> {
    pub(super) fn new(
        jti: &'a Jti,
        kind: Option<TokenKind>,
        session: Option<SessionId>,
        keep_until: DateTime<Utc>,
    ) -> Self {
        let kind = kind.map(TokenKind::as_str);
        let session_id = session.map(|id| id.to_string());
        Self { jti: jti.as_str(), kind, session_id, keep_until: stored(keep_until), parent: None, claims: None }
    }
}

/// Writes facts; fails if there are some.
pub(super) fn insert(connection: &mut AnyConnection, new: &NewFacts<'_>) -> QueryResult<usize> {
    diesel::insert_into(dsl::simplejwt_token).values(new).execute(connection)
}

/// The facts of a token, made if missing.
pub(super) fn obtain(connection: &mut AnyConnection, jti: &Jti, new: &NewFacts<'_>) -> Result<Facts, LedgerError> {
    if let Some(facts) = find(connection, jti)? {
        return Ok(facts);
    }
    if_new(connection, |connection| insert(connection, new))?;
    // If it was there, somebody deleted it meanwhile.
    find(connection, jti)?.ok_or(LedgerError::Conflict)
}

/// Marks a token as replaced, and says whether it was neither replaced nor revoked before: the one statement that
/// decides which of several rotations wins.
pub(super) fn supersede(
    connection: &mut AnyConnection,
    jti: &Jti,
    successor: &Jti,
    at: DateTime<Utc>,
) -> QueryResult<bool> {
    let untouched = dsl::simplejwt_token
        .filter(dsl::jti.eq(jti.as_str()))
        .filter(dsl::superseded_at.is_null())
        .filter(dsl::revoked_at.is_null());
    diesel::update(untouched)
        .set((dsl::superseded_at.eq(stored(at)), dsl::successor.eq(successor.as_str())))
        .execute(connection)
        .map(|rows| rows == 1)
}

/// Writes down that a token is revoked, with what has been learnt of it meanwhile.
pub(super) fn mark_revoked(
    connection: &mut AnyConnection,
    jti: &Jti,
    facts: &Facts,
    since: Stored,
) -> QueryResult<usize> {
    diesel::update(dsl::simplejwt_token.find(jti.as_str()))
        .set((
            dsl::kind.eq(&facts.kind),
            dsl::session_id.eq(&facts.session_id),
            dsl::revoked_at.eq(since),
            dsl::keep_until.eq(facts.keep_until),
        ))
        .execute(connection)
}

/// Takes back that a token is revoked.
pub(super) fn clear_revoked(connection: &mut AnyConnection, jti: &Jti) -> QueryResult<usize> {
    diesel::update(dsl::simplejwt_token.find(jti.as_str()))
        .set(dsl::revoked_at.eq(None::<NaiveDateTime>))
        .execute(connection)
}
