//! The rule: what nobody can need any more, and the rows to which it is put.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::FlushPlan;
use super::batch::Stage;
use crate::ledger::connection::AnyConnection;
use crate::ledger::raw::Raw;
use crate::ledger::schema::{outstanding_tokens, simplejwt_token};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, Stored, stored};
use crate::token::Jti;

/// An outstanding row that may have to go.
#[derive(Debug, Queryable)]
pub(super) struct Candidate {
    pub(super) id: i64,
    pub(super) jti: String,
    expires_at: Foreign,
    /// The same as text that orders as the column does.
    pub(super) order: String,
    created_at: Option<Foreign>,
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
macro_rules! ends {
    () => {
        "CASE WHEN superseded_at IS NULL AND revoked_at IS NULL AND (kind IS NULL OR kind <> 'access') THEN session_id END"
    };
}

/// The name of a token, and that session.
pub(super) const JTI_AND_ENDS: &str = concat!("jti, ", ends!());

/// That session.
pub(super) fn ends() -> Raw<Nullable<Text>> {
    Raw::new(ends!())
}

impl FlushPlan {
    /// Rows that expire later than this stay.
    pub(super) fn horizon(&self) -> Stored {
        stored(self.as_of.checked_sub_signed(self.margin).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// When the last token that could be alive now is dead, as far as one can tell without its session.
    pub(super) fn all_dead_by(&self) -> Stored {
        let lifetime = self.sliding_refresh_lifetime.checked_add(&self.margin);
        stored(lifetime.and_then(|it| self.as_of.checked_add_signed(it)).unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// Whether the row itself says that its token is dead. If the token's kind is known, and what is known of it need not be
    /// kept any longer, then nobody can need the row any more.
    pub(super) fn is_over(&self, row: &Candidate) -> bool {
        row.expires_at.instant().is_some_and(|end| self.has_passed(end))
    }

    /// The rule: whether nobody can need this row any more. What cannot be read, stays.
    pub(super) fn lets_go(&self, row: &Candidate, facts: Option<&Facts>) -> bool {
        let kept = facts.is_some_and(|facts| facts.keep_until.and_utc() > self.as_of);
        let kind = facts.and_then(|facts| facts.kind.as_ref());
        let renewable = match (kind, row.created_at) {
            // It may be of a sliding token, which others renew without a word to the ledger.
            (None, Some(created)) => {
                let end = created.instant().and_then(|at| at.checked_add_signed(self.sliding_refresh_lifetime));
                !end.is_some_and(|end| self.has_passed(end))
            }
            _ => false,
        };
        self.is_over(row) && !kept && !renewable
    }

    fn has_passed(&self, end: DateTime<Utc>) -> bool {
        end.checked_add_signed(self.margin).is_some_and(|end| end <= self.as_of)
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
        .select((
            outstanding_tokens::id,
            outstanding_tokens::jti,
            outstanding_tokens::expires_at,
            shared.expiry_text(),
            outstanding_tokens::created_at,
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

/// The names among these that tokens of ours can have: what is known of a token stands under such a one.
pub(super) fn names<'a>(rows: impl Iterator<Item = &'a Candidate>) -> Vec<Jti> {
    rows.filter_map(|row| row.jti.parse().ok()).collect()
}

/// What is known of tokens beside their rows, by name.
pub(super) fn facts_of(connection: &mut AnyConnection, names: &[Jti]) -> QueryResult<HashMap<String, Facts>> {
    use simplejwt_token::{jti, keep_until, kind, table};

    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let known: Vec<Facts> = table
        .filter(Raw::is_one_of_tokens("simplejwt_token.jti", names.iter()))
        .select((jti, kind, keep_until, ends()))
        .load(connection)?;
    Ok(known.into_iter().map(|facts| (facts.jti.clone(), facts)).collect())
}
