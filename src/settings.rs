//! Every setting: its name, default, unit, and what refuses to start.
//!
//! Settings stand in the section `[default.simplejwt]` of `Rocket.toml` (or of another profile), in the environment variable
//! `ROCKET_SIMPLEJWT={…}`, or are set on the struct. Where simplejwt has the setting, the name is simplejwt's in lower case.
//! Durations are text such as `"5m"`, `"1d"`, `"1h 30m"`, or a number of seconds. A key that is not listed here is an error.

mod check;
mod keys;
mod rate;
mod span;
mod transport;
mod unreadable;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::providers::{Env, Format, Toml};
use figment::{Figment, Profile};
use serde::Deserialize;

pub use check::SettingsError;
#[cfg(feature = "webhook")]
pub(crate) use check::secret_bytes;
pub use rate::{Network, ParseNetworkError, ParseRateError, Rate};
pub use span::{ShortSpan, Span};
pub use transport::{ErrorStyle, SameSite, TokenLocation, Transport};

use crate::token::{Algorithm, ClaimNames, TokenKind, TokenRules};

/// All settings. [`Settings::default`] has every default; a key to sign with is the only thing that has none.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Where the ledger is. `sqlite://simplejwt.sqlite3` is relative to the working directory, `sqlite:////var/lib/x.sqlite3`
    /// absolute.
    pub database_url: Option<String>,
    /// How many connections are open at most. 8.
    pub database_pool_size: u32,
    /// Whether a server that starts brings an older schema up to date. A fresh database is always set up. `false`.
    pub migrate: bool,
    /// Whether to run on a database whose settings could lose what it acknowledged, with a warning at every start instead of
    /// an error. `false`.
    pub allow_unsafe_durability: bool,

    /// How long an access token lives. 5 minutes.
    pub access_token_lifetime: Span,
    /// How long a refresh token lives. 1 day.
    pub refresh_token_lifetime: Span,
    /// How long a sliding token lives before it must be renewed. 5 minutes.
    pub sliding_token_lifetime: Span,
    /// For how long after the login a sliding token can be renewed. 1 day.
    pub sliding_token_refresh_lifetime: Span,
    /// The longest that `exp` may lie ahead of now. Not set: any.
    pub max_token_lifetime: Option<Span>,
    /// By how much a clock may be wrong. 0, at most 300 seconds.
    pub leeway: Span,

    /// Whether a refresh also gives a new refresh token. `true`.
    pub rotate_refresh_tokens: bool,
    /// Whether the refresh token that was rotated is refused from then on. `true`.
    pub blacklist_after_rotation: bool,
    /// For how long after its rotation a refresh token gets the same successor again, for clients that lost the answer. Used again
    /// later, it ends its session. 10 seconds, at most 300; 0: no grace.
    pub rotation_grace: Span,
    /// Whether that grace lasts until the successor is used, however long it takes: for devices that sleep. `false`.
    pub grace_until_used: bool,
    /// How long a session may rest between two refreshes. Not set: as long as its refresh token lives.
    pub session_idle_lifetime: Option<Span>,
    /// How long after the login a session is over, however often it is refreshed. No token of it lives longer. Not set: never.
    pub session_lifetime: Option<Span>,
    /// How many open sessions a user has at most. Not set: any number.
    pub max_sessions_per_user: Option<u32>,
    /// What happens to a login beyond that. `"evict_oldest"`.
    pub max_sessions_policy: MaxSessionsPolicy,
    /// By how much of their lifetime access tokens are shortened at most, each by another part of it, so that clients do not
    /// refresh all at once. 0, at most 0.25.
    pub access_lifetime_jitter: f64,
    /// Who is asked whether a token is refused, and whether tokens are recorded at all. `"cached"`.
    pub blacklist: BlacklistKind,
    /// With `"cached"`: how often the ledger is asked what others revoked. 250 ms.
    pub poll_interval: ShortSpan,
    /// Whether processes wake each other when something was revoked, where the database can do that: PostgreSQL. `true`.
    pub wake_ups: bool,
    /// With `"cached"`: how old what is in memory may be. Beyond it nothing is decided by it. 1 second.
    pub staleness_bound: ShortSpan,
    /// With `"cached"`: what happens to a request beyond it. `"refuse"`.
    pub stale_policy: StalePolicy,
    /// With `"redis"`: where Redis is. `redis://…`, `redis+sentinel://…`, `redis+cluster://…`, or with `rediss` for TLS.
    pub redis_url: Option<Secret>,
    /// With `"redis"`: what the names of all keys begin with. `"simplejwt"`.
    pub redis_prefix: String,
    /// Whether blacklisting a refresh token ends its session, so that its access tokens are refused too. `true`.
    pub blacklist_ends_session: bool,
    /// What happens to a refresh token that the ledger does not know. `"refuse"`.
    pub unknown_refresh_tokens: UnknownTokens,
    /// Whether access tokens are recorded when they are issued. `false`.
    pub record_access_tokens: bool,
    /// What happens to an access or sliding token that the ledger does not know. To refuse it needs `record_access_tokens`, and
    /// asks the ledger on every request. `"accept"`.
    pub unknown_tokens: UnknownTokens,
    /// Whether users see their own tokens at `/tokens/`, revoke them and take that back. `false`.
    pub own_tokens_routes: bool,
    /// The kinds of tokens that are checked for revocation. All.
    pub blacklist_token_checks: Vec<TokenKind>,

    /// The algorithm that tokens are signed with. `"HS256"`.
    pub algorithm: Algorithm,
    /// The key that signs: a secret for `HS…`, PEM (PKCS #8) for the others.
    pub signing_key: Option<Secret>,
    /// A file that holds it.
    pub signing_key_file: Option<PathBuf>,
    /// Its name (`kid`), needed where more than one key verifies.
    pub signing_key_id: Option<String>,
    /// The public key in PEM, for a process that only verifies. Not used with `HS…`.
    pub verifying_key: Option<Secret>,
    /// A file that holds it.
    pub verifying_key_file: Option<PathBuf>,
    /// Further keys that verify, as after a change of keys.
    pub verifying_keys: Vec<KeySetting>,
    /// Where a JWK Set with verifying keys is. Wins over `verifying_key`, as in simplejwt.
    pub jwk_url: Option<String>,
    /// How long one request for it may take. 5 seconds.
    pub jwk_url_timeout: Span,
    /// How often it is fetched. 5 minutes.
    pub jwk_url_interval: Span,
    /// The `aud` that tokens get, one of which each must have.
    pub audience: Audience,
    /// The `iss` that tokens get and must have.
    pub issuer: Option<String>,
    /// Whether the `typ` header says the kind of token: `at+jwt`, `rt+jwt`, `sl+jwt`. `false`.
    pub explicit_typ: bool,

    /// The words before a token in the header. `["Bearer"]`.
    pub auth_header_types: Vec<String>,
    /// The header that carries it. `"Authorization"`.
    pub auth_header_name: String,
    /// The kinds that `AuthToken`, `/whoami/` and `.protect` take. `["access"]`.
    pub auth_token_classes: Vec<TokenKind>,
    /// Where else tokens may be: cookies, the query, a JSON body. The header alone.
    pub transport: Transport,
    /// For how long after a login its access or sliding token is fresh. Not set: as long as it lives.
    pub fresh_lifetime: Option<Span>,
    /// What the names of public claims begin with (`Issue::public_claim`). Not set: there are none.
    pub public_claim_namespace: String,
    /// What the names of private claims begin with (`Issue::private_claim`). Nothing.
    pub private_claim_prefix: String,
    /// How errors look: `"simplejwt"`, or `"flask"` for the texts and statuses of flask-jwt-extended. `"simplejwt"`.
    pub error_style: ErrorStyle,
    /// With `"flask"`: the member that holds the text. `"msg"`.
    pub error_message_key: String,

    /// Who keeps the users, where the application does not. `"builtin"`.
    pub users: Option<UsersKind>,
    /// The table of Django's users. `"auth_user"`.
    pub django_user_table: String,
    /// Its columns. Those of `auth_user`.
    pub django_user_columns: DjangoUserColumns,
    /// Which field of a user goes into the token: `"id"`, `"username"` or `"email"`. `"id"`.
    pub user_id_field: String,
    /// The claim for it. `"user_id"`.
    pub user_id_claim: String,
    /// The name of the login field, in the request and of the users: `"username"` or `"email"`. `"username"`.
    pub username_field: String,
    /// Whether only active users log in, refresh and pass `CurrentUser`. `true`.
    pub check_user_is_active: bool,
    /// Whether a login sets the user's `last_login`. `false`.
    pub update_last_login: bool,
    /// Whether a token dies with the password that it was issued for. `false`.
    pub check_revoke_token: bool,
    /// The claim for that. `"hash_password"`.
    pub revoke_token_claim: String,

    /// The claim that names the kind. `"token_type"`.
    pub token_type_claim: String,
    /// The claim that names the token. `"jti"`.
    pub jti_claim: String,
    /// The claim that says until when a sliding token can be renewed. `"refresh_exp"`.
    pub sliding_token_refresh_exp_claim: String,

    /// By how much a row of the ledger may lie in the future before the flush refuses to run. 30 seconds.
    pub max_clock_skew: Span,
    /// How far one flush takes "now" beyond the newest thing that the ledger has seen. 1 hour.
    pub flush_max_clock_advance: Span,
    /// How long audit events are kept. 365 days.
    pub event_retention: Span,

    /// For how long it is remembered from which address something was done, or a session last used. 30 days.
    pub address_retention: Span,
    /// How often at most it is noted that a session was used. 0: never. 1 minute.
    pub last_used_interval: Span,

    /// How often somebody may try to log in from one address. `"20/1m"`.
    pub login_rate_limit: Rate,
    /// How often it may be tried with one name, from all addresses together from which nobody has logged in with it. `"10/1m"`.
    pub login_name_rate_limit: Rate,
    /// How often tokens may be renewed from one address. `"600/1m"`.
    pub refresh_rate_limit: Rate,
    /// How often the tokens of one session may be renewed. `"30/1m"`.
    pub refresh_session_rate_limit: Rate,
    /// Addresses for which these limits do not count: networks or single ones. Those of this machine.
    pub rate_limit_trusted: Vec<Network>,

    /// Where events are delivered to, by `POST`.
    pub webhook_url: Option<Secret>,
    /// What deliveries are signed with.
    pub webhook_secret: Option<Secret>,
    /// Which events are delivered. All.
    pub webhook_events: Vec<String>,
    /// How long one delivery may take. 10 seconds.
    pub webhook_timeout: Span,
    /// For how long after an event its delivery is tried. 1 day.
    pub webhook_retry_for: Span,
    /// Where `simplejwt serve` has the admin, an address and a port. Not set: nowhere, but with `--admin`.
    pub admin_address: Option<SocketAddr>,
    /// How long somebody stays signed in to the admin at most. 12 hours.
    pub admin_session_lifetime: Span,
    /// After how long without a click it is over. 30 minutes.
    pub admin_session_idle: Span,

    /// What whoever reads `/metrics` has to send as a bearer token. Not set: there is no `/metrics`, but at `metrics_address`.
    pub metrics_token: Option<Secret>,
    /// An address of its own, and a port, for `/metrics`. Not set: it is where the other routes are.
    pub metrics_address: Option<SocketAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        let names = ClaimNames::default();
        Self {
            database_url: None,
            database_pool_size: 8,
            migrate: false,
            allow_unsafe_durability: false,
            access_token_lifetime: Span::from_secs(5 * MINUTE),
            refresh_token_lifetime: Span::from_secs(DAY),
            sliding_token_lifetime: Span::from_secs(5 * MINUTE),
            sliding_token_refresh_lifetime: Span::from_secs(DAY),
            max_token_lifetime: None,
            leeway: Span::from_secs(0),
            rotate_refresh_tokens: true,
            blacklist_after_rotation: true,
            rotation_grace: Span::from_secs(10),
            grace_until_used: false,
            session_idle_lifetime: None,
            session_lifetime: None,
            max_sessions_per_user: None,
            max_sessions_policy: MaxSessionsPolicy::EvictOldest,
            access_lifetime_jitter: 0.0,
            blacklist: BlacklistKind::Cached,
            poll_interval: ShortSpan::from_millis(250),
            wake_ups: true,
            staleness_bound: ShortSpan::from_millis(1000),
            stale_policy: StalePolicy::Refuse,
            redis_url: None,
            redis_prefix: "simplejwt".into(),
            blacklist_ends_session: true,
            unknown_refresh_tokens: UnknownTokens::Refuse,
            record_access_tokens: false,
            unknown_tokens: UnknownTokens::Accept,
            own_tokens_routes: false,
            blacklist_token_checks: TokenKind::ALL.to_vec(),
            algorithm: Algorithm::HS256,
            signing_key: None,
            signing_key_file: None,
            signing_key_id: None,
            verifying_key: None,
            verifying_key_file: None,
            verifying_keys: Vec::new(),
            jwk_url: None,
            jwk_url_timeout: Span::from_secs(5),
            jwk_url_interval: Span::from_secs(5 * MINUTE),
            audience: Audience::default(),
            issuer: None,
            explicit_typ: false,
            auth_header_types: vec!["Bearer".into()],
            auth_header_name: "Authorization".into(),
            auth_token_classes: vec![TokenKind::Access],
            transport: Transport::default(),
            fresh_lifetime: None,
            public_claim_namespace: String::new(),
            private_claim_prefix: String::new(),
            error_style: ErrorStyle::Simplejwt,
            error_message_key: "msg".into(),
            users: None,
            django_user_table: "auth_user".into(),
            django_user_columns: DjangoUserColumns::default(),
            user_id_field: "id".into(),
            user_id_claim: names.user_id,
            username_field: "username".into(),
            check_user_is_active: true,
            update_last_login: false,
            check_revoke_token: false,
            revoke_token_claim: "hash_password".into(),
            token_type_claim: names.token_type,
            jti_claim: names.jti,
            sliding_token_refresh_exp_claim: names.refresh_exp,
            max_clock_skew: Span::from_secs(30),
            flush_max_clock_advance: Span::from_secs(60 * MINUTE),
            event_retention: Span::from_secs(365 * DAY),
            address_retention: Span::from_secs(30 * DAY),
            last_used_interval: Span::from_secs(MINUTE),
            login_rate_limit: Rate::of(20, MINUTE),
            login_name_rate_limit: Rate::of(10, MINUTE),
            refresh_rate_limit: Rate::of(600, MINUTE),
            refresh_session_rate_limit: Rate::of(30, MINUTE),
            rate_limit_trusted: Network::loopback(),
            webhook_url: None,
            webhook_secret: None,
            webhook_events: Vec::new(),
            webhook_timeout: Span::from_secs(10),
            webhook_retry_for: Span::from_secs(DAY),
            admin_address: None,
            admin_session_lifetime: Span::from_secs(12 * 60 * MINUTE),
            admin_session_idle: Span::from_secs(30 * MINUTE),
            metrics_token: None,
            metrics_address: None,
        }
    }
}

