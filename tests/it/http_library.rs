//! An application with users of its own, built with the library. Cases 18, 83 to 85 and 87, the guards, `.protect`, and what
//! a handler can do with a token.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::serde::json::Json;
use rocket::{Build, Rocket, State, get, post, routes};
use rocket_simplejwt::service::OpenMode;
use rocket_simplejwt::token::ManualClock;
use rocket_simplejwt::{
    AccessToken, AnyToken, AuthToken, AuthUser, Authenticator, AuthenticatorError, Credentials, CurrentUser, Issue,
    Maybe, RefreshToken, Settings, Simplejwt, SimplejwtFairing, SlidingToken, health_routes, token_routes,
};
use serde_json::{Map, Value, json};

use crate::support::app::{App, configuration};
use crate::support::client::{Client, Reply};
use crate::support::database::TestDatabase;
use crate::support::mint::{claims, payload};
use crate::support::now;

/// A user of the application, and everything that a test may want to change about one.
#[derive(Clone, Debug)]
struct Person {
    name: String,
    active: bool,
    banned: bool,
    digest: String,
}

impl Person {
    fn called(name: &str) -> Self {
        Self { name: name.into(), active: true, banned: false, digest: format!("digest of {name}") }
    }
}

impl AuthUser for Person {
    fn id(&self) -> String {
        self.name.clone()
    }

    fn is_active(&self) -> bool {
        self.active
    }

    fn password_digest(&self) -> Option<String> {
        Some(self.digest.clone())
    }

    fn claims(&self) -> Map<String, Value> {
        Map::from_iter([("role".to_owned(), json!("editor"))])
    }
}

/// The application's users. Everybody's password is `secret`.
#[derive(Clone, Default)]
struct People(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    people: BTreeMap<String, Person>,
    /// What the hooks were called with.
    calls: Vec<String>,
    /// How often somebody was looked up by claim.
    lookups: usize,
    broken: bool,
    /// How long it takes to check a password.
    takes: Duration,
}

impl People {
    fn of(names: &[&str]) -> Self {
        let people = Self::default();
        for name in names {
            people.with(|inner| inner.people.insert((*name).into(), Person::called(name)));
        }
        people
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().expect("no panic while it was held"))
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Person)) {
        self.with(|inner| change(inner.people.get_mut(name).expect("a person")));
    }

    fn calls(&self) -> Vec<String> {
        self.with(|inner| std::mem::take(&mut inner.calls))
    }

    fn note(&self, call: String) {
        self.with(|inner| inner.calls.push(call));
    }

    fn find(&self, name: &str) -> Result<Option<Person>, AuthenticatorError> {
        self.with(|inner| {
            if inner.broken {
                return Err(AuthenticatorError::new("the users' database is away, password hunter2"));
            }
            Ok(inner.people.get(name).cloned())
        })
    }
}

#[rocket::async_trait]
impl Authenticator for People {
    type User = Person;

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Person>, AuthenticatorError> {
        let found = self.find(&credentials.username)?;
        tokio::time::sleep(self.with(|inner| inner.takes)).await;
        Ok(found.filter(|_| credentials.password == "secret"))
    }

    async fn user_by_claim(&self, claim: &str) -> Result<Option<Person>, AuthenticatorError> {
        self.with(|inner| inner.lookups += 1);
        self.find(claim)
    }

    fn user_authentication_rule(&self, user: &Person, check_user_is_active: bool) -> bool {
        !user.banned && (!check_user_is_active || user.active)
    }

    async fn update_last_login(&self, user: &Person) -> Result<(), AuthenticatorError> {
        self.note(format!("last login {}", user.name));
        Ok(())
    }

    async fn on_login_success(&self, user: &Person) -> Result<(), AuthenticatorError> {
        self.note(format!("success {}", user.name));
        Ok(())
    }

    async fn on_login_failed(&self, credentials: &Credentials) -> Result<(), AuthenticatorError> {
        self.note(format!("failed {} {}", credentials.username, credentials.password));
        Err(AuthenticatorError::new("a hook may fail"))
    }
}

