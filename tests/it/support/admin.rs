//! Somebody at the pages of the admin, without a browser: cookies and form tokens as a browser would have them.

use super::client::{Client, Reply, percent};
use super::server::{PASSWORD, Server};

/// A server with the admin at an address of its own, and the users `ada` and `root`, who is staff.
pub(crate) fn start(server: Server) -> (Server, Client) {
    let server = server.set("admin_address", "\"127.0.0.1:0\"").start_with_ada();
    let added = server.cli_stdin(&["users", "add", "root", "--staff"], &format!("{PASSWORD}\n"));
    assert!(added.success(), "{added:?}");
    let client = address(&server);
    (server, client)
}

/// A client for the admin of this server.
pub(crate) fn address(server: &Server) -> Client {
    let log = server.log();
    let port = log.split("admin at http://127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
    Client::new(port.unwrap_or_else(|| panic!("no admin: {log}")))
}

/// A browser with one cookie.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

/// The token of the first form on a page.
pub(crate) fn form_token(page: &Reply) -> String {
    let token = page.text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    token.unwrap_or_else(|| panic!("no form: {page:?}")).to_owned()
}

/// The cookie that an answer sets, as a browser sends it back.
pub(crate) fn cookie_of(reply: &Reply) -> String {
    let set = reply.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {reply:?}"));
    set.split(';').next().expect("a cookie").to_owned()
}

/// Fields as a form sends them.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value))).collect();
    pairs.join("&")
}

pub(crate) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

impl Browser {
    /// One that has looked at the page to sign in.
    pub(crate) fn new(client: Client) -> Self {
        let page = client.get("/admin/sign-in", None);
        assert_eq!(page.status, 200, "{page:?}");
        Self { client, cookie: cookie_of(&page), csrf: form_token(&page) }
    }

    /// Signs in, or tries to.
    pub(crate) fn try_sign_in(&mut self, name: &str, password: &str) -> Reply {
        let reply = self.post("/admin/sign-in", &[("username", name), ("password", password)]);
        if reply.status == 303 {
            self.cookie = cookie_of(&reply);
            self.csrf = form_token(&self.get("/admin/tokens"));
        }
        reply
    }

    /// A browser in which this user, with the password of all, is signed in.
    pub(crate) fn signed_in(client: Client, name: &str) -> Self {
        let mut browser = Self::new(client);
        let reply = browser.try_sign_in(name, PASSWORD);
        assert_eq!((reply.status, reply.header("location")), (303, Some("/admin/")), "{reply:?}");
        browser
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.client.request("GET", path, &[("Cookie", &self.cookie)], b"")
    }

    /// Sends a form with the token that belongs to it.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.post_from(path, fields, &[])
    }

    /// The same with more headers.
    pub(crate) fn post_from(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let fields = [&[("csrf", self.csrf.as_str())], fields].concat();
        self.post_bare(path, &fields, headers)
    }

    /// Sends a form as it stands.
    pub(crate) fn post_bare(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let headers = [&[FORM, ("Cookie", &self.cookie)], headers].concat();
        self.client.request("POST", path, &headers, form(fields).as_bytes())
    }
}

/// The jtis in the list on a page, in their order.
#[track_caller]
pub(crate) fn listed(page: &Reply) -> Vec<String> {
    assert_eq!(page.status, 200, "{page:?}");
    let cells = page.text.split("class=\"jti\" href=\"/admin/token?jti=").skip(1);
    cells.filter_map(|cell| Some(cell.split('"').next()?.to_owned())).collect()
}

/// What an attribute in HTML says.
pub(crate) fn unescaped(attribute: &str) -> String {
    attribute.replace("&#38;", "&").replace("&amp;", "&")
}

/// What is on a page and on all that follow it, in its order.
#[track_caller]
pub(crate) fn all_pages(browser: &Browser, path: &str, listed: fn(&Reply) -> Vec<String>) -> Vec<String> {
    let (mut seen, mut path) = (Vec::new(), path.to_owned());
    for _ in 0..10 {
        let page = browser.get(&path);
        let rows = listed(&page);
        assert!(rows.len() <= 50, "{}", rows.len());
        seen.extend(rows);
        match page.text.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next()) {
            Some(next) => path = unescaped(next),
            None => return seen,
        }
    }
    panic!("no end of {path}");
}

/// Where the page of a job is that this started.
#[track_caller]
pub(crate) fn job_of(started: &Reply) -> &str {
    let location = started.header("location").filter(|location| location.starts_with("/admin/job?id="));
    location.unwrap_or_else(|| panic!("no job: {started:?}"))
}

/// Follows a job to its end, and gives the page of it.
#[track_caller]
pub(crate) fn finished(browser: &Browser, started: &Reply) -> String {
    let job = job_of(started);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let page = browser.get(job);
        assert_eq!(page.status, 200, "{page:?}");
        if !page.text.contains("at work") {
            return page.text;
        }
        assert!(std::time::Instant::now() < deadline, "{}", page.text);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Records tokens of one user, as Django does, many at once.
pub(crate) fn record_many(server: &Server, jtis: &[String], user: &str) {
    let (created, mut database) = (super::now(), server.database());
    let (expires, created) = (super::database::instant(created + 600), super::database::instant(created));
    for some in jtis.chunks(500) {
        let rows: Vec<String> =
            some.iter().map(|jti| format!("('', '{created}', '{expires}', '{user}', '{jti}')")).collect();
        database.execute(&format!(
            "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, user_id, jti) VALUES {}",
            rows.join(", ")
        ));
    }
}

/// Sets an instant of whoever is signed in back by so many seconds.
pub(crate) fn set_back(server: &Server, column: &str, seconds: i64) -> String {
    let at = super::database::instant(super::now() - seconds);
    let changed = server.database().execute(&format!("UPDATE simplejwt_admin_session SET {column} = '{at}'"));
    assert!(changed > 0, "somebody is signed in");
    at
}
