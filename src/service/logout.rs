//! Logging out, by the user's own wish or because something happened to the user.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::lifetimes::holder;
use super::revoke::Begun;
use super::wide::Wide;
use super::{Refusal, RevokeReport, Simplejwt, Target};
use crate::chain::chain;
use crate::ledger::{Actor, UserKey, Via};
use crate::token::{SessionId, StatedKind, TokenError, Verified};

/// Which sessions a logout ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogoutScope {
    /// The one of the token.
    #[default]
    Local,
    /// All but that one.
    Others,
    /// All.
    Global,
}

impl LogoutScope {
    /// The word for it in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Others => "others",
            Self::Global => "global",
        }
    }

    /// Why, for the audit.
    const fn reason(self) -> &'static str {
        match self {
            Self::Local => "logout",
            Self::Others => "logout of the other sessions",
            Self::Global => "logout everywhere",
        }
    }
}

impl fmt::Display for LogoutScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogoutScope {
    type Err = UnknownLogoutScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Local, Self::Others, Self::Global]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(UnknownLogoutScope)
    }
}

/// A word that names no scope of a logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a scope; use local, others or global")]
pub struct UnknownLogoutScope;

/// For so long a request waits until what it has revoked is marked for others, too. It goes on without it.
const PATIENCE: Duration = Duration::from_millis(500);

impl Simplejwt {
    /// Logs out the user of a token of any kind, whose signature and time were checked. A token that was revoked before can log
    /// out itself once more, and nothing else. One without a session, as Django issues them, is blacklisted by itself.
    ///
    /// # Errors
    /// [`Refusal::Blacklisted`], [`Refusal::NoUserId`]; [`Refusal::NoSession`]: nobody can tell which sessions are the others;
    /// [`Refusal::Unavailable`]: it is not certain that the logout is on disk.
    pub async fn logout(&self, token: &Verified, scope: LogoutScope, address: Option<String>) -> Result<(), Refusal> {
        self.counted(self.end_own(token, scope, address).await)
    }

    async fn end_own(&self, token: &Verified, scope: LogoutScope, address: Option<String>) -> Result<(), Refusal> {
        if !matches!(token.kind(), StatedKind::Known(_)) {
            return Err(TokenError::WrongType.into());
        }
        if scope != LogoutScope::Local {
            self.check_revocation(token).await?;
        }
        let user = || token.user_id().map(UserKey::from).ok_or(Refusal::NoUserId);
        let target = match (scope, token.session()) {
            (LogoutScope::Local, Some(session)) => Target::Session(session),
            (LogoutScope::Local, None) => Target::from(token.clone()),
            (LogoutScope::Others, Some(keep)) => Target::OtherSessions { user: user()?, keep },
            (LogoutScope::Others, None) => return Err(Refusal::NoSession),
            (LogoutScope::Global, _) => Target::User(user()?),
        };
        let begun = self.begin(vec![target], Some(scope.reason().to_owned()), holder(token.user_id(), address)).await?;
        self.finish_beside(begun).await;
        Ok(())
    }

    /// Ends a session of the user of a token that was checked. Says whether it is one of that user's.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`]: it is not certain that this is on disk.
    pub async fn end_own_session(
        &self,
        token: &Verified,
        session: SessionId,
        address: Option<String>,
    ) -> Result<bool, Refusal> {
        self.counted(self.end_if_own(token, session, address).await)
    }

    async fn end_if_own(&self, token: &Verified, id: SessionId, address: Option<String>) -> Result<bool, Refusal> {
        self.need_blacklist()?;
        let Some(claim) = token.user_id() else { return Ok(false) };
        let wide = Wide::Session { id, owner: Some(self.key_of(claim).await?) };
        let (reason, actor) = (Some("session ended by its user"), holder(token.user_id(), address));
        self.begin_one(&wide, reason, &actor, &mut Begun::default()).await
    }

    /// To be called when an application's user has another password: ends every session of the user, but for the one in which it was
    /// changed. `user` is named as in the user claim of the tokens. What `simplejwt users passwd` changes needs no call.
    ///
    /// # Errors
    /// As [`Simplejwt::revoke`].
    pub async fn password_changed(&self, user: &str, keep: Option<SessionId>) -> Result<RevokeReport, Refusal> {
        let target = match keep {
            Some(keep) => Target::OtherSessions { user: user.into(), keep },
            None => Target::User(user.into()),
        };
        self.revoke(vec![target], Some("password changed".to_owned()), application()).await
    }

    /// To be called when an application's user was disabled or removed: ends every session of the user. `user` is named as in the
    /// user claim of the tokens.
    ///
    /// # Errors
    /// As [`Simplejwt::revoke`].
    pub async fn user_disabled(&self, user: &str) -> Result<RevokeReport, Refusal> {
        self.revoke(vec![Target::User(user.into())], Some("user disabled".to_owned()), application()).await
    }

    /// Does what is left of a revocation that holds, and waits a little for it. It goes on when nobody waits any more.
    async fn finish_beside(&self, begun: Begun) {
        let jwt = self.clone();
        let finish = async move {
            if let Err(refusal) = jwt.finish(begun).await {
                log::warn!("{}", chain(&refusal));
            }
        };
        drop(tokio::time::timeout(PATIENCE, tokio::spawn(finish)).await);
    }
}

fn application() -> Actor {
    Actor { who: "application".to_owned(), via: Via::Library, address: None }
}
