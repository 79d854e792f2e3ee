//! Whoever follows the log knows what the ledger would answer: everything that is refused, and nothing else.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::token::{Change, Revocable};

/// A process that loaded everything once, and has pulled since.
pub(super) struct Follower {
    pub(super) ledger: Ledger,
    pub(super) position: Position,
    tokens: HashMap<Jti, bool>,
    sessions: HashMap<SessionId, bool>,
    pub(super) cutoffs: Vec<Change>,
}

impl Follower {
    /// Loads everything, with connections of its own.
    pub(super) async fn of(test: &Test) -> Self {
        let ledger = Ledger::open(&test.options()).unwrap();
        let mut changes = Vec::new();
        let all = |page, _| {
            Vec::extend(&mut changes, page);
            taken()
        };
        let position = ledger.load_revocations(as_of(), RETENTION, all).await.unwrap();
        let mut follower =
            Self { ledger, position, tokens: HashMap::new(), sessions: HashMap::new(), cutoffs: Vec::new() };
        for change in changes {
            assert!(change.refused, "a load is of what is refused: {change:?}");
            follower.apply(change);
        }
        follower
    }

    fn apply(&mut self, change: Change) {
        match change.what {
            Revocable::Token { jti, .. } => drop(self.tokens.insert(jti, change.refused)),
            Revocable::Session { id, .. } => drop(self.sessions.insert(id, change.refused)),
            Revocable::Cutoff { .. } => self.cutoffs.push(change),
        }
    }

    /// Pulls until there is no more, and says how many changes there were, or why it has to load anew.
    pub(super) async fn pull(&mut self) -> Result<usize, Reload> {
        self.pull_by(3).await
    }

    pub(super) async fn pull_by(&mut self, limit: i64) -> Result<usize, Reload> {
        let mut all = 0;
        for _ in 0..100_000 {
            let pull = self.ledger.revocations_since(&self.position, RETENTION, limit).await.unwrap();
            let (changes, position, more) = match pull {
                Pull::Changes { changes, position, more } => (changes, position, more),
                Pull::Reload(why) => return Err(why),
            };
            assert!(position.seq >= self.position.seq);
            self.position = position;
            all += changes.len();
            for change in changes {
                self.apply(change);
            }
            if !more {
                return Ok(all);
            }
        }
        panic!("there is always more");
    }

    pub(super) fn refuses(&self, jti: &Jti, session: Option<SessionId>) -> bool {
        let over = session.is_some_and(|id| self.sessions.get(&id).copied().unwrap_or_default());
        over || self.tokens.get(jti).copied().unwrap_or_default()
    }
}

/// Before everything that these tests write, also before what the database writes by its own clock.
fn as_of() -> DateTime<Utc> {
    at(0).min(std::time::SystemTime::now().into())
}

/// When live tokens expire in these tests: what the clock of the database says counts too.
pub(super) fn late() -> DateTime<Utc> {
    at(70 * 365 * DAY)
}

/// When expired ones did.
pub(super) fn long_ago() -> DateTime<Utc> {
    at(-7 * 365 * DAY)
}

/// A token of this kind and session, on record here.
pub(super) fn token_of(kind: TokenKind, session: SessionId, expires_at: DateTime<Utc>) -> NewRecord {
    NewRecord { kind, expires_at, keep_until: expires_at.max(at(DAY)) + RETENTION.margin, ..refresh_token(session) }
}

/// A row that Django wrote, of which we know nothing else.
pub(super) fn recorded_elsewhere(test: &Test, expires_at: DateTime<Utc>) -> Jti {
    let jti = Jti::random();
    test.sql(&format!(
        "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, jti)
         VALUES ('', '{}', '{}', '{jti}')",
        at(0).naive_utc(),
        expires_at.naive_utc(),
    ));
    jti
}

