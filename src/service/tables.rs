//! Setting up the tables of a database, and taking them down.

use super::StartError;
use super::start::warn_of_unsafe;
use crate::ledger::{DatabaseUrl, Ledger, LedgerError, LedgerOptions, MigrateOptions, MigrationState};
use crate::settings::Settings;

/// The tables of one database, whatever state they are in.
#[derive(Clone, Debug)]
pub struct Tables {
    ledger: Ledger,
    warns: bool,
}

impl Tables {
    /// Opens the database of these settings; with `create`, makes it if there is none. No key is needed.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(settings: &Settings, create: bool) -> Result<Self, StartError> {
        settings.check()?;
        let url: DatabaseUrl = settings.database_url().parse().map_err(LedgerError::from)?;
        let ledger = Ledger::open(&LedgerOptions {
            create,
            pool_size: 1,
            allow_unsafe_durability: settings.allow_unsafe_durability,
            ..LedgerOptions::new(url)
        })?;
        Ok(Self { ledger, warns: settings.allow_unsafe_durability })
    }

    /// Which database this is.
    #[must_use]
    pub fn database(&self) -> &DatabaseUrl {
        self.ledger.url()
    }

    /// Makes what is missing, and names it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn migrate(&self, options: MigrateOptions) -> Result<Vec<String>, LedgerError> {
        if self.warns {
            warn_of_unsafe(&self.ledger).await?;
        }
        self.ledger.migrate(options).await
    }

    /// Every migration, and whether it was applied.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn migrations(&self) -> Result<Vec<MigrationState>, LedgerError> {
        self.ledger.migrations().await
    }

    /// Whether the tables are those that this version needs.
    ///
    /// # Errors
    /// [`LedgerError::Schema`] with what is wrong.
    pub async fn check(&self) -> Result<(), LedgerError> {
        self.ledger.check_schema().await
    }

    /// Removes everything that a migration made, with all that was recorded in it. Django's tables stay.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn remove(&self) -> Result<(), LedgerError> {
        self.ledger.remove_tables().await
    }
}
