//! What an application is told of: tokens that this process issued, and what was done to tokens, sessions and users by whomever.
//!
//! Callbacks are called one event after the other, on a task of their own, when everything is committed. A request leaves its news in a
//! queue and goes on; where the queue is full, they are dropped and counted. What stands in the ledger is read from there, so that
//! the callbacks of every process hear of what any process, the command line or the admin page did.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use super::metrics::Count;
use super::{Issued, Refreshed, Simplejwt};
use crate::chain::chain;
use crate::ledger::EventRow;
use crate::token::{Jti, SessionId, TokenKind};

/// How many news may wait for the callbacks.
const QUEUE: usize = 1024;

/// How often the ledger is asked what happened.
const LOOK: Duration = Duration::from_millis(500);

/// The same while it does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long one call of a callback may take. It is dropped then, and the next event comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that happened, for a callback: [`Builder::on_event`](super::Builder::on_event).
///
/// The first two are of this process alone. The others stand in the ledger, whoever did them and wherever: each process that has a
/// callback calls it for them, once, a moment after they were committed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TokenEvent {
    /// Somebody logged in, or a token was issued without a login.
    Issued(TokenNews),
    /// A token was renewed. There is one for each token that this gave.
    Refreshed(TokenNews),
    /// A token was revoked.
    Revoked(EventRow),
    /// A revocation was taken back.
    Restored(EventRow),
    /// A session ended, or several, for another reason than a revoked token.
    SessionEnded(EventRow),
    /// A refresh token was presented again after it had been replaced: somebody has stolen it, and its session has ended.
    Reuse(EventRow),
    /// A built-in user was changed.
    UserChanged(EventRow),
    /// Anything else that stands in the ledger.
    Other(EventRow),
}

impl From<EventRow> for TokenEvent {
    fn from(row: EventRow) -> Self {
        match row.action.as_str() {
            "blacklist" => Self::Revoked(row),
            "unblacklist" => Self::Restored(row),
            "reuse" => Self::Reuse(row),
            "end_session" | "end_sessions" | "cut_off" | "logout" | "evict" => Self::SessionEnded(row),
            "add_user" | "set_password" | "enable_user" | "disable_user" | "remove_user" => Self::UserChanged(row),
            _ => Self::Other(row),
        }
    }
}

/// A token that was given to somebody. Never its text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenNews {
    /// What it is for.
    pub kind: TokenKind,
    /// Its identity.
    pub jti: Jti,
    /// What its user claim says.
    pub user: Option<String>,
    /// Its session.
    pub session: Option<SessionId>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

impl TokenNews {
    pub(super) fn new(kind: TokenKind, token: &Issued, user: Option<&str>) -> Self {
        let (jti, session, expires_at) = (token.jti.clone(), token.session, token.expires_at);
        Self { kind, jti, user: user.map(Into::into), session, expires_at }
    }
}

/// A call of a callback.
type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A callback of the application.
#[derive(Clone)]
pub(super) struct Callback(Arc<dyn Fn(TokenEvent) -> Call + Send + Sync>);

impl Callback {
    pub(super) fn new<F>(closure: impl Fn(TokenEvent) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move |event| Box::pin(closure(event))))
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

/// The callbacks, and what waits for them.
#[derive(Debug)]
pub(super) struct Hooks {
    callbacks: Vec<Callback>,
    news: Sender<TokenEvent>,
    /// Until somebody calls the callbacks.
    waiting: Mutex<Option<Receiver<TokenEvent>>>,
    pub(super) called: Count,
    pub(super) failed: Count,
    pub(super) dropped: Count,
}

impl Hooks {
    pub(super) fn new(callbacks: Vec<Callback>) -> Self {
        let (news, waiting) = channel(QUEUE);
        let (called, failed, dropped) = (Count::default(), Count::default(), Count::default());
        Self { callbacks, news, waiting: Mutex::new(Some(waiting)), called, failed, dropped }
    }

    fn tell(&self, news: impl FnOnce() -> TokenEvent) {
        if !self.callbacks.is_empty() && self.news.try_send(news()).is_err() {
            self.dropped.add(1);
        }
    }

