//! As with djangorestframework-simplejwt: its routes at its paths, and a view that asks who calls.

use rocket::serde::json::Json;
use rocket::{Build, Rocket, get, routes};
use rocket_simplejwt::settings::Settings;
use rocket_simplejwt::{CurrentUser, Simplejwt, User, token_routes};
use serde_json::{Value, json};

#[get("/hello")]
fn hello(user: CurrentUser<User>) -> Json<Value> {
    Json(json!({ "hello": user.username }))
}

pub(crate) fn rocket(settings: Settings) -> Rocket<Build> {
    rocket::build()
        .attach(Simplejwt::fairing().settings(settings))
        .mount("/api/token", token_routes())
        .mount("/api", routes![hello])
}
