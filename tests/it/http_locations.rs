//! Where a request may carry its token: cases 106 to 110, 115 and 117 to 119. What a body says in flask's style is in
//! `http_error_style`; cookies are in `http_cookies`.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use figment::Figment;
use figment::providers::{Format as _, Toml};
use rocket::{Build, Rocket, get, options, post, routes};
use rocket_simplejwt::{AccessToken, AnyToken, Maybe, RefreshToken, Settings, Simplejwt, TokenBody, token_routes};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::{Client, Reply};
use crate::support::mint::{Hash, KEY, claims};
use crate::support::now;
use crate::support::people::Everybody;

#[get("/access")]
fn access(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/refresh")]
fn refresh(token: RefreshToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/any")]
fn any(token: AnyToken) -> String {
    format!("{:?}", token.kind())
}

#[get("/maybe")]
fn maybe(token: Maybe<AccessToken>) -> String {
    token.0.map_or("stranger".into(), |token| token.user_id().unwrap_or("nobody").to_owned())
}

#[derive(serde::Deserialize)]
struct Article {
    title: String,
}

#[post("/articles", data = "<body>")]
fn publish(body: TokenBody<AccessToken, Article>) -> String {
    format!("{} by {}", body.rest.title, body.token.user_id().unwrap_or("nobody"))
}

#[post("/body/refresh", data = "<body>")]
fn refresh_body(body: TokenBody<RefreshToken>) -> String {
    body.token.user_id().unwrap_or("nobody").to_owned()
}

#[post("/access")]
fn post(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[options("/access")]
fn preflight() -> &'static str {
    "anything"
}

fn application(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket
        .attach(Simplejwt::fairing().authenticator(Everybody).protect("/api"))
        .mount("/auth", token_routes())
        .mount("/", routes![access, refresh, any, maybe, publish, refresh_body, post, preflight])
        .mount("/api", routes![access])
}

fn launch(settings: &str) -> App {
    App::launch(settings, application)
}

fn login(client: Client) -> (String, String) {
    let reply = client.post_json("/auth/", &json!({"username": "ada", "password": "secret"}));
    (reply.string("access"), reply.string("refresh"))
}

fn said(reply: &Reply) -> (u16, &str) {
    (reply.status, &reply.text)
}

fn code(reply: &Reply) -> (u16, Value) {
    (reply.status, reply.json()["code"].clone())
}

// Case 106, with simplejwt's answers: no header and another scheme are alike, a scheme alone is malformed.
#[test]
fn no_token_another_scheme_and_a_scheme_alone_are_refused() {
    let app = launch("");
    let not_provided = json!({"detail": "Authentication credentials were not provided."});
    app.client().get("/access", None).assert(401, &not_provided);
    app.client().get_as("/access", "Basic YWRhOmFkYQ==").assert(401, &not_provided);
    assert_eq!(code(&app.client().get_as("/access", "Bearer ")), (401, json!("bad_authorization_header")));
}

// Case 107. Off, as in simplejwt, unless `header_lists` is on; and two tokens in one header are one too many.
#[test]
fn a_header_may_be_a_list_where_that_is_set() {
    let (plain, lists) = (launch(""), launch("transport = { header_lists = true }"));
    let token = claims("access").with("user_id", "ada").sign();
    for list in [format!("Basic x, Bearer {token}"), format!("Bearer {token},  "), format!("Bearer {token}, Basic x")] {
        assert_eq!(said(&lists.client().get_as("/access", &list)), (200, "ada"), "{list}");
        assert_eq!(plain.client().get_as("/access", &list).status, 401, "{list}");
    }
    let twice = format!("Bearer {token}, Bearer {token}");
    assert_eq!(code(&lists.client().get_as("/access", &twice)), (401, json!("bad_authorization_header")));
    // DESIGN: several headers are refused, lists or not.
    let headers = [("Authorization", "Basic x"), ("Authorization", &*format!("Bearer {token}"))];
    let several = lists.client().request("GET", "/access", &headers, b"");
    assert_eq!(code(&several), (401, json!("bad_authorization_header")));
}

// Case 108.
#[test]
fn without_a_scheme_the_header_is_the_token() {
    let app = launch("auth_header_types = [\"\"]");
    let token = claims("access").with("user_id", "ada").sign();
    assert_eq!(said(&app.client().get_as("/access", &token)), (200, "ada"));
    let two = app.client().get_as("/access", &format!("Bearer {token}"));
    assert_eq!(code(&two), (401, json!("bad_authorization_header")));
    assert_eq!(two.header("www-authenticate"), Some(r#"Bearer realm="api""#));
}

// Case 109.
#[test]
fn the_query_carries_a_token_where_that_is_set() {
    let app = launch("transport = { token_location = [\"query_string\"] }");
    let prefixed = launch(
        "transport = { token_location = \"query\", query_string_name = \"t\", query_string_value_prefix = \"Bearer \" }",
    );
    let token = claims("access").with("user_id", "ada").sign();
    let get = |app: &App, query: &str| app.client().get(&format!("/access?{query}"), None);
    assert_eq!(said(&get(&app, &format!("x=1&jwt={token}"))), (200, "ada"));
    assert_eq!(said(&get(&prefixed, &format!("t=Bearer%20{token}"))), (200, "ada"));
    assert_eq!(code(&get(&prefixed, &format!("t={token}"))), (401, json!("bad_query_parameter")));
    for nothing in ["", "jwt=", "jwt", "t=x"] {
        assert_eq!(get(&app, nothing).status, 401, "{nothing}");
    }
    for (query, expected) in
        [(format!("jwt={token}&jwt={token}"), "several_tokens"), ("jwt=x".into(), "token_not_valid")]
    {
        assert_eq!(code(&get(&app, &query)), (401, json!(expected)), "{query}");
    }
    assert_eq!(app.client().get("/access", Some(&token)).status, 401, "the header is no place any more");
    assert_eq!(launch("").client().get(&format!("/access?jwt={token}"), None).status, 401, "and the query is none yet");
}

// Case 110. Rocket shows bodies to data guards alone.
#[test]
fn a_json_body_carries_a_token_beside_what_else_it_says() {
    let app = launch("transport = { token_location = [\"headers\", \"json\"] }");
    let client = app.client();
    let (token, refresh_token) = login(client);
    let body = json!({"access_token": token, "title": "Notes"});
    assert_eq!(said(&client.post_json("/articles", &body)), (200, "Notes by ada"));
    let charset = client.post("/articles", "application/json;charset=utf-8", body.to_string().as_bytes());
    assert_eq!(said(&charset), (200, "Notes by ada"));
    let not_provided = json!({"detail": "Authentication credentials were not provided."});
    client.post("/articles", "text/plain", body.to_string().as_bytes()).assert(401, &not_provided);
    client.post_json("/articles", &json!({"title": "Notes"})).assert(401, &not_provided);
    client.post_json("/articles", &json!({"access_token": null, "title": "Notes"})).assert(401, &not_provided);
    assert_eq!(client.post_json("/articles", &json!({"access_token": token})).status, 400, "no title");
    for bad in ["[]", "{", "{\"access_token\": 1, \"access_token\": 2}"] {
        assert_eq!(client.post("/articles", "application/json", bad.as_bytes()).status, 400, "{bad}");
    }
    let wrong = client.post_json("/articles", &json!({"access_token": refresh_token, "title": "Notes"}));
    assert_eq!(code(&wrong), (401, json!("token_not_valid")));
    assert_eq!(said(&client.post_json("/body/refresh", &json!({"refresh_token": refresh_token}))), (200, "ada"));
    let headers = [("Content-Type", "application/json"), ("Authorization", &*format!("Bearer {token}"))];
    let by_header = client.request("POST", "/articles", &headers, br#"{"title": "Notes"}"#);
    assert_eq!(said(&by_header), (200, "Notes by ada"));
    let other = claims("access").with("user_id", "eve").sign();
    let both = json!({"access_token": other, "title": "Notes"}).to_string();
    assert_eq!(code(&client.request("POST", "/articles", &headers, both.as_bytes())), (401, json!("several_tokens")));
    let off = launch("");
    assert_eq!(off.client().post_json("/articles", &body).status, 401, "not unless it is a place");
}

// Case 115. DESIGN: the first by precedence counts, two that differ are an error, and so is a bad one in front of a good one.
#[test]
fn of_several_places_the_first_counts_and_two_tokens_are_an_error() {
    let app = launch("transport = { token_location = [\"headers\", \"query_string\", \"cookies\"] }");
    let client = app.client();
    let token = claims("access").with("user_id", "ada").with("csrf", "x").sign();
    let other = claims("access").with("user_id", "eve").with("csrf", "x").sign();
    let get = |path: &str, headers: &[(&str, &str)]| client.request("GET", path, headers, b"");
    let (bearer, cookie) = (format!("Bearer {token}"), format!("__Host-access_token_cookie={token}"));
    assert_eq!(said(&get("/access", &[("Authorization", &bearer)])), (200, "ada"));
    assert_eq!(said(&get(&format!("/access?jwt={token}"), &[])), (200, "ada"));
    assert_eq!(said(&get("/access", &[("Cookie", &cookie)])), (200, "ada"));
    get("/access", &[]).assert(401, &json!({"detail": "Authentication credentials were not provided."}));
    let same = get(&format!("/access?jwt={token}"), &[("Authorization", &bearer), ("Cookie", &cookie)]);
    assert_eq!(said(&same), (200, "ada"), "the same token everywhere");
    for (path, headers) in [
        (format!("/access?jwt={other}"), vec![("Authorization", bearer.as_str())]),
        (format!("/access?jwt={other}"), vec![("Cookie", cookie.as_str())]),
        ("/access?jwt=x".into(), vec![("Authorization", bearer.as_str())]),
    ] {
        assert_eq!(code(&get(&path, &headers)), (401, json!("several_tokens")), "{path}");
    }
    let headers = [("Authorization", format!("Bearer {other}"))];
    let mixed = get("/access", &[("Authorization", &headers[0].1), ("Cookie", &cookie)]);
    assert_eq!(code(&mixed), (401, json!("several_tokens")), "cookie and header are never mixed");
    let malformed = get("/access", &[("Authorization", "Bearer"), ("Cookie", &cookie)]);
    assert_eq!(code(&malformed), (401, json!("bad_authorization_header")), "a good one behind it does not help");
    let maybe = get("/maybe", &[("Authorization", &headers[0].1), ("Cookie", &cookie)]);
    assert_eq!(maybe.status, 401, "nor is that nobody: {maybe:?}");
    let posted = client.request("POST", "/access", &[("Authorization", &bearer), ("Cookie", &cookie)], b"");
    assert_eq!(said(&posted), (200, "ada"), "who knows the token needs no proof");
}

#[test]
fn a_refresh_token_may_have_a_header_of_its_own() {
    let app = launch("transport = { refresh_header_name = \"X-Refresh-Token\" }");
    let client = app.client();
    let (access_token, refresh_token) = login(client);
    let (access, refresh) = (format!("Bearer {access_token}"), format!("Bearer {refresh_token}"));
    let both = [("Authorization", access.as_str()), ("X-Refresh-Token", refresh.as_str())];
    assert_eq!(said(&client.request("GET", "/access", &both, b"")), (200, "ada"));
    assert_eq!(said(&client.request("GET", "/refresh", &both, b"")), (200, "ada"));
    assert_eq!(said(&client.request("GET", "/any", &both, b"")), (200, "Known(Access)"));
    assert_eq!(said(&client.request("GET", "/any", &both[1..], b"")), (200, "Known(Refresh)"));
    assert_eq!(client.request("GET", "/refresh", &[("Authorization", &refresh)], b"").status, 401);
    assert_eq!(client.request("GET", "/access", &[("X-Refresh-Token", &access)], b"").status, 401);
    let renewed = client.request("POST", "/auth/refresh/", &both, b"");
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(client.get("/access", Some(&renewed.string("access"))).status, 200);
    let ended = client.request("POST", "/auth/blacklist/", &[("X-Refresh-Token", &refresh)], b"");
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(client.get("/access", Some(&access_token)).status, 401);
}

// Case 117. A guard stands on a route, and a preflight has none; a protected prefix lets it through.
#[test]
fn a_preflight_needs_no_token() {
    let app = launch("transport = { token_location = [\"headers\", \"cookies\"] }");
    assert_eq!(said(&app.client().request("OPTIONS", "/access", &[], b"")), (200, "anything"));
    assert_eq!(app.client().request("OPTIONS", "/api/access", &[], b"").status, 404, "not 401: there is no such route");
}

// Case 118.
#[test]
fn audience_and_issuer_are_compared_wherever_the_token_is() {
    let app = launch(
        "audience = [\"api\", \"web\"]\nissuer = \"us\"\ntransport = { token_location = [\"headers\", \"query_string\"] }",
    );
    let good = claims("access").with("user_id", "ada").with("aud", "api").with("iss", "us");
    let get = |token: &str| app.client().get(&format!("/access?jwt={token}"), None).status;
    assert_eq!(get(&good.sign()), 200);
    assert_eq!(get(&good.clone().with("aud", json!(["x", "web"])).sign()), 200);
    for bad in [
        good.clone().with("aud", "x"),
        good.clone().with("aud", json!(["x"])),
        good.clone().without("aud"),
        good.clone().with("iss", "them"),
        good.clone().without("iss"),
    ] {
        assert_eq!(get(&bad.sign()), 401, "{}", bad.json());
    }
    let (access, refresh) = login(app.client());
    assert_eq!(get(&access), 200);
    assert_eq!(get(&refresh), 401);
}

// Case 119.
#[test]
fn what_is_not_yet_valid_becomes_so_within_the_leeway() {
    let token = claims("access").with("user_id", "ada").with("nbf", now() + 60).sign();
    let settings = "transport = { token_location = [\"query_string\"] }";
    let get = |app: &App| app.client().get(&format!("/access?jwt={token}"), None).status;
    assert_eq!(get(&launch(settings)), 401);
    assert_eq!(get(&launch(&format!("leeway = \"90s\"\n{settings}"))), 200);
}

// Cases 120, 122 and 123. DESIGN: no token without expiry; `user_id` is a string or an integer, and nothing else.
#[test]
fn a_token_without_expiry_of_a_strange_subject_or_of_another_algorithm_is_refused() {
    let app = launch("");
    let good = claims("access").with("user_id", "ada");
    for bad in [
        good.clone().without("exp").sign(),
        good.clone().with("user_id", json!({"id": 1})).sign(),
        good.clone().with("user_id", json!(["1"])).sign(),
        good.sign_with(Hash::Sha384, KEY),
    ] {
        assert_eq!(code(&app.client().get("/access", Some(&bad))), (401, json!("token_not_valid")));
    }
    let number = good.with("user_id", 7).sign();
    assert_eq!(said(&app.client().get("/access", Some(&number))), (200, "7"));
    for never in ["access_token_lifetime = 0", "access_token_lifetime = false", "refresh_token_lifetime = 0"] {
        assert!(Settings::from_figment(&settings(never)).is_err(), "{never}");
    }
}

fn settings(line: &str) -> Figment {
    Figment::new().merge(Toml::string(&format!("[default.simplejwt]\n{line}")).nested())
}

#[test]
fn a_transport_that_endangers_a_promise_does_not_start() {
    let cookies = "token_location = [\"headers\", \"cookies\"]";
    let check = |more: &str| {
        let line = format!("transport = {{ {cookies}{}{more} }}", if more.is_empty() { "" } else { ", " });
        Settings::from_figment(&settings(&line)).map_err(|error| error.to_string())
    };
    check("").expect("cookies with the defaults");
    for good in [
        "cookie_secure = false, allow_insecure_cookies = true, access_cookie_name = \"a\", refresh_cookie_name = \"r\"",
        "cookie_csrf_protect = false, unsafe_cookies_without_csrf = true",
        "refresh_cookie_name = \"__Secure-r\", refresh_cookie_path = \"/auth/refresh\"",
        "access_cookie_name = \"a\", refresh_cookie_name = \"r\", cookie_domain = \"example.org\"",
        "cookie_samesite = \"Strict\"",
        "csrf_methods = [\"GET\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]",
        "trusted_origins = [\"https://app.example.org\", \"http://localhost:5173\"]",
        "cookie_routes = true, implicit_refresh = \"1m\"",
    ] {
        check(good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for (bad, named) in [
        ("cookie_domain = \"example.org\"", "access_cookie_name"),
        ("access_cookie_path = \"/api\"", "access_cookie_name"),
        ("cookie_secure = false", "access_cookie_name"),
        ("cookie_secure = false, access_cookie_name = \"a\", refresh_cookie_name = \"r\"", "cookie_secure"),
        ("refresh_cookie_name = \"__host-r\", refresh_cookie_path = \"/x\"", "refresh_cookie_name"),
        ("refresh_cookie_name = \"__Host-access_token_cookie\"", "refresh_cookie_name"),
        ("access_csrf_cookie_name = \"a b\"", "access_csrf_cookie_name"),
        ("access_csrf_cookie_path = \"/; HttpOnly\"", "access_csrf_cookie_name"),
        ("cookie_csrf_protect = false", "cookie_csrf_protect"),
        ("csrf_methods = [\"POST\"]", "csrf_methods"),
        ("csrf_methods = [\"POST\", \"PUT\", \"PATCH\", \"DELETE\", \"get\"]", "csrf_methods"),
        ("trusted_origins = [\"*\"]", "trusted_origins"),
        ("trusted_origins = [\"https://app.example.org/\"]", "trusted_origins"),
        ("refresh_header_name = \"authorization\"", "refresh_header_name"),
        ("access_csrf_header_name = \"Cookie\"", "access_csrf_header_name"),
        ("query_string_name = \"\"", "query_string_name"),
        ("cookie_samesite = \"sometimes\"", "cookie_samesite"),
    ] {
        let error = check(bad).expect_err(bad);
        assert!(error.contains(named), "{bad}: {error}");
    }
    for line in [
        "transport = { token_location = [] }",
        "transport = { token_location = [\"headers\", \"headers\"] }",
        "transport = { token_location = [\"nowhere\"] }",
        "transport = { cookie_routes = true }",
        "transport = { implicit_refresh = \"1m\" }",
        "transport = { access_cookie = \"x\" }",
        "auth_header_types = [\"\", \"Bearer\"]",
    ] {
        assert!(Settings::from_figment(&settings(line)).is_err(), "{line}");
    }
}
