//! Opening a file: what is there, what is not, and what it lets us do.

use std::path::Path;

use diesel::connection::SimpleConnection as _;

use super::*;

fn url(path: &Path) -> String {
    format!("sqlite:///{}", path.display())
}

#[tokio::test]
async fn a_missing_file_is_said_to_be_missing_and_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.sqlite3");
    let error = Ledger::open(&LedgerOptions { create: false, ..options(&url(&path)) }).unwrap_err();
    assert!(matches!(&error, LedgerError::Missing { .. }) && !error.is_transient(), "{error}");
    assert!(error.to_string().contains("none.sqlite3"));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_missing_directory_is_an_error_and_a_directory_is_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let error = Ledger::open(&options(&url(&directory.path().join("no/such.sqlite3")))).unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable { .. }), "{error}");
    let error = Ledger::open(&options(&url(directory.path()))).unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable { .. } | LedgerError::Io(_)), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("letter.txt");
    std::fs::write(&path, "Dear database, ".repeat(200)).unwrap();
    let error = Ledger::open(&options(&url(&path))).unwrap_err();
    assert!(matches!(error, LedgerError::NotADatabase), "{error}");
    assert!(!error.is_transient());
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let test = Test::new().await;
    test.login().await;
    for entry in std::fs::read_dir(test.path().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
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
async fn a_database_that_is_deleted_is_not_made_anew() {
    let test = Test::new().await;
    let options = LedgerOptions { create: false, ..test.options() };
    let ledger = Ledger::open(&options).unwrap();
    std::fs::remove_file(test.path()).unwrap();
    let error = ledger.counts(at(0)).await.unwrap_err();
    assert!(matches!(error, LedgerError::Missing { .. }), "{error}");
    assert!(!test.path().exists());
}

#[tokio::test]
async fn a_full_disk_and_a_read_only_database_are_told_apart() {
    let test = Test::new().await;
    test.sql("VACUUM");
    let pages = test.number("SELECT page_count FROM pragma_page_count");
    let ledger = Ledger::open(&LedgerOptions { pool_size: 1, ..test.options() }).unwrap();
    ledger.run(move |it| Ok(it.batch_execute(&format!("PRAGMA max_page_count = {pages}"))?)).await.unwrap();
    let mut full = 0;
    for _ in 0..100 {
        let session = SessionId::starting_at(0);
        match ledger.record_login(new_session(session), refresh_token(session)).await {
            Err(LedgerError::Full) => full += 1,
            other => drop(other.unwrap()),
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

/// What a connection is told when it is opened, and could only be otherwise with an SQLite that knows no such thing.
#[tokio::test]
async fn a_connection_that_does_not_sync_or_looks_at_no_key_is_found() {
    let test = Test::new().await;
    let changed = |it: &mut AnyConnection| {
        it.batch_execute("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF")?;
        Ok(dialect::durability(it, Access::ReadWrite)?)
    };
    let found = test.ledger.run(changed).await.unwrap();
    assert_eq!(found.iter().map(|it| it.setting).collect::<Vec<_>>(), ["synchronous", "foreign_keys"], "{found:?}");
}
