//! The built-in users.

use super::*;

fn ada() -> NewUser {
    NewUser {
        username: "ada".to_owned(),
        email: Some("ada@example.org".to_owned()),
        password: "$argon2id$secret".to_owned(),
        is_active: true,
        is_staff: false,
        views_only: false,
        created_at: at(0),
    }
}

/// What refuses all that a user has.
fn cutoff_of(id: i64, at: DateTime<Utc>) -> NewCutoff {
    let keep_until = at + TimeDelta::days(30);
    NewCutoff { user: Some(id.into()), not_before: at, keep_until, reason: None, actor: actor(), at }
}

#[tokio::test]
async fn a_user_is_found_by_each_field_byte_for_byte() {
    let test = Test::new().await;
    let user = test.ledger.add_user(ada(), &actor()).await.unwrap();
    for (field, value) in [(UserField::Id, "1"), (UserField::Username, "ada"), (UserField::Email, "ada@example.org")] {
        assert_eq!(test.ledger.user_by(field, value).await.unwrap().as_ref(), Some(&user), "{field:?}");
    }
    for (field, value) in
        [(UserField::Id, "ada"), (UserField::Id, "2"), (UserField::Username, "Ada"), (UserField::Email, "")]
    {
        assert_eq!(test.ledger.user_by(field, value).await.unwrap(), None, "{field:?} {value}");
    }
    assert_eq!((user.created_at, user.password_changed_at, user.last_login), (at(0), at(0), None));
    assert!(!format!("{user:?} {:?}", ada()).contains("secret"));
}

#[tokio::test]
async fn names_and_addresses_are_taken_once() {
    let test = Test::new().await;
    test.ledger.add_user(ada(), &actor()).await.unwrap();
    let other_address = NewUser { email: None, ..ada() };
    let other_name = NewUser { username: "eva".to_owned(), ..ada() };
    assert!(matches!(test.ledger.add_user(other_address, &actor()).await, Err(LedgerError::Duplicate("username"))));
    assert!(matches!(test.ledger.add_user(other_name, &actor()).await, Err(LedgerError::Duplicate("e-mail address"))));
    for name in ["eva", "bob"] {
        test.ledger.add_user(NewUser { username: name.to_owned(), email: None, ..ada() }, &actor()).await.unwrap();
    }
    let names = |rows: &[UserRow]| rows.iter().map(|row| row.username.clone()).collect::<Vec<_>>();
    let first = test.ledger.users(0, 2).await.unwrap();
    assert_eq!(names(&first), ["ada", "eva"]);
    assert_eq!(names(&test.ledger.users(first[1].id, 2).await.unwrap()), ["bob"]);
}

/// A session of the user with that number, with its refresh token.
async fn session_of(test: &Test, user: i64) -> (SessionId, Jti) {
    let session = SessionId::starting_at(0);
    let token = NewRecord { user: Some(user.into()), ..refresh_token(session) };
    let jti = token.jti.clone();
    test.ledger.record_login(NewSession { user: Some(user.into()), ..new_session(session) }, token).await.unwrap();
    (session, jti)
}

/// Checking a password takes a while, in which the user can be disabled, removed or get another one.
#[tokio::test]
async fn a_login_of_a_user_who_was_changed_meanwhile_opens_no_session() {
    for change in [0, 1, 2] {
        let test = Test::new().await;
        let user = test.ledger.add_user(ada(), &actor()).await.unwrap();
        let witness = Witness { id: user.id, password_changed_at: user.password_changed_at, is_active: true };
        let login = |session| {
            let token = NewRecord { user: Some(user.id.into()), ..refresh_token(session) };
            let session = NewSession { user: Some(user.id.into()), witness: Some(witness), ..new_session(session) };
            test.ledger.record_login(session, token)
        };
        login(SessionId::starting_at(0)).await.unwrap();
        match change {
            0 => test.ledger.set_password(user.id, "new".to_owned(), cutoff_of(user.id, at(5))).await,
            1 => test.ledger.set_active(user.id, false, cutoff_of(user.id, at(5))).await,
            _ => test.ledger.remove_user(user.id, cutoff_of(user.id, at(5))).await,
        }
        .unwrap();
        assert!(matches!(login(SessionId::starting_at(1)).await, Err(LedgerError::UserChanged)), "{change}");
    }
}