/// The database of a process that names none.
pub const DEFAULT_DATABASE_URL: &str = "sqlite://simplejwt.sqlite3";

impl Settings {
    /// The settings in a Rocket application's configuration, checked.
    ///
    /// # Errors
    /// [`SettingsError`]: an unknown key, a value of the wrong type, or one that endangers a promise.
    pub fn from_figment(figment: &Figment) -> Result<Self, SettingsError> {
        let settings = match figment.find_value("simplejwt") {
            Ok(_) => figment.extract_inner("simplejwt").map_err(SettingsError::from)?,
            Err(error) if error.missing() => Self::default(),
            // A file that cannot be read is not one that says nothing.
            Err(error) => return Err(error.into()),
        };
        settings.check()?;
        Ok(settings)
    }

    /// The configuration as Rocket itself would read it: `Rocket.toml` (or `file`), then the environment.
    #[must_use]
    pub fn figment(file: Option<&Path>) -> Figment {
        let toml = match file {
            Some(file) => Toml::file_exact(file),
            None => Toml::file(Env::var_or("ROCKET_CONFIG", "Rocket.toml")),
        };
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        Figment::new()
            .merge(toml.nested())
            .merge(Env::prefixed("ROCKET_").ignore(&["PROFILE", "CONFIG"]).global())
            .select(Profile::from_env_or("ROCKET_PROFILE", profile))
    }

