//! The index against plain maps, against a clock that the test moves, and against readers while it changes.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};
use foldhash::fast::RandomState;
use proptest::prelude::*;

use super::table::Table;
use super::{Change, Index, Presented, Revocable};
use crate::token::{Jti, SessionId};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// So many seconds after the tests begin, which is not at a full hour.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_123, 0).expect("an instant") + TimeDelta::seconds(seconds)
}

fn jti(text: &str) -> Jti {
    text.parse().expect("a jti")
}

fn token(text: &str, refused: bool, until: DateTime<Utc>) -> Change {
    Change { what: Revocable::Token { jti: jti(text), until }, refused }
}

fn question(jti: &Jti) -> Presented<'_> {
    Presented { jti, session: None, issued_at: Some(at(0).timestamp()), user: Some("ada") }
}

fn refuses_token(index: &Index, text: &str) -> bool {
    index.refuses(&question(&jti(text)))
}

#[test]
fn each_form_of_a_jti_is_a_token_of_its_own() {
    let forms = [
        "8f14e45fceea467a9d4f2f6a0c3f5d11",
        "8F14E45FCEEA467A9D4F2F6A0C3F5D11",
        "8f14e45f-ceea-467a-9d4f-2f6a0c3f5d11",
        "8F14e45f-ceea-467a-9d4f-2f6a0c3f5d11",
        "a",
        "A",
    ];
    for refused in forms {
        let index = Index::new(at(0));
        index.apply([token(refused, true, at(60))]);
        for asked in forms {
            assert_eq!(refuses_token(&index, asked), asked == refused, "{asked} when {refused} is refused");
        }
        assert_eq!(index.size().entries, 1);
        index.apply([token(refused, false, at(60))]);
        assert!(!refuses_token(&index, refused));
        assert_eq!(index.size().entries, 0);
    }
}

#[test]
fn a_token_is_refused_with_its_session() {
    let index = Index::new(at(0));
    let (over, other) = (SessionId::starting_at(1_800_000_000_000), SessionId::starting_at(1_800_000_000_000));
    index.apply([Change { what: Revocable::Session { id: over, until: at(60) }, refused: true }]);
    let id = jti("a");
    for (session, expected) in [(None, false), (Some(over), true), (Some(other), false)] {
        assert_eq!(index.refuses(&Presented { session, ..question(&id) }), expected);
    }
    index.apply([Change { what: Revocable::Session { id: over, until: at(60) }, refused: false }]);
    assert!(!index.refuses(&Presented { session: Some(over), ..question(&id) }));
}

#[test]
fn a_cutoff_is_exact() {
    let index = Index::new(at(0));
    let cutoff = at(10) + TimeDelta::microseconds(500_999);
    let millis = cutoff.timestamp_millis();
    let id = jti("a");
    let with_session = |millis: i64, issued_at| Presented {
        session: Some(SessionId::starting_at(millis.try_into().expect("after 1970"))),
        issued_at: Some(issued_at),
        ..question(&id)
    };
    let without = |issued_at| Presented { issued_at, ..question(&id) };
    let early = [with_session(millis, i64::MAX), without(Some(at(10).timestamp())), without(None)];
    let late = [with_session(millis + 1, 0), without(Some(at(11).timestamp()))];
    assert!(early.iter().chain(&late).all(|question| !index.refuses(question)));

    index.apply([Change::refused(Revocable::Cutoff { user: Some("bob".into()), not_before: at(99), until: at(200) })]);
    assert!(early.iter().chain(&late).all(|question| !index.refuses(question)), "somebody else's");
    for user in [Some("ada".to_owned()), None] {
        index.apply([Change::refused(Revocable::Cutoff { user, not_before: cutoff, until: at(200) })]);
        assert!(early.iter().all(|question| index.refuses(question)));
        assert!(late.iter().all(|question| !index.refuses(question)));
    }
    let nobody = Presented { user: None, ..early[0] };
    assert!(index.refuses(&nobody), "everybody's counts for tokens of nobody, too");
}

#[test]
fn a_session_id_that_tells_no_time_is_compared_by_iat() {
    let index = Index::new(at(0));
    index.apply([Change::refused(Revocable::Cutoff { user: None, not_before: at(10), until: at(200) })]);
    let session = Some("8f14e45f-ceea-467a-9d4f-2f6a0c3f5d11".parse().expect("a session id"));
    let id = jti("a");
    for (issued_at, expected) in [(Some(at(10).timestamp()), true), (Some(at(11).timestamp()), false), (None, true)] {
        assert_eq!(index.refuses(&Presented { session, issued_at, ..question(&id) }), expected);
    }
}

