//! The rule: what nobody can need any more, and the rows to which it is put.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::FlushPlan;
use super::batch::{OUTSTANDING_ID, Stage};
use crate::ledger::Retention;
use crate::ledger::connection::AnyConnection;
use crate::ledger::dialect;
use crate::ledger::foreign_text::ForeignText;
use crate::ledger::is_full;
use crate::ledger::raw::Raw;
use crate::ledger::schema::{outstanding_tokens, simplejwt_token};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, Stored, stored};
use crate::token::Jti;

/// An outstanding row that may have to go.
#[derive(Debug, Queryable)]
pub(super) struct Candidate {
    pub(super) id: i64,
    #[diesel(deserialize_as = ForeignText)]
    pub(super) jti: String,
    expires_at: Foreign,
}

/// What is known of a token beside its row, as far as it decides.
#[derive(Debug, Queryable)]
pub(super) struct Facts {
    jti: String,
    kind: Option<String>,
    keep_until: Stored,
    pub(super) ends: Option<String>,
}

/// Of a row of facts: the session that is over if others blacklisted the token. Access tokens end none, and what was
/// revoked or superseded here is noted where it has to be.
pub(super) fn ends() -> Raw<Nullable<Text>> {
    Raw::new(
        "CASE WHEN superseded_at IS NULL AND revoked_at IS NULL AND (kind IS NULL OR kind <> 'access') THEN session_id END",
    )
}

