//! What was done to keep the index as the ledger is, in numbers for whoever watches.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chrono::{DateTime, Utc};

/// Nothing was done yet.
const NEVER: i64 = i64::MIN;

#[derive(Debug)]
pub(super) struct Tally {
    pulls: AtomicU64,
    failures: AtomicU64,
    reloads: AtomicU64,
    mended: AtomicU64,
    wake_ups: AtomicU64,
    /// In milliseconds since 1970.
    last_pull: AtomicI64,
}

impl Default for Tally {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        let last_pull = AtomicI64::new(NEVER);
        Self { pulls: zero(), failures: zero(), reloads: zero(), mended: zero(), wake_ups: zero(), last_pull }
    }
}

impl Tally {
    /// The log was read to its end.
    pub(super) fn pulled(&self, at: DateTime<Utc>) {
        self.pulls.fetch_add(1, Ordering::Relaxed);
        self.last_pull.fetch_max(at.timestamp_millis(), Ordering::Relaxed);
    }

    /// It could not be read.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything had to be loaded anew.
    pub(super) fn reloaded(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// So many triggers were put back.
    pub(super) fn mended(&self, triggers: usize) {
        self.mended.fetch_add(triggers as u64, Ordering::Relaxed);
    }

    /// Somebody said that there is something new.
    pub(super) fn woken(&self) {
        self.wake_ups.fetch_add(1, Ordering::Relaxed);
    }

    /// Pulls, failures, reloads, mended triggers, wake-ups.
    pub(super) fn counts(&self) -> [u64; 5] {
        [&self.pulls, &self.failures, &self.reloads, &self.mended, &self.wake_ups]
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// When the log was last read to its end.
    pub(super) fn last_pull(&self) -> Option<DateTime<Utc>> {
        match self.last_pull.load(Ordering::Relaxed) {
            NEVER => None,
            at => DateTime::from_timestamp_millis(at),
        }
    }
}
