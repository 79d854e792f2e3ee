//! What the database remembers: the only source of truth.
//!
//! A [`Ledger`] is the handle. Each of its methods is one query or one transaction; what it says is done is on disk.
//! The methods stand in the file of what they are about:
//!
//! | file | what it holds |
//! |---|---|
//! | [`url`](DatabaseUrl), `server`, `connection`, `pool`, `dialect`, `raw`, `many` | which database, how it is opened, who may use it when, where databases differ; SQL that Diesel has no word for |
//! | `schema`, `step`, `migrate`, `adopt`, `shared`, `key_form` | the tables, how they are made, how Django's are taken over and how those look |
//! | [`outstanding`](OutstandingToken), [`blacklisted`](BlacklistedToken) | simplejwt's two tables |
//! | `tokens`, `sessions`, `cutoffs`, `users`, `events`, `flush_runs` | our own tables, one each |
//! | `tail`, `outbox` | events as they come, and those that a webhook has still to be told |
//! | `uses` | when and from where sessions were last used |
//! | `record`, `check`, `rotate`, `again`, `revoke`, `restore` | what happens to a token, in that order; `again`: to one that was replaced |
//! | `django_users`, `django_staff` | the users of a Django project, and what they may do in its admin |
//! | `endings` | what happens to many at once |
//! | `family`, `room` | the tokens that descend from one login, refused together; how many logins a user may have |
//! | `lost` | what a restored backup or another server has forgotten |
//! | `group` | how revocations that come at the same time share a transaction |
//! | `list`, `session_list` | what there is to see |
//! | `browse`, `browse_sessions`, `tally` | the same for whoever turns pages; how much there is, without counting |
//! | `admin_sessions` | who is signed in to the admin |
//! | `log` | what changed, in the order of the commits: how every process learns of every revocation |
//! | `wake` | how they learn of it at once |
//! | `flush`, `taking`, [`retention`](Retention) | what may be forgotten, and when; deleting and reading in one go |
//!
//! Diesel is synchronous; the methods are not. No connection ever leaves this module: a closure goes in.

#[cfg(feature = "admin")]
mod admin_sessions;
mod adopt;
mod again;
mod blacklisted;
#[cfg(feature = "admin")]
mod browse;
#[cfg(feature = "admin")]
mod browse_sessions;
mod check;
mod connection;
mod cutoffs;
mod dialect;
#[cfg(feature = "admin")]
mod django_staff;
mod django_users;
mod endings;
mod error;
mod events;
mod family;
mod flush;
mod flush_runs;
mod foreign_text;
mod group;
mod key_form;
mod list;
mod log;
mod lost;
mod many;
mod migrate;
mod outbox;
mod outstanding;
mod pool;
mod raw;
mod record;
mod restore;
mod retention;
mod revoke;
mod room;
mod rotate;
mod schema;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
mod session_list;
mod sessions;
mod shared;
mod step;
mod tail;
mod taking;
#[cfg(feature = "admin")]
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod tokens;
mod url;
mod user_key;
mod users;
mod uses;
mod wake;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "admin")]
pub use admin_sessions::AdminSessionRow;
pub use again::{Grace, Reuse, Successor};
pub use blacklisted::BlacklistedToken;
#[cfg(feature = "admin")]
pub use browse::{BlacklistedPage, Cursor, TokenOrder, TokenPage, TokenSearch};
#[cfg(feature = "admin")]
pub use browse_sessions::SessionPage;
pub use check::Standing;
pub use cutoffs::NewCutoff;
pub use dialect::Warning;
#[cfg(feature = "admin")]
pub use django_staff::DjangoStaff;
pub use django_users::{DjangoColumns, DjangoTable, DjangoUserRow};
pub use endings::{Meant, OthersEnding, Rows, SessionEnded, SessionEnding, Sweep};
pub use error::{LedgerError, SchemaError};
pub use events::{ACTIONS, Actor, EventFilter, EventRow, Via};
pub use flush::{FlushBatch, FlushCursor, FlushPlan, Flushed};
pub use flush_runs::{FlushOutcome, FlushRunRow, FlushStart, NewFlushRun};
pub use list::{Counts, TokenFilter, TokenRow, TokenState};
pub use log::{LogState, Part, PartCursor, Position, Pull, Reload, TriggerFault, TriggerWrong};
pub use lost::WriteBack;
pub use migrate::{MigrateOptions, MigrationState, SchemaState};
pub use outbox::{Attempted, Backlog, Taken, Wanted};
pub use outstanding::OutstandingToken;
pub use record::NewRecord;
pub use restore::{Restoration, RestoreOutcome, Restored};
pub use retention::Retention;
pub use revoke::{Revocation, RevokeItem, RevokeOutcome, Revoked};
pub use room::SessionLimit;
pub use rotate::{Rotated, Rotation};
pub use schema::{blacklisted_tokens, outstanding_tokens};
pub use session_list::{SessionChain, SessionFilter, SessionRow, SessionState, SessionToken};
pub use sessions::{NewSession, Witness};
pub use tail::EventTail;
#[cfg(feature = "admin")]
pub use tally::{Census, Hour};
pub use url::{DatabaseUrl, DatabaseUrlError};
pub use user_key::{UnknownUserKeyType, UserKey, UserKeyType};
pub use users::{NewUser, UserField, UserRow};
pub use uses::SessionUse;

