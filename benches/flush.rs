//! `flushexpiredtokens` on a ledger of a million tokens, 90 % of them expired and half of all blacklisted, against the same
//! batches as raw SQL and, on PostgreSQL, against one DELETE for each table; beside a server that rotates a refresh token every 2 ms.
//!
//! `cargo bench --bench flush`, with `ROWS=100000 ROUNDS=5` in the environment for other sizes, and for a server
//! `DATABASE=postgres://user@host` (`--features postgres`) or `DATABASE=mysql://user:password@host` (`--features mysql`): on it a
//! database `simplejwt_bench_template` and one of copies are made and removed. Each variant works on its own copy of the same
//! rows and in its own process, so that its memory can be told. On a busy machine `SERVER_PID=… ALONE=1` says more: the time of
//! the CPU, that of the server's process included, with no server of ours beside.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "times and counts of a bench are small"
)]

#[path = "support/store.rs"]
mod store;
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use rocket_simplejwt::service::FlushOptions;
use rocket_simplejwt::{Actor, AdminAccess, Issue, Simplejwt, Via};
use store::{AnyConnection, Store, Words, horizon, open};
use support::{median, number, own_cpu, quantile, server_cpu, spread, text};

/// The model of the others is the first.
const VARIANTS: [&str; 3] = ["raw batches", "flushexpiredtokens", "one DELETE a table"];

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.iter().position(|word| word == "--role") {
        Some(at) => child(&arguments[at + 1], &arguments[at + 2]),
        None => parent(),
    }
}

