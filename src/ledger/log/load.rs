//! Everything that is refused, page by page.
//!
//! Where tables are joined, a page is a range of a key whose end is looked up first. A database that is asked for the first rows
//! in the order of the key may join everything and sort it, for each page anew.
//!
//! The order of the stages matters where something changes between two of them. A token that others blacklisted and that is
//! revoked here then is in the first stage or in the second; one that Django flushes is in the first or in the third; a session
//! that is over because of a token, and then by its own row, is in one of the first three or in the fourth. What stops being
//! refused is in the log after the position from which the reader goes on.

use diesel::dsl::{case_when, max, min};
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::is_forgotten;
use super::resolve::{CUTOFF, Cutoff, Facts, Span, cutoff_change, kept_span, session_change, token_change};
use crate::ledger::Retention;
use crate::ledger::connection::AnyConnection;
use crate::ledger::foreign_text::ForeignText;
use crate::ledger::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_cutoff, simplejwt_revocation, simplejwt_session, simplejwt_token,
};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, Stored, earliest};
use crate::token::{Change, TokenKind};

/// What is loaded, and after which row.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Tokens that others blacklisted, with the sessions that are over for it, by the key of the blacklist row.
    Listed(i64),
    /// Tokens that were revoked here, by the end of their time, which is never set back, and jti: tables have them about in that
    /// order, and those that are read together lie together.
    Revoked(Stored, String),
    /// Tokens of which only the log still knows, by its number.
    Forgotten(i64),
    /// Sessions that have ended, by their name.
    Sessions(String),
    /// Cutoffs, by their key.
    Cutoffs(i64),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Listed(i64::MIN)
    }
}

/// A page of a load.
pub(super) struct Page {
    pub(super) changes: Vec<Change>,
    pub(super) rows: u64,
    pub(super) next: Option<Stage>,
}

impl Page {
    /// Of rows that were found: the changes that they mean, and where it goes on.
    fn of<R, I>(
        found: Vec<R>,
        limit: i64,
        next: impl FnOnce(&R) -> Stage,
        then: Option<Stage>,
        means: impl FnMut(R) -> I,
    ) -> Self
    where
        I: IntoIterator<Item = Change>,
    {
        let full = i64::try_from(found.len()).is_ok_and(|found| found >= limit);
        let next = found.last().filter(|_| full).map(next).or(then);
        Self::between(found, next, means)
    }

    /// Of rows that were found in a range, and where it goes on.
    fn between<R, I>(found: Vec<R>, next: Option<Stage>, means: impl FnMut(R) -> I) -> Self
    where
        I: IntoIterator<Item = Change>,
    {
        let rows = found.len() as u64;
        Self { changes: found.into_iter().flat_map(means).collect(), rows, next }
    }
}

/// The next page.
pub(super) fn page(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    stage: Stage,
    limit: i64,
) -> QueryResult<Page> {
    match stage {
        Stage::Listed(after) => listed(connection, shared, retention, after, limit),
        Stage::Revoked(at, jti) => revoked(connection, shared, retention, (at, &jti), limit),
        Stage::Forgotten(after) => forgotten(connection, retention, after, limit),
        Stage::Sessions(after) => sessions(connection, retention, &after, limit),
        Stage::Cutoffs(after) => cutoffs(connection, after, limit),
    }
}

/// A blacklist row with its token.
type Listed = (ForeignText, Foreign, Option<Foreign>, Option<Facts>, Option<Stored>);

fn listed(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    after: i64,
    limit: i64,
) -> QueryResult<Page> {
    let last: Option<i64> = blacklisted_tokens::table
        .filter(blacklisted_tokens::id.gt(after))
        .order(blacklisted_tokens::id)
        .select(blacklisted_tokens::id)
        .offset(limit - 1)
        .first(connection)
        .optional()?;
    let range = || blacklisted_tokens::id.gt(after).and(blacklisted_tokens::id.le(last.unwrap_or(i64::MAX)));
    let (low, high): (Option<i64>, Option<i64>) = blacklisted_tokens::table
        .filter(range())
        .select((min(blacklisted_tokens::token_id), max(blacklisted_tokens::token_id)))
        .first(connection)?;
    // Not `superseded_at IS NULL`: PostgreSQL would think that hardly a row passes, and choose a way for hardly any row.
    let known = simplejwt_token::superseded_at.is_not_null().or(simplejwt_token::revoked_at.is_not_null());
    let rows = blacklisted_tokens::table
        .inner_join(outstanding_tokens::table)
        .left_join(simplejwt_token::table.on(shared.same_jti()))
        .left_join(simplejwt_session::table.on(simplejwt_token::session_id.eq(simplejwt_session::id.nullable())))
        .filter(range())
        .filter(case_when(known, false.into_sql::<Bool>()).otherwise(true.into_sql::<Bool>()))
        .select((
            outstanding_tokens::jti,
            outstanding_tokens::expires_at,
            outstanding_tokens::created_at,
            Option::<Facts>::as_select(),
            simplejwt_session::keep_until.nullable(),
        ));
    let found: Vec<Listed> = match (low, high) {
        // Tokens are mostly blacklisted in about the order in which they were recorded. Then this is a piece of that table, which
        // a database reads at once and not row by row.
        (Some(low), Some(high)) if high.saturating_sub(low) < limit.saturating_mul(4) => {
            rows.filter(outstanding_tokens::id.between(low, high)).load(connection)?
        }
        _ => rows.load(connection)?,
    };
    let means = |(jti, expires_at, created_at, facts, kept): Listed| {
        let span = Some(Span { expires_at, created_at });
        let token = jti.0.and_then(|jti| token_change(retention, &jti, true, span, facts.as_ref()));
        let session = facts.as_ref().and_then(|facts| {
            let until = retention.session_dead_at(kept.map_or(facts.keep_until, |kept| kept.max(facts.keep_until)));
            session_change(facts.session_to_end()?, true, until)
        });
        [token, session].into_iter().flatten()
    };
    let next = last.map_or_else(|| Stage::Revoked(earliest(), String::new()), Stage::Listed);
    Ok(Page::between(found, Some(next), means))
}

