//! What the ledger knows of tokens, for an operator.

use chrono::{DateTime, Utc};

use super::Simplejwt;
use crate::ledger::{DatabaseUrl, EventFilter, EventRow, EventTail, LedgerError, TokenFilter, TokenRow};
use crate::token::{Jti, Presented};

/// Whether a token may be used, as far as its jti tells. Only the token itself tells more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// It is recorded, in time, and nobody revoked it.
    Good {
        /// When it expires.
        expires_at: DateTime<Utc>,
    },
    /// No such token is recorded. That proves nothing: access tokens are not, as a rule.
    Unknown,
    /// It was revoked.
    Blacklisted {
        /// When it came onto the blacklist, if it still stands there.
        at: Option<DateTime<Utc>>,
        /// Why, in the words of who did it.
        reason: Option<String>,
    },
    /// A rotation replaced it.
    Superseded {
        /// When.
        at: Option<DateTime<Utc>>,
    },
    /// Its session is over.
    SessionEnded {
        /// When, if that is known.
        at: Option<DateTime<Utc>>,
        /// Why, if that is known.
        reason: Option<String>,
    },
    /// Its time has passed.
    Expired {
        /// When, if its record is still there.
        at: Option<DateTime<Utc>>,
    },
}

impl Simplejwt {
    /// Which database this is.
    #[must_use]
    pub fn database(&self) -> &DatabaseUrl {
        self.ledger().url()
    }

    /// Recorded tokens, in the order of their rows.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn outstanding(&self, filter: &TokenFilter) -> Result<Vec<TokenRow>, LedgerError> {
        self.ledger().outstanding(filter, self.inner.clock.now()).await
    }

    /// Tokens on the blacklist, in the order of their outstanding rows.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn blacklisted(&self, filter: &TokenFilter) -> Result<Vec<TokenRow>, LedgerError> {
        self.ledger().blacklisted(filter, self.inner.clock.now()).await
    }

    /// One recorded token.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn record_of_jti(&self, jti: &Jti) -> Result<Option<TokenRow>, LedgerError> {
        self.ledger().outstanding_by_jti(jti).await
    }

    /// What happened, the newest first. The next page is what comes before the last id of this one.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRow>, LedgerError> {
        self.ledger().events(filter).await
    }

    /// A place in the events from which [`next_events`](Self::next_events) goes on: what is committed from now on, or what happened
    /// `since` an instant.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn follow_events(&self, since: Option<DateTime<Utc>>) -> Result<EventTail, LedgerError> {
        match since {
            Some(at) => self.ledger().events_since(at).await,
            None => self.ledger().events_from_now().await,
        }
    }

    /// What was committed since the last call, the oldest first; nothing, if nothing was. An event whose transaction took longer than
    /// those of later ones comes when it is there, up to ten minutes later. After an error the next call gives what this one would have.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn next_events(&self, tail: &mut EventTail) -> Result<Vec<EventRow>, LedgerError> {
        self.ledger().next_events(tail).await
    }

    /// What happened to a token, the newest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn events_of(&self, jti: &Jti) -> Result<Vec<EventRow>, LedgerError> {
        self.ledger().events_of(jti).await
    }

    /// Whether the token with this jti may be used.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn inspect(&self, jti: &Jti) -> Result<Finding, LedgerError> {
        let standing = self.ledger().standing(Presented { jti, session: None, issued_at: None, user: None }).await?;
        let row = self.ledger().outstanding_by_jti(jti).await?;
        let now = self.inner.clock.now() - self.settings().leeway.as_delta();
        // Django knows no sessions, so that the end of one puts its tokens onto the blacklist.
        let went_with_session =
            standing.session_ended_reason.is_some() && row.as_ref().is_some_and(|row| row.revoked_at.is_none());
        let fact = |of: fn(&TokenRow) -> Option<DateTime<Utc>>| row.as_ref().and_then(of);
        Ok(if standing.superseded {
            Finding::Superseded { at: fact(|row| row.superseded_at) }
        } else if standing.blacklisted && !went_with_session {
            let at = fact(|row| row.blacklisted_at.or(row.revoked_at));
            // One that was reused has no reason of its own, and its session says why.
            let own = row.and_then(|row| row.reason);
            Finding::Blacklisted { at, reason: own.or(standing.session_ended_reason) }
        } else if standing.session_ended {
            Finding::SessionEnded { at: fact(|row| row.session_ended_at), reason: standing.session_ended_reason }
        } else if !standing.known {
            Finding::Unknown
        } else {
            match row {
                Some(row) if row.expires_at > now => Finding::Good { expires_at: row.expires_at },
                row => Finding::Expired { at: row.map(|row| row.expires_at) },
            }
        })
    }
}
