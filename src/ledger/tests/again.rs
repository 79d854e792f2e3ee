//! Tokens that were replaced, and are presented again.

use super::*;

const GRACE: Grace = Grace { lasts: TimeDelta::seconds(10), until_used: false };

impl Test {
    /// Presents a token so many seconds after the beginning.
    async fn present(&self, old: &Jti, session: SessionId, seconds: i64, grace: Grace) -> Rotated {
        let rotation = Rotation { at: at(seconds), grace, ..rotation(old, session) };
        self.ledger.rotate(rotation).await.unwrap()
    }

    /// A login whose token was replaced at 60: its session, that token and its successor.
    async fn rotated(&self) -> (SessionId, Jti, NewRecord) {
        let (session, old) = self.login().await;
        let rotation = rotation(&old, session);
        let new = rotation.new.clone();
        assert_eq!(self.ledger.rotate(rotation).await.unwrap(), Rotated::Done);
        (session, old, new)
    }

    /// The reasons of all events of that sort.
    fn reasons(&self, action: &str) -> Vec<String> {
        let query = format!("SELECT reason FROM simplejwt_event WHERE action = '{action}' ORDER BY id");
        self.elsewhere().column(&query).into_iter().map(Option::unwrap).collect()
    }

    fn is_on_the_blacklist(&self, jti: &Jti) -> bool {
        let listed = "token_blacklist_blacklistedtoken b JOIN token_blacklist_outstandingtoken o ON o.id = b.token_id";
        self.rows(&format!("{listed} WHERE o.jti = '{jti}'")) == 1
    }
}

#[tokio::test]
async fn within_its_grace_a_token_gets_the_same_successor_again_and_retries_are_counted() {
    let test = Test::new().await;
    let (session, old, new) = test.rotated().await;
    for seconds in [60, 65, 69] {
        let Rotated::Again(again) = test.present(&old, session, seconds, GRACE).await else { panic!("at {seconds}") };
        assert_eq!((&again.jti, again.created_at, again.expires_at), (&new.jti, new.created_at, new.expires_at));
    }
    assert_eq!(test.reasons("refresh_retry"), ["3"], "one event, that counts");
    assert_eq!(test.rows("simplejwt_event"), 1);
    assert_eq!(test.rows("simplejwt_token"), 2, "nothing else is recorded");
    assert!(!test.refused(&new.jti, Some(session)).await);
    // Ten seconds from the rotation, whatever came in between.
    assert_eq!(test.present(&old, session, 70, GRACE).await, Rotated::Reused(Reuse::Recent));
    assert!(test.refused(&new.jti, Some(session)).await);
}

#[tokio::test]
async fn reuse_is_told_apart_by_the_time_and_by_whether_the_successor_was_used() {
    let test = Test::new().await;
    for (seconds, used, expected) in [
        (71, false, Reuse::Recent),
        (65, true, Reuse::AfterUse),
        (71, true, Reuse::Stale),
        (50_000, true, Reuse::Stale),
    ] {
        let (session, old, new) = test.rotated().await;
        if used {
            assert_eq!(test.present(&new.jti, session, 62, GRACE).await, Rotated::Done);
        }
        let before = test.rows("simplejwt_event");
        assert_eq!(test.present(&old, session, seconds, GRACE).await, Rotated::Reused(expected));
        assert_eq!(test.reasons("reuse").last().map(String::as_str), Some(expected.as_str()));
        assert_eq!(test.rows("simplejwt_event") - before, 1, "exactly one event");
        assert!(test.refused(&Jti::random(), Some(session)).await, "access tokens are refused with the session");
    }
}

#[tokio::test]
async fn until_the_successor_is_used_the_grace_may_last_as_long_as_it_takes() {
    let test = Test::new().await;
    let grace = Grace { lasts: TimeDelta::zero(), until_used: true };
    let (session, old, new) = test.rotated().await;
    for seconds in [60, 40_000] {
        assert!(matches!(test.present(&old, session, seconds, grace).await, Rotated::Again(_)), "at {seconds}");
    }
    assert_eq!(test.present(&new.jti, session, 40_001, grace).await, Rotated::Done);
    assert_eq!(test.present(&old, session, 40_002, grace).await, Rotated::Reused(Reuse::Stale));

    // A successor past its time is nothing that anybody could be given.
    let (session, old, _) = test.rotated().await;
    assert_eq!(test.present(&old, session, 60 + DAY, grace).await, Rotated::Reused(Reuse::Stale));
}

