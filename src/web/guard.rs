//! The guards: a handler that takes one runs only for a request with a good token.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rocket::http::Status;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest, Request};
use rocket::{Ignite, Rocket, Sentinel};

use super::bearer::{authenticate, handle};
use super::client::address;
use super::error::AuthError;
use crate::service::{Refusal, Simplejwt, in_time};
use crate::token::{TokenKind, Verified};

/// What all token guards hold.
#[doc(hidden)]
pub struct Bearer {
    token: Arc<Verified>,
    jwt: Simplejwt,
    address: Option<String>,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bearer").field(self.token.jti()).finish()
    }
}

impl Bearer {
    pub(super) fn around(token: Arc<Verified>, request: &Request<'_>) -> Result<Self, AuthError> {
        Ok(Self { token, jwt: handle(request)?.clone(), address: address(request) })
    }

    pub(super) fn token(&self) -> &Verified {
        &self.token
    }

    async fn of(request: &Request<'_>, kinds: &[TokenKind]) -> Result<Self, AuthError> {
        Self::around(authenticate(request, kinds).await?, request)
    }

    async fn blacklist(&self) -> Result<(), Refusal> {
        self.jwt.revoke_own(Verified::clone(&self.token), self.address.clone()).await
    }
}

/// A guard that lets in whoever has a good token: [`AccessToken`] and the others of this crate, and what stands around them, such as
/// [`Fresh`](super::Fresh). An application's own guards are built from them, and do not implement it.
#[rocket::async_trait]
pub trait TokenGuard: Sized + Send + Sync {
    /// What the request is let in with, or why it is not.
    #[doc(hidden)]
    async fn admit(request: &Request<'_>) -> Result<Self, AuthError>;

    /// The token.
    #[doc(hidden)]
    fn token(&self) -> &Verified;
}

/// One of the guards that ask for kinds of tokens, and for nothing else.
pub trait KindGuard: TokenGuard {
    #[doc(hidden)]
    fn kinds(jwt: &Simplejwt) -> &[TokenKind];

    #[doc(hidden)]
    fn with(bearer: Bearer) -> Self;
}

/// The outcome of a guard. A request without a token is forwarded, so that a route of lower rank can serve it; a request with
/// a bad one is an error. The error is kept for the catcher, which Rocket tells only the status.
pub(super) fn outcome<T>(request: &Request<'_>, result: Result<T, AuthError>) -> request::Outcome<T, AuthError> {
    match result {
        Ok(guard) => {
            super::catchers::accept(request);
            Outcome::Success(guard)
        }
        Err(AuthError::NotProvided) => Outcome::Forward(Status::Unauthorized),
        Err(error) => {
            super::catchers::remember(request, &error);
            Outcome::Error((super::render::status(&error, request), error))
        }
    }
}

macro_rules! token_guard {
    ($(#[$doc:meta])* $name:ident, $kinds:expr) => {
        $(#[$doc])*
        ///
        /// It reads as a [`Verified`](crate::token::Verified): `token.user_id()`, `token.claim::<String>("role")`. Answers 401
        /// for a missing, bad or revoked token, 503 where revocation cannot be checked.
        ///
        /// Where a token may be missing, take [`Maybe`] of it. Rocket's own `Option<…>` makes [`None`] of a bad token as well,
        /// and the handler runs; whatever it answers with a status below 400 is then replaced by the 401.
        pub struct $name(Bearer);

        impl $name {
            /// Blacklists this token. A refresh or sliding token ends its session, too. Doing it twice is no error.
            ///
            /// # Errors
            /// [`Refusal::Unavailable`]: it is not certain that the revocation is on disk.
            pub async fn blacklist(&self) -> Result<(), Refusal> {
                self.0.blacklist().await
            }

            /// The handle that checked this token.
            #[must_use]
            pub fn simplejwt(&self) -> &Simplejwt {
                &self.0.jwt
            }
        }

        impl Deref for $name {
            type Target = Verified;

            fn deref(&self) -> &Verified {
                &self.0.token
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(self.0.token.jti()).finish()
            }
        }

        #[rocket::async_trait]
        impl<'r> FromRequest<'r> for $name {
            type Error = AuthError;

            async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, AuthError> {
                let result = match handle(request) {
                    Ok(jwt) => Bearer::of(request, Self::kinds(jwt)).await.map(Self),
                    Err(error) => Err(error),
                };
                outcome(request, result)
            }
        }

        #[rocket::async_trait]
        impl TokenGuard for $name {
            async fn admit(request: &Request<'_>) -> Result<Self, AuthError> {
                Bearer::of(request, Self::kinds(handle(request)?)).await.map(Self)
            }

            fn token(&self) -> &Verified {
                &self.0.token
            }
        }

        impl KindGuard for $name {
            fn kinds(jwt: &Simplejwt) -> &[TokenKind] {
                let kinds: fn(&Simplejwt) -> &[TokenKind] = $kinds;
                kinds(jwt)
            }

            fn with(bearer: Bearer) -> Self {
                Self(bearer)
            }
        }

        impl Sentinel for $name {
            fn abort(rocket: &Rocket<Ignite>) -> bool {
                is_missing(rocket, stringify!($name))
            }
        }
    };
}

token_guard! {
    /// A good access token.
    AccessToken, |_| &[TokenKind::Access]
}
token_guard! {
    /// A good refresh token, which the ledger knows.
    RefreshToken, |_| &[TokenKind::Refresh]
}
token_guard! {
    /// A good sliding token.
    SlidingToken, |_| &[TokenKind::Sliding]
}
token_guard! {
    /// A good token of any kind, as for a logout that takes whatever the client holds.
    AnyToken, |_| &TokenKind::ALL
}
token_guard! {
    /// A good token of one of the kinds in the setting `auth_token_classes`: by default, an access token.
    AuthToken, |jwt| &jwt.settings().auth_token_classes
}

/// A guard for a token that may be missing: `Maybe(None)` for a request without one. A bad or revoked token is an error, as for
/// the guard within; nobody with a bad token is taken for anonymous.
///
/// ```
/// use rocket_simplejwt::{AccessToken, Maybe};
///
/// #[rocket::get("/greeting")]
/// fn greeting(token: Maybe<AccessToken>) -> String {
///     match token.0 {
///         Some(token) => format!("Hello, user {}", token.user_id().unwrap_or("nobody")),
///         None => "Hello, stranger".into(),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Maybe<T>(pub Option<T>);

#[rocket::async_trait]
impl<'r, T: FromRequest<'r, Error = AuthError>> FromRequest<'r> for Maybe<T> {
    type Error = AuthError;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, AuthError> {
        match T::from_request(request).await {
            Outcome::Success(guard) => Outcome::Success(Self(Some(guard))),
            Outcome::Forward(_) => Outcome::Success(Self(None)),
            Outcome::Error(error) => Outcome::Error(error),
        }
    }
}

impl<T: Sentinel> Sentinel for Maybe<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        T::abort(rocket)
    }
}

