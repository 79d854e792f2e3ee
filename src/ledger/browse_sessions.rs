//! Looking through sessions, a page at a time, however many there are: as `browse` does it with tokens.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::browse::{Pace, STEP};
use super::connection::AnyConnection;
use super::schema::simplejwt_session::dsl;
use super::session_list::{Part, SessionFilter, SessionRow, page};
use super::shared::Shared;
use super::{Ledger, LedgerError};
use crate::token::SessionId;

/// A page.
#[derive(Clone, Debug, Default)]
pub struct SessionPage {
    /// Its rows, the newest first.
    pub rows: Vec<SessionRow>,
    /// The session after which the next one begins. [`None`]: there are no more.
    pub next: Option<SessionId>,
    /// Whether it ends before it is full, because its time was over.
    pub unfinished: bool,
}

/// The next sessions in the order of an index, whatever their state. None has a name but those that we give.
fn ids(connection: &mut AnyConnection, filter: &SessionFilter, most: i64) -> QueryResult<Vec<SessionId>> {
    let mut query = dsl::simplejwt_session.select(dsl::id).order(dsl::id.desc()).limit(most).into_boxed();
    if let Some(user) = &filter.user {
        let user = user.as_str().to_owned();
        query = query.filter(dsl::user_id.ge(user.clone()).and(dsl::user_id.le(user)));
        query = query.order((dsl::user_id.desc(), dsl::id.desc()));
    }
    if let Some(after) = filter.after {
        query = query.filter(dsl::id.lt(after.to_string()));
    }
    let ids: Vec<String> = query.load(connection)?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

fn browse(
    connection: &mut AnyConnection,
    shared: &Shared,
    mut filter: SessionFilter,
    now: DateTime<Utc>,
) -> QueryResult<SessionPage> {
    let limit = filter.limit.max(1);
    let mut steps = Pace::new(if filter.state.is_some() { STEP } else { limit });
    let mut found = SessionPage::default();
    loop {
        let ids = ids(connection, &filter, steps.rows)?;
        let whole = i64::try_from(ids.len()).is_ok_and(|count| count == steps.rows);
        let Some(last) = ids.last().copied() else { break };
        let condition = shared.is_session_among("simplejwt_session.id", &ids);
        found.rows.append(&mut page(connection, shared, &filter, Part::Where(&condition), now)?);
        filter.limit = limit - i64::try_from(found.rows.len()).unwrap_or(limit);
        if filter.limit <= 0 {
            // The page may end with the last session that there is.
            found.next = found.rows.last().map(|row| row.id).filter(|id| whole || *id != last);
            break;
        }
        if !whole {
            break;
        }
        filter.after = Some(last);
        if !steps.goes_on() {
            (found.next, found.unfinished) = (Some(last), true);
            break;
        }
    }
    Ok(found)
}

impl Ledger {
    /// A page of sessions, of at most as many rows as the filter says, after the session where another one ended.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn browse_sessions(
        &self,
        filter: &SessionFilter,
        now: DateTime<Utc>,
    ) -> Result<SessionPage, LedgerError> {
        if filter.user.as_ref().is_some_and(|user| !user.is_storable()) {
            return Ok(SessionPage::default());
        }
        let (filter, shared) = (filter.clone(), self.shared().await?);
        self.run(move |connection| Ok(browse(connection, &shared, filter.clone(), now)?)).await
    }
}
