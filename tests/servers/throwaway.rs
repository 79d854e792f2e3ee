//! A database server of a test's own, which the test may hurt.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::database::{Database, Kind, TestDatabase};
use crate::support::server::{Output, PASSWORD, Server};

/// A server that `scripts/throwaway` started. It goes with this.
pub(crate) struct Throwaway {
    pub(crate) kind: Kind,
    pub(crate) directory: PathBuf,
    pub(crate) port: u16,
    pub(crate) password: String,
    script: Child,
    lifeline: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    pid: u32,
}

/// The user of its URL.
const USER: &str = "simplejwt";

impl Throwaway {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::with(kind, &[])
    }

    /// One with options of the script.
    pub(crate) fn with(kind: Kind, options: &[&str]) -> Self {
        Self::start(kind, options, None)
    }

    /// One whose files are in a directory of the test's.
    pub(crate) fn in_directory(kind: Kind, directory: &Path) -> Self {
        Self::start(kind, &["--on-disk"], Some(directory))
    }

    fn start(kind: Kind, options: &[&str], directory: Option<&Path>) -> Self {
        let name = if kind == Kind::Postgres { "postgres" } else { "mariadb" };
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/throwaway"));
        command.arg(name).args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(directory) = directory {
            command.env("TMPDIR", directory);
        }
        let mut script = command.spawn().expect("start scripts/throwaway");
        let lifeline = script.stdin.take();
        let mut lines = BufReader::new(script.stdout.take().expect("a piped output"));
        let mut next = || line(&mut lines);
        let (url, directory, pid) = (next(), next(), next());
        let (_, place) = url.split_once("://").expect("a URL");
        let (user, address) = place.rsplit_once('@').expect("a user");
        // PostgreSQL asks for none here, and so takes any.
        let password = user.split_once(':').map_or_else(|| "pw-of-postgres-s3cr3t".to_owned(), |(_, it)| it.to_owned());
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        let pid = pid.parse().expect("a number");
        Self { kind, directory: directory.into(), port, password, script, lifeline, lines, pid }
    }

    /// The URL of a database, or without a name that of the server, through whichever port leads to it.
    pub(crate) fn url(&self, port: u16, user: &str, name: &str) -> String {
        let scheme = if self.kind == Kind::Postgres { "postgres" } else { "mysql" };
        format!("{scheme}://{user}:{}@127.0.0.1:{port}/{name}", self.password)
    }

    /// A fresh database on it.
    pub(crate) fn database(&self) -> TestDatabase {
        TestDatabase::on(&self.url(self.port, USER, ""))
    }

    /// The processes of the server, its own first.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &self.pid.to_string()]).output();
        let children = String::from_utf8(children.expect("run ps").stdout).expect("numbers");
        std::iter::once(self.pid).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    /// Stops every process of the server, without ending any.
    pub(crate) fn freeze(&self) {
        self.processes().into_iter().for_each(|pid| signal(pid, "STOP"));
        // What was on its way to being born is stopped with its parent at the latest.
        self.processes().into_iter().for_each(|pid| signal(pid, "STOP"));
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        self.processes().into_iter().for_each(|pid| signal(pid, "CONT"));
    }

    /// Kills the server as a power failure would, and starts it again.
    pub(crate) fn kill_and_restart(&mut self) {
        signal(self.script.id(), "USR1");
        self.pid = line(&mut self.lines).parse().expect("a number");
    }

    /// Kills it, makes a backup, and starts it again. The second time, what is in the backup is put back.
    pub(crate) fn back_up_or_restore(&mut self) {
        signal(self.script.id(), "USR2");
        self.pid = line(&mut self.lines).parse().expect("a number");
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.kind == Kind::Postgres
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        self.thaw();
        drop(self.lifeline.take());
        drop(self.script.wait());
    }
}

fn line(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("read from scripts/throwaway");
    assert!(!line.is_empty(), "scripts/throwaway ended; what it wrote says why");
    line.trim_end().to_owned()
}

/// Sends a signal to one process. It may have ended meanwhile.
pub(crate) fn signal(pid: u32, name: &str) {
    drop(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status());
}

