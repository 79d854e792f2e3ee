//! As with the blacklist example of quart-jwt-extended: one logout for each of the two tokens.

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{Build, Rocket, State, delete, get, post, routes};
use rocket_simplejwt::settings::{ErrorStyle, Settings};
use rocket_simplejwt::{AccessToken, Issue, RefreshToken, Simplejwt, token_routes};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

#[post("/login", data = "<login>")]
async fn login(login: Json<Login>, jwt: &State<Simplejwt>) -> Result<Json<Value>, (Status, Json<Value>)> {
    if login.username != "test" || login.password != "test" {
        return Err((Status::Unauthorized, Json(json!({ "msg": "Bad username or password" }))));
    }
    let unavailable = |_| (Status::ServiceUnavailable, Json(json!({ "msg": "try again" })));
    let pair = jwt.issue_pair(Issue::refresh(&login.username)).await.map_err(unavailable)?;
    Ok(Json(json!({ "access_token": pair.access.text, "refresh_token": pair.refresh.text })))
}

#[delete("/logout")]
async fn logout(token: AccessToken) -> Result<Json<Value>, Status> {
    token.blacklist().await.map_err(|_| Status::ServiceUnavailable)?;
    Ok(Json(json!({ "msg": "Successfully logged out" })))
}

#[delete("/logout2")]
async fn logout2(token: RefreshToken) -> Result<Json<Value>, Status> {
    token.blacklist().await.map_err(|_| Status::ServiceUnavailable)?;
    Ok(Json(json!({ "msg": "Successfully logged out" })))
}

#[get("/protected")]
fn protected(_token: AccessToken) -> Json<Value> {
    Json(json!({ "hello": "world" }))
}

pub(crate) fn rocket(mut settings: Settings) -> Rocket<Build> {
    settings.error_style = ErrorStyle::Flask;
    rocket::build()
        .attach(Simplejwt::fairing().settings(settings))
        .mount("/token", token_routes())
        .mount("/", routes![login, logout, logout2, protected])
}
