//! Which of the recorded sessions and tokens are meant, found in pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::Deserialize;

use crate::ledger::connection::AnyConnection;
use crate::ledger::foreign_text::ForeignText;
use crate::ledger::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_session, simplejwt_token};
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, stored};
use crate::ledger::{Ledger, LedgerError, UserKey, is_full};
use crate::token::SessionId;

/// What of the recorded sessions and tokens is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Only those of this user.
    pub user: Option<UserKey>,
    /// Which of them.
    pub meant: Meant,
    /// Now: what has expired is of no interest.
    pub at: DateTime<Utc>,
}

/// Which sessions and tokens are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// Those of a session.
    Session(SessionId),
    /// Those of every other session, and of none.
    AllBut(SessionId),
    /// Those that began at an instant or before.
    Until(DateTime<Utc>),
}

/// Recorded tokens that are meant, and not on the blacklist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The keys of their outstanding rows.
    pub ids: Vec<i64>,
    /// After which row it goes on, if there may be more.
    pub next: Option<i64>,
}

/// The session that the text of a token names. Nobody has looked at its signature: it stands in our own database.
fn session_of(text: &str) -> Option<SessionId> {
    #[derive(Deserialize)]
    struct Claims {
        sid: SessionText,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum SessionText {
        Text(String),
        Other(serde::de::IgnoredAny),
    }
    let payload = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    match serde_json::from_slice::<Claims>(&payload).ok()?.sid {
        SessionText::Text(sid) => sid.parse().ok(),
        SessionText::Other(_) => None,
    }
}

/// A recorded token, as far as it tells whether it is meant.
struct Row {
    id: i64,
    created_at: Option<DateTime<Utc>>,
    session: Option<SessionId>,
}

impl Meant {
    fn is(self, row: &Row) -> bool {
        match self {
            Self::Session(session) => row.session == Some(session),
            Self::AllBut(session) => row.session != Some(session),
            Self::Until(mark) => {
                let began =
                    row.session.and_then(SessionId::started_at_millis).and_then(DateTime::from_timestamp_millis);
                // One that tells no time has been there for ever, as it has for a check.
                began.or(row.created_at).is_none_or(|began| began <= mark)
            }
        }
    }
}

/// Live rows after one, of which nobody has blacklisted any.
pub(super) fn rows(
    connection: &mut AnyConnection,
    shared: &Shared,
    sweep: &Sweep,
    after: i64,
    limit: i64,
) -> QueryResult<Rows> {
    type Found = (i64, Option<Foreign>, Option<String>, ForeignText);
    let mut query = outstanding_tokens::table
        .left_join(blacklisted_tokens::table)
        .left_join(simplejwt_token::table.on(shared.same_jti()))
        .filter(blacklisted_tokens::id.nullable().is_null())
        .filter(outstanding_tokens::expires_at.gt(stored(sweep.at)))
        .filter(outstanding_tokens::id.gt(after))
        .order(outstanding_tokens::id)
        .limit(limit)
        .select((
            outstanding_tokens::id,
            outstanding_tokens::created_at,
            simplejwt_token::session_id.nullable(),
            outstanding_tokens::token,
        ))
        .into_boxed();
    if let Some(user) = &sweep.user {
        let Some(text) = shared.text(user) else { return Ok(Rows::default()) };
        query = query.filter(shared.is_of_user(text));
    }
    if let Meant::Session(_) = sweep.meant {
        // Those that we recorded are found by their session.
        query = query.filter(outstanding_tokens::token.ne(""));
    }
    let found: Vec<Found> = query.load(connection)?;
    let full = is_full(&found, limit);
    let next = found.last().map(|row| row.0).filter(|_| full);
    let ids = found.into_iter().filter_map(|(id, created_at, session, text)| {
        let recorded = session.and_then(|session| session.parse().ok());
        let session = recorded.or_else(|| session_of(text.0.as_deref().unwrap_or_default()));
        let row = Row { id, created_at: created_at.and_then(Foreign::instant), session };
        sweep.meant.is(&row).then_some(row.id)
    });
    Ok(Rows { ids: ids.collect(), next })
}

/// A condition on the sessions of a sweep that are open.
macro_rules! open_sessions {
    ($sweep:expr, $after:expr) => {{
        let mut query = simplejwt_session::table
            .filter(simplejwt_session::ended_at.is_null())
            .filter(simplejwt_session::id.gt($after.to_owned()))
            .order(simplejwt_session::id)
            .into_boxed();
        if let Some(user) = &$sweep.user {
            query = query.filter(simplejwt_session::user_id.eq(user.as_str().to_owned()));
        }
        match $sweep.meant {
            Meant::Session(id) => query.filter(simplejwt_session::id.eq(id.to_string())),
            Meant::AllBut(id) => query.filter(simplejwt_session::id.ne(id.to_string())),
            Meant::Until(mark) => query.filter(simplejwt_session::created_at.le(stored(mark))),
        }
    }};
}

impl Ledger {
    /// Open sessions that are meant, after the one with this name, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn sessions_to_end(&self, sweep: &Sweep, after: &str, limit: i64) -> Result<Vec<String>, LedgerError> {
        if sweep.user.as_ref().is_some_and(|user| !user.is_storable()) {
            return Ok(Vec::new());
        }
        let (sweep, after) = (sweep.clone(), after.to_owned());
        self.run_long(move |connection| {
            let query = open_sessions!(sweep, after).limit(limit).select(simplejwt_session::id);
            Ok(query.load(connection)?)
        })
        .await
    }

    /// Notes that these sessions are over, which a cutoff has ended, and says how many were open.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn end_listed_sessions(
        &self,
        names: Vec<String>,
        reason: &str,
        at: DateTime<Utc>,
    ) -> Result<u64, LedgerError> {
        let reason = reason.to_owned();
        self.write_long(move |connection| {
            let open = simplejwt_session::table
                .filter(simplejwt_session::id.eq_any(&names))
                .filter(simplejwt_session::ended_at.is_null());
            let ended = diesel::update(open)
                .set((simplejwt_session::ended_at.eq(stored(at)), simplejwt_session::ended_reason.eq(&reason)))
                .execute(connection)?;
            Ok(ended as u64)
        })
        .await
    }

    /// Recorded tokens that are meant and could still be used in Django, after a row, looking at `limit` rows at most.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn rows_to_blacklist(&self, sweep: &Sweep, after: i64, limit: i64) -> Result<Rows, LedgerError> {
        let (sweep, shared) = (sweep.clone(), self.shared().await?);
        self.run_long(move |connection| Ok(rows(connection, &shared, &sweep, after, limit)?)).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::endings::cut_off::end_of_millisecond;

    #[test]
    fn a_session_is_read_from_the_text_of_a_token() {
        let id = SessionId::starting_at(1_800_000_000_000);
        let token = |claims: serde_json::Value| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        assert_eq!(session_of(&token(json!({ "sid": id.to_string(), "jti": "x" }))), Some(id));
        for other in [json!({}), json!({ "sid": 7 }), json!({ "sid": "x" }), json!([])] {
            assert_eq!(session_of(&token(other.clone())), None, "{other}");
        }
        for text in ["", "x", "a.b", "a.!.c"] {
            assert_eq!(session_of(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_meant_by_an_instant_goes_by_the_beginning_of_the_session() {
        let at = |millis| DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap();
        let row = |session: Option<u64>, created: Option<i64>| Row {
            id: 1,
            created_at: created.map(at),
            session: session.map(|millis| SessionId::starting_at(1_800_000_000_000 + millis)),
        };
        let until = Meant::Until(end_of_millisecond(at(500)));
        assert!(until.is(&row(Some(500), Some(900))), "renewed since");
        assert!(!until.is(&row(Some(501), Some(501))));
        assert!(until.is(&row(None, Some(500))) && !until.is(&row(None, Some(501))) && until.is(&row(None, None)));
        let kept = SessionId::starting_at(1);
        let of = |session| Row { id: 1, created_at: None, session };
        assert!(!Meant::AllBut(kept).is(&of(Some(kept))) && Meant::AllBut(kept).is(&of(None)));
        assert!(Meant::Session(kept).is(&of(Some(kept))) && !Meant::Session(kept).is(&of(None)));
    }
}
