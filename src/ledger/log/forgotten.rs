//! What the log alone still knows. Django's flush deletes a token and its blacklist row at its expiry; the access tokens that were
//! bought with it, and a sliding token that was renewed, live on, and have to be refused as long as they do.

use diesel::sql_types::Bool;

use crate::ledger::connection::AnyConnection;
use crate::ledger::dialect;
use crate::ledger::raw::Raw;

/// That a row of the log is of a token that was blacklisted, whose outstanding row is gone since, and that nobody took off the
/// blacklist while it was good. To delete what has expired takes nothing back; nor does it in the minute before, as the clock of
/// whoever flushes may be ahead of the database's.
pub(in crate::ledger) fn is_forgotten(connection: &AnyConnection) -> Raw<Bool> {
    let good_until = dialect::a_minute_before(connection, "undone.expires_at");
    Raw::new(format!(
        "NOT simplejwt_revocation.removed AND simplejwt_revocation.token_id IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM token_blacklist_outstandingtoken AS there \
         WHERE there.id = simplejwt_revocation.token_id) \
         AND NOT EXISTS (SELECT 1 FROM simplejwt_revocation AS undone WHERE undone.jti = simplejwt_revocation.jti \
         AND undone.seq > simplejwt_revocation.seq AND undone.removed \
         AND (undone.expires_at IS NULL OR undone.at < {good_until}))"
    ))
}
