//! The tokens that descend from one login, refused together. That their session is over is enough for us; Django, beside which we
//! may be, knows no session, and has to find a row for each.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::simplejwt_token::dsl;
use super::sessions::{self, End};
use super::shared::Shared;
use super::time::stored;
use super::{LedgerError, blacklisted, dialect, outstanding, tokens};
use crate::token::{Jti, TokenKind};

/// How many tokens that replaced each other are followed at most: more than anybody refreshes in the life of one token.
const GENERATIONS: usize = 4096;

/// Ends a session together with its tokens, and says whether it was open.
pub(super) fn end(
    connection: &mut AnyConnection,
    shared: &Shared,
    session: &str,
    how: &End<'_>,
) -> Result<bool, LedgerError> {
    // Tokens before sessions, as everywhere, so that nobody waits for whoever waits for him; and once more, as a rotation that was
    // under way meanwhile has left another token.
    refuse_standing(connection, shared, session, how.at)?;
    let ended = sessions::end(connection, session, how)?;
    refuse_standing(connection, shared, session, how.at)?;
    Ok(ended)
}

/// Blacklists the tokens of a session that still stand for themselves. There is one as a rule, since every rotation uses one up.
fn refuse_standing(
    connection: &mut AnyConnection,
    shared: &Shared,
    session: &str,
    at: DateTime<Utc>,
) -> Result<(), LedgerError> {
    let standing: Vec<String> = dsl::simplejwt_token
        .filter(dsl::session_id.eq(session))
        .filter(dsl::superseded_at.is_null())
        .filter(dsl::revoked_at.is_null())
        .filter(dsl::kind.is_null().or(dsl::kind.ne(TokenKind::Access.as_str())))
        .order(dsl::jti)
        .select(dsl::jti)
        .load(connection)?;
    for jti in standing.iter().filter_map(|jti| jti.parse().ok()) {
        refuse_one(connection, shared, &jti, at)?;
    }
    Ok(())
}

/// Blacklists a token and all that replaced it one after the other, as far as that is recorded: for tokens without a session.
/// Says whether the last of them was good until now.
pub(super) fn refuse_line(
    connection: &mut AnyConnection,
    shared: &Shared,
    first: &Jti,
    at: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let mut next = Some(first.clone());
    for _ in 0..GENERATIONS {
        let Some(jti) = next else { break };
        match refuse_one(connection, shared, &jti, at)? {
            Refused::Newly => return Ok(true),
            Refused::Already => return Ok(false),
            Refused::Superseded(successor) => next = successor,
        }
    }
    Ok(false)
}

/// What one of them was until now.
enum Refused {
    /// Good.
    Newly,
    /// Refused, or nothing is known of it.
    Already,
    /// Used up for the sake of this one.
    Superseded(Option<Jti>),
}

fn refuse_one(
    connection: &mut AnyConnection,
    shared: &Shared,
    jti: &Jti,
    at: DateTime<Utc>,
) -> Result<Refused, LedgerError> {
    dialect::lock_token(connection, jti)?;
    let Some(mut facts) = tokens::find(connection, jti)? else { return Ok(Refused::Already) };
    let superseded = facts.superseded_at.is_some();
    let was_revoked = facts.revoked_at.is_some();
    let mut newly = !was_revoked;
    if let Some(row) = outstanding::find(connection, shared, jti)? {
        newly &= blacklisted::add(connection, row.id, at)?;
    }
    if !was_revoked {
        facts.revoked_at = Some(stored(at));
        tokens::mark_revoked(connection, &[(jti.as_str(), &facts)])?;
    }
    Ok(match (superseded, newly) {
        (true, _) => Refused::Superseded(tokens::successor(connection, jti)?),
        (false, true) => Refused::Newly,
        (false, false) => Refused::Already,
    })
}
