//! A Rocket application of ours, in this process but on a real port.

use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rocket::error::ErrorKind;
use rocket::fairing::AdHoc;
use rocket::figment::Figment;
use rocket::figment::providers::{Format as _, Toml};
use rocket::futures::future::BoxFuture;
use rocket::{Build, Rocket, Shutdown};
use tempfile::TempDir;

use super::client::Client;
use super::database::{Database, TestDatabase};
use super::mint::KEY;

/// A running application, shut down when this is dropped.
pub(crate) struct App {
    database: Arc<TestDatabase>,
    _directory: Option<TempDir>,
    port: u16,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl App {
    /// Launches what `build` makes of an empty application whose configuration has our key, a fresh database and
    /// `settings`: lines of TOML for `[default.simplejwt]`.
    pub(crate) fn launch(settings: &str, build: impl FnOnce(Rocket<Build>) -> Rocket<Build> + Send + 'static) -> Self {
        Self::launch_async(settings, |rocket| Box::pin(async { build(rocket) }))
    }

    /// The same for an application that takes some waiting to put together.
    pub(crate) fn launch_async(
        settings: &str,
        build: impl FnOnce(Rocket<Build>) -> BoxFuture<'static, Rocket<Build>> + Send + 'static,
    ) -> Self {
        let directory = tempfile::Builder::new().prefix("simplejwt-app-").tempdir().expect("a temporary directory");
        let database = Arc::new(TestDatabase::new(directory.path()));
        let figment = configuration(&database, settings);
        Self::start(figment, database, Some(directory), build)
    }

    /// Launches an application with these settings, the URL among them, on a database that somebody else has.
    pub(crate) fn beside(
        database: Arc<TestDatabase>,
        settings: &str,
        build: impl FnOnce(Rocket<Build>) -> Rocket<Build> + Send + 'static,
    ) -> Self {
        let figment = Figment::from(rocket::Config::default()).merge(Toml::string(&toml(settings)).nested());
        Self::start(figment, database, None, |rocket| Box::pin(async { build(rocket) }))
    }

    fn start(
        figment: Figment,
        database: Arc<TestDatabase>,
        directory: Option<TempDir>,
        build: impl FnOnce(Rocket<Build>) -> BoxFuture<'static, Rocket<Build>> + Send + 'static,
    ) -> Self {
        let (announce, announced) = mpsc::channel();
        let thread = thread::spawn(move || {
            let liftoff = AdHoc::on_liftoff("announce", move |rocket| {
                Box::pin(async move {
                    announce.send((rocket.config().port, rocket.shutdown())).expect("the test waits");
                })
            });
            let launched = async { build(rocket::custom(figment)).await.attach(liftoff).launch().await };
            if let Err(error) = rocket::execute(launched)
                // Connections that were still open when it was told to end are no fault.
                && !matches!(error.kind(), ErrorKind::Shutdown(..))
            {
                panic!("the application does not launch: {error}");
            }
        });
        let (port, shutdown) = announced.recv_timeout(Duration::from_secs(20)).expect("an application that launches");
        Self { database, _directory: directory, port, shutdown, thread: Some(thread) }
    }

    /// A client for its port.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// A connection of our own to its database.
    pub(crate) fn database(&self) -> Database {
        Database::open(&self.database)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shutdown.clone().notify();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            // A second panic while a test fails would hide the first.
            assert!(ended.is_ok() || thread::panicking(), "the application panicked");
        }
    }
}

/// What an application with this database would read from its `Rocket.toml`.
pub(crate) fn configuration(database: &TestDatabase, settings: &str) -> Figment {
    let key = str::from_utf8(KEY).expect("an ASCII key");
    // A machine that is busy with all the other tests makes nobody's answer a 503.
    let bound = if settings.contains("staleness_bound") { "" } else { "staleness_bound = \"30s\"\n" };
    let toml = toml(&format!("database_url = {:?}\nsigning_key = {key:?}\n{bound}{settings}", database.url()));
    Figment::from(rocket::Config::default()).merge(Toml::string(&toml).nested())
}

/// A `Rocket.toml` with these lines for `[default.simplejwt]`.
fn toml(settings: &str) -> String {
    format!(
        "[default]\nport = 0\naddress = \"127.0.0.1\"\nworkers = 2\nlog_level = \"off\"\n\
         [default.shutdown]\nctrlc = false\nsignals = []\ngrace = 1\nmercy = 1\n\
         [default.simplejwt]\n{settings}\n"
    )
}
