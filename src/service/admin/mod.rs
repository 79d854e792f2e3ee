//! What only the admin in a browser does. Whatever it changes, it changes by the same use cases as everybody else.
//!
//! | file | use case |
//! |---|---|
//! | `session` | who is signed in, and may do what |
//! | `overview` | how everything stands, without counting while somebody waits |
//! | `jobs` | what takes longer than that |
//! | `tokens` | looking through the recorded tokens and the sessions, and finding the row of one |
//! | `users` | ending everything of a user whom a list shows |

mod jobs;
mod overview;
mod session;
mod tokens;
mod users;

pub(crate) use jobs::in_words;
pub use jobs::{Job, Many, Work};
pub use overview::Overview;
pub use session::{AdminRefusal, AdminSecret, AdminSession};

pub(crate) use crate::ledger::storable;
pub use crate::ledger::{
    ACTIONS, Actor, BlacklistedPage, Census, Cursor, EventFilter, EventRow, FlushOutcome, FlushRunRow, Hour,
    LedgerError, RestoreOutcome, Restored, RevokeOutcome, Revoked, SessionFilter, SessionPage, SessionRow,
    SessionState, SessionToken, TokenOrder, TokenPage, TokenRow, TokenSearch, TokenState, UserKey, UserRow,
};
pub use crate::token::SessionId;

/// What this process keeps in mind for the admin.
#[derive(Debug, Default)]
pub(super) struct AdminState {
    jobs: jobs::Jobs,
    noted: overview::Noted,
}
