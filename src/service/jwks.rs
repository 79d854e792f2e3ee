//! Verifying keys from a JWK Set elsewhere.
//!
//! The set is fetched by the clock, never because of a token: a token with an unknown `kid` costs nothing and reaches nobody.
//! When a fetch fails, the keys of the last good one stay in use.

use std::time::Duration;

use super::Simplejwt;
use crate::token::{KeyError, VerifyingKey};

/// A key set is small; more than this is something else.
const MOST_BYTES: u64 = 256 * 1024;

/// How soon a failed fetch is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Why no keys were fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No answer, a bad one, or too much of it.
    #[error("the key set cannot be fetched")]
    Http(#[source] Box<ureq::Error>),
    /// An answer that is no key set.
    #[error("the key set cannot be used")]
    Keys(#[from] KeyError),
    /// The process is stopping.
    #[error("the fetch was given up")]
    Stopped,
}

impl Simplejwt {
    /// Fetches the key set of `jwk_url`, if one is configured, and verifies with its keys from then on.
    ///
    /// # Errors
    /// [`FetchError`]. The keys of before stay in use.
    pub async fn fetch_keys(&self) -> Result<(), FetchError> {
        let settings = self.settings();
        let Some(url) = settings.jwk_url.clone() else { return Ok(()) };
        let (timeout, algorithm) = (settings.jwk_url_timeout.as_std(), settings.algorithm);
        let fetched = tokio::task::spawn_blocking(move || fetch(&url, timeout)).await;
        let json = fetched.map_err(|_| FetchError::Stopped)?.map_err(|error| FetchError::Http(Box::new(error)))?;
        self.keys().replace_fetched(VerifyingKey::from_jwk_set(&json, algorithm)?)?;
        Ok(())
    }

    /// Keeps the keys of `jwk_url` fresh, for ever; for a background task. Returns at once where none is configured.
    pub async fn keep_keys_fresh(&self) {
        if self.settings().jwk_url.is_none() {
            return;
        }
        let interval = self.settings().jwk_url_interval.as_std();
        // Where the first fetch failed there is nothing to verify with, and no reason to wait.
        let mut wait = if self.keys().verifying().is_empty() { RETRY.min(interval) } else { interval };
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.fetch_keys().await {
                Ok(()) => interval,
                Err(error) => {
                    log::error!("{}; the keys of before stay in use", crate::chain::chain(&error));
                    RETRY.min(interval)
                }
            };
        }
    }
}

fn fetch(url: &str, timeout: Duration) -> Result<Vec<u8>, ureq::Error> {
    let mut answer = crate::fetch::get(url, "application/jwk-set+json, application/json", timeout)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(ureq::Error::StatusCode(status.as_u16()));
    }
    answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec()
}
