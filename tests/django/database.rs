//! Databases of the tests: a file each, or one of a server whose URL is in the environment.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::django::{self, Users};
use crate::support::server::run;
use crate::support::unique;

/// A database of its own, gone when this is dropped.
pub(crate) struct Database {
    url: String,
    /// Where it lies if it is a file.
    _directory: Option<TempDir>,
}

/// A database in which Django has made its tables, to be copied.
enum Template {
    /// What the file holds.
    File(Vec<u8>),
    /// Its URL. It stays on the server, which is one for tests.
    Database(String),
}

/// Those of this run. The lock is held while one is made or copied.
static TEMPLATES: Mutex<Vec<(Users, Template)>> = Mutex::new(Vec::new());

impl Template {
    fn make(users: Users) -> Self {
        match server() {
            Some(server) => {
                let url = format!("{server}/django_{}_{}", users.as_str(), std::process::id());
                databases(&["create", &url]);
                make_tables(&url, users);
                Self::Database(url)
            }
            None => {
                let database = Database::file();
                make_tables(&database.url, users);
                Self::File(std::fs::read(database.path()).expect("a database"))
            }
        }
    }
}

impl Database {
    /// One without any table.
    pub(crate) fn empty() -> Self {
        match server() {
            Some(server) => {
                let url = format!("{server}/{}", unique("django").replace('-', "_"));
                databases(&["create", &url]);
                Self { url, _directory: None }
            }
            None => Self::file(),
        }
    }

    /// One in which Django has made all its tables.
    pub(crate) fn migrated(users: Users) -> Self {
        let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
        if templates.iter().all(|(known, _)| *known != users) {
            templates.push((users, Template::make(users)));
        }
        let (_, template) = templates.iter().find(|(known, _)| *known == users).expect("a template");
        match template {
            Template::File(bytes) => {
                let database = Self::file();
                std::fs::write(database.path(), bytes).expect("write the database");
                database
            }
            Template::Database(template) => {
                let url = format!("{template}_{}", uuid::Uuid::new_v4().simple());
                databases(&["create", &url, template]);
                Self { url, _directory: None }
            }
        }
    }

    /// As both programs take it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn file() -> Self {
        let directory = tempfile::Builder::new().prefix("simplejwt-django-").tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}", directory.path().join("db.sqlite3").display());
        Self { url, _directory: Some(directory) }
    }

    fn path(&self) -> &Path {
        Path::new(self.url.strip_prefix("sqlite://").expect("the URL of a file"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if server().is_some() {
            databases(&["drop", &self.url]);
        }
    }
}

/// The server on which to make databases, without a slash at its end; none for SQLite.
fn server() -> Option<String> {
    let url = std::env::var("TEST_DJANGO_DATABASE_URL").ok().filter(|url| !url.is_empty())?;
    Some(url.trim_end_matches('/').to_owned())
}

fn make_tables(url: &str, users: Users) {
    let mut command = django::python();
    command.args(["manage.py", "migrate", "--verbosity", "0"]).env("DJANGO_DATABASE_URL", url);
    let output = run(django::with_users(command, users), "");
    assert!(output.success(), "Django's tables: {output:?}");
}

fn databases(arguments: &[&str]) {
    let mut command = django::python();
    command.arg("databases.py").args(arguments);
    let output = run(command, "");
    assert!(output.success(), "{arguments:?}: {output:?}");
}
