//! The connections, and who may use one when.
//!
//! Diesel is synchronous: every piece of work runs on a blocking thread, with a connection that it is lent for as long
//! as it runs. A permit is had *before* the thread, and moves into the work, so that a hung database holds at most as
//! many threads as there are connections; the caller has an answer by its deadline whatever the work does. With a permit
//! there is always room for a connection: one that lies idle, or a new one. Work that hangs for ten deadlines is given up:
//! somebody else gets its permit, and when it ends after all, its connection is dropped.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use diesel::connection::{Connection, TransactionManager};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use super::LedgerOptions;
use super::connection::AnyConnection;
use super::dialect::{self, Access, FileId};
use super::error::LedgerError;
use super::url::DatabaseUrl;

tokio::task_local! {
    /// When the answer is due of which this work is a part.
    static DUE: Cell<Instant>;
}

/// Runs work that is answered as a whole: all that it asks of a ledger has to be done within `limit` together, and what else it
/// waits for, unless that is [`not_counted`].
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> T {
    let due = Instant::now() + limit;
    let due = DUE.try_with(|earlier| due.min(earlier.get())).unwrap_or(due);
    DUE.scope(Cell::new(due), work).await
}

/// Runs what takes its time whatever the database does, like to hash a password: the whole of which it is a part is due so much
/// later.
pub(crate) async fn not_counted<T>(work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let done = work.await;
    // Where it is a part of nothing, nothing is due.
    let _ = DUE.try_with(|due| due.set(due.get() + start.elapsed()));
    done
}

/// Runs work that is answered within `limit` itself, and by when the whole is due of which it is a part.
pub(super) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, LedgerError> {
    let start = Instant::now();
    let due = DUE.try_with(|due| start.max(due.get())).map_or(start + limit, |due| due.min(start + limit));
    let answer = timeout_at(due, DUE.scope(Cell::new(due), work)).await;
    answer.unwrap_or(Err(LedgerError::Timeout(due - start)))
}

/// Work that goes on in a task of its own, and is due when that is of which it is a part.
pub(super) fn handed_on<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let due = DUE.try_with(Cell::get);
    async move {
        match due {
            Ok(due) => DUE.scope(Cell::new(due), work).await,
            Err(_) => work.await,
        }
    }
}

/// How long to wait for a permit.
const ACQUIRE: Duration = Duration::from_secs(1);

/// After so many deadlines, work that still runs is given up.
const GIVEN_UP: u32 = 10;

/// A connection that was not looked at for so long is looked at before it is used.
const STALE: Duration = Duration::from_secs(1);

/// The connections of one ledger.
pub(super) struct Pool {
    connections: Arc<Connections>,
    permits: Arc<Semaphore>,
    /// The turn to write. Where the database lets in only one writer anyway, queueing here is fair and wakes the next at once,
    /// while the database's own way is to sleep and look again. Elsewhere writers who wait for a lock leave some connections
    /// to readers.
    turns: Arc<Semaphore>,
    writers: u32,
    deadline: Duration,
}

