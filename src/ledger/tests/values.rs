//! What the columns hold, to the byte.

use super::*;

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[tokio::test]
async fn every_instant_that_is_stored_comes_back() {
    let test = Test::new().await;
    for at in [
        "1000-01-01T00:00:00Z",
        "1900-02-28T23:59:59.999999Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
        "2027-01-15T08:00:00.000001Z",
        // There is no such time on a clock in Berlin, and the next one is there twice.
        "2027-03-28T02:30:00Z",
        "2027-10-31T02:30:00.5Z",
        "2038-01-19T03:14:07.999999Z",
        "2038-01-19T03:14:08Z",
        "2106-02-07T06:28:16Z",
        "9999-12-31T23:59:59.999999Z",
    ] {
        let at = instant(at);
        let session = SessionId::starting_at(0);
        let token = NewRecord { created_at: at, expires_at: at, keep_until: at, ..refresh_token(session) };
        let jti = token.jti.clone();
        test.ledger
            .record_login(NewSession { created_at: at, keep_until: at, ..new_session(session) }, token)
            .await
            .unwrap();
        test.ledger.touch_session(session, at, at).await.unwrap();
        let revoked = test.ledger.revoke(Revocation { at, ..revocation(vec![by_jti(&jti)]) }).await.unwrap().remove(0);
        assert_eq!((revoked.outcome, revoked.session_ended, revoked.expires_at), (RevokeOutcome::Newly, true, at));
        let row = test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap();
        assert_eq!((row.created_at, row.expires_at, row.revoked_at), (Some(at), at, Some(at)));
        assert_eq!((row.blacklisted_at, row.session_ended_at), (Some(at), Some(at)));
        assert_eq!(row.keep_until, Some(at.max(super::at(DAY + MARGIN))), "the later of the two that were asked for");
        assert_eq!(test.ledger.events_of(&jti).await.unwrap()[0].at, at);
        let unknown = RevokeItem { expires_at: at, ..by_jti(&Jti::random()) };
        assert_eq!(test.revoke(unknown).await.expires_at, at);

        let name = at.to_string();
        let user = NewUser {
            username: name.clone(),
            email: None,
            password: String::new(),
            is_active: true,
            is_staff: false,
            views_only: false,
            created_at: at,
        };
        let user = test.ledger.add_user(user, &actor()).await.unwrap();
        test.ledger.set_last_login(user.id, at).await.unwrap();
        let witness = Witness { id: user.id, password_changed_at: user.password_changed_at, is_active: true };
        let user = test.ledger.user_by(UserField::Username, &name).await.unwrap().unwrap();
        assert_eq!((user.created_at, user.password_changed_at, user.last_login), (at, at, Some(at)));
        let session = SessionId::starting_at(0);
        let login = NewSession { witness: Some(witness), ..new_session(session) };
        test.ledger.record_login(login, refresh_token(session)).await.unwrap();
        let run = NewFlushRun { started_at: at, as_of: at };
        let FlushStart::Started(id) = test.ledger.begin_flush(run, false).await.unwrap() else { panic!("{at}") };
        test.ledger.end_flush(id, FlushOutcome::Done, Flushed::default(), at).await.unwrap();
        let run = test.ledger.last_flush().await.unwrap().unwrap();
        assert_eq!((run.started_at, run.as_of, run.finished_at), (at, at, Some(at)));
    }
}

#[tokio::test]
async fn instants_are_compared_to_the_microsecond() {
    let test = Test::new().await;
    let end = instant("2040-02-29T12:00:00.000001Z");
    let token = NewRecord { expires_at: end, ..refresh_token(SessionId::starting_at(0)) };
    test.ledger.record(token).await.unwrap();
    let expired = TokenFilter { state: Some(TokenState::Expired), ..TokenFilter::default() };
    for (now, found) in [("2040-02-29T12:00:00Z", 0), ("2040-02-29T12:00:00.000001Z", 1), ("9999-12-31T23:59:59Z", 1)] {
        assert_eq!(test.ledger.outstanding(&expired, instant(now)).await.unwrap().len(), found, "{now}");
    }
}

