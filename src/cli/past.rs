//! The past of `serve --demo`: a month of logins, refreshes and revocations, done by the use cases that do them every day, under a clock
//! that runs through the month.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::actor::actor;
use super::exit::Failure;
use crate::ledger::{Actor, UserRow, Via};
use crate::service::{Client, Issue, OpenMode, Simplejwt, Target};
use crate::token::{Jti, ManualClock, SessionId};
use crate::users::AdminAccess;

/// How many days it goes back.
const DAYS: i64 = 30;

/// Who is there, and how often each of them logs in on a day, in tenths.
const PEOPLE: [(&str, u64); 6] =
    [("ada", 15), ("grace", 12), ("edsger", 7), ("barbara", 10), ("donald", 3), ("tony", 5)];

/// With what they do.
const PROGRAMS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36",
    "ExampleApp/3.2 (Android 16)",
];

/// Why somebody revokes a token.
const REASONS: [&str; 4] = ["lost phone", "left the company", "strange address", "test is over"];

/// Numbers that look like chance, and are the same in each demo.
struct Chance(u64);

impl Chance {
    /// A number below `most`.
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most.max(1)
    }

    fn minutes(&mut self, from: i64, until: i64) -> TimeDelta {
        TimeDelta::minutes(from + i64::try_from(self.below(u64::try_from(until - from).unwrap_or(1))).unwrap_or(0))
    }
}

/// A login with what came after it.
struct Login {
    user: usize,
    client: Client,
    /// The refresh token that it has now.
    refresh: Option<(String, Jti, Option<SessionId>)>,
    /// The one before, as a thief has it.
    stolen: Option<String>,
}

/// What somebody does at a moment, with which of the logins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Login,
    Refresh,
    Revoke,
    EndSession,
    /// Somebody presents the token that the last refresh has used up.
    Reuse,
}

/// When, to which login, what.
type Done = (DateTime<Utc>, usize, Deed);

/// When who does what, in order.
fn plan(now: DateTime<Utc>, chance: &mut Chance) -> (Vec<Login>, Vec<Done>) {
    let (mut logins, mut deeds) = (Vec::new(), Vec::new());
    for day in 0..DAYS {
        let midnight = now - TimeDelta::days(DAYS - day);
        for (user, (_, often)) in PEOPLE.iter().enumerate() {
            for _ in 0..(often + chance.below(10)) / 10 {
                let (number, mut at) = (logins.len(), midnight + chance.minutes(0, 24 * 60));
                let address = format!("203.0.113.{}", 1 + chance.below(250));
                let program = PROGRAMS[usize::try_from(chance.below(4)).unwrap_or(0)];
                let client = Client { address: Some(address), user_agent: Some(program.to_owned()) };
                logins.push(Login { user, client, refresh: None, stolen: None });
                deeds.push((at, number, Deed::Login));
                for _ in 0..chance.below(4) {
                    at += chance.minutes(10, 6 * 60);
                    deeds.push((at, number, Deed::Refresh));
                }
                match chance.below(14) {
                    0 => deeds.push((at + chance.minutes(5, 300), number, Deed::Revoke)),
                    1 => deeds.push((at + chance.minutes(5, 300), number, Deed::EndSession)),
                    2 => deeds.push((at + chance.minutes(5, 300), number, Deed::Reuse)),
                    _ => {}
                }
            }
        }
    }
    deeds.retain(|(at, _, _)| *at < now);
    deeds.sort();
    (logins, deeds)
}

