//! One winner.

use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn the_old_token_is_replaced_by_the_new_one() {
    let test = Test::new().await;
    let (session, old) = test.login().await;
    let rotation = rotation(&old, session);
    let new = rotation.new.jti.clone();
    assert_eq!(test.ledger.rotate(rotation).await.unwrap(), Rotated::Done);
    assert!(test.refused(&old, Some(session)).await);
    assert!(!test.refused(&new, Some(session)).await);
    let old = test.ledger.outstanding_by_jti(&old).await.unwrap().unwrap();
    assert_eq!((old.superseded_at, old.revoked_at, old.blacklisted_at), (Some(at(60)), None, Some(at(60))));
    assert_eq!(old.successor.as_deref(), Some(new.as_str()));
    let new = test.ledger.outstanding_by_jti(&new).await.unwrap().unwrap();
    assert_eq!((new.parent, new.session), (Some(old.jti), Some(session.to_string())));
    assert_eq!(
        test.number(&format!("SELECT {} FROM simplejwt_session", test.seconds("last_used_at"))),
        at(60).timestamp()
    );
    let kept = test.number(&format!("SELECT {} FROM simplejwt_session", test.seconds("keep_until")));
    assert_eq!(kept, at(60 + DAY + MARGIN + 300).timestamp());
    assert_eq!(test.rows("simplejwt_event"), 0, "a rotation is no revocation");
}

#[tokio::test]
async fn of_sixteen_at_once_one_wins_and_without_grace_none() {
    for _ in 0..5 {
        let test = Test::new().await;
        let (session, old) = test.login().await;
        let mut all = JoinSet::new();
        for _ in 0..16 {
            let (ledger, rotation) = (test.ledger.clone(), rotation(&old, session));
            all.spawn(async move { ledger.rotate(rotation).await.unwrap() });
        }
        let outcomes = all.join_all().await;
        let winners = outcomes.iter().filter(|outcome| **outcome == Rotated::Done).count();
        assert_eq!(winners, 1, "{outcomes:?}");
        let reused = outcomes.iter().filter(|outcome| **outcome == Rotated::Reused(Reuse::Recent)).count();
        let late = outcomes.iter().filter(|outcome| **outcome == Rotated::SessionEnded).count();
        assert_eq!((reused, late), (1, 14), "without grace the first loser ends the session: {outcomes:?}");
        assert_eq!(test.rows("simplejwt_event"), 1);
        assert_eq!(test.rows("token_blacklist_outstandingtoken"), 2, "losers leave nothing behind");
        assert_eq!(test.rows("simplejwt_token"), 2);
    }
}

/// Two processes do not share the turn to write.
#[tokio::test]
async fn of_two_processes_one_wins() {
    let test = Test::new().await;
    let other = Ledger::open(&test.options()).unwrap();
    for _ in 0..20 {
        let (session, old) = test.login().await;
        let (here, there) =
            tokio::join!(test.ledger.rotate(rotation(&old, session)), other.rotate(rotation(&old, session)),);
        let done = [here.unwrap(), there.unwrap()].into_iter().filter(|it| *it == Rotated::Done).count();
        assert_eq!(done, 1);
    }
}

#[tokio::test]
async fn a_token_that_was_revoked_is_blacklisted() {
    let test = Test::new().await;
    for ends_session in [true, false] {
        let (session, old) = test.login().await;
        test.ledger.revoke(Revocation { ends_session, ..revocation(vec![by_jti(&old)]) }).await.unwrap();
        for blacklist_old in [true, false] {
            let rotation = Rotation { blacklist_old, ..rotation(&old, session) };
            assert_eq!(test.ledger.rotate(rotation).await.unwrap(), Rotated::Blacklisted);
        }
    }
}

#[tokio::test]
async fn a_token_of_a_session_that_is_over_is_refused_as_that() {
    let test = Test::new().await;
    let (session, old) = test.login().await;
    test.ledger.end_sessions_of(&"7".into(), "logout", &actor(), at(30)).await.unwrap();
    for old_session in [Some(session), None] {
        let rotation = Rotation { old_session, ..rotation(&old, session) };
        assert_eq!(test.ledger.rotate(rotation).await.unwrap(), Rotated::SessionEnded);
    }
    assert_eq!(test.rows("token_blacklist_outstandingtoken"), 1);
    assert_eq!(test.rows("token_blacklist_blacklistedtoken"), 0);
}

#[tokio::test]
async fn an_unknown_token_is_replaced_only_where_that_is_wanted() {
    let test = Test::new().await;
    let (session, old) = (SessionId::starting_at(0), Jti::random());
    assert_eq!(test.ledger.rotate(rotation(&old, session)).await.unwrap(), Rotated::Unknown);
    assert_eq!(test.rows("simplejwt_token") + test.rows("token_blacklist_outstandingtoken"), 0);

    let accepting = Rotation { accept_unknown: true, ..rotation(&old, session) };
    assert_eq!(test.ledger.rotate(accepting.clone()).await.unwrap(), Rotated::Done);
    assert!(test.refused(&old, Some(session)).await);
    let again = Rotation { new: refresh_token(session), ..accepting };
    assert_eq!(test.ledger.rotate(again).await.unwrap(), Rotated::Reused(Reuse::Recent));
}

#[tokio::test]
async fn without_blacklisting_the_old_token_stays_good() {
    let test = Test::new().await;
    let (session, old) = test.login().await;
    for _ in 0..2 {
        let rotation = Rotation { blacklist_old: false, ..rotation(&old, session) };
        assert_eq!(test.ledger.rotate(rotation).await.unwrap(), Rotated::Done);
    }
    assert!(!test.refused(&old, Some(session)).await);
    assert_eq!(test.rows("token_blacklist_outstandingtoken"), 3);
    assert_eq!(test.number("SELECT count(*) FROM simplejwt_token WHERE superseded_at IS NOT NULL"), 0);
}

#[tokio::test]
async fn a_token_whose_rows_django_has_flushed_is_still_known_and_still_refused() {
    let test = Test::new().await;
    let (session, old) = test.login().await;
    test.sql("DELETE FROM token_blacklist_outstandingtoken");
    let rotation = rotation(&old, session);
    assert_eq!(test.ledger.rotate(rotation.clone()).await.unwrap(), Rotated::Done);
    test.sql("DELETE FROM token_blacklist_blacklistedtoken; DELETE FROM token_blacklist_outstandingtoken;");
    assert!(test.refused(&old, Some(session)).await);
    let again = Rotation { new: refresh_token(session), ..rotation };
    assert_eq!(test.ledger.rotate(again).await.unwrap(), Rotated::Reused(Reuse::Stale), "its successor is lost");
}

#[tokio::test]
async fn a_successor_that_exists_already_undoes_everything() {
    let test = Test::new().await;
    let (session, old) = test.login().await;
    let (_, taken) = test.login().await;
    let mut rotation = rotation(&old, session);
    rotation.new.jti = taken;
    assert!(matches!(test.ledger.rotate(rotation).await, Err(LedgerError::Duplicate(_))));
    assert!(!test.refused(&old, Some(session)).await);
}
