//! Once revoked, always refused.

use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn a_known_token_is_revoked_with_its_session_once() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    let first = test.revoke(by_token(&jti, TokenKind::Refresh, session)).await;
    assert_eq!((first.outcome, first.session_ended, first.expires_at), (RevokeOutcome::Newly, true, at(DAY)));
    let second = test.revoke(by_token(&jti, TokenKind::Refresh, session)).await;
    assert_eq!((second.outcome, second.session_ended), (RevokeOutcome::Already, false));
    assert!(test.refused(&jti, Some(session)).await);

    let events = test.ledger.events_of(&jti).await.unwrap();
    assert_eq!(events.len(), 1, "what changed nothing is no event");
    let event = &events[0];
    assert_eq!((event.action.as_str(), event.who.as_str(), event.via.as_str()), ("blacklist", "cli:root", "cli"));
    assert_eq!((event.at, event.reason.as_deref(), event.user.as_deref()), (at(30), Some("lost"), Some("7")));
    assert_eq!(event.session, Some(session.to_string()));
}

#[tokio::test]
async fn an_unknown_jti_is_recorded_so_that_it_is_refused() {
    let test = Test::new().await;
    let jti = Jti::random();
    let revoked = test.revoke(by_jti(&jti)).await;
    assert_eq!((revoked.outcome, revoked.session_ended), (RevokeOutcome::UnknownRecorded, false));
    assert!(test.refused(&jti, None).await);
    let row = test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap();
    assert_eq!((row.created_at, row.expires_at, row.user), (Some(at(30)), at(DAY), None));
    assert_eq!((row.keep_until, row.revoked_at), (Some(at(DAY + MARGIN)), Some(at(30))));
    assert_eq!(row.reason.as_deref(), Some("lost"));
    assert_eq!(test.revoke(by_jti(&jti)).await.outcome, RevokeOutcome::Already);
}

#[tokio::test]
async fn a_token_in_hand_that_was_not_recorded_is_no_unknown() {
    let test = Test::new().await;
    let (session, _) = test.login().await;
    let access = Jti::random();
    let revoked = test.revoke(by_token(&access, TokenKind::Access, session)).await;
    assert_eq!((revoked.outcome, revoked.session_ended), (RevokeOutcome::Newly, false));
    assert!(test.refused(&access, Some(session)).await);
    assert!(!test.refused(&Jti::random(), Some(session)).await, "an access token takes only itself out");
    let row = test.ledger.outstanding_by_jti(&access).await.unwrap().unwrap();
    assert_eq!((row.user.as_deref(), row.kind), (Some("7"), Some(TokenKind::Access)));
}

#[tokio::test]
async fn a_session_that_nobody_recorded_ends_all_the_same() {
    let test = Test::new().await;
    let (jti, session) = (Jti::random(), SessionId::starting_at(9));
    let revoked = test.revoke(by_token(&jti, TokenKind::Refresh, session)).await;
    assert!(revoked.session_ended);
    assert!(test.refused(&Jti::random(), Some(session)).await);
}

#[tokio::test]
async fn where_sessions_are_to_stay_they_do() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    let order = Revocation { ends_session: false, ..revocation(vec![by_jti(&jti)]) };
    let revoked = test.ledger.revoke(order).await.unwrap().remove(0);
    assert_eq!((revoked.outcome, revoked.session_ended), (RevokeOutcome::Newly, false));
    assert!(test.ledger.is_refused(presented(&jti, Some(session))).await.unwrap());
    assert!(!test.refused(&Jti::random(), Some(session)).await);
    // And may be ended later.
    let revoked = test.revoke(by_jti(&jti)).await;
    assert_eq!((revoked.outcome, revoked.session_ended), (RevokeOutcome::Already, true));
    assert_eq!(test.ledger.events_of(&jti).await.unwrap().len(), 2);
    let row = test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap();
    assert_eq!((row.blacklisted_at, row.revoked_at), (Some(at(30)), Some(at(30))));
}

#[tokio::test]
async fn revoking_a_replaced_token_ends_the_session_of_its_successor() {
    for ends_session in [true, false] {
        let test = Test::new().await;
        let (session, old) = test.login().await;
        let rotation = rotation(&old, session);
        let new = rotation.new.jti.clone();
        test.ledger.rotate(rotation).await.unwrap();
        let order = Revocation { ends_session, at: at(90), ..revocation(vec![by_jti(&old)]) };
        let revoked = test.ledger.revoke(order).await.unwrap().remove(0);
        assert_eq!((revoked.outcome, revoked.session_ended), (RevokeOutcome::Already, true));
        assert!(test.refused(&new, Some(session)).await);
        let row = test.ledger.outstanding_by_jti(&old).await.unwrap().unwrap();
        assert_eq!(row.blacklisted_at, Some(at(60)), "the first time is kept");
    }
}

