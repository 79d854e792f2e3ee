//! The rule: what nobody can need any more, and the rows to which it is put.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::FlushPlan;
use super::batch::Stage;
use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_token};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, Stored, stored};
use crate::token::TokenKind;

/// An outstanding row that may have to go, with all that decides on it.
#[derive(Debug, Queryable)]
pub(super) struct Candidate {
    pub(super) id: i64,
    pub(super) jti: String,
    expires_at: Foreign,
    /// The same as text that orders as the column does.
    pub(super) order: String,
    created_at: Option<Foreign>,
    pub(super) blacklisted: Option<i64>,
    pub(super) facts: Option<Facts>,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = simplejwt_token)]
pub(super) struct Facts {
    kind: Option<String>,
    session_id: Option<String>,
    superseded_at: Option<NaiveDateTime>,
    revoked_at: Option<NaiveDateTime>,
    keep_until: Stored,
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

    /// The rule: whether nobody can need this row any more. What cannot be read, stays.
    pub(super) fn lets_go(&self, row: &Candidate) -> bool {
        let facts = row.facts.as_ref();
        let (kind, known) = (facts.and_then(|facts| facts.kind.as_deref()), facts.map(|facts| facts.keep_until));
        let dead_at = self.retention.dead_at(row.expires_at, row.created_at, kind, known);
        dead_at.is_some_and(|at| at <= self.as_of)
    }
}

impl Candidate {
    /// The session that is over only because of this row.
    pub(super) fn session_to_end(&self) -> Option<&str> {
        let facts = self.facts.as_ref()?;
        let elsewhere = self.blacklisted.is_some() && facts.superseded_at.is_none() && facts.revoked_at.is_none();
        let ends = elsewhere && facts.kind.as_deref() != Some(TokenKind::Access.as_str());
        facts.session_id.as_deref().filter(|_| ends)
    }
}

/// The next outstanding rows to decide on.
pub(super) fn candidates(
    connection: &mut AnyConnection,
    shared: &Shared,
    plan: &FlushPlan,
    stage: &Stage,
    rows: i64,
) -> QueryResult<Vec<Candidate>> {
    let query = outstanding_tokens::table
        .left_join(blacklisted_tokens::table)
        .left_join(simplejwt_token::table.on(shared.same_jti()))
        .select((
            outstanding_tokens::id,
            outstanding_tokens::jti,
            outstanding_tokens::expires_at,
            shared.expiry_text(),
            outstanding_tokens::created_at,
            blacklisted_tokens::id.nullable(),
            Option::<Facts>::as_select(),
        ))
        .limit(rows)
        .into_boxed();
    if let Stage::ByKey(after) = stage {
        return query.filter(outstanding_tokens::id.gt(after)).order(outstanding_tokens::id).load(connection);
    }
    let mut query = query
        .filter(outstanding_tokens::expires_at.le(plan.horizon()))
        .order((outstanding_tokens::expires_at, outstanding_tokens::id));
    if let Stage::ByExpiry(after, id) = stage {
        // The first of the two lets the index be used.
        let later = shared.expires(">", after).or(outstanding_tokens::id.gt(*id));
        query = query.filter(shared.expires(">=", after)).filter(later);
    }
    query.load(connection)
}
