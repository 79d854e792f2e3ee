//! What guards ask beside a good token: that it is fresh, that it has a role, that it was not revoked, or not even that. Cases 92 to
//! 100, 105, 116, 121, 124 and 125; 101 and 102 are the list of one's own tokens, 103 and 104 are in
//! `http_cached`.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rocket::http::Status;
use rocket::{Build, Rocket, State, get, post, routes};
use rocket_simplejwt::{
    AccessToken, AnyToken, CurrentUser, Fresh, HasRole, Issue, Maybe, RefreshToken, Role, Simplejwt, SimplejwtFairing,
    SkipRevocation, Verified, token_routes,
};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::{Client, Reply};
use crate::support::mint::{Hash, KEY, claims, payload, sign};
use crate::support::now;
use crate::support::people::{Everybody, Somebody};

struct Editor;

impl Role for Editor {
    const ALLOW: &[&str] = &["editor", "admin"];
}

struct Anybody;

impl Role for Anybody {
    const CLAIM: &str = "group";
    const DENY: &[&str] = &["guest", "banned"];
}

#[get("/access")]
fn access(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/refresh")]
fn refresh(token: RefreshToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/maybe")]
fn maybe(token: Maybe<AccessToken>) -> &'static str {
    if token.0.is_some() { "somebody" } else { "stranger" }
}

#[get("/skip")]
fn skip(token: SkipRevocation<AccessToken>) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/fresh")]
fn fresh(token: Fresh<AccessToken>) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/maybe-fresh")]
fn maybe_fresh(token: Maybe<Fresh<AccessToken>>) -> &'static str {
    if token.0.is_some() { "fresh" } else { "stranger" }
}

#[get("/editor")]
fn editor(token: HasRole<Editor>) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/anybody")]
fn anybody(token: HasRole<Anybody, AccessToken>) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/fresh-editor")]
fn fresh_editor(token: HasRole<Editor, Fresh<AccessToken>>) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/me")]
fn me(user: CurrentUser<Somebody>) -> String {
    user.name.clone()
}

#[post("/logout")]
async fn logout(token: AnyToken) -> Result<String, Status> {
    token.blacklist().await.map_err(|_| Status::ServiceUnavailable)?;
    Ok(format!("{:?} revoked", token.kind()))
}

#[post("/issue?<fresh>")]
async fn issue(fresh: bool, jwt: &State<Simplejwt>) -> Result<String, Status> {
    let issue = Issue::access("ada").public_claim("email", "ada@example.org").private_claim("till", 7);
    let issue = if fresh { issue.fresh() } else { issue };
    let issued = jwt.issue(issue).await.map_err(|_| Status::BadRequest)?;
    Ok(issued.text)
}

#[get("/namespaced")]
fn namespaced(token: AccessToken) -> String {
    format!(
        "{:?} {:?}",
        token.public_claim::<String>("email").ok().flatten(),
        token.private_claim::<i64>("till").ok().flatten()
    )
}

fn application(fairing: SimplejwtFairing) -> impl FnOnce(Rocket<Build>) -> Rocket<Build> + Send + 'static {
    let here = routes![
        access,
        refresh,
        maybe,
        skip,
        fresh,
        maybe_fresh,
        editor,
        anybody,
        fresh_editor,
        me,
        logout,
        issue,
        namespaced
    ];
    |rocket| rocket.attach(fairing.authenticator(Everybody)).mount("/auth", token_routes()).mount("/", here)
}

fn launch(settings: &str) -> App {
    App::launch(settings, application(Simplejwt::fairing()))
}

fn login(client: Client) -> (String, String) {
    let reply = client.post_json("/auth/", &json!({"username": "ada", "password": "secret"}));
    (reply.string("access"), reply.string("refresh"))
}

fn revoke(client: Client, token: &str) -> Reply {
    client.request("POST", "/logout", &[("Authorization", &format!("Bearer {token}"))], b"")
}

fn said(reply: &Reply) -> (u16, &str) {
    (reply.status, &reply.text)
}

fn message(reply: &Reply) -> (u16, Value) {
    (reply.status, reply.json()["messages"][0]["message"].clone())
}

fn code(reply: &Reply) -> (u16, Value) {
    (reply.status, reply.json()["code"].clone())
}