pub(crate) use pool::{not_counted, within};
#[cfg(feature = "admin")]
pub(crate) use time::storable;

use connection::AnyConnection;
use dialect::Access;
use diesel::prelude::*;
use group::Group;
use pool::Pool;
use schema::simplejwt_flush_run;
use shared::Shared;
use tokio::sync::OnceCell;
use wake::WakeUps;

/// How to open a ledger.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// Which database.
    pub url: DatabaseUrl,
    /// Whether to make the database if there is none. The tables are made by [`Ledger::migrate`].
    pub create: bool,
    /// How many connections to have at most.
    pub pool_size: u32,
    /// How long one operation may take to answer.
    pub deadline: Duration,
    /// Whether to put up with settings of the database that could lose what it acknowledged. They are found by
    /// [`Ledger::durability`] all the same.
    pub allow_unsafe_durability: bool,
    /// Whether it is opened only to read it. Everything that writes is [`LedgerError::VerifiesOnly`] then, and what the log needs is
    /// left to those who write.
    pub verifies_only: bool,
    /// Whether whoever follows the log is woken when something changes, where the database can do that.
    pub wake_ups: bool,
}

impl LedgerOptions {
    /// An existing database, with 8 connections and 2 seconds for an answer.
    #[must_use]
    pub const fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            create: false,
            pool_size: 8,
            deadline: Duration::from_secs(2),
            allow_unsafe_durability: false,
            verifies_only: false,
            wake_ups: true,
        }
    }
}

/// The tokens, sessions, revocations and users of one database. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct Ledger {
    url: DatabaseUrl,
    pool: Arc<Pool>,
    /// How simplejwt's tables look here, once that is known.
    shared: Arc<OnceCell<Arc<Shared>>>,
    wakes: bool,
    wake_ups: Arc<WakeUps>,
    group: Arc<Group>,
}

/// How long a piece of work may take that goes through whole tables.
const LONG: Duration = Duration::from_secs(60);

/// The same for `migrate`: in tables to which others have added for years, an index may take hours. Somebody waits for it who can stop it.
const MIGRATING: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether there are as many rows as were asked for, so that there may be more.
fn is_full<T>(found: &[T], limit: i64) -> bool {
    i64::try_from(found.len()).is_ok_and(|found| found >= limit)
}

