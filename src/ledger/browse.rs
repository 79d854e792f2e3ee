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

use super::adopt::OUTSTANDING;
use super::connection::AnyConnection;
use super::dialect;
use super::events::{self, Action, EventRow};
use super::foreign_text::ForeignText;
use super::list::{TokenRow, TokenState, under};
use super::raw::Raw;
use super::schema::{blacklisted_tokens, outstanding_tokens, simplejwt_token};
use super::shared::Shared;
use super::time::{Foreign, shifted, stored};
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
    /// In this order. With a jti, theirs; those of a session are in any.
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

/// How many rows a search looks at in a step: few enough that they come in time where none of them is in memory yet. After one that
/// came quickly it looks at twice as many.
pub(super) const STEP: i64 = 100;

/// For how long a page is searched for.
const PATIENCE: Duration = Duration::from_millis(50);

/// Nothing had to be read from disk for a step that takes no longer.
const QUICK: Duration = Duration::from_millis(4);

/// How a search goes on. A step that would not be done in time, if it took as long as the one before, is not begun.
pub(super) struct Pace {
    begun: Instant,
    step: Instant,
    /// How many rows a step looks at.
    pub(super) rows: i64,
}

impl Pace {
    pub(super) fn new(rows: i64) -> Self {
        let now = Instant::now();
        Self { begun: now, step: now, rows }
    }

    /// Whether there is time for a further step.
    pub(super) fn goes_on(&mut self) -> bool {
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.step, now);
        if self.rows <= STEP && took <= QUICK {
            self.rows *= 2;
        }
        now - self.begun + took <= PATIENCE
    }
}

/// So many tokens of one session are found at most.
const OF_A_SESSION: i64 = 1_000;

/// A jti that begins with so many characters has few like it.
const TELLING: usize = 8;

/// By how much the clocks of those who record tokens may differ.
const SKEW: TimeDelta = TimeDelta::minutes(5);

const JTI: &str = "token_blacklist_outstandingtoken.jti";

impl TokenSearch {
    /// The order in which this is found.
    #[must_use]
    pub fn order(&self) -> TokenOrder {
        let expires = self.expires_from.is_some() || self.expires_until.is_some();
        match (&self.jti, &self.user) {
            // They are put in order here.
            _ if self.session.is_some() => self.order,
            // One of the two indexes finds them, in its own order; a user has few that begin with so much.
            (Some(jti), user) if user.is_none() || jti.as_str().len() >= TELLING => TokenOrder::Jti,
            (_, Some(_)) if self.order == TokenOrder::Oldest => TokenOrder::Oldest,
            (_, Some(_)) => TokenOrder::Newest,
            _ if expires || self.state == Some(TokenState::Expired) => TokenOrder::Expiry,
            _ if self.order == TokenOrder::Jti => TokenOrder::Newest,
            _ => self.order,
        }
    }

    /// The same with what its state says of the expiry, where that helps to find it.
    fn bounded(&self, now: DateTime<Utc>) -> Self {
        let mut bounded = self.clone();
        match self.state {
            Some(TokenState::Expired) => {
                let until = shifted(now, TimeDelta::microseconds(1));
                bounded.expires_until = Some(self.expires_until.map_or(until, |wanted| wanted.min(until)));
            }
            Some(TokenState::Active) if self.order() == TokenOrder::Expiry => {
                bounded.expires_from = Some(self.expires_from.map_or(now, |wanted| wanted.max(now)));
            }
            _ => {}
        }
        bounded
    }

