//! Tokens in cookies: cases 111 to 114, and what another site must not be able to do.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::sync::Arc;

use chrono::DateTime;
use rocket::form::Form;
use rocket::http::{CookieJar, Status};
use rocket::{Build, FromForm, Rocket, State, delete, get, post, routes};
use rocket_simplejwt::service::OpenMode;
use rocket_simplejwt::token::ManualClock;
use rocket_simplejwt::{
    AccessToken, AnyToken, Issue, Maybe, RefreshToken, Settings, Simplejwt, SimplejwtFairing, TokenCookies as _,
    token_routes,
};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::{Client, Reply};
use crate::support::mint::{claims, payload};
use crate::support::now;
use crate::support::people::Everybody;

#[post("/login?<name>")]
async fn login(name: &str, jwt: &State<Simplejwt>, cookies: &CookieJar<'_>) -> Result<Status, Status> {
    let pair = jwt.issue_pair(Issue::refresh(name)).await.map_err(|_| Status::InternalServerError)?;
    cookies.set_token_cookies(jwt, &pair);
    Ok(Status::NoContent)
}

#[post("/logout")]
async fn logout(token: AnyToken, cookies: &CookieJar<'_>) -> Result<Status, Status> {
    token.blacklist().await.map_err(|_| Status::ServiceUnavailable)?;
    cookies.unset_jwt_cookies(token.simplejwt());
    Ok(Status::NoContent)
}

