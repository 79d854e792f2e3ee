//! Three processes that have the blacklist in memory, on one database; people who revoke in every way there is, others who ask
//! all the time, and somebody who kills and stops whatever runs. Is a revoked token ever accepted when it must not be?
//!
//! | file | what it holds |
//! |---|---|
//! | `cluster` | the database and the processes |
//! | `tokens` | what is revoked, and what is not |
//! | `actors` | those who revoke, ask and flush |
//! | `sessions` | those who end whole sessions |
//! | `nemesis` | what goes wrong |
//! | `history` | what happened, by one clock |
//! | `judge` | what of it must not have happened |
//!
//! 15 seconds for each database; 30 minutes with `SIMPLEJWT_LONG=1`, or `SIMPLEJWT_MINUTES`. `SIMPLEJWT_SEED` repeats a run, as far as the machine lets it.
//! With `SIMPLEJWT_MUTANT` the program has the fault of that name (`src/mutant.rs`), and the run fails unless it is found.
#![expect(clippy::expect_used, clippy::panic, reason = "a test helper that fails should fail the test")]

mod actors;
mod cluster;
mod history;
mod http;
mod judge;
mod nemesis;
mod random;
mod sessions;
#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "../it/support/mod.rs"]
mod support;
#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "../servers/throwaway.rs"]
mod throwaway;
mod tokens;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actors::Stage;
use cluster::{Cluster, SLOTS};
use history::{History, Operation, Outcome, Recorder, Via};
use judge::judge;
use random::Random;
use support::database::Kind;
use tokens::Tokens;

/// The setting `staleness_bound`: the default.
const BOUND: Duration = Duration::from_secs(1);

/// Within what time a process has to answer again, after everything was started once more.
const RECOVERY: Duration = Duration::from_secs(30);

/// How many try at the same time whether a process answers.
const ASKERS: usize = 2;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A run. With a mutant it ends as soon as that is found.
fn run(kind: Kind, seed: u64, time: Duration, mutant: Option<&str>) -> History {
    let recorder = Recorder::new();
    let cluster = Cluster::start(kind, mutant, &recorder);
    let stage = Stage { cluster, recorder, tokens: Tokens::default(), over: AtomicBool::new(false) };
    let mut random = Random::new(seed);
    for _ in 0..20 {
        stage.tokens.spare(&stage.recorder, &mut random);
    }
    // On SQLite nobody else can write while a transaction is open.
    let longest = Duration::from_millis(if kind == Kind::Sqlite { 300 } else { 2000 });
    thread::scope(|scope| {
        let stage = &stage;
        // Also where somebody panics, so that the others come to an end.
        let run = |does: Box<dyn FnOnce() + Send>| {
            scope.spawn(move || {
                let _over = OverIfPanicking(stage);
                does();
            });
        };
        for slot in 0..SLOTS {
            for _ in 0..ASKERS {
                let random = random.split();
                run(Box::new(move || stage.keep_asking(slot, random)));
            }
            let random = random.split();
            run(Box::new(move || stage.keep_posting(slot, random)));
        }
        let [commands, sql, late, flush, nemesis] = [(); 5].map(|()| random.split());
        let [users, reuse, logout] = [(); 3].map(|()| random.split());
        run(Box::new(move || stage.keep_ending_users("grace", users)));
        run(Box::new(move || stage.keep_using_twice(reuse)));
        run(Box::new(move || stage.keep_logging_out(logout)));
        run(Box::new(move || stage.keep_commanding(commands)));
        run(Box::new(move || stage.keep_writing(Via::Sql, Duration::ZERO, sql)));
        run(Box::new(move || stage.keep_writing(Via::LateSql, longest, late)));
        run(Box::new(move || stage.keep_flushing(flush)));
        run(Box::new(move || stage.keep_hurting(nemesis, BOUND)));
        let end = Instant::now() + time;
        while !stage.is_over() && Instant::now() < end {
            stage.pause(Duration::from_secs(1).min(end - Instant::now()));
            // What else is wrong can be told only when everybody has an answer.
            if mutant.is_some() && !judge(&stage.recorder.so_far(), BOUND).stale.is_empty() {
                break;
            }
        }
        stage.over.store(true, Ordering::SeqCst);
    });
    ask_everybody_after_a_restart(&stage);
    stage.recorder.end()
}

