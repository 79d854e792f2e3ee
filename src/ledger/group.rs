//! Group commit: revocations that come at the same time share a transaction, so that the database takes its turn for all of them
//! at once, and waits for its disk once.
//!
//! A group takes as many statements as one revocation, so that few groups are under way at a time: whoever finds none goes at once,
//! alone; those that come meanwhile go together after it. Where a group fails, each of it is tried alone by whoever wants it, so
//! that none fails for what is wrong with another.

use std::collections::VecDeque;
use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::connection::AnyConnection;
use super::pool::in_time;
use super::revoke::{self, Revocation, Revoked};
use super::{Ledger, LedgerError};

/// How many tokens go together at most, unless one revocation has more.
const MOST: usize = 32;

/// How many groups are under way at a time, where there are so many turns to write: while one waits for the disk, another can do its
/// work. With more of them each would be smaller.
const AT_A_TIME: u32 = 2;

/// How often everybody else of the runtime may go on before the next group sets out: those who were answered and come again at once
/// go with it.
const LET_IN: usize = 5;

/// Whoever has waited for so long goes on without the end of what is under way, which may itself wait for somebody's lock.
const PATIENCE: Duration = Duration::from_millis(100);

type Answer = Result<Vec<Revoked>, LedgerError>;

/// A revocation that waits for its turn.
struct Order {
    revocation: Arc<Revocation>,
    answer: oneshot::Sender<Answer>,
}

/// The revocations that wait, and how many groups are under way.
#[derive(Default)]
struct State {
    waiting: VecDeque<Order>,
    under_way: u32,
}

/// Those of one process.
#[derive(Default)]
pub(super) struct Group(Mutex<State>);

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group is under way, or is about to be, for as long as this is there.
struct UnderWay {
    group: Arc<Group>,
    ended: bool,
}

impl UnderWay {
    fn new(group: &Arc<Group>, state: &mut State) -> Self {
        state.under_way += 1;
        Self { group: Arc::clone(group), ended: false }
    }

    /// Waits a moment for as many as went together the last time.
    async fn let_in(&self, as_many: usize) {
        for _ in 0..LET_IN {
            if self.group.state().waiting.len() >= as_many {
                return;
            }
            yield_now().await;
        }
    }

    /// The next to go together: as many as fit, and one at least. Where none waits, nothing is under way any more.
    fn next(&mut self) -> Option<Vec<Order>> {
        let mut state = self.group.state();
        // Nobody wants to know of these any more, and none of them was begun.
        state.waiting.retain(|order| !order.answer.is_closed());
        let mut tokens = 0;
        let fits = |order: &&Order| {
            tokens += order.revocation.items.len();
            tokens <= MOST
        };
        let fitting = state.waiting.iter().take_while(fits).count();
        let count = fitting.max(1).min(state.waiting.len());
        if count == 0 {
            state.under_way -= 1;
            self.ended = true;
            return None;
        }
        Some(state.waiting.drain(..count).collect())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // The runtime may have ended before its work.
        if !self.ended {
            self.group.state().under_way -= 1;
        }
    }
}

impl Ledger {
    /// Revokes together with whoever else revokes at the same time.
    pub(super) async fn revoke_in_group(&self, revocation: Revocation) -> Answer {
        let revocation = Arc::new(revocation);
        let (answer, mut answered) = oneshot::channel();
        let at_once = {
            let mut state = self.group.state();
            state.waiting.push_back(Order { revocation: Arc::clone(&revocation), answer });
            (state.under_way < self.pool.writers().min(AT_A_TIME)).then(|| UnderWay::new(&self.group, &mut state))
        };
        if let Some(at_once) = at_once {
            self.begin(at_once);
        }
        in_time(self.pool.deadline(), async {
            let answer = match timeout(PATIENCE, &mut answered).await {
                Ok(answer) => answer,
                Err(_) => {
                    let beside = UnderWay::new(&self.group, &mut self.group.state());
                    self.begin(beside);
                    answered.await
                }
            };
            match answer {
                Ok(answer) => answer,
                // The group failed.
                Err(_) => {
                    self.revoke_together(vec![revocation]).await.map(|revoked| revoked.into_iter().flatten().collect())
                }
            }
        })
        .await
    }

    /// Has what waits go, group after group, until nothing waits. On a task of its own: none of them ends with the caller of
    /// another one.
    fn begin(&self, mut under_way: UnderWay) {
        let ledger = self.clone();
        drop(tokio::spawn(async move {
            while let Some(orders) = under_way.next() {
                let size = orders.len();
                let revocations = orders.iter().map(|order| Arc::clone(&order.revocation)).collect();
                match ledger.revoke_together(revocations).await {
                    Ok(revoked) => {
                        for (order, revoked) in iter::zip(orders, revoked) {
                            // Whoever asked may have gone.
                            drop(order.answer.send(Ok(revoked)));
                        }
                    }
                    Err(error) => {
                        if let Ok([only]) = <[Order; 1]>::try_from(orders) {
                            drop(only.answer.send(Err(error)));
                        }
                    }
                }
                under_way.let_in(size).await;
            }
        }));
    }

    pub(super) async fn revoke_together(
        &self,
        revocations: Vec<Arc<Revocation>>,
    ) -> Result<Vec<Vec<Revoked>>, LedgerError> {
        let shared = self.shared().await?;
        self.write(move |connection: &mut AnyConnection| revoke::all(connection, &shared, &revocations)).await
    }
}
