//! `flushexpiredtokens` on a ledger of a million tokens, 90 % of them expired and half of all blacklisted, against the same
//! batches as raw SQL and against one DELETE for each table; beside a server that rotates a refresh token every 2 ms.
//!
//! `cargo bench --bench flush`, with `ROWS=100000 ROUNDS=5` in the environment for other sizes. Each variant works on its own
//! copy of the same file and in its own process, so that its memory can be told.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "times and counts of a bench are small"
)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::BigInt;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query};
use rocket_simplejwt::service::{FlushOptions, OpenMode};
use rocket_simplejwt::settings::{Secret, Settings};
use rocket_simplejwt::{Issue, Simplejwt};
use support::{median, quantile, spread, text};

const VARIANTS: [&str; 3] = ["one DELETE a table", "raw batches", "flushexpiredtokens"];

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.iter().position(|word| word == "--role") {
        Some(at) => child(&arguments[at + 1], Path::new(&arguments[at + 2])),
        None => parent(),
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn parent() {
    let (rows, rounds) = (number("ROWS", 1_000_000), number("ROUNDS", 3));
    let folder = tempfile::tempdir().expect("a temporary directory");
    let template = folder.path().join("template.sqlite3");
    println!("making a ledger of {rows} tokens");
    seed(&template, rows);
    let mut results: Vec<Vec<Measured>> = VARIANTS.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for place in 0..VARIANTS.len() {
            let index = (place + round) % VARIANTS.len();
            let copy = folder.path().join("copy.sqlite3");
            std::fs::copy(&template, &copy).expect("a copy");
            results[index].push(measure(VARIANTS[index], &copy));
            for ending in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(folder.path().join(format!("copy.sqlite3{ending}")));
            }
        }
    }
    println!("\n{rounds} rounds; stall: how long one rotation of the server beside took");
    println!(
        "{:<20} {:>9} {:>22} {:>9}   {:>10} {:>10} {:>10} {:>9}",
        "", "wall", "to raw batches", "memory", "stall p50", "p99", "worst", "rotations"
    );
    for (name, runs) in VARIANTS.iter().zip(&results) {
        let column = |value: fn(&Measured) -> f64| runs.iter().map(value).collect::<Vec<_>>();
        let walls = column(|run| run.wall);
        let ratios: Vec<_> = walls.iter().zip(&results[1]).map(|(wall, raw)| wall / raw.wall).collect();
        println!(
            "{name:<20} {:>9} {:>7.3} ({}) {:>5.0} MiB   {:>10} {:>10} {:>10} {:>9.0}",
            text(median(&walls)),
            median(&ratios),
            spread(&ratios),
            median(&column(|run| run.memory)),
            text(median(&column(|run| run.stalls.0))),
            text(median(&column(|run| run.stalls.1))),
            text(column(|run| run.stalls.2).into_iter().fold(0.0, f64::max)),
            median(&column(|run| run.rotations)),
        );
    }
}

struct Measured {
    wall: f64,
    /// Peak of the resident memory, in MiB.
    memory: f64,
    /// Median, 99th percentile, worst.
    stalls: (f64, f64, f64),
    rotations: f64,
}

