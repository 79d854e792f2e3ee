//! The admin in a browser: pages that are made here, work without script, and ask no other host for anything.
//!
//! | file | what it holds |
//! |---|---|
//! | `visit` | who asks: cookie, session, and for changes the proof that a page of ours sent the form |
//! | `form` | what a form or an address says |
//! | `answer` | pages and errors as responses, with the headers that each has |
//! | `show` | instants, states and links as a page shows them |
//! | `entry` | signing in and out |
//! | `overview` | how everything stands |
//! | `tokens`, `token`, `blacklisted` | the recorded tokens, one of them, and those that somebody revoked |
//! | `pasted` | tokens in what somebody pastes |
//! | `sessions`, `users`, `events` | logins with their tokens, the built-in users, what happened |
//! | `jobs`, `confirm` | many tokens at once and the flush; the password once more before that |
//! | `assets` | the stylesheet and the script |

pub(super) mod answer;
pub(super) mod assets;
mod blacklisted;
mod confirm;
mod entry;
mod events;
pub(super) mod form;
mod jobs;
mod overview;
mod pasted;
mod sessions;
pub(super) mod show;
mod token;
mod tokens;
mod users;
mod visit;

use std::net::SocketAddr;

use figment::Figment;
use rocket::http::{Method, Status};
use rocket::route::{Handler, Outcome, Route};
use rocket::{Build, Data, Request, Rocket, Shutdown};

use super::apart;
use super::bearer::handle;
use super::fairing::SimplejwtFairing;
use super::routes::{every_method, is_of_group};
use crate::service::{Simplejwt, in_time};
use answer::{Answer, Problem};
use visit::Visit;

/// The admin in a browser, to be mounted at `/admin` or wherever the application likes, beside the
/// [`SimplejwtFairing`](crate::SimplejwtFairing); `simplejwt serve --admin` has it at an address of its own, as an
/// application has with the setting `admin_address`.
///
/// Whoever signs in is a user for whom [`Authenticator::admin_access`](crate::Authenticator::admin_access) says more than nothing: of
/// the built-in users those that are staff, of Django's those with `is_staff`. Browsers keep the cookie only over TLS, or from this
/// very machine.
///
/// ```no_run
/// use rocket_simplejwt::{Simplejwt, admin_routes, token_routes};
///
/// #[rocket::launch]
/// fn launch() -> _ {
///     rocket::build()
///         .attach(Simplejwt::fairing())
///         .mount("/api/token", token_routes())
///         .mount("/admin", admin_routes())
/// }
/// ```
#[must_use]
pub fn admin_routes() -> Vec<Route> {
    // By their names the fairing knows them, and lets them pass without a token.
    every_method(NAME, Page::ALL)
}

/// Serves the admin at an address of its own from now on, with everything else as `figment` says; returns how to end that, and where
/// it listens.
pub(super) async fn serve(
    jwt: Simplejwt,
    address: SocketAddr,
    figment: &Figment,
) -> Result<(Shutdown, SocketAddr), rocket::Error> {
    let build = |rocket: Rocket<Build>| rocket.attach(SimplejwtFairing::beside(jwt)).mount("/admin", admin_routes());
    apart::serve("admin", address, figment, build).await
}

/// What the names of these routes go on with.
const NAME: &str = "admin ";

/// Whether a route is one of these.
pub(super) fn is_ours(route: &Route) -> bool {
    is_of_group(route, NAME)
}

/// Everything that has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Style,
    Script,
    Icon,
    SignIn,
    SignOut,
    Home,
    Tokens,
    Find,
    Token,
    Blacklist,
    Unblacklist,
    Blacklisted,
    Bulk,
    BulkBlacklist,
    Sessions,
    Session,
    EndSession,
    EndSessions,
    Users,
    AddUser,
    SetPassword,
    SetActive,
    Events,
    Flush,
    TryFlush,
    StartFlush,
    Job,
    StopJob,
}

