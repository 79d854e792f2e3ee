//! As with flask-jwt-extended: fresh tokens, an optional one, a logout that takes either kind, and its way to say no.

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{Build, Rocket, State, delete, get, post, routes};
use rocket_simplejwt::settings::{ErrorStyle, Settings};
use rocket_simplejwt::{AccessToken, AnyToken, Fresh, Issue, Maybe, Simplejwt, token_routes};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

#[post("/login", data = "<login>")]
async fn login(login: Json<Login>, jwt: &State<Simplejwt>) -> Result<Json<Value>, Status> {
    if login.username != "test" || login.password != "test" {
        return Err(Status::Unauthorized);
    }
    let issue = Issue::refresh(&login.username).claim("department", "sales").fresh();
    let pair = jwt.issue_pair(issue).await.map_err(|_| Status::ServiceUnavailable)?;
    Ok(Json(json!({ "access_token": pair.access.text, "refresh_token": pair.refresh.text })))
}

#[get("/protected")]
fn protected(token: AccessToken) -> Json<Value> {
    Json(json!({ "logged_in_as": token.user_id() }))
}

#[get("/optional")]
fn optional(token: Maybe<AccessToken>) -> Json<Value> {
    Json(json!({ "logged_in_as": token.0.as_ref().and_then(|token| token.user_id()) }))
}

#[post("/password")]
fn password(token: Fresh<AccessToken>) -> Json<Value> {
    Json(json!({ "changed_for": token.user_id() }))
}

#[delete("/logout")]
async fn logout(token: AnyToken) -> Result<Json<Value>, Status> {
    token.blacklist().await.map_err(|_| Status::ServiceUnavailable)?;
    Ok(Json(json!({ "msg": "token successfully revoked" })))
}

pub(crate) fn rocket(mut settings: Settings) -> Rocket<Build> {
    settings.error_style = ErrorStyle::Flask;
    let fairing = Simplejwt::fairing().settings(settings).verify_claims(|token| {
        token.claim::<String>("department").is_ok_and(|department| department.as_deref() != Some("closed"))
    });
    rocket::build()
        .attach(fairing)
        .mount("/token", token_routes())
        .mount("/", routes![login, protected, optional, password, logout])
}
