//! A service that only verifies: another one issues and revokes the tokens, and this one refuses what was revoked there, within a second.
//! It has no tables of its own, and the right to read the ledger is enough.
//!
//! Start a service that issues, and make a user; then this one, on the same database:
//!
//! ```text
//! cargo run -- serve &
//! echo 'correct horse' | cargo run -- users add ada
//! SIGNING_KEY_FILE=simplejwt.sqlite3.key cargo run --example verifier
//! ```
//!
//! Try, with the token that the first answer calls `access`, and then revoke the login by `refresh`:
//!
//! ```text
//! curl -d username=ada -d 'password=correct horse' http://127.0.0.1:8000/api/token/
//! curl -H "Authorization: Bearer $ACCESS" http://127.0.0.1:8001/api/hello
//! curl -d refresh=$REFRESH http://127.0.0.1:8000/api/token/blacklist/
//! curl -H "Authorization: Bearer $ACCESS" http://127.0.0.1:8001/api/hello
//! ```
//!
//! A real one names the database and the key in its `Rocket.toml`, and with ES256 or the like it has the public key alone:
//!
//! ```toml
//! [default.simplejwt]
//! database_url = "postgres://simplejwt_reader@db.internal/simplejwt"
//! algorithm = "ES256"
//! verifying_key_file = "jwt.pub"
//! ```
//!
//! With the feature `redis` it needs no database at all, where those that issue have their blacklist in Redis, too: then it has these two
//! lines instead of the `database_url`. It refuses every refresh token, as it knows of none, and everything while nobody who has the
//! database is there to feed Redis (docs/redis.md):
//!
//! ```toml
//! blacklist = "redis"
//! redis_url = "redis://:password@redis.internal"
//! ```
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use rocket::{Build, Rocket, get, launch, routes};
use rocket_simplejwt::settings::Settings;
use rocket_simplejwt::{AccessToken, Simplejwt, health_routes, verifier_routes};

#[get("/hello")]
fn hello(token: AccessToken) -> String {
    format!("Hello, user {}\n", token.user_id().unwrap_or("nobody"))
}

/// The application, but for where it listens and what it is configured with.
pub(crate) fn application(rocket: Rocket<Build>, settings: Settings) -> Rocket<Build> {
    rocket
        .attach(Simplejwt::fairing().settings(settings).verify_only().protect("/api"))
        .mount("/token", verifier_routes())
        .mount("/health", health_routes())
        .mount("/api", routes![hello])
}

#[launch]
fn rocket() -> _ {
    let mut settings = Settings::default();
    settings.signing_key_file = std::env::var_os("SIGNING_KEY_FILE").map(Into::into);
    application(rocket::custom(rocket::Config::figment().merge(("port", 8001))), settings)
}
