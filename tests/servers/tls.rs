//! TLS between us and the database: it is used where the URL asks for it, with a server that is who it should be, or there is
//! no connection.

use std::path::Path;
use std::process::Command;

use crate::support::database::Kind;
use crate::throwaway::{Site, Throwaway, eventually};
use crate::traffic::{RECOVERY, blacklist, whoami};

/// Another authority, of which the server's certificate is not.
fn other_authority(directory: &Path) -> String {
    let file = directory.join("other.pem");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=other CA", "-keyout"])
        .arg(directory.join("other.key"))
        .arg("-out")
        .arg(&file)
        .output()
        .expect("run openssl");
    assert!(made.status.success(), "{made:?}");
    file.display().to_string()
}

fn migrated(options: &[&str], kind: Kind) -> Site {
    let site = Site::on(Throwaway::with(kind, options));
    assert_eq!(site.cli(&["migrate"]).code(), 0);
    site
}

#[test]
fn postgres_over_tls() {
    let site = migrated(&["--tls"], Kind::Postgres);
    let authority = site.host.directory.join("ca.pem").display().to_string();
    let other = other_authority(site.server.directory());
    let url = |options: &str| format!("{}?{options}", site.url(site.host.port, "simplejwt"));
    for (options, code) in [
        (format!("sslmode=verify-full&sslrootcert={authority}"), 0),
        (format!("sslmode=verify-ca&sslrootcert={authority}"), 0),
        ("sslmode=require".to_owned(), 0),
        (format!("sslmode=verify-full&sslrootcert={other}"), 75),
        (format!("sslmode=verify-ca&sslrootcert={other}"), 75),
        // With a file, it is as strict as verify-ca.
        (format!("sslmode=require&sslrootcert={other}"), 75),
        ("sslmode=verify-full&sslrootcert=/no/such/file".to_owned(), 75),
        ("sslmode=verify_identity".to_owned(), 75),
        (format!("ssl_ca={authority}"), 75),
    ] {
        let output = site.cli_at(&url(&options), &["blacklist", "a"]);
        assert_eq!(output.code(), code, "{options}: {output:?}");
    }
    // The certificate is not for this name.
    let elsewhere = url(&format!("sslmode=verify-full&sslrootcert={authority}&hostaddr=127.0.0.1"));
    let elsewhere = elsewhere.replace("@127.0.0.1:", "@another.test:");
    let output = site.cli_at(&elsewhere, &["blacklist", "a"]);
    assert_eq!(output.code(), 75, "{output:?}");
    assert!(output.stderr.contains("does not match host name"), "{output:?}");

    let url = url(&format!("sslmode=verify-full&sslrootcert={authority}"));
    let site = site.set("database_url", &format!("{url:?}")).started();
    let pair = site.server.login("ada");
    assert_eq!(whoami(&site.server, &pair.access), 200);
    let mut database = site.database();
    let ours = |encrypted: &str| {
        format!(
            "pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE application_name = 'simplejwt' AND datname = current_database() AND ssl = {encrypted}"
        )
    };
    assert!(database.count(&ours("true")) > 0);
    assert_eq!(database.count(&ours("false")), 0);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
}

#[test]
fn postgres_without_tls_is_refused_where_the_url_asks_for_it() {
    let site = migrated(&[], Kind::Postgres);
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = format!("{}?sslmode={mode}", site.url(site.host.port, "simplejwt"));
        let output = site.cli_at(&url, &["blacklist", "a"]);
        assert_eq!(output.code(), 75, "{mode}: {output:?}");
    }
    assert!(!site.database().is_outstanding("a"));
}

#[test]
fn mariadb_over_tls() {
    let site = migrated(&["--tls"], Kind::Mysql);
    let authority = site.host.directory.join("ca.pem").display().to_string();
    let other = other_authority(site.server.directory());
    let url = |options: &str| format!("{}?{options}", site.url(site.host.port, "simplejwt"));
    for (options, code) in [
        (format!("ssl_mode=required&ssl_ca={authority}"), 0),
        (format!("ssl_ca={authority}"), 0),
        (format!("ssl_mode=required&ssl_ca={other}"), 75),
        (format!("ssl_ca={other}"), 75),
        (format!("ssl_mode=preferred&ssl_ca={other}"), 75),
        ("ssl_mode=required&ssl_ca=/no/such/file".to_owned(), 75),
        // What asks for TLS in words that nobody would hear is refused before anything is sent.
        ("sslmode=verify-full".to_owned(), 2),
        ("ssl_mode=verify-full".to_owned(), 2),
    ] {
        let output = site.cli_at(&url(&options), &["blacklist", "a"]);
        assert_eq!(output.code(), code, "{options}: {output:?}");
    }
    if !mysqlclient_sys::SUPPORTS_MYSQL_SSL_MODE {
        for options in ["ssl_mode=required", "ssl_mode=verify_ca", "ssl_mode=verify_identity"] {
            let output = site.cli_at(&url(options), &["blacklist", "b"]);
            assert_eq!(output.code(), 2, "{options}: {output:?}");
            assert!(output.stderr.contains("ssl_mode="), "{options}: {output:?}");
        }
        let verified = url(&format!("ssl_mode=verify_identity&ssl_ca={authority}"));
        assert_eq!(site.cli_at(&verified, &["blacklist", "b"]).code(), 2);
        assert!(!site.database().is_outstanding("b"));
    }

    let url = url(&format!("ssl_mode=required&ssl_ca={authority}"));
    let site = site.set("database_url", &format!("{url:?}")).started();
    let pair = site.server.login("ada");
    // The server itself lets nobody in any more who has no TLS.
    let mut database = site.database();
    for host in ["%", "localhost"] {
        database.execute(&format!("ALTER USER simplejwt@'{host}' REQUIRE SSL"));
    }
    let ours = format!("information_schema.processlist WHERE db = '{}' AND id <> connection_id()", site.name());
    for id in database.strings(&format!("SELECT id FROM {ours}")) {
        database.execute(&format!("KILL {id}"));
    }
    eventually(RECOVERY, || whoami(&site.server, &pair.access) == 200);
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    let plain = site.url(site.host.port, "simplejwt");
    assert_eq!(site.cli_at(&plain, &["status"]).code(), 75, "the test would notice a connection in the clear");
}

#[test]
fn mariadb_without_tls_is_refused_where_the_url_asks_for_it() {
    let site = migrated(&[], Kind::Mysql);
    let authority = other_authority(site.server.directory());
    for options in [format!("ssl_mode=required&ssl_ca={authority}"), format!("ssl_ca={authority}")] {
        let url = format!("{}?{options}", site.url(site.host.port, "simplejwt"));
        for flag in ["--quiet", "--allow-unsafe-durability"] {
            let output = site.cli_at(&url, &[flag, "blacklist", "a"]);
            assert_ne!(output.code(), 0, "{options}: {output:?}");
            assert!(output.stderr.contains("encrypted"), "{options}: {output:?}");
        }
    }
    assert!(!site.database().is_outstanding("a"));
}
