//! What finds that copy and ledger do not agree, and mends it: nothing leaves either for that.
//!
//! | what is missing | where it comes from | what happens |
//! |---|---|---|
//! | refused in the ledger, and not in the copy | a row came while triggers were off, or in a way that passes them by | it is taken into the copy |
//! | refused in the copy, and not in the ledger | a backup was restored, another server took over, rows were deleted past the triggers | it stays in the copy, and is written back into the ledger |
//!
//! Both raise an alarm, once. A part of each is looked at every minute, and the whole copy when the log of the ledger went back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use super::{Copied, Follower};
use crate::blacklist::BlacklistError;
use crate::chain::chain;
use crate::ledger::{Actor, PartCursor, Position, Reload, Via, WriteBack};
use crate::token::{Change, Revocable};

/// How many rows of a table, or entries of the copy, are looked at together.
const ROWS: usize = 1000;
const LIMIT: i64 = 1000;

/// What the application keeps has to be told all of it again, as it cannot be asked. Nobody else can tell it anything meanwhile: so
/// many rows at first, and as many more as it takes in such a time.
const FEW: i64 = 10;
const TELLING: Duration = Duration::from_millis(50);

/// How many of them each minute, and for how long: more is left for the next one.
const MOST: (usize, Duration) = (20, Duration::from_millis(250));

/// How many entries of the copy are looked for in a ledger that may be another one.
const SAMPLE: usize = 20_000;

/// How long to wait until what could not be written back is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Where the comparison is, in both directions.
#[derive(Debug)]
pub(in crate::blacklist) struct Round {
    pub(super) ledger: PartCursor,
    copy: Entries,
    /// How many rows are told to what the application keeps.
    few: i64,
}

impl Default for Round {
    fn default() -> Self {
        Self { ledger: PartCursor::default(), copy: Entries::default(), few: FEW }
    }
}

impl Round {
    /// More rows the next time, or fewer.
    fn adapt(&mut self, took: Duration) {
        self.few = if took > TELLING { (self.few / 2).max(1) } else { (self.few * 2).min(LIMIT) };
    }
}

