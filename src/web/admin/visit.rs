//! Who asks, and whether a page of ours sent the form.

use std::fmt;

use rocket::Request;
use rocket::http::{RawStr, Status};

use super::answer::{Answer, Problem};
use super::form::Form;
use crate::service::Simplejwt;
use crate::service::admin::{Actor, AdminSecret, AdminSession};
use crate::web::client::address;
use crate::web::csrf::is_host;
use crate::web::locate::is_for_api;

/// The cookie. With this beginning of its name a browser takes it only over TLS or from this machine, for this host alone and all of
/// its paths, so that no other host can put one in its place.
const COOKIE: &str = "__Host-simplejwt-admin";

/// What the browser shall keep.
#[derive(Debug)]
pub(super) enum Cookie<'a> {
    Set(&'a AdminSecret),
    Removed,
}

impl fmt::Display for Cookie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, end) = match self {
            Self::Set(secret) => (secret.reveal(), ""),
            Self::Removed => ("", "; Max-Age=0"),
        };
        write!(f, "{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{end}")
    }
}

impl Answer {
    pub(super) fn with_cookie(self, cookie: &Cookie) -> Self {
        self.with("Set-Cookie", cookie.to_string())
    }
}

/// The only cookie of ours that the browser sent.
pub(super) fn secret(request: &Request<'_>) -> Option<AdminSecret> {
    let pairs = request.headers().get("Cookie").flat_map(|header| header.split(';'));
    let mut ours = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(name, _)| *name == COOKIE);
    match (ours.next(), ours.next()) {
        (Some((_, value)), None) => AdminSecret::parse(value),
        _ => None,
    }
}

/// Where the admin is mounted, without a slash at the end.
pub(super) fn base(request: &Request<'_>) -> String {
    let base = request.route().map_or("", |route| route.uri.base());
    base.trim_end_matches('/').to_owned()
}

/// Somebody who is signed in, and asks for something.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    pub(super) jwt: &'a Simplejwt,
    pub(super) base: String,
    pub(super) secret: AdminSecret,
    pub(super) session: AdminSession,
    pub(super) address: Option<String>,
}

impl<'a> Visit<'a> {
    /// Who asks; a problem if nobody is signed in.
    pub(super) async fn of(jwt: &'a Simplejwt, request: &Request<'_>) -> Result<Self, Problem> {
        let secret = secret(request);
        let session = match &secret {
            Some(secret) => jwt.admin_session(secret).await?,
            None => None,
        };
        match (secret, session) {
            (Some(secret), Some(session)) => {
                if !is_again(request) {
                    jwt.note_admin_visit(&secret, &session);
                }
                Ok(Self { jwt, base: base(request), secret, session, address: address(request) })
            }
            // Somebody who has a token of a user, and takes the pages for an interface of it.
            _ if is_for_api(request, jwt.settings()) => {
                Err(Problem::new(Status::Forbidden, "forbidden", "Tokens are of no use here. Sign in instead."))
            }
            _ => Err(Problem::Elsewhere(format!("{}/sign-in", base(request)))),
        }
    }

    /// Checks that a page of ours sent the form, in this session.
    pub(super) fn check(&self, request: &Request<'_>, sent: &Form) -> Result<(), Problem> {
        check_origin(request)?;
        check_token(&self.secret, sent)
    }

    /// Refuses whoever may only look.
    pub(super) fn need_change(&self) -> Result<(), Problem> {
        if self.session.may_change() {
            return Ok(());
        }
        Err(Problem::new(Status::Forbidden, "forbidden", "You may look at everything here, and change nothing."))
    }

    pub(super) fn actor(&self) -> Actor {
        self.session.actor(self.address.clone())
    }

    /// A page of ours to go on with.
    pub(super) fn redirect(&self, path: &str) -> Answer {
        Answer::see_other(format!("{}{path}", self.base))
    }

    /// What every page shows around its own content.
    pub(super) fn frame(&self, here: &'static str) -> Frame<'_> {
        Frame {
            base: &self.base,
            here,
            username: self.session.username(),
            may_change: self.session.may_change(),
            csrf: self.secret.form_token(),
            confirmed: self.session.is_confirmed(),
            has_users: self.jwt.manages_users().is_ok(),
            database: self.jwt.database().to_string(),
        }
    }
}

/// What every page shows around its own content.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) base: &'a str,
    pub(super) here: &'static str,
    pub(super) username: &'a str,
    pub(super) may_change: bool,
    pub(super) csrf: String,
    /// Whether the password was given lately.
    pub(super) confirmed: bool,
    /// Whether the users are ours to show.
    pub(super) has_users: bool,
    pub(super) database: String,
}

impl Frame<'_> {
    /// The pages in the order of the menu, each with the last part of its address.
    pub(super) fn pages(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let pages = [
            ("", "Overview"),
            ("tokens", "Outstanding"),
            ("blacklisted", "Blacklisted"),
            ("sessions", "Sessions"),
            ("users", "Users"),
            ("events", "Events"),
            ("flush", "Flush"),
        ];
        pages.into_iter().filter(|(path, _)| self.has_users || *path != "users")
    }
}

/// What our script sends with whatever it loads again by itself.
const AGAIN: &str = "Simplejwt-Again";

/// Whether a page is loaded again by itself, which is no sign that anybody is there. Without script the address says so.
fn is_again(request: &Request<'_>) -> bool {
    let said = || request.uri().query().is_some_and(|query| query.segments().any(|field| field == ("again", "yes")));
    request.headers().contains(AGAIN) || said()
}

fn refused(text: &str) -> Problem {
    Problem::new(Status::Forbidden, "csrf", text)
}

/// Refuses what another site made the browser send. Each header only says more than the form's own token does.
pub(super) fn check_origin(request: &Request<'_>) -> Result<(), Problem> {
    let foreign = || refused("The form was not sent by a page of this server. Nothing was changed.");
    let headers = request.headers();
    if headers.get("Sec-Fetch-Site").any(|site| site != "same-origin") {
        return Err(foreign());
    }
    let is_own = |origin: &str| is_host(origin, request);
    if request.host().is_some() && headers.get("Origin").all(is_own) { Ok(()) } else { Err(foreign()) }
}

/// Refuses a form that was not made for this cookie.
pub(super) fn check_token(secret: &AdminSecret, sent: &Form) -> Result<(), Problem> {
    let token = sent.text("csrf")?.unwrap_or_default();
    if secret.is_form_token(token) {
        return Ok(());
    }
    Err(refused("The form is too old, or was not made for you. Go back, load the page again, and send it once more."))
}

/// A text within an address.
pub(super) fn encoded(text: &str) -> String {
    RawStr::new(text).percent_encode().to_string()
}
