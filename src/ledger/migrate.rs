//! Making the tables, taking over Django's, and taking everything out again.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

use super::adopt::{OUTSTANDING, shared_tables};
use super::connection::AnyConnection;
use super::dialect::{self, Access, Work};
use super::error::SchemaError;
use super::log;
use super::schema::outstanding_tokens;
use super::shared::Shared;
use super::step::{Script, Step, is_ours, steps, unboxed};
use super::{Ledger, LedgerError, MIGRATING, UserKeyType};
use crate::chain::chain;

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

/// The index on `expires_at`, which the first step makes and Django does not.
const EXPIRES_AT_INDEX: &str = "simplejwt_outstandingtoken_expires_at";

/// One that has the tokens of a user in their order, where Django's own on `user_id` does not.
const USER_ID_INDEX: &str = "simplejwt_outstandingtoken_user_id";

/// Our own tables.
const TABLES: [&str; 12] = [
    "simplejwt_session",
    "simplejwt_token",
    "simplejwt_user",
    "simplejwt_event",
    "simplejwt_flush_run",
    "simplejwt_revocation",
    "simplejwt_revocation_state",
    "simplejwt_cutoff",
    "simplejwt_admin_session",
    "simplejwt_viewer",
    "simplejwt_hour",
    "simplejwt_census",
];

/// Of them and the shared ones, those that are read to tell whether a token is refused.
const READ: [&str; 8] = [
    "__diesel_schema_migrations",
    OUTSTANDING,
    "token_blacklist_blacklistedtoken",
    "simplejwt_session",
    "simplejwt_token",
    "simplejwt_revocation",
    "simplejwt_revocation_state",
    "simplejwt_cutoff",
];

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
        let versions: BTreeSet<_> = versions.into_iter().collect();
        let shared = !is_unfinished(connection, &versions)? && shared_tables(connection)??;
        Ok(Self { versions, shared })
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

/// Whether the first step was interrupted, where making a table cannot be taken back: what is there of the shared tables is ours, and
/// has to be made to its end. A wrong yes would hand Django's tables to whoever removes ours, so everything has to say so: our own index is
/// there, which is made with the table; no user is referred to, which Django always does; and there is no row, as nobody could write any.
fn is_unfinished(connection: &mut AnyConnection, versions: &BTreeSet<String>) -> QueryResult<bool> {
    if dialect::migrates_in_transaction(connection) || versions.iter().any(|version| is_ours(version)) {
        return Ok(false);
    }
    Ok(dialect::is_index_named(connection, OUTSTANDING, EXPIRES_AT_INDEX)?
        && dialect::references(connection, OUTSTANDING, "user_id")?.is_none()
        && dialect::columns(connection, TABLES[0])?.is_empty()
        && outstanding_tokens::table.select(outstanding_tokens::id).first::<i64>(connection).optional()?.is_none())
}

/// Whether nothing is left to be made. Reads only.
fn is_done(connection: &mut AnyConnection, options: MigrateOptions) -> Result<bool, LedgerError> {
    let left = pending(connection, options)?;
    let indexed = !options.with_index || lacking(connection)?.is_empty();
    Ok(left.is_empty() && indexed && log::faults(connection)?.is_empty())
}

/// The indexes that `--with-index` has to make, each with its columns.
fn lacking(connection: &mut AnyConnection) -> QueryResult<Vec<(&'static str, &'static str)>> {
    let mut lacking = Vec::new();
    if !dialect::has_index(connection, OUTSTANDING, "expires_at")? {
        lacking.push((EXPIRES_AT_INDEX, "expires_at, id"));
    }
    if !dialect::has_order(connection, OUTSTANDING, "user_id")? {
        lacking.push((USER_ID_INDEX, "user_id, id"));
    }
    Ok(lacking)
}

