//! `simplejwt_admin_session`: who is signed in to the admin in a browser.
//!
//! The login itself is a row of `simplejwt_session`. Here stands what the admin needs beside it, under a digest of what the
//! browser's cookie holds: whoever reads this table can become nobody.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::events::{self, Action, Actor, NewEvent, user_target};
use super::schema::simplejwt_admin_session::{self, dsl};
use super::sessions::{self, End, NewSession};
use super::time::stored;
use super::{Ledger, LedgerError, UserKey};
use crate::token::SessionId;

/// Somebody who is signed in to the admin.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminSessionRow {
    /// The login.
    pub session: SessionId,
    /// The key of the user.
    pub user: UserKey,
    /// What a token of the user would name the user by.
    pub claim: String,
    /// The name that the user signed in with.
    pub username: String,
    /// A digest of the password that the user signed in with.
    pub password_digest: Option<String>,
    /// When the last request came, to the minute.
    pub seen_at: DateTime<Utc>,
    /// When the user gave the password last.
    pub confirmed_at: DateTime<Utc>,
    /// When it is over in any case.
    pub ends_at: DateTime<Utc>,
}

impl AdminSessionRow {
    /// Somebody who signs in just now.
    #[must_use]
    pub fn new(
        session: SessionId,
        user: UserKey,
        claim: &str,
        username: &str,
        at: DateTime<Utc>,
        ends_at: DateTime<Utc>,
    ) -> Self {
        let (claim, username) = (claim.to_owned(), username.to_owned());
        Self { session, user, claim, username, password_digest: None, seen_at: at, confirmed_at: at, ends_at }
    }
}

impl std::fmt::Debug for AdminSessionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminSessionRow").field("session", &self.session).finish_non_exhaustive()
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = simplejwt_admin_session)]
struct Row {
    session_id: String,
    user_id: String,
    claim: String,
    username: String,
    password_digest: Option<String>,
    seen_at: NaiveDateTime,
    confirmed_at: NaiveDateTime,
    ends_at: NaiveDateTime,
}

impl Row {
    /// [`None`] for a row that is none of ours.
    fn read(self) -> Option<AdminSessionRow> {
        Some(AdminSessionRow {
            session: self.session_id.parse().ok()?,
            user: self.user_id.into(),
            claim: self.claim,
            username: self.username,
            password_digest: self.password_digest,
            seen_at: self.seen_at.and_utc(),
            confirmed_at: self.confirmed_at.and_utc(),
            ends_at: self.ends_at.and_utc(),
        })
    }
}

fn insert(connection: &mut AnyConnection, digest: &str, new: &AdminSessionRow) -> QueryResult<usize> {
    diesel::insert_into(dsl::simplejwt_admin_session)
        .values((
            dsl::digest.eq(digest),
            dsl::session_id.eq(new.session.to_string()),
            dsl::user_id.eq(new.user.as_str()),
            dsl::claim.eq(&new.claim),
            dsl::username.eq(&new.username),
            dsl::password_digest.eq(&new.password_digest),
            dsl::seen_at.eq(stored(new.seen_at)),
            dsl::confirmed_at.eq(stored(new.confirmed_at)),
            dsl::ends_at.eq(stored(new.ends_at)),
        ))
        .execute(connection)
}

fn note(
    connection: &mut AnyConnection,
    of: &AdminSessionRow,
    action: Action,
    actor: &Actor,
    at: DateTime<Utc>,
) -> QueryResult<()> {
    let (target, session) = (user_target(&of.user), of.session.to_string());
    let (target, user, session) = (target.as_str(), Some(of.user.as_str()), Some(session.as_str()));
    events::insert(connection, &NewEvent { at, action, target, user, session, reason: None, actor })
}

impl Ledger {
    /// Signs somebody in to the admin: a login like any other, and what the admin needs beside it.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UserChanged`] if the user is not any more as the sign-in saw it; [`LedgerError::UserKey`] for a user whom no
    /// session could name; otherwise when the database does not answer.
    pub async fn open_admin_session(
        &self,
        digest: String,
        login: NewSession,
        row: AdminSessionRow,
        actor: Actor,
    ) -> Result<(), LedgerError> {
        if !row.user.is_storable() {
            return Err(LedgerError::UserKey);
        }
        self.write(move |connection| {
            if let Some(witness) = &login.witness
                && !sessions::holds(connection, witness)?
            {
                return Err(LedgerError::UserChanged);
            }
            let at = login.created_at;
            // Whoever never signs out leaves a row, and this is as good a moment as any.
            diesel::delete(dsl::simplejwt_admin_session.filter(dsl::ends_at.le(stored(at)))).execute(connection)?;
            sessions::insert(connection, &login)?;
            insert(connection, &digest, &row)?;
            note(connection, &row, Action::SignIn, &actor, at)?;
            Ok(())
        })
        .await
    }

    /// The admin session of this digest.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn admin_session(&self, digest: &str) -> Result<Option<AdminSessionRow>, LedgerError> {
        let digest = digest.to_owned();
        self.run(move |connection| {
            let row: Option<Row> =
                dsl::simplejwt_admin_session.find(digest).select(Row::as_select()).first(connection).optional()?;
            Ok(row.and_then(Row::read))
        })
        .await
    }

    /// Notes that an admin session was used, or with `confirmed` that its user gave the password again.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn touch_admin_session(
        &self,
        digest: &str,
        session: SessionId,
        at: DateTime<Utc>,
        confirmed: bool,
    ) -> Result<(), LedgerError> {
        let digest = digest.to_owned();
        self.write(move |connection| {
            let row = dsl::simplejwt_admin_session.find(&digest);
            diesel::update(row).set(dsl::seen_at.eq(stored(at))).execute(connection)?;
            if confirmed {
                diesel::update(row).set(dsl::confirmed_at.eq(stored(at))).execute(connection)?;
            }
            sessions::touch(connection, &session.to_string(), at, DateTime::UNIX_EPOCH)?;
            Ok(())
        })
        .await
    }

    /// Signs somebody out of the admin: the row is gone, and the login is over.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_admin_session(
        &self,
        digest: &str,
        row: AdminSessionRow,
        actor: Actor,
        at: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        let digest = digest.to_owned();
        self.write(move |connection| {
            diesel::delete(dsl::simplejwt_admin_session.find(&digest)).execute(connection)?;
            let (user, keep_until) = (Some(row.user.as_str()), stored(row.ends_at));
            let how = End { at, reason: "signed out", by: None, user, keep_until };
            if sessions::end(connection, &row.session.to_string(), &how)? {
                note(connection, &row, Action::SignOut, &actor, at)?;
            }
            Ok(())
        })
        .await
    }
}
