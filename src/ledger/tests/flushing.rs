//! Nothing that makes a token refused is forgotten too early.

use super::*;

pub(super) fn plan(as_of: DateTime<Utc>) -> FlushPlan {
    FlushPlan { as_of, retention: RETENTION, events_before: None, addresses_before: None }
}

/// Flushes to the end, and says in how many batches.
pub(super) async fn flush(ledger: &Ledger, plan: &FlushPlan, rows: i64) -> (Flushed, usize) {
    let mut flushed = Flushed::default();
    let mut cursor = FlushCursor::default();
    for batches in 1.. {
        let batch = patient_batch(ledger, plan, &cursor, rows).await;
        flushed += batch.flushed;
        match batch.next {
            Some(next) => cursor = next,
            None => return (flushed, batches),
        }
        assert!(batches < 10_000, "the cursor does not move: {cursor:?}");
    }
    unreachable!()
}

/// A batch that is tried again where somebody stands in its way, as whoever runs a flush does.
async fn patient_batch(ledger: &Ledger, plan: &FlushPlan, cursor: &FlushCursor, rows: i64) -> FlushBatch {
    for _ in 0..200 {
        match ledger.flush_batch(plan, cursor.clone(), rows).await {
            Err(LedgerError::Conflict) => tokio::time::sleep(Duration::from_millis(20)).await,
            batch => return batch.unwrap(),
        }
    }
    panic!("somebody stands in its way for ever");
}

/// Rows as Django writes them, `seconds` being when they expire.
fn django_rows(test: &Test, seconds: impl IntoIterator<Item = i64>) {
    let rows: Vec<_> = seconds
        .into_iter()
        .map(|seconds| {
            let expires = at(seconds).format("%F %T");
            format!("('', '2027-01-01 00:00:00', '{expires}', '{}')", Jti::random())
        })
        .collect();
    for rows in rows.chunks(500) {
        test.sql(&format!(
            "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, jti) VALUES {}",
            rows.join(",")
        ));
    }
}

#[tokio::test]
async fn a_row_goes_at_the_moment_to_which_it_is_kept_and_not_before() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    test.revoke(by_jti(&jti)).await;
    for early in [at(DAY), at(DAY + MARGIN) - TimeDelta::microseconds(1)] {
        assert_eq!(test.ledger.flush_estimate(&plan(early)).await.unwrap(), Flushed::default());
        assert_eq!(flush(&test.ledger, &plan(early), 10).await.0, Flushed::default());
        assert!(test.refused(&jti, Some(session)).await);
    }
    let expected = Flushed { outstanding: 1, blacklisted: 1, tokens: 1, sessions: 1, ..Flushed::default() };
    let plan = plan(at(DAY + MARGIN));
    assert_eq!(test.ledger.flush_estimate(&plan).await.unwrap(), expected);
    assert_eq!(flush(&test.ledger, &plan, 10).await.0, expected);
    assert_eq!(flush(&test.ledger, &plan, 10).await.0, Flushed::default(), "the second time there is nothing to do");
    assert_eq!(test.rows("simplejwt_event"), 1);
}

#[tokio::test]
async fn djangos_own_example() {
    // Six recorded, two of them expired; four blacklisted, two of them expired.
    let test = Test::new().await;
    django_rows(&test, [-2 * DAY, 5 * DAY, -3 * DAY, 6 * DAY, 7 * DAY, 8 * DAY]);
    test.sql(
        "INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id)
         VALUES ('2027-01-02 00:00:00', 1), ('2027-01-02 00:00:00', 2), ('2027-01-02 00:00:00', 3),
                ('2027-01-02 00:00:00', 4)",
    );
    let (flushed, _) = flush(&test.ledger, &plan(at(0)), 100).await;
    assert_eq!((flushed.outstanding, flushed.blacklisted), (2, 2));
    assert_eq!(test.number("SELECT count(*) FROM token_blacklist_outstandingtoken WHERE id IN (2, 4, 5, 6)"), 4);
    assert_eq!(test.number("SELECT count(*) FROM token_blacklist_blacklistedtoken WHERE token_id IN (2, 4)"), 2);
}

