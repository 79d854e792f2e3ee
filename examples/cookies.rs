//! A login page, a page behind it, a page of where one is logged in, and a logout, with the tokens in cookies and without any script.
//!
//! Start it, and in another terminal make a user; the password is read from standard input:
//!
//! ```text
//! cargo run --example cookies
//! echo 'correct horse' | cargo run -- users add ada
//! ```
//!
//! Then open <http://localhost:8000/>. The cookies are `Secure`, which browsers take on `localhost` without TLS, too.
//!
//! What other sites cannot do: see the tokens, which are `HttpOnly`; write a note or log somebody out, since the forms have a secret in a
//! hidden field that the token of the cookie holds as well (`csrf_check_form`); log somebody in, since `SameOrigin` asks the browser where
//! the form came from. An access token lives for five minutes. In its last four, each page brings the next one (`implicit_refresh`), until
//! the refresh token has ended, a day after the login.

use std::fmt::Write as _;
use std::sync::Mutex;

use rocket::form::Form;
use rocket::http::{CookieJar, Header, Status};
use rocket::response::Redirect;
use rocket::response::content::RawHtml;
use rocket::{FromForm, Request, Responder, State, catch, catchers, get, launch, post, routes};
use rocket_simplejwt::settings::{Secret, Settings, Span, TokenLocation};
use rocket_simplejwt::token::generate_key;
use rocket_simplejwt::{
    AccessToken, Client, Credentials, Maybe, RefreshToken, Refusal, SameOrigin, Simplejwt, TokenCookies as _,
    account_routes,
};

/// What the page shows.
type Notes = Mutex<Vec<String>>;

const LOGIN: &str = r#"<form method="post" action="/login">
<p><label>Name <input name="username" autocomplete="username" required></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label></p>
<p><button>Log in</button></p></form>"#;

const HEAD: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>Notes</title>
<meta name="viewport" content="width=device-width">
<style>body { font-family: sans-serif; max-width: 30rem; margin: 2rem auto; padding: 0 1rem }</style>
<h1>Notes</h1>"#;

/// A page that no cache keeps: after the logout, the button to go back shows nothing of it.
#[derive(Responder)]
struct Page {
    html: RawHtml<String>,
    cache: Header<'static>,
}

fn page(body: &str) -> Page {
    Page { html: RawHtml(format!("{HEAD}{body}")), cache: Header::new("Cache-Control", "no-store") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The page has the secrets of both tokens: the first for a note, the other for the logout.
#[get("/")]
fn index(access: Maybe<AccessToken>, refresh: Maybe<RefreshToken>, notes: &State<Notes>) -> Result<Page, Status> {
    let (Some(access), Some(refresh)) = (access.0, refresh.0) else { return Ok(page(LOGIN)) };
    let hidden = |csrf: Option<&str>| {
        format!(r#"<input type="hidden" name="csrf_token" value="{}">"#, escaped(csrf.unwrap_or_default()))
    };
    let mut body = format!("<p>You are user {}.</p><ul>", escaped(access.user_id().unwrap_or("nobody")));
    for note in notes.lock().map_err(|_| Status::InternalServerError)?.iter() {
        let _ = write!(body, "<li>{}</li>", escaped(note));
    }
    let _ = write!(
        body,
        r#"</ul><p><a href="/account/sessions">Where you are logged in</a></p><form method="post" action="/notes">{}<p><label>A note <input name="text" required></label></p><p><button>Write</button></p></form>
<form method="post" action="/logout">{}<p><button>Log out</button></p></form>"#,
        hidden(access.csrf()),
        hidden(refresh.csrf()),
    );
    Ok(page(&body))
}

#[derive(FromForm)]
struct Login {
    username: String,
    password: String,
}

#[post("/login", data = "<login>")]
async fn login(
    _page: SameOrigin,
    login: Form<Login>,
    client: Client,
    jwt: &State<Simplejwt>,
    cookies: &CookieJar<'_>,
) -> Result<Redirect, (Status, Page)> {
    let refused = |status, why| Err((status, page(&format!("<p>{why}</p>{LOGIN}"))));
    let Login { username, password } = login.into_inner();
    match jwt.obtain(&Credentials { username, password }, client).await {
        Ok(pair) => {
            cookies.set_token_cookies(jwt, &pair);
            Ok(Redirect::to("/"))
        }
        Err(Refusal::BadCredentials) => refused(Status::Unauthorized, "The name or the password is wrong."),
        Err(Refusal::TooMany(_)) => refused(Status::TooManyRequests, "Too many attempts. Wait a moment."),
        Err(_) => refused(Status::ServiceUnavailable, "It does not work at the moment. Try again."),
    }
}

/// Where somebody is who reloads the page after a login that was refused.
#[get("/login")]
fn no_login() -> Redirect {
    Redirect::to("/")
}

#[derive(FromForm)]
struct Note {
    text: String,
}

#[post("/notes", data = "<note>")]
fn write(_token: AccessToken, note: Form<Note>, notes: &State<Notes>) -> Result<Redirect, Status> {
    notes.lock().map_err(|_| Status::InternalServerError)?.push(note.into_inner().text);
    Ok(Redirect::to("/"))
}

/// Blacklisting the refresh token ends the session, and the access token with it.
#[post("/logout")]
async fn logout(token: RefreshToken, cookies: &CookieJar<'_>) -> Result<Redirect, Status> {
    token.blacklist().await.map_err(|_| Status::ServiceUnavailable)?;
    cookies.unset_jwt_cookies(token.simplejwt());
    Ok(Redirect::to("/"))
}

/// A token that has expired or was revoked.
#[catch(401)]
fn unauthorized(request: &Request<'_>) -> Page {
    if let Some(jwt) = request.rocket().state::<Simplejwt>() {
        request.cookies().unset_jwt_cookies(jwt);
    }
    page(&format!("<p>Please log in.</p>{LOGIN}"))
}

#[launch]
fn rocket() -> _ {
    // A key of this moment: every token dies with the process. A real application leaves `settings` out, and names the file
    // of its key in Rocket.toml: `[default.simplejwt]`, `signing_key_file = "jwt.key"`.
    let mut settings = Settings::default();
    settings.signing_key = generate_key(settings.algorithm).map(Secret::new);
    settings.transport.token_location = vec![TokenLocation::Cookies];
    settings.transport.csrf_check_form = true;
    settings.transport.implicit_refresh = Some(Span::from_secs(240));

    rocket::build()
        .attach(Simplejwt::fairing().settings(settings))
        .manage(Notes::default())
        .mount("/", routes![index, login, no_login, write, logout])
        .mount("/account", account_routes())
        .register("/", catchers![unauthorized])
}
