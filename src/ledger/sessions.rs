//! `simplejwt_session`: a login, and all the tokens that descend from it.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::{auto_type, exists};
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::connection::AnyConnection;
use super::dialect::{self, if_new};
use super::events::{self, Action, Actor, NewEvent, user_target};
use super::log::is_forgotten;
use super::raw::Raw;
use super::schema::simplejwt_session::{self, dsl};
use super::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_revocation, simplejwt_token, simplejwt_user};
use super::shared::Shared;
use super::time::{Stored, stored};
use super::{Ledger, LedgerError, SessionLimit, UserKey};
use crate::token::{SessionId, TokenKind};

/// How much of a user agent is kept.
const USER_AGENT: usize = 255;

/// A login.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its name, the `sid` of all its tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user: Option<UserKey>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it is over, however often it is refreshed.
    pub absolute_end: Option<DateTime<Utc>>,
    /// Until when it has to be known that it ended, if it ends: as long as any token of it could live.
    pub keep_until: DateTime<Utc>,
    /// The address that it was opened from.
    pub address: Option<String>,
    /// The program that it was opened with. What is longer than 255 characters is cut.
    pub user_agent: Option<String>,
    /// The user of the built-in table whose password opened it, as the user was when the password was checked.
    pub witness: Option<Witness>,
    /// How many sessions the user may have with this one, if that is limited.
    pub limit: Option<SessionLimit>,
}

/// A user as a login saw it. Checking a password takes a while; whoever was disabled or got another password meanwhile does
/// not log in.
#[derive(Clone, Copy, Debug)]
pub struct Witness {
    /// The number of the user.
    pub id: i64,
    /// Since when the password is what it is.
    pub password_changed_at: DateTime<Utc>,
    /// Whether the user was active.
    pub is_active: bool,
}

/// Whether the user is still as a login saw it, and stays so until this transaction ends.
pub(super) fn holds(connection: &mut AnyConnection, witness: &Witness) -> QueryResult<bool> {
    dialect::lock_user(connection, witness.id)?;
    let user = simplejwt_user::table
        .find(witness.id)
        .filter(simplejwt_user::password_changed_at.eq(stored(witness.password_changed_at)))
        .filter(simplejwt_user::is_active.eq(witness.is_active));
    diesel::select(exists(user)).get_result(connection)
}

/// Records a login.
pub(super) fn insert(connection: &mut AnyConnection, new: &NewSession) -> QueryResult<()> {
    let user_agent = new.user_agent.as_ref().map(|text| text.chars().take(USER_AGENT).collect::<String>());
    diesel::insert_into(dsl::simplejwt_session)
        .values((
            dsl::id.eq(new.id.to_string()),
            dsl::user_id.eq(new.user.as_ref().map(UserKey::as_str)),
            dsl::created_at.eq(stored(new.created_at)),
            dsl::last_used_at.eq(stored(new.created_at)),
            dsl::address.eq(&new.address),
            dsl::user_agent.eq(user_agent),
            dsl::keep_until.eq(stored(new.keep_until)),
        ))
        .execute(connection)?;
    if let Some(end) = new.absolute_end {
        let row = dsl::simplejwt_session.find(new.id.to_string());
        diesel::update(row).set(dsl::absolute_end.eq(stored(end))).execute(connection)?;
    }
    Ok(())
}

/// Notes that a session was used, and keeps it longer if a token of it now lives longer. Neither ever goes back.
pub(super) fn touch(
    connection: &mut AnyConnection,
    session: &str,
    at: DateTime<Utc>,
    keep_until: DateTime<Utc>,
) -> QueryResult<()> {
    let (at, keep_until) = (stored(at), stored(keep_until));
    diesel::update(dsl::simplejwt_session.find(session).filter(dsl::last_used_at.lt(at)))
        .set(dsl::last_used_at.eq(at))
        .execute(connection)?;
    diesel::update(dsl::simplejwt_session.find(session).filter(dsl::keep_until.lt(keep_until)))
        .set(dsl::keep_until.eq(keep_until))
        .execute(connection)?;
    Ok(())
}