/// What Django's admin does to undo it.
pub(super) fn restore_elsewhere(test: &Test, jti: &Jti) {
    test.sql(&format!(
        "DELETE FROM token_blacklist_blacklistedtoken WHERE token_id IN
         (SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{jti}')"
    ));
}

/// What Django's `flushexpiredtokens` does, in its order.
pub(super) fn flush_elsewhere(test: &Test) {
    let expired = "expires_at <= '2025-01-01 00:00:00'";
    test.sql(&format!(
        "BEGIN;
         DELETE FROM token_blacklist_blacklistedtoken WHERE token_id IN
         (SELECT id FROM token_blacklist_outstandingtoken WHERE {expired});
         DELETE FROM token_blacklist_outstandingtoken WHERE {expired};
         COMMIT;"
    ));
}

/// Somebody's token of which something may change.
#[derive(Clone, Debug)]
struct Somebodys {
    jti: Jti,
    kind: Option<TokenKind>,
    session: Option<SessionId>,
    /// Whether it can be presented; otherwise it has expired.
    lives: bool,
    /// Whether its row has expired. To take it off the blacklist then may change nothing: on MariaDB it looks like a flush.
    over: bool,
}

/// The world of one random run.
struct World {
    test: Test,
    tokens: Vec<Somebodys>,
    sessions: Vec<SessionId>,
}

impl World {
    async fn new() -> Self {
        let mut world = Self { test: Test::new().await, tokens: Vec::new(), sessions: Vec::new() };
        for _ in 0..3 {
            world.login(late()).await;
        }
        world
    }

    async fn login(&mut self, expires_at: DateTime<Utc>) {
        let id = SessionId::starting_at(millis(at(0)));
        let user = ["7", "8"][self.sessions.len() % 2];
        let session = NewSession { user: Some(user.into()), keep_until: late(), ..new_session(id) };
        let token = token_of(TokenKind::Refresh, id, expires_at);
        let (jti, kind) = (token.jti.clone(), Some(TokenKind::Refresh));
        self.test.ledger.record_login(session, token).await.unwrap();
        self.sessions.push(id);
        self.tokens.push(Somebodys {
            jti,
            kind,
            session: Some(id),
            lives: expires_at > at(0),
            over: expires_at < at(0),
        });
    }

    fn listed(&self, jti: &Jti) -> bool {
        self.test.number(&format!(
            "SELECT count(*) FROM token_blacklist_blacklistedtoken AS b
             JOIN token_blacklist_outstandingtoken AS o ON o.id = b.token_id WHERE o.jti = '{jti}'"
        )) > 0
    }

    /// Does something, as two numbers have it.
    async fn act(&mut self, what: u8, which: usize) {
        let token = self.tokens[which % self.tokens.len()].clone();
        let session = self.sessions[which % self.sessions.len()];
        let test = &self.test;
        match what {
            0 => self.login(late()).await,
            1 => self.login(long_ago()).await,
            2 | 3 => {
                let kind = if what == 2 { TokenKind::Access } else { TokenKind::Sliding };
                let record = token_of(kind, session, late());
                let jti = record.jti.clone();
                test.ledger.record(record).await.unwrap();
                self.tokens.push(Somebodys { jti, kind: Some(kind), session: Some(session), lives: true, over: false });
            }
            4 | 5 => {
                let jti = recorded_elsewhere(test, if what == 4 { late() } else { long_ago() });
                // One of unknown kind may be renewed although its row has expired.
                self.tokens.push(Somebodys { jti, kind: None, session: None, lives: true, over: what == 5 });
            }
            6 | 7 => {
                let known = RevokeItem { kind: token.kind, session: token.session, ..by_jti(&token.jti) };
                let item = if what == 6 { by_jti(&token.jti) } else { RevokeItem { token_known: true, ..known } };
                let item = RevokeItem { expires_at: late(), keep_until: late(), session_keep_until: late(), ..item };
                let order = Revocation { ends_session: !which.is_multiple_of(3), ..revocation(vec![item]) };
                test.ledger.revoke(order).await.unwrap();
            }
            8 if !token.over => drop(test.restore(&token.jti).await),
            9..=11 if !self.listed(&token.jti) => test.blacklist_elsewhere(&token.jti),
            12 | 13 if !token.over => restore_elsewhere(test, &token.jti),
            14 => flush_elsewhere(test),
            15 if token.kind == Some(TokenKind::Refresh) => {
                let Some(session) = token.session else { return };
                let new =
                    NewRecord { parent: Some(token.jti.clone()), ..token_of(TokenKind::Refresh, session, late()) };
                let jti = new.jti.clone();
                let order = Rotation { new, session_keep_until: late(), ..rotation(&token.jti, session) };
                if test.ledger.rotate(order).await.unwrap() == Rotated::Done {
                    self.tokens.push(Somebodys { jti, lives: true, over: false, ..token });
                }
            }
            16 => drop(test.ledger.end_sessions_of(&["7", "8"][which % 2].into(), "logout", &actor(), at(60)).await),
            _ => {}
        }
    }

    /// Whether the follower says of every token what the ledger says.
    async fn agrees(&self, follower: &Follower, when: &str) {
        let refresh = Some(TokenKind::Refresh);
        // An access token that nobody recorded, of each session.
        let access = self.sessions.iter().map(|id| (Jti::random(), Some(*id)));
        let live = self.tokens.iter().filter(|token| token.lives && token.kind != refresh);
        for (jti, session) in access.chain(live.map(|token| (token.jti.clone(), token.session))) {
            let refused = self.test.refused(&jti, session).await;
            let token = self.tokens.iter().find(|token| token.jti == jti);
            assert_eq!(follower.refuses(&jti, session), refused, "{when}: {token:?} of {session:?}");
        }
    }
}

/// How many random runs, and how long each of them is.
const RUNS: (u32, usize) = (12, 60);

proptest! {
    #![proptest_config(ProptestConfig {
        cases: RUNS.0, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default()
    })]

    #[test]
    fn who_loads_and_pulls_knows_what_the_ledger_knows(
        acts in prop::collection::vec((0_u8..17, any::<usize>()), 1..RUNS.1),
        before in 0_usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            let (earlier, later) = acts.split_at(before.min(acts.len()));
            for (what, which) in earlier {
                world.act(*what, *which).await;
            }
            let mut follower = Follower::of(&world.test).await;
            world.agrees(&follower, "after the load").await;
            for (step, (what, which)) in later.iter().enumerate() {
                world.act(*what, *which).await;
                if step % 5 == 0 {
                    follower.pull().await.unwrap();
                    world.agrees(&follower, &format!("after {what} on {which} and what came before")).await;
                }
            }
            follower.pull().await.unwrap();
            world.agrees(&follower, "in the end").await;
            assert_eq!(follower.pull().await, Ok(0), "nothing comes twice where nothing happens");
            let fresh = Follower::of(&world.test).await;
            world.agrees(&fresh, "loaded in the end").await;
        });
    }
}