// Cases 92, 93, 99 and 100, with simplejwt's text; flask's "Token has been revoked" is in `http_error_style`.
#[test]
fn what_a_logout_of_either_kind_revoked_opens_nothing() {
    let app = launch("");
    let client = app.client();
    let (access, refresh) = login(client);
    assert_eq!(said(&revoke(client, &access)), (200, "Known(Access) revoked"));
    for path in ["/access", "/maybe", "/fresh", "/me"] {
        assert_eq!(message(&client.get(path, Some(&access))), (401, json!("Token is blacklisted")), "{path}");
    }
    assert_eq!(said(&client.get("/refresh", Some(&refresh))), (200, "ada"), "an access token ends itself alone");
    assert_eq!(said(&revoke(client, &refresh)), (200, "Known(Refresh) revoked"));
    assert_eq!(message(&client.get("/refresh", Some(&refresh))), (401, json!("Token is blacklisted")));
    client.post_json("/auth/refresh/", &json!({"refresh": refresh})).assert_not_valid("Token is blacklisted");
    assert_eq!(said(&client.get("/maybe", None)), (200, "stranger"));
    // Sanic looks at the blacklist last, and answers 403 here.
    let reader = claims("access").with("role", "reader").sign();
    assert_eq!(revoke(client, &reader).status, 200);
    assert_eq!(client.get("/editor", Some(&reader)).status, 401);
}

// Case 94.
#[test]
fn a_kind_that_is_not_checked_is_good_until_it_expires() {
    let only_access = "blacklist_after_rotation = false\nblacklist_token_checks = [\"access\"]";
    for (settings, expected) in [(only_access, (401, 200)), ("blacklist_token_checks = [\"refresh\"]", (200, 401))] {
        let app = launch(settings);
        let client = app.client();
        let (access, refresh) = login(client);
        assert_eq!((revoke(client, &access).status, revoke(client, &refresh).status), (200, 200));
        let after = (client.get("/access", Some(&access)).status, client.get("/refresh", Some(&refresh)).status);
        assert_eq!(after, expected, "{settings}");
    }
}

// Case 95.
#[test]
fn one_route_may_leave_revocation_out_and_nothing_else() {
    let app = launch("");
    let client = app.client();
    let (access, refresh) = login(client);
    assert_eq!(said(&client.get("/skip", Some(&access))), (200, "ada"));
    assert_eq!(revoke(client, &access).status, 200);
    assert_eq!(client.get("/access", Some(&access)).status, 401);
    assert_eq!(said(&client.get("/skip", Some(&access))), (200, "ada"));
    let expired = claims("access").with("iat", now() - 60).with("exp", now() - 1).sign();
    let forged = claims("access").sign_with(Hash::Sha256, b"another key of thirty-two bytes or so");
    for bad in [refresh, expired, forged, "x".into()] {
        assert_eq!(code(&client.get("/skip", Some(&bad))), (401, json!("token_not_valid")));
    }
    client.get("/skip", None).assert(401, &json!({"detail": "Authentication credentials were not provided."}));
}

// Case 97: what cannot be asked is 503, and never "not revoked".
#[test]
fn a_store_that_does_not_answer_lets_nobody_in() {
    let away = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&away);
    let fairing = Simplejwt::fairing().token_in_blacklist(move |_| {
        let away = asked.load(Ordering::SeqCst);
        async move { if away { Err(std::io::Error::other("away")) } else { Ok(false) } }
    });
    let app = App::launch("", application(fairing));
    let (access, _) = login(app.client());
    assert_eq!(app.client().get("/access", Some(&access)).status, 200);
    away.store(true, Ordering::SeqCst);
    for path in ["/access", "/maybe", "/fresh", "/editor"] {
        assert_eq!(app.client().get(path, Some(&access)).status, 503, "{path}");
    }
}

// Case 98.
#[test]
fn an_allowlist_refuses_what_it_does_not_know() {
    let app = launch("record_access_tokens = true\nunknown_tokens = \"refuse\"");
    let (access, _) = login(app.client());
    assert_eq!(said(&app.client().get("/access", Some(&access))), (200, "ada"));
    let stranger = claims("access").with("user_id", "ada").sign();
    assert_eq!(app.client().get("/access", Some(&stranger)).status, 401);
}