#[get("/me")]
fn me(user: CurrentUser<Person>) -> String {
    user.name.clone()
}

#[get("/access")]
fn access(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/refresh")]
fn refresh(token: RefreshToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/sliding")]
fn sliding(token: SlidingToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/any")]
fn any(token: AnyToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/listed")]
fn listed(token: AuthToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/greeting")]
fn greeting(token: Option<AccessToken>) -> String {
    token.map_or_else(|| "hello stranger".to_owned(), |token| format!("hello {}", token.user_id().unwrap_or("nobody")))
}

#[get("/role")]
fn role(token: AccessToken) -> Result<String, Status> {
    match token.claim::<String>("role") {
        Ok(Some(role)) if role == "editor" => Ok(role),
        Ok(_) => Err(Status::Forbidden),
        Err(_) => Err(Status::BadRequest),
    }
}

#[get("/twice")]
fn twice(first: AccessToken, second: AuthToken, user: CurrentUser<Person>, again: CurrentUser<Person>) -> String {
    format!("{} {} {} {}", first.jti() == second.jti(), second.user_id().unwrap_or_default(), user.name, again.name)
}

#[post("/logout")]
async fn logout(token: AnyToken) -> Status {
    match token.blacklist().await {
        Ok(()) => Status::NoContent,
        Err(_) => Status::ServiceUnavailable,
    }
}

#[post("/tokens/<user>")]
async fn issue(user: &str, jwt: &State<Simplejwt>) -> Result<Json<Value>, Status> {
    let pair = jwt.issue_pair(Issue::refresh(user).claim("device", "till 7")).await;
    let pair = pair.map_err(|_| Status::InternalServerError)?;
    Ok(Json(json!({"access": pair.access.text, "refresh": pair.refresh.text})))
}

#[post("/reserved")]
async fn reserved(jwt: &State<Simplejwt>) -> Status {
    match jwt.issue(Issue::access("ada").claim("exp", 1)).await {
        Ok(_) => Status::Ok,
        Err(_) => Status::BadRequest,
    }
}

fn application(people: People) -> impl FnOnce(Rocket<Build>) -> Rocket<Build> + Send + 'static {
    move |rocket| {
        rocket
            .attach(Simplejwt::fairing().authenticator(people))
            .mount("/auth", token_routes())
            .mount("/health", health_routes())
            .mount(
                "/",
                routes![me, access, refresh, sliding, any, listed, greeting, role, twice, logout, issue, reserved],
            )
    }
}

fn login(client: Client, name: &str) -> (String, String) {
    let reply = client.post_json("/auth/", &json!({"username": name, "password": "secret"}));
    assert_eq!(reply.status, 200, "{reply:?}");
    (reply.string("access"), reply.string("refresh"))
}

fn said(reply: &Reply) -> (u16, &str) {
    (reply.status, &reply.text)
}

// Case 18.
#[test]
fn a_refused_login_calls_its_hook_once_and_with_a_masked_password() {
    let people = People::of(&["ada"]);
    let app = App::launch("update_last_login = true", application(people.clone()));
    let client = app.client();
    for (path, name, password) in
        [("/auth/", "ada", "wrong"), ("/auth/sliding/", "ada", "wrong"), ("/auth/", "eve", "secret")]
    {
        let reply = client.post_json(path, &json!({"username": name, "password": password}));
        reply.assert(401, &json!({"detail": "No active account found with the given credentials"}));
        assert_eq!(people.calls(), [format!("failed {name} ********************")]);
    }
    people.change("ada", |ada| ada.active = false);
    assert_eq!(client.post_json("/auth/", &json!({"username": "ada", "password": "secret"})).status, 401);
    assert_eq!(people.calls(), ["failed ada ********************"]);
    people.change("ada", |ada| ada.active = true);
    assert_eq!(client.post_json("/auth/", &json!({"username": "ada"})).status, 400);
    assert_eq!(people.calls(), [""; 0], "a request that is none is no login");

    login(client, "ada");
    assert_eq!(people.calls(), ["last login ada", "success ada"]);
}

#[test]
fn a_login_changes_no_last_login_unless_it_is_asked_to() {
    let people = People::of(&["ada"]);
    let app = App::launch("", application(people.clone()));
    login(app.client(), "ada");
    assert_eq!(people.calls(), ["success ada"]);
}

/// The database has its time for an answer, and whoever checks passwords does not use it up.
#[test]
fn a_password_that_takes_long_to_check_logs_in_all_the_same() {
    let people = People::of(&["ada"]);
    let app = App::launch("", application(people.clone()));
    people.with(|inner| inner.takes = Duration::from_secs(3));
    let (access, _) = login(app.client(), "ada");
    assert_eq!(said(&app.client().get("/me", Some(&access))), (200, "ada"));
}

// Case 83.
#[test]
fn the_current_user_is_looked_at() {
    let people = People::of(&["ada", "eve"]);
    let app = App::launch("", application(people.clone()));
    let client = app.client();
    let (ada, _) = login(client, "ada");
    assert_eq!(said(&client.get("/me", Some(&ada))), (200, "ada"));

    people.change("ada", |ada| ada.active = false);
    let inactive = client.get("/me", Some(&ada));
    inactive.assert(401, &json!({"detail": "User is inactive", "code": "user_inactive"}));
    assert_eq!(inactive.header("www-authenticate"), Some(r#"Bearer realm="api", error="invalid_token""#));

    people.with(|inner| inner.people.remove("ada"));
    client.get("/me", Some(&ada)).assert(401, &json!({"detail": "User not found", "code": "user_not_found"}));
    let stranger = claims("access").with("user_id", "stranger").sign();
    client.get("/me", Some(&stranger)).assert(401, &json!({"detail": "User not found", "code": "user_not_found"}));

    client.get("/me", None).assert(401, &json!({"detail": "Authentication credentials were not provided."}));
    client.get("/me", Some("x")).assert(
        401,
        &json!({
            "detail": "Given token not valid for any token type",
            "code": "token_not_valid",
            "messages": [{"token_class": "AccessToken", "token_type": "access", "message": "Token is invalid"}],
        }),
    );
}

// Case 83 without the check.
#[test]
fn an_inactive_user_is_let_in_where_nobody_checks() {
    let people = People::of(&["ada"]);
    let app = App::launch("check_user_is_active = false", application(people.clone()));
    people.change("ada", |ada| ada.active = false);
    let (access, refresh) = login(app.client(), "ada");
    assert_eq!(said(&app.client().get("/me", Some(&access))), (200, "ada"));
    let renewed = app.client().post_json("/auth/refresh/", &json!({"refresh": refresh}));
    assert_eq!(renewed.status, 200, "{renewed:?}");
}

// Case 84.
#[test]
fn a_changed_password_is_noticed_where_that_is_checked() {
    let people = People::of(&["ada"]);
    let app = App::launch("check_revoke_token = true", application(people.clone()));
    let client = app.client();
    let (access, refresh) = login(client, "ada");
    assert_eq!(said(&client.get("/me", Some(&access))), (200, "ada"));
    people.change("ada", |ada| ada.digest = "another".into());
    let changed = client.get("/me", Some(&access));
    changed.assert(401, &json!({"detail": "The user's password has been changed.", "code": "password_changed"}));
    let refused = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    refused.assert(401, &json!({"detail": "The user's password has been changed."}));
    let (access, _) = login(client, "ada");
    assert_eq!(said(&client.get("/me", Some(&access))), (200, "ada"));
    let bare = claims("access").with("user_id", "ada").sign();
    assert_eq!(client.get("/me", Some(&bare)).status, 401, "a token that says nothing of the password");
}

// Case 85.
#[test]
fn a_token_without_a_user_is_nobody_s() {
    let app = App::launch("", application(People::of(&["ada"])));
    let token = claims("access").without("user_id").sign();
    let nobody = json!({"detail": "Token contained no recognizable user identification", "code": "token_not_valid"});
    app.client().get("/me", Some(&token)).assert(401, &nobody);
    assert_eq!(said(&app.client().get("/access", Some(&token))), (200, "nobody"));
}

// Case 87.
#[test]
fn a_guard_without_a_user_asks_for_none() {
    let people = People::of(&["ada"]);
    let app = App::launch("", application(people.clone()));
    let (ada, _) = login(app.client(), "ada");
    people.with(|inner| (inner.broken, inner.lookups) = (true, 0));
    for path in ["/access", "/listed", "/any"] {
        assert_eq!(said(&app.client().get(path, Some(&ada))), (200, "ada"), "{path}");
    }
    assert_eq!(said(&app.client().get("/role", Some(&ada))), (200, "editor"), "claims are there");
    assert_eq!(people.with(|inner| inner.lookups), 0);
}

#[test]
fn a_user_is_looked_up_once_for_each_request() {
    let people = People::of(&["ada"]);
    let app = App::launch("", application(people.clone()));
    let (ada, _) = login(app.client(), "ada");
    people.with(|inner| inner.lookups = 0);
    assert_eq!(said(&app.client().get("/twice", Some(&ada))), (200, "true ada ada ada"));
    assert_eq!(people.with(|inner| inner.lookups), 1);
}

#[test]
fn users_who_cannot_be_asked_are_not_taken_for_missing_ones() {
    let people = People::of(&["ada"]);
    let app = App::launch("", application(people.clone()));
    let client = app.client();
    let (access, refresh) = login(client, "ada");
    people.with(|inner| inner.broken = true);
    for reply in [
        client.post_json("/auth/", &json!({"username": "ada", "password": "secret"})),
        client.post_json("/auth/refresh/", &json!({"refresh": refresh})),
        client.get("/me", Some(&access)),
    ] {
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
        assert!(!reply.text.contains("hunter2"), "{reply:?}");
    }
    people.with(|inner| inner.broken = false);
    let renewed = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    assert_eq!(renewed.status, 200, "the refusal cost nothing: {renewed:?}");
}

#[test]
fn the_authentication_rule_decides_at_login_and_at_refresh() {
    let people = People::of(&["ada"]);
    let app = App::launch("", application(people.clone()));
    let client = app.client();
    let (_, refresh) = login(client, "ada");
    people.change("ada", |ada| ada.banned = true);
    let reply = client.post_json("/auth/", &json!({"username": "ada", "password": "secret"}));
    reply.assert(401, &json!({"detail": "No active account found with the given credentials"}));
    let reply = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    reply.assert(401, &json!({"detail": "No active account found for the given token."}));
}

#[test]
fn the_user_s_claims_travel() {
    let app = App::launch("", application(People::of(&["ada"])));
    let client = app.client();
    let (access, refresh) = login(client, "ada");
    let renewed = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    for token in [access, refresh, renewed.string("access"), renewed.string("refresh")] {
        assert_eq!(payload(&token)["role"], "editor");
    }
    let (reader, odd) = (claims("access").with("role", "reader").sign(), claims("access").with("role", 7).sign());
    assert_eq!(client.get("/role", Some(&reader)).status, 403);
    assert_eq!(client.get("/role", Some(&odd)).status, 400, "a claim of another type is an error, not absent");
    assert_eq!(client.get("/role", Some(&claims("access").sign())).status, 403);
}

#[test]
fn every_guard_takes_its_own_kind() {
    let app = App::launch("auth_token_classes = [\"access\", \"sliding\"]", application(People::of(&["ada"])));
    let client = app.client();
    let (access, refresh) = login(client, "ada");
    let sliding = client.post_json("/auth/sliding/", &json!({"username": "ada", "password": "secret"})).string("token");
    let table = [
        ("/access", [200, 401, 401]),
        ("/refresh", [401, 200, 401]),
        ("/sliding", [401, 401, 200]),
        ("/any", [200, 200, 200]),
        ("/listed", [200, 401, 200]),
    ];
    for (path, expected) in table {
        for (token, status) in [&access, &refresh, &sliding].into_iter().zip(expected) {
            assert_eq!(client.get(path, Some(token)).status, status, "{path} {}", payload(token)["token_type"]);
        }
        let none = client.get(path, None);
        none.assert(401, &json!({"detail": "Authentication credentials were not provided."}));
        assert_eq!(none.header("www-authenticate"), Some(r#"Bearer realm="api""#));
    }
    let unknown = claims("refresh").with("user_id", "ada").sign();
    assert_eq!(client.get("/refresh", Some(&unknown)).status, 401, "a refresh token that the ledger does not know");
}

#[test]
fn an_optional_guard_takes_no_bad_token_for_none() {
    let app = App::launch("", application(People::of(&["ada"])));
    let client = app.client();
    let (access, refresh) = login(client, "ada");
    assert_eq!(said(&client.get("/greeting", None)), (200, "hello stranger"));
    assert_eq!(said(&client.get("/greeting", Some(&access))), (200, "hello ada"));
    assert_eq!(client.post_json("/auth/blacklist/", &json!({"refresh": refresh})).status, 200);
    let expired = claims("access").with("iat", now() - 60).with("exp", now() - 1).sign();
    for bad in [access.as_str(), &refresh, &expired, "x"] {
        let reply = client.get("/greeting", Some(bad));
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(reply.json()["code"], "token_not_valid");
        assert!(reply.header("www-authenticate").is_some_and(|challenge| challenge.contains("invalid_token")));
    }
    let malformed = client.get_as("/greeting", "Bearer a b");
    assert_eq!(
        (malformed.status, &malformed.json()["code"]),
        (401, &json!("bad_authorization_header")),
        "{malformed:?}"
    );
}

#[test]
fn a_handler_revokes_the_token_that_it_was_called_with() {
    let app = App::launch("", application(People::of(&["ada"])));
    let client = app.client();
    let logout = |token: &str| {
        let headers = [("Authorization", format!("Bearer {token}"))];
        client.request("POST", "/logout", &headers.each_ref().map(|(name, value)| (*name, value.as_str())), b"").status
    };
    let (access, refresh) = login(client, "ada");
    assert_eq!(logout(&access), 204);
    assert_eq!(client.get("/access", Some(&access)).status, 401);
    assert_eq!(logout(&access), 401, "it is good for nothing any more");
    assert_eq!(client.post_json("/auth/verify/", &json!({"token": access})).status, 401);
    assert!(app.database().is_blacklisted(payload(&access)["jti"].as_str().expect("a jti")));
    let renewed = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    assert_eq!(renewed.status, 200, "an access token ends itself only: {renewed:?}");

    let (access, refresh) = login(client, "ada");
    assert_eq!(logout(&refresh), 204);
    assert_eq!(client.get("/access", Some(&access)).status, 401, "a refresh token ends its session");
}

#[test]
fn an_application_issues_tokens_without_a_login() {
    let people = People::of(&["ada"]);
    let app = App::launch("", application(people.clone()));
    let client = app.client();
    let pair = client.request("POST", "/tokens/ada", &[], b"");
    assert_eq!(pair.status, 200, "{pair:?}");
    assert_eq!(said(&client.get("/me", Some(&pair.string("access")))), (200, "ada"));
    assert_eq!(payload(&pair.string("access"))["device"], "till 7");
    let renewed = client.post_json("/auth/refresh/", &json!({"refresh": pair.string("refresh")}));
    assert_eq!(renewed.status, 200, "it is recorded: {renewed:?}");
    assert_eq!(payload(&renewed.string("access"))["device"], "till 7");
    assert_eq!(client.request("POST", "/reserved", &[], b"").status, 400, "nobody sets `exp` as a custom claim");
    assert_eq!(people.calls(), [""; 0], "no login, no hook");
}

#[test]
fn the_clock_decides_to_the_second() {
    let start = now();
    let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(start, 0).expect("an instant")));
    let app = App::launch_async("leeway = 3", {
        let clock = Arc::clone(&clock);
        move |rocket| {
            Box::pin(async move {
                let settings = Settings::from_figment(rocket.figment()).expect("good settings");
                let builder = Simplejwt::builder(settings).authenticator(People::of(&["ada"])).clock(clock);
                let jwt = builder.open(OpenMode::Serve).await.expect("a handle");
                rocket.attach(SimplejwtFairing::with(jwt)).mount("/auth", token_routes()).mount("/", routes![access])
            })
        }
    });
    let client = app.client();
    let status = |token: &str| client.get("/access", Some(token)).status;
    let (access, refresh) = login(client, "ada");
    assert_eq!(payload(&access)["iat"], start, "the same clock issues");
    let born_later = claims("access").with("iat", start + 4).sign();
    let not_before = claims("access").with("iat", start).with("nbf", start + 4).sign();
    assert_eq!((status(&born_later), status(&not_before)), (401, 401));
    clock.advance(1);
    assert_eq!((status(&born_later), status(&not_before)), (200, 200), "no more than the leeway ahead");
    clock.advance(301);
    assert_eq!(status(&access), 200, "two seconds past exp, with a leeway of three");
    clock.advance(1);
    assert_eq!(status(&access), 401, "exp itself, with the leeway, is too late");
    clock.advance(86_100 - 1);
    let late = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    assert_eq!(late.status, 200, "{late:?}");
    clock.advance(86_400 + 3);
    let expired = client.post_json("/auth/refresh/", &json!({"refresh": late.string("refresh")}));
    expired.assert_not_valid("Token is expired");
}

#[get("/unguarded")]
fn unguarded() -> &'static str {
    "nobody asked"
}

#[get("/open")]
fn open() -> &'static str {
    "come in"
}

fn protected(people: People) -> impl FnOnce(Rocket<Build>) -> Rocket<Build> + Send + 'static {
    move |rocket| {
        rocket
            .attach(Simplejwt::fairing().authenticator(people).protect("/api").except("/api/open"))
            .mount("/api/token", token_routes())
            .mount("/api", routes![unguarded, open, access])
            .mount("/", routes![open])
    }
}

#[test]
fn a_protected_prefix_lets_nobody_in_without_a_token() {
    let app = App::launch("", protected(People::of(&["ada"])));
    let client = app.client();
    let not_provided = json!({"detail": "Authentication credentials were not provided."});
    for path in ["/api/unguarded", "/api/access", "/api/nothing", "/api", "/api/", "/api/unguarded?x=1"] {
        let reply = client.get(path, None);
        reply.assert(401, &not_provided);
        assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="api""#), "{path}");
    }
    for path in ["//api/unguarded", "/api//unguarded", "/%61pi/unguarded", "/api/%75nguarded", "/./api/unguarded"] {
        let reply = client.get(path, None);
        assert!(reply.status >= 400 && !reply.text.contains("nobody asked"), "{path}: {reply:?}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        client.request(method, "/api/unguarded", &[], b"").assert(401, &not_provided);
    }
    assert_eq!(client.request("HEAD", "/api/unguarded", &[], b"").status, 401);

    assert_eq!(said(&client.get("/open", None)), (200, "come in"));
    assert_eq!(said(&client.get("/api/open", None)), (200, "come in"));
    let login = client.post_json("/api/token/", &json!({"username": "ada", "password": "secret"}));
    assert_eq!(login.status, 200, "the token routes are open: {login:?}");
    let access = login.string("access");
    assert_eq!(said(&client.get("/api/unguarded", Some(&access))), (200, "nobody asked"));
    assert_eq!(said(&client.get("/api/access", Some(&access))), (200, "ada"));
    assert_eq!(client.get("/api/nothing", Some(&access)).status, 404);

    let refused = client.get("/api/unguarded", Some("x"));
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("token_not_valid")), "{refused:?}");
    assert_eq!(client.get("/api/unguarded", Some(&login.string("refresh"))).status, 401);
    let gone = client.post_json("/api/token/blacklist/", &json!({"refresh": login.string("refresh")}));
    assert_eq!(gone.status, 200, "{gone:?}");
    assert_eq!(client.get("/api/unguarded", Some(&access)).status, 401);
}

#[get("/<_..>")]
fn anything() -> &'static str {
    "anything goes"
}

#[test]
fn a_catch_all_of_the_application_does_not_answer_for_what_is_refused() {
    let people = People::of(&["ada"]);
    let fairing = Simplejwt::fairing().authenticator(people).protect("/api");
    let app = App::launch("", |rocket| rocket.attach(fairing).mount("/", routes![anything]));
    let client = app.client();
    assert_eq!(said(&client.get("/elsewhere", None)), (200, "anything goes"));
    for path in ["/api", "/api/x", "/api/x/y", "/%61pi/x", "//api/x"] {
        assert_eq!(client.get(path, None).status, 401, "{path}");
    }
}

#[get("/maybe")]
fn maybe(token: Maybe<AccessToken>) -> Redirect {
    Redirect::to(if token.0.is_some() { "/known" } else { "/stranger" })
}

#[get("/either")]
fn either(access: Option<AccessToken>, refresh: Option<RefreshToken>) -> &'static str {
    match (access, refresh) {
        (Some(_), None) => "access",
        (None, Some(_)) => "refresh",
        _ => "neither",
    }
}

