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

/// What is answered as a whole has its time together, and what has nothing to do with the ledger takes none of it.
#[tokio::test]
async fn the_steps_of_one_answer_share_its_time_and_what_is_not_counted_takes_none_of_it() {
    let test = Test::new().await;
    let busy = async |milliseconds| {
        let work = move |_: &mut AnyConnection| {
            std::thread::sleep(Duration::from_millis(milliseconds));
            Ok(())
        };
        test.ledger.run(work).await
    };
    let limit = Duration::from_secs(1);
    let answered = async {
        not_counted(tokio::time::sleep(limit + SHORT)).await;
        busy(500).await.unwrap();
        not_counted(tokio::time::sleep(limit)).await;
        // A part of it has no time of its own.
        within(limit, busy(5000)).await.unwrap_err()
    };
    let begun = Instant::now();
    let error = within(limit, answered).await;
    assert!(matches!(error, LedgerError::Timeout(left) if left <= limit / 2), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Whatever else it waits for is counted. When nothing is left, nothing is begun.
    let late = async {
        tokio::time::sleep(limit + SHORT).await;
        (Instant::now(), test.ledger.ping().await)
    };
    let (begun, answer) = within(limit, late).await;
    assert!(matches!(answer, Err(LedgerError::Timeout(_))) && begun.elapsed() < limit, "{answer:?}");
    // And the next answer has all of it again.
    within(limit, busy(500)).await.unwrap();
}

/// Ten deadlines later its place is somebody else's, and its connection is nobody's. No more than there are connections are given up.
#[tokio::test]
async fn work_that_hangs_for_ten_deadlines_is_given_up_and_its_connection_not_lent_again() {
    let test = Test::new().await;
    let ledger = Ledger::open(&LedgerOptions { pool_size: 1, deadline: SHORT, ..test.options() }).unwrap();
    let run = |sql: &'static str| {
        ledger.pool.lend(false, Duration::from_secs(5), move |it: &mut AnyConnection| Ok(it.batch_execute(sql)?))
    };
    let is_marked = async || run("INSERT INTO mark VALUES (1)").await.is_ok();
    let is_taken = async || matches!(ledger.ping().await, Err(LedgerError::Saturated));
    // Until its other end is dropped.
    let hang = async || {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let work = move |_: &mut AnyConnection| {
            assert!(ended.recv().is_err(), "nobody sends");
            Ok(())
        };
        let hangs = ledger.pool.lend(false, SHORT, work).await;
        assert!(matches!(hangs, Err(LedgerError::Timeout(_))), "{hangs:?}");
        end
    };
    let until_given_up = async || {
        let begun = Instant::now();
        while is_taken().await {
            assert!(begun.elapsed() < Duration::from_secs(40));
        }
        begun.elapsed()
    };
    run("CREATE TEMPORARY TABLE mark (x integer)").await.unwrap();
    assert!(is_marked().await, "the same connection is lent again");

    let first = hang().await;
    let took = until_given_up().await;
    assert!(took > SHORT * 7, "given up too early: {took:?}");
    assert!(!is_marked().await, "another connection is lent");
    let second = hang().await;
    let begun = Instant::now();
    while begun.elapsed() < SHORT * 12 {
        assert!(is_taken().await, "one is given up already, and there is one connection");
    }
    drop(first);
    until_given_up().await;
    assert!(!is_marked().await, "the first connection was dropped");
    drop(second);
}

/// PostgreSQL and MariaDB notice what hangs in a transaction, MySQL what was silent for as long.
#[tokio::test]
async fn a_server_is_told_for_how_long_to_believe_in_a_process_that_vanished() {
    use diesel::prelude::*;
    use diesel::sql_types::Text;

    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Text)]
        #[diesel(column_name = "Value")]
        value: String,
    }

    let test = Test::new().await;
    let query = match test.database.kind() {
        // The locks of a file go with the process.
        Kind::Sqlite => return,
        Kind::Postgres => "SELECT current_setting('idle_in_transaction_session_timeout') AS \"Value\"",
        Kind::Mysql => "SHOW SESSION VARIABLES WHERE Variable_name IN ('wait_timeout', 'idle_transaction_timeout')",
    };
    let found = test.ledger.run(move |it| Ok(diesel::sql_query(query).load::<Found>(it)?)).await.unwrap();
    assert!(!found.is_empty() && found.iter().all(|it| ["60", "1min"].contains(&it.value.as_str())));
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
