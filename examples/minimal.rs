//! The smallest application: login, refresh, verify and blacklist, and a route that refuses revoked tokens.
//!
//! Nothing has to be configured. Start it, and in another terminal make a user; the password is read from standard input:
//!
//! ```text
//! cargo run --example minimal
//! echo 'correct horse' | cargo run -- users add ada
//! ```
//!
//! Then try, with the token that the first answer calls `access`:
//!
//! ```text
//! curl -d username=ada -d 'password=correct horse' http://127.0.0.1:8000/api/token/
//! curl -H "Authorization: Bearer $ACCESS" http://127.0.0.1:8000/api/hello
//! curl http://127.0.0.1:8000/api/hello
//! ```
//!
//! The ledger is `simplejwt.sqlite3` in the working directory, where the command line finds it as well: with
//! `cargo run -- outstanding list` you see the login, and after `cargo run -- blacklist JTI` the running server refuses it.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use rocket::{get, launch, routes};
use rocket_simplejwt::settings::{Secret, Settings};
use rocket_simplejwt::token::generate_key;
use rocket_simplejwt::{AccessToken, Simplejwt, token_routes};

#[get("/hello")]
fn hello(token: AccessToken) -> String {
    format!("Hello, user {}\n", token.user_id().unwrap_or("nobody"))
}

#[launch]
fn rocket() -> _ {
    // A key of this moment: every token dies with the process. A real application leaves `settings` out, and names the file
    // of its key in Rocket.toml: `[default.simplejwt]`, `signing_key_file = "jwt.key"`.
    let mut settings = Settings::default();
    settings.signing_key = generate_key(settings.algorithm).map(Secret::new);

    rocket::build()
        .attach(Simplejwt::fairing().settings(settings))
        .mount("/api/token", token_routes())
        .mount("/api", routes![hello])
}
