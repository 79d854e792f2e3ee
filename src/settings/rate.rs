//! Limits on how often somebody may do something, and networks that they are not for.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error};

use super::Span;

/// So many times in so long, or as often as one likes.
///
/// Written as `"20/1m"` or `"off"`. Somebody who was quiet for so long may do it so many times at once; each time comes back after
/// an equal part of it: with `"20/1m"` one every three seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Option<(NonZeroU32, Span)>);

impl Rate {
    /// As often as one likes.
    pub const OFF: Self = Self(None);

    /// `times` in `span`; none of both may be 0.
    #[must_use]
    pub const fn new(times: u32, span: Span) -> Option<Self> {
        match NonZeroU32::new(times) {
            Some(times) if span.as_secs() > 0 => Some(Self(Some((times, span)))),
            _ => None,
        }
    }

    /// The same for a limit that is known to be one: what is 0 counts as 1.
    pub(super) const fn of(times: u32, seconds: u64) -> Self {
        let times = if times == 0 { NonZeroU32::MIN } else { NonZeroU32::MIN.saturating_add(times - 1) };
        Self(Some((times, Span::from_secs(if seconds == 0 { 1 } else { seconds }))))
    }

    /// How many times in how long, if it is a limit.
    pub(crate) const fn limit(self) -> Option<(NonZeroU32, Span)> {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((times, span)) => write!(f, "{times}/{span}"),
            None => f.write_str("off"),
        }
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        let (times, span) = text.split_once('/').ok_or(ParseRateError)?;
        let (times, span) = (times.parse().map_err(|_| ParseRateError)?, span.parse().map_err(|_| ParseRateError)?);
        Self::new(times, span).filter(|_| times <= MOST).ok_or(ParseRateError)
    }
}

/// More than this is no limit.
const MOST: u32 = 1_000_000;

/// Text that is no such limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a limit; write it like 20/1m (20 times in a minute, at most 1000000), or off")]
pub struct ParseRateError;

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A network, or a single address: `"10.0.0.0/8"`, `"::1"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// The addresses of this machine itself.
    pub(super) fn loopback() -> Vec<Self> {
        ["127.0.0.0/8", "::1"].into_iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Whether it has this address. One of IPv4 is the same in the spelling of IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse().ok().or_else(address).map(Self).ok_or(ParseNetworkError)
    }
}

/// Text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network; write it like 10.0.0.0/8, 2001:db8::/32 or 127.0.0.1")]
pub struct ParseNetworkError;

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_and_a_length_of_time() {
        assert_eq!("20/1m".parse().ok(), Rate::new(20, Span::from_secs(60)));
        assert_eq!("off".parse(), Ok(Rate::OFF));
        assert_eq!(Rate::of(20, 60).to_string(), "20/1m");
        for bad in ["", "20", "0/1m", "20/0s", "-1/1m", "20/1m/2", "20/m", "2000000/1m", "20 / 1m", "OFF"] {
            assert_eq!(bad.parse::<Rate>(), Err(ParseRateError), "{bad}");
        }
    }

    #[test]
    fn a_network_has_addresses_in_either_spelling() {
        let has = |network: &str, address: &str| {
            network.parse::<Network>().expect("a network").contains(address.parse().expect("an address"))
        };
        assert!(has("127.0.0.0/8", "127.9.9.9") && has("127.0.0.1", "127.0.0.1") && has("::1", "::1"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3") && has("2001:db8::/32", "2001:db8:1::1"));
        assert!(!has("10.0.0.0/8", "11.0.0.1") && !has("::1", "127.0.0.1") && !has("127.0.0.1", "127.0.0.2"));
        for bad in ["", "localhost", "10.0.0.0/33", "10.0.0", "10.0.0.0/8,::1"] {
            assert_eq!(bad.parse::<Network>(), Err(ParseNetworkError), "{bad}");
        }
        assert_eq!(Network::loopback().len(), 2);
    }
}
