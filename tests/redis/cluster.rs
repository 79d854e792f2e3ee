//! A Cluster of three nodes.

use std::time::Duration;

use rocket_simplejwt::blacklist::testing;

use crate::host::Redis;
use crate::site::{BOUND, Site, Watch, eventually, revoked};

#[tokio::test(flavor = "multi_thread")]
async fn it_does_in_a_cluster_what_every_blacklist_does() {
    let redis = Redis::start("redis-cluster", &[]);
    let site = Site::new(&redis.url).await;
    let process = site.process().believing().await;
    testing::conforms(&process.blacklist).await;
    assert!(process.blacklist.answers() > 20, "Redis was hardly asked");
    let nodes: Vec<bool> = (0..3).map(|node| redis.say(node, &["DBSIZE"]) != "0").collect();
    assert_eq!(nodes.iter().filter(|has| **has).count(), 1, "everything is on one node");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_makes_nothing_acceptable() {
    let mut redis = Redis::start("redis-cluster", &[]);
    let site = Site::new(&redis.url).await;
    let (one, other) = (site.process().believing().await, site.process().believing().await);
    let known = revoked(&one, 50).await;
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    let ours = redis.server_of("{test}:head");
    for node in [ours, (ours + 1) % 3, ours] {
        redis.signal(node, "KILL");
        for _ in 0..5 {
            let jti = one.revoke().await;
            tokio::time::sleep(BOUND / 4).await;
            assert!(one.refuses(&jti).await);
        }
        let jti = one.revoke().await;
        tokio::time::sleep(BOUND).await;
        assert!(other.refuses(&jti).await);
        redis.start_again();
        one.believes_again().await;
        other.believes_again().await;
        assert!(one.refuses_by_redis(&jti).await && other.refuses_by_redis(&jti).await);
    }
    for watch in watches {
        watch.found_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_that_throws_keys_away_is_noticed_if_it_is_ours() {
    let redis = Redis::start("redis-cluster", &[]);
    let site = Site::new(&redis.url).await;
    let process = site.process().believing().await;
    let ours = redis.server_of("{test}:head");
    redis.say((ours + 1) % 3, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(process.blacklist.state().believed, "no key of ours is there");
    redis.say(ours, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    eventually("it stops to believe", || !process.blacklist.state().believed).await;
    let error = process.blacklist.probe().await.expect_err("it throws keys away");
    assert!(error.is_unsupported());
}

#[tokio::test(flavor = "multi_thread")]
async fn our_keys_move_to_another_node() {
    let redis = Redis::start("redis-cluster", &[]);
    let site = Site::new(&redis.url).await;
    let (one, other) = (site.process().believing().await, site.process().believing().await);
    let known = revoked(&one, 100).await;
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    let (from, slot) = (redis.server_of("{test}:head"), redis.say(0, &["CLUSTER", "KEYSLOT", "{test}:head"]));
    let to = (from + 1) % 3;
    let id = |node: usize| redis.say(node, &["CLUSTER", "MYID"]);
    redis.say(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
    redis.say(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
    let port = redis.ports[to].to_string();
    loop {
        let keys = redis.say(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "10"]);
        if keys.is_empty() {
            break;
        }
        let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "AUTH", &redis.password, "KEYS"];
        migrate.extend(keys.lines());
        redis.say(from, &migrate);
        one.revoke().await;
    }
    for node in [to, from, (to + 1) % 3] {
        redis.say(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &id(to)]);
    }
    one.revoke().await;
    one.believes_again().await;
    other.believes_again().await;
    for jti in &known {
        assert!(one.refuses_by_redis(jti).await && other.refuses_by_redis(jti).await);
    }
    for watch in watches {
        watch.found_nothing().await;
    }
}
