//! Pages and problems as responses.

use std::io::Cursor;

use askama::Template;
use rocket::Request;
use rocket::http::{ContentType, Header, Status};
use rocket::response::{Responder, Response, Result as ResponseResult};

use super::BAD;
use crate::chain::chain;
use crate::service::Refusal;

/// What a browser may do with a page of ours: show it, and load from us alone. Nothing on it runs that is not a file of ours.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// A response.
#[derive(Debug)]
pub(in crate::web) struct Answer {
    status: Status,
    content: ContentType,
    body: String,
    headers: Vec<(&'static str, String)>,
    cached: bool,
}

impl Answer {
    /// A page.
    pub(in crate::web) fn page(status: Status, template: &impl Template) -> Result<Self, Problem> {
        let body = template.render().map_err(|error| {
            log::error!("a page cannot be written: {error}");
            Problem::fault()
        })?;
        Ok(Self { status, content: ContentType::HTML, body, headers: Vec::new(), cached: false })
    }

    /// A file that goes with the pages.
    pub(in crate::web) fn file(content: ContentType, body: &str) -> Self {
        Self { status: Status::Ok, content, body: body.to_owned(), headers: Vec::new(), cached: true }
    }

    /// The address to go on with, by looking at it.
    pub(in crate::web) fn see_other(location: String) -> Self {
        let headers = vec![("Location", location)];
        Self { status: Status::SeeOther, content: ContentType::HTML, body: String::new(), headers, cached: false }
    }

    pub(in crate::web) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl<'r> Responder<'r, 'static> for Answer {
    fn respond_to(self, _: &'r Request<'_>) -> ResponseResult<'static> {
        let mut response = Response::build();
        response.status(self.status).header(self.content);
        let kept = if self.cached { "private, max-age=3600" } else { "no-store" };
        for (name, value) in [
            ("Cache-Control", kept),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            // With `no-referrer` browsers would not say any more where a form comes from.
            ("Referrer-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ] {
            response.raw_header(name, value);
        }
        for (name, value) in self.headers {
            response.header_adjoin(Header::new(name, value));
        }
        response.sized_body(self.body.len(), Cursor::new(self.body));
        Ok(response.finalize())
    }
}

/// Why there is no such page, or why nothing was changed.
#[derive(Debug)]
pub(in crate::web) enum Problem {
    /// An error page.
    Shown {
        status: Status,
        /// A word for programs.
        code: &'static str,
        text: String,
        headers: Vec<(&'static str, String)>,
    },
    /// Something else comes first, at this address.
    Elsewhere(String),
}

#[derive(Template)]
#[template(path = "admin/problem.html")]
struct ProblemPage<'a> {
    base: &'a str,
    start: &'a str,
    status: Status,
    code: &'static str,
    text: &'a str,
}

impl Problem {
    pub(in crate::web) fn new(status: Status, code: &'static str, text: impl Into<String>) -> Self {
        Self::Shown { status, code, text: text.into(), headers: Vec::new() }
    }

    /// What was asked for makes no sense.
    pub(in crate::web) fn bad(text: impl Into<String>) -> Self {
        Self::new(BAD, "bad_request", text)
    }

    /// There is no such thing.
    pub(in crate::web) fn missing(text: impl Into<String>) -> Self {
        Self::new(Status::NotFound, "not_found", text)
    }

    /// Nobody knows.
    pub(in crate::web) fn fault() -> Self {
        Self::new(Status::InternalServerError, "error", "A server error occurred.")
    }

    /// A page is looked at that something has to be sent to, or the other way round.
    pub(in crate::web) fn method(allowed: &str) -> Self {
        let headers = vec![("Allow", allowed.to_owned())];
        let text = "Use the buttons of the pages.".to_owned();
        Self::Shown { status: Status::MethodNotAllowed, code: "method_not_allowed", text, headers }
    }

    /// The database, or what else is needed, does not answer.
    pub(in crate::web) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        log::error!("answered 503: {}", chain(error));
        let headers = vec![("Retry-After", "1".to_owned())];
        let text = "The service is not available, try again later. Whether something was changed is not certain.";
        Self::Shown { status: Status::ServiceUnavailable, code: "unavailable", text: text.to_owned(), headers }
    }

    /// The response, for pages that have their address and files below `base`, of which the first is called `start`.
    pub(in crate::web) fn answer(self, base: &str, start: &str) -> Answer {
        let (status, code, text, headers) = match self {
            Self::Shown { status, code, text, headers } => (status, code, text, headers),
            Self::Elsewhere(location) => return Answer::see_other(location),
        };
        let page = ProblemPage { base, start, status, code, text: &text };
        let answer = Answer::page(status, &page).unwrap_or_else(|_| Answer::file(ContentType::Plain, "error"));
        headers.into_iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match &refusal {
            Refusal::Unavailable(_) => Self::unavailable(&refusal),
            _ => Self::bad(refusal.to_string()),
        }
    }
}

impl From<crate::service::admin::LedgerError> for Problem {
    fn from(error: crate::service::admin::LedgerError) -> Self {
        Self::unavailable(&error)
    }
}
