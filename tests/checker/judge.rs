//! What of a history must not have happened. Goes through it three times, however long it is.
//!
//! | fault | what it is |
//! |---|---|
//! | stale | accepted by a question that was asked after an acknowledgement of its revocation: at once where the same process gave it, or where the process was started later; after the bound elsewhere |
//! | resurrected | accepted after it had been refused as revoked: at once by the same process, after the bound by another. Who was asked to revoke it and could not say whether he has refuses it, and binds nobody else: they cannot know of what is not committed. How often they accepted it all the same is counted, as `unsure` |
//! | lost | acknowledged, and accepted after everything was ended and started again |
//! | false refusal | refused as revoked before anybody tried to revoke it, or never revoked, in time, and refused for whatever reason |
//! | early | acknowledged, and a connection of somebody else found no row of it |
//! | double | a refresh token that was replaced gave another successor, or any after that one was used |
//!
//! An answer of 503 is never a fault.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use crate::history::{Event, History, Nanos, Operation, Outcome, Process, TokenId, Via};

/// What the judge found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) acknowledged: usize,
    /// How many of them by each way.
    pub(crate) by: HashMap<Via, usize>,
    /// Revocations of which nobody knows whether they happened.
    pub(crate) unknown: usize,
    /// Questions that were answered, by 503 too.
    pub(crate) checks: usize,
    pub(crate) unavailable: usize,
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    pub(crate) stale: Vec<Fault>,
    pub(crate) resurrected: Vec<Fault>,
    /// How often one was accepted where only somebody else refused it, who did not know whether he had revoked it.
    pub(crate) unsure: usize,
    pub(crate) lost: Vec<Fault>,
    pub(crate) false_refusals: Vec<Fault>,
    /// How often somebody looked for a row.
    pub(crate) looks: usize,
    pub(crate) early: Vec<Fault>,
    pub(crate) double: Vec<Fault>,
    /// For how long after its acknowledgement a token was still accepted, for each token and process that was asked after it.
    staleness: Vec<Nanos>,
}

/// An answer that must not have been given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) event: Event,
    /// When what it contradicts was known.
    pub(crate) since: Nanos,
}

/// When something was first said of a token: by anybody, and by each process.
#[derive(Clone, Debug, Default)]
struct First {
    anywhere: Option<Nanos>,
    at: HashMap<Process, Nanos>,
}

impl First {
    fn note(&mut self, process: Option<Process>, at: Nanos) {
        let earlier = |known: Option<Nanos>| Some(known.map_or(at, |known| known.min(at)));
        self.anywhere = earlier(self.anywhere);
        if let Some(process) = process {
            let known = self.at.get(&process).copied();
            self.at.extend(earlier(known).map(|at| (process, at)));
        }
    }

    /// The moment from which `process` had to know of it, where that was before it was asked.
    fn binds(&self, process: Option<Process>, started: Option<Nanos>, bound: Nanos, asked: Nanos) -> Option<Nanos> {
        let anywhere = self.anywhere?;
        let own = process.and_then(|process| self.at.get(&process).copied()).filter(|own| *own < asked);
        // Who began later has read everything that was there.
        let later = started.filter(|started| *started > anywhere).map(|_| anywhere);
        own.or(later).or((anywhere + bound < asked).then_some(anywhere))
    }
}

/// What is known of a token.
#[derive(Clone, Debug, Default)]
struct Known {
    /// When somebody first tried to revoke it.
    tried: Option<Nanos>,
    acknowledged: First,
    refused: First,
    /// Refused by somebody who knew.
    refused_for_sure: First,
    /// Those that were asked to revoke it and did not say that they have, and when they were asked first.
    unsure: HashMap<Process, Nanos>,
}

