//! A length of time in a setting: text with units, or a number of seconds.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A length of time in whole seconds, at most 100 years.
///
/// Written as `"5m"`, `"1d"`, `"1h 30m"`, or as a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u32);

/// 100 years: no sum of a few of these and a date of this era leaves the range of a date.
const LONGEST: u64 = 100 * 366 * 24 * 60 * 60;

impl Span {
    /// So many seconds; more than 100 years count as 100 years.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "100 years of seconds fit")]
        Self(if seconds > LONGEST { LONGEST as u32 } else { seconds as u32 })
    }

    /// Both lengths together.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self::from_secs(self.0 as u64 + more.0 as u64)
    }

    /// The length in seconds.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0 as i64
    }

    /// The length as `std` has it.
    #[must_use]
    pub const fn as_std(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }

    /// The length as an offset of an instant.
    #[must_use]
    pub fn as_delta(self) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(self.as_secs())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.as_std()).fmt(f)
    }
}

impl std::str::FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration = humantime::parse_duration(text).map_err(|_| ParseSpanError)?;
        let whole = duration.subsec_nanos() == 0 && duration.as_secs() <= LONGEST;
        if whole { Ok(Self::from_secs(duration.as_secs())) } else { Err(ParseSpanError) }
    }
}

/// Text that is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time in whole seconds; write it like 90s, 5m, 12h or 30d (at most 100 years)")]
pub struct ParseSpanError;

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time such as \"5m\" or \"1d\", or a number of seconds")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Span, E> {
        if seconds <= LONGEST { Ok(Span::from_secs(seconds)) } else { Err(E::custom(ParseSpanError)) }
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Span, E> {
        u64::try_from(seconds).map_err(|_| E::custom(ParseSpanError)).and_then(|seconds| self.visit_u64(seconds))
    }
}

/// A short time in milliseconds, at most a minute: how often something is looked at, and how old it may be.
///
/// Written as `"250ms"` or `"1s"`, or as a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShortSpan(u16);

impl ShortSpan {
    /// So many milliseconds; more than a minute counts as a minute.
    #[must_use]
    pub const fn from_millis(milliseconds: u16) -> Self {
        Self(if milliseconds > 60_000 { 60_000 } else { milliseconds })
    }

    /// The length as `std` has it.
    #[must_use]
    pub const fn as_std(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }
}

impl fmt::Display for ShortSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.as_std()).fmt(f)
    }
}

impl std::str::FromStr for ShortSpan {
    type Err = ParseShortSpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration = humantime::parse_duration(text).map_err(|_| ParseShortSpanError)?;
        let whole = duration.subsec_nanos() % 1_000_000 == 0 && duration <= Duration::from_secs(60);
        let milliseconds = u16::try_from(duration.as_millis()).map_err(|_| ParseShortSpanError)?;
        if whole { Ok(Self(milliseconds)) } else { Err(ParseShortSpanError) }
    }
}

/// Text that is no such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a short time in whole milliseconds; write it like 250ms or 1s (at most 1 minute)")]
pub struct ParseShortSpanError;

impl<'de> Deserialize<'de> for ShortSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShortSpanVisitor)
    }
}

struct ShortSpanVisitor;

impl Visitor<'_> for ShortSpanVisitor {
    type Value = ShortSpan;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a short time such as \"250ms\" or \"1s\", or a number of seconds")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ShortSpan, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<ShortSpan, E> {
        let milliseconds = u16::try_from(seconds.saturating_mul(1000)).ok().filter(|most| *most <= 60_000);
        milliseconds.map(ShortSpan).ok_or_else(|| E::custom(ParseShortSpanError))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<ShortSpan, E> {
        u64::try_from(seconds).map_err(|_| E::custom(ParseShortSpanError)).and_then(|seconds| self.visit_u64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_seconds_of_at_most_a_century() {
        assert_eq!("5m".parse(), Ok(Span::from_secs(300)));
        assert_eq!("1d".parse(), Ok(Span::from_secs(86_400)));
        for bad in ["", "5", "-1s", "1ms", "1.5s", "200years", "soon"] {
            assert_eq!(bad.parse::<Span>(), Err(ParseSpanError), "{bad}");
        }
        assert_eq!(Span::from_secs(5400).to_string(), "1h 30m");
    }

    #[test]
    fn short_times_are_whole_milliseconds_of_at_most_a_minute() {
        assert_eq!("250ms".parse(), Ok(ShortSpan::from_millis(250)));
        assert_eq!("1m".parse(), Ok(ShortSpan::from_millis(60_000)));
        for bad in ["", "5", "-1s", "1us", "61s", "2h", "soon"] {
            assert_eq!(bad.parse::<ShortSpan>(), Err(ParseShortSpanError), "{bad}");
        }
        assert_eq!(ShortSpan::from_millis(1500).to_string(), "1s 500ms");
    }
}
