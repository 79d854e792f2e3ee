//! One shard of the index against a reader, in every order in which the reader can see what the writer does.
//!
//! The source of the index is compiled here once more, with loom's types for what threads share.
#![expect(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a test helper that fails should fail the test"
)]
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "not all of the index is used")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc as Plainly, Mutex};

use loom::sync::Arc;
use loom::thread;

loom::thread_local! {
    /// Whether this thread is the writer that runs beside a reader.
    static WRITES: Cell<bool> = Cell::new(false);
}

mod sync {
    use std::sync::Arc;

    pub(super) use loom::sync::Mutex;
    pub(super) use loom::sync::atomic::Ordering;

    /// Only the writer reads and writes these.
    pub(super) use std::sync::atomic::AtomicU16;

    /// Loom looks for another order only where a store follows a load by somebody else. If the storing thread has loaded the
    /// value itself in between, it tries nothing. So the writer, who knows what it stored, does not ask loom.
    #[derive(Debug)]
    pub(super) struct AtomicU64 {
        shared: loom::sync::atomic::AtomicU64,
        stored: std::sync::atomic::AtomicU64,
    }

    impl AtomicU64 {
        pub(super) fn new(value: u64) -> Self {
            Self { shared: loom::sync::atomic::AtomicU64::new(value), stored: value.into() }
        }

        pub(super) fn load(&self, order: Ordering) -> u64 {
            if super::WRITES.with(std::cell::Cell::get) {
                self.stored.load(Ordering::Relaxed)
            } else {
                self.shared.load(order)
            }
        }

        pub(super) fn store(&self, value: u64, order: Ordering) {
            self.stored.store(value, Ordering::Relaxed);
            self.shared.store(value, order);
        }
    }

    /// What `arc_swap` promises, and no more: who loads the new one sees what was done before it was stored.
    #[derive(Debug)]
    pub(super) struct ArcSwap<T> {
        /// Loom does not know of this lock, so that nobody becomes up to date by taking it.
        all: std::sync::Mutex<Vec<Arc<T>>>,
        current: AtomicU64,
    }

    impl<T> ArcSwap<T> {
        pub(super) fn new(first: Arc<T>) -> Self {
            Self { all: vec![first].into(), current: AtomicU64::new(0) }
        }

        pub(super) fn load(&self) -> Arc<T> {
            let current = self.current.load(Ordering::Acquire);
            Arc::clone(&self.all.lock().unwrap()[current as usize])
        }

        pub(super) fn load_full(&self) -> Arc<T> {
            self.load()
        }

        pub(super) fn store(&self, next: Arc<T>) {
            let mut all = self.all.lock().unwrap();
            all.push(next);
            let last = all.len() as u64 - 1;
            // Loom may let another thread run now.
            drop(all);
            self.current.store(last, Ordering::Release);
        }
    }
}

#[path = "../src/blacklist/index/group.rs"]
mod group;
#[path = "../src/blacklist/index/storage.rs"]
mod storage;
#[path = "../src/blacklist/index/table.rs"]
mod table;

type Table = table::Table<0, Plain>;

/// Bits of the key itself, so that a test knows where it goes, and every run is like every other.
#[derive(Clone, Copy, Debug)]
struct Plain;

struct PlainHasher(u64);

impl BuildHasher for Plain {
    type Hasher = PlainHasher;

    fn build_hasher(&self) -> PlainHasher {
        PlainHasher(0)
    }
}

impl Hasher for PlainHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64 & 0xffff_ffff_ffff;
    }
}

/// A key with this tag, whose two halves differ.
fn key(tag: u128) -> u128 {
    tag << 32 | tag << 64 | 1
}

/// As many keys as a shard of one group takes before it grows.
const FULL: u128 = 13;

/// A table with so many keys.
fn filled(count: u128) -> Arc<Table> {
    let table = Table::with_hasher(0, Plain);
    for number in 0..count {
        table.insert(key(10 + number), 100);
    }
    Arc::new(table)
}

/// What a reader was told of two keys: of one, of the other, and of the first again.
type Answers = [bool; 3];

/// Lets `write` run beside a reader that asks for these keys. Returns everything that the reader can be told.
fn explore(count: u128, keys: [u128; 2], write: fn(&Table)) -> BTreeSet<Answers> {
    let told = Plainly::new(Mutex::new(BTreeSet::new()));
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.max_branches = 20_000;
    let tell = Plainly::clone(&told);
    model.check(move || {
        let table = filled(count);
        let writer = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                WRITES.with(|writes| writes.set(true));
                write(&table);
            })
        };
        let answers = [keys[0], keys[1], keys[0]].map(|key| table.contains(key));
        tell.lock().unwrap().insert(answers);
        writer.join().unwrap();
    });
    told.lock().unwrap().clone()
}

#[test]
fn a_key_that_is_inserted_appears_once_and_for_all() {
    let told = explore(2, [key(50), key(10)], |table| {
        table.insert(key(50), 100);
        assert!(table.contains(key(50)), "the writer sees it at once");
    });
    let expected = [[false, true, false], [false, true, true], [true, true, true]];
    assert_eq!(told, BTreeSet::from(expected));
}

#[test]
fn nothing_is_missed_while_the_shard_grows() {
    let told = explore(FULL, [key(50), key(22)], |table| table.insert(key(50), 100));
    let expected = [[false, true, false], [false, true, true], [true, true, true]];
    assert_eq!(told, BTreeSet::from(expected));
}

#[test]
fn a_key_that_is_removed_is_gone_for_all_and_its_slot_is_nobody_elses() {
    let told = explore(3, [key(50), key(11)], |table| {
        table.remove(key(11));
        table.insert(key(50), 100);
    });
    // Removed before the other was inserted: who sees that one does not see this one afterwards.
    let expected =
        [[false, false, false], [false, false, true], [false, true, false], [false, true, true], [true, false, true]];
    assert_eq!(told, BTreeSet::from(expected));
}

#[test]
fn nothing_is_missed_while_what_is_over_is_dropped() {
    let told = explore(FULL, [key(10), key(22)], |table| {
        table.insert(key(22), 300);
        table.expire(200);
        assert_eq!(table.census().keys, 1);
    });
    let expected = [[false, true, false], [true, true, false], [true, true, true]];
    assert_eq!(told, BTreeSet::from(expected));
}

#[test]
fn halves_of_two_keys_are_not_taken_for_a_key() {
    // Of the same hash, and with other halves than the vacant slot and than each other.
    const OLD: u128 = 10 << 32 | 1 | 1 << 48 | 1 << 64;
    const NEW: u128 = 10 << 32 | 1 | 2 << 48 | 2 << 64;
    const LOW: u128 = u64::MAX as u128;
    let replaced = explore(0, [NEW & LOW | OLD & !LOW, OLD & LOW | NEW & !LOW], |table| {
        table.insert(OLD, 100);
        table.remove(OLD);
        table.insert(NEW, 100);
    });
    assert_eq!(replaced, BTreeSet::from([[false; 3]]));
    let inserted = explore(1, [NEW & LOW, OLD & LOW], |table| table.insert(NEW, 100));
    assert_eq!(inserted, BTreeSet::from([[false; 3]]));
}
