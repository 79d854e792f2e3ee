//! Revocations per second of eight clients at once: through the ledger, with its rows, its log and its audit, against plain
//! blacklist rows that are inserted one by one, without any trigger.
//!
//! `cargo bench --bench revoke`, with `COUNT=4000 CLIENTS=8 ROUNDS=5` in the environment for other numbers, `LEDGERS=8` for
//! as many processes as clients, and for a server `DATABASE=URL` as in the bench `flush`, also for `SERVER_PID`. On a machine that does
//! other things as well the processor time says more than the rate.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]
#![expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]

#[path = "support/store.rs"]
mod store;
mod support;

use std::sync::{Arc, Barrier};
use std::time::Instant;

use chrono::{TimeDelta, Utc};
use rocket_simplejwt::ledger::{Ledger, LedgerOptions, Revocation, RevokeItem};
use rocket_simplejwt::{Actor, Via};
use store::{AnyConnection, Store};
use support::{median, number, own_cpu, server_cpu, spread, text};

fn main() {
    let (count, clients, rounds) = (number("COUNT", 2000), number("CLIENTS", 8), number("ROUNDS", 5));
    let store = Store::new();
    store.fill(2 * count);
    // Of each round: how many a second, and for how long the processors were at it.
    let (mut rates, mut busy): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
    for round in 0..rounds {
        for place in 0..2 {
            let ours = (place + round) % 2;
            let database = store.copy();
            let before = own_cpu() + server_cpu();
            let seconds = if ours == 1 { revoke(&database, clients) } else { insert(&database, clients) };
            rates[ours].push(count as f64 / seconds);
            busy[ours].push((own_cpu() + server_cpu() - before) / count as f64);
        }
    }
    let ratio = |of: &[Vec<f64>; 2]| {
        let ratios: Vec<_> = of[1].iter().zip(&of[0]).map(|(ours, plain)| ours / plain).collect();
        format!("{:.3} ({})", median(&ratios), spread(&ratios))
    };
    println!("{count} revocations of {clients} clients, {rounds} rounds");
    for (name, place) in [("plain rows, no trigger", 0), ("Ledger::revoke", 1)] {
        println!("{name:<24} {:>8.0} a second, processor {}", median(&rates[place]), text(median(&busy[place])));
    }
    println!("ratio of the rates       {}", ratio(&rates));
    println!("of processor time        {}", ratio(&busy));
}

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
    let gate = Arc::new(Barrier::new(clients + 1));
    let hands = dealt(database, "id", clients);
    let threads: Vec<_> = hands
        .into_iter()
        .map(|hand| {
            let (gate, mut connection) = (Arc::clone(&gate), AnyConnection::to(database));
            std::thread::spawn(move || {
                gate.wait();
                for id in hand {
                    connection.run(&format!(
                        "INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id) \
                         VALUES ('2026-11-22 10:00:00', {id})"
                    ));
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
