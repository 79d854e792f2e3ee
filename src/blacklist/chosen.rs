//! The blacklists that settings and application chose, asked as one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

#[cfg(feature = "redis")]
use super::RedisBlacklist;
use super::{
    BlacklistError, CacheState, CachedBlacklist, DatabaseBlacklist, OwnBlacklist, Pending, Presented, SourceBlacklist,
    Uncertain,
};
use crate::ledger::{Ledger, LedgerError};
#[cfg(feature = "mutants")]
use crate::mutant::{self, Mutant};
use crate::token::Verified;

/// All that is asked about a token.
#[derive(Debug)]
pub(crate) struct Blacklists {
    pub(crate) chosen: Chosen,
    /// What the application refuses beside it.
    pub(crate) source: Option<SourceBlacklist>,
    pub(crate) asked: Option<Asked>,
    /// What may have been revoked here.
    pub(crate) uncertain: Uncertain,
}

/// The one that knows what the ledger refuses.
#[derive(Debug)]
pub(crate) enum Chosen {
    Database(DatabaseBlacklist),
    Cached(CachedBlacklist),
    #[cfg(feature = "redis")]
    Redis(RedisBlacklist),
    Own(Box<OwnBlacklist>),
}

/// A closure of the application's.
#[derive(Clone)]
pub(crate) struct Asked(Arc<dyn Fn(Verified) -> Answer + Send + Sync>);

type Answer = Pin<Box<dyn Future<Output = Result<bool, BlacklistError>> + Send>>;

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}

impl Asked {
    pub(crate) fn new<F, E>(closure: impl Fn(Verified) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self(Arc::new(move |token| {
            let answer = closure(token);
            Box::pin(async move { answer.await.map_err(BlacklistError::of) })
        }))
    }
}

impl Chosen {
    async fn is_blacklisted(&self, token: Presented<'_>) -> Result<bool, BlacklistError> {
        match self {
            Self::Database(database) => boxed(database.is_blacklisted(token)).await,
            Self::Cached(cached) => cached.is_blacklisted(token).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => boxed(redis.is_blacklisted(token)).await,
            Self::Own(own) => boxed(own.is_blacklisted(token)).await,
        }
    }

    /// The ledger of which there is a copy; nothing where that is asked about every token anyway.
    fn copied_ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Database(_) => None,
            Self::Cached(cached) => cached.copied_ledger(),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.copied_ledger(),
            Self::Own(own) => own.copied_ledger(),
        }
    }

    /// Whether the copy refuses the token by what it has itself, however old that is. Nothing, where that cannot be told.
    async fn holds(&self, token: Presented<'_>) -> Option<bool> {
        match self {
            Self::Database(_) => None,
            Self::Cached(cached) => cached.holds(&token).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => boxed(redis.holds(&token)).await,
            Self::Own(own) => boxed(own.holds(&token)).await,
        }
    }

    /// Whether it knows of a revocation.
    async fn knows(&self, pending: &Pending) -> Option<bool> {
        for witness in pending.witnesses() {
            match self.holds(witness).await {
                Some(true) => {}
                other => return other,
            }
        }
        Some(true)
    }

    /// The log does not tell of everything.
    fn missed(&self) {
        match self {
            Self::Database(_) => {}
            Self::Cached(cached) => cached.missed(),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.missed(),
            Self::Own(own) => own.missed(),
        }
    }
}

/// Boxed, so that the many futures that could come here have no room for it, and nobody has to know what it is.
fn boxed<'a, T>(future: impl Future<Output = T> + Send + 'a) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(future)
}

/// Whether the ledger refuses what was revoked, and somebody may still have a token of it. A session that is over stays so for as long
/// as its row does, and is in no copy once all its tokens are dead.
async fn must_refuse(ledger: &Ledger, pending: &Pending, now: DateTime<Utc>) -> Result<bool, LedgerError> {
    if let Some(session) = pending.session_alone()
        && ledger.session_kept_until(session).await?.is_some_and(|end| end <= now)
    {
        return Ok(false);
    }
    ledger.is_refused(pending.witness()).await
}

impl Blacklists {
    /// Whether the token must be refused.
    pub(crate) async fn is_blacklisted(&self, token: &Verified) -> Result<bool, BlacklistError> {
        let answer = self.ask(token).await;
        #[cfg(feature = "mutants")]
        let answer = if mutant::is(Mutant::ErrorsMeanNo) { Ok(answer.unwrap_or(false)) } else { answer };
        answer
    }

    async fn ask(&self, token: &Verified) -> Result<bool, BlacklistError> {
        let presented = Presented::from(token);
        if self.uncertain.refuses(&presented) {
            return Ok(true);
        }
        let refused = match &self.chosen {
            // What is asked below.
            Chosen::Own(_) => false,
            chosen => chosen.is_blacklisted(presented).await?,
        };
        if refused { Ok(true) } else { self.also_refuses(token).await }
    }

    /// Whether the application refuses the token, by its store, its source or its closure, whatever the ledger says.
    pub(crate) async fn also_refuses(&self, token: &Verified) -> Result<bool, BlacklistError> {
        let own = match &self.chosen {
            Chosen::Own(own) => Some(own),
            Chosen::Database(_) | Chosen::Cached(_) => None,
            #[cfg(feature = "redis")]
            Chosen::Redis(_) => None,
        };
        if own.is_none() && self.source.is_none() && self.asked.is_none() {
            return Ok(false);
        }
        let asked = async {
            let presented = Presented::from(token);
            if let Some(own) = own
                && own.is_blacklisted(presented).await?
            {
                return Ok(true);
            }
            if let Some(source) = &self.source
                && source.is_blacklisted(presented).await?
            {
                return Ok(true);
            }
            match &self.asked {
                Some(Asked(closure)) => closure(token.clone()).await,
                None => Ok(false),
            }
        };
        boxed(asked).await
    }

