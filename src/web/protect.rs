//! Whole prefixes behind a token, also for routes whose author forgot the guard.
//!
//! A request fairing cannot answer. So a request that is refused is sent, before routing, to a route of our own that answers;
//! whatever route it asked for does not run.

use rocket::http::Method;
use rocket::http::uri::Origin;
use rocket::route::{Handler, Outcome, Route};
use rocket::{Data, Request};
use uuid::Uuid;

use super::bearer::{authenticate, handle};
use super::catchers::{remember, remembered};

/// The paths that need a token.
#[derive(Debug, Default)]
pub(super) struct Protection {
    prefixes: Vec<Prefix>,
    exceptions: Vec<Vec<String>>,
    /// What was given and is no plain path.
    refused: Vec<String>,
}

#[derive(Debug)]
struct Prefix {
    segments: Vec<String>,
    /// Where a refused request under this prefix is sent. Nobody can ask for it: the name is random.
    refused: Origin<'static>,
}

impl Protection {
    /// Protects `prefix` and everything below.
    pub(super) fn add(&mut self, prefix: &str) {
        self.check_plain(prefix);
        let base = prefix.trim_end_matches('/');
        let refused = Origin::parse_owned(format!("{base}/simplejwt-refused-{}", Uuid::new_v4().simple()));
        // What is no path does not launch: see `problems`.
        let refused = refused.unwrap_or_else(|_| Origin::const_new("/simplejwt-refused", None));
        self.prefixes.push(Prefix { segments: normalized(prefix), refused });
    }

    /// Leaves `path` and everything below open.
    pub(super) fn except(&mut self, path: &str) {
        self.check_plain(path);
        self.exceptions.push(plain(path).map(Into::into).collect());
    }

    /// A pattern such as `/api/<path..>` would match nothing as it stands, and protect nothing.
    fn check_plain(&mut self, path: &str) {
        let plain = path.starts_with('/')
            && !path.contains("//")
            && !path.contains(['<', '>', '*', '?', '%', ';', '#', ' ', '\\']);
        if !plain || path.split('/').any(|part| matches!(part, "." | "..")) {
            self.refused.push(path.to_owned());
        }
    }

    /// The paths that were given and are none. An application with any does not launch.
    pub(super) fn problems(&self) -> &[String] {
        &self.refused
    }

    /// The routes that answer for what is refused. They come before all others, or a catch-all of the application would take
    /// their requests.
    pub(super) fn routes(&self) -> Vec<Route> {
        let route = |prefix: &Prefix| Route::ranked(isize::MIN, Method::Get, prefix.refused.path().as_str(), Refused);
        self.prefixes.iter().map(route).collect()
    }

    /// Checks the token of a request to a protected path, and sends the request away if it has no good one.
    pub(super) async fn check(&self, request: &mut Request<'_>) {
        let path = request.uri().path().as_str();
        let Some(prefix) = self.covering(path) else { return };
        if request.method() == Method::Options || self.is_excepted(path) {
            return;
        }
        let verdict = match handle(request) {
            Ok(jwt) => authenticate(request, &jwt.settings().auth_token_classes).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = verdict {
            remember(request, &error);
            request.set_method(Method::Get);
            request.set_uri(prefix.refused.clone());
        }
    }

    /// A path is covered if it starts with a prefix in any spelling that some server or handler could take for it.
    fn covering(&self, path: &str) -> Option<&Prefix> {
        let (spelled, resolved) = (normalized(path), resolved(path));
        let covers = |prefix: &&Prefix| spelled.starts_with(&prefix.segments) || resolved.starts_with(&prefix.segments);
        self.prefixes.iter().find(covers)
    }

    /// An exception holds for its own plain spelling only.
    fn is_excepted(&self, path: &str) -> bool {
        let odd = path.contains(['%', ';', '\\'])
            || path.contains("//")
            || path.split('/').any(|part| matches!(part, "." | ".."));
        let segments: Vec<_> = plain(path).collect();
        let below =
            |except: &Vec<String>| segments.len() >= except.len() && except.iter().zip(&segments).all(|(a, b)| a == b);
        !odd && self.exceptions.iter().any(below)
    }
}

fn plain(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// The segments of a path, decoded, without parameters, in lower case.
fn normalized(path: &str) -> Vec<String> {
    let decoded = rocket::http::RawStr::new(path).percent_decode_lossy();
    let bare = |part: &str| part.split(';').next().unwrap_or_default().to_lowercase();
    decoded.split(['/', '\\']).map(bare).filter(|part| !part.is_empty() && part != ".").collect()
}

/// The same with `..` taken at its word.
fn resolved(path: &str) -> Vec<String> {
    normalized(path).into_iter().fold(Vec::new(), |mut segments, part| {
        if part == ".." {
            segments.pop();
        } else {
            segments.push(part);
        }
        segments
    })
}

#[derive(Clone)]
struct Refused;

#[rocket::async_trait]
impl Handler for Refused {
    async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> Outcome<'r> {
        // An error and not a response: the application's own catcher for the status shall have its say.
        let status = remembered(request).map(|error| super::render::status(error, request));
        let status = status.unwrap_or(rocket::http::Status::NotFound);
        Outcome::Error(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_protected_path_is_covered() {
        let mut protection = Protection::default();
        protection.add("/api");
        for path in [
            "/api",
            "/api/",
            "/api/x",
            "//api/x",
            "/./api/x",
            "/%61pi/x",
            "/API/x",
            "/api;v=1/x",
            "/api%2fx",
            "/x/../api/y",
            "/api/../x",
            "/\\api/x",
        ] {
            assert!(protection.covering(path).is_some(), "{path}");
        }
        for path in ["/", "/apix", "/x/api", "/ap/i"] {
            assert!(protection.covering(path).is_none(), "{path}");
        }
    }

    #[test]
    fn an_exception_holds_in_its_plain_spelling_only() {
        let mut protection = Protection::default();
        protection.add("/");
        protection.except("/login");
        for path in ["/login", "/login/", "/login/form"] {
            assert!(protection.is_excepted(path), "{path}");
        }
        for path in ["/", "/loginx", "/LOGIN", "/x/../login", "/login/../x", "/login/%2e%2e/x", "//login", "/login;x"] {
            assert!(!protection.is_excepted(path), "{path}");
        }
    }
}
