//! What there is to see.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::{count_star, exists, min, not};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::dialect;
use super::events::Action;
use super::foreign_text::ForeignText;
#[cfg(feature = "admin")]
use super::raw::Condition;
use super::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_event, simplejwt_session, simplejwt_token, simplejwt_user,
};
use super::shared::Shared;
use super::time::{Foreign, stored};
use super::{Ledger, LedgerError, UserKey};
use crate::token::{Jti, TokenKind};

/// Which tokens to list, and which page of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFilter {
    /// Only those of this user.
    pub user: Option<UserKey>,
    /// Only those of this kind.
    pub kind: Option<TokenKind>,
    /// Only those in this state.
    pub state: Option<TokenState>,
    /// Only those recorded, or blacklisted, since then.
    pub since: Option<DateTime<Utc>>,
    /// Only those whose row comes after the one with this id.
    pub after: i64,
    /// At most so many.
    pub limit: i64,
}

impl Default for TokenFilter {
    fn default() -> Self {
        Self { user: None, kind: None, state: None, since: None, after: 0, limit: 100 }
    }
}

/// The state of a recorded token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenState {
    /// It can be used.
    Active,
    /// Its `exp` (of a sliding token, `refresh_exp`) has come.
    Expired,
    /// Somebody revoked it.
    Blacklisted,
    /// A rotation replaced it.
    Superseded,
}

/// A recorded token, with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRow {
    /// The key of its outstanding row.
    pub id: i64,
    /// Its identity.
    pub jti: String,
    /// Whose it is.
    pub user: Option<String>,
    /// What it is for, unless Django recorded it.
    pub kind: Option<TokenKind>,
    /// Its session.
    pub session: Option<String>,
    /// When that session ended, if it did.
    pub session_ended_at: Option<DateTime<Utc>>,
    /// When it was recorded.
    pub created_at: Option<DateTime<Utc>>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// Until when it is kept, unless Django recorded it.
    pub keep_until: Option<DateTime<Utc>>,
    /// Since when it is on the blacklist, if it is.
    pub blacklisted_at: Option<DateTime<Utc>>,
    /// When a rotation replaced it, if one did.
    pub superseded_at: Option<DateTime<Utc>>,
    /// When somebody revoked it here, if somebody did.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The token that it replaced.
    pub parent: Option<String>,
    /// The token that replaced it.
    pub successor: Option<String>,
    /// Why it was revoked, in the words of who did it.
    pub reason: Option<String>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = outstanding_tokens)]
struct Outstanding {
    id: i64,
    created_at: Option<Foreign>,
    expires_at: Foreign,
    #[diesel(deserialize_as = ForeignText)]
    jti: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = simplejwt_token)]
struct Facts {
    kind: Option<String>,
    session_id: Option<String>,
    parent: Option<String>,
    superseded_at: Option<NaiveDateTime>,
    successor: Option<String>,
    revoked_at: Option<NaiveDateTime>,
    keep_until: NaiveDateTime,
}

type Row = (Outstanding, Option<ForeignText>, Option<Facts>, Option<Foreign>, Option<NaiveDateTime>);

/// A row as it is shown.
fn show((row, user, facts, blacklisted_at, session_ended_at): Row, shared: &Shared) -> TokenRow {
    let utc = |at: NaiveDateTime| at.and_utc();
    let fact = |of: fn(&Facts) -> Option<NaiveDateTime>| facts.as_ref().and_then(of).map(utc);
    let (keep_until, superseded_at, revoked_at) =
        (fact(|it| Some(it.keep_until)), fact(|it| it.superseded_at), fact(|it| it.revoked_at));
    let (kind, session, parent, successor) =
        facts.map_or_else(Default::default, |it| (it.kind, it.session_id, it.parent, it.successor));
    TokenRow {
        id: row.id,
        jti: row.jti,
        user: ForeignText::of(user).map(|text| shared.key(text).to_string()),
        kind: kind.and_then(|kind| kind.parse().ok()),
        session,
        session_ended_at: session_ended_at.map(utc),
        created_at: row.created_at.and_then(Foreign::instant),
        expires_at: row.expires_at.or_never(),
        keep_until,
        blacklisted_at: blacklisted_at.and_then(Foreign::instant),
        superseded_at,
        revoked_at,
        parent,
        successor,
        reason: None,
    }
}