// Case 105.
#[test]
fn without_a_blacklist_nothing_is_revoked_and_nobody_is_told_so() {
    let app = launch("blacklist = \"off\"\nblacklist_after_rotation = false");
    let client = app.client();
    let (access, refresh) = login(client);
    assert_eq!(client.post_json("/auth/blacklist/", &json!({"refresh": refresh})).status, 404);
    let revoked = revoke(client, &access);
    assert!(revoked.status >= 400, "{revoked:?}");
    assert_eq!(client.get("/access", Some(&access)).status, 200);
}

// Case 116. A token that is not fresh is 401, a refresh token as well (there: 422).
#[test]
fn a_fresh_route_takes_what_comes_right_from_a_login() {
    let app = launch("");
    let client = app.client();
    let (access, refresh) = login(client);
    assert_eq!(payload(&access)["fresh"], true);
    assert_eq!(payload(&refresh)["fresh"], Value::Null);
    assert_eq!(said(&client.get("/fresh", Some(&access))), (200, "ada"));
    let renewed = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    let stale = client.get("/fresh", Some(&renewed.string("access")));
    stale.assert(401, &json!({"detail": "Fresh token required", "code": "fresh_token_required"}));
    let challenge = r#"Bearer realm="api", error="insufficient_user_authentication""#;
    assert_eq!(stale.header("www-authenticate"), Some(challenge));
    assert_eq!(client.get("/maybe-fresh", Some(&renewed.string("access"))).status, 401);
    assert_eq!(said(&client.get("/maybe-fresh", None)), (200, "stranger"));
    for (fresh, status) in [
        (json!(true), 200),
        (json!(now() + 60), 200),
        (json!(now() - 1), 401),
        (json!(now()), 401),
        (json!(false), 401),
        (json!("true"), 401),
        (json!(1), 401),
        (json!(null), 401),
    ] {
        let token = claims("access").with("fresh", fresh.clone()).sign();
        assert_eq!(client.get("/fresh", Some(&token)).status, status, "{fresh}");
    }
    assert_eq!(client.get("/fresh", Some(&claims("access").sign())).status, 401);
    assert_eq!(code(&client.get("/fresh", Some(&renewed.string("refresh")))), (401, json!("token_not_valid")));
    let app = launch("public_claim_namespace = \"x\"\nfresh_lifetime = \"1h\"");
    let issue_here = |fresh: bool| app.client().request("POST", &format!("/issue?fresh={fresh}"), &[], b"").text;
    assert_eq!(payload(&issue_here(false))["fresh"], Value::Null, "whoever issues says so");
    let until = payload(&issue_here(true))["fresh"].as_i64().expect("an instant") - now();
    assert!((3590..=3600).contains(&until), "{until}");
}

#[test]
fn a_sliding_token_is_fresh_until_it_is_renewed() {
    let app = launch("");
    let login = app.client().post_json("/auth/sliding/", &json!({"username": "ada", "password": "secret"}));
    assert_eq!(payload(&login.string("token"))["fresh"], true);
    let slid = app.client().post_json("/auth/sliding/refresh/", &json!({"token": login.string("token")}));
    assert_eq!(payload(&slid.string("token"))["fresh"], Value::Null);
}

