//! The ledger against real databases, one for each test.

mod adopting;
mod again;
mod checking;
mod database;
mod django_users;
mod ending;
mod events;
mod feeding;
mod flushing;
mod flushing_any;
mod flushing_sessions;
mod following;
mod listing;
mod losing;
mod migrating;
mod opening;
mod restoring;
mod revoking;
mod revoking_together;
mod room;
mod rotating;
#[cfg(feature = "sqlite")]
mod sqlite_opening;
mod statements;
mod users;
mod values;

use std::future::{Ready, ready};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tempfile::TempDir;

use self::database::{Kind, TestConnection, TestDatabase};
use super::*;
use crate::token::{Jti, Presented, SessionId, TokenKind};

/// A token that tells nothing but its names.
fn presented(jti: &Jti, session: Option<SessionId>) -> Presented<'_> {
    Presented { jti, session, issued_at: None, user: None }
}

/// For the sink of a load: there is nothing to wait for.
fn taken() -> Ready<Result<(), LedgerError>> {
    ready(Ok(()))
}

/// A ledger in a database of its own.
pub(crate) struct Test {
    pub(crate) ledger: Ledger,
    database: TestDatabase,
    _directory: TempDir,
}

impl Test {
    /// An empty database.
    fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::new(directory.path());
        let ledger = Ledger::open(&options(&database.url())).unwrap();
        Self { ledger, database, _directory: directory }
    }

    /// A database with tables.
    pub(crate) async fn new() -> Self {
        let test = Self::empty();
        test.ledger.migrate(MigrateOptions::default()).await.unwrap();
        test
    }

    /// The options that its ledger was opened with.
    fn options(&self) -> LedgerOptions {
        options(&self.database.url())
    }

    /// The file, where the database has one.
    fn path(&self) -> PathBuf {
        self.database.path()
    }

    /// A connection that is not the ledger's: Django, or somebody with a shell.
    fn elsewhere(&self) -> TestConnection {
        self.database.connect()
    }

    pub(crate) fn sql(&self, statements: &str) {
        self.elsewhere().execute(statements).unwrap();
    }

    /// The number that a query returns.
    fn number(&self, query: &str) -> i64 {
        self.elsewhere().column(query).pop().flatten().unwrap().parse().unwrap()
    }

    /// The instants in a column as whole seconds since 1970, in SQL.
    fn seconds(&self, column: &str) -> String {
        self.database.kind().seconds(column)
    }

    fn rows(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}"))
    }

    /// A login at 0: its session, and its refresh token, which lives for a day.
    async fn login(&self) -> (SessionId, Jti) {
        let session = SessionId::starting_at(millis(at(0)));
        let token = refresh_token(session);
        let jti = token.jti.clone();
        self.ledger.record_login(new_session(session), token).await.unwrap();
        (session, jti)
    }

    async fn refused(&self, jti: &Jti, session: Option<SessionId>) -> bool {
        let refused = self.ledger.is_refused(presented(jti, session)).await.unwrap();
        let standing = self.ledger.standing(presented(jti, session)).await.unwrap();
        assert_eq!(refused, standing.is_refused(), "the quick answer is the long one");
        refused
    }

    async fn revoke(&self, item: RevokeItem) -> Revoked {
        self.ledger.revoke(revocation(vec![item])).await.unwrap().remove(0)
    }

    async fn restore(&self, jti: &Jti) -> RestoreOutcome {
        let restoration = Restoration { jtis: vec![jti.clone()], actor: actor(), reason: None, at: at(60) };
        self.ledger.restore(restoration).await.unwrap().remove(0).outcome
    }

    /// What Django's admin does.
    fn blacklist_elsewhere(&self, jti: &Jti) {
        self.sql(&format!(
            "INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id) \
             SELECT '2027-01-15 08:00:30.250000', id FROM token_blacklist_outstandingtoken WHERE jti = '{jti}'"
        ));
    }
}

/// A user of MariaDB or MySQL with these rights on the database of a test, and no others. Gone when this is dropped.
struct Guest<'a> {
    test: &'a Test,
    name: String,
}

