//! Name and password to tokens.

use super::issue::{Issue, Issued, Pair};
use super::{Refusal, Simplejwt};
use crate::token::TokenKind;
use crate::users::{Account, Credentials};

/// Where a request came from. In a handler it is a guard that lets everybody in: `client: Client`. Logins are limited by it, and users
/// recognise their sessions by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The network address.
    pub address: Option<String>,
    /// What it says of itself.
    pub user_agent: Option<String>,
}

impl Simplejwt {
    /// Logs a user in: a refresh token and an access token of a new session.
    ///
    /// # Errors
    /// [`Refusal::BadCredentials`], whatever is wrong with them; [`Refusal::TooMany`], if the client's address is known;
    /// [`Refusal::Unavailable`].
    pub async fn obtain(&self, credentials: &Credentials, client: Client) -> Result<Pair, Refusal> {
        let account = self.counted(self.log_in(credentials, &client).await)?;
        let pair = self.issue_pair(self.login_issue(TokenKind::Refresh, &account, client)).await?;
        self.inner.users.logged_in(&account, self.settings().update_last_login).await;
        Ok(pair)
    }

    /// Logs a user in: a sliding token of a new session.
    ///
    /// # Errors
    /// As [`Simplejwt::obtain`].
    pub async fn obtain_sliding(&self, credentials: &Credentials, client: Client) -> Result<Issued, Refusal> {
        let account = self.counted(self.log_in(credentials, &client).await)?;
        let token = self.issue(self.login_issue(TokenKind::Sliding, &account, client)).await?;
        self.inner.users.logged_in(&account, self.settings().update_last_login).await;
        Ok(token)
    }

    async fn log_in(&self, credentials: &Credentials, client: &Client) -> Result<Account, Refusal> {
        self.need_issuer()?;
        self.limit_login(client, &credentials.username)?;
        let found = self.inner.users.authenticate(credentials).await?;
        match found.filter(|account| account.passes_rule) {
            Some(account) => {
                self.note_login(client, &credentials.username);
                Ok(account)
            }
            None => {
                self.inner.users.refused(credentials).await;
                Err(Refusal::BadCredentials)
            }
        }
    }

    fn login_issue(&self, kind: TokenKind, account: &Account, client: Client) -> Issue {
        let issue = Issue::for_account(kind, account, client);
        match self.revoke_claim(account) {
            Some(digest) => issue.claim(self.settings().revoke_token_claim.clone(), digest),
            None => issue,
        }
    }

    /// What a token of this user says of the password, where `check_revoke_token` is on.
    pub(super) fn revoke_claim(&self, account: &Account) -> Option<String> {
        account.password_digest.clone().filter(|_| self.settings().check_revoke_token)
    }
}
