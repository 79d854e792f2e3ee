//! What feeds the log: everything, in the order of the commits, in nobody's way; and what happens where it was lost.

use super::following::{Follower, flush_elsewhere, late, long_ago, recorded_elsewhere, restore_elsewhere, token_of};
use super::*;

/// What Django does to blacklist a token, for a transaction of its own.
fn blacklisting(test: &Test, jti: &Jti) -> String {
    let id = test.number(&format!("SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{jti}'"));
    format!(
        "INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id)
         VALUES ('2027-01-15 08:00:30.250000', {id})"
    )
}

/// How many rows were logged.
async fn logged(test: &Test) -> u64 {
    let state = test.ledger.log_state().await.unwrap();
    state.rows + state.waiting
}

#[tokio::test]
async fn who_began_first_and_commits_last_is_not_lost() {
    let test = Test::new().await;
    let [slow, fast, undone, last] = [(); 4].map(|()| recorded_elsewhere(&test, late()));
    let mut follower = Follower::of(&test).await;
    if test.database.kind() == Kind::Sqlite {
        // There the second could not begin before the first one ends.
        let mut one = test.elsewhere();
        one.execute("BEGIN").unwrap();
        one.execute(&blacklisting(&test, &undone)).unwrap();
        assert_eq!(follower.pull().await, Ok(0));
        one.execute("ROLLBACK").unwrap();
        for jti in [&slow, &fast, &last] {
            test.blacklist_elsewhere(jti);
        }
        assert_eq!(follower.pull().await, Ok(3));
        assert!(follower.refuses(&slow, None) && !follower.refuses(&undone, None));
        return;
    }
    let (mut one, mut two) = (test.elsewhere(), test.elsewhere());
    one.execute("BEGIN").unwrap();
    one.execute(&blacklisting(&test, &slow)).unwrap();
    two.execute("BEGIN").unwrap();
    two.execute(&blacklisting(&test, &undone)).unwrap();
    test.blacklist_elsewhere(&fast);
    assert_eq!(follower.pull().await, Ok(1));
    assert!(follower.refuses(&fast, None) && !follower.refuses(&slow, None));
    two.execute("ROLLBACK").unwrap();
    test.blacklist_elsewhere(&last);
    assert_eq!(follower.pull().await, Ok(1));
    assert!(follower.refuses(&last, None));
    one.execute("COMMIT").unwrap();
    assert_eq!(follower.pull().await, Ok(1));
    assert!(follower.refuses(&slow, None) && !follower.refuses(&undone, None));
}

/// Somebody's request that hangs in the middle of its transaction.
#[tokio::test]
async fn an_open_transaction_of_somebody_else_holds_up_no_revocation() {
    let test = Test::new().await;
    if test.database.kind() == Kind::Sqlite {
        // It lets in one writer, log or not.
        return;
    }
    let (hanging, revoked) = (recorded_elsewhere(&test, late()), recorded_elsewhere(&test, late()));
    let mut follower = Follower::of(&test).await;
    let mut elsewhere = test.elsewhere();
    elsewhere.execute("BEGIN").unwrap();
    elsewhere.execute(&blacklisting(&test, &hanging)).unwrap();
    let (session, jti) = test.login().await;
    test.revoke(by_jti(&revoked)).await;
    test.revoke(by_jti(&jti)).await;
    test.ledger.end_sessions_of(&"7".into(), "logout", &actor(), at(60)).await.unwrap();
    test.blacklist_elsewhere(&recorded_elsewhere(&test, late()));
    follower.pull().await.unwrap();
    assert!(follower.refuses(&revoked, None) && follower.refuses(&Jti::random(), Some(session)));
    elsewhere.execute("COMMIT").unwrap();
    follower.pull().await.unwrap();
    assert!(follower.refuses(&hanging, None));
}

