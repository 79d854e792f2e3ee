//! Taking a revocation back, and no more than that.

use super::*;

#[tokio::test]
async fn a_revocation_is_undone_with_the_end_of_its_session() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    test.revoke(by_jti(&jti)).await;
    assert_eq!(test.restore(&jti).await, RestoreOutcome::Restored { session_reopened: true });
    assert!(!test.refused(&jti, Some(session)).await);
    assert_eq!(test.restore(&jti).await, RestoreOutcome::NotBlacklisted);
    let events: Vec<_> = test.ledger.events_of(&jti).await.unwrap().into_iter().map(|it| it.action).collect();
    assert_eq!(events, ["unblacklist", "blacklist"], "the newest first");
    assert_eq!(test.revoke(by_jti(&jti)).await.outcome, RevokeOutcome::Newly);
    assert!(test.refused(&jti, Some(session)).await);
}

#[tokio::test]
async fn what_was_unknown_stays_on_record() {
    let test = Test::new().await;
    let jti = Jti::random();
    assert_eq!(test.restore(&jti).await, RestoreOutcome::Unknown);
    test.revoke(by_jti(&jti)).await;
    assert_eq!(test.restore(&jti).await, RestoreOutcome::Restored { session_reopened: false });
    assert!(!test.refused(&jti, None).await);
    assert_eq!(test.rows("token_blacklist_outstandingtoken"), 1);
}

#[tokio::test]
async fn a_replaced_token_is_not_restored() {
    let test = Test::new().await;
    let (session, old) = test.login().await;
    test.ledger.rotate(rotation(&old, session)).await.unwrap();
    assert_eq!(test.restore(&old).await, RestoreOutcome::Superseded);
    test.revoke(by_jti(&old)).await;
    assert_eq!(test.restore(&old).await, RestoreOutcome::Superseded);
    assert!(test.refused(&old, Some(session)).await);
}

#[tokio::test]
async fn a_session_that_ended_for_another_reason_keeps_its_tokens_revoked() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    test.ledger.end_sessions_of(&"7".into(), "logout", &actor(), at(20)).await.unwrap();
    test.revoke(by_jti(&jti)).await;
    let outcome = test.restore(&jti).await;
    assert_eq!(outcome, RestoreOutcome::SessionEndedOtherwise { reason: "logout".to_owned() });
    assert!(test.ledger.standing(presented(&jti, Some(session))).await.unwrap().blacklisted);
}

#[tokio::test]
async fn nor_does_it_when_the_other_reason_came_second() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    test.revoke(by_jti(&jti)).await;
    let ended = test.ledger.end_sessions_of(&"7".into(), "password changed", &actor(), at(40)).await.unwrap();
    assert_eq!(ended, 0, "it was over already");
    let outcome = test.restore(&jti).await;
    assert_eq!(outcome, RestoreOutcome::SessionEndedOtherwise { reason: "password changed".to_owned() });
    assert!(test.refused(&jti, Some(session)).await);
}

#[tokio::test]
async fn a_revocation_at_the_same_time_keeps_the_session_over() {
    let test = Test::new().await;
    let (session, one) = test.login().await;
    let token = refresh_token(session);
    let two = token.jti.clone();
    test.ledger.record(token).await.unwrap();
    test.revoke(by_jti(&one)).await;
    // What the revocation of the other token does, up to its commit.
    let mut other = test.elsewhere();
    other.execute(if test.database.kind() == Kind::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }).unwrap();
    for statement in [
        format!("UPDATE simplejwt_token SET revoked_at = '2027-01-15 08:00:40' WHERE jti = '{two}'"),
        format!("UPDATE simplejwt_session SET last_used_at = '2027-01-15 08:00:40' WHERE id = '{session}'"),
    ] {
        assert_eq!(other.execute(&statement), Ok(1));
    }
    let (ledger, jti) = (test.ledger.clone(), one.clone());
    let restoration = Restoration { jtis: vec![jti], actor: actor(), reason: None, at: at(60) };
    let restoring = tokio::spawn(async move { ledger.restore(restoration).await.unwrap().remove(0).outcome });
    // Long enough for it to come upon the session, or upon the lock.
    tokio::time::sleep(Duration::from_millis(400)).await;
    other.execute("COMMIT").unwrap();
    assert_eq!(restoring.await.unwrap(), RestoreOutcome::Restored { session_reopened: false });
    assert!(test.refused(&one, Some(session)).await, "the other token ended it");
}

#[tokio::test]
async fn reuse_of_a_replaced_token_is_another_reason() {
    let test = Test::new().await;
    let (session, old) = test.login().await;
    let rotation = rotation(&old, session);
    let new = rotation.new.jti.clone();
    test.ledger.rotate(rotation).await.unwrap();
    test.revoke(by_jti(&old)).await;
    test.revoke(by_jti(&new)).await;
    let outcome = test.restore(&new).await;
    assert_eq!(outcome, RestoreOutcome::SessionEndedOtherwise { reason: "lost".to_owned() });
}

#[tokio::test]
async fn another_revoked_token_keeps_the_session_over_until_it_is_restored_too() {
    for first_restored in [0, 1] {
        let test = Test::new().await;
        let (session, one) = test.login().await;
        let token = refresh_token(session);
        let two = token.jti.clone();
        test.ledger.record(token).await.unwrap();
        test.revoke(by_jti(&one)).await;
        test.revoke(by_jti(&two)).await;
        let order = if first_restored == 0 { [&one, &two] } else { [&two, &one] };
        assert_eq!(test.restore(order[0]).await, RestoreOutcome::Restored { session_reopened: false });
        assert!(test.refused(order[0], Some(session)).await, "its session is still over");
        let by = "SELECT count(*) FROM simplejwt_session WHERE ended_by = ";
        assert_eq!(test.number(&format!("{by}'{}'", order[1])), 1);
        assert_eq!(test.restore(order[1]).await, RestoreOutcome::Restored { session_reopened: true });
        assert!(!test.refused(&one, Some(session)).await && !test.refused(&two, Some(session)).await);
    }
}

#[tokio::test]
async fn a_row_from_elsewhere_is_undone_like_our_own() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    test.blacklist_elsewhere(&jti);
    assert_eq!(test.restore(&jti).await, RestoreOutcome::Restored { session_reopened: true });
    assert!(!test.refused(&jti, Some(session)).await);
}

#[tokio::test]
async fn a_row_from_elsewhere_keeps_the_session_over_too() {
    let test = Test::new().await;
    let (session, one) = test.login().await;
    let token = refresh_token(session);
    let two = token.jti.clone();
    test.ledger.record(token).await.unwrap();
    test.revoke(by_jti(&one)).await;
    test.blacklist_elsewhere(&two);
    assert_eq!(test.restore(&one).await, RestoreOutcome::Restored { session_reopened: false });
    assert!(test.refused(&one, Some(session)).await);
}

#[tokio::test]
async fn one_that_cannot_be_restored_does_not_hinder_the_others() {
    let test = Test::new().await;
    let (_, good) = test.login().await;
    test.revoke(by_jti(&good)).await;
    let jtis = vec![Jti::random(), good.clone()];
    let restoration = Restoration { jtis, actor: actor(), reason: Some("found again".to_owned()), at: at(60) };
    let outcomes: Vec<_> =
        test.ledger.restore(restoration).await.unwrap().into_iter().map(|restored| restored.outcome).collect();
    assert_eq!(outcomes, [RestoreOutcome::Unknown, RestoreOutcome::Restored { session_reopened: true }]);
    assert_eq!(test.ledger.events_of(&good).await.unwrap()[0].reason.as_deref(), Some("found again"));
}
