//! Is it refused?

use super::*;

#[tokio::test]
async fn nothing_is_held_against_a_token_that_nobody_knows() {
    let test = Test::new().await;
    let jti = Jti::random();
    assert!(!test.refused(&jti, None).await);
    assert!(!test.refused(&jti, Some(SessionId::starting_at(0))).await);
    assert_eq!(test.ledger.standing(presented(&jti, None)).await.unwrap(), Standing::default());
}

#[tokio::test]
async fn a_recorded_token_stands_and_is_known() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    let standing = test.ledger.standing(presented(&jti, None)).await.unwrap();
    assert_eq!(
        standing,
        Standing { known: true, user: Some("7".into()), session_last_used_at: Some(at(0)), ..Standing::default() }
    );
    assert!(!test.refused(&jti, Some(session)).await);
}

#[tokio::test]
async fn a_jti_is_compared_byte_for_byte() {
    let test = Test::new().await;
    let jti: Jti = "AbC-~".parse().unwrap();
    test.revoke(by_jti(&jti)).await;
    assert!(test.refused(&jti, None).await);
    for other in ["abc-~", "ABC-~", "AbC-", "AbC-~~"] {
        assert!(!test.refused(&other.parse().unwrap(), None).await, "{other}");
    }
}

#[tokio::test]
async fn the_end_of_a_session_reaches_all_its_tokens_and_no_other() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    let (other_session, other) = test.login().await;
    test.revoke(by_jti(&jti)).await;
    assert!(test.refused(&Jti::random(), Some(session)).await, "an access token of the session");
    assert!(!test.refused(&Jti::random(), Some(other_session)).await);
    assert!(!test.refused(&other, Some(other_session)).await);
    assert!(test.refused(&other, Some(session)).await);
    // Without `sid`, the session that is on record counts where somebody asks for details.
    assert!(test.ledger.standing(presented(&jti, None)).await.unwrap().session_ended);
}

#[tokio::test]
async fn a_row_from_elsewhere_ends_the_session_unless_it_is_of_a_replaced_or_an_access_token() {
    let test = Test::new().await;
    let (session, first) = test.login().await;
    let rotation = rotation(&first, session);
    let second = rotation.new.jti.clone();
    assert_eq!(test.ledger.rotate(rotation).await.unwrap(), Rotated::Done);
    assert!(!test.refused(&second, Some(session)).await, "the row of the replaced token is no revocation");

    let access = NewRecord { kind: TokenKind::Access, ..refresh_token(session) };
    let access_jti = access.jti.clone();
    test.ledger.record(access).await.unwrap();
    test.blacklist_elsewhere(&access_jti);
    assert!(test.refused(&access_jti, Some(session)).await);
    assert!(!test.refused(&second, Some(session)).await, "an access token takes only itself out");

    test.blacklist_elsewhere(&second);
    assert!(test.refused(&Jti::random(), Some(session)).await);
}

#[tokio::test]
async fn ending_all_sessions_of_a_user_leaves_others_alone_and_is_written_down() {
    let test = Test::new().await;
    let (first, _) = test.login().await;
    let (second, _) = test.login().await;
    let other = SessionId::starting_at(1);
    let session = NewSession { user: Some("8".into()), ..new_session(other) };
    test.ledger.record_login(session, refresh_token(other)).await.unwrap();
    for ended in [2, 0] {
        let reason = "left the company";
        assert_eq!(test.ledger.end_sessions_of(&"7".into(), reason, &actor(), at(60)).await.unwrap(), ended);
    }
    assert_eq!(test.rows("simplejwt_event"), 1);
    for (session, over) in [(first, true), (second, true), (other, false)] {
        assert_eq!(test.refused(&Jti::random(), Some(session)).await, over);
    }
}

#[tokio::test]
async fn touching_a_session_never_goes_back() {
    let test = Test::new().await;
    let (session, _) = test.login().await;
    let read = || {
        (
            test.number(&format!("SELECT {} FROM simplejwt_session", test.seconds("last_used_at"))),
            test.number(&format!("SELECT {} FROM simplejwt_session", test.seconds("keep_until"))),
        )
    };
    test.ledger.touch_session(session, at(100), at(2 * DAY)).await.unwrap();
    test.ledger.touch_session(session, at(50), at(DAY)).await.unwrap();
    assert_eq!(read(), (at(100).timestamp(), at(2 * DAY).timestamp()));
    test.ledger.touch_session(SessionId::starting_at(5), at(100), at(DAY)).await.unwrap();
    assert_eq!(test.rows("simplejwt_session"), 1);
}

#[tokio::test]
async fn what_is_recorded_is_cut_to_fit_and_recorded_once() {
    let test = Test::new().await;
    let session = SessionId::starting_at(0);
    let token = refresh_token(session);
    test.ledger.record_login(new_session(session), token.clone()).await.unwrap();
    let user_agent = test.elsewhere().column("SELECT user_agent FROM simplejwt_session").pop().flatten();
    assert_eq!(user_agent, Some("é".repeat(255)));
    for again in [
        test.ledger.record(token.clone()).await,
        test.ledger.record_login(new_session(session), refresh_token(session)).await.map(drop),
    ] {
        assert!(matches!(again, Err(LedgerError::Duplicate(_))), "{again:?}");
    }
    assert_eq!(test.rows("token_blacklist_outstandingtoken"), 1);
    let claims = test.elsewhere().column("SELECT claims FROM simplejwt_token");
    let of_editors = |claims: &&String| claims.parse::<serde_json::Value>().unwrap()["role"] == "editor";
    assert_eq!(claims.iter().flatten().filter(of_editors).count(), 1);
}
