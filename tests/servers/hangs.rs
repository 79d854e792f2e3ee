//! A database that takes connections and says nothing, or loses an answer. It must not hang a request, and the pool must not
//! be exhausted for ever.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::proxy::Proxy;
use crate::support::attack::{VERIFY, WHOAMI};
use crate::support::database::{Kind, OUTSTANDING};
use crate::support::mint::jti;
use crate::throwaway::{Site, eventually, signal};
use crate::traffic::{ANSWER, Ask, RECOVERY, assert_put_off, at_once, blacklist, recorded, threads, whoami};

// Fault 12.
fn a_frozen_server_hangs_nobody(kind: Kind) {
    let site = Site::with_ada(kind);
    let (pair, other) = (site.server.login("ada"), site.server.login("ada"));
    // Whoever is asked to revoke something refuses it from then on, though nobody may know whether it was done.
    let asks = Ask::all(&pair, other.refresh.clone(), site.server.login("ada").refresh);
    let client = site.server.client();
    // Every thread that a request may need is there.
    at_once(16, || whoami(&site.server, &pair.access));
    let before = threads(site.server.pid());
    site.host.freeze();
    thread::scope(|scope| {
        for command in [&["blacklist", "a-token"][..], &["status"], &["check", "a-token"]] {
            let site = &site;
            scope.spawn(move || {
                let start = Instant::now();
                let output = site.cli(command);
                assert_eq!(output.code(), 75, "{command:?}: {output:?}");
                assert!(start.elapsed() < Duration::from_secs(6), "{command:?} took {:?}", start.elapsed());
            });
        }
        // More than there are connections, and several times.
        for client_number in 0..24 {
            let asks = &asks;
            scope.spawn(move || {
                for round in 0..3 {
                    assert_put_off(&asks[(client_number + round) % asks.len()], client);
                }
            });
        }
        for _ in 0..30 {
            let start = Instant::now();
            assert_eq!(client.get("/health/live", None).status, 200);
            assert_eq!(client.get(WHOAMI, Some("x.y.z")).status, 401, "this needs no database");
            assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
            let now = threads(site.server.pid());
            assert!(now <= before + 8, "{before} threads became {now}");
            thread::sleep(Duration::from_millis(100));
        }
    });
    site.host.thaw();
    eventually(RECOVERY, || Ask::Ready.send(client).json()["status"] == "ready");
    assert_eq!(at_once(8, || whoami(&site.server, &other.access)), [200; 8]);
    // What was asked for meanwhile may have been done, and is done now if somebody asks again.
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert_eq!(whoami(&site.server, &pair.access), 401);
}

fn a_frozen_server_does_not_keep_ours_from_ending(kind: Kind) {
    let mut site = Site::with_ada(kind);
    let pair = site.server.login("ada");
    site.host.freeze();
    assert_eq!(whoami(&site.server, &pair.access), 503);
    let start = Instant::now();
    site.terminate();
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
}

fn connections_that_never_come_back_are_given_up(kind: Kind) {
    let site = Site::new(kind).set("database_pool_size", "2");
    let proxy = Proxy::to(site.host.port);
    let url = site.url(proxy.port, "simplejwt");
    let site = site.set("database_url", &format!("{url:?}")).started();
    let pair = site.server.login("ada");
    let ask = Ask::Whoami(pair.access.clone());
    at_once(4, || whoami(&site.server, &pair.access));
    proxy.stall();
    let (start, connections) = (Instant::now(), proxy.count());
    at_once(4, || assert_put_off(&ask, site.server.client()));
    // Both connections hang. After ten deadlines of two seconds others take their place.
    let took = eventually(Duration::from_secs(30), || ask.send(site.server.client()).status == 200);
    assert!(took > Duration::from_secs(10), "given up too early: {:?}", start.elapsed());
    for _ in 0..10 {
        assert_eq!(whoami(&site.server, &pair.access), 200);
    }
    assert!(proxy.count() <= connections + 2, "{} new connections", proxy.count() - connections);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert!(site.database().is_blacklisted(&jti(&pair.refresh)));
}

fn a_server_that_takes_connections_and_says_nothing_is_out_of_reach(kind: Kind) {
    let site = Site::new(kind);
    let proxy = Proxy::to(site.host.port);
    let url = site.url(proxy.port, "simplejwt");
    let site = site.set("database_url", &format!("{url:?}")).started();
    let pair = site.server.login("ada");
    proxy.stall_new(true);
    proxy.reset();
    for _ in 0..2 {
        let start = Instant::now();
        assert_eq!(whoami(&site.server, &pair.access), 503);
        assert!(start.elapsed() < ANSWER);
    }
    for command in [&["blacklist", "a"][..], &["status"], &["migrate", "--check"]] {
        let start = Instant::now();
        let output = site.cli(command);
        assert_eq!(output.code(), 75, "{command:?}: {output:?}");
        assert!(start.elapsed() < Duration::from_secs(6), "{command:?} took {:?}", start.elapsed());
    }
    proxy.stall_new(false);
    proxy.reset();
    eventually(RECOVERY, || whoami(&site.server, &pair.access) == 200);
}

