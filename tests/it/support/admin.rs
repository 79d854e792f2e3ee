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