/// Why and until when a session is over.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) at: DateTime<Utc>,
    pub(super) reason: &'a str,
    /// The jti whose revocation ended it.
    pub(super) by: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) keep_until: Stored,
}

/// Ends a session, and says whether it was open. One that is not recorded here is recorded as ended.
pub(super) fn end(connection: &mut AnyConnection, session: &str, end: &End<'_>) -> QueryResult<bool> {
    if let Some(was_open) = end_recorded(connection, session, end)? {
        return Ok(was_open);
    }
    let at = stored(end.at);
    let recorded = if_new(connection, |connection| {
        diesel::insert_into(dsl::simplejwt_session)
            .values((
                dsl::id.eq(session),
                dsl::user_id.eq(end.user),
                dsl::created_at.eq(at),
                dsl::last_used_at.eq(at),
                dsl::ended_at.eq(at),
                dsl::ended_reason.eq(end.reason),
                dsl::ended_by.eq(end.by),
                dsl::keep_until.eq(end.keep_until),
            ))
            .execute(connection)
    })?;
    // Where somebody else was quicker to record it, it may be open.
    Ok(recorded || end_recorded(connection, session, end)? == Some(true))
}

/// The same, with an event of who did it.
pub(super) fn end_by(
    connection: &mut AnyConnection,
    session: SessionId,
    how: &End<'_>,
    actor: &Actor,
) -> QueryResult<bool> {
    let target = session.to_string();
    let was = find(connection, &target)?;
    let user = was.as_ref().and_then(|was| was.user_id.as_deref());
    let ended = end(connection, &target, how)?;
    if ended {
        let (action, session, reason) = (Action::EndSession, Some(target.as_str()), Some(how.reason));
        events::insert(connection, &NewEvent { at: how.at, action, target: &target, user, session, reason, actor })?;
    }
    Ok(ended)
}

/// Whether a session is over by its own row, and stays so until this transaction ends.
pub(super) fn has_ended(connection: &mut AnyConnection, session: &str) -> QueryResult<bool> {
    dialect::lock_session(connection, session)?;
    diesel::select(exists(ended(Some(session)))).get_result(connection)
}

/// Ends a session that is recorded, and says whether it was open.
fn end_recorded(connection: &mut AnyConnection, session: &str, end: &End<'_>) -> QueryResult<Option<bool>> {
    // Also where it is over: whoever is about to open it again has to see what we know.
    dialect::lock_session(connection, session)?;
    // Before the end, so that both are one change to whoever reads the log.
    diesel::update(dsl::simplejwt_session.find(session).filter(dsl::keep_until.lt(end.keep_until)))
        .set(dsl::keep_until.eq(end.keep_until))
        .execute(connection)?;
    let ended = diesel::update(dsl::simplejwt_session.find(session).filter(dsl::ended_at.is_null()))
        .set((dsl::ended_at.eq(stored(end.at)), dsl::ended_reason.eq(end.reason), dsl::ended_by.eq(end.by)))
        .execute(connection)?;
    if ended == 0 && find(connection, session)?.is_none() {
        return Ok(None);
    }
    Ok(Some(ended == 1))
}

/// Ends every open session of a user, and says how many.
pub(super) fn end_all(
    connection: &mut AnyConnection,
    user: &UserKey,
    reason: &str,
    at: DateTime<Utc>,
) -> QueryResult<u64> {
    end_all_but(connection, user, None, reason, at)
}

