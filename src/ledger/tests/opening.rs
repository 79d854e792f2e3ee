//! A connection: what is set on it, and what stands in its way.

use std::time::Instant;

use diesel::connection::SimpleConnection as _;

use super::*;

#[tokio::test]
async fn every_setting_that_a_promise_needs_is_on() {
    let test = Test::new().await;
    assert_eq!(test.ledger.durability().await.unwrap(), []);
    test.ledger.ping().await.unwrap();
    test.ledger.probe_write().await.unwrap();
}

#[tokio::test]
async fn a_locked_database_is_busy_before_the_deadline_and_reads_go_on() {
    let test = Test::new().await;
    let (session, jti) = test.login().await;
    let mut elsewhere = test.elsewhere();
    elsewhere.keep_writers_out();
    let begun = Instant::now();
    let error = test.ledger.revoke(revocation(vec![by_jti(&jti)])).await.unwrap_err();
    assert!(matches!(error, LedgerError::Busy) && error.is_transient(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(matches!(test.ledger.probe_write().await, Err(LedgerError::Busy)));
    assert!(!test.refused(&jti, Some(session)).await);
    elsewhere.let_writers_in();
    assert_eq!(test.revoke(by_jti(&jti)).await.outcome, RevokeOutcome::Newly);
}

#[tokio::test]
async fn work_that_hangs_is_answered_by_the_deadline_and_holds_up_no_more_than_its_own_connection() {
    let test = Test::new().await;
    let options = LedgerOptions { pool_size: 2, deadline: SHORT, ..test.options() };
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
    // To say where it panicked takes a busy machine seconds.
    let options = LedgerOptions { deadline: Duration::from_secs(60), ..test.options() };
    let test = Test { ledger: Ledger::open(&options).unwrap(), ..test };
    let broken = test.ledger.write(|_| -> Result<(), _> { panic!("as bad luck would have it") }).await;
    assert!(matches!(broken, Err(LedgerError::Aborted)));
    test.login().await;
}

#[tokio::test]
async fn a_connection_after_an_input_output_error_is_not_used_again() {
    let test = Test::new().await;
    let ledger = Ledger::open(&LedgerOptions { pool_size: 1, ..test.options() }).unwrap();
    ledger.run(|it| Ok(it.batch_execute("CREATE TEMPORARY TABLE mark (x integer)")?)).await.unwrap();
    let marked = |ledger: Ledger| async move {
        ledger.run(|it| Ok(it.batch_execute("INSERT INTO mark VALUES (1)")?)).await.is_ok()
    };
    assert!(marked(ledger.clone()).await, "the same connection is lent again");
    let failed: Result<(), _> = ledger.run(|_| Err(LedgerError::Io("disk I/O error".to_owned()))).await;
    assert!(failed.is_err());
    assert!(!marked(ledger).await, "another connection is lent");
}

#[tokio::test]
async fn a_database_without_tables_says_what_to_run() {
    let test = Test::empty();
    for error in [
        test.ledger.check_schema().await.unwrap_err(),
        test.ledger.is_refused(presented(&Jti::random(), None)).await.unwrap_err(),
        test.ledger.revoke(revocation(vec![by_jti(&Jti::random())])).await.unwrap_err(),
    ] {
        assert!(matches!(&error, LedgerError::Schema(SchemaError::Missing(_))), "{error:?}");
        assert!(error.to_string().contains("simplejwt migrate"));
    }
    assert_eq!(test.ledger.schema_state().await.unwrap(), SchemaState::Empty);
}