#[tokio::test]
async fn until_when_it_is_to_be_remembered_comes_along() {
    let test = Test::new().await;
    let mut follower = Follower::of(&test).await;
    let session = SessionId::starting_at(0);
    let access = token_of(TokenKind::Access, session, late());
    let jti = access.jti.clone();
    test.ledger.record(access).await.unwrap();
    test.revoke(RevokeItem { keep_until: late() + TimeDelta::days(9), ..by_jti(&jti) }).await;
    let unknown = recorded_elsewhere(&test, at(60));
    test.blacklist_elsewhere(&unknown);
    let id = SessionId::starting_at(0);
    test.ledger
        .record_login(NewSession { keep_until: at(3 * DAY), ..new_session(id) }, refresh_token(id))
        .await
        .unwrap();
    test.ledger.end_sessions_of(&"7".into(), "logout", &actor(), at(60)).await.unwrap();
    let Pull::Changes { changes, more: false, .. } =
        follower.ledger.revocations_since(&follower.position, RETENTION, 100).await.unwrap()
    else {
        panic!("there is no more, and nothing to load anew");
    };
    let mut loaded = Vec::new();
    let all = |page, _| {
        Vec::extend(&mut loaded, page);
        taken()
    };
    follower.position = test.ledger.load_revocations(at(0), RETENTION, all).await.unwrap();
    for all in [changes, loaded] {
        let expected = [
            Revocable::Token { jti: jti.clone(), until: late() + TimeDelta::days(9) },
            // Of unknown kind: as long as a sliding token could be renewed.
            Revocable::Token { jti: unknown.clone(), until: at(DAY + MARGIN) },
            Revocable::Session { id, until: at(3 * DAY + 300 + MARGIN) },
        ]
        .map(Change::refused);
        assert!(expected.iter().all(|change| all.contains(change)) && all.len() == 3, "{all:#?}");
    }
    // Longer than before, though nothing else changed.
    test.revoke(RevokeItem { keep_until: late() + TimeDelta::days(99), ..by_jti(&jti) }).await;
    let longer = follower.ledger.revocations_since(&follower.position, RETENTION, 100).await.unwrap();
    let Pull::Changes { changes, .. } = longer else { panic!("{longer:?}") };
    assert_eq!(changes, [Change::refused(Revocable::Token { jti, until: late() + TimeDelta::days(99) })]);
}

