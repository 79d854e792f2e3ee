//! Rocket: what arrives as a request leaves as plain values for `service`, and what `service` says leaves as a response. No
//! rule and no query lives here.
//!
//! | file | what it holds |
//! |---|---|
//! | `fairing` | start, protection, background tasks: attach [`SimplejwtFairing`] |
//! | `routes`, `body` | the token routes ([`token_routes`], [`verifier_routes`], [`health_routes`]), what their bodies may be |
//! | `guard`, `bearer` | [`AccessToken`] and the others, and where they find the token |
//! | `protect` | whole prefixes behind a token |
//! | `metrics` | figures for Prometheus ([`metrics_routes`]) |
//! | `error` | every refusal as status, body and headers |
//! | `server` | the stand-alone service |

mod bearer;
mod body;
mod catchers;
mod error;
mod fairing;
mod guard;
mod health;
#[cfg(feature = "metrics")]
mod metrics;
mod protect;
mod routes;
mod server;

pub use error::AuthError;
pub use fairing::SimplejwtFairing;
pub use guard::{AccessToken, AnyToken, AuthToken, CurrentUser, Maybe, RefreshToken, SlidingToken};
pub use health::health_routes;
#[cfg(feature = "metrics")]
pub use metrics::metrics_routes;
pub use routes::{token_routes, verifier_routes};
pub use server::server;
