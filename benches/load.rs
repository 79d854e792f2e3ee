//! How long a server takes until everything that is refused is in memory, against `psql` copying the same columns to nowhere, and
//! how much memory it takes beside the index.
//!
//! `DATABASE=postgres://user@host cargo bench --features postgres --bench load`, with `ROWS=10000000 ROUNDS=5` in the environment
//! for other sizes, and `KEEP=1` to use the databases again the next time. The user has to be a superuser, and `psql` has to be
//! installed; on the server two databases are made and removed. (`scripts/throwaway postgres --on-disk` starts a server.)

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![expect(clippy::cast_precision_loss, reason = "times and counts of a bench are small")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use rocket_simplejwt::Simplejwt;
use rocket_simplejwt::service::OpenMode;
use rocket_simplejwt::settings::{BlacklistKind, Secret, Settings};
use support::{median, spread};

/// Rows as they are after somebody revoked so many tokens, and what has to be read of them.
struct Ledger {
    name: &'static str,
    database: &'static str,
    fill: &'static str,
    copies: &'static [&'static str],
}

/// Of what is on the blacklist, what was not revoked here.
const LISTED: &str = "SELECT b.id, o.jti, o.expires_at, o.created_at, t.*, s.keep_until \
    FROM token_blacklist_blacklistedtoken b JOIN token_blacklist_outstandingtoken o ON o.id = b.token_id \
    LEFT JOIN (SELECT jti, kind, session_id, superseded_at, revoked_at, keep_until FROM simplejwt_token) t USING (jti) \
    LEFT JOIN simplejwt_session s ON s.id = t.session_id \
    WHERE t.superseded_at IS NULL AND t.revoked_at IS NULL";

/// What was revoked here.
const REVOKED: &str = "SELECT t.jti, t.kind, t.session_id, t.superseded_at, t.revoked_at, t.keep_until, o.expires_at, o.created_at \
    FROM simplejwt_token t LEFT JOIN token_blacklist_outstandingtoken o USING (jti) \
    WHERE t.revoked_at IS NOT NULL AND (t.kind IS NULL OR t.kind <> 'refresh')";

const LEDGERS: [Ledger; 2] = [
    Ledger { name: "blacklisted by Django", database: "simplejwt_bench_load_django", fill: "", copies: &[LISTED] },
    Ledger {
        name: "access tokens revoked here",
        database: "simplejwt_bench_load_own",
        fill: "INSERT INTO simplejwt_token (jti, kind, session_id, revoked_at, keep_until) \
               SELECT jti, 'access', '01890000-0000-7000-8000-' || lpad((id / 4)::text, 12, '0'), now(), expires_at \
               FROM token_blacklist_outstandingtoken;",
        copies: &[LISTED, REVOKED],
    },
];

/// A row for each token, as Django and we write them, recorded in the order in which they expire. The trigger is out of force
/// meanwhile: nobody follows the log yet.
const FILL: &str = "ALTER TABLE token_blacklist_blacklistedtoken DISABLE TRIGGER simplejwt_blacklisted; \
    SET session_replication_role = replica; \
    INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, user_id, jti) \
    SELECT repeat(md5(i::text), 7), now(), now() + (86400 + 86400.0 * i / {}) * interval '1 second', (i % 100000)::text, \
           md5(i || random()::text) FROM generate_series(1, {}) AS n(i); \
    INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id) \
    SELECT now(), id FROM token_blacklist_outstandingtoken; \
    ALTER TABLE token_blacklist_blacklistedtoken ENABLE ALWAYS TRIGGER simplejwt_blacklisted;";

