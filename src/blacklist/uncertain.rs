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
    /// When the last token that it refuses is dead by itself.
    pub(crate) until: DateTime<Utc>,
}

impl Pending {
    fn refuses(&self) -> impl Iterator<Item = Revocable> {
        let until = self.until;
        let session = self.session.map(|id| Revocable::Session { id, until });
        [Some(Revocable::Token { jti: self.jti.clone(), until }), session].into_iter().flatten()
    }

    /// A token that is refused exactly if it was done, whatever else is refused.
    pub(super) fn witness(&self) -> Presented<'_> {
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
        self.is_any() && self.index.refuses(token)
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
        let pending = |jti: &Jti, until| Pending { jti: jti.clone(), session: Some(session), until: at(until) };
        uncertain.note(vec![pending(&one, 60), pending(&other, 7200)]);
        assert!(refuses(&one, None) && refuses(&other, None) && refuses(&third, Some(session)));
        assert_eq!(uncertain.left(at(1)).len(), 2);

        uncertain.forget(std::slice::from_ref(&one), at(1));
        assert!(!refuses(&one, None) && refuses(&other, None), "the other one is as uncertain as before");
        assert!(refuses(&third, Some(session)), "and so is the session of both");
        uncertain.forget(&[], at(7200));
        assert!(!refuses(&other, None) && !refuses(&third, Some(session)) && !uncertain.is_any());
    }
}