#[tokio::test]
async fn first_revocations_of_one_unknown_jti_at_once_have_one_winner_and_no_loser() {
    for _ in 0..5 {
        let test = Test::new().await;
        let jti = Jti::random();
        let mut all = JoinSet::new();
        for _ in 0..16 {
            // Half of them come from another process.
            let ledger = Ledger::open(&test.options()).unwrap();
            let item = by_jti(&jti);
            all.spawn(async move { ledger.revoke(revocation(vec![item])).await.unwrap().remove(0).outcome });
        }
        let outcomes = all.join_all().await;
        let newly = outcomes.iter().filter(|it| **it == RevokeOutcome::UnknownRecorded).count();
        let already = outcomes.iter().filter(|it| **it == RevokeOutcome::Already).count();
        assert_eq!((newly, already), (1, 15), "{outcomes:?}");
        assert_eq!(test.rows("token_blacklist_blacklistedtoken"), 1);
        assert_eq!(test.rows("simplejwt_event"), 1);
    }
}

#[tokio::test]
async fn many_are_revoked_together_and_one_twice_counts_once() {
    let test = Test::new().await;
    let mut items: Vec<_> = (0..1000).map(|_| by_jti(&Jti::random())).collect();
    items.push(items[0].clone());
    let revoked = test.ledger.revoke(revocation(items)).await.unwrap();
    let newly = revoked.iter().filter(|it| it.outcome == RevokeOutcome::UnknownRecorded).count();
    assert_eq!((revoked.len(), newly), (1001, 1000));
    assert_eq!(revoked[1000].outcome, RevokeOutcome::Already);
    assert_eq!(test.ledger.revoke(revocation(Vec::new())).await.unwrap(), []);
}

/// Nothing about the token `bad` can be written down.
fn refuse_bad(test: &Test) {
    test.sql(match test.database.kind() {
        Kind::Sqlite => {
            "CREATE TRIGGER not_bad BEFORE INSERT ON simplejwt_event WHEN NEW.target = 'bad'
             BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        }
        Kind::Postgres => {
            "CREATE FUNCTION not_bad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
             CREATE TRIGGER not_bad BEFORE INSERT ON simplejwt_event FOR EACH ROW WHEN (NEW.target = 'bad')
             EXECUTE FUNCTION not_bad()"
        }
        Kind::Mysql => {
            "CREATE TRIGGER not_bad BEFORE INSERT ON simplejwt_event FOR EACH ROW
             IF NEW.target = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF"
        }
    });
}

#[tokio::test]
async fn all_or_nothing() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    refuse_bad(&test);
    let items = vec![by_jti(&jti), by_jti(&"bad".parse().unwrap())];
    assert!(matches!(test.ledger.revoke(revocation(items)).await, Err(LedgerError::Query(_))));
    assert!(!test.refused(&jti, Some(session)).await);
    assert_eq!(test.rows("simplejwt_event") + test.rows("token_blacklist_blacklistedtoken"), 0);
}

#[tokio::test]
async fn a_longer_keeping_wins_and_the_session_is_kept_as_long() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    for keep_until in [at(3 * DAY), at(2 * DAY)] {
        test.revoke(RevokeItem { keep_until, ..by_jti(&jti) }).await;
    }
    let row = test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap();
    assert_eq!((row.keep_until, row.session), (Some(at(3 * DAY)), Some(session.to_string())));
    let kept = test.number(&format!("SELECT {} FROM simplejwt_session", test.seconds("keep_until")));
    assert_eq!(kept, at(3 * DAY).timestamp());
}

#[tokio::test]
async fn an_end_beyond_all_calendars_is_never_forgotten() {
    let test = Test::new().await;
    let jti = Jti::random();
    let (expires_at, keep_until) = (DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MAX_UTC);
    test.revoke(RevokeItem { expires_at, keep_until, ..by_jti(&jti) }).await;
    let plan =
        FlushPlan { as_of: at(100 * 365 * DAY), retention: RETENTION, events_before: None, addresses_before: None };
    assert_eq!(test.ledger.flush_estimate(&plan).await.unwrap().outstanding, 0);
    assert!(test.refused(&jti, None).await);
}

/// Revokes each by itself, all at once.
async fn at_once(ledger: &Ledger, jtis: &[Jti]) -> Vec<Result<RevokeOutcome, LedgerError>> {
    let mut all = JoinSet::new();
    for (place, jti) in jtis.iter().enumerate() {
        let (ledger, order) = (ledger.clone(), revocation(vec![by_jti(jti)]));
        all.spawn(async move { (place, ledger.revoke(order).await) });
    }
    let mut answers = all.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    let outcome = |(place, answer): (usize, Result<Vec<Revoked>, _>)| {
        let mut revoked = answer?;
        assert_eq!((revoked.len(), &revoked[0].jti), (1, &jtis[place]), "to each its own");
        Ok(revoked.remove(0).outcome)
    };
    answers.into_iter().map(outcome).collect()
}

