//! When each session was last used, and from where, without a write for each request.
//!
//! A request looks at one number, and goes on: only the first one of a session within `last_used_interval` leaves a note. Notes wait in
//! memory, one for each session, and are written together. Memory is bounded; what finds no room, or would have to wait for a lock,
//! is dropped and counted: it is a display, and no revocation depends on it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;

use super::Simplejwt;
use super::metrics::Count;
use crate::chain::chain;
use crate::ledger::SessionUse;
use crate::settings::Span;
use crate::token::{SessionId, Verified};

/// How many sessions it is remembered of that they left a note.
const NOTED: usize = 1 << 15;

/// How many parts the waiting notes are in, so that those who leave one seldom meet.
const PARTS: usize = 16;

/// How many notes one part holds.
const PART: usize = 4096;

/// How many notes are written in one transaction.
const WRITTEN: usize = 500;

/// How often notes are written, at the longest.
const WRITE: Duration = Duration::from_secs(60);

/// A note: when, and from where.
type Note = (DateTime<Utc>, Option<IpAddr>);

/// The uses that this process has seen.
#[derive(Debug)]
pub(super) struct Uses {
    /// In seconds.
    interval: i64,
    /// Of a session that left a note: some of its hash, and in which interval that was.
    noted: Box<[AtomicU64]>,
    waiting: [Mutex<HashMap<SessionId, Note>>; PARTS],
    hasher: RandomState,
    pub(super) counts: Counts,
}

/// What became of the notes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written: Count,
    pub(super) dropped: Count,
    pub(super) transactions: Count,
}

impl Uses {
    /// None where nothing is noted.
    pub(super) fn new(interval: Span) -> Option<Self> {
        (interval > Span::default()).then(|| Self {
            interval: interval.as_secs(),
            noted: std::iter::repeat_with(AtomicU64::default).take(NOTED).collect(),
            waiting: Default::default(),
            hasher: RandomState::default(),
            counts: Counts::default(),
        })
    }

    /// Notes a use, if the session has left no note yet in this interval.
    fn note(&self, session: SessionId, at: DateTime<Utc>, address: Option<IpAddr>) {
        let hash = self.hasher.hash_one(session);
        // Not all sessions at the same moment.
        let shifted = at.timestamp().unsigned_abs() + hash % self.interval.unsigned_abs();
        let mark = (hash & !0xff_ffff) | (shifted / self.interval.unsigned_abs()) & 0xff_ffff;
        let place = &self.noted[usize::try_from(hash % NOTED as u64).unwrap_or_default()];
        if place.load(Ordering::Relaxed) == mark {
            return;
        }
        place.store(mark, Ordering::Relaxed);
        self.leave(session, (at, address), hash);
    }

    fn leave(&self, session: SessionId, note: Note, hash: u64) {
        let part = &self.waiting[usize::try_from(hash >> 60).unwrap_or_default() % PARTS];
        // Nobody waits: who holds it is writing at the moment, or leaves a note too.
        let Ok(mut notes) = part.try_lock() else { return self.counts.dropped.add(1) };
        let full = notes.len() >= PART;
        match notes.entry(session) {
            Entry::Occupied(mut waiting) => {
                if waiting.get().0 < note.0 {
                    waiting.insert(note);
                }
            }
            Entry::Vacant(_) if full => self.counts.dropped.add(1),
            Entry::Vacant(free) => drop(free.insert(note)),
        }
    }

    /// All that waits, in the order in which it is written: two processes that write the same sessions do not wait for each other
    /// in a circle.
    fn take(&self) -> Vec<(SessionId, Note)> {
        let take = |part: &Mutex<HashMap<_, _>>| {
            std::mem::take(&mut *part.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
        };
        let mut notes: Vec<_> = self.waiting.iter().flat_map(take).collect();
        notes.sort_unstable_by_key(|(session, _)| *session);
        notes
    }
}

impl Simplejwt {
    /// Notes that the session of a token is in use, by a request from this address.
    pub(crate) fn note_use(&self, token: &Verified, address: Option<IpAddr>) {
        let Some(uses) = &self.inner.uses else { return };
        if let (Some(session), Ok(now)) = (token.session(), self.now()) {
            uses.note(session, now, address);
        }
    }

    /// Writes down, every so often, when sessions were last used, until this is dropped. The fairing does it between liftoff and
    /// shutdown.
    pub async fn keep_last_used(&self) {
        let Some(uses) = &self.inner.uses else { return };
        let pause = Span::from_secs(uses.interval.unsigned_abs()).as_std().min(WRITE);
        loop {
            tokio::time::sleep(pause).await;
            self.write_last_used().await;
        }
    }

    /// Writes down now when sessions were last used. What cannot be written is tried again the next time.
    pub async fn write_last_used(&self) {
        let Some(uses) = &self.inner.uses else { return };
        let notes = uses.take();
        let mut left = &notes[..];
        while let Some(chunk) = left.chunks(WRITTEN).next() {
            let said = |&(session, (at, address)): &(SessionId, Note)| SessionUse {
                session,
                at,
                address: address.map(|address| address.to_canonical().to_string()),
            };
            if let Err(error) = self.ledger().note_uses(chunk.iter().map(said).collect()).await {
                log::info!("when sessions were last used cannot be written now: {}", chain(&error));
                break;
            }
            uses.counts.transactions.add(1);
            uses.counts.written.add(chunk.len() as u64);
            left = &left[chunk.len()..];
        }
        for &(session, note) in left {
            uses.leave(session, note, uses.hasher.hash_one(session));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("an instant")
    }

    fn uses() -> Uses {
        Uses::new(Span::from_secs(60)).expect("it is on")
    }

    #[test]
    fn a_session_leaves_one_note_however_often_it_is_used() {
        let uses = uses();
        let (one, other) = (SessionId::starting_at(1), SessionId::starting_at(2));
        let address = Some("192.0.2.1".parse().expect("an address"));
        for _ in 0..1000 {
            uses.note(one, at(0), None);
        }
        uses.note(other, at(0), address);
        assert_eq!(uses.take(), [(one, (at(0), None)), (other, (at(0), address))]);
        assert_eq!(uses.take(), []);
        // A whole interval later it does again, and within two at the latest.
        uses.note(one, at(60), address);
        uses.note(one, at(60), None);
        assert_eq!(uses.take(), [(one, (at(60), address))]);
        assert_eq!(uses.counts.dropped.get(), 0);
    }

    #[test]
    fn the_newest_note_of_a_session_counts() {
        let uses = uses();
        let session = SessionId::starting_at(1);
        for seconds in [120, 240, 60] {
            uses.note(session, at(seconds), None);
        }
        assert_eq!(uses.take(), [(session, (at(240), None))]);
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let uses = uses();
        let sessions = 2 * PARTS * PART;
        for number in 0..sessions {
            uses.note(SessionId::from_u128(number as u128), at(0), None);
        }
        let taken = uses.take();
        assert!(taken.len() <= PARTS * PART && taken.len() > PARTS * PART / 2, "{}", taken.len());
        assert_eq!(taken.len() as u64 + uses.counts.dropped.get(), sessions as u64);
        assert!(Uses::new(Span::default()).is_none());
    }
}