fn measure(variant: &str, database: &Path) -> Measured {
    let mut server = spawn("server", database);
    let mut output = BufReader::new(server.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line when it is ready");

    let worker = spawn(variant, database).wait_with_output().expect("an end");
    assert!(worker.status.success(), "{variant} failed");
    let told = String::from_utf8(worker.stdout).expect("text");
    let told: Vec<f64> = told.split_whitespace().map(|word| word.parse().expect("a number")).collect();

    drop(server.stdin.take());
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("its times");
    server.wait().expect("an end");
    let times: Vec<f64> = rest.lines().map(|line| line.parse().expect("a number")).collect();
    check(database);
    Measured {
        wall: told[0],
        memory: told[1],
        stalls: (median(&times), quantile(&times, 0.99), times.iter().copied().fold(0.0, f64::max)),
        rotations: times.len() as f64,
    }
}

fn spawn(role: &str, database: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--role", role])
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

fn child(role: &str, database: &Path) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if role == "server" {
        runtime.block_on(serve(database));
        return;
    }
    let begun = Instant::now();
    match role {
        "flushexpiredtokens" => runtime.block_on(async {
            let jwt = open(database).await;
            let never = AtomicBool::new(false);
            jwt.flush_expired_tokens(&FlushOptions::default(), &never, |_| ()).await.expect("a flush");
        }),
        "raw batches" => raw_batches(&mut connect(database)),
        _ => raw_delete(&mut connect(database)),
    }
    println!("{} {}", begun.elapsed().as_secs_f64(), peak_memory());
}

async fn open(database: &Path) -> Simplejwt {
    let mut settings = Settings::default();
    settings.signing_key = Some(Secret::new("only for this bench, in a temporary directory"));
    settings.database_url = Some(format!("sqlite:///{}", database.display()));
    Simplejwt::builder(settings).open(OpenMode::Serve).await.expect("a ledger")
}

/// Rotates a refresh token every 2 ms until its input ends, then tells how long each rotation took.
async fn serve(database: &Path) {
    let jwt = open_with_nobody(database).await;
    let mut refresh = jwt.issue(Issue::refresh("1")).await.expect("a token").text;
    let ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        seen.store(true, Ordering::Relaxed);
    });
    println!("ready");
    let mut times = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        // A rotation that is answered with 503 counts with the time until one succeeds.
        loop {
            if let Ok(tokens) = jwt.refresh(&refresh).await {
                refresh = tokens.refresh.expect("rotation is on").text;
                break;
            }
        }
        times.push(begun.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut output = std::io::stdout().lock();
    for time in times {
        writeln!(output, "{time}").expect("a reader");
    }
}

/// The server's handle, with one user who is always there.
async fn open_with_nobody(database: &Path) -> Simplejwt {
    let jwt = open(database).await;
    jwt.add_user("bench", None, "a password for the bench", false).await.expect("a user");
    jwt
}

fn connect(database: &Path) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(&database.display().to_string()).expect("the database");
    connection
        .batch_execute(
            "PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
        )
        .expect("pragmas");
    connection
}

fn horizon() -> String {
    (Utc::now() - TimeDelta::seconds(60)).naive_utc().to_string()
}