/// Ends the run if its thread panics.
struct OverIfPanicking<'a>(&'a Stage);

impl Drop for OverIfPanicking<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.over.store(true, Ordering::SeqCst);
        }
    }
}

/// Each token that was acknowledged, at each process.
fn ask_everybody_after_a_restart(stage: &Stage) {
    (0..SLOTS).for_each(|slot| stage.cluster.kill(slot));
    stage.cluster.kill_database(&stage.recorder);
    (0..SLOTS).for_each(|slot| stage.cluster.restart(slot, &stage.recorder));
    let tokens = stage.tokens.acknowledged(stage.recorder.now());
    let ask = |slot| {
        for token in &tokens {
            let deadline = Instant::now() + RECOVERY;
            while matches!(stage.check(slot, token, Operation::LastCheck), Outcome::Unavailable | Outcome::Unknown) {
                assert!(Instant::now() < deadline, "no answer after everything was started:\n{}", stage.cluster.log());
                thread::sleep(Duration::from_millis(20));
            }
        }
    };
    thread::scope(|scope| (0..SLOTS).for_each(|slot| drop(scope.spawn(move || ask(slot)))));
}

fn seed() -> u64 {
    variable("SIMPLEJWT_SEED")
        .map_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0, |seed| seed.parse().expect("SIMPLEJWT_SEED is a number"))
}

#[expect(clippy::print_stdout, reason = "the figures are for whoever runs it")]
fn nothing_revoked_is_accepted(kind: Kind) {
    let seed = seed();
    println!("{kind:?}: seed {seed}");
    if let Some(mutant) = variable("SIMPLEJWT_MUTANT") {
        return the_fault_is_found(kind, seed, &mutant);
    }
    let minutes = variable("SIMPLEJWT_MINUTES").map(|minutes| minutes.parse().expect("SIMPLEJWT_MINUTES is a number"));
    let minutes = minutes.or(variable("SIMPLEJWT_LONG").map(|_| 30));
    let time = Duration::from_secs(minutes.map_or(15, |minutes: u64| minutes * 60));
    let history = run(kind, seed, time, None);
    let verdict = judge(&history, BOUND);
    println!("{kind:?}: {verdict}");
    assert_eq!(verdict.violations(), 0, "{kind:?}, seed {seed}: {verdict}\n{}", verdict.faults(&history));
    // Otherwise it says nothing.
    for via in Via::ALL {
        assert!(verdict.by(via) > 0, "nothing was acknowledged {via:?}: {verdict}");
    }
    assert!(verdict.accepted > 20 && verdict.refused > 20 && verdict.looks > 20, "{verdict}");
}

/// The checker is worth something only if it finds what is wrong.
#[expect(clippy::print_stdout, reason = "the figures are for whoever runs it")]
fn the_fault_is_found(kind: Kind, seed: u64, mutant: &str) {
    let verdict = judge(&run(kind, seed, Duration::from_secs(120), Some(mutant)), BOUND);
    println!("{kind:?}, {mutant}: {verdict}");
    assert!(verdict.violations() > 0, "{kind:?}, seed {seed}: {mutant} was not found: {verdict}");
}

#[test]
fn sqlite() {
    nothing_revoked_is_accepted(Kind::Sqlite);
}

#[test]
fn postgres() {
    nothing_revoked_is_accepted(Kind::Postgres);
}

#[test]
fn mariadb() {
    nothing_revoked_is_accepted(Kind::Mysql);
}
