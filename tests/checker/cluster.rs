//! A database and three processes of ours on it.

use std::sync::{Mutex, PoisonError, RwLock};

use crate::BOUND;
use crate::history::{Process, Recorder};
use crate::http::{self, Answer};
use crate::support::database::{Database, Kind};
use crate::support::server::{Output, PASSWORD, Server};
use crate::throwaway::Throwaway;

/// How many processes serve.
pub(crate) const SLOTS: usize = 3;

/// For how long a token is accepted after it has expired: long enough that a flush which forgets that would be seen.
pub(crate) const LEEWAY: u64 = 5;

/// A process and where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listener {
    process: Process,
    port: u16,
}

pub(crate) struct Cluster {
    /// Runs commands; it serves nobody.
    commands: Server,
    servers: [Mutex<Server>; SLOTS],
    listeners: [RwLock<Option<Listener>>; SLOTS],
    /// Locked for writing while the database server is down.
    host: RwLock<Option<Throwaway>>,
}

impl Cluster {
    /// One whose processes serve, on a database of this kind, where `ada` and `grace` may log in.
    pub(crate) fn start(kind: Kind, mutant: Option<&str>, recorder: &Recorder) -> Self {
        let host = (kind != Kind::Sqlite).then(|| Throwaway::new(kind));
        let server = match &host {
            Some(host) => Server::of(|_| host.database()),
            None => {
                Server::of(|directory| crate::support::database::TestDatabase::file(&directory.join("tokens.sqlite3")))
            }
        };
        let leeway = format!("{LEEWAY}");
        let server = server.set("blacklist", r#""cached""#).set("leeway", &leeway);
        let server = server.set("staleness_bound", &format!("\"{}s\"", BOUND.as_secs()));
        let mut server = server.set("auth_token_classes", r#"["access", "sliding"]"#);
        if let Some(mutant) = mutant {
            server = server.env("SIMPLEJWT_MUTANT", mutant);
        }
        // It makes the tables.
        let mut server = server.start();
        server.add_user("ada", PASSWORD);
        server.add_user("grace", PASSWORD);
        server.kill9();
        let started = [(); SLOTS].map(|()| {
            let process = recorder.starting();
            let server = server.sibling();
            let listener = Listener { process, port: server.port() };
            (Mutex::new(server), RwLock::new(Some(listener)))
        });
        let [(first, a), (second, b), (third, c)] = started;
        Self { commands: server, servers: [first, second, third], listeners: [a, b, c], host: RwLock::new(host) }
    }

    pub(crate) fn has_server(&self) -> bool {
        self.host.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Asks the process of a slot, and says which it was: nobody, where it may have been killed before it answered. Then another
    /// may listen on its port. [`None`] while there is none.
    pub(crate) fn ask(&self, slot: usize, question: impl FnOnce(u16) -> Answer) -> Option<(Option<Process>, Answer)> {
        let asked = self.listener(slot)?;
        let answer = question(asked.port);
        let same = self.listener(slot) == Some(asked);
        Some((same.then_some(asked.process), answer))
    }

    pub(crate) fn is_listening(&self, slot: usize) -> bool {
        self.listener(slot).is_some()
    }

    fn listener(&self, slot: usize) -> Option<Listener> {
        *self.listeners[slot].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_listener(&self, slot: usize, listener: Option<Listener>) {
        *self.listeners[slot].write().unwrap_or_else(PoisonError::into_inner) = listener;
    }

    pub(crate) fn kill(&self, slot: usize) {
        self.set_listener(slot, None);
        self.servers[slot].lock().unwrap_or_else(PoisonError::into_inner).kill9();
    }

    /// Starts the process of a slot again, which was killed, and returns when it listens.
    pub(crate) fn restart(&self, slot: usize, recorder: &Recorder) {
        let process = recorder.starting();
        let mut server = self.servers[slot].lock().unwrap_or_else(PoisonError::into_inner);
        server.restart();
        self.set_listener(slot, Some(Listener { process, port: server.port() }));
    }

    pub(crate) fn pid(&self, slot: usize) -> u32 {
        self.servers[slot].lock().unwrap_or_else(PoisonError::into_inner).pid()
    }

    /// What the processes wrote.
    pub(crate) fn log(&self) -> String {
        let logs = self.servers.iter().map(|server| server.lock().unwrap_or_else(PoisonError::into_inner).log());
        logs.collect::<Vec<_>>().join("\n--\n")
    }

    /// The id of a user.
    pub(crate) fn user_id(&self, name: &str) -> String {
        self.commands.user_id(name)
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.commands.cli(arguments)
    }

    /// A connection of somebody else. Waits while the database server is down.
    pub(crate) fn database(&self) -> Database {
        let _up = self.host.read().unwrap_or_else(PoisonError::into_inner);
        self.commands.database()
    }

    pub(crate) fn kill_database(&self, recorder: &Recorder) {
        if let Some(host) = &mut *self.host.write().unwrap_or_else(PoisonError::into_inner) {
            host.kill_and_restart();
            recorder.database_was_killed();
        }
    }

    pub(crate) fn with_host(&self, does: impl FnOnce(&Throwaway)) {
        if let Some(host) = &*self.host.read().unwrap_or_else(PoisonError::into_inner) {
            does(host);
        }
    }

    /// Whether a token is good, as the process of a slot says.
    pub(crate) fn whoami(&self, slot: usize, token: &str) -> Option<(Option<Process>, Answer)> {
        self.ask(slot, |port| http::whoami(port, token))
    }
}
