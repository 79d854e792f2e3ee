//! The stand-alone token service.

use figment::Figment;
use rocket::{Build, Rocket};

use super::{SimplejwtFairing, health_routes, token_routes, verifier_routes};
use crate::service::Simplejwt;
#[cfg(feature = "admin")]
use crate::settings::TokenLocation;

/// Where the stand-alone service has its token routes.
pub(crate) const TOKEN_BASE: &str = "/api/token";

/// A Rocket server with the token routes at `/api/token`, the health routes at `/health`, if `metrics_token` is set the figures for
/// Prometheus at `/metrics`, and, where tokens travel in cookies, the page on which users see their sessions at `/account/sessions`:
/// what `simplejwt serve` launches.
#[must_use]
pub fn server(jwt: Simplejwt, figment: Figment) -> Rocket<Build> {
    // Rocket would name itself in each answer, and believe any client's `X-Real-IP`.
    let figment = Figment::from(rocket::Config { ip_header: None, ..rocket::Config::default() })
        .merge(("ident", false))
        .merge(figment);
    #[cfg(feature = "metrics")]
    let has_metrics = jwt.settings().metrics_token.is_some() && jwt.settings().metrics_address.is_none();
    #[cfg(feature = "admin")]
    let has_account = !jwt.verifies_only() && jwt.settings().transport.uses(TokenLocation::Cookies);
    let routes = if jwt.verifies_only() { verifier_routes() } else { token_routes() };
    let rocket = rocket::custom(figment)
        .attach(SimplejwtFairing::with(jwt))
        .mount(TOKEN_BASE, routes)
        .mount("/health", health_routes());
    #[cfg(feature = "metrics")]
    let rocket = if has_metrics { rocket.mount("/metrics", super::metrics_routes()) } else { rocket };
    #[cfg(feature = "admin")]
    let rocket = if has_account { rocket.mount("/account", super::account_routes()) } else { rocket };
    rocket
}
