//! Until when it is remembered that a session is over, where its tokens go before it.

use super::adopting::adopted;
use super::ending::ending;
use super::flushing::{flush, plan};
use super::*;

/// What a flush deletes and its estimate says.
async fn flushed(test: &Test, as_of: DateTime<Utc>) -> [u64; 4] {
    let estimate = test.ledger.flush_estimate(&plan(as_of)).await.unwrap();
    let (flushed, _) = flush(&test.ledger, &plan(as_of), 10).await;
    assert_eq!(estimate, flushed, "counted and deleted");
    [flushed.outstanding, flushed.blacklisted, flushed.tokens, flushed.sessions]
}

/// How many rows of the log are of a session.
async fn logged(test: &Test, session: SessionId) -> i64 {
    test.ledger.sequence_log().await;
    test.number(&format!("SELECT count(*) FROM simplejwt_revocation WHERE session_id = '{session}'"))
}

#[tokio::test]
async fn a_session_of_a_logout_goes_with_its_tokens() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    test.ledger.end_session_and_tokens(ending(session)).await.unwrap().unwrap();
    assert!(test.is_listed(&jti).await);
    assert_eq!(flushed(&test, at(DAY + MARGIN) - TimeDelta::microseconds(1)).await, [0; 4]);
    assert!(test.refused(&Jti::random(), Some(session)).await);
    assert_eq!(flushed(&test, at(DAY + MARGIN)).await, [1, 1, 1, 1]);
}

#[tokio::test]
async fn a_session_of_a_logout_is_kept_for_as_long_as_its_row_says_and_logged_once() {
    let test = Test::new().await;
    let (session, _) = test.login().await;
    // Its last access token lives longer than its refresh token.
    let dead = at(DAY + 300 + MARGIN);
    test.ledger.touch_session(session, at(50), dead).await.unwrap();
    test.ledger.end_session_and_tokens(ending(session)).await.unwrap().unwrap();
    assert_eq!(logged(&test, session).await, 1);
    let batch = test.ledger.flush_batch(&plan(at(DAY + MARGIN)), FlushCursor::default(), 10).await.unwrap();
    assert_eq!((batch.flushed.blacklisted, logged(&test, session).await), (1, 1), "nothing has become of it");
    assert_eq!(flushed(&test, dead - TimeDelta::microseconds(1)).await, [0; 4]);
    assert!(test.refused(&Jti::random(), Some(session)).await);
    assert_eq!(flushed(&test, dead).await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_session_that_others_ended_is_over_by_its_own_row_when_theirs_goes() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    test.blacklist_elsewhere(&jti);
    // Another one of the same session, which stays for longer.
    let second = NewRecord { expires_at: at(2 * DAY), keep_until: at(2 * DAY + MARGIN), ..refresh_token(session) };
    let other = second.jti.clone();
    test.ledger.record(second).await.unwrap();
    test.blacklist_elsewhere(&other);
    assert_eq!(flushed(&test, at(DAY + MARGIN)).await, [1, 1, 1, 0]);
    assert_eq!(
        flushed(&test, at(2 * DAY + MARGIN)).await,
        [1, 1, 1, 0],
        "over by its row, but not by that of a logout"
    );
    assert!(test.refused(&Jti::random(), Some(session)).await);
    assert_eq!(flushed(&test, at(4 * DAY)).await, [0, 0, 0, 1]);
}

/// Before 5.5, Django wrote down nothing of the token that it made of another one, which names the same session.
#[tokio::test]
async fn where_django_rotates_a_session_stays_over_as_long_as_a_token_that_nobody_knows() {
    let ours = Test::new().await;
    // Of tables that we made, too.
    ours.sql("CREATE TABLE django_migrations (id bigint NOT NULL PRIMARY KEY)");
    for test in [adopted().await, ours] {
        let (session, _) = test.login().await;
        test.ledger.end_session_and_tokens(ending(session)).await.unwrap().unwrap();
        assert_eq!(flushed(&test, at(DAY + MARGIN)).await, [1, 1, 1, 0]);
        let unknown = Jti::random();
        for alive in [at(DAY + MARGIN), at(2 * DAY)] {
            assert_eq!(flushed(&test, alive).await, [0; 4]);
            assert!(test.refused(&unknown, Some(session)).await);
        }
        assert_eq!(flushed(&test, at(2 * DAY + 2 * MARGIN)).await, [0, 0, 0, 1]);
    }
}
