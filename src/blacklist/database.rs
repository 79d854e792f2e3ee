//! The blacklist that asks the ledger.

use std::sync::Arc;

use super::{Blacklist, BlacklistError, Presented, Revocable};
use crate::ledger::{Actor, Ledger, NewCutoff, Restoration, RestoreOutcome, Revocation, RevokeItem, UserKey, Via};
use crate::token::Clock;

/// Asks the ledger on every check.
#[derive(Clone, Debug)]
pub struct DatabaseBlacklist {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
}

impl DatabaseBlacklist {
    /// The blacklist of a ledger.
    #[must_use]
    pub fn new(ledger: Ledger, clock: Arc<dyn Clock>) -> Self {
        Self { ledger, clock }
    }

    /// Whether the token must be refused: it was blacklisted, or its session has ended, or a cutoff is not before its beginning.
    ///
    /// # Errors
    /// [`BlacklistError`], where the ledger gives no answer. The token must be refused then, too.
    pub async fn is_blacklisted(&self, token: Presented<'_>) -> Result<bool, BlacklistError> {
        Ok(self.ledger.is_refused(token).await?)
    }

    fn actor() -> Actor {
        Actor { who: "blacklist".to_owned(), via: Via::Library, address: None }
    }
}

/// What is registered is written to the ledger, with an event of its own. The use cases of
/// [`Simplejwt`](crate::Simplejwt) say more: who it was, and why.
#[async_trait::async_trait]
impl Blacklist for DatabaseBlacklist {
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
        let (at, actor) = (self.clock.now(), Self::actor());
        match what.clone() {
            Revocable::Token { jti, until } => {
                let item = RevokeItem {
                    jti,
                    kind: None,
                    session: None,
                    user: None,
                    expires_at: until,
                    keep_until: until,
                    session_keep_until: until,
                    token_known: false,
                };
                self.ledger
                    .revoke(Revocation { items: vec![item], reason: None, actor, ends_session: true, at })
                    .await?;
            }
            Revocable::Session { id, until } => {
                self.ledger.end_session(id, until, "session revoked", &actor, at).await?;
            }
            Revocable::Cutoff { user, not_before, until } => {
                let user = user.map(UserKey::from);
                self.ledger.cut_off(NewCutoff { user, not_before, keep_until: until, reason: None, actor, at }).await?;
            }
        }
        Ok(())
    }

    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        self.is_blacklisted(*token).await
    }

    async fn unregister(&self, what: &Revocable) -> Result<(), BlacklistError> {
        let Revocable::Token { jti, .. } = what else {
            return Err(BlacklistError::unsupported("to take back the end of a session, or a cutoff"));
        };
        let (at, actor) = (self.clock.now(), Self::actor());
        let restored = self.ledger.restore(Restoration { jtis: vec![jti.clone()], actor, reason: None, at }).await?;
        match restored.first().map(|restored| &restored.outcome) {
            Some(RestoreOutcome::Superseded | RestoreOutcome::SessionEndedOtherwise { .. }) => {
                Err(BlacklistError::unsupported("to take back a rotation, or a logout"))
            }
            _ => Ok(()),
        }
    }
}
