//! Who is signed in to the admin, and may do what.
//!
//! A browser has a cookie with random text; the ledger has a digest of it. To sign in is a login like any other, with a session
//! that whatever ends sessions ends too; and on each request the user is asked for again, so that whoever is disabled, is no staff
//! any more or got another password is out with the next click.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use chrono::{DateTime, TimeDelta, Utc};

use crate::ledger::{Actor, AdminSessionRow, NewSession, UserKey, Via};
use crate::service::issue::start_session;
use crate::service::obtain::Client;
use crate::service::{Refusal, Simplejwt, whole_seconds};
use crate::token::{Jti, Presented, sha256_hex};
use crate::users::{Account, AdminAccess, Credentials, User};

/// For how long a password that was given again lets somebody change much at once.
const CONFIRMED: TimeDelta = TimeDelta::minutes(5);

/// How exactly it is noted when somebody was seen last.
const SEEN: TimeDelta = TimeDelta::minutes(1);

/// What the cookie of a browser holds: 256 random bits. Its [`Debug`] does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminSecret(String);

impl fmt::Debug for AdminSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminSecret(…)")
    }
}

impl AdminSecret {
    /// A fresh one.
    #[must_use]
    pub fn random() -> Self {
        // Each has 122 random bits.
        let half = || uuid::Uuid::new_v4().simple().to_string();
        Self(half() + &half() + &half())
    }

    /// What a browser sent, if it can be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 96 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self(text.to_owned()))
    }

    /// The text, for the cookie.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What a form has to send back, so that no other page can have made it.
    #[must_use]
    pub fn form_token(&self) -> String {
        sha256_hex(format!("form {}", self.0).as_bytes())
    }

    /// Whether a form sent that back.
    #[must_use]
    pub fn is_form_token(&self, sent: &str) -> bool {
        verify_slices_are_equal(self.form_token().as_bytes(), sent.as_bytes()).is_ok()
    }

    fn digest(&self) -> String {
        sha256_hex(format!("session {}", self.0).as_bytes())
    }
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct AdminSession {
    row: AdminSessionRow,
    access: AdminAccess,
    confirmed: bool,
}

impl AdminSession {
    /// The name that the user signed in with.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.row.username
    }

    /// Whether the user may change anything.
    #[must_use]
    pub fn may_change(&self) -> bool {
        self.access == AdminAccess::Change
    }

    /// Whether the password was given lately enough to change much at once.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// The user, as an actor.
    #[must_use]
    pub fn actor(&self, address: Option<String>) -> Actor {
        Actor { who: format!("user:{}", self.row.user), via: Via::Admin, address }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminRefusal {
    /// Unknown name, wrong password, inactive, or no staff; nobody is told which.
    #[error("Please enter the correct username and password for a staff account.")]
    BadCredentials,
    /// Too many attempts.
    #[error("Too many attempts. Try again in {} seconds.", whole_seconds(*.0))]
    Wait(Duration),
    /// It could not be found out.
    #[error(transparent)]
    Refused(Refusal),
}

impl From<Refusal> for AdminRefusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooMany(wait) => Self::Wait(wait),
            other => Self::Refused(other),
        }
    }
}

impl Simplejwt {
    /// Signs a user of staff in to the admin, in place of whoever was signed in with `old`. What is returned goes into the cookie.
    ///
    /// # Errors
    /// [`AdminRefusal`].
    pub async fn admin_sign_in(
        &self,
        credentials: &Credentials,
        client: Client,
        old: Option<&AdminSecret>,
    ) -> Result<AdminSecret, AdminRefusal> {
        self.need_issuer()?;
        self.need_blacklist()?;
        let account = self.checked_password(credentials, &client).await?;
        if let Some(old) = old {
            self.admin_sign_out(old, client.address.clone()).await?;
        }
        let (secret, at) = (AdminSecret::random(), self.now().map_err(Refusal::from)?);
        let ends_at = at + self.settings().admin_session_lifetime.as_delta();
        let user = UserKey::from(account.id.as_str());
        let actor = Actor { who: format!("user:{user}"), via: Via::Admin, address: client.address.clone() };
        let login = NewSession {
            id: start_session(at),
            user: Some(user.clone()),
            created_at: at,
            absolute_end: Some(ends_at),
            keep_until: self.keep_until(ends_at),
            address: client.address,
            user_agent: client.user_agent,
            witness: account.user.downcast_ref().map(User::witness),
            // Staff must get in also where their sessions elsewhere are many.
            limit: None,
        };
        let row = AdminSessionRow::new(login.id, user, &account.claim, &credentials.username, at, ends_at);
        let row = AdminSessionRow { password_digest: account.password_digest, ..row };
        match self.ledger().open_admin_session(secret.digest(), login, row, actor).await.map_err(Refusal::from) {
            Err(Refusal::BadCredentials) => Err(AdminRefusal::BadCredentials),
            done => Ok(done.map(|()| secret)?),
        }
    }

