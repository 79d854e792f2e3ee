//! A guarded route, against the same Rocket route with a bare `jsonwebtoken::decode`, and against one without any check.
//!
//! `cargo bench --bench guard`

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]

mod support;

use std::rc::Rc;
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

#[get("/open")]
fn open() -> &'static str {
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
    let folder = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:///{}", folder.path().join("bench.sqlite3").display());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let handle = |blacklist| {
        let mut settings = Settings::default();
        settings.signing_key = Some(Secret::new(KEY));
        settings.database_url = Some(url.clone());
        settings.blacklist = blacklist;
        runtime.block_on(Simplejwt::builder(settings).open(OpenMode::Serve)).expect("a ledger")
    };
    let jwt = handle(BlacklistKind::Database);
    let pair = runtime.block_on(jwt.issue_pair(Issue::refresh("1").claim("role", "editor"))).expect("a token");
    let header = Header::new("Authorization", format!("Bearer {}", pair.access.text));

    let application = |jwt| {
        let app = rocket::custom(rocket::Config::figment().merge(("log_level", "off")))
            .attach(SimplejwtFairing::with(jwt))
            .manage((DecodingKey::from_secret(KEY.as_bytes()), Validation::default()))
            .mount("/", routes![open, bare, guarded]);
        Rc::new(Client::untracked(app).expect("a good application"))
    };
    let (asking, remembering) = (application(jwt), application(handle(BlacklistKind::Cached)));
    let candidate = |name, client: &Rc<Client>, path: &'static str| {
        let (client, header) = (Rc::clone(client), header.clone());
        Candidate::new(name, move || {
            let answer = client.get(path).header(header.clone()).dispatch();
            assert_eq!(answer.status(), Status::Ok);
        })
    };
    let candidates = vec![
        candidate("jsonwebtoken::decode in a guard, no revocation", &remembering, "/bare"),
        candidate("AccessToken (in memory)", &remembering, "/guarded"),
        candidate("AccessToken (SQLite asked each time)", &asking, "/guarded"),
        candidate("no check at all", &remembering, "/open"),
    ];
    interleave("one request, without the network", candidates, 31, Duration::from_millis(100));
}
