//! A set of 128-bit keys, each with the hour until which it is kept. One writer, readers without a lock.
//!
//! At 10 million keys it takes less than 24 bytes a key, where a `HashSet<u128>` takes 28.5 and knows no hours.
//!
//! It is split into shards by hash, each with a storage of its own. What cannot be done in place (to grow, or to get rid of what
//! is buried) the writer does in a new storage, and then exchanges the two; a reader has one or the other.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError};

use foldhash::fast::RandomState;

use super::group::{Hash, SLOTS};
use super::storage::Storage;
use super::sync::{ArcSwap, Mutex};

/// Kept for ever: what does not fit into the hours of a slot.
const FOR_EVER: u16 = u16::MAX;
/// The hours of slots count from a moment that is moved on when it lies further back than this.
const MOVE_ON: i64 = 24 * 30;

/// 2 to the power of `SHARDS` shards.
#[derive(Debug)]
pub(super) struct Table<const SHARDS: u32 = 8, S = RandomState> {
    hasher: S,
    shards: Box<[ArcSwap<Storage>]>,
    /// What only the writer needs to know.
    books: Mutex<Box<[Tally]>>,
}

#[derive(Clone, Debug)]
struct Tally {
    live: usize,
    buried: usize,
    /// The hour that is 0 in the slots, counted since 1970.
    since: i64,
}

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) keys: usize,
    pub(super) bytes: usize,
}

impl Table {
    /// An empty one. Hours more than seven years after `now` are kept for ever.
    pub(super) fn new(now: i64) -> Self {
        Self::with_hasher(now, RandomState::default())
    }
}

impl<const SHARDS: u32, S: BuildHasher> Table<SHARDS, S> {
    /// An empty one with a hash of the caller's choice.
    pub(super) fn with_hasher(now: i64, hasher: S) -> Self {
        let count = 1 << SHARDS;
        let empty = Arc::new(Storage::new(0));
        Self {
            hasher,
            shards: (0..count).map(|_| ArcSwap::new(Arc::clone(&empty))).collect(),
            books: Mutex::new(vec![Tally { live: 0, buried: 0, since: now }; count].into()),
        }
    }

    /// Whether the key is held.
    #[inline]
    pub(super) fn contains(&self, key: u128) -> bool {
        let hash = self.hash(key);
        self.shards[hash.shard(SHARDS)].load().find(hash, key).is_some()
    }

    /// Holds the key until this hour is over (counted since 1970), or longer if it was to be held longer already.
    pub(super) fn insert(&self, key: u128, until: i64) {
        let hash = self.hash(key);
        let number = hash.shard(SHARDS);
        let books = &mut *self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = &mut books[number];
        let hours = tally.hours(until);
        let mut storage = self.shards[number].load_full();
        if let Some(place) = storage.find(hash, key) {
            return storage.keep(place, storage.kept(place).max(hours));
        }
        if tally.live + tally.buried == capacity(storage.groups()) {
            storage = self.rebuild(number, &storage, tally);
        }
        storage.put(hash, key, hours);
        tally.live += 1;
    }

    /// Holds the key no longer.
    pub(super) fn remove(&self, key: u128) {
        let hash = self.hash(key);
        let number = hash.shard(SHARDS);
        let books = &mut *self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let storage = self.shards[number].load();
        if let Some(place) = storage.find(hash, key) {
            storage.bury(place);
            books[number].bury(1);
        }
    }

    /// Lets go of every key whose last hour is not later than `now`.
    pub(super) fn expire(&self, now: i64) {
        for number in 0..self.shards.len() {
            // Another writer gets its turn between two shards.
            let books = &mut *self.books.lock().unwrap_or_else(PoisonError::into_inner);
            self.expire_shard(number, books, now);
        }
    }

    /// The keys of a shard, each with its last hour.
    pub(super) fn part(&self, number: usize) -> Vec<(u128, i64)> {
        let Some(shard) = self.shards.get(number) else { return Vec::new() };
        let books = &*self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let (storage, since) = (shard.load_full(), books[number].since);
        storage.places().map(|place| (storage.key(place), since + i64::from(storage.kept(place)))).collect()
    }

    /// What it holds.
    pub(super) fn census(&self) -> Census {
        let books = &*self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let storages: usize = self.shards.iter().map(|shard| shard.load().bytes()).sum();
        let own = self.shards.len() * (size_of::<ArcSwap<Storage>>() + size_of::<Tally>());
        Census { keys: books.iter().map(|tally| tally.live).sum(), bytes: storages + own + size_of::<Self>() }
    }

    fn expire_shard(&self, number: usize, books: &mut [Tally], now: i64) {
        let storage = self.shards[number].load_full();
        let tally = &mut books[number];
        let past = now - tally.since;
        let step = if past > MOVE_ON { past } else { 0 };
        let mut over = 0;
        for place in storage.places() {
            let hours = storage.kept(place);
            if hours == FOR_EVER {
                continue;
            }
            if i64::from(hours) <= past {
                storage.bury(place);
                over += 1;
            } else if step > 0 {
                // Later than `past`, so that it cannot become negative.
                storage.keep(place, u16::try_from(i64::from(hours) - step).unwrap_or(FOR_EVER));
            }
        }
        tally.bury(over);
        tally.since += step;
        if over > 0 && fitting(tally.live, number, SHARDS) < storage.groups() {
            self.rebuild(number, &storage, tally);
        }
    }

    /// Gives a shard a storage of the size that it needs, without what is buried, and with room for more.
    fn rebuild(&self, number: usize, old: &Storage, tally: &mut Tally) -> Arc<Storage> {
        let new = Arc::new(Storage::new(fitting(tally.live, number, SHARDS)));
        for place in old.places() {
            let key = old.key(place);
            new.put(self.hash(key), key, old.kept(place));
        }
        tally.buried = 0;
        self.shards[number].store(Arc::clone(&new));
        new
    }

    #[inline]
    fn hash(&self, key: u128) -> Hash {
        Hash(self.hasher.hash_one(key))
    }
}

impl Tally {
    /// The hours of a slot that is kept until this hour.
    fn hours(&self, until: i64) -> u16 {
        u16::try_from(until.saturating_sub(self.since).max(0)).unwrap_or(FOR_EVER)
    }

    fn bury(&mut self, count: usize) {
        self.live -= count;
        self.buried += count;
    }
}

/// How many slots may be in use, buried ones included. Above 7/8 lookups become slow.
fn capacity(groups: usize) -> usize {
    groups * SLOTS * 7 / 8
}

/// How many groups a shard should have that holds so many keys and will hold more.
///
/// The sizes are an eighth apart, and not the same in each shard: else all would be at their emptiest together.
fn fitting(live: usize, number: usize, shards: u32) -> usize {
    let wanted = live + live / 16 + 1;
    let small = [1, 2, 4].into_iter().find(|groups| capacity(*groups) >= wanted);
    small.unwrap_or_else(|| {
        // In 1024ths of a group.
        let mut size = 8 * 1024 + ((number * 1024) >> shards);
        while capacity(size / 1024) < wanted {
            size += size / 8;
        }
        size / 1024
    })
}
