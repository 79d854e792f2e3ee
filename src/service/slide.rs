//! A sliding token to the same token with a later end.

use super::issue::Issued;
use super::refresh::heir_of;
use super::{Client, Refusal, Simplejwt};
use crate::token::{NewToken, TokenKind};

impl Simplejwt {
    /// Renews a sliding token: same jti, same `refresh_exp`, a later `exp`. Nothing is written, and the new end never lies
    /// behind `refresh_exp`, which is how long the ledger remembers the token.
    ///
    /// # Errors
    /// As [`Simplejwt::refresh`]; and where the time to renew it has passed.
    pub async fn slide(&self, text: &str) -> Result<Issued, Refusal> {
        self.slide_for(text, &Client::default()).await
    }

    /// The same for a client whose address is known.
    ///
    /// # Errors
    /// As [`Simplejwt::slide`]; and [`Refusal::TooMany`].
    pub async fn slide_for(&self, text: &str, client: &Client) -> Result<Issued, Refusal> {
        let slid = self.counted(self.prolong(text, client).await)?;
        self.inner.metrics.issued(TokenKind::Sliding);
        Ok(slid)
    }

    async fn prolong(&self, text: &str, client: &Client) -> Result<Issued, Refusal> {
        self.need_issuer()?;
        self.limit_refresh(client)?;
        let token = self.verify_unrevoked_later(text)?;
        self.limit_session(client, &token)?;
        self.check_revocation(&token).await?;
        token.require(TokenKind::Sliding)?;
        let now = self.now()?;
        let last = token.require_renewable(now)?;
        self.check_record(&token, self.settings().unknown_refresh_tokens).await?;
        self.account_behind(&token).await?;
        let renewed = NewToken {
            kind: TokenKind::Sliding,
            expires_at: last.min(now + self.settings().sliding_token_lifetime.as_delta()),
            refresh_expires_at: Some(last),
            ..heir_of(&token, now)
        };
        let slid = self.mint(&renewed)?;
        self.tell_slid(&slid, token.user_id());
        Ok(slid)
    }
}
