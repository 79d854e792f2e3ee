//! `simplejwt_token`: what is known of a token beside its outstanding row, and outlives it.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamp};

use super::connection::AnyConnection;
use super::dialect::if_new;
use super::error::LedgerError;
use super::many::{self, Value};
use super::schema::simplejwt_token::{self, dsl};
use super::time::{Stored, stored};
use crate::token::{Jti, SessionId, TokenKind};

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
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

/// The token that this one replaced, as far as recorded.
pub(super) fn parent(connection: &mut AnyConnection, jti: &Jti) -> QueryResult<Option<Jti>> {
    let parent: Option<Option<String>> =
        dsl::simplejwt_token.find(jti.as_str()).select(dsl::parent).first(connection).optional()?;
    Ok(parent.flatten().and_then(|jti| jti.parse().ok()))
}

/// The token that replaced this one, as far as recorded.
pub(super) fn successor(connection: &mut AnyConnection, jti: &Jti) -> QueryResult<Option<Jti>> {
    let successor: Option<Option<String>> =
        dsl::simplejwt_token.find(jti.as_str()).select(dsl::successor).first(connection).optional()?;
    Ok(successor.flatten().and_then(|jti| jti.parse().ok()))
}

/// What is needed to mint a token again: its user claim and the custom ones, as JSON.
pub(super) fn claims(connection: &mut AnyConnection, jti: &Jti) -> QueryResult<Option<String>> {
    let claims = dsl::simplejwt_token.find(jti.as_str()).select(dsl::claims).first(connection).optional()?;
    Ok(claims.flatten())
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

/// What is known of each of some tokens, which nobody else can change now.
pub(super) fn lock_all(connection: &mut AnyConnection, jtis: &[&str]) -> QueryResult<Vec<(String, Facts)>> {
    type Columns = (Text, (Nullable<Text>, Nullable<Text>, Nullable<Timestamp>, Nullable<Timestamp>, Timestamp));

    let columns = "jti, kind, session_id, superseded_at, revoked_at, keep_until";
    many::lock::<Columns, _>(connection, columns, "simplejwt_token", "jti", jtis)
}

/// Writes down of tokens that they are revoked, and what is known of them; fails if anything was known of one.
pub(super) fn insert_revoked(connection: &mut AnyConnection, revoked: &[(&str, &Facts)]) -> QueryResult<()> {
    many::insert(connection, INTO, &rows(revoked))
}

/// Writes down of tokens of which something is known, and which nobody else can change now, that they are revoked, and what has been learnt of
/// them meanwhile.
pub(super) fn mark_revoked(connection: &mut AnyConnection, revoked: &[(&str, &Facts)]) -> QueryResult<()> {
    many::update(connection, INTO, "jti", &["kind", "session_id", "revoked_at", "keep_until"], &rows(revoked))
}

const INTO: &str = "simplejwt_token (jti, kind, session_id, revoked_at, keep_until)";

fn rows<'a>(revoked: &[(&'a str, &'a Facts)]) -> Vec<[Value<'a>; 5]> {
    let row = |(jti, facts): &(&'a str, &'a Facts)| {
        let since = facts.revoked_at.unwrap_or(facts.keep_until);
        [
            Value::from(*jti),
            facts.kind.as_deref().into(),
            facts.session_id.as_deref().into(),
            since.into(),
            facts.keep_until.into(),
        ]
    };
    revoked.iter().map(row).collect()
}

/// Takes back that a token is revoked.
pub(super) fn clear_revoked(connection: &mut AnyConnection, jti: &Jti) -> QueryResult<usize> {
    diesel::update(dsl::simplejwt_token.find(jti.as_str()))
        .set(dsl::revoked_at.eq(None::<NaiveDateTime>))
        .execute(connection)
}
