//! How a page shows what there is.

use std::fmt;

use askama::filters::HtmlSafe;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::service::admin::TokenRow;

/// An instant in UTC, with how long ago or ahead it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct When {
    at: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// An instant as it was seen at `now`.
pub(in crate::web) const fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> When {
    When { at, now }
}

/// The same of one that may be missing.
pub(in crate::web) fn maybe(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<When> {
    at.map(|at| when(at, now))
}

/// Nothing in it comes from anybody else, so that it needs no escaping.
impl HtmlSafe for When {}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exact, day) = (self.at.to_rfc3339_opts(SecondsFormat::Secs, true), self.at.format("%Y-%m-%d %H:%M:%S"));
        write!(f, "<time datetime=\"{exact}\">{day}</time> <small class=\"age\">{}</small>", Age(self.at - self.now))
    }
}

/// How far something lies ahead, or with a minus behind, in one unit.
struct Age(TimeDelta);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.num_seconds();
        let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
        let (size, unit) = units.into_iter().find(|(size, _)| seconds.abs() >= *size).unwrap_or((1, "s"));
        let count = seconds.abs() / size;
        match seconds {
            0 => f.write_str("now"),
            ..0 => write!(f, "{count} {unit} ago"),
            1.. => write!(f, "in {count} {unit}"),
        }
    }
}

/// In one word, whether a token can be used.
pub(in crate::web) fn state(row: &TokenRow, now: DateTime<Utc>) -> &'static str {
    if row.superseded_at.is_some() {
        "superseded"
    } else if row.blacklisted_at.is_some() || row.revoked_at.is_some() {
        "blacklisted"
    } else if row.session_ended_at.is_some() {
        "session ended"
    } else if row.expires_at <= now {
        "expired"
    } else {
        "live"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_shown_in_utc_with_its_age() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).expect("an instant");
        let shown = |seconds| when(at, at + TimeDelta::seconds(seconds)).to_string();
        assert_eq!(
            shown(0),
            "<time datetime=\"2027-01-15T08:00:00Z\">2027-01-15 08:00:00</time> <small class=\"age\">now</small>"
        );
        for (seconds, age) in [(1, "1 s ago"), (7_300, "2 h ago"), (-200_000, "in 2 d"), (-61, "in 1 min")] {
            assert!(shown(seconds).contains(age), "{}", shown(seconds));
        }
    }
}
