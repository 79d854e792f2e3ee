//! A sliding token to the same token with a later end.

use super::issue::Issued;
use super::refresh::heir_of;
use super::{Client, Refusal, Simplejwt};
use crate::ledger::Standing;
use crate::token::{NewToken, TokenKind};

impl Simplejwt {
    /// Renews a sliding token: same jti, same `refresh_exp`, a later `exp`. The new end never lies behind `refresh_exp`,
    /// which is how long the ledger remembers the token, nor behind the end of its session. Nothing is written, but where
    /// `session_idle_lifetime` needs to know that the session was used.
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
        self.check_claims(&token)?;
        token.require(TokenKind::Sliding)?;
        let now = self.now()?;
        let last = token.require_renewable(now)?;
        let standing = self.standing(&token, self.settings().unknown_refresh_tokens, Standing::is_refused).await?;
        let end = self.may_go_on(&token, &standing, now)?;
        self.account_behind(&token).await?;
        let renewed = NewToken {
            kind: TokenKind::Sliding,
            expires_at: last.min(self.expiry(TokenKind::Sliding, now, end)),
            refresh_expires_at: Some(last),
            ..heir_of(&token, now)
        };
        let slid = self.mint(&renewed)?;
        if self.settings().session_idle_lifetime.is_some() {
            self.touch(&token, now).await?;
        }
        self.tell_slid(&slid, token.user_id());
        Ok(slid)
    }
}
