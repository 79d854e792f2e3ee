//! How many sessions a user may have.

use tokio::task::JoinSet;

use super::*;

fn limit(most: u32, evicts: bool) -> SessionLimit {
    SessionLimit { most, evicts, kept_after: at(MARGIN), used_after: None, actor: actor() }
}

/// A login of user 7, so many seconds after the beginning.
fn login(seconds: i64, limit: SessionLimit) -> (NewSession, NewRecord) {
    let id = SessionId::starting_at(millis(at(seconds)));
    (NewSession { created_at: at(seconds), limit: Some(limit), ..new_session(id) }, refresh_token(id))
}

impl Test {
    async fn log_in(&self, seconds: i64, limit: SessionLimit) -> Result<(SessionId, usize), LedgerError> {
        let (session, token) = login(seconds, limit);
        let id = session.id;
        Ok((id, self.ledger.record_login(session, token).await?))
    }

    fn open_sessions(&self) -> i64 {
        self.rows("simplejwt_session WHERE ended_at IS NULL")
    }
}

#[tokio::test]
async fn the_session_that_was_not_used_for_the_longest_time_makes_room() {
    let test = Test::new().await;
    let mut sessions = Vec::new();
    for seconds in 0..3 {
        sessions.push(test.log_in(seconds, limit(3, true)).await.unwrap().0);
    }
    test.ledger.touch_session(sessions[0], at(50), at(DAY + MARGIN)).await.unwrap();
    let (_, ended) = test.log_in(60, limit(3, true)).await.unwrap();
    assert_eq!((ended, test.open_sessions()), (1, 3));
    assert!(test.refused(&Jti::random(), Some(sessions[1])).await, "its access tokens, too");
    assert!(!test.refused(&Jti::random(), Some(sessions[0])).await);
    let events = "SELECT target FROM simplejwt_event WHERE action = 'evict'";
    assert_eq!(test.elsewhere().column(events), [Some(sessions[1].to_string())]);
    assert_eq!(test.rows("token_blacklist_blacklistedtoken"), 1, "Django refuses its refresh token");

    let (_, ended) = test.log_in(61, limit(1, true)).await.unwrap();
    assert_eq!((ended, test.open_sessions()), (3, 1), "a limit that was lowered holds from the next login on");
}

#[tokio::test]
async fn a_login_that_finds_no_room_may_be_refused() {
    let test = Test::new().await;
    for seconds in 0..2 {
        test.log_in(seconds, limit(2, false)).await.unwrap();
    }
    assert!(matches!(test.log_in(2, limit(2, false)).await, Err(LedgerError::TooManySessions)));
    assert_eq!((test.rows("simplejwt_session"), test.rows("simplejwt_token"), test.rows("simplejwt_event")), (2, 2, 0));
    // Somebody else has room.
    let (mut session, token) = login(3, limit(2, false));
    session.user = Some("8".into());
    test.ledger.record_login(session, token).await.unwrap();
}

#[tokio::test]
async fn what_is_over_takes_no_room() {
    let test = Test::new().await;
    let (ended, _) = test.log_in(0, limit(1, false)).await.unwrap();
    test.ledger.end_session(ended, at(2 * DAY), "logout", &actor(), at(1)).await.unwrap();

    let (elsewhere, token) = login(2, limit(1, false));
    let jti = token.jti.clone();
    test.ledger.record_login(elsewhere, token).await.unwrap();
    test.blacklist_elsewhere(&jti);

    let (too_old, token) = login(3, limit(1, false));
    test.ledger.record_login(NewSession { absolute_end: Some(at(4)), ..too_old }, token).await.unwrap();

    let (idle, _) = test.log_in(5, limit(1, false)).await.unwrap();
    let used = SessionLimit { used_after: Some(at(5)), ..limit(1, false) };
    assert!(matches!(test.log_in(6, limit(1, false)).await, Err(LedgerError::TooManySessions)), "{idle} is open");
    test.log_in(6, used).await.unwrap();

    // The refresh token of none of them is good any more.
    test.log_in(DAY, SessionLimit { kept_after: at(DAY + MARGIN), ..limit(1, false) }).await.unwrap();
    test.ledger
        .cut_off(NewCutoff {
            user: Some("7".into()),
            not_before: at(DAY),
            keep_until: at(3 * DAY),
            reason: None,
            actor: actor(),
            at: at(DAY),
        })
        .await
        .unwrap();
    test.log_in(DAY + 1, SessionLimit { kept_after: at(DAY), ..limit(1, false) }).await.unwrap();
}

#[tokio::test]
async fn sixty_four_logins_at_once_over_two_ledgers_are_counted_exactly() {
    for evicts in [false, true] {
        let test = Test::new().await;
        let other = Ledger::open(&test.options()).unwrap();
        let mut all = JoinSet::new();
        for caller in 0..64 {
            let ledger = if caller % 2 == 0 { test.ledger.clone() } else { other.clone() };
            all.spawn(async move {
                // Whoever is too busy may be asked again. What it was asked before may have been done all the same.
                loop {
                    let (session, token) = login(caller, limit(5, evicts));
                    match ledger.record_login(session, token).await {
                        Ok(_) => break true,
                        Err(LedgerError::TooManySessions) => break false,
                        Err(error) if error.is_transient() => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
        let logins = all.join_all().await.into_iter().filter(|done| *done).count();
        let recorded = test.rows("simplejwt_session");
        if evicts {
            assert!(logins == 64 && recorded >= 64, "{logins}, {recorded}");
        } else {
            assert!(logins <= 5 && recorded == 5, "{logins}, {recorded}");
        }
        assert_eq!(test.open_sessions(), 5, "exactly");
        assert_eq!(test.rows("simplejwt_event"), recorded - 5, "each that made room has an event");
    }
}