/// A ledger with one connection and much time: all that comes while it is in use goes together.
fn narrow(test: &Test) -> Ledger {
    Ledger::open(&LedgerOptions { pool_size: 1, deadline: Duration::from_secs(30), ..test.options() }).unwrap()
}

#[tokio::test]
async fn revocations_that_come_at_once_share_transactions_and_each_hears_of_its_own() {
    let test = Test::new().await;
    let (_, known) = test.login().await;
    let ledger = narrow(&test);
    ledger.is_refused(presented(&known, None)).await.unwrap();
    let seen = statements::Seen::by(&ledger).await;
    let mut jtis: Vec<_> = (0..40).map(|_| Jti::random()).collect();
    jtis.insert(7, known.clone());
    jtis.push(jtis[3].clone());
    let outcomes: Vec<_> = at_once(&ledger, &jtis).await.into_iter().map(Result::unwrap).collect();
    let mut expected = vec![RevokeOutcome::UnknownRecorded; 42];
    (expected[7], expected[41]) = (RevokeOutcome::Newly, RevokeOutcome::Already);
    assert_eq!(outcomes, expected);
    let begun = seen.run().iter().filter(|statement| statement.starts_with("BEGIN")).count();
    assert!((2..=8).contains(&begun), "{begun} transactions");
    for jti in &jtis {
        assert!(test.ledger.is_refused(presented(jti, None)).await.unwrap());
    }
    assert_eq!(test.rows("simplejwt_event"), 41);
}

#[tokio::test]
async fn one_that_cannot_be_revoked_fails_none_that_came_with_it() {
    let test = Test::new().await;
    refuse_bad(&test);
    let mut jtis: Vec<_> = (0..8).map(|_| Jti::random()).collect();
    jtis.insert(4, "bad".parse().unwrap());
    for (place, outcome) in at_once(&narrow(&test), &jtis).await.into_iter().enumerate() {
        match outcome {
            Ok(outcome) => assert_eq!((outcome, place == 4), (RevokeOutcome::UnknownRecorded, false)),
            Err(error) => assert!(place == 4 && matches!(error, LedgerError::Query(_)), "{place}: {error}"),
        }
    }
    assert_eq!((test.rows("simplejwt_event"), test.rows("token_blacklist_blacklistedtoken")), (8, 8));
}

/// A transaction of somebody else that has blacklisted a token and does not end. On SQLite nobody else can write meanwhile.
fn in_the_way(test: &Test, jti: &Jti) -> TestConnection {
    // By its key: to look for it would lock its neighbourhood on MariaDB.
    let id = test.number(&format!("SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{jti}'"));
    let mut other = test.elsewhere();
    let begin = if test.database.kind() == Kind::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
    other
        .execute(&format!(
            "{begin}; INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id)
             VALUES ('2027-01-15 08:00:30', {id})"
        ))
        .unwrap();
    other
}

#[tokio::test]
async fn whoever_goes_away_takes_no_revocation_of_others_along() {
    let test = Test::new().await;
    let (_, blocked) = test.login().await;
    let mut other = in_the_way(&test, &blocked);
    let ledger = narrow(&test);
    let mut all: Vec<_> = [Jti::random(), blocked, Jti::random()]
        .map(|jti| {
            let (ledger, order) = (ledger.clone(), revocation(vec![by_jti(&jti)]));
            tokio::spawn(async move { ledger.revoke(order).await })
        })
        .into();
    tokio::time::sleep(SHORT).await;
    all.remove(1).abort();
    other.execute("ROLLBACK").unwrap();
    for waiting in all {
        assert_eq!(waiting.await.unwrap().unwrap()[0].outcome, RevokeOutcome::UnknownRecorded);
    }
}

#[tokio::test]
async fn a_revocation_that_waits_for_somebody_holds_up_none_that_comes_later() {
    let test = Test::new().await;
    if test.database.kind() == Kind::Sqlite {
        return;
    }
    let (_, blocked) = test.login().await;
    let mut other = in_the_way(&test, &blocked);
    let (ledger, order) = (test.ledger.clone(), revocation(vec![by_jti(&blocked)]));
    let waiting = tokio::spawn(async move { ledger.revoke(order).await });
    tokio::time::sleep(SHORT / 4).await;
    let begun = std::time::Instant::now();
    test.revoke(by_jti(&Jti::random())).await;
    assert!(begun.elapsed() < 3 * SHORT && !waiting.is_finished(), "{:?}", begun.elapsed());
    other.execute("ROLLBACK").unwrap();
    assert_eq!(waiting.await.unwrap().unwrap()[0].outcome, RevokeOutcome::Newly);
}
