//! The groups of the index in one array that never grows, with nothing that threads need: no shards, nothing to be exchanged, and
//! no hours. What it takes longer than a `HashSet` is the price of the density.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use crate::group::{Control, Hash, SLOTS, WORDS};

pub(crate) struct Flat {
    hasher: RandomState,
    control: Box<[[u64; WORDS]]>,
    keys: Box<[[u128; SLOTS]]>,
}

impl Flat {
    /// With room for so many keys, as full as the index is on average.
    pub(crate) fn new(count: usize) -> Self {
        let groups = count * 100 / 82 / SLOTS + 1;
        let (control, keys) = (vec![[0; WORDS]; groups], vec![[0; SLOTS]; groups]);
        Self { hasher: RandomState::default(), control: control.into(), keys: keys.into() }
    }

    pub(crate) fn insert(&mut self, key: u128) {
        let hash = Hash(self.hasher.hash_one(key));
        let mut group = hash.home(self.control.len());
        loop {
            let control = Control(self.control[group]);
            if let Some(slot) = control.vacant() {
                self.keys[group][slot] = key;
                let (word, value) = control.with_key(slot, hash);
                self.control[group][word] = value;
                return;
            }
            let (word, value) = control.with_overflow(hash);
            self.control[group][word] = value;
            group = self.after(group);
        }
    }

    #[inline]
    pub(crate) fn contains(&self, key: u128) -> bool {
        let hash = Hash(self.hasher.hash_one(key));
        let mut group = hash.home(self.control.len());
        loop {
            let control = Control(self.control[group]);
            if control.candidates(hash).any(|slot| self.keys[group][slot] == key) {
                return true;
            }
            if !control.overflowed(hash) {
                return false;
            }
            group = self.after(group);
        }
    }

    #[inline]
    fn after(&self, group: usize) -> usize {
        if group + 1 == self.control.len() { 0 } else { group + 1 }
    }
}
