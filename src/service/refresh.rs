//! A refresh token to a new access token and, with rotation, to its own successor.

use chrono::{DateTime, Utc};

use super::issue::Issued;
use super::lifetimes::{holder, supersedes};
use super::{Client, Refusal, Simplejwt, Target};
use crate::blacklist::Pending;
use crate::ledger::{Grace, Rotated, Rotation, Standing, Successor, UserKey};
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
    /// that records its successor; of any number of requests with the same token, one wins. The others get the same successor
    /// within `rotation_grace`, as long as nobody used it; whoever comes later ends the session.
    ///
    /// # Errors
    /// [`Refusal`]: the token is no good, no refresh token, revoked or used up, or its user may not log in any more;
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
        let standing = self.check_renewable(&token).await?;
        self.check_claims(&token)?;
        let now = self.now()?;
        let end = self.may_go_on(&token, &standing, now)?;
        let account = self.account_behind(&token).await?;
        let user = account.as_ref().map(|account| account.id.as_str());

        let parent = heir_of(&token, now);
        // Before anything is written: whatever fails after that would cost the client its refresh token.
        let (access, access_token) = self.mint_descendant(&parent, TokenKind::Access, now, end)?;
        if !self.settings().rotate_refresh_tokens {
            self.record_access(&access_token, user).await?;
            self.touch(&token, now).await?;
            return Ok(self.told(Refreshed { access, refresh: None }, &token));
        }
        let (refresh, successor) = self.mint_descendant(&parent, TokenKind::Refresh, now, end)?;
        if !self.settings().has_blacklist() {
            return Ok(self.told(Refreshed { access, refresh: Some(refresh) }, &token));
        }
        let rotation = Rotation {
            old: token.jti().clone(),
            old_session: token.session(),
            old_expires_at: token.expires_at(),
            old_user: user.map(UserKey::from),
            old_keep_until: self.keep_until(token.expires_at()),
            accept_unknown: self.settings().unknown_refresh_tokens == UnknownTokens::Accept,
            blacklist_old: self.settings().blacklist_after_rotation,
            access: self.settings().record_access_tokens.then(|| self.record_of(&access_token, user, None)),
            grace: Grace {
                lasts: self.settings().rotation_grace.as_delta(),
                until_used: self.settings().grace_until_used,
            },
            new: self.record_of(&successor, user, Some(token.jti().clone())),
            session_keep_until: self.session_keep_until(successor.expires_at),
            actor: holder(user, client.address.clone()),
            at: now,
        };
        let refresh = match self.ledger().rotate(rotation).await? {
            Rotated::Done => refresh,
            Rotated::Again(successor) => {
                self.inner.metrics.retries.add(1);
                self.mint_again(*successor, &parent)?
            }
            Rotated::Unknown => return Err(Refusal::Unknown),
            Rotated::Blacklisted | Rotated::SessionEnded => return Err(Refusal::Blacklisted),
            Rotated::Reused(how) => {
                log::warn!("a refresh token that was used up was used again ({}): its session is over", how.as_str());
                let until = self.session_keep_until(token.expires_at());
                let ended = token.session().map(|session| Pending::of_session(session, until));
                self.spread_if_possible(ended.into_iter().collect()).await;
                return Err(Refusal::Reused(how));
            }
        };
        Ok(self.told(Refreshed { access, refresh: Some(refresh) }, &token))
    }

    /// Tells the application what a client is given.
    fn told(&self, refreshed: Refreshed, token: &Verified) -> Refreshed {
        self.tell_refreshed(&refreshed, token.user_id());
        refreshed
    }

    /// Checks a refresh token that is to be renewed. Unlike everywhere else, one that a rotation has replaced passes: what becomes of
    /// it, the ledger decides.
    async fn check_renewable(&self, token: &Verified) -> Result<Standing, Refusal> {
        let settings = self.settings();
        if token.require(TokenKind::Refresh).is_err() || !settings.has_blacklist() {
            self.check_revocation(token).await?;
            token.require(TokenKind::Refresh)?;
            return Ok(Standing::default());
        }
        let checked = settings.blacklist_token_checks.contains(&TokenKind::Refresh);
        let refuses = if supersedes(settings) { Standing::is_refused_for_good } else { Standing::is_refused };
        let unknown = if checked { settings.unknown_refresh_tokens } else { UnknownTokens::Accept };
        let standing = self.standing(token, unknown, |standing| checked && refuses(standing)).await?;
        if checked && self.inner.blacklist.also_refuses(token).await? {
            return Err(Refusal::Blacklisted);
        }
        Ok(standing)
    }

    /// Mints a token that is recorded already: the same jti, times and claims, under the key that signs now.
    fn mint_again(&self, recorded: Successor, parent: &NewToken) -> Result<Issued, Refusal> {
        let Successor { jti, created_at, expires_at } = recorded;
        self.mint(&NewToken { jti, issued_at: created_at, expires_at, ..parent.clone() })
    }

    /// The user behind a token that is to be renewed. A token without a user claim has none, as in simplejwt.
    pub(super) async fn account_behind(&self, token: &Verified) -> Result<Option<Account>, Refusal> {
        let Some(claim) = token.user_id() else { return Ok(None) };
        let found = self.inner.users.by_claim(claim).await?;
        let account = found.filter(|account| account.passes_rule).ok_or(Refusal::NoActiveAccount)?;
        if !self.has_current_password(token, &account) {
            let actor = holder(Some(&account.id), None);
            self.revoke_all(vec![Target::from(token.clone())], Some("password changed".into()), actor).await?;
            return Err(Refusal::PasswordChanged);
        }
        Ok(Some(account))
    }

    /// Notes that a session was used. The session is already remembered for as long as the access token needs.
    pub(super) async fn touch(&self, token: &Verified, now: DateTime<Utc>) -> Result<(), Refusal> {
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
