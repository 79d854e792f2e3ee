//! Tokens for a user, with or without a login.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::obtain::Client;
use super::{Refusal, Simplejwt, later};
use crate::ledger::{NewRecord, NewSession, UserKey, Witness};
use crate::settings::Span;
use crate::token::{Jti, NewToken, Presented, SessionId, TokenKind};
use crate::users::{Account, User};

/// A request for a token: for whom, of which kind, saying what.
///
/// ```
/// use rocket_simplejwt::Issue;
///
/// let issue = Issue::refresh("42").claim("role", "editor");
/// ```
#[derive(Clone, Debug)]
pub struct Issue {
    pub(super) kind: TokenKind,
    id: String,
    user_claim: String,
    pub(super) claims: Map<String, Value>,
    pub(super) public: Map<String, Value>,
    pub(super) private: Map<String, Value>,
    pub(super) fresh: bool,
    lifetime: Option<Span>,
    client: Client,
    witness: Option<Witness>,
}

impl Issue {
    fn new(kind: TokenKind, user: impl Into<String>) -> Self {
        let id = user.into();
        let user_claim = id.clone();
        let (claims, public, private, client) = Default::default();
        Self { kind, id, user_claim, claims, public, private, fresh: false, lifetime: None, client, witness: None }
    }

    /// An access token. It is recorded, so that it shows in lists and can be found by its jti.
    pub fn access(user: impl Into<String>) -> Self {
        Self::new(TokenKind::Access, user)
    }

    /// A refresh token, which opens a session.
    pub fn refresh(user: impl Into<String>) -> Self {
        Self::new(TokenKind::Refresh, user)
    }

    /// A sliding token, which opens a session.
    pub fn sliding(user: impl Into<String>) -> Self {
        Self::new(TokenKind::Sliding, user)
    }

    /// A token of this kind.
    pub fn of(kind: TokenKind, user: impl Into<String>) -> Self {
        Self::new(kind, user)
    }

    /// Adds a custom claim, which travels to every token that descends from this one.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Adds a claim whose name gets the setting `public_claim_namespace` in front, so that nobody takes it for another's (RFC 7519 §4.2).
    #[must_use]
    pub fn public_claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.public.insert(name.into(), value.into());
        self
    }

    /// Adds a claim whose name gets the setting `private_claim_prefix` in front.
    #[must_use]
    pub fn private_claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.private.insert(name.into(), value.into());
        self
    }

    /// Marks the token as one that comes right from a login, for the guard [`Fresh`](crate::Fresh): the access token, also that of a
    /// pair, or the sliding one. What descends from it by a refresh is not fresh.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// A shorter life than the configured one.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Span) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Where the request came from, for the list of sessions.
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    pub(super) fn for_account(kind: TokenKind, account: &Account, client: Client) -> Self {
        let (id, user_claim, claims) = (account.id.clone(), account.claim.clone(), account.claims.clone());
        let witness = account.user.downcast_ref().map(User::witness);
        Self { id, user_claim, claims, client, witness, fresh: true, ..Self::new(kind, "") }
    }
}

/// A token that was issued. Its [`Debug`](std::fmt::Debug) does not show the text.
#[derive(Clone)]
#[non_exhaustive]
pub struct Issued {
    /// The token itself: give it to the client, keep it nowhere.
    pub text: String,
    /// Its identity.
    pub jti: Jti,
    /// The login that it belongs to.
    pub session: Option<SessionId>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// Its secret, which a page has to send back with the token's cookie. Only where tokens travel in cookies.
    pub csrf: Option<String>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("jti", &self.jti).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A refresh token and its first access token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pair {
    /// The refresh token.
    pub refresh: Issued,
    /// The access token.
    pub access: Issued,
}

impl Simplejwt {
    /// Issues one token, and records it.
    ///
    /// # Errors
    /// [`Refusal::Misuse`] for a reserved claim, a lifetime over the configured one or a missing signing key;
    /// [`Refusal::Unavailable`] where it could not be recorded.
    pub async fn issue(&self, issue: Issue) -> Result<Issued, Refusal> {
        let kind = issue.kind;
        let issued = self.counted(self.make_one(issue).await)?;
        self.inner.metrics.issued(kind);
        Ok(issued)
    }

