//! The databases that a bench runs on: how to fill one, copy it, and talk to it with the crate and without it.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use rocket_simplejwt::Simplejwt;
use rocket_simplejwt::service::OpenMode;
use rocket_simplejwt::settings::{Secret, Settings};

/// A connection to any of them.
#[derive(diesel::MultiConnection)]
pub(crate) enum AnyConnection {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(PgConnection),
    #[cfg(feature = "mysql")]
    Mysql(MysqlConnection),
}

#[derive(QueryableByName)]
struct Cell {
    #[diesel(sql_type = Text)]
    text: String,
}

/// How a database says things.
pub(crate) struct Words {
    /// Begins a transaction that writes.
    pub(crate) begin: &'static str,
    /// Deletes what is known of the tokens whose outstanding rows are those in braces.
    pub(crate) facts: &'static str,
    /// How long a batch should take, and how long to rest after it, as the flush does on this database.
    pub(crate) pace: (Duration, Duration),
    /// The rows of a table from 1 to the number in braces, in a column `i`.
    series: &'static str,
    /// So many seconds from now: an expression in braces.
    from_now: &'static str,
    /// A minute after the instant in braces: so long are tokens kept beyond their expiry.
    a_minute_after: &'static str,
    random_hex: &'static str,
    text: &'static str,
    /// The session of the row with a certain id.
    session: &'static str,
}

impl AnyConnection {
    pub(crate) fn to(url: &str) -> Self {
        let mut connection = match url.split_once("://").expect("a scheme") {
            #[cfg(feature = "postgres")]
            ("postgres", _) => Self::Postgres(PgConnection::establish(url).expect("the database")),
            #[cfg(feature = "mysql")]
            ("mysql", _) => Self::Mysql(MysqlConnection::establish(url).expect("the database")),
            #[cfg(feature = "sqlite")]
            (_, path) => Self::Sqlite(SqliteConnection::establish(path).expect("the database")),
            #[cfg(not(feature = "sqlite"))]
            other => panic!("not in this build: {other:?}"),
        };
        let settings = match &connection {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                "PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON"
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "SET TIME ZONE 'UTC'",
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        };
        connection.run(settings);
        connection
    }

    pub(crate) const fn words(&self) -> Words {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Words {
                begin: "BEGIN IMMEDIATE",
                facts: "DELETE FROM simplejwt_token WHERE jti IN (SELECT jti FROM token_blacklist_outstandingtoken WHERE {})",
                pace: (Duration::from_millis(50), Duration::from_millis(10)),
                series: "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n) AS n",
                from_now: "strftime('%Y-%m-%d %H:%M:%S', 'now', ({}) || ' seconds')",
                a_minute_after: "strftime('%Y-%m-%d %H:%M:%S', {}, '60 seconds')",
                random_hex: "lower(hex(randomblob(16)))",
                text: "CAST({} AS TEXT)",
                session: "printf('00000000-0000-7000-8000-%012d', id / 4)",
            },
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Words {
                begin: "BEGIN",
                facts: "DELETE FROM simplejwt_token WHERE jti IN (SELECT jti FROM token_blacklist_outstandingtoken WHERE {})",
                pace: (Duration::from_millis(250), Duration::ZERO),
                series: "generate_series(1, {}) AS n(i)",
                from_now: "now() + ({}) * interval '1 second'",
                a_minute_after: "{} + interval '1 minute'",
                random_hex: "md5(i || random()::text)",
                text: "CAST({} AS text)",
                session: "'00000000-0000-7000-8000-' || lpad((id / 4)::text, 12, '0')",
            },
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => Words {
                begin: "BEGIN",
                facts: "DELETE simplejwt_token FROM simplejwt_token JOIN token_blacklist_outstandingtoken USING (jti) \
                        WHERE token_blacklist_outstandingtoken.{}",
                pace: (Duration::from_millis(250), Duration::ZERO),
                series: "(SELECT seq AS i FROM seq_1_to_{}) AS n",
                from_now: "UTC_TIMESTAMP() + INTERVAL ({}) SECOND",
                a_minute_after: "{} + INTERVAL 1 MINUTE",
                random_hex: "MD5(CONCAT(i, RAND()))",
                text: "CAST({} AS CHAR)",
                session: "CONCAT('00000000-0000-7000-8000-', LPAD(id DIV 4, 12, '0'))",
            },
        }
    }

    pub(crate) fn run(&mut self, sql: &str) {
        self.batch_execute(sql).unwrap_or_else(|error| panic!("{error}: {}", sql.get(..300).unwrap_or(sql)));
    }

    /// Takes the triggers of the log off the tables of tokens.
    pub(crate) fn drop_triggers(&mut self) {
        let (names, on): (&[&str], _) = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                (&["blacklisted_insert", "blacklisted_update", "blacklisted_delete", "outstanding_delete"], "")
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => (&["blacklisted", "blacklisted_truncate"], " ON token_blacklist_blacklistedtoken"),
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => (&["blacklisted_insert", "blacklisted_update", "blacklisted_delete"], ""),
        };
        for name in names {
            self.run(&format!("DROP TRIGGER simplejwt_{name}{on}"));
        }
    }

    /// The one column of a query, as text.
    pub(crate) fn texts(&mut self, column: &str, rest: &str) -> Vec<String> {
        let query = format!("SELECT {} AS text FROM {rest}", self.words().text.replace("{}", column));
        let cells: Vec<Cell> = sql_query(query).load(self).expect("an answer");
        cells.into_iter().map(|cell| cell.text).collect()
    }
}

