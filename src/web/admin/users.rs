//! The built-in users.

use askama::Template;
use rocket::http::Status;

use super::answer::{Answer, Problem};
use super::form::Form;
use super::show::{When, maybe, when};
use super::visit::{Frame, Visit, encoded};
use crate::service::AccountError;
use crate::service::admin::UserRow;
use crate::users::AdminAccess;

/// How many rows a page has.
const ROWS: i64 = 50;

#[derive(Debug)]
struct Person {
    id: i64,
    username: String,
    email: String,
    access: &'static str,
    active: bool,
    last_login: Option<When>,
    created: When,
}

#[derive(Template)]
#[template(path = "admin/users.html")]
struct UsersPage<'a> {
    frame: Frame<'a>,
    rows: Vec<Person>,
    next: Option<String>,
    said: Option<&'static str>,
    refused: Option<String>,
}

const fn access(user: &UserRow) -> &'static str {
    match (user.is_staff, user.views_only) {
        (false, _) => "",
        (true, true) => "staff, view only",
        (true, false) => "staff",
    }
}

fn said(word: &str) -> Option<&'static str> {
    Some(match word {
        "added" => "The user is added.",
        "password" => "The password is changed, and the sessions of the user are over.",
        "disabled" => "The user is disabled, and the sessions are over.",
        "enabled" => "The user may log in again.",
        _ => return None,
    })
}

async fn shown(visit: &Visit<'_>, asked: &Form, status: Status, refused: Option<String>) -> Result<Answer, Problem> {
    let after = asked.parsed("after", |text| text.parse::<i64>().ok().filter(|id| *id >= 0))?.unwrap_or(0);
    let said = asked.parsed("said", said)?;
    let users = match visit.jwt.users(after, ROWS).await {
        Ok(users) => users,
        Err(error @ AccountError::ManagedInDjango) => return Err(Problem::missing(error.to_string())),
        Err(error) => return Err(Problem::unavailable(&error)),
    };
    let now = visit.jwt.clock_now();
    let whole = i64::try_from(users.len()).is_ok_and(|count| count == ROWS);
    let next = users.last().filter(|_| whole).map(|last| format!("{}/users?after={}", visit.base, last.id));
    let person = |user: UserRow| Person {
        access: access(&user),
        id: user.id,
        username: user.username,
        email: user.email.unwrap_or_default(),
        active: user.is_active,
        last_login: maybe(user.last_login, now),
        created: when(user.created_at, now),
    };
    let rows = users.into_iter().map(person).collect();
    Answer::page(status, &UsersPage { frame: visit.frame("users"), rows, next, said, refused })
}

/// The list.
pub(super) async fn page(visit: &Visit<'_>, asked: &Form) -> Result<Answer, Problem> {
    shown(visit, asked, Status::Ok, None).await
}

/// What came of a change: back to the list, which says so, or the list with what is wrong.
async fn changed(visit: &Visit<'_>, done: Result<(), AccountError>, word: &str) -> Result<Answer, Problem> {
    match done {
        Ok(()) => Ok(visit.redirect(&format!("/users?said={}", encoded(word)))),
        Err(error @ (AccountError::Ledger(_) | AccountError::Refused(_))) => Err(Problem::unavailable(&error)),
        Err(error) => {
            let text = error.to_string();
            let text = text.split(';').next().unwrap_or_default().to_owned();
            shown(visit, &Form::default(), Status::BadRequest, Some(text)).await
        }
    }
}

/// Adds a user.
pub(super) async fn add(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let access = match sent.text("access")? {
        None => AdminAccess::None,
        Some("view") => AdminAccess::View,
        Some("change") => AdminAccess::Change,
        Some(_) => return Err(Problem::bad("There is no such right.")),
    };
    let (name, email) = (sent.text("username")?.unwrap_or_default(), sent.text("email")?);
    let password = sent.password("new_password")?.unwrap_or_default();
    if access != AdminAccess::None {
        // Whoever borrows this browser for a moment should not leave with a key to it.
        visit.need_confirmed(sent).await?;
    }
    let added = visit.jwt.add_user(name, email, password, access, &visit.actor()).await;
    changed(visit, added.map(drop), "added").await
}

/// Sets a password.
pub(super) async fn set_password(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let password = sent.password("new_password")?.unwrap_or_default();
    visit.need_confirmed(sent).await?;
    changed(visit, visit.jwt.set_password(sent.needed("username")?, password, &visit.actor()).await, "password").await
}

/// The password once more, before a user is let in or kept out.
#[derive(Template)]
#[template(path = "admin/user_active.html")]
struct ActivePage<'a> {
    frame: Frame<'a>,
    username: &'a str,
    active: bool,
}

/// Lets a user in, or keeps the user out.
pub(super) async fn set_active(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let (active, word) = match sent.needed("active")? {
        "yes" => (true, "enabled"),
        "no" => (false, "disabled"),
        _ => return Err(Problem::bad("A user is active or not.")),
    };
    let username = sent.needed("username")?;
    if !visit.session.is_confirmed() && sent.password("password")?.is_none() {
        // The row in the list has no room for the password.
        return Answer::page(Status::Forbidden, &ActivePage { frame: visit.frame("users"), username, active });
    }
    visit.need_confirmed(sent).await?;
    changed(visit, visit.jwt.set_active(username, active, &visit.actor()).await, word).await
}
