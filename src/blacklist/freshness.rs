//! How old a copy of what is refused is, by a clock that counts the time while the machine slept.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

#[cfg(feature = "mutants")]
use crate::mutant::{self, Mutant};

/// A moment of the clock that goes on while the machine sleeps, in nanoseconds since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// Where there is no such clock, the one that every system has: a machine that slept may think too well of its index until the
/// next pull, which comes at once.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

impl Moment {
    /// How long ago that was.
    pub(super) fn age(self) -> Duration {
        #[cfg(feature = "mutants")]
        if mutant::is(Mutant::NoFencing) {
            return Duration::ZERO;
        }
        Duration::from_nanos(now().0.saturating_sub(self.0))
    }

    /// So much earlier.
    #[cfg(feature = "redis")]
    pub(super) fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Now.
pub(super) fn now() -> Moment {
    let time = clock_gettime(CLOCK);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Moment(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// When the ledger was asked for what the index now holds.
#[derive(Debug)]
pub(super) struct Freshness {
    /// Since when there is an index.
    begun: Moment,
    asked: AtomicU64,
    /// Nothing may be decided by an index that asked earlier.
    required: AtomicU64,
    sequence: AtomicI64,
}

impl Default for Freshness {
    fn default() -> Self {
        let (asked, required, sequence) = (AtomicU64::new(0), AtomicU64::new(0), AtomicI64::new(0));
        Self { begun: now(), asked, required, sequence }
    }
}

impl Freshness {
    /// The index holds everything that was committed at this moment, when the ledger was asked, or rather before it was.
    pub(super) fn note(&self, asked: Moment, sequence: i64) {
        self.sequence.store(sequence, Ordering::Relaxed);
        // A pull that began earlier and ended later says nothing new.
        self.asked.fetch_max(asked.0, Ordering::SeqCst);
    }

    /// What was committed at this moment must be known before anything is decided by the index.
    pub(super) fn require(&self, moment: Moment) {
        self.required.fetch_max(moment.0, Ordering::SeqCst);
    }

    /// Whether what must be known is known to an index that asked at this moment.
    pub(super) fn is_enough(&self, asked: Moment) -> bool {
        asked.0 > self.required.load(Ordering::SeqCst)
    }

    /// When the ledger was asked for what the index now holds, or for less.
    pub(super) fn asked(&self) -> Moment {
        Moment(self.asked.load(Ordering::SeqCst))
    }

    /// How old the index is, for whoever watches: before the ledger has answered, as old as it is there.
    pub(super) fn age(&self) -> Duration {
        self.asked().max(self.begun).age()
    }

    /// Whether the ledger was asked later than this.
    pub(super) fn is_later_than(&self, moment: Moment) -> bool {
        self.asked.load(Ordering::Acquire) > moment.0
    }

    /// The last row of the log that was read.
    pub(super) fn sequence(&self) -> Option<i64> {
        (self.asked.load(Ordering::Acquire) > 0).then(|| self.sequence.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_as_old_as_the_question_and_never_becomes_older_by_an_answer() {
        let freshness = Freshness::default();
        assert_eq!(freshness.sequence(), None);
        assert!(freshness.age() < Duration::from_secs(5), "and not as old as the machine runs");
        let early = now();
        let late = Moment(early.0 + 1);
        freshness.note(late, 7);
        freshness.note(early, 5);
        assert!(freshness.is_later_than(early));
        assert!(!freshness.is_later_than(late));
        assert!(freshness.is_enough(freshness.asked()));
        freshness.require(late);
        assert!(!freshness.is_enough(freshness.asked()));
        freshness.require(early);
        freshness.note(Moment(late.0 + 1), 8);
        assert!(freshness.is_enough(freshness.asked()));
        assert!(freshness.asked().age() < Duration::from_secs(5));
    }
}
