//! What is refused, in memory: asked on every request, without a lock and without input or output.
//!
//! | file | what it holds |
//! |---|---|
//! | `key` | which map a jti is in |
//! | `table` | 128-bit keys: nearly all tokens, and all sessions |
//! | `storage`, `group` | the slots of a part of a table |
//! | `texts` | tokens whose jti is no UUID, and whatever else is found by text |
//! | `cutoffs` | not-before marks, of everybody and of users |
//! | `hours` | until when things are kept |
//!
//! An answer is exact: what [`Index::apply`] was told is refused by every question asked after it returned, until
//! [`Index::expire`] was told a time at which it is over. A little longer, in fact: ends are rounded up to the hour.

mod cutoffs;
mod group;
mod hours;
mod key;
mod storage;
mod sync;
mod table;
mod texts;

use chrono::{DateTime, Utc};

use cutoffs::Cutoffs;
use hours::Hour;
use key::Key;
use table::Table;
use texts::TextMap;

use crate::token::{Change, Presented, Revocable, SessionId};

/// Of how many parts an index is.
pub(crate) const PARTS: usize = 256;

/// All that is refused.
#[derive(Debug)]
pub(crate) struct Index {
    /// Tokens whose jti is 32 hex digits: ours, and simplejwt's.
    plain: Table,
    /// Tokens whose jti is a UUID with hyphens: Flask's, for one.
    hyphenated: Table,
    /// All other tokens.
    texts: TextMap<Hour>,
    sessions: Table,
    cutoffs: Cutoffs,
}

/// How much is in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Tokens, sessions and cutoffs.
    pub(crate) entries: usize,
    /// The memory that they take, but for what the allocator adds.
    pub(crate) bytes: usize,
}

impl Index {
    /// An empty one. What is to be kept for more than seven years after `now` is kept for ever.
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        let table = || Table::new(Hour::of(now).number());
        Self { plain: table(), hyphenated: table(), texts: TextMap::new(), sessions: table(), cutoffs: Cutoffs::new() }
    }

    /// Whether the token must be refused: it was, or its session, or it is not later than a cutoff.
    pub(crate) fn refuses(&self, token: &Presented<'_>) -> bool {
        self.holds(token.jti.as_str())
            || token.session.is_some_and(|session| self.sessions.contains(session.as_u128()))
            || self.cutoffs.refuses(token)
    }

    /// Takes in what has changed, in this order.
    ///
    /// To refuse something again prolongs it if `until` is later, and never shortens it.
    pub(crate) fn apply(&self, changes: impl IntoIterator<Item = Change>) {
        let (mut texts, mut users) = (Vec::new(), Vec::new());
        for Change { what, refused } in changes {
            match what {
                Revocable::Token { jti, until } => {
                    let until = refused.then(|| Hour::after(until));
                    match Key::of(jti.as_str()) {
                        Key::Plain(key) => set(&self.plain, key, until),
                        Key::Hyphenated(key) => set(&self.hyphenated, key, until),
                        Key::Text => texts.push((jti.as_str().into(), until)),
                    }
                }
                Revocable::Session { id, until } => {
                    set(&self.sessions, id.as_u128(), refused.then(|| Hour::after(until)));
                }
                Revocable::Cutoff { user, not_before, until } => match user {
                    None => self.cutoffs.set_everybody(not_before, until),
                    Some(user) => users.push((user, not_before, until)),
                },
            }
        }
        // Together, for each of them copies a part of its map.
        self.texts.change(texts, Hour::max);
        self.cutoffs.set_users(users);
    }

    /// Whether it is refused. Of a cutoff: whether that or a later one is.
    pub(crate) fn knows(&self, what: &Revocable) -> bool {
        match what {
            Revocable::Token { jti, .. } => self.holds(jti.as_str()),
            Revocable::Session { id, .. } => self.sessions.contains(id.as_u128()),
            Revocable::Cutoff { user, not_before, .. } => self.cutoffs.knows(user.as_deref(), *not_before),
        }
    }

    /// What of a part of it is kept beyond the hour of a moment; of [`PARTS`] of about the same size.
    pub(crate) fn part(&self, number: usize, after: DateTime<Utc>) -> Vec<Revocable> {
        let after = Hour::of(after);
        let mut found = Vec::new();
        let tokens = [(&self.plain, Key::Plain as fn(u128) -> Key), (&self.hyphenated, Key::Hyphenated)];
        for (table, form) in tokens {
            for (key, until) in table.part(number) {
                let jti = form(key).name().and_then(|name| name.parse().ok());
                found.extend(
                    jti.map(|jti| (Hour::numbered(until), Revocable::Token { jti, until: DateTime::UNIX_EPOCH })),
                );
            }
        }
        let sessions = self.sessions.part(number);
        found.extend(sessions.into_iter().map(|(key, until)| {
            let (id, until) = (SessionId::from_u128(key), Hour::numbered(until));
            (until, Revocable::Session { id, until: DateTime::UNIX_EPOCH })
        }));
        for (text, until) in self.texts.entries(number) {
            found.extend(text.parse().ok().map(|jti| (until, Revocable::Token { jti, until: DateTime::UNIX_EPOCH })));
        }
        found.extend(self.cutoffs.part(number));
        let kept = found.into_iter().filter(|(until, _)| *until > after);
        kept.map(|(until, what)| what.kept_until(until.end())).collect()
    }

    /// Forgets what is over.
    pub(crate) fn expire(&self, now: DateTime<Utc>) {
        let now = Hour::of(now);
        for table in [&self.plain, &self.hyphenated, &self.sessions] {
            table.expire(now.number());
        }
        self.texts.retain(|until| *until > now);
        self.cutoffs.expire(now);
    }

    /// How much is in it.
    pub(crate) fn size(&self) -> Size {
        let tables = [&self.plain, &self.hyphenated, &self.sessions].map(Table::census);
        let (texts, cutoffs) = (self.texts.size(), self.cutoffs.size());
        Size {
            entries: tables.iter().map(|table| table.keys).sum::<usize>() + texts.entries + cutoffs.entries,
            bytes: tables.iter().map(|table| table.bytes).sum::<usize>() + texts.bytes + cutoffs.bytes,
        }
    }

    #[inline]
    fn holds(&self, jti: &str) -> bool {
        match Key::of(jti) {
            Key::Plain(key) => self.plain.contains(key),
            Key::Hyphenated(key) => self.hyphenated.contains(key),
            Key::Text => self.texts.get(jti).is_some(),
        }
    }
}

fn set(table: &Table, key: u128, until: Option<Hour>) {
    match until {
        Some(until) => table.insert(key, until.number()),
        None => table.remove(key),
    }
}

#[cfg(test)]
mod tests;
