//! Rocket: what arrives as a request leaves as plain values for `service`, and what `service` says leaves as a response. No
//! rule and no query lives here.
//!
//! | file | what it holds |
//! |---|---|
//! | `fairing` | start, protection, background tasks: attach [`SimplejwtFairing`] |
//! | `routes`, `own`, `body` | the token routes ([`token_routes`], [`verifier_routes`], [`health_routes`]), what their bodies may be |
//! | `guard`, `bearer` | [`AccessToken`] and the others, and whether the token is good |
//! | `locate` | where a request carries its token |
//! | `cookies`, `csrf` | tokens in cookies ([`TokenCookies`]), and what keeps other sites from using them |
//! | `protect` | whole prefixes behind a token |
//! | `metrics` | figures for Prometheus ([`metrics_routes`]) |
//! | `qualified` | guards around guards: [`Fresh`], [`HasRole`], [`SkipRevocation`] |
//! | `error` | every refusal as status, body and headers |
//! | `render`, `flask` | how errors look, where not as simplejwt's |
//! | `implicit` | access tokens in cookies that are renewed by themselves |
//! | `client` | from whom a request comes |
//! | `admin` | the admin in a browser ([`admin_routes`]) |
//! | `account` | the page on which users see and end their own sessions ([`account_routes`]) |
//! | `server` | the stand-alone service |

#[cfg(feature = "admin")]
mod account;
#[cfg(feature = "admin")]
mod admin;
#[cfg(any(feature = "admin", feature = "metrics"))]
mod apart;
mod bearer;
mod body;
mod catchers;
mod client;
mod cookies;
mod csrf;
mod error;
mod fairing;
mod flask;
mod guard;
mod health;
mod implicit;
mod locate;
#[cfg(feature = "metrics")]
mod metrics;
mod own;
mod protect;
mod qualified;
mod render;
mod routes;
mod server;
mod token_body;

#[cfg(feature = "admin")]
pub use account::account_routes;
#[cfg(feature = "admin")]
pub use admin::admin_routes;
pub use cookies::TokenCookies;
pub use csrf::SameOrigin;
pub use error::{AuthError, CsrfFault};
#[cfg(all(feature = "admin", feature = "cli"))]
pub(crate) use fairing::AdminAddress;
pub use fairing::SimplejwtFairing;
pub use guard::{
    AccessToken, AnyToken, AuthToken, CurrentUser, KindGuard, Maybe, RefreshToken, SlidingToken, TokenGuard,
};
pub use health::health_routes;
#[cfg(feature = "metrics")]
pub use metrics::metrics_routes;
pub use qualified::{Fresh, HasRole, Role, SkipRevocation};
pub use render::ErrorAnswer;
pub use routes::{token_routes, verifier_routes};
pub use server::server;
pub use token_body::TokenBody;
