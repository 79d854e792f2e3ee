//! The page on which users see where they are signed in, and end that.

use rocket::http::CookieJar;
use rocket::{Build, Rocket, State, post, routes};
use rocket_simplejwt::service::Client as From;
use rocket_simplejwt::{Issue, Simplejwt, TokenCookies as _, account_routes};
use serde_json::json;

use crate::support::admin::{FORM, form};
use crate::support::app::App;
use crate::support::client::{Client, Reply};
use crate::support::mint::payload;
use crate::support::people::Everybody;
use crate::support::server::{PASSWORD, Server};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile/15E148 Safari/604.1";

/// `serve` with tokens in cookies, and `ada`.
fn start() -> Server {
    let transport = "{ token_location = [\"headers\", \"cookies\"], cookie_routes = true }";
    Server::new().set("transport", transport).start_with_ada()
}

/// A browser in which somebody is logged in.
#[derive(Clone, Debug)]
struct Browser {
    client: Client,
    cookies: Vec<(String, String)>,
    path: &'static str,
}

impl Browser {
    fn new(client: Client, path: &'static str, login: &Reply) -> Self {
        assert!(login.status < 300, "{login:?}");
        let pair = |set: &str| {
            let (name, value) = set.split(';').next()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let cookies = login.headers_named("set-cookie").into_iter().filter_map(pair).collect();
        Self { client, cookies, path }
    }

    /// Logs in at `serve`, as a program that says this of itself.
    fn logged_in(server: &Server, name: &str, user_agent: &str) -> Self {
        let body = json!({"username": name, "password": PASSWORD}).to_string();
        let headers = [("Content-Type", "application/json"), ("User-Agent", user_agent)];
        let login = server.client().request("POST", "/api/token/", &headers, body.as_bytes());
        Self::new(server.client(), "/account/sessions", &login)
    }

    fn cookie(&self, name: &str) -> &str {
        let found = self.cookies.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no cookie {name}: {self:?}")).1
    }

    fn session(&self) -> String {
        let token = self.cookie("__Host-access_token_cookie");
        payload(token)["sid"].as_str().expect("a session").to_owned()
    }

    fn header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn get(&self, below: &str) -> Reply {
        self.client.request("GET", &format!("{}{below}", self.path), &[("Cookie", &self.header())], b"")
    }

    /// Sends a form as it stands.
    fn post_bare(&self, below: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let cookie = self.header();
        let headers = [&[FORM, ("Cookie", cookie.as_str())], headers].concat();
        self.client.request("POST", &format!("{}{below}", self.path), &headers, form(fields).as_bytes())
    }

    /// Sends a form with the secret that the page has.
    fn post(&self, below: &str, fields: &[(&str, &str)]) -> Reply {
        let page = self.get("");
        let secret = page.text.split("name=\"csrf_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let secret = secret.unwrap_or_else(|| panic!("no form: {page:?}"));
        self.post_bare(below, &[&[("csrf_token", secret)], fields].concat(), &[])
    }

    /// Ends a session by the button beside it.
    fn end(&self, session: &str) -> Reply {
        self.post("/end", &[("id", session)])
    }

    fn is_in(&self) -> bool {
        self.get("").status == 200
    }

    /// The sessions on the page, in their order.
    fn listed(&self) -> Vec<String> {
        listed(&self.get(""))
    }
}

fn listed(page: &Reply) -> Vec<String> {
    assert_eq!(page.status, 200, "{page:?}");
    let rows = page.text.split("name=\"id\" value=\"").skip(1);
    rows.filter_map(|row| Some(row.split('"').next()?.to_owned())).collect()
}

#[track_caller]
fn assert_problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.text.contains(&format!("data-code=\"{code}\"")), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{reply:?}");
}

#[track_caller]
fn assert_sent_to(reply: &Reply, location: &str) {
    assert_eq!((reply.status, reply.header("location")), (303, Some(location)), "{reply:?}");
}

#[test]
fn users_see_where_they_are_signed_in_and_sign_one_out() {
    let server = start();
    let eva = server.another_user();
    let [desk, phone] = [FIREFOX, IPHONE].map(|device| Browser::logged_in(&server, "ada", device));
    let hers = Browser::logged_in(&server, &eva, FIREFOX);
    let page = desk.get("");
    assert_eq!(listed(&page), [phone.session(), desk.session()], "the newest first");
    for shown in ["Firefox on Linux", "Safari on iPhone", FIREFOX, "127.0.0.1", "<time datetime="] {
        assert!(page.text.contains(shown), "{shown}: {page:?}");
    }
    let (before, after) = page.text.split_once(">this device<").expect("the current one");
    assert!(before.contains(&phone.session()) && after.contains(&desk.session()), "{page:?}");
    assert!(!after.contains(">this device<"));

    assert_sent_to(&desk.end(&phone.session()), "/account/sessions?said=ended");
    assert!(desk.get("?said=ended").text.contains("That session is over."));
    assert_eq!(desk.listed(), [desk.session()]);
    assert_problem(&phone.get(""), 401, "not_signed_in");
    let token = hers.cookie("__Host-access_token_cookie");
    assert_eq!(server.client().get("/api/token/whoami/", Some(token)).status, 200, "somebody else");
    // Once more is no error, as over the API.
    assert_sent_to(&desk.end(&phone.session()), "/account/sessions?said=ended");
    let event = format!(
        "SELECT reason FROM simplejwt_event WHERE action = 'end_session' AND target = '{}' AND via = 'http' \
         AND who = 'user:{}' AND address = '127.0.0.1'",
        phone.session(),
        server.user_id("ada")
    );
    assert_eq!(server.database().strings(&event), ["session ended by its user"]);
}

#[test]
fn whoever_signs_this_one_out_has_no_cookies_any_more() {
    let server = start();
    let browser = Browser::logged_in(&server, "ada", FIREFOX);
    let out = browser.end(&browser.session());
    assert_sent_to(&out, "/account/sessions/signed-out");
    let cleared = out.headers_named("set-cookie");
    assert_eq!(cleared.len(), 4, "{out:?}");
    assert!(cleared.iter().all(|cookie| cookie.contains("Max-Age=0")), "{out:?}");
    let page = server.client().get("/account/sessions/signed-out", None);
    assert!(page.status == 200 && page.text.contains("You are signed out"), "{page:?}");
    assert_problem(&browser.get(""), 401, "not_signed_in");
    let access = browser.cookie("__Host-access_token_cookie");
    assert_eq!(server.client().get("/api/token/whoami/", Some(access)).status, 401);
}

#[test]
fn everywhere_else_is_everywhere_but_here() {
    let server = start();
    let browsers = [FIREFOX, IPHONE, "curl/8.5.0"].map(|device| Browser::logged_in(&server, "ada", device));
    let bob = server.another_user();
    let other = Browser::logged_in(&server, &bob, FIREFOX);
    let [here, phone, script] = &browsers;
    assert_sent_to(&here.post("/end-others", &[]), "/account/sessions?said=others");
    assert_eq!([here, phone, script, &other].map(Browser::is_in), [true, false, false, true]);
    let page = here.get("?said=others");
    assert_eq!(listed(&page), [here.session()]);
    assert!(page.text.contains("signed out everywhere else"));
    assert!(!page.text.contains("/end-others"), "nothing else is there");
}

#[test]
fn what_is_somebody_elses_is_as_what_is_not_there() {
    let server = start();
    let eva = server.another_user();
    let (ada, hers) = (Browser::logged_in(&server, "ada", FIREFOX), Browser::logged_in(&server, &eva, IPHONE));
    let theirs = ada.end(&hers.session());
    assert_problem(&theirs, 404, "not_found");
    for id in ["01890000-0000-7000-8000-000000000000", "x", "", "' OR 1=1 --"] {
        let unknown = ada.end(id);
        assert_eq!((unknown.status, &unknown.text), (404, &theirs.text), "{id}");
    }
    assert!(hers.is_in());
    let all: [&[(&str, &str)]; 2] = [&[], &[("id", "x"), ("id", "y")]];
    assert_eq!(all.map(|fields| ada.post("/end", fields).status), [404, 400]);
}

#[test]
fn a_form_needs_the_secret_of_the_token_and_an_origin_of_ours() {
    let server = start();
    let [browser, other] = [FIREFOX, IPHONE].map(|device| Browser::logged_in(&server, "ada", device));
    let (session, secret) = (browser.session(), browser.cookie("csrf_access_token"));
    let id = ("id", session.as_str());
    let wrong = [
        &[id][..],
        &[id, ("csrf_token", "")],
        &[id, ("csrf_token", "x")],
        &[id, ("csrf_token", other.cookie("csrf_access_token"))],
        &[id, ("csrf_token", browser.cookie("csrf_refresh_token"))],
        &[id, ("csrf", secret)],
    ];
    for path in ["/end", "/end-others"] {
        for fields in wrong {
            assert_problem(&browser.post_bare(path, fields, &[]), 403, "csrf");
        }
        let right = [id, ("csrf_token", secret)];
        for headers in [
            &[("Origin", "https://evil.example")][..],
            &[("Origin", "null")],
            &[("Sec-Fetch-Site", "cross-site")],
            &[("Sec-Fetch-Site", "same-site")],
            &[("X-CSRF-TOKEN", "x")],
        ] {
            assert_problem(&browser.post_bare(path, &right, headers), 403, "csrf");
        }
        let twice = [id, ("csrf_token", secret), ("csrf_token", secret)];
        assert_problem(&browser.post_bare(path, &twice, &[]), 400, "bad_request");
        let got = browser.get(&format!("{path}?csrf_token={secret}&id={session}"));
        assert_problem(&got, 405, "method_not_allowed");
        assert_eq!(got.header("allow"), Some("POST"));
        let cookie = browser.header();
        let headers = [("Cookie", cookie.as_str()), ("Content-Type", "application/json"), ("X-CSRF-TOKEN", secret)];
        let path = format!("/account/sessions{path}");
        assert_problem(&server.client().request("POST", &path, &headers, b"{}"), 415, "media");
        let bare = server.client().request("POST", &path, &[FORM], form(&right).as_bytes());
        assert_problem(&bare, 401, "not_signed_in");
    }
    assert!(browser.is_in() && other.is_in());
    let own = [("Host", "app.example"), ("Origin", "https://app.example"), ("Sec-Fetch-Site", "same-origin")];
    let reply = browser.post_bare("/end-others", &[("csrf_token", secret)], &own);
    assert_sent_to(&reply, "/account/sessions?said=others");
    assert!(browser.is_in() && !other.is_in());
}

#[test]
fn without_a_good_token_there_is_a_page_that_says_so() {
    let server = start();
    let client = server.client();
    let browser = Browser::logged_in(&server, "ada", FIREFOX);
    let refresh = format!("__Host-access_token_cookie={}", browser.cookie("__Host-refresh_token_cookie"));
    let nobody = client.get("/account/sessions", None);
    assert_problem(&nobody, 401, "not_signed_in");
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer realm=\"api\""));
    for cookie in ["__Host-access_token_cookie=x", "access_token_cookie=x", refresh.as_str()] {
        let reply = client.request("GET", "/account/sessions", &[("Cookie", cookie)], b"");
        assert_problem(&reply, 401, "not_signed_in");
        assert!(reply.header("www-authenticate").is_some());
    }
    // A program may ask as well.
    let access = browser.cookie("__Host-access_token_cookie");
    assert_eq!(listed(&client.get("/account/sessions/", Some(access))), [browser.session()]);
    for method in ["PUT", "DELETE", "PATCH"] {
        let reply = client.request(method, "/account/sessions", &[("Cookie", &browser.header())], b"");
        assert_problem(&reply, 405, "method_not_allowed");
    }
    for query in ["after=x", "said=x", "after=1&after=2"] {
        assert_problem(&browser.get(&format!("?{query}")), 400, "bad_request");
    }
}