#[tokio::test]
async fn the_longest_jti_is_a_jti_like_any_other() {
    let test = Test::new().await;
    let longest = |last: char| -> Jti { format!("{}{last}", "~".repeat(254)).parse().unwrap() };
    let session = SessionId::starting_at(0);
    let old = NewRecord { jti: longest('a'), ..refresh_token(session) };
    test.ledger.record_login(new_session(session), old).await.unwrap();
    let mut rotation = rotation(&longest('a'), session);
    rotation.new.jti = longest('b');
    assert_eq!(test.ledger.rotate(rotation).await.unwrap(), Rotated::Done);
    assert!(test.refused(&longest('a'), Some(session)).await);
    assert!(!test.refused(&longest('b'), Some(session)).await);
    assert!(!test.refused(&longest('A'), None).await);
    assert_eq!(test.revoke(by_jti(&longest('b'))).await.outcome, RevokeOutcome::Newly);
    assert!(test.refused(&longest('b'), Some(session)).await);
    assert_eq!(test.restore(&longest('b')).await, RestoreOutcome::Restored { session_reopened: true });
    assert!(!test.refused(&longest('b'), Some(session)).await);
    assert_eq!(test.revoke(by_jti(&longest('c'))).await.outcome, RevokeOutcome::UnknownRecorded);
    assert_eq!(test.ledger.events_of(&longest('b')).await.unwrap().len(), 2);
}

#[tokio::test]
async fn every_character_is_kept() {
    const TEXT: &str = "Åsa 𝒜 😀 \\ \" ' ` % _ ; -- \u{202e} \u{1} \r\n\t é e\u{301} ß ẞ";
    let test = Test::new().await;
    let owned = || TEXT.to_owned();
    let user = NewUser {
        username: owned(),
        email: Some(owned()),
        password: owned(),
        is_active: true,
        is_staff: false,
        views_only: false,
        created_at: at(0),
    };
    let user = test.ledger.add_user(user, &actor()).await.unwrap();
    assert_eq!((user.username.as_str(), user.email.as_deref(), user.password.as_str()), (TEXT, Some(TEXT), TEXT));
    for other in
        [TEXT.to_lowercase(), TEXT.replace("e\u{301}", "é"), format!("{TEXT} "), TEXT.trim_end().to_uppercase()]
    {
        assert_eq!(test.ledger.user_by(UserField::Username, &other).await.unwrap(), None, "{other:?}");
        assert_eq!(test.ledger.user_by(UserField::Email, &other).await.unwrap(), None, "{other:?}");
    }

    let session = SessionId::starting_at(0);
    let login = NewSession {
        user: Some(TEXT.into()),
        address: Some(owned()),
        user_agent: Some(format!("{TEXT}{}", "😀".repeat(300))),
        ..new_session(session)
    };
    let claims = json!({ "user_id": TEXT, "nul": "\0" }).as_object().unwrap().clone();
    let token = NewRecord { user: Some(TEXT.into()), claims, ..refresh_token(session) };
    let jti = token.jti.clone();
    test.ledger.record_login(login, token).await.unwrap();
    let shown = test.elsewhere().column("SELECT user_agent FROM simplejwt_session").pop().flatten().unwrap();
    assert!(shown.starts_with(TEXT) && shown.ends_with('😀'));
    assert_eq!(shown.chars().count(), 255);
    let claims = test.elsewhere().column("SELECT claims FROM simplejwt_token").pop().flatten().unwrap();
    assert_eq!(claims.parse::<serde_json::Value>().unwrap(), json!({ "user_id": TEXT, "nul": "\0" }));

    let actor = Actor { who: owned(), via: Via::Library, address: Some(owned()) };
    let order = Revocation { reason: Some(owned()), actor: actor.clone(), ..revocation(vec![by_jti(&jti)]) };
    test.ledger.revoke(order).await.unwrap();
    let event = test.ledger.events_of(&jti).await.unwrap().remove(0);
    assert_eq!((event.who.as_str(), event.user.as_deref()), (TEXT, Some(TEXT)));
    assert_eq!((event.reason.as_deref(), event.address.as_deref()), (Some(TEXT), Some(TEXT)));
    let row = test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap();
    assert_eq!((row.user.as_deref(), row.reason.as_deref()), (Some(TEXT), Some(TEXT)));
    assert_eq!(test.ledger.end_sessions_of(&TEXT.into(), TEXT, &actor, at(60)).await.unwrap(), 0);
}

