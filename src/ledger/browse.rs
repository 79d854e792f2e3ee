//! Looking through the recorded tokens, a page at a time, however many there are.
//!
//! No page counts rows or skips them. A step takes the keys of the next rows in an order that an index has, and then looks at
//! those rows with all that is known of them. What no index helps to find is searched in such steps until the page is full or its
//! time is over; the next page goes on from there.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use diesel::dsl::{max, min};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::connection::AnyConnection;
use super::dialect;
use super::events::{self, Action, EventRow};
use super::foreign_text::ForeignText;
use super::list::{TokenRow, TokenState, under};
use super::raw::Raw;
use super::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_token};
use super::shared::Shared;
use super::time::{Foreign, stored};
use super::{Ledger, LedgerError, UserKey};
use crate::token::{Jti, SessionId, TokenKind};

/// The order of a list of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenOrder {
    /// Those recorded last come first.
    #[default]
    Newest,
    /// Those recorded first come first.
    Oldest,
    /// Those that expire first come first.
    Expiry,
    /// By user. Tokens without one are left out.
    User,
    /// By jti, the order of a search by how a jti begins.
    Jti,
}

/// Which tokens to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSearch {
    /// Only those whose jti begins so.
    pub jti: Option<Jti>,
    /// Only those of this user.
    pub user: Option<UserKey>,
    /// Only those of this session.
    pub session: Option<SessionId>,
    /// Only those of this kind.
    pub kind: Option<TokenKind>,
    /// Only those in this state.
    pub state: Option<TokenState>,
    /// Only those recorded then or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Only those recorded before then.
    pub created_until: Option<DateTime<Utc>>,
    /// Only those that expire then or later.
    pub expires_from: Option<DateTime<Utc>>,
    /// Only those that expire before then.
    pub expires_until: Option<DateTime<Utc>>,
    /// In this order. With a jti, theirs.
    pub order: TokenOrder,
}

/// The place after which a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The key of the row before it.
    pub id: i64,
    /// What that row has in the column by which is ordered, unless that is its key.
    pub key: String,
}

/// A page.
#[derive(Clone, Debug, Default)]
pub struct TokenPage {
    /// Its rows.
    pub rows: Vec<TokenRow>,
    /// Where the next one begins. [`None`]: there are no more.
    pub next: Option<Cursor>,
    /// Whether it ends before it is full, because its time was over.
    pub unfinished: bool,
}

/// How many rows one step of a search looks at.
const STEP: i64 = 1_000;

/// For how long a page is searched for.
const PATIENCE: Duration = Duration::from_millis(60);

/// By how much the clocks of those who record tokens may differ.
const SKEW: TimeDelta = TimeDelta::minutes(5);

const JTI: &str = "token_blacklist_outstandingtoken.jti";

impl TokenSearch {
    /// The order in which this is found.
    #[must_use]
    pub fn order(&self) -> TokenOrder {
        match (&self.jti, self.expires_from.or(self.expires_until)) {
            (Some(_), _) => TokenOrder::Jti,
            // The index that finds them has them in this order.
            (None, Some(_)) if self.user.is_none() => TokenOrder::Expiry,
            _ if self.order == TokenOrder::Jti => TokenOrder::Newest,
            _ => self.order,
        }
    }

    /// Whether rows are left out that only a look at them tells.
    fn leaves_out(&self) -> bool {
        self.kind.is_some() || self.state.is_some() || self.created_from.is_some() || self.created_until.is_some()
    }
}

/// Where an instant that was read as text would stand in the order of its column; [`None`] for what is none.
fn is_instant(text: &str) -> bool {
    let bare = text.strip_suffix("+00").unwrap_or(text);
    NaiveDateTime::parse_from_str(bare, "%Y-%m-%d %H:%M:%S%.f").is_ok()
}

