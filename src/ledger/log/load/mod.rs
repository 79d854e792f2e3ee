//! Everything that is refused, page by page.
//!
//! Where tables are joined, a page is a range of a key whose end is looked up first. A database that is asked for the first rows
//! in the order of the key may join everything and sort it, for each page anew.
//!
//! The order of the stages matters where something changes between two of them. A token that others blacklisted and that is
//! revoked here then is in the first stage or in the second; one that Django flushes is in the first or in the third; a session
//! that is over because of a token, and then by its own row, is in one of the first three or in the fourth. What stops being
//! refused is in the log after the position from which the reader goes on.

mod piece;

use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable};

use super::is_forgotten;
use super::resolve::{CHUNK, CUTOFF, Cutoff, Facts, Span, cutoff_change, kept_span, session_change, token_change};
use crate::ledger::connection::AnyConnection;
use crate::ledger::foreign_text::ForeignText;
use crate::ledger::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_cutoff, simplejwt_revocation, simplejwt_session, simplejwt_token,
};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, Stored, earliest};
use crate::ledger::{Retention, is_full};
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
        let next = found.last().filter(|_| is_full(&found, limit)).map(next).or(then);
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

/// Which rows a page is of, as far as that can be told before they are read.
pub(super) enum Extent {
    /// Blacklist rows after one, up to another one if more come after it, and between which tokens theirs are.
    Listed {
        after: i64,
        last: Option<i64>,
        tokens: Option<(i64, i64)>,
    },
    /// Tokens after one.
    Revoked {
        after: (Stored, String),
        end: End,
    },
    /// As many as fit, after this one.
    Forgotten(i64),
    Sessions(String),
    Cutoffs(i64),
}

/// Where a page of tokens that were revoked here ends. Any number of them may be kept until the same moment; those are a range of
/// their own, or each page would go through those of the pages before it.
pub(super) enum End {
    /// With this one, of the same moment.
    Same(String),
    /// With this one, of a later moment, or with the last of all.
    Later(Option<(Stored, String)>),
}

/// The extent of the next page, and where the one after it begins if that can be told as well: they may be read at the same time.
/// What changes between the one and the other is in the log: also that a token which is revoked is kept for longer, as whoever writes
/// that announces it (`revoke::all`).
pub(super) fn extent(connection: &mut AnyConnection, stage: Stage, limit: i64) -> QueryResult<(Extent, Option<Stage>)> {
    match stage {
        Stage::Listed(after) => listed_extent(connection, after, limit),
        Stage::Revoked(at, jti) => revoked_extent(connection, (at, jti), limit),
        Stage::Forgotten(after) => Ok((Extent::Forgotten(after), None)),
        Stage::Sessions(after) => Ok((Extent::Sessions(after), None)),
        Stage::Cutoffs(after) => Ok((Extent::Cutoffs(after), None)),
    }
}

/// The page with this extent.
pub(super) fn page(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    extent: &Extent,
    limit: i64,
) -> QueryResult<Page> {
    match extent {
        Extent::Listed { after, last, tokens } => listed(connection, shared, retention, (*after, *last), *tokens),
        Extent::Revoked { after: (at, jti), end } => revoked(connection, retention, (*at, jti), end),
        Extent::Forgotten(after) => forgotten(connection, retention, *after, limit),
        Extent::Sessions(after) => sessions(connection, retention, after, limit),
        Extent::Cutoffs(after) => cutoffs(connection, *after, limit),
    }
}

/// A blacklist row with its token.
type Listed = (ForeignText, Foreign, Option<Foreign>, Option<Facts>, Option<Stored>);

#[derive(QueryableByName)]
struct Keys {
    #[diesel(sql_type = BigInt)]
    found: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    lowest: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    highest: Option<i64>,
}

fn listed_extent(connection: &mut AnyConnection, after: i64, limit: i64) -> QueryResult<(Extent, Option<Stage>)> {
    // Of a table of their own: for the lowest of a range PostgreSQL would go through the index of all tokens.
    let keys = diesel::sql_query(format!(
        "SELECT count(*) AS found, max(id) AS last_id, min(token_id) AS lowest, max(token_id) AS highest \
         FROM (SELECT id, token_id FROM token_blacklist_blacklistedtoken WHERE id > {after} ORDER BY id LIMIT {limit}) \
         AS page"
    ));
    let keys: Keys = keys.get_result(connection)?;
    let last = keys.last_id.filter(|_| keys.found >= limit);
    Ok((Extent::Listed { after, last, tokens: keys.lowest.zip(keys.highest) }, last.map(Stage::Listed)))
}

