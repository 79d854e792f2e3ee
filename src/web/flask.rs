//! The answers of flask-jwt-extended, quart-jwt-extended and Sanic-JWT-Extended: `{"msg": …}` and their statuses, `error_style = "flask"`.

use rocket::Request;
use rocket::http::Status;

use super::bearer::handle;
use super::error::{AuthError, CsrfFault};
use super::locate::missed;
use crate::service::Refusal;
use crate::settings::{Settings, TokenLocation};
use crate::token::{TokenError, TokenFault, TokenKind};

/// What flask-jwt-extended says, where it has the case.
pub(super) fn says(error: &AuthError, request: &Request<'_>) -> Option<(Status, String)> {
    let settings = handle(request).ok()?.settings();
    let unprocessable = |text: &str| (Status::UnprocessableEntity, text.to_owned());
    let unauthorized = |text: &str| (Status::Unauthorized, text.to_owned());
    Some(match error {
        AuthError::NotProvided => (Status::Unauthorized, missing(settings, request)),
        AuthError::BadHeader => {
            let header = settings.auth_header_name.as_str();
            unprocessable(&format!("Bad {header} header. Expected '{}'", expected(settings, header)))
        }
        AuthError::BadParameter => unprocessable(&format!(
            "Invalid value for query parameter '{}'. Expected the value to start with '{}'",
            settings.transport.query_string_name, settings.transport.query_string_value_prefix
        )),
        AuthError::SeveralTokens => unprocessable("The request carries several tokens"),
        AuthError::Csrf(CsrfFault::Missing) => unauthorized("Missing CSRF token"),
        AuthError::Csrf(CsrfFault::Mismatch) => unauthorized("CSRF double submit tokens do not match"),
        AuthError::Csrf(CsrfFault::NoSecret) => unprocessable("Missing claim: csrf"),
        AuthError::Csrf(CsrfFault::Origin) => unauthorized("CSRF origin check failed"),
        AuthError::NotFresh => unauthorized("Fresh token required"),
        AuthError::Forbidden => (Status::Forbidden, "You are not allowed to access here".into()),
        AuthError::Refused { refusal, kinds } => refused(refusal, kinds)?,
        AuthError::BadBody(_) | AuthError::NotAttached => return None,
    })
}

/// `kinds` are those that would have done; the token routes name none, and want refresh tokens.
fn refused(refusal: &Refusal, kinds: &[TokenKind]) -> Option<(Status, String)> {
    let (status, text) = match refusal {
        Refusal::Token(TokenError::Expired | TokenError::ClaimExpired(_)) => {
            (Status::Unauthorized, "Token has expired")
        }
        Refusal::Token(TokenError::WrongType | TokenError::NoType) if matches!(kinds, [] | [TokenKind::Refresh]) => {
            (Status::UnprocessableEntity, "Only refresh tokens are allowed")
        }
        Refusal::Token(TokenError::WrongType | TokenError::NoType) => {
            (Status::UnprocessableEntity, "Only non-refresh tokens are allowed")
        }
        Refusal::Token(TokenError::Invalid(fault)) => (Status::UnprocessableEntity, pyjwt(*fault)),
        Refusal::Token(TokenError::MissingClaim(name)) => {
            return Some((Status::UnprocessableEntity, format!("Missing claim: {name}")));
        }
        Refusal::Token(TokenError::NoId) => (Status::UnprocessableEntity, "Missing claim: jti"),
        Refusal::Blacklisted | Refusal::Reused(_) | Refusal::Unknown => {
            (Status::Unauthorized, "Token has been revoked")
        }
        Refusal::ClaimsRefused => (Status::BadRequest, "User claims verification failed"),
        Refusal::BadCredentials => (Status::Unauthorized, "Bad username or password"),
        Refusal::NoUserId => (Status::UnprocessableEntity, "Missing claim: sub"),
        Refusal::UserNotFound | Refusal::UserInactive | Refusal::PasswordChanged | Refusal::NoActiveAccount => {
            (Status::Unauthorized, "Error loading the user")
        }
        Refusal::NotFresh => (Status::Unauthorized, "Fresh token required"),
        Refusal::FutureCutoff
        | Refusal::PastExpiry
        | Refusal::NoSession
        | Refusal::TooMany(_)
        | Refusal::TooManySessions
        | Refusal::Unavailable(_)
        | Refusal::Misuse(_) => return None,
    };
    Some((status, text.into()))
}

/// As Python's library for tokens puts it.
fn pyjwt(fault: TokenFault) -> &'static str {
    match fault {
        TokenFault::Signature | TokenFault::UnknownKey => "Signature verification failed",
        TokenFault::Audience => "Invalid audience",
        TokenFault::Issuer => "Invalid issuer",
        TokenFault::NotYetValid => "The token is not yet valid (nbf)",
        TokenFault::Shape => "Not enough segments",
        _ => "Invalid token",
    }
}

fn expected(settings: &Settings, header: &str) -> String {
    let scheme = settings.auth_header_types.first().filter(|scheme| !scheme.is_empty());
    let scheme = scheme.map(|scheme| format!("{scheme} ")).unwrap_or_default();
    format!("{header}: {scheme}<JWT>")
}

/// What is missing in each place.
fn missing(settings: &Settings, request: &Request<'_>) -> String {
    let places = settings.transport.token_location.as_slice();
    let each: Vec<String> = places.iter().map(|place| missing_in(*place, settings, request)).collect();
    let names = places.iter().map(|place| place.as_str()).collect::<Vec<_>>();
    match (each.as_slice(), names.as_slice()) {
        ([one], _) => one.clone(),
        (_, [most @ .., last]) => format!("Missing JWT in {} or {last} ({})", most.join(", "), each.join("; ")),
        _ => String::new(),
    }
}

fn missing_in(place: TokenLocation, settings: &Settings, request: &Request<'_>) -> String {
    let (slot, transport) = (missed(request), &settings.transport);
    let header = slot.header(settings);
    let has_header = request.headers().get_one(header).is_some_and(|value| !value.trim().is_empty());
    match place {
        TokenLocation::Headers if has_header => {
            let scheme = settings.auth_header_types.first().map_or("", String::as_str);
            format!("Missing '{scheme}' type in '{header}' header. Expected '{}'", expected(settings, header))
        }
        TokenLocation::Headers => format!("Missing {header} Header"),
        TokenLocation::Cookies => format!("Missing cookie \"{}\"", slot.cookie(transport)),
        TokenLocation::QueryString => format!("Missing \"{}\" query parameter", transport.query_string_name),
        TokenLocation::Json if !request.content_type().is_some_and(|media| media.is_json()) => {
            "Invalid content-type. Must be application/json.".to_owned()
        }
        TokenLocation::Json => format!("Missing \"{}\" key in json data.", slot.json_key(transport)),
    }
}