    /// The database: what `database_url` says, or `sqlite://simplejwt.sqlite3`.
    #[must_use]
    pub fn database_url(&self) -> &str {
        self.database_url.as_deref().unwrap_or(DEFAULT_DATABASE_URL)
    }

    /// Whether a process that only verifies has all that it needs in Redis, and names no database.
    pub(crate) fn does_without_database(&self) -> bool {
        self.blacklist == BlacklistKind::Redis && self.database_url.is_none()
    }

    /// Who keeps the users: what `users` says, or this crate.
    #[must_use]
    pub fn users(&self) -> UsersKind {
        self.users.unwrap_or(UsersKind::Builtin)
    }

    /// Whether tokens are recorded and checked.
    #[must_use]
    pub fn has_blacklist(&self) -> bool {
        self.blacklist != BlacklistKind::Off
    }

    /// What a token must say to be taken.
    #[must_use]
    pub fn rules(&self) -> TokenRules {
        TokenRules {
            names: ClaimNames {
                token_type: self.token_type_claim.clone(),
                jti: self.jti_claim.clone(),
                user_id: self.user_id_claim.clone(),
                refresh_exp: self.sliding_token_refresh_exp_claim.clone(),
            },
            issuer: self.issuer.clone(),
            audience: self.audience.0.clone(),
            leeway: self.leeway.as_secs(),
            explicit_typ: self.explicit_typ,
            max_token_lifetime: self.max_token_lifetime.map(Span::as_secs),
            public_claim_namespace: self.public_claim_namespace.clone(),
            private_claim_prefix: self.private_claim_prefix.clone(),
        }
    }