fn revoked(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    (at, jti): (Stored, &str),
    limit: i64,
) -> QueryResult<Page> {
    type Row = (Facts, Option<Foreign>, Option<Foreign>);
    use simplejwt_token::{jti as name, keep_until};
    let begun = || keep_until.ge(at).and(keep_until.ne(at).or(name.gt(jti)));
    // Of all tokens: that takes a look into an index alone.
    let last: Option<(Stored, String)> = simplejwt_token::table
        .filter(begun())
        .order((keep_until, name))
        .select((keep_until, name))
        .offset(limit - 1)
        .first(connection)
        .optional()?;
    let rest = simplejwt_token::table
        .left_join(outstanding_tokens::table.on(shared.same_jti()))
        .filter(begun())
        .filter(simplejwt_token::revoked_at.is_not_null())
        .filter(simplejwt_token::kind.is_null().or(simplejwt_token::kind.ne(TokenKind::Refresh.as_str())))
        .select((
            Facts::as_select(),
            outstanding_tokens::expires_at.nullable(),
            outstanding_tokens::created_at.nullable(),
        ));
    let found: Vec<Row> = match &last {
        Some((at, jti)) => {
            rest.filter(keep_until.le(at)).filter(keep_until.ne(at).or(name.le(jti))).load(connection)?
        }
        None => rest.load(connection)?,
    };
    let means = |(facts, expires_at, created_at): Row| {
        let span = expires_at.map(|expires_at| Span { expires_at, created_at });
        token_change(retention, &facts.jti, true, span, Some(&facts))
    };
    let next = last.map_or(Stage::Forgotten(i64::MIN), |(at, jti)| Stage::Revoked(at, jti));
    Ok(Page::between(found, Some(next), means))
}

fn forgotten(connection: &mut AnyConnection, retention: &Retention, after: i64, limit: i64) -> QueryResult<Page> {
    type Row = (i64, Option<ForeignText>, Option<Foreign>, Foreign, Option<Facts>, Option<Stored>);
    let gone = is_forgotten(connection);
    let found: Vec<Row> = simplejwt_revocation::table
        .left_join(simplejwt_token::table.on(simplejwt_revocation::jti.eq(simplejwt_token::jti.nullable())))
        .left_join(simplejwt_session::table.on(simplejwt_token::session_id.eq(simplejwt_session::id.nullable())))
        .filter(simplejwt_revocation::seq.gt(after))
        .filter(gone)
        .order(simplejwt_revocation::seq)
        .limit(limit)
        .select((
            simplejwt_revocation::seq,
            simplejwt_revocation::jti,
            simplejwt_revocation::expires_at,
            simplejwt_revocation::at,
            Option::<Facts>::as_select(),
            simplejwt_session::keep_until.nullable(),
        ))
        .load(connection)?;
    let means = |(_, jti, expires_at, at, facts, kept): Row| {
        let span = kept_span(expires_at, at);
        let token =
            ForeignText::of(jti).and_then(|jti| token_change(retention, &jti, true, Some(span), facts.as_ref()));
        let session = facts.as_ref().and_then(|facts| {
            let until = retention.session_dead_at(kept.map_or(facts.keep_until, |kept| kept.max(facts.keep_until)));
            session_change(facts.session_to_end()?, true, until)
        });
        [token, session].into_iter().flatten()
    };
    Ok(Page::of(found, limit, |last| Stage::Forgotten(last.0), Some(Stage::Sessions(String::new())), means))
}

fn sessions(connection: &mut AnyConnection, retention: &Retention, after: &str, limit: i64) -> QueryResult<Page> {
    type Row = (String, Stored);
    let found: Vec<Row> = simplejwt_session::table
        .filter(simplejwt_session::id.gt(after))
        .filter(simplejwt_session::ended_at.is_not_null())
        .order(simplejwt_session::id)
        .limit(limit)
        .select((simplejwt_session::id, simplejwt_session::keep_until))
        .load(connection)?;
    let means = |(id, keep_until): Row| session_change(&id, true, retention.session_dead_at(keep_until));
    Ok(Page::of(found, limit, |last| Stage::Sessions(last.0.clone()), Some(Stage::Cutoffs(i64::MIN)), means))
}

fn cutoffs(connection: &mut AnyConnection, after: i64, limit: i64) -> QueryResult<Page> {
    let found: Vec<Cutoff> = simplejwt_cutoff::table
        .filter(simplejwt_cutoff::id.gt(after))
        .order(simplejwt_cutoff::id)
        .limit(limit)
        .select(CUTOFF)
        .load(connection)?;
    Ok(Page::of(found, limit, |last| Stage::Cutoffs(last.0), None, cutoff_change))
}
