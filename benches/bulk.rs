//! What the triggers of the log cost whoever writes many rows in one transaction: blacklist rows inserted, and Django's
//! `flushexpiredtokens`, each with the triggers and without them.
//!
//! `cargo bench --bench bulk`, with `ROWS=125000 ROUNDS=5` in the environment for other sizes, and for a server `DATABASE=URL` as
//! in the bench `flush`, also for `SERVER_PID`.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]
#![expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]

#[path = "support/store.rs"]
mod store;
mod support;

use std::time::Instant;

use store::{AnyConnection, Store, horizon};
use support::{median, number, own_cpu, server_cpu, spread, text};

fn main() {
    let (rows, rounds) = (number("ROWS", 500_000), number("ROUNDS", 3));
    let inserted = [rows / 20, rows / 10, rows / 5];
    let store = Store::new();
    println!("making a ledger of {rows} tokens");
    store.fill(rows);
    let names: Vec<_> = inserted
        .iter()
        .map(|count| (format!("{count} blacklist rows inserted"), *count))
        .chain([(format!("Django's flush of {} tokens", rows / 10 * 9), rows / 10 * 9)])
        .collect();
    // Of each work: how long it took, and how long the CPU, without triggers and with them.
    let mut times = vec![[const { Vec::new() }; 2]; names.len()];
    for round in 0..rounds {
        for place in 0..2 {
            let triggers = (place + round) % 2;
            let connection = &mut AnyConnection::to(&store.copy());
            if triggers == 0 {
                connection.drop_triggers();
            }
            let mut from = 0;
            for (times, count) in times.iter_mut().zip(inserted) {
                times[triggers].push(timed(|| insert(connection, from, count)));
                from += count;
            }
            times[inserted.len()][triggers].push(timed(|| flush_as_django(connection)));
        }
    }
    println!("\n{rounds} rounds, each in one transaction");
    println!(
        "{:<40} {:>12} {:>12} {:>16}   {:>7} {:>15} {:>12}",
        "", "without", "triggers", "each row", "ratio", "spread", "ratio of CPU"
    );
    for ((name, count), [without, with]) in names.iter().zip(&times) {
        let of = |runs: &[(f64, f64)], part: fn(&(f64, f64)) -> f64| runs.iter().map(part).collect::<Vec<_>>();
        let ratios = |part| {
            let pairs = of(with, part).into_iter().zip(of(without, part));
            pairs.map(|(with, without)| with / without).collect::<Vec<_>>()
        };
        let (wall, cpu) = (ratios(|run| run.0), ratios(|run| run.1));
        let (without, with) = (of(without, |run| run.0), of(with, |run| run.0));
        println!(
            "{name:<40} {:>12} {:>12} {:>16}   {:>7.2} {:>15} {:>12.2}",
            text(median(&without)),
            text(median(&with)),
            text(median(&with) / *count as f64),
            median(&wall),
            spread(&wall),
            median(&cpu),
        );
    }
}

fn timed(work: impl FnOnce()) -> (f64, f64) {
    let (begun, busy) = (Instant::now(), own_cpu() + server_cpu());
    work();
    (begun.elapsed().as_secs_f64(), own_cpu() + server_cpu() - busy)
}

/// Blacklists so many of the tokens that are not, each second one, in lists of values as Django's `bulk_create` does.
fn insert(connection: &mut AnyConnection, from: usize, count: usize) {
    let begin = connection.words().begin;
    let ids: Vec<_> = (from..from + count).map(|place| format!("('2026-11-22 10:00:00', {})", 2 * place + 1)).collect();
    connection.run(begin);
    for values in ids.chunks(1000) {
        let values = values.join(",");
        connection
            .run(&format!("INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id) VALUES {values}"));
    }
    connection.run("COMMIT");
}

/// Deletes what has expired as Django's collector does: all the keys, then the children in long lists, then the parents in
/// hundreds, from the last to the first.
fn flush_as_django(connection: &mut AnyConnection) {
    let begin = connection.words().begin;
    connection.run(begin);
    let expired = format!("token_blacklist_outstandingtoken WHERE expires_at <= '{}' ORDER BY id DESC", horizon());
    let ids = connection.texts("id", &expired);
    for (table, key, most) in
        [("token_blacklist_blacklistedtoken", "token_id", 900), ("token_blacklist_outstandingtoken", "id", 100)]
    {
        for ids in ids.chunks(most) {
            connection.run(&format!("DELETE FROM {table} WHERE {key} IN ({})", ids.join(",")));
        }
    }
    connection.run("COMMIT");
}
