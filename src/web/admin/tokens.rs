//! The recorded tokens, a page at a time.

use askama::Template;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use rocket::http::Status;

use super::answer::{Answer, Problem};
use super::form::Form;
use super::pasted;
use super::show::{When, maybe, state, when};
use super::visit::{Frame, Visit, encoded};
use crate::service::admin::{Cursor, TokenOrder, TokenRow, TokenSearch, TokenState, storable};
use crate::token::{Jti, TokenKind};

/// How many rows a page has.
const ROWS: usize = 50;

/// A row as it is shown.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) jti: String,
    pub(super) user: String,
    pub(super) kind: &'static str,
    pub(super) state: &'static str,
    pub(super) created: Option<When>,
    pub(super) expires: When,
    pub(super) reason: String,
}

impl Row {
    pub(super) fn of(row: TokenRow, now: DateTime<Utc>) -> Self {
        Self {
            state: state(&row, now),
            id: row.id,
            kind: row.kind.map_or("", TokenKind::as_str),
            created: maybe(row.created_at, now),
            expires: when(row.expires_at, now),
            jti: row.jti,
            user: row.user.unwrap_or_default(),
            reason: row.reason.unwrap_or_default(),
        }
    }
}

/// What the form above the list says, as it was said.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) jti: String,
    pub(super) user: String,
    pub(super) session: String,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) created_from: String,
    pub(super) created_until: String,
    pub(super) expires_from: String,
    pub(super) expires_until: String,
    pub(super) order: String,
}

impl Wanted {
    pub(super) fn of(asked: &Form) -> Result<Self, Problem> {
        let text = |name: &str| Ok::<_, Problem>(asked.text(name)?.unwrap_or_default().to_owned());
        Ok(Self {
            jti: text("jti")?,
            user: text("user")?,
            session: text("session")?,
            kind: text("kind")?,
            state: text("state")?,
            created_from: text("created_from")?,
            created_until: text("created_until")?,
            expires_from: text("expires_from")?,
            expires_until: text("expires_until")?,
            order: text("order")?,
        })
    }

    /// The fields that say something.
    pub(super) fn said(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("jti", self.jti.as_str()),
            ("user", &self.user),
            ("session", &self.session),
            ("kind", &self.kind),
            ("state", &self.state),
            ("created_from", &self.created_from),
            ("created_until", &self.created_until),
            ("expires_from", &self.expires_from),
            ("expires_until", &self.expires_until),
            ("order", &self.order),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
    }

    /// The part of an address that asks for the same.
    pub(super) fn query(&self) -> String {
        let fields: Vec<_> = self.said().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        fields.join("&")
    }
}

/// How a browser's field for an instant has it.
pub(super) const FIELD: &str = "%Y-%m-%dT%H:%M:%S";

/// An instant as a browser's field for one has it, a day, or RFC 3339. Without a zone it is UTC.
pub(super) fn instant(text: &str) -> Option<DateTime<Utc>> {
    let zoned = || DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
    let second = || NaiveDateTime::parse_from_str(text, FIELD).ok();
    let minute = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").ok();
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    // A year may be written that is in no database, and from which nothing can be reckoned.
    zoned().or_else(|| Some(second().or_else(minute).or_else(day)?.and_utc())).and_then(storable)
}

fn order(word: &str) -> Option<TokenOrder> {
    Some(match word {
        "newest" => TokenOrder::Newest,
        "oldest" => TokenOrder::Oldest,
        "expiry" => TokenOrder::Expiry,
        "user" => TokenOrder::User,
        _ => return None,
    })
}

fn state_of(word: &str) -> Option<TokenState> {
    Some(match word {
        "live" => TokenState::Active,
        "superseded" => TokenState::Superseded,
        "blacklisted" => TokenState::Blacklisted,
        "expired" => TokenState::Expired,
        _ => return None,
    })
}

/// What an address or a form asks for.
pub(super) fn search_of(asked: &Form) -> Result<TokenSearch, Problem> {
    Ok(TokenSearch {
        jti: asked.parsed("jti", |text| text.parse().ok())?,
        user: asked.text("user")?.map(Into::into),
        session: asked.parsed("session", |text| text.parse().ok())?,
        kind: asked.parsed("kind", |text| text.parse().ok())?,
        state: asked.parsed("state", state_of)?,
        created_from: asked.parsed("created_from", instant)?,
        created_until: asked.parsed("created_until", instant)?,
        expires_from: asked.parsed("expires_from", instant)?,
        expires_until: asked.parsed("expires_until", instant)?,
        order: asked.parsed("order", order)?.unwrap_or_default(),
    })
}

