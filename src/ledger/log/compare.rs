//! What is refused, in small parts, to be compared with what somebody has in memory.
//!
//! Not what the log says is compared, but the tables, as triggers cannot tell of what passes them by; and not by a number and a
//! checksum of a range: who has it in memory finds keys there and no ranges of rows, and the rows have to be read for either. A part
//! is a range of the primary key of one table, however few of its rows mean anything, so that it costs the database no more than
//! so many rows. How they stand is found out as by every reader of the log.

use diesel::prelude::*;

use super::resolve::{Asked, resolve};
use crate::ledger::connection::AnyConnection;
use crate::ledger::dialect;
use crate::ledger::foreign_text::ForeignText;
use crate::ledger::schema::{
    blacklisted_tokens, outstanding_tokens, simplejwt_cutoff, simplejwt_revocation, simplejwt_session, simplejwt_token,
};
use crate::ledger::shared::Shared;
use crate::ledger::{Ledger, LedgerError, Retention};
use crate::token::{Change, TokenKind};

/// Where a comparison is. The default is its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartCursor(Stage);

/// A table, and after which row of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The blacklist that is shared with Django.
    Listed(i64),
    /// What is known of tokens.
    Tokens(String),
    Sessions(String),
    Cutoffs(i64),
    /// The log itself: it alone knows of tokens that Django has deleted.
    Log(i64),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Listed(i64::MIN)
    }
}

/// A part of what is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// What of it is refused.
    pub refused: Vec<Change>,
    /// How many rows of a table it has.
    pub rows: usize,
    /// Where the next one begins; none after the last.
    pub next: Option<PartCursor>,
}

fn part(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    stage: &Stage,
    limit: i64,
) -> QueryResult<Part> {
    let mut asked = Asked::default();
    let (rows, last) = match stage {
        Stage::Listed(after) => listed(connection, *after, limit, &mut asked)?,
        Stage::Tokens(after) => tokens(connection, after, limit, &mut asked)?,
        Stage::Sessions(after) => sessions(connection, after, limit, &mut asked)?,
        Stage::Cutoffs(after) => cutoffs(connection, *after, limit, &mut asked)?,
        Stage::Log(after) => log(connection, *after, limit, &mut asked)?,
    };
    let full = i64::try_from(rows).is_ok_and(|rows| rows >= limit);
    let next = last.filter(|_| full).or_else(|| stage.after()).map(PartCursor);
    let mut refused = resolve(connection, shared, retention, asked)?;
    refused.retain(|change| change.refused);
    Ok(Part { refused, rows, next })
}

impl Stage {
    /// The beginning of the table after this one.
    fn after(&self) -> Option<Self> {
        Some(match self {
            Self::Listed(_) => Self::Tokens(String::new()),
            Self::Tokens(_) => Self::Sessions(String::new()),
            Self::Sessions(_) => Self::Cutoffs(i64::MIN),
            Self::Cutoffs(_) => Self::Log(i64::MIN),
            Self::Log(_) => return None,
        })
    }
}

/// How many rows were read, and the last of them.
type Read = (usize, Option<Stage>);

fn listed(connection: &mut AnyConnection, after: i64, limit: i64, asked: &mut Asked) -> QueryResult<Read> {
    use blacklisted_tokens::id;

    let found: Vec<(i64, ForeignText)> = blacklisted_tokens::table
        .inner_join(outstanding_tokens::table)
        .filter(id.gt(after))
        .order(id)
        .limit(limit)
        .select((id, outstanding_tokens::jti))
        .load(connection)?;
    let last = found.last().map(|(key, _)| Stage::Listed(*key));
    let rows = found.len();
    for (_, jti) in found {
        asked.add(None, jti.0, None, None);
    }
    Ok((rows, last))
}

fn tokens(connection: &mut AnyConnection, after: &str, limit: i64, asked: &mut Asked) -> QueryResult<Read> {
    use simplejwt_token::{jti, kind, revoked_at, table};

    let revoked = revoked_at.is_not_null().and(kind.is_null().or(kind.ne(TokenKind::Refresh.as_str())));
    let found: Vec<(String, Option<bool>)> =
        table.filter(jti.gt(after)).order(jti).limit(limit).select((jti, revoked.nullable())).load(connection)?;
    let last = found.last().map(|(name, _)| Stage::Tokens(name.clone()));
    let rows = found.len();
    let revoked = found.into_iter().filter(|(_, revoked)| *revoked == Some(true));
    for (name, _) in revoked {
        asked.add(None, Some(name), None, None);
    }
    Ok((rows, last))
}

fn sessions(connection: &mut AnyConnection, after: &str, limit: i64, asked: &mut Asked) -> QueryResult<Read> {
    use simplejwt_session::{ended_at, id, table};

    let found: Vec<(String, bool)> =
        table.filter(id.gt(after)).order(id).limit(limit).select((id, ended_at.is_not_null())).load(connection)?;
    let last = found.last().map(|(name, _)| Stage::Sessions(name.clone()));
    let rows = found.len();
    for (name, _) in found.into_iter().filter(|(_, over)| *over) {
        asked.add(None, None, Some(name), None);
    }
    Ok((rows, last))
}

fn cutoffs(connection: &mut AnyConnection, after: i64, limit: i64, asked: &mut Asked) -> QueryResult<Read> {
    use simplejwt_cutoff::{id, table};

    let found: Vec<i64> = table.filter(id.gt(after)).order(id).limit(limit).select(id).load(connection)?;
    for key in &found {
        asked.add(None, None, None, Some(*key));
    }
    Ok((found.len(), found.last().copied().map(Stage::Cutoffs)))
}

fn log(connection: &mut AnyConnection, after: i64, limit: i64, asked: &mut Asked) -> QueryResult<Read> {
    use simplejwt_revocation::{cutoff_id, jti, removed, seq, session_id, table, token_id};

    type Row = (i64, bool, Option<i64>, Option<ForeignText>, Option<String>, Option<i64>);
    let found: Vec<Row> = table
        .filter(seq.gt(after))
        .order(seq)
        .limit(limit)
        .select((seq, removed, token_id, jti, session_id, cutoff_id))
        .load(connection)?;
    let last = found.last().map(|row| Stage::Log(row.0));
    let rows = found.len();
    for (_, taken_back, token, name, session, cutoff) in found {
        if !taken_back {
            asked.add(token, ForeignText::of(name), session, cutoff);
        }
    }
    Ok((rows, last))
}

impl Ledger {
    /// Reads a part of what is refused: what so many rows of one table mean.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn refused_part(&self, retention: Retention, from: PartCursor, rows: i64) -> Result<Part, LedgerError> {
        let shared = self.shared().await?;
        self.run(move |connection| {
            let read = |connection: &mut AnyConnection| part(connection, &shared, &retention, &from.0, rows.max(1));
            Ok(dialect::snapshot(connection, read)?)
        })
        .await
    }
}