#[test]
fn the_pages_load_nothing_from_elsewhere_and_show_what_others_wrote_as_text() {
    let server = start();
    let nasty = r#"<script>alert(1)</script>"onx='x'"#;
    Browser::logged_in(&server, "ada", nasty);
    let browser = Browser::logged_in(&server, "ada", FIREFOX);
    let problem = server.client().get("/account/sessions", None);
    let out = server.client().get("/account/sessions/signed-out", None);
    for page in [browser.get(""), browser.get("/signed-out"), problem, out] {
        let header = |name: &str| page.header(name).unwrap_or_default().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{page:?}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        for raw in ["<script", "\"onx", "http://", "https://", " style="] {
            assert!(!page.text.contains(raw), "{raw}: {page:?}");
        }
        assert!(page.text.contains("href=\"/account/sessions/style.css\""), "{page:?}");
    }
    assert!(browser.get("").text.contains("&#60;script&#62;alert(1)"));
    assert!(browser.get("").text.len() < 100 * 1024);
    let client = server.client();
    for (path, media) in [("style.css", "text/css; charset=utf-8"), ("icon.svg", "image/svg+xml")] {
        let file = client.get(&format!("/account/sessions/{path}"), None);
        assert_eq!((file.status, file.header("content-type")), (200, Some(media)), "{file:?}");
    }
}

