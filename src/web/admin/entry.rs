//! Signing in and out.

use askama::Template;
use rocket::Request;
use rocket::http::Status;

use super::answer::{Answer, Problem};
use super::form::Form;
use super::visit::{Cookie, Visit, base, check_origin, check_token, secret};
use crate::service::admin::{AdminRefusal, AdminSecret};
use crate::service::{Client, Simplejwt, whole_seconds};
use crate::users::Credentials;

#[derive(Template)]
#[template(path = "admin/sign_in.html")]
struct SignInPage<'a> {
    base: &'a str,
    csrf: String,
    refusal: Option<String>,
}

fn shown(request: &Request<'_>, status: Status, refusal: Option<String>) -> Result<Answer, Problem> {
    let base = base(request);
    // Whoever signs in gets another one: this is only for the form.
    let secret = secret(request).unwrap_or_else(AdminSecret::random);
    let page = SignInPage { base: &base, csrf: secret.form_token(), refusal };
    Ok(Answer::page(status, &page)?.with_cookie(&Cookie::Set(&secret)))
}

/// The page to sign in.
pub(super) async fn form(jwt: &Simplejwt, request: &Request<'_>) -> Result<Answer, Problem> {
    if let Some(secret) = secret(request)
        && jwt.admin_session(&secret).await?.is_some()
    {
        return Ok(Answer::see_other(format!("{}/", base(request))));
    }
    shown(request, Status::Ok, None)
}

/// Signs somebody in.
pub(super) async fn sign_in(jwt: &Simplejwt, request: &Request<'_>, sent: &Form) -> Result<Answer, Problem> {
    check_origin(request)?;
    let no_cookie =
        "Your browser did not send the cookie of this page. It does so over https, and from this very machine.";
    let old = secret(request).ok_or_else(|| Problem::new(Status::Forbidden, "csrf", no_cookie))?;
    check_token(&old, sent)?;
    let username = sent.text("username")?.unwrap_or_default().to_owned();
    let password = sent.password("password")?.unwrap_or_default().to_owned();
    let credentials = Credentials { username, password };
    match jwt.admin_sign_in(&credentials, Client::of(request), Some(&old)).await {
        Ok(secret) => Ok(Answer::see_other(format!("{}/", base(request))).with_cookie(&Cookie::Set(&secret))),
        Err(refusal @ AdminRefusal::BadCredentials) => shown(request, Status::Forbidden, Some(refusal.to_string())),
        Err(ref refusal @ AdminRefusal::Wait(wait)) => {
            let answer = shown(request, Status::TooManyRequests, Some(refusal.to_string()))?;
            Ok(answer.with("Retry-After", whole_seconds(wait).to_string()))
        }
        Err(AdminRefusal::Refused(refusal)) => Err(refusal.into()),
    }
}

/// Signs whoever asks out.
pub(super) async fn sign_out(visit: &Visit<'_>) -> Result<Answer, Problem> {
    visit.jwt.admin_sign_out(&visit.secret, visit.address.clone()).await?;
    Ok(visit.redirect("/sign-in").with_cookie(&Cookie::Removed))
}
