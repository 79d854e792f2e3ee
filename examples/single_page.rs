//! A login in a single page without cookies: the page keeps both tokens in memory, renews the access token when it has
//! expired, and logs out on the server. Closing the tab forgets everything.
//!
//! Start it, and in another terminal make a user; the password is read from standard input:
//!
//! ```text
//! cargo run --example single_page
//! echo 'correct horse' | cargo run -- users add ada
//! ```
//!
//! Then open <http://127.0.0.1:8000/>. Access tokens live for 20 seconds here, so that you can watch them being renewed. What
//! the page does, `single_page.js` says; with `curl` it is
//!
//! ```text
//! curl -d username=ada -d 'password=correct horse' http://127.0.0.1:8000/api/token/
//! curl -H "Authorization: Bearer $ACCESS" http://127.0.0.1:8000/api/time
//! curl -d refresh=$REFRESH http://127.0.0.1:8000/api/token/refresh/
//! curl -d refresh=$REFRESH http://127.0.0.1:8000/api/token/blacklist/
//! ```
//!
//! Why no cookie and no `localStorage`: a cookie is sent by the browser, also when another site asks for it, and needs a
//! defence against that; what is stored can be read at any later time. What is in memory is lost on a reload, and still open
//! to a script that runs in this very page, so the page allows none but its own: its `Content-Security-Policy` knows one
//! origin, no inline script and no inline style.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use rocket::http::{ContentType, Header};
use rocket::{Responder, get, launch, routes};
use rocket_simplejwt::settings::{Secret, Settings, Span};
use rocket_simplejwt::token::generate_key;
use rocket_simplejwt::{AccessToken, Simplejwt, token_routes};

/// A file of the page, with the headers that keep everything else out.
#[derive(Responder)]
struct Page {
    content: &'static str,
    media: ContentType,
    policy: Header<'static>,
    referrer: Header<'static>,
}

fn page(media: ContentType, content: &'static str) -> Page {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'none'";
    Page {
        content,
        media,
        policy: Header::new("Content-Security-Policy", policy),
        referrer: Header::new("Referrer-Policy", "no-referrer"),
    }
}

#[get("/")]
fn index() -> Page {
    page(ContentType::HTML, include_str!("single_page.html"))
}

#[get("/single_page.js")]
fn script() -> Page {
    page(ContentType::JavaScript, include_str!("single_page.js"))
}

#[get("/single_page.css")]
fn style() -> Page {
    page(ContentType::CSS, include_str!("single_page.css"))
}

/// Something worth protecting: until when the token of this request is good.
#[get("/time")]
fn time(token: AccessToken) -> String {
    format!("Your access token is good until {}.", token.expires_at().format("%H:%M:%S UTC"))
}

#[launch]
fn rocket() -> _ {
    // A key of this moment: every token dies with the process. A real application leaves `settings` out, and names the file
    // of its key in Rocket.toml: `[default.simplejwt]`, `signing_key_file = "jwt.key"`.
    let mut settings = Settings::default();
    settings.signing_key = generate_key(settings.algorithm).map(Secret::new);
    settings.access_token_lifetime = Span::from_secs(20);

    rocket::build()
        .attach(Simplejwt::fairing().settings(settings).protect("/api"))
        .mount("/", routes![index, script, style])
        .mount("/api", routes![time])
        .mount("/api/token", token_routes())
}
