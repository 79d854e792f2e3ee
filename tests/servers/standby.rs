//! A PostgreSQL standby in place of its primary, and a pooler before one.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::database::Kind;
use crate::throwaway::{Site, Throwaway, eventually, signal};
use crate::traffic::{RECOVERY, blacklist, whoami};

/// The program of the newest version that is installed.
fn program(name: &str) -> String {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(name)))
        .chain([["/usr/sbin", name].iter().collect()])
        .filter(|path| path.exists())
        .collect();
    versions.sort();
    versions.pop().map_or_else(|| name.to_owned(), |path| path.display().to_string())
}

/// Runs a program as the user whose server it is.
pub(crate) fn as_owner(host: &Throwaway, name: &str) -> Command {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(&host.directory).expect("the directory of the server");
    let mut command = Command::new("setpriv");
    if owner.uid() != std::fs::metadata("/proc/self").expect("this process").uid() {
        let (user, group) = (owner.uid().to_string(), owner.gid().to_string());
        command.args(["--reuid", &user, "--regid", &group, "--clear-groups", "setpriv"]);
    }
    command.args(["--pdeathsig", "QUIT"]).arg(program(name)).current_dir(&host.directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A process that ends with this.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        signal(self.0.id(), "QUIT");
        drop(self.0.wait());
    }
}

/// A pooler before the server that hands out sessions by `mode`.
pub(crate) fn pooler(site: &Site, mode: &str) -> (Running, u16) {
    let (port, directory) = (free_port(), site.host.directory.join(format!("pooler-{mode}")));
    let created = as_owner(&site.host, "mkdir").arg(&directory).status().expect("run mkdir");
    assert!(created.success(), "mkdir: {created}");
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={} user=simplejwt\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = any\npool_mode = {mode}\nlogfile = {}/log\n",
        site.host.port,
        directory.display()
    );
    std::fs::write(directory.join("settings"), settings).expect("write the settings");
    let mut command = as_owner(&site.host, "pgbouncer");
    let running = Running(command.arg(directory.join("settings")).spawn().expect("start pgbouncer"));
    eventually(Duration::from_secs(5), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    (running, port)
}

#[test]
fn postgres_behind_a_pooler_is_used_only_if_sessions_are_its_clients_own() {
    let site = Site::new(Kind::Postgres);
    assert_eq!(site.cli(&["migrate"]).code(), 0);
    for mode in ["transaction", "statement"] {
        let (_running, port) = pooler(&site, mode);
        let url = site.url(port, "simplejwt");
        for command in [&["serve", "--port", "0"][..], &["blacklist", "a"], &["migrate"]] {
            let output = site.cli_at(&url, command);
            assert_eq!(output.code(), 1, "{mode} {command:?}: {output:?}");
            assert!(output.stderr.contains("pooler"), "{mode} {command:?}: {output:?}");
        }
    }
    let (_running, port) = pooler(&site, "session");
    let output = site.cli_at(&site.url(port, "simplejwt"), &["blacklist", "a"]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(site.database().is_blacklisted("a"));
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).expect("a port").port()
}

/// A standby of the server, its files, and its port.
fn standby(site: &Site) -> (Running, std::path::PathBuf, u16) {
    let copy = site.host.directory.join("standby");
    let port = site.host.port.to_string();
    let copied = as_owner(&site.host, "pg_basebackup")
        .args(["-h", "127.0.0.1", "-p", &port, "-U", "simplejwt", "-R", "-X", "stream", "-c", "fast", "-D"])
        .arg(&copy)
        .status()
        .expect("run pg_basebackup");
    assert!(copied.success(), "pg_basebackup: {copied}");
    let port = free_port();
    let mut standby = as_owner(&site.host, "postgres");
    standby.arg("-D").arg(&copy).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    // No less than the primary has.
    standby.args(["-c", "max_connections=400"]);
    standby.arg("-c").arg(format!("unix_socket_directories={}", site.host.directory.display()));
    let running = Running(standby.spawn().expect("start the standby"));
    let url = site.url(port, "simplejwt");
    eventually(Duration::from_secs(20), || site.cli_at(&url, &["status"]).code() == 0);
    (running, copy, port)
}

