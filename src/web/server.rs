//! The stand-alone token service.

use figment::Figment;
use rocket::{Build, Rocket};

use super::{SimplejwtFairing, health_routes, token_routes};
use crate::service::Simplejwt;

/// Where the stand-alone service has its token routes.
pub(crate) const TOKEN_BASE: &str = "/api/token";

/// A Rocket server with the token routes at `/api/token` and the health routes at `/health`, which `simplejwt serve` launches.
#[must_use]
pub fn server(jwt: Simplejwt, figment: Figment) -> Rocket<Build> {
    // Rocket would name itself in each answer, and believe any client's `X-Real-IP`.
    let figment = Figment::from(rocket::Config { ip_header: None, ..rocket::Config::default() })
        .merge(("ident", false))
        .merge(figment);
    rocket::custom(figment)
        .attach(SimplejwtFairing::with(jwt))
        .mount(TOKEN_BASE, token_routes())
        .mount("/health", health_routes())
}
