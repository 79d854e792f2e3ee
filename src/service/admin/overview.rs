//! How everything stands, without counting anything while somebody waits.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::ledger::{Census, FlushRunRow, Hour, LedgerError, TokenRow, TokenSearch, TokenState};
use crate::service::{CacheState, Health, Simplejwt};
use crate::settings::BlacklistKind;
use crate::token::TokenKind;

/// How often it is noted what was issued and revoked.
const NOTED: Duration = Duration::from_secs(10);

/// A count is taken anew after so long, and not before a hundred times what it took.
const COUNTED: TimeDelta = TimeDelta::minutes(5);

/// Everything on the first page.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Overview {
    /// How many tokens there were when they were counted last.
    pub census: Option<Census>,
    /// What was done in each hour of the last 30 days in which anything was.
    pub hours: Vec<Hour>,
    /// The live tokens that expire next. [`None`] where no index has the tokens by expiry, in tables that Django made.
    pub expiring: Option<Vec<TokenRow>>,
    /// The flush that began last.
    pub last_flush: Option<FlushRunRow>,
    /// Whether this process can keep its promises now.
    pub health: Health,
    /// How the blacklist in memory stands, if there is one.
    pub cache: Option<CacheState>,
    /// What endangers a promise, in words.
    pub warnings: Vec<String>,
}

/// What this process has noted of its own numbers, and whether it counts.
#[derive(Debug, Default)]
pub(in crate::service) struct Noted {
    issued: AtomicU64,
    revoked: AtomicU64,
    counting: AtomicBool,
    /// Until when, in seconds since 1970, it is not counted again because it failed.
    failed: AtomicI64,
}

/// Whoever counts. Nobody else does until this is dropped.
struct Counting<'a>(&'a AtomicBool);

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Simplejwt {
    /// Everything on the first page.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn overview(&self) -> Result<Overview, LedgerError> {
        // What asks whether anything can be written may wait for that longer than anything else.
        let (health, overview) = tokio::join!(self.health(), self.overview_but_health());
        overview.map(|overview| Overview { health, ..overview })
    }

    async fn overview_but_health(&self) -> Result<Overview, LedgerError> {
        let (now, ledger) = (self.inner.clock.now(), self.ledger());
        let mut warnings: Vec<String> = Vec::new();
        warnings.extend(self.now().err().map(|error| error.to_string()));
        warnings.extend(ledger.durability().await?.into_iter().map(|warning| warning.to_string()));
        let faults = ledger.log_faults().await?;
        warnings.extend(faults.iter().map(|fault| format!("{fault}; run `simplejwt migrate`")));
        let soon = TokenSearch { expires_from: Some(now), state: Some(TokenState::Active), ..TokenSearch::default() };
        let expiring = if ledger.has_expiry_index().await? {
            Some(ledger.search_tokens(&soon, None, EXPIRING, now).await?.rows)
        } else {
            None
        };
        Ok(Overview {
            census: ledger.census().await?,
            hours: ledger.hours_since(now - TimeDelta::days(30)).await?,
            expiring,
            last_flush: ledger.last_flush().await?,
            health: Health::Unready,
            cache: self.cache_state(),
            warnings,
        })
    }

    /// Counts the recorded tokens anew, unless that was done lately, or failed lately, or is being done here.
    pub async fn recount(&self, however_lately: bool) {
        let (now, noted) = (self.inner.clock.now(), &self.inner.admin.noted);
        let failed_lately = now.timestamp() < noted.failed.load(Ordering::Relaxed);
        if (failed_lately && !however_lately) || noted.counting.swap(true, Ordering::Relaxed) {
            return;
        }
        let _counting = Counting(&noted.counting);
        let counted = async {
            let known = self.ledger().census().await?;
            if however_lately || known.is_none_or(|known| is_old(&known, now)) {
                self.ledger().count_tokens(now).await?;
            }
            Ok::<_, LedgerError>(())
        };
        if let Err(error) = counted.await {
            // It may have gone through whole tables before it failed, and would for each page that is looked at.
            noted.failed.store((now + COUNTED).timestamp(), Ordering::Relaxed);
            log::warn!("the tokens cannot be counted: {}", crate::chain::chain(&error));
        }
    }

    /// Keeps the numbers of each hour, until this is dropped.
    pub(crate) async fn keep_hours(&self) {
        if self.verifies_only() || self.settings().blacklist == BlacklistKind::Off {
            return;
        }
        loop {
            tokio::time::sleep(NOTED).await;
            self.note_hour().await;
        }
    }

    /// Adds what this process issued and revoked since the last time to the numbers of the hour.
    pub(crate) async fn note_hour(&self) {
        let (metrics, noted) = (&self.inner.metrics, &self.inner.admin.noted);
        let recorded = |kind: &TokenKind| *kind != TokenKind::Access || self.settings().record_access_tokens;
        let issued: u64 =
            TokenKind::ALL.iter().filter(|kind| recorded(kind)).map(|kind| metrics.issued_of(*kind)).sum();
        let revoked = metrics.revocations.get();
        let more = |noted: &AtomicU64, now: u64| now.saturating_sub(noted.swap(now, Ordering::Relaxed));
        let (new_issued, new_revoked) = (more(&noted.issued, issued), more(&noted.revoked, revoked));
        if new_issued + new_revoked == 0 {
            return;
        }
        if let Err(error) = self.ledger().add_to_hour(self.inner.clock.now(), new_issued, new_revoked).await {
            // They are added the next time.
            noted.issued.fetch_sub(new_issued, Ordering::Relaxed);
            noted.revoked.fetch_sub(new_revoked, Ordering::Relaxed);
            log::warn!("the numbers of the hour are not noted: {}", crate::chain::chain(&error));
        }
    }
}

/// How many of those that expire next are shown.
const EXPIRING: usize = 10;

fn is_old(census: &Census, now: DateTime<Utc>) -> bool {
    let took = TimeDelta::from_std(census.took).unwrap_or(COUNTED);
    let rest = took.checked_mul(100).unwrap_or(TimeDelta::MAX).max(COUNTED);
    now.signed_duration_since(census.counted_at) >= rest
}