/// The same for all but one.
pub(super) fn end_all_but(
    connection: &mut AnyConnection,
    user: &UserKey,
    keep: Option<&str>,
    reason: &str,
    at: DateTime<Utc>,
) -> QueryResult<u64> {
    // No session has an empty name.
    let others = || dsl::id.ne(keep.unwrap_or_default());
    let sessions = || dsl::simplejwt_session.filter(dsl::user_id.eq(user.as_str())).filter(others());
    // Those that are over because of a token: to restore that token must not open them again.
    diesel::update(sessions().filter(dsl::ended_by.is_not_null()))
        .set((dsl::ended_reason.eq(reason), dsl::ended_by.eq(None::<String>)))
        .execute(connection)?;
    let ended = diesel::update(sessions().filter(dsl::ended_at.is_null()))
        .set((dsl::ended_at.eq(stored(at)), dsl::ended_reason.eq(reason)))
        .execute(connection)?;
    Ok(u64::try_from(ended).unwrap_or(u64::MAX))
}

/// Whatever token had ended a session, it is over for this reason now: to restore that token does not open it again.
pub(super) fn settle(connection: &mut AnyConnection, session: &str, reason: &str) -> QueryResult<usize> {
    diesel::update(dsl::simplejwt_session.find(session).filter(dsl::ended_by.is_not_null()))
        .set((dsl::ended_reason.eq(reason), dsl::ended_by.eq(None::<String>)))
        .execute(connection)
}

/// How a session stands in its own row.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = simplejwt_session)]
pub(super) struct State {
    pub(super) user_id: Option<String>,
    pub(super) last_used_at: Stored,
    pub(super) absolute_end: Option<NaiveDateTime>,
    pub(super) ended_at: Option<NaiveDateTime>,
    pub(super) ended_reason: Option<String>,
    pub(super) ended_by: Option<String>,
}

/// The row of a session.
pub(super) fn find(connection: &mut AnyConnection, session: &str) -> QueryResult<Option<State>> {
    dsl::simplejwt_session.find(session).select(State::as_select()).first(connection).optional()
}

/// Opens a session again, or says which other token's revocation it is over for now.
pub(super) fn attribute(connection: &mut AnyConnection, session: &str, to: Option<&str>) -> QueryResult<usize> {
    let row = dsl::simplejwt_session.find(session);
    match to {
        Some(jti) => diesel::update(row).set(dsl::ended_by.eq(jti)).execute(connection),
        None => diesel::update(row)
            .set((
                dsl::ended_at.eq(None::<NaiveDateTime>),
                dsl::ended_reason.eq(None::<String>),
                dsl::ended_by.eq(None::<String>),
            ))
            .execute(connection),
    }
}

/// The sessions of that name that have ended.
#[auto_type]
#[expect(clippy::elidable_lifetime_names, reason = "the type that the attribute writes has to name it")]
pub(super) fn ended<'a>(session: Option<&'a str>) -> _ {
    dsl::simplejwt_session.filter(dsl::id.nullable().eq(session)).filter(dsl::ended_at.is_not_null())
}

/// The tokens that Django, or a line of SQL, has blacklisted, as far as one is enough to end a session: it is no access token and
/// not one that was rotated away. Those that were revoked here have ended it in its own row, or were meant not to.
#[auto_type]
pub(super) fn listed_elsewhere(same_jti: Raw<Bool>) -> _ {
    let access: &'static str = TokenKind::Access.as_str();
    simplejwt_token::table
        .inner_join(outstanding_tokens::table.on(same_jti))
        .inner_join(blacklisted_tokens::table.on(blacklisted_tokens::token_id.eq(outstanding_tokens::id)))
        .filter(simplejwt_token::superseded_at.is_null())
        .filter(simplejwt_token::revoked_at.is_null())
        .filter(simplejwt_token::kind.is_null().or(simplejwt_token::kind.ne(access)))
}

/// The same of those that Django has deleted since, because they expired. The access tokens that they bought live on.
#[auto_type]
pub(super) fn forgotten_elsewhere(is_forgotten: Raw<Bool>) -> _ {
    let access: &'static str = TokenKind::Access.as_str();
    simplejwt_token::table
        .inner_join(simplejwt_revocation::table.on(simplejwt_revocation::jti.eq(simplejwt_token::jti.nullable())))
        .filter(is_forgotten)
        .filter(simplejwt_token::superseded_at.is_null())
        .filter(simplejwt_token::revoked_at.is_null())
        .filter(simplejwt_token::kind.is_null().or(simplejwt_token::kind.ne(access)))
}

