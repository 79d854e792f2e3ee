//! A map by text, for what is rare: readers have a map that never changes, and whoever changes it makes another one.
//!
//! It is split, so that a change copies only a part. A batch of changes copies each part at most once.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use foldhash::quality::RandomState;

use super::Size;

/// How many parts there are.
const PARTS: usize = 256;

type Part<V> = HashMap<Arc<str>, V, RandomState>;

/// An exact map by text.
#[derive(Debug)]
pub(super) struct TextMap<V> {
    hasher: RandomState,
    parts: Box<[ArcSwap<Part<V>>]>,
    entries: AtomicUsize,
    /// Held by whoever changes something.
    writer: Mutex<()>,
}

impl<V: Copy> TextMap<V> {
    pub(super) fn new() -> Self {
        let empty = Arc::new(Part::default());
        Self {
            hasher: RandomState::default(),
            parts: (0..PARTS).map(|_| ArcSwap::new(Arc::clone(&empty))).collect(),
            entries: AtomicUsize::new(0),
            writer: Mutex::new(()),
        }
    }

    /// What is under this text.
    #[inline]
    pub(super) fn get(&self, text: &str) -> Option<V> {
        if self.entries.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.parts[self.part(text)].load().get(text).copied()
    }

    /// Puts something under each text, joined with what is there, or takes it away.
    pub(super) fn change(&self, changes: Vec<(Arc<str>, Option<V>)>, join: impl Fn(V, V) -> V) {
        let mut by_part: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for change in changes {
            by_part.entry(self.part(&change.0)).or_default().push(change);
        }
        for (part, changes) in by_part {
            self.replace(part, |map| {
                for (text, value) in changes {
                    match value {
                        Some(value) => {
                            map.entry(text).and_modify(|old| *old = join(*old, value)).or_insert(value);
                        }
                        None => {
                            map.remove(&text);
                        }
                    }
                }
            });
        }
    }

    /// Takes away what is not to be kept.
    pub(super) fn retain(&self, keep: impl Fn(&V) -> bool) {
        for part in 0..PARTS {
            if !self.parts[part].load().values().all(&keep) {
                self.replace(part, |map| map.retain(|_, value| keep(value)));
            }
        }
    }

    /// What is in a part of it.
    pub(super) fn entries(&self, number: usize) -> Vec<(Arc<str>, V)> {
        let part = self.parts.get(number).map(ArcSwap::load_full).unwrap_or_default();
        part.iter().map(|(text, value)| (Arc::clone(text), *value)).collect()
    }

    pub(super) fn size(&self) -> Size {
        let mut size = Size { entries: 0, bytes: size_of::<Self>() + PARTS * size_of::<ArcSwap<Part<V>>>() };
        for part in self.parts.iter().map(ArcSwap::load) {
            size.entries += part.len();
            // One byte of control for each, and the two counts of an `Arc`.
            size.bytes += part.capacity() * (size_of::<(Arc<str>, V)>() + 1);
            size.bytes += part.keys().map(|text| text.len() + 16).sum::<usize>();
        }
        size
    }

    fn replace(&self, part: usize, change: impl FnOnce(&mut Part<V>)) {
        let _alone = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.parts[part].load_full();
        let mut map = (*old).clone();
        change(&mut map);
        let (before, after) = (old.len(), map.len());
        self.parts[part].store(Arc::new(map));
        self.entries.fetch_add(after, Ordering::Release);
        self.entries.fetch_sub(before, Ordering::Release);
    }

    #[inline]
    fn part(&self, text: &str) -> usize {
        // The top bits, for the map in there uses the others.
        (self.hasher.hash_one(text) >> 56) as usize % PARTS
    }
}
