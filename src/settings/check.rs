//! What refuses to start.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::unreadable::describe;
use super::{BlacklistKind, DjangoUserColumns, Secret, Settings, Span, UnknownTokens, UsersKind};
use crate::token::{KeyError, TokenKind};

/// Why these settings are refused. The text says which setting, and what would do; never a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// An unknown key, or a value of the wrong type.
    #[error("the settings cannot be read: {0}")]
    Unreadable(String),
    /// A value that makes no sense or endangers a promise.
    #[error("setting `{name}`: {why}")]
    Refused {
        /// The name of the setting.
        name: &'static str,
        /// What is wrong, and what would do.
        why: String,
    },
    /// A key that is refused.
    #[error("setting `{name}`: {source}")]
    Key {
        /// The name of the setting.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// A key file that cannot be read.
    #[error("setting `{name}`: {path} cannot be read: {source}", path = path.display())]
    KeyFile {
        /// The name of the setting.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl From<figment::Error> for SettingsError {
    fn from(error: figment::Error) -> Self {
        Self::Unreadable(describe(&error))
    }
}

pub(super) fn refuse(name: &'static str, why: impl Into<String>) -> Result<(), SettingsError> {
    Err(SettingsError::Refused { name, why: why.into() })
}

/// The bytes of a secret: of one in the form of Standard Webhooks those that it encodes.
pub(crate) fn secret_bytes(secret: &str) -> Vec<u8> {
    let encoded = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    encoded.unwrap_or_else(|| secret.as_bytes().to_owned())
}

impl Settings {
    /// Checks what can be checked without keys and database.
    ///
    /// # Errors
    /// [`SettingsError::Refused`], the first setting that is refused.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_times()?;
        self.check_names()?;
        self.transport.check(&self.auth_header_name)?;
        self.check_blacklist()?;
        self.check_sessions()?;
        self.check_django_users()?;
        if !(1..=64).contains(&self.database_pool_size) {
            return refuse("database_pool_size", "must lie between 1 and 64");
        }
        self.check_metrics()?;
        self.check_webhook()?;
        self.check_jwk_url()
    }

    fn check_webhook(&self) -> Result<(), SettingsError> {
        if self.webhook_timeout == Span::default() || self.webhook_timeout > Span::from_secs(60) {
            return refuse("webhook_timeout", "must be longer than 0 and 60 s at most");
        }
        if self.webhook_retry_for < Span::from_secs(60) {
            return refuse("webhook_retry_for", "must be 1 minute at least: what is not delivered by then is given up");
        }
        let Some(url) = &self.webhook_url else {
            let unused = if self.webhook_secret.is_some() { Some("webhook_secret") } else { None };
            let unused = unused.or_else(|| (!self.webhook_events.is_empty()).then_some("webhook_events"));
            return unused.map_or(Ok(()), |name| refuse(name, "is set, but `webhook_url` is not"));
        };
        if !cfg!(feature = "webhook") {
            return refuse("webhook_url", "needs the feature `webhook`, which this build does not have");
        }
        if !is_private(url.reveal()) {
            return refuse("webhook_url", "must start with https:// (http:// only for this machine)");
        }
        match &self.webhook_secret {
            None => refuse("webhook_secret", "is needed with `webhook_url`: else nobody could tell who delivers"),
            Some(secret) if secret_bytes(secret.reveal()).len() < 24 => refuse(
                "webhook_secret",
                "must have 24 bytes at least: `whsec_` and base64 of them, or so many characters",
            ),
            Some(_) => Ok(()),
        }
    }

    fn check_metrics(&self) -> Result<(), SettingsError> {
        let name = match (&self.metrics_token, self.metrics_address) {
            (Some(_), _) => "metrics_token",
            (None, Some(_)) => "metrics_address",
            (None, None) => return Ok(()),
        };
        if !cfg!(feature = "metrics") {
            return refuse(name, "needs the feature `metrics`, which this build does not have");
        }
        // What a client sends has no spaces and nothing beyond ASCII, so that another token could never match.
        let fits =
            |token: &Secret| token.reveal().len() >= 16 && token.reveal().bytes().all(|byte| byte.is_ascii_graphic());
        match (&self.metrics_token, self.metrics_address) {
            (Some(token), _) if !fits(token) => {
                refuse(name, "must have 16 characters at least, all of them printable ASCII and none a space")
            }
            (None, Some(address)) if !address.ip().is_loopback() => {
                refuse(name, "is one that others can reach: set `metrics_token` as well, or use 127.0.0.1")
            }
            _ => Ok(()),
        }
    }

    fn check_times(&self) -> Result<(), SettingsError> {
        let lifetimes = [
            ("access_token_lifetime", self.access_token_lifetime),
            ("refresh_token_lifetime", self.refresh_token_lifetime),
            ("sliding_token_lifetime", self.sliding_token_lifetime),
            ("sliding_token_refresh_lifetime", self.sliding_token_refresh_lifetime),
        ];
        for (name, lifetime) in lifetimes {
            if lifetime == Span::default() {
                return refuse(name, "must be longer than 0");
            }
            if self.max_token_lifetime.is_some_and(|most| lifetime > most) {
                return refuse(name, "is longer than `max_token_lifetime`, so that no such token would be taken");
            }
        }
        if self.sliding_token_lifetime > self.sliding_token_refresh_lifetime {
            return refuse("sliding_token_lifetime", "is longer than `sliding_token_refresh_lifetime`");
        }
        if self.leeway > Span::from_secs(300) {
            return refuse(
                "leeway",
                "is over 300 s: that is no clock skew but a longer lifetime; raise the lifetimes instead",
            );
        }
        if self.transport.implicit_refresh.is_some_and(|window| window >= self.access_token_lifetime) {
            return refuse(
                "implicit_refresh",
                "must be shorter than `access_token_lifetime`: else every request renews",
            );
        }
        if self.transport.implicit_refresh.is_some() && !self.blacklist_ends_session {
            let why =
                "needs `blacklist_ends_session`: else a token would be renewed after the refresh token was blacklisted";
            return refuse("implicit_refresh", why);
        }
        let others = [
            ("jwk_url_timeout", self.jwk_url_timeout),
            ("jwk_url_interval", self.jwk_url_interval),
            ("admin_session_lifetime", self.admin_session_lifetime),
            ("admin_session_idle", self.admin_session_idle),
        ];
        for (name, span) in others {
            if span == Span::default() {
                return refuse(name, "must be longer than 0");
            }
        }
        Ok(())
    }

    /// Rotation, its grace, and the limits of sessions.
    fn check_sessions(&self) -> Result<(), SettingsError> {
        if self.rotation_grace > Span::from_secs(300) {
            return refuse(
                "rotation_grace",
                "is over 300 s: for so long a stolen token would not be told from a lost answer; \
                 for devices that sleep there is `grace_until_used`",
            );
        }
        let rotates = self.rotate_refresh_tokens && self.blacklist_after_rotation && self.has_blacklist();
        if self.grace_until_used && !rotates {
            return refuse(
                "grace_until_used",
                "needs `rotate_refresh_tokens`, `blacklist_after_rotation` and a blacklist: else no token is ever used up",
            );
        }
        if !rotates && self.rotation_grace != Self::default().rotation_grace {
            return refuse(
                "rotation_grace",
                "needs `rotate_refresh_tokens`, `blacklist_after_rotation` and a blacklist: else no reuse is noticed",
            );
        }
        if !(0.0..=0.25).contains(&self.access_lifetime_jitter) {
            return refuse("access_lifetime_jitter", "must lie between 0 and 0.25");
        }
        let limits = [
            ("session_idle_lifetime", self.session_idle_lifetime),
            ("session_lifetime", self.session_lifetime),
            ("max_sessions_per_user", self.max_sessions_per_user.map(|most| Span::from_secs(most.into()))),
        ];
        for (name, limit) in limits {
            if limit == Some(Span::default()) {
                return refuse(name, "must be more than 0; leave it out to have no limit");
            }
            if limit.is_some() && !self.has_blacklist() {
                return refuse(name, "needs a blacklist, but that is off: there are no sessions");
            }
        }
        if self.session_idle_lifetime.is_some_and(|idle| idle < self.access_token_lifetime) {
            return refuse(
                "session_idle_lifetime",
                "is shorter than `access_token_lifetime`: a session would be over before its client has to refresh",
            );
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), SettingsError> {
        let claims = [
            ("token_type_claim", &self.token_type_claim),
            ("jti_claim", &self.jti_claim),
            ("user_id_claim", &self.user_id_claim),
            ("sliding_token_refresh_exp_claim", &self.sliding_token_refresh_exp_claim),
            ("revoke_token_claim", &self.revoke_token_claim),
        ];
        for (index, (name, claim)) in claims.iter().enumerate() {
            if claim.is_empty() {
                return refuse(name, "must not be empty: a token without it could not be checked");
            }
            if ["exp", "iat", "nbf", "iss", "aud", "sid"].contains(&claim.as_str()) {
                return refuse(name, format!("`{claim}` has a meaning of its own in every token"));
            }
            if let Some((other, _)) = claims[..index].iter().find(|(_, taken)| taken == claim) {
                return refuse(name, format!("is the same claim as `{other}`"));
            }
        }
        let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        // The empty word alone stands for a token without any.
        let bare = matches!(self.auth_header_types.as_slice(), [scheme] if scheme.is_empty());
        if !bare && (self.auth_header_types.is_empty() || !self.auth_header_types.iter().all(|scheme| word(scheme))) {
            return refuse("auth_header_types", "needs at least one word such as \"Bearer\"");
        }
        let header = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.auth_header_name.is_empty() || !self.auth_header_name.bytes().all(header) {
            return refuse("auth_header_name", "must be the name of a header, such as \"Authorization\"");
        }
        if self.error_message_key.is_empty() {
            return refuse("error_message_key", "must not be empty");
        }
        if self.fresh_lifetime == Some(Span::default()) {
            return refuse(
                "fresh_lifetime",
                "must be longer than 0; leave it out for tokens that are fresh as long as they live",
            );
        }
        if self.auth_token_classes.is_empty() {
            return refuse("auth_token_classes", "needs at least one of \"access\", \"sliding\", \"refresh\"");
        }
        if self.issuer.as_deref() == Some("") {
            return refuse("issuer", "must not be empty; leave it out to have none");
        }
        if self.audience.0.iter().any(String::is_empty) {
            return refuse("audience", "must not hold an empty name; leave it out to have none");
        }
        Ok(())
    }

    fn check_blacklist(&self) -> Result<(), SettingsError> {
        if self.poll_interval.as_std() < Duration::from_millis(10) {
            return refuse("poll_interval", "must be 10 ms at least");
        }
        if self.staleness_bound.as_std() < self.poll_interval.as_std() * 2 {
            return refuse(
                "staleness_bound",
                "is less than twice `poll_interval`: one late answer of the database would have every request refused",
            );
        }
        if self.unknown_tokens == UnknownTokens::Refuse && !self.record_access_tokens {
            return refuse(
                "unknown_tokens",
                "is \"refuse\", which needs `record_access_tokens = true`: else no access token is known",
            );
        }
        if self.blacklist == BlacklistKind::Redis {
            self.check_redis()?;
        }
        if self.has_blacklist() {
            return self.check_token_checks();
        }
        if self.rotate_refresh_tokens && self.blacklist_after_rotation {
            return refuse("blacklist", "is off, but `blacklist_after_rotation` needs it; switch that off as well");
        }
        if self.check_revoke_token {
            return refuse("blacklist", "is off, but `check_revoke_token` needs it; switch that off as well");
        }
        if self.record_access_tokens {
            return refuse("blacklist", "is off, but `record_access_tokens` needs it; switch that off as well");
        }
        Ok(())
    }

    fn check_token_checks(&self) -> Result<(), SettingsError> {
        let checked = |kind| self.blacklist_token_checks.contains(&kind);
        if self.blacklist_token_checks.is_empty() {
            return refuse("blacklist_token_checks", "names no kind of token; `blacklist = \"off\"` checks none");
        }
        if self.rotate_refresh_tokens && self.blacklist_after_rotation && !checked(TokenKind::Refresh) {
            return refuse(
                "blacklist_token_checks",
                "lacks \"refresh\", but `blacklist_after_rotation` needs it; switch that off as well",
            );
        }
        if self.unknown_tokens == UnknownTokens::Refuse && !TokenKind::ALL.into_iter().all(checked) {
            return refuse("blacklist_token_checks", "has to name every kind where `unknown_tokens` is \"refuse\"");
        }
        Ok(())
    }

    fn check_redis(&self) -> Result<(), SettingsError> {
        if !cfg!(feature = "redis") {
            return refuse("blacklist", "is \"redis\", which needs the feature `redis`; this build does not have it");
        }
        if self.redis_url.is_none() {
            return refuse("redis_url", "is needed, as `blacklist` is \"redis\"");
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
        if !(1..=64).contains(&self.redis_prefix.len()) || !self.redis_prefix.bytes().all(allowed) {
            return refuse("redis_prefix", "must be 1 to 64 letters, digits and any of . _ - :");
        }
        Ok(())
    }

    fn check_django_users(&self) -> Result<(), SettingsError> {
        const COLUMNS: &str = "django_user_columns";
        let is_identifier = |name: &str| {
            let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
            (1..=63).contains(&name.len())
                && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
                && name.bytes().next().is_some_and(letter)
        };
        if !is_identifier(&self.django_user_table) {
            return refuse("django_user_table", "must be the name of a table: at most 63 letters, digits and `_`");
        }
        let DjangoUserColumns { id, username, email, password, is_active, last_login } = &self.django_user_columns;
        for (field, name) in [("id", id), ("password", password)] {
            if name.is_empty() {
                return refuse(COLUMNS, format!("`{field}` must not be empty: no user can do without"));
            }
        }
        let named = [("username", username), ("email", email), ("is_active", is_active), ("last_login", last_login)];
        for (field, name) in named.iter().chain(&[("id", id), ("password", password)]) {
            if !name.is_empty() && !is_identifier(name) {
                return refuse(COLUMNS, format!("`{field}` must name a column: at most 63 letters, digits and `_`"));
            }
        }
        if self.users() != UsersKind::Django {
            return Ok(());
        }
        for (field, name) in &named[..2] {
            let needed = [("username_field", &self.username_field), ("user_id_field", &self.user_id_field)];
            if let Some((setting, _)) = needed.iter().find(|(_, wanted)| wanted == field && name.is_empty()) {
                return refuse(COLUMNS, format!("`{field}` must not be empty while `{setting}` is \"{field}\""));
            }
        }
        if self.update_last_login && last_login.is_empty() {
            return refuse(COLUMNS, "`last_login` must not be empty while `update_last_login` is on");
        }
        Ok(())
    }

    fn check_jwk_url(&self) -> Result<(), SettingsError> {
        let Some(url) = &self.jwk_url else { return Ok(()) };
        if !cfg!(feature = "jwk-url") {
            return refuse("jwk_url", "needs the feature `jwk-url`, which this build does not have");
        }
        if self.algorithm.is_symmetric() {
            return refuse("jwk_url", format!("holds public keys, but `algorithm` is {}", self.algorithm));
        }
        if !is_private(url) {
            return refuse("jwk_url", "must start with https:// (http:// only for this machine)");
        }
        Ok(())
    }
}

/// Whether nobody on the way to this address can read or change what is said: it is over TLS, or on this machine.
fn is_private(url: &str) -> bool {
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
        .iter()
        .filter_map(|prefix| url.strip_prefix(prefix))
        // What stands before an @ is a name and a password, and the host comes after it.
        .any(|rest| rest.is_empty() || (rest.starts_with([':', '/']) && !rest.contains('@')));
    local || url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Limit = (&'static str, fn(&mut Settings, u32));
    use crate::settings::{Secret, ShortSpan};
    #[cfg(feature = "jwk-url")]
    use crate::token::Algorithm;

    fn refused(change: impl FnOnce(&mut Settings)) -> Option<&'static str> {
        let mut settings = Settings::default();
        change(&mut settings);
        match settings.check() {
            Ok(()) => None,
            Err(SettingsError::Refused { name, .. }) => Some(name),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_endangers_a_promise_refuses_to_start() {
        let s = Span::from_secs;
        assert_eq!(refused(|_| ()), None);
        assert_eq!(refused(|set| set.leeway = s(300)), None);
        assert_eq!(refused(|set| set.leeway = s(301)), Some("leeway"));
        assert_eq!(refused(|set| set.access_token_lifetime = s(0)), Some("access_token_lifetime"));
        assert_eq!(refused(|set| set.max_token_lifetime = Some(s(60))), Some("access_token_lifetime"));
        assert_eq!(refused(|set| set.sliding_token_lifetime = s(90_000)), Some("sliding_token_lifetime"));
        let implicit = |seconds, set: &mut Settings| {
            set.transport.token_location = vec![crate::settings::TokenLocation::Cookies];
            set.transport.implicit_refresh = Some(s(seconds));
        };
        assert_eq!(refused(|set| implicit(299, set)), None);
        assert_eq!(refused(|set| implicit(300, set)), Some("implicit_refresh"));
        let goes_on = |set: &mut Settings| {
            implicit(60, set);
            set.blacklist_ends_session = false;
        };
        assert_eq!(refused(goes_on), Some("implicit_refresh"));
        assert_eq!(refused(|set| set.blacklist = BlacklistKind::Off), Some("blacklist"));
        assert_eq!(refused(|set| set.blacklist = BlacklistKind::Cached), None);
        assert_eq!(refused(|set| set.unknown_tokens = UnknownTokens::Refuse), Some("unknown_tokens"));
        let allowlist = |set: &mut Settings| {
            set.unknown_tokens = UnknownTokens::Refuse;
            set.record_access_tokens = true;
        };
        assert_eq!(refused(allowlist), None);
        let checks = |kinds: &[TokenKind], set: &mut Settings| set.blacklist_token_checks = kinds.to_vec();
        assert_eq!(refused(|set| checks(&[], set)), Some("blacklist_token_checks"));
        assert_eq!(refused(|set| checks(&[TokenKind::Access], set)), Some("blacklist_token_checks"));
        assert_eq!(refused(|set| checks(&[TokenKind::Refresh], set)), None);
        let both = |set: &mut Settings| {
            allowlist(set);
            checks(&[TokenKind::Refresh, TokenKind::Access], set);
        };
        assert_eq!(refused(both), Some("blacklist_token_checks"));
        assert_eq!(refused(|set| set.poll_interval = ShortSpan::from_millis(9)), Some("poll_interval"));
        assert_eq!(refused(|set| set.staleness_bound = ShortSpan::from_millis(499)), Some("staleness_bound"));
        assert_eq!(refused(|set| set.jti_claim = String::new()), Some("jti_claim"));
        assert_eq!(refused(|set| set.jti_claim = "exp".into()), Some("jti_claim"));
        assert_eq!(refused(|set| set.user_id_claim = "jti".into()), Some("user_id_claim"));
        assert_eq!(refused(|set| set.user_id_claim = "sub".into()), None);
        assert_eq!(refused(|set| set.auth_header_types.clear()), Some("auth_header_types"));
        assert_eq!(refused(|set| set.auth_header_name = "X Y".into()), Some("auth_header_name"));
        assert_eq!(refused(|set| set.database_pool_size = 0), Some("database_pool_size"));
    }

    #[test]
    fn grace_and_limits_need_what_they_rest_on() {
        let s = Span::from_secs;
        assert_eq!(refused(|set| set.rotation_grace = s(300)), None);
        assert_eq!(refused(|set| set.rotation_grace = s(301)), Some("rotation_grace"));
        let unrotated: [fn(&mut Settings); 3] = [
            |set| set.rotate_refresh_tokens = false,
            |set| set.blacklist_after_rotation = false,
            |set| (set.blacklist, set.blacklist_after_rotation) = (BlacklistKind::Off, false),
        ];
        for unrotated in unrotated {
            let with = |change: fn(&mut Settings)| {
                refused(|set| {
                    unrotated(set);
                    change(set);
                })
            };
            assert_eq!(with(|_| ()), None);
            assert_eq!(with(|set| set.rotation_grace = Span::from_secs(0)), Some("rotation_grace"));
            assert_eq!(with(|set| set.grace_until_used = true), Some("grace_until_used"));
        }
        let limits: [Limit; 3] = [
            ("session_lifetime", |set, limit| set.session_lifetime = Some(Span::from_secs(limit.into()))),
            ("session_idle_lifetime", |set, limit| set.session_idle_lifetime = Some(Span::from_secs(limit.into()))),
            ("max_sessions_per_user", |set, limit| set.max_sessions_per_user = Some(limit)),
        ];
        for (name, limit) in limits {
            assert_eq!(refused(|set| limit(set, 1000)), None);
            assert_eq!(refused(|set| limit(set, 0)), Some(name));
            let off = |set: &mut Settings| {
                (set.blacklist, set.blacklist_after_rotation) = (BlacklistKind::Off, false);
                limit(set, 1000);
            };
            assert_eq!(refused(off), Some(name));
        }
        assert_eq!(refused(|set| set.session_idle_lifetime = Some(s(299))), Some("session_idle_lifetime"));
        for (jitter, expected) in [(0.25, None), (0.26, Some(())), (-0.1, Some(())), (f64::NAN, Some(()))] {
            let expected = expected.map(|()| "access_lifetime_jitter");
            assert_eq!(refused(|set| set.access_lifetime_jitter = jitter), expected, "{jitter}");
        }
    }

    #[test]
    fn names_of_djangos_tables_and_columns_are_names() {
        for good in ["auth_user", "_", "Users2", &"x".repeat(63)] {
            assert_eq!(refused(|set| set.django_user_table = good.into()), None, "{good}");
            assert_eq!(refused(|set| set.django_user_columns.username = good.into()), None, "{good}");
        }
        for bad in ["a b", "public.users", "x;", "\"x\"", "2fast", "größe", &"x".repeat(64)] {
            assert_eq!(refused(|set| set.django_user_table = bad.into()), Some("django_user_table"), "{bad}");
            assert_eq!(refused(|set| set.django_user_columns.last_login = bad.into()), Some("django_user_columns"));
            assert_eq!(refused(|set| set.django_user_columns.id = bad.into()), Some("django_user_columns"), "{bad}");
        }
        assert_eq!(refused(|set| set.django_user_table = String::new()), Some("django_user_table"));
        assert_eq!(refused(|set| set.django_user_columns.id.clear()), Some("django_user_columns"));
        assert_eq!(refused(|set| set.django_user_columns.password.clear()), Some("django_user_columns"));
    }

    #[test]
    fn a_column_that_a_setting_needs_is_named() {
        let with = |change: fn(&mut Settings)| {
            refused(|set| {
                set.users = Some(UsersKind::Django);
                change(set);
            })
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|set| set.django_user_columns.username = String::new()), Some("django_user_columns"));
        let by_email = |set: &mut Settings| {
            set.username_field = "email".into();
            set.django_user_columns = DjangoUserColumns {
                username: String::new(),
                is_active: String::new(),
                last_login: String::new(),
                ..DjangoUserColumns::default()
            };
        };
        let without = |change: fn(&mut Settings)| {
            refused(|set| {
                set.users = Some(UsersKind::Django);
                by_email(set);
                change(set);
            })
        };
        assert_eq!(without(|_| ()), None);
        assert_eq!(without(|set| set.user_id_field = "username".into()), Some("django_user_columns"));
        assert_eq!(without(|set| set.update_last_login = true), Some("django_user_columns"));
        assert_eq!(without(|set| set.django_user_columns.email = String::new()), Some("django_user_columns"));
        assert_eq!(refused(|set| set.django_user_columns.username = String::new()), None, "nobody asks for it");
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn figures_are_for_whoever_has_the_token_or_is_on_this_machine() {
        let with = |token: Option<&str>, address: Option<&str>| {
            let (token, address) = (token.map(Secret::new), address.map(|it| it.parse().expect("an address")));
            refused(move |set| (set.metrics_token, set.metrics_address) = (token, address))
        };
        let long = Some("0123456789abcdef");
        assert_eq!(with(long, None), None);
        assert_eq!(with(long, Some("0.0.0.0:9100")), None);
        assert_eq!(with(None, Some("127.0.0.1:9100")), None);
        assert_eq!(with(None, Some("[::1]:9100")), None);
        assert_eq!(with(None, Some("0.0.0.0:9100")), Some("metrics_address"));
        for bad in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdeü"] {
            assert_eq!(with(Some(bad), Some("127.0.0.1:9100")), Some("metrics_token"), "{bad}");
        }
    }

    #[cfg(feature = "webhook")]
    #[test]
    fn a_webhook_is_signed_and_private() {
        let with = |url: &str, secret: Option<&str>| {
            let (url, secret) = (Some(Secret::new(url)), secret.map(Secret::new));
            refused(move |set| (set.webhook_url, set.webhook_secret) = (url, secret))
        };
        let (long, short) = (Some("0123456789abcdef01234567"), Some("0123456789abcdef0123456"));
        assert_eq!(with("https://hooks.example/x", long), None);
        assert_eq!(with("http://127.0.0.1:8080/x", long), None);
        for bad in [
            "",
            "https://",
            "http://hooks.example/x",
            "http://127.0.0.1.evil.example/",
            "http://localhost:80@evil.example/",
            "ftp://x",
        ] {
            assert_eq!(with(bad, long), Some("webhook_url"), "{bad}");
        }
        assert_eq!(with("https://hooks.example/x", None), Some("webhook_secret"));
        assert_eq!(with("https://hooks.example/x", short), Some("webhook_secret"));
        assert_eq!(with("https://hooks.example/x", Some("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3")), None);
        assert_eq!(
            with("https://hooks.example/x", Some("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY=")),
            Some("webhook_secret")
        );
        assert_eq!(refused(|set| set.webhook_secret = Some(Secret::new("x"))), Some("webhook_secret"));
        assert_eq!(refused(|set| set.webhook_events = vec!["reuse".into()]), Some("webhook_events"));
        assert_eq!(refused(|set| set.webhook_timeout = Span::from_secs(61)), Some("webhook_timeout"));
        assert_eq!(refused(|set| set.webhook_retry_for = Span::from_secs(59)), Some("webhook_retry_for"));
    }

    #[test]
    fn redis_has_to_be_compiled_in_and_named() {
        let with = |url: Option<&str>, prefix: &str| {
            let (url, prefix) = (url.map(Secret::new), prefix.to_owned());
            refused(|set| (set.blacklist, set.redis_url, set.redis_prefix) = (BlacklistKind::Redis, url, prefix))
        };
        let compiled = cfg!(feature = "redis");
        let expected = |found| if compiled { found } else { Some("blacklist") };
        assert_eq!(with(Some("redis://x"), "a.b-c_d:1"), expected(None));
        assert_eq!(with(None, "a"), expected(Some("redis_url")));
        for prefix in ["", "{a}", "a b", &"x".repeat(65)] {
            assert_eq!(with(Some("redis://x"), prefix), expected(Some("redis_prefix")), "{prefix}");
        }
        assert_eq!(refused(|set| set.redis_prefix = "}".into()), None, "nobody uses it");
    }

    #[cfg(feature = "jwk-url")]
    #[test]
    fn a_key_set_comes_over_tls_or_from_this_machine() {
        let with = |url: &str| {
            let url = url.to_owned();
            refused(move |set| {
                set.algorithm = Algorithm::ES256;
                set.jwk_url = Some(url);
            })
        };
        assert_eq!(with("https://issuer.example/jwks.json"), None);
        assert_eq!(with("http://127.0.0.1:8000/jwks.json"), None);
        assert_eq!(with("http://127.0.0.1.evil.example/jwks.json"), Some("jwk_url"));
        assert_eq!(with("http://issuer.example/jwks.json"), Some("jwk_url"));
        assert_eq!(with("file:///etc/passwd"), Some("jwk_url"));
        assert_eq!(refused(|set| set.jwk_url = Some("https://x".into())), Some("jwk_url"));
    }
}
