//! Whether what feeds the log does so. A copy that follows a log which nobody writes is up to date for ever, and wrong.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::tally::Tally;
use crate::chain::chain;
use crate::ledger::{Ledger, LedgerError};

/// How often it is looked whether all of it is there, and how soon again where that could not be seen.
const LOOKED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));

/// How long to wait at least after a look that somebody asked for.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// What was missed is known.
const LOADED: u8 = 0;
/// Everything has to be loaded.
const TO_LOAD: u8 = 1;
/// Whatever is read to its end from now on begins with a load.
const LOADING: u8 = 2;

/// What is known of the triggers that feed the log.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// How many are wrong, and could not be put back.
    faults: AtomicUsize,
    /// They were put back, and the copy was not loaded since.
    to_load: AtomicU8,
    /// Something was committed of which the log does not tell.
    missed: AtomicBool,
    wanted: Notify,
}

/// Who waits for the next look, and does what else is to be done now and then.
#[derive(Debug)]
pub(super) struct Watch {
    due: Instant,
}

impl Feed {
    /// Whether nothing may be decided by what the log has told: not everything reaches it, or did until a moment ago.
    #[inline]
    pub(super) fn is_broken(&self) -> bool {
        self.faults() > 0 || self.to_load.load(Ordering::Acquire) != LOADED || self.missed.load(Ordering::Acquire)
    }

    /// How many triggers are wrong, and could not be put back.
    pub(super) fn faults(&self) -> usize {
        self.faults.load(Ordering::Acquire)
    }

    /// Something was committed, and the log did not tell of it: they are looked at now.
    pub(super) fn missed(&self) {
        self.missed.store(true, Ordering::Release);
        self.wanted.notify_one();
    }

    /// Whatever is read from now on begins with a load.
    pub(super) fn loads(&self) {
        self.to_load.store(LOADING, Ordering::Release);
    }

    /// The copy is up to date. If everything had to be loaded for that, it was.
    pub(super) fn loaded(&self) {
        if self.to_load.load(Ordering::Acquire) == LOADING {
            self.faults.store(0, Ordering::Release);
            // Unless they were put back once more.
            let _ = self.to_load.compare_exchange(LOADING, LOADED, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Looks at the triggers, and puts back what was lost. Says whether everything has to be loaded, as nobody knows what was
    /// missed: [`loads`](Self::loads) and [`loaded`](Self::loaded) say that it is being done. Nothing may be decided by the log before.
    ///
    /// # Errors
    /// When they cannot be looked at. What is known of them stays as it is.
    pub(super) async fn look(&self, ledger: &Ledger, tally: &Tally) -> Result<bool, LedgerError> {
        let missed = self.missed.load(Ordering::Acquire);
        let mended = ledger.mend_log().await;
        let wrong = match &mended {
            Ok(put_back) if !put_back.is_empty() || !ledger.verifies_only() => Vec::new(),
            // Who may put nothing back may see what is wrong.
            _ => ledger.visible_log_faults().await?,
        };
        // Who sees no trigger at all learns by what he writes himself.
        let faults = if mended.is_err() { wrong.len().max(usize::from(missed)) } else { wrong.len() };
        if faults > 0 {
            // What is being loaded may lack what was written since these were lost.
            let _ = self.to_load.compare_exchange(LOADING, TO_LOAD, Ordering::AcqRel, Ordering::Acquire);
            if self.faults.swap(faults, Ordering::AcqRel) != faults {
                for fault in &wrong {
                    log::error!("{fault}");
                }
                let why = mended.as_ref().err().map_or_else(
                    || "a process that may write has to put it back".to_owned(),
                    |error| format!("it cannot be put back: {}", chain(error)),
                );
                log::error!(
                    "not every revocation reaches the log that tells of them, and {why}; until then the database is asked about \
                     every token"
                );
            }
            // What stands in the way may pass.
            return match mended {
                Err(error) if error.is_transient() => Err(error),
                _ => Ok(false),
            };
        }
        let put_back = mended?;
        if missed {
            // What is missed from now on, or was meanwhile, asks for another look.
            self.missed.store(false, Ordering::Release);
        }
        // Somebody else may have put them back, too.
        let to_load = self.to_load.load(Ordering::Acquire);
        let must_load = !put_back.is_empty() || to_load == TO_LOAD || to_load == LOADED && self.faults() > 0;
        if must_load {
            self.to_load.store(TO_LOAD, Ordering::Release);
        }
        tally.mended(put_back.len());
        for fault in put_back {
            log::warn!("{fault}; it was put back, and everything is loaded anew");
        }
        Ok(must_load)
    }
}

impl Watch {
    /// The first look is due after the usual time, or `soon`.
    pub(super) fn new(soon: bool) -> Self {
        Self { due: Instant::now() + if soon { LOOKED.1 } else { LOOKED.0 } }
    }

    /// Waits until it is time. Says whether everything is to be done, or only a look was asked for.
    pub(super) async fn next(&mut self, feed: &Feed) -> bool {
        tokio::select! {
            () = tokio::time::sleep_until(self.due.into()) => {
                self.due = Instant::now() + LOOKED.0;
                true
            }
            () = feed.wanted.notified() => false,
        }
    }

    /// What was to be done is done, but for what has to be tried again `soon`.
    pub(super) async fn done(&mut self, everything: bool, soon: bool) {
        if soon {
            self.due = self.due.min(Instant::now() + LOOKED.1);
        }
        if !everything {
            tokio::time::sleep(ASKED_AGAIN).await;
        }
    }
}