#[tokio::test]
async fn several_followers_and_writers_at_once_lose_nothing() {
    let test = Test::new().await;
    let mut followers = [Follower::of(&test).await, Follower::of(&test).await];
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let ledger = Ledger::open(&test.options()).unwrap();
        all.spawn(async move {
            let mut jtis = Vec::new();
            for _ in 0..25 {
                let jti = Jti::random();
                let item = RevokeItem { expires_at: late(), keep_until: late(), ..by_jti(&jti) };
                // SQLite lets in one after the other, and the others may have to come again.
                while ledger.revoke(revocation(vec![item.clone()])).await.is_err() {}
                jtis.push(jti);
            }
            jtis
        });
    }
    let mut jtis = Vec::new();
    while !all.is_empty() {
        let [one, two] = &mut followers;
        let (one, two) = tokio::join!(one.pull(), two.pull());
        assert!(one.is_ok() && two.is_ok());
        while let Some(done) = all.try_join_next() {
            jtis.extend(done.unwrap());
        }
    }
    for follower in &mut followers {
        follower.pull().await.unwrap();
        assert!(jtis.len() == 100 && jtis.iter().all(|jti| follower.refuses(jti, None)));
    }
}

#[tokio::test]
async fn a_rotation_changes_nothing_that_anybody_has_to_know() {
    let test = Test::new().await;
    let (session, old) = test.login().await;
    let mut follower = Follower::of(&test).await;
    assert_eq!(test.ledger.rotate(rotation(&old, session)).await.unwrap(), Rotated::Done);
    // There the trigger may not look at the token.
    let expected = u64::from(test.database.kind() == Kind::Sqlite);
    assert_eq!(logged(&test).await, expected);
    follower.pull().await.unwrap();
    assert!(!follower.refuses(&Jti::random(), Some(session)));
    assert!(!Follower::of(&test).await.refuses(&Jti::random(), Some(session)));
    // Whoever presents it again, or revokes it, ends the session.
    test.revoke(by_jti(&old)).await;
    follower.pull().await.unwrap();
    assert!(follower.refuses(&Jti::random(), Some(session)));
}

#[tokio::test]
async fn a_revocation_of_ours_is_one_row_for_the_token_and_one_for_the_session() {
    let test = Test::new().await;
    let (_, jti) = test.login().await;
    test.revoke(by_jti(&jti)).await;
    assert_eq!(logged(&test).await, 2);
    // Already known, and not for longer.
    test.revoke(by_jti(&jti)).await;
    assert_eq!(logged(&test).await, 2);
    test.restore(&jti).await;
    assert_eq!(logged(&test).await, 4);
}

#[tokio::test]
async fn what_expired_is_deleted_without_a_word_and_what_lives_with_one() {
    let test = Test::new().await;
    let [expired, live] = [long_ago(), late()].map(|end| recorded_elsewhere(&test, end));
    for jti in [&expired, &live] {
        test.blacklist_elsewhere(jti);
    }
    let before = logged(&test).await;
    flush_elsewhere(&test);
    // There the trigger cannot know when it expired; whoever reads the row can.
    let expected = u64::from(test.database.kind() == Kind::Sqlite);
    assert_eq!(logged(&test).await - before, expected);
    restore_elsewhere(&test, &live);
    assert_eq!(logged(&test).await - before, expected + 1);
    test.ledger.sequence_log().await;
    assert!(test.refused(&expired, None).await && !test.refused(&live, None).await);
}

