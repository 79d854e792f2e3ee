//! A user as the lists show one: by the key in the tables, which need not be the name that tokens have.

use crate::ledger::{Actor, UserKey};
use crate::service::{Refusal, RevokeReport, Simplejwt, Target};

impl Simplejwt {
    /// Ends everything of the user whom the ledger has under this key: [`Target::User`] by the name that tokens have.
    ///
    /// # Errors
    /// [`Refusal::UserNotFound`] where nobody has this key and somebody else this name; otherwise as [`Simplejwt::revoke`].
    pub async fn end_everything_of(
        &self,
        key: &UserKey,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<RevokeReport, Refusal> {
        let claim = self.claim_of(key).await?.ok_or(Refusal::UserNotFound)?;
        self.revoke(vec![Target::User(claim)], reason, actor).await
    }

    /// The name that tokens have for a user. One who is gone is taken to be named by the key, unless that is somebody else's name.
    async fn claim_of(&self, key: &UserKey) -> Result<Option<UserKey>, Refusal> {
        let users = &self.inner.users;
        if let Some(account) = users.by_id(key.as_str()).await? {
            return Ok(Some(account.claim.into()));
        }
        Ok(users.by_claim(key.as_str()).await?.is_none().then(|| key.clone()))
    }
}
