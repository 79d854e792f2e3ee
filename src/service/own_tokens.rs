//! A user's own tokens: listed, revoked, and restored by whoever revoked them there.

use super::lifetimes::holder;
use super::{Refusal, Simplejwt, Target};
use crate::ledger::{EventFilter, RestoreOutcome, TokenFilter, TokenRow};
use crate::token::{Jti, Verified};

/// What became of a token that its user wants back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnRestored {
    /// It can be used again, or could be all the time.
    Restored,
    /// The user has no such token.
    Unknown,
    /// Somebody else revoked it, or the user did by another way.
    NotByUser,
    /// A rotation replaced it, or its session is over for another reason.
    Over,
}

/// Why a token was revoked that its user found in the list: by this it is known which ones the user may restore.
pub(super) const REASON: &str = "revoked in the user's own list of tokens";

impl Simplejwt {
    /// The recorded tokens of the user of a token, at most `limit` after a row.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub async fn own_tokens(&self, token: &Verified, after: i64, limit: i64) -> Result<Vec<TokenRow>, Refusal> {
        let listed = async {
            let Some(claim) = token.user_id() else { return Ok(Vec::new()) };
            let filter = TokenFilter { user: Some(self.key_of(claim).await?), after, limit, ..TokenFilter::default() };
            Ok(self.ledger().outstanding(&filter, self.now()?).await?)
        };
        self.counted(listed.await)
    }

    /// Revokes a recorded token of the user of a token. Says whether it is one of that user's.
    ///
    /// # Errors
    /// As [`Simplejwt::revoke`].
    pub async fn revoke_own_token(&self, token: &Verified, id: i64, address: Option<String>) -> Result<bool, Refusal> {
        let revoked = async {
            let Some(jti) = self.own_token(token, id).await? else { return Ok(false) };
            let (target, reason) = (Target::Jti { jti, expires_at: None }, Some(REASON.to_owned()));
            self.revoke_all(vec![target], reason, holder(token.user_id(), address)).await?;
            Ok(true)
        };
        self.counted(revoked.await)
    }

    /// Takes back what [`revoke_own_token`](Self::revoke_own_token) did for the same user, with a fresh token.
    ///
    /// # Errors
    /// [`Refusal::NotFresh`]; otherwise as [`Simplejwt::revoke`].
    pub async fn restore_own_token(
        &self,
        token: &Verified,
        id: i64,
        address: Option<String>,
    ) -> Result<OwnRestored, Refusal> {
        self.counted(self.give_back(token, id, address).await)
    }

    async fn give_back(&self, token: &Verified, id: i64, address: Option<String>) -> Result<OwnRestored, Refusal> {
        self.need_blacklist()?;
        if !token.is_fresh(self.now()?) {
            return Err(Refusal::NotFresh);
        }
        let Some(jti) = self.own_token(token, id).await? else { return Ok(OwnRestored::Unknown) };
        let actor = holder(token.user_id(), address);
        let newest = EventFilter {
            target: Some(jti.to_string()),
            action: Some("blacklist".to_owned()),
            limit: 1,
            ..EventFilter::default()
        };
        let by_user = match self.ledger().events(&newest).await?.pop() {
            Some(event) => event.who == actor.who && event.reason.as_deref() == Some(REASON),
            // Nobody revoked it here. If Django did, it is not the user's to undo either.
            None => false,
        };
        if !by_user {
            let row = self.ledger().outstanding_by_jti(&jti).await?;
            let is_refused = row.is_none_or(|row| row.blacklisted_at.is_some() || row.revoked_at.is_some());
            return Ok(if is_refused { OwnRestored::NotByUser } else { OwnRestored::Restored });
        }
        let restored = self.restore_all(vec![jti], None, actor).await?;
        Ok(match restored.into_iter().next().map(|one| one.outcome) {
            Some(RestoreOutcome::Restored { .. } | RestoreOutcome::NotBlacklisted) => OwnRestored::Restored,
            Some(RestoreOutcome::Unknown) | None => OwnRestored::Unknown,
            Some(
                RestoreOutcome::Superseded | RestoreOutcome::SessionEndedOtherwise { .. } | RestoreOutcome::CutOff,
            ) => OwnRestored::Over,
        })
    }

    /// The jti in a row, if the row is of the user of a token.
    async fn own_token(&self, token: &Verified, id: i64) -> Result<Option<Jti>, Refusal> {
        let (Some(claim), Some(after)) = (token.user_id(), id.checked_sub(1)) else { return Ok(None) };
        let filter = TokenFilter { user: Some(self.key_of(claim).await?), after, limit: 1, ..TokenFilter::default() };
        let found = self.ledger().outstanding(&filter, self.now()?).await?.pop();
        Ok(found.filter(|row| row.id == id).and_then(|row| row.jti.parse().ok()))
    }
}
