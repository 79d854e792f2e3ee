//! What refuses to start.

mod blacklist;
mod django_users;
mod names;
mod network;
mod sessions;
mod times;

use std::path::PathBuf;

#[cfg(feature = "webhook")]
pub(crate) use network::secret_bytes;

use super::Settings;
use super::unreadable::describe;
use crate::token::KeyError;

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{BlacklistKind, ShortSpan, Span, UnknownTokens};
    use crate::token::TokenKind;

    pub(super) fn refused(change: impl FnOnce(&mut Settings)) -> Option<&'static str> {
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
}
