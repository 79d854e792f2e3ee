//! Where "now" comes from.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// A source of the time, in UTC.
pub trait Clock: Send + Sync + Debug + 'static {
    /// The present instant, to the microsecond.
    fn now(&self) -> DateTime<Utc>;
}

/// The time of the machine, which never runs backwards within a process: a token that expired once stays expired, also
/// when the machine's clock is set back.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicI64,
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        let micros = Utc::now().timestamp_micros();
        let latest = self.latest.fetch_max(micros, Ordering::AcqRel).max(micros);
        DateTime::from_timestamp_micros(latest).unwrap_or_default()
    }
}

/// A clock that stands still until it is told otherwise. For tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that says `now`.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self(AtomicI64::new(now.timestamp_micros()))
    }

    /// Moves the clock by `seconds`, which may be negative.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds.saturating_mul(1_000_000), Ordering::AcqRel);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::Acquire)).unwrap_or_default()
    }
}
