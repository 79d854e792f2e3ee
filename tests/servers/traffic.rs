//! What clients do.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::attack::{VERIFY, WHOAMI};
use crate::support::client::{Client, Reply};
use crate::support::database::Database;
use crate::support::mint::{Claims, claims};
use crate::support::now;
use crate::support::server::{PASSWORD, Pair, Server};

pub(crate) const LOGIN: &str = "/api/token/";
pub(crate) const BLACKLIST: &str = "/api/token/blacklist/";
pub(crate) const REFRESH: &str = "/api/token/refresh/";

/// Until when a request has to be answered, whatever the database does.
pub(crate) const ANSWER: Duration = Duration::from_secs(3);

/// Within which time everything has to work again.
pub(crate) const RECOVERY: Duration = Duration::from_secs(5);

/// Refresh tokens that are recorded, and have never been used.
pub(crate) fn recorded(database: &mut Database, count: usize) -> Vec<Claims> {
    let tokens: Vec<Claims> =
        (0..count).map(|_| claims("refresh").without("user_id").with("exp", now() + 3600)).collect();
    database.begin();
    for token in &tokens {
        database.record_row(token.jti(), now() + 3600, "NULL");
    }
    database.execute("COMMIT");
    tokens
}

/// A request that asks the database for something.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Login,
    Refresh(String),
    Blacklist(String),
    Verify(String),
    Whoami(String),
    Ready,
}

impl Ask {
    /// One of each.
    pub(crate) fn all(pair: &Pair, refresh: String, blacklisted: String) -> Vec<Self> {
        vec![
            Self::Login,
            Self::Refresh(refresh),
            Self::Blacklist(blacklisted),
            Self::Verify(pair.access.clone()),
            Self::Whoami(pair.access.clone()),
            Self::Ready,
        ]
    }

    pub(crate) fn send(&self, client: Client) -> Reply {
        let post = |path, body: Value| client.post_json(path, &body);
        match self {
            Self::Login => post(LOGIN, json!({"username": "ada", "password": PASSWORD})),
            Self::Refresh(token) => post(REFRESH, json!({ "refresh": token })),
            Self::Blacklist(token) => post(BLACKLIST, json!({ "refresh": token })),
            Self::Verify(token) => post(VERIFY, json!({ "token": token })),
            Self::Whoami(token) => client.get(WHOAMI, Some(token)),
            Self::Ready => client.get("/health/ready", None),
        }
    }
}

/// Sends a request, and fails unless it is put off in time, with the advice to come back.
#[track_caller]
pub(crate) fn assert_put_off(ask: &Ask, client: Client) {
    let start = Instant::now();
    let reply = ask.send(client);
    let took = start.elapsed();
    assert_eq!(reply.status, 503, "{ask:?}: {reply:?}");
    assert!(took < ANSWER, "{ask:?} took {took:?}");
    assert!(reply.header("retry-after").is_some(), "{ask:?}: {reply:?}");
    assert!(!reply.text.contains("s3cr3t") && !reply.text.contains("127.0.0.1"), "{reply:?}");
}

/// How many threads a process has.
pub(crate) fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process").count()
}

/// The status of a request to blacklist a token.
pub(crate) fn blacklist(server: &Server, token: &str) -> u16 {
    Ask::Blacklist(token.to_owned()).send(server.client()).status
}

/// The status of a request with an access token.
pub(crate) fn whoami(server: &Server, token: &str) -> u16 {
    server.client().get(WHOAMI, Some(token)).status
}

/// Does the same on several threads at once.
pub(crate) fn at_once<T: Send>(count: usize, does: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(&does)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
    })
}

/// Asks again and again until the answer is `last`; before it, none but these.
#[track_caller]
pub(crate) fn only(server: &Server, token: &str, meanwhile: &[u16], last: u16) {
    let begun = Instant::now();
    loop {
        let status = whoami(server, token);
        if status == last {
            return;
        }
        assert!(meanwhile.contains(&status), "{status} before {last}");
        assert!(begun.elapsed() < Duration::from_secs(30), "never {last}");
    }
}