/// Whatever the column of users is, a token can be revoked.
#[tokio::test]
async fn a_user_whom_the_column_cannot_hold_is_recorded_as_nobody() {
    let long = "😀".repeat(501);
    let sqlite = Test::empty().database.kind() == Kind::Sqlite;
    // An integer has 64 bits there, however it is declared.
    let too_large = if sqlite { "9223372036854775808" } else { "2147483648" };
    for (kind, keys) in [
        (UserKeyType::Text, [long.as_str(), "a\0b", "\0"]),
        (UserKeyType::Integer, [too_large, "ada", "1\0"]),
        (UserKeyType::BigInt, ["9223372036854775808", "1.5", ""]),
        (UserKeyType::Uuid, ["7", "018bcfe5-687b-7000-8000-0123456789a", "018bcfe5-687b-7000-8000-0123456789ab\0"]),
    ] {
        let test = Test::empty();
        let options = MigrateOptions { user_key: Some(kind), ..MigrateOptions::default() };
        test.ledger.migrate(options).await.unwrap();
        for key in keys {
            let user = Some(key.into());
            let session = SessionId::starting_at(0);
            let token = NewRecord { user: user.clone(), ..refresh_token(session) };
            let old = token.jti.clone();
            test.ledger.record(token).await.unwrap();
            let mut rotation = rotation(&old, session);
            (rotation.old_user, rotation.new.user) = (user.clone(), user.clone());
            let new = rotation.new.jti.clone();
            assert_eq!(test.ledger.rotate(rotation).await.unwrap(), Rotated::Done, "{key:?}");
            for jti in [&old, &new] {
                assert_eq!(test.ledger.outstanding_by_jti(jti).await.unwrap().unwrap().user, None, "{key:?}");
            }
            let session = SessionId::starting_at(1);
            let jti = Jti::random();
            let item = RevokeItem { user: user.clone(), ..by_token(&jti, TokenKind::Refresh, session) };
            let revoked = test.revoke(item).await;
            assert_eq!((revoked.outcome, revoked.session_ended), (RevokeOutcome::Newly, true), "{key:?}");
            assert!(test.refused(&jti, Some(session)).await);
            let filter = TokenFilter { user: user.clone(), ..TokenFilter::default() };
            assert_eq!(test.ledger.outstanding(&filter, at(0)).await.unwrap(), [], "{key:?}");
            assert_eq!(test.ledger.end_sessions_of(&"nobody".into(), "x", &actor(), at(0)).await.unwrap(), 0);
        }
    }
}

/// A login of somebody whose sessions could not be ended again is none.
#[tokio::test]
async fn a_user_key_has_500_characters_at_most_and_no_nul() {
    let test = Test::new().await;
    let login = |user: &str| {
        let session = SessionId::starting_at(0);
        let login = NewSession { user: Some(user.into()), ..new_session(session) };
        let token = NewRecord { user: Some(user.into()), ..refresh_token(session) };
        (token.jti.clone(), test.ledger.record_login(login, token))
    };
    for long in ["x".repeat(300), "😀".repeat(500)] {
        let (jti, recorded) = login(&long);
        recorded.await.unwrap();
        let row = test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap();
        assert_eq!(row.user.as_deref(), Some(long.as_str()));
        let filter = TokenFilter { user: Some(long.as_str().into()), ..TokenFilter::default() };
        assert_eq!(test.ledger.outstanding(&filter, at(0)).await.unwrap(), [row]);
        assert_eq!(test.ledger.end_sessions_of(&long.as_str().into(), "logout", &actor(), at(5)).await.unwrap(), 1);
        test.revoke(by_jti(&jti)).await;
        assert_eq!(test.ledger.events_of(&jti).await.unwrap()[0].user.as_deref(), Some(long.as_str()));
    }
    let before = test.rows("simplejwt_session") + test.rows("simplejwt_token");
    for bad in ["x".repeat(501), "a\0".to_owned()] {
        let (_, recorded) = login(&bad);
        let error = recorded.await.unwrap_err();
        assert!(matches!(error, LedgerError::UserKey) && !error.is_transient(), "{error}");
        assert_eq!(test.ledger.end_sessions_of(&bad.as_str().into(), "logout", &actor(), at(5)).await.unwrap(), 0);
    }
    assert_eq!(test.rows("simplejwt_session") + test.rows("simplejwt_token"), before);
}

#[tokio::test]
async fn a_name_with_a_nul_is_nobodys() {
    let test = Test::new().await;
    for field in [UserField::Id, UserField::Username, UserField::Email] {
        for value in ["\0", "ada\0", "1\0"] {
            assert_eq!(test.ledger.user_by(field, value).await.unwrap(), None, "{field:?} {value:?}");
        }
    }
}
