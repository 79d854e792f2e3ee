//! Looking through the recorded tokens, a page at a time, however many there are.
//!
//! No page counts rows or skips them. A step takes the keys of the next rows in an order that an index has, and then looks at
//! those rows with all that is known of them. What no index helps to find is searched in such steps until the page is full or its
//! time is over; the next page goes on from there.

mod blacklisted;
mod keys;
mod order;
mod pace;
mod search;

use chrono::{DateTime, Utc};
use diesel::dsl::max;
use diesel::prelude::*;

pub use self::blacklisted::BlacklistedPage;
pub(super) use self::pace::{Pace, STEP};
use self::search::search;
use super::adopt::OUTSTANDING;
use super::list::{TokenRow, TokenState};
use super::schema::outstanding_tokens;
use super::{Ledger, LedgerError, UserKey, dialect};
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

impl Ledger {
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
