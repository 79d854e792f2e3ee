//! Who is logging in.
//!
//! An application says who its users are by an [`Authenticator`]. Without one, the built-in table does ([`UserTable`]), which
//! `simplejwt users` manages, or with `users = "django"` the table of a Django project ([`DjangoUsers`]).

mod account;
mod django;
mod hashers;
mod password;
mod table;

use std::fmt;

use async_trait::async_trait;
use serde_json::{Map, Value};

pub(crate) use account::{Account, Users};
pub use django::{DjangoUser, DjangoUsers};
pub use password::{PasswordError, Passwords};
pub use table::{User, UserTable};

/// What somebody logs in with. Its [`Debug`](fmt::Debug) shows no password.
#[derive(Clone)]
pub struct Credentials {
    /// The content of the login field (`username_field`).
    pub username: String,
    /// The password as it was typed.
    pub password: String,
}

impl Credentials {
    /// The same with the password masked by twenty `*`, as hooks and logs may have it.
    #[must_use]
    pub fn masked(&self) -> Self {
        Self { username: self.username.clone(), password: "*".repeat(20) }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A user of the application, as far as tokens are concerned.
pub trait AuthUser: Send + Sync + 'static {
    /// The key of the user, as text: what the ledger records beside a token.
    fn id(&self) -> String;

    /// What goes into the `user_id` claim, and comes back to [`Authenticator::user_by_claim`]. The key, unless overridden.
    fn claim(&self) -> String {
        self.id()
    }

    /// Whether the user may log in at all.
    fn is_active(&self) -> bool {
        true
    }

    /// A value that changes with the password, for `check_revoke_token`. It stands in the token, so it must not help to guess
    /// the password: a digest of the stored hash. [`None`], the default, means that tokens survive a change of password.
    fn password_digest(&self) -> Option<String> {
        None
    }

    /// Claims that a login puts into the user's tokens, such as roles. They travel from token to token until the next login.
    fn claims(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// What a user may do in the admin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminAccess {
    /// Nothing: the user is no staff.
    #[default]
    None,
    /// Look at everything.
    View,
    /// Change what there is to change, too.
    Change,
}

/// Where the users of an application are.
///
/// Every method may be called many times at once. An error means that the answer is not known, and the request is answered
/// with 503; "no such user" is `Ok(None)`.
///
/// ```
/// use rocket_simplejwt::{AuthUser, Authenticator, AuthenticatorError, Credentials};
///
/// struct Ada;
///
/// impl AuthUser for Ada {
///     fn id(&self) -> String {
///         "1".into()
///     }
/// }
///
/// struct OnlyAda;
///
/// #[rocket_simplejwt::async_trait]
/// impl Authenticator for OnlyAda {
///     type User = Ada;
///
///     async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Ada>, AuthenticatorError> {
///         Ok((credentials.username == "ada" && credentials.password == "lovelace").then_some(Ada))
///     }
///
///     async fn user_by_claim(&self, claim: &str) -> Result<Option<Ada>, AuthenticatorError> {
///         Ok((claim == "1").then_some(Ada))
///     }
/// }
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The application's user.
    type User: AuthUser;

    /// The user whose name and password these are. An unknown name should take as long as a wrong password.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Self::User>, AuthenticatorError>;

    /// The user whose [`AuthUser::claim`] this is. The text comes from a token with a good signature, but may be older than
    /// the table: what is no valid key is `Ok(None)`, not an error.
    async fn user_by_claim(&self, claim: &str) -> Result<Option<Self::User>, AuthenticatorError>;

    /// The user whose [`AuthUser::id`] this is. Whoever overrides [`AuthUser::claim`] has to override this, too: by default the claim is
    /// taken to be the key. It is asked where an operator names a user as the lists do.
    async fn user_by_id(&self, id: &str) -> Result<Option<Self::User>, AuthenticatorError> {
        Ok(self.user_by_claim(id).await?.filter(|user| user.id() == id))
    }

    /// simplejwt's `USER_AUTHENTICATION_RULE`: whether the user may log in and refresh.
    fn user_authentication_rule(&self, user: &Self::User, check_user_is_active: bool) -> bool {
        !check_user_is_active || user.is_active()
    }

    /// What the user may do in the admin ([`admin_routes`](crate::admin_routes)). Nothing, unless overridden. It is asked on each
    /// request there, so that whoever loses the right is out at once.
    async fn admin_access(&self, _user: &Self::User) -> Result<AdminAccess, AuthenticatorError> {
        Ok(AdminAccess::None)
    }

    /// simplejwt's `UPDATE_LAST_LOGIN`: called after a login, where the setting is on.
    async fn update_last_login(&self, _user: &Self::User) -> Result<(), AuthenticatorError> {
        Ok(())
    }

    /// simplejwt's `ON_LOGIN_SUCCESS`: called after each login. An error is logged, and the login stands.
    async fn on_login_success(&self, _user: &Self::User) -> Result<(), AuthenticatorError> {
        Ok(())
    }

    /// simplejwt's `ON_LOGIN_FAILED`: called after each refused login, with the password masked. An error is logged.
    async fn on_login_failed(&self, _credentials: &Credentials) -> Result<(), AuthenticatorError> {
        Ok(())
    }
}

/// Why the users could not be asked. It never means "no such user".
#[derive(Debug, thiserror::Error)]
#[error("the users cannot be asked")]
pub struct AuthenticatorError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl AuthenticatorError {
    /// Wraps whatever went wrong.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}
