//! One token, and what can be done with it.

use askama::Template;
use chrono::{DateTime, Utc};
use rocket::http::Status;

use super::answer::{Answer, Problem};
use super::form::Form;
use super::show::{When, maybe, when};
use super::tokens::{Row, instant};
use super::visit::{Frame, Visit, encoded};
use crate::service::Target;
use crate::service::admin::{EventRow, RestoreOutcome, TokenRow};
use crate::token::Jti;

/// Something that happened, as it is shown.
#[derive(Debug)]
pub(super) struct Happened {
    pub(super) at: When,
    pub(super) action: String,
    pub(super) target: String,
    /// The page of what it happened to, if there is one.
    pub(super) link: Option<String>,
    pub(super) who: String,
    pub(super) via: String,
    pub(super) address: String,
    pub(super) reason: String,
}

impl Happened {
    pub(super) fn of(row: EventRow, visit: &Visit<'_>) -> Self {
        Self {
            at: when(row.at, visit.jwt.clock_now()),
            link: page_of(&row).map(|page| format!("{}{page}", visit.base)),
            action: row.action,
            target: row.target,
            who: row.who,
            via: row.via,
            address: row.address.unwrap_or_default(),
            reason: row.reason.unwrap_or_default(),
        }
    }
}

/// Where that is shown to which something happened.
fn page_of(row: &EventRow) -> Option<String> {
    let target = row.target.as_str();
    if let Some(user) = target.strip_prefix("user:") {
        return Some(format!("/sessions?user={}", encoded(user)));
    }
    if row.session.as_deref() == Some(target) {
        return Some(format!("/session?id={}", encoded(target)));
    }
    let is_token = matches!(row.action.as_str(), "blacklist" | "unblacklist" | "reuse" | "refresh_retry");
    is_token.then(|| format!("/token?jti={}", encoded(target)))
}

#[derive(Template)]
#[template(path = "admin/token.html")]
struct TokenPage<'a> {
    frame: Frame<'a>,
    jti: &'a str,
    row: Option<Row>,
    facts: Option<TokenFacts>,
    events: Vec<Happened>,
    said: Option<&'static str>,
    can_blacklist: bool,
    can_restore: bool,
}

/// What the list has no room for.
struct TokenFacts {
    session: Option<String>,
    session_ended: Option<When>,
    parent: Option<String>,
    successor: Option<String>,
    blacklisted: Option<When>,
    superseded: Option<When>,
    revoked: Option<When>,
    keep_until: Option<When>,
}

impl TokenFacts {
    fn of(row: &TokenRow, now: DateTime<Utc>) -> Self {
        Self {
            session: row.session.clone(),
            session_ended: maybe(row.session_ended_at, now),
            parent: row.parent.clone(),
            successor: row.successor.clone(),
            blacklisted: maybe(row.blacklisted_at, now),
            superseded: maybe(row.superseded_at, now),
            revoked: maybe(row.revoked_at, now),
            keep_until: maybe(row.keep_until, now),
        }
    }
}

/// What was just done, in the words that an address may name.
fn said(word: &str) -> Option<&'static str> {
    Some(match word {
        "blacklisted" => "The token is blacklisted: it is refused from now on.",
        "already" => "The token was refused already.",
        "restored" => "The token is off the blacklist.",
        "reopened" => "The token is off the blacklist, and its session is open again.",
        "not-blacklisted" => "The token was not on the blacklist.",
        "superseded" => "A rotation replaced this token, so that it stays refused. Its successor is the one to use.",
        "session-ended" => "Its session ended for another reason, so that the token stays refused.",
        "cut-off" => "Everything from before an instant was ended since, so that the token stays refused.",
        _ => return None,
    })
}

fn jti_in(form: &Form) -> Result<Jti, Problem> {
    form.needed("jti")?.parse().map_err(|_| Problem::bad("That is no jti."))
}

/// The page of a token.
pub(super) async fn page(visit: &Visit<'_>, asked: &Form) -> Result<Answer, Problem> {
    let jti = jti_in(asked)?;
    let said = asked.parsed("said", said)?;
    let now = visit.jwt.clock_now();
    let row = visit.jwt.record_of_jti(&jti).await?;
    let events = visit.jwt.events_of(&jti).await?;
    let events = events.into_iter().take(100).map(|event| Happened::of(event, visit)).collect();
    let is_refused = row.as_ref().is_some_and(|row| row.blacklisted_at.is_some() || row.revoked_at.is_some());
    let is_superseded = row.as_ref().is_some_and(|row| row.superseded_at.is_some());
    let facts = row.as_ref().map(|row| TokenFacts::of(row, now));
    let status = if row.is_some() { Status::Ok } else { Status::NotFound };
    let page = TokenPage {
        frame: visit.frame("tokens"),
        jti: jti.as_str(),
        row: row.map(|row| Row::of(row, now)),
        facts,
        events,
        said,
        can_blacklist: !is_refused,
        can_restore: is_refused && !is_superseded,
    };
    Answer::page(status, &page)
}

/// Why something is done, in the words of whoever does it.
pub(super) fn reason(sent: &Form) -> Result<Option<String>, Problem> {
    let text = sent.text("reason")?;
    if text.is_some_and(|text| text.chars().count() > 500 || text.chars().any(char::is_control)) {
        return Err(Problem::bad("A reason has at most 500 characters, and is one line."));
    }
    Ok(text.map(Into::into))
}

fn back(visit: &Visit<'_>, jti: &Jti, said: &str) -> Answer {
    visit.redirect(&format!("/token?jti={}&said={said}", encoded(jti.as_str())))
}

/// Blacklists a token.
pub(super) async fn blacklist(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let jti = jti_in(sent)?;
    let expires_at = sent.parsed("expires_at", instant)?;
    let target = Target::Jti { jti: jti.clone(), expires_at };
    let revoked = visit.jwt.revoke(vec![target], reason(sent)?, visit.actor()).await?;
    let is_new =
        revoked.tokens.first().is_some_and(|revoked| revoked.outcome != crate::service::admin::RevokeOutcome::Already);
    Ok(back(visit, &jti, if is_new { "blacklisted" } else { "already" }))
}

/// Takes a token off the blacklist.
pub(super) async fn unblacklist(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let jti = jti_in(sent)?;
    let restored = visit.jwt.restore(vec![jti.clone()], reason(sent)?, visit.actor()).await?;
    let said = match restored.first().map(|restored| &restored.outcome) {
        Some(RestoreOutcome::Restored { session_reopened: true }) => "reopened",
        Some(RestoreOutcome::Restored { session_reopened: false }) => "restored",
        Some(RestoreOutcome::Superseded) => "superseded",
        Some(RestoreOutcome::SessionEndedOtherwise { .. }) => "session-ended",
        Some(RestoreOutcome::CutOff) => "cut-off",
        Some(RestoreOutcome::NotBlacklisted | RestoreOutcome::Unknown) | None => "not-blacklisted",
    };
    Ok(back(visit, &jti, said))
}
