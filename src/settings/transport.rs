//! Where a request carries its token: headers, cookies, the query, a JSON body. The names are flask-jwt-extended's.

use serde::de::{Deserialize, Deserializer};

use super::Span;
use super::check::{SettingsError, refuse};

/// The settings in `[default.simplejwt.transport]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Transport {
    /// Where tokens are looked for; the first place that holds one counts. `["headers"]`.
    #[serde(deserialize_with = "one_or_many")]
    pub token_location: Vec<TokenLocation>,
    /// Whether the header may be a list with commas, one element of which is the token: `Basic x, Bearer y`. `false`.
    pub header_lists: bool,
    /// A header of its own for refresh tokens, such as `"X-Refresh-Token"`. Not set: the same one.
    pub refresh_header_name: Option<String>,

    /// The parameter of the query. `"jwt"`.
    pub query_string_name: String,
    /// What stands before the token there. Nothing.
    pub query_string_value_prefix: String,
    /// The member of a JSON body. `"access_token"`.
    pub json_key: String,
    /// The member for a refresh token. `"refresh_token"`.
    pub refresh_json_key: String,

    /// The cookie with the access token. `"__Host-access_token_cookie"`.
    pub access_cookie_name: String,
    /// The cookie with the refresh token. `"__Host-refresh_token_cookie"`.
    pub refresh_cookie_name: String,
    /// Where browsers send the access token. `"/"`.
    pub access_cookie_path: String,
    /// Where browsers send the refresh token. `"/"`.
    pub refresh_cookie_path: String,
    /// Whether cookies travel over TLS alone. `true`.
    pub cookie_secure: bool,
    /// Whether `cookie_secure = false` is allowed, for development without TLS. `false`.
    pub allow_insecure_cookies: bool,
    /// The domain of the cookies, with all that lie below. Not set: the host that sets them, alone.
    pub cookie_domain: Option<String>,
    /// Whether cookies go when the browser is closed. Otherwise they go when the token expires. `true`.
    pub session_cookie: bool,
    /// Whether other sites' requests carry the cookies. `"lax"`.
    pub cookie_samesite: SameSite,

    /// Whether a request with a token cookie has to prove that a page of ours sent it. `true`.
    pub cookie_csrf_protect: bool,
    /// Whether `cookie_csrf_protect = false` is allowed: then only what the browser says of the origin protects. `false`.
    pub unsafe_cookies_without_csrf: bool,
    /// The methods that need the proof, beside all that are not safe by definition. `["POST", "PUT", "PATCH", "DELETE"]`.
    pub csrf_methods: Vec<String>,
    /// Whether the secret of the proof is given to pages in cookies that they can read. `true`.
    pub csrf_in_cookies: bool,
    /// The header that proves it with an access token. `"X-CSRF-TOKEN"`.
    pub access_csrf_header_name: String,
    /// The header that proves it with a refresh token. `"X-CSRF-TOKEN"`.
    pub refresh_csrf_header_name: String,
    /// The cookie with the secret of the access token. `"csrf_access_token"`.
    pub access_csrf_cookie_name: String,
    /// The cookie with the secret of the refresh token. `"csrf_refresh_token"`.
    pub refresh_csrf_cookie_name: String,
    /// Which pages can read it. `"/"`.
    pub access_csrf_cookie_path: String,
    /// Which pages can read it. `"/"`.
    pub refresh_csrf_cookie_path: String,
    /// Whether a field among the first 512 bytes of a form proves it, too. `false`.
    pub csrf_check_form: bool,
    /// The field for an access token. `"csrf_token"`.
    pub access_csrf_field_name: String,
    /// The field for a refresh token. `"csrf_token"`.
    pub refresh_csrf_field_name: String,
    /// Other origins whose pages may send the cookies, as `https://app.example.org`. None.
    pub trusted_origins: Vec<String>,

    /// Whether the token routes set and clear the cookies, and answer without the tokens. `false`.
    pub cookie_routes: bool,
    /// How long before its end an access token from a cookie is replaced by itself. Not set: never.
    pub implicit_refresh: Option<Span>,
}