    /// Whether rows are left out that only a look at them tells.
    fn leaves_out(&self) -> bool {
        let order = self.order();
        let expires = self.expires_from.is_some() || self.expires_until.is_some();
        self.kind.is_some()
            || self.state.is_some()
            || self.created_from.is_some()
            || self.created_until.is_some()
            || (expires && order != TokenOrder::Expiry)
            || (self.jti.is_some() && self.user.is_some())
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
    // Only what the index of the order tells. The rest is asked of the rows: a database that has to find a whole page of them before
    // it answers may go through all that there are.
    let of_user = search.user.as_ref().filter(|_| order != TokenOrder::Jti);
    if let Some(user) = of_user {
        // What the column cannot hold, nobody there has.
        let Some(text) = shared.text(user) else { return Ok(Vec::new()) };
        // In this form the index is used that has the tokens of a user in their order. Where it says `=`, PostgreSQL may go through
        // those of everybody until enough of them are of a user who has many.
        query = query.filter(shared.compares_to_user(">=", text.clone())).filter(shared.compares_to_user("<=", text));
    }
    if let (TokenOrder::Jti, Some(prefix)) = (order, &search.jti) {
        query = query.filter(Raw::once(words.starts_with(JTI, prefix)));
    }
    if let (TokenOrder::Expiry, Some(from)) = (order, search.expires_from) {
        query = query.filter(outstanding_tokens::expires_at.ge(stored(from)));
    }
    if let (TokenOrder::Expiry, Some(until)) = (order, search.expires_until) {
        query = query.filter(outstanding_tokens::expires_at.lt(stored(until)));
    }
    let (id, user) = (outstanding_tokens::id, outstanding_tokens::user_id);
    query = match order {
        TokenOrder::Newest if of_user.is_some() => query.order((user.desc(), id.desc())),
        TokenOrder::Oldest if of_user.is_some() => query.order((user.asc(), id.asc())),
        TokenOrder::Newest => query.order(id.desc()),
        TokenOrder::Oldest => query.order(id.asc()),
        TokenOrder::Expiry => query.order((outstanding_tokens::expires_at.asc(), id.asc())),
        TokenOrder::User => query.filter(user.is_not_null()).order((user.asc(), id.asc())),
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

/// The tokens of a session: there are few, and an index has them. A page of them is cut out here.
fn of_session(
    connection: &mut AnyConnection,
    shared: &Shared,
    session: SessionId,
    search: &TokenSearch,
    after: Option<&Cursor>,
    limit: usize,
    now: DateTime<Utc>,
) -> QueryResult<TokenPage> {
    let jtis: Vec<String> = simplejwt_token::table
        .filter(simplejwt_token::session_id.eq(session.to_string()))
        .select(simplejwt_token::jti)
        .limit(OF_A_SESSION)
        .load(connection)?;
    let jtis: Vec<Jti> = jtis.into_iter().filter_map(|jti| jti.parse().ok()).collect();
    let condition = shared.is_token_among(JTI, &jtis).into();
    let mut rows = under(connection, shared, &condition, search.kind, search.state, now)?;
    let order = search.order();
    rows.retain(|row| search.takes(row) && after.is_none_or(|after| order.place_of(row) > order.place(after)));
    rows.sort_by_cached_key(|row| order.place_of(row));
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| Cursor { id: row.id, key: order.key_of(row) });
    Ok(TokenPage { rows, next, unfinished: false })
}

impl TokenOrder {
    /// What a row has in the column by which is ordered, as text that stands in the same order.
    fn key_of(self, row: &TokenRow) -> String {
        match self {
            Self::Newest | Self::Oldest => String::new(),
            Self::Expiry => row.expires_at.naive_utc().format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
            Self::User => row.user.clone().unwrap_or_default(),
            Self::Jti => row.jti.clone(),
        }
    }

    /// Where a row stands: those that come first have the lesser ones.
    fn place_of(self, row: &TokenRow) -> (String, i64) {
        self.place(&Cursor { id: row.id, key: self.key_of(row) })
    }

    fn place(self, cursor: &Cursor) -> (String, i64) {
        match self {
            Self::Newest => (String::new(), !cursor.id),
            Self::Oldest => (String::new(), cursor.id),
            Self::Expiry | Self::User | Self::Jti => (cursor.key.clone(), cursor.id),
        }
    }
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
        let before =
            |from: DateTime<Utc>| order == TokenOrder::Newest && at.is_some_and(|at| at < shifted(from, -SKEW));
        let behind =
            |until: DateTime<Utc>| order == TokenOrder::Oldest && at.is_some_and(|at| at > shifted(until, SKEW));
        self.created_from.is_some_and(before) || self.created_until.is_some_and(behind)
    }

    /// Where a search by the time of recording may begin.
    fn begin(&self, connection: &mut AnyConnection) -> QueryResult<Option<Cursor>> {
        if self.user.is_some() {
            return Ok(None);
        }
        let place = match (self.order(), self.created_from, self.created_until) {
            (TokenOrder::Newest, _, Some(until)) => place_of(connection, shifted(until, SKEW))?.map(|id| id + 1),
            (TokenOrder::Oldest, Some(from), _) => place_of(connection, shifted(from, -SKEW))?.map(|id| id - 1),
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
    let search = &search.bounded(now);
    if let Some(session) = search.session {
        return of_session(connection, shared, session, search, after.as_ref(), limit, now);
    }
    let mut steps = Pace::new(if search.leaves_out() { STEP } else { i64::try_from(limit).unwrap_or(STEP) });
    let mut page = TokenPage { next: after, ..TokenPage::default() };
    if page.next.is_none() {
        page.next = search.begin(connection)?;
    }
    loop {
        let found = keys(connection, shared, search, page.next.as_ref(), steps.rows)?;
        let ids: Vec<i64> = found.iter().map(|cursor| cursor.id).collect();
        let condition = shared.is_number_of_page("token_blacklist_outstandingtoken.id", &ids);
        let mut rows = under(connection, shared, &condition, search.kind, search.state, now)?;
        let place = |id: i64| ids.iter().position(|known| *known == id);
        rows.sort_by_cached_key(|row| place(row.id));
        let over = rows.last().is_some_and(|row| search.ends_at(row));
        rows.retain(|row| search.takes(row));
        let room = limit - page.rows.len();
        let overflows = rows.len() > room;
        rows.truncate(room);
        page.rows.append(&mut rows);
        let whole = i64::try_from(found.len()).is_ok_and(|count| count == steps.rows);
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
        if !steps.goes_on() {
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
    /// The key of the row before which the next page begins: of the blacklist, or of a user the outstanding one. [`None`]: there are
    /// no more.
    pub next: Option<i64>,
    /// Whether it ends before it is full, because its time was over.
    pub unfinished: bool,
}

/// Adds who revoked them.
fn with_events(connection: &mut AnyConnection, page: TokenPage) -> QueryResult<BlacklistedPage> {
    let jtis: Vec<&str> = page.rows.iter().map(|row| row.jti.as_str()).collect();
    let mut events = events::last_of(connection, &jtis, Action::Blacklist)?;
    let rows =
        page.rows.into_iter().map(|row| (events.remove(&row.jti), row)).map(|(event, row)| (row, event)).collect();
    Ok(BlacklistedPage { rows, next: page.next.map(|cursor| cursor.id), unfinished: page.unfinished })
}

fn blacklisted(
    connection: &mut AnyConnection,
    shared: &Shared,
    before: Option<i64>,
    limit: usize,
) -> QueryResult<TokenPage> {
    let mut steps = Pace::new(STEP);
    let mut page = TokenPage::default();
    let (mut before, cursor) = (before, |id: i64| Cursor { id, key: String::new() });
    loop {
        let mut query = blacklisted_tokens::table
            .order(blacklisted_tokens::id.desc())
            .limit(steps.rows)
            .select((blacklisted_tokens::id, blacklisted_tokens::token_id))
            .into_boxed();
        if let Some(before) = before {
            query = query.filter(blacklisted_tokens::id.lt(before));
        }
        let listed: Vec<(i64, i64)> = query.load(connection)?;
        let ids: Vec<i64> = listed.iter().map(|(_, token)| *token).collect();
        let condition = shared.is_number_of_page("token_blacklist_outstandingtoken.id", &ids);
        // Most of them a rotation replaced: nobody revoked those.
        let state = Some(TokenState::Blacklisted);
        let mut rows = under(connection, shared, &condition, None, state, DateTime::UNIX_EPOCH)?;
        let place = |row: &TokenRow| ids.iter().position(|id| *id == row.id);
        rows.sort_by_cached_key(place);
        let room = limit - page.rows.len();
        let overflows = rows.len() > room;
        rows.truncate(room);
        let last = rows.last().and_then(place).and_then(|place| listed.get(place)).map(|(id, _)| *id);
        page.rows.append(&mut rows);
        let whole = i64::try_from(listed.len()).is_ok_and(|count| count == steps.rows);
        if overflows || page.rows.len() == limit {
            page.next = last.filter(|_| overflows || whole).map(cursor);
            break;
        }
        before = listed.last().map(|(id, _)| *id).filter(|_| whole);
        page.next = before.map(cursor);
        if before.is_none() {
            break;
        }
        if !steps.goes_on() {
            page.unfinished = true;
            break;
        }
    }
    Ok(page)
}

impl Ledger {
    /// The tokens that somebody revoked, those blacklisted last first, before the row with this key, at most `limit`. Those of a user
    /// are in the order in which they were issued.
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
        let (shared, limit) = (self.shared().await?, limit.max(1));
        let find = move |connection: &mut AnyConnection| {
            let page = match &user {
                None => blacklisted(connection, &shared, before, limit)?,
                Some(user) => {
                    let (user, state) = (Some(user.clone()), Some(TokenState::Blacklisted));
                    let of_user = TokenSearch { user, state, ..TokenSearch::default() };
                    let after = before.map(|id| Cursor { id, key: String::new() });
                    search(connection, &shared, &of_user, after, limit, DateTime::UNIX_EPOCH)?
                }
            };
            Ok(with_events(connection, page)?)
        };
        self.run(find).await
    }

    /// The greatest key of a recorded token: whatever is recorded later has a greater one.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn newest_token(&self) -> Result<Option<i64>, LedgerError> {
        self.run(|connection| Ok(outstanding_tokens::table.select(max(outstanding_tokens::id)).first(connection)?))
            .await
    }

    /// Whether tokens can be found in the order of their expiry without going through all of them.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn has_expiry_index(&self) -> Result<bool, LedgerError> {
        self.run(|connection| Ok(dialect::has_index(connection, OUTSTANDING, "expires_at")?)).await
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
