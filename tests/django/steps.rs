//! What both sides can be asked, at the same paths.

use serde_json::json;

use crate::django::{Django, succeed};
use crate::support::client::{Client, Reply};
use crate::support::mint::payload;
use crate::support::server::{Pair, Server};

/// Whether a protected view takes this token.
#[track_caller]
pub(crate) fn lets_in(client: Client, access: &str) -> bool {
    let reply = client.get("/api/token/whoami/", Some(access));
    assert!(matches!(reply.status, 200 | 401), "{reply:?}");
    reply.status == 200
}

pub(crate) fn refresh(client: Client, token: &str) -> Reply {
    client.post_json("/api/token/refresh/", &json!({ "refresh": token }))
}

/// The pair that a refresh token gives, which has to be good.
#[track_caller]
pub(crate) fn refreshed(client: Client, token: &str) -> Pair {
    let reply = refresh(client, token);
    assert_eq!(reply.status, 200, "{reply:?}");
    Pair { access: reply.string("access"), refresh: reply.string("refresh") }
}

pub(crate) fn verify(client: Client, token: &str) -> Reply {
    client.post_json("/api/token/verify/", &json!({ "token": token }))
}

/// Blacklists a refresh token, which has to be good.
#[track_caller]
pub(crate) fn blacklist(client: Client, token: &str) {
    let reply = client.post_json("/api/token/blacklist/", &json!({ "refresh": token }));
    assert_eq!((reply.status, reply.text.as_str()), (200, "{}"), "{reply:?}");
}

/// Fails unless the token cannot be refreshed because it stands on the blacklist.
#[track_caller]
pub(crate) fn assert_blacklisted(client: Client, token: &str) {
    refresh(client, token).assert_not_valid("Token is blacklisted");
}

/// Fails unless the token stands on the blacklist, by the word of the verify endpoint. To refresh one that a rotation has replaced would
/// be more than a question: a retry, or reuse.
#[track_caller]
pub(crate) fn assert_replaced(client: Client, token: &str) {
    let reply = verify(client, token);
    assert!(matches!(reply.status, 400 | 401) && reply.text.contains("Token is blacklisted"), "{reply:?}");
}

/// Adds `ada` at Django, which is where our server has its users from. Returns the primary key.
#[track_caller]
pub(crate) fn add_ada(django: &Django, server: &Server) -> String {
    let id = django.add_user("ada");
    assert_eq!(payload(&server.login("ada").access)["user_id"], id.as_str(), "the same user on both sides");
    id
}

/// A token that our command line issues.
#[track_caller]
pub(crate) fn issue(server: &Server, user: &str, kind: &str) -> String {
    succeed(server, &["issue", &format!("--user={user}"), "--kind", kind]).stdout.trim().to_owned()
}