#[tokio::test]
async fn what_django_flushed_stays_refused_as_long_as_what_was_bought_with_it_lives() {
    let test = Test::new().await;
    let mut follower = Follower::of(&test).await;
    let id = SessionId::starting_at(0);
    let refresh = token_of(TokenKind::Refresh, id, long_ago());
    let jti = refresh.jti.clone();
    test.ledger.record_login(new_session(id), refresh).await.unwrap();
    let sliding = recorded_elsewhere(&test, long_ago());
    let undone = recorded_elsewhere(&test, late());
    for jti in [&jti, &sliding, &undone] {
        test.blacklist_elsewhere(jti);
    }
    let check = async |follower: &Follower, when: &str| {
        for (jti, session) in [(Jti::random(), Some(id)), (sliding.clone(), None)] {
            assert!(test.refused(&jti, session).await, "{when}");
            assert!(follower.refuses(&jti, session), "{when}");
        }
    };
    follower.pull().await.unwrap();
    check(&follower, "before").await;
    assert!(follower.refuses(&undone, None));
    flush_elsewhere(&test);
    // Somebody deletes a token that was taken off the blacklist while it was good.
    restore_elsewhere(&test, &undone);
    test.sql(&format!("DELETE FROM token_blacklist_outstandingtoken WHERE jti = '{undone}'"));
    assert_eq!(test.rows("token_blacklist_outstandingtoken"), 0);
    follower.pull().await.unwrap();
    check(&follower, "flushed").await;
    assert!(!follower.refuses(&undone, None) && !test.refused(&undone, None).await);
    let fresh = Follower::of(&test).await;
    check(&fresh, "loaded after that").await;
    assert!(!fresh.refuses(&undone, None));
}

/// Django's clock is ahead of the database's.
#[tokio::test]
async fn a_flush_that_comes_too_early_takes_nothing_back() {
    let test = Test::new().await;
    let now = DateTime::<Utc>::from(std::time::SystemTime::now());
    let [early, good] = [30, 600].map(|seconds| recorded_elsewhere(&test, now + TimeDelta::seconds(seconds)));
    for jti in [&early, &good] {
        test.blacklist_elsewhere(jti);
    }
    let mut follower = Follower::of(&test).await;
    test.sql(
        "BEGIN;
         DELETE FROM token_blacklist_blacklistedtoken;
         DELETE FROM token_blacklist_outstandingtoken;
         COMMIT;",
    );
    follower.pull().await.unwrap();
    for (jti, refused) in [(&early, true), (&good, false)] {
        assert_eq!(follower.refuses(jti, None), refused);
        assert_eq!(test.refused(jti, None).await, refused);
        assert_eq!(Follower::of(&test).await.refuses(jti, None), refused);
    }
    // The token itself stays: it was meant to be taken off.
    let undone = recorded_elsewhere(&test, now + TimeDelta::seconds(30));
    test.blacklist_elsewhere(&undone);
    follower.pull().await.unwrap();
    restore_elsewhere(&test, &undone);
    follower.pull().await.unwrap();
    assert!(!follower.refuses(&undone, None) && !test.refused(&undone, None).await);
}

