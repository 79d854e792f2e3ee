//! Django's admin pages, as a browser goes through them: cookies, forms and their hidden fields.

use crate::django::Django;
use crate::support::client::{Client, Reply, percent};
use crate::support::server::PASSWORD;

/// A browser that is logged in.
pub(crate) struct Browser {
    client: Client,
    cookies: Vec<(String, String)>,
}

impl Browser {
    /// One at the admin pages, as a superuser who is made for it.
    pub(crate) fn at_admin(django: &Django) -> Self {
        let name = crate::support::unique("root");
        django.text(&format!("create_superuser({name:?}, {PASSWORD:?})"));
        let mut browser = Self { client: django.client(), cookies: Vec::new() };
        let reply =
            browser.submit("/admin/login/", &[("username", &name), ("password", PASSWORD), ("next", "/admin/")]);
        assert_eq!((reply.status, reply.header("location")), (302, Some("/admin/")), "{reply:?}");
        browser
    }

    /// A page.
    pub(crate) fn get(&mut self, path: &str) -> Reply {
        let reply = self.client.request("GET", path, &[("Cookie", &self.cookie())], b"");
        self.keep_cookies(&reply);
        reply
    }

    /// Fetches the page of a form and sends it back, filled in.
    pub(crate) fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let page = self.get(path);
        assert_eq!(page.status, 200, "{page:?}");
        let token = between(&page.text, r#"name="csrfmiddlewaretoken" value=""#, "\"").expect("a form").to_owned();
        let fields = [&[("csrfmiddlewaretoken", token.as_str())], fields].concat();
        let body: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value))).collect();
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let headers = [form, ("Cookie", &*self.cookie())];
        let reply = self.client.request("POST", path, &headers, body.join("&").as_bytes());
        self.keep_cookies(&reply);
        reply
    }

    fn cookie(&self) -> String {
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn keep_cookies(&mut self, reply: &Reply) {
        for line in reply.headers_named("set-cookie") {
            let pair = line.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie");
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// What stands between two texts.
pub(crate) fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}
