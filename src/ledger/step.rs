//! The steps from nothing to the tables of this version, one folder of `migrations` each.

use std::fmt;

use diesel::migration::{self, Migration, MigrationMetadata, MigrationName, MigrationVersion};
use diesel::prelude::*;

use super::LedgerError;
use super::connection::AnyConnection;
use super::dialect;
use super::user_key::UserKeyType;

/// A step from one version of the tables to the next.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    up: &'static str,
    down: &'static str,
    /// What it puts on tables, also of others. It can be lost, and is then made again without the rest.
    pub(super) triggers: &'static str,
}

macro_rules! step {
    ($folder:literal, $name:literal) => {
        step!($folder, $name, "")
    };
    ($folder:literal, $name:literal, $triggers:expr) => {
        Step {
            name: $name,
            up: include_str!(concat!("../../migrations/", $folder, "/", $name, "/up.sql")),
            down: include_str!(concat!("../../migrations/", $folder, "/", $name, "/down.sql")),
            triggers: $triggers,
        }
    };
}

/// The steps, in their order. The first makes simplejwt's own two tables, and is left out where they are there.
macro_rules! steps {
    ($folder:literal) => {
        [
            step!($folder, "2026-11-21-000001_tokens"),
            step!($folder, "2026-11-21-000002_ledger"),
            step!(
                $folder,
                "2026-11-22-000003_revocation",
                include_str!(concat!("../../migrations/", $folder, "/2026-11-22-000003_revocation/triggers.sql"))
            ),
            step!($folder, "2026-11-30-000004_admin"),
        ]
    };
}

#[cfg(feature = "sqlite")]
const SQLITE: [Step; 4] = steps!("sqlite");
#[cfg(feature = "postgres")]
const POSTGRES: [Step; 4] = steps!("postgres");
#[cfg(feature = "mysql")]
const MYSQL: [Step; 4] = steps!("mysql");

/// What stands in `up.sql` for the type of `user_id`.
const USER_KEY: &str = "/*user key*/text/*user key*/";

/// The steps for this database.
pub(super) const fn steps(connection: &AnyConnection) -> &'static [Step] {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => &SQLITE,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => &POSTGRES,
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => &MYSQL,
    }
}

impl Step {
    /// What takes its tables away, where none of its triggers is there.
    pub(super) fn drop_tables(&self) -> Option<&'static str> {
        self.down.split_once("-- part tables\n").map(|(_, tables)| tables)
    }

    /// Those tables.
    pub(super) fn tables(&self) -> impl Iterator<Item = &'static str> {
        let lines = self.drop_tables().into_iter().flat_map(str::lines);
        lines.filter_map(|line| line.trim_end_matches(';').strip_prefix("DROP TABLE IF EXISTS "))
    }

    /// Diesel's version of a migration: its name up to the underscore, without hyphens.
    pub(super) fn number(&self) -> String {
        self.name.split('_').next().unwrap_or_default().replace('-', "")
    }
}

/// Whether a version is one of ours, of whatever release: the time of day in it is a running number.
pub(super) fn is_ours(version: &str) -> bool {
    version.len() == 14 && version.bytes().all(|byte| byte.is_ascii_digit()) && &version[8..12] == "0000"
}

/// A step with the type of user key filled in, for Diesel to run and to keep the book of.
pub(super) struct Script {
    step: &'static Step,
    /// The type of `user_id`.
    user_key: &'static str,
    in_transaction: bool,
}

impl Script {
    pub(super) fn new(connection: &mut AnyConnection, step: &'static Step, user_key: UserKeyType) -> QueryResult<Self> {
        let user_key = dialect::declared_type(connection, user_key)?;
        Ok(Self { step, user_key, in_transaction: dialect::migrates_in_transaction(connection) })
    }
}

type Backend = <AnyConnection as Connection>::Backend;

impl Migration<Backend> for Script {
    fn run(&self, connection: &mut dyn diesel::connection::BoxableConnection<Backend>) -> migration::Result<()> {
        // In one, as nothing at all is no statement.
        let all = format!("{}{}", self.step.up, self.step.triggers);
        Ok(connection.batch_execute(&all.replace(USER_KEY, self.user_key))?)
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

impl MigrationMetadata for Script {
    fn run_in_transaction(&self) -> bool {
        self.in_transaction
    }
}

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
pub(super) fn unboxed(error: Box<dyn std::error::Error + Send + Sync>) -> LedgerError {
    match error.downcast::<diesel::result::Error>() {
        Ok(error) => (*error).into(),
        Err(other) => LedgerError::Query(diesel::result::Error::QueryBuilderError(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: &[(&str, &[Step])] = &[
        #[cfg(feature = "sqlite")]
        ("sqlite", &SQLITE),
        #[cfg(feature = "postgres")]
        ("postgres", &POSTGRES),
        #[cfg(feature = "mysql")]
        ("mysql", &MYSQL),
    ];

    #[test]
    fn every_folder_of_migrations_is_a_step_and_the_user_key_is_found_in_one() {
        for (database, steps) in ALL {
            let folder = format!("{}/migrations/{database}", env!("CARGO_MANIFEST_DIR"));
            let names: BTreeSet<_> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            assert_eq!(names, steps.iter().map(|step| step.name.to_owned()).collect(), "{database}");
            assert_eq!(steps.iter().filter(|step| step.up.contains(USER_KEY)).count(), 1, "{database}");
        }
    }

    #[test]
    fn our_versions_are_told_from_those_of_an_application() {
        assert!(ALL.iter().flat_map(|(_, steps)| *steps).all(|step| is_ours(&step.number())));
        for other in ["20261121101112", "00000000000000_x", "initial", "2026112100000"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