impl Ledger {
    /// Opens the database, and checks that it can keep what it acknowledges. The tables are another matter: see
    /// [`migrate`](Self::migrate) and [`check_schema`](Self::check_schema). Blocks; touches no runtime.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Missing`] if there is no such database and `create` is off.
    pub fn open(options: &LedgerOptions) -> Result<Self, LedgerError> {
        let url = options.url.clone();
        if options.create {
            create(&url)?;
        }
        let pool = Pool::open(options)?;
        Ok(Self {
            url,
            pool: Arc::new(pool),
            shared: Arc::default(),
            group: Arc::default(),
            wakes: options.wake_ups,
            wake_ups: Arc::default(),
        })
    }

    /// No ledger, for a process that has no database: whatever is asked of it is [`LedgerError::NoDatabase`].
    #[must_use]
    pub(crate) fn absent() -> Self {
        let options = LedgerOptions { wake_ups: false, ..LedgerOptions::new(DatabaseUrl::nowhere()) };
        let (pool, shared) = (Arc::new(Pool::absent(&options)), Arc::new(OnceCell::new()));
        Self { url: options.url, pool, shared, wakes: false, wake_ups: Arc::default(), group: Arc::default() }
    }

    /// Whether there is a database.
    #[must_use]
    pub(crate) fn is_there(&self) -> bool {
        self.pool.is_there()
    }

    /// Which database this is.
    #[must_use]
    pub const fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// What is set in the database in a way that endangers what it acknowledges.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn durability(&self) -> Result<Vec<Warning>, LedgerError> {
        let access = self.pool.access();
        self.run(move |connection| Ok(dialect::durability(connection, access)?)).await
    }

    /// Whether it was opened only to read it.
    #[must_use]
    pub fn verifies_only(&self) -> bool {
        self.pool.access() == Access::ReadOnly
    }

    /// Asks the database for a sign of life. Writes nothing.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        self.run(|connection| if dialect::is_alive(connection) { Ok(()) } else { Err(LedgerError::Lost) }).await
    }

    /// Takes the lock that a write needs, and gives it back.
    ///
    /// # Errors
    ///
    /// What a write would say: that the database is locked, read-only or out of reach.
    pub async fn probe_write(&self) -> Result<(), LedgerError> {
        // Deletes nothing, and yet only where a row could be deleted: taking the lock alone succeeds on a file that can only
        // be read.
        let nothing = simplejwt_flush_run::table.filter(simplejwt_flush_run::id.lt(0));
        self.write(move |connection| Ok(diesel::delete(nothing).execute(connection).map(drop)?)).await
    }

    /// How simplejwt's two tables look here. They are looked at once: nobody changes their types under a running server.
    async fn shared(&self) -> Result<Arc<Shared>, LedgerError> {
        let look = || self.run(|connection| Shared::of(connection).map(Arc::new));
        self.shared.get_or_try_init(look).await.map(Arc::clone)
    }

    /// Lends a connection to `work`, which only reads.
    async fn run<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, LedgerError> + Send + 'static,
    {
        self.pool.lend(false, self.pool.deadline(), work).await
    }

    /// The same for work that goes through whole tables.
    async fn run_long<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, LedgerError> + Send + 'static,
    {
        self.pool.lend(false, LONG, work).await
    }

    /// Runs `work` as one transaction that writes: all of it is done, or none. It may be run several times, until no other
    /// transaction stands in its way.
    async fn write<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: Fn(&mut AnyConnection) -> Result<T, LedgerError> + Send + 'static,
    {
        let patience = self.pool.patience();
        self.pool.lend(true, self.pool.deadline(), move |connection| dialect::write(connection, patience, work)).await
    }

    /// The same for work that goes through whole tables.
    async fn write_long<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: Fn(&mut AnyConnection) -> Result<T, LedgerError> + Send + 'static,
    {
        let patience = self.pool.patience();
        self.pool.lend(true, LONG, move |connection| dialect::write(connection, patience, work)).await
    }
}

/// Makes the file of a database, for nobody else to read: it will hold password hashes.
fn create(url: &DatabaseUrl) -> Result<(), LedgerError> {
    let Some(path) = url.path() else { return Ok(()) };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(LedgerError::Unreachable { url: url.to_string(), reason: error.to_string() })
        }
        _ => Ok(()),
    }
}
