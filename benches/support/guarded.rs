//! A Rocket application with a guarded route, and with the same route behind what an application writes that has no library.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use jsonwebtoken::{DecodingKey, Validation, decode};
use rocket::http::{Header, Status};
use rocket::local::blocking::Client;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::{get, routes};
use rocket_simplejwt::service::OpenMode;
use rocket_simplejwt::settings::{BlacklistKind, Secret, Settings, ShortSpan};
use rocket_simplejwt::token::Claims;
use rocket_simplejwt::{AccessToken, Issue, Simplejwt, SimplejwtFairing};

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

/// Decode, and no question of revocation.
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

pub(crate) struct Application {
    jwt: Simplejwt,
    client: Client,
    header: Header<'static>,
}

impl Application {
    /// One over a database in this folder where so many tokens and sessions are refused: half of each, as a request looks for both.
    pub(crate) fn new(folder: &Path, blacklist: BlacklistKind, revoked: u64, redis: Option<&str>) -> Self {
        let mut settings = settings(folder, revoked);
        settings.blacklist = blacklist;
        settings.redis_url = redis.map(Secret::new);
        fill(folder, revoked);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        // Which puts back the trigger.
        let jwt = runtime.block_on(Simplejwt::builder(settings).open(OpenMode::Serve)).expect("a ledger");
        // The first statement may take longer than the ledger waits, where a program is watched by another.
        let mut pairs = (0..20).map(|_| runtime.block_on(jwt.issue_pair(Issue::refresh("1").claim("role", "editor"))));
        let pair = pairs.find_map(Result::ok).expect("a token");
        let app = rocket::custom(rocket::Config::figment().merge(("log_level", "off")))
            .attach(SimplejwtFairing::with(jwt.clone()))
            .manage((DecodingKey::from_secret(KEY.as_bytes()), Validation::default()))
            .mount("/", routes![open_to_all, bare, guarded]);
        let client = Client::untracked(app).expect("a good application");
        let header = Header::new("Authorization", format!("Bearer {}", pair.access.text));
        let application = Self { jwt, client, header };
        application.wait_until_ready(blacklist, revoked);
        application
    }

    pub(crate) fn wait_until_ready(&self, blacklist: BlacklistKind, revoked: u64) {
        while !self.is_ready(blacklist, revoked) {
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn ask(&self, path: &str) {
        let answer = self.client.get(path).header(self.header.clone()).dispatch();
        assert_eq!(answer.status(), Status::Ok);
    }

    /// Whether what the blacklist has a copy in has all of it.
    pub(crate) fn is_ready(&self, blacklist: BlacklistKind, revoked: u64) -> bool {
        let Some(state) = self.jwt.cache_state() else { return blacklist == BlacklistKind::Database };
        match blacklist {
            BlacklistKind::Cached => state.ready && state.sequence.is_some() && state.entries as u64 == revoked,
            _ => state.believed,
        }
    }
}

fn settings(folder: &Path, revoked: u64) -> Settings {
    let mut settings = Settings::default();
    settings.signing_key = Some(Secret::new(KEY));
    settings.database_url = Some(format!("sqlite:///{}", folder.join(format!("{revoked}.sqlite3")).display()));
    // As rarely as can be: only requests are to be measured.
    settings.poll_interval = ShortSpan::from_millis(20_000);
    settings.staleness_bound = ShortSpan::from_millis(60_000);
    settings
}

/// Makes the database in a folder where so many tokens and sessions are refused, half of each, unless it is there. The tokens are
/// sliding ones: a refresh token is not in the index, and its session is.
pub(crate) fn fill(folder: &Path, revoked: u64) {
    let file = folder.join(format!("{revoked}.sqlite3"));
    if file.exists() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let builder = Simplejwt::builder(settings(folder, revoked));
    drop(runtime.block_on(builder.open(OpenMode::Serve)).expect("a ledger"));
    if revoked > 0 {
        let mut connection = SqliteConnection::establish(&file.display().to_string()).expect("the database");
        let (tokens, sessions) = (revoked / 2, revoked - revoked / 2);
        let all = FILL.replace("{sessions}", &sessions.to_string()).replace("{tokens}", &tokens.to_string());
        connection.batch_execute(&all).expect("rows");
    }
}

const FILL: &str = "PRAGMA synchronous = OFF; DROP TRIGGER simplejwt_session_insert; \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {sessions}) \
    INSERT INTO simplejwt_session (id, created_at, last_used_at, ended_at, keep_until) \
    SELECT printf('01890000-0000-7000-8000-%012x', i), t, t, t, '2099-01-01 00:00:00' \
    FROM n, (SELECT strftime('%Y-%m-%d %H:%M:%S', 'now') AS t); \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {tokens}) \
    INSERT INTO simplejwt_token (jti, kind, revoked_at, keep_until) \
    SELECT printf('%032x', i * 2654435761), 'sliding', t, '2099-01-01 00:00:00' \
    FROM n, (SELECT strftime('%Y-%m-%d %H:%M:%S', 'now') AS t) WHERE {tokens} > 0";

/// A Redis of the bench's own, on this machine, until this is dropped.
pub(crate) struct Redis {
    script: Child,
    /// The script would end where it cannot write.
    output: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("scripts/throwaway");
        let command = command.arg("redis").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().expect("scripts/throwaway, in the directory of the crate");
        let mut output = BufReader::new(script.stdout.take().expect("its output"));
        let mut url = String::new();
        output.read_line(&mut url).expect("a URL");
        Self { script, output, url: url.trim_end().to_owned() }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        drop(self.script.wait());
    }
}
