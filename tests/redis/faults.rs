//! What happens to Redis: it is wiped, filled, killed, stopped, tampered with. No revoked token is ever accepted.

use std::time::{Duration, Instant};

use rocket_simplejwt::blacklist::Blacklist as _;
use rocket_simplejwt::token::Jti;

use crate::host::Redis;
use crate::proxy::Proxy;
use crate::site::{BOUND, Process, SOON, Site, Watch, acknowledged, eventually, presented, revoked, token};

async fn two(redis: &Redis) -> (Site, Process, Process) {
    let site = Site::new(&redis.url).await;
    let (one, other) = (site.process().believing().await, site.process().believing().await);
    (site, one, other)
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_36_a_redis_that_is_wiped_again_and_again() {
    let redis = Redis::server();
    let (_site, one, other) = two(&redis).await;
    let known = revoked(&one, 50).await;
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    for round in 0..40 {
        redis.say(0, &[["FLUSHALL", "SYNC"], ["FLUSHDB", "ASYNC"]][round % 2]);
        let jti = one.revoke().await;
        pause(u64::try_from(round).expect("small") * 5).await;
        assert!(one.refuses(&jti).await);
    }
    for watch in watches {
        watch.found_nothing().await;
    }
    one.believes_again().await;
    for jti in &known {
        assert!(one.refuses_by_redis(jti).await && other.refuses_by_redis(jti).await, "it is filled again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_36_only_the_keys_are_gone_and_the_head_is_not() {
    let redis = Redis::server();
    let (site, one, other) = two(&redis).await;
    let known = revoked(&one, 3).await;
    // Nobody can see that. It is found by whoever reads everything once more: here, who begins anew.
    redis.say(0, &["DEL", &format!("{{test}}:t:{}", known[0])]);
    redis.say(0, &["DEL", "{test}:head"]);
    let newcomer = site.process().believing().await;
    one.believes_again().await;
    other.believes_again().await;
    for process in [&one, &other, &newcomer] {
        assert!(process.refuses_by_redis(&known[0]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_37_a_redis_that_throws_keys_away_is_not_used() {
    for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
        let redis = Redis::start("redis", &["--with", &format!("maxmemory-policy={policy}")]);
        let site = Site::new(&redis.url).await;
        let process = site.process();
        let error = process.blacklist.probe().await.expect_err("it throws keys away");
        assert!(error.is_unsupported());
        let text = std::error::Error::source(&error).expect("a reason").to_string();
        assert!(text.contains(policy) && text.contains("noeviction"), "{text}");
        let jti = process.revoke().await;
        pause(200).await;
        assert!(process.refuses(&jti).await);
        assert!(!process.blacklist.state().believed);
        assert_eq!(process.blacklist.answers(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_37_keys_are_thrown_away_later() {
    let redis = Redis::server();
    let (_site, one, other) = two(&redis).await;
    let known = revoked(&one, 300).await;
    for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
        let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
        pause(100).await;
        redis.say(0, &["CONFIG", "SET", "maxmemory-policy", policy]);
        redis.say(0, &["CONFIG", "SET", "maxmemory", "1500kb"]);
        // Written in between, so that something has to go.
        for filler in 0..60 {
            redis.say(0, &["SET", &format!("filler{filler}"), &"x".repeat(20_000)]);
        }
        let evicted = redis.say(0, &["INFO", "stats"]);
        let evicted = evicted.lines().find_map(|line| line.trim().strip_prefix("evicted_keys:")).expect("a count");
        assert_ne!(evicted, "0", "nothing was thrown away");
        eventually("they stop to believe", || !one.blacklist.state().believed && !other.blacklist.state().believed)
            .await;
        redis.say(0, &["CONFIG", "SET", "maxmemory", "0"]);
        redis.say(0, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        one.believes_again().await;
        other.believes_again().await;
        for watch in watches {
            watch.found_nothing().await;
        }
        for jti in &known {
            assert!(one.refuses_by_redis(jti).await, "it is filled again");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_37_keys_are_thrown_away_and_nobody_looks_until_it_is_over() {
    // The state of a Redis that has thrown keys away while it was out of everybody's sight: all is as it was but the keys.
    let redis = Redis::server();
    let (_site, one, other) = two(&redis).await;
    let known = revoked(&one, 300).await;
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    let evicted = || {
        let stats = redis.say(0, &["INFO", "stats"]);
        stats
            .lines()
            .find_map(|line| line.trim().strip_prefix("evicted_keys:")?.parse::<usize>().ok())
            .expect("a count")
    };
    // Rounds in which many keys went, and the head did not.
    let mut rounds = 0;
    for _ in 0..100 {
        let before = evicted();
        redis.evict(10_000);
        rounds += usize::from(evicted() > before + 20 && redis.say(0, &["EXISTS", "{test}:head"]) == "1");
        if rounds == 5 {
            break;
        }
        pause(100).await;
        one.believes_again().await;
        other.believes_again().await;
    }
    assert_eq!(rounds, 5, "too little was thrown away, or too much");
    for watch in watches {
        watch.found_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_38_a_redis_that_is_killed_and_has_nothing_on_disk() {
    let mut redis = Redis::server();
    let (_site, one, other) = two(&redis).await;
    let known = revoked(&one, 50).await;
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    for _ in 0..5 {
        redis.start_again();
        let jti = one.revoke().await;
        assert!(one.refuses(&jti).await);
        pause(300).await;
    }
    for watch in watches {
        watch.found_nothing().await;
    }
    one.believes_again().await;
    other.believes_again().await;
    for jti in &known {
        assert!(one.refuses_by_redis(jti).await && other.refuses_by_redis(jti).await, "it is filled again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_38_a_redis_that_comes_back_with_what_it_had_a_while_ago() {
    let mut redis = Redis::server();
    let (_site, one, other) = two(&redis).await;
    let old = revoked(&one, 20).await;
    let taken_back = old[0].clone();
    redis.say(0, &["SAVE"]);
    acknowledged!(one.blacklist.unregister(&token(&taken_back)));
    let new = revoked(&one, 20).await;
    let known: Vec<Jti> = old[1..].iter().chain(&new).cloned().collect();
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    for _ in 0..3 {
        redis.start_again();
        assert_eq!(redis.say(0, &["EXISTS", &format!("{{test}}:t:{}", old[1])]), "1", "it has the old keys");
        one.revoke().await;
        one.believes_again().await;
        other.believes_again().await;
        // What was taken off the blacklist after the copy was made is read in the log.
        assert!(!one.refuses_by_redis(&taken_back).await, "it was taken back");
    }
    for watch in watches {
        watch.found_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_39_a_redis_that_hangs_holds_up_nobody() {
    let redis = Redis::server();
    let (site, one, other) = two(&redis).await;
    let known = revoked(&one, 20).await;
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    for _ in 0..3 {
        redis.signal(0, "STOP");
        let (mut longest, mut all) = (Duration::ZERO, Duration::ZERO);
        for jti in known.iter().cycle().take(60) {
            let begun = Instant::now();
            assert!(one.refuses(jti).await);
            let took = begun.elapsed();
            (longest, all) = (longest.max(took), all + took);
        }
        // Fifty milliseconds, and what a busy machine and the ledger add. Once, and not for each of them.
        assert!(longest < Duration::from_millis(300), "{longest:?}");
        let begun = Instant::now();
        for jti in known.iter().cycle().take(60) {
            assert!(site.ledger.is_refused(presented(jti)).await.expect("an answer"));
        }
        let most = begun.elapsed() * 2 + Duration::from_millis(600);
        assert!(all < most, "{all:?} for sixty, and {most:?} is what they may take by the ledger");
        let begun = Instant::now();
        let jti = one.revoke().await;
        assert!(begun.elapsed() < Duration::from_secs(1), "a revocation waits for {:?}", begun.elapsed());
        // What others have revoked meanwhile is refused beyond the bound, and when Redis wakes with what it was told before.
        tokio::time::sleep(BOUND).await;
        assert!(other.refuses(&jti).await);
        redis.signal(0, "CONT");
        for _ in 0..50 {
            assert!(one.refuses(&jti).await && other.refuses(&jti).await, "accepted after Redis woke");
        }
        one.believes_again().await;
        other.believes_again().await;
        assert!(one.refuses_by_redis(&jti).await && other.refuses_by_redis(&jti).await);
    }
    for watch in watches {
        watch.found_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_40_a_redis_that_says_something_else() {
    let redis = Redis::server();
    let (_site, one, other) = two(&redis).await;
    let known = revoked(&one, 20).await;
    let key = format!("{{test}}:t:{}", known[0]);
    let epoch = redis.say(0, &["HGET", "{test}:head", "epoch"]);
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    let lies: &[&[&str]] = &[
        &["SET", &key, "junk"],
        &["SET", &key, ""],
        &["SET", "{test}:c", "99999999999999999999999"],
        &["SET", "{test}:u:ada", "-"],
        &["EVAL", "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], '1')", "1", &key],
        &["EVAL", "redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], '1', '1')", "1", "{test}:c"],
    ];
    for lie in lies {
        let before = one.blacklist.disbelieved();
        redis.say(0, lie);
        let begun = Instant::now();
        while one.blacklist.disbelieved() == before {
            assert!(one.refuses(&known[0]).await, "accepted after {lie:?}");
            assert!(begun.elapsed() < SOON, "{lie:?} was not noticed");
        }
        redis.say(0, &["DEL", &key, "{test}:c", "{test}:u:ada", "{test}:head"]);
        one.believes_again().await;
        other.believes_again().await;
    }
    let heads: &[&[&str]] = &[
        &["SET", "{test}:head", "junk"],
        &["HSET", "{test}:head", "epoch", &epoch, "version", "99999999"],
        &["HSET", "{test}:head", "epoch", "00000000000000000000000000000000"],
        &["HSET", "{test}:head", "version", "1"],
        &["HSET", "{test}:head", "version", "x"],
        &["HSET", "{test}:head", "state", "x"],
        &["HSET", "{test}:head", "position", "x"],
        &["HSET", "{test}:head", "server", "x"],
        &["HSET", "{test}:head", "asked", "x"],
        &["HDEL", "{test}:head", "evicted"],
        &["HDEL", "{test}:head", "epoch", "version", "state"],
    ];
    for lie in heads {
        redis.say(
            0,
            &["EVAL", "for _, key in ipairs(redis.call('KEYS', '{test}:t:*')) do redis.call('DEL', key) end", "0"],
        );
        redis.say(0, lie);
        pause(100).await;
        redis.say(0, &["DEL", "{test}:head"]);
        one.believes_again().await;
        other.believes_again().await;
        for jti in &known {
            assert!(one.refuses_by_redis(jti).await, "it is not filled again after {lie:?}");
        }
    }
    drop(watches);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_40_a_head_that_is_not_the_one_that_was_confirmed_is_void() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    let one = site.process().believing().await;
    let known = revoked(&one, 20).await;
    for lie in [
        &["HSET", "{test}:head", "version", "1"],
        &["HSET", "{test}:head", "state", "loading"],
        &["HSET", "{test}:head", "evicted", "7"],
    ] {
        let watch = Watch::over(&one, &known);
        // In one step, so that nobody sees the keys gone under the old head.
        let wipe = "redis.call(unpack(ARGV)) \
                    for _, key in ipairs(redis.call('KEYS', '{test}:t:*')) do redis.call('DEL', key) end";
        redis.say(0, &[&["EVAL", wipe, "0"], lie.as_slice()].concat());
        pause(300).await;
        watch.found_nothing().await;
        redis.say(0, &["DEL", "{test}:head"]);
        one.believes_again().await;
        for jti in &known {
            assert!(one.refuses_by_redis(jti).await, "it is not filled again after {lie:?}");
        }
    }
}

const COPY: &str = "for _, key in ipairs(redis.call('KEYS', '{test}:*')) do \
                    redis.call('COPY', key, 'old' .. key, 'REPLACE') end";
const BACK: &str = "for _, key in ipairs(redis.call('KEYS', '{test}:*')) do redis.call('DEL', key) end \
                    for _, key in ipairs(redis.call('KEYS', 'old{test}:*')) do \
                    redis.call('COPY', key, string.sub(key, 4), 'REPLACE') end";

#[tokio::test(flavor = "multi_thread")]
async fn fault_40_an_old_copy_is_put_back_while_redis_runs() {
    let redis = Redis::server();
    let (_site, one, other) = two(&redis).await;
    let mut known = revoked(&one, 10).await;
    redis.say(0, &["EVAL", COPY, "0"]);
    for _ in 0..5 {
        known.extend(revoked(&one, 10).await);
        other.believes_again().await;
        let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
        pause(100).await;
        redis.say(0, &["EVAL", BACK, "0"]);
        pause(200).await;
        one.believes_again().await;
        other.believes_again().await;
        for watch in watches {
            watch.found_nothing().await;
        }
        for jti in &known {
            assert!(one.refuses_by_redis(jti).await && other.refuses_by_redis(jti).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_40_a_copy_of_another_epoch_is_put_back() {
    let redis = Redis::server();
    let (_site, one, other) = two(&redis).await;
    // So that its version is a high one.
    revoked(&one, 60).await;
    redis.say(0, &["EVAL", COPY, "0"]);
    redis.say(0, &["DEL", "{test}:head"]);
    one.believes_again().await;
    other.believes_again().await;
    let known = revoked(&one, 5).await;
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    for _ in 0..5 {
        pause(100).await;
        redis.say(0, &["EVAL", BACK, "0"]);
        pause(100).await;
        redis.say(0, &["DEL", "{test}:head"]);
        one.believes_again().await;
        other.believes_again().await;
    }
    for watch in watches {
        watch.found_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_41_a_redis_that_takes_no_writes_fails_no_revocation() {
    let redis = Redis::server();
    let (_site, one, other) = two(&redis).await;
    let known = revoked(&one, 20).await;
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    for (hurt, heal) in [
        (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
        (["REPLICAOF", "127.0.0.1", "1", ""], ["REPLICAOF", "NO", "ONE", ""]),
    ] {
        let said = |command: [&'static str; 4]| {
            redis.say(0, command.split_last().filter(|last| last.0.is_empty()).map_or(&command[..], |last| last.1))
        };
        said(hurt);
        for _ in 0..10 {
            let begun = Instant::now();
            let jti = one.revoke().await;
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            tokio::time::sleep(BOUND / 8).await;
            assert!(one.refuses(&jti).await);
        }
        let jti = one.revoke().await;
        tokio::time::sleep(BOUND).await;
        assert!(other.refuses(&jti).await, "known to others within the bound");
        said(heal);
        one.believes_again().await;
        other.believes_again().await;
        assert!(one.refuses_by_redis(&jti).await && other.refuses_by_redis(&jti).await);
    }
    for watch in watches {
        watch.found_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_answer_that_arrives_late_is_void() {
    let redis = Redis::server();
    let site = Site::new(&redis.url).await;
    let proxy = Proxy::to(redis.ports[0]).await;
    let slow = site.process_through(proxy.port).believing().await;
    for _ in 0..3 {
        let jti = slow.revoke().await;
        slow.believes_again().await;
        // It reads that the token was taken back, and its word to Redis is held up on the way.
        proxy.hold(jti.as_str());
        acknowledged!(site.direct.unregister(&token(&jti)));
        proxy.holds().await;
        site.revoke(&jti).await;
        let fast = site.process().believing().await;
        assert!(fast.refuses_by_redis(&jti).await);
        let watch = Watch::over(&fast, &[jti.clone(), jti.clone(), jti.clone()]);
        pause(50).await;
        proxy.release();
        pause(300).await;
        watch.found_nothing().await;
        assert!(fast.refuses_by_redis(&jti).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_to_a_stopped_redis_does_no_harm_when_it_wakes() {
    let redis = Redis::server();
    let (site, one, other) = two(&redis).await;
    for _ in 0..5 {
        let jti = Jti::random();
        site.revoke(&jti).await;
        one.blacklist.catch_up().await.expect("never an error");
        redis.signal(0, "STOP");
        // Taken back, revoked again: what was read in between is in the pipe, and older than what is written after it.
        acknowledged!(site.direct.unregister(&token(&jti)));
        pause(120).await;
        site.revoke(&jti).await;
        pause(120).await;
        redis.signal(0, "CONT");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            let before = other.blacklist.answers();
            let refused = other.blacklist.is_blacklisted(presented(&jti)).await.expect("an answer");
            assert!(refused || begun.elapsed() < BOUND && other.blacklist.answers() > before, "the ledger refuses it");
        }
        tokio::time::sleep(BOUND).await;
        assert!(one.refuses(&jti).await && other.refuses(&jti).await);
        one.believes_again().await;
        assert!(one.refuses_by_redis(&jti).await);
    }
}
