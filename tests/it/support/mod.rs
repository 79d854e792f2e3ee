//! What the tests share: a server process, an HTTP client, tokens of any shape, a look into the database.

pub(crate) mod admin;
pub(crate) mod app;
pub(crate) mod attack;
pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod following;
pub(crate) mod held;
pub(crate) mod mint;
pub(crate) mod people;
pub(crate) mod server;
#[path = "../../../src/ledger/tests/database.rs"]
pub(crate) mod test_database;

use std::time::{SystemTime, UNIX_EPOCH};

/// The present, in whole seconds since 1970.
pub(crate) fn now() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since_1970.as_secs()).expect("a clock before the year 292 billion")
}

/// A name that no other test of this run uses.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}