fn raw_delete(connection: &mut SqliteConnection) {
    let expired = format!("SELECT id FROM token_blacklist_outstandingtoken WHERE expires_at <= '{}'", horizon());
    let jtis = expired.replace("SELECT id", "SELECT jti");
    connection
        .batch_execute(&format!(
            "BEGIN IMMEDIATE;
             DELETE FROM token_blacklist_blacklistedtoken WHERE token_id IN ({expired});
             DELETE FROM simplejwt_token WHERE jti IN ({jtis});
             DELETE FROM token_blacklist_outstandingtoken WHERE expires_at <= '{}';
             DELETE FROM simplejwt_session WHERE keep_until <= '{}';
             COMMIT;",
            horizon(),
            Utc::now().naive_utc(),
        ))
        .expect("the deletes");
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The same batches, with the same rule for their size and the same rest between them, and nothing else.
fn raw_batches(connection: &mut SqliteConnection) {
    let edge = horizon();
    let delete = |ids: &str| {
        format!(
            "DELETE FROM token_blacklist_blacklistedtoken WHERE token_id IN ({ids});
             DELETE FROM simplejwt_token WHERE jti IN (SELECT jti FROM token_blacklist_outstandingtoken WHERE id IN ({ids}));
             DELETE FROM token_blacklist_outstandingtoken WHERE id IN ({ids});"
        )
    };
    let expired = format!("token_blacklist_outstandingtoken WHERE expires_at <= '{edge}' ORDER BY expires_at, id");
    let mut rows = in_batches(connection, 200, &format!("SELECT id FROM {expired}"), delete);
    let over = format!("simplejwt_session WHERE keep_until <= '{}' ORDER BY keep_until", Utc::now().naive_utc());
    let delete = |ids: &str| format!("DELETE FROM simplejwt_session WHERE rowid IN ({ids});");
    rows = in_batches(connection, rows, &format!("SELECT rowid AS id FROM {over}"), delete);
    assert!(rows > 0);
}

/// Gives the size of the last batch.
fn in_batches(connection: &mut SqliteConnection, rows: usize, select: &str, delete: impl Fn(&str) -> String) -> usize {
    let mut rows = rows;
    loop {
        connection.batch_execute("BEGIN IMMEDIATE").expect("the lock");
        let begun = Instant::now();
        let found: Vec<Id> = sql_query(format!("{select} LIMIT {rows}")).load(connection).expect("ids");
        let ids = found.iter().map(|row| row.id.to_string()).collect::<Vec<_>>().join(",");
        connection.batch_execute(&delete(&ids)).expect("the deletes");
        connection.batch_execute("COMMIT").expect("the commit");
        if found.len() < rows {
            return rows;
        }
        let fits = 0.05 / begun.elapsed().as_secs_f64();
        rows = ((rows as f64 * fits.clamp(0.5, 2.0)) as usize).clamp(20, 10_000);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    kib / 1024.0
}

/// Nine of ten rows expired between one and thirty days ago, in the order in which they were issued; half of all are
/// blacklisted; each has its side row, and every four of them a session.
fn seed(database: &Path, rows: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    drop(runtime.block_on(open(database)));
    drop(runtime);
    let mut connection = connect(database);
    connection
        .batch_execute(&format!(
            "PRAGMA synchronous = OFF;
             BEGIN;
             CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                SELECT i, lower(hex(randomblob(16))) AS jti,
                CASE WHEN i > {rows} * 9 / 10 THEN 86400 - ({rows} - i) * 86400 / {rows} ELSE -86400 - ({rows} - i) * 2505600 / {rows} END AS due FROM n;
             INSERT INTO token_blacklist_outstandingtoken (id, token, created_at, expires_at, user_id, jti)
                SELECT i, '', strftime('%Y-%m-%d %H:%M:%S', 'now', min(due - 86400, 0) || ' seconds'),
                       strftime('%Y-%m-%d %H:%M:%S', 'now', due || ' seconds'), i % 1000, jti FROM n;
             INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id)
                SELECT created_at, id FROM token_blacklist_outstandingtoken WHERE id % 2 = 0;
             INSERT INTO simplejwt_token (jti, kind, session_id, revoked_at, claims, keep_until)
                SELECT jti, 'refresh', printf('00000000-0000-7000-8000-%012d', id / 4),
                       CASE WHEN id % 2 = 0 THEN created_at END, '{{\"user_id\":\"7\"}}',
                       strftime('%Y-%m-%d %H:%M:%S', expires_at, '60 seconds') FROM token_blacklist_outstandingtoken;
             INSERT INTO simplejwt_session (id, user_id, created_at, last_used_at, keep_until)
                SELECT session_id, '7', datetime('now', '-31 days'), datetime('now', '-31 days'), max(keep_until)
                FROM simplejwt_token GROUP BY 1;
             COMMIT;
             PRAGMA wal_checkpoint(TRUNCATE);"
        ))
        .expect("the rows");
}

/// After any variant no expired row is left, and every live one is.
fn check(database: &Path) {
    let mut connection = connect(database);
    let mut count = |query: &str| sql_query(query).get_result::<Id>(&mut connection).expect("a count").id;
    let expired = count(
        "SELECT count(*) AS id FROM token_blacklist_outstandingtoken WHERE expires_at <= datetime('now', '-90 seconds')",
    );
    let orphans = count(
        "SELECT count(*) AS id FROM token_blacklist_blacklistedtoken WHERE token_id NOT IN (SELECT id FROM token_blacklist_outstandingtoken)",
    );
    assert_eq!((expired, orphans), (0, 0));
}
