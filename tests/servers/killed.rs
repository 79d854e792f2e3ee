//! A database server that is killed, again and again, while clients are at work: nothing that was acknowledged is lost, and
//! nothing is acknowledged that is not there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::attack::attempt;
use crate::support::database::Kind;
use crate::support::mint::{Claims, jti};
use crate::throwaway::{Site, Throwaway, eventually, signal};
use crate::traffic::{Ask, BLACKLIST, RECOVERY, REFRESH, at_once, blacklist, recorded, whoami};

/// What clients were told of their tokens.
#[derive(Default)]
struct Told {
    revoked: Vec<Claims>,
    /// A token, and its successor's jti.
    rotated: Vec<(Claims, String)>,
    put_off: usize,
}

/// Eight clients, of whom half blacklist and half rotate, until there is nothing left or `stop`.
fn work(port: u16, tokens: &[Claims], stop: &AtomicBool, told: &Mutex<Told>) {
    let queue = Mutex::new(tokens.iter());
    thread::scope(|scope| {
        for client in 0..8 {
            let queue = &queue;
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let next = queue.lock().expect("a lock").next();
                    let Some(token) = next else { break };
                    let path = if client % 2 == 0 { BLACKLIST } else { REFRESH };
                    let start = Instant::now();
                    // We are never killed here, so that there is always an answer.
                    let (status, body) = attempt(port, path, &json!({"refresh": token.sign()})).expect("an answer");
                    assert!(start.elapsed() < Duration::from_secs(4), "{path} took {:?}", start.elapsed());
                    let mut told = told.lock().expect("a lock");
                    match status {
                        200 if path == BLACKLIST => told.revoked.push(token.clone()),
                        200 => told.rotated.push((token.clone(), jti(body["refresh"].as_str().expect("a token")))),
                        503 => told.put_off += 1,
                        _ => panic!("{path}: {status} {body}"),
                    }
                }
            });
        }
    });
}

// Faults 10, 11 and 28.
fn nothing_acknowledged_is_lost(kind: Kind) {
    let rounds = if std::env::var("SIMPLEJWT_LONG").is_ok_and(|long| !long.is_empty()) { 40 } else { 3 };
    let mut site = Site::new(kind).set("rotation_grace", r#""0s""#).started();
    let pair = site.server.login("ada");
    let told = Mutex::new(Told::default());
    for round in 0..rounds {
        let tokens = recorded(&mut site.database(), 3000);
        let stop = AtomicBool::new(false);
        let port = site.server.port();
        thread::scope(|scope| {
            scope.spawn(|| work(port, &tokens, &stop, &told));
            thread::sleep(Duration::from_millis(400));
            if site.host.is_postgres() && round % 2 == 1 {
                immediate_end(&site.host);
            }
            site.host.kill_and_restart();
            // It comes back while they all go on asking.
            eventually(RECOVERY, || whoami(&site.server, &pair.access) == 200);
            thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::SeqCst);
        });
        let mut database = site.database();
        let told = told.lock().expect("a lock");
        for token in &told.revoked {
            assert!(database.is_blacklisted(token.jti()), "round {round}: acknowledged and forgotten");
        }
        for (token, successor) in &told.rotated {
            assert!(database.is_blacklisted(token.jti()), "round {round}: rotated, and not superseded");
            assert!(database.is_outstanding(successor), "round {round}: the successor is not known");
        }
        database.assert_sound();
    }
    let told = told.into_inner().expect("a lock");
    for token in told.revoked.iter().chain(told.rotated.iter().map(|(token, _)| token)) {
        let reply = Ask::Refresh(token.sign()).send(site.server.client());
        assert_eq!(reply.status, 401, "{reply:?}");
    }
    // Who was put off may ask again, whatever has become of it.
    assert!(told.revoked.len() > 20 && told.rotated.len() > 20 && told.put_off > 0, "{}", told.put_off);
    let pair = site.server.login("ada");
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert_eq!(whoami(&site.server, &pair.access), 401);
}

/// The end that `pg_ctl -m immediate` brings about.
fn immediate_end(host: &Throwaway) {
    let pid = host.processes()[0];
    signal(pid, "QUIT");
}

// Fault 30.
fn connections_that_the_server_closed_are_replaced(kind: Kind) {
    let site = Site::new(kind);
    if kind == Kind::Mysql {
        site.set_global("wait_timeout", "2");
    }
    let site = site.started();
    let pair = site.server.login("ada");
    let all_at_once = || at_once(8, || whoami(&site.server, &pair.access));
    assert_eq!(all_at_once(), [200; 8]);
    if kind == Kind::Mysql {
        let mut database = site.database();
        database.execute("SET SESSION wait_timeout = 600");
        let ours = format!("information_schema.processlist WHERE db = '{}' AND id <> connection_id()", site.name());
        // One is used now and then, to keep the log of revocations in order.
        eventually(Duration::from_secs(20), || database.count(&ours) <= 1);
    } else {
        let terminate = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = '{}' AND pid <> pg_backend_pid()",
            site.name()
        );
        assert!(site.database().number(&terminate) > 0);
        // A connection that was used a moment ago is not asked first whether it is still there.
        assert!(matches!(whoami(&site.server, &pair.access), 200 | 503));
        thread::sleep(Duration::from_millis(1100));
    }
    assert_eq!(all_at_once(), [200; 8]);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
}

on_both!(nothing_acknowledged_is_lost, connections_that_the_server_closed_are_replaced);
