//! Revocations per second of eight clients at once: through the ledger, with its rows, its log and its audit, against plain
//! blacklist rows that are inserted one by one, without any trigger, and against the same rows as the ledger's in plain SQL, a
//! transaction for each revocation, and one for eight of them.
//!
//! `cargo bench --bench revoke`, with `COUNT=4000 CLIENTS=8 ROUNDS=5` in the environment for other numbers, `BATCH=50` for more
//! revocations in a transaction of plain SQL, `LEDGERS=8` for as many processes as clients, and for a server `DATABASE=URL` as in
//! the bench `flush`, also for `SERVER_PID`. On a machine that does other things as well the processor time says more than the
//! rate.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]
#![expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]

#[path = "support/store.rs"]
mod store;
mod support;

use std::sync::{Arc, Barrier};
use std::time::Instant;

use chrono::{TimeDelta, Utc};
use diesel::connection::SimpleConnection as _;
use rocket_simplejwt::ledger::{Ledger, LedgerOptions, Revocation, RevokeItem};
use rocket_simplejwt::{Actor, Via};
use store::{AnyConnection, Store};
use support::{median, number, own_cpu, server_cpu, spread, text};

fn main() {
    let (count, clients, rounds) = (number("COUNT", 2000), number("CLIENTS", 8), number("ROUNDS", 5));
    let store = Store::new();
    store.fill(2 * count);
    // Of each round: how many a second, and for how long the processors were at it.
    let (mut rates, mut busy): ([Vec<f64>; 4], [Vec<f64>; 4]) = Default::default();
    for round in 0..rounds {
        for place in 0..VARIANTS.len() {
            let variant = (place + round) % VARIANTS.len();
            let database = store.copy();
            let before = own_cpu() + server_cpu();
            let seconds = VARIANTS[variant].1(&database, clients);
            rates[variant].push(count as f64 / seconds);
            busy[variant].push((own_cpu() + server_cpu() - before) / count as f64);
        }
    }
    let ratio = |of: &[Vec<f64>; 4], to: usize| {
        let ratios: Vec<_> = of[OURS].iter().zip(&of[to]).map(|(ours, other)| ours / other).collect();
        format!("{:.2} ({})", median(&ratios), spread(&ratios))
    };
    println!("{count} revocations of {clients} clients, {rounds} rounds; ours to each by rate, and by processor time");
    for (place, (name, _)) in VARIANTS.iter().enumerate() {
        println!(
            "{name:<26} {:>8.0} a second, processor {:>9}   {:<22} {}",
            median(&rates[place]),
            text(median(&busy[place])),
            ratio(&rates, place),
            ratio(&busy, place)
        );
    }
}

type Variant = fn(&str, usize) -> f64;

const OURS: usize = 1;

const VARIANTS: [(&str, Variant); 4] = [
    ("plain rows, no trigger", insert),
    ("Ledger::revoke", revoke),
    ("the same rows, one by one", same_rows),
    ("the same rows, in batches", same_rows_together),
];

/// Of the tokens that are not blacklisted yet, something that says which, dealt out to the clients.
fn dealt(database: &str, column: &str, clients: usize) -> Vec<Vec<String>> {
    let mut connection = AnyConnection::to(database);
    let found = connection.texts(column, "token_blacklist_outstandingtoken WHERE id % 2 = 1 ORDER BY id");
    let mut hands = vec![Vec::new(); clients];
    for (place, token) in found.into_iter().enumerate() {
        hands[place % clients].push(token);
    }
    hands
}

fn insert(database: &str, clients: usize) -> f64 {
    AnyConnection::to(database).drop_triggers();
    in_batches(database, clients, ("id", 1), |_, ids| blacklist_row(&ids[0]))
}

fn blacklist_row(id: &str) -> String {
    format!(
        "INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id) VALUES ('2026-11-22 10:00:00', {id})"
    )
}

