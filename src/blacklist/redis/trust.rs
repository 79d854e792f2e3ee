//! Whether what Redis says is believed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::blacklist::freshness::{Freshness, Moment};

/// What is known of Redis: at this version of this epoch, or a later one, it refuses all that was committed at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) epoch: String,
    pub(super) version: u64,
    pub(super) asked: Moment,
    /// Up to where the log was read.
    pub(super) sequence: Option<i64>,
}

/// What this process knows of Redis.
#[derive(Debug, Default)]
pub(super) struct Trust {
    confirmed: ArcSwapOption<Confirmed>,
    /// What was known last, also when nothing is known any more.
    last_asked: Mutex<Option<Moment>>,
    /// What must be in it.
    required: Freshness,
    /// A request waited for it in vain, and nobody has heard of it since.
    silent: AtomicBool,
    /// How often it has decided.
    answers: AtomicU64,
    /// How often it was asked, and could not be believed.
    disbelieved: AtomicU64,
}

impl Trust {
    /// Notes what was found out.
    pub(super) fn confirm(&self, confirmed: Confirmed) {
        *self.last_asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(confirmed.asked);
        self.confirmed.store(Some(Arc::new(confirmed)));
    }

    /// Nothing is known any more.
    pub(super) fn forget(&self) {
        self.confirmed.store(None);
    }

    /// Until when everything was known the last time.
    pub(super) fn last_asked(&self) -> Option<Moment> {
        *self.last_asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn confirmed(&self) -> Option<Arc<Confirmed>> {
        self.confirmed.load_full()
    }

    /// What was committed at this moment must be in it before it is believed again.
    pub(super) fn require(&self, moment: Moment) {
        self.required.require(moment);
    }

    /// Whether what must be in it is.
    pub(super) fn is_enough(&self, asked: Moment) -> bool {
        self.required.is_enough(asked)
    }

    pub(super) fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Release);
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    pub(super) fn count_answer(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    pub(super) fn count_disbelief(&self) {
        self.disbelieved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn disbelieved(&self) -> u64 {
        self.disbelieved.load(Ordering::Relaxed)
    }
}
