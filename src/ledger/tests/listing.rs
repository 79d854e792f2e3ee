//! What there is to see.

use super::*;

/// One token in each state: active, expired, revoked, replaced, successor, and one whose session is over.
async fn one_of_each() -> (Test, Vec<Jti>) {
    let test = Test::new().await;
    let (_, active) = test.login().await;
    let session = SessionId::starting_at(0);
    let expired = NewRecord { session: None, kind: TokenKind::Sliding, expires_at: at(10), ..refresh_token(session) };
    let expired_jti = expired.jti.clone();
    test.ledger.record(expired).await.unwrap();
    let (_, revoked) = test.login().await;
    test.revoke(by_jti(&revoked)).await;
    let (session, replaced) = test.login().await;
    let rotation = rotation(&replaced, session);
    let successor = rotation.new.jti.clone();
    test.ledger.rotate(rotation).await.unwrap();
    let over = SessionId::starting_at(3);
    let token = NewRecord { user: Some("8".into()), ..refresh_token(over) };
    let over_jti = token.jti.clone();
    test.ledger.record_login(NewSession { user: Some("8".into()), ..new_session(over) }, token).await.unwrap();
    test.ledger.end_sessions_of(&"8".into(), "logout", &actor(), at(20)).await.unwrap();
    (test, vec![active, expired_jti, revoked, replaced, successor, over_jti])
}

#[tokio::test]
async fn filters_choose_and_pages_follow_each_other() {
    let (test, jtis) = one_of_each().await;
    let all = TokenFilter::default();
    let state = |state| TokenFilter { state: Some(state), ..TokenFilter::default() };
    for (filter, expected) in [
        (all.clone(), vec![0, 1, 2, 3, 4, 5]),
        (state(TokenState::Active), vec![0, 4]),
        (state(TokenState::Expired), vec![1]),
        (state(TokenState::Blacklisted), vec![2]),
        (state(TokenState::Superseded), vec![3]),
        (TokenFilter { user: Some("8".into()), ..all.clone() }, vec![5]),
        (TokenFilter { kind: Some(TokenKind::Sliding), ..all.clone() }, vec![1]),
        (TokenFilter { since: Some(at(1)), ..all.clone() }, vec![4]),
        (TokenFilter { limit: 2, ..all.clone() }, vec![0, 1]),
        (TokenFilter { limit: 2, after: 2, ..all.clone() }, vec![2, 3]),
    ] {
        let rows = test.ledger.outstanding(&filter, at(100)).await.unwrap();
        let found: Vec<_> =
            rows.iter().map(|row| jtis.iter().position(|jti| jti.as_str() == row.jti).unwrap()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let blacklisted = test.ledger.blacklisted(&all, at(100)).await.unwrap();
    let shown: Vec<_> = blacklisted.iter().map(|row| (row.jti.as_str(), row.reason.as_deref())).collect();
    assert_eq!(shown, [(jtis[2].as_str(), Some("lost")), (jtis[3].as_str(), None)]);
    let later = TokenFilter { since: Some(at(31)), ..all };
    assert_eq!(test.ledger.blacklisted(&later, at(100)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_token_is_shown_with_all_that_is_known() {
    let (test, jtis) = one_of_each().await;
    let row = test.ledger.outstanding_by_jti(&jtis[2]).await.unwrap().unwrap();
    assert_eq!((row.kind, row.user.as_deref()), (Some(TokenKind::Refresh), Some("7")));
    assert_eq!((row.session_ended_at, row.revoked_at, row.superseded_at), (Some(at(30)), Some(at(30)), None));
    assert_eq!(test.ledger.outstanding_by_jti(&Jti::random()).await.unwrap(), None);
}

#[tokio::test]
async fn everything_is_counted() {
    let (test, _) = one_of_each().await;
    let counts = test.ledger.counts(at(100)).await.unwrap();
    assert_eq!((counts.outstanding, counts.blacklisted, counts.sessions_open, counts.users), (6, 2, 2, 0));
    assert_eq!((counts.expired, counts.oldest_expired), (0, Some(at(10))), "what is expired is kept for a while");
    let counts = test.ledger.counts(at(2 * DAY)).await.unwrap();
    assert_eq!((counts.expired, counts.oldest_expired), (6, Some(at(10))));
    let empty = Test::new().await.ledger.counts(at(100)).await.unwrap();
    assert_eq!(empty, Counts::default());
}
