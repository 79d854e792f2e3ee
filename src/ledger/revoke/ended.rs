//! Ends of several sessions at once, in `simplejwt_session`.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamp};

use crate::ledger::connection::AnyConnection;
use crate::ledger::many::{self, Value};
use crate::ledger::sessions::End;
use crate::ledger::time::{Stored, stored};

/// A session that ends, or has ended, as its row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) at: Option<Stored>,
    pub(super) reason: Option<String>,
    pub(super) by: Option<String>,
    pub(super) keep_until: Stored,
    /// Of one that is not recorded yet.
    pub(super) user: Option<String>,
}

impl Ended {
    /// One that nobody recorded.
    pub(super) fn new(end: &End<'_>) -> Self {
        Self {
            at: Some(stored(end.at)),
            reason: Some(end.reason.to_owned()),
            by: end.by.map(str::to_owned),
            keep_until: end.keep_until,
            user: end.user.map(str::to_owned),
        }
    }

    /// Ends it, and says whether it was open.
    pub(super) fn end(&mut self, end: &End<'_>) -> bool {
        let keep_until = self.keep_until.max(end.keep_until);
        let was_open = self.at.is_none();
        if was_open {
            *self = Self::new(end);
        }
        self.keep_until = keep_until;
        was_open
    }
}

/// How each of some sessions is recorded, which nobody else can change now.
pub(super) fn lock_all(connection: &mut AnyConnection, sessions: &[&str]) -> QueryResult<Vec<(String, Ended)>> {
    type Columns = (Text, Nullable<Timestamp>, Nullable<Text>, Nullable<Text>, Timestamp);
    type Row = (String, Option<Stored>, Option<String>, Option<String>, Stored);

    let columns = "id, ended_at, ended_reason, ended_by, keep_until";
    let found: Vec<Row> = many::lock::<Columns, _>(connection, columns, "simplejwt_session", "id", sessions)?;
    let ended = |(id, at, reason, by, keep_until): Row| (id, Ended { at, reason, by, keep_until, user: None });
    Ok(found.into_iter().map(ended).collect())
}

/// Records sessions as ended; fails if one of them is recorded already.
pub(super) fn insert(connection: &mut AnyConnection, sessions: &[(&str, &Ended)]) -> QueryResult<()> {
    many::insert(connection, INTO, &rows(sessions))
}

/// Writes down how sessions have ended that are recorded, and that nobody else can change now. The end and until when it is known are one
/// change to whoever reads the log.
pub(super) fn update(connection: &mut AnyConnection, sessions: &[(&str, &Ended)]) -> QueryResult<()> {
    many::update(connection, INTO, "id", &["ended_at", "ended_reason", "ended_by", "keep_until"], &rows(sessions))
}

const INTO: &str =
    "simplejwt_session (id, user_id, created_at, last_used_at, ended_at, ended_reason, ended_by, keep_until)";

fn rows<'a>(sessions: &[(&'a str, &'a Ended)]) -> Vec<[Value<'a>; 8]> {
    let row = |(id, ended): &(&'a str, &'a Ended)| {
        let at = ended.at.unwrap_or(ended.keep_until);
        [
            Value::from(*id),
            ended.user.as_deref().into(),
            at.into(),
            at.into(),
            at.into(),
            ended.reason.as_deref().into(),
            ended.by.as_deref().into(),
            ended.keep_until.into(),
        ]
    };
    sessions.iter().map(row).collect()
}
