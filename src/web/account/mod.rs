//! The page on which users see where they are signed in, and end that: for the application's own users, with the application's own
//! tokens. What it does is what the routes of `own` do, by the same use cases; how it looks is shared with the admin.

mod device;

use std::sync::Arc;

use askama::Template;
use chrono::{DateTime, Utc};
use rocket::http::{Method, Status};
use rocket::route::{Handler, Outcome, Route};
use rocket::{Data, Request};

use super::admin::answer::{Answer, Problem};
use super::admin::assets;
use super::admin::form::{self, Form};
use super::admin::show::{When, when};
use super::bearer::{authenticate, handle, refused_any};
use super::catchers::remember;
use super::client::address;
use super::cookies::TokenCookies as _;
use super::csrf;
use super::error::AuthError;
use super::routes::{every_method, is_of_group};
use crate::service::{LogoutScope, Refusal, SessionRow, Simplejwt, in_time};
use crate::settings::TokenLocation;
use crate::token::{SessionId, Verified};
use device::device;

/// A page on which the users of an application see where they are signed in, and sign out there: at `sessions` below the path that it is
/// mounted at, so `/account/sessions` here. It needs no script, and looks as the admin does.
///
/// Whoever opens it is known by the access token of the application, which a browser sends in a cookie: `token_location` has to
/// have `"cookies"`. What changes something needs what every request with a token cookie needs: the secret of the token, which
/// its forms have, and an origin that is ours. Without a good token there is a page with status 401.
///
/// ```no_run
/// use rocket_simplejwt::{Simplejwt, account_routes, token_routes};
///
/// #[rocket::launch]
/// fn launch() -> _ {
///     rocket::build()
///         .attach(Simplejwt::fairing())
///         .mount("/api/token", token_routes())
///         .mount("/account", account_routes())
/// }
/// ```
#[must_use]
pub fn account_routes() -> Vec<Route> {
    // By their names the fairing knows them: they ask for the token themselves, to answer with a page.
    every_method(NAME, Page::ALL)
}

/// What the names of these routes go on with.
const NAME: &str = "account ";

/// Whether a route is one of these.
pub(super) fn is_ours(route: &Route) -> bool {
    is_of_group(route, NAME)
}

/// How many rows a page has.
const ROWS: usize = 50;

/// Everything that has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Sessions,
    End,
    EndOthers,
    SignedOut,
    Style,
    Icon,
}

impl Page {
    const ALL: [(&'static str, Self); 6] = [
        ("/sessions", Self::Sessions),
        ("/sessions/end", Self::End),
        ("/sessions/end-others", Self::EndOthers),
        ("/sessions/signed-out", Self::SignedOut),
        ("/sessions/style.css", Self::Style),
        ("/sessions/icon.svg", Self::Icon),
    ];

    /// Whether something is sent to it, instead of looked at.
    const fn changes(self) -> bool {
        matches!(self, Self::End | Self::EndOthers)
    }

    async fn serve(self, base: &str, request: &Request<'_>, data: Data<'_>) -> Result<Answer, Problem> {
        match (self.changes(), request.method()) {
            (true, Method::Post) | (false, Method::Get | Method::Head) => {}
            (true, _) => return Err(Problem::method("POST")),
            (false, _) => return Err(Problem::method("GET, HEAD")),
        }
        match self {
            Self::Style => return Ok(assets::style()),
            Self::Icon => return Ok(assets::icon()),
            Self::SignedOut => return Answer::page(Status::Ok, &SignedOutPage { base }),
            Self::Sessions | Self::End | Self::EndOthers => {}
        }
        let jwt = handle(request).map_err(|_| Problem::fault())?;
        let sent = if self.changes() { Some(form::read(request, data).await?) } else { None };
        in_time(self.answer(jwt, base, request, sent)).await
    }

    async fn answer(
        self,
        jwt: &Simplejwt,
        base: &str,
        request: &Request<'_>,
        sent: Option<Form>,
    ) -> Result<Answer, Problem> {
        if !jwt.settings().has_blacklist() {
            return Err(Problem::missing("The blacklist is off: no sessions are recorded here."));
        }
        if let Some(sent) = &sent {
            // Before anybody asks for the token, which in a cookie counts with its secret only.
            csrf::found_in_form(request, sent.text(&jwt.settings().transport.access_csrf_field_name)?);
        }
        let token = authenticate(request, &jwt.settings().auth_token_classes).await;
        let token = token.map_err(|error| refused(request, &error))?;
        let visit = Visit { jwt, base, request, token };
        match (self, sent) {
            (Self::End, Some(sent)) => visit.end(&sent).await,
            (Self::EndOthers, Some(_)) => visit.end_others().await,
            _ => visit.page(&Form::of_query(request)?).await,
        }
    }
}

#[rocket::async_trait]
impl Handler for Page {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        let mounted = request.route().map_or("", |route| route.uri.base());
        let base = format!("{}/sessions", mounted.trim_end_matches('/'));
        let answer = match self.serve(&base, request, data).await {
            Ok(answer) => answer,
            Err(problem) => problem.answer(&base, "Look again"),
        };
        Outcome::from(request, answer)
    }
}