fn parent() {
    let (rows, rounds) = (number("ROWS", 1_000_000), number("ROUNDS", 3));
    let store = Store::new();
    println!("making a ledger of {rows} tokens");
    store.fill(rows);
    // Elsewhere one DELETE holds up every writer until it ends.
    let variants = if store.is_postgres() { &VARIANTS[..] } else { &VARIANTS[..2] };
    let mut results: Vec<Vec<Measured>> = variants.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for place in 0..variants.len() {
            let index = (place + round) % variants.len();
            let copy = store.copy();
            let run = measure(variants[index], &copy);
            println!("round {}: {} in {}, p99 {}", round + 1, variants[index], text(run.wall), text(run.stalls.1));
            results[index].push(run);
        }
    }
    println!("\n{rounds} rounds; stall: how long one rotation of the server beside took");
    println!(
        "{:<20} {:>9} {:>22} {:>16} {:>9}   {:>10} {:>10} {:>10} {:>9}",
        "", "wall", "to raw batches", "CPU, to raw", "memory", "stall p50", "p99", "worst", "rotations"
    );
    for (name, runs) in variants.iter().zip(&results) {
        let column = |value: fn(&Measured) -> f64| runs.iter().map(value).collect::<Vec<_>>();
        let walls = column(|run| run.wall);
        let cpus = column(|run| run.cpu);
        let cpu_ratios: Vec<_> = cpus.iter().zip(&results[0]).map(|(cpu, raw)| cpu / raw.cpu).collect();
        let ratios: Vec<_> = walls.iter().zip(&results[0]).map(|(wall, raw)| wall / raw.wall).collect();
        println!(
            "{name:<20} {:>9} {:>7.3} ({}) {:>8.2} s {:>5.3} {:>5.0} MiB   {:>10} {:>10} {:>10} {:>9.0}",
            text(median(&walls)),
            median(&ratios),
            spread(&ratios),
            median(&cpus),
            median(&cpu_ratios),
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
    /// Seconds of CPU, with those of the server if `SERVER_PID` says which it is.
    cpu: f64,
    /// Median, 99th percentile, worst.
    stalls: (f64, f64, f64),
    rotations: f64,
}

fn measure(variant: &str, database: &str) -> Measured {
    let alone = number("ALONE", 0) == 1;
    let mut server = spawn(if alone { "nobody" } else { "server" }, database);
    let mut output = BufReader::new(server.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line when it is ready");

    let before = server_cpu();
    let worker = spawn(variant, database).wait_with_output().expect("an end");
    assert!(worker.status.success(), "{variant} failed");
    // Time for its connections to end.
    std::thread::sleep(Duration::from_millis(200));
    let busy = server_cpu() - before;
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
        cpu: told[2] + busy,
        stalls: (median(&times), quantile(&times, 0.99), times.iter().copied().fold(0.0, f64::max)),
        rotations: times.len() as f64,
    }
}

fn spawn(role: &str, database: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--role", role, database])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

fn child(role: &str, database: &str) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match role {
        "server" => return runtime.block_on(serve(database)),
        "nobody" => {
            println!("ready");
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            return;
        }
        _ => {}
    }
    let begun = Instant::now();
    match role {
        "flushexpiredtokens" => runtime.block_on(async {
            let jwt = open(database).await;
            let never = AtomicBool::new(false);
            jwt.flush_expired_tokens(&FlushOptions::default(), &never, |_| ()).await.expect("a flush");
        }),
        "raw batches" => raw_batches(&mut AnyConnection::to(database)),
        _ => raw_delete(&mut AnyConnection::to(database)),
    }
    println!("{} {} {}", begun.elapsed().as_secs_f64(), peak_memory(), own_cpu());
}

/// Rotates a refresh token every 2 ms until its input ends, then tells how long each rotation took.
async fn serve(database: &str) {
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
async fn open_with_nobody(database: &str) -> Simplejwt {
    let jwt = open(database).await;
    let by = Actor { who: "bench".to_owned(), via: Via::Library, address: None };
    let added = jwt.add_user("bench", None, "a password for the bench", AdminAccess::None, &by).await;
    added.expect("a user");
    jwt
}

fn raw_delete(connection: &mut AnyConnection) {
    let Words { begin, facts, .. } = connection.words();
    let expired = format!("expires_at <= '{}'", horizon());
    connection.run(&format!(
        "{begin};
         DELETE FROM token_blacklist_blacklistedtoken
            WHERE token_id IN (SELECT id FROM token_blacklist_outstandingtoken WHERE {expired});
         {};
         DELETE FROM token_blacklist_outstandingtoken WHERE {expired};
         DELETE FROM simplejwt_session WHERE keep_until <= '{}';
         DELETE FROM simplejwt_revocation WHERE {};
         COMMIT",
        facts.replace("{}", &expired),
        Utc::now().format("%F %T"),
        old_in_log(),
    ));
}

/// The same batches, with the same rule for their size and the same rest between them, and nothing else.
fn raw_batches(connection: &mut AnyConnection) {
    let facts = connection.words().facts;
    let delete = |ids: &str| {
        format!(
            "DELETE FROM token_blacklist_blacklistedtoken WHERE token_id IN ({ids});
             {};
             DELETE FROM token_blacklist_outstandingtoken WHERE id IN ({ids});",
            facts.replace("{}", &format!("id IN ({ids})"))
        )
    };
    let expired =
        format!("token_blacklist_outstandingtoken WHERE expires_at <= '{}' ORDER BY expires_at, id", horizon());
    let mut rows = in_batches(connection, 200, "id", &expired, delete);
    let over = format!("simplejwt_session WHERE keep_until <= '{}' ORDER BY keep_until", Utc::now().format("%F %T"));
    rows =
        in_batches(connection, rows, "id", &over, |ids| format!("DELETE FROM simplejwt_session WHERE id IN ({ids});"));
    let old = format!("simplejwt_revocation WHERE {} ORDER BY seq", old_in_log());
    rows = in_batches(connection, rows, "seq", &old, |seqs| {
        format!("DELETE FROM simplejwt_revocation WHERE seq IN ({seqs});")
    });
    assert!(rows > 0);
}

/// What nobody reads any more: written a day before what was written last expires.
fn old_in_log() -> String {
    format!("at <= '{}'", (Utc::now() - TimeDelta::hours(36)).format("%F %T"))
}

/// Gives the size of the last batch.
fn in_batches(
    connection: &mut AnyConnection,
    rows: usize,
    key: &str,
    from: &str,
    delete: impl Fn(&str) -> String,
) -> usize {
    let mut rows = rows;
    let Words { begin: lock, pace: (time, rest), .. } = connection.words();
    loop {
        connection.run(lock);
        let begun = Instant::now();
        let found = connection.texts(key, &format!("{from} LIMIT {rows}"));
        if !found.is_empty() {
            let quoted = |id: &String| if key == "id" && id.contains('-') { format!("'{id}'") } else { id.clone() };
            let ids = found.iter().map(quoted).collect::<Vec<_>>().join(",");
            connection.run(&delete(&ids));
        }
        connection.run("COMMIT");
        if found.len() < rows {
            return rows;
        }
        let fits = time.as_secs_f64() / begun.elapsed().as_secs_f64();
        rows = ((rows as f64 * fits.clamp(0.5, 2.0)) as usize).clamp(20, 20_000);
        std::thread::sleep(rest);
    }
}

fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    kib / 1024.0
}

/// After any variant no expired row is left, and every live one is.
fn check(database: &str) {
    let mut connection = AnyConnection::to(database);
    let expired = format!("token_blacklist_outstandingtoken WHERE expires_at <= '{}'", horizon());
    let orphans = "token_blacklist_blacklistedtoken AS listed WHERE NOT EXISTS \
                   (SELECT 1 FROM token_blacklist_outstandingtoken AS token WHERE token.id = listed.token_id)";
    let (old, over) = (
        format!("simplejwt_revocation WHERE {}", old_in_log()),
        format!("simplejwt_session WHERE keep_until <= '{}'", horizon()),
    );
    let left = [expired.as_str(), orphans, &over, &old].map(|from| connection.texts("count(*)", from).concat());
    assert_eq!(left, ["0"; 4]);
}
