//! How tokens, sessions and cutoffs stand now, of which something changed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::is_forgotten;
use crate::ledger::Retention;
use crate::ledger::connection::AnyConnection;
use crate::ledger::foreign_text::ForeignText;
use crate::ledger::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_cutoff, simplejwt_revocation, simplejwt_session, simplejwt_token,
};
use crate::ledger::sessions::{forgotten_elsewhere, listed_elsewhere};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, Stored, latest};
use crate::token::{Change, Revocable, TokenKind};

/// Few enough for one statement on every database.
pub(super) const CHUNK: usize = 1000;

/// Of what something changed.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Asked {
    tokens: BTreeSet<i64>,
    jtis: BTreeSet<String>,
    sessions: BTreeSet<String>,
    cutoffs: BTreeSet<i64>,
}

impl Asked {
    /// One row of the log. A token is known by its jti, where the log has that.
    pub(in crate::ledger) fn add(
        &mut self,
        token: Option<i64>,
        jti: Option<String>,
        session: Option<String>,
        cutoff: Option<i64>,
    ) {
        self.tokens.extend(token.filter(|_| jti.is_none()));
        self.jtis.extend(jti);
        self.sessions.extend(session);
        self.cutoffs.extend(cutoff);
    }
}

/// What of a token's facts decides.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = simplejwt_token)]
pub(super) struct Facts {
    pub(super) jti: String,
    pub(super) kind: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) superseded_at: Option<Stored>,
    pub(super) revoked_at: Option<Stored>,
    pub(super) keep_until: Stored,
}

impl Facts {
    /// The session that is over because somebody else blacklisted this token.
    pub(super) fn session_to_end(&self) -> Option<&str> {
        let elsewhere = self.superseded_at.is_none() && self.revoked_at.is_none();
        let ends = elsewhere && self.kind.as_deref() != Some(TokenKind::Access.as_str());
        self.session_id.as_deref().filter(|_| ends)
    }
}

/// When a token expires, and since when it is on record: its outstanding row, or what the log kept of that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) expires_at: Foreign,
    pub(super) created_at: Option<Foreign>,
}

/// A change of a token, unless it is a refresh token or nobody could ever present it.
pub(super) fn token_change(
    retention: &Retention,
    jti: &str,
    refused: bool,
    span: Option<Span>,
    facts: Option<&Facts>,
) -> Option<Change> {
    let kind = facts.and_then(|facts| facts.kind.as_deref());
    if kind == Some(TokenKind::Refresh.as_str()) {
        return None;
    }
    let kept = facts.map(|facts| facts.keep_until);
    let until = match (span, kept) {
        (Some(span), _) => retention.dead_at(span.expires_at, span.created_at, kind, kept),
        (None, kept) => kept.map(Stored::and_utc),
    };
    let until = until.unwrap_or_else(|| latest().and_utc());
    Some(Change { what: Revocable::Token { jti: jti.parse().ok()?, until }, refused })
}

/// A change of a session, unless nobody could ever name it.
pub(super) fn session_change(id: &str, refused: bool, until: DateTime<Utc>) -> Option<Change> {
    Some(Change { what: Revocable::Session { id: id.parse().ok()?, until }, refused })
}

/// A row of a cutoff.
pub(super) type Cutoff = (i64, Option<String>, Foreign, Foreign);

/// A change by a cutoff, unless its moment cannot be read.
pub(super) fn cutoff_change((_, user, not_before, keep_until): Cutoff) -> Option<Change> {
    let not_before = not_before.instant()?;
    Some(Change::refused(Revocable::Cutoff { user, not_before, until: keep_until.or_never() }))
}

/// How all that was asked for stands now.
pub(in crate::ledger) fn resolve(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    mut asked: Asked,
) -> QueryResult<Vec<Change>> {
    let mut changes = Vec::new();
    for ids in chunks(&asked.tokens) {
        let names = outstanding_tokens::table.filter(outstanding_tokens::id.eq_any(ids));
        let names: Vec<ForeignText> = names.select(outstanding_tokens::jti).load(connection)?;
        asked.jtis.extend(names.into_iter().filter_map(|name| name.0));
    }
    for jtis in chunks(&asked.jtis) {
        resolve_tokens(connection, retention, &jtis, &mut asked.sessions, &mut changes)?;
    }
    for ids in chunks(&asked.sessions) {
        resolve_sessions(connection, shared, retention, &ids, &mut changes)?;
    }
    for ids in chunks(&asked.cutoffs) {
        let rows: Vec<Cutoff> =
            simplejwt_cutoff::table.filter(simplejwt_cutoff::id.eq_any(ids)).select(CUTOFF).load(connection)?;
        changes.extend(rows.into_iter().filter_map(cutoff_change));
    }
    Ok(changes)
}

/// What of a cutoff counts.
pub(super) const CUTOFF: (
    simplejwt_cutoff::id,
    simplejwt_cutoff::user_id,
    simplejwt_cutoff::not_before,
    simplejwt_cutoff::keep_until,
) = (simplejwt_cutoff::id, simplejwt_cutoff::user_id, simplejwt_cutoff::not_before, simplejwt_cutoff::keep_until);

