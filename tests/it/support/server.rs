//! One `simplejwt serve` process with its own directory, settings and database.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::client::Client;
use super::database::{Database, Kind, TestDatabase};
use super::mint::KEY;

const BINARY: &str = env!("CARGO_BIN_EXE_simplejwt");
/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(20);
/// How long a command may run.
const COMMAND: Duration = Duration::from_secs(60);

/// Settings, a database and, once started, a server process. The process is killed when this is dropped.
///
/// ```ignore
/// let server = Server::new().set("access_token_lifetime", "\"1m\"").start();
/// server.add_user("ada", "password");
/// let reply = server.client().post_json("/api/token/", &json!({"username": "ada", "password": "password"}));
/// ```
pub(crate) struct Server {
    files: Arc<Files>,
    settings: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    unprivileged: bool,
    /// What `serve` is told beside the port.
    options: Vec<String>,
    process: Option<Process>,
}

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

/// The password of `ada` and of every copy of her.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// What a login gives.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// A directory and a database of its own, gone with the last server that uses them.
struct Files {
    directory: TempDir,
    database: Arc<TestDatabase>,
}

impl Server {
    /// A fresh directory with nothing but `Rocket.toml` in it, and an empty database. Nothing runs yet; [`cli`](Self::cli) works already.
    pub(crate) fn new() -> Self {
        Self::of(TestDatabase::new)
    }

    /// The same with the database that `database` makes; it is told the directory.
    pub(crate) fn of(database: impl FnOnce(&Path) -> TestDatabase) -> Self {
        let directory = tempfile::Builder::new().prefix("simplejwt-test-").tempdir().expect("a temporary directory");
        let database = Arc::new(database(directory.path()));
        Self::in_directory(directory, database)
    }

    /// Another service on the database of this one, with a directory and settings of its own, which reads it as `url` says and is
    /// told these options.
    pub(crate) fn beside(&self, url: &str, options: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("simplejwt-test-").tempdir().expect("a temporary directory");
        let mut server = Self::in_directory(directory, Arc::clone(&self.files.database));
        server.change("database_url", &format!("{url:?}"));
        server.options = options.iter().map(|&option| option.to_owned()).collect();
        server
    }

    fn in_directory(directory: TempDir, database: Arc<TestDatabase>) -> Self {
        let settings = vec![
            ("signing_key".to_owned(), format!("{:?}", str::from_utf8(KEY).expect("an ASCII key"))),
            ("database_url".to_owned(), format!("{:?}", database.url())),
            // A machine that is busy with all the other tests makes nobody's answer a 503.
            ("staleness_bound".to_owned(), "\"30s\"".to_owned()),
        ];
        let files = Arc::new(Files { directory, database });
        let (variables, options) = (Vec::new(), Vec::new());
        let server = Self { files, settings, variables, unprivileged: false, options, process: None };
        server.write_settings();
        server
    }

