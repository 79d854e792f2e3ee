//! Where "now" comes from.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};

/// A source of the time, in UTC.
pub trait Clock: Send + Sync + Debug + 'static {
    /// The present instant, to the microsecond.
    fn now(&self) -> DateTime<Utc>;

    /// How far the source has fallen behind what [`Clock::now`] said before, and says still.
    fn behind(&self) -> TimeDelta {
        TimeDelta::zero()
    }
}

/// The time of the machine, which never runs backwards within a process: a token that expired once stays expired, also
/// when the machine's clock is set back.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicI64,
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        let micros = machine();
        let latest = self.latest.fetch_max(micros, Ordering::AcqRel).max(micros);
        DateTime::from_timestamp_micros(latest).unwrap_or_default()
    }

    fn behind(&self) -> TimeDelta {
        TimeDelta::microseconds(self.latest.load(Ordering::Acquire).saturating_sub(machine()).max(0))
    }
}

/// The machine's clock in microseconds since 1970. One that says an earlier time counts as 1970, which no rule takes for right.
fn machine() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_stands_still_and_says_so() {
        let ahead = machine() + 3_600_000_000;
        let clock = SystemClock { latest: AtomicI64::new(ahead) };
        assert_eq!(clock.now().timestamp_micros(), ahead);
        assert!(clock.behind() > TimeDelta::minutes(59));
        let right = SystemClock::default();
        right.now();
        assert!(right.behind() < TimeDelta::seconds(1));
    }
}
