//! Ending many tokens at once: a session, a user's other sessions, everything from before an instant.
//!
//! What makes them refused is one short transaction: the row of the session, or a cutoff, with its event. What follows is for
//! others: the rows of the sessions, which lists show, and a blacklist row for every recorded token that could still be used,
//! which is all that Django knows of. There may be hundreds of thousands, so that these are read in pages and written in batches.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{exists, max, not};
use diesel::prelude::*;
use diesel::sql_types::Timestamp;
use serde::Deserialize;

use super::connection::AnyConnection;
use super::dialect::if_new;
use super::events::{self, Action, NewEvent, user_target};
use super::foreign_text::ForeignText;
use super::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_session, simplejwt_token};
use super::sessions::{self, End};
use super::shared::Shared;
use super::time::{Foreign, earliest, stored};
use super::{Actor, Ledger, LedgerError, NewCutoff, RevokeOutcome, UserKey, blacklisted, cutoffs, dialect};
use crate::token::{Jti, SessionId};

/// A session to be ended.
#[derive(Clone, Debug)]
pub struct SessionEnding {
    /// Which.
    pub id: SessionId,
    /// Only if it is this user's.
    pub owner: Option<UserKey>,
    /// Until when it has to be known that it is over, where it is not recorded here.
    pub keep_until: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// Who does it.
    pub actor: Actor,
    /// Now.
    pub at: DateTime<Utc>,
}

/// A session that is over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionEnded {
    /// What was new.
    pub outcome: RevokeOutcome,
    /// How many recorded tokens of it came onto the blacklist.
    pub rows: u64,
}

/// The sessions of a user that are to be ended, but for one.
#[derive(Clone, Debug)]
pub struct OthersEnding {
    /// Whose.
    pub user: UserKey,
    /// The one that stays.
    pub keep: SessionId,
    /// Why.
    pub reason: String,
    /// Who does it.
    pub actor: Actor,
    /// Now.
    pub at: DateTime<Utc>,
}

/// What of the recorded sessions and tokens is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Only those of this user.
    pub user: Option<UserKey>,
    /// Which of them.
    pub meant: Meant,
    /// Now: what has expired is of no interest.
    pub at: DateTime<Utc>,
}

/// Which sessions and tokens are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// Those of a session.
    Session(SessionId),
    /// Those of every other session, and of none.
    AllBut(SessionId),
    /// Those that began at an instant or before.
    Until(DateTime<Utc>),
}

/// Recorded tokens that are meant, and not on the blacklist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The keys of their outstanding rows.
    pub ids: Vec<i64>,
    /// After which row it goes on, if there may be more.
    pub next: Option<i64>,
}

/// How far the clock of a process that opened a session may be ahead of one that cuts it off.
const AHEAD: TimeDelta = TimeDelta::minutes(1);

/// The last microsecond of the millisecond of an instant: a session tells its beginning to the millisecond.
fn end_of_millisecond(at: DateTime<Utc>) -> DateTime<Utc> {
    let start = DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at);
    start + TimeDelta::microseconds(999)
}

/// The first name that a session could have which begins at an instant.
fn first_name(at: DateTime<Utc>) -> String {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    let mut name = SessionId::starting_at(millis).to_string();
    name.truncate("018bcfe5-687b-7".len());
    name
}

/// The beginning of the newest session that began by a clock which is ahead of ours. It is there, so it is meant.
fn newest_ahead(
    connection: &mut AnyConnection,
    user: Option<&UserKey>,
    now: DateTime<Utc>,
) -> QueryResult<Option<DateTime<Utc>>> {
    let ahead = simplejwt_session::table
        .filter(simplejwt_session::id.ge(first_name(now)))
        .filter(simplejwt_session::id.lt(first_name(now + AHEAD)));
    let newest: Option<String> = match user {
        Some(user) => ahead
            .filter(simplejwt_session::user_id.eq(user.as_str()))
            .select(max(simplejwt_session::id))
            .first(connection)?,
        None => ahead.select(max(simplejwt_session::id)).first(connection)?,
    };
    let began = newest.and_then(|name| name.parse::<SessionId>().ok()?.started_at_millis());
    Ok(began.and_then(DateTime::from_timestamp_millis))
}

