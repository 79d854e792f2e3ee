//! What an application with users of its own says when something happens to one of them: `password_changed` and `user_disabled`.
//! One process is the application, another the service, on one database.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{State, post, routes};
use rocket_simplejwt::{AccessToken, Refusal, RevokeReport, Simplejwt, token_routes};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::Client;
use crate::support::held::{Held, session};
use crate::support::mint::{self, KEY};
use crate::support::people::Everybody;
use crate::support::server::Server;

/// After so long, nothing that was revoked is accepted anywhere, however busy the machine is: the setting `staleness_bound`.
const BOUND: Duration = Duration::from_secs(1);

fn report(done: Result<RevokeReport, Refusal>) -> Result<Json<Value>, Status> {
    let report = done.map_err(|_| Status::ServiceUnavailable)?;
    Ok(Json(json!({ "sessions": report.sessions, "cutoff": report.cutoff.is_some() })))
}

/// A user sets another password.
#[post("/password")]
async fn password(token: AccessToken, jwt: &State<Simplejwt>) -> Result<Json<Value>, Status> {
    let user = token.user_id().ok_or(Status::BadRequest)?;
    report(jwt.password_changed(user, token.session()).await)
}

/// Somebody resets a password that was forgotten.
#[post("/reset/<user>")]
async fn reset(user: &str, jwt: &State<Simplejwt>) -> Result<Json<Value>, Status> {
    report(jwt.password_changed(user, None).await)
}

#[post("/disable/<user>")]
async fn disable(user: &str, jwt: &State<Simplejwt>) -> Result<Json<Value>, Status> {
    report(jwt.user_disabled(user).await)
}

/// The application, on the database of the service.
fn application(server: &Server) -> App {
    let key = str::from_utf8(KEY).expect("an ASCII key");
    let settings = format!("database_url = {:?}\nsigning_key = {key:?}", server.test_database().url());
    App::beside(server.shared_database(), &settings, |rocket| {
        let fairing = Simplejwt::fairing().authenticator(Everybody);
        rocket.attach(fairing).mount("/api/token", token_routes()).mount("/", routes![password, reset, disable])
    })
}

/// What is said of a token that may not be known to be good at the moment.
fn verify(client: Client, token: &str) -> u16 {
    let status = client.post_json("/api/token/verify/", &json!({ "token": token })).status;
    assert!([200, 401, 503].contains(&status), "{status}");
    status
}

fn settles(client: Client, token: &str, wanted: u16) -> bool {
    let begun = Instant::now();
    while verify(client, token) != wanted {
        if begun.elapsed() > Duration::from_secs(20) {
            return false;
        }
        sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn what_happens_to_a_user_of_an_application_ends_sessions_and_access_tokens_on_every_process() {
    let server = Server::new().set("staleness_bound", "\"1s\"").start_with_ada();
    let app = application(&server);
    let clients = [app.client(), server.client()];
    let reports = [
        ("/password", json!({ "sessions": 2, "cutoff": false }), "end_sessions", "password changed"),
        ("/reset", json!({ "sessions": 3, "cutoff": true }), "cut_off", "password changed"),
        ("/disable", json!({ "sessions": 3, "cutoff": true }), "cut_off", "user disabled"),
    ];
    for (path, expected, action, reason) in reports {
        let held = Held::new(&server);
        // As Django issues them: it names no session, and nobody recorded it.
        let bare = mint::claims("access").with("user_id", held.id.clone()).sign();
        let (gone, stays) = if path == "/password" {
            (vec![&held.pair.access, &held.pair.refresh, &held.sliding], vec![&held.other.access, &held.other.refresh])
        } else {
            let pairs = [&held.pair, &held.other].map(|pair| [&pair.access, &pair.refresh]);
            ([pairs.concat(), vec![&held.sliding, &bare]].concat(), Vec::new())
        };
        for client in clients {
            assert!(gone.iter().chain(&stays).all(|token| settles(client, token, 200)), "{path}: not good before");
        }
        let before = server.database().number("SELECT max(id) FROM simplejwt_event");

        let bearer = format!("Bearer {}", held.other.access);
        let to = if path == "/password" { path.to_owned() } else { format!("{path}/{}", held.id) };
        let reply = app.client().request("POST", &to, &[("Authorization", &bearer)], b"");
        assert_eq!((reply.status, reply.json()), (200, expected), "{path}");

        let acknowledged = Instant::now();
        for token in &gone {
            assert_ne!(verify(clients[0], token), 200, "{path}: refused at once where it was said");
        }
        sleep(BOUND.saturating_sub(acknowledged.elapsed()));
        for client in clients {
            for token in &gone {
                assert_ne!(verify(client, token), 200, "{path}: refused everywhere within the bound");
                assert!(settles(client, token, 401), "{path}");
            }
            assert!(stays.iter().all(|token| settles(client, token, 200)), "{path}: the session of the change goes on");
        }
        let event = |column: &str| {
            server.database().value(&format!("SELECT {column} FROM simplejwt_event WHERE id > {before}"))
        };
        let found = ["action", "target", "reason", "who", "via"].map(|column| event(column).unwrap_or_default());
        assert_eq!(found, [action, &format!("user:{}", held.id), reason, "application", "library"], "{path}");
        assert_eq!(event("session_id"), stays.first().map(|token| session(token)), "{path}");

        let after = server.login(&held.name);
        for client in clients {
            assert!(settles(client, &after.access, 200) && settles(client, &after.refresh, 200), "{path}: a new login");
        }
    }
}
