//! Every refusal as status, body and headers. The bodies are simplejwt's.

use std::io::Cursor;
use std::sync::Arc;

use rocket::http::{ContentType, Header, Status};
use rocket::response::{Responder, Response, Result as ResponseResult};
use rocket::{Request, response};
use serde_json::{Value, json};

use super::render::rendered;
use crate::chain::chain;
use crate::service::{Refusal, whole_seconds};
use crate::token::TokenKind;

/// Why a request is not let in. The error of every guard of this crate.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The request carries no token.
    #[error("Authentication credentials were not provided.")]
    NotProvided,
    /// The header has our scheme, but not exactly one token.
    #[error("Authorization header must contain two space-delimited values")]
    BadHeader,
    /// The parameter of the query is there, but does not hold one token.
    #[error("The query parameter must hold one token")]
    BadParameter,
    /// The request carries several tokens, in one place or in different ones, and they differ.
    #[error("The request carries several tokens")]
    SeveralTokens,
    /// The token came in a cookie, and nothing proves that a page of the application sent it.
    #[error("CSRF Failed: {0}")]
    Csrf(CsrfFault),
    /// The token is not taken.
    #[error("{refusal}")]
    Refused {
        /// Why not.
        refusal: Refusal,
        /// The kinds of token that would have done.
        kinds: Arc<[TokenKind]>,
    },
    /// The body is not what the handler takes.
    #[error("The request body cannot be used: {0}")]
    BadBody(String),
    /// The token is good, but does not come right from a login: see [`Fresh`](super::Fresh).
    #[error("Fresh token required")]
    NotFresh,
    /// The token is good, but not for this: what a guard of the application says, such as one that asks for a role.
    #[error("You do not have permission to perform this action.")]
    Forbidden,
    /// A guard is used in an application without the fairing. Rocket refuses to launch such an application.
    #[error("the SimplejwtFairing is not attached")]
    NotAttached,
}

/// Why a request with a token cookie may come from another site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrfFault {
    /// It lacks the header with the secret.
    #[error("CSRF token missing.")]
    Missing,
    /// What it sends is not the secret of the token.
    #[error("CSRF token incorrect.")]
    Mismatch,
    /// The token has no secret, as one that was not issued for cookies.
    #[error("the token in the cookie has no CSRF token.")]
    NoSecret,
    /// The browser says that another site sent it.
    #[error("Origin checking failed.")]
    Origin,
}

impl From<CsrfFault> for AuthError {
    fn from(fault: CsrfFault) -> Self {
        Self::Csrf(fault)
    }
}

impl AuthError {
    /// The status that this error is answered with.
    #[must_use]
    pub fn status(&self) -> Status {
        self.reply().status
    }

    /// Whether the request carried a token, or something in its place, that was found bad.
    pub(super) fn is_bad_token(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::BadHeader | Self::BadParameter | Self::SeveralTokens | Self::Csrf(_) => true,
            Self::NotProvided | Self::BadBody(_) | Self::NotFresh | Self::Forbidden | Self::NotAttached => false,
        }
    }

    pub(super) fn reply(&self) -> Reply {
        let reply = match self {
            Self::NotProvided => Reply::detail(Status::Unauthorized, self.to_string()),
            Self::BadHeader => Reply::coded(Status::Unauthorized, self.to_string(), "bad_authorization_header"),
            Self::BadParameter => Reply::coded(Status::Unauthorized, self.to_string(), "bad_query_parameter"),
            Self::SeveralTokens => Reply::coded(Status::Unauthorized, self.to_string(), "several_tokens"),
            Self::Csrf(_) => Reply::coded(Status::Forbidden, self.to_string(), "csrf"),
            Self::Refused { refusal, kinds } => request_refused(refusal, kinds),
            Self::BadBody(_) => Reply::detail(Status::BadRequest, self.to_string()),
            Self::NotFresh => Reply::coded(Status::Unauthorized, self.to_string(), "fresh_token_required"),
            Self::Forbidden => Reply::detail(Status::Forbidden, self.to_string()),
            Self::NotAttached => Reply::server_error(),
        };
        Reply { cause: Some(self.clone()), ..reply }
    }
}

/// A JSON answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: Status,
    pub body: Option<Value>,
    pub headers: Vec<(&'static str, String)>,
    /// What is wrong with the token, for those who put it in their own words.
    pub cause: Option<AuthError>,
}

/// How many seconds a client should wait before it tries again what was answered with 503.
const RETRY_AFTER: &str = "1";

impl Reply {
    pub(super) fn json(status: Status, body: Value) -> Self {
        Self { status, body: Some(body), headers: Vec::new(), cause: None }
    }

    pub(super) fn empty(status: Status) -> Self {
        Self { status, body: None, headers: Vec::new(), cause: None }
    }

