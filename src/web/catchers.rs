//! JSON for every error, on the application's routes as well.

use rocket::catcher::{self, Catcher};
use rocket::http::Status;
use rocket::response::Responder;
use rocket::{Build, Request, Rocket};
use std::sync::OnceLock;

use super::error::{AuthError, Reply};

/// What the guards of a request found, kept for the catcher and for the last look at the response.
#[derive(Default)]
struct Met {
    refusal: OnceLock<AuthError>,
    accepted: OnceLock<()>,
}

pub(super) fn remember(request: &Request<'_>, error: &AuthError) {
    // The first one decides.
    let _ = request.local_cache(Met::default).refusal.set(error.clone());
}

pub(super) fn remembered<'r>(request: &'r Request<'_>) -> Option<&'r AuthError> {
    request.local_cache(Met::default).refusal.get()
}

/// Notes that a guard let the request in.
pub(super) fn accept(request: &Request<'_>) {
    let _ = request.local_cache(Met::default).accepted.set(());
}

/// The bad token of a request that no guard let in.
pub(super) fn bad_token<'r>(request: &'r Request<'_>) -> Option<&'r AuthError> {
    let met = request.local_cache(Met::default);
    met.refusal.get().filter(|error| error.is_bad_token() && met.accepted.get().is_none())
}

/// Registers our catcher as the default one, where the application has none of its own.
pub(super) fn register(rocket: Rocket<Build>) -> Rocket<Build> {
    let taken = rocket.catchers().any(|catcher| catcher.code.is_none() && catcher.base.path() == "/");
    if taken { rocket } else { rocket.register("/", [Catcher::new(None, JsonErrors)]) }
}

#[derive(Clone)]
struct JsonErrors;

#[rocket::async_trait]
impl catcher::Handler for JsonErrors {
    async fn handle<'r>(&self, status: Status, request: &'r Request<'_>) -> catcher::Result<'r> {
        reply(status, request).respond_to(request)
    }
}

/// The answer for a status that some route, guard or Rocket itself gave without a body.
fn reply(status: Status, request: &Request<'_>) -> Reply {
    if let Some(error) = remembered(request).filter(|error| super::render::status(error, request) == status) {
        return error.reply();
    }
    let detail = match status.code {
        400 => "Malformed request.",
        401 => return AuthError::NotProvided.reply(),
        403 => "You do not have permission to perform this action.",
        404 => "Not found.",
        405 => "Method not allowed.",
        408 => "The request took too long to arrive.",
        413 => "The request body is too large.",
        415 => "Unsupported media type in request.",
        422 => "The request could not be understood.",
        429 => "Too many requests.",
        503 => return Reply::unavailable(),
        500.. => return Reply::server_error().with_status(status),
        _ => status.reason_lossy(),
    };
    Reply::detail(status, detail)
}
