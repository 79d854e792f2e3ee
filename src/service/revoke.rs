//! The one way to blacklist, and its undoing.

use chrono::{DateTime, Utc};

use super::{Refusal, Simplejwt};
use crate::blacklist::Pending;
use crate::ledger::{
    Actor, Restoration, RestoreOutcome, Restored, Revocation, RevokeItem, RevokeOutcome, Revoked, UserKey, Via,
};
use crate::settings::Span;
use crate::token::{Jti, StatedKind, TokenKind, Verified};

/// What is to be refused from now on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Target {
    /// A token that somebody holds.
    Token(Box<Verified>),
    /// A token of which only the jti is known.
    Jti {
        /// Its jti.
        jti: Jti,
        /// When it expires, for a jti that the ledger does not know. [`None`]: as late as any token could,
        /// and 30 days at least.
        expires_at: Option<DateTime<Utc>>,
    },
}

/// For how long a jti of unknown expiry is refused at least. Whoever blacklists one in an emergency may do so without the
/// settings of the server that issued it.
const UNKNOWN_AT_LEAST: Span = Span::from_secs(30 * 24 * 60 * 60);

impl From<Verified> for Target {
    fn from(token: Verified) -> Self {
        Self::Token(Box::new(token))
    }
}

impl Simplejwt {
    /// Blacklists the refresh token `text`, and ends its session. Doing it twice is no error.
    ///
    /// # Errors
    /// [`Refusal`]: the token is no good or no refresh token; [`Refusal::Unavailable`]: it is not certain that the
    /// revocation is on disk.
    pub async fn blacklist(&self, text: &str, address: Option<String>) -> Result<(), Refusal> {
        let verified = self.verify_unrevoked_later(text).and_then(|token| {
            token.require(TokenKind::Refresh)?;
            Ok(token)
        });
        self.revoke_own(self.counted(verified)?, address).await
    }

    /// Blacklists a token on behalf of its holder.
    pub(crate) async fn revoke_own(&self, token: Verified, address: Option<String>) -> Result<(), Refusal> {
        let who = token.user_id().map_or_else(|| "token".to_owned(), |user| format!("user:{user}"));
        let actor = Actor { who, via: Via::Http, address };
        self.revoke(vec![Target::from(token)], None, actor).await?;
        Ok(())
    }

    /// Refuses all of `targets` from now on, in one transaction: when this returns, every one of them is on disk.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`]: none, or it is not certain; repeating it is safe. [`Refusal::Misuse`]: the blacklist is off.
    pub async fn revoke(
        &self,
        targets: Vec<Target>,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<Vec<Revoked>, Refusal> {
        self.counted(self.revoke_all(targets, reason, actor).await)
    }

    /// The same as a step of another use case.
    pub(super) async fn revoke_all(
        &self,
        targets: Vec<Target>,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<Vec<Revoked>, Refusal> {
        self.need_blacklist()?;
        let at = self.now()?;
        let mut items = Vec::with_capacity(targets.len());
        for target in targets {
            items.push(self.item(target, at).await);
        }
        let ends_session = self.settings().blacklist_ends_session;
        let pending = |item: &RevokeItem| Pending {
            jti: item.jti.clone(),
            session: item.session.filter(|_| ends_session && item.kind != Some(TokenKind::Access)),
            until: item.keep_until.max(item.session_keep_until),
        };
        let pending: Vec<Pending> = items.iter().map(pending).collect();
        let revoked = match self.ledger().revoke(Revocation { items, reason, actor, ends_session, at }).await {
            Ok(revoked) => revoked,
            Err(error) => {
                // Whoever asked for it does not learn whether it was done, but meant it: here it counts from now on.
                if error.is_uncertain() {
                    self.inner.blacklist.uncertain.note(pending);
                }
                return Err(error.into());
            }
        };
        let new = revoked.iter().filter(|revoked| revoked.outcome != RevokeOutcome::Already).count();
        self.inner.metrics.revocations.add(new as u64);
        self.spread().await?;
        if self.inner.blacklist.uncertain.is_any() {
            let certain: Vec<Jti> = revoked.iter().map(|revoked| revoked.jti.clone()).collect();
            self.inner.blacklist.uncertain.forget(&certain, at);
        }
        Ok(revoked)
    }

    /// Takes revocations back, together with the session ends that they caused, in one transaction.
    ///
    /// # Errors
    /// As [`Simplejwt::revoke`].
    pub async fn restore(
        &self,
        jtis: Vec<Jti>,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<Vec<Restored>, Refusal> {
        self.counted(self.restore_all(jtis, reason, actor).await)
    }

    async fn restore_all(
        &self,
        jtis: Vec<Jti>,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<Vec<Restored>, Refusal> {
        self.need_blacklist()?;
        let at = self.now()?;
        let order = Restoration { jtis: jtis.clone(), actor, reason, at };
        let restored = self.ledger().restore(order).await?;
        self.inner.blacklist.uncertain.forget(&jtis, at);
        let done = restored.iter().filter(|one| matches!(one.outcome, RestoreOutcome::Restored { .. })).count();
        self.inner.metrics.restorations.add(done as u64);
        self.spread().await?;
        Ok(restored)
    }

    /// What comes between the commit of a revocation and its acknowledgement: this process refuses from then on what was
    /// committed, and others are woken.
    pub(super) async fn spread(&self) -> Result<(), Refusal> {
        let (caught_up, ()) = tokio::join!(self.inner.blacklist.catch_up(), self.ledger().wake_followers());
        Ok(caught_up?)
    }

    async fn item(&self, target: Target, at: DateTime<Utc>) -> RevokeItem {
        match target {
            Target::Token(token) => {
                let end = token.refresh_expires_at().unwrap_or(token.expires_at()).max(token.expires_at());
                RevokeItem {
                    jti: token.jti().clone(),
                    kind: match token.kind() {
                        StatedKind::Known(kind) => Some(kind),
                        StatedKind::Missing | StatedKind::Other => None,
                    },
                    session: token.session(),
                    user: self.owner(&token).await,
                    expires_at: end,
                    keep_until: self.keep_until(end),
                    session_keep_until: self.session_keep_until(end),
                    token_known: true,
                }
            }
            Target::Jti { jti, expires_at } => {
                let lifetime = self.settings().longest_lifetime().max(UNKNOWN_AT_LEAST);
                let end = expires_at.unwrap_or_else(|| at + lifetime.as_delta());
                RevokeItem {
                    jti,
                    kind: None,
                    session: None,
                    user: None,
                    expires_at: end,
                    keep_until: self.keep_until(end),
                    session_keep_until: self.session_keep_until(end),
                    token_known: false,
                }
            }
        }
    }

    /// The key of the token's user, to be recorded with it. Where the users cannot be asked, the revocation goes ahead
    /// without: it matters more.
    async fn owner(&self, token: &Verified) -> Option<UserKey> {
        let account = self.inner.users.by_claim(token.user_id()?).await.ok().flatten()?;
        Some(UserKey::from(account.id.as_str()))
    }

    fn need_blacklist(&self) -> Result<(), Refusal> {
        if self.settings().has_blacklist() { Ok(()) } else { Err(Refusal::Misuse(std::sync::Arc::new(BlacklistOff))) }
    }
}

/// Nothing can be revoked while the blacklist is off.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the setting `blacklist` is \"off\": nothing can be revoked")]
struct BlacklistOff;
