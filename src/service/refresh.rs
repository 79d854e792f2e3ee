//! A refresh token to a new access token and, with rotation, to its own successor.

use chrono::{DateTime, Utc};

use super::issue::Issued;
use super::{Client, Refusal, Simplejwt, Target};
use crate::ledger::{Actor, Rotated, Rotation, UserKey, Via};
use crate::settings::UnknownTokens;
use crate::token::{NewToken, TokenKind, Verified};
use crate::users::Account;

/// What a refresh gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refreshed {
    /// The new access token.
    pub access: Issued,
    /// The successor of the refresh token, where `rotate_refresh_tokens` is on.
    pub refresh: Option<Issued>,
}

impl Simplejwt {
    /// Gives a new access token for a refresh token. With rotation the refresh token is superseded in the same transaction
    /// that records its successor; of any number of requests with the same token, one wins.
    ///
    /// # Errors
    /// [`Refusal`]: the token is no good, no refresh token, revoked, or its user may not log in any more;
    /// [`Refusal::Unavailable`]: nothing was changed, or the change was not confirmed.
    pub async fn refresh(&self, text: &str) -> Result<Refreshed, Refusal> {
        self.refresh_for(text, &Client::default()).await
    }

    /// The same for a client whose address is known, and whom `refresh_rate_limit` and `refresh_session_rate_limit` are for.
    ///
    /// # Errors
    /// As [`Simplejwt::refresh`]; and [`Refusal::TooMany`].
    pub async fn refresh_for(&self, text: &str, client: &Client) -> Result<Refreshed, Refusal> {
        let refreshed = self.counted(self.renew(text, client).await)?;
        self.inner.metrics.issued(TokenKind::Access);
        refreshed.refresh.iter().for_each(|_| self.inner.metrics.issued(TokenKind::Refresh));
        Ok(refreshed)
    }

    async fn renew(&self, text: &str, client: &Client) -> Result<Refreshed, Refusal> {
        self.need_issuer()?;
        self.limit_refresh(client)?;
        let token = self.verify_unrevoked_later(text)?;
        self.limit_session(client, &token)?;
        self.check_revocation(&token).await?;
        token.require(TokenKind::Refresh)?;
        let account = self.account_behind(&token).await?;
        let now = self.now()?;

        let parent = heir_of(&token, now);
        let (access, access_token) = self.mint_descendant(&parent, TokenKind::Access, now)?;
        // Before the rotation: whatever fails after that would cost the client its refresh token.
        self.record_access(&access_token, account.as_ref().map(|account| account.id.as_str())).await?;
        let refresh = if self.settings().rotate_refresh_tokens {
            let (issued, successor) = self.mint_descendant(&parent, TokenKind::Refresh, now)?;
            self.rotate(&token, &successor, account.as_ref(), now).await?;
            Some(issued)
        } else {
            self.touch(&token, now).await?;
            None
        };
        let refreshed = Refreshed { access, refresh };
        self.tell_refreshed(&refreshed, token.user_id());
        Ok(refreshed)
    }

    /// The user behind a token that is to be renewed. A token without a user claim has none, as in simplejwt.
    pub(super) async fn account_behind(&self, token: &Verified) -> Result<Option<Account>, Refusal> {
        let Some(claim) = token.user_id() else { return Ok(None) };
        let found = self.inner.users.by_claim(claim).await?;
        let account = found.filter(|account| account.passes_rule).ok_or(Refusal::NoActiveAccount)?;
        if !self.has_current_password(token, &account) {
            let actor = Actor { who: format!("user:{}", account.id), via: Via::Http, address: None };
            self.revoke_all(vec![Target::from(token.clone())], Some("password changed".into()), actor).await?;
            return Err(Refusal::PasswordChanged);
        }
        Ok(Some(account))
    }

    async fn rotate(
        &self,
        old: &Verified,
        successor: &NewToken,
        account: Option<&Account>,
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        if !self.settings().has_blacklist() {
            return Ok(());
        }
        let user = account.map(|account| account.id.as_str());
        let rotation = Rotation {
            old: old.jti().clone(),
            old_session: old.session(),
            old_expires_at: old.expires_at(),
            old_user: user.map(UserKey::from),
            old_keep_until: self.keep_until(old.expires_at()),
            accept_unknown: self.settings().unknown_refresh_tokens == UnknownTokens::Accept,
            blacklist_old: self.settings().blacklist_after_rotation,
            new: self.record_of(successor, user, Some(old.jti().clone())),
            session_keep_until: self.session_keep_until(successor.expires_at),
            at: now,
        };
        match self.ledger().rotate(rotation).await? {
            Rotated::Done => Ok(()),
            Rotated::Unknown => Err(Refusal::Unknown),
            Rotated::Blacklisted | Rotated::SessionEnded => Err(Refusal::Blacklisted),
        }
    }

    /// Notes that a session was used. The session is already remembered for as long as the access token needs.
    async fn touch(&self, token: &Verified, now: DateTime<Utc>) -> Result<(), Refusal> {
        if let Some(session) = token.session().filter(|_| self.settings().has_blacklist()) {
            self.ledger().touch_session(session, now, self.session_keep_until(token.expires_at())).await?;
        }
        Ok(())
    }
}

/// What descendants of a token inherit, as a token to be.
pub(super) fn heir_of(token: &Verified, now: DateTime<Utc>) -> NewToken {
    NewToken {
        kind: TokenKind::Refresh,
        jti: token.jti().clone(),
        issued_at: now,
        expires_at: token.expires_at(),
        refresh_expires_at: None,
        user: token.user_id().map(Into::into),
        session: token.session(),
        custom: token.inherited(),
    }
}