#[tokio::test]
async fn a_row_of_which_nothing_is_known_may_be_of_a_sliding_token() {
    let test = Test::new().await;
    test.sql(&format!(
        "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, jti)
         VALUES ('', '{}', '{}', 'a'), ('', NULL, '{}', 'b')",
        at(0).format("%F %T"),
        at(300).format("%F %T"),
        at(300).format("%F %T"),
    ));
    let (flushed, _) = flush(&test.ledger, &plan(at(DAY + MARGIN - 1)), 100).await;
    assert_eq!(flushed.outstanding, 1, "only the one that has no time of creation");
    assert_eq!(flush(&test.ledger, &plan(at(DAY + MARGIN)), 100).await.0.outstanding, 1);
}

#[tokio::test]
async fn what_is_kept_for_the_same_time_as_what_goes_stays_with_its_row() {
    let test = Test::new().await;
    let tokens = [test.login().await.1, test.login().await.1, test.login().await.1];
    // One expires later than its facts say, of one others wrote facts under a name that no token can have, one was kept longer.
    test.sql(&format!(
        "UPDATE token_blacklist_outstandingtoken SET expires_at = '{}' WHERE jti = '{}'",
        at(2 * DAY).format("%F %T"),
        tokens[0]
    ));
    test.sql(&format!("UPDATE token_blacklist_outstandingtoken SET jti = 'two words' WHERE jti = '{}'", tokens[1]));
    test.sql(&format!("UPDATE simplejwt_token SET jti = 'two words' WHERE jti = '{}'", tokens[1]));
    test.sql(&format!(
        "UPDATE simplejwt_token SET keep_until = '{}' WHERE jti = '{}'",
        at(2 * DAY).format("%F %T"),
        tokens[2]
    ));
    test.login().await;
    let left = |test: &Test| (test.rows("token_blacklist_outstandingtoken"), test.rows("simplejwt_token"));
    let (flushed, _) = flush(&test.ledger, &plan(at(DAY + MARGIN)), 10).await;
    assert_eq!((flushed.outstanding, flushed.tokens, left(&test)), (2, 1, (2, 3)));
    assert!(test.ledger.standing(presented(&tokens[0], None)).await.unwrap().known);
    flush(&test.ledger, &plan(at(3 * DAY)), 10).await;
    assert_eq!(left(&test), (0, 0));
}

#[tokio::test]
async fn rows_that_have_to_stay_are_looked_at_once() {
    for indexed in [true, false] {
        let test = Test::new().await;
        if !indexed {
            let of = if test.database.kind() == Kind::Mysql { "ON token_blacklist_outstandingtoken" } else { "" };
            test.sql(&format!("DROP INDEX simplejwt_outstandingtoken_expires_at {of}"));
        }
        django_rows(&test, (0..300).map(|row| -3 * DAY + row % 3));
        test.sql(&format!(
            "UPDATE token_blacklist_outstandingtoken SET created_at = '{}' WHERE id % 2 = 0",
            at(0).format("%F %T")
        ));
        let estimate = test.ledger.flush_estimate(&plan(at(0))).await.unwrap();
        let (flushed, batches) = flush(&test.ledger, &plan(at(0)), 7).await;
        assert_eq!((flushed.outstanding, estimate), (150, flushed));
        assert!(batches <= 300 / 7 + 6, "{batches}");
        assert_eq!(test.rows("token_blacklist_outstandingtoken"), 150);
    }
}

#[tokio::test]
async fn sqlite_rows_that_are_no_good_stay_and_stop_nothing() {
    for rows in [1, 2, 100] {
        let test = Test::new().await;
        let bad = [
            "1",
            "1700000000",
            "1.5",
            "''",
            "'1999'",
            "'2020-13-45 99:99:99'",
            "'zzz'",
            "x'00'",
            "'2020-01-01 00:00:00.500000'",
        ];
        for (place, bad) in bad.iter().enumerate() {
            test.sql(&format!(
                "INSERT INTO token_blacklist_outstandingtoken (token, expires_at, jti) VALUES ('', {bad}, 'bad{place}')"
            ));
        }
        django_rows(&test, [-3 * DAY, 3 * DAY]);
        let estimate = test.ledger.flush_estimate(&plan(at(0))).await.unwrap();
        let (flushed, _) = flush(&test.ledger, &plan(at(0)), rows).await;
        // Two can be read: the last of the bad ones, which is good, and the old one.
        assert_eq!((flushed.outstanding, estimate), (2, flushed));
        assert_eq!(test.number("SELECT count(*) FROM token_blacklist_outstandingtoken WHERE jti LIKE 'bad_'"), 8);
    }
}

