//! A Django project that runs, with a database, a port and a console of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::database::Database;
use crate::support::client::Client;
use crate::support::mint::KEY;
use crate::support::server::{Output, PASSWORD, Pair, Server, run};

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/django/project");
/// How long Django may take to start, or the console to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the primary key of the project's users is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Users {
    /// `django.contrib.auth`: a number of 32 bits.
    Integer,
    BigInt,
    Uuid,
    Text,
}

impl Users {
    pub(crate) const ALL: [Self; 4] = [Self::Integer, Self::BigInt, Self::Uuid, Self::Text];

    /// The table.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Integer => "auth_user",
            Self::BigInt | Self::Uuid | Self::Text => "accounts_user",
        }
    }

    /// The word of our `--user-key`, and of the project's settings.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Uuid => "uuid",
            Self::Text => "text",
        }
    }
}

/// A project to be. Its users are Django's own, its key is that of our server, and it rotates and blacklists as our server
/// does, unless something else is said.
#[derive(Clone)]
pub(crate) struct Project {
    users: Users,
    simple_jwt: Map<String, Value>,
    migrated: bool,
}

impl Project {
    pub(crate) fn new() -> Self {
        let key = str::from_utf8(KEY).expect("an ASCII key");
        let settings = json!({"SIGNING_KEY": key, "ROTATE_REFRESH_TOKENS": true, "BLACKLIST_AFTER_ROTATION": true});
        let Value::Object(simple_jwt) = settings else { unreachable!("an object") };
        Self { users: Users::Integer, simple_jwt, migrated: true }
    }

    pub(crate) fn users(mut self, users: Users) -> Self {
        self.users = users;
        self
    }

    /// Sets `name` in `SIMPLE_JWT`; lifetimes are in seconds.
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.simple_jwt.insert(name.to_owned(), value.into());
        self
    }

    /// Begins without any table.
    pub(crate) fn empty(mut self) -> Self {
        self.migrated = false;
        self
    }

    /// Starts it.
    pub(crate) fn start(self) -> Django {
        let database = if self.migrated { Database::migrated(self.users) } else { Database::empty() };
        let mut command = self.command(&database);
        command.arg("console.py");
        let process = Process::start(command);
        let port = process.answer().as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Django { project: self, port, console: Mutex::new(process), database }
    }

    fn command(&self, database: &Database) -> Command {
        let mut command = with_users(python(), self.users);
        command.env("DJANGO_DATABASE_URL", database.url());
        command.env("DJANGO_SIMPLE_JWT", Value::Object(self.simple_jwt.clone()).to_string());
        command
    }
}

/// The python of `scripts/django`, in the directory of the project.
pub(crate) fn python() -> Command {
    let python = std::env::var_os("TEST_DJANGO_PYTHON").unwrap_or_else(|| {
        panic!("no Python with Django: run them with TEST_DJANGO_PYTHON=$(scripts/django) cargo test --test django")
    });
    let mut command = Command::new(python);
    command.current_dir(PROJECT).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
    command
}

/// Says in the environment of `command` which users the project has.
pub(crate) fn with_users(mut command: Command, users: Users) -> Command {
    command.env("DJANGO_USER_KEY", users.as_str());
    command
}

/// A project that runs. It is killed when this is dropped, and its database dropped after it.
pub(crate) struct Django {
    project: Project,
    port: u16,
    console: Mutex<Process>,
    database: Database,
}

impl Django {
    /// A client for its port.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// A server of ours on the same database with the same key and the same users. Nothing runs yet.
    pub(crate) fn simplejwt(&self) -> Server {
        // How long until a server hears of what Django did has tests of its own: `http_cached`.
        Server::new()
            .set("blacklist", "\"database\"")
            .set("database_url", &format!("{:?}", self.database.url()))
            .set("users", "\"django\"")
            .set("django_user_table", &format!("{:?}", self.project.users.table()))
    }

