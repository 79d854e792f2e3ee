//! An application's [`Authenticator`] behind one type, so that nothing above has to be generic over it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{AdminAccess, AuthUser, Authenticator, AuthenticatorError, Credentials};
use crate::ledger::not_counted;

/// A user, with the answers that the rules need, and the application's own value.
#[derive(Clone)]
pub(crate) struct Account {
    pub id: String,
    pub claim: String,
    pub is_active: bool,
    /// Whether the authentication rule lets the user in.
    pub passes_rule: bool,
    pub password_digest: Option<String>,
    pub claims: Map<String, Value>,
    pub user: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The users, whoever keeps them.
#[derive(Clone)]
pub(crate) struct Users {
    keeper: Arc<dyn Keeper>,
    check_user_is_active: bool,
    /// Whether they are in the ledger's database, so that whoever asks for them waits for that.
    in_the_ledger: bool,
}

impl Users {
    /// Those of the ledger's own database.
    pub(crate) fn new(authenticator: impl Authenticator) -> Self {
        Self { keeper: Arc::new(authenticator), check_user_is_active: true, in_the_ledger: true }
    }

    /// Those that an application keeps. How long it takes to look them up is its own matter.
    pub(crate) fn of_application(authenticator: impl Authenticator) -> Self {
        Self { in_the_ledger: false, ..Self::new(authenticator) }
    }

    async fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        if self.in_the_ledger { question.await } else { not_counted(question).await }
    }

    /// The same under the setting `check_user_is_active`.
    pub(crate) fn checking(self, check_user_is_active: bool) -> Self {
        Self { check_user_is_active, ..self }
    }

    pub(crate) async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Account>, AuthenticatorError> {
        self.ask(self.keeper.authenticate(credentials, self.check_user_is_active)).await
    }

    pub(crate) async fn by_claim(&self, claim: &str) -> Result<Option<Account>, AuthenticatorError> {
        self.ask(self.keeper.by_claim(claim, self.check_user_is_active)).await
    }

    #[cfg(feature = "admin")]
    pub(crate) async fn by_id(&self, id: &str) -> Result<Option<Account>, AuthenticatorError> {
        self.ask(self.keeper.by_id(id, self.check_user_is_active)).await
    }

    /// What the user may do in the admin.
    #[cfg_attr(not(feature = "admin"), expect(dead_code, reason = "only the admin asks"))]
    pub(crate) async fn admin_access(&self, account: &Account) -> Result<AdminAccess, AuthenticatorError> {
        self.ask(self.keeper.admin_access(account)).await
    }

    /// Runs the hooks of a login. The login stands, whatever they say.
    pub(crate) async fn logged_in(&self, account: &Account, update_last_login: bool) {
        if let Err(error) = self.ask(self.keeper.logged_in(account, update_last_login)).await {
            log::error!("a login hook failed: {}", crate::chain::chain(&error));
        }
    }

    /// Runs the hook of a refused login.
    pub(crate) async fn refused(&self, credentials: &Credentials) {
        if let Err(error) = self.ask(self.keeper.refused(&credentials.masked())).await {
            log::error!("a login hook failed: {}", crate::chain::chain(&error));
        }
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").finish_non_exhaustive()
    }
}

/// An [`Authenticator`] without its type.
#[async_trait]
trait Keeper: Send + Sync + 'static {
    async fn authenticate(&self, credentials: &Credentials, check: bool)
    -> Result<Option<Account>, AuthenticatorError>;
    async fn by_claim(&self, claim: &str, check: bool) -> Result<Option<Account>, AuthenticatorError>;
    #[cfg(feature = "admin")]
    async fn by_id(&self, id: &str, check: bool) -> Result<Option<Account>, AuthenticatorError>;
    async fn admin_access(&self, account: &Account) -> Result<AdminAccess, AuthenticatorError>;
    async fn logged_in(&self, account: &Account, update_last_login: bool) -> Result<(), AuthenticatorError>;
    async fn refused(&self, masked: &Credentials) -> Result<(), AuthenticatorError>;
}

#[async_trait]
impl<A: Authenticator> Keeper for A {
    async fn authenticate(
        &self,
        credentials: &Credentials,
        check: bool,
    ) -> Result<Option<Account>, AuthenticatorError> {
        let user = Authenticator::authenticate(self, credentials).await?;
        Ok(user.map(|user| account(self, user, check)))
    }

    async fn by_claim(&self, claim: &str, check: bool) -> Result<Option<Account>, AuthenticatorError> {
        let user = self.user_by_claim(claim).await?;
        Ok(user.map(|user| account(self, user, check)))
    }

    #[cfg(feature = "admin")]
    async fn by_id(&self, id: &str, check: bool) -> Result<Option<Account>, AuthenticatorError> {
        let user = self.user_by_id(id).await?;
        Ok(user.map(|user| account(self, user, check)))
    }

    async fn admin_access(&self, account: &Account) -> Result<AdminAccess, AuthenticatorError> {
        match account.user.downcast_ref::<A::User>() {
            Some(user) => Authenticator::admin_access(self, user).await,
            None => Ok(AdminAccess::None),
        }
    }

    async fn logged_in(&self, account: &Account, update_last_login: bool) -> Result<(), AuthenticatorError> {
        let Some(user) = account.user.downcast_ref::<A::User>() else { return Ok(()) };
        if update_last_login {
            self.update_last_login(user).await?;
        }
        self.on_login_success(user).await
    }

    async fn refused(&self, masked: &Credentials) -> Result<(), AuthenticatorError> {
        self.on_login_failed(masked).await
    }
}

fn account<A: Authenticator>(authenticator: &A, user: A::User, check: bool) -> Account {
    Account {
        id: user.id(),
        claim: user.claim(),
        is_active: user.is_active(),
        passes_rule: authenticator.user_authentication_rule(&user, check),
        password_digest: user.password_digest(),
        claims: user.claims(),
        user: Arc::new(user),
    }
}
