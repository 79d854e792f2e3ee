//! `simplejwt_cutoff`: nothing that began at an instant, or before it, is good any more.

use chrono::{DateTime, Utc};
use diesel::dsl::{auto_type, exists};
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::events::{self, Action, Actor, NewEvent};
use super::schema::simplejwt_cutoff::{self, dsl};
use super::time::{Stored, stored};
use super::{Ledger, LedgerError, UserKey};

/// A not-before mark to be. Of several the latest counts.
#[derive(Clone, Debug)]
pub struct NewCutoff {
    /// Whose tokens, as the user claim in them has it; everybody's, if it is missing.
    pub user: Option<UserKey>,
    /// Sessions that did not begin later are over. A token without a session is compared by its `iat`, to the second.
    pub not_before: DateTime<Utc>,
    /// When the last of these tokens is dead by itself.
    pub keep_until: DateTime<Utc>,
    /// Why.
    pub reason: Option<String>,
    /// Who says so.
    pub actor: Actor,
    /// Now.
    pub at: DateTime<Utc>,
}

/// The marks of everybody that are not before a token's beginning.
#[auto_type]
pub(super) fn of_everybody(began_at: Stored) -> _ {
    let mark: dsl::not_before = dsl::not_before;
    simplejwt_cutoff::table.filter(dsl::user_id.is_null()).filter(mark.ge(began_at))
}

/// The marks of a user that are not before a token's beginning.
#[auto_type]
#[expect(clippy::elidable_lifetime_names, reason = "the type that the attribute writes has to name it")]
pub(super) fn of_user<'a>(user: Option<&'a str>, began_at: Stored) -> _ {
    let mark: dsl::not_before = dsl::not_before;
    simplejwt_cutoff::table.filter(dsl::user_id.eq(user)).filter(mark.ge(began_at))
}

/// Makes a mark, of which another event tells.
pub(super) fn mark(connection: &mut AnyConnection, cutoff: &NewCutoff) -> QueryResult<usize> {
    let NewCutoff { not_before, keep_until, .. } = cutoff;
    let (user, reason) = (cutoff.user.as_ref().map(UserKey::as_str), cutoff.reason.as_deref());
    diesel::insert_into(dsl::simplejwt_cutoff)
        .values((
            dsl::user_id.eq(user),
            dsl::not_before.eq(stored(*not_before)),
            dsl::keep_until.eq(stored(*keep_until)),
            dsl::reason.eq(reason),
        ))
        .execute(connection)
}

/// Makes a mark, with an event of who did it.
pub(super) fn insert(connection: &mut AnyConnection, cutoff: &NewCutoff) -> QueryResult<()> {
    let NewCutoff { at, actor, .. } = cutoff;
    let (user, reason) = (cutoff.user.as_ref().map(UserKey::as_str), cutoff.reason.as_deref());
    mark(connection, cutoff)?;
    let target = cutoff.user.as_ref().map_or_else(|| "everybody".to_owned(), events::user_target);
    let (at, action) = (*at, Action::CutOff);
    events::insert(connection, &NewEvent { at, action, target: &target, user, session: None, reason, actor })?;
    Ok(())
}

/// Whether there is a mark of a user, or of everybody, that is not before a moment.
pub(super) fn is_there(
    connection: &mut AnyConnection,
    user: Option<&str>,
    not_before: DateTime<Utc>,
) -> QueryResult<bool> {
    let began_at = stored(not_before);
    match user {
        None => diesel::select(exists(of_everybody(began_at))).get_result(connection),
        Some(_) => diesel::select(exists(of_user(user, began_at))).get_result(connection),
    }
}

impl Ledger {
    /// Refuses everything that began at an instant, or before it.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UserKey`] if there can be no such user; otherwise when the database does not answer.
    pub async fn cut_off(&self, cutoff: NewCutoff) -> Result<(), LedgerError> {
        if let Some(user) = cutoff.user.as_ref().filter(|user| !user.is_storable()) {
            log::debug!("no cutoff can be of a user with a key of {} bytes", user.as_str().len());
            return Err(LedgerError::UserKey);
        }
        self.write(move |connection| Ok(insert(connection, &cutoff)?)).await
    }
}
