//! As with `Flask_Blacklist`: a table of the application's own with the jtis of before, read into memory, and a logout.

use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{Build, Rocket, State, delete, get, post, routes};
use rocket_simplejwt::blacklist::{BlacklistError, Blacklisted};
use rocket_simplejwt::service::Source;
use rocket_simplejwt::settings::Settings;
use rocket_simplejwt::token::{Clock as _, Jti, Revocable, SystemClock};
use rocket_simplejwt::{AccessToken, Issue, Refusal, Simplejwt, async_trait};
use serde_json::{Value, json};

/// The table `token` of before. What is revoked from now on goes into the ledger.
struct OldTokens;

impl OldTokens {
    fn get_blacklisted() -> Vec<&'static str> {
        vec!["0c9c1a5a8e6b4f0f9d0e6f0f3c1b2a3d"]
    }
}

#[async_trait]
impl Source for OldTokens {
    async fn get_blacklisted(&self, _since: Option<i64>) -> Result<Blacklisted, BlacklistError> {
        let until = SystemClock::default().now() + Duration::from_secs(30 * 24 * 60 * 60);
        let jtis = Self::get_blacklisted().into_iter().filter_map(|jti| jti.parse::<Jti>().ok());
        Ok(Blacklisted::everything(jtis.map(|jti| Revocable::Token { jti, until })))
    }
}

#[post("/v1/auth/token")]
async fn login(jwt: &State<Simplejwt>) -> Result<String, rocket::http::Status> {
    let issued = jwt.issue(Issue::access("test")).await;
    issued.map(|token| token.text).map_err(|_| rocket::http::Status::ServiceUnavailable)
}

#[delete("/v1/auth/token")]
async fn invalidate(token: AccessToken) -> Json<Value> {
    Json(match token.blacklist().await {
        Ok(()) => json!({ "success": true, "message": "token invalidated" }),
        Err(Refusal::Unavailable(_)) => json!({ "success": false, "message": "try again" }),
        Err(_) => json!({ "success": false }),
    })
}

#[get("/v1/me")]
fn me(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

pub(crate) fn rocket(settings: Settings) -> Rocket<Build> {
    let fairing = Simplejwt::fairing().settings(settings).blacklist_source(OldTokens);
    rocket::build().attach(fairing).mount("/", routes![login, invalidate, me])
}