#[tokio::test]
async fn reuse_ends_the_session_and_every_token_of_it_once() {
    let test = Test::new().await;
    let (session, first, second) = test.rotated().await;
    let third = rotation(&second.jti, session);
    let jti = third.new.jti.clone();
    assert_eq!(test.ledger.rotate(third).await.unwrap(), Rotated::Done);

    assert_eq!(test.present(&first, session, 100, GRACE).await, Rotated::Reused(Reuse::Stale));
    assert!(test.is_on_the_blacklist(&jti), "Django knows no session");
    let everything = ["simplejwt_event", "simplejwt_revocation", "token_blacklist_blacklistedtoken", "simplejwt_token"];
    let before = everything.map(|table| test.rows(table));
    for token in [&first, &second.jti, &jti] {
        for seconds in [61, 100, 5000] {
            let outcome = test.present(token, session, seconds, GRACE).await;
            assert!(matches!(outcome, Rotated::SessionEnded | Rotated::Blacklisted), "{outcome:?}");
        }
    }
    assert_eq!(everything.map(|table| test.rows(table)), before, "what is refused costs no write after the first");
    assert_eq!(test.restore(&first).await, RestoreOutcome::Superseded);
    let otherwise = RestoreOutcome::SessionEndedOtherwise { reason: "refresh token reused".to_owned() };
    assert_eq!(test.restore(&jti).await, otherwise);
}

#[tokio::test]
async fn a_token_that_somebody_revoked_gets_no_grace() {
    let test = Test::new().await;
    // It is its session that is meant, whatever the setting.
    for ends_session in [true, false] {
        let (session, old, _) = test.rotated().await;
        test.ledger.revoke(Revocation { ends_session, ..revocation(vec![by_jti(&old)]) }).await.unwrap();
        assert_eq!(test.present(&old, session, 61, GRACE).await, Rotated::Blacklisted);
    }
    // Its successor was, and that alone: nobody is given a token that is refused.
    let (session, old, new) = test.rotated().await;
    test.ledger.revoke(Revocation { ends_session: false, ..revocation(vec![by_jti(&new.jti)]) }).await.unwrap();
    assert_eq!(test.present(&old, session, 61, GRACE).await, Rotated::Reused(Reuse::AfterUse));

    // Another token under the same name, which only a holder of the key can make.
    let (session, old, _) = test.rotated().await;
    let mut other = Rotation { at: at(61), grace: GRACE, ..rotation(&old, session) };
    other.new.claims.insert("user_id".to_owned(), "8".into());
    assert_eq!(test.ledger.rotate(other).await.unwrap(), Rotated::Reused(Reuse::AfterUse));

    let (session, old, _) = test.rotated().await;
    test.ledger.end_session(session, at(2 * DAY), "logout", &actor(), at(61)).await.unwrap();
    assert_eq!(test.present(&old, session, 62, GRACE).await, Rotated::SessionEnded);
    assert_eq!(test.reasons("reuse").len(), 2);
}

#[tokio::test]
async fn a_retry_records_its_access_token_and_a_reuse_does_not() {
    let test = Test::new().await;
    let (session, old, _) = test.rotated().await;
    let access = || NewRecord { kind: TokenKind::Access, ..refresh_token(session) };
    let retry = |seconds| Rotation { access: Some(access()), grace: GRACE, at: at(seconds), ..rotation(&old, session) };
    assert!(matches!(test.ledger.rotate(retry(61)).await.unwrap(), Rotated::Again(_)));
    assert_eq!(test.rows("simplejwt_token WHERE kind = 'access'"), 1);
    assert!(matches!(test.ledger.rotate(retry(80)).await.unwrap(), Rotated::Reused(_)));
    assert_eq!(test.rows("simplejwt_token WHERE kind = 'access'"), 1);
}

/// A line of tokens without a session, as Django's are: the first of them, and the last.
async fn line(test: &Test, length: usize) -> (Vec<Jti>, Rotation) {
    let token = NewRecord { session: None, ..refresh_token(SessionId::starting_at(0)) };
    let mut jtis = vec![token.jti.clone()];
    test.ledger.record(token).await.unwrap();
    let next = |old: &Jti| {
        let rotation = rotation(old, SessionId::starting_at(0));
        Rotation { old_session: None, new: NewRecord { session: None, ..rotation.new.clone() }, ..rotation }
    };
    while jtis.len() < length {
        let rotation = next(jtis.last().unwrap());
        jtis.push(rotation.new.jti.clone());
        assert_eq!(test.ledger.rotate(rotation).await.unwrap(), Rotated::Done);
    }
    let first = next(&jtis[0]);
    (jtis, first)
}

