//! How often somebody may log in or renew a token: decided before a password is hashed or the database is asked.
//!
//! Whoever is unknown is limited by the address, of IPv6 by the network of 64 bits that one customer has. Guesses at one password come
//! from many addresses, so the name is limited, too. That must not let a stranger keep somebody out by using up what the name has:
//! an address from which the name has logged in before has a count of its own for it.
//!
//! Every count is in memory, of a keyed hash. There are so many at most, and those that are full again go.

use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use governor::clock::{Clock, DefaultClock, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::metrics::Count;
use super::{Client, Refusal, Simplejwt};
use crate::settings::{Network, Rate, Settings};
use crate::token::{SessionId, Verified};

/// How many counts one limit has. Whoever comes when there are as many shares one with others.
const MOST: usize = 100_000;

/// How many counts there are for those.
const SHARED: u64 = 4096;

/// How many pairs of name and address are remembered that have logged in.
const FAMILIAR: usize = 16_384;

/// How often it is looked at most whether counts can go, in nanoseconds of the limiter's clock.
const SWEEP: u64 = 1_000_000_000;

/// A limit, with a count for each key.
struct Limiter<C: Clock = DefaultClock> {
    counts: RateLimiter<u64, DashMapStateStore<u64, RandomState>, C, NoOpMiddleware<C::Instant>>,
    start: C::Instant,
    /// When counts were last let go.
    swept: AtomicU64,
    refused: Count,
}

impl<C: Clock> Limiter<C> {
    fn new(rate: Rate, clock: C) -> Option<Self> {
        let (times, span) = rate.limit()?;
        let quota = Quota::with_period(span.as_std() / times.get())?.allow_burst(times);
        let start = clock.now();
        let counts = RateLimiter::dashmap_with_clock_and_hasher(quota, clock, RandomState::default());
        Some(Self { counts, start, swept: AtomicU64::new(0), refused: Count::default() })
    }

    /// Counts once more for this key; if that is too often, says how long to wait.
    fn check(&self, key: u64) -> Result<(), Duration> {
        let key = if self.has_room() { key } else { key % SHARED };
        self.counts.check_key(&key).map_err(|until| {
            self.refused.add(1);
            until.wait_time_from(self.counts.clock().now())
        })
    }

    fn has_room(&self) -> bool {
        if self.counts.len() < MOST {
            return true;
        }
        let now = self.counts.clock().now().duration_since(self.start).as_u64();
        let swept = self.swept.load(Ordering::Relaxed);
        let due = now.saturating_sub(swept) >= SWEEP;
        if due && self.swept.compare_exchange(swept, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.counts.retain_recent();
        }
        self.counts.len() < MOST
    }
}

/// The limits of one process.
pub(super) struct Limits {
    login: Option<Limiter>,
    login_name: Option<Limiter>,
    refresh: Option<Limiter>,
    refresh_session: Option<Limiter>,
    trusted: Vec<Network>,
    familiar: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

/// Somebody who is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Caller(IpAddr);

impl Caller {
    /// IPv4 is the same in either spelling, and of IPv6 one customer has at least all addresses of these 64 bits.
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(long) => IpAddr::V6((long.to_bits() & (u128::MAX << 64)).into()),
            short @ IpAddr::V4(_) => short,
        })
    }
}

impl Limits {
    pub(super) fn new(settings: &Settings) -> Self {
        let limiter = |rate| Limiter::new(rate, DefaultClock::default());
        Self {
            login: limiter(settings.login_rate_limit),
            login_name: limiter(settings.login_name_rate_limit),
            refresh: limiter(settings.refresh_rate_limit),
            refresh_session: limiter(settings.refresh_session_rate_limit),
            trusted: settings.rate_limit_trusted.clone(),
            familiar: std::iter::repeat_with(AtomicU64::default).take(FAMILIAR).collect(),
            hasher: RandomState::default(),
        }
    }

    /// Who is limited, if anybody: nobody whose address is trusted, or not known because there was no request.
    fn caller(&self, client: &Client) -> Option<Caller> {
        let address = address(client)?;
        let trusted = self.trusted.iter().any(|network| network.contains(address));
        (!trusted).then(|| Caller::of(address))
    }

