//! Instants between Rust and the tables: UTC, to the microsecond, one type on every database.

#[cfg(feature = "admin")]
use chrono::TimeDelta;
use chrono::{DateTime, NaiveDate, NaiveDateTime, SubsecRound, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Timestamp};

/// An instant as it is stored: microseconds, within the years 1000 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromSqlRow)]
pub(super) struct Stored(pub(super) NaiveDateTime);

impl Stored {
    /// The instant.
    pub(super) const fn and_utc(self) -> DateTime<Utc> {
        self.0.and_utc()
    }
}

impl AsExpression<Nullable<Timestamp>> for Stored {
    type Expression = diesel::dsl::Nullable<Self>;

    fn as_expression(self) -> Self::Expression {
        self.nullable()
    }
}

impl<DB> FromSql<Timestamp, DB> for Stored
where
    DB: Backend,
    NaiveDateTime: FromSql<Timestamp, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        NaiveDateTime::from_sql(bytes).map(Self)
    }
}

/// The latest instant that every database can hold, and that still compares rightly as text.
pub(super) fn latest() -> Stored {
    let day = NaiveDate::from_ymd_opt(9999, 12, 31);
    Stored(day.and_then(|day| day.and_hms_micro_opt(23, 59, 59, 999_999)).unwrap_or_default())
}

/// The earliest one, for the same reasons.
pub(super) fn earliest() -> Stored {
    Stored(NaiveDate::from_ymd_opt(1000, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0)).unwrap_or_default())
}

/// An instant that somebody names, if it is of the years 1000 to 9999: every database can hold it, and what is reckoned from it does
/// not leave the range of a date.
#[cfg(feature = "admin")]
pub(crate) fn storable(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (earliest().and_utc()..=latest().and_utc()).contains(&at).then_some(at)
}

/// So much before or after an instant, within what an instant can be.
#[cfg(feature = "admin")]
pub(super) fn shifted(at: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    let end = if by < TimeDelta::zero() { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    at.checked_add_signed(by).unwrap_or(end)
}

/// The instant as it is stored.
pub(super) fn stored(at: DateTime<Utc>) -> Stored {
    Stored(at.naive_utc().trunc_subsecs(6)).clamp(earliest(), latest())
}

/// An instant that somebody else may have written. What is no time of our calendar, such as a number of seconds or a broken
/// text, reads as [`None`], so that one such row cannot stop the reading of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromSqlRow)]
pub(super) struct Foreign(pub(super) Option<NaiveDateTime>);

impl Foreign {
    /// The instant, if it is one.
    pub(super) fn instant(self) -> Option<DateTime<Utc>> {
        self.0.map(|at| at.and_utc())
    }

    /// The instant, where no time means that the row never expires.
    pub(super) fn or_never(self) -> DateTime<Utc> {
        self.0.map_or_else(latest, Stored).and_utc()
    }
}

impl<DB> FromSql<Timestamp, DB> for Foreign
where
    DB: Backend,
    NaiveDateTime: FromSql<Timestamp, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let at = NaiveDateTime::from_sql(bytes).ok();
        // Diesel takes a bare number for a Julian day, which puts most of them before history.
        Ok(Self(at.filter(|at| (earliest()..=latest()).contains(&Stored(*at)))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As SQLite holds it, and compares it.
    fn text(at: NaiveDateTime) -> String {
        at.format("%F %T%.f").to_string()
    }

    proptest! {
        #[test]
        fn text_orders_as_time_does(a in any::<i64>(), b in any::<i64>()) {
            let [a, b] = [a, b].map(|micros| {
                stored(DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC))
            });
            prop_assert_eq!(a.cmp(&b), text(a.0).cmp(&text(b.0)));
        }

        #[test]
        fn nothing_below_a_microsecond_is_kept(nanos in 0..4_000_000_000_000_000_000_i64) {
            let at = stored(DateTime::from_timestamp_nanos(nanos));
            prop_assert_eq!(at.and_utc().timestamp_micros(), nanos / 1000);
            prop_assert_eq!(stored(at.and_utc()), at);
        }
    }

    #[test]
    fn the_ends_of_time_are_drawn_in() {
        assert_eq!(stored(DateTime::<Utc>::MAX_UTC), latest());
        assert_eq!(stored(DateTime::<Utc>::MIN_UTC), earliest());
    }

    #[cfg(feature = "admin")]
    #[test]
    fn an_instant_that_no_database_holds_is_none() {
        for far in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
            assert_eq!(storable(far), None);
        }
        assert_eq!(storable(latest().and_utc()), Some(latest().and_utc()));
        assert_eq!(shifted(DateTime::<Utc>::MAX_UTC, TimeDelta::minutes(1)), DateTime::<Utc>::MAX_UTC);
        assert_eq!(shifted(DateTime::<Utc>::MIN_UTC, -TimeDelta::minutes(1)), DateTime::<Utc>::MIN_UTC);
    }
}