/// Why somebody is not let in, as a page.
fn refused(request: &Request<'_>, error: &AuthError) -> Problem {
    // For the challenge.
    remember(request, error);
    match (error, error.status()) {
        (AuthError::Refused { refusal: refusal @ Refusal::Unavailable(_), .. }, _) => Problem::unavailable(refusal),
        (AuthError::Csrf(_), status) => {
            let text = "The form is too old, or no page of this server sent it. Go back, load the page again, and send it once more.";
            Problem::new(status, "csrf", text)
        }
        (_, Status::Unauthorized) => {
            let text = "You are not signed in, or not any more. Sign in, and come back to this page.";
            Problem::new(Status::Unauthorized, "not_signed_in", text)
        }
        (_, status) if status.code >= 500 => Problem::fault(),
        (_, status) => Problem::new(status, "refused", error.to_string()),
    }
}

/// A user with a good token, who asks for something.
struct Visit<'a, 'r> {
    jwt: &'a Simplejwt,
    /// Where the page is.
    base: &'a str,
    request: &'a Request<'r>,
    token: Arc<Verified>,
}

/// A login as its user sees it.
struct Login {
    id: String,
    device: String,
    user_agent: String,
    address: String,
    created: When,
    used: When,
    current: bool,
}

#[derive(Template)]
#[template(path = "account/sessions.html")]
struct SessionsPage<'a> {
    base: &'a str,
    /// The field of a form that has the secret, and the secret.
    field: &'a str,
    csrf: &'a str,
    rows: Vec<Login>,
    next: Option<String>,
    continued: bool,
    has_others: bool,
    said: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "account/signed_out.html")]
struct SignedOutPage<'a> {
    base: &'a str,
}

fn said(word: &str) -> Option<&'static str> {
    match word {
        "ended" => Some("That session is over."),
        "others" => Some("You are signed out everywhere else."),
        _ => None,
    }
}

impl Visit<'_, '_> {
    async fn page(&self, asked: &Form) -> Result<Answer, Problem> {
        let after = asked.parsed("after", |text| text.parse::<SessionId>().ok())?;
        let said = asked.parsed("said", said)?;
        let limit = i64::try_from(ROWS).unwrap_or(i64::MAX).saturating_add(1);
        let mut rows =
            self.jwt.own_sessions(&self.token, after, limit).await.map_err(|refusal| self.refuse(refusal))?;
        let more = rows.len() > ROWS;
        rows.truncate(ROWS);
        let next = rows.last().filter(|_| more).map(|last| format!("{}?after={}", self.base, last.id));
        let now = self.jwt.clock_now();
        let (continued, current) = (after.is_some(), self.token.session());
        let has_others = current.is_some() && (continued || rows.iter().any(|row| Some(row.id) != current));
        let page = SessionsPage {
            base: self.base,
            field: &self.jwt.settings().transport.access_csrf_field_name,
            csrf: self.token.csrf().unwrap_or_default(),
            rows: rows.into_iter().map(|row| login(row, current, now)).collect(),
            next,
            continued,
            has_others,
            said,
        };
        Answer::page(Status::Ok, &page)
    }

    /// Ends one session, be it another one or this.
    async fn end(&self, sent: &Form) -> Result<Answer, Problem> {
        // Whose a session is, and whether there is one, nobody learns from the answer.
        let missing = || Problem::missing("You have no such session.");
        let id: SessionId = sent.text("id")?.unwrap_or_default().parse().map_err(|_| missing())?;
        let ended = self.jwt.end_own_session(&self.token, id, address(self.request)).await;
        if !ended.map_err(|refusal| self.refuse(refusal))? {
            return Err(missing());
        }
        if Some(id) != self.token.session() {
            return Ok(Answer::see_other(format!("{}?said=ended", self.base)));
        }
        if self.jwt.settings().transport.uses(TokenLocation::Cookies) {
            self.request.cookies().unset_jwt_cookies(self.jwt);
        }
        Ok(Answer::see_other(format!("{}/signed-out", self.base)))
    }

    /// Ends every session but this.
    async fn end_others(&self) -> Result<Answer, Problem> {
        let done = self.jwt.logout(&self.token, LogoutScope::Others, address(self.request)).await;
        done.map_err(|refusal| self.refuse(refusal))?;
        Ok(Answer::see_other(format!("{}?said=others", self.base)))
    }

    fn refuse(&self, refusal: Refusal) -> Problem {
        refused(self.request, &refused_any(refusal))
    }
}

fn login(row: SessionRow, current: Option<SessionId>, now: DateTime<Utc>) -> Login {
    let user_agent = row.user_agent.unwrap_or_default();
    Login {
        id: row.id.to_string(),
        device: device(&user_agent),
        user_agent,
        address: row.address.unwrap_or_default(),
        created: when(row.created_at, now),
        used: when(row.last_used_at, now),
        current: Some(row.id) == current,
    }
}
