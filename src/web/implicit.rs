//! `implicit_refresh`: a browser whose access token is about to end gets another one with the answer, as in flask-jwt-extended's recipe.

use std::sync::{Arc, OnceLock};

use rocket::http::Header;
use rocket::{Request, Response};

use super::bearer::handle;
use super::cookies::access_cookies;
use crate::service::{Client, in_time};
use crate::token::Verified;

/// The access token that a request brought in a cookie, and that was good.
#[derive(Default)]
struct Brought(OnceLock<Arc<Verified>>);

pub(super) fn brought(request: &Request<'_>, token: &Arc<Verified>) {
    // There is one cookie.
    let _ = request.local_cache(Brought::default).0.set(Arc::clone(token));
}

/// Adds the cookies of a new access token to an answer, where it is time. What hinders it hinders nothing else: the old token is good
/// until it ends.
pub(super) async fn renew(request: &Request<'_>, response: &mut Response<'_>) {
    let Ok(jwt) = handle(request) else { return };
    let transport = &jwt.settings().transport;
    let Some(window) = transport.implicit_refresh else { return };
    let Some(token) = request.local_cache(Brought::default).0.get() else { return };
    let due = jwt.now().is_ok_and(|now| token.expires_at() - now < window.as_delta());
    // A handler that has set or cleared the cookie knows better.
    let name = format!("{}=", transport.access_cookie_name);
    if !due || response.status().code >= 400 || response.headers().get("Set-Cookie").any(|set| set.starts_with(&name)) {
        return;
    }
    match in_time(jwt.renew_access(token, &Client::of(request))).await {
        Ok(Some(issued)) => {
            for cookie in access_cookies(jwt, &issued) {
                response.adjoin_header(&cookie);
            }
            // Whatever the handler says of its answer: a cache that keeps it would log others in.
            response.set_header(Header::new("Cache-Control", "no-store"));
        }
        Ok(None) => {}
        Err(refusal) => log::info!("an access token was not renewed: {refusal}"),
    }
}
