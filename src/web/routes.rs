//! The token routes, as a table.

use rocket::http::{Method, Status};
use rocket::route::{Handler, Outcome, Route};
use rocket::{Data, Request};
use serde_json::{Value, json};

use super::bearer::handle;
use super::body::{Field, Fields};
use super::client::address;
use super::cookies::TokenCookies as _;
use super::csrf;
use super::error::{AuthError, Reply, endpoint_refused};
use super::locate::{Slot, find_beside_body};
use super::own;
use crate::service::{Client, Issued, Pair, Refreshed, Simplejwt, in_time};
use crate::settings::TokenLocation;
use crate::token::StatedKind;
use crate::users::Credentials;

/// What the names of our routes start with; by it the fairing recognises them, wherever they are mounted.
pub(super) const NAME_PREFIX: &str = "simplejwt ";

/// The token routes, to be mounted wherever the application likes; `simplejwt serve` has them at `/api/token`.
///
/// | route | body | answer |
/// |---|---|---|
/// | `POST /` | `{username, password}` | `{refresh, access}` |
/// | `POST /refresh/` | `{refresh}` | `{access, refresh}` |
/// | `POST /sliding/` | `{username, password}` | `{token}` |
/// | `POST /sliding/refresh/` | `{token}` | `{token}` |
/// | `POST /verify/` | `{token}` | `{}` |
/// | `POST /blacklist/` | `{refresh}` | `{}` |
/// | `GET /whoami/` | bearer token | `{user_id, session, token_type, expires_at}` |
/// | `POST /logout/` | bearer token of any kind; `{scope}`: `"local"`, `"others"` or `"global"` | 204 |
/// | `GET /sessions/` | bearer token | `{sessions, next}`, the caller's own |
/// | `DELETE /sessions/<id>/` | bearer token | 204 |
/// | `GET /tokens/` | bearer token | `{tokens, next}`, the caller's own; with `own_tokens_routes` |
/// | `PUT /tokens/<id>/` | bearer token, `{revoke}` | `{detail}`; with `own_tokens_routes` |
///
/// Each is served with and without the slash at its end. Bodies are JSON, form or multipart of at most 16 KiB.
#[must_use]
pub fn token_routes() -> Vec<Route> {
    routes(|_| true)
}

/// The token routes of a service that only verifies ([`OpenMode::VerifyOnly`](crate::service::OpenMode::VerifyOnly)): of
/// [`token_routes`] `POST /verify/` and `GET /whoami/`. Such an application does not launch with the others.
#[must_use]
pub fn verifier_routes() -> Vec<Route> {
    routes(|endpoint| !endpoint.issues_or_revokes())
}

/// Whether a path is that of a route of ours, whose variable part is a number or a UUID. What stands there under a plain name is a
/// route of the application, which a protected prefix does not leave open.
pub(super) fn is_at(route: &str, path: &str) -> bool {
    let fits = |(part, own): (&str, &str)| if own.starts_with('<') { is_id(part) } else { part == own };
    route.split('/').count() == path.split('/').count() && path.split('/').zip(route.split('/')).all(fits)
}

