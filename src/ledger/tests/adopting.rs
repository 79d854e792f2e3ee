//! Sharing the tables of a Django project.

use super::*;

async fn adopted() -> Test {
    let test = Test::empty();
    test.sql(DJANGO);
    test.ledger.migrate(MigrateOptions::default()).await.unwrap();
    test
}

/// A token that Django issued, and the text that it stored.
fn django_token(test: &Test, expires_at: &str) -> Jti {
    let jti = Jti::random();
    test.sql(&format!(
        "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, user_id, jti)
         VALUES ('ey.ey.x', '2027-01-15 08:00:00.123456', '{expires_at}', 7, '{jti}')"
    ));
    jti
}

#[tokio::test]
async fn the_tables_are_found_by_their_columns_and_nothing_is_added_to_them() {
    let test = Test::empty();
    test.sql(DJANGO);
    assert_eq!(test.ledger.schema_state().await.unwrap(), SchemaState::Django);
    let jti = django_token(&test, "2027-01-16 08:00:00");
    let applied = test.ledger.migrate(MigrateOptions::default()).await.unwrap();
    assert_eq!(applied, ["2026-11-21-000002_ledger"]);
    assert_eq!(test.ledger.migrate(MigrateOptions::default()).await.unwrap(), Vec::<String>::new());
    test.ledger.check_schema().await.unwrap();
    let states = test.ledger.migrations().await.unwrap();
    assert!(states[0].applied && states[0].adopted && states[1].applied && !states[1].adopted, "{states:?}");
    let indexes = "SELECT count(*) AS n FROM sqlite_master WHERE name = 'simplejwt_outstandingtoken_expires_at'";
    assert_eq!(test.number(indexes), 0);

    let row = test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap();
    assert_eq!(row.user.as_deref(), Some("7"));
    assert_eq!(row.created_at, Some(at(0) + TimeDelta::microseconds(123_456)));
    assert_eq!((row.expires_at, row.kind), (at(DAY), None));

    let options = MigrateOptions { with_index: true, ..MigrateOptions::default() };
    assert_eq!(test.ledger.migrate(options).await.unwrap(), ["simplejwt_outstandingtoken_expires_at"]);
    assert_eq!(test.number(indexes), 1);
    assert_eq!(test.ledger.migrate(options).await.unwrap(), Vec::<String>::new());
    test.ledger.remove_tables().await.unwrap();
    assert_eq!(test.number(indexes), 0);
    assert_eq!(test.number("SELECT count(*) AS n FROM sqlite_master WHERE name LIKE '%simplejwt%'"), 0);
    assert_eq!(test.rows("token_blacklist_outstandingtoken"), 1);
}

#[tokio::test]
async fn a_users_id_is_text_here_and_a_number_there() {
    let test = adopted().await;
    let (session, jti) = test.login().await;
    assert_eq!(
        test.number("SELECT user_id AS n FROM token_blacklist_outstandingtoken WHERE typeof(user_id) = 'integer'"),
        7
    );
    let standing = test.ledger.standing(&jti, Some(session)).await.unwrap();
    assert_eq!(standing.user, Some("7".into()));
}

#[tokio::test]
async fn a_user_whom_django_does_not_know_is_recorded_as_nobody() {
    let test = adopted().await;
    for user in ["8", "ada", "99999999999999999999"] {
        let token = NewRecord { user: Some(user.into()), ..refresh_token(SessionId::starting_at(0)) };
        let jti = token.jti.clone();
        test.ledger.record(token).await.unwrap();
        assert_eq!(test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap().user, None, "{user}");
        let revoked = test.revoke(RevokeItem { user: Some(user.into()), ..by_jti(&Jti::random()) }).await;
        assert_eq!(revoked.outcome, RevokeOutcome::UnknownRecorded);
    }
}

#[tokio::test]
async fn tokens_of_django_are_revoked_rotated_and_restored_like_ours() {
    let test = adopted().await;
    let jti = django_token(&test, "2027-01-16 08:00:00");
    assert!(!test.refused(&jti, None).await);
    let revoked = test.revoke(by_jti(&jti)).await;
    assert_eq!((revoked.outcome, revoked.expires_at), (RevokeOutcome::Newly, at(DAY)));
    assert!(test.refused(&jti, None).await);
    assert_eq!(test.restore(&jti).await, RestoreOutcome::Restored { session_reopened: false });
    assert!(!test.refused(&jti, None).await);

    let session = SessionId::starting_at(0);
    let rotation = Rotation { old_session: None, ..rotation(&jti, session) };
    assert_eq!(test.ledger.rotate(rotation.clone()).await.unwrap(), Rotated::Done);
    assert_eq!(test.rows("token_blacklist_blacklistedtoken"), 1, "Django refuses it too");
    let again = Rotation { new: refresh_token(session), ..rotation };
    assert_eq!(test.ledger.rotate(again).await.unwrap(), Rotated::Blacklisted);
}

