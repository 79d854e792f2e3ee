//! `simplejwt_user`: the built-in users.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};

use super::connection::AnyConnection;
use super::events::{self, Action, NewEvent, user_target};
use super::schema::simplejwt_user::{self, dsl};
use super::schema::simplejwt_viewer;
use super::shared::Shared;
use super::time::stored;
use super::{Actor, Ledger, LedgerError, NewCutoff, UserKey, cutoffs, endings, outstanding, sessions};

/// A field that names one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UserField {
    /// The number.
    Id,
    /// The name.
    Username,
    /// The e-mail address.
    Email,
}

/// A user of the built-in table.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserRow {
    /// The number. Never given to another user again.
    pub id: i64,
    /// The name.
    pub username: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// The hash of the password.
    pub password: String,
    /// Whether the user may log in.
    pub is_active: bool,
    /// Whether the user may manage others.
    pub is_staff: bool,
    /// Whether a user who is staff may only look.
    pub views_only: bool,
    /// When the user logged in last, where that is noted.
    pub last_login: Option<DateTime<Utc>>,
    /// Since when the user is known.
    pub created_at: DateTime<Utc>,
    /// Since when the password is what it is.
    pub password_changed_at: DateTime<Utc>,
}

impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow").field("id", &self.id).field("username", &self.username).finish_non_exhaustive()
    }
}

/// A user to be.
#[derive(Clone)]
pub struct NewUser {
    /// The name.
    pub username: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// The hash of the password.
    pub password: String,
    /// Whether the user may log in.
    pub is_active: bool,
    /// Whether the user may manage others.
    pub is_staff: bool,
    /// Whether a user who is staff may only look.
    pub views_only: bool,
    /// Now.
    pub created_at: DateTime<Utc>,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("username", &self.username).finish_non_exhaustive()
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = simplejwt_user)]
struct Row {
    id: i64,
    username: String,
    email: Option<String>,
    password: String,
    is_active: bool,
    is_staff: bool,
    last_login: Option<NaiveDateTime>,
    created_at: NaiveDateTime,
    password_changed_at: NaiveDateTime,
}

/// A row, and whether the user stands among the viewers.
type Found = (Row, Option<i64>);

impl From<Found> for UserRow {
    fn from((row, viewer): Found) -> Self {
        let Row { id, username, email, password, is_active, is_staff, last_login, created_at, password_changed_at } =
            row;
        Self {
            id,
            username,
            email,
            password,
            is_active,
            is_staff,
            views_only: viewer.is_some(),
            last_login: last_login.map(|at| at.and_utc()),
            created_at: created_at.and_utc(),
            password_changed_at: password_changed_at.and_utc(),
        }
    }
}

fn find(connection: &mut AnyConnection, field: UserField, value: &str) -> QueryResult<Option<UserRow>> {
    let users = dsl::simplejwt_user
        .left_join(simplejwt_viewer::table.on(simplejwt_viewer::user_id.eq(dsl::id)))
        .select((Row::as_select(), simplejwt_viewer::user_id.nullable()));
    let row = match field {
        // What is no number is nobody's.
        UserField::Id => match value.parse::<i64>() {
            Ok(id) => users.filter(dsl::id.eq(id)).first(connection),
            Err(_) => return Ok(None),
        },
        // PostgreSQL's text cannot hold that character, and no name has it.
        _ if value.contains('\0') => return Ok(None),
        UserField::Username => users.filter(dsl::username.eq(value)).first(connection),
        UserField::Email => users.filter(dsl::email.eq(value)).first(connection),
    };
    // MariaDB takes no notice of blanks at the end.
    let is_it = |(row, _): &Found| match field {
        UserField::Id => true,
        UserField::Username => row.username == value,
        UserField::Email => row.email.as_deref() == Some(value),
    };
    Ok(row.optional()?.filter(is_it).map(UserRow::from))
}

fn insert(connection: &mut AnyConnection, new: &NewUser, actor: &Actor) -> Result<UserRow, LedgerError> {
    let at = stored(new.created_at);
    let user = (
        dsl::username.eq(&new.username),
        dsl::email.eq(&new.email),
        dsl::password.eq(&new.password),
        dsl::is_active.eq(new.is_active),
        dsl::is_staff.eq(new.is_staff),
        dsl::created_at.eq(at),
        dsl::password_changed_at.eq(at),
    );
    match diesel::insert_into(dsl::simplejwt_user).values(user).execute(connection) {
        Ok(_) => {}
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, information)) => {
            let email = information.message().contains("email");
            return Err(LedgerError::Duplicate(if email { "e-mail address" } else { "username" }));
        }
        Err(error) => return Err(error.into()),
    }
    let user = find(connection, UserField::Username, &new.username)?.ok_or(diesel::NotFound)?;
    if new.views_only {
        diesel::insert_into(simplejwt_viewer::table)
            .values(simplejwt_viewer::user_id.eq(user.id))
            .execute(connection)?;
    }
    let key = UserKey::from(user.id);
    let event = NewEvent {
        at: new.created_at,
        action: Action::AddUser,
        target: &user_target(&key),
        user: Some(key.as_str()),
        session: None,
        reason: None,
        actor,
    };
    events::insert(connection, &event)?;
    Ok(UserRow { views_only: new.views_only, ..user })
}

