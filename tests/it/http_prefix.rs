//! The routes of this crate below a protected prefix: each asks for what it needs itself, and nothing beside them is open.

use rocket::{get, routes};
use rocket_simplejwt::{Simplejwt, token_routes};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::{Client, Reply};
use crate::support::held::{send, session};
use crate::support::people::Everybody;
use crate::support::server::Pair;

#[get("/unguarded")]
fn unguarded() -> &'static str {
    "nobody asked"
}

fn launch() -> App {
    App::launch("own_tokens_routes = true", |rocket| {
        let fairing = Simplejwt::fairing().authenticator(Everybody).protect("/");
        let rocket = rocket.attach(fairing).mount("/api/token", token_routes());
        rocket.mount("/", routes![unguarded]).mount("/api/token/sessions", routes![unguarded])
    })
}

fn login(client: Client) -> Pair {
    let reply = client.post_json("/api/token/", &json!({ "username": "ada", "password": "secret" }));
    Pair { access: reply.string("access"), refresh: reply.string("refresh") }
}

fn bare(client: Client, method: &str, path: &str, body: &Value) -> Reply {
    client.request(method, path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
}

#[test]
fn the_routes_for_ones_own_sessions_and_tokens_ask_themselves() {
    let app = launch();
    let client = app.client();
    let (pair, other) = (login(client), login(client));
    let end = format!("/api/token/sessions/{}/", session(&other.access));
    let id = client.get("/api/token/tokens/", Some(&pair.access)).json()["tokens"][1]["token_id"].clone();
    let change = format!("/api/token/tokens/{id}/");
    let asks: [(&str, &str, Value, u16); 6] = [
        ("GET", "/api/token/whoami/", json!({}), 200),
        ("GET", "/api/token/sessions/", json!({}), 200),
        ("GET", "/api/token/tokens/", json!({}), 200),
        ("PUT", &change, json!({ "revoke": true }), 200),
        ("PUT", &change, json!({ "revoke": false }), 200),
        ("DELETE", &end, json!({}), 204),
    ];
    for (method, path, body, good) in &asks {
        for path in [path, path.trim_end_matches('/')] {
            for (what, reply) in [
                ("no token", bare(client, method, path, body)),
                ("no good token", send(client, method, path, "x", body)),
                ("a refresh token", send(client, method, path, &pair.refresh, body)),
            ] {
                assert_eq!(reply.status, 401, "{what}: {method} {path}: {reply:?}");
                assert!(reply.header("www-authenticate").is_some(), "{what}: {method} {path}: {reply:?}");
            }
            let reply = send(client, method, path, &pair.access, body);
            assert_eq!(reply.status, *good, "{method} {path}: {reply:?}");
        }
    }
    let logout = "/api/token/logout/";
    assert_eq!(bare(client, "POST", logout, &json!({})).status, 401);
    assert_eq!(send(client, "POST", logout, "x", &json!({})).status, 401);
    // The prefix takes access tokens alone, and a logout whatever the client holds.
    assert_eq!(send(client, "POST", logout, &pair.refresh, &json!({})).status, 204);
    for (method, path, body, _) in &asks {
        assert_eq!(send(client, method, path, &pair.access, body).status, 401, "{method} {path}: it is revoked");
    }
}

#[test]
fn nothing_beside_them_is_open() {
    let app = launch();
    let client = app.client();
    let id = "01890000-0000-7000-8000-000000000000";
    let paths = [
        "/unguarded".to_owned(),
        "/nowhere".to_owned(),
        "/api/token/nowhere".to_owned(),
        "/api/token/logout/unguarded".to_owned(),
        "/api/token/sessions/unguarded/more".to_owned(),
        format!("/api/token/sessions/{id}/unguarded"),
        format!("/api/token/sessions/{id}/../unguarded"),
        "/api/token/tokens/1/2".to_owned(),
        "/api/token/tokens/..".to_owned(),
        "/api/token/tokens/%2e%2e/unguarded".to_owned(),
        "/api/token/tokens/1;x".to_owned(),
        "/api/token/tokens/x%2funguarded".to_owned(),
        "/api/token/sessions/../../../unguarded".to_owned(),
        "//api/token/sessions/../unguarded".to_owned(),
    ];
    for path in &paths {
        for method in ["GET", "PUT", "DELETE", "POST"] {
            let reply = bare(client, method, path, &json!({}));
            assert!([400, 401].contains(&reply.status), "{method} {path}: {reply:?}");
            assert!(!reply.text.contains("nobody asked"), "{method} {path}: {reply:?}");
        }
    }
    // A route of the application in the place of a session or of a token is no route of ours.
    let reply = client.get("/api/token/sessions/unguarded", None);
    assert_eq!(reply.status, 401, "{reply:?}");
    let access = login(client).access;
    assert_eq!(client.get("/api/token/sessions/unguarded", Some(&access)).text, "nobody asked");
    assert_eq!(client.get("/unguarded", Some(&access)).text, "nobody asked");
}
