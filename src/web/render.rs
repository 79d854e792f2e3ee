//! How errors look: simplejwt's way, flask-jwt-extended's, or the application's own.

use std::fmt;
use std::sync::Arc;

use rocket::Request;
use rocket::http::Status;
use serde_json::{Value, json};

use super::bearer::handle;
use super::error::{AuthError, Reply};
use super::flask;
use crate::settings::ErrorStyle;

/// An error that is about to be answered, for [`SimplejwtFairing::render_error`](super::SimplejwtFairing::render_error).
#[derive(Debug)]
#[non_exhaustive]
pub struct ErrorAnswer<'a> {
    /// The status, as it would be.
    pub status: Status,
    /// The body, as it would be.
    pub body: &'a Value,
    /// What is wrong with the token or its place. [`None`]: something else, such as a body without a field, or a path where nothing is.
    pub cause: Option<&'a AuthError>,
}

type Render = dyn Fn(&ErrorAnswer<'_>, &Request<'_>) -> Option<(Status, Value)> + Send + Sync;

/// What the fairing manages for the answers.
#[derive(Clone, Default)]
pub(super) struct Renderer(pub(super) Option<Arc<Render>>);

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Renderer").field(&self.0.is_some()).finish()
    }
}

/// The status that an error is answered with, as far as the settings decide it: what Rocket and the application's catchers are told.
pub(super) fn status(error: &AuthError, request: &Request<'_>) -> Status {
    let flask = handle(request).is_ok_and(|jwt| jwt.settings().error_style == ErrorStyle::Flask);
    let said = if flask { flask::says(error, request) } else { None };
    said.map_or_else(|| error.status(), |(status, _)| status)
}

/// An answer as this application wants it.
pub(super) fn rendered(reply: Reply, request: &Request<'_>) -> Reply {
    if reply.status.code < 400 {
        return reply;
    }
    let mut reply = reply;
    if let Ok(jwt) = handle(request)
        && jwt.settings().error_style == ErrorStyle::Flask
    {
        reply = in_flask_style(reply, request, &jwt.settings().error_message_key);
    }
    let Some(render) = request.rocket().state::<Renderer>().and_then(|renderer| renderer.0.as_deref()) else {
        return reply;
    };
    let Some(body) = &reply.body else { return reply };
    match render(&ErrorAnswer { status: reply.status, body, cause: reply.cause.as_ref() }, request) {
        Some((status, body)) => Reply { status, body: Some(body), ..reply },
        None => reply,
    }
}

fn in_flask_style(reply: Reply, request: &Request<'_>, key: &str) -> Reply {
    let said = reply.cause.as_ref().and_then(|cause| flask::says(cause, request));
    let (status, text) = match (said, &reply.body) {
        (Some(said), _) => said,
        (None, Some(body)) => (reply.status, text_of(body)),
        (None, None) => return reply,
    };
    Reply { status, body: Some(json!({ key: text })), ..reply }
}

/// The text of a body of ours: its `detail`, or what is wrong with each field.
fn text_of(body: &Value) -> String {
    if let Some(detail) = body["detail"].as_str() {
        return detail.to_owned();
    }
    let fields = body.as_object().into_iter().flatten();
    let each = fields.map(|(name, wrong)| format!("{name}: {}", wrong[0].as_str().unwrap_or_default()));
    each.collect::<Vec<_>>().join("; ")
}
