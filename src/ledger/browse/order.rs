//! What a search says of the rows: in which order they come, which of them it takes, and where it ends.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Cursor, TokenOrder, TokenSearch};
use crate::ledger::list::{TokenRow, TokenState};
use crate::ledger::time::shifted;

/// A jti that begins with so many characters has few like it.
const TELLING: usize = 8;

/// By how much the clocks of those who record tokens may differ.
pub(super) const SKEW: TimeDelta = TimeDelta::minutes(5);

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
    pub(super) fn bounded(&self, now: DateTime<Utc>) -> Self {
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
    pub(super) fn leaves_out(&self) -> bool {
        let order = self.order();
        let expires = self.expires_from.is_some() || self.expires_until.is_some();
        self.kind.is_some()
            || self.state.is_some()
            || self.created_from.is_some()
            || self.created_until.is_some()
            || (expires && order != TokenOrder::Expiry)
            || (self.jti.is_some() && self.user.is_some())
    }

    /// What is not asked of the database, or not as exactly as here.
    pub(super) fn takes(&self, row: &TokenRow) -> bool {
        let begins = self.jti.as_ref().is_none_or(|prefix| row.jti.starts_with(prefix.as_str()));
        let user = self.user.as_ref().is_none_or(|user| row.user.as_deref() == Some(user.as_str()));
        let since = self.created_from.is_none_or(|from| row.created_at.is_some_and(|at| at >= from));
        let until = self.created_until.is_none_or(|until| row.created_at.is_some_and(|at| at < until));
        let expires = self.expires_from.is_none_or(|from| row.expires_at >= from)
            && self.expires_until.is_none_or(|until| row.expires_at < until);
        begins && user && since && until && expires
    }

    /// Whether nothing can come any more after a row, in the order of the rows.
    pub(super) fn ends_at(&self, row: &TokenRow) -> bool {
        let (order, at) = (self.order(), row.created_at);
        let before =
            |from: DateTime<Utc>| order == TokenOrder::Newest && at.is_some_and(|at| at < shifted(from, -SKEW));
        let behind =
            |until: DateTime<Utc>| order == TokenOrder::Oldest && at.is_some_and(|at| at > shifted(until, SKEW));
        self.created_from.is_some_and(before) || self.created_until.is_some_and(behind)
    }
}

impl TokenOrder {
    /// What a row has in the column by which is ordered, as text that stands in the same order.
    pub(super) fn key_of(self, row: &TokenRow) -> String {
        match self {
            Self::Newest | Self::Oldest => String::new(),
            Self::Expiry => row.expires_at.naive_utc().format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
            Self::User => row.user.clone().unwrap_or_default(),
            Self::Jti => row.jti.clone(),
        }
    }

    /// Where a row stands: those that come first have the lesser ones.
    pub(super) fn place_of(self, row: &TokenRow) -> (String, i64) {
        self.place(&Cursor { id: row.id, key: self.key_of(row) })
    }

    pub(super) fn place(self, cursor: &Cursor) -> (String, i64) {
        match self {
            Self::Newest => (String::new(), !cursor.id),
            Self::Oldest => (String::new(), cursor.id),
            Self::Expiry | Self::User | Self::Jti => (cursor.key.clone(), cursor.id),
        }
    }
}