    /// Calls every callback, on tasks of their own: one that panics takes nobody along.
    async fn call(&self, event: TokenEvent) {
        for callback in &self.callbacks {
            let (callback, event) = (callback.clone(), event.clone());
            let mut call = tokio::spawn(async move { (callback.0)(event).await });
            match timeout(PATIENCE, &mut call).await {
                Ok(Ok(())) => self.called.add(1),
                Ok(Err(error)) => {
                    self.failed.add(1);
                    log::error!("a callback for events failed: {error}");
                }
                Err(_) => {
                    call.abort();
                    self.failed.add(1);
                    log::error!("a callback for events took longer than {PATIENCE:?}, and was dropped");
                }
            }
        }
    }
}

impl Simplejwt {
    /// Tells the callbacks that a token was issued.
    pub(super) fn tell_issued(&self, kind: TokenKind, token: &Issued, user: &str) {
        self.inner.hooks.tell(|| TokenEvent::Issued(TokenNews::new(kind, token, Some(user))));
    }

    /// Tells the callbacks that a refresh token was renewed.
    pub(super) fn tell_refreshed(&self, tokens: &Refreshed, user: Option<&str>) {
        let hooks = &self.inner.hooks;
        hooks.tell(|| TokenEvent::Refreshed(TokenNews::new(TokenKind::Access, &tokens.access, user)));
        if let Some(refresh) = &tokens.refresh {
            hooks.tell(|| TokenEvent::Refreshed(TokenNews::new(TokenKind::Refresh, refresh, user)));
        }
    }

    /// Tells the callbacks that a sliding token was renewed.
    pub(super) fn tell_slid(&self, token: &Issued, user: Option<&str>) {
        self.inner.hooks.tell(|| TokenEvent::Refreshed(TokenNews::new(TokenKind::Sliding, token, user)));
    }

    /// Calls the callbacks for everything that happens from now on, until this is dropped. The fairing does it between liftoff
    /// and shutdown. Only one caller does it at a time; a second one returns at once, as does everybody where there is no callback.
    pub async fn call_callbacks(&self) {
        let hooks = &self.inner.hooks;
        let taken = hooks.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut waiting) = Lent::of(hooks, taken).filter(|_| !hooks.callbacks.is_empty()) else { return };
        let calls = async {
            while let Some(event) = waiting.next().await {
                hooks.call(event).await;
            }
        };
        tokio::join!(calls, self.read_events());
    }

    /// Passes on what is committed to the ledger. Where callbacks are slow, this waits for them: nothing is dropped here.
    async fn read_events(&self) {
        if !self.ledger().is_there() {
            return;
        }
        let mut tail = None;
        loop {
            let read = match &mut tail {
                Some(tail) => self.ledger().next_events(tail).await,
                None => self.ledger().events_from_now().await.map(|begun| {
                    tail = Some(begun);
                    Vec::new()
                }),
            };
            match read {
                Ok(rows) => {
                    for row in rows {
                        if self.inner.hooks.news.send(row.into()).await.is_err() {
                            return;
                        }
                    }
                    sleep(LOOK).await;
                }
                Err(error) => {
                    log::info!("what happened cannot be read for the callbacks now: {}", chain(&error));
                    sleep(LOOK_AGAIN).await;
                }
            }
        }
    }
}

/// What waits for the callbacks, in the hands of whoever calls them; given back at the end.
struct Lent<'a> {
    hooks: &'a Hooks,
    waiting: Option<Receiver<TokenEvent>>,
}

impl<'a> Lent<'a> {
    fn of(hooks: &'a Hooks, taken: Option<Receiver<TokenEvent>>) -> Option<Self> {
        taken.map(|waiting| Self { hooks, waiting: Some(waiting) })
    }

    async fn next(&mut self) -> Option<TokenEvent> {
        self.waiting.as_mut()?.recv().await
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.hooks.waiting.lock().unwrap_or_else(PoisonError::into_inner) = self.waiting.take();
    }
}
