//! What sessions there are, and what tokens one of them has had.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::{exists, not};
use diesel::prelude::*;
#[cfg(feature = "admin")]
use diesel::sql_types::Bool;

use super::connection::AnyConnection;
use super::dialect;
#[cfg(feature = "admin")]
use super::raw::Raw;
use super::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_cutoff, simplejwt_event, simplejwt_session, simplejwt_token,
};
use super::sessions::listed_elsewhere;
use super::shared::Shared;
use super::time::{Foreign, Stored, stored};
use super::{Ledger, LedgerError, UserKey};
use crate::token::{SessionId, TokenKind};

/// Which sessions to list, and which page of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only those of this user.
    pub user: Option<UserKey>,
    /// Only those in this state.
    pub state: Option<SessionState>,
    /// Only those that began since then.
    pub since: Option<DateTime<Utc>>,
    /// Only those that come after this one in the list.
    pub after: Option<SessionId>,
    /// At most so many.
    pub limit: i64,
}

impl Default for SessionFilter {
    fn default() -> Self {
        Self { user: None, state: None, since: None, after: None, limit: 100 }
    }
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Its tokens can be used.
    Active,
    /// Somebody ended it: by itself, with a token of it, or with everything from before an instant.
    Ended,
    /// Nobody ended it, and its last token has expired.
    Expired,
}

impl SessionState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Ended => "ended",
            Self::Expired => "expired",
        }
    }
}

/// A login, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRow {
    /// Its name, the claim `sid` of its tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user: Option<String>,
    /// How it stands.
    pub state: SessionState,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was used last: that is, when a token of it was renewed.
    pub last_used_at: DateTime<Utc>,
    /// The address that it was opened from.
    pub address: Option<String>,
    /// The program that it was opened with.
    pub user_agent: Option<String>,
    /// When it is over whatever happens, if there is such a limit.
    pub absolute_end: Option<DateTime<Utc>>,
    /// When it ended, if that is on record.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why.
    pub ended_reason: Option<String>,
    /// The jti whose revocation ended it.
    pub ended_by: Option<String>,
    /// Until when it is on record.
    pub keep_until: DateTime<Utc>,
}

/// A token that a session has, or had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionToken {
    /// Its identity.
    pub jti: String,
    /// What it is for, if that is known.
    pub kind: Option<TokenKind>,
    /// The token that it replaced.
    pub parent: Option<String>,
    /// The token that replaced it.
    pub successor: Option<String>,
    /// When it was recorded, if its outstanding row is still there.
    pub created_at: Option<DateTime<Utc>>,
    /// When it expires, if its outstanding row is still there.
    pub expires_at: Option<DateTime<Utc>>,
    /// When a rotation replaced it.
    pub superseded_at: Option<DateTime<Utc>>,
    /// When somebody revoked it here.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Since when it is on the blacklist, whoever put it there.
    pub blacklisted_at: Option<DateTime<Utc>>,
    /// When somebody presented it although it had been replaced.
    pub reused_at: Option<DateTime<Utc>>,
}

/// A session with its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionChain {
    /// The session.
    pub session: SessionRow,
    /// The tokens that are on record, each after the one that it replaced.
    pub tokens: Vec<SessionToken>,
    /// Whether there are more tokens than are shown.
    pub more: bool,
}

/// So many tokens of one session are shown at most: those that were issued last.
const MOST_TOKENS: i64 = 1000;

/// The action under which the reuse of a token stands among the events.
const REUSE: &str = "reuse";

#[derive(Queryable, Selectable)]
#[diesel(table_name = simplejwt_session)]
struct Row {
    id: String,
    user_id: Option<String>,
    created_at: NaiveDateTime,
    last_used_at: NaiveDateTime,
    address: Option<String>,
    user_agent: Option<String>,
    absolute_end: Option<NaiveDateTime>,
    ended_at: Option<NaiveDateTime>,
    ended_reason: Option<String>,
    ended_by: Option<String>,
    keep_until: NaiveDateTime,
}