#[test]
fn of_cutoffs_the_latest_counts_and_goes_with_the_last() {
    let index = Index::new(at(0));
    let id = jti("a");
    for user in [None, Some("ada".to_owned())] {
        let cutoff = |not_before, until| Change::refused(Revocable::Cutoff { user: user.clone(), not_before, until });
        let refuses = |seconds| index.refuses(&Presented { issued_at: Some(at(seconds).timestamp()), ..question(&id) });
        index.apply([cutoff(at(20), at(3600)), cutoff(at(10), at(3 * 3600))]);
        assert!(refuses(20) && !refuses(21));
        index.expire(at(2 * 3600));
        assert!(refuses(20), "the other one is not over yet");
        index.expire(at(5 * 3600));
        assert!(!refuses(10));
        assert_eq!(index.size().entries, 0);
    }
}

#[test]
fn a_later_end_prolongs_and_an_earlier_one_does_not_shorten() {
    for text in ["8f14e45fceea467a9d4f2f6a0c3f5d11", "a"] {
        let index = Index::new(at(0));
        index.apply([10, 30, 20].map(|hours| token(text, true, at(hours * 3600))));
        index.expire(at(30 * 3600 - 1));
        assert!(refuses_token(&index, text));
        index.expire(at(31 * 3600));
        assert!(!refuses_token(&index, text));
    }
}

#[test]
fn an_end_in_the_past_or_in_a_thousand_years_is_kept_on_the_safe_side() {
    let index = Index::new(at(0));
    let ends = [DateTime::<Utc>::MIN_UTC, at(-1), at(3600 * 24 * 365 * 10), DateTime::<Utc>::MAX_UTC];
    let name = |number: usize| format!("{number:032x}");
    index.apply(ends.iter().enumerate().map(|(number, until)| token(&name(number), true, *until)));
    assert!((0..4).all(|number| refuses_token(&index, &name(number))), "until it is told the time");
    for years in 0..=20 {
        index.expire(at(3600 * 24 * 365 * years));
        assert!((2..4).all(|number| refuses_token(&index, &name(number))));
    }
    assert_eq!(index.size().entries, 2);
}

/// A hash that sends many keys the same way.
#[derive(Clone, Copy, Debug)]
struct Few(u64);

impl BuildHasher for Few {
    type Hasher = FewHasher;

    fn build_hasher(&self) -> FewHasher {
        FewHasher { different: self.0, hash: 0 }
    }
}

struct FewHasher {
    different: u64,
    hash: u64,
}

impl Hasher for FewHasher {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
        self.hash = (sum % self.different).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// What is done to a table. Keys are few, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Insert(u128, i64),
    Remove(u128),
    /// The clock goes on by so many hours.
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..400u128;
    prop_oneof![
        20 => (key.clone(), -5..300i64).prop_map(|(key, hours)| Step::Insert(key, hours)),
        6 => key.prop_map(Step::Remove),
        1 => (0..40i64).prop_map(Step::Pass),
        1 => (700..1500i64).prop_map(Step::Pass),
    ]
}

/// A table and a map take the same steps. A key is gone from the map when it is over and the table was told.
fn compare<const SHARDS: u32, S: BuildHasher>(table: &Table<SHARDS, S>, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut map: HashMap<u128, i64> = HashMap::new();
    let mut now = 1000;
    for step in steps {
        match *step {
            Step::Insert(key, hours) => {
                table.insert(key, now + hours);
                let until = map.entry(key).or_insert(i64::MIN);
                *until = (*until).max(now + hours);
            }
            Step::Remove(key) => {
                table.remove(key);
                map.remove(&key);
            }
            Step::Pass(hours) => {
                now += hours;
                table.expire(now);
                map.retain(|_, until| *until > now);
            }
        }
        if let Step::Insert(key, _) | Step::Remove(key) = *step {
            prop_assert_eq!(table.contains(key), map.contains_key(&key));
        }
    }
    for key in 0..400 {
        prop_assert_eq!(table.contains(key), map.contains_key(&key), "{}", key);
    }
    prop_assert_eq!(table.census().keys, map.len());
    Ok(())
}