impl Default for Transport {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            token_location: vec![TokenLocation::Headers],
            header_lists: false,
            refresh_header_name: None,
            query_string_name: text("jwt"),
            query_string_value_prefix: String::new(),
            json_key: text("access_token"),
            refresh_json_key: text("refresh_token"),
            access_cookie_name: text("__Host-access_token_cookie"),
            refresh_cookie_name: text("__Host-refresh_token_cookie"),
            access_cookie_path: text("/"),
            refresh_cookie_path: text("/"),
            cookie_secure: true,
            allow_insecure_cookies: false,
            cookie_domain: None,
            session_cookie: true,
            cookie_samesite: SameSite::Lax,
            cookie_csrf_protect: true,
            unsafe_cookies_without_csrf: false,
            csrf_methods: UNSAFE_METHODS.map(text).to_vec(),
            csrf_in_cookies: true,
            access_csrf_header_name: text("X-CSRF-TOKEN"),
            refresh_csrf_header_name: text("X-CSRF-TOKEN"),
            access_csrf_cookie_name: text("csrf_access_token"),
            refresh_csrf_cookie_name: text("csrf_refresh_token"),
            access_csrf_cookie_path: text("/"),
            refresh_csrf_cookie_path: text("/"),
            csrf_check_form: false,
            access_csrf_field_name: text("csrf_token"),
            refresh_csrf_field_name: text("csrf_token"),
            trusted_origins: Vec::new(),
            cookie_routes: false,
            implicit_refresh: None,
        }
    }
}

const UNSAFE_METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// How errors look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorStyle {
    /// `{"detail": …, "code": …}`, with simplejwt's texts.
    Simplejwt,
    /// `{"msg": …}`, with the texts and statuses of flask-jwt-extended, quart-jwt-extended and Sanic-JWT-Extended.
    Flask,
}

/// A place for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenLocation {
    /// The header of `auth_header_name`.
    #[serde(alias = "header")]
    Headers,
    /// A cookie.
    Cookies,
    /// A parameter of the query. It ends up in logs and histories.
    #[serde(alias = "query")]
    QueryString,
    /// A member of a JSON body, for handlers that take a `TokenBody`.
    Json,
}

impl TokenLocation {
    /// Its name in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Cookies => "cookies",
            Self::QueryString => "query_string",
            Self::Json => "json",
        }
    }
}

/// Whether requests that other sites cause carry a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Never.
    #[serde(alias = "Strict")]
    Strict,
    /// Only when somebody follows a link.
    #[serde(alias = "Lax")]
    Lax,
    /// Always: what is left is the proof of `cookie_csrf_protect`.
    #[serde(alias = "None")]
    None,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TokenLocation>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(location) => vec![location],
        OneOrMany::Many(locations) => locations,
    })
}

impl Transport {
    /// Whether tokens are looked for there.
    #[must_use]
    pub fn uses(&self, location: TokenLocation) -> bool {
        self.token_location.contains(&location)
    }

    /// Whether there is nothing but simplejwt's one header with one token.
    pub(crate) fn is_one_header(&self) -> bool {
        matches!(self.token_location[..], [TokenLocation::Headers])
            && self.refresh_header_name.is_none()
            && !self.header_lists
    }

    /// Whether tokens carry the secret that a page has to know.
    pub(crate) fn issues_csrf(&self) -> bool {
        self.cookie_csrf_protect && self.uses(TokenLocation::Cookies)
    }

    pub(super) fn check(&self, auth_header_name: &str) -> Result<(), SettingsError> {
        if self.token_location.is_empty() {
            return refuse("token_location", "needs one of \"headers\", \"cookies\", \"query_string\", \"json\"");
        }
        if (1..self.token_location.len()).any(|at| self.token_location[..at].contains(&self.token_location[at])) {
            return refuse("token_location", "names a place twice");
        }
        self.check_words(auth_header_name)?;
        self.check_cookies()?;
        self.check_csrf()
    }