#[tokio::test]
async fn a_new_password_a_ban_and_a_removal_end_the_sessions_and_are_written_down() {
    for (action, event) in [(0, "set_password"), (1, "disable_user"), (2, "remove_user")] {
        let test = Test::new().await;
        let user = test.ledger.add_user(ada(), &actor()).await.unwrap();
        let (session, jti) = session_of(&test, user.id).await;
        let (other, _) = session_of(&test, user.id + 1).await;
        let cutoff = cutoff_of(user.id, at(60));
        let found = match action {
            0 => test.ledger.set_password(user.id, "$argon2id$new".to_owned(), cutoff.clone()).await,
            1 => test.ledger.set_active(user.id, false, cutoff.clone()).await,
            _ => test.ledger.remove_user(user.id, cutoff.clone()).await,
        };
        assert!(found.unwrap());
        assert!(test.refused(&jti, Some(session)).await);
        assert!(!test.refused(&Jti::random(), Some(other)).await);
        let (bare, key) = (Jti::random(), user.id.to_string());
        let issued = |seconds| Presented {
            issued_at: Some(at(seconds).timestamp()),
            user: Some(&key),
            ..presented(&bare, None)
        };
        assert!(test.ledger.is_refused(issued(60)).await.unwrap(), "an access token without a session");
        assert!(!test.ledger.is_refused(issued(61)).await.unwrap());
        assert_eq!(test.number("SELECT count(*) FROM simplejwt_event WHERE action <> 'add_user'"), 1);
        assert_eq!(test.number(&format!("SELECT count(*) FROM simplejwt_event WHERE action = '{event}'")), 1);
        let after = test.ledger.user_by(UserField::Username, "ada").await.unwrap();
        match action {
            0 => assert_eq!(
                after.map(|it| (it.password, it.password_changed_at)),
                Some(("$argon2id$new".into(), at(60)))
            ),
            1 => assert_eq!(after.map(|it| it.is_active), Some(false)),
            _ => assert_eq!(after, None),
        }
    }
}

#[tokio::test]
async fn a_removed_user_leaves_tokens_that_are_nobodys_and_a_number_that_is_never_used_again() {
    let test = Test::new().await;
    let user = test.ledger.add_user(ada(), &actor()).await.unwrap();
    let (_, jti) = session_of(&test, user.id).await;
    test.revoke(by_jti(&jti)).await;
    let (_, live) = session_of(&test, user.id).await;
    test.ledger.remove_user(user.id, cutoff_of(user.id, at(60))).await.unwrap();
    let row = test.ledger.outstanding_by_jti(&live).await.unwrap().unwrap();
    assert_eq!(row.blacklisted_at, Some(at(60)), "Django would take it for somebody's");
    assert!(test.refused(&jti, None).await);
    assert_eq!(test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap().user, None);
    assert!(test.ledger.add_user(ada(), &actor()).await.unwrap().id > user.id);
}

#[tokio::test]
async fn what_changes_nobody_says_so_and_writes_nothing() {
    let test = Test::new().await;
    assert!(!test.ledger.set_password(5, "x".to_owned(), cutoff_of(5, at(0))).await.unwrap());
    assert!(!test.ledger.set_active(5, true, cutoff_of(5, at(0))).await.unwrap());
    assert!(!test.ledger.remove_user(5, cutoff_of(5, at(0))).await.unwrap());
    assert_eq!(test.rows("simplejwt_event"), 0);
}

#[tokio::test]
async fn being_let_in_again_reopens_no_session_and_a_login_is_noted() {
    let test = Test::new().await;
    let user = test.ledger.add_user(ada(), &actor()).await.unwrap();
    let (session, jti) = session_of(&test, user.id).await;
    for active in [false, true] {
        test.ledger.set_active(user.id, active, cutoff_of(user.id, at(60))).await.unwrap();
    }
    assert!(test.refused(&jti, Some(session)).await);
    test.ledger.set_last_login(user.id, at(70)).await.unwrap();
    let user = test.ledger.user_by(UserField::Id, "1").await.unwrap().unwrap();
    assert_eq!((user.is_active, user.last_login), (true, Some(at(70))));
}