    /// Lets go of what was uncertain, as far as it is known to be refused.
    pub(crate) async fn settle(&self, now: DateTime<Utc>) {
        if !self.uncertain.is_any() {
            return;
        }
        let mut told = Vec::new();
        for pending in self.uncertain.left(now) {
            let is_told = match self.chosen.copied_ledger() {
                Some(ledger) if pending.witnesses().next().is_some() => match self.chosen.knows(&pending).await {
                    Some(false) if pending.is_committed() => {
                        matches!(must_refuse(ledger, &pending, now).await, Ok(false))
                    }
                    known => known == Some(true),
                },
                // A refresh token, of which the ledger is asked wherever it is used.
                Some(ledger) => matches!(ledger.is_refused(pending.witness()).await, Ok(true)),
                None if pending.is_committed() => true,
                None => matches!(self.chosen.is_blacklisted(pending.witness()).await, Ok(true)),
            };
            if is_told {
                told.push(pending);
            }
        }
        self.uncertain.let_go(&told, now);
    }

    /// Makes sure that this process refuses what was committed and brought in by [`catch_up`](Self::catch_up). That reads the log;
    /// and whoever may change the tables may have switched off what writes that.
    pub(crate) async fn assure(&self, committed: Vec<Pending>, now: DateTime<Utc>) {
        let Some(ledger) = self.chosen.copied_ledger() else { return };
        // What these break is to be seen.
        #[cfg(feature = "mutants")]
        if mutant::is(Mutant::NoCatchUp) || mutant::is(Mutant::IdCursor) {
            return;
        }
        let (mut untold, mut unknown) = (Vec::new(), Vec::new());
        // A copy keeps nothing of what is dead by itself.
        for pending in committed.into_iter().filter(|pending| pending.until() > now) {
            match self.chosen.knows(&pending).await {
                Some(true) => {}
                Some(false) => untold.push(pending),
                None => unknown.push(pending),
            }
        }
        if !untold.is_empty() || !unknown.is_empty() {
            boxed(self.refuse_untold(ledger, untold, unknown, now)).await;
        }
    }

    /// Refuses what the copy was not told of, as far as it was not taken back by now, and what it may not be told of.
    async fn refuse_untold(&self, ledger: &Ledger, untold: Vec<Pending>, unknown: Vec<Pending>, now: DateTime<Utc>) {
        let mut missed = Vec::new();
        for pending in untold {
            // If one was missed, so may all be.
            if !missed.is_empty() || !matches!(must_refuse(ledger, &pending, now).await, Ok(false)) {
                missed.push(pending.committed());
            }
        }
        // What is being loaded, or does not answer, hears of it by the log later, if anything writes that.
        let certain = !missed.is_empty();
        if !unknown.is_empty() && !matches!(ledger.visible_log_faults().await, Ok(faults) if faults.is_empty()) {
            missed.extend(unknown.into_iter().map(Pending::committed));
        }
        if missed.is_empty() {
            return;
        }
        log::error!(
            "{} revocations were committed, and {}: they are refused here from now on; other processes hear of them when what feeds \
             the log is there",
            missed.len(),
            if certain { "the log does not tell of them" } else { "it cannot be seen whether the log tells of them" }
        );
        self.uncertain.note(missed);
        self.chosen.missed();
    }

    /// Makes sure that what was committed is refused by this process.
    pub(crate) async fn catch_up(&self) -> Result<(), BlacklistError> {
        match &self.chosen {
            Chosen::Database(_) => Ok(()),
            Chosen::Cached(cached) => cached.catch_up().await,
            #[cfg(feature = "redis")]
            Chosen::Redis(redis) => boxed(redis.catch_up()).await,
            Chosen::Own(own) => own.catch_up().await,
        }
    }

    /// Keeps everything as ledger and application have it, until this is dropped; or the log `in_order`, where nothing reads it.
    pub(crate) async fn follow(&self, in_order: impl Future<Output = ()>) {
        let chosen = async {
            match &self.chosen {
                Chosen::Database(_) => in_order.await,
                Chosen::Cached(cached) => cached.follow().await,
                #[cfg(feature = "redis")]
                Chosen::Redis(redis) => Box::pin(redis.follow()).await,
                Chosen::Own(own) => own.follow().await,
            }
        };
        let source = async {
            if let Some(source) = &self.source {
                source.follow().await;
            }
        };
        tokio::join!(chosen, source);
    }

    /// Waits until it answers, for so long at most.
    pub(crate) async fn loaded_within(&self, most: Duration) {
        match &self.chosen {
            Chosen::Database(_) => {}
            // The ledger answers meanwhile.
            #[cfg(feature = "redis")]
            Chosen::Redis(_) => {}
            Chosen::Cached(cached) => cached.loaded_within(most).await,
            Chosen::Own(own) => own.loaded_within(most).await,
        }
    }

    /// How the copy of what the ledger refuses stands, if there is one.
    pub(crate) fn state(&self) -> Option<CacheState> {
        match &self.chosen {
            Chosen::Database(_) => None,
            Chosen::Cached(cached) => Some(cached.state()),
            #[cfg(feature = "redis")]
            Chosen::Redis(redis) => Some(redis.state()),
            Chosen::Own(own) => Some(own.state()),
        }
    }
}