    /// The account of whoever has this name and password, and is staff.
    async fn checked_password(&self, credentials: &Credentials, client: &Client) -> Result<Account, AdminRefusal> {
        self.counted(self.limit_admin_login(client, &credentials.username))?;
        let users = &self.inner.users;
        let found = users.authenticate(credentials).await.map_err(Refusal::from)?;
        if let Some(account) = found.filter(|account| account.passes_rule && account.is_active) {
            let access = users.admin_access(&account).await.map_err(Refusal::from)?;
            if access != AdminAccess::None {
                self.note_login(client, &credentials.username);
                return Ok(account);
            }
        }
        users.refused(credentials).await;
        Err(AdminRefusal::BadCredentials)
    }

    /// Who is signed in with this cookie; [`None`] if nobody is, any more. It does not count as a visit: see
    /// [`note_admin_visit`](Self::note_admin_visit).
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub async fn admin_session(&self, secret: &AdminSecret) -> Result<Option<AdminSession>, Refusal> {
        let (at, digest) = (self.now()?, secret.digest());
        let Some(row) = self.ledger().admin_session(&digest).await? else { return Ok(None) };
        let idle = row.seen_at + self.settings().admin_session_idle.as_delta() <= at;
        if idle || row.ends_at <= at || self.is_over(&row, &digest).await? {
            return Ok(None);
        }
        let users = &self.inner.users;
        let Some(account) = users.by_claim(&row.claim).await?.filter(|account| is_the_same(account, &row)) else {
            return Ok(None);
        };
        let access = users.admin_access(&account).await?;
        if access == AdminAccess::None {
            return Ok(None);
        }
        let confirmed = row.confirmed_at + CONFIRMED > at;
        Ok(Some(AdminSession { row, access, confirmed }))
    }

    /// Notes, to the minute, that whoever is signed in was here now. Nobody waits for that: where nothing can be written, the pages are
    /// there all the same, and the session is over in time as if nobody had come.
    pub fn note_admin_visit(&self, secret: &AdminSecret, session: &AdminSession) {
        let (at, row) = (self.inner.clock.now(), &session.row);
        if at - row.seen_at < SEEN {
            return;
        }
        let (jwt, digest, session) = (self.clone(), secret.digest(), row.session);
        tokio::spawn(async move {
            if let Err(error) = jwt.ledger().touch_admin_session(&digest, session, at, false).await {
                log::warn!("a visit to the admin is not noted: {}", crate::chain::chain(&error));
            }
        });
    }

    /// Whether somebody ended the login, or everything from before an instant. The ledger itself is asked.
    async fn is_over(&self, row: &AdminSessionRow, digest: &str) -> Result<bool, Refusal> {
        // No token has this name: what counts is the session.
        let Ok(jti) = digest.parse::<Jti>() else { return Ok(true) };
        let user = Some(row.claim.as_str());
        let presented = Presented { jti: &jti, session: Some(row.session), issued_at: None, user };
        Ok(self.ledger().is_refused(presented).await?)
    }

    /// Checks the password of whoever is signed in once more.
    ///
    /// # Errors
    /// [`AdminRefusal`].
    pub async fn admin_confirm(
        &self,
        secret: &AdminSecret,
        session: &AdminSession,
        password: &str,
        client: &Client,
    ) -> Result<(), AdminRefusal> {
        let credentials = Credentials { username: session.row.username.clone(), password: password.to_owned() };
        let account = self.checked_password(&credentials, client).await?;
        if account.id != session.row.user.as_str() {
            return Err(AdminRefusal::BadCredentials);
        }
        let at = self.now().map_err(Refusal::from)?;
        let noted = self.ledger().touch_admin_session(&secret.digest(), session.row.session, at, true).await;
        Ok(noted.map_err(Refusal::from)?)
    }

    /// Signs whoever has this cookie out.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub async fn admin_sign_out(&self, secret: &AdminSecret, address: Option<String>) -> Result<(), Refusal> {
        let digest = secret.digest();
        let Some(row) = self.ledger().admin_session(&digest).await? else { return Ok(()) };
        let actor = Actor { who: format!("user:{}", row.user), via: Via::Admin, address };
        let at: DateTime<Utc> = self.now()?;
        Ok(self.ledger().end_admin_session(&digest, row, actor, at).await?)
    }
}

/// Whether the user is still who signed in, with the same password.
fn is_the_same(account: &Account, row: &AdminSessionRow) -> bool {
    account.is_active
        && account.passes_rule
        && account.id == row.user.as_str()
        && account.password_digest == row.password_digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_and_not_found_by_its_form_token() {
        let secret = AdminSecret::random();
        assert_eq!(AdminSecret::parse(secret.reveal()), Some(secret.clone()));
        assert!(!format!("{secret:?}").contains(secret.reveal()));
        assert!(secret.is_form_token(&secret.form_token()));
        assert!(!secret.is_form_token("") && !secret.is_form_token(&AdminSecret::random().form_token()));
        assert_ne!(secret.form_token(), secret.digest());
        for bad in ["", "x", &"g".repeat(96), &"a".repeat(97)] {
            assert_eq!(AdminSecret::parse(bad), None);
        }
    }
}
