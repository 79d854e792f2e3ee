//! A guarded route with each of the blacklists, against the same Rocket route with a bare `jsonwebtoken::decode`. Redis is a server of
//! the bench's own, on this machine.
//!
//! `cargo bench --features redis --bench redis`

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use jsonwebtoken::{DecodingKey, Validation, decode};
use rocket::http::{Header, Status};
use rocket::local::blocking::Client;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::{get, routes};
use rocket_simplejwt::service::OpenMode;
use rocket_simplejwt::settings::{BlacklistKind, Secret, Settings};
use rocket_simplejwt::token::Claims;
use rocket_simplejwt::{AccessToken, Issue, Simplejwt, SimplejwtFairing};
use support::{Candidate, interleave};

const KEY: &str = "only for this bench, in a temporary directory";

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
    let mut script = Command::new("scripts/throwaway")
        .arg("redis")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("scripts/throwaway, in the directory of the crate");
    let mut redis = String::new();
    BufReader::new(script.stdout.take().expect("its output")).read_line(&mut redis).expect("a URL");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:///{}", folder.path().join("bench.sqlite3").display());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let handle = |blacklist| {
        let mut settings = Settings::default();
        settings.signing_key = Some(Secret::new(KEY));
        settings.database_url = Some(url.clone());
        settings.blacklist = blacklist;
        settings.redis_url = Some(Secret::new(redis.trim_end()));
        runtime.block_on(Simplejwt::builder(settings).open(OpenMode::Serve)).expect("a ledger")
    };
    let jwt = handle(BlacklistKind::Database);
    let pair = runtime.block_on(jwt.issue_pair(Issue::refresh("1").claim("role", "editor"))).expect("a token");
    let header = Header::new("Authorization", format!("Bearer {}", pair.access.text));

    let application = |jwt: &Simplejwt| {
        let app = rocket::custom(rocket::Config::figment().merge(("log_level", "off")))
            .attach(SimplejwtFairing::with(jwt.clone()))
            .manage((DecodingKey::from_secret(KEY.as_bytes()), Validation::default()))
            .mount("/", routes![bare, guarded]);
        Rc::new(Client::untracked(app).expect("a good application"))
    };
    let (cached, shared) = (handle(BlacklistKind::Cached), handle(BlacklistKind::Redis));
    let (asking, remembering, sharing) = (application(&jwt), application(&cached), application(&shared));
    let believed = |jwt: &Simplejwt| jwt.cache_state().is_some_and(|state| state.believed);
    while !believed(&cached) || !believed(&shared) {
        sleep(Duration::from_millis(10));
    }
    let candidate = |name, client: &Rc<Client>, path: &'static str| {
        let (client, header) = (Rc::clone(client), header.clone());
        Candidate::new(name, move || {
            let answer = client.get(path).header(header.clone()).dispatch();
            assert_eq!(answer.status(), Status::Ok);
        })
    };
    let candidates = vec![
        candidate("jsonwebtoken::decode in a guard, no revocation", &remembering, "/bare"),
        candidate("AccessToken, \"cached\"", &remembering, "/guarded"),
        candidate("AccessToken, \"database\" on SQLite", &asking, "/guarded"),
        candidate("AccessToken, \"redis\" on this machine", &sharing, "/guarded"),
    ];
    interleave("one request, without the network of the client", candidates, 31, Duration::from_millis(100));
    assert!(believed(&shared), "Redis did not answer to the end");
    drop(script.stdin.take());
    drop(script.wait());
}