    /// How long a token of this kind lives. A sliding token counts until it can be renewed no more.
    #[must_use]
    pub fn lifetime(&self, kind: TokenKind) -> Span {
        match kind {
            TokenKind::Access => self.access_token_lifetime,
            TokenKind::Refresh => self.refresh_token_lifetime,
            TokenKind::Sliding => self.sliding_token_lifetime,
        }
    }

    /// The longest that any token of this configuration can be of use: how long a jti of unknown expiry is kept.
    #[must_use]
    pub fn longest_lifetime(&self) -> Span {
        let mut longest = self.sliding_token_refresh_lifetime;
        for kind in TokenKind::ALL {
            longest = longest.max(self.lifetime(kind));
        }
        longest
    }
}

/// A further key that verifies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySetting {
    /// The name that tokens give in `kid`. Without one, the key serves tokens that name none.
    pub kid: Option<String>,
    /// The one algorithm that it verifies.
    pub algorithm: Algorithm,
    /// The key: a secret for `HS…`, a public key in PEM for the others.
    pub key: Option<Secret>,
    /// A file that holds it.
    pub key_file: Option<PathBuf>,
}

/// Whether tokens are recorded and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlacklistKind {
    /// The ledger is asked on every check.
    Database,
    /// What is refused is in memory, and follows the ledger. The ledger is asked nothing on a request.
    Cached,
    /// What is refused is in Redis, which several processes share. The ledger is asked where Redis cannot be believed.
    Redis,
    /// Nothing is recorded, nothing can be revoked, and no table is touched.
    Off,
}