impl Pool {
    /// Dials once, for a clear error at once.
    pub(super) fn open(options: &LedgerOptions) -> Result<Self, LedgerError> {
        let LedgerOptions { url, pool_size, deadline, allow_unsafe_durability, verifies_only, .. } = options;
        let access = if *verifies_only { Access::ReadOnly } else { Access::ReadWrite };
        let size = url.most_connections().unwrap_or(u32::MAX).min((*pool_size).max(1));
        let connections = Connections {
            url: url.clone(),
            // A lock is waited for less long than an answer, so that the caller hears "locked" rather than "no answer".
            patience: *deadline * 3 / 4,
            access,
            // Nothing that whoever only reads is warned of can be put up with.
            allow_unsafe: *allow_unsafe_durability && access == Access::ReadWrite,
            size,
            given_up: AtomicU32::new(0),
            idle: Mutex::new(Vec::new()),
        };
        let connections = Arc::new(connections);
        connections.open_first(*deadline)?;
        let permits = |count: u32| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(1)));
        let writers = dialect::writers(url, size);
        Ok(Self { connections, permits: permits(size), turns: permits(writers), writers, deadline: *deadline })
    }

    /// None at all: whoever wants one hears so.
    pub(super) fn absent(options: &LedgerOptions) -> Self {
        let connections = Connections {
            url: options.url.clone(),
            patience: options.deadline,
            access: Access::ReadOnly,
            allow_unsafe: false,
            size: 0,
            given_up: AtomicU32::new(0),
            idle: Mutex::new(Vec::new()),
        };
        let none = || Arc::new(Semaphore::new(0));
        Self {
            connections: Arc::new(connections),
            permits: none(),
            turns: none(),
            writers: 0,
            deadline: options.deadline,
        }
    }

    /// Whether there is a database.
    pub(super) fn is_there(&self) -> bool {
        self.connections.size > 0
    }

    /// The time that one operation has, unless it asks for more.
    pub(super) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// What the connections are for.
    pub(super) fn access(&self) -> Access {
        self.connections.access
    }

    /// How many may write at the same time.
    pub(super) const fn writers(&self) -> u32 {
        self.writers
    }

    /// Whether long work may have two connections, and leaves most to others. SQLite's are few.
    pub(super) const fn has_room(&self) -> bool {
        self.writers > 2
    }

    /// How long a lock is waited for.
    pub(super) fn patience(&self) -> Duration {
        self.connections.patience
    }

    /// Lends a connection to `work`. An answer comes within `deadline`; the work may go on after that.
    pub(super) async fn lend<T, F>(&self, writes: bool, deadline: Duration, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, LedgerError> + Send + 'static,
    {
        if !self.is_there() {
            return Err(LedgerError::NoDatabase);
        }
        if writes && self.access() == Access::ReadOnly {
            return Err(LedgerError::VerifiesOnly);
        }
        let start = Instant::now();
        let end = DUE.try_with(|due| start.max(due.get()).min(start + deadline)).unwrap_or(start + deadline);
        if end == start {
            return Err(LedgerError::Timeout(deadline));
        }
        let permits = timeout_at(end.min(start + ACQUIRE), self.permits(writes)).await;
        let permits = permits.map_err(|_| LedgerError::Saturated)??;
        let (connections, over) = (Arc::clone(&self.connections), Arc::new(AtomicBool::new(false)));
        let mut held = Held { permits, over: Arc::clone(&over), ended: false, connections: Arc::clone(&connections) };
        let task = tokio::task::spawn_blocking(move || {
            let mut lent = connections.take()?;
            let mut answer = work(&mut lent.connection);
            if writes && answer.is_ok() {
                answer = connections.is_same_file(&lent).and(answer);
            }
            if let Err(LedgerError::Lost | LedgerError::ReadOnly) = &answer {
                // Whatever befell this one has befallen the others.
                connections.idle().clear();
            }
            let spoilt = matches!(&answer, Err(error) if error.spoils_connection());
            if held.end() && !spoilt {
                connections.put_back(lent);
            }
            answer
        });
        let mut wait = Wait { pool: self, writes, over, answered: false };
        let answer = timeout_at(end, task).await;
        wait.answered = answer.is_ok();
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(LedgerError::Aborted),
            Err(_) => Err(LedgerError::Timeout(end - start)),
        }
    }

    /// The turn comes before the connection, so that writers who wait take nothing from readers.
    async fn permits(&self, writes: bool) -> Result<[Option<OwnedSemaphorePermit>; 2], LedgerError> {
        let of = async |semaphore: &Arc<Semaphore>| {
            Arc::clone(semaphore).acquire_owned().await.map_err(|_| LedgerError::Aborted)
        };
        let turn = if writes { Some(of(&self.turns).await?) } else { None };
        Ok([turn, Some(of(&self.permits).await?)])
    }

    /// Gives up work that still hangs after ten deadlines, for at most as many as there are connections.
    fn give_up_later(&self, writes: bool, over: Arc<AtomicBool>) -> impl Future<Output = ()> + Send + 'static {
        let (connections, permits, patience) =
            (Arc::clone(&self.connections), Arc::clone(&self.permits), self.deadline * (GIVEN_UP - 1));
        let turns = writes.then(|| Arc::clone(&self.turns));
        async move {
            let room = |given_up: u32| (given_up < connections.size).then_some(given_up + 1);
            loop {
                sleep(patience).await;
                if over.load(Ordering::Acquire) {
                    return;
                }
                if connections.given_up.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok() {
                    break;
                }
            }
            if over.swap(true, Ordering::AcqRel) {
                // It ended after all, and gave its permits back itself.
                connections.given_up.fetch_sub(1, Ordering::AcqRel);
                return;
            }
            log::warn!("work on the database has hung for {patience:?}, and is given up");
            permits.add_permits(1);
            if let Some(turns) = turns {
                turns.add_permits(1);
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.connections.size)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Somebody waits for a piece of work. Whoever goes before it has ended, because the deadline has come or for a reason of their
/// own, leaves somebody behind who gives it up should it hang.
struct Wait<'a> {
    pool: &'a Pool,
    writes: bool,
    over: Arc<AtomicBool>,
    answered: bool,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.answered
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(self.pool.give_up_later(self.writes, Arc::clone(&self.over))));
        }
    }
}

