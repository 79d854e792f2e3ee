//! Redis says what the ledger says.

use std::time::Duration;

use chrono::{SubsecRound as _, TimeDelta};
use rocket_simplejwt::blacklist::{Blacklist, Presented, Revocable, testing};
use rocket_simplejwt::token::{Jti, SessionId};

use crate::host::Redis;
use crate::site::{BOUND, Process, Site, acknowledged, eventually, now, presented, token};

/// Numbers that look random, and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_blacklist_does() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    // Before anybody follows, by the ledger; then by Redis.
    let process = site.process().believing().await;
    testing::conforms(&process.blacklist).await;
    assert!(process.blacklist.answers() > 20, "Redis was hardly asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_agrees_with_the_ledger_whatever_changes() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    let processes = [site.process().believing().await, site.process().believing().await];
    let start = now().trunc_subsecs(3);
    let session = |minutes: i64| {
        SessionId::starting_at(
            u64::try_from((start - TimeDelta::minutes(minutes)).timestamp_millis()).expect("after 1970"),
        )
    };
    let jtis: Vec<Jti> = (0..12).map(|_| Jti::random()).collect();
    let sessions: Vec<SessionId> = (0..8).map(session).collect();
    let users = ["ada", "c", "t:x", "{test}:c", "O'Neill \u{1f980}"];
    let mut dice = Dice(7);
    for round in 0..150 {
        let jti = &jtis[dice.below(jtis.len())];
        let until = start + TimeDelta::hours(1);
        let what = match dice.below(10) {
            0..5 => token(jti),
            5..8 => Revocable::Session { id: sessions[dice.below(sessions.len())], until },
            8 => {
                let user = Some(users[dice.below(users.len())].to_owned());
                let minutes = i64::try_from(dice.below(8)).expect("small");
                Revocable::Cutoff { user, not_before: start - TimeDelta::minutes(minutes), until }
            }
            _ => Revocable::Cutoff { user: None, not_before: start - TimeDelta::minutes(7), until },
        };
        let is_token = matches!(what, Revocable::Token { .. });
        let takes_back = is_token && dice.below(2) == 0;
        // By a process, or past all of them.
        let by = dice.below(3);
        let by: &dyn Blacklist = if by < 2 { &processes[by].blacklist } else { &site.direct };
        acknowledged!(if takes_back { by.unregister(&what) } else { by.register(&what) });
        for process in &processes {
            process.blacklist.catch_up().await.expect("never an error");
        }
        let question = Presented {
            jti: &jtis[dice.below(jtis.len())],
            session: Some(dice.below(sessions.len() + 1)).and_then(|index| sessions.get(index).copied()),
            issued_at: Some(start.timestamp() - 60 * i64::try_from(dice.below(8)).expect("small")),
            user: Some(dice.below(users.len() + 1)).and_then(|index| users.get(index).copied()),
        };
        for token in [presented(jti), question] {
            let expected = site.ledger.is_refused(token).await.expect("an answer");
            for (number, process) in processes.iter().enumerate() {
                let found = process.blacklist.is_blacklisted(token).await.expect("an answer");
                assert_eq!(found, expected, "round {round}, process {number}: {token:?}");
            }
        }
    }
    // Of three hundred, as a machine that is busy may be late now and then.
    for process in &processes {
        assert!(process.blacklist.answers() > 250, "Redis answered {} times", process.blacklist.answers());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_past_every_process_is_known_to_all_and_so_is_its_undoing() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    let (one, other) = (site.process().believing().await, site.process().believing().await);
    for _ in 0..20 {
        let jti = Jti::random();
        assert!(!one.refuses_by_redis(&jti).await && !other.refuses_by_redis(&jti).await);
        site.revoke(&jti).await;
        refused_soon(&one, &jti, true).await;
        refused_soon(&other, &jti, true).await;
        site.direct.unregister(&token(&jti)).await.expect("taken back");
        refused_soon(&other, &jti, false).await;
        refused_soon(&one, &jti, false).await;
    }
}

async fn refused_soon(process: &Process, jti: &Jti, expected: bool) {
    for _ in 0..200 {
        if process.refuses_by_redis(jti).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("a second later it is still not so: refused is {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_race_lose_nothing() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    let processes = [site.process().believing().await, site.process().believing().await];
    let workers = (0..8).map(|worker| {
        let blacklist = processes[worker % 2].blacklist.clone();
        tokio::spawn(async move {
            let mut left = Vec::new();
            for round in 0..25 {
                let jti = Jti::random();
                acknowledged!(blacklist.register(&token(&jti)));
                assert!(
                    blacklist.is_blacklisted(presented(&jti)).await.expect("an answer"),
                    "accepted where it was revoked"
                );
                if round % 3 == 0 {
                    acknowledged!(blacklist.unregister(&token(&jti)));
                }
                left.push((jti, round % 3 != 0));
            }
            left
        })
    });
    let mut all = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.expect("a worker that ended well"));
    }
    for (jti, refused) in &all {
        for process in &processes {
            assert_eq!(process.refuses_by_redis(jti).await, *refused, "{jti}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_loaded_by_one_of_several_that_start_at_once() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    let jtis: Vec<Jti> = (0..1200).map(|_| Jti::random()).collect();
    for jti in &jtis {
        site.revoke(jti).await;
    }
    let processes: Vec<Process> = (0..4).map(|_| site.process()).collect();
    for process in processes {
        let process = process.believing().await;
        for jti in jtis.iter().step_by(37) {
            assert!(process.refuses_by_redis(jti).await, "{jti}");
        }
        assert!(!process.refuses_by_redis(&Jti::random()).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_a_ledger_relies_on_those_that_have_it() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    let without = site.process_without_ledger();
    let jti = Jti::random();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(without.blacklist.is_blacklisted(presented(&jti)).await.is_err(), "nobody feeds it");
    assert!(!without.blacklist.state().ready);
    let with = site.process().believing().await;
    without.believes_again().await;
    assert!(!without.refuses(&jti).await);
    site.revoke(&jti).await;
    with.blacklist.catch_up().await.expect("never an error");
    assert!(without.refuses(&jti).await, "it is in Redis");
    let refused = without.blacklist.register(&token(&jti)).await.expect_err("nothing to write to");
    assert!(refused.is_unsupported());
    // When nobody feeds it any more, it answers no longer than the bound.
    drop(with);
    eventually("it stops to believe", || !without.blacklist.state().ready).await;
    assert!(without.blacklist.is_blacklisted(presented(&jti)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_believed_beyond_the_bound() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    let process = site.process_that_polls_every(Duration::from_secs(30)).believing().await;
    let jti = Jti::random();
    assert!(!process.refuses_by_redis(&jti).await);
    site.revoke(&jti).await;
    tokio::time::sleep(BOUND).await;
    assert!(process.refuses(&jti).await, "what it knows is too old");
    let answers = process.blacklist.answers();
    assert!(!process.refuses(&Jti::random()).await && process.blacklist.answers() == answers, "the ledger answers");
    assert!(process.blacklist.state().ready && !process.blacklist.state().believed);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_end_with_what_they_refuse() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    let process = site.process().believing().await;
    let jti = process.revoke().await;
    let lifetime: i64 = redis.say(0, &["PTTL", &format!("{{test}}:t:{jti}")]).parse().expect("a number");
    // As long as a sliding token of which nothing else is known can be renewed, and two minutes of margin.
    assert!((86_490_000..=86_521_000).contains(&lifetime), "{lifetime} ms");
    // What is kept for longer stays for longer, when everything is loaded once more.
    redis.say(0, &["PEXPIRE", &format!("{{test}}:t:{jti}"), "200000000"]);
    redis.say(0, &["DEL", "{test}:head"]);
    let loads = process.blacklist.state().reloads;
    eventually("it is loaded again", || {
        process.blacklist.state().reloads > loads && process.blacklist.state().believed
    })
    .await;
    let later: i64 = redis.say(0, &["PTTL", &format!("{{test}}:t:{jti}")]).parse().expect("a number");
    assert!(later > 190_000_000, "it was shortened to {later} ms");
    let head: i64 = redis.say(0, &["PTTL", "{test}:head"]).parse().expect("a number");
    assert!((1..=60_000).contains(&head), "{head} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_checked_against_the_authority_that_is_named() {
    for kind in ["redis-cluster", "redis-sentinel", "redis"] {
        let redis = Redis::start(kind, &["--tls"]);
        let site = Site::new(&format!("{}?ca_file={}", redis.url, redis.directory.join("ca.pem").display())).await;
        let process = site.process().believing().await;
        let jti = process.revoke().await;
        assert!(process.refuses_by_redis(&jti).await, "{kind}");
    }
    let redis = Redis::start("redis", &["--tls"]);
    let stranger = Site::new(&redis.url).await;
    let process = stranger.process();
    let error = process.blacklist.probe().await.expect_err("nobody knows who signed for it");
    assert!(!error.is_unsupported());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!process.blacklist.state().believed);
    assert!(!process.refuses(&Jti::random()).await, "the ledger answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_in_the_documentation_are_enough() {
    let documentation = include_str!("../../docs/redis.md");
    let rule = documentation.lines().find(|line| line.starts_with("ACL SETUSER")).expect("a line with the rights");
    let rule = rule.replace("{simplejwt}", "{test}");
    let rule: Vec<&str> = rule.split_whitespace().collect();
    for kind in ["redis", "redis-cluster"] {
        let redis = Redis::start(kind, &[]);
        for server in 0..redis.ports.len() {
            assert_eq!(redis.say(server, &rule), "OK");
        }
        let url = redis.url.replace(&format!("://:{}@", redis.password), "://simplejwt:password@");
        let site = Site::new(&url).await;
        let process = site.process().believing().await;
        let jti = process.revoke().await;
        assert!(process.refuses_by_redis(&jti).await && !process.refuses_by_redis(&Jti::random()).await);
        eventually("it listens", || {
            (0..redis.ports.len())
                .any(|server| redis.say(server, &["PUBSUB", "NUMSUB", "{test}:changed"]).ends_with('1'))
        })
        .await;
        // What the client says of itself is not needed.
        for server in 0..redis.ports.len() {
            let log = redis.say(server, &["ACL", "LOG"]);
            let lines: Vec<&str> = log.lines().collect();
            let denied = lines.windows(2).filter(|pair| pair[0] == "object").map(|pair| pair[1]);
            assert_eq!(denied.filter(|object| !object.starts_with("client")).collect::<Vec<_>>(), [""; 0], "{kind}");
        }
    }
}
