//! An access token that is about to end to another one, for browsers whose page sends no refresh token.

use super::issue::Issued;
use super::refresh::heir_of;
use super::{Client, Refreshed, Refusal, Simplejwt};
use crate::ledger::Standing;
use crate::settings::UnknownTokens;
use crate::token::{NewToken, TokenKind, Verified};

impl Simplejwt {
    /// An access token of the same session in place of one that was checked. It never lives longer than the newest refresh token of
    /// the session, so that no access token lives for ever: what ends the session or its refresh tokens ends this, too. [`None`] where
    /// that would not be later than the end of the old one, where it is done too often, and for a token without a session, or one that is
    /// no access token.
    ///
    /// # Errors
    /// [`Refusal`]: the token or its session was revoked, or the user may not log in any more; [`Refusal::Unavailable`].
    pub(crate) async fn renew_access(&self, token: &Verified, client: &Client) -> Result<Option<Issued>, Refusal> {
        let able = token.require(TokenKind::Access).is_ok() && !self.verifies_only() && self.settings().has_blacklist();
        let Some(session) = token.session().filter(|_| able) else { return Ok(None) };
        if self.limit_unasked(client, session).is_err() {
            return Ok(None);
        }
        let standing = self.standing(token, UnknownTokens::Accept, Standing::is_refused).await?;
        let now = self.now()?;
        let end = self.may_go_on(token, &standing, now)?;
        let Some(keep_until) = self.ledger().open_session_keep_until(session).await? else { return Ok(None) };
        let account = self.account_behind(token).await?;
        let lifetime = self.settings().access_token_lifetime.as_delta();
        // The end of the newest refresh token, by which `session_keep_until` was worked out.
        let last = keep_until - self.margin().as_delta() - lifetime;
        let renewed = NewToken {
            kind: TokenKind::Access,
            jti: crate::token::Jti::random(),
            expires_at: last.min(self.expiry(TokenKind::Access, now, end)),
            ..heir_of(token, now)
        };
        if renewed.expires_at <= token.expires_at() {
            return Ok(None);
        }
        let issued = self.mint(&renewed)?;
        let user = account.as_ref().map(|account| account.id.as_str());
        self.record_access(&renewed, user).await?;
        self.inner.metrics.issued(TokenKind::Access);
        let renewed = Refreshed { access: issued, refresh: None };
        self.tell_refreshed(&renewed, user);
        Ok(Some(renewed.access))
    }
}
