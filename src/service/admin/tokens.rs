//! Looking through the recorded tokens and the sessions.

use chrono::{DateTime, Utc};

use crate::ledger::{
    BlacklistedPage, Census, Cursor, FlushRunRow, LedgerError, SessionFilter, SessionPage, TokenPage, TokenSearch,
    UserKey,
};
use crate::service::{Refusal, Simplejwt};
use crate::token::Jti;

impl Simplejwt {
    /// What the clock says, to be shown.
    pub(crate) fn clock_now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    /// A page of recorded tokens, of at most `limit` rows. It takes about as long with ten million tokens as with ten.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn search_tokens(
        &self,
        search: &TokenSearch,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<TokenPage, LedgerError> {
        self.ledger().search_tokens(search, after, limit, self.inner.clock.now()).await
    }

    /// The tokens that somebody revoked, those blacklisted last first, before a row of the blacklist, at most `limit`. Those of a user
    /// are in the order in which they were issued.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn blacklisted_newest(
        &self,
        user: Option<UserKey>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<BlacklistedPage, LedgerError> {
        self.ledger().blacklisted_newest(user, before, limit).await
    }

    /// A page of sessions. It takes about as long with a million of them as with ten.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn browse_sessions(&self, filter: &SessionFilter) -> Result<SessionPage, LedgerError> {
        self.ledger().browse_sessions(filter, self.inner.clock.now()).await
    }

    /// How many tokens there were when they were counted last.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn census(&self) -> Result<Option<Census>, LedgerError> {
        self.ledger().census().await
    }

    /// The flush that began last.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn last_flush(&self) -> Result<Option<FlushRunRow>, LedgerError> {
        self.ledger().last_flush().await
    }

    /// The jti of a token that somebody holds, whoever revoked it since, and although its time may be over: what is no token of ours
    /// has none.
    ///
    /// # Errors
    /// [`Refusal::Token`].
    pub fn jti_of(&self, text: &str) -> Result<Jti, Refusal> {
        Ok(self.inner.verifier.jti_of(text)?)
    }
}