// Fault 24.
fn an_answer_to_a_commit_that_is_lost_is_no_acknowledgement(kind: Kind) {
    let site = Site::new(kind);
    let proxy = Proxy::to(site.host.port);
    let url = site.url(proxy.port, "simplejwt");
    let site = site.set("database_url", &format!("{url:?}")).started();
    let (pair, other) = (site.server.login("ada"), site.server.login("ada"));
    let mut database = site.database();

    proxy.lose_next_commit();
    assert_put_off(&Ask::Blacklist(pair.refresh.clone()), site.server.client());
    assert!(proxy.has_lost_a_commit());
    assert!(database.is_blacklisted(&jti(&pair.refresh)), "the server had done it");
    assert_eq!(whoami(&site.server, &pair.access), 401, "and so it counts");
    assert_eq!(blacklist(&site.server, &pair.refresh), 200, "asking again is no error");

    let successors = database.count(OUTSTANDING);
    proxy.lose_next_commit();
    assert_put_off(&Ask::Refresh(other.refresh.clone()), site.server.client());
    assert!(database.is_blacklisted(&jti(&other.refresh)), "it was replaced");
    assert_eq!(database.count(OUTSTANDING), successors + 1, "by a token that nobody has");
    let reply = Ask::Refresh(other.refresh).send(site.server.client());
    assert_eq!(reply.status, 200, "asking again gives that token: {reply:?}");
    assert_eq!(database.count(OUTSTANDING), successors + 1);
    assert!(database.is_outstanding(&jti(&reply.string("refresh"))));

    proxy.lose_next_commit();
    assert_put_off(&Ask::Login, site.server.client());
    assert_eq!(Ask::Login.send(site.server.client()).status, 200);

    proxy.lose_next_commit();
    let output = site.cli(&["blacklist", "by-command"]);
    assert_eq!(output.code(), 75, "{output:?}");
    assert!(database.is_blacklisted("by-command"));
    assert_eq!(site.cli(&["blacklist", "by-command"]).code(), 0);
    database.assert_sound();
}

fn connections_that_break_cost_no_more_than_a_request(kind: Kind) {
    let site = Site::new(kind);
    let proxy = Proxy::to(site.host.port);
    let url = site.url(proxy.port, "simplejwt");
    let site = site.set("database_url", &format!("{url:?}")).started();
    let tokens = recorded(&mut site.database(), 200);
    let (mut done, mut put_off) = (0, 0);
    for (number, token) in tokens.iter().enumerate() {
        if number % 10 == 5 {
            proxy.reset();
        }
        match blacklist(&site.server, &token.sign()) {
            200 => {
                assert!(site.database().is_blacklisted(token.jti()));
                done += 1;
            }
            503 => put_off += 1,
            status => panic!("{status}"),
        }
    }
    assert!(done >= 160 && put_off <= 40, "{done} done, {put_off} put off");
}

// Faults 16 and 17.
#[test]
fn postgres_without_its_synchronous_standby_acknowledges_nothing() {
    let site = Site::new(Kind::Postgres);
    // Who cancels the wait for the standby gets a commit with a mere warning, so our sessions must not.
    site.database().execute("ALTER ROLE simplejwt SET statement_timeout = '500ms'");
    let site = site.started();
    let (pair, other) = (site.server.login("ada"), site.server.login("ada"));
    site.set_global("synchronous_standby_names", "'nobody'");
    assert_put_off(&Ask::Blacklist(pair.refresh.clone()), site.server.client());
    assert_put_off(&Ask::Login, site.server.client());
    assert_eq!(whoami(&site.server, &other.access), 200, "reading waits for no standby");
    let start = Instant::now();
    let output = site.cli(&["blacklist", "by-command"]);
    assert_eq!(output.code(), 75, "{output:?}");
    assert!(start.elapsed() < Duration::from_secs(6));
    // Whoever changes this must not wait for the standby: it is no transaction.
    site.set_global("synchronous_standby_names", "''");
    let mut database = site.database();
    eventually(RECOVERY, || database.is_blacklisted(&jti(&pair.refresh)));
    eventually(RECOVERY, || whoami(&site.server, &pair.access) == 401);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    assert_eq!(site.cli(&["blacklist", "by-command"]).code(), 0);
    site.server.client().post_json(VERIFY, &json!({"token": other.access})).assert(200, &json!({}));
    database.assert_sound();
}

/// Whoever stops a whole machine stops ours too.
#[test]
fn a_frozen_process_of_ours_goes_on_where_it_was() {
    let site = Site::with_ada(Kind::Postgres);
    let pair = site.server.login("ada");
    signal(site.server.pid(), "STOP");
    let output = site.cli(&["blacklist", &jti(&pair.refresh)]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(Command::new("sleep").arg("2").status().expect("run sleep").success());
    signal(site.server.pid(), "CONT");
    assert_eq!(whoami(&site.server, &pair.access), 401);
}

on_both!(
    a_frozen_server_hangs_nobody,
    a_frozen_server_does_not_keep_ours_from_ending,
    connections_that_never_come_back_are_given_up,
    a_server_that_takes_connections_and_says_nothing_is_out_of_reach,
    an_answer_to_a_commit_that_is_lost_is_no_acknowledgement,
    connections_that_break_cost_no_more_than_a_request,
);