/// What happens to a request while this process cannot know what others revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StalePolicy {
    /// 503.
    Refuse,
    /// The ledger is asked.
    Database,
}

/// What happens to a login of a user who has as many sessions as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxSessionsPolicy {
    /// 403.
    Refuse,
    /// The session that was not used for the longest time ends.
    EvictOldest,
}

/// Who keeps the users, where the application has no authenticator of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsersKind {
    /// This crate, in a table that `simplejwt users` manages.
    Builtin,
    /// The Django project whose database this is.
    Django,
}

/// What the columns are called that are read of Django's users. An empty name says that the user model has no such field; `id`
/// and `password` it must have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DjangoUserColumns {
    /// The primary key.
    pub id: String,
    /// The name to log in with.
    pub username: String,
    /// The e-mail address.
    pub email: String,
    /// The hash of the password.
    pub password: String,
    /// Whether the user may log in. Without it, every user may.
    pub is_active: String,
    /// Where `update_last_login` writes.
    pub last_login: String,
}

impl Default for DjangoUserColumns {
    fn default() -> Self {
        Self {
            id: "id".into(),
            username: "username".into(),
            email: "email".into(),
            password: "password".into(),
            is_active: "is_active".into(),
            last_login: "last_login".into(),
        }
    }
}

/// What happens to a token that the ledger does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownTokens {
    /// 401. A lost row cannot make a token good.
    Refuse,
    /// Taken if its signature is good, as in simplejwt: for tokens that a Django before 5.5 rotated.
    Accept,
}