pub(crate) fn judge(history: &History, bound: Duration) -> Verdict {
    let bound = Nanos::try_from(bound.as_nanos()).expect("a short bound");
    let known = |events: &[Event]| events.iter().map(|event| Fault { event: *event, since: event.invoked }).collect();
    let (early, double) = (known(&history.early), known(&history.doubles));
    let mut verdict = Verdict { looks: history.looks, early, double, ..Verdict::default() };
    let mut tokens = vec![Known::default(); history.in_time_until.len()];
    for event in &history.events {
        let token = &mut tokens[event.token];
        match (event.operation, event.outcome) {
            (Operation::Revoke(via), outcome) => {
                token.tried = Some(token.tried.map_or(event.invoked, |tried| tried.min(event.invoked)));
                if outcome == Outcome::Ok {
                    verdict.acknowledged += 1;
                    *verdict.by.entry(via).or_default() += 1;
                    token.acknowledged.note(event.process, event.returned);
                } else {
                    verdict.unknown += 1;
                    if let (Some(process), Outcome::Unknown | Outcome::Unavailable) = (event.process, outcome) {
                        let asked = token.unsure.entry(process).or_insert(event.invoked);
                        *asked = (*asked).min(event.invoked);
                    }
                }
            }
            (_, Outcome::Refused) => token.refused.note(event.process, event.returned),
            _ => {}
        }
    }
    for event in history.events.iter().filter(|event| event.outcome == Outcome::Refused) {
        let token = &mut tokens[event.token];
        let asked = event.process.and_then(|process| token.unsure.get(&process));
        if matches!(event.operation, Operation::Revoke(_)) || asked.is_some_and(|asked| *asked < event.returned) {
            continue;
        }
        token.refused_for_sure.note(event.process, event.returned);
    }
    let last_kill = history.database_kills.iter().copied().max();
    let mut staleness: HashMap<(TokenId, Process), Nanos> = HashMap::new();
    for event in history.events.iter().filter(|event| !matches!(event.operation, Operation::Revoke(_))) {
        let token = &tokens[event.token];
        let started = event.process.and_then(|process| history.started.get(&process).copied());
        verdict.checks += usize::from(event.outcome != Outcome::Unknown);
        let fault = |since| Fault { event: *event, since };
        if let (Some(process), Some(since)) = (event.process, token.acknowledged.anywhere)
            && since < event.invoked
            && event.outcome != Outcome::Unknown
        {
            let longest = staleness.entry((event.token, process)).or_default();
            let accepted = event.outcome == Outcome::Ok;
            *longest = (*longest).max(if accepted { event.invoked - since } else { 0 });
        }
        match event.outcome {
            Outcome::Ok => {
                verdict.accepted += 1;
                if event.operation == Operation::LastCheck {
                    verdict.lost.extend(token.acknowledged.anywhere.map(fault));
                }
                let binds = |first: &First| first.binds(event.process, started, bound, event.invoked);
                verdict.stale.extend(binds(&token.acknowledged).map(fault));
                // What nobody acknowledged, a database may show and then forget as it is killed.
                let may_be_gone =
                    token.acknowledged.anywhere.is_none() && token.tried.is_some_and(|tried| last_kill > Some(tried));
                if !may_be_gone {
                    let own = event.process.and_then(|process| token.refused.at.get(&process).copied());
                    let own = own.filter(|own| *own < event.invoked);
                    let resurrected = own.or(binds(&token.refused_for_sure));
                    verdict.resurrected.extend(resurrected.map(fault));
                    verdict.unsure += usize::from(resurrected.is_none() && binds(&token.refused).is_some());
                }
            }
            Outcome::Refused | Outcome::Invalid => {
                verdict.refused += 1;
                let untouched = token.tried.is_none_or(|tried| tried > event.returned);
                let in_time = event.returned < history.in_time_until[event.token];
                if untouched && (in_time || event.outcome == Outcome::Refused) {
                    verdict.false_refusals.push(fault(event.invoked));
                }
            }
            Outcome::Unavailable => verdict.unavailable += 1,
            Outcome::Unknown => {}
        }
    }
    verdict.staleness = staleness.into_values().collect();
    verdict.staleness.sort_unstable();
    verdict
}

impl Verdict {
    pub(crate) fn violations(&self) -> usize {
        let seen = self.stale.len() + self.resurrected.len() + self.lost.len() + self.false_refusals.len();
        seen + self.early.len() + self.double.len()
    }

    pub(crate) fn by(&self, via: Via) -> usize {
        self.by.get(&via).copied().unwrap_or_default()
    }

    /// The staleness that so many of a hundred pairs of a token and a process did not exceed.
    fn staleness(&self, percent: usize) -> Duration {
        let rank = (self.staleness.len() * percent).div_ceil(100).saturating_sub(1);
        Duration::from_nanos(self.staleness.get(rank).copied().unwrap_or_default())
    }

