//! The first page: how everything stands.

use std::time::Duration;

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use rocket::http::Status;
use rocket::tokio;

use super::answer::{Answer, Problem};
use super::jobs::LastFlush;
use super::show::{When, when};
use super::tokens::{FIELD, Row};
use super::visit::{Frame, Visit};
use crate::service::Health;
use crate::service::admin::{Census, Hour};

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct OverviewPage<'a> {
    frame: Frame<'a>,
    census: Option<Counted>,
    day: Picture,
    month: Picture,
    expiring: Option<Vec<Row>>,
    last_flush: Option<LastFlush>,
    health: &'static str,
    memory: Option<Memory>,
    warnings: Vec<String>,
}

/// What is in memory, as it is shown.
struct Memory {
    entries: String,
    kilobytes: String,
    lag: u128,
}

/// The numbers of the last count.
struct Counted {
    at: When,
    /// Each number with its word, and the address of the list that shows just those.
    numbers: [(String, &'static str, String); 4],
}

impl Counted {
    fn of(census: Census, now: DateTime<Utc>) -> Self {
        let Census { live, superseded, blacklisted, expired, .. } = census;
        let numbers = [(live, "live"), (superseded, "superseded"), (blacklisted, "blacklisted"), (expired, "expired")];
        // Those whose time has passed are counted among the expired alone, while the list of a state has them as well.
        let from = now.format(FIELD);
        let list = |word| match word {
            "superseded" | "blacklisted" => format!("tokens?state={word}&expires_from={from}"),
            _ => format!("tokens?state={word}"),
        };
        let numbers = numbers.map(|(count, word)| (grouped(count), word, list(word)));
        Self { at: when(census.counted_at, now), numbers }
    }
}

/// A number with a narrow space between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// What was issued and revoked in equal stretches of time, as bars.
struct Picture {
    bars: Vec<Bar>,
    issued: u64,
    revoked: u64,
    most: u64,
    /// Where the bars begin.
    first: String,
    /// What each of them is of.
    each: &'static str,
}

/// One of the stretches of time of a picture.
struct Stretch {
    length: TimeDelta,
    /// How its beginning is written.
    format: &'static str,
    each: &'static str,
}

const HOUR: Stretch = Stretch { length: TimeDelta::hours(1), format: "%d %b %H:00", each: "an hour" };
const DAY: Stretch = Stretch { length: TimeDelta::days(1), format: "%d %b", each: "a day" };

/// Two bars side by side, from the bottom of a picture of [`HEIGHT`].
struct Bar {
    x: usize,
    issued: (u64, u64),
    revoked: (u64, u64),
    what: String,
}

/// The height of a picture, and the room for a pair of bars, in the units of its own.
const HEIGHT: u64 = 100;
const WIDTH: usize = 20;

impl Picture {
    /// So many stretches of this length, of which the last one is under way.
    fn of(hours: &[Hour], now: DateTime<Utc>, stretches: usize, stretch: &Stretch) -> Self {
        let Stretch { length, format, each } = stretch;
        let seconds = length.num_seconds().max(1);
        let number = |at: DateTime<Utc>| at.timestamp().div_euclid(seconds);
        let last = number(now);
        let mut sums = vec![(0, 0); stretches];
        for hour in hours {
            let back = usize::try_from(last - number(hour.at)).ok().filter(|back| *back < stretches);
            if let Some(back) = back {
                let sum = &mut sums[stretches - 1 - back];
                *sum = (sum.0 + hour.issued, sum.1 + hour.revoked);
            }
        }
        let most = sums.iter().map(|(issued, revoked)| (*issued).max(*revoked)).max().unwrap_or(0);
        // What is not nothing is seen.
        let high = |count: u64| if count == 0 { 0 } else { (count * HEIGHT / most.max(1)).max(1) };
        let at = |place: usize| {
            let back = i64::try_from(stretches - 1 - place).unwrap_or(0);
            DateTime::from_timestamp((last - back) * seconds, 0).unwrap_or(now)
        };
        let bar = |(place, (issued, revoked)): (usize, &(u64, u64))| {
            let (one, two) = (high(*issued), high(*revoked));
            Bar {
                x: place * WIDTH,
                issued: (HEIGHT - one, one),
                revoked: (HEIGHT - two, two),
                what: format!("{}: {issued} issued, {revoked} revoked", at(place).format(format)),
            }
        };
        Self {
            bars: sums.iter().enumerate().map(bar).collect(),
            issued: sums.iter().map(|sum| sum.0).sum(),
            revoked: sums.iter().map(|sum| sum.1).sum(),
            most,
            first: at(0).format(format).to_string(),
            each,
        }
    }

    fn width(&self) -> usize {
        self.bars.len() * WIDTH
    }
}

/// The page.
pub(super) async fn page(visit: &Visit<'_>) -> Result<Answer, Problem> {
    let overview = visit.jwt.overview().await?;
    let (now, jwt) = (visit.jwt.clock_now(), visit.jwt.clone());
    // The page shows what is known; the next one may know more.
    let counted = tokio::spawn(async move { jwt.recount(false).await });
    if overview.census.is_none() {
        // Where there is little, it is counted at once.
        let _ = tokio::time::timeout(Duration::from_millis(300), counted).await;
    }
    let census = match overview.census {
        Some(census) => Some(census),
        None => visit.jwt.census().await?,
    };
    let page = OverviewPage {
        frame: visit.frame(""),
        census: census.map(|census| Counted::of(census, now)),
        day: Picture::of(&overview.hours, now, 24, &HOUR),
        month: Picture::of(&overview.hours, now, 30, &DAY),
        expiring: overview.expiring.map(|rows| rows.into_iter().map(|row| Row::of(row, now)).collect()),
        last_flush: overview.last_flush.as_ref().map(|run| LastFlush::of(visit, run)),
        health: match overview.health {
            Health::Ready => "ready",
            Health::Degraded => "degraded: nothing can be issued or revoked now",
            Health::Unready => "unready: every request is answered with 503",
        },
        memory: overview.cache.map(|cache| Memory {
            entries: grouped(cache.entries as u64),
            kilobytes: grouped(cache.bytes as u64 / 1024),
            lag: cache.lag.as_millis(),
        }),
        warnings: overview.warnings,
    };
    Answer::page(Status::Ok, &page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_sums_in_their_places() {
        let now = DateTime::from_timestamp(1_800_000_000 + 1_800, 0).expect("an instant");
        let hour = |back: i64, issued, revoked| {
            Hour::new(now - TimeDelta::seconds(1_800) - TimeDelta::hours(back), issued, revoked)
        };
        let picture = Picture::of(&[hour(30, 99, 99), hour(23, 1, 0), hour(0, 10, 5)], now, 24, &HOUR);
        assert_eq!((picture.issued, picture.revoked, picture.most, picture.width()), (11, 5, 10, 480));
        assert_eq!((picture.first.as_str(), picture.each), ("14 Jan 09:00", "an hour"));
        assert_eq!((picture.bars[0].issued, picture.bars[0].revoked), ((90, 10), (100, 0)));
        assert_eq!((picture.bars[23].issued, picture.bars[23].revoked), ((0, 100), (50, 50)));
        assert_eq!(picture.bars[23].what, "15 Jan 08:00: 10 issued, 5 revoked");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let grouped = |number| grouped(number).replace('\u{202f}', "'");
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1'000", "1'234'567"]);
    }
}
