//! Who may do what in the database: somebody makes the tables, and the service needs no more than docs/databases.md says.

use crate::support::database::{Kind, OUTSTANDING};
use crate::support::mint::jti;
use crate::throwaway::Site;
use crate::traffic::{Ask, blacklist, whoami};

/// A user with the rights of a running service, as the docs list them, and no others; its URL.
fn service(site: &Site) -> String {
    let (name, password) = (site.name(), &site.host.password);
    let mut database = site.database();
    if site.host.is_postgres() {
        database.execute("CREATE ROLE service LOGIN; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO service");
        database.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO service");
    } else {
        for host in ["%", "localhost"] {
            database.execute(&format!("CREATE USER service@'{host}' IDENTIFIED BY '{password}'"));
            database.execute(&format!("GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON {name}.* TO service@'{host}'"));
        }
    }
    site.url(site.host.port, "service")
}

fn the_owner_makes_the_tables_and_the_service_needs_the_rights_of_the_docs_alone(kind: Kind) {
    let site = Site::new(kind);
    assert_eq!(site.cli(&["migrate"]).code(), 0);
    let url = service(&site);
    let mut site = site.set("database_url", &format!("{url:?}"));
    for kind in ["\"database\"", "\"cached\""] {
        site = site.set("blacklist", kind);
        let name = kind.trim_matches('"');
        site.server.restart();
        site.server.add_user(name, crate::support::server::PASSWORD);
        let (pair, other) = (site.server.login(name), site.server.login(name));
        let reply = Ask::Refresh(pair.refresh.clone()).send(site.server.client());
        assert_eq!(reply.status, 200, "{reply:?}");
        // Once more it is reuse, after the grace or not: either answer needs what a rotation wrote.
        assert!(matches!(Ask::Refresh(pair.refresh).send(site.server.client()).status, 200 | 401));
        assert_eq!(blacklist(&site.server, &other.refresh), 200);
        assert_eq!(whoami(&site.server, &other.access), 401);
        for command in [
            &["unblacklist", &jti(&other.refresh)][..],
            &["issue", "--user", name, "--kind", "access"],
            &["sessions", "list"],
            &["users", "disable", name],
            &["users", "enable", name],
            &["status"],
            &["migrate", "--check"],
        ] {
            let output = site.cli(command);
            assert_eq!(output.code(), 0, "{command:?}: {output:?}");
        }
        site.database().execute(&format!(
            "INSERT INTO {OUTSTANDING} (token, created_at, expires_at, jti) \
             VALUES ('', '2001-09-09 01:46:40', '2001-09-09 01:46:40', 'expired')"
        ));
        let output = site.cli(&["flushexpiredtokens"]);
        assert_eq!(output.code(), 0, "{output:?}");
        assert_eq!(site.database().count(&format!("{OUTSTANDING} WHERE jti = 'expired'")), 0);
        let log = site.server.log();
        assert!(!log.contains("rights") && !log.contains("cannot be put back"), "{log}");
    }
    let output = site.cli(&["migrate", "--remove", "--yes"]);
    assert_eq!(output.code(), 2, "it may take nothing away: {output:?}");
    assert!(output.stderr.contains("want of rights"), "{output:?}");
}

on_both!(the_owner_makes_the_tables_and_the_service_needs_the_rights_of_the_docs_alone);
