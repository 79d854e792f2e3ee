//! The pages in headless Chromium: what an operator does in the admin, and a user on the own page. Needs the Debian packages chromium and chromium-driver;
//! `TEST_DATABASE` says on which database.
#![expect(clippy::expect_used, clippy::panic, reason = "a test helper that fails should fail the test")]

mod looks;
mod operator;
mod user;
mod webdriver;

#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "../it/support/mod.rs"]
mod support;
