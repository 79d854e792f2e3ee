//! The built-in user table, `simplejwt_user`.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{AdminAccess, AuthUser, Authenticator, AuthenticatorError, Credentials, Passwords};
use crate::ledger::{Ledger, UserField, UserRow, Witness};
use crate::token::{Clock, sha256_hex};

/// The users in the ledger's own table.
#[derive(Clone, Debug)]
pub struct UserTable {
    ledger: Ledger,
    passwords: Passwords,
    login: UserField,
    claim: UserField,
    clock: Arc<dyn Clock>,
}

impl UserTable {
    /// Users who log in by the field `login`, and whose tokens name them by the field `claim`.
    #[must_use]
    pub(crate) fn new(
        ledger: Ledger,
        passwords: Passwords,
        login: UserField,
        claim: UserField,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { ledger, passwords, login, claim, clock }
    }

    async fn find(&self, field: UserField, value: &str) -> Result<Option<UserRow>, AuthenticatorError> {
        self.ledger.user_by(field, value).await.map_err(AuthenticatorError::new)
    }
}

/// A user of the built-in table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct User {
    /// The key. Never given to another user again.
    pub id: i64,
    /// The name to log in with.
    pub username: String,
    /// The address, if one is known.
    pub email: Option<String>,
    /// Whether the user may log in.
    pub is_active: bool,
    /// Whether the user may manage others.
    pub is_staff: bool,
    /// Whether a user who is staff may only look.
    pub views_only: bool,
    /// When the user logged in last, where `update_last_login` is on.
    pub last_login: Option<DateTime<Utc>>,
    claim: String,
    password_digest: String,
    password_changed_at: DateTime<Utc>,
}

impl AuthUser for User {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn claim(&self) -> String {
        self.claim.clone()
    }

    fn is_active(&self) -> bool {
        self.is_active
    }

    fn password_digest(&self) -> Option<String> {
        Some(self.password_digest.clone())
    }
}

impl User {
    /// What a login saw of the user.
    pub(crate) fn witness(&self) -> Witness {
        Witness { id: self.id, password_changed_at: self.password_changed_at, is_active: self.is_active }
    }

    /// [`None`] for a user who lacks the field that tokens name users by.
    fn from_row(row: UserRow, field: UserField) -> Option<Self> {
        let claim = match field {
            UserField::Id => Some(row.id.to_string()),
            UserField::Username => Some(row.username.clone()),
            UserField::Email => row.email.clone(),
        }?;
        Some(Self {
            id: row.id,
            username: row.username,
            email: row.email,
            is_active: row.is_active,
            is_staff: row.is_staff,
            views_only: row.views_only,
            last_login: row.last_login,
            claim,
            password_digest: sha256_hex(row.password.as_bytes()),
            password_changed_at: row.password_changed_at,
        })
    }
}

#[async_trait]
impl Authenticator for UserTable {
    type User = User;

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, AuthenticatorError> {
        let row = self.find(self.login, &credentials.username).await?;
        let stored = row.as_ref().map(|row| row.password.clone());
        let right = self.passwords.verify(&credentials.password, stored).await.map_err(AuthenticatorError::new)?;
        Ok(row.filter(|_| right).and_then(|row| User::from_row(row, self.claim)))
    }

    async fn user_by_claim(&self, claim: &str) -> Result<Option<User>, AuthenticatorError> {
        let row = self.find(self.claim, claim).await?;
        Ok(row.and_then(|row| User::from_row(row, self.claim)))
    }

    async fn user_by_id(&self, id: &str) -> Result<Option<User>, AuthenticatorError> {
        let row = self.find(UserField::Id, id).await?;
        Ok(row.and_then(|row| User::from_row(row, self.claim)))
    }

    async fn admin_access(&self, user: &User) -> Result<AdminAccess, AuthenticatorError> {
        Ok(match (user.is_staff, user.views_only) {
            (false, _) => AdminAccess::None,
            (true, true) => AdminAccess::View,
            (true, false) => AdminAccess::Change,
        })
    }

    async fn update_last_login(&self, user: &User) -> Result<(), AuthenticatorError> {
        self.ledger.set_last_login(user.id, self.clock.now()).await.map_err(AuthenticatorError::new)
    }
}
