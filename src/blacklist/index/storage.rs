//! The slots of a shard.
//!
//! A slot that holds a key never changes while readers may look at it. The writer fills a vacant one and then publishes its
//! tag, or buries a tag, each with one store of one word, so that a reader sees the set before or after it.

#![expect(clippy::cast_possible_truncation, reason = "words are taken apart")]

use super::group::{Control, Hash, SLOTS, WORDS};
use super::sync::{AtomicU16, AtomicU64, Ordering};

/// The groups of a block, but for the last of a storage.
const BLOCK: usize = 64;

/// Groups of fifteen slots.
#[derive(Debug)]
pub(super) struct Storage {
    /// The control words of all groups lie together: a lookup that finds nothing reads hardly anything else.
    control: Box<[[AtomicU64; WORDS]]>,
    /// The slots themselves do not: storages come and go in ever other sizes, and the allocator finds no use for the memory of
    /// an old one unless it is in pieces of the size that the new one wants.
    blocks: Box<[Block]>,
}

#[derive(Debug)]
struct Block {
    keys: Box<[[AtomicU64; 2]]>,
    /// Until when each key is kept. Only the writer reads them.
    hours: Box<[AtomicU16]>,
}

impl Block {
    fn new(groups: usize) -> Self {
        Self {
            keys: (0..groups * SLOTS).map(|_| pair()).collect(),
            hours: (0..groups * SLOTS).map(|_| AtomicU16::new(0)).collect(),
        }
    }
}

fn pair() -> [AtomicU64; 2] {
    [AtomicU64::new(0), AtomicU64::new(0)]
}

/// Where a key is: its group, and its slot there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    group: usize,
    slot: usize,
}

impl Storage {
    pub(super) fn new(groups: usize) -> Self {
        Self {
            control: (0..groups).map(|_| pair()).collect(),
            blocks: (0..groups).step_by(BLOCK).map(|first| Block::new(BLOCK.min(groups - first))).collect(),
        }
    }

    /// The bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let group = WORDS * 8 + SLOTS * (16 + 2);
        size_of::<Self>() + self.control.len() * group + self.blocks.len() * size_of::<Block>()
    }

    /// How many groups it has.
    pub(super) fn groups(&self) -> usize {
        self.control.len()
    }

    /// Looks for a key in all groups where it may be.
    #[inline]
    pub(super) fn find(&self, hash: Hash, key: u128) -> Option<Place> {
        let mut group = hash.home(self.control.len());
        for _ in 0..self.control.len() {
            let control = self.control(group);
            if let Some(slot) = control.candidates(hash).find(|slot| self.key(Place { group, slot: *slot }) == key) {
                return Some(Place { group, slot });
            }
            if !control.overflowed(hash) {
                break;
            }
            group = self.after(group);
        }
        None
    }

    /// Puts a key that is not there into the first vacant slot on its way. There must be one.
    pub(super) fn put(&self, hash: Hash, key: u128, hours: u16) {
        let mut group = hash.home(self.control.len());
        loop {
            let control = self.control(group);
            if let Some(slot) = control.vacant() {
                let place = Place { group, slot };
                let [low, high] = self.key_words(place);
                low.store(key as u64, Ordering::Relaxed);
                high.store((key >> 64) as u64, Ordering::Relaxed);
                self.keep(place, hours);
                return self.write(group, control.with_key(slot, hash));
            }
            // Those who look for it shall go on.
            if !control.overflowed(hash) {
                self.write(group, control.with_overflow(hash));
            }
            group = self.after(group);
        }
    }

    /// Takes a key away.
    pub(super) fn bury(&self, place: Place) {
        self.write(place.group, self.control(place.group).with_buried(place.slot));
    }

    /// Until when a key is kept.
    pub(super) fn kept(&self, place: Place) -> u16 {
        self.hours(place).load(Ordering::Relaxed)
    }

    /// Says until when a key is kept.
    pub(super) fn keep(&self, place: Place, hours: u16) {
        self.hours(place).store(hours, Ordering::Relaxed);
    }

    /// The key there.
    #[inline]
    pub(super) fn key(&self, place: Place) -> u128 {
        let [low, high] = self.key_words(place);
        u128::from(high.load(Ordering::Relaxed)) << 64 | u128::from(low.load(Ordering::Relaxed))
    }

    /// Where there are keys.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let live = |group| self.control(group).live().map(move |slot| Place { group, slot });
        (0..self.groups()).flat_map(live)
    }

    #[inline]
    fn control(&self, group: usize) -> Control {
        // Acquire: who sees a tag sees the key that was written before it.
        let [first, second] = &self.control[group];
        Control([first.load(Ordering::Acquire), second.load(Ordering::Acquire)])
    }

    #[inline]
    fn key_words(&self, place: Place) -> &[AtomicU64; 2] {
        &self.blocks[place.group / BLOCK].keys[place.index_in_block()]
    }

    fn hours(&self, place: Place) -> &AtomicU16 {
        &self.blocks[place.group / BLOCK].hours[place.index_in_block()]
    }

    fn write(&self, group: usize, (word, value): (usize, u64)) {
        self.control[group][word].store(value, Ordering::Release);
    }

    #[inline]
    fn after(&self, group: usize) -> usize {
        if group + 1 == self.control.len() { 0 } else { group + 1 }
    }
}

impl Place {
    #[inline]
    fn index_in_block(self) -> usize {
        self.group % BLOCK * SLOTS + self.slot
    }
}