#[tokio::test]
async fn a_row_that_names_another_token_than_before_is_followed() {
    let test = Test::new().await;
    let [one, other] = [(); 2].map(|()| recorded_elsewhere(&test, late()));
    test.blacklist_elsewhere(&one);
    let mut follower = Follower::of(&test).await;
    assert!(follower.refuses(&one, None));
    test.sql(&format!(
        "UPDATE token_blacklist_blacklistedtoken SET token_id =
         (SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{other}')"
    ));
    follower.pull().await.unwrap();
    assert!(!follower.refuses(&one, None) && follower.refuses(&other, None));
}

#[tokio::test]
async fn a_pruned_log_is_loaded_anew_by_those_who_lag_behind_and_by_nobody_else() {
    let test = Test::new().await;
    let mut behind = Follower::of(&test).await;
    let [expired, live] = [long_ago(), late()].map(|end| recorded_elsewhere(&test, end));
    for jti in [&live, &expired] {
        test.blacklist_elsewhere(jti);
    }
    let mut ahead = Follower::of(&test).await;
    ahead.pull().await.unwrap();
    let flush = async |as_of| {
        let plan = FlushPlan { as_of, retention: RETENTION, events_before: None, addresses_before: None };
        let mut cursor = FlushCursor::default();
        while let Some(next) = test.ledger.flush_batch(&plan, cursor, 1).await.unwrap().next {
            cursor = next;
        }
    };
    flush(at(-3 * 365 * DAY)).await;
    assert_eq!(logged(&test).await, 2, "the clock of the database says that they are young");
    // As Django does, so that what it writes was read before.
    flush_elsewhere(&test);
    ahead.pull().await.unwrap();
    flush(late() - TimeDelta::days(1)).await;
    assert_eq!(logged(&test).await, 1, "that of the token that lives");
    assert_eq!(behind.pull().await, Err(Reload::Pruned));
    assert!(ahead.pull().await.is_ok());
    let fresh = Follower::of(&test).await;
    assert!(ahead.refuses(&live, None) && fresh.refuses(&live, None));
    // Everything, also what the flush itself did; somebody who has read all of it goes on.
    flush(late() + TimeDelta::days(9)).await;
    let mut after = Follower::of(&test).await;
    after.pull().await.unwrap();
    flush(late() + TimeDelta::days(9)).await;
    assert_eq!(logged(&test).await, 0);
    let state = test.ledger.log_state().await.unwrap();
    assert_eq!((state.position.seq, state.position.at), (after.position.seq, None));
    assert_eq!(after.pull().await, Ok(0));
    let token = recorded_elsewhere(&test, late());
    test.blacklist_elsewhere(&token);
    assert_eq!(after.pull().await, Ok(1));
    assert!(after.refuses(&token, None));
}

#[tokio::test]
async fn a_log_that_went_back_is_noticed_also_when_it_has_grown_again() {
    for grows in [false, true] {
        let test = Test::new().await;
        for _ in 0..3 {
            test.blacklist_elsewhere(&recorded_elsewhere(&test, late()));
        }
        let mut follower = Follower::of(&test).await;
        follower.pull().await.unwrap();
        let last = follower.position.seq;
        test.sql(&format!("DELETE FROM simplejwt_revocation WHERE seq = {last}"));
        if grows {
            test.sql(&format!(
                "INSERT INTO simplejwt_revocation (seq, session_id, removed, at)
                 SELECT {last}, 'another', false, '2027-01-15 08:00:00' FROM simplejwt_revocation_state"
            ));
        }
        assert_eq!(follower.pull().await, Err(Reload::WentBack));
        let mut follower = Follower::of(&test).await;
        assert!(follower.pull().await.is_ok());
    }
}

#[tokio::test]
async fn tables_that_were_made_anew_have_another_log() {
    let test = Test::new().await;
    let mut follower = Follower::of(&test).await;
    test.ledger.remove_tables().await.unwrap();
    test.ledger.migrate(MigrateOptions::default()).await.unwrap();
    assert_eq!(follower.pull().await, Err(Reload::Generation));
}

/// Takes a trigger away, as Django does on SQLite when it makes a table anew.
fn drop_trigger(test: &Test, name: &str, table: &str) {
    let of = if test.database.kind() == Kind::Postgres { format!("ON {table}") } else { String::new() };
    test.sql(&format!("DROP TRIGGER {name} {of}"));
}

/// The trigger on inserted blacklist rows.
const fn on_insert(kind: Kind) -> &'static str {
    match kind {
        Kind::Postgres => "simplejwt_blacklisted",
        Kind::Sqlite | Kind::Mysql => "simplejwt_blacklisted_insert",
    }
}