#[tokio::test]
async fn a_revocation_whose_row_somebody_deleted_is_undone_for_all() {
    let test = Test::new().await;
    let jti = recorded_elsewhere(&test, late());
    test.revoke(by_jti(&jti)).await;
    restore_elsewhere(&test, &jti);
    let mut follower = Follower::of(&test).await;
    assert!(follower.refuses(&jti, None) && test.refused(&jti, None).await, "it is revoked here too");
    assert_eq!(test.restore(&jti).await, RestoreOutcome::Restored { session_reopened: false });
    follower.pull().await.unwrap();
    assert!(!follower.refuses(&jti, None) && !test.refused(&jti, None).await);
}

#[tokio::test]
async fn cutoffs_are_followed() {
    let test = Test::new().await;
    let mut follower = Follower::of(&test).await;
    test.sql(&format!(
        "INSERT INTO simplejwt_cutoff (user_id, not_before, keep_until)
         VALUES (NULL, '{0}', '{1}'), ('7', '{0}', '{1}')",
        at(5).naive_utc(),
        at(DAY).naive_utc()
    ));
    follower.pull().await.unwrap();
    let of = |user: Option<&str>, not_before| {
        let user = user.map(str::to_owned);
        Change::refused(Revocable::Cutoff { user, not_before, until: at(DAY) })
    };
    assert_eq!(follower.cutoffs, [of(None, at(5)), of(Some("7"), at(5))]);
    assert_eq!(Follower::of(&test).await.cutoffs, follower.cutoffs);
    test.sql(&format!("UPDATE simplejwt_cutoff SET not_before = '{}' WHERE user_id = '7'", at(9).naive_utc()));
    follower.cutoffs.clear();
    follower.pull().await.unwrap();
    assert_eq!(follower.cutoffs, [of(Some("7"), at(9))]);
}

#[tokio::test]
async fn ten_thousand_at_once_are_followed_and_loaded() {
    let test = Test::new().await;
    let mut follower = Follower::of(&test).await;
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)";
    let mut elsewhere = test.elsewhere();
    elsewhere
        .execute(&format!(
            "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, jti) {numbers}
             SELECT '', {then}, {late}, concat('bulk-', i) FROM n",
            then = instant(&test, at(0)),
            late = instant(&test, late()),
        ))
        .unwrap();
    elsewhere
        .execute(&format!(
            "INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id)
             SELECT {}, id FROM token_blacklist_outstandingtoken",
            instant(&test, at(0))
        ))
        .unwrap();
    let changes = follower.pull_by(700).await.unwrap();
    assert!(changes >= 10_000, "{changes}");
    let mut pages = Vec::new();
    let counted = |page: Vec<_>, rows| {
        pages.push((page.len(), rows));
        taken()
    };
    let fresh = test.ledger.load_revocations(at(0), RETENTION, counted);
    fresh.await.unwrap();
    let loaded: usize = pages.iter().map(|(changes, _)| changes).sum();
    assert!(loaded == 10_000 && pages.last().is_some_and(|(_, rows)| *rows == 10_000), "{pages:?}");
    for number in [1, 5000, 10_000] {
        assert!(follower.refuses(&format!("bulk-{number}").parse().unwrap(), None));
    }
    elsewhere.execute("DELETE FROM token_blacklist_blacklistedtoken WHERE token_id % 2 = 0").unwrap();
    follower.pull_by(700).await.unwrap();
    let refused = (1..=10_000).filter(|number| follower.refuses(&format!("bulk-{number}").parse().unwrap(), None));
    assert_eq!(refused.count(), 5000);
}