    async fn make_one(&self, issue: Issue) -> Result<Issued, Refusal> {
        let issue = self.with_password_digest(issue).await?;
        let now = self.after_cutoffs(&issue).await?;
        let session = (issue.kind != TokenKind::Access && self.settings().has_blacklist()).then(|| start_session(now));
        let (issued, token) = self.mint_first(&issue, session, now)?;
        self.record_first(&issue, &token).await?;
        self.tell_issued(issue.kind, &issued, &issue.user_claim);
        Ok(issued)
    }

    /// Now, or the next second: a token without a session tells only the second of its issue, and would be refused with
    /// everything from before a cutoff that was made in this one.
    async fn after_cutoffs(&self, issue: &Issue) -> Result<DateTime<Utc>, Refusal> {
        let now = self.now()?;
        if issue.kind != TokenKind::Access || !self.settings().has_blacklist() {
            return Ok(now);
        }
        let jti = Jti::random();
        let user = Some(issue.user_claim.as_str());
        let token = Presented { jti: &jti, session: None, issued_at: Some(now.timestamp()), user };
        if !self.ledger().is_refused(token).await? {
            return Ok(now);
        }
        let left = 1_000_000_u32.saturating_sub(now.timestamp_subsec_micros());
        tokio::time::sleep(Duration::from_micros(left.into())).await;
        Ok(self.now()?)
    }

    /// Issues a refresh token and an access token of the same session.
    ///
    /// # Errors
    /// As [`Simplejwt::issue`].
    pub async fn issue_pair(&self, issue: Issue) -> Result<Pair, Refusal> {
        let pair = self.counted(self.make_pair(issue).await)?;
        self.inner.metrics.issued(TokenKind::Refresh);
        self.inner.metrics.issued(TokenKind::Access);
        Ok(pair)
    }

    async fn make_pair(&self, issue: Issue) -> Result<Pair, Refusal> {
        let now = self.now()?;
        let issue = self.with_password_digest(issue).await?;
        let session = self.settings().has_blacklist().then(|| start_session(now));
        let issue = Issue { kind: TokenKind::Refresh, ..issue };
        let (refresh, token) = self.mint_first(&issue, session, now)?;
        let parent = self.parent_of_first(&token, issue.fresh, now);
        let end = session.and_then(|session| self.session_end(session, None));
        let (access, access_token) = self.mint_descendant(&parent, TokenKind::Access, now, end)?;
        self.record_first(&issue, &token).await?;
        self.record_access(&access_token, Some(&issue.id)).await?;
        self.tell_issued(TokenKind::Refresh, &refresh, &issue.user_claim);
        self.tell_issued(TokenKind::Access, &access, &issue.user_claim);
        Ok(Pair { refresh, access })
    }

    /// Adds what `check_revoke_token` compares, where the issue does not say it already.
    async fn with_password_digest(&self, issue: Issue) -> Result<Issue, Refusal> {
        let name = &self.settings().revoke_token_claim;
        if !self.settings().check_revoke_token || issue.claims.contains_key(name) {
            return Ok(issue);
        }
        let account = self.inner.users.by_claim(&issue.user_claim).await?;
        match account.and_then(|account| self.revoke_claim(&account)) {
            Some(digest) => Ok(issue.claim(name.clone(), digest)),
            None => Ok(issue),
        }
    }

    fn mint_first(
        &self,
        issue: &Issue,
        session: Option<SessionId>,
        now: DateTime<Utc>,
    ) -> Result<(Issued, NewToken), Refusal> {
        let longest = self.settings().lifetime(issue.kind);
        if issue.lifetime.is_some_and(|lifetime| lifetime > longest || lifetime == Span::default()) {
            return Err(Refusal::Misuse(std::sync::Arc::new(LifetimeError { kind: issue.kind, longest })));
        }
        let end = session.and_then(|session| self.session_end(session, None));
        let expiry = self.expiry(issue.kind, now, end);
        let wanted = issue.lifetime.map(|lifetime| now + lifetime.as_delta());
        let renewable_until = now + self.settings().sliding_token_refresh_lifetime.as_delta();
        let renewable_until = end.map_or(renewable_until, |end| end.min(renewable_until));
        let sliding = issue.kind == TokenKind::Sliding;
        let token = NewToken {
            kind: issue.kind,
            jti: Jti::random(),
            issued_at: now,
            expires_at: wanted.map_or(expiry, |wanted| wanted.min(end.unwrap_or(wanted))),
            refresh_expires_at: sliding.then_some(renewable_until),
            user: Some(issue.user_claim.clone()),
            session,
            custom: self.wanted_claims(issue, now)?,
        };
        Ok((self.mint(&token)?, token))
    }

