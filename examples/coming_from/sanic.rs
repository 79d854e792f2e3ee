//! As with Sanic-JWT-Extended: a role in the token, lists of who may and who may not, public claims, a logout.

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{Build, Rocket, State, get, post, routes};
use rocket_simplejwt::settings::{ErrorStyle, Settings};
use rocket_simplejwt::{AccessToken, HasRole, Issue, Role, Simplejwt, token_routes};
use serde::Deserialize;
use serde_json::{Value, json};

struct Admin;

impl Role for Admin {
    const ALLOW: &[&str] = &["admin"];
}

struct NotGuest;

impl Role for NotGuest {
    const DENY: &[&str] = &["guest"];
}

#[derive(Deserialize)]
struct Login {
    username: String,
}

#[post("/login", data = "<login>")]
async fn login(login: Json<Login>, jwt: &State<Simplejwt>) -> Result<Json<Value>, Status> {
    let role = if login.username == "ada" { "admin" } else { "guest" };
    let issue = Issue::refresh(&login.username).claim("role", role).public_claim("email", "ada@example.org");
    let pair = jwt.issue_pair(issue).await.map_err(|_| Status::ServiceUnavailable)?;
    Ok(Json(json!({ "access_token": pair.access.text, "refresh_token": pair.refresh.text })))
}

#[get("/admin")]
fn admin(token: HasRole<Admin>) -> Json<Value> {
    Json(json!({ "identity": token.user_id(), "email": token.public_claim::<String>("email").ok().flatten() }))
}

#[get("/members")]
fn members(token: HasRole<NotGuest>) -> Json<Value> {
    Json(json!({ "identity": token.user_id() }))
}

#[post("/logout")]
async fn logout(token: AccessToken) -> Status {
    token.blacklist().await.map_or(Status::ServiceUnavailable, |()| Status::NoContent)
}

pub(crate) fn rocket(mut settings: Settings) -> Rocket<Build> {
    settings.error_style = ErrorStyle::Flask;
    settings.public_claim_namespace = "https://example.org/".into();
    rocket::build()
        .attach(Simplejwt::fairing().settings(settings))
        .mount("/token", token_routes())
        .mount("/", routes![login, admin, members, logout])
}