/// The crate on a database; it makes the tables.
pub(crate) async fn open(database: &str) -> Simplejwt {
    let mut settings = Settings::default();
    settings.signing_key = Some(Secret::new("only for this bench, in a temporary directory"));
    settings.database_url = Some(database.to_owned());
    Simplejwt::builder(settings).open(OpenMode::Serve).await.expect("a ledger")
}

fn migrate(database: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    drop(runtime.block_on(open(database)));
}

/// Where the databases of a bench are.
pub(crate) enum Store {
    Files(tempfile::TempDir),
    /// The URL of a server, without a database.
    Server(String),
}

const TEMPLATE: &str = "simplejwt_bench_template";
const COPY: &str = "simplejwt_bench_copy";

impl Store {
    pub(crate) fn new() -> Self {
        match std::env::var("DATABASE") {
            Ok(url) => Self::Server(url.trim_end_matches('/').to_owned()),
            Err(_) => Self::Files(tempfile::tempdir().expect("a temporary directory")),
        }
    }

    fn url(&self, name: &str) -> String {
        match self {
            Self::Files(_) => format!("sqlite:///{}", self.path(name).display()),
            Self::Server(url) => format!("{url}/{name}"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Files(folder) => folder.path().join(name),
            Self::Server(_) => PathBuf::new(),
        }
    }

    /// The server's own database, from which others are made.
    fn maintenance(&self) -> AnyConnection {
        let name = if self.is_postgres() { "postgres" } else { "mysql" };
        AnyConnection::to(&self.url(name))
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Server(url) if url.starts_with("postgres"))
    }

    fn make(&self, name: &str) {
        if let Self::Server(_) = self {
            self.remove(name);
            self.maintenance().run(&format!("CREATE DATABASE {name}"));
        }
    }

    fn remove(&self, name: &str) {
        match self {
            Self::Files(_) => {
                for ending in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(self.path(&format!("{name}{ending}")));
                }
            }
            Self::Server(_) => self.maintenance().run(&format!("DROP DATABASE IF EXISTS {name}")),
        }
    }

    /// Makes the ledger that all copies are of.
    pub(crate) fn fill(&self, rows: usize) {
        self.make(TEMPLATE);
        migrate(&self.url(TEMPLATE));
        seed(&mut AnyConnection::to(&self.url(TEMPLATE)), rows);
    }

    /// A fresh copy; its URL.
    pub(crate) fn copy(&self) -> String {
        self.remove(COPY);
        let url = self.url(COPY);
        match self {
            Self::Files(_) => drop(std::fs::copy(self.path(TEMPLATE), self.path(COPY)).expect("a copy")),
            Self::Server(_) if self.is_postgres() => {
                self.maintenance().run(&format!("CREATE DATABASE {COPY} TEMPLATE {TEMPLATE} STRATEGY file_copy"));
            }
            Self::Server(_) => {
                self.make(COPY);
                migrate(&url);
                let mut connection = AnyConnection::to(&url);
                // What they would write is in the log that is copied. They are put back by whoever opens the ledger.
                connection.drop_triggers();
                connection.run("DELETE FROM simplejwt_revocation_state");
                for table in TABLES {
                    connection.run(&format!("INSERT INTO {table} SELECT * FROM {TEMPLATE}.{table}"));
                }
                connection.run(&format!("ANALYZE TABLE {}", TABLES.join(", ")));
                migrate(&url);
            }
        }
        url
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Self::Server(_) = self {
            self.remove(COPY);
            self.remove(TEMPLATE);
        }
    }
}

