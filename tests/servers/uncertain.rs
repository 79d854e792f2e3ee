//! Revocations of which nobody knows whether they were done: 503 to whoever asked, and refused by the process that was asked, until
//! the log tells.

use std::time::Duration;

use crate::proxy::Proxy;
use crate::support::database::Kind;
use crate::support::mint::jti;
use crate::support::server::Pair;
use crate::throwaway::{Site, eventually};
use crate::traffic::{Ask, assert_put_off, blacklist, only, whoami};

/// Within what time everything has to work again, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

// Fault 24, with everything in memory.
fn a_revocation_whose_answer_was_lost_counts_here_and_then_everywhere(kind: Kind) {
    let site = Site::new(kind);
    let proxy = Proxy::to(site.host.port);
    let url = site.url(proxy.port, "simplejwt");
    let site = site.set("blacklist", r#""cached""#).set("database_url", &format!("{url:?}")).started();
    let sibling = site.server.sibling();
    let pair = site.server.login("ada");
    proxy.lose_next_commit();
    assert_put_off(&Ask::Blacklist(pair.refresh.clone()), site.server.client());
    assert!(proxy.has_lost_a_commit());
    only(&site.server, &pair.access, &[503], 401);
    eventually(SOON, || whoami(&sibling, &pair.access) == 401);
    eventually(SOON, || blacklist(&site.server, &pair.refresh) == 200);
}

/// Blacklists one token after the other until one is put off: it takes a moment until every commit waits for a standby.
fn put_off<'a>(site: &Site, pairs: &'a [Pair]) -> &'a Pair {
    let is_put_off = |pair: &&Pair| Ask::Blacklist(pair.refresh.clone()).send(site.server.client()).status == 503;
    pairs.iter().find(is_put_off).expect("every commit is acknowledged")
}

fn logins(site: &Site) -> Vec<Pair> {
    (0..20).map(|_| site.server.login("ada")).collect()
}

// Fault 16. Nobody sees a commit that waits for a standby, and nobody knows whether it will ever be seen.
#[test]
fn postgres_without_its_synchronous_standby_refuses_what_it_could_not_acknowledge() {
    for blacklisting in [r#""cached""#, r#""database""#] {
        let site = Site::new(Kind::Postgres).set("blacklist", blacklisting).started();
        let sibling = site.server.sibling();
        let (pairs, open) = (logins(&site), site.server.login("ada"));
        site.set_global("synchronous_standby_names", "'nobody'");
        let pair = put_off(&site, &pairs);
        assert!(!site.database().is_blacklisted(&jti(&pair.refresh)), "nobody can see it yet");
        // It may be committed any time.
        only(&site.server, &pair.access, &[503], 401);
        let refresh = Ask::Refresh(pair.refresh.clone()).send(site.server.client());
        assert!([401, 503].contains(&refresh.status), "{refresh:?}");
        // Reading waits for no standby, and another process knows nothing of it.
        only(&site.server, &open.access, &[503], 200);
        only(&sibling, &pair.access, &[503], 200);
        site.set_global("synchronous_standby_names", "''");
        eventually(SOON, || whoami(&sibling, &pair.access) == 401);
        only(&site.server, &pair.access, &[503], 401);
        eventually(SOON, || blacklist(&site.server, &pair.refresh) == 200);
        // It is taken back like any other.
        let refresh = jti(&pair.refresh);
        assert_eq!(site.cli(&["unblacklist", &refresh]).code(), 0);
        eventually(SOON, || whoami(&site.server, &pair.access) == 200);
    }
}

// Fault 17: whoever ends the wait for the standby makes a commit of it that only this server has.
#[test]
fn postgres_that_ends_the_wait_for_its_standby_acknowledges_nothing() {
    let site = Site::new(Kind::Postgres).set("blacklist", r#""cached""#).started();
    let pairs = logins(&site);
    site.set_global("synchronous_standby_names", "'nobody'");
    let pair = std::thread::scope(|scope| {
        let asked = scope.spawn(|| put_off(&site, &pairs));
        let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let mut database = site.database();
        eventually(SOON, || database.number(waiting) > 0);
        asked.join().expect("somebody is put off")
    });
    only(&site.server, &pair.access, &[503], 401);
    site.set_global("synchronous_standby_names", "''");
    eventually(SOON, || site.database().is_blacklisted(&jti(&pair.refresh)));
    only(&site.server, &pair.access, &[503], 401);
}

on_both!(a_revocation_whose_answer_was_lost_counts_here_and_then_everywhere);
