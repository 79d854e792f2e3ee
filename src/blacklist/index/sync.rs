//! What threads share through. The model in `tests/index_model.rs` puts other types in the place of these.

pub(super) use std::sync::Mutex;
pub(super) use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

pub(super) use arc_swap::ArcSwap;
