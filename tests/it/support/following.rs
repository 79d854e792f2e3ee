//! `simplejwt events follow`, as it runs.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::Server;

/// How long something may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command that shows events; killed when this is dropped.
pub(crate) struct Following {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    said: Arc<Mutex<String>>,
}

impl Following {
    /// Starts it, and waits until it has seen what was there: `--since` makes that something.
    pub(crate) fn start(server: &Server, arguments: &[&str]) -> Self {
        let mut command = server.command();
        command.args(["--format", "json", "events", "follow"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start the command");
        let (lines, said) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<Mutex<String>>::default());
        let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let (into, text) = (Arc::clone(&lines), Arc::clone(&said));
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("an object a line");
                into.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { child, lines, said }
    }

    /// The events that it has shown.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The targets of them.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.events().iter().map(|event| event["target"].as_str().expect("a target").to_owned()).collect()
    }

    /// Waits until it has shown an event of this target.
    #[track_caller]
    pub(crate) fn wait_for(&self, target: &str) {
        self.wait_for_all(&[target]);
    }

    /// Waits until it has shown as many events of each target as there are here.
    #[track_caller]
    pub(crate) fn wait_for_all(&self, targets: &[&str]) {
        let begun = Instant::now();
        let times = |all: &[String], target: &str| all.iter().filter(|one| *one == target).count();
        let wanted: Vec<_> = targets.iter().map(|&target| target.to_owned()).collect();
        while let Some(target) = wanted.iter().find(|one| times(&self.targets(), one) < times(&wanted, one)) {
            assert!(begun.elapsed() < PATIENCE, "{target} is not among {:?}; {}", self.targets(), self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has said beside.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends it a signal, and waits until it has ended.
    pub(crate) fn signal(&mut self, name: &str) -> ExitStatus {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("run kill").success());
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("ask for the status") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