/// The application's user behind an [`AuthToken`]: one look at the user table for each request that asks for it.
///
/// `U` is the user type of the [`Authenticator`](crate::Authenticator); for the built-in table it is [`User`](crate::User).
/// Answers 401 as simplejwt does where the user is gone (`user_not_found`), inactive (`user_inactive`) or has another
/// password by now (`password_changed`).
pub struct CurrentUser<U>(Arc<U>);

impl<U> Deref for CurrentUser<U> {
    type Target = U;

    fn deref(&self) -> &U {
        &self.0
    }
}

impl<U: fmt::Debug> fmt::Debug for CurrentUser<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CurrentUser").field(&self.0).finish()
    }
}

/// What one request's user turned out to be.
struct Found<U>(Result<Arc<U>, AuthError>);

#[rocket::async_trait]
impl<'r, U: Send + Sync + 'static> FromRequest<'r> for CurrentUser<U> {
    type Error = AuthError;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, AuthError> {
        let found = request.local_cache_async(async { Found(in_time(user::<U>(request)).await) }).await;
        outcome(request, found.0.clone().map(Self))
    }
}

async fn user<U: Send + Sync + 'static>(request: &Request<'_>) -> Result<Arc<U>, AuthError> {
    let jwt = handle(request)?;
    let kinds = &jwt.settings().auth_token_classes;
    let token = authenticate(request, kinds).await?;
    let found = jwt.user_of(&token).await;
    found.map_err(|refusal| AuthError::Refused { refusal, kinds: kinds.as_slice().into() })
}

impl<U> Sentinel for CurrentUser<U> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        is_missing(rocket, "CurrentUser")
    }
}

/// Aborts the launch of an application that uses a guard and lacks the fairing: otherwise each request would find out.
pub(super) fn is_missing(rocket: &Rocket<Ignite>, guard: &str) -> bool {
    let missing = rocket.state::<Simplejwt>().is_none();
    if missing {
        log::error!(
            "a route takes `{guard}`, but the simplejwt fairing is not attached: .attach(Simplejwt::fairing())"
        );
    }
    missing
}