impl FlushPlan {
    /// Rows that expire later than this stay.
    pub(super) fn horizon(&self) -> Stored {
        stored(self.as_of.checked_sub_signed(self.retention.margin).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// When the last token that could be alive now is dead, as far as one can tell without its session.
    pub(super) fn all_dead_by(&self) -> Stored {
        let lifetime = self.retention.sliding_refresh_lifetime.checked_add(&self.retention.margin);
        stored(lifetime.and_then(|it| self.as_of.checked_add_signed(it)).unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// Whether the row itself says that its token is dead. If the token's kind is known, and what is known of it need not be
    /// kept any longer, then nobody can need the row any more.
    pub(super) fn is_over(&self, row: &Candidate) -> bool {
        let end = row.expires_at.instant().and_then(|end| end.checked_add_signed(self.retention.margin));
        end.is_some_and(|end| end <= self.as_of)
    }

    /// The rule: whether nobody can need this row any more. What cannot be read, stays.
    pub(super) fn lets_go(&self, row: &Candidate, known: &Known) -> bool {
        let facts = known.facts.get(&row.jti);
        let kind = facts.and_then(|facts| facts.kind.as_deref());
        let created_at = known.created_at.get(&row.id).copied();
        let dead_at = self.retention.dead_at(row.expires_at, created_at, kind, facts.map(|facts| facts.keep_until));
        dead_at.is_some_and(|at| at <= self.as_of)
    }

    /// Between which moments what is known of these tokens must have been kept, if each was kept for the margin beyond its
    /// expiry, or for less: then it need not be kept any longer.
    pub(super) fn kept_between(&self, over: &[&Candidate]) -> Option<(Stored, Stored)> {
        let ends = || over.iter().filter_map(|row| row.expires_at.instant());
        Some((stored(ends().min()?), stored(ends().max()?.checked_add_signed(self.retention.margin)?.min(self.as_of))))
    }
}

/// That facts without an outstanding row are of a token that ends no session any more: Django may have blacklisted it and deleted
/// that, and then they alone say which access tokens are refused with it, as long as those live.
pub(super) type Spent =
    diesel::dsl::Or<diesel::dsl::IsNull<Raw<Nullable<Text>>>, diesel::dsl::LtEq<simplejwt_token::keep_until, Stored>>;

impl FlushPlan {
    /// See [`Spent`].
    pub(super) fn is_spent(&self) -> Spent {
        let Retention { access_lifetime, margin, .. } = self.retention;
        let more = access_lifetime.checked_add(&margin);
        let horizon = more.and_then(|more| self.as_of.checked_sub_signed(more)).unwrap_or(DateTime::<Utc>::MIN_UTC);
        ends().is_null().or(simplejwt_token::keep_until.le(stored(horizon)))
    }
}

/// Whether all tokens of a session are ours. Then its row is kept for as long as the last of them lives, and where that says that
/// the session is over, it need not be kept for longer when a blacklisted token of it goes. Django may have rotated one of them
/// into a token that no row tells of (before 5.5, or at the moment at which the session ended), and nothing but the session refuses
/// that one. It may also have begun to use tables that we made.
pub(super) fn are_all_ours(connection: &mut AnyConnection, shared: &Shared) -> QueryResult<bool> {
    Ok(!shared.is_djangos() && !dialect::has_table(connection, "django_migrations")?)
}

/// The next outstanding rows to decide on, and where those after them begin, if there may be any.
pub(super) fn candidates(
    connection: &mut AnyConnection,
    shared: &Shared,
    plan: &FlushPlan,
    stage: &Stage,
    rows: i64,
) -> QueryResult<(Vec<Candidate>, Option<Stage>)> {
    use outstanding_tokens::{expires_at, id, jti, table};

    let query = table.select((id, jti, expires_at)).limit(rows).into_boxed();
    let found: Vec<Candidate> = match stage {
        Stage::ByKey(after) => query.filter(id.gt(after)).order(id).load(connection)?,
        Stage::ByExpiry(after, last) => {
            // The first of the two lets the index be used.
            let later = shared.expires(">", after).or(id.gt(*last));
            let query = query.filter(shared.expires(">=", after)).filter(later);
            query.filter(expires_at.le(plan.horizon())).order((expires_at, id)).load(connection)?
        }
        _ => query.filter(expires_at.le(plan.horizon())).order((expires_at, id)).load(connection)?,
    };
    let next = match found.last().filter(|_| is_full(&found, rows)) {
        None => None,
        Some(last) if matches!(stage, Stage::ByKey(_)) => Some(Stage::ByKey(last.id)),
        Some(last) => {
            let order = table.find(last.id).select(shared.expiry_text()).first(connection)?;
            Some(Stage::ByExpiry(order, last.id))
        }
    };
    Ok((found, next))
}

/// The names among these that tokens of ours can have: what is known of a token stands under such a one.
pub(super) fn names(rows: &[&Candidate]) -> Vec<Jti> {
    rows.iter().filter_map(|row| row.jti.parse().ok()).collect()
}

/// What decides on rows beside their expiry.
#[derive(Debug)]
pub(super) struct Known {
    /// What is known of their tokens, by name.
    pub(super) facts: HashMap<String, Facts>,
    /// When they were made, by key, where that is said.
    created_at: HashMap<i64, Foreign>,
}

impl Known {
    pub(super) fn of(connection: &mut AnyConnection, shared: &Shared, rows: &[&Candidate]) -> QueryResult<Self> {
        use simplejwt_token::{jti, keep_until, kind, table};

        let mut known = Self { facts: HashMap::new(), created_at: HashMap::new() };
        if rows.is_empty() {
            return Ok(known);
        }
        let facts: Vec<Facts> = table
            .filter(shared.is_token_among("simplejwt_token.jti", &names(rows)))
            .select((jti, kind, keep_until, ends()))
            .load(connection)?;
        known.facts.extend(facts.into_iter().map(|facts| (facts.jti.clone(), facts)));
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let created: Vec<(i64, Option<Foreign>)> = outstanding_tokens::table
            .filter(shared.is_number_among(OUTSTANDING_ID, &ids))
            .select((outstanding_tokens::id, outstanding_tokens::created_at))
            .load(connection)?;
        known.created_at.extend(created.into_iter().filter_map(|(id, at)| Some((id, at?))));
        Ok(known)
    }

    /// Whether anything is known of the token of this row.
    pub(super) fn knows(&self, row: &Candidate) -> bool {
        self.facts.contains_key(&row.jti)
    }
}
