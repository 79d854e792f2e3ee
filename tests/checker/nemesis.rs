//! Kills, stops, and starts again: one mischief at a time, two of them now and then.

use std::thread;
use std::time::Duration;

use crate::actors::Stage;
use crate::cluster::SLOTS;
use crate::history::{Nanos, Operation};
use crate::random::Random;
use crate::throwaway::signal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mischief {
    /// Kills a process and starts it again.
    Kill,
    /// Stops a process for a while.
    Stop,
    /// Stops one, and kills another meanwhile.
    StopAndKill,
    /// Stops the database server for a while.
    FreezeDatabase,
    /// Kills it and starts it again.
    KillDatabase,
}

const ALL: [Mischief; 8] = [
    Mischief::Kill,
    Mischief::Kill,
    Mischief::Stop,
    Mischief::Stop,
    Mischief::Stop,
    Mischief::StopAndKill,
    Mischief::FreezeDatabase,
    Mischief::KillDatabase,
];

/// What is asked of a process that wakes up, before it does anything else.
const AMBUSH: usize = 8;

impl Stage {
    /// Goes through all of it, in an order that chance decides, until the end. Everything runs again when it returns.
    pub(crate) fn keep_hurting(&self, mut random: Random, bound: Duration) {
        loop {
            let mut deck = ALL.to_vec();
            deck.retain(|mischief| {
                self.cluster.has_server() || !matches!(mischief, Mischief::FreezeDatabase | Mischief::KillDatabase)
            });
            random.shuffle(&mut deck);
            for mischief in deck {
                self.pause(random.millis(200, 1200));
                if self.is_over() {
                    return;
                }
                self.hurt(mischief, &mut random, bound);
            }
        }
    }

    fn hurt(&self, mischief: Mischief, random: &mut Random, bound: Duration) {
        let (slot, other) = (random.below(SLOTS), random.below(SLOTS - 1));
        let other = (slot + 1 + other) % SLOTS;
        match mischief {
            Mischief::Kill => self.kill(slot, random),
            Mischief::Stop => self.stop(slot, random.millis(100, 3000), bound, || {}),
            Mischief::StopAndKill => {
                let time = random.millis(100, 3000);
                self.stop(slot, time, bound, || self.kill(other, random));
            }
            Mischief::FreezeDatabase => self.cluster.with_host(|host| {
                host.freeze();
                thread::sleep(random.millis(100, 3000));
                host.thaw();
            }),
            Mischief::KillDatabase => self.cluster.kill_database(&self.recorder),
        }
    }

    fn kill(&self, slot: usize, random: &mut Random) {
        self.cluster.kill(slot);
        thread::sleep(random.millis(0, 500));
        self.cluster.restart(slot, &self.recorder);
    }

    fn stop(&self, slot: usize, time: Duration, bound: Duration, meanwhile: impl FnOnce()) {
        let pid = self.cluster.pid(slot);
        let stopped = self.recorder.now();
        signal(pid, "STOP");
        meanwhile();
        let nanos = |time: Duration| Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX);
        thread::sleep(time.saturating_sub(Duration::from_nanos(self.recorder.now() - stopped)));
        // What it may not accept any more is asked before it wakes up: these questions are the first that it reads.
        let known = self.recorder.now().saturating_sub(nanos(bound));
        let tokens = self.tokens.acknowledged_between(stopped, known, AMBUSH);
        thread::scope(|scope| {
            for token in &tokens {
                scope.spawn(|| self.check(slot, token, Operation::Check));
            }
            if !tokens.is_empty() {
                thread::sleep(Duration::from_millis(50));
            }
            signal(pid, "CONT");
        });
    }
}