/// The keys of the next rows, each with what it has in the column of the order.
fn keys(
    connection: &mut AnyConnection,
    shared: &Shared,
    search: &TokenSearch,
    after: Option<&Cursor>,
    most: i64,
) -> QueryResult<Vec<Cursor>> {
    let order = search.order();
    let words = dialect::literals(connection);
    let key = match order {
        TokenOrder::Newest | TokenOrder::Oldest | TokenOrder::Jti => Raw::<Nullable<Text>>::new(JTI),
        TokenOrder::Expiry => Raw::new(words.text_of("token_blacklist_outstandingtoken.expires_at")),
        TokenOrder::User => shared.user_text(),
    };
    let mut query = outstanding_tokens::table.select((outstanding_tokens::id, key)).limit(most).into_boxed();
    if let Some(prefix) = &search.jti {
        query = query.filter(Raw::once(words.starts_with(JTI, prefix)));
    }
    if let Some(user) = &search.user {
        // What the column cannot hold, nobody there has.
        let Some(text) = shared.text(user) else { return Ok(Vec::new()) };
        query = query.filter(shared.is_of_user(text));
    }
    if let Some(from) = search.expires_from {
        query = query.filter(outstanding_tokens::expires_at.ge(stored(from)));
    }
    if let Some(until) = search.expires_until {
        query = query.filter(outstanding_tokens::expires_at.lt(stored(until)));
    }
    let id = outstanding_tokens::id;
    query = match order {
        TokenOrder::Newest => query.order(id.desc()),
        TokenOrder::Oldest => query.order(id.asc()),
        TokenOrder::Expiry => query.order((outstanding_tokens::expires_at.asc(), id.asc())),
        TokenOrder::User => {
            query.filter(outstanding_tokens::user_id.is_not_null()).order((outstanding_tokens::user_id.asc(), id.asc()))
        }
        TokenOrder::Jti => query.order(Raw::<Text>::new(format!("{JTI}{}", words.by_bytes.0))),
    };
    if let Some(Cursor { id: last, key }) = after {
        query = match order {
            TokenOrder::Newest => query.filter(id.lt(*last)),
            TokenOrder::Oldest => query.filter(id.gt(*last)),
            // In this form every database begins at the place in the index.
            TokenOrder::Expiry if is_instant(key) => {
                query.filter(shared.expires(">=", key)).filter(shared.expires(">", key).or(id.gt(*last)))
            }
            TokenOrder::User => {
                let Some(text) = shared.text(&UserKey::from(key.as_str())) else { return Ok(Vec::new()) };
                query
                    .filter(shared.compares_to_user(">=", text.clone()))
                    .filter(shared.compares_to_user(">", text).or(id.gt(*last)))
            }
            TokenOrder::Jti if key.parse::<Jti>().is_ok() => {
                query.filter(Raw::once(format!("{JTI} {} '{key}'", words.by_bytes.1)))
            }
            TokenOrder::Expiry | TokenOrder::Jti => return Ok(Vec::new()),
        };
    }
    let rows: Vec<(i64, Option<ForeignText>)> = query.load(connection)?;
    let cursor = |(id, key): (i64, Option<ForeignText>)| {
        let key = ForeignText::of(key).unwrap_or_default();
        let key = if order == TokenOrder::User { shared.key(key).to_string() } else { key };
        Cursor { id, key }
    };
    Ok(rows.into_iter().map(cursor).collect())
}

/// About where the first row stands that was recorded after `at`: keys and instants grow together, but for the differences of clocks.
fn place_of(connection: &mut AnyConnection, at: DateTime<Utc>) -> QueryResult<Option<i64>> {
    let bounds = outstanding_tokens::table.select((min(outstanding_tokens::id), max(outstanding_tokens::id)));
    let (Some(mut low), Some(mut high)) = bounds.first::<(Option<i64>, Option<i64>)>(connection)? else {
        return Ok(None);
    };
    let wanted = at.naive_utc();
    while low < high {
        let middle = low + (high - low) / 2;
        let (id, created): (i64, Option<Foreign>) = outstanding_tokens::table
            .filter(outstanding_tokens::id.ge(middle))
            .order(outstanding_tokens::id)
            .select((outstanding_tokens::id, outstanding_tokens::created_at))
            .first(connection)?;
        match created.and_then(|created| created.0) {
            Some(created) if created > wanted => high = middle,
            Some(_) => low = id + 1,
            // It says nothing, and the search begins at the end.
            None => return Ok(None),
        }
    }
    Ok(Some(low))
}

