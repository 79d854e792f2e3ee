//! A database that forgets what it had acknowledged: a backup is put back, or another server takes over that had not received
//! everything. A process that went on meanwhile knows, refuses, and writes it back.

use std::time::{Duration, Instant};

use crate::proxy::Proxy;
use crate::standby::{Running, as_owner, free_port};
use crate::support::database::Kind;
use crate::support::mint::{Claims, claims, jti};
use crate::support::server::{Pair, Server};
use crate::throwaway::{Site, eventually, signal};
use crate::traffic::{Ask, blacklist, only, whoami};

/// Within what time everything has to be written back.
const SOON: Duration = Duration::from_secs(20);

/// What is revoked after the database was copied, in every way.
struct Revoked {
    http: Pair,
    command: Claims,
    django: Pair,
}

impl Revoked {
    fn of(site: &Site) -> Self {
        let user = site.server.user_id("ada");
        let command = claims("access").with("user_id", user);
        Self { http: site.server.login("ada"), command, django: site.server.login("ada") }
    }

    fn revoke(&self, site: &Site) {
        assert_eq!(blacklist(&site.server, &self.http.refresh), 200);
        assert_eq!(site.cli(&["blacklist", self.command.jti(), "--expires-at", "2099-01-01T00:00:00Z"]).code(), 0);
        site.database().blacklist_as_django(&jti(&self.django.refresh));
        eventually(SOON, || self.tokens().iter().all(|token| whoami(&site.server, token) == 401));
    }

    fn tokens(&self) -> [String; 3] {
        [self.http.access.clone(), self.command.sign(), self.django.access.clone()]
    }

    /// Never accepted by who knows them; and in the end by nobody.
    #[track_caller]
    fn assert_written_back(&self, server: &Server, lost_rows: u64) {
        let begun = Instant::now();
        loop {
            for token in self.tokens() {
                let status = whoami(server, &token);
                assert!([401, 503].contains(&status), "{status}: a token that was refused is accepted");
            }
            let ready = Ask::Ready.send(server.client()).json();
            if ready["blacklist"]["lost_rows"].as_u64() >= Some(lost_rows) {
                break;
            }
            assert!(begun.elapsed() < SOON, "it is not written back: {ready}\n{}", server.log());
        }
        // Who was not there knows it from the database.
        let other = server.sibling();
        eventually(SOON, || whoami(&other, &self.http.access) == 401);
        for token in self.tokens() {
            only(&other, &token, &[503], 401);
        }
        Ask::Refresh(self.http.refresh.clone()).send(other.client()).assert_not_valid("Token is blacklisted");
        assert!(server.log().contains("written back"), "{}", server.log());
    }
}

// Fault 8.
fn what_a_restored_backup_has_lost_is_written_back(kind: Kind) {
    let mut site = Site::new(kind).set("blacklist", r#""cached""#).started();
    let (revoked, open, before) = (Revoked::of(&site), site.server.login("ada"), site.server.login("ada"));
    assert_eq!(blacklist(&site.server, &before.refresh), 200);
    let freed = claims("access").with("user_id", site.server.user_id("ada"));
    assert_eq!(site.cli(&["blacklist", freed.jti()]).code(), 0);
    eventually(SOON, || whoami(&site.server, &freed.sign()) == 401);
    site.host.back_up_or_restore();
    eventually(SOON, || whoami(&site.server, &open.access) == 200);
    revoked.revoke(&site);
    assert_eq!(site.cli(&["unblacklist", freed.jti()]).code(), 0);
    eventually(SOON, || whoami(&site.server, &freed.sign()) == 200);
    let later = site.server.login("ada");

    site.host.back_up_or_restore();
    revoked.assert_written_back(&site.server, 3);
    for token in [&open.access, &later.access] {
        eventually(SOON, || whoami(&site.server, token) == 200);
    }
    only(&site.server, &before.access, &[503], 401);
    // That it was taken back is forgotten; to refuse is the safe side.
    eventually(SOON, || whoami(&site.server, &freed.sign()) == 401);
    site.database().assert_sound();
}

// Fault 15.
#[test]
fn what_a_standby_had_not_received_is_written_back_when_it_takes_over() {
    let site = Site::new(Kind::Postgres);
    let proxy = Proxy::to(site.host.port);
    let url = site.url(proxy.port, "simplejwt");
    let site = site.set("blacklist", r#""cached""#).set("database_url", &format!("{url:?}")).started();
    let revoked = Revoked::of(&site);
    let (copy, port) = (site.host.directory.join("standby"), free_port());
    let copied = as_owner(&site.host, "pg_basebackup")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &site.host.port.to_string(),
            "-U",
            "simplejwt",
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        ])
        .arg("-D")
        .arg(&copy)
        .status()
        .expect("run pg_basebackup");
    assert!(copied.success(), "pg_basebackup: {copied}");
    let mut standby = as_owner(&site.host, "postgres");
    standby.arg("-D").arg(&copy).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    standby.args(["-c", "max_connections=400", "-c"]);
    standby.arg(format!("unix_socket_directories={}", site.host.directory.display()));
    let _standby = Running(standby.spawn().expect("start the standby"));
    let mut database = site.database();
    let received = |database: &mut crate::support::database::Database| {
        let all = "SELECT CAST(count(*) > 0 AND bool_and(pg_current_wal_flush_lsn() <= replay_lsn) AS text) FROM pg_stat_replication";
        database.value(all).as_deref() == Some("true")
    };
    let before = site.server.login("ada");
    assert_eq!(blacklist(&site.server, &before.refresh), 200);
    eventually(SOON, || received(&mut database));
    // From now on it receives nothing more.
    let senders = database.strings("SELECT CAST(pid AS text) FROM pg_stat_replication");
    for pid in &senders {
        signal(pid.parse().expect("a number"), "STOP");
    }
    revoked.revoke(&site);
    drop(database);

    site.host.freeze();
    let promoted = as_owner(&site.host, "pg_ctl").args(["promote", "-D"]).arg(&copy).status().expect("run pg_ctl");
    assert!(promoted.success(), "pg_ctl promote: {promoted}");
    proxy.lead_to(port);
    proxy.reset();
    revoked.assert_written_back(&site.server, 3);
    only(&site.server, &before.access, &[503], 401);
    let later = site.server.login("ada");
    only(&site.server, &later.access, &[503], 200);
}

on_both!(what_a_restored_backup_has_lost_is_written_back);
