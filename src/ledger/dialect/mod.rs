//! Where the databases differ, and nowhere else. Every `match` on the connection is total, so that a new database is a
//! compile error in each place that has to know of it.
//!
//! | file | in what they differ |
//! |---|---|
//! | `dial` | how a connection is opened, and what it has to be told first |
//! | `durability` | which of their settings endanger what was acknowledged |
//! | `transaction` | how writers wait for each other, and what reads see |
//! | `catalogue`, `triggers` | how they describe their tables, and the triggers on them |
//! | `inbox` | where the log of revocations has its order from |
//! | `notify` | whether whoever reads that log can be woken |
//! | `instant` | how an instant is written |
//! | `text` | how values of foreign columns become text, and text becomes them |
//! | `diagnose` | what their error messages mean |
#![cfg_attr(not(feature = "mysql"), expect(clippy::unnecessary_wraps, reason = "what others say about it may fail"))]

mod catalogue;
mod diagnose;
mod dial;
mod durability;
mod inbox;
mod instant;
mod notify;
mod text;
mod transaction;
mod triggers;

pub(super) use catalogue::{
    Column, columns, declared_type, drop_index, has_index, has_order, has_table, has_wide_integers, is_index_named,
    loose_collation, make_book, references,
};
pub(super) use diagnose::diagnose;
#[cfg(feature = "postgres")]
pub(super) use dial::is_pooled_by_transaction;
pub(super) use dial::{Access, FileId, dial, file_id, is_alive, set_mode};
pub use durability::Warning;
pub(super) use durability::durability;
pub(super) use inbox::{count_waiting, has_inbox, is_anything_waiting, last_waiting, sequence, waiting};
pub(super) use instant::{Parameter, a_minute_before};
pub(super) use notify::{News, has_wake_ups, heard, listen, tell};
pub(super) use text::{Around, Literals, has_arrays, has_returning, literals, or_set, placeholder, user_cast};
pub(super) use transaction::{
    Transaction, Work, alone, give_way_after, if_new, last_id, lock_outstanding, lock_session, lock_token, lock_user,
    locks_rows, migrates_in_transaction, snapshot, write, writers,
};
pub(super) use triggers::{Found, drop_trigger, hides_triggers, is_nobody, triggers};

use diesel::prelude::*;
use diesel::sql_types::BigInt;
#[cfg(feature = "mysql")]
use diesel::sql_types::Text;

#[cfg(feature = "mysql")]
#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
}
