//! Revocations of which nobody knows whether they were done: the database was asked to commit, and did not answer in time. Who
//! asked for one got a 503; this process refuses the token all the same, until the ledger is heard to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::Presented;
use super::index::Index;
use crate::token::{Change, Jti, Revocable, SessionId};

/// A revocation whose outcome is unknown.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// The token.
    pub(crate) jti: Jti,
    /// Its session, if it ends with it.
    pub(crate) session: Option<SessionId>,
    /// A cutoff, if it is one.
    pub(crate) cutoff: Option<Mark>,
    /// When the last token that it refuses is dead by itself.
    pub(crate) until: DateTime<Utc>,
}

/// A cutoff: nobody takes one back, so that it is in no index.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    user: Option<String>,
    /// In milliseconds since 1970.
    not_before: i64,
}

impl Mark {
    fn refuses(&self, token: &Presented<'_>) -> bool {
        let is_meant = self.user.is_none() || self.user.as_deref() == token.user;
        is_meant && token.began_at_millis() <= self.not_before
    }
}

impl Pending {
    /// The end of a session. A token of no token's name stands for it.
    pub(crate) fn of_session(id: SessionId, until: DateTime<Utc>) -> Self {
        Self { jti: Jti::random(), session: Some(id), cutoff: None, until }
    }

    /// A cutoff of a user, or of everybody.
    pub(crate) fn of_cutoff(user: Option<&str>, not_before: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let mark = Mark { user: user.map(str::to_owned), not_before: not_before.timestamp_millis() };
        Self { jti: Jti::random(), session: None, cutoff: Some(mark), until }
    }

    fn refuses(&self) -> impl Iterator<Item = Revocable> {
        let until = self.until;
        let session = self.session.map(|id| Revocable::Session { id, until });
        [Some(Revocable::Token { jti: self.jti.clone(), until }), session].into_iter().flatten()
    }

    /// A token that is refused exactly if it was done, whatever else is refused.
    pub(super) fn witness(&self) -> Presented<'_> {
        if let Some(Mark { user, not_before }) = &self.cutoff {
            let session = u64::try_from(*not_before).ok().map(SessionId::starting_at);
            return Presented { jti: &self.jti, session, issued_at: None, user: user.as_deref() };
        }
        Presented { jti: &self.jti, session: self.session, issued_at: Some(i64::MAX / 1000), user: None }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Uncertain {
    /// Whether there are any: mostly not, and then nobody pays for it.
    any: AtomicBool,
    index: Index,
    pending: Mutex<Vec<Pending>>,
}

impl Uncertain {
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Self { any: AtomicBool::new(false), index: Index::new(now), pending: Mutex::default() }
    }

    /// Refuses it from now on.
    pub(crate) fn note(&self, pending: Vec<Pending>) {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.apply(pending.iter().flat_map(Pending::refuses).map(Change::refused));
        all.extend(pending);
        self.any.store(!all.is_empty(), Ordering::Release);
    }

    pub(crate) fn is_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Whether the token is refused by one of them.
    #[inline]
    pub(crate) fn refuses(&self, token: &Presented<'_>) -> bool {
        self.is_any() && (self.index.refuses(token) || self.cuts_off(token))
    }

    fn cuts_off(&self, token: &Presented<'_>) -> bool {
        let all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|pending| pending.cutoff.as_ref().is_some_and(|mark| mark.refuses(token)))
    }

    /// Those of which it is not known yet.
    pub(super) fn left(&self, now: DateTime<Utc>) -> Vec<Pending> {
        let all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|pending| pending.until > now).cloned().collect()
    }

    /// It is certain how these stand. Those that are over go too.
    pub(crate) fn forget(&self, jtis: &[Jti], now: DateTime<Utc>) {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |pending: &Pending| pending.until <= now || jtis.contains(&pending.jti);
        let over: Vec<Pending> = all.extract_if(.., |pending| is_over(pending)).collect();
        let open = over.iter().flat_map(Pending::refuses).map(|what| Change { what, refused: false });
        // Two may have been of one session.
        let left = all.iter().flat_map(Pending::refuses).map(Change::refused);
        self.index.apply(open.chain(left));
        self.any.store(!all.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn what_is_uncertain_is_refused_until_somebody_knows() {
        let uncertain = Uncertain::new(at(0));
        let session = SessionId::starting_at(1_800_000_000_000);
        let (one, other, third) = (Jti::random(), Jti::random(), Jti::random());
        let refuses = |jti, session| uncertain.refuses(&Presented { jti, session, issued_at: None, user: None });
        assert!(!refuses(&one, None));
        let pending =
            |jti: &Jti, until| Pending { jti: jti.clone(), session: Some(session), cutoff: None, until: at(until) };
        uncertain.note(vec![pending(&one, 60), pending(&other, 7200)]);
        assert!(refuses(&one, None) && refuses(&other, None) && refuses(&third, Some(session)));
        assert_eq!(uncertain.left(at(1)).len(), 2);

        uncertain.forget(std::slice::from_ref(&one), at(1));
        assert!(!refuses(&one, None) && refuses(&other, None), "the other one is as uncertain as before");
        assert!(refuses(&third, Some(session)), "and so is the session of both");
        uncertain.forget(&[], at(7200));
        assert!(!refuses(&other, None) && !refuses(&third, Some(session)) && !uncertain.is_any());
    }

    #[test]
    fn an_uncertain_cutoff_refuses_what_began_before_it_and_nothing_else() {
        let uncertain = Uncertain::new(at(0));
        let mark = at(10) + chrono::TimeDelta::milliseconds(500);
        uncertain.note(vec![Pending::of_cutoff(Some("7"), mark, at(60))]);
        let jti = Jti::random();
        let refuses = |user, millis: u64| {
            let session = Some(SessionId::starting_at(1_800_000_010_000 + millis));
            uncertain.refuses(&Presented { jti: &jti, session, issued_at: None, user })
        };
        assert!(refuses(Some("7"), 500) && !refuses(Some("7"), 501) && !refuses(Some("8"), 0) && !refuses(None, 0));
        let pending = uncertain.left(at(11)).pop().unwrap();
        assert!(uncertain.refuses(&pending.witness()), "which tells whether it was done");
        uncertain.forget(&[pending.jti], at(11));
        assert!(!refuses(Some("7"), 0) && !uncertain.is_any());
    }
}
