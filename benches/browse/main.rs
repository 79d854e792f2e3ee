//! The pages of the admin on PostgreSQL with ten million outstanding tokens: how long a page takes, against the same rows in raw SQL,
//! and how long the database works for it.
//!
//! `cargo bench --features postgres,mysql --bench browse [-- DIRECTORY]`, with `ROWS=1000000` in the environment for another size. It
//! starts a server for itself alone (`scripts/throwaway`), fills it (`fill.sql`; with ten million it takes some ten minutes and 10 GB
//! of disk), and asks a `simplejwt serve --admin` for its pages. It fails if a page that is compared takes more than five times as long as
//! the SQL, or the database more than a tenth of a second for one. Into the DIRECTORY, without one explain/ beside this file, goes what
//! `EXPLAIN (ANALYZE, BUFFERS)` says of every statement of every page.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints, and stops where something is wrong"
)]

mod plans;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/servers/throwaway.rs"]
mod throwaway;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text, Timestamptz};

use plans::Log;
use support::admin::{self, Browser};
use support::database::Kind;
use support::server::Server;
use throwaway::Throwaway;

/// What the server is told: less memory than there are rows, and to explain what it does when it is asked to.
const SETTINGS: [&str; 7] = [
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "maintenance_work_mem=1GB",
    "jit=off",
    "session_preload_libraries=auto_explain",
    "auto_explain.log_analyze=on",
    "auto_explain.log_buffers=on",
];

/// What the issue of a page allows: in the database, and against raw SQL.
const MOST: Duration = Duration::from_millis(100);
const MOST_TIMES: f64 = 5.0;

/// How often each is done.
const ROUNDS: usize = 15;

/// A page, and what reads the same rows without us.
struct Page {
    name: &'static str,
    path: String,
    /// What stands behind the tables.
    raw: Option<String>,
}

