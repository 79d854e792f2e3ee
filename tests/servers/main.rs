//! What happens to the database while we use it: it is killed, hangs, fills up, changes its settings. Each test has a server
//! of its own, from `scripts/throwaway`, and a process of ours that uses it.
//!
//! `SIMPLEJWT_LONG=1` makes the loops long.
#![expect(clippy::expect_used, clippy::panic, reason = "a test helper that fails should fail the test")]

/// Makes a test for each of the two databases.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod postgres {
            $(#[test] fn $name() { super::$name(crate::support::database::Kind::Postgres); })+
        }
        mod mariadb {
            $(#[test] fn $name() { super::$name(crate::support::database::Kind::Mysql); })+
        }
    };
}

mod contention;
mod events;
mod full;
mod granted;
mod hangs;
mod killed;
mod loading;
mod lost;
mod memory;
mod partition;
mod proxy;
mod rights;
mod settings;
mod standby;
mod stopped;
#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "../it/support/mod.rs"]
mod support;
mod text;
mod throwaway;
mod tls;
mod traffic;
mod uncertain;
mod wake_ups;