/// Waits until the standby has everything, and makes it the primary.
fn promote(site: &Site, copy: &Path) {
    let primary =
        "SELECT CAST(pg_current_wal_flush_lsn() <= coalesce(min(replay_lsn), '0/0') AS text) FROM pg_stat_replication";
    let mut database = site.database();
    eventually(Duration::from_secs(10), || database.value(primary).as_deref() == Some("true"));
    let promoted = as_owner(&site.host, "pg_ctl").args(["promote", "-D"]).arg(copy).status().expect("run pg_ctl");
    assert!(promoted.success(), "pg_ctl promote: {promoted}");
}

// Fault 14.
#[test]
fn postgres_standby_is_refused_until_it_is_promoted() {
    let site = Site::with_ada(Kind::Postgres);
    let (standby, copy, port) = standby(&site);
    let url = site.url(port, "simplejwt");
    let pair = site.server.login("ada");
    for command in [&["serve", "--port", "0"][..], &["blacklist", "a"], &["migrate"]] {
        let output = site.cli_at(&url, command);
        assert_eq!(output.code(), 1, "{command:?}: {output:?}");
        assert!(output.stderr.contains("standby") && output.stderr.contains("primary"), "{output:?}");
    }
    // Nor is it good enough for whoever only reads: it may lag behind by any time.
    for more in [&[][..], &["--allow-unsafe-durability"]] {
        let output = site.cli_at(&url, &[&["serve", "--port", "0", "--verify-only"][..], more].concat());
        assert_eq!(output.code(), 1, "{more:?}: {output:?}");
        assert!(output.stderr.contains("standby") && output.stderr.contains("primary"), "{output:?}");
    }
    let output = site.cli_at(&url, &["status"]);
    assert!(output.stderr.contains("a standby"), "{output:?}");
    let output = site.cli_at(&url, &["--allow-unsafe-durability", "blacklist", "a"]);
    assert_eq!(output.code(), 75, "{output:?}");
    // A revocation has arrived there by the time that it is the primary.
    let jti = crate::support::mint::jti(&pair.refresh);
    assert_eq!(site.cli(&["blacklist", &jti]).code(), 0);
    promote(&site, &copy);
    eventually(Duration::from_secs(20), || site.cli_at(&url, &["check", &jti]).code() == 1);
    assert_eq!(site.cli_at(&url, &["blacklist", "a"]).code(), 0);
    drop(standby);
}

/// A URL that names both, and asks for the one that can be written.
#[test]
fn postgres_with_two_hosts_in_its_url_is_followed_to_the_one_that_is_promoted() {
    let site = Site::new(Kind::Postgres);
    assert_eq!(site.cli(&["migrate"]).code(), 0);
    let (running, copy, port) = standby(&site);
    let one = format!("127.0.0.1:{}", site.host.port);
    // The standby comes first, so that it is asked first.
    let url = site.url(site.host.port, "simplejwt").replace(&one, &format!("127.0.0.1:{port},{one}"));
    let site = site.set("database_url", &format!("{:?}", url + "?target_session_attrs=read-write")).started();
    let (pair, other) = (site.server.login("ada"), site.server.login("ada"));
    assert_eq!(blacklist(&site.server, &pair.refresh), 200);
    promote(&site, &copy);
    // At once, so that nothing is written to the old one any more.
    signal(site.host.processes()[0], "QUIT");
    eventually(Duration::from_secs(20), || whoami(&site.server, &other.access) == 200);
    assert_eq!(whoami(&site.server, &pair.access), 401);
    eventually(RECOVERY, || blacklist(&site.server, &other.refresh) == 200);
    assert_eq!(whoami(&site.server, &other.access), 401);
    let jti = crate::support::mint::jti(&other.refresh);
    assert_eq!(site.cli_at(&site.url(port, "simplejwt"), &["check", &jti]).code(), 1);
    drop(running);
}
