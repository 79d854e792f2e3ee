//! What an application brings along may panic. That must not end the task that keeps everything up to date.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::BlacklistError;

/// What comes of it; a panic is an error.
pub(super) async fn caught<T>(asked: impl Future<Output = Result<T, BlacklistError>>) -> Result<T, BlacklistError> {
    let mut asked = pin!(asked);
    poll_fn(|context| {
        // It is not polled again after a panic.
        let polled = catch_unwind(AssertUnwindSafe(|| asked.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(BlacklistError::of(Panicked(said(&*panic))))))
    })
    .await
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// What the application brought along has panicked.
#[derive(Debug, thiserror::Error)]
#[error("the application's own blacklist panicked: {0}")]
struct Panicked(String);
