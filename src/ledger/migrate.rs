//! Making the tables, taking over Django's, and taking everything out again.

use std::collections::BTreeSet;
use std::fmt;

use diesel::connection::SimpleConnection;
use diesel::migration::{self, Migration, MigrationConnection, MigrationMetadata, MigrationName, MigrationVersion};
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

use super::adopt::{OUTSTANDING, shared_tables};
use super::connection::AnyConnection;
use super::dialect::{self, UserColumn};
use super::error::SchemaError;
use super::{Ledger, LedgerError, UserKeyType};

/// How to migrate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MigrateOptions {
    /// The type of `user_id` in a new database: text, if nothing is said. Adopted tables keep theirs, and refuse another.
    pub user_key: Option<UserKeyType>,
    /// Add the index that makes flushing fast to adopted tables too.
    pub with_index: bool,
}

/// A step, and whether the database has taken it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationState {
    /// Its name.
    pub name: &'static str,
    /// Whether what it makes is there.
    pub applied: bool,
    /// Whether somebody else made it: the tables are Django's.
    pub adopted: bool,
}

/// How the tables of a database stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaState {
    /// None of the tables is there.
    Empty,
    /// simplejwt's own two are there, and none of ours: Django made them.
    Django,
    /// Steps are missing.
    Older,
    /// All is there.
    Current,
}

/// A step from one version of the tables to the next.
#[derive(Debug)]
struct Step {
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

macro_rules! step {
    ($folder:literal, $name:literal) => {
        Step {
            name: $name,
            up: include_str!(concat!("../../migrations/", $folder, "/", $name, "/up.sql")),
            down: include_str!(concat!("../../migrations/", $folder, "/", $name, "/down.sql")),
        }
    };
}

/// The steps, in their order. The first makes simplejwt's own two tables, and is left out where they are there.
const SQLITE: [Step; 2] = [step!("sqlite", "2026-11-21-000001_tokens"), step!("sqlite", "2026-11-21-000002_ledger")];

/// The index on `expires_at`, which the first step makes and Django does not.
const EXPIRES_AT_INDEX: &str = "simplejwt_outstandingtoken_expires_at";

/// What stands in `up.sql` for the type of `user_id`.
const USER_KEY: &str = "/*user key*/text/*user key*/";

/// Our own tables.
const TABLES: [&str; 5] =
    ["simplejwt_session", "simplejwt_token", "simplejwt_user", "simplejwt_event", "simplejwt_flush_run"];

fn steps(connection: &AnyConnection) -> &'static [Step] {
    match connection {
        AnyConnection::Sqlite(_) => &SQLITE,
    }
}

impl Step {
    /// Diesel's version of a migration: its name up to the underscore, without hyphens.
    fn number(&self) -> String {
        self.name.split('_').next().unwrap_or_default().replace('-', "")
    }
}

/// Whether a version is one of ours, of whatever release: the time of day in it is a running number.
fn is_ours(version: &str) -> bool {
    version.len() == 14 && version.bytes().all(|byte| byte.is_ascii_digit()) && &version[8..12] == "0000"
}

/// A step with the type of user key filled in, for Diesel to run and to keep the book of.
struct Script {
    step: &'static Step,
    user_key: UserKeyType,
}

type Backend = <AnyConnection as Connection>::Backend;

impl Migration<Backend> for Script {
    fn run(&self, connection: &mut dyn diesel::connection::BoxableConnection<Backend>) -> migration::Result<()> {
        Ok(connection.batch_execute(&self.step.up.replace(USER_KEY, dialect::declared_type(self.user_key)))?)
    }

    fn revert(&self, connection: &mut dyn diesel::connection::BoxableConnection<Backend>) -> migration::Result<()> {
        Ok(connection.batch_execute(self.step.down)?)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        self
    }
}

impl MigrationMetadata for Script {}