/// The cutoff that meets everything from before its instant, whatever clock it began by. `key` is the user in the tables.
pub(super) fn until_now(
    connection: &mut AnyConnection,
    cutoff: &NewCutoff,
    key: Option<&UserKey>,
) -> QueryResult<NewCutoff> {
    let now = cutoff.not_before;
    let ahead = newest_ahead(connection, key, now)?;
    Ok(NewCutoff { not_before: end_of_millisecond(ahead.map_or(now, |ahead| ahead.max(now))), ..cutoff.clone() })
}

/// The session that the text of a token names. Nobody has looked at its signature: it stands in our own database.
fn session_of(text: &str) -> Option<SessionId> {
    #[derive(Deserialize)]
    struct Claims {
        sid: SessionText,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum SessionText {
        Text(String),
        Other(serde::de::IgnoredAny),
    }
    let payload = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    match serde_json::from_slice::<Claims>(&payload).ok()?.sid {
        SessionText::Text(sid) => sid.parse().ok(),
        SessionText::Other(_) => None,
    }
}

/// A recorded token, as far as it tells whether it is meant.
struct Row {
    id: i64,
    created_at: Option<DateTime<Utc>>,
    session: Option<SessionId>,
}

impl Meant {
    fn is(self, row: &Row) -> bool {
        match self {
            Self::Session(session) => row.session == Some(session),
            Self::AllBut(session) => row.session != Some(session),
            Self::Until(mark) => {
                let began =
                    row.session.and_then(SessionId::started_at_millis).and_then(DateTime::from_timestamp_millis);
                // One that tells no time has been there for ever, as it has for a check.
                began.or(row.created_at).is_none_or(|began| began <= mark)
            }
        }
    }
}

/// Live rows after one, of which nobody has blacklisted any.
fn rows(connection: &mut AnyConnection, shared: &Shared, sweep: &Sweep, after: i64, limit: i64) -> QueryResult<Rows> {
    type Found = (i64, Option<Foreign>, Option<String>, ForeignText);
    let mut query = outstanding_tokens::table
        .left_join(blacklisted_tokens::table)
        .left_join(simplejwt_token::table.on(shared.same_jti()))
        .filter(blacklisted_tokens::id.nullable().is_null())
        .filter(outstanding_tokens::expires_at.gt(stored(sweep.at)))
        .filter(outstanding_tokens::id.gt(after))
        .order(outstanding_tokens::id)
        .limit(limit)
        .select((
            outstanding_tokens::id,
            outstanding_tokens::created_at,
            simplejwt_token::session_id.nullable(),
            outstanding_tokens::token,
        ))
        .into_boxed();
    if let Some(user) = &sweep.user {
        let Some(text) = shared.text(user) else { return Ok(Rows::default()) };
        query = query.filter(shared.is_of_user(text));
    }
    if let Meant::Session(_) = sweep.meant {
        // Those that we recorded are found by their session.
        query = query.filter(outstanding_tokens::token.ne(""));
    }
    let found: Vec<Found> = query.load(connection)?;
    let full = super::is_full(&found, limit);
    let next = found.last().map(|row| row.0).filter(|_| full);
    let ids = found.into_iter().filter_map(|(id, created_at, session, text)| {
        let recorded = session.and_then(|session| session.parse().ok());
        let session = recorded.or_else(|| session_of(text.0.as_deref().unwrap_or_default()));
        let row = Row { id, created_at: created_at.and_then(Foreign::instant), session };
        sweep.meant.is(&row).then_some(row.id)
    });
    Ok(Rows { ids: ids.collect(), next })
}

/// Blacklists every live row of a user, before nobody knows any more whose they are.
pub(super) fn blacklist_all_of(
    connection: &mut AnyConnection,
    shared: &Shared,
    user: &UserKey,
    at: DateTime<Utc>,
) -> QueryResult<()> {
    let sweep = Sweep { user: Some(user.clone()), meant: Meant::Until(at), at };
    for ids in rows(connection, shared, &sweep, i64::MIN, i64::MAX)?.ids.chunks(1000) {
        blacklist(connection, shared, ids, at)?;
    }
    Ok(())
}

/// The live tokens of a session that we recorded, and nobody has blacklisted.
fn own_rows(
    connection: &mut AnyConnection,
    shared: &Shared,
    session: SessionId,
    at: DateTime<Utc>,
) -> QueryResult<Vec<i64>> {
    simplejwt_token::table
        .inner_join(outstanding_tokens::table.on(shared.same_jti()))
        .left_join(blacklisted_tokens::table.on(blacklisted_tokens::token_id.eq(outstanding_tokens::id)))
        .filter(simplejwt_token::session_id.eq(session.to_string()))
        .filter(simplejwt_token::superseded_at.is_null())
        .filter(blacklisted_tokens::id.nullable().is_null())
        .filter(outstanding_tokens::expires_at.gt(stored(at)))
        .select(outstanding_tokens::id)
        .load(connection)
}

/// The live rows that Django wrote of the sessions of these tokens, as far as they are over.
fn rotated(connection: &mut AnyConnection, shared: &Shared, jtis: &[Jti], at: DateTime<Utc>) -> QueryResult<Vec<i64>> {
    let mut ids = Vec::new();
    for jtis in jtis.chunks(500) {
        let over: Vec<(String, Option<String>)> = simplejwt_token::table
            .inner_join(simplejwt_session::table.on(simplejwt_token::session_id.eq(simplejwt_session::id.nullable())))
            .filter(simplejwt_token::jti.eq_any(jtis.iter().map(Jti::as_str)))
            .filter(simplejwt_session::ended_at.is_not_null())
            .select((simplejwt_session::id, simplejwt_session::user_id))
            .load(connection)?;
        for (session, user) in over {
            let (Ok(session), Some(user)) = (session.parse(), user) else { continue };
            let sweep = Sweep { user: Some(user.into()), meant: Meant::Session(session), at };
            ids.extend(rows(connection, shared, &sweep, i64::MIN, i64::MAX)?.ids);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Blacklists outstanding tokens, and says how many were not blacklisted before. One that is gone meanwhile needs it no more.
fn blacklist(connection: &mut AnyConnection, shared: &Shared, ids: &[i64], at: DateTime<Utc>) -> QueryResult<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    let all = |connection: &mut AnyConnection| {
        let listed = blacklisted_tokens::table.filter(blacklisted_tokens::token_id.eq(outstanding_tokens::id));
        count = outstanding_tokens::table
            .filter(shared.is_number_among("token_blacklist_outstandingtoken.id", ids))
            .filter(not(exists(listed)))
            .select((stored(at).into_sql::<Timestamp>(), outstanding_tokens::id))
            .insert_into(blacklisted_tokens::table)
            .into_columns((blacklisted_tokens::blacklisted_at, blacklisted_tokens::token_id))
            .execute(connection)?;
        Ok(count)
    };
    if if_new(connection, all)? {
        return Ok(count as u64);
    }
    // Somebody else has blacklisted one of them at the same time.
    let mut count = 0;
    for id in ids {
        count += u64::from(blacklisted::add(connection, *id, at)?);
    }
    Ok(count)
}

fn end_session(
    connection: &mut AnyConnection,
    shared: &Shared,
    ending: &SessionEnding,
) -> QueryResult<Option<SessionEnded>> {
    let SessionEnding { id, owner, keep_until, reason, actor, at } = ending;
    let (id, name) = (*id, id.to_string());
    dialect::lock_session(connection, &name)?;
    let was = sessions::find(connection, &name)?;
    if let Some(owner) = owner
        && was.as_ref().and_then(|was| was.user_id.as_deref()) != Some(owner.as_str())
    {
        return Ok(None);
    }
    let user = was.as_ref().and_then(|was| was.user_id.clone()).map(UserKey::from);
    let end = End { at: *at, reason, by: None, user: None, keep_until: stored(*keep_until) };
    // What is recorded is kept for as long as its tokens need it.
    let newly = match &was {
        Some(was) if was.ended_at.is_some() => false,
        Some(_) => sessions::end(connection, &name, &End { keep_until: earliest(), ..end })?,
        None => sessions::end(connection, &name, &end)?,
    };
    // Whoever restores the token that had ended it does not open it again.
    let more =
        was.as_ref().is_some_and(|was| was.ended_by.is_some()) && sessions::settle(connection, &name, reason)? > 0;
    if newly || more {
        let (user, session) = (user.as_ref().map(UserKey::as_str), Some(name.as_str()));
        let (action, reason) = (Action::EndSession, Some(reason.as_str()));
        events::insert(connection, &NewEvent { at: *at, action, target: &name, user, session, reason, actor })?;
    }
    let mut ids = own_rows(connection, shared, id, *at)?;
    if user.is_some() {
        let sweep = Sweep { user, meant: Meant::Session(id), at: *at };
        ids.extend(rows(connection, shared, &sweep, i64::MIN, i64::MAX)?.ids);
    }
    let outcome = match (was, newly) {
        (None, true) => RevokeOutcome::UnknownRecorded,
        (_, true) => RevokeOutcome::Newly,
        (_, false) => RevokeOutcome::Already,
    };
    Ok(Some(SessionEnded { outcome, rows: blacklist(connection, shared, &ids, *at)? }))
}

/// A condition on the sessions of a sweep that are open.
macro_rules! open_sessions {
    ($sweep:expr, $after:expr) => {{
        let mut query = simplejwt_session::table
            .filter(simplejwt_session::ended_at.is_null())
            .filter(simplejwt_session::id.gt($after.to_owned()))
            .order(simplejwt_session::id)
            .into_boxed();
        if let Some(user) = &$sweep.user {
            query = query.filter(simplejwt_session::user_id.eq(user.as_str().to_owned()));
        }
        match $sweep.meant {
            Meant::Session(id) => query.filter(simplejwt_session::id.eq(id.to_string())),
            Meant::AllBut(id) => query.filter(simplejwt_session::id.ne(id.to_string())),
            Meant::Until(mark) => query.filter(simplejwt_session::created_at.le(stored(mark))),
        }
    }};
}

impl Ledger {
    /// Ends a session: all its tokens are refused from now on, and those that are recorded come onto the blacklist, also those
    /// that Django rotated. [`None`] if it is not the owner's. One that is not recorded here is recorded as ended.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_session_and_tokens(&self, ending: SessionEnding) -> Result<Option<SessionEnded>, LedgerError> {
        if ending.owner.as_ref().is_some_and(|owner| !owner.is_storable()) {
            return Ok(None);
        }
        let shared = self.shared().await?;
        self.write(move |connection| Ok(end_session(connection, &shared, &ending)?)).await
    }

    /// Ends every session of a user but one, and says how many were open.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_other_sessions(&self, ending: OthersEnding) -> Result<u64, LedgerError> {
        if !ending.user.is_storable() {
            return Ok(0);
        }
        self.write_long(move |connection| {
            let OthersEnding { user, keep, reason, actor, at } = &ending;
            let (keep, target) = (keep.to_string(), user_target(user));
            let ended = sessions::end_all_but(connection, user, Some(&keep), reason, *at)?;
            let event = NewEvent {
                at: *at,
                action: Action::EndSessions,
                target: &target,
                user: Some(user.as_str()),
                session: Some(&keep),
                reason: Some(reason),
                actor,
            };
            events::insert(connection, &event)?;
            Ok(ended)
        })
        .await
    }

    /// Refuses everything that was issued until now, to the cutoff's user or to everybody, and says until which instant. That is
    /// later than `not_before` where a session is on record that began by a faster clock. `key` is the user in the tables.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UserKey`] if there can be no such user; otherwise when the database does not answer.
    pub async fn cut_off_until_now(
        &self,
        cutoff: NewCutoff,
        key: Option<UserKey>,
    ) -> Result<DateTime<Utc>, LedgerError> {
        let named = cutoff.user.iter().chain(&key);
        if named.into_iter().any(|user| !user.is_storable()) {
            return Err(LedgerError::UserKey);
        }
        self.write(move |connection| {
            let cutoff = until_now(connection, &cutoff, key.as_ref())?;
            cutoffs::insert(connection, &cutoff)?;
            Ok(cutoff.not_before)
        })
        .await
    }

    /// The same for what began at an earlier instant or before.
    ///
    /// # Errors
    ///
    /// As [`cut_off`](Self::cut_off).
    pub async fn cut_off_until(&self, cutoff: NewCutoff) -> Result<DateTime<Utc>, LedgerError> {
        let mark = end_of_millisecond(cutoff.not_before);
        self.cut_off(NewCutoff { not_before: mark, ..cutoff }).await?;
        Ok(mark)
    }

    /// Open sessions that are meant, after the one with this name, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn sessions_to_end(&self, sweep: &Sweep, after: &str, limit: i64) -> Result<Vec<String>, LedgerError> {
        if sweep.user.as_ref().is_some_and(|user| !user.is_storable()) {
            return Ok(Vec::new());
        }
        let (sweep, after) = (sweep.clone(), after.to_owned());
        self.run_long(move |connection| {
            let query = open_sessions!(sweep, after).limit(limit).select(simplejwt_session::id);
            Ok(query.load(connection)?)
        })
        .await
    }

    /// Notes that these sessions are over, which a cutoff has ended, and says how many were open.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_listed_sessions(
        &self,
        names: Vec<String>,
        reason: &str,
        at: DateTime<Utc>,
    ) -> Result<u64, LedgerError> {
        let reason = reason.to_owned();
        self.write_long(move |connection| {
            let open = simplejwt_session::table
                .filter(simplejwt_session::id.eq_any(&names))
                .filter(simplejwt_session::ended_at.is_null());
            let ended = diesel::update(open)
                .set((simplejwt_session::ended_at.eq(stored(at)), simplejwt_session::ended_reason.eq(&reason)))
                .execute(connection)?;
            Ok(ended as u64)
        })
        .await
    }

    /// Recorded tokens that are meant and could still be used in Django, after a row, looking at `limit` rows at most.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn rows_to_blacklist(&self, sweep: &Sweep, after: i64, limit: i64) -> Result<Rows, LedgerError> {
        let (sweep, shared) = (sweep.clone(), self.shared().await?);
        self.run_long(move |connection| Ok(rows(connection, &shared, &sweep, after, limit)?)).await
    }

    /// Puts onto the blacklist what Django rotated of the sessions of these tokens, as far as they are over, and says how many tokens
    /// that were.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn blacklist_rotated(&self, jtis: Vec<Jti>, at: DateTime<Utc>) -> Result<u64, LedgerError> {
        let shared = self.shared().await?;
        if jtis.is_empty() || !shared.is_djangos() {
            return Ok(0);
        }
        let reading = std::sync::Arc::clone(&shared);
        let ids = self.run_long(move |connection| Ok(rotated(connection, &reading, &jtis, at)?)).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        self.write_long(move |connection| Ok(blacklist(connection, &shared, &ids, at)?)).await
    }

    /// Puts recorded tokens onto the blacklist that are refused here anyway, and says how many were not there.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn blacklist_rows(&self, ids: Vec<i64>, at: DateTime<Utc>) -> Result<u64, LedgerError> {
        let shared = self.shared().await?;
        self.write_long(move |connection| Ok(blacklist(connection, &shared, &ids, at)?)).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_session_is_read_from_the_text_of_a_token() {
        let id = SessionId::starting_at(1_800_000_000_000);
        let token = |claims: serde_json::Value| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        assert_eq!(session_of(&token(json!({ "sid": id.to_string(), "jti": "x" }))), Some(id));
        for other in [json!({}), json!({ "sid": 7 }), json!({ "sid": "x" }), json!([])] {
            assert_eq!(session_of(&token(other.clone())), None, "{other}");
        }
        for text in ["", "x", "a.b", "a.!.c"] {
            assert_eq!(session_of(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_meant_by_an_instant_goes_by_the_beginning_of_the_session() {
        let at = |millis| DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap();
        let row = |session: Option<u64>, created: Option<i64>| Row {
            id: 1,
            created_at: created.map(at),
            session: session.map(|millis| SessionId::starting_at(1_800_000_000_000 + millis)),
        };
        let until = Meant::Until(end_of_millisecond(at(500)));
        assert!(until.is(&row(Some(500), Some(900))), "renewed since");
        assert!(!until.is(&row(Some(501), Some(501))));
        assert!(until.is(&row(None, Some(500))) && !until.is(&row(None, Some(501))) && until.is(&row(None, None)));
        let kept = SessionId::starting_at(1);
        let of = |session| Row { id: 1, created_at: None, session };
        assert!(!Meant::AllBut(kept).is(&of(Some(kept))) && Meant::AllBut(kept).is(&of(None)));
        assert!(Meant::Session(kept).is(&of(Some(kept))) && !Meant::Session(kept).is(&of(None)));
    }

    #[test]
    fn the_names_of_sessions_stand_in_the_order_of_their_beginnings() {
        let at = |millis: i64| DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap();
        let before = SessionId::starting_at(1_799_999_999_999).to_string();
        let within = SessionId::starting_at(1_800_000_000_000).to_string();
        assert!(before < first_name(at(0)) && within >= first_name(at(0)) && within < first_name(at(1)));
    }
}
