//! The index of revocations against a `HashSet<u128>` with the same hash: lookups, memory, and the time to fill it. Beside them the
//! groups of the index alone, which say how much of the difference their density is.
//!
//! `cargo bench --bench index`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench prints, stops where something is wrong, and counts no further than it can"
)]
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "benches share their support, and use a part of the index"
)]

#[path = "support/flat.rs"]
mod flat;
mod support;

// The index is no public interface, so that its source is compiled here once more.
#[path = "../src/blacklist/index/group.rs"]
mod group;
#[path = "../src/blacklist/index/storage.rs"]
mod storage;
#[path = "../src/blacklist/index/sync.rs"]
mod sync;
#[path = "../src/blacklist/index/table.rs"]
mod table;

use std::collections::HashSet;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use flat::Flat;
use foldhash::fast::RandomState;
use support::{Candidate, interleave_cpu, interleave_cpu_without};
use table::Table;

/// How many lookups are one turn's unit.
const UNIT: usize = 1000;

fn main() {
    // A process for each, so that none is given memory that another one has left.
    match env::args().find_map(|word| word.parse().ok()) {
        Some(count) => bench(count),
        None => {
            for count in [0, 1_000_000, 10_000_000] {
                let program = env::current_exe().expect("this program");
                let status = Command::new(program).arg(count.to_string()).status().expect("a process");
                assert!(status.success(), "{status}");
            }
        }
    }
}

fn bench(count: u128) {
    println!("\n{count} keys");
    let (table, took, bytes) = measure(|| {
        let table = Table::new(0);
        (0..count).for_each(|number| table.insert(key(number), 24));
        table
    });
    report("the index", count, took, bytes);
    let (set, took, bytes) = measure(|| {
        let mut set: HashSet<u128, RandomState> = HashSet::default();
        (0..count).for_each(|number| {
            set.insert(key(number));
        });
        set
    });
    report("HashSet<u128>", count, took, bytes);
    let mut flat = Flat::new(count as usize);
    (0..count).for_each(|number| flat.insert(key(number)));
    let all = All { table, set, flat };

    let numbers = (0..1_000_000).map(mix);
    let misses: Vec<u128> = numbers.clone().map(|number| key(u128::from(number) + (1 << 80))).collect();
    if count > 0 {
        let hits: Vec<u128> = numbers.map(|number| key(u128::from(number) % count)).collect();
        compare(&format!("hits among {count}"), &all, &hits);
    }
    compare(&format!("misses among {count}"), &all, &misses);

    let (begun, keys) = (Instant::now(), all.table.census().keys);
    all.table.expire(23);
    println!("\nexpire, nothing is over: {:.0?}", begun.elapsed());
    let begun = Instant::now();
    all.table.expire(24);
    println!("expire, all are over: {:.0?}", begun.elapsed());
    assert_eq!((keys as u128, all.table.census().keys), (count, 0));
}

/// The same keys in each.
struct All {
    table: Table,
    set: HashSet<u128, RandomState>,
    flat: Flat,
}

/// Lookups as a request has them, and back to back. Back to back is another thing: the processor guesses how a lookup ends, and
/// begins the next ones meanwhile, so that it waits for the memory of several at once; what counts then is how many instructions a
/// lookup has. A request has one lookup, and thousands of instructions before the next one: it waits for the memory alone. A call
/// into the system is what keeps two of them apart here, as it ends all guessing, and requests have several; what it takes itself
/// is subtracted.
fn compare(title: &str, all: &All, keys: &[u128]) {
    let agree = |key: &u128| [all.table.contains(*key), all.flat.contains(*key)] == [all.set.contains(key); 2];
    assert!(keys.iter().all(agree));
    let apart = || {
        black_box(rustix::process::getppid());
    };
    let candidates = candidates(all, keys, apart);
    let mut chunks = keys.chunks(UNIT).cycle();
    let beside = Candidate::new("", move || {
        let keys = chunks.next().expect("a cycle has no end");
        black_box(keys.iter().filter(|key| (apart(), **key == 0).1).count());
    });
    interleave_cpu_without(beside, &format!("{UNIT} {title}, each by itself"), candidates, 41, TURN);
    interleave_cpu(&format!("{UNIT} {title}, back to back"), self::candidates(all, keys, || ()), 41, TURN);
}

/// How long a candidate's turn is.
const TURN: Duration = Duration::from_millis(50);

fn candidates<'a>(
    All { table, set, flat }: &'a All,
    keys: &'a [u128],
    between: impl Fn() + Copy + 'a,
) -> Vec<Candidate<'a>> {
    let turns = || keys.chunks(UNIT).cycle();
    let (mut first, mut second, mut third) = (turns(), turns(), turns());
    let plain = Candidate::new("HashSet<u128>, foldhash", move || {
        let keys = first.next().expect("a cycle has no end");
        black_box(keys.iter().filter(|key| (between(), set.contains(key)).1).count());
    });
    let ours = Candidate::new("the index", move || {
        let keys = second.next().expect("a cycle has no end");
        black_box(keys.iter().filter(|key| (between(), table.contains(**key)).1).count());
    });
    let bare = Candidate::new("its groups alone", move || {
        let keys = third.next().expect("a cycle has no end");
        black_box(keys.iter().filter(|key| (between(), flat.contains(**key)).1).count());
    });
    vec![plain, ours, bare]
}

/// A key that looks random, the same in every run.
fn key(number: u128) -> u128 {
    u128::from(mix(number)) << 64 | u128::from(mix(number | 1 << 100))
}

/// What was made, how long that took, and by how much the process grew.
fn measure<T>(make: impl FnOnce() -> T) -> (T, Duration, usize) {
    let (before, begun) = (resident(), Instant::now());
    let done = make();
    (done, begun.elapsed(), resident().saturating_sub(before))
}

fn report(name: &str, count: u128, took: Duration, bytes: usize) {
    let each = bytes as f64 / count.max(1) as f64;
    println!("{name:<44} filled in {took:.2?}, {bytes} bytes resident, {each:.2} each");
}

/// The resident memory of this process.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the proc file system");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line about memory");
    line.trim_end_matches("kB").trim().parse::<usize>().expect("a number") * 1024
}

/// Spreads a key over 64 bits: `SplitMix64`, twice.
fn mix(key: u128) -> u64 {
    finish(finish(key as u64) ^ (key >> 64) as u64)
}

fn finish(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
