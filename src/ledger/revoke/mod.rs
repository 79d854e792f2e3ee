//! Revoking: the only way to blacklist a token.

mod all;
mod ended;

use chrono::{DateTime, Utc};

pub(super) use self::all::all;
use super::connection::AnyConnection;
use super::{Actor, Ledger, LedgerError, UserKey};
#[cfg(feature = "mutants")]
use crate::mutant::{self, Mutant};
use crate::token::{Jti, SessionId, TokenKind};

/// Tokens to be revoked together: all of them, or none.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The tokens.
    pub items: Vec<RevokeItem>,
    /// Why.
    pub reason: Option<String>,
    /// Who does it.
    pub actor: Actor,
    /// Whether the sessions of the refresh and sliding tokens among them end too. That of a token which a rotation
    /// replaced ends in any case: it is its successor that is meant.
    pub ends_session: bool,
    /// Now.
    pub at: DateTime<Utc>,
}

/// A token to be revoked.
#[derive(Clone, Debug)]
pub struct RevokeItem {
    /// Its identity.
    pub jti: Jti,
    /// What it is for, if that is known.
    pub kind: Option<TokenKind>,
    /// Its session, if that is known.
    pub session: Option<SessionId>,
    /// Whose it is, if that is known.
    pub user: Option<UserKey>,
    /// When it expires. Counts only where no outstanding row says so.
    pub expires_at: DateTime<Utc>,
    /// Until when it has to be refused at least.
    pub keep_until: DateTime<Utc>,
    /// Until when it has to be known that its session ended: an access token of it may outlive it.
    pub session_keep_until: DateTime<Utc>,
    /// Whether a verified token stood behind all this, and not only somebody's word.
    pub token_known: bool,
}

/// A token that is revoked now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoked {
    /// Its identity.
    pub jti: Jti,
    /// What was new.
    pub outcome: RevokeOutcome,
    /// Whether its session was open, and ended with it.
    pub session_ended: bool,
    /// The session that is over with it, since now or before.
    pub session: Option<SessionId>,
    /// What it is for, as far as the ledger knows.
    pub kind: Option<TokenKind>,
    /// When the token expires, as far as the ledger knows.
    pub expires_at: DateTime<Utc>,
}

/// What a revocation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeOutcome {
    /// The token is refused from now on.
    Newly,
    /// It was refused before: revoked, or replaced in a rotation.
    Already,
    /// Nobody here knew a token of that name. If there ever is one, it is refused.
    UnknownRecorded,
}

/// Fewer tokens than this are revoked within the usual time.
const FEW: usize = 100;

impl Ledger {
    /// Revokes tokens, whether or not they are recorded here, and ends their sessions. Repeating it is no error. When
    /// this returns, the tokens are refused, and stay so through any crash.
    ///
    /// # Errors
    ///
    /// When the database does not answer; then none of the tokens is revoked, or it is unknown whether all are
    /// ([`LedgerError::Timeout`]).
    pub async fn revoke(&self, revocation: Revocation) -> Result<Vec<Revoked>, LedgerError> {
        #[cfg(feature = "mutants")]
        let early = mutant::is(Mutant::AnswerBeforeCommit);
        #[cfg(not(feature = "mutants"))]
        let early = false;
        if revocation.items.len() <= FEW && !early {
            return self.revoke_in_group(revocation).await;
        }
        let shared = self.shared().await?;
        let orders = [revocation];
        let work = move |connection: &mut AnyConnection| {
            all(connection, &shared, &orders).map(|revoked| revoked.into_iter().flatten().collect())
        };
        #[cfg(feature = "mutants")]
        if early {
            return self.answered_early(work).await;
        }
        self.write_long(work).await
    }

    /// Says what a transaction did before it is committed.
    #[cfg(feature = "mutants")]
    async fn answered_early(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<Vec<Revoked>, LedgerError> + Send + 'static,
    ) -> Result<Vec<Revoked>, LedgerError> {
        let (answer, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let ledger = self.clone();
        let work = move |connection: &mut AnyConnection| {
            let done = work(connection);
            drop(done.as_ref().map(|done| answer.send(done.clone())));
            done
        };
        let committed = tokio::spawn(async move { ledger.write_long(work).await });
        match answered.recv().await {
            Some(done) => Ok(done),
            None => committed.await.map_err(|_| LedgerError::Aborted)?,
        }
    }
}
