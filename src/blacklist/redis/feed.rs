//! What keeps Redis as the ledger is.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::RedisError;

use super::link::{self, Link};
use super::store::{Found, Head, Progress, Seen, Standing, Write};
use super::trust::Confirmed;
use super::{FOLLOWING, IDLE, Inner, Later, RedisBlacklist};
use crate::blacklist::BlacklistError;
use crate::blacklist::feed::Watch;
use crate::blacklist::freshness::{Moment, now};
use crate::chain::chain;
use crate::ledger::{Ledger, LedgerError, Pull};
use crate::token::{Change, Revocable};

/// How many rows of the log are read at once.
const ROWS: i64 = 5000;

/// How many keys one script writes: Redis does nothing else meanwhile.
const BATCH: usize = 500;

/// How often one step begins anew because others were faster.
pub(super) const TURNS: u32 = 20;

/// For how long a revocation waits for Redis before it is acknowledged.
const CATCH_UP: Duration = Duration::from_millis(500);

/// How often the log is put in order where nobody pulls.
const SEQUENCED: Duration = Duration::from_secs(30);

/// How long to wait after a failure, at first and at most, and how often an outage that goes on is told.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
pub(super) const TOLD: Duration = Duration::from_secs(10);

/// Why Redis is not known to be as the ledger is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("Redis does not answer as it should")]
    Redis(#[from] RedisError),
    #[error("the ledger cannot be asked")]
    Ledger(#[from] LedgerError),
    #[error("Redis throws keys away when its memory is full (maxmemory-policy is {0}): it has to be noeviction")]
    Evicts(String),
    #[error("Redis does not say which server it is (INFO server, INFO stats)")]
    Nameless,
    #[error("another process is loading everything into Redis")]
    Loading,
    #[error("everything has to be loaded into Redis first")]
    Unloaded,
    #[error("nobody who has the ledger feeds this Redis")]
    Unfed,
    #[error("others were faster each time")]
    Busy,
}

/// Puts the blacklist back to asking the ledger, however whoever followed the log came to its end.
struct Following<'a>(&'a Inner);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.stage.store(IDLE, Ordering::Release);
        self.0.trust.forget();
        self.0.link.store(None);
    }
}

impl RedisBlacklist {
    /// Keeps Redis as the ledger is, and this process informed of how that stands, until this is dropped: from then on the ledger
    /// is asked again.
    pub async fn follow(&self) {
        let inner = &*self.inner;
        if inner.stage.compare_exchange(IDLE, FOLLOWING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            log::error!("somebody follows the log for this blacklist already");
            return;
        }
        let _following = Following(inner);
        let all: Later<'_, _> = Box::pin(async {
            tokio::join!(inner.keep_up(), inner.keep_house(), inner.keep_the_log_in_order(), inner.listen());
        });
        all.await;
    }

    /// Takes what was committed before this was called into Redis. Where that cannot be done in time, Redis is not believed by this
    /// process until it could be; so a revocation can be acknowledged in any case.
    ///
    /// # Errors
    /// None: it says so to be like the others.
    pub async fn catch_up(&self) -> Result<(), BlacklistError> {
        let inner = &*self.inner;
        if inner.stage.load(Ordering::Acquire) == IDLE {
            return Ok(());
        }
        let arrived = now();
        // Whoever knows that Redis is out of reach does not try, and has no revocation wait for it.
        if inner.trust.confirmed().is_none() || inner.trust.is_silent() {
            inner.trust.require(arrived);
            return Ok(());
        }
        let taken: Later<'_, _> = Box::pin(inner.take_in(arrived));
        match tokio::time::timeout(CATCH_UP, taken).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(fault)) => inner.noted(&fault),
            Err(_) => inner.trust.set_silent(true),
        }
        inner.trust.require(arrived);
        Ok(())
    }
}

impl Inner {
    /// Takes in what was committed before a moment, unless somebody who waited for the same has done it.
    async fn take_in(&self, arrived: Moment) -> Result<(), Fault> {
        let _turn = self.turn.lock().await;
        if self.trust.confirmed().is_some_and(|confirmed| confirmed.asked > arrived) {
            return Ok(());
        }
        let mut link = self.link().await?;
        self.step(&mut link, false).await
    }

    /// Confirms that Redis is as the ledger is, again and again.
    async fn keep_up(&self) {
        let (mut pause, mut told, mut well) = (AGAIN.0, None::<Instant>, false);
        loop {
            let step = async {
                let _turn = self.turn.lock().await;
                let mut link = self.link().await?;
                self.step(&mut link, true).await
            };
            match step.await {
                Ok(()) => {
                    if !well {
                        log::info!("the blacklist in Redis is up to date");
                    }
                    (pause, told, well) = (AGAIN.0, None, true);
                    self.wait(self.options.poll_interval).await;
                }
                Err(fault) => {
                    self.tally.failed();
                    self.noted(&fault);
                    if told.is_none_or(|at| at.elapsed() >= TOLD) {
                        told = Some(Instant::now());
                        log::warn!("the blacklist in Redis is not believed: {}{}", chain(&fault), self.meanwhile());
                    }
                    well = false;
                    self.wait(pause).await;
                    pause = AGAIN.1.min(pause * 2);
                }
            }
        }
    }

