//! What a user does to the user's own sessions and tokens: the routes `/logout/`, `/sessions/` and `/tokens/`.

use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use rocket::Request;
use rocket::http::Status;
use serde_json::{Value, json};

use super::bearer::{Genuine, authenticate, genuine, refused_any};
use super::body::Fields;
use super::catchers::remember;
use super::client::address;
use super::cookies::TokenCookies as _;
use super::error::{AuthError, Reply};
use crate::service::{LogoutScope, OwnRestored, Refusal, SessionRow, Simplejwt, TokenRow, UnknownLogoutScope};
use crate::token::{SessionId, TokenKind, Verified};

/// How many rows a page has, unless fewer are asked for.
const PAGE: i64 = 100;

/// The same answer for what is not there, what is somebody else's, and what could not be.
fn not_found() -> Reply {
    Reply::detail(Status::NotFound, "Not found.")
}

/// A refusal, kept for the challenge.
fn refuse(request: &Request<'_>, error: &AuthError) -> Reply {
    remember(request, error);
    error.reply()
}

/// The good token of a request, as for a protected route.
pub(super) async fn caller(jwt: &Simplejwt, request: &Request<'_>) -> Result<Arc<Verified>, Reply> {
    authenticate(request, &jwt.settings().auth_token_classes).await.map_err(|error| refuse(request, &error))
}

/// `POST /logout/`
pub(super) async fn logout(jwt: &Simplejwt, request: &Request<'_>, body: &Fields) -> Result<Reply, Reply> {
    let Genuine { token, in_cookie } = genuine(request).map_err(|error| refuse(request, &error))?;
    let scope = match body.value("scope") {
        None => LogoutScope::default(),
        Some(scope) => scope.as_str().unwrap_or_default().parse().map_err(|_: UnknownLogoutScope| {
            let error = "Not a scope; use local, others or global.";
            Reply::json(Status::BadRequest, json!({ "scope": [error] }))
        })?,
    };
    let done = jwt.logout(&token, scope, address(request)).await;
    done.map_err(|refusal| refuse(request, &refused_any(refusal)))?;
    if in_cookie && scope != LogoutScope::Others {
        request.cookies().unset_jwt_cookies(jwt);
    }
    Ok(Reply::empty(Status::NoContent))
}

/// `GET /sessions/`
pub(super) async fn sessions(jwt: &Simplejwt, request: &Request<'_>) -> Result<Reply, Reply> {
    let token = caller(jwt, request).await?;
    let (after, limit) = (query::<SessionId>(request, "after")?, limit(request)?);
    let rows = jwt.own_sessions(&token, after, limit + 1).await.map_err(|refusal| refused(request, refusal))?;
    let (rows, next) = page(rows, limit, |last| last.id.to_string());
    let rows: Vec<_> = rows.iter().map(|row| session(row, token.session())).collect();
    Ok(Reply::json(Status::Ok, json!({ "sessions": rows, "next": next })))
}

fn session(row: &SessionRow, current: Option<SessionId>) -> Value {
    json!({
        "id": row.id.to_string(),
        "created_at": instant(row.created_at),
        "last_used_at": instant(row.last_used_at),
        "address": row.address,
        "user_agent": row.user_agent,
        "current": Some(row.id) == current,
    })
}

/// `DELETE /sessions/<id>/`
pub(super) async fn end_session(jwt: &Simplejwt, request: &Request<'_>) -> Result<Reply, Reply> {
    let token = caller(jwt, request).await?;
    let id = named::<SessionId>(request).ok_or_else(not_found)?;
    let done = jwt.end_own_session(&token, id, address(request)).await;
    let ended = done.map_err(|refusal| refused(request, refusal))?;
    if ended { Ok(Reply::empty(Status::NoContent)) } else { Err(not_found()) }
}

