//! Where a request carries its token, and whether that token is good: looked up once per request.

use std::sync::Arc;

use rocket::Request;

use super::error::AuthError;
use crate::service::{Refusal, Simplejwt};
use crate::token::{TokenKind, Verified};

/// The token in a request's header.
#[derive(Debug, PartialEq, Eq)]
enum Presented<'r> {
    /// No header, or one for another scheme.
    Nothing,
    /// Our scheme, but not followed by exactly one token; or several headers.
    Malformed,
    Token(&'r str),
}

/// Reads one header. The scheme is compared without case (RFC 9110 §11.1) and is followed by one space and the token.
fn read<'r>(mut values: impl Iterator<Item = &'r str>, schemes: &[String]) -> Presented<'r> {
    let Some(value) = values.next() else { return Presented::Nothing };
    if values.next().is_some() {
        return Presented::Malformed;
    }
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if !schemes.iter().any(|own| own.eq_ignore_ascii_case(scheme)) {
        return Presented::Nothing;
    }
    let whole = !rest.is_empty() && !rest.contains([' ', '\t', ',']);
    if whole { Presented::Token(rest) } else { Presented::Malformed }
}

/// What one request turned out to carry.
struct Checked(Result<Arc<Verified>, AuthError>);

/// The good token of a request, if it is of one of `kinds`. However many guards ask, the token is checked once.
pub(super) async fn authenticate(request: &Request<'_>, kinds: &[TokenKind]) -> Result<Arc<Verified>, AuthError> {
    let checked = request.local_cache_async(async { Checked(check(request).await) }).await;
    let refused = |refusal| AuthError::Refused { refusal, kinds: kinds.into() };
    match &checked.0 {
        Ok(token) => {
            let fits = kinds.iter().any(|kind| token.require(*kind).is_ok());
            // The error of the first kind stands for all: they only differ in what they wanted.
            let outcome = if fits { Ok(()) } else { kinds.first().map_or(Ok(()), |kind| token.require(*kind)) };
            if let (false, Ok(jwt)) = (fits, handle(request)) {
                jwt.count_wrong_kind();
            }
            outcome.map(|()| Arc::clone(token)).map_err(|error| refused(Refusal::Token(error)))
        }
        Err(AuthError::Refused { refusal, .. }) => Err(refused(refusal.clone())),
        Err(error) => Err(error.clone()),
    }
}

async fn check(request: &Request<'_>) -> Result<Arc<Verified>, AuthError> {
    let jwt = handle(request)?;
    let settings = jwt.settings();
    match read(request.headers().get(&settings.auth_header_name), &settings.auth_header_types) {
        Presented::Nothing => Err(AuthError::NotProvided),
        Presented::Malformed => {
            jwt.count_bad_header();
            Err(AuthError::BadHeader)
        }
        Presented::Token(text) => match jwt.verify(text).await {
            Ok(token) => Ok(Arc::new(token)),
            Err(refusal) => Err(AuthError::Refused { refusal, kinds: Arc::default() }),
        },
    }
}

/// The handle that the fairing manages.
pub(super) fn handle<'r>(request: &'r Request<'_>) -> Result<&'r Simplejwt, AuthError> {
    request.rocket().state().ok_or(AuthError::NotAttached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_scheme_a_space_and_a_token() {
        let schemes = ["Bearer".to_owned(), "JWT".to_owned()];
        let read = |values: &[&'static str]| read(values.iter().copied(), &schemes);
        for token in ["Bearer x", "bearer x", "BEARER x", "JWT x"] {
            assert_eq!(read(&[token]), Presented::Token("x"), "{token}");
        }
        for nothing in ["", "Basic x", "x", "Bearerx", "Bearer\tx"] {
            assert_eq!(read(&[nothing]), Presented::Nothing, "{nothing:?}");
        }
        for malformed in ["Bearer", "Bearer ", "Bearer  x", "Bearer x y", "Bearer x, Bearer x", "Bearer x,"] {
            assert_eq!(read(&[malformed]), Presented::Malformed, "{malformed:?}");
        }
        assert_eq!(read(&["Bearer x", "Bearer x"]), Presented::Malformed);
        assert_eq!(read(&[]), Presented::Nothing);
    }
}