#[tokio::test]
async fn what_django_blacklists_is_refused_with_its_session_also_after_django_has_flushed_it() {
    let test = adopted().await;
    let (session, jti) = test.login().await;
    let access = Jti::random();
    assert!(!test.refused(&access, Some(session)).await);
    test.blacklist_elsewhere(&jti);
    assert!(test.refused(&jti, Some(session)).await);
    assert!(test.refused(&access, Some(session)).await);
    assert_eq!(test.ledger.rotate(rotation(&jti, session)).await.unwrap(), Rotated::Blacklisted);

    // To revoke it here makes it ours.
    let revoked = test.revoke(by_jti(&jti)).await;
    assert_eq!((revoked.outcome, revoked.session_ended), (RevokeOutcome::Already, true));
    test.sql("DELETE FROM token_blacklist_blacklistedtoken; DELETE FROM token_blacklist_outstandingtoken;");
    assert!(test.refused(&jti, None).await);
    assert!(test.refused(&access, Some(session)).await);
    assert_eq!(test.revoke(by_jti(&jti)).await.outcome, RevokeOutcome::Already);
}

#[tokio::test]
async fn tables_that_are_too_old_or_not_simplejwts_are_refused_with_advice() {
    let too_old = [
        ("jti varchar(255) NOT NULL UNIQUE", "jti blob NOT NULL"),
        ("token_id bigint", "token_id integer"),
        ("created_at datetime NULL", "created_at datetime NOT NULL"),
        ("user_id integer NULL", "user_id integer NOT NULL"),
    ];
    for (now, then) in too_old {
        let test = Test::empty();
        test.sql(&DJANGO.replace(now, then));
        let error = test.ledger.migrate(MigrateOptions::default()).await.unwrap_err();
        assert!(matches!(error, LedgerError::Schema(SchemaError::TooOld(_))), "{then}: {error}");
        assert!(error.to_string().contains("manage.py migrate"), "{error}");
    }
    for (now, then) in [("expires_at datetime NOT NULL,", ""), ("jti varchar", "colour text NOT NULL, jti varchar")] {
        let test = Test::empty();
        test.sql(&DJANGO.replace(now, then));
        let error = test.ledger.migrate(MigrateOptions::default()).await.unwrap_err();
        assert!(matches!(error, LedgerError::Schema(SchemaError::Foreign { .. })), "{then}: {error}");
    }
    let test = Test::empty();
    test.sql(&DJANGO.replace("token_blacklist_blacklistedtoken", "another"));
    let error = test.ledger.migrate(MigrateOptions::default()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Schema(SchemaError::Missing(_))), "{error}");
    assert_eq!(test.number("SELECT count(*) AS n FROM sqlite_master WHERE name LIKE 'simplejwt%'"), 0);
}

#[tokio::test]
async fn an_extra_column_with_a_default_does_no_harm() {
    let test = Test::empty();
    test.sql(&DJANGO.replace("jti varchar", "colour text NOT NULL DEFAULT 'red', note text NULL, jti varchar"));
    test.ledger.migrate(MigrateOptions::default()).await.unwrap();
    test.login().await;
}

#[tokio::test]
async fn a_row_that_is_no_good_hinders_none_of_the_others() {
    let test = adopted().await;
    let good = django_token(&test, "2027-01-16 08:00:00");
    let bad: Vec<_> =
        ["1800000000", "soon", "", "2027-01-16T08:00:00Z", "9999999999999999"].map(|at| django_token(&test, at)).into();
    test.sql("UPDATE token_blacklist_outstandingtoken SET created_at = x'ff00' WHERE expires_at = 'soon'");
    for jti in &bad {
        test.blacklist_elsewhere(jti);
        assert!(test.refused(jti, None).await);
        assert_eq!(test.revoke(by_jti(jti)).await.outcome, RevokeOutcome::Already);
    }
    let rows = test.ledger.outstanding(&TokenFilter::default(), at(0)).await.unwrap();
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().any(|row| row.jti == good.as_str()));
    test.ledger.counts(at(0)).await.unwrap();
    test.ledger.newest_record().await.unwrap().unwrap();
}