/// Where in the copy.
#[derive(Clone, Copy, Debug, Default)]
struct Entries {
    part: usize,
    /// How many of that part were looked at.
    seen: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Divergence {
    /// How much was missing in the copy.
    repaired: AtomicU64,
    /// How much was missing in the ledger.
    lost: AtomicU64,
    /// The ledger went back: all of the copy has to be looked for in it.
    went_back: AtomicBool,
    /// It is the ledger of somebody else, and this was the name of our log. Nothing of ours is written into it.
    ours: Mutex<Option<String>>,
    told: Notify,
}

impl Divergence {
    pub(super) fn repaired(&self) -> u64 {
        self.repaired.load(Ordering::Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// It has become the ledger of somebody else, where ours had this log.
    pub(super) fn set_foreign(&self, ours: &str) {
        *self.ours.lock().unwrap_or_else(PoisonError::into_inner) = Some(ours.to_owned());
    }

    /// Everything was loaded, or all that is new was read, from a ledger whose log has this name. Ours may be back: also while that of
    /// somebody else was being loaded, of which nothing is left then but that it was there.
    pub(super) fn read_from(&self, log: &str) {
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        if ours.as_deref() == Some(log) {
            *ours = None;
            log::warn!(
                "the database is the one again that it was before; what it has lost is looked for, and written back"
            );
            self.set_went_back();
        }
    }

    /// What the copy knows has to be looked for in the ledger.
    fn set_went_back(&self) {
        self.went_back.store(true, Ordering::Release);
        self.told.notify_one();
    }
}

impl<C: Copied> Follower<C> {
    /// Compares the next part of the ledger with the copy, and the next part of the copy with the ledger.
    pub(in crate::blacklist) async fn compare(&self, round: &mut Round) -> Result<(), BlacklistError> {
        let begun = Instant::now();
        for _ in 0..MOST.0 {
            let (limit, part) = (if C::IS_OURS { LIMIT } else { round.few }, Instant::now());
            // Where it fails, the same part is looked at again.
            let next = self.compare_part(round.ledger.clone(), limit).await?;
            round.adapt(part.elapsed());
            let is_last = next.is_none();
            round.ledger = next.unwrap_or_default();
            if is_last || begun.elapsed() > MOST.1 {
                break;
            }
        }
        if self.divergence.is_foreign() {
            return Ok(());
        }
        // The flush may have deleted what is dead, of which the copy knows only the hour, and sessions as early as their last
        // access token could be bought.
        let certain = TimeDelta::hours(1) + TimeDelta::minutes(1);
        let after = self.clock.now() + certain + self.options.retention.access_lifetime + self.options.retention.margin;
        for _ in 0..MOST.0 {
            let (known, next) = self.entries(round.copy, after);
            self.write_back(known).await?;
            round.copy = next.unwrap_or_default();
            if next.is_none() || begun.elapsed() > 2 * MOST.1 {
                break;
            }
        }
        Ok(())
    }

    /// Takes in what a part of the ledger refuses. Nobody else pulls meanwhile. What the log tells after the part was read is newer:
    /// it comes first, and what it takes back is not taken in. Nothing is counted before all of that was done.
    async fn compare_part(&self, from: PartCursor, limit: i64) -> Result<Option<PartCursor>, BlacklistError> {
        let mut position = self.position.lock().await;
        let part = self.ledger.refused_part(self.options.retention, from, limit).await?;
        let now = self.clock.now();
        let mut refused: Vec<Change> = part.refused.into_iter().filter(|change| change.what.until() > now).collect();
        let mut missing: Vec<Revocable> =
            refused.iter().map(|change| &change.what).filter(|what| !self.copy.knows(what)).cloned().collect();
        let told = |changes: Option<&[Change]>| {
            let Some(changes) = changes else {
                // That is newer, and nobody says what of this was taken back.
                missing.clear();
                refused.clear();
                return;
            };
            missing.retain(|what| !changes.iter().any(|told| told.what.is_same(what)));
            let taken_back: Vec<&Change> = changes.iter().filter(|told| !told.refused).collect();
            refused.retain(|change| !taken_back.iter().any(|told| told.what.is_same(&change.what)));
        };
        self.pull_and_tell(&mut position, told).await?;
        self.copy.take(refused).await?;
        if !missing.is_empty() {
            let count = missing.len() as u64;
            self.divergence.repaired.fetch_add(count, Ordering::Relaxed);
            log::error!(
                "{count} revocations were in the database, and not in the log that tells of them: they are refused here from now \
                 on; see whether its triggers were switched off"
            );
        }
        Ok(part.next)
    }

    /// The next entries that are kept beyond a moment, and where those after them begin.
    fn entries(&self, mut from: Entries, after: DateTime<Utc>) -> (Vec<Revocable>, Option<Entries>) {
        let mut known = Vec::new();
        while let Some(part) = self.copy.part(from.part, after) {
            let (room, left) = (ROWS - known.len(), part.len().saturating_sub(from.seen));
            known.extend(part.into_iter().skip(from.seen).take(room));
            let part = from.part;
            from = if left > room {
                Entries { part, seen: from.seen + room }
            } else {
                Entries { part: part + 1, seen: 0 }
            };
            if known.len() == ROWS {
                return (known, Some(from));
            }
        }
        (known, None)
    }

    /// Looks for what the copy knows in the ledger, and writes back what is missing there and was not taken back.
    async fn write_back(&self, known: Vec<Revocable>) -> Result<u64, BlacklistError> {
        if known.is_empty() {
            return Ok(0);
        }
        let retention = self.options.retention;
        let mut lost = self.ledger.not_refused(retention, known).await?;
        if lost.is_empty() {
            return Ok(0);
        }
        // Somebody may just have taken it off the blacklist. The log says so.
        self.pull(&mut *self.position.lock().await).await?;
        lost.retain(|what| self.copy.knows(what));
        if self.ledger.verifies_only() {
            if !lost.is_empty() {
                log::error!(
                    "the database does not refuse {} tokens, sessions or cutoffs that are refused here: a process that may write \
                     has to put them back",
                    lost.len()
                );
            }
            return Ok(0);
        }
        let mut count = 0;
        // Few enough for one transaction within the usual time.
        for known in lost.chunks(50) {
            let actor = Actor { who: format!("process:{}", std::process::id()), via: Via::Library, address: None };
            let order = WriteBack { known: known.to_vec(), retention, actor, at: self.clock.now() };
            count += self.ledger.write_back(order).await?.len() as u64;
        }
        if count > 0 {
            self.divergence.lost.fetch_add(count, Ordering::Relaxed);
            log::error!(
                "the database had lost {count} revocations: they were written back; whoever was not told of them until now may \
                 have accepted these tokens"
            );
        }
        Ok(count)
    }

    /// The log of the ledger went back, of which everything was read until a position. Gives where to go on from.
    pub(super) async fn went_back(&self, from: &Position, why: Reload) -> Result<Position, BlacklistError> {
        // One that was foreign once is not known by what the copy has, which has taken that in.
        let was_foreign = self.divergence.is_foreign();
        if !was_foreign {
            if why == Reload::Replaced && !self.knows_ours().await? {
                log::error!(
                    "the database knows nothing of what it refused before: what was refused stays refused here, and is not written \
                     into it; restart this process to forget it"
                );
                self.divergence.set_foreign(&from.generation);
            } else {
                log::error!(
                    "the database went back to an older state; what it has lost is looked for, and written back"
                );
                self.divergence.set_went_back();
            }
        }
        let latest = self.load().await?;
        let Some(at) = from.at else { return Ok(latest) };
        // What was written since then is new here, and may take back what is known.
        let earlier = self.ledger.position_at(at).await?;
        // Unless it is yet another one by now: that has to be seen, and loaded.
        Ok(if earlier.generation == latest.generation { earlier } else { latest })
    }

    /// Whether the ledger refuses anything of what the copy has: names are random, so that another one knows none of them.
    async fn knows_ours(&self) -> Result<bool, BlacklistError> {
        let (mut from, mut asked) = (Entries::default(), 0);
        while asked < SAMPLE {
            let (known, next) = self.entries(from, self.clock.now());
            let count = known.len();
            if count > 0 && self.ledger.not_refused(self.options.retention, known).await?.len() < count {
                return Ok(true);
            }
            asked += count;
            let Some(next) = next else { break };
            from = next;
        }
        // Where there is nothing to lose, it may be any.
        Ok(asked == 0)
    }

    /// Writes back what the ledger has lost, whenever it went back.
    pub(super) async fn keep_writing_back(&self) {
        loop {
            self.divergence.told.notified().await;
            while self.divergence.went_back.swap(false, Ordering::AcqRel) && !self.divergence.is_foreign() {
                if let Err(error) = self.write_back_all().await {
                    log::error!("what the database has lost cannot be written back yet: {}", chain(&error));
                    self.divergence.went_back.store(true, Ordering::Release);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn write_back_all(&self) -> Result<(), BlacklistError> {
        // Also what may be dead within the hour: to be too strict does no harm now.
        let now = self.clock.now();
        for number in 0.. {
            let Some(part) = self.copy.part(number, now) else { break };
            for known in part.chunks(ROWS) {
                self.write_back(known.to_vec()).await?;
            }
        }
        Ok(())
    }
}