    fn check_words(&self, auth_header_name: &str) -> Result<(), SettingsError> {
        let headers = [
            ("refresh_header_name", self.refresh_header_name.as_deref()),
            ("access_csrf_header_name", Some(self.access_csrf_header_name.as_str())),
            ("refresh_csrf_header_name", Some(self.refresh_csrf_header_name.as_str())),
        ];
        for (name, header) in headers {
            let Some(header) = header else { continue };
            if !is_word(header) {
                return refuse(name, "must be the name of a header");
            }
            if header.eq_ignore_ascii_case(auth_header_name) || header.eq_ignore_ascii_case("cookie") {
                return refuse(name, format!("`{header}` is taken"));
            }
        }
        let words = [
            ("query_string_name", &self.query_string_name),
            ("json_key", &self.json_key),
            ("refresh_json_key", &self.refresh_json_key),
            ("access_csrf_field_name", &self.access_csrf_field_name),
            ("refresh_csrf_field_name", &self.refresh_csrf_field_name),
        ];
        match words.into_iter().find(|(_, word)| !is_word(word)) {
            Some((name, _)) => refuse(name, "must be a word of letters, digits and any of - _ . ~"),
            None => Ok(()),
        }
    }

    fn check_cookies(&self) -> Result<(), SettingsError> {
        if !self.uses(TokenLocation::Cookies) {
            let needing =
                [("cookie_routes", self.cookie_routes), ("implicit_refresh", self.implicit_refresh.is_some())];
            return match needing.into_iter().find(|(_, on)| *on) {
                Some((name, _)) => refuse(name, "needs \"cookies\" in `token_location`"),
                None => Ok(()),
            };
        }
        let cookies = [
            ("access_cookie_name", &self.access_cookie_name, &self.access_cookie_path),
            ("refresh_cookie_name", &self.refresh_cookie_name, &self.refresh_cookie_path),
            ("access_csrf_cookie_name", &self.access_csrf_cookie_name, &self.access_csrf_cookie_path),
            ("refresh_csrf_cookie_name", &self.refresh_csrf_cookie_name, &self.refresh_csrf_cookie_path),
        ];
        for (index, (name, cookie, path)) in cookies.into_iter().enumerate() {
            if !is_word(cookie) {
                return refuse(name, "must be a word of letters, digits and any of - _ . ~");
            }
            if cookies[..index].iter().any(|(_, taken, _)| *taken == cookie) {
                return refuse(name, format!("`{cookie}` is the name of another cookie"));
            }
            let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
            if !is_path {
                return refuse(name, format!("its path `{path}` is none: it has to begin with a slash"));
            }
            let prefixed = |prefix: &str| cookie.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix));
            let host = prefixed("__Host-");
            if host && (path != "/" || self.cookie_domain.is_some()) {
                return refuse(
                    name,
                    "begins with `__Host-`: browsers want the path \"/\" for it, and no `cookie_domain`",
                );
            }
            if (host || prefixed("__Secure-")) && !self.cookie_secure {
                return refuse(name, "has a prefix that browsers take with `cookie_secure` alone");
            }
        }
        if !self.cookie_secure && !self.allow_insecure_cookies {
            return refuse(
                "cookie_secure",
                "is off: whoever listens gets the tokens; for development without TLS set `allow_insecure_cookies` as well",
            );
        }
        let label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if self.cookie_domain.as_ref().is_some_and(|domain| domain.is_empty() || !domain.bytes().all(label)) {
            return refuse("cookie_domain", "must be a domain such as \"example.org\"");
        }
        if self.cookie_samesite == SameSite::None && !self.cookie_secure {
            return refuse("cookie_samesite", "is \"none\", which browsers take with `cookie_secure` alone");
        }
        Ok(())
    }

    fn check_csrf(&self) -> Result<(), SettingsError> {
        if let Some(missing) = UNSAFE_METHODS.into_iter().find(|method| !self.csrf_methods.iter().any(|m| m == method))
        {
            return refuse("csrf_methods", format!("lacks {missing}: methods can be added, and none left out"));
        }
        if !self.csrf_methods.iter().all(|method| method.bytes().all(|byte| byte.is_ascii_uppercase())) {
            return refuse("csrf_methods", "holds something that is no method; they are written in capitals");
        }
        if !self.cookie_csrf_protect && !self.unsafe_cookies_without_csrf {
            return refuse(
                "cookie_csrf_protect",
                "is off: other sites could use the cookies in old browsers; if that shall be, set `unsafe_cookies_without_csrf`",
            );
        }
        match self.trusted_origins.iter().find(|origin| !is_origin(origin)) {
            Some(origin) => refuse("trusted_origins", format!("`{origin}` is none; one is `https://app.example.org`")),
            None => Ok(()),
        }
    }
}

fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    !text.is_empty() && text.bytes().all(fits)
}

/// Scheme, host, and perhaps a port, as a browser writes them.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(fits))
}