#[tokio::test]
async fn without_a_session_reuse_follows_the_token_to_whatever_replaced_it() {
    let test = Test::new().await;
    let (jtis, first) = line(&test, 4).await;
    assert!(!test.refused(&jtis[3], None).await);
    let first = Rotation { at: at(100), grace: GRACE, ..first };
    assert_eq!(test.ledger.rotate(first.clone()).await.unwrap(), Rotated::Reused(Reuse::Stale));
    assert!(test.refused(&jtis[3], None).await && test.is_on_the_blacklist(&jtis[3]));
    assert_eq!(test.rows("simplejwt_event"), 1);
    for old in &jtis {
        let again = Rotation { old: old.clone(), ..first.clone() };
        assert_eq!(test.ledger.rotate(again).await.unwrap(), Rotated::Blacklisted);
    }
    assert_eq!(test.rows("simplejwt_event"), 1, "and once only");
    assert!(matches!(test.restore(&jtis[3]).await, RestoreOutcome::SessionEndedOtherwise { .. }));

    let (jtis, first) = line(&test, 2).await;
    let Rotated::Again(again) = test.ledger.rotate(Rotation { grace: GRACE, ..first }).await.unwrap() else {
        panic!("it has grace, too");
    };
    assert_eq!(again.jti, jtis[1]);
}

#[tokio::test]
async fn without_a_session_a_revocation_follows_a_replaced_token() {
    let test = Test::new().await;
    let (jtis, _) = line(&test, 3).await;
    assert_eq!(test.revoke(by_jti(&jtis[0])).await.outcome, RevokeOutcome::Already);
    assert!(test.refused(&jtis[2], None).await);
    assert_eq!(test.reasons("blacklist"), ["lost"], "that is an event, though the token itself was refused before");
    assert_eq!(test.revoke(by_jti(&jtis[0])).await.outcome, RevokeOutcome::Already);
    assert_eq!(test.rows("simplejwt_event"), 1);
}

#[tokio::test]
async fn sixty_four_at_once_over_two_ledgers_get_one_successor_within_the_grace() {
    let test = Test::new().await;
    let other = Ledger::open(&test.options()).unwrap();
    let (session, old) = test.login().await;
    let mut all = tokio::task::JoinSet::new();
    for caller in 0..64 {
        let ledger = if caller % 2 == 0 { test.ledger.clone() } else { other.clone() };
        let rotation = Rotation { grace: GRACE, ..rotation(&old, session) };
        let new = rotation.new.jti.clone();
        all.spawn(async move {
            // Whoever is too busy may be asked again.
            loop {
                match ledger.rotate(rotation.clone()).await {
                    Ok(Rotated::Done) => break (true, new),
                    Ok(Rotated::Again(again)) => break (false, again.jti),
                    Err(error) if error.is_transient() => {}
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    let answers = all.join_all().await;
    let winner = answers.iter().find(|(won, _)| *won).map(|(_, jti)| jti.clone());
    assert_eq!(answers.iter().filter(|(won, _)| *won).count(), 1);
    assert!(answers.iter().all(|(_, jti)| Some(jti) == winner.as_ref()), "{answers:?}");
    assert_eq!(test.reasons("refresh_retry"), ["63"]);
    assert_eq!(test.rows("simplejwt_token"), 2);
}

/// Whichever comes first: a session that was ended has no token that is good, here or at Django.
#[tokio::test]
async fn a_rotation_beside_the_end_of_its_session_leaves_nothing_good() {
    let test = Test::new().await;
    for _ in 0..20 {
        let (session, old, new) = test.rotated().await;
        let next = rotation(&new.jti, session);
        let last = next.new.jti.clone();
        let (rotated, reused) = tokio::join!(test.ledger.rotate(next), test.present(&old, session, 100, GRACE));
        assert!(matches!(reused, Rotated::Reused(_)), "{reused:?}");
        let standing = if rotated.unwrap() == Rotated::Done { &last } else { &new.jti };
        assert!(test.refused(standing, Some(session)).await && test.is_on_the_blacklist(standing));
    }
}
