//! How long it has to be remembered that a token is refused.

use chrono::{DateTime, TimeDelta, Utc};

use super::time::{Foreign, Stored, earliest, latest, stored};

/// How long it has to be remembered that a token is refused.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// How long after its expiry a token might still be taken for valid somewhere: leeway and a reserve.
    pub margin: TimeDelta,
    /// How long a sliding token can be renewed. A row of which nothing else is known may be of one.
    pub sliding_refresh_lifetime: TimeDelta,
    /// How long an access token lives. It may have been bought in the last second of the token that buys it.
    pub access_lifetime: TimeDelta,
}

impl Retention {
    /// As if nobody accepted a token after its expiry.
    #[cfg(feature = "mutants")]
    pub(super) const NONE: Self = Self {
        margin: TimeDelta::zero(),
        sliding_refresh_lifetime: TimeDelta::zero(),
        access_lifetime: TimeDelta::zero(),
    };

    /// When a token of which this is known is dead. What cannot be read gives no moment: it is never forgotten.
    pub(super) fn dead_at(
        &self,
        expires_at: Foreign,
        created_at: Option<Foreign>,
        kind: Option<&str>,
        keep_until: Option<Stored>,
    ) -> Option<DateTime<Utc>> {
        let mut end = expires_at.instant()?;
        if let (None, Some(created)) = (kind, created_at) {
            // It may be of a sliding token, which others renew without a word to the ledger.
            end = end.max(created.instant()?.checked_add_signed(self.sliding_refresh_lifetime)?);
        }
        let known = keep_until.unwrap_or_else(earliest).and_utc();
        Some(end.checked_add_signed(self.margin)?.max(known))
    }

    /// When the last access token of a session is dead whose row, or whose token, is kept until then.
    pub(super) fn session_dead_at(&self, keep_until: Stored) -> DateTime<Utc> {
        let more = self.access_lifetime.checked_add(&self.margin);
        more.and_then(|more| keep_until.and_utc().checked_add_signed(more)).unwrap_or_else(|| latest().and_utc())
    }

    /// Rows of the log that were written later than this stay, whatever they are of.
    pub(super) fn log_horizon(&self, as_of: DateTime<Utc>) -> Stored {
        let more = self.sliding_refresh_lifetime.checked_add(&self.access_lifetime);
        let more = more.and_then(|more| more.checked_add(&self.margin));
        stored(more.and_then(|more| as_of.checked_sub_signed(more)).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// Whether nobody can need a row of the log any more: Django may have deleted what it is of, at `expires_at`, and the
    /// access tokens that were bought with it live longer.
    pub(super) fn log_lets_go(&self, as_of: DateTime<Utc>, at: Foreign, expires_at: Option<Foreign>) -> bool {
        let expired = expires_at.is_none_or(|end| {
            let more = self.access_lifetime.checked_add(&self.margin);
            let end = more.and_then(|more| end.instant()?.checked_add_signed(more));
            end.is_some_and(|end| end <= as_of)
        });
        expired && at.instant().is_some_and(|at| stored(at) <= self.log_horizon(as_of))
    }
}