#[derive(Template)]
#[template(path = "admin/tokens.html")]
struct TokensPage<'a> {
    frame: Frame<'a>,
    wanted: Wanted,
    rows: Vec<Row>,
    next: Option<String>,
    unfinished: bool,
    continued: bool,
}

/// The list.
pub(super) async fn page(visit: &Visit<'_>, asked: &Form) -> Result<Answer, Problem> {
    let (wanted, search) = (Wanted::of(asked)?, search_of(asked)?);
    let after = asked.parsed("after", |text| text.parse::<i64>().ok().filter(|id| *id >= 0))?;
    let key = asked.text("key")?.unwrap_or_default().to_owned();
    let after = after.map(|id| Cursor { id, key });
    let continued = after.is_some();
    let now = visit.jwt.clock_now();
    let page = visit.jwt.search_tokens(&search, after, ROWS).await?;
    let next = page.next.map(|Cursor { id, key }| {
        let by_id = matches!(search.order(), TokenOrder::Newest | TokenOrder::Oldest);
        let key = if by_id { String::new() } else { format!("&key={}", encoded(&key)) };
        format!("{}/tokens?{}&after={id}{key}", visit.base, wanted.query()).replace("?&", "?")
    });
    let rows = page.rows.into_iter().map(|row| Row::of(row, now)).collect();
    let unfinished = page.unfinished;
    let page = TokensPage { frame: visit.frame("tokens"), wanted, rows, next, unfinished, continued };
    Answer::page(Status::Ok, &page)
}

/// The one field above every page: a jti or its beginning, a user, or a whole token. It is sent as a form, so that no token stands
/// in an address.
pub(super) fn find(visit: &Visit<'_>, sent: &Form) -> Result<Answer, Problem> {
    let Some(text) = sent.long_text("q")? else { return Ok(visit.redirect("/tokens")) };
    let pasted = pasted::tokens(text);
    if !pasted.is_empty() {
        let mut refusal = None;
        for token in pasted {
            match visit.jwt.jti_of(&token) {
                Ok(jti) => return Ok(visit.redirect(&format!("/token?jti={}", encoded(jti.as_str())))),
                Err(why) => refusal = refusal.or(Some(why)),
            }
        }
        let why = refusal.map(|refusal| format!(": {refusal}")).unwrap_or_default();
        return Err(Problem::bad(format!("That is no token of this server{why}.")));
    }
    if text.len() > 500 {
        return Err(Problem::bad("That is too long for a jti or a user, and no token."));
    }
    // A whole jti of ours, or of Django, cannot be taken for a user.
    let is_jti = text.parse::<Jti>().is_ok() && text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(visit.redirect(&if is_jti {
        format!("/token?jti={}", encoded(text))
    } else {
        let field = if sent.text("by")? == Some("user") { "user" } else { "jti" };
        format!("/tokens?{field}={}", encoded(text))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_browsers_and_people_write_them() {
        let at = DateTime::from_timestamp(1_800_000_000, 0);
        for text in ["2027-01-15T08:00", "2027-01-15T08:00:00", "2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00"] {
            assert_eq!(instant(text), at, "{text}");
        }
        assert_eq!(instant("2027-01-15").map(|at| at.timestamp()), Some(1_799_971_200));
        for bad in ["", "yesterday", "1e9", "2027-13-01", "' OR 1=1"] {
            assert_eq!(instant(bad), None, "{bad}");
        }
        for far in ["+262142-12-31", "+262142-12-31T23:59", "-262143-01-01T00:00:00", "0999-12-31", "10000-01-01"] {
            assert_eq!(instant(far), None, "{far}");
        }
        assert_eq!(instant("9999-12-31T23:59:59-01:00"), None, "elsewhere it is the year 10000");
        assert!(instant("9999-12-31T23:59:59Z").is_some() && instant("1000-01-01").is_some());
    }
}