const TABLES: [&str; 6] = [
    "token_blacklist_outstandingtoken",
    "token_blacklist_blacklistedtoken",
    "simplejwt_token",
    "simplejwt_session",
    "simplejwt_revocation",
    "simplejwt_revocation_state",
];

/// Nine of ten rows expired between one and thirty days ago, in the order in which they were issued; half of all are
/// blacklisted, and in the log since; each has its side row, and every four of them a session.
fn seed(connection: &mut AnyConnection, rows: usize) {
    let words = connection.words();
    let series = words.series.replace("{}", &rows.to_string());
    let from_now = |seconds: &str| words.from_now.replace("{}", seconds);
    let text = |value: &str| words.text.replace("{}", value);
    // In seconds from now.
    let due = format!(
        "CASE WHEN i > {rows} * 9 / 10 THEN 86400 - ({rows} - i) * 86400.0 / {rows} \
         ELSE -86400 - ({rows} - i) * 2505600.0 / {rows} END"
    );
    let issued = format!("({due}) - 86400");
    let session = words.session;
    let statements = [
        format!(
            "INSERT INTO token_blacklist_outstandingtoken (id, token, created_at, expires_at, user_id, jti) \
             SELECT i, '', {}, {}, {}, {} FROM {series}",
            from_now(&issued),
            from_now(&due),
            text("i % 1000"),
            words.random_hex,
        ),
        "INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id) \
         SELECT created_at, id FROM token_blacklist_outstandingtoken WHERE id % 2 = 0"
            .to_owned(),
        format!(
            "INSERT INTO simplejwt_token (jti, kind, session_id, revoked_at, claims, keep_until) \
             SELECT jti, 'refresh', {session}, CASE WHEN id % 2 = 0 THEN created_at END, '{{\"user_id\":\"7\"}}', {kept} \
             FROM token_blacklist_outstandingtoken",
            kept = words.a_minute_after.replace("{}", "expires_at"),
        ),
        format!(
            "INSERT INTO simplejwt_session (id, user_id, created_at, last_used_at, keep_until) \
             SELECT session_id, '7', {now}, {now}, max(keep_until) FROM simplejwt_token GROUP BY session_id",
            now = from_now("-31 * 86400"),
        ),
    ];
    for statement in statements {
        connection.run(&statement);
    }
    #[cfg(feature = "mysql")]
    if let AnyConnection::Mysql(_) = connection {
        connection.run(
            "INSERT INTO simplejwt_revocation SELECT * FROM simplejwt_inbox;
             UPDATE simplejwt_revocation_state SET seq = (SELECT max(seq) FROM simplejwt_revocation);
             TRUNCATE simplejwt_inbox",
        );
    }
    connection.run(
        "UPDATE simplejwt_revocation SET at = \
         (SELECT created_at FROM token_blacklist_outstandingtoken AS token WHERE token.id = simplejwt_revocation.token_id)",
    );
    let settle = match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => "PRAGMA wal_checkpoint(TRUNCATE)",
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {
            "SELECT setval(pg_get_serial_sequence('token_blacklist_outstandingtoken', 'id'), \
             (SELECT max(id) FROM token_blacklist_outstandingtoken)); VACUUM ANALYZE"
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => "DO 0",
    };
    // Each by itself: some cannot be a part of anything.
    for statement in settle.split("; ") {
        connection.run(statement);
    }
}

/// The last moment of an expired token that nobody needs any more.
pub(crate) fn horizon() -> String {
    (Utc::now() - TimeDelta::seconds(60)).format("%F %T").to_string()
}