#[test]
fn a_token_that_may_be_missing_must_still_be_good() {
    let people = People::of(&["ada"]);
    let app = App::launch("", |rocket| {
        let fairing = Simplejwt::fairing().authenticator(people);
        rocket.attach(fairing).mount("/token", token_routes()).mount("/", routes![maybe, either])
    });
    let client = app.client();
    let login = client.post_json("/token/", &json!({"username": "ada", "password": "secret"}));
    let (access, refresh) = (login.string("access"), login.string("refresh"));
    assert_eq!(client.get("/maybe", Some(&access)).header("location"), Some("/known"));
    assert_eq!(client.get("/maybe", None).header("location"), Some("/stranger"));
    for bad in ["x", &refresh, "a b"] {
        assert_eq!(client.get("/maybe", Some(bad)).status, 401, "{bad}");
    }
    assert_eq!(said(&client.get("/either", Some(&access))), (200, "access"));
    assert_eq!(said(&client.get("/either", Some(&refresh))), (200, "refresh"));
    assert_eq!(client.get("/either", Some("x")).status, 401);
}

#[test]
fn an_application_that_protects_what_is_no_path_does_not_launch() {
    for path in ["/api/<path..>", "/api/*", "api", "/api?x", "/a//b", "/a/../b"] {
        let attach = |fairing: SimplejwtFairing| ignition("", |rocket| rocket.attach(fairing));
        assert!(attach(Simplejwt::fairing().protect(path)).is_some(), "{path}");
        assert!(attach(Simplejwt::fairing().protect("/api").except(path)).is_some(), "{path}");
    }
}

