//! Making the tables, and taking them out.

use super::*;

fn tables(test: &Test) -> Vec<String> {
    test.elsewhere().tables()
}

#[tokio::test]
async fn twice_is_once() {
    let test = Test::empty();
    let first = test.ledger.migrate(MigrateOptions::default()).await.unwrap();
    assert_eq!(first[..2], ["2026-11-21-000001_tokens", "2026-11-21-000002_ledger"]);
    assert_eq!(test.ledger.migrate(MigrateOptions::default()).await.unwrap(), Vec::<String>::new());
    test.ledger.check_schema().await.unwrap();
    assert_eq!(test.ledger.schema_state().await.unwrap(), SchemaState::Current);
    let states = test.ledger.migrations().await.unwrap();
    assert!(states.iter().all(|state| state.applied && !state.adopted), "{states:?}");
    assert_eq!(first, states.iter().map(|state| state.name).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_first_step_that_was_interrupted_is_taken_anew_where_it_could_be() {
    let test = Test::new().await;
    for table in tables(&test) {
        if table != "token_blacklist_outstandingtoken" {
            test.sql(&format!("DROP TABLE {table}"));
        }
    }
    let again = test.ledger.migrate(MigrateOptions::default()).await;
    match test.database.kind() {
        // There a table cannot be made in a transaction.
        Kind::Mysql => {
            let states = test.ledger.migrations().await.unwrap();
            assert_eq!(again.unwrap().len(), states.len());
            assert!(states.iter().all(|state| state.applied && !state.adopted), "{states:?}");
            test.login().await;
            test.ledger.remove_tables().await.unwrap();
            assert_eq!(tables(&test), Vec::<String>::new());
        }
        Kind::Sqlite | Kind::Postgres => {
            assert!(matches!(again, Err(LedgerError::Schema(SchemaError::Missing(_)))), "{again:?}");
        }
    }
}

/// Where triggers cannot be made in a transaction, some of them may be there already.
#[tokio::test]
async fn a_last_step_that_was_interrupted_is_taken_anew_where_it_could_be() {
    let test = Test::new().await;
    if test.database.kind() != Kind::Mysql {
        return;
    }
    test.sql(
        "DROP TRIGGER simplejwt_session_update;
         DELETE FROM __diesel_schema_migrations WHERE version = '20261122000003'",
    );
    assert_eq!(test.ledger.migrate(MigrateOptions::default()).await.unwrap(), ["2026-11-22-000003_revocation"]);
    assert_eq!(test.ledger.log_faults().await.unwrap(), []);
}

/// Somebody who may make tables and no triggers, nor see those of others.
#[tokio::test]
async fn who_cannot_see_the_triggers_takes_no_table_from_under_them() {
    let test = Test::new().await;
    if test.database.kind() != Kind::Mysql {
        return;
    }
    // To a guest of MySQL all triggers look as if they were not there; MariaDB tells at least their names.
    for name in test
        .elsewhere()
        .column("SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()")
    {
        test.sql(&format!("DROP TRIGGER {}", name.unwrap()));
    }
    test.sql("DELETE FROM __diesel_schema_migrations WHERE version = '20261122000003'");
    let guest = Guest::new(&test, "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP");
    let ledger = Ledger::open(&guest.options()).unwrap();
    let refused = ledger.migrate(MigrateOptions::default()).await;
    let left = tables(&test);
    assert!(matches!(refused, Err(LedgerError::Denied { .. })), "{refused:?}");
    assert!(left.iter().any(|table| table == "simplejwt_inbox"), "{left:?}");
    assert_eq!(ledger.durability().await.unwrap(), [], "the connection is as strict as before");
}

/// A blacklist of years takes longer than anything else that is asked of a database.
#[tokio::test]
async fn what_goes_through_tables_ends_after_a_minute_and_what_makes_them_does_not() {
    let test = Test::new().await;
    for makes_tables in [false, true] {
        let (end, ended) = std::sync::mpsc::channel();
        let (tell, begun) = tokio::sync::oneshot::channel();
        let tell = std::sync::Mutex::new(Some(tell));
        let work = move |_: &mut AnyConnection| {
            if let Some(tell) = tell.lock().unwrap().take() {
                tell.send(()).unwrap();
            }
            ended.recv().unwrap();
            Ok(())
        };
        let ledger = test.ledger.clone();
        let task = tokio::spawn(async move {
            if makes_tables { ledger.migrating(work).await } else { ledger.write_long(work).await }
        });
        begun.await.unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(10 * 60 * 60)).await;
        tokio::time::resume();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(task.is_finished(), !makes_tables);
        end.send(()).unwrap();
        assert_eq!(task.await.unwrap().is_ok(), makes_tables);
    }
}

#[test]
fn four_at_once_are_one() {
    let test = Test::empty();
    let applied: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    // Each has a ledger of its own, as each of four processes has.
                    let ledger = Ledger::open(&test.options()).unwrap();
                    runtime.block_on(ledger.migrate(MigrateOptions::default())).unwrap()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let steps = runtime.block_on(test.ledger.migrations()).unwrap();
    assert_eq!(applied.len(), steps.len(), "{applied:?}");
}

#[tokio::test]
async fn removing_leaves_nothing_and_migrating_again_works() {
    let test = Test::new().await;
    test.login().await;
    test.ledger.remove_tables().await.unwrap();
    assert_eq!(tables(&test), Vec::<String>::new());
    test.ledger.remove_tables().await.unwrap();
    test.ledger.migrate(MigrateOptions::default()).await.unwrap();
    test.login().await;
}

#[tokio::test]
async fn the_book_of_an_application_that_uses_diesel_too_is_left_alone() {
    let test = Test::empty();
    test.sql(
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,
             run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
         INSERT INTO __diesel_schema_migrations (version) VALUES ('20260101101112');",
    );
    test.ledger.migrate(MigrateOptions::default()).await.unwrap();
    let ours = i64::try_from(test.ledger.migrations().await.unwrap().len()).unwrap();
    assert_eq!(test.rows("__diesel_schema_migrations"), ours + 1);
    test.ledger.remove_tables().await.unwrap();
    assert_eq!(test.rows("__diesel_schema_migrations"), 1);
}

#[tokio::test]
async fn a_newer_an_older_and_a_damaged_database_are_named() {
    let test = Test::new().await;
    test.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001')");
    for error in [test.ledger.check_schema().await, test.ledger.migrate(MigrateOptions::default()).await.map(drop)] {
        assert!(matches!(error, Err(LedgerError::Schema(SchemaError::Newer(_)))), "{error:?}");
    }
    test.sql("DELETE FROM __diesel_schema_migrations WHERE version <> '20261121000001'");
    let error = test.ledger.check_schema().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Schema(SchemaError::Older(name)) if name.contains("ledger")), "{error}");
    assert_eq!(test.ledger.schema_state().await.unwrap(), SchemaState::Older);

    let test = Test::new().await;
    test.sql("DROP TABLE simplejwt_event");
    let error = test.ledger.check_schema().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Schema(SchemaError::Missing(name)) if name == "simplejwt_event"));
    test.sql("DROP TABLE token_blacklist_blacklistedtoken; DROP TABLE token_blacklist_outstandingtoken;");
    assert!(matches!(test.ledger.check_schema().await, Err(LedgerError::Schema(SchemaError::Missing(_)))));
}

