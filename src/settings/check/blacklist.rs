//! The blacklist: who is asked about which tokens, and what cannot do without it.

use std::time::Duration;

use super::{SettingsError, refuse};
use crate::settings::{BlacklistKind, Settings, UnknownTokens};
use crate::token::TokenKind;

impl Settings {
    pub(super) fn check_blacklist(&self) -> Result<(), SettingsError> {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;
    use crate::settings::check::tests::refused;

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
}