/// What happens to a user, and so to all who are logged in as that user.
#[derive(Debug)]
enum Change {
    Password(String),
    Enable,
    Disable,
    Remove,
}

impl Change {
    const fn action(&self) -> Action {
        match self {
            Self::Password(_) => Action::SetPassword,
            Self::Enable => Action::EnableUser,
            Self::Disable => Action::DisableUser,
            Self::Remove => Action::RemoveUser,
        }
    }

    /// Why the sessions end, if they do.
    const fn ends_sessions(&self) -> Option<&'static str> {
        match self {
            Self::Password(_) => Some("password changed"),
            Self::Enable => None,
            Self::Disable => Some("user disabled"),
            Self::Remove => Some("user removed"),
        }
    }
}

/// Changes a user, ends the sessions, and writes an event; says whether there is such a user.
fn apply(
    connection: &mut AnyConnection,
    shared: &Shared,
    id: i64,
    change: &Change,
    cutoff: &NewCutoff,
) -> QueryResult<bool> {
    let NewCutoff { actor, at, .. } = cutoff;
    let at = *at;
    let (key, row) = (UserKey::from(id), dsl::simplejwt_user.find(id));
    let found = match change {
        Change::Password(hash) => diesel::update(row)
            .set((dsl::password.eq(hash), dsl::password_changed_at.eq(stored(at))))
            .execute(connection)?,
        Change::Enable => diesel::update(row).set(dsl::is_active.eq(true)).execute(connection)?,
        Change::Disable => diesel::update(row).set(dsl::is_active.eq(false)).execute(connection)?,
        Change::Remove => {
            endings::blacklist_all_of(connection, shared, &key, at)?;
            outstanding::disown(connection, shared, &key)?;
            diesel::delete(simplejwt_viewer::table.find(id)).execute(connection)?;
            diesel::delete(row).execute(connection)?
        }
    };
    if found == 0 {
        return Ok(false);
    }
    if let Some(reason) = change.ends_sessions() {
        sessions::end_all(connection, &key, reason, at)?;
        // Not every token has a session.
        let cutoff = endings::until_now(connection, cutoff, Some(&key))?;
        cutoffs::mark(connection, &NewCutoff { reason: Some(reason.to_owned()), ..cutoff })?;
    }
    let event = NewEvent {
        at,
        action: change.action(),
        target: &user_target(&key),
        user: Some(key.as_str()),
        session: None,
        reason: None,
        actor,
    };
    events::insert(connection, &event)?;
    Ok(true)
}

impl Ledger {
    /// The user whose `field` is `value`, byte for byte.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn user_by(&self, field: UserField, value: &str) -> Result<Option<UserRow>, LedgerError> {
        let value = value.to_owned();
        self.run(move |connection| Ok(find(connection, field, &value)?)).await
    }

    /// Adds a user.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Duplicate`] if the name or the address is taken; otherwise when the database does not answer.
    pub async fn add_user(&self, user: NewUser, actor: &Actor) -> Result<UserRow, LedgerError> {
        let actor = actor.clone();
        self.write(move |connection| insert(connection, &user, &actor)).await
    }

    /// The users after the one with the number `after`, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn users(&self, after: i64, limit: i64) -> Result<Vec<UserRow>, LedgerError> {
        self.run(move |connection| {
            let rows: Vec<Found> = dsl::simplejwt_user
                .left_join(simplejwt_viewer::table.on(simplejwt_viewer::user_id.eq(dsl::id)))
                .filter(dsl::id.gt(after))
                .order(dsl::id)
                .limit(limit)
                .select((Row::as_select(), simplejwt_viewer::user_id.nullable()))
                .load(connection)?;
            Ok(rows.into_iter().map(UserRow::from).collect())
        })
        .await
    }

    /// Changes a user's password and, with a cutoff, ends the user's sessions; says whether there is such a user. The cutoff says
    /// whose tokens they are, who does it and when.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn set_password(&self, id: i64, hash: String, cutoff: NewCutoff) -> Result<bool, LedgerError> {
        self.change_user(id, Change::Password(hash), cutoff).await
    }

    /// Lets a user log in, or not any more and ends the user's sessions; says whether there is such a user.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn set_active(&self, id: i64, active: bool, cutoff: NewCutoff) -> Result<bool, LedgerError> {
        self.change_user(id, if active { Change::Enable } else { Change::Disable }, cutoff).await
    }

    /// Removes a user and ends the user's sessions; says whether there was such a user. The user's tokens stay recorded, as
    /// nobody's: what was blacklisted stays blacklisted.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn remove_user(&self, id: i64, cutoff: NewCutoff) -> Result<bool, LedgerError> {
        self.change_user(id, Change::Remove, cutoff).await
    }

    /// Notes when a user logged in.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn set_last_login(&self, id: i64, at: DateTime<Utc>) -> Result<(), LedgerError> {
        self.write(move |connection| {
            diesel::update(dsl::simplejwt_user.find(id)).set(dsl::last_login.eq(stored(at))).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn change_user(&self, id: i64, change: Change, cutoff: NewCutoff) -> Result<bool, LedgerError> {
        let shared = self.shared().await?;
        if cutoff.user.as_ref().is_some_and(|user| !user.is_storable()) {
            return Err(LedgerError::UserKey);
        }
        // A user may have any number of sessions and tokens.
        self.write_long(move |connection| Ok(apply(connection, &shared, id, &change, &cutoff)?)).await
    }
}