fn is_id(part: &str) -> bool {
    let digits = part.strip_prefix('-').unwrap_or(part);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number || (part.len() == 36 && part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
}

/// Whether a route is one of ours that a service which only verifies cannot have.
pub(super) fn needs_issuer(route: &Route) -> bool {
    let ours = route.name.as_ref().and_then(|name| name.strip_prefix(NAME_PREFIX));
    Endpoint::ALL.iter().any(|(path, endpoint)| ours == Some(path) && endpoint.issues_or_revokes())
}

fn routes(wanted: impl Fn(Endpoint) -> bool) -> Vec<Route> {
    every_method("", Endpoint::ALL.into_iter().filter(|(_, endpoint)| wanted(*endpoint)))
}

/// The routes of some handlers by their paths, for every method; their names go on with that of the group.
pub(super) fn every_method<H: Handler + Clone>(
    group: &str,
    handlers: impl IntoIterator<Item = (&'static str, H)>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, handler) in handlers {
        for method in METHODS {
            let mut route = Route::new(method, path, handler.clone());
            route.name = Some(format!("{NAME_PREFIX}{group}{path}").into());
            routes.push(route);
        }
    }
    routes
}

/// Whether a route is one of that group.
#[cfg(feature = "admin")]
pub(super) fn is_of_group(route: &Route, group: &str) -> bool {
    route.name.as_ref().and_then(|name| name.strip_prefix(NAME_PREFIX)).is_some_and(|name| name.starts_with(group))
}

/// Every method that Rocket tells apart, so that a wrong one is answered by us and not taken for a wrong path.
const METHODS: [Method; 9] = [
    Method::Get,
    Method::Put,
    Method::Post,
    Method::Delete,
    Method::Options,
    Method::Head,
    Method::Trace,
    Method::Connect,
    Method::Patch,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Obtain,
    Refresh,
    Sliding,
    SlidingRefresh,
    Verify,
    Blacklist,
    Whoami,
    Logout,
    Sessions,
    Session,
    OwnTokens,
    OwnToken,
}

impl Endpoint {
    const ALL: [(&'static str, Self); 12] = [
        ("/", Self::Obtain),
        ("/refresh", Self::Refresh),
        ("/sliding", Self::Sliding),
        ("/sliding/refresh", Self::SlidingRefresh),
        ("/verify", Self::Verify),
        ("/blacklist", Self::Blacklist),
        ("/whoami", Self::Whoami),
        ("/logout", Self::Logout),
        ("/sessions", Self::Sessions),
        ("/sessions/<id>", Self::Session),
        ("/tokens", Self::OwnTokens),
        ("/tokens/<id>", Self::OwnToken),
    ];

    const fn issues_or_revokes(self) -> bool {
        match self {
            Self::Obtain
            | Self::Refresh
            | Self::Sliding
            | Self::SlidingRefresh
            | Self::Blacklist
            | Self::Logout
            | Self::Sessions
            | Self::Session
            | Self::OwnTokens
            | Self::OwnToken => true,
            Self::Verify | Self::Whoami => false,
        }
    }

    const fn method(self) -> Method {
        match self {
            Self::Whoami | Self::Sessions | Self::OwnTokens => Method::Get,
            Self::Session => Method::Delete,
            Self::OwnToken => Method::Put,
            Self::Obtain
            | Self::Refresh
            | Self::Sliding
            | Self::SlidingRefresh
            | Self::Verify
            | Self::Blacklist
            | Self::Logout => Method::Post,
        }
    }

    /// Whether it is there at all.
    fn check_switched_on(self, jwt: &Simplejwt) -> Result<(), Reply> {
        let settings = jwt.settings();
        match self {
            Self::OwnTokens | Self::OwnToken if !settings.own_tokens_routes => {
                Err(Reply::detail(Status::NotFound, "Not found."))
            }
            Self::Blacklist if !settings.has_blacklist() => {
                Err(Reply::detail(Status::NotFound, "The blacklist is off: no token can be blacklisted here."))
            }
            Self::Logout | Self::Sessions | Self::Session | Self::OwnTokens | Self::OwnToken
                if !settings.has_blacklist() =>
            {
                Err(Reply::detail(Status::NotFound, "The blacklist is off: no sessions are recorded here."))
            }
            _ => Ok(()),
        }
    }

    /// Whether it reads the body of a request.
    const fn has_body(self) -> bool {
        !matches!(self.method(), Method::Get | Method::Delete)
    }

    async fn serve(self, request: &Request<'_>, data: Data<'_>) -> Result<Reply, Reply> {
        let jwt = handle(request).map_err(|error| error.reply())?;
        self.check_switched_on(jwt)?;
        let body = if self.has_body() { Fields::read(request, data).await? } else { Fields::default() };
        in_time(self.answer(jwt, request, &body)).await
    }

    async fn answer(self, jwt: &Simplejwt, request: &Request<'_>, body: &Fields) -> Result<Reply, Reply> {
        let refused = |refusal| endpoint_refused(&refusal);
        let out = Delivery { jwt, request };
        let answer = match self {
            Self::Obtain => {
                out.refuse_foreign_login()?;
                let pair = jwt.obtain(&credentials(jwt, body)?, Client::of(request)).await.map_err(refused)?;
                out.pair(&pair, jwt.settings().transport.cookie_routes)
            }
            Self::Sliding => {
                out.refuse_foreign_login()?;
                let token = jwt.obtain_sliding(&credentials(jwt, body)?, Client::of(request)).await.map_err(refused)?;
                out.single(&token, jwt.settings().transport.cookie_routes)
            }
            Self::Refresh => {
                let sent = Sent::find(jwt, request, body, "refresh", Slot::Refresh)?;
                out.refreshed(
                    &jwt.refresh_for(&sent.text, &Client::of(request)).await.map_err(refused)?,
                    sent.in_cookie,
                )
            }
            Self::SlidingRefresh => {
                let sent = Sent::find(jwt, request, body, "token", Slot::Access)?;
                out.single(&jwt.slide_for(&sent.text, &Client::of(request)).await.map_err(refused)?, sent.in_cookie)
            }
            Self::Verify => {
                jwt.verify(&body.one("token")?).await.map_err(refused)?;
                json!({})
            }
            Self::Whoami => return whoami(jwt, request).await,
            Self::Logout => return own::logout(jwt, request, body).await,
            Self::Sessions => return own::sessions(jwt, request).await,
            Self::Session => return own::end_session(jwt, request).await,
            Self::OwnTokens => return own::tokens(jwt, request).await,
            Self::OwnToken => return own::change_token(jwt, request, body).await,
            Self::Blacklist => {
                let sent = Sent::find(jwt, request, body, "refresh", Slot::Refresh)?;
                jwt.blacklist(&sent.text, address(request)).await.map_err(refused)?;
                if sent.in_cookie {
                    request.cookies().unset_jwt_cookies(jwt);
                }
                json!({})
            }
        };
        Ok(Reply::json(Status::Ok, answer))
    }
}

/// The token that a request hands in: in its body or, where cookies or a header for refresh tokens are in use, there.
struct Sent {
    text: String,
    in_cookie: bool,
}

impl Sent {
    fn find(jwt: &Simplejwt, request: &Request<'_>, body: &Fields, field: &str, slot: Slot) -> Result<Self, Reply> {
        let settings = jwt.settings();
        if body.has(field) || settings.transport.is_one_header() {
            return Ok(Self { text: body.one(field)?, in_cookie: false });
        }
        let Some(found) = find_beside_body(request, settings, slot).map_err(|error| error.reply())? else {
            // Says what is missing.
            return Ok(Self { text: body.one(field)?, in_cookie: false });
        };
        let in_cookie = found.place == TokenLocation::Cookies;
        if in_cookie {
            let token = jwt.verify_unrevoked_later(&found.text).map_err(|refusal| endpoint_refused(&refusal))?;
            let proven = csrf::require(request, &settings.transport, slot, &token);
            proven.map_err(|fault| AuthError::Csrf(fault).reply())?;
        }
        Ok(Self { text: found.text.into_owned(), in_cookie })
    }
}

/// How tokens get to the client: in the body or, where the settings or the request say so, in cookies. Then the body has their
/// secrets, and no token, which no script shall see.
struct Delivery<'r, 'i> {
    jwt: &'r Simplejwt,
    request: &'r Request<'i>,
}

impl Delivery<'_, '_> {
    /// Another site that logs a browser in, as somebody else, would see what is then entered there.
    fn refuse_foreign_login(&self) -> Result<(), Reply> {
        let transport = &self.jwt.settings().transport;
        if !transport.cookie_routes {
            return Ok(());
        }
        csrf::refuse_foreign(self.request, transport).map_err(|fault| AuthError::Csrf(fault).reply())
    }

    fn pair(&self, pair: &Pair, in_cookies: bool) -> Value {
        if !in_cookies {
            return json!({ "refresh": pair.refresh.text, "access": pair.access.text });
        }
        self.request.cookies().set_token_cookies(self.jwt, pair);
        json!({ "refresh_csrf": pair.refresh.csrf, "access_csrf": pair.access.csrf })
    }

    fn single(&self, token: &Issued, in_cookies: bool) -> Value {
        if !in_cookies {
            return json!({ "token": token.text });
        }
        self.request.cookies().set_access_cookies(self.jwt, token);
        json!({ "access_csrf": token.csrf })
    }

    fn refreshed(&self, tokens: &Refreshed, in_cookies: bool) -> Value {
        let mut answer = if in_cookies {
            self.request.cookies().set_access_cookies(self.jwt, &tokens.access);
            json!({ "access_csrf": tokens.access.csrf })
        } else {
            json!({ "access": tokens.access.text })
        };
        match &tokens.refresh {
            Some(refresh) if in_cookies => {
                self.request.cookies().set_refresh_cookies(self.jwt, refresh);
                answer["refresh_csrf"] = json!(refresh.csrf);
            }
            Some(refresh) => answer["refresh"] = json!(refresh.text),
            None => {}
        }
        answer
    }
}

#[rocket::async_trait]
impl Handler for Endpoint {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        let asked = request.method();
        let reply = if asked == self.method() || (asked == Method::Head && self.method() == Method::Get) {
            self.serve(request, data).await.unwrap_or_else(|refused| refused)
        } else {
            let allowed = format!("{}, OPTIONS", self.method());
            if asked == Method::Options {
                Reply::empty(Status::NoContent).with("Allow", allowed)
            } else {
                let detail = format!("Method \"{asked}\" not allowed.");
                Reply::detail(Status::MethodNotAllowed, detail).with("Allow", allowed)
            }
        };
        Outcome::from(request, reply)
    }
}

fn credentials(jwt: &Simplejwt, body: &Fields) -> Result<Credentials, Reply> {
    let name = Field::trimmed(&jwt.settings().username_field);
    let (username, password) = body.both(name, Field::exact("password"))?;
    Ok(Credentials { username, password })
}

async fn whoami(jwt: &Simplejwt, request: &Request<'_>) -> Result<Reply, Reply> {
    let token = own::caller(jwt, request).await?;
    let kind = match token.kind() {
        StatedKind::Known(kind) => Some(kind.as_str()),
        StatedKind::Missing | StatedKind::Other => None,
    };
    let answer = json!({
        "user_id": token.user_id(),
        "session": token.session().map(|session| session.to_string()),
        "token_type": kind,
        "expires_at": token.expires_at().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    Ok(Reply::json(Status::Ok, answer))
}