/// What is done to cutoffs.
#[derive(Clone, Debug)]
enum CutoffStep {
    /// Whose, the instant in milliseconds after the beginning, and how many hours it is kept from now on.
    Say(Option<&'static str>, i64, i64),
    /// The clock goes on by so many hours.
    Pass(i64),
}

fn cutoff_step() -> impl Strategy<Value = CutoffStep> {
    let user = prop_oneof![Just(None), Just(Some("ada")), Just(Some("bob"))];
    // Often within the same second.
    prop_oneof![
        4 => (user, prop_oneof![0..20_000i64, 4_990..5_010i64], 0..30i64)
            .prop_map(|(user, millis, hours)| CutoffStep::Say(user, millis, hours)),
        1 => (0..20i64).prop_map(CutoffStep::Pass),
    ]
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn a_table_is_a_map(steps in prop::collection::vec(step(), 1..800)) {
        compare(&Table::<0>::with_hasher(1000, RandomState::default()), &steps)?;
        compare(&Table::<2>::with_hasher(1000, RandomState::default()), &steps)?;
    }

    #[test]
    fn a_table_is_a_map_also_where_keys_collide(steps in prop::collection::vec(step(), 1..400), different in 1..40u64) {
        compare(&Table::<1, _>::with_hasher(1000, Few(different)), &steps)?;
    }

    #[test]
    fn an_index_is_a_map(steps in prop::collection::vec((0..5u8, 0..60u128, any::<bool>(), -3..90i64), 1..400)) {
        let index = Index::new(at(0));
        let mut map: BTreeMap<String, i64> = BTreeMap::new();
        let mut now = 0;
        for (form, number, refused, hours) in steps {
            let text = match form {
                0 => format!("{number:032x}"),
                1 => uuid::Uuid::from_u128(number).to_string(),
                2 => format!("t{number}"),
                3 => format!("s{number}"),
                _ => {
                    now += hours.max(0) / 8 * 3600;
                    index.expire(at(now));
                    // Ends are rounded up to the hour.
                    map.retain(|_, until| at(*until).timestamp().div_euclid(3600) >= at(now).timestamp().div_euclid(3600));
                    continue;
                }
            };
            let until = now + hours * 3600;
            let session: SessionId = uuid::Uuid::from_u128(number).to_string().parse().expect("a session id");
            index.apply([match form {
                3 => Change { what: Revocable::Session { id: session, until: at(until) }, refused },
                _ => token(&text, refused, at(until)),
            }]);
            if refused {
                let end = map.entry(text.clone()).or_insert(i64::MIN);
                *end = (*end).max(until);
            } else {
                map.remove(&text);
            }
            let id = jti("x");
            let answer = match form {
                3 => index.refuses(&Presented { session: Some(session), ..question(&id) }),
                _ => refuses_token(&index, &text),
            };
            prop_assert_eq!(answer, refused);
        }
        prop_assert_eq!(index.size().entries, map.len());
        for (text, session) in (0..60).map(|number| (format!("s{number}"), uuid::Uuid::from_u128(number).to_string())) {
            let (session, id) = (session.parse().expect("a session id"), jti("x"));
            let answer = index.refuses(&Presented { session: Some(session), ..question(&id) });
            prop_assert_eq!(answer, map.contains_key(&text), "{}", text);
        }
        let names = |number: u128| {
            [format!("{number:032x}"), uuid::Uuid::from_u128(number).to_string(), format!("t{number}")]
        };
        for text in (0..60).flat_map(names) {
            prop_assert_eq!(refuses_token(&index, &text), map.contains_key(&text), "{}", text);
        }
    }

    /// The model is a list of what was said; the clock is moved by the steps.
    #[test]
    fn cutoffs_are_a_list_of_what_was_said(steps in prop::collection::vec(cutoff_step(), 1..60)) {
        let index = Index::new(at(0));
        // Whose, the instant in milliseconds after the beginning, the last hour.
        let mut said: Vec<(Option<&str>, i64, i64)> = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                CutoffStep::Say(user, millis, hours) => {
                    let until = now + hours * 3600;
                    let not_before = at(0) + TimeDelta::milliseconds(millis);
                    let user_text = user.map(str::to_owned);
                    index.apply([Change::refused(Revocable::Cutoff { user: user_text, not_before, until: at(until) })]);
                    said.push((user, millis, until));
                }
                CutoffStep::Pass(hours) => {
                    now += hours * 3600;
                    index.expire(at(now));
                    // The latest of a user is kept until the last of the user's is over, and ends are rounded up to the hour.
                    let hour = |seconds: i64| at(seconds).timestamp().div_euclid(3600);
                    let lasts: Vec<_> = said.iter().filter(|known| hour(known.2) >= hour(now)).map(|known| known.0).collect();
                    said.retain(|known| lasts.contains(&known.0));
                }
            }
            for user in [Some("ada"), Some("bob"), None] {
                let of_it = |known: &&(Option<&str>, i64, i64)| known.0.is_none() || known.0 == user;
                let mark = said.iter().filter(of_it).map(|known| known.1).max();
                let id = jti("x");
                for millis in (-3..=3).map(|offset| mark.unwrap_or(5000) + offset) {
                    let began = at(0) + TimeDelta::milliseconds(millis);
                    let session = SessionId::starting_at(u64::try_from(began.timestamp_millis()).expect("after 1970"));
                    let expected = mark.is_some_and(|mark| millis <= mark);
                    let with = Presented { jti: &id, session: Some(session), issued_at: Some(i64::MAX / 1000), user };
                    prop_assert_eq!(index.refuses(&with), expected, "{:?} at {} of {:?}", user, millis, said);
                }
                for second in [-1, 0, 1].map(|offset| mark.unwrap_or(5000).div_euclid(1000) + offset) {
                    let expected = mark.is_some_and(|mark| second * 1000 <= mark);
                    let without = Presented { jti: &id, session: None, issued_at: Some(at(second).timestamp()), user };
                    prop_assert_eq!(index.refuses(&without), expected, "{:?} in {} of {:?}", user, second, said);
                }
                let without = Presented { jti: &id, session: None, issued_at: None, user };
                prop_assert_eq!(index.refuses(&without), mark.is_some(), "{:?} at no time of {:?}", user, said);
            }
        }
        let users: std::collections::BTreeSet<_> = said.iter().map(|known| known.0).collect();
        prop_assert_eq!(index.size().entries, users.len());
    }
}