/// The tokens of a session: there are few, and an index has them.
fn of_session(
    connection: &mut AnyConnection,
    shared: &Shared,
    session: SessionId,
    search: &TokenSearch,
    now: DateTime<Utc>,
) -> QueryResult<TokenPage> {
    let jtis: Vec<String> = simplejwt_token::table
        .filter(simplejwt_token::session_id.eq(session.to_string()))
        .select(simplejwt_token::jti)
        .limit(STEP)
        .load(connection)?;
    let jtis: Vec<Jti> = jtis.into_iter().filter_map(|jti| jti.parse().ok()).collect();
    let condition = shared.is_token_among(JTI, &jtis);
    let mut rows = under(connection, shared, &condition, search.kind, search.state, now)?;
    rows.retain(|row| search.takes(row));
    rows.sort_by_key(|row| if search.order == TokenOrder::Oldest { row.id } else { -row.id });
    Ok(TokenPage { rows, ..TokenPage::default() })
}

impl TokenSearch {
    /// What is not asked of the database, or not as exactly as here.
    fn takes(&self, row: &TokenRow) -> bool {
        let begins = self.jti.as_ref().is_none_or(|prefix| row.jti.starts_with(prefix.as_str()));
        let user = self.user.as_ref().is_none_or(|user| row.user.as_deref() == Some(user.as_str()));
        let since = self.created_from.is_none_or(|from| row.created_at.is_some_and(|at| at >= from));
        let until = self.created_until.is_none_or(|until| row.created_at.is_some_and(|at| at < until));
        let expires = self.expires_from.is_none_or(|from| row.expires_at >= from)
            && self.expires_until.is_none_or(|until| row.expires_at < until);
        begins && user && since && until && expires
    }

    /// Whether nothing can come any more after a row, in the order of the rows.
    fn ends_at(&self, row: &TokenRow) -> bool {
        let (order, at) = (self.order(), row.created_at);
        let before = |from: DateTime<Utc>| order == TokenOrder::Newest && at.is_some_and(|at| at < from - SKEW);
        let behind = |until: DateTime<Utc>| order == TokenOrder::Oldest && at.is_some_and(|at| at > until + SKEW);
        self.created_from.is_some_and(before) || self.created_until.is_some_and(behind)
    }

    /// Where a search by the time of recording may begin.
    fn begin(&self, connection: &mut AnyConnection) -> QueryResult<Option<Cursor>> {
        if self.user.is_some() {
            return Ok(None);
        }
        let place = match (self.order(), self.created_from, self.created_until) {
            (TokenOrder::Newest, _, Some(until)) => place_of(connection, until + SKEW)?.map(|id| id + 1),
            (TokenOrder::Oldest, Some(from), _) => place_of(connection, from - SKEW)?.map(|id| id - 1),
            _ => None,
        };
        Ok(place.map(|id| Cursor { id, key: String::new() }))
    }
}

fn search(
    connection: &mut AnyConnection,
    shared: &Shared,
    search: &TokenSearch,
    after: Option<Cursor>,
    limit: usize,
    now: DateTime<Utc>,
) -> QueryResult<TokenPage> {
    if let Some(session) = search.session {
        return of_session(connection, shared, session, search, now);
    }
    let started = Instant::now();
    let most = if search.leaves_out() { STEP } else { i64::try_from(limit).unwrap_or(STEP) };
    let mut page = TokenPage { next: after, ..TokenPage::default() };
    if page.next.is_none() {
        page.next = search.begin(connection)?;
    }
    loop {
        let found = keys(connection, shared, search, page.next.as_ref(), most)?;
        let ids: Vec<i64> = found.iter().map(|cursor| cursor.id).collect();
        let condition = shared.is_number_among("token_blacklist_outstandingtoken.id", &ids);
        let mut rows = under(connection, shared, &condition, search.kind, search.state, now)?;
        let place = |id: i64| ids.iter().position(|known| *known == id);
        rows.sort_by_cached_key(|row| place(row.id));
        let over = rows.last().is_some_and(|row| search.ends_at(row));
        rows.retain(|row| search.takes(row));
        let room = limit - page.rows.len();
        let overflows = rows.len() > room;
        rows.truncate(room);
        page.rows.append(&mut rows);
        let whole = i64::try_from(found.len()).is_ok_and(|count| count == most);
        if overflows || page.rows.len() == limit {
            // The next page begins after the last row of this one.
            let last = page.rows.last().and_then(|row| place(row.id));
            page.next = last.and_then(|last| found.get(last).cloned()).filter(|_| overflows || whole);
            break;
        }
        page.next = found.into_iter().next_back();
        if !whole || over {
            page.next = None;
            break;
        }
        if started.elapsed() > PATIENCE {
            page.unfinished = true;
            break;
        }
    }
    Ok(page)
}

