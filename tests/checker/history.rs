//! What happened: one record of everything that anybody asked and was told, by one clock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A moment, in nanoseconds since the record was begun. All processes run on this machine, so that moments compare.
pub(crate) type Nanos = u64;

/// The number of a token.
pub(crate) type TokenId = usize;

/// A process of ours, from its start to its end. What is started again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process(pub(crate) u32);

/// How somebody tries to have a token refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Via {
    Http,
    CommandLine,
    Sql,
    /// In a transaction that stays open for a while.
    LateSql,
    /// Everything of a user at once, on the command line.
    User,
    /// By a refresh token that was used before, over HTTP: it ends its session.
    Reuse,
    /// Over HTTP.
    Logout,
}

impl Via {
    pub(crate) const ALL: [Self; 7] =
        [Self::Http, Self::CommandLine, Self::Sql, Self::LateSql, Self::User, Self::Reuse, Self::Logout];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Revoke(Via),
    /// Whether the token is good.
    Check,
    /// The same, after everything was ended and started again.
    LastCheck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The revocation is acknowledged, or the token accepted.
    Ok,
    /// The token is refused, as one that was revoked.
    Refused,
    /// The token is refused for another reason.
    Invalid,
    /// 503.
    Unavailable,
    /// No answer, or none that says whether it was done.
    Unknown,
}

/// A question and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) token: TokenId,
    /// Who was asked; nobody, where it was not a process of ours, or one that may have been killed meanwhile.
    pub(crate) process: Option<Process>,
    pub(crate) operation: Operation,
    pub(crate) invoked: Nanos,
    pub(crate) returned: Nanos,
    pub(crate) outcome: Outcome,
}

/// Everything that the judge looks at.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    /// When each process was started, or rather before it was.
    pub(crate) started: HashMap<Process, Nanos>,
    /// Up to when tokens are in time, where they are known to be.
    pub(crate) in_time_until: Vec<Nanos>,
    /// When the database server was back after it was killed.
    pub(crate) database_kills: Vec<Nanos>,
    /// How often somebody looked for the row of what had been acknowledged.
    pub(crate) looks: usize,
    /// Acknowledged, and without a row.
    pub(crate) early: Vec<Event>,
    /// Refresh tokens that gave a second successor.
    pub(crate) doubles: Vec<Event>,
}

/// Writes it all down.
pub(crate) struct Recorder {
    begun: Instant,
    history: Mutex<History>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), history: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Nanos {
        u64::try_from(self.begun.elapsed().as_nanos()).expect("a run of less than 500 years")
    }

    /// Asks, and records what the answer was. The process is known for certain only afterwards.
    pub(crate) fn ask(
        &self,
        token: TokenId,
        operation: Operation,
        question: impl FnOnce() -> (Option<Process>, Outcome),
    ) -> Event {
        self.ask_about_all(&[token], operation, question).remove(0)
    }

    /// The same of a question about several tokens.
    pub(crate) fn ask_about_all(
        &self,
        tokens: &[TokenId],
        operation: Operation,
        question: impl FnOnce() -> (Option<Process>, Outcome),
    ) -> Vec<Event> {
        let invoked = self.now();
        let (process, outcome) = question();
        let returned = self.now();
        let event = |token: &TokenId| Event { token: *token, process, operation, invoked, returned, outcome };
        let events: Vec<Event> = tokens.iter().map(event).collect();
        self.with(|history| history.events.extend(&events));
        events
    }

    /// Whether there was a row of what had been acknowledged.
    pub(crate) fn looked(&self, event: Event, found: bool) {
        self.with(|history| {
            history.looks += 1;
            history.early.extend(Some(event).filter(|_| !found));
        });
    }

    /// A refresh token gave a second successor.
    pub(crate) fn doubled(&self, event: Event) {
        self.with(|history| history.doubles.push(event));
    }

    /// A new process, which is about to be started.
    pub(crate) fn starting(&self) -> Process {
        let now = self.now();
        self.with(|history| {
            let process = Process(u32::try_from(history.started.len()).expect("few processes"));
            history.started.insert(process, now);
            process
        })
    }

    pub(crate) fn database_was_killed(&self) {
        let now = self.now();
        self.with(|history| history.database_kills.push(now));
    }

    pub(crate) fn token(&self, in_time_until: Nanos) -> TokenId {
        self.with(|history| {
            history.in_time_until.push(in_time_until);
            history.in_time_until.len() - 1
        })
    }

    pub(crate) fn end(self) -> History {
        self.history.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of what was recorded so far.
    pub(crate) fn so_far(&self) -> History {
        self.with(|history| history.clone())
    }

    fn with<T>(&self, does: impl FnOnce(&mut History) -> T) -> T {
        does(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