#[tokio::test]
async fn what_django_flushed_leaves_its_facts_until_their_time() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    test.revoke(by_jti(&jti)).await;
    test.sql("DELETE FROM token_blacklist_blacklistedtoken; DELETE FROM token_blacklist_outstandingtoken;");
    assert_eq!(flush(&test.ledger, &plan(at(DAY + MARGIN - 1)), 10).await.0, Flushed::default());
    assert!(test.refused(&jti, Some(session)).await);
    let plan = plan(at(DAY + MARGIN));
    let expected = Flushed { tokens: 1, sessions: 1, ..Flushed::default() };
    assert_eq!(test.ledger.flush_estimate(&plan).await.unwrap(), expected);
    assert_eq!(flush(&test.ledger, &plan, 1).await.0, expected);
}

#[tokio::test]
async fn a_session_stays_over_of_which_django_has_flushed_what_ended_it() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    test.ledger.touch_session(session, at(DAY - 1), at(DAY + 300 + MARGIN)).await.unwrap();
    // By the clock of the database it has expired: to delete it takes nothing back.
    test.sql("UPDATE token_blacklist_outstandingtoken SET expires_at = '2020-01-01 00:00:00'");
    test.blacklist_elsewhere(&jti);
    test.sql("DELETE FROM token_blacklist_blacklistedtoken; DELETE FROM token_blacklist_outstandingtoken;");
    test.ledger.sequence_log().await;
    test.sql(&format!(
        "UPDATE simplejwt_revocation SET at = '{}', expires_at = '{}' WHERE NOT removed",
        at(DAY - 10).format("%F %T"),
        at(DAY).format("%F %T")
    ));
    let access = Jti::random();
    assert!(test.refused(&access, Some(session)).await);
    for early in [at(DAY + MARGIN), at(DAY + MARGIN + 300 + MARGIN - 1)] {
        assert_eq!(test.ledger.flush_estimate(&plan(early)).await.unwrap(), Flushed::default());
        assert_eq!(flush(&test.ledger, &plan(early), 10).await.0, Flushed::default());
        assert!(test.refused(&access, Some(session)).await, "{early}");
    }
    let flushed = flush(&test.ledger, &plan(at(DAY + MARGIN + 300 + MARGIN)), 10).await.0;
    assert_eq!((flushed.tokens, flushed.sessions), (1, 1));
}

#[tokio::test]
async fn a_session_that_only_a_row_from_elsewhere_had_ended_stays_over() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    // Its last access token lives longer than its refresh token.
    test.ledger.touch_session(session, at(DAY - 1), at(DAY + 300 + MARGIN)).await.unwrap();
    test.blacklist_elsewhere(&jti);
    let access = Jti::random();
    assert!(test.refused(&access, Some(session)).await);
    let (flushed, _) = flush(&test.ledger, &plan(at(DAY + MARGIN)), 10).await;
    assert_eq!((flushed.outstanding, flushed.blacklisted, flushed.sessions), (1, 1, 0));
    assert!(test.refused(&access, Some(session)).await);
    assert_eq!(flush(&test.ledger, &plan(at(3 * DAY)), 10).await.0.sessions, 1);
}

/// Somebody blacklists by its jti a row that Django made, and thinks that the token expires soon. It may be a sliding one, which
/// Django renewed since.
#[tokio::test]
async fn a_row_of_unknown_kind_stays_as_long_as_a_sliding_token_could_be_renewed() {
    let test = Test::new().await;
    let jti = Jti::random();
    test.sql(&format!(
        "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, jti)
         VALUES ('', '{}', '{}', '{jti}')",
        at(0).naive_utc(),
        at(300).naive_utc(),
    ));
    test.revoke(RevokeItem { expires_at: at(310), keep_until: at(310 + MARGIN), ..by_jti(&jti) }).await;
    let (flushed, _) = flush(&test.ledger, &plan(at(DAY)), 10).await;
    assert_eq!(flushed, Flushed::default());
    assert!(test.refused(&jti, None).await);
    let (flushed, _) = flush(&test.ledger, &plan(at(DAY + MARGIN)), 10).await;
    assert_eq!((flushed.outstanding, flushed.blacklisted, flushed.tokens), (1, 1, 1));
}

