//! Errors in another style than simplejwt's: flask's `{"msg": …}`, of `error_style = "flask"`, and the application's own. The numbers are
//! those of the cases whose answer flask-jwt-extended, quart-jwt-extended or Sanic-JWT-Extended gives in its own words.

use rocket::http::Status;
use rocket::{Build, Rocket, get, post, routes};
use rocket_simplejwt::{
    AccessToken, AnyToken, AuthError, CurrentUser, Fresh, HasRole, Maybe, RefreshToken, Refusal, Role, Simplejwt,
    SimplejwtFairing, TokenBody, Verified, token_routes,
};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::{Client, Reply};
use crate::support::mint::{Hash, KEY, claims};
use crate::support::now;
use crate::support::people::{Everybody, Somebody};

struct Editor;

impl Role for Editor {
    const ALLOW: &[&str] = &["editor"];
}

#[get("/access")]
fn access(_token: AccessToken) -> &'static str {
    "let in"
}

#[post("/access")]
fn post(_token: AccessToken) -> &'static str {
    "let in"
}

#[post("/body", data = "<_body>")]
fn body(_body: TokenBody<AccessToken>) -> &'static str {
    "let in"
}

#[get("/refresh")]
fn refresh(_token: RefreshToken) -> &'static str {
    "let in"
}

#[get("/maybe")]
fn maybe(_token: Maybe<AccessToken>) -> &'static str {
    "let in"
}

#[get("/fresh")]
fn fresh(_token: Fresh<AccessToken>) -> &'static str {
    "let in"
}

#[get("/editor")]
fn editor(_token: HasRole<Editor>) -> &'static str {
    "let in"
}

#[get("/me")]
fn me(_user: CurrentUser<Somebody>) -> &'static str {
    "let in"
}

#[post("/logout")]
async fn logout(token: AnyToken) -> Status {
    token.blacklist().await.map_or(Status::ServiceUnavailable, |()| Status::Ok)
}

fn application(fairing: SimplejwtFairing) -> impl FnOnce(Rocket<Build>) -> Rocket<Build> + Send + 'static {
    |rocket| {
        rocket
            .attach(fairing.authenticator(Everybody).protect("/api"))
            .mount("/auth", token_routes())
            .mount("/api", routes![access])
            .mount("/", routes![access, post, body, refresh, maybe, fresh, editor, me, logout])
    }
}

fn flask(more: &str) -> App {
    let fairing = Simplejwt::fairing().verify_claims(|token: &Verified| !token.custom_claims().contains_key("refuse"));
    App::launch(&format!("error_style = \"flask\"\n{more}"), application(fairing))
}

fn msg(reply: &Reply) -> (u16, Value) {
    assert_eq!(reply.json().as_object().expect("an object").len(), 1, "{reply:?}");
    assert_eq!(reply.status == 401, reply.header("www-authenticate").is_some(), "{reply:?}");
    (reply.status, reply.json()["msg"].clone())
}

fn login(client: Client) -> (String, String) {
    let reply = client.post_json("/auth/", &json!({"username": "ada", "password": "secret"}));
    (reply.string("access"), reply.string("refresh"))
}

fn revoke(client: Client, token: &str) {
    let reply = client.request("POST", "/logout", &[("Authorization", &format!("Bearer {token}"))], b"");
    assert_eq!(reply.status, 200, "{reply:?}");
}

