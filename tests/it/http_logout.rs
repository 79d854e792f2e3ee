//! Logging out, and the lists of one's own sessions and tokens. Cases 100 to 102.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, Reply};
use crate::support::database::BLACKLISTED;
use crate::support::mint::{self, jti};
use crate::support::server::{PASSWORD, Pair, Server};

/// A request with a token and a JSON body.
fn send(client: Client, method: &str, path: &str, token: &str, body: Option<&Value>) -> Reply {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("Authorization", bearer.as_str())];
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    client.request(method, path, &headers, body.as_bytes())
}

fn logout(client: Client, token: &str, scope: Option<&str>) -> Reply {
    let body = scope.map(|scope| json!({ "scope": scope }));
    send(client, "POST", "/api/token/logout/", token, body.as_ref())
}

/// Whether an access token opens a route, and a refresh token gets a new one.
fn works(client: Client, pair: &Pair) -> (bool, bool) {
    let access = client.get("/api/token/whoami/", Some(&pair.access)).status;
    let refresh = client.post_json("/api/token/verify/", &json!({ "token": pair.refresh })).status;
    for status in [access, refresh] {
        assert!([200, 401].contains(&status), "{status}");
    }
    (access == 200, refresh == 200)
}

fn sessions(client: Client, token: &str) -> Vec<Value> {
    let reply = client.get("/api/token/sessions/", Some(token));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["sessions"].as_array().expect("a list").clone()
}

fn session_of(client: Client, pair: &Pair) -> String {
    client.get("/api/token/whoami/", Some(&pair.access)).string("session")
}

#[test]
fn a_logout_ends_the_session_of_the_token_the_others_or_all() {
    let server = Server::new().start_with_ada();
    let client = server.client();
    let login = || server.login("ada");
    for (scope, expected) in [
        (None, [false, true, true]),
        (Some("local"), [false, true, true]),
        (Some("others"), [true, false, true]),
        (Some("global"), [false, false, true]),
    ] {
        let stranger = server.another_user();
        let pairs = [login(), login(), server.login(&stranger)];
        let reply = logout(client, &pairs[0].access, scope);
        assert_eq!((reply.status, reply.text.as_str()), (204, ""), "{scope:?}: {reply:?}");
        let left: Vec<_> = pairs.iter().map(|pair| works(client, pair)).collect();
        assert_eq!(left, expected.map(|works| (works, works)), "{scope:?}");
        assert_eq!(works(client, &login()), (true, true), "whoever logs in afterwards is in");
    }
}