/// A page of revoked tokens.
#[derive(Clone, Debug, Default)]
pub struct BlacklistedPage {
    /// Its rows, those that were blacklisted last first, each with the event of it, if there was one here.
    pub rows: Vec<(TokenRow, Option<EventRow>)>,
    /// The key of the blacklist row before which the next page begins. [`None`]: there are no more.
    pub next: Option<i64>,
    /// Whether it ends before it is full, because its time was over.
    pub unfinished: bool,
}

fn blacklisted(
    connection: &mut AnyConnection,
    shared: &Shared,
    user: Option<&UserKey>,
    before: Option<i64>,
    limit: usize,
) -> QueryResult<BlacklistedPage> {
    let started = Instant::now();
    let mut page = BlacklistedPage { next: before, ..BlacklistedPage::default() };
    let mut found: Vec<TokenRow> = Vec::new();
    loop {
        let mut query = blacklisted_tokens::table
            .inner_join(outstanding_tokens::table)
            .order(blacklisted_tokens::id.desc())
            .limit(STEP)
            .select((blacklisted_tokens::id, blacklisted_tokens::token_id))
            .into_boxed();
        if let Some(before) = page.next {
            query = query.filter(blacklisted_tokens::id.lt(before));
        }
        if let Some(user) = user {
            // What the column cannot hold, nobody there has.
            let Some(text) = shared.text(user) else { break };
            query = query.filter(shared.is_of_user(text));
        }
        let listed: Vec<(i64, i64)> = query.load(connection)?;
        let ids: Vec<i64> = listed.iter().map(|(_, token)| *token).collect();
        let condition = shared.is_number_among("token_blacklist_outstandingtoken.id", &ids);
        // Most of them a rotation replaced: nobody revoked those.
        let state = Some(TokenState::Blacklisted);
        let mut rows = under(connection, shared, &condition, None, state, DateTime::UNIX_EPOCH)?;
        let place = |row: &TokenRow| ids.iter().position(|id| *id == row.id);
        rows.sort_by_cached_key(place);
        let room = limit - found.len();
        let overflows = rows.len() > room;
        rows.truncate(room);
        let last = rows.last().and_then(place).and_then(|place| listed.get(place)).map(|(id, _)| *id);
        found.append(&mut rows);
        let whole = i64::try_from(listed.len()).is_ok_and(|count| count == STEP);
        if overflows || found.len() == limit {
            page.next = last.filter(|_| overflows || whole);
            break;
        }
        page.next = listed.last().map(|(id, _)| *id).filter(|_| whole);
        if page.next.is_none() {
            break;
        }
        if started.elapsed() > PATIENCE {
            page.unfinished = true;
            break;
        }
    }
    let jtis: Vec<&str> = found.iter().map(|row| row.jti.as_str()).collect();
    let mut events = events::last_of(connection, &jtis, Action::Blacklist)?;
    page.rows = found.into_iter().map(|row| (events.remove(&row.jti), row)).map(|(event, row)| (row, event)).collect();
    Ok(page)
}

impl Ledger {
    /// The tokens that somebody revoked, those blacklisted last first, before the row with this key, at most `limit`.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn blacklisted_newest(
        &self,
        user: Option<UserKey>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<BlacklistedPage, LedgerError> {
        let shared = self.shared().await?;
        self.run(move |connection| Ok(blacklisted(connection, &shared, user.as_ref(), before, limit.max(1))?)).await
    }

    /// A page of recorded tokens, of at most `limit` rows, after the place where another one ended.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn search_tokens(
        &self,
        wanted: &TokenSearch,
        after: Option<Cursor>,
        limit: usize,
        now: DateTime<Utc>,
    ) -> Result<TokenPage, LedgerError> {
        let (wanted, shared) = (wanted.clone(), self.shared().await?);
        self.run(move |connection| Ok(search(connection, &shared, &wanted, after.clone(), limit.max(1), now)?)).await
    }
}