#[get("/access")]
fn access(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[post("/access")]
fn post(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[delete("/access")]
fn delete(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[post("/refresh")]
fn refresh(token: RefreshToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[post("/maybe")]
fn maybe(token: Maybe<AccessToken>) -> String {
    token.0.map_or("stranger".into(), |token| token.user_id().unwrap_or("nobody").to_owned())
}

#[post("/option")]
fn option(token: Option<AccessToken>) -> &'static str {
    if token.is_some() { "somebody" } else { "stranger" }
}

#[post("/open")]
fn open() -> &'static str {
    "anything"
}

#[derive(FromForm)]
struct Note {
    text: String,
}

#[post("/note", data = "<note>")]
fn note(token: AccessToken, note: Form<Note>) -> String {
    format!("{}: {}", token.user_id().unwrap_or("nobody"), note.text.len())
}

fn application(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket
        .attach(Simplejwt::fairing().authenticator(Everybody).protect("/api"))
        .mount("/auth", token_routes())
        .mount("/", routes![login, logout, access, post, delete, refresh, maybe, option, note])
        .mount("/api", routes![open])
}

fn launch(more: &str) -> App {
    let comma = if more.is_empty() { "" } else { ", " };
    let line = format!("transport = {{ token_location = [\"headers\", \"cookies\"]{comma}{more} }}");
    App::launch(&line, application)
}

/// The cookies of a browser that keeps what it is told.
#[derive(Clone, Debug, Default)]
struct Browser {
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn logged_in(client: Client) -> Self {
        let mut browser = Self::default();
        let reply = client.request("POST", "/login?name=ada", &[], b"");
        assert_eq!(reply.status, 204, "{reply:?}");
        browser.keep(&reply);
        browser
    }

    fn keep(&mut self, reply: &Reply) {
        for header in reply.headers_named("set-cookie") {
            let (pair, attributes) = header.split_once(';').unwrap_or((header, ""));
            let (name, value) = pair.split_once('=').expect("a cookie");
            self.cookies.retain(|(known, _)| known != name);
            if !attributes.contains("Max-Age=0") {
                self.cookies.push((name.into(), value.into()));
            }
        }
    }

    fn get(&self, name: &str) -> &str {
        let found = self.cookies.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no cookie {name}: {self:?}")).1
    }

    fn csrf(&self) -> &str {
        self.get("csrf_access_token")
    }

    fn header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn send(&self, client: Client, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let cookie = self.header();
        client.request(method, path, &[&[("Cookie", cookie.as_str())], headers].concat(), b"")
    }
}

fn said(reply: &Reply) -> (u16, &str) {
    (reply.status, &reply.text)
}

fn csrf_failed(reply: &Reply, why: &str) {
    reply.assert(403, &json!({"detail": format!("CSRF Failed: {why}"), "code": "csrf"}));
}

// Case 111.
#[test]
fn a_login_sets_cookies_that_open_and_a_logout_clears_them() {
    let app = launch("");
    let client = app.client();
    let mut browser = Browser::logged_in(client);
    assert_eq!(said(&browser.send(client, "GET", "/access", &[])), (200, "ada"));
    let before = browser.clone();
    let csrf = browser.csrf().to_owned();
    let reply = browser.send(client, "POST", "/logout", &[("X-CSRF-TOKEN", &csrf)]);
    assert_eq!(reply.status, 204, "{reply:?}");
    for header in reply.headers_named("set-cookie") {
        assert!(header.contains("Max-Age=0") && header.contains("Secure") && header.contains("Path=/"), "{header}");
    }
    browser.keep(&reply);
    assert_eq!(browser.cookies, []);
    browser
        .send(client, "GET", "/access", &[])
        .assert(401, &json!({"detail": "Authentication credentials were not provided."}));
    // Attack case 111.
    assert_eq!(before.send(client, "GET", "/access", &[]).status, 401, "who kept the cookie has nothing");
}

// Case 112.
#[test]
fn what_changes_something_needs_the_secret_of_the_token() {
    let app = launch("");
    let client = app.client();
    let browser = Browser::logged_in(client);
    let csrf = browser.csrf().to_owned();
    for method in ["POST", "DELETE"] {
        let send = |headers: &[(&str, &str)]| browser.send(client, method, "/access", headers);
        csrf_failed(&send(&[]), "CSRF token missing.");
        csrf_failed(&send(&[("X-CSRF-TOKEN", "wrong")]), "CSRF token incorrect.");
        csrf_failed(&send(&[("X-CSRF-TOKEN", "")]), "CSRF token incorrect.");
        csrf_failed(&send(&[("X-CSRF-TOKEN", &csrf), ("X-CSRF-TOKEN", "x")]), "CSRF token incorrect.");
        csrf_failed(&send(&[("X-CSRF-TOKEN", browser.get("csrf_refresh_token"))]), "CSRF token incorrect.");
        assert_eq!(said(&send(&[("X-CSRF-TOKEN", &csrf)])), (200, "ada"));
    }
    // Rocket takes the method of a form from its first field: what it makes of it counts.
    let renamed = [("Content-Type", "application/x-www-form-urlencoded"), ("Cookie", &*browser.header())];
    csrf_failed(&client.request("POST", "/access", &renamed, b"_method=delete"), "CSRF token missing.");
    let refresh = browser.get("csrf_refresh_token");
    csrf_failed(&browser.send(client, "POST", "/refresh", &[("X-CSRF-TOKEN", &csrf)]), "CSRF token incorrect.");
    assert_eq!(said(&browser.send(client, "POST", "/refresh", &[("X-CSRF-TOKEN", refresh)])), (200, "ada"));
    csrf_failed(&browser.send(client, "POST", "/api/open", &[]), "CSRF token missing.");
    assert_eq!(said(&browser.send(client, "POST", "/api/open", &[("X-CSRF-TOKEN", &csrf)])), (200, "anything"));
}

// Case 112, GET listed.
#[test]
fn a_method_that_is_listed_needs_the_secret_too() {
    let app = launch("csrf_methods = [\"GET\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]");
    let client = app.client();
    let browser = Browser::logged_in(client);
    csrf_failed(&browser.send(client, "GET", "/access", &[]), "CSRF token missing.");
    assert_eq!(browser.send(client, "HEAD", "/access", &[]).status, 403);
    assert_eq!(said(&browser.send(client, "GET", "/access", &[("X-CSRF-TOKEN", browser.csrf())])), (200, "ada"));
}

// Case 112, the field of a form.
#[test]
fn a_form_proves_it_by_a_field_where_that_is_set() {
    let app = launch("csrf_check_form = true");
    let client = app.client();
    let browser = Browser::logged_in(client);
    let post = |client: Client, body: &str| {
        let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Cookie", &*browser.header())];
        client.request("POST", "/note", &headers, body.as_bytes())
    };
    let csrf = browser.csrf();
    assert_eq!(said(&post(client, &format!("csrf_token={csrf}&text=hello"))), (200, "ada: 5"));
    assert_eq!(said(&post(client, &format!("text=hello&csrf_token={csrf}"))), (200, "ada: 5"));
    let long = format!("csrf_token={csrf}&text={}", "x".repeat(5000));
    assert_eq!(said(&post(client, &long)), (200, "ada: 5000"), "the handler gets all of the body");
    csrf_failed(&post(client, "csrf_token=wrong&text=hello"), "CSRF token incorrect.");
    csrf_failed(&post(client, "text=hello"), "CSRF token missing.");
    csrf_failed(&post(client, &format!("text={}&csrf_token={csrf}", "x".repeat(600))), "CSRF token missing.");
    let twice = format!("csrf_token={csrf}&csrf_token={csrf}&text=hello");
    csrf_failed(&post(client, &twice), "CSRF token missing.");
    let off = launch("");
    let browser = Browser::logged_in(off.client());
    let body = format!("csrf_token={}&text=hello", browser.csrf());
    csrf_failed(&post(off.client(), &body), "CSRF token missing.");
}

// Trap 24. flask answers 422 where the token has no secret.
#[test]
fn a_token_without_a_secret_changes_nothing_from_a_cookie() {
    let app = launch("");
    let client = app.client();
    for token in [claims("access"), claims("access").with("csrf", ""), claims("access").with("csrf", 7)] {
        let cookie = format!("__Host-access_token_cookie={}", token.sign());
        for sent in ["", "7", "null"] {
            let headers = [("Cookie", cookie.as_str()), ("X-CSRF-TOKEN", sent), ("Sec-Fetch-Site", "same-origin")];
            let reply = client.request("POST", "/access", &headers, b"");
            csrf_failed(&reply, "the token in the cookie has no CSRF token.");
        }
    }
}

// Attack case 103.
#[test]
fn what_the_browser_says_comes_from_elsewhere_is_refused_even_with_the_secret() {
    let app = launch("trusted_origins = [\"https://app.example.org\"]");
    let client = app.client();
    let browser = Browser::logged_in(client);
    let csrf = browser.csrf();
    let own = format!("http://127.0.0.1:{}", client.port());
    let send = |headers: &[(&str, &str)]| {
        browser.send(client, "POST", "/access", &[&[("X-CSRF-TOKEN", csrf)], headers].concat())
    };
    for ours in [
        vec![("Sec-Fetch-Site", "same-origin")],
        vec![("Sec-Fetch-Site", "same-origin"), ("Origin", "https://behind.a.proxy")],
        vec![("Sec-Fetch-Site", "none")],
        vec![("Origin", own.as_str())],
        vec![("Origin", "https://app.example.org")],
        vec![("Origin", "https://app.example.org"), ("Sec-Fetch-Site", "cross-site")],
    ] {
        assert_eq!(said(&send(&ours)), (200, "ada"), "{ours:?}");
    }
    for foreign in [
        vec![("Origin", "https://evil.example")],
        vec![("Origin", "null")],
        vec![("Origin", "http://127.0.0.1:1")],
        vec![("Origin", "https://app.example.org.evil.example")],
        vec![("Sec-Fetch-Site", "cross-site")],
        vec![("Sec-Fetch-Site", "same-site")],
        vec![("Sec-Fetch-Site", "cross-site"), ("Origin", own.as_str())],
        vec![("Sec-Fetch-Site", "none"), ("Origin", "https://evil.example")],
    ] {
        csrf_failed(&send(&foreign), "Origin checking failed.");
    }
}

#[test]
fn without_the_secret_the_origin_alone_has_to_prove_it() {
    let app = launch("cookie_csrf_protect = false, unsafe_cookies_without_csrf = true");
    let client = app.client();
    let browser = Browser::logged_in(client);
    assert!(browser.cookies.iter().all(|(name, _)| !name.contains("csrf")), "{browser:?}");
    assert_eq!(payload(browser.get("__Host-access_token_cookie"))["csrf"], Value::Null);
    csrf_failed(&browser.send(client, "POST", "/access", &[]), "Origin checking failed.");
    let same = browser.send(client, "POST", "/access", &[("Sec-Fetch-Site", "same-origin")]);
    assert_eq!(said(&same), (200, "ada"));
}

// Case 113, attack case 109.
#[test]
fn cookies_are_as_the_settings_say() {
    let set = |more: &str| -> Vec<String> {
        let app = launch(more);
        let reply = app.client().request("POST", "/login?name=ada", &[], b"");
        let cookies = reply.headers_named("set-cookie").into_iter();
        // Without the value.
        cookies
            .map(|cookie| cookie.replacen(&cookie[cookie.find('=').unwrap()..cookie.find(';').unwrap()], "", 1))
            .collect()
    };
    let mut cookies = set("");
    cookies.sort();
    assert_eq!(
        cookies,
        [
            "__Host-access_token_cookie; HttpOnly; SameSite=Lax; Secure; Path=/",
            "__Host-refresh_token_cookie; HttpOnly; SameSite=Lax; Secure; Path=/",
            "csrf_access_token; SameSite=Lax; Secure; Path=/",
            "csrf_refresh_token; SameSite=Lax; Secure; Path=/",
        ]
    );
    let mut cookies = set(
        "access_cookie_name = \"a\", refresh_cookie_name = \"r\", access_cookie_path = \"/api\", refresh_cookie_path = \
         \"/auth\", cookie_domain = \"example.org\", cookie_samesite = \"strict\", cookie_secure = false, \
         allow_insecure_cookies = true, session_cookie = false, access_csrf_cookie_name = \"ac\", \
         refresh_csrf_cookie_name = \"rc\", access_csrf_cookie_path = \"/app\"",
    );
    cookies.sort();
    let rest = "Path=/app; Domain=example.org; Max-Age=";
    assert!(cookies[1].starts_with(&format!("ac; SameSite=Strict; {rest}")), "{cookies:?}");
    let age = |cookie: &str| cookie.split_once("Max-Age=").unwrap().1.parse::<i64>().unwrap();
    assert!((295..=300).contains(&age(&cookies[0])) && (295..=300).contains(&age(&cookies[1])), "{cookies:?}");
    assert!((86_395..=86_400).contains(&age(&cookies[2])), "{cookies:?}");
    assert!(cookies[0].starts_with("a; HttpOnly; SameSite=Strict; Path=/api; Domain=example.org; "), "{cookies:?}");
    assert!(cookies[2].starts_with("r; HttpOnly; SameSite=Strict; Path=/auth; Domain=example.org; "), "{cookies:?}");
    let cookies = set("csrf_in_cookies = false");
    assert!(cookies.len() == 2 && cookies.iter().all(|cookie| cookie.starts_with("__Host-")), "{cookies:?}");
}

// Case 114.
#[test]
fn an_optional_guard_wants_the_proof_where_there_is_a_cookie() {
    let app = launch("");
    let client = app.client();
    let browser = Browser::logged_in(client);
    for path in ["/maybe", "/option"] {
        assert_eq!(said(&Browser::default().send(client, "POST", path, &[])), (200, "stranger"));
        csrf_failed(&browser.send(client, "POST", path, &[]), "CSRF token missing.");
        assert_eq!(browser.send(client, "POST", path, &[("X-CSRF-TOKEN", browser.csrf())]).status, 200);
    }
}

#[test]
fn a_cookie_from_a_neighbour_is_not_taken_for_ours() {
    let app = launch("");
    let client = app.client();
    let (ours, theirs) =
        (claims("access").with("user_id", "ada").sign(), claims("access").with("user_id", "eve").sign());
    let get = |cookie: String| client.request("GET", "/access", &[("Cookie", &cookie)], b"");
    let name = "__Host-access_token_cookie";
    assert_eq!(said(&get(format!("x=1; {name}={ours}; y=2"))), (200, "ada"));
    for twice in [format!("{name}={ours}; {name}={theirs}"), format!("{name}={theirs}; {name}={ours}")] {
        assert_eq!(get(twice).json()["code"], "several_tokens");
    }
    // Rocket decodes names, and a browser lets anybody below the domain set this one.
    let spelled = "%5F%5FHost-access_token_cookie";
    assert_eq!(get(format!("{spelled}={theirs}")).status, 401);
    assert_eq!(said(&get(format!("{name}={ours}; {spelled}={theirs}"))), (200, "ada"));
    for none in [format!("{name}="), format!("__host-access_token_cookie={ours}"), name.to_owned()] {
        assert_eq!(get(none).status, 401);
    }
    assert_eq!(
        launch_plain().client().request("GET", "/access", &[("Cookie", &format!("{name}={ours}"))], b"").status,
        401
    );
}

fn launch_plain() -> App {
    App::launch("", application)
}

#[test]
fn the_token_routes_keep_tokens_in_cookies_where_that_is_set() {
    let app = launch("cookie_routes = true");
    let client = app.client();
    let credentials = json!({"username": "ada", "password": "secret"});
    let login = client.post_json("/auth/", &credentials);
    assert_eq!(login.status, 200, "{login:?}");
    let mut browser = Browser::default();
    browser.keep(&login);
    assert_eq!(login.json(), json!({"access_csrf": browser.csrf(), "refresh_csrf": browser.get("csrf_refresh_token")}));
    assert!(!login.text.contains("eyJ"), "no script shall see a token");
    assert_eq!(said(&browser.send(client, "GET", "/access", &[])), (200, "ada"));
    assert_eq!(browser.send(client, "GET", "/auth/whoami/", &[]).json()["user_id"], "ada");

    csrf_failed(&browser.send(client, "POST", "/auth/refresh/", &[]), "CSRF token missing.");
    let before = browser.clone();
    let csrf = browser.get("csrf_refresh_token").to_owned();
    let renewed = browser.send(client, "POST", "/auth/refresh/", &[("X-CSRF-TOKEN", &csrf)]);
    assert_eq!(renewed.status, 200, "{renewed:?}");
    browser.keep(&renewed);
    for cookie in
        ["__Host-access_token_cookie", "__Host-refresh_token_cookie", "csrf_access_token", "csrf_refresh_token"]
    {
        assert_ne!(before.get(cookie), browser.get(cookie), "{cookie}");
    }
    assert_eq!(said(&browser.send(client, "GET", "/access", &[])), (200, "ada"));

    let csrf = browser.get("csrf_refresh_token").to_owned();
    csrf_failed(&browser.send(client, "POST", "/auth/blacklist/", &[]), "CSRF token missing.");
    let ended = browser.send(client, "POST", "/auth/blacklist/", &[("X-CSRF-TOKEN", &csrf)]);
    assert_eq!(ended.status, 200, "{ended:?}");
    let kept = browser.clone();
    browser.keep(&ended);
    assert_eq!(browser.cookies, []);
    assert_eq!(kept.send(client, "GET", "/access", &[]).status, 401, "the session is over");

    // Whoever hands a refresh token in by hand gets an answer in the body.
    let pair = client.post_json("/auth/", &credentials);
    let mut other = Browser::default();
    other.keep(&pair);
    let token = other.get("__Host-refresh_token_cookie");
    let in_body = client.post_json("/auth/refresh/", &json!({"refresh": token}));
    assert!(in_body.status == 200 && in_body.headers_named("set-cookie").is_empty(), "{in_body:?}");
    assert_eq!(client.get("/access", Some(&in_body.string("access"))).status, 200);

    for foreign in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        let headers = [("Content-Type", "application/json"), foreign];
        let login = client.request("POST", "/auth/", &headers, credentials.to_string().as_bytes());
        csrf_failed(&login, "Origin checking failed.");
    }
    client.request("POST", "/auth/refresh/", &[], b"").assert(400, &json!({"refresh": ["This field is required."]}));
}

#[test]
fn one_logout_takes_either_cookie_with_its_own_secret() {
    let app = launch("cookie_routes = true");
    let client = app.client();
    let ended = |browser: &Browser| browser.send(client, "GET", "/access", &[]).status == 401;
    let logout =
        |browser: &Browser, csrf: &str| browser.send(client, "POST", "/auth/logout/", &[("X-CSRF-TOKEN", csrf)]);
    for secret in ["csrf_access_token", "csrf_refresh_token"] {
        let browser = Browser::logged_in(client);
        csrf_failed(&browser.send(client, "POST", "/auth/logout/", &[]), "CSRF token missing.");
        csrf_failed(&logout(&browser, Browser::logged_in(client).get(secret)), "CSRF token incorrect.");
        let csrf = browser.get(secret);
        let foreign = [("X-CSRF-TOKEN", csrf), ("Origin", "https://evil.example")];
        csrf_failed(&browser.send(client, "POST", "/auth/logout/", &foreign), "Origin checking failed.");
        assert!(!ended(&browser));
        let reply = logout(&browser, csrf);
        assert_eq!(reply.status, 204, "{secret}: {reply:?}");
        assert!(ended(&browser), "{secret}");
        let mut cleared = browser.clone();
        cleared.keep(&reply);
        assert_eq!(cleared.cookies, [], "{secret}");
    }
    // The access cookie is gone, or its time has passed.
    let expired = claims("access").with("user_id", "ada").with("iat", now() - 60).with("exp", now() - 1).sign();
    for left in [None, Some(expired)] {
        let whole = Browser::logged_in(client);
        let mut browser = whole.clone();
        browser.cookies.retain(|(name, _)| name != "__Host-access_token_cookie");
        browser.cookies.extend(left.map(|token| ("__Host-access_token_cookie".to_owned(), token)));
        let reply = logout(&browser, browser.get("csrf_refresh_token"));
        assert_eq!(reply.status, 204, "{reply:?}");
        assert!(ended(&whole), "the access token of that login is refused as well");
    }
}

/// A browser, and an application whose clock the test turns.
fn implicit(name: &str, more: &str) -> (App, Arc<ManualClock>, Browser) {
    let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(now(), 0).expect("an instant")));
    let settings = "refresh_token_lifetime = \"20m\"\n\
                    transport = { token_location = [\"headers\", \"cookies\"], implicit_refresh = \"1m\" }";
    let app = App::launch_async(&format!("{more}\n{settings}"), {
        let clock = Arc::clone(&clock);
        move |rocket| {
            Box::pin(async move {
                let settings = Settings::from_figment(rocket.figment()).expect("good settings");
                let builder = Simplejwt::builder(settings).authenticator(Everybody).clock(clock);
                let jwt = builder.open(OpenMode::Serve).await.expect("a handle");
                let fairing = SimplejwtFairing::with(jwt);
                rocket.attach(fairing).mount("/auth", token_routes()).mount("/", routes![login, logout, access, post])
            })
        }
    });
    let mut browser = Browser::default();
    browser.keep(&app.client().request("POST", &format!("/login?name={name}"), &[], b""));
    (app, clock, browser)
}

