//! What happened, the newest first.

use askama::Template;
use rocket::http::Status;

use super::answer::{Answer, Problem};
use super::form::Form;
use super::token::Happened;
use super::visit::{Frame, Visit, encoded};
use crate::service::admin::{ACTIONS, EventFilter};

/// How many rows a page has.
const ROWS: i64 = 50;

#[derive(Template)]
#[template(path = "admin/events.html")]
struct EventsPage<'a> {
    frame: Frame<'a>,
    user: &'a str,
    session: &'a str,
    action: &'a str,
    target: &'a str,
    actions: &'a [&'a str],
    query: String,
    follow: bool,
    rows: Vec<Happened>,
    next: Option<String>,
    continued: bool,
}

/// The list.
pub(super) async fn page(visit: &Visit<'_>, asked: &Form) -> Result<Answer, Problem> {
    let text = |name: &str| asked.text(name).map(Option::unwrap_or_default);
    let (user, session, action, target) = (text("user")?, text("session")?, text("action")?, text("target")?);
    if !action.is_empty() && !ACTIONS.contains(&action) {
        return Err(Problem::bad("There is no such action."));
    }
    let before = asked.parsed("before", |text| text.parse::<i64>().ok().filter(|id| *id > 0))?;
    let follow = asked.parsed("follow", |word| (word == "yes").then_some(()))?.is_some();
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let filter = EventFilter {
        user: said(user).map(Into::into),
        session: said(session),
        action: said(action),
        target: said(target),
        before,
        limit: ROWS,
        ..EventFilter::default()
    };
    let rows = visit.jwt.events(&filter).await?;
    let whole = i64::try_from(rows.len()).is_ok_and(|count| count == ROWS);
    let query = [("user", user), ("session", session), ("action", action), ("target", target)];
    let query = query.map(|(name, value)| format!("{name}={}", encoded(value))).join("&");
    let next = rows.last().filter(|_| whole).map(|last| format!("{}/events?{query}&before={}", visit.base, last.id));
    let page = EventsPage {
        frame: visit.frame("events"),
        user,
        session,
        action,
        target,
        actions: ACTIONS,
        query,
        follow: follow && before.is_none(),
        rows: rows.into_iter().map(|row| Happened::of(row, visit)).collect(),
        next,
        continued: before.is_some(),
    };
    Answer::page(Status::Ok, &page)
}