/// The tokens of a session of the first sort.
#[auto_type]
#[expect(clippy::elidable_lifetime_names, reason = "the type that the attribute writes has to name it")]
pub(super) fn blacklisted_elsewhere<'a>(same_jti: Raw<Bool>, session: Option<&'a str>) -> _ {
    let listed: listed_elsewhere = listed_elsewhere(same_jti);
    listed.filter(simplejwt_token::session_id.eq(session))
}

/// The tokens of a session of the second sort.
#[auto_type]
#[expect(clippy::elidable_lifetime_names, reason = "the type that the attribute writes has to name it")]
pub(super) fn blacklisted_once<'a>(is_forgotten: Raw<Bool>, session: Option<&'a str>) -> _ {
    let forgotten: forgotten_elsewhere = forgotten_elsewhere(is_forgotten);
    forgotten.filter(simplejwt_token::session_id.eq(session))
}

/// Whether a session is over, by its own row or by a row that others wrote.
pub(super) fn is_over(connection: &mut AnyConnection, shared: &Shared, session: &str) -> QueryResult<bool> {
    let session = Some(session);
    let elsewhere = blacklisted_elsewhere(shared.same_jti(), session);
    let once = blacklisted_once(is_forgotten(connection), session);
    diesel::select(exists(ended(session)).or(exists(elsewhere)).or(exists(once))).get_result(connection)
}

impl Ledger {
    /// Notes that a session was used by a refresh that rotates nothing, and keeps it as long as its newest token.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn touch_session(
        &self,
        session: SessionId,
        at: DateTime<Utc>,
        keep_until: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        self.write(move |connection| Ok(touch(connection, &session.to_string(), at, keep_until)?)).await
    }

    /// Until when an open session is remembered. [`None`]: it is over, or not recorded here.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn open_session_keep_until(&self, session: SessionId) -> Result<Option<DateTime<Utc>>, LedgerError> {
        self.run(move |connection| {
            let open = dsl::simplejwt_session.find(session.to_string()).filter(dsl::ended_at.is_null());
            let keep_until = open.select(dsl::keep_until).first::<Stored>(connection).optional()?;
            Ok(keep_until.map(Stored::and_utc))
        })
        .await
    }

    /// Ends a session, and says whether it was open. One that is not recorded here is recorded as ended, until `keep_until`, when
    /// the last of its tokens is dead by itself.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_session(
        &self,
        session: SessionId,
        keep_until: DateTime<Utc>,
        reason: &str,
        actor: &Actor,
        at: DateTime<Utc>,
    ) -> Result<bool, LedgerError> {
        let (reason, actor) = (reason.to_owned(), actor.clone());
        self.write(move |connection| {
            let how = End { at, reason: &reason, by: None, user: None, keep_until: stored(keep_until) };
            Ok(end_by(connection, session, &how, &actor)?)
        })
        .await
    }

    /// Ends every open session of a user, and says how many there were.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_sessions_of(
        &self,
        user: &UserKey,
        reason: &str,
        actor: &Actor,
        at: DateTime<Utc>,
    ) -> Result<u64, LedgerError> {
        if !user.is_storable() {
            return Ok(0);
        }
        let (user, reason, actor) = (user.clone(), reason.to_owned(), actor.clone());
        self.write(move |connection| {
            let ended = end_all(connection, &user, &reason, at)?;
            if ended > 0 {
                let target = user_target(&user);
                let event = NewEvent {
                    at,
                    action: Action::EndSessions,
                    target: &target,
                    user: Some(user.as_str()),
                    session: None,
                    reason: Some(&reason),
                    actor: &actor,
                };
                events::insert(connection, &event)?;
            }
            Ok(ended)
        })
        .await
    }
}