fn main() {
    let directory = std::env::args().skip(1).find(|argument| argument != "--bench").map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/browse/explain"));
    std::fs::create_dir_all(&directory).expect("a directory");
    let rows: u64 = std::env::var("ROWS").map_or(10_000_000, |rows| rows.parse().expect("a number"));
    let mut options = vec!["--on-disk"];
    options.extend(SETTINGS.iter().flat_map(|setting| ["--with", setting]));
    let host = Throwaway::with(Kind::Postgres, &options);
    let server = Server::of(|_| host.database());
    let migrated = server.cli(&["migrate"]);
    assert!(migrated.success(), "{migrated:?}");
    let url = server.test_database().url();
    let mut connection = PgConnection::establish(&url).expect("the database");
    let begun = Instant::now();
    fill(&mut connection, rows);
    println!("{rows} outstanding tokens, made in {} s", begun.elapsed().as_secs());

    // How long it takes until all that is refused is in memory is another question.
    let (server, client) = admin::start(server.set("blacklist", "\"database\""));
    let browser = Browser::signed_in(client, "root");
    let mut log = Log::new(&host.directory.join("log"));
    let mut wrong = Vec::new();
    println!("\n{:<34} {:>10} {:>10} {:>7} {:>14}", "page", "page", "raw SQL", "times", "database");
    for page in pages(&mut connection, rows) {
        let mut get = || {
            let reply = browser.get(&page.path);
            assert_eq!(reply.status, 200, "{}: {reply:?}", page.path);
        };
        // The first one reads from disk what nobody else has read yet.
        explain(&mut connection, true);
        log.skip();
        get();
        let first = log.read(page.name);
        get();
        let second = log.read(page.name);
        explain(&mut connection, false);
        second.keep(&directory, &page.path);
        let took = median(&mut get);
        let raw = page.raw.as_ref().map(|raw| median(&mut || drop(read(&mut connection, raw))));
        let times = raw.map(|raw| took.as_secs_f64() / raw.as_secs_f64());
        println!(
            "{:<34} {:>10} {:>10} {:>7} {:>14}",
            page.name,
            text(took),
            raw.map(text).unwrap_or_default(),
            times.map(|times| format!("{times:.1}")).unwrap_or_default(),
            format!("{} ({})", text(second.total), text(first.total)),
        );
        if second.total > MOST {
            wrong.push(format!("{}: {} in the database", page.name, text(second.total)));
        }
        if let Some(times) = times.filter(|times| *times > MOST_TIMES) {
            wrong.push(format!("{}: {times:.1} times raw SQL", page.name));
        }
    }
    println!("\nin the database: with EXPLAIN's own cost; in brackets when it was asked for the first time");
    drop(server);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Makes the rows, and the indexes after them: that is a third of the time.
fn fill(connection: &mut PgConnection, rows: u64) {
    #[derive(QueryableByName)]
    struct Index {
        #[diesel(sql_type = Text)]
        indexname: String,
        #[diesel(sql_type = Text)]
        indexdef: String,
    }
    let indexes: Vec<Index> = sql_query(
        "SELECT indexname::text AS indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' \
         AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = indexname) AND indexname LIKE '%token%'",
    )
    .load(connection)
    .expect("the indexes");
    let drops: Vec<String> = indexes.iter().map(|index| format!("DROP INDEX {}", index.indexname)).collect();
    let creates: Vec<&str> = indexes.iter().map(|index| index.indexdef.as_str()).collect();
    let (all, step) = (rows.to_string(), (rows / 50_000 * 5).max(100).to_string());
    let fill = include_str!("fill.sql").replace("ROWS", &all).replace("STEP", &step);
    let (blacklist, session) = ("token_blacklist_blacklistedtoken", "simplejwt_session");
    // No foreign key is looked at, and nothing written into the log.
    let quietly = &format!(
        "ALTER TABLE {blacklist} DISABLE TRIGGER USER; ALTER TABLE {session} DISABLE TRIGGER USER; \
         SET session_replication_role = replica"
    );
    let aloud = &format!(
        "ALTER TABLE {blacklist} ENABLE ALWAYS TRIGGER simplejwt_blacklisted; \
         ALTER TABLE {blacklist} ENABLE ALWAYS TRIGGER simplejwt_blacklisted_truncate; \
         ALTER TABLE {session} ENABLE ALWAYS TRIGGER simplejwt_session_insert; \
         ALTER TABLE {session} ENABLE ALWAYS TRIGGER simplejwt_session_update"
    );
    let again = "SELECT setval(pg_get_serial_sequence('token_blacklist_outstandingtoken', 'id'), max(id)) \
                 FROM token_blacklist_outstandingtoken; RESET session_replication_role";
    for statements in [drops.join(";").as_str(), quietly, &fill, &creates.join(";"), again, aloud] {
        connection.batch_execute(statements).expect("filled");
    }
    connection.batch_execute("VACUUM (ANALYZE)").expect("analyzed");
    connection.batch_execute("CHECKPOINT").expect("on disk");
}

fn pages(connection: &mut PgConnection, rows: u64) -> Vec<Page> {
    let mut jti = |number: u64| one(connection, &format!("SELECT md5('{number}') AS text"));
    let (live, old) = (jti(rows - 3), jti(rows / 2));
    let day = |ago: i64| support::database::instant(support::now() - ago * 86_400).replace(' ', "T");
    let session = &format!("01900000-0000-7000-8000-{:012}", rows / 10);
    let page = |name, path: &str| Page { name, path: format!("/admin{path}"), raw: None };
    let compared = |name, path: &str, raw: &str| Page { raw: Some(raw.to_owned()), ..page(name, path) };
    vec![
        compared("first page", "/tokens", "ORDER BY o.id DESC LIMIT 50"),
        compared(
            "page in the middle",
            &format!("/tokens?after={}", rows / 2),
            &format!("WHERE o.id < {} ORDER BY o.id DESC LIMIT 50", rows / 2),
        ),
        compared(
            "superseded refresh tokens",
            "/tokens?kind=refresh&state=superseded",
            "WHERE t.kind = 'refresh' AND t.superseded_at IS NOT NULL ORDER BY o.id DESC LIMIT 50",
        ),
        compared(
            "live ones",
            "/tokens?state=live",
            "WHERE b.id IS NULL AND t.superseded_at IS NULL AND t.revoked_at IS NULL AND s.ended_at IS NULL \
             AND o.expires_at > now() ORDER BY o.id DESC LIMIT 50",
        ),
        page("revoked ones (one in 500)", "/tokens?state=blacklisted"),
        page("expired ones", "/tokens?state=expired"),
        page("issued on a day", &format!("/tokens?created_from={}&created_until={}", day(11), day(10))),
        page("expiring on a day", &format!("/tokens?expires_from={}&expires_until={}", day(11), day(10))),
        compared("of a user with 100", "/tokens?user=4242", "WHERE o.user_id = '4242' ORDER BY o.id DESC LIMIT 50"),
        page("of a user with a tenth of all", "/tokens?user=0"),
        page("of that user, oldest first", "/tokens?user=0&order=oldest"),
        page("live ones of that user", "/tokens?user=0&state=live"),
        page("of nobody there is", "/tokens?user=nobody"),
        page("by user", "/tokens?order=user"),
        page("by expiry", "/tokens?order=expiry"),
        compared(
            "jti, its beginning",
            &format!("/tokens?jti={}", &old[..6]),
            &format!("WHERE o.jti LIKE '{}%' ORDER BY o.jti USING ~<~ LIMIT 50", &old[..6]),
        ),
        page("jti, two letters of it", &format!("/tokens?jti={}", &old[..2])),
        compared("jti, all of it", &format!("/token?jti={live}"), &format!("WHERE o.jti = '{live}'")),
        page("tokens of a session", &format!("/tokens?session={session}")),
        page("overview", "/"),
        page("blacklisted", "/blacklisted"),
        page("blacklisted, of a user", "/blacklisted?user=4242"),
        page("blacklisted, of the tenth", "/blacklisted?user=0"),
        page("sessions", "/sessions"),
        page("open sessions", "/sessions?state=open"),
        page("expired sessions", "/sessions?state=expired"),
        page("ended sessions", "/sessions?state=ended"),
        page("sessions of a user", "/sessions?user=4242"),
        page("sessions of the tenth", "/sessions?user=0"),
        page("open ones of the tenth", "/sessions?user=0&state=open"),
        page("one session", &format!("/session?id={session}")),
        page("events", "/events"),
        page("events of a user", "/events?user=4242"),
        page("events of the tenth", "/events?user=0"),
        page("events of a sort", "/events?action=blacklist"),
    ]
}

fn one(connection: &mut PgConnection, query: &str) -> String {
    #[derive(QueryableByName)]
    struct Cell {
        #[diesel(sql_type = Text)]
        text: String,
    }
    sql_query(query).get_result::<Cell>(connection).expect("a row").text
}

/// All that a list shows of a token.
#[derive(QueryableByName)]
#[expect(dead_code, reason = "it is read, which is what is measured")]
struct Row {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    jti: String,
    #[diesel(sql_type = Nullable<Text>)]
    user_id: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    created_at: Option<chrono::DateTime<chrono::Utc>>,
    #[diesel(sql_type = Timestamptz)]
    expires_at: chrono::DateTime<chrono::Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    kind: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    session_id: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    superseded_at: Option<chrono::DateTime<chrono::Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    revoked_at: Option<chrono::DateTime<chrono::Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    blacklisted_at: Option<chrono::DateTime<chrono::Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ended_at: Option<chrono::DateTime<chrono::Utc>>,
}

fn read(connection: &mut PgConnection, rest: &str) -> Vec<Row> {
    let query = format!(
        "SELECT o.id, o.jti, o.user_id, o.created_at, o.expires_at, t.kind, t.session_id, t.superseded_at, t.revoked_at, \
         b.blacklisted_at, s.ended_at FROM token_blacklist_outstandingtoken o \
         LEFT JOIN token_blacklist_blacklistedtoken b ON b.token_id = o.id LEFT JOIN simplejwt_token t ON t.jti = o.jti \
         LEFT JOIN simplejwt_session s ON s.id = t.session_id {rest}"
    );
    sql_query(query).load(connection).expect("rows")
}

fn explain(connection: &mut PgConnection, wanted: bool) {
    let least = if wanted { "0" } else { "-1" };
    let logged = if wanted { "on" } else { "off" };
    for setting in [format!("auto_explain.log_min_duration = {least}"), format!("log_duration = {logged}")] {
        connection.batch_execute(&format!("ALTER SYSTEM SET {setting}")).expect("a setting");
    }
    connection.batch_execute("SELECT pg_reload_conf()").expect("read anew");
    // The sessions of the server of ours hear of it before their next statement.
    std::thread::sleep(Duration::from_millis(300));
}

fn median(deed: &mut dyn FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            deed();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn text(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