    /// The same after `migrate`, running.
    pub(crate) fn start_simplejwt(&self) -> Server {
        let server = self.simplejwt();
        succeed(&server, &["migrate"]);
        server.start()
    }

    /// The value of a piece of Python; see `console.py` for the names that it may use.
    #[track_caller]
    pub(crate) fn python(&self, code: &str) -> Value {
        match self.try_python(code) {
            Ok(value) => value,
            Err(traceback) => panic!("{code}\n{traceback}\n{}", self.log()),
        }
    }

    /// The same for what may fail; the error is Python's traceback.
    pub(crate) fn try_python(&self, code: &str) -> Result<Value, String> {
        let mut console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        console.ask(code);
        console.try_answer()
    }

    /// A piece of Python whose value is a string.
    #[track_caller]
    pub(crate) fn text(&self, code: &str) -> String {
        let value = self.python(code);
        value.as_str().unwrap_or_else(|| panic!("no string: {value} of {code}")).to_owned()
    }

    /// Whether a piece of Python is true.
    #[track_caller]
    pub(crate) fn is(&self, code: &str) -> bool {
        let value = self.python(code);
        value.as_bool().unwrap_or_else(|| panic!("neither true nor false: {value} of {code}"))
    }

    /// Runs one of Django's own commands in a process of its own.
    pub(crate) fn manage(&self, arguments: &[&str]) -> Output {
        let mut command = self.project.command(&self.database);
        command.arg("manage.py").args(arguments);
        run(command, "")
    }

    /// Adds a user with [`PASSWORD`] and returns the primary key.
    #[track_caller]
    pub(crate) fn add_user(&self, name: &str) -> String {
        self.text(&format!("create_user({name:?}, {PASSWORD:?})"))
    }

    /// Logs a user in whose password is [`PASSWORD`].
    #[track_caller]
    pub(crate) fn login(&self, name: &str) -> Pair {
        let reply = self.client().post_json("/api/token/", &json!({"username": name, "password": PASSWORD}));
        assert_eq!(reply.status, 200, "login of {name}: {reply:?}\n{}", self.log());
        Pair { access: reply.string("access"), refresh: reply.string("refresh") }
    }

    /// What the database says about its schema.
    pub(crate) fn catalogue(&self) -> Vec<String> {
        serde_json::from_value(self.python("catalogue()")).expect("a list of texts")
    }

    /// What Django wrote so far.
    pub(crate) fn log(&self) -> String {
        let console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        let log = console.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.clone()
    }
}

/// Runs one of our commands, which has to succeed.
#[track_caller]
pub(crate) fn succeed(server: &Server, arguments: &[&str]) -> Output {
    let output = server.cli(arguments);
    assert!(output.success(), "{arguments:?}: {output:?}");
    output
}

struct Process {
    child: Child,
    questions: ChildStdin,
    answers: Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Process {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start Python");
        let questions = child.stdin.take().expect("a piped input");
        let log = Arc::new(Mutex::new(String::new()));
        let (stdout, stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody may be waiting any more.
                drop(sender.send(line));
            }
        });
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]);
                lines.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { child, questions, answers, log }
    }

    fn ask(&mut self, code: &str) {
        let line = format!("{}\n", Value::from(code));
        self.questions.write_all(line.as_bytes()).expect("a console that listens");
    }

    fn answer(&self) -> Value {
        self.try_answer().unwrap_or_else(|traceback| panic!("{traceback}"))
    }

    fn try_answer(&self) -> Result<Value, String> {
        let Ok(line) = self.answers.recv_timeout(PATIENCE) else {
            panic!("Django does not answer; it wrote:\n{}", self.log.lock().unwrap_or_else(PoisonError::into_inner));
        };
        let mut answer: Value = serde_json::from_str(&line).expect("a line of JSON");
        match answer.get("error").and_then(Value::as_str) {
            Some(traceback) => Err(traceback.to_owned()),
            None => Ok(answer["value"].take()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where it is not dropped, as in a test run that is killed, it ends with its input.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
