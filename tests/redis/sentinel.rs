//! A master, its replica, and a Sentinel that makes the replica the master.

use std::time::Duration;

use rocket_simplejwt::blacklist::{Blacklist as _, testing};
use rocket_simplejwt::token::Jti;

use crate::host::Redis;
use crate::site::{BOUND, Site, Watch, acknowledged, eventually, revoked, token};

const MASTER: usize = 0;
const REPLICA: usize = 1;

#[tokio::test(flavor = "multi_thread")]
async fn it_does_behind_a_sentinel_what_every_blacklist_does() {
    let redis = Redis::start("redis-sentinel", &[]);
    let site = Site::new(&redis.url).await;
    let process = site.process().believing().await;
    testing::conforms(&process.blacklist).await;
    assert!(process.blacklist.answers() > 20, "Redis was hardly asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lacks_the_latest_takes_over() {
    let redis = Redis::start("redis-sentinel", &[]);
    let site = Site::new(&redis.url).await;
    let (one, other) = (site.process().believing().await, site.process().believing().await);
    let old = revoked(&one, 30).await;
    let taken_back = Jti::random();
    acknowledged!(one.blacklist.register(&token(&taken_back)));
    assert_eq!(redis.say(MASTER, &["WAIT", "1", "5000"]), "1", "the replica has it so far");
    // From now on it hears nothing.
    redis.say(REPLICA, &["CONFIG", "SET", "masterauth", "wrong"]);
    redis.say(MASTER, &["CLIENT", "KILL", "TYPE", "replica"]);
    eventually("it is cut off", || redis.say(REPLICA, &["INFO", "replication"]).contains("master_link_status:down"))
        .await;
    acknowledged!(one.blacklist.unregister(&token(&taken_back)));
    let new = revoked(&one, 30).await;
    assert!(one.refuses_by_redis(&new[0]).await, "by the master");
    let known: Vec<Jti> = old.iter().chain(&new).cloned().collect();
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    redis.signal(MASTER, "KILL");
    let jti = one.revoke().await;
    tokio::time::sleep(BOUND).await;
    assert!(other.refuses(&jti).await);
    eventually("the replica is the master", || redis.say(REPLICA, &["ROLE"]).starts_with("master")).await;
    one.believes_again().await;
    other.believes_again().await;
    for watch in watches {
        watch.found_nothing().await;
    }
    for jti in &known {
        assert!(one.refuses_by_redis(jti).await && other.refuses_by_redis(jti).await, "it is filled again");
    }
    assert!(!one.refuses_by_redis(&taken_back).await, "it was taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_master_that_still_answers_is_believed_only_as_far_as_it_is_fed() {
    let redis = Redis::start("redis-sentinel", &[]);
    let site = Site::new(&redis.url).await;
    let (one, other) = (site.process().believing().await, site.process().believing().await);
    let known = revoked(&one, 30).await;
    let watches = [Watch::over(&one, &known), Watch::over(&other, &known)];
    // Twice, so that it goes there and back.
    for _ in 0..2 {
        assert_eq!(redis.say(2, &["SENTINEL", "FAILOVER", "mymaster"]), "OK");
        for _ in 0..10 {
            let jti = one.revoke().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(one.refuses(&jti).await);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        one.believes_again().await;
        other.believes_again().await;
    }
    for watch in watches {
        watch.found_nothing().await;
    }
}
