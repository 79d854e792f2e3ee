//! Revocations that this process knows of and its copy does not, or may not. The database was asked to commit, and did not answer
//! in time: who asked for it got a 503, and this process refuses the token all the same, until the ledger is heard to. Or it was
//! committed, and the log does not tell of it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::Presented;
use super::index::Index;
use crate::token::{Change, Jti, Revocable, SessionId};

/// A revocation that a copy may not know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    what: What,
    /// When the last token that it refuses is dead by itself.
    until: DateTime<Utc>,
    /// Of a cutoff, its instant in milliseconds since 1970.
    not_before: i64,
    /// It is certain that it was done.
    committed: bool,
}

/// What is revoked: the same is noted once, however often it is tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    Token {
        jti: Jti,
        /// Its session, if it ends with it.
        session: Option<SessionId>,
        /// Whether it is a refresh token, which no copy has: the ledger is asked of those.
        refresh: bool,
    },
    Session(SessionId),
    /// Everything of a user, or of everybody, from an instant or before.
    Cutoff(Option<String>),
}

/// The name of no token.
static NOBODY: LazyLock<Jti> = LazyLock::new(Jti::random);

impl Pending {
    /// A token, with its session if that ends with it.
    pub(crate) const fn of_token(jti: Jti, session: Option<SessionId>, refresh: bool, until: DateTime<Utc>) -> Self {
        Self { what: What::Token { jti, session, refresh }, until, not_before: 0, committed: false }
    }

    /// The end of a session.
    pub(crate) const fn of_session(id: SessionId, until: DateTime<Utc>) -> Self {
        Self { what: What::Session(id), until, not_before: 0, committed: false }
    }

    /// A cutoff of a user, or of everybody.
    pub(crate) fn of_cutoff(user: Option<&str>, not_before: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let (what, not_before) = (What::Cutoff(user.map(str::to_owned)), not_before.timestamp_millis());
        Self { what, until, not_before, committed: false }
    }

    /// It was done, and what is to tell of it does not.
    pub(super) fn committed(self) -> Self {
        Self { committed: true, ..self }
    }

    pub(super) const fn is_committed(&self) -> bool {
        self.committed
    }

    /// When the last token that it refuses is dead by itself, as far as that was known.
    pub(super) const fn until(&self) -> DateTime<Utc> {
        self.until
    }

    /// Its session, if no copy has anything else of it.
    pub(super) const fn session_alone(&self) -> Option<SessionId> {
        if let What::Token { refresh: false, .. } = &self.what { None } else { self.session() }
    }

    const fn session(&self) -> Option<SessionId> {
        match &self.what {
            What::Token { session, .. } => *session,
            What::Session(id) => Some(*id),
            What::Cutoff(_) => None,
        }
    }

    const fn jti(&self) -> Option<&Jti> {
        if let What::Token { jti, .. } = &self.what { Some(jti) } else { None }
    }

    fn refuses(&self) -> impl Iterator<Item = Revocable> {
        let until = self.until;
        let token = self.jti().map(|jti| Revocable::Token { jti: jti.clone(), until });
        let session = self.session().map(|id| Revocable::Session { id, until });
        token.into_iter().chain(session)
    }