/// What the ledger writes, in the order in which it writes it, and in one message to the server.
fn same_rows(database: &str, clients: usize) -> f64 {
    in_batches(database, clients, ("jti", 1), |begin, jtis| {
        let jti = &jtis[0];
        let of = |column: &str, from: &str, key: &str| format!("(SELECT {column} FROM {from} WHERE jti = '{key}')");
        let row = blacklist_row(&of("id", "token_blacklist_outstandingtoken", jti));
        let session = of("session_id", "simplejwt_token", jti);
        format!(
            "{begin};
             UPDATE simplejwt_token SET revoked_at = '2026-11-22 10:00:00' WHERE jti = '{jti}';
             {row};
             UPDATE simplejwt_session SET ended_at = '2026-11-22 10:00:00', ended_reason = 'token blacklisted',
                ended_by = '{jti}' WHERE id = {session} AND ended_at IS NULL;
             INSERT INTO simplejwt_event (at, action, target, user_id, session_id, who, via)
                VALUES ('2026-11-22 10:00:00', 'blacklist', '{jti}', '7', {session}, 'bench', 'library');
             COMMIT"
        )
    })
}

/// The same rows in as few statements as there are tables, several tokens in a transaction: what they take without anybody who
/// waits for each of them.
fn same_rows_together(database: &str, clients: usize) -> f64 {
    in_batches(database, clients, ("jti", number("BATCH", 8)), |begin, jtis| {
        let those = format!("jti IN ('{}')", jtis.join("', '"));
        format!(
            "{begin};
             UPDATE simplejwt_token SET revoked_at = '2026-11-22 10:00:00' WHERE {those};
             INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id)
                SELECT '2026-11-22 10:00:00', id FROM token_blacklist_outstandingtoken WHERE {those};
             UPDATE simplejwt_session SET ended_at = '2026-11-22 10:00:00', ended_reason = 'token blacklisted',
                ended_by = '{}' WHERE ended_at IS NULL AND id IN (SELECT session_id FROM simplejwt_token WHERE {those});
             INSERT INTO simplejwt_event (at, action, target, user_id, session_id, who, via)
                SELECT '2026-11-22 10:00:00', 'blacklist', jti, '7', session_id, 'bench', 'library'
                FROM simplejwt_token WHERE {those};
             COMMIT",
            jtis[0]
        )
    })
}

/// Has each client run the SQL for its tokens, so many at a time, on a connection of its own.
fn in_batches(
    database: &str,
    clients: usize,
    (named_by, size): (&str, usize),
    sql: fn(&str, &[String]) -> String,
) -> f64 {
    let gate = Arc::new(Barrier::new(clients + 1));
    let hands = dealt(database, named_by, clients);
    let threads: Vec<_> = hands
        .into_iter()
        .map(|hand| {
            let (gate, mut connection) = (Arc::clone(&gate), AnyConnection::to(database));
            let begin = connection.words().begin;
            std::thread::spawn(move || {
                gate.wait();
                for tokens in hand.chunks(size) {
                    let sql = sql(begin, tokens);
                    // The victim of a deadlock begins again.
                    for tries in 0.. {
                        match connection.batch_execute(&sql) {
                            Ok(()) => break,
                            Err(error) => assert!(tries < 100, "{error}: {sql}"),
                        }
                        drop(connection.batch_execute("ROLLBACK"));
                    }
                }
            })
        })
        .collect();
    gate.wait();
    let begun = Instant::now();
    for thread in threads {
        thread.join().expect("an end");
    }
    begun.elapsed().as_secs_f64()
}

fn revoke(database: &str, clients: usize) -> f64 {
    let hands = dealt(database, "jti", clients);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = LedgerOptions::new(database.parse().expect("a URL"));
        let open = || Ledger::open(&options).expect("a ledger");
        let ledgers: Vec<_> = (0..number("LEDGERS", 1)).map(|_| open()).collect();
        let begun = Instant::now();
        let mut all = tokio::task::JoinSet::new();
        for (place, hand) in hands.into_iter().enumerate() {
            let ledger = ledgers[place % ledgers.len()].clone();
            all.spawn(async move {
                for jti in hand {
                    let now = Utc::now();
                    let item = RevokeItem {
                        jti: jti.parse().expect("a jti"),
                        kind: None,
                        session: None,
                        user: None,
                        expires_at: now,
                        keep_until: now + TimeDelta::days(1),
                        session_keep_until: now + TimeDelta::days(1),
                        token_known: true,
                    };
                    let actor = Actor { who: "bench".to_owned(), via: Via::Library, address: None };
                    let order = Revocation { items: vec![item], reason: None, actor, ends_session: true, at: now };
                    ledger.revoke(order).await.expect("a revocation");
                }
            });
        }
        all.join_all().await;
        begun.elapsed().as_secs_f64()
    })
}
