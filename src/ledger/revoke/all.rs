//! Revoking many tokens in one transaction, in so many statements as for one. What is known of all of them is read, and kept from
//! changing; what becomes of them is decided in memory, one after the other; and what has changed is written.
//!
//! That nobody else was first is still said by the database: whatever was not there is inserted as new. Where that fails, the
//! transaction is begun anew, and sees what the other wrote.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::replace;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};

use super::ended::{self, Ended};
use super::{Revocation, RevokeItem, RevokeOutcome, Revoked};
use crate::ledger::connection::AnyConnection;
use crate::ledger::events::{self, Action, NewEvent};
use crate::ledger::outstanding::{self, Known, Listed, NewOutstanding};
use crate::ledger::sessions::End;
use crate::ledger::shared::Shared;
use crate::ledger::time::{Foreign, Stored, stored};
use crate::ledger::tokens::{self, Facts};
use crate::ledger::{LedgerError, UserKey, blacklisted, family};
use crate::token::TokenKind;

/// Revokes all the tokens of some orders. Of each comes what would come of it if they were revoked one after the other.
pub(in crate::ledger) fn all<O: Borrow<Revocation>>(
    connection: &mut AnyConnection,
    shared: &Shared,
    orders: &[O],
) -> Result<Vec<Vec<Revoked>>, LedgerError> {
    let orders: Vec<&Revocation> = orders.iter().map(Borrow::borrow).collect();
    let mut tokens = Tokens::of(connection, shared, &orders)?;
    let mut steps = Vec::new();
    for order in &orders {
        for item in &order.items {
            let Some(token) = tokens.0.get_mut(item.jti.as_str()) else { continue };
            steps.push(token.revoke(shared, item, order));
        }
    }
    let sessions = Sessions::end(connection, &mut steps)?;
    tokens.write(connection, shared)?;
    sessions.write(connection)?;
    for step in &mut steps {
        // One that was replaced stands for what replaced it: with its session, or without one, each by itself.
        if step.superseded && step.session.is_none() {
            step.followed = family::refuse_line(connection, shared, &step.item.jti, step.order.at)?;
        }
    }
    let events: Vec<_> = steps.iter().filter_map(Step::event).collect();
    events::insert_all(connection, &events)?;
    let mut revoked = steps.into_iter().map(|step| step.revoked);
    Ok(orders.iter().map(|order| revoked.by_ref().take(order.items.len()).collect()).collect())
}

/// A row as it was, if there was one, and as it will be.
struct Row<T> {
    was: Option<T>,
    now: T,
}

/// Rows by their names.
type Named<'a, T> = Vec<(&'a str, &'a T)>;

/// What has to be written of some rows: those that are new, and those that have changed.
fn written<'a, T: PartialEq>(rows: impl Iterator<Item = (&'a str, &'a Row<T>)>) -> (Named<'a, T>, Named<'a, T>) {
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for (name, Row { was, now }) in rows {
        match was {
            None => new.push((name, now)),
            Some(was) if was != now => changed.push((name, now)),
            Some(_) => {}
        }
    }
    (new, changed)
}

/// A token that is revoked, as it is known, with what is new of it.
struct Token<'a> {
    /// The key of its outstanding row, once there is one.
    id: Option<i64>,
    expires_at: Foreign,
    user: Option<String>,
    /// The outstanding row to be, where there was none.
    new: Option<NewOutstanding<'a>>,
    listed: bool,
    /// Since when it is on the blacklist, if it was not.
    to_list: Option<DateTime<Utc>>,
    /// It was on the blacklist, and means more now.
    to_announce: bool,
    facts: Row<Facts>,
}

impl<'a> Token<'a> {
    /// As it is known before the first order to revoke it. What is not known is what this order says.
    fn new(
        connection: &mut AnyConnection,
        shared: &Shared,
        (item, order): (&'a RevokeItem, &'a Revocation),
        found: Option<Listed>,
        was: Option<Facts>,
    ) -> QueryResult<Self> {
        let RevokeItem { jti, user, expires_at, .. } = item;
        let user = user.as_ref();
        let now = was.clone().unwrap_or_else(|| Facts {
            kind: item.kind.map(|kind| kind.as_str().to_owned()),
            session_id: item.session.map(|id| id.to_string()),
            superseded_at: None,
            revoked_at: None,
            keep_until: stored(item.keep_until),
        });
        let token = Self {
            id: None,
            expires_at: Foreign(Some(stored(*expires_at).0)),
            user: None,
            new: None,
            listed: false,
            to_list: None,
            to_announce: false,
            facts: Row { was, now },
        };
        Ok(match found {
            Some(Listed { row: Known { id, expires_at, user_id }, listed }) => {
                Self { id: Some(id), expires_at, user: user_id, listed, ..token }
            }
            None => Self {
                user: shared.to_write(connection, user)?,
                new: Some(NewOutstanding { jti, user, created_at: order.at, expires_at: *expires_at }),
                ..token
            },
        })
    }