/// The steps that are left to be taken.
fn pending(connection: &mut AnyConnection, options: MigrateOptions) -> Result<Vec<&'static Step>, LedgerError> {
    let steps = steps(connection);
    let present = Present::of(connection)?;
    present.check(steps)?;
    if present.shared {
        let found = Shared::of(connection)?.user_key_type();
        if options.user_key.is_some_and(|wanted| wanted != found) {
            return Err(SchemaError::UserKey { found: found.as_str() }.into());
        }
    }
    let states = present.states(steps).into_iter().zip(steps);
    Ok(states.filter(|(state, _)| !state.applied).map(|(_, step)| step).collect())
}

fn migrate(connection: &mut AnyConnection, options: MigrateOptions) -> Result<Vec<String>, LedgerError> {
    let pending = pending(connection, options)?;
    let user_key = options.user_key.unwrap_or_default();
    let mut done = Vec::new();
    if !pending.is_empty() {
        dialect::make_book(connection)?;
    }
    for step in pending {
        let script = Script::new(connection, step, user_key)?;
        let is_new = !has_any_table(connection, step)?;
        if let Err(error) = connection.run_migration(&script) {
            if is_new {
                clean_up(connection, step);
            }
            return Err(unboxed(error));
        }
        done.push(step.name.to_owned());
    }
    // Triggers are lost where somebody else makes a table anew.
    done.extend(log::put_back(connection)?.into_iter().map(|fault| fault.name.to_owned()));
    let lacking = if options.with_index { lacking(connection)? } else { Vec::new() };
    for (index, columns) in lacking {
        connection.batch_execute(&format!("CREATE INDEX {index} ON {OUTSTANDING} ({columns})"))?;
        done.push(index.to_owned());
    }
    Ok(done)
}