#[tokio::test]
async fn triggers_that_were_lost_are_put_back_and_nothing_that_came_between_is_missed() {
    let test = Test::new().await;
    let kind = test.database.kind();
    assert_eq!(test.ledger.log_state().await.unwrap().faults, []);
    assert_eq!(test.ledger.mend_log().await.unwrap(), []);
    let mut follower = Follower::of(&test).await;
    drop_trigger(&test, on_insert(kind), "token_blacklist_blacklistedtoken");
    drop_trigger(&test, "simplejwt_session_update", "simplejwt_session");
    let jti = recorded_elsewhere(&test, long_ago());
    test.blacklist_elsewhere(&jti);
    assert_eq!(follower.pull().await, Ok(0));
    let faults = test.ledger.log_state().await.unwrap().faults;
    let lost = [on_insert(kind), "simplejwt_session_update"].map(|name| (name, TriggerWrong::Missing));
    assert_eq!(faults.iter().map(|it| (it.name, it.wrong.clone())).collect::<Vec<_>>(), lost);
    assert!(faults[0].to_string().contains("is missing"), "{}", faults[0]);

    assert_eq!(test.ledger.mend_log().await.unwrap(), faults);
    assert_eq!(test.ledger.log_state().await.unwrap().faults, []);
    assert_eq!(follower.pull().await, Err(Reload::Generation));
    let mut follower = Follower::of(&test).await;
    assert!(follower.refuses(&jti, None));
    // What was blacklisted without the triggers is in the log all the same, so that Django's flush takes nothing away.
    flush_elsewhere(&test);
    follower.pull().await.unwrap();
    assert!(follower.refuses(&jti, None) && test.refused(&jti, None).await);
    assert!(Follower::of(&test).await.refuses(&jti, None));
    // The same by way of `migrate`.
    drop_trigger(&test, on_insert(kind), "token_blacklist_blacklistedtoken");
    assert_eq!(test.ledger.migrate(MigrateOptions::default()).await.unwrap(), [on_insert(kind)]);
    assert_eq!(test.ledger.migrate(MigrateOptions::default()).await.unwrap(), Vec::<String>::new());
}

/// To make a trigger the mode of the connection is changed, and back.
#[tokio::test]
async fn who_may_not_put_a_trigger_back_is_left_with_a_connection_as_strict_as_before() {
    let test = Test::new().await;
    if test.database.kind() != Kind::Mysql {
        return;
    }
    let guest = Guest::new(&test, "SELECT, INSERT, UPDATE, DELETE");
    let ledger = Ledger::open(&LedgerOptions { pool_size: 1, ..guest.options() }).unwrap();
    let faults = ledger.log_faults().await.unwrap();
    assert!(faults.len() > 1 && faults.iter().all(|fault| fault.wrong == TriggerWrong::Missing), "{faults:?}");
    let refused = ledger.mend_log().await;
    assert!(matches!(refused, Err(LedgerError::Denied(_))), "{refused:?}");
    assert_eq!(ledger.durability().await.unwrap(), []);
}

