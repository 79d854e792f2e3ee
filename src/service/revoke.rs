//! The one way to blacklist, and its undoing.

use chrono::{DateTime, Utc};

use super::lifetimes::holder;
use super::own_tokens;
use super::wide::{Held, Rest, Wide};
use super::{Refusal, Simplejwt};
use crate::blacklist::Pending;
use crate::chain::chain;
use crate::ledger::{
    Actor, Restoration, RestoreOutcome, Restored, Revocation, RevokeItem, RevokeOutcome, Revoked, UserKey,
};
use crate::settings::Span;
use crate::token::{Jti, SessionId, StatedKind, TokenKind, Verified};

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
        /// When it expires, for a jti that the ledger does not know; it does not lie in the past. [`None`]: as late as any
        /// token could, and 30 days at least.
        expires_at: Option<DateTime<Utc>>,
    },
    /// A login: all the tokens that descend from it, also those that are not on record.
    Session(SessionId),
    /// Everything that was issued to a user until now, by the name that the user claim of the tokens has.
    User(UserKey),
    /// Every login of a user but one, and the recorded tokens of none.
    OtherSessions {
        /// The user, by the name that the user claim of the tokens has.
        user: UserKey,
        /// The login that stays.
        keep: SessionId,
    },
    /// Everything that was issued to anybody until now.
    Everybody,
    /// Everything that began at an instant or before, however often it was renewed since.
    Before {
        /// Of this user, by the name that the user claim of the tokens has; of everybody, if it is missing.
        user: Option<UserKey>,
        /// The instant. It does not lie in the future.
        at: DateTime<Utc>,
    },
}

impl Target {
    /// A single token as it is; everything else as what it comes to.
    fn or_wide(self) -> Result<Self, Wide> {
        Err(match self {
            Self::Token(_) | Self::Jti { .. } => return Ok(self),
            Self::Session(id) => Wide::Session { id, owner: None },
            Self::User(user) => Wide::Until { user: Some(user), at: None },
            Self::OtherSessions { user, keep } => Wide::Others { user, keep },
            Self::Everybody => Wide::Until { user: None, at: None },
            Self::Before { user, at } => Wide::Until { user, at: Some(at) },
        })
    }
}

/// What a revocation has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevokeReport {
    /// The tokens that were named, in their order.
    pub tokens: Vec<Revoked>,
    /// How many sessions were open, and are over.
    pub sessions: u64,
    /// Those that were named and not known here. They are on record as ended now.
    pub unknown_sessions: Vec<SessionId>,
    /// How many recorded tokens came onto the blacklist beside those that were named. They were refused here before that; it is
    /// for Django, which knows of nothing else.
    pub rows: u64,
    /// Until which instant everything is refused, where that was asked for. Of several it is the latest.
    pub cutoff: Option<DateTime<Utc>>,
}

impl RevokeReport {
    fn add(&mut self, other: Self) {
        self.tokens.extend(other.tokens);
        self.sessions += other.sessions;
        self.unknown_sessions.extend(other.unknown_sessions);
        self.rows += other.rows;
        self.cutoff = self.cutoff.max(other.cutoff);
    }
}

/// A revocation that holds, and what is left to do of it.
#[derive(Debug, Default)]
pub(super) struct Begun {
    report: RevokeReport,
    rests: Vec<Rest>,
}