// Case 124.
#[test]
fn a_role_opens_what_is_for_it() {
    let app = launch("");
    let get = |path: &str, name: &str, role: Value| {
        app.client().get(path, Some(&claims("access").with("user_id", "ada").with(name, role).sign()))
    };
    for (role, status) in [
        (json!("editor"), 200),
        (json!(["reader", "admin"]), 200),
        (json!("reader"), 403),
        (json!("Editor"), 403),
        (json!(["reader"]), 403),
        (json!([]), 403),
        (json!(null), 403),
        (json!(7), 403),
        (json!(["editor", 7]), 403),
        (json!({"editor": true}), 403),
    ] {
        assert_eq!(get("/editor", "role", role.clone()).status, status, "{role}");
    }
    get("/editor", "role", json!("reader"))
        .assert(403, &json!({"detail": "You do not have permission to perform this action."}));
    for (group, status) in [
        (json!("staff"), 200),
        (json!(["staff", "night"]), 200),
        (json!("guest"), 403),
        (json!(["staff", "banned"]), 403),
        (json!([]), 403),
        (json!(7), 403),
    ] {
        assert_eq!(get("/anybody", "group", group.clone()).status, status, "{group}");
    }
    // Sanic lets in who has no role where some are denied.
    assert_eq!(app.client().get("/anybody", Some(&claims("access").sign())).status, 403);
    assert_eq!(app.client().get("/editor", None).status, 401);
    let fresh = claims("access").with("user_id", "ada").with("role", "editor").with("fresh", true);
    assert_eq!(said(&app.client().get("/fresh-editor", Some(&fresh.sign()))), (200, "ada"));
    assert_eq!(code(&get("/fresh-editor", "role", json!("editor"))), (401, json!("fresh_token_required")));
    assert_eq!(app.client().get("/fresh-editor", Some(&fresh.with("role", "reader").sign())).status, 403);
}

// Case 125. Sanic has the kind in the header `class`; ours is a claim, and no token with such a header is read.
#[test]
fn the_kind_is_what_the_signed_claim_says() {
    let app = launch("");
    let class = |kind: &str, class: &str| {
        let header = json!({"alg": "HS256", "typ": "JWT", "class": class}).to_string();
        sign(Hash::Sha256, KEY, header.as_bytes(), claims(kind).json().as_bytes())
    };
    for (kind, stated) in [("access", "refresh"), ("refresh", "access"), ("access", "access")] {
        assert_eq!(app.client().get("/access", Some(&class(kind, stated))).status, 401, "{kind} {stated}");
    }
    assert_eq!(app.client().get("/access", Some(&claims("access").sign())).status, 200);
    assert_eq!(app.client().get("/access", Some(&claims("something").sign())).status, 401);
    assert_eq!(app.client().get("/access", Some(&claims("access").without("token_type").sign())).status, 401);
}

// Case 121.
#[test]
fn claims_are_added_when_a_token_is_made_and_asked_for_when_it_is_used() {
    let region = Arc::new(std::sync::Mutex::new("eu"));
    let current = Arc::clone(&region);
    let fairing = Simplejwt::fairing()
        .claims(move |token| {
            let region = *current.lock().expect("no panic while it was held");
            [("region".to_owned(), json!(region)), ("kind".to_owned(), json!(token.kind.as_str()))]
                .into_iter()
                .collect()
        })
        .verify_claims(|token: &Verified| {
            token.claim::<String>("region").is_ok_and(|region| region.as_deref() != Some("xx"))
        });
    let app = App::launch("", application(fairing));
    let client = app.client();
    let (access, refresh) = login(client);
    assert_eq!((&payload(&access)["region"], &payload(&access)["kind"]), (&json!("eu"), &json!("access")));
    assert_eq!((&payload(&refresh)["region"], &payload(&refresh)["kind"]), (&json!("eu"), &json!("refresh")));
    assert_eq!(client.get("/access", Some(&access)).status, 200);
    *region.lock().expect("no panic while it was held") = "us";
    let renewed = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    assert_eq!(payload(&renewed.string("access"))["region"], "us", "not what the refresh token said");
    for token in [claims("access").with("region", "xx"), claims("access").with("region", 7)] {
        let text = token.sign();
        let refused = client.get("/access", Some(&text));
        assert_eq!(message(&refused), (401, json!("User claims verification failed")));
        for path in ["/maybe", "/skip", "/me"] {
            assert_eq!(client.get(path, Some(&text)).status, 401, "{path}");
        }
        client.post_json("/auth/verify/", &json!({"token": text})).assert_not_valid("User claims verification failed");
    }
    *region.lock().expect("no panic while it was held") = "xx";
    let (_, refresh) = login(client);
    client
        .post_json("/auth/refresh/", &json!({"refresh": refresh}))
        .assert_not_valid("User claims verification failed");
    let sliding = client.post_json("/auth/sliding/", &json!({"username": "ada", "password": "secret"})).string("token");
    client
        .post_json("/auth/sliding/refresh/", &json!({"token": sliding}))
        .assert_not_valid("User claims verification failed");
    let nobody = claims("access").with("user_id", "nobody").sign();
    client.get("/me", Some(&nobody)).assert(401, &json!({"detail": "User not found", "code": "user_not_found"}));
}