/// `GET /tokens/`
pub(super) async fn tokens(jwt: &Simplejwt, request: &Request<'_>) -> Result<Reply, Reply> {
    let token = caller(jwt, request).await?;
    let (after, limit) = (query::<i64>(request, "after")?, limit(request)?);
    let rows = jwt.own_tokens(&token, after.unwrap_or(i64::MIN), limit + 1).await;
    let (rows, next) = page(rows.map_err(|refusal| refused(request, refusal))?, limit, |last| last.id);
    let rows: Vec<_> = rows.iter().map(|row| own_token(row, token.user_id())).collect();
    Ok(Reply::json(Status::Ok, json!({ "tokens": rows, "next": next })))
}

/// The names of the fields are those of the example that it comes from.
fn own_token(row: &TokenRow, user: Option<&str>) -> Value {
    let ends = [row.blacklisted_at, row.revoked_at, row.superseded_at, row.session_ended_at];
    json!({
        "token_id": row.id,
        "jti": row.jti,
        "token_type": row.kind.map(TokenKind::as_str),
        "user_identity": user,
        "session": row.session,
        "revoked": ends.iter().any(Option::is_some),
        "expires": instant(row.expires_at),
    })
}

/// `PUT /tokens/<id>/`
pub(super) async fn change_token(jwt: &Simplejwt, request: &Request<'_>, body: &Fields) -> Result<Reply, Reply> {
    let token = caller(jwt, request).await?;
    let bad = |detail| Reply::detail(Status::BadRequest, detail);
    let revoke = body.value("revoke").ok_or_else(|| bad("Missing 'revoke' in body"))?;
    let revoke = revoke.as_bool().ok_or_else(|| bad("'revoke' must be a boolean"))?;
    let unknown = || Reply::detail(Status::NotFound, "The specified token was not found");
    let id = named::<i64>(request).ok_or_else(unknown)?;
    let refused = |refusal| refused(request, refusal);
    let done = |detail| Ok(Reply::detail(Status::Ok, detail));
    if revoke {
        let revoked = jwt.revoke_own_token(&token, id, address(request)).await.map_err(refused)?;
        return if revoked { done("Token revoked") } else { Err(unknown()) };
    }
    match jwt.restore_own_token(&token, id, address(request)).await.map_err(refused)? {
        OwnRestored::Restored => done("Token unrevoked"),
        OwnRestored::Unknown => Err(unknown()),
        OwnRestored::NotByUser => Err(AuthError::Forbidden.reply()),
        OwnRestored::Over => Err(Reply::detail(Status::Conflict, "The token is over for another reason")),
    }
}

/// What a route of a good token is refused.
fn refused(request: &Request<'_>, refusal: Refusal) -> Reply {
    refuse(request, &refused_any(refusal))
}

/// What the path names after the name of the route.
fn named<T: FromStr>(request: &Request<'_>) -> Option<T> {
    request.param::<&str>(1)?.ok()?.parse().ok()
}

/// A value of the query.
fn query<T: FromStr>(request: &Request<'_>, name: &str) -> Result<Option<T>, Reply> {
    let Some(value) = request.query_value::<&str>(name) else { return Ok(None) };
    let wrong = || Reply::json(Status::BadRequest, json!({ name: ["Not a valid value."] }));
    value.ok().and_then(|text| text.parse().ok()).map(Some).ok_or_else(wrong)
}

fn limit(request: &Request<'_>) -> Result<i64, Reply> {
    let limit = query::<i64>(request, "limit")?.unwrap_or(PAGE);
    let wrong = || Reply::json(Status::BadRequest, json!({ "limit": [format!("Between 1 and {PAGE}.")] }));
    if (1..=PAGE).contains(&limit) { Ok(limit) } else { Err(wrong()) }
}

/// The rows of one page, of one more than that, and after which of them the next page begins.
fn page<T, N>(mut rows: Vec<T>, limit: i64, name: impl FnOnce(&T) -> N) -> (Vec<T>, Option<N>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(name);
    (rows, next)
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
