//! What is found where memory and ledger do not agree, and what becomes of it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

use crate::blacklist::{CacheOptions, CachedBlacklist, Presented, WhenStale};
use crate::ledger::{
    Actor, Ledger, LedgerOptions, MigrateOptions, NewCutoff, PartCursor, Restoration, Retention, Revocation,
    RevokeItem, Via,
};
use crate::token::{Change, Clock as _, Jti, Revocable, SessionId, SystemClock};

use super::compare::Round;
use super::{Copied, Follower};
use crate::blacklist::BlacklistError;
use crate::blacklist::index::{Index, Size};

const DAY: TimeDelta = TimeDelta::days(1);
const RETENTION: Retention =
    Retention { margin: TimeDelta::seconds(60), sliding_refresh_lifetime: DAY, access_lifetime: TimeDelta::minutes(5) };

/// A ledger, and a process that follows it.
struct Site {
    directory: tempfile::TempDir,
    ledger: Ledger,
    blacklist: CachedBlacklist,
    now: DateTime<Utc>,
}

fn actor() -> Actor {
    Actor { who: "cli:root".to_owned(), via: Via::Cli, address: None }
}

impl Site {
    async fn new() -> Self {
        Self::polling(Duration::from_millis(20)).await
    }

    async fn polling(poll_interval: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("tokens.sqlite3").display());
        let options = LedgerOptions { create: true, ..LedgerOptions::new(url.parse().unwrap()) };
        let ledger = Ledger::open(&options).unwrap();
        ledger.migrate(MigrateOptions::default()).await.unwrap();
        let clock = Arc::new(SystemClock::default());
        let now = clock.now();
        let options = CacheOptions {
            poll_interval,
            staleness_bound: Duration::from_secs(60),
            when_stale: WhenStale::Refuse,
            retention: RETENTION,
        };
        let blacklist = CachedBlacklist::new(ledger.clone(), options, clock);
        Self { directory, ledger, blacklist, now }
    }

    /// Follows in the background, until the test ends.
    async fn followed(self) -> Self {
        let blacklist = self.blacklist.clone();
        drop(tokio::spawn(async move { blacklist.follow().await }));
        self.blacklist.loaded_within(Duration::from_secs(10)).await;
        self
    }

    /// By somebody else.
    fn sql(&self, statements: &str) {
        let path = self.directory.path().join("tokens.sqlite3");
        let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        connection.batch_execute(&format!("PRAGMA busy_timeout = 5000; {statements}")).unwrap();
    }

    async fn revoke(&self, jti: &Jti) {
        let keep_until = self.now + DAY;
        let item = RevokeItem {
            jti: jti.clone(),
            kind: None,
            session: None,
            user: None,
            expires_at: keep_until,
            keep_until,
            session_keep_until: keep_until,
            token_known: false,
        };
        let order = Revocation { items: vec![item], reason: None, actor: actor(), ends_session: true, at: self.now };
        self.ledger.revoke(order).await.unwrap();
    }

    async fn end(&self, session: SessionId) {
        self.ledger.end_session(session, self.now + DAY, "gone", &actor(), self.now).await.unwrap();
    }

    async fn cut_off(&self, user: &str) {
        let cutoff = NewCutoff {
            user: Some(user.into()),
            not_before: self.now,
            keep_until: self.now + DAY,
            reason: None,
            actor: actor(),
            at: self.now,
        };
        self.ledger.cut_off(cutoff).await.unwrap();
    }

    /// Takes it off the blacklist, as the command line does.
    async fn restore(&self, jti: &Jti) {
        let order = Restoration { jtis: vec![jti.clone()], actor: actor(), reason: None, at: self.now };
        self.ledger.restore(order).await.unwrap();
    }

    /// What Django's admin does, with a row of its own for the token.
    fn blacklist_elsewhere(&self, jti: &Jti) -> String {
        let (now, end) = (self.now.naive_utc(), (self.now + DAY).naive_utc());
        format!(
            "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, jti) \
             VALUES ('', '{now}', '{end}', '{jti}'); \
             INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id) \
             SELECT '{now}', id FROM token_blacklist_outstandingtoken WHERE jti = '{jti}';"
        )
    }

    /// Whether this process refuses it, and whether the ledger does.
    async fn refuse(&self, token: Presented<'_>) -> (bool, bool) {
        (self.blacklist.is_blacklisted(token).await.unwrap(), self.ledger.is_refused(token).await.unwrap())
    }

    async fn refuse_token(&self, jti: &Jti) -> (bool, bool) {
        self.refuse(Presented { jti, session: None, issued_at: Some(i64::MAX / 1000), user: None }).await
    }

    /// Waits until the ledger refuses it; this process must do it all the time.
    async fn refused_again(&self, token: Presented<'_>) {
        let begun = Instant::now();
        loop {
            let (here, there) = self.refuse(token).await;
            assert!(here, "{token:?} is not refused here any more");
            if there {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{token:?} is not written back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn state(&self) -> (u64, u64) {
        let state = self.blacklist.state();
        (state.repaired, state.lost_rows)
    }
}

/// Takes away what feeds the log. It is not put back within a minute.
const NO_TRIGGERS: &str = "DROP TRIGGER simplejwt_blacklisted_insert; DROP TRIGGER simplejwt_blacklisted_delete;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_ledger_has_refused_stays_refused_when_memory_decides_again() {
    let site = Site::polling(Duration::from_secs(60)).await.followed().await;
    let follower = site.blacklist.follower();
    let jti = Jti::random();
    site.sql(&site.blacklist_elsewhere(&jti));
    assert_eq!(site.refuse_token(&jti).await, (false, true), "nobody has pulled since");
    // Until it was looked why, the ledger is asked.
    let begun = Instant::now();
    loop {
        follower.missed();
        if site.refuse_token(&jti).await.0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "the ledger is not asked");
    }
    while !site.blacklist.state().believed {
        assert!(begun.elapsed() < Duration::from_secs(10), "memory does not decide again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!follower.copy.knows(&Revocable::Token { jti: jti.clone(), until: site.now + DAY }));
    assert_eq!(site.refuse_token(&jti).await, (true, true), "and it was refused before");
    site.restore(&jti).await;
    site.blacklist.catch_up().await.unwrap();
    assert_eq!(site.refuse_token(&jti).await, (false, false), "it was taken off the blacklist since");
}

#[tokio::test]
async fn what_triggers_did_not_tell_of_is_found_in_both_directions() {
    let site = Site::new().await.followed().await;
    let (missed, deleted, freed, kept) = (Jti::random(), Jti::random(), Jti::random(), Jti::random());
    for jti in [&deleted, &freed, &kept] {
        site.revoke(jti).await;
    }
    site.blacklist.catch_up().await.unwrap();
    let mut round = Round::default();
    let compare = async |round: &mut Round| site.blacklist.follower().compare(round).await.unwrap();
    site.restore(&freed).await;
    compare(&mut round).await;
    assert_eq!(site.state(), (0, 0), "what the log tells of is no divergence");
    assert_eq!(site.refuse_token(&freed).await, (false, false), "nor is what it took back");

    // What is no text stops nobody.
    let no_text = site.blacklist_elsewhere(&Jti::random()).replace("('', ", "(x'ff', ");
    let no_text = no_text.replace("WHERE jti", "WHERE token = x'ff' OR jti")
        + "UPDATE token_blacklist_outstandingtoken SET jti = x'fe' WHERE token = x'ff';";
    site.sql(&format!(
        "{NO_TRIGGERS} {} {no_text} DELETE FROM token_blacklist_blacklistedtoken WHERE token_id = \
         (SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{deleted}'); \
         UPDATE simplejwt_token SET revoked_at = NULL WHERE jti = '{deleted}';",
        site.blacklist_elsewhere(&missed)
    ));
    site.blacklist.catch_up().await.unwrap();
    assert_eq!(site.refuse_token(&missed).await, (false, true), "nobody was told");
    assert_eq!(site.refuse_token(&deleted).await, (true, false));
    for _ in 0..2 {
        compare(&mut round).await;
        assert_eq!(site.state(), (1, 1));
        for jti in [&missed, &deleted, &kept] {
            assert_eq!(site.refuse_token(jti).await, (true, true));
        }
    }
    let events = site.ledger.events_of(&deleted).await.unwrap();
    assert!(events[0].who.starts_with("process:") && events[0].reason.is_some(), "{events:?}");
}

/// The database as it was before: what was written since is gone, and so is what the log said of it.
fn back_to(seq: i64, what: &str) -> String {
    format!("BEGIN IMMEDIATE; {NO_TRIGGERS} {what} DELETE FROM simplejwt_revocation WHERE seq > {seq};")
}

const TRIGGERS: &str = "CREATE TRIGGER simplejwt_blacklisted_delete AFTER DELETE ON token_blacklist_blacklistedtoken
    BEGIN INSERT INTO simplejwt_revocation (token_id, removed, at)
    VALUES (OLD.token_id, 1, strftime('%Y-%m-%d %H:%M:%f', 'now')); END;";

#[tokio::test]
async fn what_a_restored_backup_has_lost_is_written_back_and_what_was_freed_since_is_not() {
    let site = Site::new().await;
    let (before, freed, lost) = (Jti::random(), Jti::random(), Jti::random());
    let over = SessionId::starting_at(u64::try_from(site.now.timestamp_millis()).unwrap());
    site.revoke(&before).await;
    site.revoke(&freed).await;
    let site = site.followed().await;
    let seq = site.ledger.log_state().await.unwrap().position.seq;
    site.revoke(&lost).await;
    site.end(over).await;
    site.cut_off("7").await;
    site.blacklist.catch_up().await.unwrap();
    let back = back_to(
        seq,
        &format!(
            "DELETE FROM token_blacklist_blacklistedtoken WHERE token_id = \
             (SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{lost}'); \
             DELETE FROM token_blacklist_outstandingtoken WHERE jti = '{lost}'; \
             DELETE FROM simplejwt_token WHERE jti = '{lost}'; \
             DELETE FROM simplejwt_session; DELETE FROM simplejwt_cutoff;"
        ),
    );
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Whoever restored it takes a token off the blacklist before anybody else comes.
    site.sql(&format!(
        "{back} {TRIGGERS} UPDATE simplejwt_token SET revoked_at = NULL WHERE jti = '{freed}'; \
         DELETE FROM token_blacklist_blacklistedtoken WHERE token_id = \
         (SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{freed}'); COMMIT;"
    ));
    let other = Jti::random();
    let token = Presented { jti: &other, session: None, issued_at: Some(i64::MAX / 1000), user: None };
    site.refused_again(Presented { jti: &lost, ..token }).await;
    site.refused_again(Presented { session: Some(over), ..token }).await;
    site.refused_again(Presented { issued_at: Some(0), user: Some("7"), ..token }).await;
    assert_eq!(site.refuse_token(&before).await, (true, true));
    assert_eq!(site.refuse_token(&freed).await, (false, false), "it was taken back after the backup");
    assert_eq!(site.state(), (0, 3));
}

#[tokio::test]
async fn nothing_is_written_into_the_database_of_somebody_else() {
    let site = Site::new().await.followed().await;
    let (ours, theirs) = (Jti::random(), Jti::random());
    site.revoke(&ours).await;
    site.blacklist.catch_up().await.unwrap();
    let back = back_to(
        -1,
        "DELETE FROM token_blacklist_blacklistedtoken; DELETE FROM token_blacklist_outstandingtoken; \
         DELETE FROM simplejwt_token; UPDATE simplejwt_revocation_state SET generation = 'another';",
    );
    site.sql(&format!("{back} {} {TRIGGERS} COMMIT;", site.blacklist_elsewhere(&theirs)));
    let begun = Instant::now();
    while site.refuse_token(&theirs).await != (true, true) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not loaded");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    site.blacklist.follower().compare(&mut Round::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(site.refuse_token(&ours).await, (true, false), "refused here all the same");
    assert_eq!(site.state(), (0, 0));
}

#[tokio::test]
async fn an_older_state_of_the_same_database_with_a_log_of_its_own_is_known_by_what_it_refuses() {
    let site = Site::new().await;
    let (before, lost) = (Jti::random(), Jti::random());
    site.revoke(&before).await;
    let site = site.followed().await;
    site.revoke(&lost).await;
    site.blacklist.catch_up().await.unwrap();
    let back = back_to(
        -1,
        &format!(
            "DELETE FROM token_blacklist_blacklistedtoken WHERE token_id = \
             (SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{lost}'); \
             DELETE FROM simplejwt_token WHERE jti = '{lost}'; \
             UPDATE simplejwt_revocation_state SET generation = 'earlier';"
        ),
    );
    site.sql(&format!("{back} {TRIGGERS} COMMIT;"));
    site.refused_again(Presented { jti: &lost, session: None, issued_at: Some(i64::MAX / 1000), user: None }).await;
    assert_eq!(site.refuse_token(&before).await, (true, true));
    assert_eq!(site.state(), (0, 1));
}

/// An index in parts of one, that fails when it is told to.
struct Failing {
    index: Index,
    /// How many more calls go well; none, if all do.
    left: Mutex<Option<usize>>,
}

impl Copied for Failing {
    const IS_OURS: bool = true;

    async fn take(&self, changes: Vec<Change>) -> Result<(), BlacklistError> {
        match &mut *self.left.lock().unwrap() {
            Some(0) => return Err(BlacklistError::of("it fails")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.index.apply(changes);
        Ok(())
    }

    async fn refuses(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        Ok(self.index.refuses(token))
    }

    fn knows(&self, what: &Revocable) -> bool {
        self.index.knows(what)
    }

    fn part(&self, _: usize, _: DateTime<Utc>) -> Option<Vec<Revocable>> {
        None
    }

    fn expire(&self, now: DateTime<Utc>) {
        self.index.expire(now);
    }

    fn size(&self) -> Size {
        self.index.size()
    }
}

#[tokio::test]
async fn a_part_that_fails_is_looked_at_again_and_no_alarm_is_lost() {
    // In the first part, in the second, where the log is read, and where the part is taken in.
    for fails_at in 0..4 {
        let site = Site::new().await;
        let options = CacheOptions {
            poll_interval: Duration::from_secs(60),
            staleness_bound: Duration::from_secs(60),
            when_stale: WhenStale::Refuse,
            retention: RETENTION,
        };
        let copy = Failing { index: Index::new(site.now), left: Mutex::new(None) };
        let follower = Follower::new(site.ledger.clone(), options, copy, Arc::new(SystemClock::default()));
        let pull = async || follower.pull(&mut *follower.position.lock().await).await.unwrap();
        pull().await;
        let rows: String = (0..1001).map(|_| site.blacklist_elsewhere(&Jti::random())).collect();
        site.sql(&format!("BEGIN IMMEDIATE; {rows} COMMIT;"));
        pull().await;
        // In the second part, and nobody tells of it.
        let missed = Jti::random();
        site.sql(&format!("{NO_TRIGGERS} {}", site.blacklist_elsewhere(&missed)));
        *follower.copy.left.lock().unwrap() = Some(fails_at);
        let mut round = Round::default();
        assert!(follower.compare(&mut round).await.is_err(), "failing at {fails_at}");
        assert_eq!(round.ledger == PartCursor::default(), fails_at < 2, "it goes on where it failed: {fails_at}");
        *follower.copy.left.lock().unwrap() = None;
        while !follower.copy.index.knows(&token(&missed)) {
            follower.compare(&mut round).await.unwrap();
        }
        assert_eq!(follower.divergence.repaired(), 1, "failing at {fails_at}");
    }
}

fn token(jti: &Jti) -> Revocable {
    Revocable::Token { jti: jti.clone(), until: DateTime::<Utc>::MIN_UTC }
}