/// A row as it is shown; nothing for one whose name nobody's token could have.
fn show((row, elsewhere, cut_off): (Row, bool, bool), now: DateTime<Utc>) -> Option<SessionRow> {
    let utc = |at: NaiveDateTime| at.and_utc();
    let state = if row.ended_at.is_some() || elsewhere || cut_off {
        SessionState::Ended
    } else if row.keep_until <= stored(now).0 {
        SessionState::Expired
    } else {
        SessionState::Active
    };
    let otherwise = || {
        let reason = if cut_off { "cut off" } else { "a token of it was blacklisted" };
        (elsewhere || cut_off).then(|| reason.to_owned())
    };
    Some(SessionRow {
        id: row.id.parse().ok()?,
        user: row.user_id,
        state,
        created_at: utc(row.created_at),
        last_used_at: utc(row.last_used_at),
        address: row.address,
        user_agent: row.user_agent,
        absolute_end: row.absolute_end.map(utc),
        ended_at: row.ended_at.map(utc),
        ended_reason: row.ended_reason.or_else(otherwise),
        ended_by: row.ended_by,
        keep_until: utc(row.keep_until),
    })
}

/// The sessions among which to look.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    All,
    One(&'a SessionId),
    /// Those under a condition.
    #[cfg(feature = "admin")]
    Where(&'a Raw<Bool>),
}

/// The sessions that a filter lets through, the newest first.
pub(super) fn page(
    connection: &mut AnyConnection,
    shared: &Shared,
    filter: &SessionFilter,
    part: Part<'_>,
    now: DateTime<Utc>,
) -> QueryResult<Vec<SessionRow>> {
    use simplejwt_session::dsl;
    let elsewhere = || {
        let listed: listed_elsewhere = listed_elsewhere(shared.same_jti());
        exists(listed.filter(simplejwt_token::session_id.eq(dsl::id.nullable())))
    };
    let cut_off = || {
        let whose = simplejwt_cutoff::user_id.is_null().or(simplejwt_cutoff::user_id.eq(dsl::user_id));
        let marks = simplejwt_cutoff::table.filter(simplejwt_cutoff::not_before.ge(dsl::created_at));
        exists(marks.filter(whose.assume_not_null()))
    };
    let mut query = dsl::simplejwt_session
        .select((Row::as_select(), elsewhere(), cut_off()))
        .order(dsl::id.desc())
        .limit(filter.limit)
        .into_boxed();
    match part {
        Part::All => {}
        Part::One(id) => query = query.filter(dsl::id.eq(id.to_string())),
        #[cfg(feature = "admin")]
        Part::Where(condition) => query = query.filter(condition.clone()),
    }
    if let Some(user) = &filter.user {
        // In this form the index is used that has the sessions of a user in their order. Where it says `=`, PostgreSQL may go through
        // those of everybody until enough of them are of a user who has many.
        let user = user.as_str().to_owned();
        query = query.filter(dsl::user_id.ge(user.clone()).and(dsl::user_id.le(user)));
        query = query.order((dsl::user_id.desc(), dsl::id.desc()));
    }
    if let Some(since) = filter.since {
        query = query.filter(dsl::created_at.ge(stored(since)));
    }
    if let Some(after) = filter.after {
        query = query.filter(dsl::id.lt(after.to_string()));
    }
    query = match filter.state {
        None => query,
        Some(SessionState::Ended) => query.filter(dsl::ended_at.is_not_null().or(elsewhere()).or(cut_off())),
        Some(SessionState::Active) => query
            .filter(dsl::ended_at.is_null().and(not(elsewhere())).and(not(cut_off())))
            .filter(dsl::keep_until.gt(stored(now))),
        Some(SessionState::Expired) => query
            .filter(dsl::ended_at.is_null().and(not(elsewhere())).and(not(cut_off())))
            .filter(dsl::keep_until.le(stored(now))),
    };
    let rows: Vec<(Row, bool, bool)> = query.load(connection)?;
    Ok(rows.into_iter().filter_map(|row| show(row, now)).collect())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = simplejwt_token)]
struct Facts {
    jti: String,
    kind: Option<String>,
    parent: Option<String>,
    successor: Option<String>,
    superseded_at: Option<Stored>,
    revoked_at: Option<Stored>,
}