impl MigrationName for Script {
    fn version(&self) -> MigrationVersion<'_> {
        MigrationVersion::from(self.step.number())
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.step.name)
    }
}

/// Diesel says what went wrong with a migration in a box.
fn unboxed(error: Box<dyn std::error::Error + Send + Sync>) -> LedgerError {
    match error.downcast::<diesel::result::Error>() {
        Ok(error) => (*error).into(),
        Err(other) => LedgerError::Query(diesel::result::Error::QueryBuilderError(other)),
    }
}

diesel::table! {
    /// Diesel's own book, which an application may share with us.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

/// What the database has, as against what this program needs.
#[derive(Debug)]
struct Present {
    versions: BTreeSet<String>,
    /// simplejwt's two tables are there.
    shared: bool,
}

impl Present {
    /// Reads only, so that it can be asked of a database that cannot be written.
    fn of(connection: &mut AnyConnection) -> Result<Self, LedgerError> {
        let book = !dialect::columns(connection, "__diesel_schema_migrations")?.is_empty();
        let versions: Vec<String> = if book {
            __diesel_schema_migrations::table.select(__diesel_schema_migrations::version).load(connection)?
        } else {
            Vec::new()
        };
        Ok(Self { versions: versions.into_iter().collect(), shared: shared_tables(connection)?? })
    }

    fn has(&self, step: &Step) -> bool {
        self.versions.contains(&step.number())
    }

    /// The tables of the first step are there, though it was not taken.
    fn adopted(&self, steps: &[Step]) -> bool {
        self.shared && steps.first().is_some_and(|first| !self.has(first))
    }

    fn states(&self, steps: &'static [Step]) -> Vec<MigrationState> {
        let state = |(place, step): (usize, &'static Step)| {
            let adopted = place == 0 && self.adopted(steps);
            MigrationState { name: step.name, applied: adopted || self.has(step), adopted }
        };
        steps.iter().enumerate().map(state).collect()
    }

    /// What stands in the way of going on from here.
    fn check(&self, steps: &[Step]) -> Result<(), SchemaError> {
        let known = |version: &String| steps.iter().any(|step| step.number() == **version);
        if let Some(newer) = self.versions.iter().find(|version| is_ours(version) && !known(version)) {
            return Err(SchemaError::Newer(newer.clone()));
        }
        match steps.first() {
            Some(first) if self.has(first) && !self.shared => Err(SchemaError::Missing(OUTSTANDING.to_owned())),
            _ => Ok(()),
        }
    }
}

fn migrate(connection: &mut AnyConnection, options: MigrateOptions) -> Result<Vec<String>, LedgerError> {
    let steps = steps(connection);
    let present = Present::of(connection)?;
    present.check(steps)?;
    if present.shared {
        let found = UserColumn::of(connection)?.kind;
        if options.user_key.is_some_and(|wanted| wanted != found) {
            return Err(SchemaError::UserKey { found: found.as_str() }.into());
        }
    }
    let user_key = options.user_key.unwrap_or_default();
    let pending: Vec<_> = present.states(steps).into_iter().zip(steps).filter(|(state, _)| !state.applied).collect();
    let mut done = Vec::new();
    if !pending.is_empty() {
        connection.setup()?;
    }
    for (state, step) in pending {
        connection.run_migration(&Script { step, user_key }).map_err(unboxed)?;
        done.push(state.name.to_owned());
    }
    if options.with_index && !dialect::has_index(connection, OUTSTANDING, "expires_at")? {
        connection.batch_execute(&format!("CREATE INDEX {EXPIRES_AT_INDEX} ON {OUTSTANDING} (expires_at)"))?;
        done.push(EXPIRES_AT_INDEX.to_owned());
    }
    Ok(done)
}

fn remove(connection: &mut AnyConnection) -> Result<(), LedgerError> {
    let steps = steps(connection);
    let present = Present::of(connection)?;
    for step in steps.iter().rev().filter(|step| present.has(step)) {
        connection.revert_migration(&Script { step, user_key: UserKeyType::default() }).map_err(unboxed)?;
    }
    if present.adopted(steps) {
        connection.batch_execute(&format!("DROP INDEX IF EXISTS {EXPIRES_AT_INDEX}"))?;
    }
    // Whoever else keeps a book in it has lines there; Diesel makes it anew where it is missing.
    if !present.versions.is_empty() && present.versions.iter().all(|version| is_ours(version)) {
        connection.batch_execute("DROP TABLE __diesel_schema_migrations")?;
    }
    Ok(())
}

fn check(connection: &mut AnyConnection) -> Result<(), LedgerError> {
    match schema_state(connection)? {
        SchemaState::Empty | SchemaState::Django => return Err(SchemaError::Missing(TABLES.join(", ")).into()),
        SchemaState::Older => {
            let states = Present::of(connection)?.states(steps(connection));
            let names = states.iter().filter(|state| !state.applied).map(|state| state.name);
            return Err(SchemaError::Older(names.collect::<Vec<_>>().join(", ")).into());
        }
        SchemaState::Current => {}
    }
    for table in TABLES {
        if dialect::columns(connection, table)?.is_empty() {
            return Err(SchemaError::Missing(table.to_owned()).into());
        }
    }
    Ok(())
}

fn schema_state(connection: &mut AnyConnection) -> Result<SchemaState, LedgerError> {
    let steps = steps(connection);
    let present = Present::of(connection)?;
    present.check(steps)?;
    let taken = steps.iter().filter(|step| present.has(step)).count();
    let missing = present.states(steps).iter().any(|state| !state.applied);
    Ok(match (taken, present.shared) {
        _ if !missing => SchemaState::Current,
        (0, true) => SchemaState::Django,
        (0, false) => SchemaState::Empty,
        _ => SchemaState::Older,
    })
}

impl Ledger {
    /// Makes the tables, or those that are missing, and takes over Django's where they are there. Returns the names of
    /// what was made. Running it twice is safe, also from two processes at once.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Schema`] if the tables are too old, too new or not simplejwt's; otherwise when the database does
    /// not answer.
    pub async fn migrate(&self, options: MigrateOptions) -> Result<Vec<String>, LedgerError> {
        self.write_long(move |connection| migrate(connection, options)).await
    }

    /// The steps, and which of them this database has taken. Writes nothing.
    ///
    /// # Errors
    ///
    /// As [`migrate`](Self::migrate).
    pub async fn migrations(&self) -> Result<Vec<MigrationState>, LedgerError> {
        self.run(|connection| Ok(Present::of(connection)?.states(steps(connection)))).await
    }

    /// How the tables stand. Writes nothing.
    ///
    /// # Errors
    ///
    /// As [`migrate`](Self::migrate).
    pub async fn schema_state(&self) -> Result<SchemaState, LedgerError> {
        self.run(schema_state).await
    }

    /// Takes out everything that [`migrate`](Self::migrate) put in. Django's tables stay, unless they are ours.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn remove_tables(&self) -> Result<(), LedgerError> {
        self.write_long(remove).await
    }

    /// Whether the tables are those that this version needs. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Schema`] with what is missing, older or newer.
    pub async fn check_schema(&self) -> Result<(), LedgerError> {
        self.run(check).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_of_migrations_is_a_step_and_the_user_key_is_found_in_one() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
        let names: BTreeSet<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(names, SQLITE.iter().map(|step| step.name.to_owned()).collect());
        assert_eq!(SQLITE.iter().filter(|step| step.up.contains(USER_KEY)).count(), 1);
    }

    #[test]
    fn our_versions_are_told_from_those_of_an_application() {
        assert!(SQLITE.iter().all(|step| is_ours(&step.number())));
        for other in ["20261121101112", "00000000000000_x", "initial", "2026112100000"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
