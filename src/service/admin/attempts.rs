//! How often a password may be guessed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many wrong passwords are forgiven.
const FORGIVEN: u32 = 5;

/// For how long each further one closes the door, and after how long everything is forgotten.
const PAUSE: Duration = Duration::from_secs(30);
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);

/// So many names and addresses are kept in mind.
const MOST: usize = 10_000;

/// Wrong passwords by name and by address, in this process.
#[derive(Debug, Default)]
pub(in crate::service) struct Attempts(Mutex<HashMap<String, Failed>>);

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    last: Instant,
}

impl Failed {
    fn wait(&self) -> Option<Duration> {
        let left = PAUSE.checked_sub(self.last.elapsed())?;
        (self.times >= FORGIVEN).then_some(left)
    }
}

impl Attempts {
    /// For how long nobody who is one of these may try; [`None`] if they may.
    pub(super) fn wait(&self, who: &[String]) -> Option<Duration> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        who.iter().filter_map(|who| known.get(who)?.wait()).max()
    }

    /// Notes that a password was wrong.
    pub(super) fn failed(&self, who: &[String]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, failed| failed.last.elapsed() < FORGOTTEN);
        for who in who {
            // Whoever fills it up with names is stopped by the address.
            if known.len() < MOST || known.contains_key(who) {
                let failed = known.entry(who.clone()).or_insert(Failed { times: 0, last: Instant::now() });
                *failed = Failed { times: failed.times.saturating_add(1), last: Instant::now() };
            }
        }
    }

    /// Forgets them: the password was right.
    pub(super) fn succeeded(&self, who: &[String]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for who in who {
            known.remove(who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_few_wrong_passwords_nobody_of_that_name_or_address_may_try() {
        let (attempts, ada, eva) = (Attempts::default(), ["ada".to_owned()], ["eva".to_owned()]);
        for _ in 0..FORGIVEN {
            assert_eq!(attempts.wait(&ada), None);
            attempts.failed(&ada);
        }
        assert!(attempts.wait(&ada).is_some_and(|wait| wait <= PAUSE));
        assert_eq!(attempts.wait(&eva), None);
        attempts.succeeded(&ada);
        assert_eq!(attempts.wait(&ada), None);
    }
}
