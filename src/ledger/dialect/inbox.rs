//! The inbox of the log of revocations, on databases whose triggers cannot run at commit. They write there without a lock; what is
//! committed is moved to the log by any process, in transactions of its own, of which the order is that of their numbers.
#![cfg_attr(not(feature = "mysql"), expect(unused_variables, reason = "others do without"))]

#[cfg(feature = "mysql")]
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

#[cfg(feature = "mysql")]
use super::NumberRow;
use crate::ledger::connection::AnyConnection;
use crate::ledger::url::{DatabaseUrl, Place};

/// Whether the log has an inbox.
pub(in crate::ledger) const fn has_inbox(url: &DatabaseUrl) -> bool {
    match url.place() {
        #[cfg(feature = "sqlite")]
        Place::Memory | Place::File(_) => false,
        #[cfg(feature = "postgres")]
        Place::Postgres(_) => false,
        #[cfg(feature = "mysql")]
        Place::Mysql(_) => true,
    }
}

/// Of what something changed.
#[derive(Debug, QueryableByName)]
pub(in crate::ledger) struct Waiting {
    #[diesel(sql_type = BigInt)]
    pub(in crate::ledger) id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::ledger) token_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::ledger) jti: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::ledger) session_id: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::ledger) cutoff_id: Option<i64>,
}

/// What is committed and not yet moved, of the first so many rows after one of them.
pub(in crate::ledger) fn waiting(connection: &mut AnyConnection, after: i64, limit: i64) -> QueryResult<Vec<Waiting>> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(Vec::new()),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Ok(Vec::new()),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => {
            let rows = diesel::sql_query(
                "SELECT id, token_id, jti, session_id, cutoff_id FROM simplejwt_inbox WHERE id > ? ORDER BY id LIMIT ?",
            );
            rows.bind::<BigInt, _>(after).bind::<BigInt, _>(limit).load(mysql)
        }
    }
}

/// How many rows are committed and not yet moved.
pub(in crate::ledger) fn count_waiting(connection: &mut AnyConnection) -> QueryResult<i64> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(0),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Ok(0),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => {
            let all = diesel::sql_query("SELECT count(*) AS number FROM simplejwt_inbox");
            all.get_result::<NumberRow>(mysql).map(|row| row.number)
        }
    }
}

/// The last row of the inbox, if there is any.
pub(in crate::ledger) fn last_waiting(connection: &mut AnyConnection) -> QueryResult<Option<i64>> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(None),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Ok(None),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => {
            let last = diesel::sql_query("SELECT id AS number FROM simplejwt_inbox ORDER BY id DESC LIMIT 1");
            Ok(last.get_result::<NumberRow>(mysql).optional()?.map(|row| row.number))
        }
    }
}

/// Whether anything up to this row of the inbox is committed and not yet moved.
pub(in crate::ledger) fn is_anything_waiting(connection: &mut AnyConnection, through: i64) -> QueryResult<bool> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(false),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Ok(false),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => {
            let any = diesel::sql_query(
                "SELECT EXISTS (SELECT 1 FROM simplejwt_inbox WHERE id <= ? ORDER BY id LIMIT 1) AS number",
            );
            any.bind::<BigInt, _>(through).get_result::<NumberRow>(mysql).map(|row| row.number > 0)
        }
    }
}

/// Moves so many rows at most from the inbox to the log, and says how many. In a transaction of its own: the lock on the row of
/// numbers is what makes them the order of the commits. Waits for nobody: where another process is at it, none are moved, and a
/// row whose transaction is still open is left for later.
pub(in crate::ledger) fn sequence(connection: &mut AnyConnection, rows: i64) -> QueryResult<u64> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(0),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Ok(0),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => sequence_inbox(mysql, rows),
    }
}

#[cfg(feature = "mysql")]
fn sequence_inbox(mysql: &mut MysqlConnection, rows: i64) -> QueryResult<u64> {
    let turn =
        diesel::sql_query("SELECT seq AS number FROM simplejwt_revocation_state WHERE id = 1 FOR UPDATE SKIP LOCKED");
    let Some(last) = turn.get_result::<NumberRow>(mysql).optional()? else { return Ok(0) };
    let found: Vec<NumberRow> =
        diesel::sql_query("SELECT id AS number FROM simplejwt_inbox ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED")
            .bind::<BigInt, _>(rows)
            .load(mysql)?;
    if found.is_empty() {
        return Ok(0);
    }
    let ids: Vec<_> = found.iter().map(|row| row.number.to_string()).collect();
    let last = last.number;
    // One by one by their key: to find several of them in a small table the database would go through all of it, and wait there
    // for rows of open transactions.
    let delete: Vec<_> = ids.iter().map(|id| format!("DELETE FROM simplejwt_inbox WHERE id = {id};")).collect();
    mysql.batch_execute(&format!(
        "INSERT INTO simplejwt_revocation (seq, token_id, jti, session_id, cutoff_id, expires_at, removed, at) \
         SELECT {last} + ROW_NUMBER() OVER (ORDER BY id), token_id, jti, session_id, cutoff_id, expires_at, removed, at \
         FROM simplejwt_inbox WHERE id IN ({}); \
         UPDATE simplejwt_revocation_state SET seq = {last} + {} WHERE id = 1; {}",
        ids.join(", "),
        ids.len(),
        delete.concat()
    ))?;
    Ok(ids.len() as u64)
}