/// Fills the database of a handle that nobody uses yet.
pub(super) async fn fill(jwt: &Simplejwt) -> Result<(), Failure> {
    let now = jwt.clock_now();
    let clock = Arc::new(ManualClock::at(now - TimeDelta::days(DAYS)));
    let past =
        Simplejwt::builder(jwt.settings().clone()).clock(Arc::clone(&clock) as _).open(OpenMode::Existing).await?;
    let mut people: Vec<UserRow> = Vec::new();
    for (name, _) in PEOPLE {
        // Nobody logs in with it: the month is over.
        let password = uuid::Uuid::new_v4().to_string();
        let email = format!("{name}@example.org");
        people.push(past.add_user(name, Some(&email), &password, AdminAccess::None, &actor()).await?);
    }
    let mut chance = Chance(42);
    let (mut logins, deeds) = plan(now, &mut chance);
    let mut hour = now - TimeDelta::days(DAYS);
    for (at, number, deed) in deeds {
        while hour + TimeDelta::hours(1) <= at {
            past.note_hour().await;
            hour += TimeDelta::hours(1);
        }
        clock.advance((at - past.clock_now()).num_seconds());
        let login = &mut logins[number];
        let by = Actor { who: "user:2".to_owned(), via: Via::Admin, address: Some("203.0.113.7".to_owned()) };
        let why = Some(REASONS[usize::try_from(chance.below(4)).unwrap_or(0)].to_owned());
        match (deed, login.refresh.take()) {
            (Deed::Login, _) => {
                let id = people[login.user].id.to_string();
                let pair = past.issue_pair(Issue::refresh(id).client(login.client.clone())).await?;
                login.refresh = Some((pair.refresh.text, pair.refresh.jti, pair.refresh.session));
            }
            (Deed::Refresh, Some((text, _, session))) => {
                // After a day it is too late.
                let refreshed = past.refresh(&text).await.ok().and_then(|tokens| tokens.refresh);
                login.stolen = refreshed.is_some().then_some(text);
                login.refresh = refreshed.map(|token| (token.text, token.jti, session));
            }
            (Deed::Revoke, Some((_, jti, _))) => {
                past.revoke(vec![Target::Jti { jti, expires_at: None }], why, by).await?;
            }
            (Deed::EndSession, Some((_, _, Some(session)))) => {
                past.revoke(vec![Target::Session(session)], why, by).await?;
            }
            (Deed::Reuse, Some(_)) => {
                if let Some(stolen) = login.stolen.take() {
                    // That it is refused is the point.
                    let _ = past.refresh(&stolen).await;
                }
            }
            (_, None) | (Deed::EndSession, Some(_)) => {}
        }
    }
    past.note_hour().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::ledger::Flushed;
    use crate::service::FlushOptions;
    use crate::settings::{Secret, Settings};

    #[test]
    fn the_month_is_full_and_in_order() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("an instant");
        let (logins, deeds) = plan(now, &mut Chance(42));
        assert!((150..400).contains(&logins.len()), "{}", logins.len());
        assert!(deeds.is_sorted() && deeds.iter().all(|(at, _, _)| *at < now && *at >= now - TimeDelta::days(DAYS)));
        assert!(
            [Deed::Login, Deed::Refresh, Deed::Revoke, Deed::EndSession, Deed::Reuse]
                .iter()
                .all(|wanted| deeds.iter().any(|(_, _, deed)| deed == wanted))
        );
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_dry_run_counts_what_the_flush_of_the_month_deletes() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("demo.sqlite3");
        let settings = Settings {
            database_url: Some(format!("sqlite:///{}", file.display())),
            signing_key: Some(Secret::new("a key for this test alone, and long enough")),
            ..Settings::default()
        };
        let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(1_800_000_000, 0).expect("an instant")));
        let jwt = Simplejwt::builder(settings).clock(clock as _).open(OpenMode::Serve).await.expect("a ledger");
        fill(&jwt).await.expect("a month");
        let run = async |dry_run| {
            let options = FlushOptions { dry_run, ..FlushOptions::default() };
            jwt.flush_expired_tokens(&options, &AtomicBool::new(false), |_| {}).await.expect("a flush").flushed
        };
        let counted = run(true).await;
        assert!(counted.sessions > 100 && counted.blacklisted > 0, "{counted:?}");
        // What is forgotten of addresses is not counted before.
        let flushed = Flushed { addresses: 0, ..run(false).await };
        assert_eq!(flushed, counted);
    }
}