    fn revoke<'o>(&mut self, shared: &Shared, item: &'o RevokeItem, order: &'o Revocation) -> Step<'o> {
        let at = order.at;
        let recorded = self.new.is_none() || self.facts.was.is_some();
        let listed = replace(&mut self.listed, true);
        if !listed {
            self.to_list = Some(at);
        }
        let facts = &mut self.facts.now;
        let superseded = facts.superseded_at.is_some();
        let elsewhere = listed && !superseded && facts.revoked_at.is_none();
        let newly = !listed && !superseded && facts.revoked_at.is_none();

        // The row is there; that it means more now, or for longer, has to be said. One that is new says it by itself.
        let means_more = listed && (facts.revoked_at.is_none() || facts.keep_until < stored(item.keep_until));
        self.to_announce |= means_more && self.to_list.is_none();

        // What a verified token says completes what was recorded, and never replaces it.
        facts.kind = facts.kind.take().or_else(|| item.kind.map(|kind| kind.as_str().to_owned()));
        facts.session_id = facts.session_id.take().or_else(|| item.session.map(|id| id.to_string()));
        facts.keep_until = facts.keep_until.max(stored(item.keep_until));
        facts.revoked_at = facts.revoked_at.or(Some(stored(at)));

        let user = match &self.user {
            Some(text) => Some(shared.key(text.clone())),
            None => item.user.clone(),
        };
        // A session that a row of Django's had ended stays so: that row counts as ours from now on.
        let ends = order.ends_session || superseded || elsewhere;
        let ends = ends && facts.kind.as_deref() != Some(TokenKind::Access.as_str());
        let outcome = match (newly, recorded || item.token_known) {
            (true, true) => RevokeOutcome::Newly,
            (true, false) => RevokeOutcome::UnknownRecorded,
            (false, _) => RevokeOutcome::Already,
        };
        let expires_at = self.expires_at.instant().unwrap_or(item.expires_at);
        let revoked = Revoked {
            jti: item.jti.clone(),
            outcome,
            session_ended: false,
            session: facts.session_id.as_ref().filter(|_| ends).and_then(|name| name.parse().ok()),
            kind: facts.kind.as_ref().and_then(|kind| kind.parse().ok()),
            expires_at,
        };
        Step {
            item,
            order,
            newly,
            superseded,
            followed: false,
            user: user.filter(UserKey::is_storable),
            session: facts.session_id.clone(),
            ends_until: ends.then(|| facts.keep_until.max(stored(item.session_keep_until))),
            revoked,
        }
    }
}

/// The tokens that are revoked, by their jti.
struct Tokens<'a>(BTreeMap<&'a str, Token<'a>>);