#[tokio::test]
async fn sessions_go_when_their_last_token_is_gone_and_not_while_one_is_left() {
    let test = Test::new().await;
    let (_, jti) = test.login().await;
    test.revoke(RevokeItem { keep_until: at(3 * DAY), ..by_jti(&jti) }).await;
    test.sql("UPDATE simplejwt_session SET keep_until = '2027-01-15 08:00:00'");
    let (flushed, _) = flush(&test.ledger, &plan(at(2 * DAY)), 10).await;
    assert_eq!(flushed, Flushed::default());
    let estimate = test.ledger.flush_estimate(&plan(at(3 * DAY))).await.unwrap();
    let (flushed, _) = flush(&test.ledger, &plan(at(3 * DAY)), 10).await;
    assert_eq!((flushed.tokens, flushed.sessions, estimate), (1, 1, flushed));
}

#[tokio::test]
async fn events_go_by_their_own_age_and_only_when_asked() {
    let test = Test::new().await;
    for _ in 0..25 {
        test.revoke(by_jti(&Jti::random())).await;
    }
    let old = FlushPlan { events_before: Some(at(30)), ..plan(at(0)) };
    assert_eq!(flush(&test.ledger, &old, 10).await.0.events, 0, "events of that very moment stay");
    let due = FlushPlan { events_before: Some(at(31)), ..plan(at(0)) };
    assert_eq!(test.ledger.flush_estimate(&due).await.unwrap().events, 25);
    assert_eq!(flush(&test.ledger, &due, 10).await.0.events, 25);
}

#[tokio::test]
async fn plans_beyond_all_calendars_delete_nothing() {
    let test = Test::new().await;
    django_rows(&test, [-3 * DAY]);
    for strange in [
        FlushPlan { retention: Retention { margin: TimeDelta::MAX, ..RETENTION }, ..plan(at(0)) },
        FlushPlan { retention: Retention { sliding_refresh_lifetime: TimeDelta::MAX, ..RETENTION }, ..plan(at(0)) },
        FlushPlan { as_of: DateTime::<Utc>::MIN_UTC, ..plan(at(0)) },
    ] {
        assert_eq!(flush(&test.ledger, &strange, 10).await.0, Flushed::default(), "{strange:?}");
    }
}

#[tokio::test]
async fn two_flushes_at_once_share_the_work() {
    let test = Test::new().await;
    django_rows(&test, (0..2000).map(|row| -3 * DAY + row));
    let other = Ledger::open(&test.options()).unwrap();
    let plan = plan(at(0));
    let (one, two) = tokio::join!(flush(&test.ledger, &plan, 50), flush(&other, &plan, 30));
    assert_eq!(one.0.outstanding + two.0.outstanding, 2000);
    assert_eq!(test.rows("token_blacklist_outstandingtoken"), 0);
}

/// Flushes while somebody else has changed a row, and has not committed that yet.
async fn flush_beside(test: &Test, change: &str) -> Flushed {
    let mut writer = test.elsewhere();
    let begin = if test.database.kind() == Kind::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
    writer.execute(begin).unwrap();
    assert_eq!(writer.execute(change), Ok(1));
    let ledger = test.ledger.clone();
    let running = tokio::spawn(async move { flush(&ledger, &plan(at(9 * DAY)), 10).await.0 });
    // Long enough for it to come upon that row, or upon the lock.
    tokio::time::sleep(Duration::from_millis(400)).await;
    writer.execute("COMMIT").unwrap();
    running.await.unwrap()
}

#[tokio::test]
async fn a_token_that_is_made_worth_keeping_meanwhile_stays() {
    let test = Test::new().await;
    let (_, jti) = test.login().await;
    let keep = format!("UPDATE simplejwt_token SET keep_until = '2037-01-01 00:00:00' WHERE jti = '{jti}'");
    assert_eq!(flush_beside(&test, &keep).await, Flushed::default());
    assert_eq!(test.rows("simplejwt_token") + test.rows("token_blacklist_outstandingtoken"), 2);
}

#[tokio::test]
async fn a_session_that_is_made_worth_keeping_meanwhile_stays() {
    let test = Test::new().await;
    let (session, _) = test.login().await;
    // As where Django rotated the last token of ours away.
    test.sql("DELETE FROM simplejwt_token");
    test.sql("DELETE FROM token_blacklist_outstandingtoken");
    let keep = format!("UPDATE simplejwt_session SET keep_until = '2037-01-01 00:00:00' WHERE id = '{session}'");
    assert_eq!(flush_beside(&test, &keep).await, Flushed::default());
    assert_eq!(test.rows("simplejwt_session"), 1);
}

