//! The blacklist that asks the ledger.

use super::{BlacklistError, Presented};
use crate::ledger::Ledger;

/// Asks the ledger on every check.
#[derive(Clone, Debug)]
pub struct DatabaseBlacklist {
    ledger: Ledger,
}

impl DatabaseBlacklist {
    /// The blacklist of a ledger.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    /// Whether the token must be refused: it was blacklisted, or its session has ended.
    ///
    /// # Errors
    /// [`BlacklistError`], where the ledger gives no answer. The token must be refused then, too.
    pub async fn is_blacklisted(&self, token: Presented<'_>) -> Result<bool, BlacklistError> {
        self.ledger.is_refused(token.jti, token.session).await.map_err(BlacklistError::of)
    }
}