impl<'a> Tokens<'a> {
    fn of(connection: &mut AnyConnection, shared: &Shared, orders: &[&'a Revocation]) -> QueryResult<Self> {
        let mut firsts: BTreeMap<&str, (&RevokeItem, &Revocation)> = BTreeMap::new();
        for order in orders {
            for item in &order.items {
                firsts.entry(item.jti.as_str()).or_insert((item, order));
            }
        }
        let jtis: Vec<&str> = firsts.keys().copied().collect();
        // Before anything else: once this is had, whoever has been revoking one of them has written all of it.
        let mut facts: BTreeMap<_, _> = tokens::lock_all(connection, &jtis)?.into_iter().collect();
        let mut rows = outstanding::find_all(connection, shared, &jtis)?;
        let mut tokens = BTreeMap::new();
        for (jti, first) in firsts {
            tokens.insert(jti, Token::new(connection, shared, first, rows.remove(jti), facts.remove(jti))?);
        }
        Ok(Self(tokens))
    }

    fn write(mut self, connection: &mut AnyConnection, shared: &Shared) -> Result<(), LedgerError> {
        self.record(connection, shared)?;
        let (new, changed) = written(self.0.iter().map(|(jti, token)| (*jti, &token.facts)));
        if_nobody_was_quicker(tokens::insert_revoked(connection, &new))?;
        tokens::mark_revoked(connection, &changed)?;

        let rows = || self.0.values().filter_map(|token| Some((token.id?, token)));
        let mut to_list: Vec<_> = rows().filter_map(|(id, token)| Some((id, token.to_list?))).collect();
        to_list.sort_unstable();
        if_nobody_was_quicker(blacklisted::insert_all(connection, &to_list))?;
        let to_announce: Vec<_> = rows().filter(|(_, token)| token.to_announce).map(|(id, _)| id).collect();
        // Where one is gone, somebody took it off the blacklist meanwhile.
        if blacklisted::announce(connection, shared, &to_announce)? { Ok(()) } else { Err(LedgerError::Conflict) }
    }

    /// Records those that are not recorded yet.
    fn record(&mut self, connection: &mut AnyConnection, shared: &Shared) -> Result<(), LedgerError> {
        if shared.is_loose() {
            // The table may take one for another, and says so only of each by itself.
            for token in self.0.values_mut() {
                if let Some(new) = token.new {
                    token.id = Some(outstanding::obtain(connection, shared, new)?.id);
                }
            }
            return Ok(());
        }
        let new: Vec<_> = self.0.values().filter_map(|token| Some((token.new?, token.user.as_deref()))).collect();
        if_nobody_was_quicker(outstanding::insert_all(connection, shared, &new))?;
        let jtis: Vec<_> = new.iter().map(|(new, _)| new.jti.as_str()).collect();
        for (jti, found) in outstanding::find_all(connection, shared, &jtis)? {
            if let Some(token) = self.0.get_mut(jti.as_str()) {
                token.id = Some(found.row.id);
            }
        }
        Ok(())
    }
}

/// What comes of one order to revoke one token.
struct Step<'o> {
    item: &'o RevokeItem,
    order: &'o Revocation,
    newly: bool,
    superseded: bool,
    /// What replaced it was good until now.
    followed: bool,
    user: Option<UserKey>,
    session: Option<String>,
    /// Until when it has to be known that the session has ended, if it ends.
    ends_until: Option<Stored>,
    revoked: Revoked,
}

impl Step<'_> {
    /// The session that ends, and how.
    fn end(&self) -> Option<(&str, End<'_>)> {
        let end = End {
            at: self.order.at,
            reason: self.order.reason.as_deref().unwrap_or("token blacklisted"),
            by: Some(self.item.jti.as_str()),
            user: self.user.as_ref().map(UserKey::as_str),
            keep_until: self.ends_until?,
        };
        Some((self.session.as_deref()?, end))
    }

    /// What is written down of it, if anything is new.
    fn event(&self) -> Option<NewEvent<'_>> {
        (self.newly || self.revoked.session_ended || self.followed).then(|| NewEvent {
            at: self.order.at,
            action: Action::Blacklist,
            target: self.item.jti.as_str(),
            user: self.user.as_ref().map(UserKey::as_str),
            session: self.session.as_deref(),
            reason: self.order.reason.as_deref(),
            actor: &self.order.actor,
        })
    }
}

/// The sessions that end with tokens, by their names.
struct Sessions(BTreeMap<String, Row<Ended>>);

impl Sessions {
    fn end(connection: &mut AnyConnection, steps: &mut [Step<'_>]) -> QueryResult<Self> {
        let names: BTreeSet<&str> = steps.iter().filter_map(|step| Some(step.end()?.0)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        // Also those that are over: whoever is about to open one again has to see what we know.
        let found = ended::lock_all(connection, &names)?;
        let known = |(name, was): (String, Ended)| (name, Row { now: was.clone(), was: Some(was) });
        let mut sessions: BTreeMap<_, _> = found.into_iter().map(known).collect();
        for step in steps {
            let Some((name, end)) = step.end() else { continue };
            step.revoked.session_ended = if let Some(session) = sessions.get_mut(name) {
                session.now.end(&end)
            } else {
                sessions.insert(name.to_owned(), Row { was: None, now: Ended::new(&end) });
                true
            };
        }
        Ok(Self(sessions))
    }

    fn write(&self, connection: &mut AnyConnection) -> Result<(), LedgerError> {
        let (new, changed) = written(self.0.iter().map(|(name, session)| (name.as_str(), session)));
        if_nobody_was_quicker(ended::insert(connection, &new))?;
        ended::update(connection, &changed)?;
        Ok(())
    }
}

/// Whether rows could be inserted as new ones. Where somebody else was quicker, it has to be seen what he wrote.
fn if_nobody_was_quicker(inserted: QueryResult<()>) -> Result<(), LedgerError> {
    match inserted {
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Err(LedgerError::Conflict),
        inserted => Ok(inserted?),
    }
}