// Cases 92, 93, 99, 106, 116, 118, 119, 121, 123 and 124.
#[test]
fn a_refused_token_is_put_in_flask_s_words() {
    let app = flask("audience = \"api\"\nissuer = \"us\"");
    let client = app.client();
    let get = |path: &str, token: &str| msg(&client.get(path, Some(token)));
    assert_eq!(msg(&client.get("/access", None)), (401, json!("Missing Authorization Header")));
    assert_eq!(msg(&client.get("/api/access", None)), (401, json!("Missing Authorization Header")));
    let scheme = "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'";
    assert_eq!(msg(&client.get_as("/access", "Basic YWRh")), (401, json!(scheme)));
    let bad = "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'";
    for path in ["/access", "/maybe", "/api/access"] {
        assert_eq!(msg(&client.get_as(path, "Bearer ")), (422, json!(bad)), "{path}");
    }
    let (access, refresh) = login(client);
    assert_eq!(client.get("/access", Some(&access)).status, 200);
    assert_eq!(get("/access", &refresh), (422, json!("Only non-refresh tokens are allowed")));
    assert_eq!(get("/fresh", &refresh), (422, json!("Only non-refresh tokens are allowed")));
    assert_eq!(get("/refresh", &access), (422, json!("Only refresh tokens are allowed")));
    let renewed = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    assert_eq!(get("/fresh", &renewed.string("access")), (401, json!("Fresh token required")));
    assert_eq!(get("/editor", &access), (403, json!("You are not allowed to access here")));

    revoke(client, &access);
    for path in ["/access", "/maybe", "/api/access"] {
        assert_eq!(get(path, &access), (401, json!("Token has been revoked")), "{path}");
    }
    revoke(client, &renewed.string("refresh"));
    assert_eq!(get("/refresh", &renewed.string("refresh")), (401, json!("Token has been revoked")));

    let good = claims("access").with("user_id", "ada").with("aud", "api").with("iss", "us");
    let table = [
        (good.clone().with("iat", now() - 60).with("exp", now() - 1).sign(), 401, "Token has expired"),
        (good.clone().with("aud", "web").sign(), 422, "Invalid audience"),
        (good.clone().with("iss", "them").sign(), 422, "Invalid issuer"),
        (good.clone().with("nbf", now() + 60).sign(), 422, "The token is not yet valid (nbf)"),
        (good.sign_with(Hash::Sha256, b"another key of thirty-two bytes or so"), 422, "Signature verification failed"),
        (good.sign_with(Hash::Sha384, KEY), 422, "Signature verification failed"),
        (good.clone().without("exp").sign(), 422, "Missing claim: exp"),
        // Trap 19: there, no jti means that nothing was revoked.
        (good.clone().without("jti").sign(), 422, "Missing claim: jti"),
        (good.clone().with("refuse", 1).sign(), 400, "User claims verification failed"),
        ("x".into(), 422, "Not enough segments"),
    ];
    for (token, status, text) in table {
        assert_eq!(get("/access", &token), (status, json!(text)));
    }
    let nobody = good.with("user_id", "nobody").sign();
    assert_eq!(get("/me", &nobody), (401, json!("Error loading the user")));
}

// Cases 106 to 115.
#[test]
fn what_is_missing_is_named_for_every_place() {
    let places = |places: &str| flask(&format!("transport = {{ token_location = {places} }}"));
    let cookies = places("\"cookies\"");
    let missing = msg(&cookies.client().get("/access", None));
    assert_eq!(missing, (401, json!("Missing cookie \"__Host-access_token_cookie\"")));
    let query = flask("transport = { token_location = \"query_string\", query_string_value_prefix = \"x\" }");
    assert_eq!(msg(&query.client().get("/access", None)), (401, json!("Missing \"jwt\" query parameter")));
    let prefix = "Invalid value for query parameter 'jwt'. Expected the value to start with 'x'";
    assert_eq!(msg(&query.client().get("/access?jwt=y", None)), (422, json!(prefix)));
    let body = places("\"json\"");
    let text = body.client().post("/body", "text/plain", b"x");
    assert_eq!(msg(&text), (401, json!("Invalid content-type. Must be application/json.")));
    let empty = body.client().post_json("/body", &json!({}));
    assert_eq!(msg(&empty), (401, json!("Missing \"access_token\" key in json data.")));
    let all = places("[\"headers\", \"cookies\", \"query_string\"]");
    let text = "Missing JWT in headers, cookies or query_string (Missing Authorization Header; Missing cookie \
                \"__Host-access_token_cookie\"; Missing \"jwt\" query parameter)";
    assert_eq!(msg(&all.client().get("/access", None)), (401, json!(text)));
    let two = all.client().get("/access?jwt=y", Some("x"));
    assert_eq!(msg(&two), (422, json!("The request carries several tokens")));
    let refresh = msg(&places("[\"cookies\"]").client().get("/refresh", None));
    assert_eq!(refresh, (401, json!("Missing cookie \"__Host-refresh_token_cookie\"")));
}