/// A server of ours and the database server that it uses. What it says must not have a password in it.
pub(crate) struct Site {
    pub(crate) server: Server,
    started: bool,
    pub(crate) host: Throwaway,
}

impl Site {
    /// A database server and an empty database. Nothing of ours runs yet.
    pub(crate) fn new(kind: Kind) -> Self {
        Self::on(Throwaway::new(kind))
    }

    pub(crate) fn on(host: Throwaway) -> Self {
        // What is in memory would answer where the database does not: that has tests of its own, in `memory`.
        let server =
            Server::of(|_| host.database()).set("blacklist", r#""database""#).set("staleness_bound", r#""1s""#);
        Self { server, started: false, host }
    }

    /// One that serves, and knows `ada`.
    pub(crate) fn with_ada(kind: Kind) -> Self {
        Self::new(kind).started()
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.server.change(name, value);
        self
    }

    pub(crate) fn started(mut self) -> Self {
        self.server.restart();
        self.started = true;
        self.server.add_user("ada", PASSWORD);
        self
    }

    /// Asks our server to end, and waits until it did.
    pub(crate) fn terminate(&mut self) {
        self.assert_silent(&self.server.log());
        self.started = false;
        self.server.terminate();
    }

    /// A connection of somebody else.
    pub(crate) fn database(&self) -> Database {
        self.server.database()
    }

    /// The name of the database.
    pub(crate) fn name(&self) -> String {
        self.server.test_database().url().rsplit('/').next().expect("a name").to_owned()
    }

    /// The same database through another port, or for another user.
    pub(crate) fn url(&self, port: u16, user: &str) -> String {
        self.host.url(port, user, &self.name())
    }

    /// Makes a user who may do nothing but work on the tables, as an application should be, and gives its URL.
    pub(crate) fn application(&self) -> String {
        let (name, password) = (self.name(), &self.host.password);
        let mut database = self.database();
        if self.host.is_postgres() {
            database.execute("CREATE ROLE app LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO app");
            database.execute("GRANT ALL ON SCHEMA public TO app; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app");
        } else {
            for host in ["%", "localhost"] {
                database.execute(&format!("CREATE USER app@'{host}' IDENTIFIED BY '{password}'"));
                database.execute(&format!("GRANT ALL ON {name}.* TO app@'{host}'"));
            }
        }
        self.url(self.host.port, "app")
    }

    /// Runs a command, and fails if it says the password.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        let output = self.server.cli(arguments);
        self.assert_silent(&output.stdout);
        self.assert_silent(&output.stderr);
        output
    }

    /// Runs a command on another URL.
    pub(crate) fn cli_at(&self, url: &str, arguments: &[&str]) -> Output {
        self.cli(&[&["--database-url", url], arguments].concat())
    }

    #[track_caller]
    pub(crate) fn assert_silent(&self, text: &str) {
        assert!(!text.contains(&self.host.password), "a password: {text}");
    }

    /// Sets a setting of the whole server.
    pub(crate) fn set_global(&self, name: &str, value: &str) {
        set_global(&mut self.database(), self.host.kind, name, value);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A second panic while a test fails would hide the first.
        if self.started && !thread::panicking() {
            self.assert_silent(&self.server.log());
        }
    }
}

/// Sets a setting of the whole server, in SQL that may hold quotes.
pub(crate) fn set_global(database: &mut Database, kind: Kind, name: &str, value: &str) {
    if kind == Kind::Postgres {
        database.execute(&format!("ALTER SYSTEM SET {name} = {value}"));
        database.execute("SELECT pg_reload_conf()");
        // It takes a moment until every session has heard of it; this one is one of them.
        let wanted = value.trim_matches('\'').to_owned();
        eventually(Duration::from_secs(5), || {
            database.value(&format!("SELECT current_setting('{name}')")).as_deref() == Some(&wanted)
        });
    } else {
        database.execute(&format!("SET GLOBAL {name} = {value}"));
    }
}

/// Waits until something is so, and says how long that took.
#[track_caller]
pub(crate) fn eventually(limit: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}
