//! Not-before marks: nothing from before an instant is good any more.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::Size;
use super::hours::Hour;
use super::texts::TextMap;
use crate::token::{Presented, Revocable};

/// Earlier than every session and every token.
const NEVER: i64 = i64::MIN;

/// The marks of everybody and of users.
#[derive(Debug)]
pub(super) struct Cutoffs {
    /// In milliseconds since 1970.
    everybody: AtomicI64,
    /// The same, with its end. Held by whoever changes it.
    record: Mutex<Option<Mark>>,
    users: TextMap<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// In milliseconds since 1970.
    not_before: i64,
    until: Hour,
}

impl Mark {
    fn new(not_before: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        Self { not_before: not_before.timestamp_millis(), until: Hour::after(until) }
    }

    /// The later mark, for as long as either is kept: the earlier one may be meant to last longer.
    fn join(self, other: Self) -> Self {
        Self { not_before: self.not_before.max(other.not_before), until: self.until.max(other.until) }
    }
}

impl Cutoffs {
    pub(super) fn new() -> Self {
        Self { everybody: AtomicI64::new(NEVER), record: Mutex::new(None), users: TextMap::new() }
    }

    /// Whether the token is not later than a mark. One that tells no time cannot be.
    #[inline]
    pub(super) fn refuses(&self, token: &Presented<'_>) -> bool {
        let user = token.user.and_then(|user| self.users.get(user)).map_or(NEVER, |mark| mark.not_before);
        let mark = self.everybody.load(Ordering::Acquire).max(user);
        mark != NEVER && token.began_at_millis() <= mark
    }

    pub(super) fn set_everybody(&self, not_before: DateTime<Utc>, until: DateTime<Utc>) {
        let record = &mut *self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = Mark::new(not_before, until);
        let mark = record.map_or(mark, |old| old.join(mark));
        *record = Some(mark);
        self.everybody.store(mark.not_before, Ordering::Release);
    }

    pub(super) fn set_users(&self, marks: Vec<(String, DateTime<Utc>, DateTime<Utc>)>) {
        let mark = |(user, not_before, until): (String, _, _)| (user.into(), Some(Mark::new(not_before, until)));
        self.users.change(marks.into_iter().map(mark).collect(), Mark::join);
    }

    /// Whether a mark of the user, or of everybody, is not before an instant.
    pub(super) fn knows(&self, user: Option<&str>, not_before: DateTime<Utc>) -> bool {
        let mark = match user {
            None => self.everybody.load(Ordering::Acquire),
            Some(user) => self.users.get(user).map_or(NEVER, |mark| mark.not_before),
        };
        mark >= not_before.timestamp_millis()
    }

    /// A part of the marks, each with its last hour.
    pub(super) fn part(&self, number: usize) -> Vec<(Hour, Revocable)> {
        let record = *self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let everybody = record.filter(|_| number == 0).map(|mark| (None, mark));
        let users = self.users.entries(number).into_iter().map(|(user, mark)| (Some(user.to_string()), mark));
        let marks = everybody.into_iter().chain(users).filter_map(|(user, mark)| {
            let not_before = DateTime::from_timestamp_millis(mark.not_before)?;
            Some((mark.until, Revocable::Cutoff { user, not_before, until: DateTime::UNIX_EPOCH }))
        });
        marks.collect()
    }

    pub(super) fn expire(&self, now: Hour) {
        self.users.retain(|mark| mark.until > now);
        let record = &mut *self.record.lock().unwrap_or_else(PoisonError::into_inner);
        if record.is_some_and(|mark| mark.until <= now) {
            *record = None;
            self.everybody.store(NEVER, Ordering::Release);
        }
    }

    pub(super) fn size(&self) -> Size {
        let users = self.users.size();
        let everybody = self.record.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        Size { entries: users.entries + usize::from(everybody), bytes: users.bytes + size_of::<Self>() }
    }
}
