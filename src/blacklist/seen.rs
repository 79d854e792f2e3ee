//! What the ledger refused when it was asked, where a copy did not decide. The copy may be a moment older when it decides again, and
//! whoever was refused must not get in then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::freshness::{self, Moment};
use crate::token::Jti;

/// The tokens that the ledger refused, until the copy has to know it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether there are any: mostly not, and then nobody pays for it.
    any: AtomicBool,
    refused: Mutex<Refused>,
}

#[derive(Debug, Default)]
struct Refused {
    /// Each with the moment when that was known.
    tokens: HashMap<Jti, Moment>,
    /// When the ledger was asked for what the copy had as these were looked through.
    copied: Option<Moment>,
}

impl Seen {
    /// The ledger has just refused the token; the copy holds what was committed when it asked, if it ever has.
    pub(super) fn note(&self, jti: &Jti, asked: Option<Moment>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        // Once for each pull.
        if refused.copied != asked {
            refused.copied = asked;
            refused.tokens.retain(|_, at| asked.is_none_or(|asked| *at >= asked));
        }
        refused.tokens.insert(jti.clone(), freshness::now());
        self.any.store(true, Ordering::Release);
    }

    /// Whether the ledger refused the token, and a copy that asked at this moment need not know it. Asked before the copy is: what it
    /// does not say is in the copy by then.
    #[inline]
    pub(super) fn refuses(&self, jti: &Jti, asked: Moment) -> bool {
        self.any.load(Ordering::Acquire) && self.has(jti, asked)
    }

    fn has(&self, jti: &Jti, asked: Moment) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.tokens.values().all(|at| *at < asked) {
            refused.tokens.clear();
            self.any.store(false, Ordering::Release);
        }
        refused.tokens.get(jti).is_some_and(|at| *at >= asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_until_the_copy_has_asked_later() {
        let (seen, [one, other]) = (Seen::default(), [(); 2].map(|()| Jti::random()));
        let early = freshness::now();
        assert!(!seen.refuses(&one, early));
        seen.note(&one, Some(early));
        assert!(seen.refuses(&one, early) && !seen.refuses(&other, early));
        let late = freshness::now();
        assert!(!seen.refuses(&one, late), "the copy asked after the ledger had answered");
        assert!(!seen.any.load(Ordering::Acquire) && seen.refused.lock().unwrap().tokens.is_empty());
    }

    #[test]
    fn what_the_copy_has_to_know_is_not_kept() {
        let (seen, [one, other]) = (Seen::default(), [(); 2].map(|()| Jti::random()));
        seen.note(&one, None);
        let asked = freshness::now();
        seen.note(&other, Some(asked));
        let refused = seen.refused.lock().unwrap();
        assert_eq!(refused.tokens.keys().collect::<Vec<_>>(), [&other]);
    }
}