/// The permits of a piece of work, until it ends or is given up, whichever comes first.
struct Held {
    permits: [Option<OwnedSemaphorePermit>; 2],
    /// Whether the work has ended or was given up.
    over: Arc<AtomicBool>,
    /// Whether the work has ended.
    ended: bool,
    connections: Arc<Connections>,
}

impl Held {
    /// The work has ended; says whether nobody had given it up before.
    fn end(&mut self) -> bool {
        self.ended = true;
        let in_time = !self.over.swap(true, Ordering::AcqRel);
        if !in_time {
            // Others have them already.
            self.permits.iter_mut().filter_map(Option::take).for_each(OwnedSemaphorePermit::forget);
            self.connections.given_up.fetch_sub(1, Ordering::AcqRel);
        }
        in_time
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Also where the work panicked, or there was no connection.
        if !self.ended {
            self.end();
        }
    }
}

/// A connection, on which file it was opened, and when it was looked at last.
struct Lent {
    connection: AnyConnection,
    file: Option<FileId>,
    checked_at: Instant,
}

/// Opens connections, and keeps those that can be used again.
struct Connections {
    url: DatabaseUrl,
    patience: Duration,
    access: Access,
    /// Whether settings of the database that endanger a promise are put up with.
    allow_unsafe: bool,
    /// How many there are at most, beside those that were given up.
    size: u32,
    given_up: AtomicU32,
    idle: Mutex<Vec<Lent>>,
}

impl Connections {
    /// Opens the first connection on a thread of its own: a database may take a connection and then say nothing.
    fn open_first(self: &Arc<Self>, deadline: Duration) -> Result<(), LedgerError> {
        let (answer, answered) = mpsc::channel();
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            let opened = this.refuse_pooler().and_then(|()| this.connect());
            // Nobody may be waiting any more.
            drop(answer.send(opened));
        });
        let lent = answered.recv_timeout(deadline).map_err(|_| LedgerError::Timeout(deadline))??;
        self.idle().push(lent);
        Ok(())
    }

    /// What a session is told has to stay told.
    #[cfg(feature = "postgres")]
    fn refuse_pooler(&self) -> Result<(), LedgerError> {
        if matches!(self.url.place(), super::url::Place::Postgres(_))
            && dialect::is_pooled_by_transaction(&self.url, self.patience)?
        {
            return Err(LedgerError::Pooled);
        }
        Ok(())
    }

    #[cfg(not(feature = "postgres"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "only PostgreSQL has such poolers")]
    fn refuse_pooler(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn connect(&self) -> Result<Lent, LedgerError> {
        let file = dialect::file_id(&self.url);
        let mut connection = dialect::dial(&self.url, self.access, self.patience)?;
        self.refuse_unsafe(&mut connection)?;
        Ok(Lent { connection, file, checked_at: Instant::now() })
    }

    fn refuse_unsafe(&self, connection: &mut AnyConnection) -> Result<(), LedgerError> {
        match dialect::durability(connection, self.access)?.into_iter().next() {
            Some(warning) if !self.allow_unsafe => Err(LedgerError::Unsafe(warning)),
            _ => Ok(()),
        }
    }

    /// One that lies idle and still works, or a new one.
    fn take(&self) -> Result<Lent, LedgerError> {
        loop {
            // The lock is not held while the database is asked.
            let idle = self.idle().pop();
            let Some(mut lent) = idle else { return self.connect() };
            if self.is_good(&mut lent).is_ok() {
                return Ok(lent);
            }
        }
    }

    /// Whether a connection is still one to the same database, and that is still fit to be asked: the other end may have closed
    /// it, or have become a standby that lags behind.
    fn is_good(&self, lent: &mut Lent) -> Result<(), LedgerError> {
        if !self.url.is_embedded() && lent.checked_at.elapsed() >= STALE {
            self.refuse_unsafe(&mut lent.connection)?;
            lent.checked_at = Instant::now();
        }
        self.is_same_file(lent)
    }

    fn put_back(&self, mut lent: Lent) {
        type Manager = <AnyConnection as Connection>::TransactionManager;
        // A transaction that could not be rolled back would go on in somebody else's work.
        if !Manager::is_broken_transaction_manager(&mut lent.connection) {
            self.idle().push(lent);
        }
    }

    /// Whether the path still leads to the file that is open. One that was moved away or restored over would take revocations
    /// that nobody else sees, and that are gone at the next start.
    fn is_same_file(&self, lent: &Lent) -> Result<(), LedgerError> {
        let same = dialect::file_id(&self.url) == lent.file;
        if same { Ok(()) } else { Err(LedgerError::Io("the file of the database was replaced".to_owned())) }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Lent>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
