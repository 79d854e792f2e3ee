//! A guarded route, against the same Rocket route with a bare `jsonwebtoken::decode`, and against one without any check.
//!
//! `cargo bench --bench guard`; `scripts/instructions` counts instructions with it.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]

mod support;

use std::path::Path;
use std::time::Duration;
use std::{env, io, thread};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use jsonwebtoken::{DecodingKey, Validation, decode};
use rocket::http::{Header, Status};
use rocket::local::blocking::Client;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::{get, routes};
use rocket_simplejwt::service::{CacheState, OpenMode};
use rocket_simplejwt::settings::{BlacklistKind, Secret, Settings, ShortSpan};
use rocket_simplejwt::token::Claims;
use rocket_simplejwt::{AccessToken, Issue, Simplejwt, SimplejwtFairing};
use support::{Candidate, interleave_cpu};

const KEY: &str = "only for this bench, in a temporary directory";

#[get("/open")]
fn open_to_all() -> &'static str {
    "hello"
}

#[get("/bare")]
fn bare(_token: Bare) -> &'static str {
    "hello"
}

#[get("/guarded")]
fn guarded(_token: AccessToken) -> &'static str {
    "hello"
}

/// What an application writes that has no library: decode, and no question of revocation.
struct Bare;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Bare {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let key = request.rocket().state::<(DecodingKey, Validation)>().expect("the key");
        let text = request.headers().get_one("Authorization").and_then(|value| value.strip_prefix("Bearer "));
        match text.map(|text| decode::<Claims>(text, &key.0, &key.1)) {
            Some(Ok(_)) => Outcome::Success(Self),
            _ => Outcome::Error((Status::Unauthorized, ())),
        }
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [path, revoked, requests] => count(path, number(revoked), number(requests)),
        _ => compare(),
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// All in one run, by processor time.
fn compare() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let few = application(folder.path(), BlacklistKind::Cached, 0);
    let asking = application(folder.path(), BlacklistKind::Database, 0);
    let some = application(folder.path(), BlacklistKind::Cached, 1_000_000);
    let many = application(folder.path(), BlacklistKind::Cached, 10_000_000);
    let candidates = vec![
        Candidate::new("jsonwebtoken::decode, no revocation", || few.ask("/bare")),
        Candidate::new("AccessToken, nothing is revoked", || few.ask("/guarded")),
        Candidate::new("AccessToken, 1 million revoked", || some.ask("/guarded")),
        Candidate::new("AccessToken, 10 million revoked", || many.ask("/guarded")),
        Candidate::new("AccessToken, SQLite is asked each time", || asking.ask("/guarded")),
        Candidate::new("no check at all", || few.ask("/open")),
    ];
    interleave_cpu("one request, without the network: processor time", candidates, 31, Duration::from_millis(100));
}

/// For `scripts/instructions`: so many requests, after a line on the standard input says that they are counted from now on.
fn count(path: &str, revoked: u64, requests: u64) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let kind = if path == "/asking" { BlacklistKind::Database } else { BlacklistKind::Cached };
    let path = if path == "/asking" { "/guarded" } else { path };
    let application = application(folder.path(), kind, revoked);
    // What is done once is done now.
    (0..100).for_each(|_| application.ask(path));
    println!("ready");
    io::stdin().read_line(&mut String::new()).expect("a line");
    (0..requests).for_each(|_| application.ask(path));
    println!("done");
    // The end of it all is no request.
    io::stdin().read_line(&mut String::new()).expect("a line");
}

struct Application {
    client: Client,
    header: Header<'static>,
}

impl Application {
    fn ask(&self, path: &str) {
        let answer = self.client.get(path).header(self.header.clone()).dispatch();
        assert_eq!(answer.status(), Status::Ok);
    }
}

/// An application over a database with so many sessions that are over: the index holds each as it holds a token.
fn application(folder: &Path, blacklist: BlacklistKind, revoked: u64) -> Application {
    let file = folder.join(format!("{revoked}.sqlite3"));
    let mut settings = Settings::default();
    settings.signing_key = Some(Secret::new(KEY));
    settings.database_url = Some(format!("sqlite:///{}", file.display()));
    settings.blacklist = blacklist;
    // As rarely as can be: only requests are to be measured.
    settings.poll_interval = ShortSpan::from_millis(20_000);
    settings.staleness_bound = ShortSpan::from_millis(60_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let open = || runtime.block_on(Simplejwt::builder(settings.clone()).open(OpenMode::Serve)).expect("a ledger");
    let jwt = open();
    let pair = runtime.block_on(jwt.issue_pair(Issue::refresh("1").claim("role", "editor"))).expect("a token");
    if revoked > 0 {
        let mut connection = SqliteConnection::establish(&file.display().to_string()).expect("the database");
        connection.batch_execute(&FILL.replace("{}", &revoked.to_string())).expect("rows");
    }
    // Which puts back the trigger.
    let jwt = open();
    let app = rocket::custom(rocket::Config::figment().merge(("log_level", "off")))
        .attach(SimplejwtFairing::with(jwt.clone()))
        .manage((DecodingKey::from_secret(KEY.as_bytes()), Validation::default()))
        .mount("/", routes![open_to_all, bare, guarded]);
    let client = Client::untracked(app).expect("a good application");
    if blacklist == BlacklistKind::Cached {
        let loaded = |state: CacheState| state.ready && state.sequence.is_some() && state.entries as u64 == revoked;
        while !jwt.cache_state().is_some_and(loaded) {
            thread::sleep(Duration::from_millis(10));
        }
    }
    Application { client, header: Header::new("Authorization", format!("Bearer {}", pair.access.text)) }
}

const FILL: &str = "PRAGMA synchronous = OFF; DROP TRIGGER simplejwt_session_insert; \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
    INSERT INTO simplejwt_session (id, created_at, last_used_at, ended_at, keep_until) \
    SELECT printf('01890000-0000-7000-8000-%012x', i), t, t, t, '2099-01-01 00:00:00.000000' \
    FROM n, (SELECT strftime('%Y-%m-%d %H:%M:%S', 'now') || '.000000' AS t)";