#[test]
fn serve_has_the_page_only_where_tokens_travel_in_cookies() {
    let server = Server::with_ada();
    assert_eq!(server.client().get("/account/sessions", Some(&server.login("ada").access)).status, 404);
}

#[post("/login?<name>")]
async fn login(name: &str, client: From, jwt: &State<Simplejwt>, cookies: &CookieJar<'_>) -> Option<()> {
    let pair = jwt.issue_pair(Issue::refresh(name).client(client)).await.ok()?;
    cookies.set_token_cookies(jwt, &pair);
    Some(())
}

/// An application that has it elsewhere, behind its own protection, with its own users and names.
fn application(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket
        .attach(Simplejwt::fairing().authenticator(Everybody).protect("/").except("/login"))
        .mount("/", routes![login])
        .mount("/me", account_routes())
}

fn launch(more: &str) -> App {
    App::launch(&format!("transport = {{ token_location = [\"cookies\"]{more} }}"), application)
}

fn at_app(app: &App) -> Browser {
    Browser::new(
        app.client(),
        "/me/sessions",
        &app.client().request("POST", "/login?name=ada", &[("User-Agent", FIREFOX)], b""),
    )
}

#[test]
fn an_application_has_it_where_it_likes_whether_or_not_its_own_forms_are_looked_into() {
    for more in ["", ", csrf_check_form = true"] {
        let app = launch(more);
        let (here, there) = (at_app(&app), at_app(&app));
        assert_problem(&app.client().get("/me/sessions", None), 401, "not_signed_in");
        assert_eq!(here.listed().len(), 2);
        let page = here.get("");
        assert!(page.text.contains("Firefox") && page.text.contains("127.0.0.1"), "{page:?}");
        assert_sent_to(&here.end(&there.session()), "/me/sessions?said=ended");
        assert!(here.is_in() && !there.is_in(), "{more}");
        assert_problem(&here.post_bare("/end", &[("id", &here.session())], &[]), 403, "csrf");
    }
}

