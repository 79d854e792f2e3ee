//! `/metrics`, for Prometheus.

use std::net::SocketAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use figment::Figment;
use rocket::http::{ContentType, Method, Status};
use rocket::route::{Handler, Outcome, Route};
use rocket::{Build, Data, Request, Rocket, Shutdown};

use super::apart;
use super::bearer::handle;
use super::error::Reply;
use super::routes::NAME_PREFIX;
use crate::service::Simplejwt;
use crate::settings::Settings;

/// The route of the figures for Prometheus, to be mounted at `/metrics`; `simplejwt serve` has it there if `metrics_token` is set.
///
/// `GET /` is 200 with text in the format of `OpenMetrics` for a request with `Authorization: Bearer` and the setting `metrics_token`, and 401
/// otherwise. An application that mounts it without that setting does not launch. With the setting `metrics_address`, figures are
/// at that address, and none of this is needed. To show them in a way of one's own, see [`Simplejwt::metrics`].
#[must_use]
pub fn metrics_routes() -> Vec<Route> {
    vec![route(Scrape)]
}

/// What the name of the route ends with.
const NAME: &str = "metrics";

fn route(handler: impl Handler) -> Route {
    let mut route = Route::new(Method::Get, "/", handler);
    route.name = Some(format!("{NAME_PREFIX}{NAME}").into());
    route
}

/// Whether this is our route.
pub(super) fn is_ours(route: &Route) -> bool {
    route.name.as_ref().is_some_and(|name| name.strip_prefix(NAME_PREFIX) == Some(NAME))
}

#[derive(Clone)]
struct Scrape;

#[rocket::async_trait]
impl Handler for Scrape {
    async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> Outcome<'r> {
        let Ok(jwt) = handle(request) else { return Outcome::from(request, Reply::server_error()) };
        if !is_allowed(jwt.settings(), request) {
            let reply = Reply::detail(Status::Unauthorized, "The figures need the token of the setting metrics_token.");
            return Outcome::from(request, reply.with("WWW-Authenticate", "Bearer realm=\"metrics\""));
        }
        let open_metrics = ContentType::new("application", "openmetrics-text");
        let content_type = open_metrics.with_params([("version", "1.0.0"), ("charset", "utf-8")]);
        Outcome::from(request, (content_type, jwt.metrics()))
    }
}

/// Whether the request has the token; without one, only whoever is on this machine gets here.
fn is_allowed(settings: &Settings, request: &Request<'_>) -> bool {
    let Some(wanted) = &settings.metrics_token else { return settings.metrics_address.is_some() };
    let mut headers = request.headers().get("Authorization");
    let (Some(header), None) = (headers.next(), headers.next()) else { return false };
    let Some((scheme, sent)) = header.split_once(' ') else { return false };
    scheme.eq_ignore_ascii_case("Bearer")
        && verify_slices_are_equal(sent.as_bytes(), wanted.reveal().as_bytes()).is_ok()
}

/// Serves the figures at an address of their own from now on, with everything else as `figment` says, and returns how to end that.
pub(super) async fn serve(jwt: Simplejwt, address: SocketAddr, figment: &Figment) -> Result<Shutdown, rocket::Error> {
    let build = |rocket: Rocket<Build>| rocket.manage(jwt).mount("/metrics", metrics_routes());
    Ok(apart::serve("metrics", address, figment, build).await?.0)
}
