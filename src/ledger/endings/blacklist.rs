//! A blacklist row for every recorded token that is refused anyway and could still be used: all that Django knows of.

use chrono::{DateTime, Utc};
use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_types::Timestamp;

use super::sweep::{Meant, Sweep, rows};
use crate::ledger::connection::AnyConnection;
use crate::ledger::dialect::if_new;
use crate::ledger::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_session, simplejwt_token};
use crate::ledger::shared::Shared;
use crate::ledger::time::stored;
use crate::ledger::{Ledger, LedgerError, UserKey, blacklisted};
use crate::token::Jti;

/// Blacklists every live row of a user, before nobody knows any more whose they are.
pub(in crate::ledger) fn blacklist_all_of(
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
pub(super) fn blacklist(
    connection: &mut AnyConnection,
    shared: &Shared,
    ids: &[i64],
    at: DateTime<Utc>,
) -> QueryResult<u64> {
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

impl Ledger {
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
