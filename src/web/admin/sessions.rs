//! Logins, and the tokens that descend from one.

use askama::Template;
use chrono::{DateTime, Utc};
use rocket::http::Status;

use super::answer::{Answer, Problem};
use super::form::Form;
use super::show::{When, maybe, when};
use super::token::reason;
use super::visit::{Frame, Visit, encoded};
use crate::service::Target;
use crate::service::admin::{SessionFilter, SessionId, SessionRow, SessionState, SessionToken};
use crate::token::TokenKind;

/// How many rows a page has.
const ROWS: i64 = 50;

/// A login as it is shown.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) state: &'static str,
    pub(super) created: When,
    pub(super) used: When,
    pub(super) address: String,
    pub(super) user_agent: String,
    pub(super) ended: Option<When>,
    pub(super) reason: String,
    pub(super) ended_by: Option<String>,
    pub(super) open: bool,
}

impl Login {
    pub(super) fn of(row: SessionRow, now: DateTime<Utc>) -> Self {
        Self {
            id: row.id.to_string(),
            user: row.user.unwrap_or_default(),
            state: state(row.state),
            created: when(row.created_at, now),
            used: when(row.last_used_at, now),
            address: row.address.unwrap_or_default(),
            user_agent: row.user_agent.unwrap_or_default(),
            ended: maybe(row.ended_at, now),
            reason: row.ended_reason.unwrap_or_default(),
            ended_by: row.ended_by,
            open: row.state == SessionState::Active,
        }
    }
}

const fn state(state: SessionState) -> &'static str {
    match state {
        SessionState::Active => "open",
        SessionState::Ended => "session ended",
        SessionState::Expired => "expired",
    }
}

fn state_of(word: &str) -> Option<SessionState> {
    Some(match word {
        "open" => SessionState::Active,
        "ended" => SessionState::Ended,
        "expired" => SessionState::Expired,
        _ => return None,
    })
}

#[derive(Template)]
#[template(path = "admin/sessions.html")]
struct SessionsPage<'a> {
    frame: Frame<'a>,
    user: &'a str,
    state: &'a str,
    rows: Vec<Login>,
    next: Option<String>,
    unfinished: bool,
    continued: bool,
    said: Option<&'static str>,
}

/// The list.
pub(super) async fn page(visit: &Visit<'_>, asked: &Form) -> Result<Answer, Problem> {
    let (user, state) = (asked.text("user")?.unwrap_or_default(), asked.text("state")?.unwrap_or_default());
    let after = asked.parsed("after", |text| text.parse::<SessionId>().ok())?;
    let said =
        asked.parsed("said", |word| (word == "ended").then_some("The sessions are over, and their tokens refused."))?;
    let filter = SessionFilter {
        user: (!user.is_empty()).then(|| user.into()),
        state: asked.parsed("state", state_of)?,
        since: None,
        after,
        limit: ROWS,
    };
    let page = visit.jwt.browse_sessions(&filter).await?;
    let next = page
        .next
        .map(|last| format!("{}/sessions?user={}&state={}&after={last}", visit.base, encoded(user), encoded(state)));
    let (now, unfinished) = (visit.jwt.clock_now(), page.unfinished);
    let rows = page.rows.into_iter().map(|row| Login::of(row, now)).collect();
    let continued = filter.after.is_some();
    let page = SessionsPage { frame: visit.frame("sessions"), user, state, rows, next, unfinished, continued, said };
    Answer::page(Status::Ok, &page)
}

/// A token in the chain of a session.
#[derive(Debug)]
struct Link {
    jti: String,
    kind: &'static str,
    state: &'static str,
    created: Option<When>,
    expires: Option<When>,
    reused: Option<When>,
    /// Whether it replaced the one above it.
    follows: bool,
}

fn links(tokens: Vec<SessionToken>, now: DateTime<Utc>) -> Vec<Link> {
    let mut above: Option<String> = None;
    let link = |token: SessionToken| {
        let state = if token.superseded_at.is_some() {
            "superseded"
        } else if token.blacklisted_at.is_some() || token.revoked_at.is_some() {
            "blacklisted"
        } else if token.expires_at.is_some_and(|at| at <= now) {
            "expired"
        } else {
            "live"
        };
        let follows = token.parent.is_some() && token.parent == above;
        above = Some(token.jti.clone());
        Link {
            kind: token.kind.map_or("", TokenKind::as_str),
            state,
            created: maybe(token.created_at, now),
            expires: maybe(token.expires_at, now),
            reused: maybe(token.reused_at, now),
            follows,
            jti: token.jti,
        }
    };
    tokens.into_iter().map(link).collect()
}

#[derive(Template)]
#[template(path = "admin/session.html")]
struct SessionPage<'a> {
    frame: Frame<'a>,
    session: Login,
    tokens: Vec<Link>,
    more: bool,
}

/// So many tokens of one session are drawn at most, so that the page stays small.
const DRAWN: usize = 100;

/// One login with its tokens.
pub(super) async fn one(visit: &Visit<'_>, asked: &Form) -> Result<Answer, Problem> {
    let id = id_in(asked)?;
    let chain = visit.jwt.session(id).await?.ok_or_else(|| Problem::missing("No such session is on record here."))?;
    let now = visit.jwt.clock_now();
    let mut tokens = chain.tokens;
    let more = chain.more || tokens.len() > DRAWN;
    // The last ones are those that matter.
    let tokens = tokens.split_off(tokens.len().saturating_sub(DRAWN));
    let (session, tokens) = (Login::of(chain.session, now), links(tokens, now));
    Answer::page(Status::Ok, &SessionPage { frame: visit.frame("sessions"), session, tokens, more })
}

fn id_in(form: &Form) -> Result<SessionId, Problem> {
    form.needed("id")?.parse().map_err(|_| Problem::bad("That is no session."))
}

/// Ends a login.
pub(super) async fn end(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let id = id_in(sent)?;
    visit.jwt.revoke(vec![Target::Session(id)], reason(sent)?, visit.actor()).await?;
    Ok(visit.redirect(&format!("/session?id={id}")))
}

/// Ends everything of a user.
pub(super) async fn end_all(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let user = sent.needed("user")?.to_owned();
    let reason = reason(sent)?;
    visit.need_confirmed(sent).await?;
    visit.jwt.end_everything_of(&user.as_str().into(), reason, visit.actor()).await?;
    Ok(visit.redirect(&format!("/sessions?user={}&said=ended", encoded(&user))))
}
