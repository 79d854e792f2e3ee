//! Guards around guards: a token right from a login, a role, and the one that leaves revocation out.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use rocket::request::{self, FromRequest, Request};
use rocket::{Ignite, Rocket, Sentinel};

use super::bearer::{authenticate_unrevoked, handle};
use super::error::AuthError;
use super::guard::{AccessToken, Bearer, KindGuard, TokenGuard, is_missing, outcome};
use crate::token::Verified;

/// A good token that comes right from a login: its claim `fresh` is `true`, or an instant that has not passed. For what somebody who
/// found an open browser shall not do, such as changing the password.
///
/// The token routes give such tokens at login, for as long as the setting `fresh_lifetime` says, and never at a refresh; a login of
/// the application's own does with [`Issue::fresh`](crate::Issue::fresh). Anything else is answered with 401 and the code
/// `fresh_token_required`, after everything else was checked.
///
/// ```
/// use rocket_simplejwt::{AccessToken, Fresh};
///
/// #[rocket::post("/password")]
/// fn change_password(token: Fresh<AccessToken>) -> String {
///     format!("a new password for user {}", token.user_id().unwrap_or("nobody"))
/// }
/// ```
#[derive(Debug)]
pub struct Fresh<T>(T);

#[rocket::async_trait]
impl<T: TokenGuard> TokenGuard for Fresh<T> {
    async fn admit(request: &Request<'_>) -> Result<Self, AuthError> {
        let guard = T::admit(request).await?;
        let now = handle(request)?.now();
        let now = now.map_err(|error| AuthError::Refused { refusal: error.into(), kinds: [].into() })?;
        if guard.token().is_fresh(now) { Ok(Self(guard)) } else { Err(AuthError::NotFresh) }
    }

    fn token(&self) -> &Verified {
        self.0.token()
    }
}

/// Who gets in with a [`HasRole`]: those whose role is allowed, or those whose role is not denied.
pub trait Role: Send + Sync + 'static {
    /// The claim that names the role, or a list of roles.
    const CLAIM: &'static str = "role";
    /// The roles of which one is enough. Empty: see `DENY`.
    const ALLOW: &'static [&'static str] = &[];
    /// The roles none of which gets in. Exactly one of the two lists is empty, or the application does not compile.
    const DENY: &'static [&'static str] = &[];
}

/// A good token whose role gets in. Others are answered with 403. A token that states no role gets in nowhere where roles are asked
/// for, and neither does one whose claim is anything but a text or a list of texts.
///
/// ```
/// use rocket_simplejwt::{HasRole, Role};
///
/// struct Editor;
///
/// impl Role for Editor {
///     const ALLOW: &[&str] = &["editor", "admin"];
/// }
///
/// #[rocket::post("/articles")]
/// fn publish(token: HasRole<Editor>) -> String {
///     format!("by {}", token.user_id().unwrap_or("nobody"))
/// }
/// ```
///
/// Around another guard it is `HasRole<Editor, Fresh<AccessToken>>`. A role that allows some and denies others does not compile:
///
/// ```compile_fail
/// use rocket_simplejwt::{HasRole, Role};
///
/// struct Confused;
///
/// impl Role for Confused {
///     const ALLOW: &[&str] = &["editor"];
///     const DENY: &[&str] = &["reader"];
/// }
///
/// #[rocket::get("/")]
/// fn index(_token: HasRole<Confused>) {}
/// rocket::build().mount("/", rocket::routes![index]);
/// ```
pub struct HasRole<R, T = AccessToken>(T, PhantomData<R>);

impl<R, T: fmt::Debug> fmt::Debug for HasRole<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HasRole").field(&self.0).finish()
    }
}

#[rocket::async_trait]
impl<R: Role, T: TokenGuard> TokenGuard for HasRole<R, T> {
    async fn admit(request: &Request<'_>) -> Result<Self, AuthError> {
        const { assert!(R::ALLOW.is_empty() != R::DENY.is_empty(), "a Role either allows or denies, and one of them") };
        let guard = T::admit(request).await?;
        if gets_in::<R>(guard.token()) { Ok(Self(guard, PhantomData)) } else { Err(AuthError::Forbidden) }
    }

    fn token(&self) -> &Verified {
        self.0.token()
    }
}

fn gets_in<R: Role>(token: &Verified) -> bool {
    let roles = match token.custom_claims().get(R::CLAIM) {
        Some(serde_json::Value::Array(roles)) => roles.as_slice(),
        Some(role) => std::slice::from_ref(role),
        None => &[],
    };
    let roles: Option<Vec<&str>> = roles.iter().map(|role| role.as_str()).collect();
    match roles {
        None => false,
        Some(roles) if R::DENY.is_empty() => roles.iter().any(|role| R::ALLOW.contains(role)),
        Some(roles) => !roles.is_empty() && !roles.iter().any(|role| R::DENY.contains(role)),
    }
}

/// A token that may have been revoked: everything else about it is checked, and nobody asks whether it, its session or its user was
/// logged out. For a route that costs nothing and tells nothing, such as one that says when a token expires, and that has to answer
/// while the blacklist cannot.
///
/// **It lets in whoever was logged out**, and whoever stole the token, until it expires. What happens on such a route happens for them
/// as well. It does not open a protected prefix; leave the path out with `.except`.
///
/// It reads as a [`Verified`], and gives no [`AccessToken`], so that a handler cannot pass one on for checked.
pub struct SkipRevocation<T>(Bearer, PhantomData<T>);

impl<T> SkipRevocation<T> {
    /// The token. Whether it was revoked, nobody asked.
    #[must_use]
    pub fn unchecked(&self) -> &Verified {
        self.0.token()
    }
}

impl<T> Deref for SkipRevocation<T> {
    type Target = Verified;

    fn deref(&self) -> &Verified {
        self.0.token()
    }
}

impl<T> fmt::Debug for SkipRevocation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SkipRevocation").field(self.jti()).finish()
    }
}

#[rocket::async_trait]
impl<'r, T: KindGuard> FromRequest<'r> for SkipRevocation<T> {
    type Error = AuthError;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, AuthError> {
        let admitted = || {
            let token = authenticate_unrevoked(request, T::kinds(handle(request)?))?;
            Ok(Self(Bearer::around(token, request)?, PhantomData))
        };
        outcome(request, admitted())
    }
}

impl<T: Sentinel> Sentinel for SkipRevocation<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        T::abort(rocket)
    }
}

macro_rules! around {
    ($name:ident, $($generics:ident: $bound:ident),+) => {
        impl<$($generics),+> Deref for $name<$($generics),+> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0
            }
        }

        #[rocket::async_trait]
        impl<'r, $($generics: $bound),+> FromRequest<'r> for $name<$($generics),+> {
            type Error = AuthError;

            async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, AuthError> {
                outcome(request, Self::admit(request).await)
            }
        }

        impl<$($generics),+> Sentinel for $name<$($generics),+> {
            fn abort(rocket: &Rocket<Ignite>) -> bool {
                is_missing(rocket, stringify!($name))
            }
        }
    };
}

around!(Fresh, T: TokenGuard);
around!(HasRole, R: Role, T: TokenGuard);