    fn meanwhile(&self) -> &'static str {
        if self.ledger.is_some() { "; the ledger is asked meanwhile" } else { "; no token is accepted meanwhile" }
    }

    /// What follows from a fault.
    fn noted(&self, fault: &Fault) {
        match fault {
            // The next step connects anew: to another server, perhaps.
            Fault::Redis(_) => {
                self.link.store(None);
                self.trust.set_silent(true);
            }
            Fault::Evicts(_) | Fault::Nameless | Fault::Loading | Fault::Unfed => self.trust.forget(),
            // What is known stays known; it is what tells that Redis went back.
            Fault::Ledger(_) | Fault::Unloaded | Fault::Busy => {}
        }
    }

    /// Waits for so long, or until it is woken; but a part of it in any case.
    async fn wait(&self, time: Duration) {
        tokio::time::sleep(time / 4).await;
        let _ = tokio::time::timeout(time / 4 * 3, self.wake.notified()).await;
    }

    /// The connection, made if there is none.
    pub(super) async fn link(&self) -> Result<Link, RedisError> {
        if let Some(link) = self.link.load_full() {
            return Ok((*link).clone());
        }
        let link = Link::new(&self.options.url).await?;
        self.link.store(Some(link.clone().into()));
        Ok(link)
    }

    /// Reads how Redis stands, and the ledger from there on, and writes what has changed, until nothing has.
    async fn step(&self, link: &mut Link, may_load: bool) -> Result<(), Fault> {
        let mut turns = 0;
        while turns < TURNS {
            // Before any question, so that Redis is never thought fresher than it is.
            let asked = now();
            let standing = self.standing(link).await?;
            let head = match &standing.found {
                Found::Head(head) if standing.is_unharmed(head) && !self.has_gone_back(head) => head,
                found => {
                    turns += 1;
                    // What was taken back after the place where the head says it is may not be known here.
                    let from = if let Found::Head(head) = found { head.position.clone() } else { None };
                    self.load(link, &found.seen(), from, may_load).await?;
                    continue;
                }
            };
            let Some(position) = head.position.as_ref().filter(|_| !head.loading) else { return Err(Fault::Loading) };
            let Some(ledger) = &self.ledger else { return self.confirm_by_others(&standing, head, asked) };
            match ledger.revocations_since(position, self.options.retention, ROWS).await? {
                Pull::Reload(why) => {
                    turns += 1;
                    log::warn!("the blacklist is loaded into Redis anew: {why}");
                    self.load(link, &head.seen(), None, may_load).await?;
                }
                Pull::Changes { changes, position: next, more } => {
                    let writes = self.writes(changes);
                    let progress = Progress {
                        position: Some(&next).filter(|next| *next != position),
                        loaded: false,
                        // Who relies on us is to believe no more than we do.
                        asked: (!more && !self.triggers.is_broken()).then_some(standing.time),
                    };
                    let version = self.write(link, (&head.epoch, head.version), false, &writes, &progress).await?;
                    let is_as_it_was = writes.is_empty() && progress.position.is_none();
                    // Where nothing had changed, it does not matter that others have written since.
                    let Some(version) = version.or_else(|| is_as_it_was.then_some(head.version)) else {
                        turns += 1;
                        continue;
                    };
                    if !more {
                        let (epoch, sequence) = (head.epoch.clone(), Some(next.seq));
                        self.trust.confirm(Confirmed { epoch, version, asked, sequence });
                        self.tally.pulled(self.clock.now());
                        return Ok(());
                    }
                }
            }
        }
        Err(Fault::Busy)
    }

    /// Whether an older copy was put in the place of what this process knows.
    fn has_gone_back(&self, head: &Head) -> bool {
        self.trust.confirmed().is_some_and(|known| known.epoch == head.epoch && known.version > head.version)
    }

    /// How Redis stands, if it can be used at all.
    pub(super) async fn standing(&self, link: &mut Link) -> Result<Standing, Fault> {
        let begun = Instant::now();
        let standing = self.store.standing(link).await?;
        if begun.elapsed() <= super::PATIENCE {
            self.trust.set_silent(false);
        }
        if standing.policy != "noeviction" {
            return Err(Fault::Evicts(standing.policy));
        }
        if standing.server.is_empty() || standing.evicted.is_empty() {
            return Err(Fault::Nameless);
        }
        Ok(standing)
    }

    pub(super) async fn probe(&self) -> Result<(), BlacklistError> {
        let look = async {
            let mut link = Link::new(&self.options.url).await?;
            self.standing(&mut link).await
        };
        match look.await {
            Ok(_) => Ok(()),
            Err(fault @ (Fault::Evicts(_) | Fault::Nameless)) => Err(BlacklistError::unsupported(&fault.to_string())),
            Err(fault) => Err(BlacklistError::of(fault)),
        }
    }

    /// Without a ledger: what others say who have one.
    fn confirm_by_others(&self, standing: &Standing, head: &Head, arrived: Moment) -> Result<(), Fault> {
        let age = head.asked.map(|asked| standing.time - asked).and_then(|age| u64::try_from(age).ok());
        let asked = arrived.before(Duration::from_millis(age.ok_or(Fault::Unfed)?));
        let sequence = head.position.as_ref().map(|position| position.seq);
        self.trust.confirm(Confirmed { epoch: head.epoch.clone(), version: head.version, asked, sequence });
        if asked.age() > self.options.staleness_bound { Err(Fault::Unfed) } else { Ok(()) }
    }

    /// Writes in batches, of which the last makes the progress. Nothing, as soon as others have written.
    pub(super) async fn write(
        &self,
        link: &mut Link,
        (epoch, mut version): (&str, u64),
        loading: bool,
        writes: &[Write],
        progress: &Progress<'_>,
    ) -> Result<Option<u64>, Fault> {
        let now = self.clock.now();
        let mut batches = writes.chunks(BATCH).peekable();
        loop {
            let batch = batches.next().unwrap_or_default();
            let is_last = batches.peek().is_none();
            let none = Progress::default();
            let progress = if is_last { progress } else { &none };
            match self.store.apply(link, (epoch, version), loading, batch, progress, now).await? {
                Some(next) if is_last => return Ok(Some(next)),
                Some(next) => version = next,
                None => return Ok(None),
            }
        }
    }

    pub(super) fn writes(&self, changes: Vec<Change>) -> Vec<Write> {
        let keys = &self.store.keys;
        let write = |change: Change| {
            let (key, until) = match change.what {
                Revocable::Token { jti, until } => (keys.token(&jti), until),
                Revocable::Session { id, until } => (keys.session(id), until),
                Revocable::Cutoff { user, not_before, until } => {
                    let key = user.map_or_else(|| keys.everybody(), |user| keys.user(&user));
                    return Write::Cutoff { key, not_before, until };
                }
            };
            if change.refused { Write::Refuse { key, until } } else { Write::Allow { key } }
        };
        changes.into_iter().map(write).collect()
    }

    /// Looks at what feeds the log, each minute and when something was missed, and now and then has one of the processes read
    /// everything once more.
    async fn keep_house(&self) {
        let Some(ledger) = &self.ledger else { return };
        let mut soon = self.looked_at(ledger).await;
        let mut watch = Watch::new(soon);
        loop {
            let everything = watch.next(&self.triggers).await;
            soon = self.looked_at(ledger).await;
            if everything && let Err(fault) = self.read_again_in_turn(ledger).await {
                log::warn!("the blacklist in Redis cannot be compared with the ledger: {}", chain(&fault));
            }
            watch.done(everything, soon).await;
        }
    }

    /// Looks at what feeds the log. Says whether to do it again soon.
    async fn looked_at(&self, ledger: &Ledger) -> bool {
        let Err(fault) = self.mend(ledger).await else { return false };
        log::warn!("whether revocations are told to every process cannot be seen: {}", chain(&fault));
        if let Fault::Ledger(error) = &fault { error.is_transient() } else { true }
    }

    async fn keep_the_log_in_order(&self) {
        let Some(ledger) = &self.ledger else { return };
        loop {
            ledger.sequence_log().await;
            tokio::time::sleep(SEQUENCED).await;
        }
    }

    /// Waits to be told that something was written by others. It is in Redis already; but where a new epoch has begun, the next step
    /// should not wait.
    async fn listen(&self) {
        loop {
            if let Ok((_connection, mut messages)) = link::listen(&self.options.url, &self.store.keys.channel()).await {
                while let Some(message) = messages.recv().await {
                    if message.kind == redis::PushKind::Disconnection {
                        break;
                    }
                    let known = self.trust.confirmed();
                    let says = |epoch: &str| {
                        message.data.last().is_some_and(|said| *said == redis::Value::BulkString(epoch.into()))
                    };
                    if message.kind == redis::PushKind::Message && !known.is_some_and(|known| says(&known.epoch)) {
                        self.tally.woken();
                        self.wake.notify_one();
                    }
                }
            }
            tokio::time::sleep(AGAIN.1).await;
        }
    }
}

impl Standing {
    /// Whether the head was written in this run of this server, and nothing was thrown away since.
    pub(super) fn is_unharmed(&self, head: &Head) -> bool {
        self.server == head.server && self.evicted == head.evicted
    }
}

impl Found {
    pub(super) fn seen(&self) -> Seen {
        match self {
            Self::Nothing(seen) => seen.clone(),
            Self::Head(head) => head.seen(),
        }
    }
}