    pub(super) fn detail(status: Status, detail: impl Into<String>) -> Self {
        Self::json(status, json!({ "detail": detail.into() }))
    }

    pub(super) fn coded(status: Status, detail: impl Into<String>, code: &str) -> Self {
        Self::json(status, json!({ "detail": detail.into(), "code": code }))
    }

    pub(super) fn server_error() -> Self {
        Self::detail(Status::InternalServerError, "A server error occurred.")
    }

    pub(super) fn unavailable() -> Self {
        let detail = "The service is not available, try again later.";
        Self::coded(Status::ServiceUnavailable, detail, "unavailable").with("Retry-After", RETRY_AFTER)
    }

    /// Adds a member to the body.
    pub(super) fn and(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Some(body) = &mut self.body {
            body[name] = value.into();
        }
        self
    }

    pub(super) fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl<'r> Responder<'r, 'static> for Reply {
    fn respond_to(self, request: &'r Request<'_>) -> ResponseResult<'static> {
        let this = rendered(self, request);
        let mut response: response::Builder<'static> = Response::build();
        response.status(this.status);
        // Tokens, and what is said of them, stay out of every cache (RFC 6749 §5.1).
        response.raw_header("Cache-Control", "no-store");
        for (name, value) in this.headers {
            response.header(Header::new(name, value));
        }
        if let Some(body) = this.body {
            let text = body.to_string();
            response.header(ContentType::JSON).sized_body(text.len(), Cursor::new(text));
        }
        Ok(response.finalize())
    }
}

/// What the token endpoints answer.
pub(super) fn endpoint_refused(refusal: &Refusal) -> Reply {
    let cause = AuthError::Refused { refusal: refusal.clone(), kinds: [].into() };
    Reply { cause: Some(cause), ..plainly_refused(refusal) }
}

fn plainly_refused(refusal: &Refusal) -> Reply {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Token(_) | Refusal::Blacklisted | Refusal::Reused(_) | Refusal::Unknown | Refusal::ClaimsRefused => {
            Reply::coded(Status::Unauthorized, detail, "token_not_valid")
        }
        Refusal::BadCredentials
        | Refusal::NoActiveAccount
        | Refusal::PasswordChanged
        | Refusal::NoUserId
        | Refusal::UserNotFound
        | Refusal::UserInactive => Reply::detail(Status::Unauthorized, detail),
        Refusal::FutureCutoff | Refusal::PastExpiry | Refusal::NoSession => {
            Reply::coded(Status::BadRequest, detail, "bad_request")
        }
        Refusal::NotFresh => Reply::coded(Status::Unauthorized, detail, "fresh_token_required"),
        Refusal::TooMany(wait) => {
            Reply::detail(Status::TooManyRequests, detail).with("Retry-After", whole_seconds(*wait).to_string())
        }
        Refusal::TooManySessions => Reply::coded(Status::Forbidden, detail, "too_many_sessions"),
        Refusal::Unavailable(_) => {
            log::error!("answered 503: {}", chain(refusal));
            Reply::unavailable()
        }
        Refusal::Misuse(_) => {
            log::error!("answered 500: {}", chain(refusal));
            Reply::server_error()
        }
    }
}

/// What a protected route answers.
fn request_refused(refusal: &Refusal, kinds: &[TokenKind]) -> Reply {
    let unauthorized = |code| Reply::coded(Status::Unauthorized, refusal.to_string(), code);
    match refusal {
        Refusal::Token(_) | Refusal::Blacklisted | Refusal::Reused(_) | Refusal::Unknown | Refusal::ClaimsRefused => {
            let message = |kind: &TokenKind| {
                json!({
                    "token_class": kind.class_name(),
                    "token_type": kind.as_str(),
                    "message": refusal.to_string(),
                })
            };
            let body = json!({
                "detail": "Given token not valid for any token type",
                "code": "token_not_valid",
                "messages": kinds.iter().map(message).collect::<Vec<_>>(),
            });
            Reply::json(Status::Unauthorized, body)
        }
        Refusal::NoUserId => unauthorized("token_not_valid"),
        Refusal::UserNotFound => unauthorized("user_not_found"),
        Refusal::UserInactive => unauthorized("user_inactive"),
        Refusal::PasswordChanged => unauthorized("password_changed"),
        Refusal::BadCredentials
        | Refusal::NoActiveAccount
        | Refusal::FutureCutoff
        | Refusal::PastExpiry
        | Refusal::TooMany(_)
        | Refusal::TooManySessions
        | Refusal::NoSession
        | Refusal::NotFresh
        | Refusal::Unavailable(_)
        | Refusal::Misuse(_) => plainly_refused(refusal),
    }
}
