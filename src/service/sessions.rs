//! What logins there are: for an operator, and for the user whose they are.

use super::{Refusal, Simplejwt};
use crate::ledger::{LedgerError, SessionChain, SessionFilter, SessionRow, SessionState, UserKey};
use crate::token::{SessionId, Verified};

impl Simplejwt {
    /// Sessions, the newest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRow>, LedgerError> {
        self.ledger().sessions(filter, self.inner.clock.now()).await
    }

    /// One session with its tokens, each after the one that it replaced.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn session(&self, id: SessionId) -> Result<Option<SessionChain>, LedgerError> {
        self.ledger().session(id, self.inner.clock.now()).await
    }

    /// The open sessions of the user of a token, the newest first, at most `limit` after one. Those of a token that names no user
    /// are none.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub async fn own_sessions(
        &self,
        token: &Verified,
        after: Option<SessionId>,
        limit: i64,
    ) -> Result<Vec<SessionRow>, Refusal> {
        self.counted(self.list_own(token, after, limit).await)
    }

    async fn list_own(
        &self,
        token: &Verified,
        after: Option<SessionId>,
        limit: i64,
    ) -> Result<Vec<SessionRow>, Refusal> {
        let Some(claim) = token.user_id() else { return Ok(Vec::new()) };
        let filter = SessionFilter {
            user: Some(self.key_of(claim).await?),
            state: Some(SessionState::Active),
            since: None,
            after,
            limit,
        };
        Ok(self.ledger().sessions(&filter, self.now()?).await?)
    }

    /// The key under which the ledger has the user whom tokens name so. One who is gone is taken to be named alike.
    pub(super) async fn key_of(&self, claim: &str) -> Result<UserKey, Refusal> {
        let account = self.inner.users.by_claim(claim).await?;
        Ok(account.map_or_else(|| UserKey::from(claim), |account| UserKey::from(account.id)))
    }
}
