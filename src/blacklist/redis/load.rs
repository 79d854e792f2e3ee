//! Everything that the ledger refuses, brought into Redis.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use uuid::Uuid;

use super::Inner;
use super::feed::{Fault, TOLD, TURNS};
use super::link::Link;
use super::store::{Found, Progress, Seen, Write};
use crate::ledger::{Ledger, Position};
use crate::token::Change;

/// How often one of the processes reads everything once more.
const READ_AGAIN: Duration = Duration::from_secs(600);

impl Inner {
    /// Loads everything that the ledger refuses, beside what is there already: nothing is forgotten because the ledger does not
    /// know it any more. Nobody believes Redis meanwhile.
    ///
    /// Afterwards the log is read on from a position, or from where the load began. An earlier one does no harm.
    pub(super) async fn load(
        &self,
        link: &mut Link,
        seen: &Seen,
        from: Option<Position>,
        may: bool,
    ) -> Result<(), Fault> {
        let Some(ledger) = &self.ledger else { return Err(Fault::Unfed) };
        if !may {
            return Err(Fault::Unloaded);
        }
        self.trust.forget();
        let epoch = Uuid::new_v4().simple().to_string();
        if !self.store.begin(link, seen, &epoch, from.as_ref()).await? {
            return Ok(());
        }
        self.tally.reloaded();
        let loaded = self.load_into(link, ledger, &epoch, from.as_ref()).await;
        if loaded.is_err() {
            self.store.give_up(link, &epoch, from.as_ref()).await;
        }
        loaded
    }

    async fn load_into(
        &self,
        link: &mut Link,
        ledger: &Ledger,
        epoch: &str,
        from: Option<&Position>,
    ) -> Result<(), Fault> {
        let begun = Instant::now();
        let (at_work, mut told) = (Mutex::new((link, 1)), begun);
        let sink = |changes: Vec<Change>, rows: u64| {
            self.loaded.store(rows, Ordering::Relaxed);
            if told.elapsed() >= TOLD {
                told = Instant::now();
                log::info!("loading the blacklist into Redis: {rows} rows so far");
            }
            let (writes, at_work) = (self.writes(changes), &at_work);
            async move {
                let (link, version) = &mut *at_work.lock().await;
                let written = self.write(link, (epoch, *version), true, &writes, &Progress::default()).await?;
                *version = written.ok_or(Fault::Busy)?;
                Ok::<_, Fault>(())
            }
        };
        let beginning = ledger.load_revocations(self.clock.now(), self.options.retention, sink).await?;
        let (link, version) = at_work.into_inner();
        let position = Some(from.map_or(&beginning, |from| earlier(from, &beginning)));
        let progress = Progress { position, loaded: true, asked: None };
        self.write(link, (epoch, version), true, &[], &progress).await?.ok_or(Fault::Busy)?;
        let (rows, took) = (self.loaded.load(Ordering::Relaxed), begun.elapsed());
        log::info!("the blacklist is in Redis: {rows} rows, loaded in {:.1} s", took.as_secs_f64());
        Ok(())
    }

    /// Puts back what feeds the log, where it was lost, and has everything loaded then. Until that is done, Redis is not believed.
    pub(super) async fn mend(&self, ledger: &Ledger) -> Result<(), Fault> {
        if !self.triggers.look(ledger, &self.tally).await? {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let mut link = self.link().await?;
        let found = self.standing(&mut link).await?.found;
        self.load(&mut link, &found.seen(), None, true).await?;
        self.triggers.loads();
        self.triggers.loaded();
        Ok(())
    }

    pub(super) async fn read_again_in_turn(&self, ledger: &Ledger) -> Result<(), Fault> {
        let mut link = self.link().await?;
        let every = u64::try_from(READ_AGAIN.as_millis()).unwrap_or(u64::MAX);
        if self.trust.confirmed().is_some() && self.store.claim_reading_again(&mut link, every).await? {
            self.read_again(&link, ledger).await?;
        }
        Ok(())
    }

    /// Finds what triggers cannot tell of, and what somebody has taken out of Redis. What is taken off the blacklist meanwhile may be
    /// put there again by a page that was read before; so the log is read from where this began once more.
    async fn read_again(&self, link: &Link, ledger: &Ledger) -> Result<(), Fault> {
        let sink = |changes: Vec<Change>, _| {
            let (writes, mut link) = (self.writes(changes), link.clone());
            async move { self.add(&mut link, &writes, None).await }
        };
        let beginning = ledger.load_revocations(self.clock.now(), self.options.retention, sink).await?;
        self.add(&mut link.clone(), &[], Some(&beginning)).await
    }

    /// Writes at whatever version it is, and perhaps goes back to a position.
    async fn add(&self, link: &mut Link, writes: &[Write], back: Option<&Position>) -> Result<(), Fault> {
        for _ in 0..TURNS {
            let _turn = self.turn.lock().await;
            let standing = self.standing(link).await?;
            let (head, at) = match &standing.found {
                Found::Head(head) if standing.is_unharmed(head) && !head.loading => (head, &head.position),
                // It is loaded anyway.
                _ => return Err(Fault::Loading),
            };
            let position = back.zip(at.as_ref()).map(|(back, at)| earlier(back, at));
            let progress = Progress { position, ..Progress::default() };
            if self.write(link, (&head.epoch, head.version), false, writes, &progress).await?.is_some() {
                return Ok(());
            }
        }
        Err(Fault::Busy)
    }
}

/// Of two positions that from which more is read, if they are of one log; otherwise the second.
fn earlier<'a>(one: &'a Position, other: &'a Position) -> &'a Position {
    if one.generation == other.generation && one.seq < other.seq { one } else { other }
}
