//! Tokens in cookies: set, and cleared, with the cookies that pages read the secret from.

use rocket::http::{Cookie, CookieJar, SameSite};
use rocket::time::Duration;

use crate::service::{Issued, Pair, Simplejwt};
use crate::settings::{self, TokenLocation, Transport};

/// Sets and clears token cookies, under the settings in `transport`: for handlers of an application that log in and out themselves.
///
/// ```
/// use rocket::http::{CookieJar, Status};
/// use rocket::State;
/// use rocket_simplejwt::{Issue, Simplejwt, TokenCookies};
///
/// #[rocket::post("/login")]
/// async fn login(jwt: &State<Simplejwt>, cookies: &CookieJar<'_>) -> Result<Status, Status> {
///     let pair = jwt.issue_pair(Issue::refresh("42")).await.map_err(|_| Status::ServiceUnavailable)?;
///     cookies.set_token_cookies(jwt, &pair);
///     Ok(Status::NoContent)
/// }
/// ```
pub trait TokenCookies {
    /// Sets the access cookie, for an access token or a sliding one, and the cookie with its secret.
    fn set_access_cookies(&self, jwt: &Simplejwt, token: &Issued);
    /// Sets the refresh cookie, and the one with its secret.
    fn set_refresh_cookies(&self, jwt: &Simplejwt, token: &Issued);
    /// Sets all four.
    fn set_token_cookies(&self, jwt: &Simplejwt, pair: &Pair) {
        self.set_access_cookies(jwt, &pair.access);
        self.set_refresh_cookies(jwt, &pair.refresh);
    }
    /// Clears the access cookie, and the one with its secret. The token stays good: blacklist it as well.
    fn unset_access_cookies(&self, jwt: &Simplejwt);
    /// Clears the refresh cookie, and the one with its secret. The token stays good: blacklist it as well.
    fn unset_refresh_cookies(&self, jwt: &Simplejwt);
    /// Clears all four.
    fn unset_jwt_cookies(&self, jwt: &Simplejwt) {
        self.unset_access_cookies(jwt);
        self.unset_refresh_cookies(jwt);
    }
}

impl TokenCookies for CookieJar<'_> {
    fn set_access_cookies(&self, jwt: &Simplejwt, token: &Issued) {
        set(self, jwt, Names::access(&jwt.settings().transport), token);
    }

    fn set_refresh_cookies(&self, jwt: &Simplejwt, token: &Issued) {
        set(self, jwt, Names::refresh(&jwt.settings().transport), token);
    }

    fn unset_access_cookies(&self, jwt: &Simplejwt) {
        unset(self, &jwt.settings().transport, Names::access(&jwt.settings().transport));
    }

    fn unset_refresh_cookies(&self, jwt: &Simplejwt) {
        unset(self, &jwt.settings().transport, Names::refresh(&jwt.settings().transport));
    }
}

/// A token cookie and its companion, each with its path.
#[derive(Clone, Copy)]
struct Names<'a> {
    token: (&'a str, &'a str),
    csrf: (&'a str, &'a str),
}

impl<'a> Names<'a> {
    fn access(of: &'a Transport) -> Self {
        Self {
            token: (&of.access_cookie_name, &of.access_cookie_path),
            csrf: (&of.access_csrf_cookie_name, &of.access_csrf_cookie_path),
        }
    }

    fn refresh(of: &'a Transport) -> Self {
        Self {
            token: (&of.refresh_cookie_name, &of.refresh_cookie_path),
            csrf: (&of.refresh_csrf_cookie_name, &of.refresh_csrf_cookie_path),
        }
    }
}

fn set(jar: &CookieJar<'_>, jwt: &Simplejwt, names: Names<'_>, token: &Issued) {
    if !jwt.settings().transport.uses(TokenLocation::Cookies) {
        log::warn!("a token cookie is set, and nobody will look for it: add \"cookies\" to `token_location`");
    }
    for cookie in cookies(jwt, names, token) {
        jar.add(cookie);
    }
}

/// The cookies of an access token.
pub(super) fn access_cookies(jwt: &Simplejwt, token: &Issued) -> Vec<Cookie<'static>> {
    cookies(jwt, Names::access(&jwt.settings().transport), token)
}

fn cookies(jwt: &Simplejwt, names: Names<'_>, token: &Issued) -> Vec<Cookie<'static>> {
    let transport = &jwt.settings().transport;
    let left = jwt.now().map(|now| (token.expires_at - now).num_seconds().max(0));
    let age = left.ok().filter(|_| !transport.session_cookie).map(Duration::seconds);
    let secret = token.csrf.clone().filter(|_| transport.csrf_in_cookies);
    let secret = secret.map(|secret| cookie(transport, names.csrf, secret, age, false));
    [cookie(transport, names.token, token.text.clone(), age, true)].into_iter().chain(secret).collect()
}

/// With all its attributes: browsers do not take the removal of a `__Host-` cookie without them.
fn unset(jar: &CookieJar<'_>, transport: &Transport, names: Names<'_>) {
    let gone = Some(Duration::ZERO);
    jar.add(cookie(transport, names.token, String::new(), gone, true));
    if transport.issues_csrf() && transport.csrf_in_cookies {
        jar.add(cookie(transport, names.csrf, String::new(), gone, false));
    }
}

fn cookie(
    transport: &Transport,
    (name, path): (&str, &str),
    value: String,
    age: Option<Duration>,
    hidden: bool,
) -> Cookie<'static> {
    let mut cookie = Cookie::new(name.to_owned(), value);
    cookie.set_path(path.to_owned());
    cookie.set_http_only(hidden);
    cookie.set_secure(transport.cookie_secure);
    cookie.set_same_site(match transport.cookie_samesite {
        settings::SameSite::Strict => SameSite::Strict,
        settings::SameSite::Lax => SameSite::Lax,
        settings::SameSite::None => SameSite::None,
    });
    if let Some(domain) = &transport.cookie_domain {
        cookie.set_domain(domain.clone());
    }
    cookie.set_max_age(age);
    cookie
}
