//! What an application brings along to refuse tokens: a store, a list, a closure. What the settings say of what is checked.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use chrono::DateTime;
use rocket::serde::json::Json;
use rocket::tokio::runtime::Runtime;
use rocket::{Build, Rocket, State, get, post, routes};
use rocket_simplejwt::blacklist::{
    Blacklist, BlacklistError, Blacklisted, InMemoryBlacklist, Presented, Revocable, Source,
};
use rocket_simplejwt::{AnyToken, Issue, Simplejwt, SimplejwtFairing, Verified, async_trait, token_routes};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::{Client, Reply};
use crate::support::mint::{claims, jti};
use crate::support::now;
use crate::support::server::Server;

#[get("/any")]
fn any(token: AnyToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[post("/tokens/<user>")]
async fn issue(user: &str, jwt: &State<Simplejwt>) -> Json<Value> {
    let pair = jwt.issue_pair(Issue::refresh(user)).await.expect("a pair");
    Json(json!({"access": pair.access.text, "refresh": pair.refresh.text}))
}

fn launch(settings: &str, bring: impl FnOnce(SimplejwtFairing) -> SimplejwtFairing + Send + 'static) -> App {
    App::launch(settings, |rocket: Rocket<Build>| {
        rocket.attach(bring(Simplejwt::fairing())).mount("/auth", token_routes()).mount("/", routes![any, issue])
    })
}

fn pair(client: Client, user: &str) -> (String, String) {
    let reply = client.post_json(&format!("/tokens/{user}"), &json!({}));
    (reply.string("access"), reply.string("refresh"))
}

fn use_of(client: Client, token: &str) -> Reply {
    client.get("/any", Some(token))
}

#[track_caller]
fn assert_good(client: Client, token: &str) {
    let reply = use_of(client, token);
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[track_caller]
fn assert_blacklisted(client: Client, token: &str) {
    let reply = use_of(client, token);
    assert!(reply.status == 401 && reply.text.contains("Token is blacklisted"), "{reply:?}");
}

#[track_caller]
fn assert_unavailable(client: Client, token: &str) {
    let reply = use_of(client, token);
    assert!(reply.status == 503 && reply.header("retry-after").is_some(), "{reply:?}");
    assert!(!reply.text.contains("hunter2"), "{reply:?}");
}

#[track_caller]
fn eventually(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never comes to that");
        sleep(Duration::from_millis(10));
    }
}

fn token(text: &str) -> Revocable {
    let until = DateTime::from_timestamp(now() + 3600, 0).expect("an instant");
    Revocable::Token { jti: jti(text).parse().expect("a jti"), until }
}

/// A store that can be away.
#[derive(Clone, Default)]
struct Store {
    inner: InMemoryBlacklist,
    away: Arc<Mutex<bool>>,
}

impl Store {
    fn set_away(&self, away: bool) {
        *self.away.lock().expect("no panic while it was held") = away;
    }

    fn check(&self) -> Result<(), BlacklistError> {
        let away = *self.away.lock().expect("no panic while it was held");
        if away { Err(BlacklistError::of("the store is away, password hunter2")) } else { Ok(()) }
    }
}

#[async_trait]
impl Blacklist for Store {
    async fn register(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.check()?;
        self.inner.register(what).await
    }

    async fn is_blacklisted(&self, token: &Presented<'_>) -> Result<bool, BlacklistError> {
        self.check()?;
        self.inner.is_blacklisted(token).await
    }

    async fn unregister(&self, what: &Revocable) -> Result<(), BlacklistError> {
        self.check()?;
        self.inner.unregister(what).await
    }
}

#[test]
fn a_store_of_the_applications_own_is_told_of_every_revocation_and_asked_about_every_token() {
    let store = Store::default();
    let app = launch("", {
        let store = store.clone();
        |fairing| fairing.blacklist(store)
    });
    let (client, runtime) = (app.client(), Runtime::new().expect("a runtime"));
    let (access, refresh) = pair(client, "ada");
    assert_good(client, &access);

    // What the application registers by itself.
    let own = claims("access").with("user_id", "ada").sign();
    assert_good(client, &own);
    runtime.block_on(store.register(&token(&own))).expect("a store that takes it");
    assert_blacklisted(client, &own);
    // Also a refresh token, of which the ledger knows nothing bad.
    let (_, second) = pair(client, "ada");
    runtime.block_on(store.register(&token(&second))).expect("a store that takes it");
    let reply = client.post_json("/auth/refresh/", &json!({"refresh": second}));
    assert!(reply.status == 401 && reply.text.contains("Token is blacklisted"), "{reply:?}");

    // Ours, before it is acknowledged.
    client.post_json("/auth/blacklist/", &json!({"refresh": refresh})).assert(200, &json!({}));
    assert_blacklisted(client, &access);
    // Django's, soon.
    let django = claims("access").with("user_id", "ada");
    app.database().record_as_django(&django);
    assert_good(client, &django.sign());
    app.database().blacklist_as_django(django.jti());
    eventually(|| use_of(client, &django.sign()).status == 401);

    // An error is not "no", and what the store did not take is not acknowledged.
    let (access, refresh) = pair(client, "ada");
    assert_good(client, &access);
    store.set_away(true);
    assert_unavailable(client, &access);
    let reply = client.post_json("/auth/blacklist/", &json!({"refresh": refresh}));
    assert_eq!(reply.status, 503, "{reply:?}");
    store.set_away(false);
    eventually(|| use_of(client, &access).status == 401);
}

/// The list of the application, as Flask-Blacklist has one.
#[derive(Clone, Default)]
struct List(Arc<Mutex<Option<Vec<Revocable>>>>);

#[async_trait]
impl Source for List {
    async fn get_blacklisted(&self, _: Option<i64>) -> Result<Blacklisted, BlacklistError> {
        let list = self.0.lock().expect("no panic while it was held").clone();
        Ok(Blacklisted::everything(list.ok_or_else(|| BlacklistError::of("the list is away, password hunter2"))?))
    }
}

#[test]
fn a_list_of_the_applications_own_is_refused_beside_what_the_ledger_refuses() {
    for blacklist in ["cached", "database"] {
        let (bad, good) = (claims("access").sign(), claims("access").sign());
        let list = List(Arc::new(Mutex::new(Some(vec![token(&bad)]))));
        let app = launch(&format!("blacklist = \"{blacklist}\"\nstaleness_bound = \"1s\""), {
            let list = list.clone();
            |fairing| fairing.blacklist_source(list)
        });
        let client = app.client();
        assert_blacklisted(client, &bad);
        assert_good(client, &good);
        list.0.lock().expect("no panic while it was held").as_mut().expect("a list").push(token(&good));
        eventually(|| use_of(client, &good).status == 401);
        let (access, refresh) = pair(client, "ada");
        assert_good(client, &access);
        client.post_json("/auth/blacklist/", &json!({"refresh": refresh})).assert(200, &json!({}));
        assert_blacklisted(client, &access);
        // What it said last is too old after a second.
        let other = claims("access").sign();
        assert_good(client, &other);
        *list.0.lock().expect("no panic while it was held") = None;
        eventually(|| use_of(client, &other).status == 503);
        assert_unavailable(client, &other);
    }
}

#[test]
fn a_closure_of_the_applications_own_sees_every_token_and_its_error_is_not_no() {
    let app = launch("", |fairing| {
        fairing.token_in_blacklist(async |token: Verified| match token.user_id() {
            Some("broken") => Err("the bans are away, password hunter2"),
            user => Ok(user == Some("banned")),
        })
    });
    let client = app.client();
    let (ada, refresh) = pair(client, "ada");
    assert_good(client, &ada);
    assert_good(client, &refresh);
    let (access, refresh) = pair(client, "banned");
    assert_blacklisted(client, &access);
    assert_blacklisted(client, &refresh);
    let reply = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    assert!(reply.status == 401 && reply.text.contains("Token is blacklisted"), "{reply:?}");
    let (access, refresh) = pair(client, "broken");
    assert_unavailable(client, &access);
    assert_unavailable(client, &refresh);
}

#[test]
fn only_the_kinds_that_are_named_are_checked() {
    for blacklist in ["cached", "database"] {
        let server = Server::new()
            .set("blacklist", &format!("\"{blacklist}\""))
            .set("blacklist_token_checks", r#"["refresh"]"#)
            .start_with_ada();
        let (client, pair) = (server.client(), server.login("ada"));
        client.post_json("/api/token/blacklist/", &json!({"refresh": pair.refresh})).assert(200, &json!({}));
        assert_eq!(client.post_json("/api/token/refresh/", &json!({"refresh": pair.refresh})).status, 401);
        assert_eq!(client.get("/api/token/whoami/", Some(&pair.access)).status, 200, "access tokens are not checked");
    }
}

#[test]
fn with_an_allowlist_a_token_is_good_only_while_the_ledger_knows_it() {
    for blacklist in ["cached", "database"] {
        let server = Server::new()
            .set("blacklist", &format!("\"{blacklist}\""))
            .set("unknown_tokens", r#""refuse""#)
            .set("record_access_tokens", "true")
            .start_with_ada();
        let (client, pair) = (server.client(), server.login("ada"));
        let whoami = |token: &str| client.get("/api/token/whoami/", Some(token));
        assert_eq!(whoami(&pair.access).status, 200);
        let unknown = claims("access").with("user_id", "1").sign();
        assert_eq!(whoami(&unknown).status, 401, "it is genuine, and nobody recorded it");
        assert_eq!(client.post_json("/api/token/verify/", &json!({"token": unknown})).status, 401);
        let renewed = client.post_json("/api/token/refresh/", &json!({"refresh": pair.refresh}));
        assert_eq!(whoami(&renewed.string("access")).status, 200, "what a refresh gives is recorded");
        let mut database = server.database();
        for table in ["token_blacklist_outstandingtoken", "simplejwt_token"] {
            database.execute(&format!("DELETE FROM {table} WHERE jti = '{}'", jti(&pair.access)));
        }
        assert_eq!(whoami(&pair.access).status, 401, "nobody knows it any more");
    }
}