/// The tokens of a session that were issued last, each after the one that it replaced, and whether there are more.
fn tokens(
    connection: &mut AnyConnection,
    shared: &Shared,
    session: SessionId,
) -> QueryResult<(Vec<SessionToken>, bool)> {
    type Found = (Facts, Option<Foreign>, Option<Foreign>, Option<Foreign>);
    let found: Vec<Found> = simplejwt_token::table
        .left_join(outstanding_tokens::table.on(shared.same_jti()))
        .left_join(
            blacklisted_tokens::table.on(blacklisted_tokens::token_id.nullable().eq(outstanding_tokens::id.nullable())),
        )
        .filter(simplejwt_token::session_id.eq(session.to_string()))
        .order((simplejwt_token::keep_until.desc(), simplejwt_token::jti))
        .limit(MOST_TOKENS + 1)
        .select((
            Facts::as_select(),
            outstanding_tokens::created_at.nullable(),
            outstanding_tokens::expires_at.nullable(),
            blacklisted_tokens::blacklisted_at.nullable(),
        ))
        .load(connection)?;
    let utc = |at: Option<Foreign>| at.and_then(Foreign::instant);
    let mut tokens: Vec<SessionToken> = found
        .into_iter()
        .map(|(facts, created_at, expires_at, blacklisted_at)| SessionToken {
            jti: facts.jti,
            kind: facts.kind.and_then(|kind| kind.parse().ok()),
            parent: facts.parent,
            successor: facts.successor,
            created_at: utc(created_at),
            expires_at: utc(expires_at),
            superseded_at: facts.superseded_at.map(Stored::and_utc),
            revoked_at: facts.revoked_at.map(Stored::and_utc),
            blacklisted_at: utc(blacklisted_at),
            reused_at: None,
        })
        .collect();
    let most = usize::try_from(MOST_TOKENS).unwrap_or(usize::MAX);
    let more = tokens.len() > most;
    tokens.truncate(most);
    add_reuse(connection, &mut tokens)?;
    Ok((in_order(tokens), more))
}

/// Adds when tokens were presented that had been replaced.
fn add_reuse(connection: &mut AnyConnection, tokens: &mut [SessionToken]) -> QueryResult<()> {
    for tokens in tokens.chunks_mut(500) {
        let jtis: Vec<_> = tokens.iter().map(|token| token.jti.as_str()).collect();
        let said: Vec<(String, Stored)> = simplejwt_event::table
            .filter(simplejwt_event::target.eq_any(jtis))
            .filter(simplejwt_event::action.eq(REUSE))
            .order(simplejwt_event::id.desc())
            .select((simplejwt_event::target, simplejwt_event::at))
            .load(connection)?;
        // Of several the first counts.
        let reused: HashMap<_, _> = said.into_iter().collect();
        for token in tokens {
            token.reused_at = reused.get(&token.jti).copied().map(Stored::and_utc);
        }
    }
    Ok(())
}

/// Puts each token after the one that it replaced. Those that replaced none that is shown begin, the oldest first.
fn in_order(mut tokens: Vec<SessionToken>) -> Vec<SessionToken> {
    tokens.sort_by(|a, b| (a.created_at, &a.jti).cmp(&(b.created_at, &b.jti)));
    let places: HashMap<String, usize> =
        tokens.iter().enumerate().map(|(place, token)| (token.jti.clone(), place)).collect();
    let mut heirs: Vec<Vec<usize>> = vec![Vec::new(); tokens.len()];
    let mut left = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        match token.parent.as_ref().and_then(|parent| places.get(parent)) {
            // What claims to have replaced itself begins, too.
            Some(parent) if *parent != place => heirs[*parent].push(place),
            _ => left.push(place),
        }
    }
    let mut all: Vec<Option<SessionToken>> = tokens.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(all.len());
    left.reverse();
    while let Some(place) = left.pop() {
        ordered.extend(all[place].take());
        left.extend(heirs[place].drain(..).rev());
    }
    // A circle, which nobody here writes, has no beginning.
    ordered.extend(all.into_iter().flatten());
    ordered
}

impl Ledger {
    /// Sessions, the newest first.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn sessions(&self, filter: &SessionFilter, now: DateTime<Utc>) -> Result<Vec<SessionRow>, LedgerError> {
        if filter.user.as_ref().is_some_and(|user| !user.is_storable()) {
            return Ok(Vec::new());
        }
        let (filter, shared) = (filter.clone(), self.shared().await?);
        self.run_long(move |connection| Ok(page(connection, &shared, &filter, Part::All, now)?)).await
    }

    /// One session, with its tokens.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn session(&self, id: SessionId, now: DateTime<Utc>) -> Result<Option<SessionChain>, LedgerError> {
        let shared = self.shared().await?;
        let filter = SessionFilter { limit: 1, ..SessionFilter::default() };
        let read = move |connection: &mut AnyConnection| {
            let Some(session) = page(connection, &shared, &filter, Part::One(&id), now)?.pop() else { return Ok(None) };
            let (tokens, more) = tokens(connection, &shared, id)?;
            Ok(Some(SessionChain { session, tokens, more }))
        };
        self.run(move |connection| Ok(dialect::snapshot(connection, read)?)).await
    }
}
