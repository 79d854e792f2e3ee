//! Opening: what is there, what is not, and what stands in the way.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_missing_file_is_said_to_be_missing_and_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.sqlite3");
    let error = Ledger::open(&LedgerOptions { create: false, ..options(&path) }).unwrap_err();
    assert!(matches!(&error, LedgerError::Missing { .. }) && !error.is_transient(), "{error}");
    assert!(error.to_string().contains("none.sqlite3"));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_missing_directory_is_an_error_and_a_directory_is_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let error = Ledger::open(&options(&directory.path().join("no/such.sqlite3"))).unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable { .. }), "{error}");
    let error = Ledger::open(&options(directory.path())).unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable { .. } | LedgerError::Io(_)), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("letter.txt");
    std::fs::write(&path, "Dear database, ".repeat(200)).unwrap();
    let error = Ledger::open(&options(&path)).unwrap_err();
    assert!(matches!(error, LedgerError::NotADatabase), "{error}");
    assert!(!error.is_transient());
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let test = Test::new().await;
    test.login().await;
    for entry in std::fs::read_dir(test.path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn every_setting_that_a_promise_needs_is_on() {
    let test = Test::new().await;
    assert_eq!(test.ledger.durability().await.unwrap(), []);
    test.ledger.ping().await.unwrap();
    test.ledger.probe_write().await.unwrap();
}

#[tokio::test]
async fn a_database_in_memory_works_through_one_connection() {
    let ledger = Ledger::open(&LedgerOptions::new(DatabaseUrl::MEMORY)).unwrap();
    ledger.migrate(MigrateOptions::default()).await.unwrap();
    let session = SessionId::starting_at(0);
    ledger.record_login(new_session(session), refresh_token(session)).await.unwrap();
    assert_eq!(ledger.counts(at(0)).await.unwrap().outstanding, 1);
}

#[tokio::test]
async fn a_locked_database_is_busy_before_the_deadline_and_reads_go_on() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    let mut elsewhere = test.elsewhere();
    elsewhere.batch_execute("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let error = test.ledger.revoke(revocation(vec![by_jti(&jti)])).await.unwrap_err();
    assert!(matches!(error, LedgerError::Busy) && error.is_transient(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(matches!(test.ledger.probe_write().await, Err(LedgerError::Busy)));
    assert!(!test.refused(&jti, Some(session)).await);
    elsewhere.batch_execute("ROLLBACK").unwrap();
    assert_eq!(test.revoke(by_jti(&jti)).await.outcome, RevokeOutcome::Newly);
}

#[tokio::test]
async fn work_that_hangs_is_answered_by_the_deadline_and_holds_up_no_more_than_its_own_connection() {
    let test = Test::new().await;
    let options = LedgerOptions { pool_size: 2, deadline: SHORT, ..options(&test.path) };
    let ledger = Ledger::open(&options).unwrap();
    let hang = |ledger: Ledger| async move {
        let work = |_: &mut AnyConnection| {
            std::thread::sleep(Duration::from_millis(2500));
            Ok(())
        };
        ledger.run(work).await.unwrap_err()
    };
    let begun = Instant::now();
    assert!(matches!(hang(ledger.clone()).await, LedgerError::Timeout(_)));
    ledger.ping().await.unwrap();
    assert!(matches!(hang(ledger.clone()).await, LedgerError::Timeout(_)));
    // Now both hang, and nobody else gets a thread.
    assert!(matches!(ledger.ping().await, Err(LedgerError::Saturated)));
    assert!(begun.elapsed() < Duration::from_millis(2400), "{:?}", begun.elapsed());
    // It heals by itself.
    while ledger.ping().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test]
async fn work_that_panics_costs_one_connection() {
    let test = Test::new().await;
    let broken = test.ledger.write(|_| -> Result<(), _> { panic!("as bad luck would have it") }).await;
    assert!(matches!(broken, Err(LedgerError::Aborted)));
    test.login().await;
}

#[tokio::test]
async fn a_database_that_is_deleted_is_not_made_anew() {
    let test = Test::new().await;
    let options = LedgerOptions { create: false, ..options(&test.path) };
    let ledger = Ledger::open(&options).unwrap();
    std::fs::remove_file(&test.path).unwrap();
    let error = ledger.counts(at(0)).await.unwrap_err();
    assert!(matches!(error, LedgerError::Missing { .. }), "{error}");
    assert!(!test.path.exists());
}

#[tokio::test]
async fn a_connection_after_an_input_output_error_is_not_used_again() {
    let test = Test::new().await;
    let ledger = Ledger::open(&LedgerOptions { pool_size: 1, ..options(&test.path) }).unwrap();
    ledger.run(|it| Ok(it.batch_execute("CREATE TEMP TABLE mark (x)")?)).await.unwrap();
    let marked = |ledger: Ledger| async move {
        ledger.run(|it| Ok(it.batch_execute("INSERT INTO mark VALUES (1)")?)).await.is_ok()
    };
    assert!(marked(ledger.clone()).await, "the same connection is lent again");
    let failed: Result<(), _> = ledger.run(|_| Err(LedgerError::Io("disk I/O error".to_owned()))).await;
    assert!(failed.is_err());
    assert!(!marked(ledger).await, "another connection is lent");
}

#[tokio::test]
async fn a_full_disk_and_a_read_only_database_are_told_apart() {
    let test = Test::new().await;
    test.sql("VACUUM");
    let pages = test.number("SELECT page_count AS n FROM pragma_page_count");
    let ledger = Ledger::open(&LedgerOptions { pool_size: 1, ..options(&test.path) }).unwrap();
    ledger.run(move |it| Ok(it.batch_execute(&format!("PRAGMA max_page_count = {pages}"))?)).await.unwrap();
    let mut full = 0;
    for _ in 0..100 {
        let session = SessionId::starting_at(0);
        match ledger.record_login(new_session(session), refresh_token(session)).await {
            Err(LedgerError::Full) => full += 1,
            other => other.unwrap(),
        }
        if full > 0 {
            break;
        }
        ledger.run(move |it| Ok(it.batch_execute(&format!("PRAGMA max_page_count = {pages}"))?)).await.unwrap();
    }
    assert_eq!(full, 1);
    // The connection that found the disk full is gone, and the limit with it.
    let session = SessionId::starting_at(0);
    ledger.record_login(new_session(session), refresh_token(session)).await.unwrap();

    ledger.run(|it| Ok(it.batch_execute("PRAGMA query_only = ON")?)).await.unwrap();
    assert!(matches!(ledger.record(refresh_token(session)).await, Err(LedgerError::ReadOnly)));
    ledger.ping().await.unwrap();
}

#[tokio::test]
async fn a_database_without_tables_says_what_to_run() {
    let test = Test::empty();
    for error in [
        test.ledger.check_schema().await.unwrap_err(),
        test.ledger.is_refused(&Jti::random(), None).await.unwrap_err(),
        test.ledger.revoke(revocation(vec![by_jti(&Jti::random())])).await.unwrap_err(),
    ] {
        assert!(matches!(&error, LedgerError::Schema(SchemaError::Missing(_))), "{error:?}");
        assert!(error.to_string().contains("simplejwt migrate"));
    }
    assert_eq!(test.ledger.schema_state().await.unwrap(), SchemaState::Empty);
}
