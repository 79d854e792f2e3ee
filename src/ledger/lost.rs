//! What the ledger has lost: a backup was restored, or a server took over that had not received everything. A process that went on
//! meanwhile knows what was refused, and writes it down again.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::cutoffs;
use super::dialect;
use super::log::{Asked, resolve};
use super::revoke;
use super::sessions::{self, End};
use super::shared::Shared;
use super::time::stored;
use super::{Actor, Ledger, LedgerError, Retention, Revocation, RevokeItem};
use crate::token::Revocable;

/// What somebody knows to be refused, to be written down where it was lost.
#[derive(Clone, Debug)]
pub struct WriteBack {
    /// What is refused.
    pub known: Vec<Revocable>,
    /// How long what makes a token refused has to be remembered.
    pub retention: Retention,
    /// Who writes it down.
    pub actor: Actor,
    /// Now.
    pub at: DateTime<Utc>,
}

/// Why it is refused, in the words of whoever reads it later.
const REASON: &str = "lost in the database, and known to a process that went on";

/// Those that the ledger does not refuse. A refresh token is not told of: those are asked of the ledger wherever they are used.
fn lost(
    connection: &mut AnyConnection,
    shared: &Shared,
    retention: &Retention,
    known: &[Revocable],
) -> QueryResult<Vec<Revocable>> {
    let mut asked = Asked::default();
    for what in known {
        match what {
            Revocable::Token { jti, .. } => asked.add(None, Some(jti.as_str().to_owned()), None, None),
            Revocable::Session { id, .. } => asked.add(None, None, Some(id.to_string()), None),
            Revocable::Cutoff { .. } => {}
        }
    }
    let mut open = BTreeSet::new();
    for change in resolve(connection, shared, retention, asked)?.into_iter().filter(|change| !change.refused) {
        open.extend(name(&change.what));
    }
    let mut lost = Vec::new();
    for what in known {
        let is_lost = match what {
            Revocable::Cutoff { user, not_before, .. } => !cutoffs::is_there(connection, user.as_deref(), *not_before)?,
            token_or_session => name(token_or_session).is_some_and(|name| open.contains(&name)),
        };
        if is_lost {
            lost.push(what.clone());
        }
    }
    Ok(lost)
}

/// No token has the name of a session: what both could be called tells them apart.
fn name(what: &Revocable) -> Option<(bool, String)> {
    match what {
        Revocable::Token { jti, .. } => Some((false, jti.as_str().to_owned())),
        Revocable::Session { id, .. } => Some((true, id.to_string())),
        Revocable::Cutoff { .. } => None,
    }
}

fn write_back(
    connection: &mut AnyConnection,
    shared: &Shared,
    order: &WriteBack,
) -> Result<Vec<Revocable>, LedgerError> {
    // In the same transaction: what somebody took off the blacklist since it was found missing is not put on it again.
    let lost = lost(connection, shared, &order.retention, &order.known)?;
    let mut revocation = Revocation {
        items: Vec::new(),
        reason: Some(REASON.to_owned()),
        actor: order.actor.clone(),
        // Those that ended are known as well.
        ends_session: false,
        at: order.at,
    };
    for what in &lost {
        match what {
            Revocable::Token { jti, until } => {
                revocation.items.push(RevokeItem {
                    jti: jti.clone(),
                    kind: None,
                    session: None,
                    user: None,
                    expires_at: *until,
                    keep_until: *until,
                    session_keep_until: *until,
                    token_known: true,
                });
            }
            Revocable::Session { id, until } => {
                let end = End { at: order.at, reason: REASON, by: None, user: None, keep_until: stored(*until) };
                sessions::end_by(connection, *id, &end, &order.actor)?;
            }
            Revocable::Cutoff { user, not_before, until } => {
                let new = cutoffs::NewCutoff {
                    user: user.as_deref().map(Into::into),
                    not_before: *not_before,
                    keep_until: *until,
                    reason: Some(REASON.to_owned()),
                    actor: order.actor.clone(),
                    at: order.at,
                };
                cutoffs::insert(connection, &new)?;
            }
        }
    }
    revoke::all(connection, shared, &[revocation])?;
    Ok(lost)
}

impl Ledger {
    /// Those of what somebody knows to be refused that are not refused here. A thousand at a time are asked for quickly.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn not_refused(
        &self,
        retention: Retention,
        known: Vec<Revocable>,
    ) -> Result<Vec<Revocable>, LedgerError> {
        let shared = self.shared().await?;
        self.run(move |connection| {
            Ok(dialect::snapshot(connection, |connection| lost(connection, &shared, &retention, &known))?)
        })
        .await
    }

    /// Refuses again what is not refused here any more, and says what that was. Sessions are ended, and cutoffs are made again.
    /// Several processes may do it at the same time.
    ///
    /// # Errors
    ///
    /// When the database does not answer; then nothing was written, or it is unknown whether it was.
    pub async fn write_back(&self, order: WriteBack) -> Result<Vec<Revocable>, LedgerError> {
        let shared = self.shared().await?;
        self.write(move |connection| write_back(connection, &shared, &order)).await
    }
}
