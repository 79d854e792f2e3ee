//! How much a search looks at in a step, and when it stops.

use std::time::{Duration, Instant};

/// How many rows a search looks at in a step: few enough that they come in time where none of them is in memory yet. After one that
/// came quickly it looks at twice as many.
pub(in crate::ledger) const STEP: i64 = 100;

/// For how long a page is searched for.
const PATIENCE: Duration = Duration::from_millis(50);

/// Nothing had to be read from disk for a step that takes no longer.
const QUICK: Duration = Duration::from_millis(4);

/// How a search goes on. A step that would not be done in time, if it took as long as the one before, is not begun.
pub(in crate::ledger) struct Pace {
    begun: Instant,
    step: Instant,
    /// How many rows a step looks at.
    pub(in crate::ledger) rows: i64,
}

impl Pace {
    pub(in crate::ledger) fn new(rows: i64) -> Self {
        let now = Instant::now();
        Self { begun: now, step: now, rows }
    }

    /// Whether there is time for a further step.
    pub(in crate::ledger) fn goes_on(&mut self) -> bool {
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.step, now);
        if self.rows <= STEP && took <= QUICK {
            self.rows *= 2;
        }
        now - self.begun + took <= PATIENCE
    }
}
