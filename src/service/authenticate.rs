//! Who sends this request?

use std::sync::Arc;

use super::{Refusal, Simplejwt};
use crate::token::{TokenError, TokenKind, Verified};
use crate::users::Account;

impl Simplejwt {
    /// Checks the token of a request, which must be of one of `kinds`. The user is not read.
    ///
    /// # Errors
    /// [`Refusal`], the first thing that is wrong; [`Refusal::Unavailable`] where that cannot be found out.
    pub async fn authenticate(&self, text: &str, kinds: &[TokenKind]) -> Result<Verified, Refusal> {
        self.counted(self.check_kind(text, kinds).await)
    }

    async fn check_kind(&self, text: &str, kinds: &[TokenKind]) -> Result<Verified, Refusal> {
        let token = self.check(text).await?;
        let mut outcome = Err(TokenError::WrongType);
        for kind in kinds {
            outcome = token.require(*kind);
            if outcome.is_ok() {
                break;
            }
        }
        outcome?;
        Ok(token)
    }

    /// The application's user behind a token that was authenticated: one look at the user table.
    ///
    /// # Errors
    /// [`Refusal::NoUserId`], [`Refusal::UserNotFound`], [`Refusal::UserInactive`], [`Refusal::PasswordChanged`];
    /// [`Refusal::Unavailable`].
    pub async fn user_of<U: Send + Sync + 'static>(&self, token: &Verified) -> Result<Arc<U>, Refusal> {
        self.counted(self.find_user(token).await)
    }

    async fn find_user<U: Send + Sync + 'static>(&self, token: &Verified) -> Result<Arc<U>, Refusal> {
        let claim = token.user_id().ok_or(Refusal::NoUserId)?;
        let account = self.inner.users.by_claim(claim).await?.ok_or(Refusal::UserNotFound)?;
        if self.settings().check_user_is_active && !account.is_active {
            return Err(Refusal::UserInactive);
        }
        if !self.has_current_password(token, &account) {
            return Err(Refusal::PasswordChanged);
        }
        account.user.downcast().map_err(|_| Refusal::Misuse(Arc::new(WrongUserType)))
    }

    /// Whether the password is still the one that the token was issued for. Without `check_revoke_token`: yes.
    pub(super) fn has_current_password(&self, token: &Verified, account: &Account) -> bool {
        let name = self.settings().revoke_token_claim.as_str();
        match self.revoke_claim(account) {
            None => true,
            Some(digest) => token.custom_claims().get(name).and_then(|claim| claim.as_str()) == Some(&digest),
        }
    }
}

/// `CurrentUser<U>` with another `U` than the authenticator's.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the application's authenticator has another user type than the one asked for")]
struct WrongUserType;
