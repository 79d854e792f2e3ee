//! The connections, and who may use one when.
//!
//! Diesel is synchronous: every piece of work runs on a blocking thread, with a connection that it is lent for as long
//! as it runs. A permit is had *before* the thread, and moves into the work, so that a hung database holds at most as
//! many threads as there are connections; the caller has an answer by its deadline whatever the work does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use diesel::r2d2::{self, ManageConnection, NopErrorHandler, R2D2Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::AnyConnection;
use super::dialect::{self, FileId};
use super::error::LedgerError;
use super::url::DatabaseUrl;

/// How long to wait for a permit.
const ACQUIRE: Duration = Duration::from_secs(1);

/// The connections of one ledger.
pub(super) struct Pool {
    connections: r2d2::Pool<Manager>,
    manager: Manager,
    permits: Arc<Semaphore>,
    /// The turn to write. Where the database lets in only one writer anyway, queueing here is fair and wakes the next
    /// at once, while the database's own way is to sleep and look again.
    turns: Arc<Semaphore>,
    deadline: Duration,
}

impl Pool {
    /// Dials once, for a clear error at once, and then leaves the connections to the pool.
    pub(super) fn open(url: &DatabaseUrl, size: u32, deadline: Duration) -> Result<Self, LedgerError> {
        // A lock is waited for less long than an answer, so that the caller hears "locked" rather than "no answer".
        let manager = Manager { url: url.clone(), patience: deadline * 3 / 4 };
        drop(manager.connect()?);
        let size = if url.path().is_some() { size.max(1) } else { 1 };
        let connections = r2d2::Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            // Nothing is gained by closing a connection to a file, and all is lost by closing one to memory.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(true)
            .connection_timeout(ACQUIRE)
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(manager.clone());
        let permits = |count: u32| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(1)));
        let turns = permits(dialect::writers(url).min(size));
        Ok(Self { connections, manager, permits: permits(size), turns, deadline })
    }

    /// The time that one operation has, unless it asks for more.
    pub(super) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// How long a lock is waited for.
    pub(super) const fn patience(&self) -> Duration {
        self.manager.patience
    }

    /// Lends a connection to `work`. An answer comes within `deadline`; the work may go on after that.
    pub(super) async fn lend<T, F>(&self, writes: bool, deadline: Duration, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, LedgerError> + Send + 'static,
    {
        let end = Instant::now() + deadline;
        let permits =
            timeout(ACQUIRE.min(deadline), self.permits(writes)).await.map_err(|_| LedgerError::Saturated)??;
        let (connections, manager) = (self.connections.clone(), self.manager.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _until_done = permits;
            // With a permit there is room, so that none can be opened is the only reason to get none. The pool does not
            // say why: the database does.
            let Ok(mut lent) = connections.get() else {
                return Err(manager.connect().err().unwrap_or(LedgerError::Saturated));
            };
            let mut answer = work(&mut lent.connection);
            if writes && answer.is_ok() {
                answer = manager.is_valid(&mut lent).and(answer);
            }
            lent.spoilt = matches!(&answer, Err(error) if error.spoils_connection());
            answer
        });
        match timeout_at(end, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(LedgerError::Aborted),
            Err(_) => Err(LedgerError::Timeout(deadline)),
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
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.connections.max_size())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A connection, and whether it may be used again.
struct Lent {
    connection: AnyConnection,
    spoilt: bool,
    /// Which file it was opened on.
    file: Option<FileId>,
}

/// Opens connections for the pool, and tells it which of them to drop.
#[derive(Clone)]
struct Manager {
    url: DatabaseUrl,
    patience: Duration,
}

impl ManageConnection for Manager {
    type Connection = Lent;
    type Error = LedgerError;

    fn connect(&self) -> Result<Lent, LedgerError> {
        let file = dialect::file_id(&self.url);
        let connection = dialect::dial(&self.url, self.patience)?;
        Ok(Lent { connection, spoilt: false, file })
    }

    /// No ping, which would cost as much as most queries; only whether the path still leads to the file that is open. One
    /// that was moved away or restored over would take revocations that nobody else sees, and that are gone at the next
    /// start.
    fn is_valid(&self, lent: &mut Lent) -> Result<(), LedgerError> {
        let same = dialect::file_id(&self.url) == lent.file;
        if same { Ok(()) } else { Err(LedgerError::Io("the file of the database was replaced".to_owned())) }
    }

    fn has_broken(&self, lent: &mut Lent) -> bool {
        // The second is true also of a connection whose work panicked within a transaction.
        lent.spoilt || lent.connection.is_broken()
    }
}