/// An instant in SQL.
fn instant(test: &Test, at: DateTime<Utc>) -> String {
    match test.database.kind() {
        Kind::Postgres => format!("CAST('{}' AS timestamp with time zone)", at.naive_utc()),
        Kind::Sqlite | Kind::Mysql => format!("'{}'", at.naive_utc()),
    }
}

#[tokio::test]
async fn tokens_that_are_kept_until_the_same_moment_are_loaded_once_each() {
    let test = Test::new().await;
    let kept = |moment: i64, count| std::iter::repeat_n(late() + TimeDelta::seconds(moment), count);
    // Some pages begin and end within one moment, and some go over several.
    let moments =
        kept(0, 100).chain(kept(1, 1700)).chain(kept(2, 50)).chain((3..600).flat_map(|moment| kept(moment, 2)));
    let item = |keep_until| RevokeItem { expires_at: late(), keep_until, ..by_jti(&Jti::random()) };
    let items: Vec<_> = moments.map(item).collect();
    let mut jtis: Vec<_> = items.iter().map(|item| item.jti.clone()).collect();
    test.ledger.revoke(revocation(items)).await.unwrap();
    let mut loaded = Vec::new();
    let all = |page: Vec<Change>, _| {
        loaded.extend(page.into_iter().filter_map(|change| match change.what {
            Revocable::Token { jti, .. } => Some(jti),
            Revocable::Session { .. } | Revocable::Cutoff { .. } => None,
        }));
        taken()
    };
    test.ledger.load_revocations(at(0), RETENTION, all).await.unwrap();
    jtis.sort();
    loaded.sort();
    assert!(jtis == loaded, "{} of {}", loaded.len(), jtis.len());
}

/// Where nearly all that is on the blacklist was revoked here, whatever else is there is loaded as well.
#[tokio::test]
async fn what_others_blacklisted_among_what_was_revoked_here_is_loaded() {
    let test = Test::new().await;
    let mut jtis = Vec::new();
    let mut others = Vec::new();
    for (count, kept_for) in [(500, 0), (100, 9), (1000, 0), (100, -9), (400, 0)] {
        let keep_until = late() + TimeDelta::days(kept_for);
        let items: Vec<_> =
            (0..count).map(|_| RevokeItem { expires_at: late(), keep_until, ..by_jti(&Jti::random()) }).collect();
        jtis.extend(items.iter().map(|item| item.jti.clone()));
        test.ledger.revoke(revocation(items)).await.unwrap();
        for _ in 0..3 {
            let jti = recorded_elsewhere(&test, late());
            test.blacklist_elsewhere(&jti);
            others.push(jti);
        }
    }
    // Refresh tokens are not loaded, and the session of one that others blacklisted is.
    let (session, refresh) = test.login().await;
    test.blacklist_elsewhere(&refresh);
    let (over, refresh) = test.login().await;
    test.revoke(by_jti(&refresh)).await;
    // The last of all was revoked here, too.
    jtis.push(Jti::random());
    test.revoke(by_jti(jtis.last().unwrap())).await;
    let (mut loaded, mut sessions) = (Vec::new(), Vec::new());
    let all = |page: Vec<Change>, _| {
        for change in page.into_iter().filter(|change| change.refused) {
            match change.what {
                Revocable::Token { jti, .. } => loaded.push(jti),
                Revocable::Session { id, .. } => sessions.push(id),
                Revocable::Cutoff { .. } => {}
            }
        }
        taken()
    };
    test.ledger.load_revocations(at(0), RETENTION, all).await.unwrap();
    assert!(sessions.contains(&session) && sessions.contains(&over) && sessions.len() == 2, "{sessions:?}");
    jtis.extend(others);
    jtis.sort();
    loaded.sort();
    assert!(jtis == loaded, "{} of {}", loaded.len(), jtis.len());
}