    /// Tokens each of which a copy refuses if it knows of this, whatever else it refuses. None, if it is a refresh token alone.
    pub(super) fn witnesses(&self) -> impl Iterator<Item = Presented<'_>> {
        // Later than every cutoff, and of nobody.
        let anyone = Presented { jti: &NOBODY, session: None, issued_at: Some(i64::MAX / 1000), user: None };
        let by_name = match &self.what {
            What::Token { jti, refresh: false, .. } => Some(Presented { jti, ..anyone }),
            What::Token { .. } | What::Session(_) => None,
            What::Cutoff(user) => {
                let session = u64::try_from(self.not_before).ok().map(SessionId::starting_at);
                Some(Presented { session, issued_at: None, user: user.as_deref(), ..anyone })
            }
        };
        let by_session = self.session().map(|id| Presented { session: Some(id), ..anyone });
        by_name.into_iter().chain(by_session)
    }

    /// A token that the ledger refuses if it was done.
    pub(super) fn witness(&self) -> Presented<'_> {
        match &self.what {
            What::Token { jti, session, .. } => {
                Presented { jti, session: *session, issued_at: Some(i64::MAX / 1000), user: None }
            }
            What::Session(_) | What::Cutoff(_) => self.witnesses().next().unwrap_or(Presented {
                jti: &NOBODY,
                session: None,
                issued_at: None,
                user: None,
            }),
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Uncertain {
    /// Whether there are any: mostly not, and then nobody pays for it.
    any: AtomicBool,
    index: Index,
    pending: Mutex<HashMap<What, Pending>>,
}

impl Uncertain {
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Self { any: AtomicBool::new(false), index: Index::new(now), pending: Mutex::default() }
    }

    /// Refuses it from now on.
    pub(crate) fn note(&self, pending: Vec<Pending>) {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.apply(pending.iter().flat_map(Pending::refuses).map(Change::refused));
        for new in pending {
            match all.entry(new.what.clone()) {
                Entry::Vacant(free) => {
                    free.insert(new);
                }
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    known.until = known.until.max(new.until);
                    // Of cutoffs the latest counts.
                    known.not_before = known.not_before.max(new.not_before);
                    known.committed |= new.committed;
                }
            }
        }
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

    /// Nobody takes a cutoff back, so that it is in no index, which could not forget it.
    fn cuts_off(&self, token: &Presented<'_>) -> bool {
        let all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = |user: Option<&str>| {
            let known = all.get(&What::Cutoff(user.map(str::to_owned)));
            known.is_some_and(|pending| token.began_at_millis() <= pending.not_before)
        };
        mark(None) || token.user.is_some_and(|user| mark(Some(user)))
    }

    /// Those of which it is not known yet.
    pub(super) fn left(&self, now: DateTime<Utc>) -> Vec<Pending> {
        let all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|pending| pending.until > now).cloned().collect()
    }

    /// These tokens are not revoked any more. What is over goes too.
    pub(crate) fn forget(&self, jtis: &[Jti], now: DateTime<Utc>) {
        self.drop_named(jtis, now, |_| true);
    }

    /// It is certain that these tokens are revoked, and the copy knows it but where it was noted that it does not. What is over
    /// goes too.
    pub(crate) fn confirm(&self, jtis: &[Jti], now: DateTime<Utc>) {
        self.drop_named(jtis, now, |pending| !pending.committed);
    }

    fn drop_named(&self, jtis: &[Jti], now: DateTime<Utc>, also: impl Fn(&Pending) -> bool) {
        let jtis: HashSet<&Jti> = jtis.iter().collect();
        let is_named = |pending: &Pending| pending.jti().is_some_and(|jti| jtis.contains(jti));
        self.drop_if(|pending| pending.until <= now || is_named(pending) && also(pending));
    }

    /// It is certain how these stand, unless more of the same came meanwhile. What is over goes too.
    pub(super) fn let_go(&self, known: &[Pending], now: DateTime<Utc>) {
        let known: HashMap<&What, &Pending> = known.iter().map(|pending| (&pending.what, pending)).collect();
        self.drop_if(|pending| known.get(&pending.what).is_some_and(|known| *known == pending) || pending.until <= now);
    }

    fn drop_if(&self, is_over: impl Fn(&Pending) -> bool) {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let over: Vec<Pending> = all.extract_if(|_, pending| is_over(pending)).map(|(_, pending)| pending).collect();
        // Two may have been of one session, or of one token, which no request may find open meanwhile.
        let (sessions, jtis): (HashSet<SessionId>, HashSet<&Jti>) =
            (all.values().filter_map(Pending::session).collect(), all.values().filter_map(Pending::jti).collect());
        let is_left = |what: &Revocable| match what {
            Revocable::Token { jti, .. } => jtis.contains(jti),
            Revocable::Session { id, .. } => sessions.contains(id),
            Revocable::Cutoff { .. } => false,
        };
        let open = over.iter().flat_map(Pending::refuses).filter(|what| !is_left(what));
        self.index.apply(open.map(|what| Change { what, refused: false }));
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
        let pending = |jti: &Jti, until| Pending::of_token(jti.clone(), Some(session), false, at(until));
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
        assert!(pending.witnesses().all(|witness| uncertain.refuses(&witness)));
        // A later one came meanwhile.
        uncertain.note(vec![Pending::of_cutoff(Some("7"), mark + chrono::TimeDelta::seconds(1), at(60))]);
        uncertain.let_go(&[pending], at(11));
        assert!(refuses(Some("7"), 1500) && !refuses(Some("7"), 1501));
        uncertain.let_go(&uncertain.left(at(11)), at(11));
        assert!(!refuses(Some("7"), 0) && !uncertain.is_any());
    }

    #[test]
    fn what_is_tried_again_and_again_is_noted_once() {
        let (uncertain, jti, session) = (Uncertain::new(at(0)), Jti::random(), SessionId::starting_at(7));
        for attempt in 0..1000 {
            uncertain.note(vec![
                Pending::of_token(jti.clone(), Some(session), true, at(60)),
                Pending::of_session(session, at(60 + attempt)),
                Pending::of_cutoff(Some("7"), at(attempt), at(60)),
            ]);
        }
        assert_eq!(uncertain.left(at(1)).len(), 3);
        // It is certain, and yet unknown to the copy.
        let token = Pending::of_token(jti.clone(), Some(session), true, at(60));
        uncertain.note(vec![token.committed()]);
        uncertain.confirm(std::slice::from_ref(&jti), at(1));
        assert_eq!(uncertain.left(at(1)).len(), 3);
        // The token is taken back, the end of its session by another way is not.
        uncertain.forget(std::slice::from_ref(&jti), at(1));
        let refuses =
            |jti, session| uncertain.refuses(&Presented { jti, session, issued_at: Some(i64::MAX / 1000), user: None });
        assert!(!refuses(&jti, None) && refuses(&jti, Some(session)));
        assert_eq!(uncertain.left(at(1)).len(), 2);
    }

    #[test]
    fn each_witness_is_refused_for_its_own_reason() {
        let (jti, session) = (Jti::random(), SessionId::starting_at(7));
        for (refresh, session, count) in
            [(false, Some(session), 2), (false, None, 1), (true, Some(session), 1), (true, None, 0)]
        {
            let pending = Pending::of_token(jti.clone(), session, refresh, at(60));
            assert_eq!(pending.witnesses().count(), count, "{pending:?}");
            let whole = pending.refuses().map(Change::refused).collect::<Vec<_>>();
            for (number, witness) in pending.witnesses().enumerate() {
                let index = Index::new(at(0));
                index.apply(whole.clone());
                assert!(index.refuses(&witness));
                let (jti, alone) = (witness.jti.clone(), session.filter(|_| number > 0 || refresh));
                let what = match alone {
                    Some(id) => Revocable::Session { id, until: at(60) },
                    None => Revocable::Token { jti, until: at(60) },
                };
                index.apply([Change { what, refused: false }]);
                assert!(!index.refuses(&witness), "{witness:?} is refused by something else");
            }
        }
    }
}
