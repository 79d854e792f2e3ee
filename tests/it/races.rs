//! Many at once, over two server processes on one database. `TEST_RACE_ROUNDS` says how often each race is run.

use std::collections::HashMap;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::database::OUTSTANDING;
use crate::support::mint::{claims, jti};
use crate::support::server::Server;

const CALLERS: usize = 64;
const REFRESH: &str = "/api/token/refresh/";
const BLACKLIST: &str = "/api/token/blacklist/";

/// Two servers, and how often they were too busy for an answer.
struct Race {
    servers: [Server; 2],
    busy: usize,
}

impl Race {
    fn new() -> Self {
        Self::with_grace("0s")
    }

    fn with_grace(grace: &str) -> Self {
        let server = Server::new().set("rotation_grace", &format!("{grace:?}")).start_with_ada();
        let sibling = server.sibling();
        Self { servers: [server, sibling], busy: 0 }
    }

    /// Sends one request for each path at the same moment, in turn to the two servers. Returns the answers with their paths;
    /// a 503 is an answer too, but no other fault is.
    fn run(&mut self, paths: &[&'static str], body: &Value) -> Vec<(&'static str, Reply)> {
        let barrier = Barrier::new(paths.len());
        let replies: Vec<_> = thread::scope(|scope| {
            let callers: Vec<_> = paths
                .iter()
                .enumerate()
                .map(|(caller, path)| {
                    let (client, barrier) = (self.servers[caller % 2].client(), &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        (*path, client.post_json(path, body))
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().expect("a caller")).collect()
        });
        let mut counts: HashMap<(&str, u16), usize> = HashMap::new();
        for (path, reply) in &replies {
            *counts.entry((path, reply.status)).or_default() += 1;
            assert!(matches!(reply.status, 200 | 401 | 503), "{path}: {reply:?}\n{}", self.log());
            if reply.status == 401 {
                reply.assert_not_valid("Token is blacklisted");
            }
        }
        self.busy += replies.iter().filter(|(_, reply)| reply.status == 503).count();
        replies
    }

    fn log(&self) -> String {
        self.servers.iter().map(Server::log).collect::<Vec<_>>().join("\n--\n")
    }

    /// Fails unless one blacklisting is all that happened to this token.
    fn assert_blacklisted_once(&self, jti: &str) {
        let mut database = self.servers[0].database();
        assert_eq!(database.count(&format!("{OUTSTANDING} WHERE jti = '{jti}'")), 1);
        assert!(database.is_blacklisted(jti), "one row of the blacklist");
        let events = format!("simplejwt_event WHERE target = '{jti}'");
        assert_eq!(database.count(&events), 1, "one winner");
        assert_eq!(database.count(&format!("{events} AND action = 'blacklist'")), 1);
    }

    #[expect(clippy::print_stdout, reason = "for whoever runs many rounds")]
    fn end(self, name: &str) {
        println!("{name}: {} rounds of {CALLERS}, {} answers of 503", rounds(), self.busy);
        let mut database = self.servers[0].database();
        database.assert_sound();
        // What stands in somebody's way is tried again; only a busy machine makes callers wait too long for their turn.
        assert!(self.busy * 10 <= rounds() * CALLERS, "{} answers of 503\n{}", self.busy, self.log());
    }
}

fn rounds() -> usize {
    std::env::var("TEST_RACE_ROUNDS").ok().map_or(4, |rounds| rounds.parse().expect("a number of rounds"))
}

#[test]
fn of_many_rotations_of_one_token_one_wins() {
    let mut race = Race::new();
    let mut reused = 0;
    for round in 0..rounds() {
        let name = race.servers[0].another_user();
        let pair = race.servers[0].login(&name);
        let replies = race.run(&[REFRESH; CALLERS], &json!({ "refresh": pair.refresh }));
        let won: Vec<_> = replies.iter().filter(|(_, reply)| reply.status == 200).collect();
        assert_eq!(won.len(), 1, "round {round}\n{}", race.log());
        let mut database = race.servers[0].database();
        let of_user = format!("{OUTSTANDING} WHERE user_id = '{}'", race.servers[0].user_id(&name));
        assert_eq!(database.count(&of_user), 2, "one successor in the ledger");
        assert!(database.is_blacklisted(&jti(&pair.refresh)));
        // The others were as many thieves, without grace.
        reused +=
            database.count(&format!("simplejwt_event WHERE target = '{}' AND action = 'reuse'", jti(&pair.refresh)));
        let next = race.servers[1].client().post_json(REFRESH, &json!({ "refresh": won[0].1.string("refresh") }));
        next.assert_not_valid("Token is blacklisted");
    }
    assert_eq!(usize::try_from(reused), Ok(rounds()), "one event each");
    race.end("rotation");
}

#[test]
fn of_many_first_blacklistings_of_an_unknown_token_one_wins_and_nobody_loses() {
    let mut race = Race::new();
    for _ in 0..rounds() {
        let token = claims("refresh").with("user_id", race.servers[0].user_id("ada"));
        let replies = race.run(&[BLACKLIST; CALLERS], &json!({ "refresh": token.sign() }));
        assert!(replies.iter().all(|(_, reply)| reply.status != 401), "{replies:?}");
        race.assert_blacklisted_once(token.jti());
    }
    race.end("an unknown token blacklisted");
}

#[test]
fn of_many_blacklistings_of_a_known_token_one_wins_and_nobody_loses() {
    let mut race = Race::new();
    for _ in 0..rounds() {
        let pair = race.servers[0].login("ada");
        let replies = race.run(&[BLACKLIST; CALLERS], &json!({ "refresh": pair.refresh }));
        assert!(replies.iter().all(|(_, reply)| reply.status != 401), "{replies:?}");
        race.assert_blacklisted_once(&jti(&pair.refresh));
        let whoami = race.servers[1].client().get("/api/token/whoami/", Some(&pair.access));
        assert_eq!(whoami.status, 401, "its session is over");
    }
    race.end("a known token blacklisted");
}

#[test]
fn of_many_rotations_of_one_token_within_its_grace_all_get_the_same() {
    let mut race = Race::with_grace("300s");
    for round in 0..rounds() {
        let pair = race.servers[0].login("ada");
        let replies = race.run(&[REFRESH; CALLERS], &json!({ "refresh": pair.refresh }));
        let won: Vec<_> = replies.iter().filter(|(_, reply)| reply.status == 200).collect();
        assert!(!won.is_empty() && replies.iter().all(|(_, reply)| reply.status != 401), "round {round}: {replies:?}");
        let mut successors: Vec<_> = won.iter().map(|(_, reply)| jti(&reply.string("refresh"))).collect();
        successors.dedup();
        assert_eq!(successors.len(), 1, "round {round}");
        let next = race.servers[1].client().post_json(REFRESH, &json!({ "refresh": won[0].1.string("refresh") }));
        assert_eq!(next.status, 200, "the successor works on the other server: {next:?}");
    }
    // Each of them waits for its turn to write, so that a busy machine puts off many.
    race.servers[0].database().assert_sound();
}

#[test]
fn of_blacklistings_and_rotations_of_one_token_no_token_is_left() {
    for grace in ["0s", "300s"] {
        no_token_is_left(Race::with_grace(grace));
    }
}

fn no_token_is_left(mut race: Race) {
    let paths: Vec<_> = (0..CALLERS).map(|caller| if caller % 4 < 2 { REFRESH } else { BLACKLIST }).collect();
    for round in 0..rounds() {
        let pair = race.servers[0].login("ada");
        let replies = race.run(&paths, &json!({ "refresh": pair.refresh }));
        let acknowledged = replies.iter().any(|(path, reply)| *path == BLACKLIST && reply.status == 200);
        assert!(acknowledged, "round {round}");
        let rotated: Vec<_> = replies.iter().filter(|(path, reply)| *path == REFRESH && reply.status == 200).collect();
        let mut successors: Vec<_> = rotated.iter().map(|(_, reply)| jti(&reply.string("refresh"))).collect();
        successors.dedup();
        assert!(successors.len() < 2, "round {round}");
        for (_, reply) in rotated {
            for server in &race.servers {
                let next = server.client().post_json(REFRESH, &json!({ "refresh": reply.string("refresh") }));
                next.assert_not_valid("Token is blacklisted");
                let whoami = server.client().get("/api/token/whoami/", Some(&reply.string("access")));
                assert_eq!(whoami.status, 401, "round {round}");
            }
        }
    }
    race.end("blacklisting against rotation");
}
