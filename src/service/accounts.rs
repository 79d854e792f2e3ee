//! The built-in users, as the command line manages them.

use super::{Refusal, Simplejwt};
use crate::ledger::{Actor, LedgerError, NewUser, UserField, UserRow};
use crate::settings::UsersKind;
use crate::users::PasswordError;

/// Why a user could not be added or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The name or address is taken.
    #[error("a user with this name or email exists already")]
    Duplicate,
    /// No user has this name.
    #[error("there is no user '{0}'; `simplejwt users list` shows all")]
    NotFound(String),
    /// The users are Django's.
    #[error(
        "the users are managed in Django, because the setting `users` is \"django\": use its admin, `manage.py createsuperuser` or `manage.py changepassword`"
    )]
    ManagedInDjango,
    /// A name that cannot be one.
    #[error("a user name has 1 to 150 characters, none of them a control character, and no space at either end")]
    BadName,
    /// A password that cannot be one.
    #[error(transparent)]
    Password(PasswordError),
    /// The ledger gave no answer.
    #[error(transparent)]
    Ledger(LedgerError),
    /// The machine's clock is wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<LedgerError> for AccountError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Duplicate(_) => Self::Duplicate,
            other => Self::Ledger(other),
        }
    }
}

impl Simplejwt {
    /// Whether the users are ours to manage.
    fn manages_users(&self) -> Result<(), AccountError> {
        match self.settings().users() {
            UsersKind::Builtin => Ok(()),
            UsersKind::Django => Err(AccountError::ManagedInDjango),
        }
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn add_user(
        &self,
        username: &str,
        email: Option<&str>,
        password: &str,
        is_staff: bool,
    ) -> Result<UserRow, AccountError> {
        self.manages_users()?;
        for name in [Some(username), email].into_iter().flatten() {
            check_name(name)?;
        }
        let password = self.inner.passwords.hash(password).await.map_err(AccountError::Password)?;
        let user = NewUser {
            username: username.into(),
            email: email.map(Into::into),
            password,
            is_active: true,
            is_staff,
            created_at: self.now().map_err(Refusal::from)?,
        };
        Ok(self.ledger().add_user(user).await?)
    }

    /// The users in order of their keys, at most `limit` after the key `after`.
    ///
    /// # Errors
    /// [`AccountError::Ledger`].
    pub async fn users(&self, after: i64, limit: i64) -> Result<Vec<UserRow>, AccountError> {
        self.manages_users()?;
        Ok(self.ledger().users(after, limit).await?)
    }

    /// Sets a user's password and ends the user's sessions: whoever knew the old one is out.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn set_password(&self, username: &str, password: &str, actor: &Actor) -> Result<(), AccountError> {
        let user = self.user_named(username).await?;
        let hash = self.inner.passwords.hash(password).await.map_err(AccountError::Password)?;
        let at = self.now().map_err(Refusal::from)?;
        found(self.ledger().set_password(user.id, hash, actor, at).await?, username)?;
        Ok(self.spread().await?)
    }

    /// Lets a user in again, or keeps the user out and ends the user's sessions.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn set_active(&self, username: &str, active: bool, actor: &Actor) -> Result<(), AccountError> {
        let user = self.user_named(username).await?;
        let at = self.now().map_err(Refusal::from)?;
        found(self.ledger().set_active(user.id, active, actor, at).await?, username)?;
        Ok(self.spread().await?)
    }

    /// Removes a user and ends the user's sessions. What was blacklisted stays so.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn remove_user(&self, username: &str, actor: &Actor) -> Result<(), AccountError> {
        let user = self.user_named(username).await?;
        let at = self.now().map_err(Refusal::from)?;
        found(self.ledger().remove_user(user.id, actor, at).await?, username)?;
        Ok(self.spread().await?)
    }

    /// The user of this name.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Ledger`].
    pub async fn user_named(&self, username: &str) -> Result<UserRow, AccountError> {
        self.manages_users()?;
        let found = self.ledger().user_by(UserField::Username, username).await?;
        found.ok_or_else(|| AccountError::NotFound(username.into()))
    }
}

fn found(there: bool, username: &str) -> Result<(), AccountError> {
    if there { Ok(()) } else { Err(AccountError::NotFound(username.into())) }
}

fn check_name(name: &str) -> Result<(), AccountError> {
    let length = name.chars().count();
    let fits = (1..=150).contains(&length) && name.trim() == name && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(AccountError::BadName) }
}
