//! `simplejwt_event`: who did what to which token, session or user, and why.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::many::{self, Value};
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
    /// The admin in a browser.
    Admin,
}

impl Via {
    /// The word for it in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Cli => "cli",
            Self::Library => "library",
            Self::Admin => "admin",
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
    /// What: one of [`ACTIONS`].
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

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident = $name:literal,)*) => {
        /// What happens.
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(not(feature = "admin"), expect(dead_code, reason = "some are of the admin alone"))]
        pub(super) enum Action { $($(#[$doc])* $action,)* }

        impl Action {
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$action => $name,)* }
            }
        }

        /// The words that [`EventRow::action`] can be.
        pub const ACTIONS: &[&str] = &[$($name,)*];
    };
}

actions! {
    Blacklist = "blacklist",
    Unblacklist = "unblacklist",
    Reuse = "reuse",
    RefreshRetry = "refresh_retry",
    Evict = "evict",
    EndSession = "end_session",
    EndSessions = "end_sessions",
    CutOff = "cut_off",
    SetPassword = "set_password",
    EnableUser = "enable_user",
    DisableUser = "disable_user",
    RemoveUser = "remove_user",
    AddUser = "add_user",
    SignIn = "admin_sign_in",
    SignOut = "admin_sign_out",
    Flush = "flush",
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

impl NewEvent<'_> {
    /// As a row of the columns of [`INTO`].
    fn row(&self) -> [Value<'_>; 9] {
        [
            stored(self.at).into(),
            self.action.as_str().into(),
            self.target.into(),
            self.user.into(),
            self.session.into(),
            self.reason.into(),
            self.actor.who.as_str().into(),
            self.actor.via.as_str().into(),
            self.actor.address.as_deref().into(),
        ]
    }
}

const INTO: &str = "simplejwt_event (at, action, target, user_id, session_id, reason, who, via, address)";

/// Writes an event down.
pub(super) fn insert(connection: &mut AnyConnection, new: &NewEvent<'_>) -> QueryResult<()> {
    insert_all(connection, std::slice::from_ref(new))
}

/// Writes events down.
pub(super) fn insert_all(connection: &mut AnyConnection, new: &[NewEvent<'_>]) -> QueryResult<()> {
    let rows: Vec<_> = new.iter().map(NewEvent::row).collect();
    many::insert(connection, INTO, &rows)
}

/// Writes down how often something happened to a target: once, and from then on once more in the same row, with the latest time and
/// actor. Whoever calls it holds a lock on the target.
pub(super) fn count(connection: &mut AnyConnection, new: &NewEvent<'_>) -> QueryResult<()> {
    let known: Option<(i64, Option<String>)> = dsl::simplejwt_event
        .filter(dsl::target.eq(new.target))
        .filter(dsl::action.eq(new.action.as_str()))
        .select((dsl::id, dsl::reason))
        .first(connection)
        .optional()?;
    let Some((id, times)) = known else { return insert(connection, &NewEvent { reason: Some("1"), ..*new }) };
    let times = times.and_then(|times| times.parse::<u64>().ok()).unwrap_or(1).saturating_add(1);
    diesel::update(dsl::simplejwt_event.find(id))
        .set((
            dsl::at.eq(stored(new.at)),
            dsl::reason.eq(times.to_string()),
            dsl::who.eq(&new.actor.who),
            dsl::via.eq(new.actor.via.as_str()),
            dsl::address.eq(&new.actor.address),
        ))
        .execute(connection)
        .map(drop)
}

/// Which events to show, and which page of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventFilter {
    /// Only what concerns this user: the user, or a token or a session of that user.
    pub user: Option<UserKey>,
    /// Only what concerns this session, or a token of it.
    pub session: Option<String>,
    /// Only what is of this sort: [`EventRow::action`].
    pub action: Option<String>,
    /// Only what was done to this jti, session or user: [`EventRow::target`].
    pub target: Option<String>,
    /// Only what happened since then.
    pub since: Option<DateTime<Utc>>,
    /// Only those whose row comes before the one with this id.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

impl Default for EventFilter {
    fn default() -> Self {
        Self { user: None, session: None, action: None, target: None, since: None, before: None, limit: 100 }
    }
}

impl EventFilter {
    /// Whether it lets this event through. The page that it names does not matter.
    #[must_use]
    pub fn matches(&self, event: &EventRow) -> bool {
        let is = |wanted: Option<&str>, found: Option<&str>| wanted.is_none_or(|wanted| found == Some(wanted));
        is(self.user.as_ref().map(UserKey::as_str), event.user.as_deref())
            && is(self.session.as_deref(), event.session.as_deref())
            && is(self.action.as_deref(), Some(&event.action))
            && is(self.target.as_deref(), Some(&event.target))
            && self.since.is_none_or(|since| event.at >= since)
    }
}

fn page(connection: &mut AnyConnection, filter: EventFilter) -> QueryResult<Vec<EventRow>> {
    let EventFilter { user, session, action, target, since, before, limit } = filter;
    let mut query = dsl::simplejwt_event.order(dsl::id.desc()).limit(limit).select(Row::as_select()).into_boxed();
    if let Some(user) = user {
        // As with sessions: by the index of the user, however many events of others there are.
        let user = user.as_str().to_owned();
        query = query.filter(dsl::user_id.ge(user.clone()).and(dsl::user_id.le(user)));
        query = query.order((dsl::user_id.desc(), dsl::id.desc()));
    }
    if let Some(session) = session {
        query = query.filter(dsl::session_id.eq(session));
    }
    if let Some(action) = action {
        query = query.filter(dsl::action.eq(action));
    }
    if let Some(target) = target {
        query = query.filter(dsl::target.eq(target));
    }
    if let Some(since) = since {
        query = query.filter(dsl::at.ge(stored(since)));
    }
    if let Some(before) = before {
        query = query.filter(dsl::id.lt(before));
    }
    Ok(query.load::<Row>(connection)?.into_iter().map(EventRow::from).collect())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = simplejwt_event)]
pub(super) struct Row {
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

/// Of each target the last event of this sort.
#[cfg(feature = "admin")]
pub(super) fn last_of(
    connection: &mut AnyConnection,
    targets: &[&str],
    action: Action,
) -> QueryResult<std::collections::HashMap<String, EventRow>> {
    let rows: Vec<Row> = dsl::simplejwt_event
        .filter(dsl::target.eq_any(targets))
        .filter(dsl::action.eq(action.as_str()))
        .order(dsl::id)
        .select(Row::as_select())
        .load(connection)?;
    Ok(rows.into_iter().map(|row| (row.target.clone(), EventRow::from(row))).collect())
}

impl Ledger {
    /// What happened, the newest first.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRow>, LedgerError> {
        let filter = filter.clone();
        // What no column can hold, nothing is about.
        if filter.user.as_ref().is_some_and(|user| !user.is_storable()) {
            return Ok(Vec::new());
        }
        self.run_long(move |connection| Ok(page(connection, filter)?)).await
    }

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
