//! What claims and headers are called, and what else tokens have to carry.

use super::{SettingsError, refuse};
use crate::settings::{Settings, Span};

impl Settings {
    pub(super) fn check_names(&self) -> Result<(), SettingsError> {
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
}
