//! `simplejwt_event`: who did what to which token, session or user, and why.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::simplejwt_event::{self, dsl};
use super::time::stored;
use super::{Ledger, LedgerError, UserKey};
use crate::token::Jti;

/// Who does something, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Such as `cli:root`, `user:7` or `token`.
    pub who: String,
    /// By which door.
    pub via: Via,
    /// From where, if known.
    pub address: Option<String>,
}

/// The door by which somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// A request.
    Http,
    /// The command line.
    Cli,
    /// A program that uses this crate.
    Library,
}

impl Via {
    /// The word for it in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Cli => "cli",
            Self::Library => "library",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventRow {
    /// The key of the row. Later events have greater ones.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// What: `blacklist`, `unblacklist`, `end_session`, `end_sessions`, `cut_off`, `set_password`, `enable_user`,
    /// `disable_user`, `remove_user`.
    pub action: String,
    /// To which jti, session or user.
    pub target: String,
    /// Whose it is.
    pub user: Option<String>,
    /// The session that it is of.
    pub session: Option<String>,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
    /// Who.
    pub who: String,
    /// By which door.
    pub via: String,
    /// From where.
    pub address: Option<String>,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Blacklist,
    Unblacklist,
    EndSession,
    EndSessions,
    CutOff,
    SetPassword,
    EnableUser,
    DisableUser,
    RemoveUser,
}

impl Action {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Blacklist => "blacklist",
            Self::Unblacklist => "unblacklist",
            Self::EndSession => "end_session",
            Self::EndSessions => "end_sessions",
            Self::CutOff => "cut_off",
            Self::SetPassword => "set_password",
            Self::EnableUser => "enable_user",
            Self::DisableUser => "disable_user",
            Self::RemoveUser => "remove_user",
        }
    }
}

/// An event to be.
#[derive(Debug)]
pub(super) struct NewEvent<'a> {
    pub(super) at: DateTime<Utc>,
    pub(super) action: Action,
    pub(super) target: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) session: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) actor: &'a Actor,
}

/// Writes an event down.
pub(super) fn insert(connection: &mut AnyConnection, new: &NewEvent<'_>) -> QueryResult<usize> {
    diesel::insert_into(dsl::simplejwt_event)
        .values((
            dsl::at.eq(stored(new.at)),
            dsl::action.eq(new.action.as_str()),
            dsl::target.eq(new.target),
            dsl::user_id.eq(new.user),
            dsl::session_id.eq(new.session),
            dsl::reason.eq(new.reason),
            dsl::who.eq(&new.actor.who),
            dsl::via.eq(new.actor.via.as_str()),
            dsl::address.eq(&new.actor.address),
        ))
        .execute(connection)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = simplejwt_event)]
struct Row {
    id: i64,
    at: NaiveDateTime,
    action: String,
    target: String,
    user_id: Option<String>,
    session_id: Option<String>,
    reason: Option<String>,
    who: String,
    via: String,
    address: Option<String>,
}

impl From<Row> for EventRow {
    fn from(row: Row) -> Self {
        let Row { id, at, action, target, user_id: user, session_id: session, reason, who, via, address } = row;
        Self { id, at: at.and_utc(), action, target, user, session, reason, who, via, address }
    }
}

impl Ledger {
    /// What happened to a token, the newest first.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn events_of(&self, jti: &Jti) -> Result<Vec<EventRow>, LedgerError> {
        let jti = jti.clone();
        self.run(move |connection| {
            let rows: Vec<Row> = dsl::simplejwt_event
                .filter(dsl::target.eq(jti.as_str()))
                .order(dsl::id.desc())
                .select(Row::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(EventRow::from).collect())
        })
        .await
    }
}

/// The target under which the events of a user stand: no jti has a colon.
pub(super) fn user_target(user: &UserKey) -> String {
    format!("user:{user}")
}
