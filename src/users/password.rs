//! Passwords: Argon2id, as OWASP's cheat sheet sets it (19 MiB, two passes), through the `argon2` crate; and those of a Django
//! project, as its hashers stored them.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use super::hashers::{self, Unverifiable};
use crate::ledger::not_counted;

/// The longest password that is hashed, in bytes. Longer ones are refused, so that nobody buys work with a long body.
const LONGEST: usize = 1024;

/// The same for the passwords of a Django project, which knows no limit of its own.
const LONGEST_OF_DJANGO: usize = 4096;

/// Hashes and checks passwords on blocking threads, a few at a time: each needs 19 MiB, and a burst of logins must not take
/// the memory or the cores of everything else.
#[derive(Clone, Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
}

/// The hash of a password that nobody knows any more. It is checked for unknown users, so that they take as long as a wrong
/// password.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$jWnMTbKhLNu9u6pkMP4S6A$TBfV1KO7h/SyZxe267x34A7JfGp+00BQcjBVKQfpVwg";

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { permits: Arc::new(Semaphore::new(cores)) }
    }
}

impl Passwords {
    /// The PHC string (`$argon2id$…`) to store for a password.
    ///
    /// # Errors
    /// [`PasswordError`], where the password is empty or over 1024 bytes.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        if password.is_empty() {
            return Err(PasswordError::Empty);
        }
        if password.len() > LONGEST {
            return Err(PasswordError::TooLong);
        }
        let password = password.to_owned();
        self.work(move || hash(&password)).await
    }

    /// Whether this is the password behind `stored`. Without a stored hash the answer is no, and takes as long.
    ///
    /// # Errors
    /// [`PasswordError::Unavailable`], where the check could not be made. It does not mean that the password is wrong.
    pub async fn verify(&self, password: &str, stored: Option<String>) -> Result<bool, PasswordError> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let password = password.to_owned();
        self.work(move || {
            let known = stored.is_some();
            let against = stored.as_deref().unwrap_or(DECOY);
            let right = PasswordHash::new(against)
                .is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok());
            Ok(right && known)
        })
        .await
    }

    /// Whether this is the password behind what Django stored. Without it, and where it can be compared with nothing, the
    /// answer is no, and takes as long as Django's default hasher.
    ///
    /// # Errors
    /// [`PasswordError::Unavailable`], where the check could not be made. It does not mean that the password is wrong.
    pub async fn verify_django(&self, password: &str, stored: Option<String>) -> Result<bool, PasswordError> {
        if password.len() > LONGEST_OF_DJANGO {
            return Ok(false);
        }
        let password = password.to_owned();
        self.work(move || Ok(is_djangos(&password, stored.as_deref()))).await
    }

    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        not_counted(async {
            let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PasswordError::Unavailable)?;
            let job = move || {
                let _held_until_done = permit;
                job()
            };
            tokio::task::spawn_blocking(job).await.unwrap_or(Err(PasswordError::Unavailable))
        })
        .await
    }
}

fn is_djangos(password: &str, stored: Option<&str>) -> bool {
    let outcome = stored.map(|stored| hashers::verify(password, stored));
    match outcome {
        Some(Ok(true)) => return true,
        Some(Ok(false)) => hashers::take_time(password, stored),
        Some(Err(Unverifiable::Unusable)) | None => hashers::take_time(password, None),
        Some(Err(why)) => {
            log::warn!("a user of Django cannot log in with the password that is stored: {why}");
            hashers::take_time(password, None);
        }
    }
    false
}

fn hash(password: &str) -> Result<String, PasswordError> {
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|_| PasswordError::Unavailable)?;
    Ok(hash.to_string())
}

/// Why a password was not hashed or checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// No password at all.
    #[error("the password is empty")]
    Empty,
    /// More than 1024 bytes.
    #[error("the password is longer than 1024 bytes")]
    TooLong,
    /// The machine could not do the work.
    #[error("the password could not be hashed now")]
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_right_only_for_its_own_hash() {
        let passwords = Passwords::default();
        let stored = passwords.hash("correct horse").await.expect("a hash");
        let cost = "$argon2id$v=19$m=19456,t=2,p=1$";
        assert!(stored.starts_with(cost) && DECOY.starts_with(cost), "an unknown user takes as long: {stored}");
        assert_eq!(passwords.verify("correct horse", Some(stored.clone())).await, Ok(true));
        assert_eq!(passwords.verify("wrong", Some(stored)).await, Ok(false));
        assert_eq!(passwords.verify("correct horse", None).await, Ok(false));
        assert_eq!(passwords.verify("x", Some("unusable".into())).await, Ok(false));
        assert_eq!(passwords.hash("").await, Err(PasswordError::Empty));
        assert_eq!(passwords.hash(&"x".repeat(1025)).await, Err(PasswordError::TooLong));
    }
}