    /// Sets `name` in `[default.simplejwt]`; `value` is TOML text, so that a string needs its quotes.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.change(name, value);
        self
    }

    /// Takes a setting out again, one of the defaults (`signing_key`, `database_url`) too.
    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.write_settings();
        self
    }

    /// Sets an environment variable for the server and for every command.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts `serve` on a free port and waits until it listens.
    pub(crate) fn start(mut self) -> Self {
        self.process = Some(self.spawn());
        self
    }

    /// A second process with the same settings on the same database.
    pub(crate) fn sibling(&self) -> Self {
        let process = Some(self.spawn());
        let (settings, variables, options) = (self.settings.clone(), self.variables.clone(), self.options.clone());
        Self { files: Arc::clone(&self.files), settings, variables, unprivileged: self.unprivileged, options, process }
    }

    /// Makes the directory and everything in it read-only, or writable again, for a server that is no superuser's. It
    /// takes effect with the next start, and where the tests run as root the server runs as nobody from then on.
    pub(crate) fn set_read_only(&mut self, read_only: bool) {
        let chmod = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("change the mode");
        };
        self.unprivileged = std::fs::metadata(self.directory()).expect("the directory").uid() == 0;
        // While the directory is read-only only its owner's files matter, so both orders do.
        for entry in std::fs::read_dir(self.directory()).expect("the directory") {
            chmod(&entry.expect("an entry").path(), if read_only { 0o444 } else { 0o666 });
        }
        chmod(self.directory(), if read_only { 0o555 } else { 0o777 });
    }

    /// Changes a setting for the next start and for every later command.
    pub(crate) fn change(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self.write_settings();
    }

    /// The port that the server listens on.
    pub(crate) fn port(&self) -> u16 {
        self.process.as_ref().expect("a server that was started").port
    }

    /// The operating system's number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("a server that was started").child.id()
    }

    /// A client for the port.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.port())
    }

    /// The directory of `Rocket.toml` and of the database.
    pub(crate) fn directory(&self) -> &Path {
        self.files.directory.path()
    }

    /// The settings file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory().join("Rocket.toml")
    }

    /// The database file, of SQLite. It is there once something created it.
    pub(crate) fn database_path(&self) -> PathBuf {
        self.files.database.path()
    }

    /// The database, to be shared with somebody else.
    pub(crate) fn shared_database(&self) -> Arc<TestDatabase> {
        Arc::clone(&self.files.database)
    }

    /// The database, which is shown as the program does it.
    pub(crate) fn test_database(&self) -> &TestDatabase {
        &self.files.database
    }

    /// Whether somebody made the database: the file, or tables in what is there from the beginning.
    pub(crate) fn has_database(&self) -> bool {
        match self.files.database.kind() {
            Kind::Sqlite => self.database_path().exists(),
            Kind::Postgres | Kind::Mysql => !self.files.database.connect().tables().is_empty(),
        }
    }

    /// A connection of our own to the database.
    pub(crate) fn database(&self) -> Database {
        Database::open(&self.files.database)
    }

    /// What the server wrote to both its outputs so far.
    pub(crate) fn log(&self) -> String {
        let log = &self.process.as_ref().expect("a server that was started").log;
        log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the server knows what was committed until now, by whomever.
    pub(crate) fn settle(&self) {
        // Whoever changes how the log is followed says itself what to wait for.
        let otherwise = |(name, value): &(String, String)| match name.as_str() {
            "blacklist" => value != "\"cached\"",
            name => name == "poll_interval",
        };
        if self.settings.iter().any(otherwise) {
            return;
        }
        let begun = Instant::now();
        loop {
            let asked = begun.elapsed().as_millis();
            let state = self.client().get("/health/ready", None).json();
            // What it knows is of a moment after this began.
            match state["blacklist"]["lag_ms"].as_u64() {
                Some(lag) if u128::from(lag) >= asked => {}
                _ => return,
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the server does not follow the log: {state}\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs a command with the server's settings and nothing on its input. What it did is known to the server when this returns.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_stdin(arguments, "")
    }

    /// Runs a command with the server's settings and `input` on its input.
    pub(crate) fn cli_stdin(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command();
        command.args(arguments);
        let output = run(command, input);
        if self.process.is_some() && matches!(arguments, ["blacklist" | "unblacklist" | "users", ..]) {
            self.settle();
        }
        output
    }

    /// The binary with `--config`, the directory and a clean environment, for whoever wants to add to it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.current_dir(self.directory()).arg("--config").arg(self.config());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("ROCKET_") || text.starts_with("SIMPLEJWT_") || text == "DATABASE_URL" {
                command.env_remove(&name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Adds a user through the command line.
    pub(crate) fn add_user(&self, name: &str, password: &str) {
        let output = self.cli_stdin(&["users", "add", name], &format!("{password}\n"));
        assert!(output.success(), "users add {name}: {output:?}");
    }

    /// A server that runs with the default settings and has one user, `ada`, with [`PASSWORD`].
    pub(crate) fn with_ada() -> Self {
        Self::new().start_with_ada()
    }

    /// Starts with the settings so far and adds `ada`.
    pub(crate) fn start_with_ada(self) -> Self {
        let server = self.start();
        server.add_user("ada", PASSWORD);
        server
    }

    /// Adds a user whom no other test knows, with `ada`'s password, and returns the name. Cheap: the hash is copied.
    pub(crate) fn another_user(&self) -> String {
        let name = super::unique("user");
        let added = self.database().execute(&format!(
            "INSERT INTO simplejwt_user (username, password, is_active, is_staff, created_at, password_changed_at) \
             SELECT '{name}', password, is_active, is_staff, created_at, password_changed_at \
             FROM simplejwt_user WHERE username = 'ada'"
        ));
        assert_eq!(added, 1, "a copy of ada");
        name
    }

    /// Logs a user in whose password is [`PASSWORD`].
    pub(crate) fn login(&self, name: &str) -> Pair {
        let reply = self.client().post_json("/api/token/", &json!({"username": name, "password": PASSWORD}));
        assert_eq!(reply.status, 200, "login of {name}: {reply:?}");
        Pair { access: reply.string("access"), refresh: reply.string("refresh") }
    }

    /// The id of a user of the built-in table.
    pub(crate) fn user_id(&self, name: &str) -> String {
        let found = self.database().strings(&format!("SELECT id FROM simplejwt_user WHERE username = '{name}'"));
        assert_eq!(found.len(), 1, "one user called {name}");
        found.into_iter().next().expect("one row")
    }

    /// Kills the process as a power failure would.
    pub(crate) fn kill9(&mut self) {
        drop(self.process.take());
    }

    /// Asks the process to end (SIGTERM) and waits until it did.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a server that was started");
        let sent = Command::new("kill").args(["-TERM", &process.child.id().to_string()]).status().expect("run kill");
        assert!(sent.success(), "could not signal the server");
        wait(&mut process.child, START).expect("a server that ends within 20 seconds of SIGTERM")
    }

    /// Kills the process if it still runs, and starts another with the settings of now.
    pub(crate) fn restart(&mut self) {
        self.kill9();
        self.process = Some(self.spawn());
    }

    fn spawn(&self) -> Process {
        let mut command = self.command();
        command.args(["serve", "--port", "0"]).args(&self.options);
        if self.unprivileged {
            command.uid(NOBODY);
        }
        Process::start(command, self.directory())
    }

    fn write_settings(&self) {
        let mut toml = "[default]\nlog_level = \"normal\"\n\n[default.simplejwt]\n".to_owned();
        for (name, value) in &self.settings {
            writeln!(toml, "{name} = {value}").expect("writing to a string");
        }
        std::fs::write(self.config(), toml).expect("write Rocket.toml");
    }
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Whether it ended with 0.
    pub(crate) fn success(&self) -> bool {
        self.status.success()
    }

    /// Its exit code; fails if a signal ended it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Its standard output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// Runs a command to its end with `input` on its input. Fails if that takes longer than a minute.
pub(crate) fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start the command");
    let mut stdin = child.stdin.take().expect("a piped input");
    let input = input.to_owned();
    // A command that does not read its input is no fault, so a broken pipe is none either.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let stdout = collect(child.stdout.take().expect("a piped output"));
    let stderr = collect(child.stderr.take().expect("a piped output"));
    let Some(status) = wait(&mut child, COMMAND) else {
        child.kill().expect("kill the command");
        panic!("a command did not end within a minute: {command:?}");
    };
    writer.join().expect("the writing thread");
    Output { status, stdout: stdout.join().expect("the reader"), stderr: stderr.join().expect("the reader") }
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("read an output");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("ask for the status") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

struct Process {
    child: Child,
    watchdog: Child,
    port: u16,
    log: Arc<Mutex<String>>,
}

impl Process {
    fn start(mut command: Command, directory: &Path) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the server");
        let watchdog = watchdog(&child, directory);
        let log = Arc::new(Mutex::new(String::new()));
        let (announce, announced) = mpsc::channel();
        follow(child.stdout.take().expect("a piped output"), Arc::clone(&log), Some(announce.clone()));
        follow(child.stderr.take().expect("a piped output"), Arc::clone(&log), None);
        drop(announce);
        let port = match announced.recv_timeout(START) {
            Ok(port) => port,
            Err(fault) => {
                let why = match fault {
                    RecvTimeoutError::Timeout => "does not listen after 20 seconds",
                    RecvTimeoutError::Disconnected => "ended before it listened",
                };
                let process = Self { child, watchdog, port: 0, log: Arc::clone(&log) };
                drop(process);
                thread::sleep(Duration::from_millis(100));
                panic!("the server {why}; it wrote:\n{}", log.lock().unwrap_or_else(PoisonError::into_inner));
            }
        };
        Self { child, watchdog, port, log }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watchdog first: it must not outlive the process whose number it knows.
        for child in [&mut self.watchdog, &mut self.child] {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A server in a `static` is never dropped. This shell holds the other end of a pipe of ours: when the tests end, however
/// they end, it kills the server and removes its directory.
fn watchdog(server: &Child, directory: &Path) -> Child {
    let script = r#"trap "" INT TERM; read -r _; kill -9 "$1" 2>/dev/null; rm -rf -- "$2""#;
    Command::new("sh")
        .args(["-c", script, "watchdog", &server.id().to_string()])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start sh")
}

/// Copies lines to the log, and the port of the line that says where the server listens to `announce`.
fn follow(from: impl Read + Send + 'static, log: Arc<Mutex<String>>, announce: Option<Sender<u16>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            if let (Some(announce), Some(port)) = (&announce, port_in(&line)) {
                let _ = announce.send(port);
            }
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    });
}

fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("listening on http://127.0.0.1:")?;
    rest.strip_suffix("/api/token")?.parse().ok()
}