#[tokio::test]
async fn the_type_of_the_user_key_can_be_chosen_for_a_new_database_only() {
    for (kind, key) in [
        (UserKeyType::Text, "ada"),
        (UserKeyType::Integer, "7"),
        (UserKeyType::BigInt, "9007199254740993"),
        (UserKeyType::Uuid, "018bcfe5-687b-7000-8000-0123456789ab"),
    ] {
        let test = Test::empty();
        let options = MigrateOptions { user_key: Some(kind), ..MigrateOptions::default() };
        test.ledger.migrate(options).await.unwrap();
        assert_eq!(test.ledger.migrate(options).await.unwrap(), Vec::<String>::new());
        let other = if kind == UserKeyType::Text { UserKeyType::Uuid } else { UserKeyType::Text };
        let error = test.ledger.migrate(MigrateOptions { user_key: Some(other), ..options }).await.unwrap_err();
        assert!(matches!(error, LedgerError::Schema(SchemaError::UserKey { .. })), "{error}");

        let token = NewRecord { user: Some(key.into()), ..refresh_token(SessionId::starting_at(0)) };
        let jti = token.jti.clone();
        test.ledger.record(token).await.unwrap();
        let row = test.ledger.outstanding_by_jti(&jti).await.unwrap().unwrap();
        assert_eq!(row.user.as_deref(), Some(key), "{kind}");
        let filter = TokenFilter { user: Some(key.into()), ..TokenFilter::default() };
        assert_eq!(test.ledger.outstanding(&filter, at(0)).await.unwrap(), [row], "{kind}");
        let filter = TokenFilter { user: Some("no key".into()), ..filter };
        assert_eq!(test.ledger.outstanding(&filter, at(0)).await.unwrap(), [], "{kind}");
    }
}

#[tokio::test]
async fn the_public_models_read_with_any_connection() {
    use diesel::prelude::*;

    let test = Test::new().await;
    let (_, jti) = test.login().await;
    test.revoke(by_jti(&jti)).await;
    macro_rules! first {
        ($connection:expr) => {
            outstanding_tokens::table
                .inner_join(blacklisted_tokens::table)
                .select((OutstandingToken::as_select(), BlacklistedToken::as_select()))
                .first($connection)
                .unwrap()
        };
    }
    let (token, blacklisted): (OutstandingToken, BlacklistedToken) = match &mut test.elsewhere() {
        #[cfg(feature = "sqlite")]
        TestConnection::Sqlite(connection) => first!(connection),
        #[cfg(feature = "postgres")]
        TestConnection::Postgres(connection) => first!(connection),
        #[cfg(feature = "mysql")]
        TestConnection::Mysql(connection) => first!(connection),
    };
    assert_eq!((token.jti.as_str(), token.token.as_str()), (jti.as_str(), ""));
    assert_eq!((token.user_id.as_deref(), token.expires_at), (Some("7"), at(DAY).naive_utc()));
    assert_eq!((blacklisted.token_id, blacklisted.blacklisted_at), (token.id, at(30).naive_utc()));
}