/// What a list is of.
#[derive(Clone, Copy)]
enum Of<'a> {
    Outstanding,
    Blacklisted,
    One(&'a str),
    /// Outstanding rows under a condition.
    #[cfg(feature = "admin")]
    Where(&'a Condition),
}

fn page(
    connection: &mut AnyConnection,
    shared: &Shared,
    of: Of<'_>,
    filter: &TokenFilter,
    now: DateTime<Utc>,
) -> QueryResult<Vec<TokenRow>> {
    let mut query = outstanding_tokens::table
        .left_join(blacklisted_tokens::table)
        .left_join(simplejwt_token::table.on(shared.same_jti()))
        .left_join(simplejwt_session::table.on(simplejwt_session::id.nullable().eq(simplejwt_token::session_id)))
        .select((
            Outstanding::as_select(),
            shared.user_text(),
            Option::<Facts>::as_select(),
            blacklisted_tokens::blacklisted_at.nullable(),
            simplejwt_session::ended_at.nullable(),
        ))
        .filter(outstanding_tokens::id.gt(filter.after))
        .order(outstanding_tokens::id)
        .limit(filter.limit)
        .into_boxed();
    let since = filter.since.map(stored);
    match of {
        Of::One(jti) => query = query.filter(outstanding_tokens::jti.eq(jti)).filter(shared.is_exactly(jti)),
        #[cfg(feature = "admin")]
        Of::Where(condition) => query = query.filter(condition.clone()),
        Of::Outstanding => {
            if let Some(since) = since {
                query = query.filter(outstanding_tokens::created_at.ge(since));
            }
        }
        Of::Blacklisted => {
            query = query.filter(blacklisted_tokens::id.nullable().is_not_null());
            if let Some(since) = since {
                query = query.filter(blacklisted_tokens::blacklisted_at.nullable().ge(since));
            }
        }
    }
    if let Some(user) = &filter.user {
        // What the column cannot hold, nobody there has.
        let Some(text) = shared.text(user) else { return Ok(Vec::new()) };
        query = query.filter(shared.is_of_user(text));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(simplejwt_token::kind.eq(kind.as_str()));
    }
    let listed = blacklisted_tokens::id.nullable();
    let (superseded, revoked) = (simplejwt_token::superseded_at, simplejwt_token::revoked_at);
    query = match filter.state {
        None => query,
        Some(TokenState::Expired) => query.filter(outstanding_tokens::expires_at.le(stored(now))),
        Some(TokenState::Superseded) => query.filter(superseded.is_not_null()),
        Some(TokenState::Blacklisted) => {
            query.filter(superseded.is_null()).filter(listed.is_not_null().or(revoked.is_not_null()))
        }
        Some(TokenState::Active) => query
            .filter(listed.is_null().and(superseded.is_null()).and(revoked.is_null()))
            .filter(simplejwt_session::ended_at.is_null())
            .filter(outstanding_tokens::expires_at.gt(stored(now))),
    };
    let mut rows: Vec<TokenRow> = query.load::<Row>(connection)?.into_iter().map(|row| show(row, shared)).collect();
    add_reasons(connection, &mut rows)?;
    Ok(rows)
}

/// The rows under a condition, in the order of their keys.
#[cfg(feature = "admin")]
pub(super) fn under(
    connection: &mut AnyConnection,
    shared: &Shared,
    condition: &Condition,
    kind: Option<TokenKind>,
    state: Option<TokenState>,
    now: DateTime<Utc>,
) -> QueryResult<Vec<TokenRow>> {
    let filter = TokenFilter { kind, state, after: i64::MIN, limit: i64::MAX, ..TokenFilter::default() };
    page(connection, shared, Of::Where(condition), &filter, now)
}

/// Adds why tokens were revoked: what was said the last time.
fn add_reasons(connection: &mut AnyConnection, rows: &mut [TokenRow]) -> QueryResult<()> {
    for rows in rows.chunks_mut(500) {
        let refused = rows.iter().filter(|row| row.blacklisted_at.is_some() || row.revoked_at.is_some());
        let targets: Vec<_> = refused.map(|row| row.jti.as_str()).collect();
        if targets.is_empty() {
            continue;
        }
        let said: Vec<(String, Option<String>)> = simplejwt_event::table
            .filter(simplejwt_event::target.eq_any(targets))
            .filter(simplejwt_event::action.eq(Action::Blacklist.as_str()))
            .order(simplejwt_event::id)
            .select((simplejwt_event::target, simplejwt_event::reason))
            .load(connection)?;
        let mut reasons: HashMap<_, _> = said.into_iter().collect();
        for row in rows {
            row.reason = reasons.remove(&row.jti).flatten();
        }
    }
    Ok(())
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Recorded tokens.
    pub outstanding: u64,
    /// Those of them on the blacklist.
    pub blacklisted: u64,
    /// Those of them that nobody needs any more, and a flush would delete.
    pub expired: u64,
    /// Sessions that have not ended.
    pub sessions_open: u64,
    /// Users of the built-in table.
    pub users: u64,
    /// When the longest expired of the recorded tokens expired.
    pub oldest_expired: Option<DateTime<Utc>>,
}

fn counts(connection: &mut AnyConnection, shared: &Shared, now: DateTime<Utc>) -> QueryResult<Counts> {
    let now = stored(now);
    let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
    let expired = outstanding_tokens::table.filter(outstanding_tokens::expires_at.le(now));
    let kept = simplejwt_token::table.filter(shared.same_jti()).filter(simplejwt_token::keep_until.gt(now));
    let open = simplejwt_session::table.filter(simplejwt_session::ended_at.is_null());
    Ok(Counts {
        outstanding: count(outstanding_tokens::table.select(count_star()).first(connection)?),
        blacklisted: count(blacklisted_tokens::table.select(count_star()).first(connection)?),
        expired: count(expired.filter(not(exists(kept))).select(count_star()).first(connection)?),
        sessions_open: count(open.select(count_star()).first(connection)?),
        users: count(simplejwt_user::table.select(count_star()).first(connection)?),
        oldest_expired: expired
            .select(min(outstanding_tokens::expires_at))
            .first::<Option<Foreign>>(connection)?
            .and_then(Foreign::instant),
    })
}

impl Ledger {
    /// Recorded tokens, in the order of their rows.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn outstanding(&self, filter: &TokenFilter, now: DateTime<Utc>) -> Result<Vec<TokenRow>, LedgerError> {
        let (filter, shared) = (filter.clone(), self.shared().await?);
        self.run_long(move |connection| Ok(page(connection, &shared, Of::Outstanding, &filter, now)?)).await
    }

    /// Tokens on the blacklist, in the order of their outstanding rows.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn blacklisted(&self, filter: &TokenFilter, now: DateTime<Utc>) -> Result<Vec<TokenRow>, LedgerError> {
        let (filter, shared) = (filter.clone(), self.shared().await?);
        self.run_long(move |connection| Ok(page(connection, &shared, Of::Blacklisted, &filter, now)?)).await
    }

    /// One recorded token.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn outstanding_by_jti(&self, jti: &Jti) -> Result<Option<TokenRow>, LedgerError> {
        let (jti, shared) = (jti.clone(), self.shared().await?);
        let filter = TokenFilter { limit: 1, after: i64::MIN, ..TokenFilter::default() };
        self.run(move |connection| {
            Ok(page(connection, &shared, Of::One(jti.as_str()), &filter, DateTime::UNIX_EPOCH)?.pop())
        })
        .await
    }

    /// How much there is of everything.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn counts(&self, now: DateTime<Utc>) -> Result<Counts, LedgerError> {
        let shared = self.shared().await?;
        self.run_long(move |connection| {
            Ok(dialect::snapshot(connection, |connection| counts(connection, &shared, now))?)
        })
        .await
    }
}
