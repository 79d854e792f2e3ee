//! Is the token of a request good? Looked up once per request.

use std::sync::Arc;

use rocket::Request;

use super::client::ip;
use super::csrf;
use super::error::AuthError;
use super::implicit;
use super::locate::{Slot, find, miss};
use crate::service::{Refusal, Simplejwt};
use crate::settings::TokenLocation;
use crate::token::{TokenError, TokenKind, Verified};

/// What one request turned out to carry.
struct Checked(Result<Arc<Verified>, AuthError>);

/// The same for the refresh token, where that has a place of its own.
struct CheckedRefresh(Checked);

/// The good token of a request, if it is of one of `kinds`. However many guards ask, the token is checked once.
pub(super) async fn authenticate(request: &Request<'_>, kinds: &[TokenKind]) -> Result<Arc<Verified>, AuthError> {
    let jwt = handle(request)?;
    if jwt.settings().transport.is_one_header() {
        return of_kind(jwt, checked(request, Slot::Access).await, kinds);
    }
    let (first, second) = Slot::of(kinds);
    let mut result = checked(request, first).await;
    if let (Err(AuthError::NotProvided), Some(second)) = (&result.0, second) {
        result = checked(request, second).await;
    }
    of_kind(jwt, result, kinds)
}

/// The same for a token that was found in the body, and was not asked for before.
pub(super) async fn authenticate_body(
    request: &Request<'_>,
    kinds: &[TokenKind],
    body: Option<&str>,
) -> Result<Arc<Verified>, AuthError> {
    let jwt = handle(request)?;
    let (slot, _) = Slot::of(kinds);
    of_kind(jwt, &Checked(check(request, slot, body).await), kinds)
}

async fn checked<'r>(request: &'r Request<'_>, slot: Slot) -> &'r Checked {
    match slot {
        Slot::Access => request.local_cache_async(async { Checked(check(request, slot, None).await) }).await,
        Slot::Refresh => {
            let checked = async { CheckedRefresh(Checked(check(request, slot, None).await)) };
            &request.local_cache_async(checked).await.0
        }
    }
}

fn of_kind(jwt: &Simplejwt, checked: &Checked, kinds: &[TokenKind]) -> Result<Arc<Verified>, AuthError> {
    let refused = |refusal| AuthError::Refused { refusal, kinds: kinds.into() };
    match &checked.0 {
        Ok(token) => {
            let fits = kinds.iter().any(|kind| token.require(*kind).is_ok());
            // The error of the first kind stands for all: they only differ in what they wanted.
            let outcome = if fits { Ok(()) } else { kinds.first().map_or(Ok(()), |kind| token.require(*kind)) };
            if !fits {
                jwt.count_wrong_kind();
            }
            outcome.map(|()| Arc::clone(token)).map_err(|error| refused(Refusal::Token(error)))
        }
        Err(AuthError::Refused { refusal, .. }) => Err(refused(refusal.clone())),
        Err(error) => Err(error.clone()),
    }
}

async fn check(request: &Request<'_>, slot: Slot, body: Option<&str>) -> Result<Arc<Verified>, AuthError> {
    let jwt = handle(request)?;
    let found = find(request, jwt.settings(), slot, body).inspect_err(|_| jwt.count_bad_header())?;
    let found = found.ok_or_else(|| miss(request, slot))?;
    let refused = |refusal| AuthError::Refused { refusal, kinds: Arc::default() };
    let token = Arc::new(jwt.verify(&found.text).await.map_err(refused)?);
    if found.place == TokenLocation::Cookies {
        csrf::require(request, &jwt.settings().transport, slot, &token).inspect_err(|_| jwt.count_csrf())?;
        if slot == Slot::Access {
            implicit::brought(request, &token);
        }
    }
    jwt.note_use(&token, ip(request));
    Ok(token)
}

/// The token of a request, of which everything is checked but whether it was revoked.
pub(super) fn authenticate_unrevoked(request: &Request<'_>, kinds: &[TokenKind]) -> Result<Arc<Verified>, AuthError> {
    let jwt = handle(request)?;
    let (mut slot, second) = Slot::of(kinds);
    let mut found = find(request, jwt.settings(), slot, None)?;
    if let (None, Some(second)) = (&found, second) {
        slot = second;
        found = find(request, jwt.settings(), slot, None)?;
    }
    let found = found.ok_or_else(|| miss(request, slot))?;
    let refused = |refusal| AuthError::Refused { refusal, kinds: kinds.into() };
    let token = jwt.verify_but_revocation(&found.text).map_err(refused)?;
    if found.place == TokenLocation::Cookies {
        csrf::require(request, &jwt.settings().transport, slot, &token).inspect_err(|_| jwt.count_csrf())?;
    }
    of_kind(jwt, &Checked(Ok(Arc::new(token))), kinds)
}

/// A token that was found genuine, and nothing else of it.
pub(super) struct Genuine {
    pub(super) token: Verified,
    pub(super) in_cookie: bool,
}

/// The genuine token of a request, in time and of any kind, whether or not it was revoked: for a logout, which does no harm to
/// whoever is logged out. Where the access token's time has passed, or what proves that the page sends it is of the refresh token, the
/// refresh token beside it does as well.
pub(super) fn genuine(request: &Request<'_>) -> Result<Genuine, AuthError> {
    let jwt = handle(request)?;
    let access = genuine_in(request, jwt, Slot::Access);
    match access {
        Err(
            AuthError::NotProvided
            | AuthError::Csrf(_)
            | AuthError::Refused { refusal: Refusal::Token(TokenError::Expired), .. },
        ) if !jwt.settings().transport.is_one_header() => match genuine_in(request, jwt, Slot::Refresh) {
            Err(AuthError::NotProvided) => access,
            refresh => refresh,
        },
        access => access,
    }
}

fn genuine_in(request: &Request<'_>, jwt: &Simplejwt, slot: Slot) -> Result<Genuine, AuthError> {
    let found = find(request, jwt.settings(), slot, None).inspect_err(|_| jwt.count_bad_header())?;
    let found = found.ok_or(AuthError::NotProvided)?;
    let token = jwt.genuine(&found.text).map_err(refused_any)?;
    let in_cookie = found.place == TokenLocation::Cookies;
    if in_cookie {
        csrf::require(request, &jwt.settings().transport, slot, &token)?;
    }
    Ok(Genuine { token, in_cookie })
}

/// The refusal of a token that could have been of any kind.
pub(super) fn refused_any(refusal: Refusal) -> AuthError {
    AuthError::Refused { refusal, kinds: TokenKind::ALL.into() }
}

/// The handle that the fairing manages.
pub(super) fn handle<'r>(request: &'r Request<'_>) -> Result<&'r Simplejwt, AuthError> {
    request.rocket().state().ok_or(AuthError::NotAttached)
}