/// One name, or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Audience(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Audience {
    fn from(names: OneOrMany) -> Self {
        match names {
            OneOrMany::One(name) => Self(vec![name]),
            OneOrMany::Many(names) => Self(names),
        }
    }
}

/// Text that is never shown: its [`Debug`](fmt::Debug) is `"…"`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Settings, SettingsError> {
        Settings::from_figment(&Figment::new().merge(Toml::string(toml).nested()))
    }

    #[test]
    fn nothing_configured_is_every_default() {
        let settings = read("").expect("the defaults are sound");
        assert_eq!(settings.access_token_lifetime, Span::from_secs(300));
        assert!(settings.rotate_refresh_tokens && settings.blacklist_after_rotation);
    }

    #[test]
    fn settings_are_read_with_their_units() {
        let text = r#"
            [default.simplejwt]
            access_token_lifetime = "1h 30m"
            leeway = 10
            audience = ["a", "b"]
            algorithm = "ES256"
            auth_token_classes = ["access", "sliding"]
        "#;
        let settings = read(text).expect("good settings");
        assert_eq!(settings.access_token_lifetime, Span::from_secs(5400));
        assert_eq!(settings.leeway, Span::from_secs(10));
        assert_eq!(settings.audience.0, ["a", "b"]);
        assert_eq!(settings.algorithm, Algorithm::ES256);
        assert_eq!(settings.auth_token_classes, [TokenKind::Access, TokenKind::Sliding]);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = read("[default.simplejwt]\nacess_token_lifetime = \"1h\"").expect_err("a misspelt key");
        assert!(error.to_string().contains("acess_token_lifetime"), "{error}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings = read("[default.simplejwt]\nsigning_key = \"topsecret\"").expect("checked later");
        assert!(!format!("{settings:?}").contains("topsecret"));
    }
}
