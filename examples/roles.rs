//! Roles: a claim that the login puts into the tokens, a guard that asks for it, and a prefix that nobody passes without a
//! token, not even where a route forgot its guard.
//!
//! ```text
//! cargo run --example roles
//! ```
//!
//! The users are `ada` (password `lovelace`), an editor, and `charles` (password `babbage`), a reader. Then try:
//!
//! ```text
//! curl -d username=ada -d password=lovelace http://127.0.0.1:8000/api/token/
//! curl -H "Authorization: Bearer $ACCESS" http://127.0.0.1:8000/api/articles
//! curl -H "Authorization: Bearer $ACCESS" -X POST http://127.0.0.1:8000/api/articles
//! curl http://127.0.0.1:8000/api/articles
//! curl http://127.0.0.1:8000/api/version
//! ```
//!
//! The role stands in the token: taking it away in the user table takes effect at the next login. Where it must take effect
//! at once, ask `CurrentUser` for it instead, which reads the user.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::error::Error;

use rocket::http::Status;
use rocket::outcome::try_outcome;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::{get, post, routes};
use rocket_simplejwt::settings::{Secret, Settings};
use rocket_simplejwt::token::generate_key;
use rocket_simplejwt::users::Passwords;
use rocket_simplejwt::{
    AccessToken, AuthError, AuthUser, Authenticator, AuthenticatorError, Credentials, Simplejwt, token_routes,
};
use serde_json::{Map, Value, json};

/// Whoever may write: a good access token that says so.
struct Editor(AccessToken);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Editor {
    type Error = AuthError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, AuthError> {
        let token = try_outcome!(request.guard::<AccessToken>().await);
        match token.claim::<String>("role") {
            Ok(Some(role)) if role == "editor" => Outcome::Success(Self(token)),
            _ => Outcome::Error((Status::Forbidden, AuthError::Forbidden)),
        }
    }
}

/// Anybody who is logged in may read. There is no guard: `.protect("/api")` asks for the token.
#[get("/articles")]
fn read() -> &'static str {
    "all the articles\n"
}

#[post("/articles")]
fn write(editor: Editor) -> String {
    format!("an article by user {}\n", editor.0.user_id().unwrap_or("nobody"))
}

#[get("/version")]
fn version() -> &'static str {
    "1\n"
}

#[derive(Clone)]
struct Member {
    name: &'static str,
    role: &'static str,
    password: String,
}

impl AuthUser for Member {
    fn id(&self) -> String {
        self.name.into()
    }

    fn claims(&self) -> Map<String, Value> {
        Map::from_iter([("role".into(), json!(self.role))])
    }
}

/// The users of this example live in memory; see `authenticator.rs` for a table.
struct Members {
    members: Vec<Member>,
    passwords: Passwords,
}

impl Members {
    async fn new() -> Result<Self, Box<dyn Error>> {
        let passwords = Passwords::default();
        let mut members = Vec::new();
        for (name, role, password) in [("ada", "editor", "lovelace"), ("charles", "reader", "babbage")] {
            members.push(Member { name, role, password: passwords.hash(password).await? });
        }
        Ok(Self { members, passwords })
    }

    fn find(&self, name: &str) -> Option<Member> {
        self.members.iter().find(|member| member.name == name).cloned()
    }
}

#[rocket::async_trait]
impl Authenticator for Members {
    type User = Member;

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Member>, AuthenticatorError> {
        let found = self.find(&credentials.username);
        let stored = found.as_ref().map(|member| member.password.clone());
        let right = self.passwords.verify(&credentials.password, stored).await.map_err(AuthenticatorError::new)?;
        Ok(found.filter(|_| right))
    }

    async fn user_by_claim(&self, claim: &str) -> Result<Option<Member>, AuthenticatorError> {
        Ok(self.find(claim))
    }
}

#[rocket::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A key of this moment: every token dies with the process. A real application leaves `settings` out, and names the file
    // of its key in Rocket.toml: `[default.simplejwt]`, `signing_key_file = "jwt.key"`.
    let mut settings = Settings::default();
    settings.signing_key = generate_key(settings.algorithm).map(Secret::new);

    let fairing = Simplejwt::fairing().settings(settings).authenticator(Members::new().await?);
    rocket::build()
        .attach(fairing.protect("/api").except("/api/version"))
        .mount("/api/token", token_routes())
        .mount("/api", routes![read, write, version])
        .launch()
        .await?;
    Ok(())
}