impl<'a> Guest<'a> {
    fn new(test: &'a Test, rights: &str) -> Self {
        let database = test.elsewhere().column("SELECT DATABASE()").pop().flatten().unwrap();
        let guest = Self { test, name: format!("guest_{database}") };
        for account in guest.accounts() {
            test.sql(&format!(
                "CREATE USER {account} IDENTIFIED BY 'guest'; GRANT {rights} ON {database}.* TO {account}"
            ));
        }
        guest
    }

    /// A user for names that are looked up is shadowed by none for `localhost`, so there are two.
    fn accounts(&self) -> [String; 2] {
        ["%", "localhost"].map(|host| format!("'{}'@'{host}'", self.name))
    }

    /// What it opens the database of the test with.
    fn options(&self) -> LedgerOptions {
        let url = self.test.database.url();
        let (_, place) = url.rsplit_once('@').unwrap();
        options(&format!("mysql://{}:guest@{place}", self.name))
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        drop(self.test.elsewhere().execute(&format!("DROP USER {}", self.accounts().join(", "))));
    }
}

fn options(url: &str) -> LedgerOptions {
    LedgerOptions { create: true, ..LedgerOptions::new(url.parse().unwrap()) }
}

/// So many seconds after the beginning.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
}

fn millis(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp_millis()).unwrap()
}

const DAY: i64 = 86_400;

/// Leeway 0, and the minute that everything is kept longer.
const MARGIN: i64 = 60;

/// Refresh tokens that live for a day, and access tokens that live for five minutes.
const RETENTION: Retention = Retention {
    margin: TimeDelta::seconds(MARGIN),
    sliding_refresh_lifetime: TimeDelta::days(1),
    access_lifetime: TimeDelta::minutes(5),
};

fn new_session(id: SessionId) -> NewSession {
    let (user, address, user_agent) = (Some("7".into()), Some("192.0.2.1".to_owned()), Some("é".repeat(300)));
    NewSession {
        id,
        user,
        created_at: at(0),
        absolute_end: None,
        keep_until: at(DAY + MARGIN),
        address,
        user_agent,
        witness: None,
        limit: None,
    }
}

fn refresh_token(session: SessionId) -> NewRecord {
    NewRecord {
        jti: Jti::random(),
        kind: TokenKind::Refresh,
        session: Some(session),
        parent: None,
        user: Some("7".into()),
        created_at: at(0),
        expires_at: at(DAY),
        claims: json!({"user_id": "7", "role": "editor"}).as_object().unwrap().clone(),
        keep_until: at(DAY + MARGIN),
    }
}

fn actor() -> Actor {
    Actor { who: "cli:root".to_owned(), via: Via::Cli, address: None }
}

fn revocation(items: Vec<RevokeItem>) -> Revocation {
    Revocation { items, reason: Some("lost".to_owned()), actor: actor(), ends_session: true, at: at(30) }
}

/// Somebody has the jti, and nothing else.
fn by_jti(jti: &Jti) -> RevokeItem {
    RevokeItem {
        session_keep_until: at(0),
        jti: jti.clone(),
        kind: None,
        session: None,
        user: None,
        expires_at: at(DAY),
        keep_until: at(DAY + MARGIN),
        token_known: false,
    }
}

/// Somebody has the token.
fn by_token(jti: &Jti, kind: TokenKind, session: SessionId) -> RevokeItem {
    RevokeItem { kind: Some(kind), session: Some(session), user: Some("7".into()), token_known: true, ..by_jti(jti) }
}

/// A refresh that replaces `old`, one minute after the beginning.
fn rotation(old: &Jti, session: SessionId) -> Rotation {
    let new = NewRecord {
        parent: Some(old.clone()),
        created_at: at(60),
        expires_at: at(60 + DAY),
        keep_until: at(60 + DAY + MARGIN),
        ..refresh_token(session)
    };
    Rotation {
        old: old.clone(),
        old_session: Some(session),
        old_expires_at: at(DAY),
        old_user: Some("7".into()),
        old_keep_until: at(DAY + MARGIN),
        accept_unknown: false,
        blacklist_old: true,
        access: None,
        grace: Grace::default(),
        actor: actor(),
        session_keep_until: at(60 + DAY + MARGIN + 300),
        new,
        at: at(60),
    }
}

/// Waits for less than the tests' patience.
const SHORT: Duration = Duration::from_millis(200);