#[test]
fn a_request_asks_about_the_claims_of_its_token_once() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let fairing = Simplejwt::fairing().protect("/access").protect("/fresh-editor").verify_claims(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        true
    });
    let cookies = "transport = { token_location = [\"headers\", \"cookies\"], implicit_refresh = \"1m\" }";
    let app = App::launch(cookies, application(fairing));
    let client = app.client();
    let once = |what: &str, status: u16, ask: &dyn Fn() -> Reply| {
        let before = count.load(Ordering::SeqCst);
        let reply = ask();
        assert_eq!((reply.status, count.load(Ordering::SeqCst) - before), (status, 1), "{what}: {reply:?}");
        reply
    };
    let (access, refresh) = login(client);
    let sliding = client.post_json("/auth/sliding/", &json!({"username": "ada", "password": "secret"})).string("token");
    assert_eq!(count.load(Ordering::SeqCst), 0, "a login has no token");
    for (path, status) in [("/access", 200), ("/maybe", 200), ("/skip", 200), ("/me", 200), ("/fresh-editor", 403)] {
        once(path, status, &|| client.get(path, Some(&access)));
    }
    once("verify", 200, &|| client.post_json("/auth/verify/", &json!({ "token": access })));
    once("slide", 200, &|| client.post_json("/auth/sliding/refresh/", &json!({ "token": sliding })));
    // A cookie that is about to end is renewed by the answer.
    let old =
        claims("access").with("user_id", "ada").with("sid", payload(&access)["sid"].clone()).with("exp", now() + 30);
    let cookie = format!("__Host-access_token_cookie={}", old.sign());
    let renewed = once("cookie", 200, &|| client.request("GET", "/access", &[("Cookie", &cookie)], b""));
    assert!(!renewed.headers_named("set-cookie").is_empty(), "{renewed:?}");
    once("refresh", 200, &|| client.post_json("/auth/refresh/", &json!({ "refresh": refresh })));
    once("refresh of what was used up", 200, &|| client.post_json("/auth/refresh/", &json!({ "refresh": refresh })));
}

#[test]
fn claims_have_the_namespaces_of_the_settings() {
    let app = launch("public_claim_namespace = \"https://example.org/\"\nprivate_claim_prefix = \"app_\"");
    let token = app.client().request("POST", "/issue?fresh=false", &[], b"").text;
    let said_in_it = payload(&token);
    assert_eq!(
        (&said_in_it["https://example.org/email"], &said_in_it["app_till"]),
        (&json!("ada@example.org"), &json!(7))
    );
    assert_eq!(said(&app.client().get("/namespaced", Some(&token))), (200, "Some(\"ada@example.org\") Some(7)"));
    let without = launch("");
    assert_eq!(without.client().request("POST", "/issue?fresh=false", &[], b"").status, 400);
}

#[test]
fn tokens_that_flask_issued_are_good_under_its_names() {
    let app = launch(
        "user_id_claim = \"sub\"\ntoken_type_claim = \"type\"\nunknown_refresh_tokens = \"accept\"\nerror_style = \"flask\"",
    );
    let client = app.client();
    let token = |kind: &str| {
        let jti = uuid::Uuid::new_v4().to_string();
        let claims = json!({
            "fresh": true, "iat": now(), "jti": jti, "type": kind, "sub": "ada", "nbf": now(), "csrf": "x", "exp": now() + 60,
        });
        sign(Hash::Sha256, KEY, br#"{"alg":"HS256","typ":"JWT"}"#, claims.to_string().as_bytes())
    };
    assert_eq!(said(&client.get("/fresh", Some(&token("access")))), (200, "ada"));
    let refresh = token("refresh");
    assert_eq!(client.get("/access", Some(&refresh)).status, 422);
    let renewed = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    assert_eq!(said(&client.get("/access", Some(&renewed.string("access")))), (200, "ada"));
    assert_eq!(client.get("/fresh", Some(&renewed.string("access"))).status, 401);
    assert_eq!(revoke(client, &token("access")).status, 200);
}