#[tokio::test]
async fn a_batch_that_does_not_get_its_turn_deletes_nothing() {
    let test = Test::new().await;
    django_rows(&test, [-3 * DAY]);
    let ledger = Ledger::open(&LedgerOptions { deadline: Duration::from_millis(1500), ..test.options() }).unwrap();
    let mut other = test.elsewhere();
    let turn = match test.database.kind() {
        Kind::Sqlite => "BEGIN IMMEDIATE",
        Kind::Postgres => "DO 'BEGIN PERFORM pg_advisory_lock(hashtext(''simplejwt.flush-batch'')); END'",
        Kind::Mysql => "DO GET_LOCK(CONCAT('simplejwt.flush-batch.', LEFT(MD5(DATABASE()), 32)), 0)",
    };
    other.execute(turn).unwrap();
    let refused = ledger.flush_batch(&plan(at(0)), FlushCursor::default(), 10).await;
    assert!(matches!(refused, Err(LedgerError::Busy)), "{refused:?}");
    assert_eq!(test.rows("token_blacklist_outstandingtoken"), 1);
    drop(other);
    assert_eq!(flush(&ledger, &plan(at(0)), 10).await.0.outstanding, 1);
}

#[tokio::test]
async fn a_second_run_waits_for_the_first_unless_it_is_dead() {
    let test = Test::new().await;
    let run = |seconds| NewFlushRun { started_at: at(seconds), as_of: at(seconds) };
    let FlushStart::Started(first) = test.ledger.begin_flush(run(0), true).await.unwrap() else { panic!() };
    assert_eq!(test.ledger.begin_flush(run(59), true).await.unwrap(), FlushStart::Busy { since: at(0) });
    assert!(matches!(test.ledger.begin_flush(run(59), false).await.unwrap(), FlushStart::Started(_)));
    let flushed = Flushed { outstanding: 3, blacklisted: 2, tokens: 1, events: 9, ..Flushed::default() };
    test.ledger.note_flush(first, flushed, at(100)).await.unwrap();
    assert_eq!(test.ledger.begin_flush(run(150), true).await.unwrap(), FlushStart::Busy { since: at(0) });
    // Silent for too long; and a sign of life from the future is none.
    for seconds in [161, -1000] {
        let FlushStart::Started(id) = test.ledger.begin_flush(run(seconds), true).await.unwrap() else { panic!() };
        test.ledger.end_flush(id, FlushOutcome::Done, flushed, at(seconds)).await.unwrap();
        let last = test.ledger.last_flush().await.unwrap().unwrap();
        assert_eq!((last.id, last.outcome, last.flushed), (id, Some(FlushOutcome::Done), flushed));
        assert_eq!((last.finished_at, last.as_of), (Some(at(seconds)), at(seconds)));
        test.ledger.begin_flush(run(161 + 10), false).await.unwrap();
    }
    assert_eq!(test.number("SELECT count(*) FROM simplejwt_flush_run WHERE outcome = 'died'"), 3);
}

#[tokio::test]
async fn the_newest_record_is_the_latest_of_all_times_that_are_times() {
    let test = Test::new().await;
    assert_eq!(test.ledger.newest_record().await.unwrap(), None);
    let (_, jti) = test.login().await;
    assert_eq!(test.ledger.newest_record().await.unwrap(), Some(at(0)));
    test.revoke(by_jti(&jti)).await;
    assert_eq!(test.ledger.newest_record().await.unwrap(), Some(at(30)));
    // A flush is no evidence: it believed the clock that the next one asks about.
    test.ledger.begin_flush(NewFlushRun { started_at: at(50), as_of: at(45) }, true).await.unwrap();
    assert_eq!(test.ledger.newest_record().await.unwrap(), Some(at(30)));
}

#[tokio::test]
async fn sqlite_a_time_that_is_none_is_no_evidence_of_the_present() {
    let test = Test::new().await;
    test.login().await;
    django_rows(&test, [0]);
    test.sql("UPDATE token_blacklist_outstandingtoken SET created_at = 'zzz' WHERE id = 2");
    assert_eq!(test.ledger.newest_record().await.unwrap(), Some(at(0)));
}