fn listed(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    (after, last): (i64, Option<i64>),
    tokens: Option<(i64, i64)>,
) -> QueryResult<Page> {
    let range = blacklisted_tokens::id.gt(after).and(blacklisted_tokens::id.le(last.unwrap_or(i64::MAX)));
    // Tokens are mostly blacklisted in about the order in which they were recorded. Then this is a piece of that table, which
    // a database reads at once and not row by row.
    let piece = tokens.filter(|(lowest, highest)| highest.saturating_sub(*lowest) < piece::DENSE);
    // Not `superseded_at IS NULL`: PostgreSQL would think that hardly a row passes, and choose a way for hardly any row.
    let known = || simplejwt_token::superseded_at.is_not_null().or(simplejwt_token::revoked_at.is_not_null());
    let rows = || {
        blacklisted_tokens::table
            .inner_join(outstanding_tokens::table)
            .left_join(simplejwt_token::table.on(shared.same_jti()))
            .left_join(simplejwt_session::table.on(simplejwt_token::session_id.eq(simplejwt_session::id.nullable())))
            .filter(range)
            .filter(case_when(known(), false.into_sql::<Bool>()).otherwise(true.into_sql::<Bool>()))
            .select((
                outstanding_tokens::jti,
                outstanding_tokens::expires_at,
                outstanding_tokens::created_at,
                Option::<Facts>::as_select(),
                simplejwt_session::keep_until.nullable(),
            ))
    };
    let found: Vec<Listed> = match piece {
        Some((lowest, highest)) => {
            let of_piece = outstanding_tokens::id.between(lowest, highest);
            match piece::not_ended_here(connection, shared, retention, (after, last), (lowest, highest))? {
                Some(few) => {
                    let mut found = Vec::new();
                    for ids in few.chunks(CHUNK) {
                        let rows = rows().filter(of_piece).filter(blacklisted_tokens::id.eq_any(ids));
                        found.extend(rows.load::<Listed>(connection)?);
                    }
                    found
                }
                None => rows().filter(of_piece).load(connection)?,
            }
        }
        None => rows().load(connection)?,
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

fn revoked_extent(
    connection: &mut AnyConnection,
    (at, jti): (Stored, String),
    limit: i64,
) -> QueryResult<(Extent, Option<Stage>)> {
    use simplejwt_token::{jti as name, keep_until, table};

    // Of all tokens: that takes a look into an index alone.
    let of_same = table.filter(keep_until.eq(at)).filter(name.gt(&jti)).order(name).select(name);
    let of_same: Option<String> = of_same.offset(limit - 1).first(connection).optional()?;
    if let Some(last) = of_same {
        let next = Stage::Revoked(at, last.clone());
        return Ok((Extent::Revoked { after: (at, jti), end: End::Same(last) }, Some(next)));
    }
    let later = table.filter(keep_until.gt(at)).order((keep_until, name)).select((keep_until, name));
    let last: Option<(Stored, String)> = later.offset(limit - 1).first(connection).optional()?;
    // Where somebody wrote an instant into SQLite's text in another form than ours, it may not go on from here: then all of the rest is
    // one page.
    let last = last.filter(|(until, last)| (*until, last) > (at, &jti));
    let next = last.clone().map(|(at, jti)| Stage::Revoked(at, jti));
    Ok((Extent::Revoked { after: (at, jti), end: End::Later(last) }, next))
}

fn revoked(
    connection: &mut AnyConnection,
    retention: &Retention,
    (at, jti): (Stored, &str),
    end: &End,
) -> QueryResult<Page> {
    use simplejwt_token::{jti as name, keep_until, kind, revoked_at, table};

    let rows = || {
        let counts = revoked_at.is_not_null().and(kind.is_null().or(kind.ne(TokenKind::Refresh.as_str())));
        table.filter(counts).select(Facts::as_select())
    };
    let same = keep_until.eq(at).and(name.gt(jti));
    let mut found: Vec<Facts> = match end {
        End::Same(last) => rows().filter(same).filter(name.le(last)).load(connection)?,
        End::Later(_) => rows().filter(same).load(connection)?,
    };
    let next = match end {
        End::Same(last) => Stage::Revoked(at, last.clone()),
        End::Later(Some((until, last))) => {
            let rows = rows().filter(keep_until.gt(at)).filter(keep_until.le(until));
            found.extend(rows.filter(keep_until.ne(until).or(name.le(last))).load::<Facts>(connection)?);
            Stage::Revoked(*until, last.clone())
        }
        End::Later(None) => {
            found.extend(rows().filter(keep_until.gt(at)).load::<Facts>(connection)?);
            Stage::Forgotten(i64::MIN)
        }
    };
    let spans = piece::spans(connection, &found)?;
    let means = |facts: Facts| token_change(retention, &facts.jti, true, spans.get(&facts.jti).copied(), Some(&facts));
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
