//! What lies between a process that has everything in memory and its database: it lets nothing through, or one way only, or is
//! slow. The process decides by what it knows for as long as that is not too old, and then not at all.

use std::thread;
use std::time::{Duration, Instant};

use crate::proxy::Proxy;
use crate::support::database::Kind;
use crate::support::mint::jti;
use crate::throwaway::{Site, eventually};
use crate::traffic::{ANSWER, Ask, assert_put_off, blacklist, only, whoami};

/// Within what time everything has to work again, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

/// A process behind a proxy.
fn behind(kind: Kind) -> (Site, Proxy) {
    let site = Site::new(kind);
    let proxy = Proxy::to(site.host.port);
    let url = site.url(proxy.port, "simplejwt");
    let site = site.set("blacklist", r#""cached""#).set("database_url", &format!("{url:?}"));
    (site.started(), proxy)
}

/// Another way to the same database, for whoever revokes meanwhile.
fn blacklist_elsewhere(site: &Site, token: &str) {
    let url = site.url(site.host.port, "simplejwt");
    assert_eq!(site.cli_at(&url, &["blacklist", &jti(token)]).code(), 0);
}

// Fault 48.
fn without_a_way_to_the_database_nothing_is_decided_beyond_the_bound(kind: Kind) {
    let (site, proxy) = behind(kind);
    let (revoked, open) = (site.server.login("ada"), site.server.login("ada"));
    for cut in [Proxy::stall as fn(&Proxy), Proxy::reset] {
        let victim = site.server.login("ada");
        only(&site.server, &victim.access, &[503], 200);
        proxy.stall_new(true);
        cut(&proxy);
        let since = Instant::now();
        blacklist_elsewhere(&site, &victim.refresh);
        let told = Instant::now();
        // By what it knows, for the bound.
        only(&site.server, &open.access, &[200], 503);
        assert!(since.elapsed() < ANSWER, "it went on deciding for {:?}", since.elapsed());
        thread::sleep(Duration::from_secs(1).saturating_sub(told.elapsed()));
        for _ in 0..20 {
            assert_eq!(whoami(&site.server, &victim.access), 503);
        }
        assert_eq!(site.server.client().get("/health/ready", None).status, 503);
        proxy.stall_new(false);
        proxy.reset();
        only(&site.server, &victim.access, &[503], 401);
        only(&site.server, &open.access, &[503], 200);
    }
    eventually(SOON, || blacklist(&site.server, &revoked.refresh) == 200);
    only(&site.server, &revoked.access, &[503], 401);
}

// Fault 49.
fn what_the_database_heard_and_could_not_confirm_is_refused_here(kind: Kind) {
    let (site, proxy) = behind(kind);
    let (pair, open) = (site.server.login("ada"), site.server.login("ada"));
    let sibling = site.server.sibling();
    proxy.deafen(true);
    assert_put_off(&Ask::Blacklist(pair.refresh.clone()), site.server.client());
    for _ in 0..20 {
        let status = whoami(&site.server, &pair.access);
        assert!([401, 503].contains(&status), "{status}: it may have been revoked");
    }
    only(&site.server, &open.access, &[200], 503);
    proxy.deafen(false);
    proxy.reset();
    only(&site.server, &open.access, &[503], 200);
    // Whether it was done or not.
    only(&site.server, &pair.access, &[503], 401);
    // Asking again makes it certain, for everybody.
    eventually(SOON, || blacklist(&site.server, &pair.refresh) == 200);
    eventually(SOON, || whoami(&sibling, &pair.access) == 401);
    only(&sibling, &open.access, &[503], 200);
}

// Fault 50.
fn a_slow_database_slows_no_check(kind: Kind) {
    let (site, proxy) = behind(kind);
    let open = site.server.login("ada");
    // The 99th of a hundred.
    let took = || {
        let mut all: Vec<_> = (0..300)
            .map(|_| {
                let begun = Instant::now();
                let status = whoami(&site.server, &open.access);
                assert!([200, 503].contains(&status), "{status}");
                begun.elapsed()
            })
            .collect();
        all.sort_unstable();
        all[all.len() * 99 / 100]
    };
    for time in [100, 1000, 5000] {
        let pair = site.server.login("ada");
        proxy.slow_down(Duration::from_millis(time));
        thread::sleep(Duration::from_millis(300));
        // Whoever waited for the database would wait for longer than that, at each attempt; whoever waits for a processor, which
        // other tests have, does not.
        let mut attempts = Vec::new();
        while attempts.last().is_none_or(|slow| *slow >= Duration::from_millis(80)) {
            assert!(attempts.len() < 5, "{time} ms: {attempts:?}");
            attempts.push(took());
        }
        let begun = Instant::now();
        let status = blacklist(&site.server, &pair.refresh);
        assert!(begun.elapsed() < ANSWER, "{time} ms: {:?}", begun.elapsed());
        assert!([200, 503].contains(&status), "{time} ms: {status}");
        let reading = whoami(&site.server, &pair.access);
        assert!([401, 503].contains(&reading), "{time} ms: {reading} after {status}");
        proxy.slow_down(Duration::ZERO);
        proxy.reset();
        only(&site.server, &open.access, &[503], 200);
    }
}

on_both!(
    without_a_way_to_the_database_nothing_is_decided_beyond_the_bound,
    what_the_database_heard_and_could_not_confirm_is_refused_here,
    a_slow_database_slows_no_check,
);
