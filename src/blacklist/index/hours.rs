//! Until when things are kept.

use chrono::{DateTime, Utc};

const HOUR: i64 = 3600;

/// The end of an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hour(i64);

impl Hour {
    /// The last one that is not later than an instant.
    pub(super) fn of(instant: DateTime<Utc>) -> Self {
        Self(instant.timestamp().div_euclid(HOUR))
    }

    /// The first one that is not earlier.
    pub(super) fn after(instant: DateTime<Utc>) -> Self {
        let begun = instant.timestamp_subsec_nanos() > 0 || instant.timestamp().rem_euclid(HOUR) > 0;
        Self(Self::of(instant).0 + i64::from(begun))
    }

    /// The one of this number.
    pub(super) fn numbered(number: i64) -> Self {
        Self(number)
    }

    /// When it is over.
    pub(super) fn end(self) -> DateTime<Utc> {
        let end = self.0.checked_mul(HOUR).and_then(|end| DateTime::from_timestamp(end, 0));
        end.unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Counted since 1970.
    pub(super) fn number(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_over_before_its_end() {
        for (micros, of, after) in [
            (0, 0, 0),
            (1, 0, 1),
            (3_599_999_999, 0, 1),
            (3_600_000_000, 1, 1),
            (3_600_000_001, 1, 2),
            (-1, -1, 0),
            (-3_600_000_000, -1, -1),
        ] {
            let instant = DateTime::from_timestamp_micros(micros).expect("an instant");
            assert_eq!((Hour::of(instant), Hour::after(instant)), (Hour(of), Hour(after)), "{micros}");
        }
    }
}