/// Every reader asks for keys that were inserted and never removed, and for such as never were, while others come and go.
#[test]
fn readers_find_what_stays_while_a_writer_is_at_work() {
    const STAY: u64 = 1 << 40;
    const NEVER: u64 = 1 << 50;
    let table: Table<2> = Table::with_hasher(0, RandomState::default());
    // So many of the keys that stay are in already; `u64::MAX` ends the test.
    let inserted = AtomicU64::new(0);
    thread::scope(|scope| {
        for reader in 0..3u64 {
            let (table, inserted) = (&table, &inserted);
            scope.spawn(move || {
                let mut number = reader;
                let mut asked = 0u64;
                loop {
                    let count = inserted.load(Ordering::Acquire);
                    if count == u64::MAX {
                        return assert!(asked > 0);
                    }
                    number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    if count > 0 {
                        let key = STAY + (number >> 33) % count;
                        assert!(table.contains(key.into()), "{key:#x} of {count} is missing");
                        asked += 1;
                    }
                    assert!(!table.contains((NEVER + (number >> 33)).into()));
                }
            });
        }
        for number in 0..60_000u64 {
            table.insert((STAY + number).into(), 1_000);
            inserted.store(number + 1, Ordering::Release);
            table.insert(number.into(), 1 + (number / 10_000).cast_signed());
            if number % 3 == 0 {
                table.remove((number / 2).into());
            }
            if number % 10_000 == 9_999 {
                table.expire((number / 10_000).cast_signed());
            }
        }
        inserted.store(u64::MAX, Ordering::Release);
    });
    let held = (0..60_000u64).filter(|number| table.contains(u128::from(*number))).count();
    assert_eq!(table.census().keys, 60_000 + held);
}

/// What a table takes for each key, whatever its size happens to be.
#[test]
fn a_key_takes_less_than_24_bytes() {
    let table = Table::new(0);
    for number in 0..600_000u128 {
        table.insert(number.wrapping_mul(0x2545_f491_4f6c_dd1d_5851_f42d_4c95_7f2d), 10);
        let held = usize::try_from(number + 1).expect("small");
        if held > 200_000 && held % 1000 == 0 {
            let bytes = table.census().bytes;
            assert!(bytes < 24 * held, "{bytes} bytes for {held} keys");
        }
    }
    table.expire(10);
    assert!(table.census().bytes < 600_000, "memory is given back: {:?}", table.census());
}
