//! Users that exist as soon as somebody names them.

use rocket_simplejwt::{AuthUser, Authenticator, AuthenticatorError, Credentials, async_trait};

/// Somebody.
#[derive(Clone, Debug)]
pub(crate) struct Somebody {
    pub(crate) name: String,
}

impl AuthUser for Somebody {
    fn id(&self) -> String {
        self.name.clone()
    }
}

/// Everybody but `nobody`. The password is `secret`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Everybody;

#[async_trait]
impl Authenticator for Everybody {
    type User = Somebody;

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Somebody>, AuthenticatorError> {
        Ok((credentials.password == "secret").then(|| Somebody { name: credentials.username.clone() }))
    }

    async fn user_by_claim(&self, claim: &str) -> Result<Option<Somebody>, AuthenticatorError> {
        Ok((claim != "nobody").then(|| Somebody { name: claim.to_owned() }))
    }
}
