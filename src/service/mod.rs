//! The use cases, one function each. Every rule that needs more than one of tokens, ledger, blacklist and users lives here
//! and only here, so that HTTP, command line and library cannot disagree.
//!
//! | file | use case |
//! |---|---|
//! | `obtain` | name and password to a pair, or to a sliding token |
//! | `refresh`, `slide` | a token to its successor |
//! | `verify`, `authenticate` | is this token good? for the verify endpoint, for a request |
//! | `revoke`, `wide` | the one way to revoke, and its undoing; what of it is more than single tokens |
//! | `sessions`, `logout` | the logins, and how they end |
//! | `own_tokens` | what a user does to the user's own tokens |
//! | `renew` | an access token to another one, for browsers |
//! | `claims` | what is added to a token, and asked of one |
//! | `issue` | a token without a login |
//! | `lifetimes` | how long sessions and their tokens last |
//! | `limits` | how often somebody may try |
//! | `uses` | when sessions were last used |
//! | `hooks`, `webhook` | telling the application, or another service, what happened |
//! | `accounts` | the built-in users |
//! | `admin` | what only the admin in a browser does |
//! | `flush` | what may be forgotten |
//! | `health` | can this process keep its promises now? |
//! | `metrics` | what this process did, in numbers |
//! | `inspect` | what the ledger knows of tokens |
//! | `tables` | the tables, made and taken down |

mod accounts;
#[cfg(feature = "admin")]
pub mod admin;
mod authenticate;
mod claims;
mod flush;
mod health;
mod hooks;
mod inspect;
mod issue;
#[cfg(feature = "jwk-url")]
mod jwks;
mod lifetimes;
mod limits;
mod logout;
mod metrics;
mod obtain;
mod own_tokens;
mod refresh;
mod refusal;
mod renew;
mod revoke;
mod sessions;
mod slide;
mod start;
mod tables;
mod uses;
mod verify;
#[cfg(feature = "webhook")]
mod webhook;
mod wide;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use accounts::AccountError;
pub use flush::{FlushError, FlushOptions, FlushReport, Progress};
pub use health::{Health, Status};
pub use hooks::{TokenEvent, TokenNews};
pub use inspect::Finding;
pub use issue::{Issue, Issued, Pair};
#[cfg(feature = "jwk-url")]
pub use jwks::FetchError;
pub use logout::{LogoutScope, UnknownLogoutScope};
pub use obtain::Client;
pub use own_tokens::OwnRestored;
pub use refresh::Refreshed;
pub(crate) use refusal::whole_seconds;
pub use refusal::{ClockError, Refusal};
pub use revoke::{RevokeReport, Target};
pub(crate) use start::Parts;
pub use start::{Builder, OpenMode, StartError};
pub use tables::Tables;

use crate::blacklist::Blacklists;
pub use crate::blacklist::{Blacklist, CacheState, Source};
use crate::ledger::{Ledger, LedgerError, Retention};
pub use crate::ledger::{SessionRow, TokenRow};
use crate::settings::{Settings, Span};
use crate::token::{Clock, KeyRing, Minter, Verifier};
use crate::users::{Passwords, Users};

/// The handle on everything: keys, ledger, blacklist, users, clock. Cheap to clone.
///
/// A Rocket application gets it as managed state from the `SimplejwtFairing` and can take it as a request
/// guard, `&State<Simplejwt>`.
#[derive(Clone, Debug)]
pub struct Simplejwt {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    ring: Arc<KeyRing>,
    minter: Minter,
    verifier: Verifier,
    ledger: Ledger,
    blacklist: Blacklists,
    users: Users,
    passwords: Passwords,
    clock: Arc<dyn Clock>,
    claim_callbacks: claims::ClaimCallbacks,
    metrics: metrics::Metrics,
    limits: limits::Limits,
    uses: Option<uses::Uses>,
    hooks: hooks::Hooks,
    #[cfg(feature = "webhook")]
    webhook: Option<webhook::Webhook>,
    #[cfg(feature = "admin")]
    admin: admin::AdminState,
}

