//! The examples of five systems that this crate replaces, one file each; `docs/from-*.md` and `docs/django.md` have them side by side.
//!
//! ```text
//! cargo run --example coming_from flask            # or quart, sanic, flask_blacklist, simplejwt
//! curl -H 'Content-Type: application/json' -d '{"username": "test", "password": "test"}' http://127.0.0.1:8000/login
//! ```
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

mod flask;
mod flask_blacklist;
mod quart;
mod sanic;
mod simplejwt;

use std::error::Error;

use rocket_simplejwt::settings::{Secret, Settings};
use rocket_simplejwt::token::generate_key;

#[rocket::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A key of this moment: every token dies with the process. A real application leaves `settings` out, and names the file
    // of its key in Rocket.toml: `[default.simplejwt]`, `signing_key_file = "jwt.key"`.
    let mut settings = Settings::default();
    settings.signing_key = generate_key(settings.algorithm).map(Secret::new);

    let rocket = match std::env::args().nth(1).as_deref() {
        Some("quart") => quart::rocket(settings),
        Some("sanic") => sanic::rocket(settings),
        Some("simplejwt") => simplejwt::rocket(settings),
        Some("flask_blacklist") => flask_blacklist::rocket(settings),
        _ => flask::rocket(settings),
    };
    rocket.launch().await?;
    Ok(())
}
