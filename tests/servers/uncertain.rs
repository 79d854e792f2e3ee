//! Revocations of which nobody knows whether they were done: 503 to whoever asked, and refused by the process that was asked, until
//! the log tells.

use crate::proxy::Proxy;
use crate::support::database::Kind;
use crate::support::mint::jti;
use crate::throwaway::{Site, eventually};
use crate::traffic::{Ask, RECOVERY, assert_put_off, blacklist, whoami};

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
    assert_eq!(whoami(&site.server, &pair.access), 401);
    eventually(RECOVERY, || whoami(&sibling, &pair.access) == 401);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
}

// Fault 16. Nobody sees a commit that waits for a standby, and nobody knows whether it will ever be seen.
#[test]
fn postgres_without_its_synchronous_standby_refuses_what_it_could_not_acknowledge() {
    for blacklisting in [r#""cached""#, r#""database""#] {
        let site = Site::new(Kind::Postgres).set("blacklist", blacklisting).started();
        let sibling = site.server.sibling();
        let (pair, open) = (site.server.login("ada"), site.server.login("ada"));
        site.set_global("synchronous_standby_names", "'nobody'");
        assert_put_off(&Ask::Blacklist(pair.refresh.clone()), site.server.client());
        assert!(!site.database().is_blacklisted(&jti(&pair.refresh)), "nobody can see it yet");
        assert_eq!(whoami(&site.server, &pair.access), 401, "{blacklisting}: it may be committed any time");
        let refresh = Ask::Refresh(pair.refresh.clone()).send(site.server.client());
        assert!([401, 503].contains(&refresh.status), "{refresh:?}");
        assert_eq!(whoami(&site.server, &open.access), 200, "{blacklisting}: reading waits for no standby");
        assert_eq!(whoami(&sibling, &pair.access), 200, "{blacklisting}: another process knows nothing of it");
        site.set_global("synchronous_standby_names", "''");
        eventually(RECOVERY, || whoami(&sibling, &pair.access) == 401);
        assert_eq!(whoami(&site.server, &pair.access), 401);
        assert_eq!(blacklist(&site.server, &pair.refresh), 200);
        // It is taken back like any other.
        let refresh = jti(&pair.refresh);
        assert_eq!(site.cli(&["unblacklist", &refresh]).code(), 0);
        eventually(RECOVERY, || whoami(&site.server, &pair.access) == 200);
    }
}

// Fault 17: whoever ends the wait for the standby makes a commit of it that only this server has.
#[test]
fn postgres_that_ends_the_wait_for_its_standby_acknowledges_nothing() {
    let site = Site::new(Kind::Postgres).set("blacklist", r#""cached""#).started();
    let pair = site.server.login("ada");
    site.set_global("synchronous_standby_names", "'nobody'");
    std::thread::scope(|scope| {
        scope.spawn(|| assert_put_off(&Ask::Blacklist(pair.refresh.clone()), site.server.client()));
        let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let mut database = site.database();
        eventually(RECOVERY, || database.number(waiting) > 0);
    });
    assert_eq!(whoami(&site.server, &pair.access), 401);
    site.set_global("synchronous_standby_names", "''");
    eventually(RECOVERY, || site.database().is_blacklisted(&jti(&pair.refresh)));
    assert_eq!(whoami(&site.server, &pair.access), 401);
}

on_both!(a_revocation_whose_answer_was_lost_counts_here_and_then_everywhere);
