//! The built-in users, as the command line manages them.

use super::{Refusal, Simplejwt};
use crate::blacklist::Pending;
use crate::ledger::{Actor, LedgerError, NewCutoff, NewUser, UserField, UserKey, UserRow};
use crate::settings::UsersKind;
use crate::users::{AdminAccess, PasswordError};

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
    pub(crate) fn manages_users(&self) -> Result<(), AccountError> {
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
        access: AdminAccess,
        actor: &Actor,
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
            is_staff: access != AdminAccess::None,
            views_only: access == AdminAccess::View,
            created_at: self.now().map_err(Refusal::from)?,
        };
        Ok(self.ledger().add_user(user, actor).await?)
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
        let cutoff = self.cutoff_of(&user, actor)?;
        let done = self.ledger().set_password(user.id, hash, cutoff.clone()).await;
        found(self.noted(done, &cutoff)?, username)?;
        self.have_out(&user, &cutoff, "password changed").await
    }

    /// Lets a user in again, or keeps the user out and ends the user's sessions.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn set_active(&self, username: &str, active: bool, actor: &Actor) -> Result<(), AccountError> {
        let user = self.user_named(username).await?;
        let cutoff = self.cutoff_of(&user, actor)?;
        let done = self.ledger().set_active(user.id, active, cutoff.clone()).await;
        found(if active { done? } else { self.noted(done, &cutoff)? }, username)?;
        if active { Ok(()) } else { self.have_out(&user, &cutoff, "user disabled").await }
    }

    /// Removes a user and ends the user's sessions. What was blacklisted stays so.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn remove_user(&self, username: &str, actor: &Actor) -> Result<(), AccountError> {
        let user = self.user_named(username).await?;
        let cutoff = self.cutoff_of(&user, actor)?;
        let done = self.ledger().remove_user(user.id, cutoff.clone()).await;
        found(self.noted(done, &cutoff)?, username)?;
        self.have_out(&user, &cutoff, "user removed").await
    }

    /// Refuses everything that was issued to a user until now, by whatever name tokens have the user.
    fn cutoff_of(&self, user: &UserRow, actor: &Actor) -> Result<NewCutoff, AccountError> {
        let at = self.now().map_err(Refusal::from)?;
        let claim = match self.settings().user_id_field.as_str() {
            "username" => UserKey::from(user.username.as_str()),
            // Nobody without an address has a token then.
            "email" => UserKey::from(user.email.as_deref().unwrap_or_default()),
            _ => UserKey::from(user.id),
        };
        let keep_until = self.wide_until(at);
        Ok(NewCutoff { user: Some(claim), not_before: at, keep_until, reason: None, actor: actor.clone(), at })
    }

    /// What the ledger answered. Where it is not certain whether it was done, the cutoff counts here from now on.
    fn noted<T>(&self, done: Result<T, LedgerError>, cutoff: &NewCutoff) -> Result<T, LedgerError> {
        if done.as_ref().is_err_and(LedgerError::is_uncertain) {
            self.inner.blacklist.uncertain.note(vec![pending(cutoff)]);
        }
        done
    }

    /// What comes after a cutoff of a user that is on disk.
    async fn have_out(&self, user: &UserRow, cutoff: &NewCutoff, reason: &str) -> Result<(), AccountError> {
        self.spread(vec![pending(cutoff)]).await?;
        self.finish_cutoff(UserKey::from(user.id), cutoff.at, reason).await?;
        Ok(())
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

fn pending(cutoff: &NewCutoff) -> Pending {
    Pending::of_cutoff(cutoff.user.as_ref().map(UserKey::as_str), cutoff.not_before, cutoff.keep_until)
}

fn found(there: bool, username: &str) -> Result<(), AccountError> {
    if there { Ok(()) } else { Err(AccountError::NotFound(username.into())) }
}

fn check_name(name: &str) -> Result<(), AccountError> {
    let length = name.chars().count();
    let fits = (1..=150).contains(&length) && name.trim() == name && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(AccountError::BadName) }
}