#[test]
fn an_access_cookie_that_is_about_to_end_is_replaced_by_the_answer() {
    let (app, clock, mut browser) = implicit("ada", "");
    let client = app.client();
    let first = browser.get("__Host-access_token_cookie").to_owned();
    clock.advance(200);
    let early = browser.send(client, "GET", "/access", &[]);
    assert!(early.status == 200 && early.headers_named("set-cookie").is_empty(), "{early:?}");
    clock.advance(50);
    let token = client.get("/access", Some(&first));
    assert!(token.status == 200 && token.headers_named("set-cookie").is_empty(), "not for a header: {token:?}");
    let refused = browser.send(client, "POST", "/access", &[]);
    assert!(refused.status == 403 && refused.headers_named("set-cookie").is_empty(), "{refused:?}");
    let due = browser.send(client, "GET", "/access", &[]);
    assert_eq!(due.headers_named("set-cookie").len(), 2, "{due:?}");
    assert!(due.headers_named("set-cookie")[0].ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"), "{due:?}");
    assert_eq!(due.header("cache-control"), Some("no-store"), "no cache gives the cookie to others: {due:?}");
    browser.keep(&due);
    let second = payload(browser.get("__Host-access_token_cookie"));
    assert_eq!((&second["sid"], &second["user_id"]), (&payload(&first)["sid"], &json!("ada")));
    assert_ne!(second["jti"], payload(&first)["jti"]);
    assert_eq!(second["exp"].as_i64(), payload(&first)["exp"].as_i64().map(|exp| exp + 250));
    assert_eq!((&second["csrf"], &second["fresh"]), (&json!(browser.csrf()), &Value::Null));
    clock.advance(250);
    let csrf = browser.csrf().to_owned();
    let ended = browser.send(client, "POST", "/logout", &[("X-CSRF-TOKEN", &csrf)]);
    browser.keep(&ended);
    assert!(ended.status == 204 && browser.cookies.is_empty(), "a logout stays one: {ended:?}");
}

#[test]
fn an_access_cookie_is_replaced_only_so_often() {
    let (app, clock, browser) = implicit("ada", "refresh_session_rate_limit = \"2/2h\"\nrate_limit_trusted = []");
    clock.advance(250);
    let renewed = |_| {
        let reply = browser.send(app.client(), "GET", "/access", &[]);
        assert_eq!(reply.status, 200, "the old token is as good as before: {reply:?}");
        !reply.headers_named("set-cookie").is_empty()
    };
    assert_eq!([0; 4].map(renewed), [true, true, false, false]);
    let csrf = browser.get("csrf_refresh_token").to_owned();
    let asked = browser.send(app.client(), "POST", "/auth/refresh/", &[("X-CSRF-TOKEN", &csrf)]);
    assert_eq!(asked.status, 200, "what is asked for has a count of its own: {asked:?}");
}

#[test]
fn no_access_token_outlives_the_refresh_tokens_of_its_session() {
    let (app, clock, mut browser) = implicit("ada", "");
    let client = app.client();
    let end = payload(browser.get("__Host-refresh_token_cookie"))["exp"].as_i64().expect("an end");
    let mut renewed = 0;
    for _ in 0..10 {
        clock.advance(245);
        let reply = browser.send(client, "GET", "/access", &[]);
        browser.keep(&reply);
        if reply.status != 200 {
            break;
        }
        renewed += usize::from(!reply.headers_named("set-cookie").is_empty());
        assert!(payload(browser.get("__Host-access_token_cookie"))["exp"].as_i64().expect("an end") <= end);
    }
    assert!((3..=5).contains(&renewed), "{renewed}");
    assert_eq!(browser.send(client, "GET", "/access", &[]).status, 401, "twenty minutes are over");
}

#[test]
fn nothing_is_renewed_for_a_session_that_is_over_or_a_user_who_is_gone() {
    let (app, clock, browser) = implicit("ada", "");
    let client = app.client();
    let csrf = browser.get("csrf_refresh_token").to_owned();
    clock.advance(250);
    assert_eq!(browser.send(client, "POST", "/auth/blacklist/", &[("X-CSRF-TOKEN", &csrf)]).status, 200);
    let over = browser.send(client, "GET", "/access", &[]);
    assert!(over.status == 401 && over.headers_named("set-cookie").is_empty(), "{over:?}");
    let (app, clock, browser) = implicit("nobody", "");
    clock.advance(250);
    let gone = browser.send(app.client(), "GET", "/access", &[]);
    assert!(gone.status == 200 && gone.headers_named("set-cookie").is_empty(), "{gone:?}");
    let (app, clock, browser) = implicit("ada", "blacklist_token_checks = [\"refresh\"]");
    let csrf = browser.get("csrf_refresh_token").to_owned();
    clock.advance(250);
    assert_eq!(browser.send(app.client(), "POST", "/auth/blacklist/", &[("X-CSRF-TOKEN", &csrf)]).status, 200);
    let unchecked = browser.send(app.client(), "GET", "/access", &[]);
    assert!(unchecked.status == 200 && unchecked.headers_named("set-cookie").is_empty(), "{unchecked:?}");
}

#[test]
fn a_sliding_token_lives_in_the_access_cookie() {
    let settings = "auth_token_classes = [\"sliding\"]\n\
                    transport = { token_location = [\"cookies\"], cookie_routes = true }";
    let app = App::launch(settings, application);
    let client = app.client();
    let login = client.post_json("/auth/sliding/", &json!({"username": "ada", "password": "secret"}));
    let mut browser = Browser::default();
    browser.keep(&login);
    assert_eq!(login.json(), json!({"access_csrf": browser.csrf()}));
    assert_eq!(browser.send(client, "GET", "/auth/whoami/", &[]).json()["token_type"], "sliding");
    csrf_failed(&browser.send(client, "POST", "/auth/sliding/refresh/", &[]), "CSRF token missing.");
    let csrf = browser.csrf().to_owned();
    let slid = browser.send(client, "POST", "/auth/sliding/refresh/", &[("X-CSRF-TOKEN", &csrf)]);
    assert_eq!(slid.status, 200, "{slid:?}");
    browser.keep(&slid);
    assert_ne!(browser.csrf(), csrf, "a new secret with the new text");
    assert_eq!(browser.send(client, "GET", "/auth/whoami/", &[]).status, 200);
}