fn chunks<T: Clone>(all: &BTreeSet<T>) -> Vec<Vec<T>> {
    let all: Vec<T> = all.iter().cloned().collect();
    all.chunks(CHUNK).map(<[T]>::to_vec).collect()
}

/// The tokens, each by three looks into an index. Their sessions are asked for too, as far as a token could end one.
fn resolve_tokens(
    connection: &mut AnyConnection,
    retention: &Retention,
    jtis: &[String],
    sessions: &mut BTreeSet<String>,
    changes: &mut Vec<Change>,
) -> QueryResult<()> {
    // By name, as some databases find a jti also where another one was asked for.
    let recorded: Vec<(ForeignText, Foreign, Option<Foreign>, Option<i64>)> = outstanding_tokens::table
        .left_join(blacklisted_tokens::table)
        .filter(outstanding_tokens::jti.eq_any(jtis))
        .select((
            outstanding_tokens::jti,
            outstanding_tokens::expires_at,
            outstanding_tokens::created_at,
            blacklisted_tokens::id.nullable(),
        ))
        .load(connection)?;
    let recorded: BTreeMap<_, _> = recorded
        .into_iter()
        .filter_map(|(jti, expires_at, created_at, listed)| {
            Some((jti.0?, (Span { expires_at, created_at }, listed.is_some())))
        })
        .collect();
    let facts: Vec<Facts> =
        simplejwt_token::table.filter(simplejwt_token::jti.eq_any(jtis)).select(Facts::as_select()).load(connection)?;
    let facts: BTreeMap<_, _> = facts.into_iter().map(|facts| (facts.jti.clone(), facts)).collect();
    let gone = is_forgotten(connection);
    let forgotten: Vec<Forgotten> = simplejwt_revocation::table
        .filter(simplejwt_revocation::jti.eq_any(jtis.iter().map(Some)))
        .filter(gone)
        .order(simplejwt_revocation::seq)
        .select((simplejwt_revocation::jti, simplejwt_revocation::expires_at, simplejwt_revocation::at))
        .load(connection)?;
    let forgotten: BTreeMap<_, _> = forgotten
        .into_iter()
        .filter_map(|(jti, expires_at, at)| Some((ForeignText::of(jti)?, kept_span(expires_at, at))))
        .collect();
    for jti in jtis {
        let (recorded, facts, forgotten) = (recorded.get(jti), facts.get(jti), forgotten.get(jti));
        let marked = facts.is_some_and(|facts| facts.superseded_at.is_some() || facts.revoked_at.is_some());
        let refused = recorded.is_some_and(|(_, listed)| *listed) || marked || forgotten.is_some();
        let span = recorded.map(|(span, _)| *span).or(forgotten.copied());
        changes.extend(token_change(retention, jti, refused, span, facts));
        let session = facts.filter(|facts| facts.kind.as_deref() != Some(TokenKind::Access.as_str()));
        sessions.extend(session.and_then(|facts| facts.session_id.clone()));
    }
    Ok(())
}

/// Of a row of the log: the jti, when its token expires, and when it was written.
type Forgotten = (Option<ForeignText>, Option<Foreign>, Foreign);

/// What the log kept of a token: it was on record when it was blacklisted, so that it could be renewed for as long from then on.
pub(super) fn kept_span(expires_at: Option<Foreign>, at: Foreign) -> Span {
    Span { expires_at: expires_at.unwrap_or(at), created_at: Some(at) }
}

/// The sessions: over by their own row, or by a token that others blacklisted.
fn resolve_sessions(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    ids: &[String],
    changes: &mut Vec<Change>,
) -> QueryResult<()> {
    let rows: Vec<(String, Option<Stored>, Stored)> = simplejwt_session::table
        .filter(simplejwt_session::id.eq_any(ids))
        .select((simplejwt_session::id, simplejwt_session::ended_at, simplejwt_session::keep_until))
        .load(connection)?;
    let mut sessions: BTreeMap<String, (bool, Stored)> =
        rows.into_iter().map(|(id, ended_at, keep_until)| (id, (ended_at.is_some(), keep_until))).collect();
    let listed: Vec<(Option<String>, Stored)> = listed_elsewhere(shared.same_jti())
        .filter(simplejwt_token::session_id.eq_any(ids.iter().map(Some)))
        .select((simplejwt_token::session_id, simplejwt_token::keep_until))
        .load(connection)?;
    let gone = is_forgotten(connection);
    let forgotten: Vec<(Option<String>, Stored)> = forgotten_elsewhere(gone)
        .filter(simplejwt_token::session_id.eq_any(ids.iter().map(Some)))
        .select((simplejwt_token::session_id, simplejwt_token::keep_until))
        .load(connection)?;
    for (id, keep_until) in listed.into_iter().chain(forgotten) {
        let Some(id) = id else { continue };
        let session = sessions.entry(id).or_insert((true, keep_until));
        *session = (true, session.1.max(keep_until));
    }
    for id in ids {
        // Of one that is not recorded, nothing is held against it.
        let (refused, until) = sessions.get(id).map_or_else(
            || (false, DateTime::<Utc>::MIN_UTC),
            |(refused, keep_until)| (*refused, retention.session_dead_at(*keep_until)),
        );
        changes.extend(session_change(id, refused, until));
    }
    Ok(())
}