    /// A few faults of each kind, in words, and all that was asked and told of their tokens.
    pub(crate) fn faults(&self, history: &History) -> String {
        let kinds = [
            ("stale", &self.stale),
            ("resurrected", &self.resurrected),
            ("lost", &self.lost),
            ("false refusal", &self.false_refusals),
            ("early", &self.early),
            ("double", &self.double),
        ];
        let lines = kinds.iter().flat_map(|(kind, faults)| {
            faults.iter().take(5).map(move |Fault { event, since }| {
                format!("{kind}, {} us after it was known: {event:?}", event.invoked.saturating_sub(*since) / 1000)
            })
        });
        let tokens = kinds.iter().flat_map(|(_, faults)| faults.iter().take(5).map(|fault| fault.event.token));
        let stories = tokens.collect::<BTreeSet<_>>().into_iter().map(|token| story(history, token));
        lines.chain(stories).collect::<Vec<_>>().join("\n")
    }
}

/// All that was asked and told of a token, in the order of the questions; answers that are the same as the one before, by the
/// same process, are only counted.
fn story(history: &History, token: TokenId) -> String {
    let mut events: Vec<&Event> = history.events.iter().filter(|event| event.token == token).collect();
    events.sort_by_key(|event| event.invoked);
    let same = |a: &&Event, b: &&Event| (a.process, a.operation, a.outcome) == (b.process, b.operation, b.outcome);
    let lines = events.chunk_by(same).map(|run| {
        let (first, last) = (run[0], run[run.len() - 1]);
        let Event { process, operation, outcome, invoked, .. } = first;
        let (from, to) = (invoked / 1_000_000, last.returned / 1_000_000);
        let who = process.map_or_else(|| "nobody of ours".to_owned(), |Process(number)| format!("process {number}"));
        format!("  {from} to {to} ms: {operation:?}, {who}: {outcome:?}, {} times", run.len())
    });
    let kills = history.database_kills.iter().map(|at| at / 1_000_000).collect::<Vec<_>>();
    let lines = lines.collect::<Vec<_>>().join("\n");
    format!("token {token} (the database was killed at {kills:?} ms):\n{lines}")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permille = (self.unavailable * 1000).checked_div(self.checks).unwrap_or_default();
        write!(
            f,
            "acked {} (HTTP {}, command line {}, SQL {}, late SQL {}, users {}, reuse {}, logout {}), unknown {}, \
             checks {}, lost {}, stale {}, resurrected {}, unsure {}, false refusals {}, early {} of {}, double {}, \
             staleness p99 {} ms, largest {} ms, 503 {}.{} %",
            self.acknowledged,
            self.by(Via::Http),
            self.by(Via::CommandLine),
            self.by(Via::Sql),
            self.by(Via::LateSql),
            self.by(Via::User),
            self.by(Via::Reuse),
            self.by(Via::Logout),
            self.unknown,
            self.checks,
            self.lost.len(),
            self.stale.len(),
            self.resurrected.len(),
            self.unsure,
            self.false_refusals.len(),
            self.early.len(),
            self.looks,
            self.double.len(),
            self.staleness(99).as_millis(),
            self.staleness(100).as_millis(),
            permille / 10,
            permille % 10,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<Process> = Some(Process(0));
    const B: Option<Process> = Some(Process(1));
    /// Started at 5000 ms.
    const LATE: Option<Process> = Some(Process(2));

    fn ms(milliseconds: u64) -> Nanos {
        milliseconds * 1_000_000
    }

    /// A history of one token, which is in time for a minute.
    fn history(events: &[(Operation, Option<Process>, u64, u64, Outcome)]) -> History {
        History {
            events: events
                .iter()
                .map(|&(operation, process, invoked, returned, outcome)| Event {
                    token: 0,
                    process,
                    operation,
                    invoked: ms(invoked),
                    returned: ms(returned),
                    outcome,
                })
                .collect(),
            started: HashMap::from([(Process(0), 0), (Process(1), 0), (Process(2), ms(5000))]),
            in_time_until: vec![ms(60_000)],
            ..History::default()
        }
    }

    fn verdict(history: &History) -> Verdict {
        judge(history, Duration::from_secs(1))
    }

    /// How many are stale, resurrected, lost, and refused without a reason.
    fn faults(history: &History) -> [usize; 4] {
        let verdict = verdict(history);
        [verdict.stale.len(), verdict.resurrected.len(), verdict.lost.len(), verdict.false_refusals.len()]
    }

    const HTTP: Operation = Operation::Revoke(Via::Http);
    const SQL: Operation = Operation::Revoke(Via::Sql);
    use Operation::{Check, LastCheck};
    use Outcome::{Invalid, Ok, Refused, Unavailable, Unknown};

    #[test]
    fn what_is_promised_is_no_fault() {
        let good = history(&[
            (Check, A, 0, 5, Ok),
            (Check, B, 95, 120, Ok),
            (HTTP, A, 100, 110, Ok),
            (Check, A, 111, 112, Refused),
            // Within the bound, and however late the answer is.
            (Check, B, 1109, 4000, Ok),
            (Check, B, 1111, 1112, Unavailable),
            (Check, B, 1200, 1201, Refused),
            (Check, LATE, 5100, 5200, Unavailable),
            (LastCheck, LATE, 9000, 9001, Refused),
            (LastCheck, LATE, 99_000, 99_001, Invalid),
        ]);
        assert_eq!(faults(&good), [0; 4]);
        assert_eq!(verdict(&good).staleness(100), Duration::from_millis(999));
    }

    #[test]
    fn an_accept_after_the_acknowledgement_is_stale_at_once_where_it_was_given() {
        assert_eq!(faults(&history(&[(HTTP, A, 100, 110, Ok), (Check, A, 111, 112, Ok)])), [1, 0, 0, 0]);
        // Asked before it was acknowledged.
        assert_eq!(faults(&history(&[(HTTP, A, 100, 110, Ok), (Check, A, 109, 112, Ok)])), [0; 4]);
        assert_eq!(faults(&history(&[(HTTP, A, 100, 110, Ok), (Check, B, 111, 112, Ok)])), [0; 4]);
    }

    #[test]
    fn an_accept_beyond_the_bound_is_stale_anywhere() {
        for revoke in [(HTTP, A), (SQL, None)] {
            let asked = |process, at| history(&[(revoke.0, revoke.1, 100, 110, Ok), (Check, process, at, at + 9, Ok)]);
            assert_eq!(faults(&asked(B, 1111)), [1, 0, 0, 0]);
            assert_eq!(faults(&asked(B, 1110)), [0; 4]);
            // Whoever it was that answered.
            assert_eq!(faults(&asked(None, 1111)), [1, 0, 0, 0]);
        }
    }

    #[test]
    fn a_process_that_was_started_later_has_no_excuse() {
        let started = |acknowledged| {
            faults(&history(&[(SQL, None, 100, acknowledged, Ok), (Check, LATE, acknowledged + 50, 9000, Ok)]))
        };
        assert_eq!(started(4990), [1, 0, 0, 0]);
        assert_eq!(started(5010), [0; 4]);
    }

    #[test]
    fn the_order_of_the_record_does_not_matter() {
        let mut stale = history(&[(HTTP, A, 100, 110, Ok), (Check, A, 111, 112, Ok), (Check, B, 3000, 3001, Refused)]);
        stale.events.reverse();
        assert_eq!(faults(&stale), [1, 0, 0, 0]);
    }

    #[test]
    fn an_accept_after_a_refusal_is_a_resurrection() {
        let again = |by, at| {
            faults(&history(&[(SQL, None, 100, 900, Unknown), (Check, A, 200, 210, Refused), (Check, by, at, at, Ok)]))
        };
        assert_eq!(again(A, 211), [0, 1, 0, 0]);
        assert_eq!(again(A, 209), [0; 4]);
        assert_eq!(again(B, 1210), [0; 4]);
        assert_eq!(again(B, 1211), [0, 1, 0, 0]);
        assert_eq!(again(LATE, 5001), [0, 1, 0, 0]);
    }

    #[test]
    fn who_cannot_say_whether_he_has_revoked_it_binds_himself_alone() {
        let revoked = [(HTTP, A, 100, 150, Unavailable), (Check, A, 200, 210, Refused)];
        let then = |more: &[(Operation, Option<Process>, u64, u64, Outcome)]| history(&[&revoked[..], more].concat());
        assert_eq!(faults(&then(&[(Check, A, 211, 212, Ok)])), [0, 1, 0, 0]);
        let elsewhere = then(&[(Check, B, 3000, 3001, Ok), (Check, LATE, 5001, 5002, Ok)]);
        assert_eq!((faults(&elsewhere), verdict(&elsewhere).unsure), ([0; 4], 2));
        // Once another one has refused it, it was revoked.
        let known = then(&[(Check, B, 300, 310, Refused), (Check, B, 311, 312, Ok), (Check, LATE, 5001, 5002, Ok)]);
        assert_eq!((faults(&known), verdict(&known).unsure), ([0, 2, 0, 0], 0));
        // Or was acknowledged, by whomever.
        let again = then(&[(HTTP, B, 220, 230, Ok), (Check, LATE, 5001, 5002, Ok)]);
        assert_eq!((faults(&again), verdict(&again).unsure), ([1, 0, 0, 0], 1));
        // Before it was asked, it knew from others.
        let earlier = history(&[(SQL, None, 0, 10, Unknown), (Check, A, 20, 30, Refused), (Check, B, 3000, 3001, Ok)]);
        assert_eq!((faults(&earlier), verdict(&earlier).unsure), ([0, 1, 0, 0], 0));
    }

    #[test]
    fn what_was_never_acknowledged_may_go_with_a_killed_database() {
        let mut seen =
            history(&[(SQL, None, 100, 900, Unknown), (Check, A, 200, 210, Refused), (Check, LATE, 5001, 5002, Ok)]);
        seen.database_kills = vec![ms(90)];
        assert_eq!(faults(&seen), [0, 1, 0, 0], "killed before anybody tried to revoke it");
        seen.database_kills = vec![ms(800)];
        assert_eq!(faults(&seen), [0; 4]);
        seen.events.push(Event { outcome: Ok, ..seen.events[0] });
        assert_eq!(faults(&seen), [1, 1, 0, 0], "acknowledged after all");
    }

    #[test]
    fn what_is_accepted_in_the_end_is_lost() {
        let end = |revoked| faults(&history(&[(SQL, None, 100, 110, revoked), (LastCheck, LATE, 6000, 6001, Ok)]));
        assert_eq!(end(Ok), [1, 0, 1, 0]);
        assert_eq!(end(Unknown), [0; 4]);
    }

    #[test]
    fn nobody_is_refused_without_a_reason() {
        assert_eq!(faults(&history(&[(Check, A, 0, 5, Refused)])), [0, 0, 0, 1]);
        assert_eq!(faults(&history(&[(Check, A, 0, 5, Invalid)])), [0, 0, 0, 1]);
        assert_eq!(faults(&history(&[(Check, A, 0, 5, Unavailable)])), [0; 4]);
        assert_eq!(faults(&history(&[(Check, A, 0, 5, Refused), (SQL, None, 6, 9, Ok)])), [0, 0, 0, 1], "too early");
        assert_eq!(faults(&history(&[(Check, A, 0, 7, Refused), (SQL, None, 6, 9, Unknown)])), [0; 4]);
        assert_eq!(faults(&history(&[(Check, A, 61_000, 61_001, Invalid)])), [0; 4], "expired");
        assert_eq!(faults(&history(&[(Check, A, 61_000, 61_001, Refused)])), [0, 0, 0, 1], "and never revoked");
    }

    #[test]
    fn the_verdict_counts() {
        let verdict = verdict(&history(&[
            (HTTP, A, 100, 110, Ok),
            (SQL, None, 100, 110, Unknown),
            (Check, A, 120, 130, Refused),
            (Check, B, 130, 140, Ok),
            (Check, B, 140, 150, Unavailable),
            (Check, B, 150, 160, Unknown),
        ]));
        assert_eq!(
            verdict.to_string(),
            "acked 1 (HTTP 1, command line 0, SQL 0, late SQL 0, users 0, reuse 0, logout 0), unknown 1, checks 3, \
             lost 0, stale 0, resurrected 0, unsure 0, false refusals 0, early 0 of 0, double 0, staleness p99 20 ms, \
             largest 20 ms, 503 33.3 %"
        );
        assert_eq!(verdict.violations(), 0);
    }

    #[test]
    fn what_was_acknowledged_without_a_row_and_a_second_successor_are_faults() {
        let mut good = history(&[(HTTP, A, 100, 110, Ok)]);
        good.looks = 1;
        assert_eq!(verdict(&good).violations(), 0);
        let event = good.events[0];
        let early = verdict(&History { early: vec![event], ..good.clone() });
        assert_eq!((early.violations(), early.faults(&good).contains("early")), (1, true));
        let told = early.faults(&good);
        assert!(told.contains("100 to 110 ms: Revoke(Http), process 0: Ok, 1 times"), "{told}");
        let double = verdict(&History { doubles: vec![event], ..good.clone() });
        assert_eq!((double.violations(), double.faults(&good).contains("double")), (1, true));
    }
}
