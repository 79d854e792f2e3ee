//! The tokens that somebody revoked: who did it, when, why and from where.

use askama::Template;
use chrono::DateTime;
use rocket::http::Status;

use super::answer::{Answer, Problem};
use super::form::Form;
use super::show::{When, maybe};
use super::tokens::Row;
use super::visit::{Frame, Visit, encoded};

/// How many rows a page has.
const ROWS: usize = 50;

struct Listed {
    row: Row,
    at: Option<When>,
    /// The session with which it ended, if nobody blacklisted it by itself.
    with_session: Option<String>,
    who: String,
    via: String,
    address: String,
}

#[derive(Template)]
#[template(path = "admin/blacklisted.html")]
struct BlacklistedPage<'a> {
    frame: Frame<'a>,
    user: &'a str,
    rows: Vec<Listed>,
    next: Option<String>,
    continued: bool,
    unfinished: bool,
}

/// The list, the newest first.
pub(super) async fn page(visit: &Visit<'_>, asked: &Form) -> Result<Answer, Problem> {
    let user = asked.text("user")?.unwrap_or_default();
    let before = asked.parsed("before", |text| text.parse::<i64>().ok().filter(|id| *id > 0))?;
    let of_user = (!user.is_empty()).then(|| user.into());
    let page = visit.jwt.blacklisted_newest(of_user, before, ROWS).await?;
    let now = visit.jwt.clock_now();
    let next = page.next.map(|id| format!("{}/blacklisted?user={}&before={id}", visit.base, encoded(user)));
    let listed = |(row, event): (crate::service::admin::TokenRow, Option<crate::service::admin::EventRow>)| {
        let at = maybe(row.blacklisted_at.or(row.revoked_at).filter(|at| *at > DateTime::UNIX_EPOCH), now);
        let with_session = row.session.clone().filter(|_| event.is_none() && row.session_ended_at.is_some());
        let (who, via, address) = event.map_or_else(Default::default, |event| (event.who, event.via, event.address));
        Listed { row: Row::of(row, now), at, with_session, who, via, address: address.unwrap_or_default() }
    };
    let page = BlacklistedPage {
        frame: visit.frame("blacklisted"),
        user,
        rows: page.rows.into_iter().map(listed).collect(),
        next,
        continued: before.is_some(),
        unfinished: page.unfinished,
    };
    Answer::page(Status::Ok, &page)
}