// Case 112.
#[test]
fn what_a_cookie_lacks_is_put_in_flask_s_words() {
    let app = flask("transport = { token_location = [\"cookies\"] }");
    let send = |token: &str, headers: &[(&str, &str)]| {
        let cookie = format!("__Host-access_token_cookie={token}");
        msg(&app.client().request("POST", "/access", &[&[("Cookie", cookie.as_str())], headers].concat(), b""))
    };
    let token = claims("access").with("csrf", "x").sign();
    assert_eq!(send(&token, &[]), (401, json!("Missing CSRF token")));
    assert_eq!(send(&token, &[("X-CSRF-TOKEN", "y")]), (401, json!("CSRF double submit tokens do not match")));
    assert_eq!(send(&claims("access").sign(), &[("X-CSRF-TOKEN", "y")]), (422, json!("Missing claim: csrf")));
    assert_eq!(send(&token, &[("Origin", "https://evil.example")]), (401, json!("CSRF origin check failed")));
}

#[test]
fn the_token_routes_and_everything_else_speak_so_too() {
    let app = flask("error_message_key = \"message\"");
    let client = app.client();
    let message = |reply: &Reply| (reply.status, reply.json()["message"].clone());
    let wrong = client.post_json("/auth/", &json!({"username": "ada", "password": "wrong"}));
    assert_eq!(message(&wrong), (401, json!("Bad username or password")));
    let missing = client.post_json("/auth/", &json!({"username": "ada"}));
    assert_eq!(message(&missing), (400, json!("password: This field is required.")));
    let (access, refresh) = login(client);
    let kind = client.post_json("/auth/refresh/", &json!({"refresh": access}));
    assert_eq!(message(&kind), (422, json!("Only refresh tokens are allowed")));
    client.post_json("/auth/blacklist/", &json!({"refresh": refresh}));
    let revoked = client.post_json("/auth/refresh/", &json!({"refresh": refresh}));
    assert_eq!(message(&revoked), (401, json!("Token has been revoked")));
    assert_eq!(message(&client.get("/nowhere", None)), (404, json!("Not found.")));
    assert_eq!(message(&client.get("/auth/", None)), (405, json!("Method \"GET\" not allowed.")));
}

// Case 96: the application says something else of what was revoked, and nothing of the rest.
#[test]
fn an_application_renders_errors_itself() {
    let fairing = Simplejwt::fairing().render_error(|error, request| match error.cause {
        Some(AuthError::Refused { refusal: Refusal::Blacklisted, .. }) => {
            Some((Status::NotFound, json!({"gone": request.method().as_str()})))
        }
        _ if error.status == Status::NotFound => Some((error.status, json!({"was": error.body}))),
        _ => None,
    });
    let app = App::launch("", application(fairing));
    let client = app.client();
    let (access, refresh) = login(client);
    revoke(client, &access);
    for path in ["/access", "/maybe", "/api/access"] {
        client.get(path, Some(&access)).assert(404, &json!({"gone": "GET"}));
    }
    client.get("/access", None).assert(401, &json!({"detail": "Authentication credentials were not provided."}));
    client.get("/nowhere", None).assert(404, &json!({"was": {"detail": "Not found."}}));
    client.post_json("/auth/blacklist/", &json!({"refresh": refresh}));
    client.post_json("/auth/refresh/", &json!({"refresh": refresh})).assert(404, &json!({"gone": "POST"}));
}
