//! Lifetimes and other spans of time, and how they fit together.

use super::{SettingsError, refuse};
use crate::settings::{Settings, Span};

impl Settings {
    pub(super) fn check_times(&self) -> Result<(), SettingsError> {
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
}
