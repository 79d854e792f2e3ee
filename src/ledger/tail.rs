//! Reading on in `simplejwt_event`: what happened since, each event once and none left out.
//!
//! Ids are given when a row is written, and rows become visible when their transaction is committed: an event may turn up whose id is
//! smaller than that of one that was read long before. Such an id is a gap in what was read. Gaps are looked at again until they are
//! filled, or until no transaction can be open any more that could fill them.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::dsl::{max, min};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::events::{EventRow, Row};
use super::schema::simplejwt_event::dsl;
use super::time::{Stored, stored};
use super::{Ledger, LedgerError};

/// For how long a gap is looked at: far longer than any transaction of ours takes.
const OPEN: Duration = Duration::from_secs(600);

/// How many gaps are looked at; of more, the oldest are given up.
const GAPS: usize = 4096;

/// How many gaps are asked for in one statement.
const ASKED: usize = 64;

/// How many rows are read at a time.
const PAGE: i64 = 1000;

/// A place in the events, from which a reader goes on.
#[derive(Clone, Debug, Default)]
pub struct EventTail {
    /// The greatest id that was read.
    through: i64,
    /// Ids before it that were not there when it was read, in order.
    gaps: Vec<Gap>,
}

/// The ids from `first` to `last`, of which no row was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    first: i64,
    last: i64,
    noticed: Instant,
}

impl EventTail {
    /// Notes that a row was read; says whether for the first time.
    fn note(&mut self, id: i64, now: Instant) -> bool {
        if id > self.through {
            if id > self.through + 1 {
                self.gaps.push(Gap { first: self.through + 1, last: id - 1, noticed: now });
            }
            self.through = id;
            return true;
        }
        let Some(place) = self.gaps.iter().position(|gap| (gap.first..=gap.last).contains(&id)) else { return false };
        let gap = self.gaps[place];
        let parts = [Gap { last: id - 1, ..gap }, Gap { first: id + 1, ..gap }];
        self.gaps.splice(place..=place, parts.into_iter().filter(|part| part.first <= part.last));
        true
    }

    /// Gives up what nobody can fill any more.
    fn forget_old_gaps(&mut self, now: Instant) {
        self.gaps.retain(|gap| now.duration_since(gap.noticed) < OPEN);
        let surplus = self.gaps.len().saturating_sub(GAPS);
        if surplus > 0 {
            log::warn!("{surplus} gaps in the ids of events are given up: there are more than {GAPS}");
            self.gaps.drain(..surplus);
        }
    }
}

/// Where a reader begins who wants what comes from now on: what is written already, but not committed, counts as coming.
fn end(connection: &mut AnyConnection, now: Instant) -> QueryResult<EventTail> {
    let mut ids: Vec<i64> = dsl::simplejwt_event.order(dsl::id.desc()).limit(PAGE).select(dsl::id).load(connection)?;
    ids.reverse();
    let mut tail = EventTail { through: ids.first().map_or(0, |first| first - 1), gaps: Vec::new() };
    for id in ids {
        tail.note(id, now);
    }
    Ok(tail)
}

/// Where a reader begins who wants what happened since an instant.
fn since(connection: &mut AnyConnection, at: Stored, now: Instant) -> QueryResult<EventTail> {
    let first: Option<i64> = dsl::simplejwt_event.filter(dsl::at.ge(at)).select(min(dsl::id)).first(connection)?;
    match first {
        Some(first) => Ok(EventTail { through: first - 1, gaps: Vec::new() }),
        None => end(connection, now),
    }
}

/// The next rows, in the order of their ids but for those that were late.
fn next(connection: &mut AnyConnection, tail: &mut EventTail, now: Instant) -> QueryResult<Vec<EventRow>> {
    let newest: Option<i64> = dsl::simplejwt_event.select(max(dsl::id)).first(connection)?;
    if let Some(newest) = newest.filter(|newest| *newest < tail.through) {
        log::warn!("the events end at {newest}, and were read up to {}: the database was put back", tail.through);
        *tail = end(connection, now)?;
        return Ok(Vec::new());
    }
    tail.forget_old_gaps(now);
    let mut rows: Vec<Row> = Vec::new();
    for gaps in tail.gaps.chunks(ASKED) {
        let mut query = dsl::simplejwt_event.order(dsl::id).limit(PAGE).select(Row::as_select()).into_boxed();
        for gap in gaps {
            query = query.or_filter(dsl::id.between(gap.first, gap.last));
        }
        rows.extend(query.load::<Row>(connection)?);
    }
    let on = dsl::simplejwt_event.filter(dsl::id.gt(tail.through)).order(dsl::id).limit(PAGE);
    rows.extend(on.select(Row::as_select()).load::<Row>(connection)?);
    Ok(rows.into_iter().map(EventRow::from).filter(|row| tail.note(row.id, now)).collect())
}

impl Ledger {
    /// A place in the events from which [`next_events`](Self::next_events) gives what is committed from now on.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn events_from_now(&self) -> Result<EventTail, LedgerError> {
        self.run(|connection| Ok(end(connection, Instant::now())?)).await
    }

    /// The same for what happened since `at`, and before that as far as it was written later.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn events_since(&self, at: DateTime<Utc>) -> Result<EventTail, LedgerError> {
        self.run_long(move |connection| Ok(since(connection, stored(at), Instant::now())?)).await
    }

    /// What was committed since the last call, the oldest first; nothing, if nothing was. Where it fails, nothing is lost:
    /// the next call gives it.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn next_events(&self, tail: &mut EventTail) -> Result<Vec<EventRow>, LedgerError> {
        let mut next_tail = tail.clone();
        let (rows, read) = self
            .run_long(move |connection| {
                let rows = next(connection, &mut next_tail, Instant::now())?;
                Ok((rows, next_tail))
            })
            .await?;
        *tail = read;
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_row_is_new_once_and_only_where_a_gap_was() {
        let now = Instant::now();
        let mut tail = EventTail { through: 10, gaps: Vec::new() };
        let read = |tail: &mut EventTail, ids: &[i64]| ids.iter().map(|id| tail.note(*id, now)).collect::<Vec<_>>();
        assert_eq!(read(&mut tail, &[11, 15, 16]), [true, true, true]);
        assert_eq!(read(&mut tail, &[10, 11, 15]), [false, false, false]);
        assert_eq!(read(&mut tail, &[13, 13, 12, 14, 14]), [true, false, true, true, false]);
        assert_eq!((tail.through, tail.gaps.len()), (16, 0));
    }

    #[test]
    fn gaps_are_given_up_when_nobody_can_fill_them() {
        let begun = Instant::now();
        let mut tail = EventTail::default();
        assert!(tail.note(3, begun) && tail.note(5, begun + OPEN / 2));
        tail.forget_old_gaps(begun + OPEN);
        assert_eq!(tail.gaps, [Gap { first: 4, last: 4, noticed: begun + OPEN / 2 }]);
        let more = i64::try_from(GAPS).expect("a small number") + 10;
        for id in 3..=more {
            tail.note(2 * id, begun + OPEN);
        }
        tail.forget_old_gaps(begun + OPEN);
        assert_eq!(tail.gaps.len(), GAPS);
    }
}
