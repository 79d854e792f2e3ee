//! The blacklist in Redis: that it says what the ledger says, and that a revoked token is never accepted by a Redis that was wiped,
//! killed, stopped, filled, replaced or tampered with. Each test has servers of its own, from `scripts/throwaway`; the ledger is on the
//! database of `TEST_DATABASE`.
#![expect(clippy::expect_used, clippy::panic, reason = "a test helper that fails should fail the test")]

mod agree;
mod cluster;
mod faults;
mod host;
mod library;
mod processes;
mod proxy;
mod sentinel;
mod site;
#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "../it/support/mod.rs"]
mod support;