    /// Mints a token that inherits user, session and custom claims, in a session that ends then.
    pub(super) fn mint_descendant(
        &self,
        parent: &NewToken,
        kind: TokenKind,
        now: DateTime<Utc>,
        end: Option<DateTime<Utc>>,
    ) -> Result<(Issued, NewToken), Refusal> {
        let token = NewToken {
            kind,
            jti: Jti::random(),
            issued_at: now,
            expires_at: self.expiry(kind, now, end),
            refresh_expires_at: None,
            ..parent.clone()
        };
        Ok((self.mint(&token)?, token))
    }

    pub(super) fn mint(&self, token: &NewToken) -> Result<Issued, Refusal> {
        self.need_issuer()?;
        let (completed, csrf) = self.completed(token)?;
        let text = self.inner.minter.mint(&completed)?;
        // The wire has whole seconds, and the ledger must not know a later end than the token itself.
        let expires_at = whole_seconds(token.expires_at);
        Ok(Issued { text, jti: token.jti.clone(), session: token.session, expires_at, csrf })
    }

    async fn record_first(&self, issue: &Issue, token: &NewToken) -> Result<(), Refusal> {
        if !self.settings().has_blacklist() {
            return Ok(());
        }
        let record = self.record_of(token, Some(&issue.id), None);
        match token.session {
            None => self.ledger().record(record).await?,
            Some(id) => {
                let session = NewSession {
                    id,
                    user: Some(UserKey::from(issue.id.as_str())),
                    created_at: token.issued_at,
                    absolute_end: self.session_end(id, None),
                    keep_until: self.session_keep_until(record.expires_at),
                    address: issue.client.address.clone(),
                    user_agent: issue.client.user_agent.clone(),
                    witness: issue.witness,
                    limit: self.session_limit(&issue.id, issue.client.address.clone(), token.issued_at),
                };
                let evicted = self.ledger().record_login(session, record).await?;
                if evicted > 0 {
                    self.inner.metrics.evictions.add(evicted as u64);
                    self.spread_if_possible(Vec::new()).await;
                }
            }
        }
        Ok(())
    }

    /// Records an access token where `record_access_tokens` is on.
    pub(super) async fn record_access(&self, token: &NewToken, user: Option<&str>) -> Result<(), Refusal> {
        if self.settings().record_access_tokens {
            self.ledger().record(self.record_of(token, user, None)).await?;
        }
        Ok(())
    }

    /// What the ledger remembers of a token: never its text.
    pub(super) fn record_of(&self, token: &NewToken, user: Option<&str>, parent: Option<Jti>) -> NewRecord {
        let expires_at = whole_seconds(token.refresh_expires_at.unwrap_or(token.expires_at));
        let mut claims = token.custom.clone();
        if let Some(user) = &token.user {
            claims.insert(self.settings().user_id_claim.clone(), user.as_str().into());
        }
        NewRecord {
            jti: token.jti.clone(),
            kind: token.kind,
            session: token.session,
            parent,
            user: user.map(UserKey::from),
            created_at: token.issued_at,
            expires_at,
            claims,
            keep_until: self.keep_until(expires_at),
        }
    }

    /// Until when a session must be remembered whose newest refresh or sliding token ends at `end`: the access token that it
    /// buys in its last second may outlive it.
    pub(super) fn session_keep_until(&self, end: DateTime<Utc>) -> DateTime<Utc> {
        later(self.keep_until(end), self.settings().access_token_lifetime)
    }
}

pub(super) fn start_session(now: DateTime<Utc>) -> SessionId {
    SessionId::starting_at(u64::try_from(now.timestamp_millis()).unwrap_or_default())
}

fn whole_seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at - TimeDelta::nanoseconds(i64::from(at.timestamp_subsec_nanos()))
}

/// A lifetime over the configured one: the ledger would forget a revocation of the token before its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{kind} tokens live longer than 0s and {longest} at most (setting `{kind}_token_lifetime`)")]
struct LifetimeError {
    kind: TokenKind,
    longest: Span,
}