#[test]
fn without_a_secret_in_the_token_the_browser_has_to_say_that_the_form_is_ours() {
    let app = launch(", cookie_csrf_protect = false, unsafe_cookies_without_csrf = true");
    let (here, there) = (at_app(&app), at_app(&app));
    let (id, own) = (there.session(), [("Sec-Fetch-Site", "same-origin")]);
    assert_problem(&here.post_bare("/end", &[("id", &id)], &[]), 403, "csrf");
    assert_sent_to(&here.post_bare("/end", &[("id", &id)], &own), "/me/sessions?said=ended");
    assert!(!there.is_in());
}

#[test]
fn many_sessions_are_shown_page_by_page() {
    let app = launch("");
    let browsers: Vec<_> = (0..57).map(|_| at_app(&app)).collect();
    let mut wanted: Vec<_> = browsers.iter().map(Browser::session).collect();
    wanted.sort();
    let oldest = &browsers[0];
    let first = oldest.get("");
    let mut seen = listed(&first);
    assert_eq!(seen.len(), 50);
    let next = first.text.split("rel=\"next\" href=\"/me/sessions").nth(1).and_then(|rest| rest.split('"').next());
    let second = oldest.get(next.expect("a next page"));
    seen.extend(listed(&second));
    seen.sort();
    assert_eq!(seen, wanted);
    assert!(second.text.contains(">this device<") && second.text.contains("First page"), "{second:?}");
    assert!(!second.text.contains("rel=\"next\""));
    assert!(first.text.contains("/end-others") && second.text.contains("/end-others"));
}
