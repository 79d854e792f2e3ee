//! How long sessions and their tokens last.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Refusal, Simplejwt};
use crate::ledger::{Actor, SessionLimit, Standing, Via};
use crate::settings::{MaxSessionsPolicy, Settings, Span};
use crate::token::{SessionId, TokenError, TokenKind, Verified};

impl Simplejwt {
    /// When a session is over, however often it is refreshed: what was set at its login or what is set now, whichever is earlier.
    pub(super) fn session_end(&self, session: SessionId, at_login: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let lifetime = self.settings().session_lifetime;
        let set_now = session.started_at().zip(lifetime).map(|(start, lifetime)| start + lifetime.as_delta());
        set_now.into_iter().chain(at_login).min()
    }

    /// Asks that the session of a token may go on: that it is not too old, and has not rested for too long. Gives its end, if it has
    /// one. A token without a session has no such limits.
    pub(super) fn may_go_on(
        &self,
        token: &Verified,
        standing: &Standing,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Refusal> {
        let Some(session) = token.session() else { return Ok(None) };
        let end = self.session_end(session, standing.session_absolute_end);
        let idle = self.settings().session_idle_lifetime;
        let rested = standing.session_last_used_at.zip(idle).is_some_and(|(used, idle)| used + idle.as_delta() <= now);
        if rested || end.is_some_and(|end| end <= now) { Err(TokenError::Expired.into()) } else { Ok(end) }
    }

    /// When a token expires that is issued now, in a session that ends then.
    pub(super) fn expiry(&self, kind: TokenKind, now: DateTime<Utc>, end: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let settings = self.settings();
        let lifetime = settings.lifetime(kind).as_delta();
        let idle = settings.session_idle_lifetime.map(Span::as_delta);
        let lifetime = match kind {
            TokenKind::Access => lifetime - self.jitter(),
            // Where the same refresh token is used again and again, it does not say when it was last.
            TokenKind::Refresh if !supersedes(settings) => lifetime,
            TokenKind::Refresh | TokenKind::Sliding => idle.map_or(lifetime, |idle| idle.min(lifetime)),
        };
        let expiry = now + lifetime;
        end.map_or(expiry, |end| end.min(expiry))
    }

    /// By how much this access token is shortened.
    fn jitter(&self) -> TimeDelta {
        let Settings { access_lifetime_jitter: most, access_token_lifetime: lifetime, .. } = self.settings();
        if *most == 0.0 {
            return TimeDelta::zero();
        }
        let random = u32::from_be_bytes(Uuid::new_v4().as_bytes().first_chunk().copied().unwrap_or_default());
        let part = most * f64::from(random) / f64::from(u32::MAX);
        TimeDelta::from_std(lifetime.as_std().mul_f64(part)).unwrap_or_default()
    }

    /// How many sessions a user may have, where that is limited.
    pub(super) fn session_limit(
        &self,
        user: &str,
        address: Option<String>,
        now: DateTime<Utc>,
    ) -> Option<SessionLimit> {
        let settings = self.settings();
        Some(SessionLimit {
            most: settings.max_sessions_per_user?,
            evicts: settings.max_sessions_policy == MaxSessionsPolicy::EvictOldest,
            kept_after: self.session_keep_until(now),
            used_after: settings.session_idle_lifetime.map(|idle| now - idle.as_delta()),
            actor: holder(Some(user), address),
        })
    }
}

/// Whether a refresh uses its refresh token up.
pub(super) fn supersedes(settings: &Settings) -> bool {
    settings.rotate_refresh_tokens && settings.blacklist_after_rotation && settings.has_blacklist()
}

/// Who holds a token, or is about to get one.
pub(super) fn holder(user: Option<&str>, address: Option<String>) -> Actor {
    Actor { who: user.map_or_else(|| "token".to_owned(), |user| format!("user:{user}")), via: Via::Http, address }
}
