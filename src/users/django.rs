//! The users of a Django project, with the passwords that Django stored.

use std::sync::Arc;

use async_trait::async_trait;
use md5::{Digest as _, Md5};
use tokio::sync::OnceCell;

#[cfg(feature = "admin")]
use super::AdminAccess;
use super::{AuthUser, Authenticator, AuthenticatorError, Credentials, Passwords};
use crate::ledger::{DjangoColumns, DjangoTable, DjangoUserRow, Ledger, UserField};
use crate::token::Clock;

/// The users in the table of a Django project (setting `users = "django"`).
#[derive(Clone, Debug)]
pub struct DjangoUsers {
    ledger: Ledger,
    columns: DjangoColumns,
    /// The table, once it was looked up: a command that asks for no user works without.
    table: Arc<OnceCell<DjangoTable>>,
    passwords: Passwords,
    login: UserField,
    claim: UserField,
    clock: Arc<dyn Clock>,
}

impl DjangoUsers {
    /// Users who log in by the field `login`, and whose tokens name them by the field `claim`.
    #[must_use]
    pub(crate) fn new(
        ledger: Ledger,
        columns: DjangoColumns,
        passwords: Passwords,
        login: UserField,
        claim: UserField,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { ledger, columns, table: Arc::default(), passwords, login, claim, clock }
    }

    async fn table(&self) -> Result<&DjangoTable, AuthenticatorError> {
        let look_up = || self.ledger.django_table(self.columns.clone());
        self.table.get_or_try_init(look_up).await.map_err(AuthenticatorError::new)
    }

    async fn find(&self, field: UserField, value: &str) -> Result<Option<DjangoUserRow>, AuthenticatorError> {
        let table = self.table().await?;
        self.ledger.django_user_by(table, field, value).await.map_err(AuthenticatorError::new)
    }
}

/// A user of a Django project.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DjangoUser {
    /// The primary key, as Django writes it in a token.
    pub id: String,
    /// The name, where the user model has one.
    pub username: Option<String>,
    /// The e-mail address, where the user model has one.
    pub email: Option<String>,
    /// Whether the user may log in.
    pub is_active: bool,
    claim: String,
    password_digest: String,
}

impl AuthUser for DjangoUser {
    fn id(&self) -> String {
        self.id.clone()
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

impl DjangoUser {
    /// [`None`] for a user who lacks the field that tokens name users by.
    fn from_row(row: DjangoUserRow, field: UserField) -> Option<Self> {
        let claim = row.field(field)?.to_owned();
        let password_digest = md5_hash_password(&row.password);
        let DjangoUserRow { id, username, email, is_active, .. } = row;
        Some(Self { id, username, email, is_active, claim, password_digest })
    }
}

/// What simplejwt writes into the claim `hash_password`: both sides have to write the same.
fn md5_hash_password(stored: &str) -> String {
    format!("{:032X}", u128::from_be_bytes(Md5::digest(stored).into()))
}

#[async_trait]
impl Authenticator for DjangoUsers {
    type User = DjangoUser;

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<DjangoUser>, AuthenticatorError> {
        let row = self.find(self.login, &credentials.username).await?;
        let stored = row.as_ref().map(|row| row.password.clone());
        let right = self.passwords.verify_django(&credentials.password, stored).await;
        let Some(row) = row.filter(|_| right.is_ok_and(|right| right)) else {
            return right.map(|_| None).map_err(AuthenticatorError::new);
        };
        // Checking the password took a while, in which Django may have disabled the user or changed the password.
        let now = self.find(UserField::Id, &row.id).await?.filter(|now| now.password == row.password);
        Ok(now.and_then(|row| DjangoUser::from_row(row, self.claim)))
    }

    async fn user_by_claim(&self, claim: &str) -> Result<Option<DjangoUser>, AuthenticatorError> {
        let row = self.find(self.claim, claim).await?;
        Ok(row.and_then(|row| DjangoUser::from_row(row, self.claim)))
    }

    async fn user_by_id(&self, id: &str) -> Result<Option<DjangoUser>, AuthenticatorError> {
        let row = self.find(UserField::Id, id).await?;
        Ok(row.and_then(|row| DjangoUser::from_row(row, self.claim)))
    }

    /// As in Django's admin: superusers may do everything, others of staff what their permissions for simplejwt's tables say. Whoever may
    /// add and delete blacklisted tokens there may change things here.
    #[cfg(feature = "admin")]
    async fn admin_access(&self, user: &DjangoUser) -> Result<AdminAccess, AuthenticatorError> {
        let table = self.table().await?;
        let staff = self.ledger.django_staff(table, &user.id).await.map_err(AuthenticatorError::new)?;
        let Some(staff) = staff else { return Ok(AdminAccess::None) };
        let may = |permission: &str| staff.is_superuser || staff.permissions.iter().any(|own| own == permission);
        Ok(if may("add_blacklistedtoken") && may("delete_blacklistedtoken") {
            AdminAccess::Change
        } else if may("view_outstandingtoken") && may("view_blacklistedtoken") {
            AdminAccess::View
        } else {
            AdminAccess::None
        })
    }

    async fn update_last_login(&self, user: &DjangoUser) -> Result<(), AuthenticatorError> {
        let table = self.table().await?;
        let noted = self.ledger.set_django_last_login(table, &user.id, self.clock.now()).await;
        noted.map_err(AuthenticatorError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_password_is_simplejwts() {
        // hashlib.md5(…).hexdigest().upper(), as simplejwt's get_md5_hash_password.
        assert_eq!(md5_hash_password("pbkdf2_sha256$1000$saltySalt42$x"), "6B7F7894339D3CACA74E98140480F83D");
    }
}