/// Whether one of its tables is there before the step is taken: triggers may write into it that this user cannot see.
fn has_any_table(connection: &mut AnyConnection, step: &Step) -> QueryResult<bool> {
    for table in step.tables() {
        if dialect::has_table(connection, table)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where a table cannot be taken back, none is left of a step whose triggers were refused: whoever gives up then would have to
/// remove what was never taken.
fn clean_up(connection: &mut AnyConnection, step: &Step) {
    if let Some(tables) = step.drop_tables()
        && dialect::triggers(connection).is_ok_and(|found| found.is_empty())
    {
        drop(connection.batch_execute(tables));
    }
}

fn remove(connection: &mut AnyConnection) -> Result<(), LedgerError> {
    let steps = steps(connection);
    let present = Present::of(connection)?;
    // Before all else, as somebody may be in the way for longer than we wait: an index of ours without anything else of ours could
    // not be told from one that others made.
    if present.adopted(steps) {
        dialect::drop_index(connection, OUTSTANDING, EXPIRES_AT_INDEX)?;
        dialect::drop_index(connection, OUTSTANDING, USER_ID_INDEX)?;
    }
    for step in steps.iter().rev().filter(|step| present.has(step)) {
        let script = Script::new(connection, step, UserKeyType::default())?;
        connection.revert_migration(&script).map_err(unboxed)?;
    }
    // Whoever else keeps a book in it has lines there; Diesel makes it anew where it is missing.
    if !present.versions.is_empty() && present.versions.iter().all(|version| is_ours(version)) {
        connection.batch_execute("DROP TABLE __diesel_schema_migrations")?;
    }
    Ok(())
}

/// What is needed of the tables is there; of whoever only verifies, what is read.
fn check(connection: &mut AnyConnection, access: Access) -> Result<(), LedgerError> {
    if access == Access::ReadOnly {
        check_rights(connection)?;
    }
    match schema_state(connection)? {
        SchemaState::Empty | SchemaState::Django => return Err(SchemaError::Missing(TABLES.join(", ")).into()),
        SchemaState::Older => {
            let states = Present::of(connection)?.states(steps(connection));
            let names = states.iter().filter(|state| !state.applied).map(|state| state.name);
            return Err(SchemaError::Older(names.collect::<Vec<_>>().join(", ")).into());
        }
        SchemaState::Current => {}
    }
    let needed = |table: &&&str| access == Access::ReadWrite || READ.contains(*table);
    for table in TABLES.iter().filter(needed) {
        if dialect::columns(connection, table)?.is_empty() {
            return Err(SchemaError::Missing((*table).to_owned()).into());
        }
    }
    Ok(())
}

/// Whether everything may be read: what may not looks to some databases as if it were not there.
fn check_rights(connection: &mut AnyConnection) -> Result<(), LedgerError> {
    let name = |table: &str, read: QueryResult<()>| match read.map_err(LedgerError::from) {
        Err(LedgerError::Denied(_)) => Err(LedgerError::Denied(format!(
            "{table} cannot be read; GRANT SELECT ON {table} TO the user of the database URL"
        ))),
        // What is not there is found in the next look.
        _ => Ok(()),
    };
    for table in READ {
        name(table, connection.batch_execute(&format!("SELECT 1 FROM {table} WHERE 1 = 0")))?;
    }
    name("simplejwt_inbox", dialect::waiting(connection, i64::MAX, 1).map(drop))
}

/// What the making of triggers has changed about a connection stays so where it failed. The next one to whom it is lent must not have it.
fn mode_put_back(connection: &mut AnyConnection, error: LedgerError) -> LedgerError {
    match dialect::set_mode(connection) {
        Ok(()) => error,
        // Then it has to go, whatever came of the work.
        Err(setting) => {
            ::log::warn!("{}, and then {setting}", chain(&error));
            LedgerError::Lost
        }
    }
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
        // What is done needs no lock, and whoever holds one is in nobody's way.
        match self.run(move |connection| is_done(connection, options)).await {
            Ok(true) => return Ok(Vec::new()),
            // Tables of which only some are there may be just being made.
            Ok(false) | Err(LedgerError::Schema(_)) => {}
            Err(error) => return Err(error),
        }
        self.migrating(move |connection| migrate(connection, options)).await
    }

    /// The steps, and which of them this database has taken. Writes nothing.
    ///
    /// # Errors
    ///
    /// As [`migrate`](Self::migrate).
    pub async fn migrations(&self) -> Result<Vec<MigrationState>, LedgerError> {
        let read = |connection: &mut AnyConnection| Ok(Present::of(connection)?.states(steps(connection)));
        // Not while somebody makes them, who may have made only some so far.
        self.run(move |connection| dialect::alone(connection, Work::Migrate, read)).await
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
        self.migrating(remove).await
    }

    /// Makes or removes tables, however long that takes.
    pub(super) async fn migrating<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: Fn(&mut AnyConnection) -> Result<T, LedgerError> + Send + 'static,
    {
        self.altering(MIGRATING, work).await
    }

    /// Changes tables or what is on them: one process at a time, and all or nothing where the database can do that.
    pub(super) async fn altering<T, F>(&self, limit: Duration, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: Fn(&mut AnyConnection) -> Result<T, LedgerError> + Send + 'static,
    {
        let patience = self.pool.patience();
        let alone = move |connection: &mut AnyConnection| {
            dialect::alone(connection, Work::Migrate, |connection| {
                if dialect::migrates_in_transaction(connection) {
                    dialect::write(connection, patience, work)
                } else {
                    work(connection).map_err(|error| mode_put_back(connection, error))
                }
            })
        };
        self.pool.lend(true, limit, alone).await
    }

    /// Whether the tables are those that this version needs. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Schema`] with what is missing, older or newer.
    pub async fn check_schema(&self) -> Result<(), LedgerError> {
        let access = self.pool.access();
        self.run(move |connection| check(connection, access)).await
    }
}

#[cfg(test)]
impl Ledger {
    /// Takes a step back, and all that came after it, so that the database is one of the version before. Gives their names.
    pub(super) async fn undo_from(&self, first: &'static str) -> Vec<String> {
        let undo = move |connection: &mut AnyConnection| {
            let steps = steps(connection);
            let place = steps.iter().position(|step| step.name == first).expect("a step of that name");
            for step in steps[place..].iter().rev() {
                let script = Script::new(connection, step, UserKeyType::default())?;
                connection.revert_migration(&script).map_err(unboxed)?;
            }
            Ok(steps[place..].iter().map(|step| step.name.to_owned()).collect())
        };
        self.migrating(undo).await.unwrap()
    }
}
