//! Is this token good?

use super::{Refusal, Simplejwt};
use crate::blacklist::Presented;
use crate::ledger::Standing;
use crate::settings::UnknownTokens;
use crate::token::{StatedKind, TokenKind, Verified};

impl Simplejwt {
    /// Checks a token of any kind: genuine, in time, not revoked. Gives what it says.
    ///
    /// # Errors
    /// [`Refusal`], the first thing that is wrong; [`Refusal::Unavailable`] where that cannot be found out.
    pub async fn verify(&self, text: &str) -> Result<Verified, Refusal> {
        self.counted(self.check(text).await)
    }

    /// The same as a step of another use case.
    pub(super) async fn check(&self, text: &str) -> Result<Verified, Refusal> {
        let token = self.verify_unrevoked_later(text)?;
        self.check_revocation(&token).await?;
        self.check_claims(&token)?;
        Ok(token)
    }

    /// Checks everything but revocation, which a route does not want.
    pub(crate) fn verify_but_revocation(&self, text: &str) -> Result<Verified, Refusal> {
        let check = || {
            let token = self.verify_unrevoked_later(text)?;
            self.check_claims(&token)?;
            Ok(token)
        };
        self.counted(check())
    }

    /// Checks everything but revocation, as the first step of a request that ends with it.
    ///
    /// # Errors
    /// [`Refusal::Token`].
    pub fn genuine(&self, text: &str) -> Result<Verified, Refusal> {
        self.counted(self.verify_unrevoked_later(text))
    }

    /// Checks everything but revocation.
    pub(crate) fn verify_unrevoked_later(&self, text: &str) -> Result<Verified, Refusal> {
        self.inner.metrics.verifications.add(1);
        Ok(self.inner.verifier.verify(text, self.now()?)?)
    }

    /// Asks whether a token was revoked. A refresh token must also be known, since it was recorded when it was issued.
    pub(super) async fn check_revocation(&self, token: &Verified) -> Result<(), Refusal> {
        let settings = self.settings();
        let unchecked = match token.kind() {
            StatedKind::Known(kind) => !settings.blacklist_token_checks.contains(&kind),
            StatedKind::Missing | StatedKind::Other => false,
        };
        if unchecked || !settings.has_blacklist() {
            return Ok(());
        }
        let blacklist = &self.inner.blacklist;
        let refused = if token.kind() == StatedKind::Known(TokenKind::Refresh) {
            Box::pin(self.check_record(token, settings.unknown_refresh_tokens)).await?;
            blacklist.also_refuses(token).await?
        } else if settings.unknown_tokens == UnknownTokens::Refuse {
            Box::pin(self.check_record(token, UnknownTokens::Refuse)).await?;
            blacklist.also_refuses(token).await?
        } else {
            blacklist.is_blacklisted(token).await?
        };
        if refused { Err(Refusal::Blacklisted) } else { Ok(()) }
    }

    /// Asks the ledger whether a token stands: recorded, if it has to be, not blacklisted, its session open.
    pub(super) async fn check_record(&self, token: &Verified, unknown: UnknownTokens) -> Result<(), Refusal> {
        self.standing(token, unknown, Standing::is_refused).await.map(drop)
    }

    /// How a token stands in the ledger, which has to know it, where that is asked for, and must not refuse it.
    pub(super) async fn standing(
        &self,
        token: &Verified,
        unknown: UnknownTokens,
        refuses: impl Fn(&Standing) -> bool,
    ) -> Result<Standing, Refusal> {
        if !self.settings().has_blacklist() {
            return Ok(Standing::default());
        }
        if !self.ledger().is_there() {
            // Nobody here could know it.
            return Err(Refusal::Unknown);
        }
        let standing = self.ledger().standing(Presented::from(token)).await?;
        if refuses(&standing) || self.inner.blacklist.uncertain.refuses(&Presented::from(token)) {
            Err(Refusal::Blacklisted)
        } else if !standing.known && unknown == UnknownTokens::Refuse {
            Err(Refusal::Unknown)
        } else {
            Ok(standing)
        }
    }
}