impl Page {
    const ALL: [(&'static str, Self); 28] = [
        ("/style.css", Self::Style),
        ("/script.js", Self::Script),
        ("/icon.svg", Self::Icon),
        ("/sign-in", Self::SignIn),
        ("/sign-out", Self::SignOut),
        ("/", Self::Home),
        ("/tokens", Self::Tokens),
        ("/find", Self::Find),
        ("/token", Self::Token),
        ("/token/blacklist", Self::Blacklist),
        ("/token/unblacklist", Self::Unblacklist),
        ("/blacklisted", Self::Blacklisted),
        ("/bulk", Self::Bulk),
        ("/bulk/blacklist", Self::BulkBlacklist),
        ("/sessions", Self::Sessions),
        ("/session", Self::Session),
        ("/session/end", Self::EndSession),
        ("/sessions/end", Self::EndSessions),
        ("/users", Self::Users),
        ("/users/add", Self::AddUser),
        ("/users/password", Self::SetPassword),
        ("/users/active", Self::SetActive),
        ("/events", Self::Events),
        ("/flush", Self::Flush),
        ("/flush/try", Self::TryFlush),
        ("/flush/start", Self::StartFlush),
        ("/job", Self::Job),
        ("/job/stop", Self::StopJob),
    ];

    /// Whether it is looked at, and whether something is sent to it.
    const fn takes(self) -> (bool, bool) {
        match self {
            Self::SignIn => (true, true),
            Self::SignOut
            | Self::Find
            | Self::Blacklist
            | Self::Unblacklist
            | Self::Bulk
            | Self::BulkBlacklist
            | Self::EndSession
            | Self::EndSessions
            | Self::AddUser
            | Self::SetPassword
            | Self::SetActive
            | Self::TryFlush
            | Self::StartFlush
            | Self::StopJob => (false, true),
            _ => (true, false),
        }
    }

    fn allowed(self) -> &'static str {
        match self.takes() {
            (true, true) => "GET, HEAD, POST",
            (true, false) => "GET, HEAD",
            (false, _) => "POST",
        }
    }

    async fn serve(self, request: &Request<'_>, data: Data<'_>) -> Result<Answer, Problem> {
        let (looked_at, sent_to) = self.takes();
        let sent = request.method() == Method::Post;
        if !(sent && sent_to || matches!(request.method(), Method::Get | Method::Head) && looked_at) {
            return Err(Problem::method(self.allowed()));
        }
        match self {
            Self::Style => return Ok(assets::style()),
            Self::Script => return Ok(assets::script()),
            Self::Icon => return Ok(assets::icon()),
            _ => {}
        }
        let jwt = handle(request).map_err(|_| Problem::fault())?;
        let sent = if sent { Some(form::read(request, data).await?) } else { None };
        in_time(self.answer(jwt, request, sent)).await
    }

    async fn answer(self, jwt: &Simplejwt, request: &Request<'_>, sent: Option<form::Form>) -> Result<Answer, Problem> {
        if self == Self::SignIn {
            return match sent {
                Some(sent) => entry::sign_in(jwt, request, &sent).await,
                None => entry::form(jwt, request).await,
            };
        }
        let visit = Visit::of(jwt, request).await?;
        match sent {
            None => self.look(&visit, &form::Form::of_query(request)?).await,
            Some(sent) => {
                visit.check(request, &sent)?;
                match self {
                    Self::SignOut => entry::sign_out(&visit).await,
                    Self::Find => tokens::find(&visit, &sent),
                    _ => {
                        visit.need_change()?;
                        self.change(&visit, &sent).await
                    }
                }
            }
        }
    }

    /// What is looked at.
    async fn look(self, visit: &Visit<'_>, asked: &form::Form) -> Result<Answer, Problem> {
        match self {
            Self::Tokens => tokens::page(visit, asked).await,
            Self::Token => token::page(visit, asked).await,
            Self::Blacklisted => blacklisted::page(visit, asked).await,
            Self::Sessions => sessions::page(visit, asked).await,
            Self::Session => sessions::one(visit, asked).await,
            Self::Users => users::page(visit, asked).await,
            Self::Events => events::page(visit, asked).await,
            Self::Flush => jobs::flush(visit).await,
            Self::Job => jobs::page(visit, asked),
            _ => overview::page(visit).await,
        }
    }

    /// What changes something. A page of ours sent it, for somebody who may.
    async fn change(self, visit: &Visit<'_>, sent: &form::Form) -> Result<Answer, Problem> {
        match self {
            Self::Blacklist => token::blacklist(visit, sent).await,
            Self::Unblacklist => token::unblacklist(visit, sent).await,
            Self::Bulk => jobs::ask(visit, sent).await,
            Self::BulkBlacklist => jobs::blacklist(visit, sent).await,
            Self::EndSession => sessions::end(visit, sent).await,
            Self::EndSessions => sessions::end_all(visit, sent).await,
            Self::AddUser => users::add(visit, sent).await,
            Self::SetPassword => users::set_password(visit, sent).await,
            Self::SetActive => users::set_active(visit, sent).await,
            Self::TryFlush => Ok(jobs::dry_run(visit)),
            Self::StartFlush => jobs::start_flush(visit).await,
            Self::StopJob => jobs::stop(visit, sent),
            _ => Err(Problem::fault()),
        }
    }
}

#[rocket::async_trait]
impl Handler for Page {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        let answer = match self.serve(request, data).await {
            Ok(answer) => answer,
            Err(problem) => problem.answer(&visit::base(request), "Go to the start"),
        };
        Outcome::from(request, answer)
    }
}

/// The status of something that an address or a form says, and that makes no sense.
const BAD: Status = Status::BadRequest;
