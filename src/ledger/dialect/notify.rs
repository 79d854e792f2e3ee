//! Wake-ups: how whoever reads the log hears at once that there is something new in it. They are sent after a commit, and nothing is
//! decided by them: one that is lost costs the time until the next look.
#![cfg_attr(
    not(feature = "postgres"),
    expect(unused_variables, clippy::unnecessary_wraps, reason = "others have none")
)]

#[cfg(feature = "postgres")]
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::ledger::connection::AnyConnection;
use crate::ledger::url::{DatabaseUrl, Place};

/// What can be told to everybody who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum News {
    /// There is something new in the log.
    Changed,
    /// Nothing; but whoever hears it knows that it would hear the other, too.
    Beat,
}

/// The channel. It is the database's own: nobody hears of another one's.
#[cfg(feature = "postgres")]
const CHANNEL: &str = "simplejwt_revocation";

/// What a beat says. A change says nothing: whoever hears of it reads the log.
#[cfg(feature = "postgres")]
const BEAT: &str = "beat";

/// Whether a database can wake whoever listens.
pub(in crate::ledger) const fn has_wake_ups(url: &DatabaseUrl) -> bool {
    match url.place() {
        #[cfg(feature = "sqlite")]
        Place::Memory | Place::File(_) => false,
        #[cfg(feature = "postgres")]
        Place::Postgres(_) => true,
        #[cfg(feature = "mysql")]
        Place::Mysql(_) => false,
    }
}

/// Tells everybody who listens. Outside of a transaction, or it would be told only when that commits, and could keep it from doing so.
pub(in crate::ledger) fn tell(connection: &mut AnyConnection, news: News) -> QueryResult<()> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(()),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(postgres) => {
            let said = if news == News::Beat { BEAT } else { "" };
            postgres.batch_execute(&format!("NOTIFY {CHANNEL}, '{said}'"))
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => Ok(()),
    }
}

/// Listens on this connection from now on, and does nothing else on it.
pub(in crate::ledger) fn listen(connection: &mut AnyConnection) -> QueryResult<()> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(()),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(postgres) => postgres.batch_execute(&format!(
            // It is idle by nature. Servers before 14 have no such setting.
            "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'; LISTEN {CHANNEL};"
        )),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => Ok(()),
    }
}

/// What was heard since the last look. Does not wait.
pub(in crate::ledger) fn heard(connection: &mut AnyConnection) -> QueryResult<Vec<News>> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(Vec::new()),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(postgres) => {
            let news = |said: &str| if said == BEAT { News::Beat } else { News::Changed };
            postgres.notifications_iter().map(|told| told.map(|told| news(&told.payload))).collect()
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => Ok(Vec::new()),
    }
}
