//! Settings to a handle: keys are loaded, the database is opened and its tables are checked.

use std::sync::Arc;

use super::{Inner, Simplejwt};
use crate::blacklist::DatabaseBlacklist;
use crate::ledger::{DatabaseUrl, Ledger, LedgerError, LedgerOptions, MigrateOptions, UserField};
use crate::settings::{Settings, SettingsError};
use crate::token::{Clock, KeyRing, Minter, SystemClock, Verifier};
use crate::users::{Authenticator, Passwords, UserTable, Users};

/// What is to happen where the database, or our tables in it, are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// A server: a database that does not exist is made, and an empty one gets its tables.
    Serve,
    /// A command: a missing database is an error, so that no revocation lands in an empty file.
    Existing,
}

/// Why there is no handle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings are refused.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The database is.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The built-in user table lacks a field.
    #[error("setting `{name}`: the built-in user table has no field '{value}'; use id, username or email")]
    UserField {
        /// The setting.
        name: &'static str,
        /// What it says.
        value: String,
    },
}

/// Puts a [`Simplejwt`] together.
#[derive(Debug)]
pub struct Builder {
    settings: Settings,
    users: Option<Users>,
    clock: Arc<dyn Clock>,
    keys_needed: bool,
}

impl Simplejwt {
    /// Starts to put a handle together.
    #[must_use]
    pub fn builder(settings: Settings) -> Builder {
        Builder { settings, users: None, clock: Arc::new(SystemClock::default()), keys_needed: true }
    }
}

impl Builder {
    /// Takes the users from the application instead of the built-in table.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.users = Some(Users::new(authenticator));
        self
    }

    pub(crate) fn users(mut self, users: Users) -> Self {
        self.users = Some(users);
        self
    }

    /// Takes the time from elsewhere than the machine. For tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Loads no key: for work on the ledger alone, in which no token is made or read.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        self.keys_needed = false;
        self
    }

    /// Loads the keys, opens the database, checks or makes its tables.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(self, mode: OpenMode) -> Result<Simplejwt, StartError> {
        let settings = self.settings;
        settings.check()?;
        let ring = Arc::new(if self.keys_needed { settings.keys()? } else { KeyRing::default() });
        let ledger = open_ledger(&settings, mode).await?;
        let passwords = Passwords::default();
        let users = match self.users {
            Some(users) => users,
            None => {
                let login = user_field("username_field", &settings.username_field)?;
                let claim = user_field("user_id_field", &settings.user_id_field)?;
                let table = UserTable::new(ledger.clone(), passwords.clone(), login, claim, Arc::clone(&self.clock));
                Users::new(table)
            }
        };
        let users = users.checking(settings.check_user_is_active);
        let rules = Arc::new(settings.rules());
        let inner = Inner {
            minter: Minter::new(Arc::clone(&ring), Arc::clone(&rules)),
            verifier: Verifier::new(Arc::clone(&ring), rules),
            blacklist: DatabaseBlacklist::new(ledger.clone()),
            ring,
            ledger,
            users,
            passwords,
            clock: self.clock,
            settings,
        };
        Ok(Simplejwt { inner: Arc::new(inner) })
    }
}

async fn open_ledger(settings: &Settings, mode: OpenMode) -> Result<Ledger, LedgerError> {
    let url: DatabaseUrl = settings.database_url().parse()?;
    let create = mode == OpenMode::Serve;
    let ledger =
        Ledger::open(&LedgerOptions { create, pool_size: settings.database_pool_size, ..LedgerOptions::new(url) })?;
    let fresh = create && ledger.migrations().await?.iter().all(|step| !step.applied);
    if fresh || (create && settings.migrate) {
        ledger.migrate(MigrateOptions::default()).await?;
    }
    ledger.check_schema().await?;
    Ok(ledger)
}

fn user_field(name: &'static str, value: &str) -> Result<UserField, StartError> {
    match value {
        "id" if name == "user_id_field" => Ok(UserField::Id),
        "username" => Ok(UserField::Username),
        "email" => Ok(UserField::Email),
        _ => Err(StartError::UserField { name, value: value.into() }),
    }
}
