//! What is added to a token when it is made, and what an application asks of its claims when it is used.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Issue, Refusal, Simplejwt};
use crate::token::{CSRF, FRESH, MintError, NewToken, TokenKind, Verified};

type Add = dyn Fn(&NewToken) -> Map<String, Value> + Send + Sync;
type Ask = dyn Fn(&Verified) -> bool + Send + Sync;

/// The application's two callbacks.
#[derive(Clone, Default)]
pub(super) struct ClaimCallbacks {
    pub(super) add: Option<Arc<Add>>,
    pub(super) ask: Option<Arc<Ask>>,
}

impl fmt::Debug for ClaimCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (add, ask) = (self.add.is_some(), self.ask.is_some());
        f.debug_struct("ClaimCallbacks").field("add", &add).field("ask", &ask).finish()
    }
}

/// Public claims without a namespace: they could be taken for somebody else's.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("public claims need the setting `public_claim_namespace`")]
struct NoNamespace;

impl Simplejwt {
    /// The claims that whoever asked for a token wants in it, under their full names.
    pub(super) fn wanted_claims(&self, issue: &Issue, now: DateTime<Utc>) -> Result<Map<String, Value>, Refusal> {
        let settings = self.settings();
        let mut claims = issue.claims.clone();
        if !issue.public.is_empty() && settings.public_claim_namespace.is_empty() {
            return Err(Refusal::Misuse(Arc::new(NoNamespace)));
        }
        let public = issue.public.iter().map(|(name, value)| (&settings.public_claim_namespace, name, value));
        let private = issue.private.iter().map(|(name, value)| (&settings.private_claim_prefix, name, value));
        claims.extend(public.chain(private).map(|(before, name, value)| (format!("{before}{name}"), value.clone())));
        if issue.fresh && issue.kind != TokenKind::Refresh {
            claims.insert(FRESH.into(), self.freshness(now));
        }
        Ok(claims)
    }

    /// A refresh token as the parent of the access token that is given out with it.
    pub(super) fn parent_of_first(&self, refresh: &NewToken, fresh: bool, now: DateTime<Utc>) -> NewToken {
        let mut parent = refresh.clone();
        if fresh {
            parent.custom.insert(FRESH.into(), self.freshness(now));
        }
        parent
    }

    fn freshness(&self, now: DateTime<Utc>) -> Value {
        self.settings().fresh_lifetime.map_or(Value::Bool(true), |span| (now + span.as_delta()).timestamp().into())
    }

    /// The token with what only the moment of its making adds: what the application's callback says, and the secret that its
    /// cookie needs. Each token has its own.
    pub(super) fn completed<'a>(&self, token: &'a NewToken) -> Result<(Cow<'a, NewToken>, Option<String>), MintError> {
        let mut token = Cow::Borrowed(token);
        if let Some(add) = &self.inner.claim_callbacks.add {
            let added = add(&token);
            token.to_mut().custom.extend(added);
        }
        if !self.settings().transport.issues_csrf() {
            return Ok((token, None));
        }
        let csrf = Uuid::new_v4().simple().to_string();
        match token.to_mut().custom.insert(CSRF.into(), csrf.as_str().into()) {
            None => Ok((token, Some(csrf))),
            Some(_) => Err(MintError::ReservedClaim(CSRF.into())),
        }
    }

    /// Asks the application about a token that is good otherwise.
    pub(super) fn check_claims(&self, token: &Verified) -> Result<(), Refusal> {
        match &self.inner.claim_callbacks.ask {
            Some(ask) if !ask(token) => Err(Refusal::ClaimsRefused),
            _ => Ok(()),
        }
    }
}
