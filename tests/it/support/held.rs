//! A user who holds tokens of every kind, and the ways to do something with them.

use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::mint::{jti, payload};
use super::server::{PASSWORD, Pair, Server};

/// A user with three sessions: a sliding token, which is the oldest, a pair, and another pair.
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) pair: Pair,
    pub(crate) sliding: String,
    pub(crate) other: Pair,
}

impl Held {
    pub(crate) fn new(server: &Server) -> Self {
        let name = server.another_user();
        let credentials = json!({ "username": name, "password": PASSWORD });
        let sliding = server.client().post_json("/api/token/sliding/", &credentials).string("token");
        let (pair, other) = (server.login(&name), server.login(&name));
        Self { id: server.user_id(&name), name, pair, sliding, other }
    }
}

/// The session of a token.
pub(crate) fn session(token: &str) -> String {
    payload(token)["sid"].as_str().expect("a session").to_owned()
}

/// A request with a token and a JSON body.
pub(crate) fn send(client: Client, method: &str, path: &str, token: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    client.request(method, path, &headers, body.to_string().as_bytes())
}

pub(crate) fn logout(server: &Server, token: &str, scope: &str) {
    let reply = send(server.client(), "POST", "/api/token/logout/", token, &json!({ "scope": scope }));
    assert_eq!(reply.status, 204, "{reply:?}");
}

/// Ends a session in the list of them.
pub(crate) fn end_in_list(server: &Server, holder: &str, session: &str) {
    let path = format!("/api/token/sessions/{session}/");
    let reply = send(server.client(), "DELETE", &path, holder, &json!({}));
    assert_eq!(reply.status, 204, "{reply:?}");
}

/// Revokes a refresh token in the list of them, or takes that back.
pub(crate) fn put_in_list(server: &Server, holder: &str, refresh: &str, revoke: bool) {
    let path = format!("/api/token/tokens/{}/", row_of(server, holder, refresh));
    let reply = send(server.client(), "PUT", &path, holder, &json!({ "revoke": revoke }));
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// The key of the row of a refresh token.
pub(crate) fn row_of(server: &Server, holder: &str, refresh: &str) -> Value {
    let reply = server.client().get("/api/token/tokens/", Some(holder));
    let tokens = reply.json()["tokens"].as_array().expect("a list").clone();
    tokens.into_iter().find(|token| token["jti"] == jti(refresh).as_str()).expect("the token")["token_id"].clone()
}

/// Runs a command that has to succeed.
pub(crate) fn cli(server: &Server, arguments: &[&str], input: &str) {
    let output = server.cli_stdin(arguments, input);
    assert!(output.success(), "{arguments:?}: {output:?}");
}
