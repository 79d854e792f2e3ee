//! Redis servers of a test's own, which the test may hurt.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What `scripts/throwaway` started. It goes with this.
pub(crate) struct Redis {
    pub(crate) url: String,
    pub(crate) password: String,
    /// Of the servers, in the order of their processes.
    pub(crate) ports: Vec<u16>,
    pub(crate) pids: Vec<u32>,
    script: Child,
    lifeline: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    tls: bool,
    pub(crate) directory: PathBuf,
}

impl Redis {
    /// `redis`, `redis-cluster` or `redis-sentinel`, with options of the script.
    pub(crate) fn start(kind: &str, options: &[&str]) -> Self {
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/throwaway"))
            .arg(kind)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start scripts/throwaway");
        let lifeline = script.stdin.take();
        let mut lines = BufReader::new(script.stdout.take().expect("a piped output"));
        let mut next = || line(&mut lines);
        let (url, directory, pids) = (next(), PathBuf::from(next()), numbers(&next()));
        let (login, place) = url.split_once("://:").and_then(|(_, rest)| rest.split_once('@')).expect("a URL");
        let password = login.to_owned();
        let ports = match std::fs::read_to_string(directory.join("ports")) {
            Ok(ports) => numbers(&ports),
            Err(_) => vec![place.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")],
        };
        let tls = url.starts_with("rediss");
        Self { url, password, ports, pids, script, lifeline, lines, tls, directory }
    }

    pub(crate) fn server() -> Self {
        Self::start("redis", &[])
    }

    /// Runs a command on one of the servers, and gives what it says.
    pub(crate) fn say(&self, server: usize, command: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        // The Sentinel asks for no password.
        if server < 2 || self.url.contains("cluster") {
            client.env("REDISCLI_AUTH", &self.password);
        }
        client.args(["-p", &self.ports[server].to_string()]).args(command);
        if self.tls {
            client.arg("--tls").arg("--cacert").arg(self.directory.join("ca.pem"));
        }
        let output = client.stderr(Stdio::inherit()).output().expect("run redis-cli");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    /// Has the server throw away about so many bytes of keys, and sets everything back, before anybody else comes in between.
    pub(crate) fn evict(&self, bytes: u64) {
        let mut connection =
            BufReader::new(TcpStream::connect(("127.0.0.1", self.ports[0])).expect("connect to Redis"));
        let mut say = |command: &str| connection.get_mut().write_all(command.as_bytes()).expect("send commands");
        say(&format!("AUTH {}\r\nINFO memory\r\n", self.password));
        let used: u64 = loop {
            let line = line(&mut connection);
            if let Some(used) = line.strip_prefix("used_memory:") {
                break used.parse().expect("a number");
            }
        };
        let most = used - bytes;
        let all = [
            "CONFIG SET maxmemory-policy allkeys-random",
            &format!("CONFIG SET maxmemory {most}"),
            "PING",
            "CONFIG SET maxmemory 0",
            "CONFIG SET maxmemory-policy noeviction",
            "QUIT\r\n",
        ];
        connection.get_mut().write_all(all.join("\r\n").as_bytes()).expect("send commands");
        drop(connection.read_to_end(&mut Vec::new()));
    }

    pub(crate) fn signal(&self, server: usize, name: &str) {
        signal(self.pids[server], name);
    }

    /// A server alone: kills it as a power failure would, and starts it again. Several: starts those again that have ended.
    pub(crate) fn start_again(&mut self) {
        signal(self.script.id(), "USR1");
        self.pids = numbers(&line(&mut self.lines));
    }

    /// Of several servers, the one that has a key.
    pub(crate) fn server_of(&self, key: &str) -> usize {
        let has = |server: &usize| !self.say(*server, &["GET", key]).starts_with("MOVED");
        (0..self.ports.len()).find(has).expect("a node that has it")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.pids.iter().for_each(|pid| signal(*pid, "CONT"));
        drop(self.lifeline.take());
        drop(self.script.wait());
    }
}

fn line(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("read from scripts/throwaway");
    assert!(!line.is_empty(), "it ended; what it wrote says why");
    line.trim_end().to_owned()
}

fn numbers<N: std::str::FromStr>(text: &str) -> Vec<N> {
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Sends a signal to one process. It may have ended meanwhile.
fn signal(pid: u32, name: &str) {
    drop(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status());
}