#[tokio::test]
async fn a_trigger_that_does_something_else_is_made_anew() {
    let test = Test::new().await;
    let name = on_insert(test.database.kind());
    let faults: &[(&str, TriggerWrong)] = match test.database.kind() {
        Kind::Sqlite => &[(
            "DROP TRIGGER simplejwt_blacklisted_insert;
             CREATE TRIGGER simplejwt_blacklisted_insert AFTER INSERT ON token_blacklist_blacklistedtoken
             BEGIN SELECT 1; END",
            TriggerWrong::Changed,
        )],
        Kind::Postgres => &[
            (
                "ALTER TABLE token_blacklist_blacklistedtoken DISABLE TRIGGER simplejwt_blacklisted",
                TriggerWrong::Disabled,
            ),
            // For what arrives by replication, and for nothing else.
            (
                "ALTER TABLE token_blacklist_blacklistedtoken ENABLE REPLICA TRIGGER simplejwt_blacklisted",
                TriggerWrong::Disabled,
            ),
            (
                "DROP TRIGGER simplejwt_blacklisted ON token_blacklist_blacklistedtoken;
                 CREATE TRIGGER simplejwt_blacklisted AFTER INSERT ON token_blacklist_blacklistedtoken
                 FOR EACH ROW EXECUTE FUNCTION simplejwt_on_truncate()",
                TriggerWrong::Changed,
            ),
        ],
        Kind::Mysql => &[(
            "DROP TRIGGER simplejwt_blacklisted_insert;
                 CREATE TRIGGER simplejwt_blacklisted_insert AFTER INSERT ON token_blacklist_blacklistedtoken
                 FOR EACH ROW SET @nothing = 1",
            TriggerWrong::Changed,
        )],
    };
    for (sql, wrong) in faults {
        let mut follower = Follower::of(&test).await;
        test.sql(sql);
        let found = test.ledger.mend_log().await.unwrap();
        assert_eq!(found.iter().map(|it| (it.name, it.wrong.clone())).collect::<Vec<_>>(), [(name, wrong.clone())]);
        assert_eq!(test.ledger.mend_log().await.unwrap(), []);
        assert_eq!(follower.pull().await, Err(Reload::Generation));
        let mut follower = Follower::of(&test).await;
        let jti = recorded_elsewhere(&test, late());
        test.blacklist_elsewhere(&jti);
        follower.pull().await.unwrap();
        assert!(follower.refuses(&jti, None));
    }
    if test.database.kind() == Kind::Postgres {
        let body = "CREATE OR REPLACE FUNCTION simplejwt_on_blacklisted() RETURNS trigger LANGUAGE plpgsql AS \
                    $$ BEGIN RETURN NULL; END $$";
        test.sql(body);
        let found = test.ledger.mend_log().await.unwrap();
        assert_eq!(found.iter().map(|it| it.name).collect::<Vec<_>>(), ["simplejwt_on_blacklisted"]);
        assert_eq!(test.ledger.mend_log().await.unwrap(), []);
    }
}

/// The account with whose rights the triggers run.
#[tokio::test]
async fn a_definer_who_is_gone_is_noticed() {
    let test = Test::new().await;
    if test.database.kind() != Kind::Mysql {
        return;
    }
    let body = test
        .elsewhere()
        .column("SELECT action_statement FROM information_schema.triggers WHERE trigger_schema = database() AND trigger_name = 'simplejwt_blacklisted_insert'")
        .pop()
        .flatten()
        .unwrap();
    test.sql(&format!(
        "DROP TRIGGER simplejwt_blacklisted_insert;
         CREATE DEFINER = 'nobody_at_all'@'%' TRIGGER simplejwt_blacklisted_insert
         AFTER INSERT ON token_blacklist_blacklistedtoken FOR EACH ROW {body}"
    ));
    let faults = test.ledger.log_state().await.unwrap().faults;
    assert!(matches!(&faults[..], [fault] if matches!(fault.wrong, TriggerWrong::NoDefiner(_))), "{faults:?}");
    assert!(faults[0].to_string().contains("nobody_at_all@%"), "{}", faults[0]);
    test.ledger.mend_log().await.unwrap();
    let jti = recorded_elsewhere(&test, late());
    test.blacklist_elsewhere(&jti);
    assert!(Follower::of(&test).await.refuses(&jti, None));
}

#[tokio::test]
async fn all_rows_at_once_are_deleted_and_everybody_loads_anew() {
    let test = Test::new().await;
    let jti = recorded_elsewhere(&test, late());
    test.blacklist_elsewhere(&jti);
    let mut follower = Follower::of(&test).await;
    match test.database.kind() {
        // That of MariaDB fires no trigger.
        Kind::Mysql => return,
        Kind::Postgres => {
            test.sql("TRUNCATE token_blacklist_blacklistedtoken");
            assert_eq!(follower.pull().await, Err(Reload::Generation));
        }
        Kind::Sqlite => test.sql("DELETE FROM token_blacklist_blacklistedtoken"),
    }
    let mut follower = Follower::of(&test).await;
    follower.pull().await.unwrap();
    assert!(!follower.refuses(&jti, None) && !test.refused(&jti, None).await);
}