/// What is kept of a token beyond its last moment: seconds that cover a request that is under way.
const KEEP_MARGIN: Span = Span::from_secs(60);

/// Within what time a request is answered, of however many steps it consists. Each of them has less.
const ANSWER: Duration = Duration::from_millis(2500);

/// Runs the steps of one request. What the database has not done by then is answered with [`Refusal::Unavailable`]. Passwords that
/// are hashed, and users whom the application itself looks up, take the time they take.
pub(crate) async fn in_time<T>(steps: impl Future<Output = T>) -> T {
    crate::ledger::within(ANSWER, steps).await
}

/// How often the log of revocations is put in order where nobody follows it: for so long, on MariaDB and MySQL, what Django
/// blacklisted and then flushed may not be known.
const SEQUENCED: Duration = Duration::from_secs(30);

/// How often it is looked whether revocations were done of which that was not certain.
const SETTLED: Duration = Duration::from_millis(250);

/// No clock that says an earlier time than 2026-01-01 is right.
const EARLIEST: i64 = 1_767_225_600;

impl Simplejwt {
    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.inner.ring
    }

    /// How the copy of what the ledger refuses stands. [`None`] where the ledger is asked each time (`blacklist = "database"`).
    #[must_use]
    pub fn cache_state(&self) -> Option<CacheState> {
        self.inner.blacklist.state()
    }

    /// Keeps what is refused where the blacklist has it, until this is dropped. The fairing does it between liftoff and shutdown;
    /// without it, the ledger is asked each time. With `blacklist = "database"` it only keeps the log in order.
    pub async fn follow_revocations(&self) {
        if self.settings().has_blacklist() {
            let in_order = async {
                loop {
                    self.ledger().sequence_log().await;
                    tokio::time::sleep(SEQUENCED).await;
                }
            };
            let settled = async {
                loop {
                    tokio::time::sleep(SETTLED).await;
                    self.inner.blacklist.settle(self.inner.clock.now()).await;
                }
            };
            tokio::join!(self.inner.blacklist.follow(in_order), settled);
        }
    }

    /// Waits until the blacklist answers, for so long at most.
    pub(crate) async fn loaded_within(&self, most: Duration) {
        self.inner.blacklist.loaded_within(most).await;
    }

    /// Whether this process only verifies tokens: it was opened with [`OpenMode::VerifyOnly`].
    #[must_use]
    pub fn verifies_only(&self) -> bool {
        self.ledger().verifies_only()
    }

    /// Refuses what only a process does that issues tokens.
    fn need_issuer(&self) -> Result<(), Refusal> {
        if self.verifies_only() { Err(LedgerError::VerifiesOnly.into()) } else { Ok(()) }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// Now.
    ///
    /// # Errors
    /// [`ClockError`]: a clock that is plainly wrong would accept what has expired, so nothing is decided by it.
    pub(crate) fn now(&self) -> Result<DateTime<Utc>, ClockError> {
        let now = self.inner.clock.now();
        if now.timestamp() < EARLIEST { Err(ClockError) } else { Ok(now) }
    }

    /// Until when the ledger must remember a token whose last moment is `end`.
    fn keep_until(&self, end: DateTime<Utc>) -> DateTime<Utc> {
        later(end, self.margin())
    }

    fn retention(&self) -> Retention {
        retention(self.settings())
    }

    fn margin(&self) -> Span {
        margin(self.settings())
    }
}

/// So much after an instant, at the end of time at the latest: an application may name any.
fn later(at: DateTime<Utc>, by: Span) -> DateTime<Utc> {
    at.checked_add_signed(by.as_delta()).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn margin(settings: &Settings) -> Span {
    settings.leeway.plus(KEEP_MARGIN)
}

/// How long what makes a token refused has to be remembered.
fn retention(settings: &Settings) -> Retention {
    Retention {
        margin: margin(settings).as_delta(),
        sliding_refresh_lifetime: settings.sliding_token_refresh_lifetime.as_delta(),
        access_lifetime: settings.access_token_lifetime.as_delta(),
    }
}