fn main() {
    if let Some(url) = env::args().find(|word| word.starts_with("postgres://")) {
        return load(&url);
    }
    let Ok(server) = env::var("DATABASE") else {
        println!("DATABASE=postgres://user@host is not set: nothing is measured");
        return;
    };
    let (server, rows, rounds) = (server.trim_end_matches('/'), number("ROWS", 1_000_000), number("ROUNDS", 5));
    for ledger in &LEDGERS {
        bench(server, ledger, rows, rounds);
    }
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn bench(server: &str, ledger: &Ledger, rows: usize, rounds: usize) {
    let (admin, url) = (format!("{server}/postgres"), format!("{server}/{}", ledger.database));
    let remove = format!("DROP DATABASE IF EXISTS {}", ledger.database);
    let keep = env::var_os("KEEP").is_some();
    if !keep {
        psql(&admin, &remove);
    }
    if !keep || !is_there(&url) {
        psql(&admin, &format!("CREATE DATABASE {}", ledger.database));
        drop(open(&url));
        psql(&url, &format!("{} {}", FILL.replace("{}", &rows.to_string()), ledger.fill));
        psql(&url, "VACUUM ANALYZE");
    }
    // Once without a measurement, so that every round finds the same in the caches.
    copy(&url, ledger);
    let (mut copies, mut loads, mut beside) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        copies.push(copy(&url, ledger));
        let (took, index, most) = load_apart(&url, rows);
        loads.push(took);
        beside.push((most - index) / 1e6);
    }
    let ratios: Vec<f64> = loads.iter().zip(&copies).map(|(load, copy)| load / copy).collect();
    println!("\n{rows} tokens, {} ({rounds} rounds)", ledger.name);
    println!("psql \\copy to /dev/null  {:>8.2} s", median(&copies));
    println!("into the index           {:>8.2} s  ratio {:.2} ({})", median(&loads), median(&ratios), spread(&ratios));
    println!(
        "memory beside the index  {:>8.0} MB at most, before the load {:.0} MB",
        median(&beside),
        resident("VmRSS:") / 1e6
    );
    if !keep {
        psql(&admin, &remove);
    }
}

fn is_there(url: &str) -> bool {
    let ask = Command::new("psql").args(["--no-psqlrc", "--command=SELECT 1", url]).stderr(Stdio::null()).output();
    ask.expect("psql").status.success()
}

fn psql(url: &str, sql: &str) {
    let mut child = Command::new("psql")
        .args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", url])
        .stdin(Stdio::piped())
        .spawn()
        .expect("psql");
    child.stdin.take().expect("a pipe").write_all(sql.as_bytes()).expect("psql reads");
    assert!(child.wait().expect("psql ends").success(), "{sql}");
}

fn copy(url: &str, ledger: &Ledger) -> f64 {
    let begun = Instant::now();
    for copy in ledger.copies {
        psql(url, &format!("\\copy ({copy}) TO '/dev/null'"));
    }
    begun.elapsed().as_secs_f64()
}

/// In a process of its own, so that its memory can be told: the seconds, the bytes of the index, the most bytes at once.
fn load_apart(url: &str, rows: usize) -> (f64, f64, f64) {
    let program = env::current_exe().expect("this program");
    let output = Command::new(program).arg(url).stderr(Stdio::inherit()).output().expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [took, entries, index, most] = numbers[..] else { panic!("{text}") };
    assert!((entries - rows as f64).abs() < 0.5, "{text}");
    (took, index, most)
}

fn load(url: &str) {
    let jwt = open(url);
    let runtime = runtime();
    let begun = Instant::now();
    let following = runtime.spawn({
        let jwt = jwt.clone();
        async move { jwt.follow_revocations().await }
    });
    // Before it is followed, the blacklist asks the database, and is ready too.
    let state = loop {
        std::thread::sleep(Duration::from_millis(1));
        match jwt.cache_state() {
            Some(state) if state.ready && state.sequence.is_some() => break state,
            _ => {}
        }
    };
    println!("{} {} {} {}", begun.elapsed().as_secs_f64(), state.entries, state.bytes, resident("VmHWM:"));
    following.abort();
}

fn open(url: &str) -> Simplejwt {
    let mut settings = Settings::default();
    settings.signing_key = Some(Secret::new("only for this bench, on a database of its own"));
    settings.database_url = Some(url.to_owned());
    settings.blacklist = BlacklistKind::Cached;
    runtime().block_on(Simplejwt::builder(settings).open(OpenMode::Serve)).expect("a ledger")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// A line about the memory of this process, in bytes.
fn resident(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("the proc file system");
    let line = status.lines().find_map(|found| found.strip_prefix(line)).expect("a line about memory");
    line.trim_end_matches("kB").trim().parse::<f64>().expect("a number") * 1024.0
}