/// A process that was stopped in the middle of moving what was committed.
#[tokio::test]
async fn nobody_depends_on_what_is_not_moved_to_the_log() {
    let test = Test::new().await;
    if test.database.kind() != Kind::Mysql {
        return;
    }
    let mut follower = Follower::of(&test).await;
    let mut stopped = test.elsewhere();
    stopped.execute("BEGIN").unwrap();
    stopped.execute("UPDATE simplejwt_revocation_state SET seq = seq WHERE id = 1").unwrap();
    let jtis: Vec<_> = (0..7).map(|_| recorded_elsewhere(&test, late())).collect();
    for jti in &jtis {
        test.blacklist_elsewhere(jti);
    }
    let state = test.ledger.log_state().await.unwrap();
    assert_eq!((state.rows, state.waiting), (0, 7));
    // Three by three, and never more at once.
    assert_eq!(follower.pull().await, Ok(7));
    assert!(jtis.iter().all(|jti| follower.refuses(jti, None)));
    // Loading does not depend on it either.
    let mut fresh = Follower::of(&test).await;
    fresh.pull().await.unwrap();
    assert!(jtis.iter().all(|jti| fresh.refuses(jti, None)));
    stopped.execute("ROLLBACK").unwrap();
    follower.pull().await.unwrap();
    let state = test.ledger.log_state().await.unwrap();
    assert_eq!((state.rows, state.waiting), (7, 0));
    assert_eq!(follower.pull().await, Ok(0));
}

/// Others who never pause for as long as it takes to look once more.
#[tokio::test]
async fn who_waits_for_the_inbox_does_not_wait_for_those_who_go_on_writing() {
    const LONGEST: Duration = Duration::from_secs(8);
    let test = Test::new().await;
    if test.database.kind() != Kind::Mysql {
        return;
    }
    let ended = std::sync::atomic::AtomicBool::new(false);
    let writing = || {
        let (mut elsewhere, begun) = (test.elsewhere(), std::time::Instant::now());
        while !ended.load(std::sync::atomic::Ordering::Relaxed) && begun.elapsed() < LONGEST {
            let row = "INSERT INTO simplejwt_inbox (session_id, removed, at) VALUES ('some', false, UTC_TIMESTAMP(6))";
            elsewhere.execute(row).unwrap();
        }
    };
    let took = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(writing);
        }
        // A runtime of its own, as that of the test is at a standstill in here.
        let done = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            // Until all of them are at it.
            std::thread::sleep(Duration::from_millis(300));
            let begun = std::time::Instant::now();
            runtime.block_on(async {
                let loader = Ledger::open(&test.options()).unwrap();
                loader.load_revocations(at(0), RETENTION, |_, _| taken()).await.unwrap();
            });
            begun.elapsed()
        });
        let took = done.join().unwrap();
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        took
    });
    assert!(took < LONGEST, "{took:?}");
}

#[tokio::test]
async fn revocations_of_before_the_log_are_in_it() {
    let test = Test::new().await;
    let id = SessionId::starting_at(0);
    let refresh = token_of(TokenKind::Refresh, id, long_ago());
    let jti = refresh.jti.clone();
    // As an older version of this program left it.
    let options = MigrateOptions::default();
    test.ledger.record_login(new_session(id), refresh).await.unwrap();
    test.blacklist_elsewhere(&jti);
    let (session, old) = test.login().await;
    test.ledger.rotate(rotation(&old, session)).await.unwrap();
    let undone = test.ledger.undo_from("2026-11-22-000003_revocation").await;
    assert_eq!(test.ledger.schema_state().await.unwrap(), SchemaState::Older);
    assert_eq!(test.ledger.migrate(options).await.unwrap(), undone);
    assert_eq!(logged(&test).await, 1, "what a rotation replaced is no revocation");
    flush_elsewhere(&test);
    test.ledger.sequence_log().await;
    assert!(test.refused(&Jti::random(), Some(id)).await);
    assert!(Follower::of(&test).await.refuses(&Jti::random(), Some(id)));
}
