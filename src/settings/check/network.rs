//! Who is at the other end: of a webhook, of `/metrics`, of a JWK Set.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{SettingsError, refuse};
use crate::settings::{Secret, Settings, Span};

/// The bytes of a secret: of one in the form of Standard Webhooks those that it encodes.
pub(crate) fn secret_bytes(secret: &str) -> Vec<u8> {
    let encoded = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    encoded.unwrap_or_else(|| secret.as_bytes().to_owned())
}

impl Settings {
    pub(super) fn check_webhook(&self) -> Result<(), SettingsError> {
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

    pub(super) fn check_metrics(&self) -> Result<(), SettingsError> {
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

    pub(super) fn check_jwk_url(&self) -> Result<(), SettingsError> {
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

#[cfg(all(test, any(feature = "jwk-url", feature = "metrics", feature = "webhook")))]
mod tests {
    use super::*;
    use crate::settings::check::tests::refused;
    #[cfg(feature = "jwk-url")]
    use crate::token::Algorithm;

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

    #[cfg(feature = "jwk-url")]
    #[test]
    fn a_key_set_comes_over_tls_or_from_this_machine() {
        let with = |url: &str| {
            let url = url.to_owned();
            refused(move |set: &mut Settings| {
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