/// Why the application does not launch, if it does not.
fn ignition(settings: &str, build: impl FnOnce(Rocket<Build>) -> Rocket<Build>) -> Option<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let database = TestDatabase::new(directory.path());
    let rocket = build(rocket::custom(configuration(&database, settings)));
    // Rocket's error panics where nobody looks at it.
    rocket::execute(rocket.ignite()).err().map(|error| error.to_string())
}

#[test]
fn an_application_without_the_fairing_does_not_launch() {
    for guarded in [routes![access], routes![greeting], routes![me], routes![any]] {
        assert!(ignition("", |rocket| rocket.mount("/", guarded)).is_some(), "it must not wait for the first request");
    }
    assert_eq!(ignition("", |rocket| rocket.attach(Simplejwt::fairing()).mount("/", routes![access])), None);
}

#[test]
fn an_application_with_a_setting_that_is_refused_does_not_launch() {
    for settings in ["leeway = \"10m\"", "acess_token_lifetime = \"1h\"", "algorithm = \"none\"", "blacklist = \"off\""]
    {
        assert!(ignition(settings, |rocket| rocket.attach(Simplejwt::fairing())).is_some(), "{settings}");
    }
    assert_eq!(ignition("leeway = \"5m\"", |rocket| rocket.attach(Simplejwt::fairing())), None);
}