    fn key(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    fn login(&self, client: &Client, name: &str) -> Result<(), Duration> {
        self.caller(client).map_or(Ok(()), |caller| self.attempt(caller, name))
    }

    /// The same where no address is trusted. The counts are those of every login: it is the same password.
    #[cfg(feature = "admin")]
    fn admin_login(&self, client: &Client, name: &str) -> Result<(), Duration> {
        address(client).map_or(Ok(()), |address| self.attempt(Caller::of(address), name))
    }

    fn attempt(&self, caller: Caller, name: &str) -> Result<(), Duration> {
        check(self.login.as_ref(), || self.key(caller))?;
        // To a database that compares names without case they would be one name, with a count for each spelling.
        let name = name.to_lowercase();
        let pair = self.key((&name, caller));
        check(self.login_name.as_ref(), || if self.is_familiar(pair) { pair } else { self.key(&name) })
    }

    fn logged_in(&self, client: &Client, name: &str) {
        if let Some(address) = address(client) {
            let pair = self.key((name.to_lowercase(), Caller::of(address)));
            self.place(pair).store(pair, Ordering::Relaxed);
        }
    }

    fn is_familiar(&self, pair: u64) -> bool {
        self.place(pair).load(Ordering::Relaxed) == pair
    }

    fn place(&self, pair: u64) -> &AtomicU64 {
        &self.familiar[usize::try_from(pair % FAMILIAR as u64).unwrap_or_default()]
    }

    /// How often each limit refused somebody.
    #[cfg(feature = "metrics")]
    pub(super) fn refused(&self) -> [(&'static str, u64); 4] {
        let refused = |limiter: &Option<Limiter>| limiter.as_ref().map_or(0, |limiter| limiter.refused.get());
        [
            ("login", refused(&self.login)),
            ("login_name", refused(&self.login_name)),
            ("refresh", refused(&self.refresh)),
            ("refresh_session", refused(&self.refresh_session)),
        ]
    }
}

/// From where a request came, if there was one.
fn address(client: &Client) -> Option<IpAddr> {
    client.address.as_deref()?.parse().ok()
}

fn check(limiter: Option<&Limiter>, key: impl FnOnce() -> u64) -> Result<(), Duration> {
    limiter.map_or(Ok(()), |limiter| limiter.check(key()))
}

impl Simplejwt {
    /// Whether this client may try to log in with this name now.
    pub(super) fn limit_login(&self, client: &Client, name: &str) -> Result<(), Refusal> {
        self.inner.limits.login(client, name).map_err(Refusal::TooMany)
    }

    /// Whether this client may try to sign in to the admin with this name now. An address that is trusted elsewhere is not here: that
    /// is this machine, by default, and from it almost everybody comes to the admin.
    #[cfg(feature = "admin")]
    pub(super) fn limit_admin_login(&self, client: &Client, name: &str) -> Result<(), Refusal> {
        self.inner.limits.admin_login(client, name).map_err(Refusal::TooMany)
    }

    /// Notes that it did.
    pub(super) fn note_login(&self, client: &Client, name: &str) {
        self.inner.limits.logged_in(client, name);
    }

    /// Whether this client may ask for a renewal now.
    pub(super) fn limit_refresh(&self, client: &Client) -> Result<(), Refusal> {
        let limits = &self.inner.limits;
        let Some(caller) = limits.caller(client) else { return Ok(()) };
        check(limits.refresh.as_ref(), || limits.key(caller)).map_err(Refusal::TooMany)
    }

    /// Whether this token, which is genuine, may be renewed now: as one of its session, or for itself.
    pub(super) fn limit_session(&self, client: &Client, token: &Verified) -> Result<(), Refusal> {
        let limits = &self.inner.limits;
        if limits.caller(client).is_none() {
            return Ok(());
        }
        let key = || token.session().map_or_else(|| limits.key(token.jti()), |session| limits.key(session));
        check(limits.refresh_session.as_ref(), key).map_err(Refusal::TooMany)
    }

    /// The same for a renewal that nobody asked for. It has a count of its own, so that it keeps nobody from one that is asked for.
    pub(super) fn limit_unasked(&self, client: &Client, session: SessionId) -> Result<(), Refusal> {
        let limits = &self.inner.limits;
        if limits.caller(client).is_none() {
            return Ok(());
        }
        check(limits.refresh_session.as_ref(), || limits.key((session, "unasked"))).map_err(Refusal::TooMany)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn client(address: &str) -> Client {
        Client { address: Some(address.into()), user_agent: None }
    }

    fn limits(change: impl FnOnce(&mut Settings)) -> Limits {
        let mut settings = Settings {
            login_rate_limit: "3/1h".parse().expect("a limit"),
            login_name_rate_limit: Rate::OFF,
            ..Settings::default()
        };
        change(&mut settings);
        Limits::new(&settings)
    }

    /// How many of these attempts are let through.
    fn let_in(limits: &Limits, attempts: &[(&str, &str)]) -> usize {
        attempts.iter().filter(|(address, name)| limits.login(&client(address), name).is_ok()).count()
    }

    #[test]
    fn so_many_at_once_and_then_one_after_the_other() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::new("3/1m".parse().expect("a limit"), clock.clone()).expect("it is one");
        assert_eq!((0..5).filter(|_| limiter.check(7).is_ok()).count(), 3);
        assert_eq!(limiter.check(7), Err(Duration::from_secs(20)));
        assert_eq!(limiter.check(8), Ok(()));
        clock.advance(Duration::from_secs(20));
        assert_eq!((limiter.check(7).is_ok(), limiter.check(7).is_ok()), (true, false));
        assert_eq!(limiter.refused.get(), 4);
    }

    #[test]
    fn counts_go_when_they_are_full_again_and_there_are_never_more_than_there_is_room_for() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::new("1/1m".parse().expect("a limit"), clock.clone()).expect("it is one");
        let most = MOST as u64;
        for key in SHARED..2 * most {
            let _ = limiter.check(key);
        }
        let room = MOST + usize::try_from(SHARED).expect("a small number");
        assert!((MOST..=room).contains(&limiter.counts.len()), "{}", limiter.counts.len());
        assert!(limiter.check(3 * most).is_err(), "who is not counted alone is counted with others");
        clock.advance(Duration::from_secs(121));
        assert!(limiter.check(3 * most).is_ok());
        assert_eq!(limiter.counts.len(), 1);
    }

    #[test]
    fn an_address_of_ipv6_counts_as_its_network_and_one_of_ipv4_is_the_same_in_ipv6() {
        let one = |address: &str| Caller::of(address.parse().expect("an address"));
        assert_eq!(one("2001:db8:0:1::1"), one("2001:db8:0:1:ffff::2"));
        assert_ne!(one("2001:db8:0:1::1"), one("2001:db8:0:2::1"));
        assert_eq!(one("192.0.2.1"), one("::ffff:192.0.2.1"));
        assert_ne!(one("192.0.2.1"), one("192.0.2.2"));
    }

    #[test]
    fn who_is_trusted_or_has_no_address_is_not_limited() {
        let limits = limits(|_| ());
        assert_eq!(let_in(&limits, &[("192.0.2.1", "ada"); 9]), 3);
        assert_eq!(let_in(&limits, &[("127.0.0.1", "ada"); 9]), 9);
        assert_eq!(let_in(&limits, &[("::ffff:127.0.0.1", "ada"); 9]), 9);
        assert!((0..9).all(|_| limits.login(&Client::default(), "ada").is_ok()));
    }

    #[test]
    fn a_name_is_limited_over_all_addresses_but_strangers_keep_nobody_out_of_a_familiar_one() {
        let limits = limits(|set| set.login_name_rate_limit = "4/1h".parse().expect("a limit"));
        let home = ("192.0.2.1", "ada");
        assert_eq!(let_in(&limits, &[home]), 1);
        limits.logged_in(&client(home.0), "ADA");
        let strangers: Vec<_> = (1..=50).map(|number| format!("198.51.100.{number}")).collect();
        let attempts: Vec<_> = strangers.iter().map(|address| (address.as_str(), "Ada")).collect();
        assert_eq!(let_in(&limits, &attempts), 3, "one of four is gone");
        assert_eq!(let_in(&limits, &[home]), 1);
        assert_eq!(let_in(&limits, &[("192.0.2.2", "ada"), ("192.0.2.2", "bob")]), 1, "another name has its own count");
    }
}