/// For how long a jti of unknown expiry is refused at least. Whoever blacklists one in an emergency may do so without the
/// settings of the server that issued it.
pub(super) const UNKNOWN_AT_LEAST: Span = Span::from_secs(30 * 24 * 60 * 60);

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
        let actor = holder(token.user_id(), address);
        self.revoke(vec![Target::from(token)], None, actor).await?;
        Ok(())
    }

    /// Refuses all of `targets` from now on. When this returns, each of them is on disk, and refused: here at once, and elsewhere
    /// within the staleness bound. What was issued before is refused, and what is issued after is not, also within one second.
    ///
    /// The single tokens among them are one transaction. Each of the others is one by itself, after which the tokens that are on
    /// record come onto the blacklist in batches, for Django's sake.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`]: not all of it, or it is not certain; repeating it is safe. [`Refusal::FutureCutoff`]: an instant
    /// lies in the future. [`Refusal::PastExpiry`]: an expiry lies in the past. [`Refusal::Misuse`]: the blacklist is off.
    pub async fn revoke(
        &self,
        targets: Vec<Target>,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<RevokeReport, Refusal> {
        let revoked = async { self.finish(self.begin(targets, reason, actor).await?).await };
        self.counted(revoked.await)
    }

    /// What [`revoke`](Self::revoke) would do beyond single tokens: how many open sessions and recorded tokens it would hit. Changes
    /// nothing.
    ///
    /// # Errors
    /// As [`Simplejwt::revoke`].
    pub async fn foresee_revocation(&self, targets: Vec<Target>) -> Result<RevokeReport, Refusal> {
        let mut report = RevokeReport::default();
        for wide in targets.into_iter().filter_map(|target| target.or_wide().err()) {
            report.add(self.foresee(&wide).await?);
        }
        Ok(report)
    }

    /// Refuses an expiry that lies in the past: whoever names one means another token, or writes the instant otherwise.
    pub(crate) fn check_expiry(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), Refusal> {
        if expires_at.is_some_and(|at| at <= now) { Err(Refusal::PastExpiry) } else { Ok(()) }
    }

    /// Makes all of it refused, here from now on.
    pub(super) async fn begin(
        &self,
        targets: Vec<Target>,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<Begun, Refusal> {
        self.need_blacklist()?;
        let (mut tokens, mut wide, now) = (Vec::new(), Vec::new(), self.now()?);
        for target in targets {
            match target.or_wide() {
                Ok(token) => tokens.push(token),
                Err(more) => wide.push(more),
            }
        }
        for token in &tokens {
            if let Target::Jti { expires_at, .. } = token {
                Self::check_expiry(*expires_at, now)?;
            }
        }
        for wide in &wide {
            if let Wide::Until { at, .. } = wide {
                Self::check_instant(*at, now)?;
            }
        }
        let mut begun = Begun::default();
        if !tokens.is_empty() {
            let revoked = self.revoke_all(tokens, reason.clone(), actor.clone()).await?;
            begun.report.sessions = revoked.iter().filter(|revoked| revoked.session_ended).count() as u64;
            begun.report.tokens = revoked;
        }
        for wide in wide {
            self.begin_one(&wide, reason.as_deref(), &actor, &mut begun).await?;
        }
        Ok(begun)
    }

    /// The same for one of them. Says whether there was such a thing.
    pub(super) async fn begin_one(
        &self,
        wide: &Wide,
        reason: Option<&str>,
        actor: &Actor,
        begun: &mut Begun,
    ) -> Result<bool, Refusal> {
        let Some(Held { report, rest, committed }) = self.begin_wide(wide, reason, actor).await? else {
            return Ok(false);
        };
        self.inner.metrics.revocations.add(1);
        self.spread(committed).await?;
        begun.report.add(report);
        begun.rests.extend(rest);
        Ok(true)
    }

    /// Does what is left of it.
    pub(super) async fn finish(&self, begun: Begun) -> Result<RevokeReport, Refusal> {
        let Begun { mut report, rests } = begun;
        if rests.is_empty() {
            return Ok(report);
        }
        let mut committed = Vec::new();
        for rest in rests {
            committed.extend(self.finish_wide(&rest, &mut report).await?);
        }
        // A cutoff that names a user otherwise than the tokens do, because nobody knew better, was not all of it.
        self.spread(committed).await?;
        Ok(report)
    }

    /// Revokes single tokens, in one transaction, as a step of another use case.
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
            items.extend(self.item(target, at).await);
        }
        let ends_session = self.settings().blacklist_ends_session;
        let until = |item: &RevokeItem| item.keep_until.max(item.session_keep_until);
        let pending = |item: &RevokeItem| {
            let session = item.session.filter(|_| ends_session && item.kind != Some(TokenKind::Access));
            Pending::of_token(item.jti.clone(), session, item.kind == Some(TokenKind::Refresh), until(item))
        };
        let pending: Vec<Pending> = items.iter().map(pending).collect();
        let ends: Vec<DateTime<Utc>> = items.iter().map(until).collect();
        let order = Revocation { items, reason: reason.clone(), actor: actor.clone(), ends_session, at };
        let revoked = match self.ledger().revoke(order).await {
            Ok(revoked) => revoked,
            Err(error) => {
                // Whoever asked for it does not learn whether it was done, but meant it: here it counts from now on.
                if error.is_uncertain() {
                    self.inner.blacklist.uncertain.note(pending);
                }
                return Err(error.into());
            }
        };
        if reason.as_deref() != Some(own_tokens::REASON) {
            // A user who had revoked it could take that back otherwise.
            let again = revoked.iter().filter(|revoked| revoked.outcome == RevokeOutcome::Already);
            let again: Vec<Jti> = again.map(|revoked| revoked.jti.clone()).collect();
            if !again.is_empty() {
                self.ledger().insist(again, own_tokens::REASON, reason, actor, at).await?;
            }
        }
        let new = revoked.iter().filter(|revoked| revoked.outcome != RevokeOutcome::Already).count();
        self.inner.metrics.revocations.add(new as u64);
        let committed = revoked.iter().zip(ends).map(|(Revoked { jti, session, kind, .. }, until)| {
            Pending::of_token(jti.clone(), *session, *kind == Some(TokenKind::Refresh), until)
        });
        self.spread(committed.collect()).await?;
        if self.inner.blacklist.uncertain.is_any() {
            let certain: Vec<Jti> = revoked.iter().map(|revoked| revoked.jti.clone()).collect();
            self.inner.blacklist.uncertain.confirm(&certain, at);
        }
        let jtis = revoked.iter().map(|revoked| revoked.jti.clone()).collect();
        self.ledger().blacklist_rotated(jtis, at).await?;
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

    pub(super) async fn restore_all(
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
        self.spread(Vec::new()).await?;
        Ok(restored)
    }

    /// What comes between the commit of a revocation and its acknowledgement: this process refuses from then on what was
    /// committed, whoever tells of it or not, and others are woken.
    pub(super) async fn spread(&self, committed: Vec<Pending>) -> Result<(), Refusal> {
        let blacklist = &self.inner.blacklist;
        let (caught_up, ()) = tokio::join!(blacklist.catch_up(), self.ledger().wake_followers());
        if let Err(error) = caught_up {
            blacklist.uncertain.note(committed);
            return Err(error.into());
        }
        blacklist.assure(committed, self.inner.clock.now()).await;
        Ok(())
    }

    /// The same after what was not asked for by whoever waits for the answer. Where it fails, the bound on how old this process's
    /// memory may be holds all the same.
    pub(super) async fn spread_if_possible(&self, committed: Vec<Pending>) {
        if let Err(refusal) = self.spread(committed).await {
            log::warn!("what was committed is not known in memory yet: {}", chain(&refusal));
        }
    }

    /// A single token, as the ledger takes it.
    async fn item(&self, target: Target, at: DateTime<Utc>) -> Option<RevokeItem> {
        Some(match target {
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
            Target::Session(_)
            | Target::User(_)
            | Target::OtherSessions { .. }
            | Target::Everybody
            | Target::Before { .. } => return None,
        })
    }

    /// The key of the token's user, to be recorded with it. Where the users cannot be asked, the revocation goes ahead
    /// without: it matters more.
    async fn owner(&self, token: &Verified) -> Option<UserKey> {
        let account = self.inner.users.by_claim(token.user_id()?).await.ok().flatten()?;
        Some(UserKey::from(account.id.as_str()))
    }

    pub(super) fn need_blacklist(&self) -> Result<(), Refusal> {
        if self.settings().has_blacklist() { Ok(()) } else { Err(Refusal::Misuse(std::sync::Arc::new(BlacklistOff))) }
    }
}

/// Nothing can be revoked while the blacklist is off.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the setting `blacklist` is \"off\": nothing can be revoked")]
struct BlacklistOff;
