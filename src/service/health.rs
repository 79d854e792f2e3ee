//! Can this process keep its promises now?

use super::Simplejwt;
use crate::ledger::{Backlog, Counts, FlushRunRow, LedgerError, LogState, MigrationState};

/// Whether this process can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Everything works.
    Ready,
    /// Tokens are checked, but nothing can be issued or revoked: the database takes no writes now.
    Degraded,
    /// Nothing can be decided: every request is answered with 503.
    Unready,
}

/// The state of an installation, for an operator.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// How many rows of what.
    pub counts: Counts,
    /// The latest flush.
    pub last_flush: Option<FlushRunRow>,
    /// Every migration, and whether it was applied.
    pub migrations: Vec<MigrationState>,
    /// How the log of revocations stands, which every process reads.
    pub log: LogState,
    /// What waits to be delivered to `webhook_url`, if there is one.
    pub undelivered: Option<Backlog>,
    /// What endangers a promise, in words.
    pub warnings: Vec<String>,
}

impl Simplejwt {
    /// Asks the clock, the keys and the database. The reason why something does not work goes to the log, not to whoever
    /// asks.
    pub async fn health(&self) -> Health {
        if let Err(error) = self.now() {
            log::error!("not ready: {error}");
            return Health::Unready;
        }
        let behind = self.inner.clock.behind();
        if behind > self.settings().max_clock_skew.as_delta() {
            log::error!(
                "not ready: the machine's clock went back by {} s; restart this process to believe it",
                behind.num_seconds()
            );
            return Health::Unready;
        }
        if let Some(cache) = self.cache_state().filter(|cache| !cache.ready) {
            log::error!(
                "not ready: what is known of revocations is {} ms old, {} rows loaded",
                cache.lag.as_millis(),
                cache.loaded
            );
            return Health::Unready;
        }
        if self.keys().verifying().is_empty() {
            log::error!("not ready: no key to verify with was fetched yet");
            return Health::Unready;
        }
        if self.ledger().is_there()
            && let Err(error) = self.ledger().check_schema().await
        {
            log::error!("not ready: {}", crate::chain::chain(&error));
            return Health::Unready;
        }
        if self.verifies_only() {
            return Health::Ready;
        }
        match self.ledger().probe_write().await {
            Ok(()) => Health::Ready,
            Err(error) => {
                log::warn!("degraded: {}", crate::chain::chain(&error));
                Health::Degraded
            }
        }
    }

    /// What the ledger holds and how it is kept.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn status(&self) -> Result<Status, LedgerError> {
        let now = self.inner.clock.now();
        let ledger = self.ledger();
        let mut warnings: Vec<String> = Vec::new();
        warnings.extend(self.now().err().map(|error| error.to_string()));
        warnings.extend(ledger.durability().await?.into_iter().map(|warning| warning.to_string()));
        let log = ledger.log_state().await?;
        warnings.extend(log.faults.iter().map(|fault| format!("{fault}; run `simplejwt migrate`")));
        #[cfg(feature = "webhook")]
        let undelivered = self.undelivered().await?;
        #[cfg(not(feature = "webhook"))]
        let undelivered = None;
        Ok(Status {
            undelivered,
            counts: ledger.counts(now).await?,
            last_flush: ledger.last_flush().await?,
            migrations: ledger.migrations().await?,
            log,
            warnings,
        })
    }
}