/// Case 100, and more: whatever the client holds logs it out.
#[test]
fn a_logout_takes_a_token_of_any_kind() {
    let server = Server::new().set("auth_token_classes", r#"["access", "sliding"]"#).start_with_ada();
    let client = server.client();
    let pair = server.login("ada");
    assert_eq!(logout(client, &pair.refresh, None).status, 204);
    assert_eq!(works(client, &pair), (false, false));
    let reply = client.post_json("/api/token/sliding/", &json!({ "username": "ada", "password": PASSWORD }));
    let sliding = reply.string("token");
    assert_eq!(client.get("/api/token/whoami/", Some(&sliding)).status, 200);
    assert_eq!(logout(client, &sliding, None).status, 204);
    assert_eq!(client.get("/api/token/whoami/", Some(&sliding)).status, 401);
    // As Django issues it: no session, so that it goes alone.
    let bare = mint::claims("access").with("user_id", server.user_id("ada")).sign();
    assert_eq!(client.get("/api/token/whoami/", Some(&bare)).status, 200);
    assert_eq!(logout(client, &bare, Some("others")).status, 400, "nobody can tell which the others are");
    assert_eq!(logout(client, &bare, None).status, 204);
    assert_eq!(client.get("/api/token/whoami/", Some(&bare)).status, 401);
}

#[test]
fn what_is_no_logout_ends_nothing() {
    let server = Server::new().start_with_ada();
    let client = server.client();
    let pair = server.login("ada");
    let path = "/api/token/logout/";
    assert_eq!(client.post_json(path, &json!({})).status, 401);
    assert_eq!(logout(client, &format!("{}x", pair.access), None).status, 401);
    for scope in ["", "all", "LOCAL"] {
        let reply = logout(client, &pair.access, Some(scope));
        reply.assert(400, &json!({ "scope": ["Not a scope; use local, others or global."] }));
    }
    let reply = send(client, "POST", path, &pair.access, Some(&json!({ "scope": 7 })));
    assert_eq!(reply.status, 400, "{reply:?}");
    for method in ["GET", "DELETE", "PUT"] {
        assert_eq!(send(client, method, path, &pair.access, None).status, 405, "{method}");
    }
    assert_eq!(works(client, &pair), (true, true));
}

#[test]
fn to_log_out_once_more_is_no_error_but_ends_nobody_elses_session() {
    let server = Server::new().start_with_ada();
    let client = server.client();
    let (gone, other) = (server.login("ada"), server.login("ada"));
    for token in [&gone.access, &gone.access, &gone.refresh] {
        assert_eq!(logout(client, token, None).status, 204);
    }
    for scope in ["others", "global"] {
        let reply = logout(client, &gone.access, Some(scope));
        assert_eq!((reply.status, reply.string("code")), (401, "token_not_valid".to_owned()));
    }
    assert_eq!(works(client, &other), (true, true));
    let events = server.database().count("simplejwt_event WHERE action <> 'add_user'");
    assert_eq!(events, 1, "what changes nothing is no event");
}

#[test]
fn a_logout_is_on_the_blacklist_that_django_reads() {
    let server = Server::new().start_with_ada();
    let client = server.client();
    let (one, _two) = (server.login("ada"), server.login("ada"));
    assert_eq!(logout(client, &one.access, None).status, 204);
    assert_eq!(server.database().count(BLACKLISTED), 1);
    assert_eq!(logout(client, &server.login("ada").access, Some("global")).status, 204);
    assert_eq!(server.database().count(BLACKLISTED), 3);
}

#[test]
fn own_sessions_are_listed_and_ended() {
    let server = Server::new().start_with_ada();
    let client = server.client();
    let credentials = json!({ "username": "ada", "password": PASSWORD }).to_string();
    let headers = [("Content-Type", "application/json"), ("User-Agent", "Phone/7")];
    let reply = client.request("POST", "/api/token/", &headers, credentials.as_bytes());
    let phone = Pair { access: reply.string("access"), refresh: reply.string("refresh") };
    let here = server.login("ada");
    let list = sessions(client, &here.access);
    let (mine, other) = (&list[0], &list[1]);
    assert_eq!((list.len(), &mine["current"], &other["current"]), (2, &json!(true), &json!(false)), "{list:?}");
    assert_eq!((&other["user_agent"], &other["address"]), (&json!("Phone/7"), &json!("127.0.0.1")));
    assert_eq!(
        (mine["id"].as_str(), other["id"].as_str()),
        (Some(&*session_of(client, &here)), Some(&*session_of(client, &phone)))
    );
    for field in ["created_at", "last_used_at"] {
        let at = other[field].as_str().expect("an instant");
        assert!(chrono::DateTime::parse_from_rfc3339(at).is_ok(), "{at}");
    }

    let path = format!("/api/token/sessions/{}/", other["id"].as_str().expect("a name"));
    for _ in 0..2 {
        let reply = send(client, "DELETE", &path, &here.access, None);
        assert_eq!((reply.status, reply.text.as_str()), (204, ""), "{reply:?}");
    }
    assert_eq!(works(client, &phone), (false, false));
    assert_eq!(works(client, &here), (true, true));
    assert_eq!(sessions(client, &here.access).len(), 1);
    assert_eq!(client.get("/api/token/sessions", Some(&phone.access)).status, 401);
}

#[test]
fn somebody_elses_session_an_unknown_one_and_what_is_none_are_answered_alike() {
    let server = Server::new().start_with_ada();
    let client = server.client();
    let stranger = server.another_user();
    let (here, theirs) = (server.login("ada"), server.login(&stranger));
    let foreign = session_of(client, &theirs);
    let unknown = "01890000-0000-7000-8000-000000000000".to_owned();
    for id in [foreign.clone(), foreign.to_uppercase(), unknown, "x".to_owned(), "..".to_owned(), "%2e%2e".to_owned()] {
        let reply = send(client, "DELETE", &format!("/api/token/sessions/{id}/"), &here.access, None);
        if id.contains('.') || id.contains('%') {
            assert!([401, 404].contains(&reply.status), "{id}: {reply:?}");
        } else {
            reply.assert(404, &json!({ "detail": "Not found." }));
        }
    }
    assert_eq!(works(client, &theirs), (true, true));
    assert_eq!(sessions(client, &here.access).len(), 1);
    let reply = send(client, "DELETE", &format!("/api/token/sessions/{foreign}/"), "x", None);
    assert_eq!(reply.status, 401);
}

#[test]
fn long_lists_of_sessions_come_in_pages() {
    let server = Server::new().start_with_ada();
    let client = server.client();
    for _ in 0..3 {
        server.login("ada");
    }
    let here = server.login("ada");
    let first = client.get("/api/token/sessions/?limit=2", Some(&here.access)).json();
    let next = first["next"].as_str().expect("more").to_owned();
    assert_eq!((first["sessions"].as_array().map(Vec::len), &first["sessions"][1]["id"]), (Some(2), &json!(next)));
    let second = client.get(&format!("/api/token/sessions?limit=2&after={next}"), Some(&here.access)).json();
    assert_eq!((second["sessions"].as_array().map(Vec::len), &second["next"]), (Some(2), &json!(null)));
    for bad in ["after=x", "limit=0", "limit=101", "limit=-1", "limit=x"] {
        assert_eq!(client.get(&format!("/api/token/sessions?{bad}"), Some(&here.access)).status, 400, "{bad}");
    }
}

fn own_tokens() -> Server {
    Server::new().set("own_tokens_routes", "true").start_with_ada()
}

fn put(client: Client, token: &str, id: &Value, revoke: bool) -> Reply {
    send(client, "PUT", &format!("/api/token/tokens/{id}/"), token, Some(&json!({ "revoke": revoke })))
}

/// An access token of ada's that says it is fresh.
fn fresh(server: &Server, claim: Value) -> String {
    mint::claims("access").with("user_id", server.user_id("ada")).with("fresh", claim).sign()
}

fn list(client: Client, token: &str) -> Vec<Value> {
    let reply = client.get("/api/token/tokens/", Some(token));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["tokens"].as_array().expect("a list").clone()
}

/// Case 101.
#[test]
fn own_tokens_are_listed_with_whether_they_are_revoked_and_nobody_elses() {
    let server = own_tokens();
    let client = server.client();
    let stranger = server.another_user();
    let (here, gone, _theirs) = (server.login("ada"), server.login("ada"), server.login(&stranger));
    assert_eq!(logout(client, &gone.access, None).status, 204);
    let tokens = list(client, &here.access);
    let shown: Vec<_> = tokens.iter().map(|it| (it["jti"].as_str().expect("a jti"), &it["revoked"])).collect();
    assert_eq!(shown, [(&*jti(&here.refresh), &json!(false)), (&*jti(&gone.refresh), &json!(true))]);
    assert_eq!(
        (&tokens[0]["token_type"], &tokens[0]["user_identity"]),
        (&json!("refresh"), &json!(server.user_id("ada")))
    );
    assert!(tokens[0]["token_id"].is_i64() && tokens[0]["expires"].is_string(), "{tokens:?}");
}

/// Case 102.
#[test]
fn a_user_revokes_a_token_and_takes_it_back() {
    let server = own_tokens();
    let client = server.client();
    let (here, there) = (server.login("ada"), server.login("ada"));
    let id = list(client, &here.access)[1]["token_id"].clone();
    put(client, &here.access, &id, true).assert(200, &json!({ "detail": "Token revoked" }));
    assert_eq!(works(client, &there), (false, false));
    let renewed = client.post_json("/api/token/refresh/", &json!({ "refresh": here.refresh })).string("access");
    let reply = put(client, &renewed, &id, false);
    reply.assert(401, &json!({ "detail": "Fresh token required", "code": "fresh_token_required" }));
    for stale in [json!(false), json!(1), json!("true"), json!(null)] {
        assert_eq!(put(client, &fresh(&server, stale), &id, false).status, 401);
    }
    put(client, &here.access, &id, false).assert(200, &json!({ "detail": "Token unrevoked" }));
    assert_eq!(works(client, &there), (true, true), "usable again");
    put(client, &here.access, &id, true).assert(200, &json!({ "detail": "Token revoked" }));
    let soon = json!(crate::support::now() + 60);
    put(client, &fresh(&server, soon), &id, false).assert(200, &json!({ "detail": "Token unrevoked" }));

    let path = format!("/api/token/tokens/{id}/");
    let reply = send(client, "PUT", &path, &here.access, Some(&json!({})));
    reply.assert(400, &json!({ "detail": "Missing 'revoke' in body" }));
    for wrong in [json!("true"), json!(1), json!(null)] {
        let reply = send(client, "PUT", &path, &here.access, Some(&json!({ "revoke": wrong })));
        reply.assert(400, &json!({ "detail": "'revoke' must be a boolean" }));
    }
    let stranger = server.another_user();
    let theirs = server.login(&stranger);
    let unknown = json!(i64::MAX);
    let token = fresh(&server, json!(true));
    for (holder, id) in
        [(&theirs.access, &id), (&here.access, &unknown), (&here.access, &json!(-5)), (&token, &unknown)]
    {
        let revoke = *holder != token;
        put(client, holder, id, revoke).assert(404, &json!({ "detail": "The specified token was not found" }));
    }
    assert_eq!(works(client, &there), (true, true));
}

#[test]
fn a_user_takes_back_only_what_the_user_revoked_there() {
    let server = own_tokens();
    let client = server.client();
    let here = server.login("ada");
    let token = fresh(&server, json!(true));
    let refused = |pair: &Pair, id: &Value, status: u16| {
        let reply = put(client, &token, id, false);
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(works(client, pair), (false, false));
    };
    let newest = || {
        let pair = server.login("ada");
        let tokens = list(client, &here.access);
        (pair, tokens.last().expect("a token")["token_id"].clone())
    };
    // A logout.
    let (pair, id) = newest();
    assert_eq!(logout(client, &pair.access, None).status, 204);
    refused(&pair, &id, 403);
    // An operator, who comes first,
    let (pair, id) = newest();
    assert!(server.cli(&["blacklist", &jti(&pair.refresh)]).success());
    put(client, &here.access, &id, true).assert(200, &json!({ "detail": "Token revoked" }));
    refused(&pair, &id, 403);
    // or later.
    let (pair, id) = newest();
    put(client, &here.access, &id, true).assert(200, &json!({ "detail": "Token revoked" }));
    assert!(server.cli(&["blacklist", &jti(&pair.refresh)]).success());
    refused(&pair, &id, 403);
    // A cutoff since.
    let (pair, id) = newest();
    put(client, &here.access, &id, true).assert(200, &json!({ "detail": "Token revoked" }));
    assert!(server.cli(&["blacklist", "--user", &server.user_id("ada")]).success());
    // A token without a session tells its beginning to the second: one of a later second than the cutoff is good.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(put(client, &fresh(&server, json!(true)), &id, false).status, 409);
    assert_eq!(works(client, &pair), (false, false));
}

#[test]
fn own_tokens_are_not_there_unless_somebody_switches_them_on() {
    let server = Server::new().start_with_ada();
    let client = server.client();
    let here = server.login("ada");
    for (method, path) in [("GET", "/api/token/tokens/"), ("PUT", "/api/token/tokens/1/")] {
        let body = json!({ "revoke": true });
        let body = (method == "PUT").then_some(&body);
        send(client, method, path, &here.access, body).assert(404, &json!({ "detail": "Not found." }));
    }
}

#[test]
fn a_password_change_and_a_disabled_user_end_every_session_and_access_tokens_without_one() {
    let server = Server::new().start_with_ada();
    let client = server.client();
    let id = server.user_id("ada");
    let issue = || server.cli(&["issue", "--user", &id, "--kind", "access"]).stdout.trim().to_owned();
    for (command, input) in [(&["users", "passwd", "ada"][..], PASSWORD), (&["users", "disable", "ada"], "")] {
        let (pair, bare) = (server.login("ada"), issue());
        assert_eq!(client.get("/api/token/whoami/", Some(&bare)).status, 200);
        let changed = server.cli_stdin(command, input);
        assert!(changed.success(), "{changed:?}");
        let deadline = Instant::now() + Duration::from_secs(10);
        while works(client, &pair) != (false, false) {
            assert!(Instant::now() < deadline, "{command:?} is not known yet");
        }
        assert_eq!(client.get("/api/token/whoami/", Some(&bare)).status, 401, "{command:?}");
    }
}
