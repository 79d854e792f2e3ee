//! A token in a JSON body, beside what else the body holds.

use rocket::data::{Data, FromData, Outcome, ToByteUnit as _};
use rocket::{Request, tokio};
use serde::de::DeserializeOwned;

use super::bearer::{authenticate_body, handle};
use super::body::{PATIENCE, read_json};
use super::error::AuthError;
use super::guard::{Bearer, KindGuard};
use super::locate::Slot;
use crate::settings::TokenLocation;

/// A guard for a body that may hold the token, where `token_location` has `"json"`: `{"access_token": "…", "title": "…"}`. Rocket shows
/// bodies to data guards alone, so that it is taken as `data`, and neither `.protect` nor any other guard sees the token.
///
/// A token in a header, a cookie or the query is taken as well, by the precedence of `token_location`. The rest of the body is read as
/// a `B`. Bodies may be as long as Rocket's limit `json` says.
///
/// ```
/// use rocket_simplejwt::{AccessToken, TokenBody};
///
/// #[derive(serde::Deserialize)]
/// struct Article {
///     title: String,
/// }
///
/// #[rocket::post("/articles", data = "<body>")]
/// fn publish(body: TokenBody<AccessToken, Article>) -> String {
///     format!("{} by {}", body.rest.title, body.token.user_id().unwrap_or("nobody"))
/// }
/// ```
#[derive(Debug)]
pub struct TokenBody<G, B = serde::de::IgnoredAny> {
    /// The guard around the token.
    pub token: G,
    /// What else the body says.
    pub rest: B,
}

#[rocket::async_trait]
impl<'r, G: KindGuard, B: DeserializeOwned> FromData<'r> for TokenBody<G, B> {
    type Error = AuthError;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r, Self, AuthError> {
        match read::<G, B>(request, data).await {
            Ok(body) => {
                super::catchers::accept(request);
                Outcome::Success(body)
            }
            Err(error) => {
                super::catchers::remember(request, &error);
                Outcome::Error((super::render::status(&error, request), error))
            }
        }
    }
}

async fn read<G: KindGuard, B: DeserializeOwned>(
    request: &Request<'_>,
    data: Data<'_>,
) -> Result<TokenBody<G, B>, AuthError> {
    let jwt = handle(request)?;
    let kinds = G::kinds(jwt);
    let mut fields = if request.content_type().is_some_and(|media| media.is_json()) {
        let limit = request.limits().get("json").unwrap_or(16.kibibytes());
        let bytes = tokio::time::timeout(PATIENCE, data.open(limit).into_bytes()).await;
        let bytes = bytes.ok().and_then(Result::ok).filter(rocket::data::Capped::is_complete);
        let bytes = bytes.ok_or_else(|| AuthError::BadBody("it is too large, or did not arrive".into()))?;
        read_json(&bytes).map_err(|_| AuthError::BadBody("it is no JSON object".into()))?
    } else {
        serde_json::Map::new()
    };
    let (slot, _) = Slot::of(kinds);
    let sent = match fields.remove(slot.json_key(&jwt.settings().transport)) {
        Some(serde_json::Value::String(text)) if jwt.settings().transport.uses(TokenLocation::Json) => Some(text),
        _ => None,
    };
    let token = authenticate_body(request, kinds, sent.as_deref().filter(|text| !text.is_empty())).await?;
    let rest = serde_json::from_value(fields.into()).map_err(|error| AuthError::BadBody(without_values(&error)))?;
    Ok(TokenBody { token: G::with(Bearer::around(token, request)?), rest })
}

/// What is wrong with a body, without the value that is: Rocket logs the errors of guards, and it may be a password.
fn without_values(error: &serde_json::Error) -> String {
    let said = error.to_string();
    // That names a field of the handler's, and nothing that was sent.
    if said.starts_with("missing field") { said } else { "a member is not what is wanted in its place".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_shows_what_was_sent() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Change {
            #[expect(dead_code, reason = "it is only read into")]
            password: String,
        }
        let said = |body: &str| without_values(&serde_json::from_str::<Change>(body).expect_err(body));
        assert!(said("{}").starts_with("missing field `password`"));
        for body in [r#"{"password": 73556}"#, r#"{"73556": "x"}"#, r#"{"password": ["73556"]}"#] {
            assert!(!said(body).contains("73556"), "{body}");
        }
    }
}
