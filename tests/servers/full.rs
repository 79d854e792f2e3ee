//! A database whose disk is full.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::database::Kind;
use crate::throwaway::{Site, Throwaway, eventually};
use crate::traffic::{Ask, RECOVERY, blacklist, recorded, whoami};

/// A file system of its own, in memory. Only a superuser can make one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(megabytes: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let size = format!("size={megabytes}m,mode=755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test has to mount a file system, and needs root");
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space that is left, but for a little.
    fn fill(&self) {
        let filler = self.path().join("filler");
        let mut file = std::fs::File::options().create(true).append(true).open(&filler).expect("a file");
        std::fs::set_permissions(&filler, Permissions::from_mode(0o600)).expect("change the mode");
        for size in [1 << 20, 4096, 512] {
            while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
        }
        let size = file.metadata().expect("the size").len();
        file.set_len(size - (128 << 10)).expect("give a little back");
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("filler")).expect("remove the file");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

// Fault 13.
fn a_full_disk_loses_nothing(kind: Kind) {
    let disk = Disk::new(260);
    let mut site = Site::on(Throwaway::in_directory(kind, disk.path())).started();
    let pair = site.server.login("ada");
    let tokens = recorded(&mut site.database(), 1500);
    disk.fill();
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for token in &tokens {
        match blacklist(&site.server, &token.sign()) {
            200 => acknowledged.push(token),
            503 => refused += 1,
            status => panic!("{status}"),
        }
        if refused > 10 {
            break;
        }
    }
    assert!(refused > 10 && !acknowledged.is_empty(), "{} acknowledged, {refused} refused", acknowledged.len());
    let output = site.cli(&["blacklist", "a"]);
    // There may be room for one more where another was rolled back.
    assert!(matches!(output.code(), 0 | 75), "{output:?}");
    let reading = whoami(&site.server, &pair.access);
    assert!(matches!(reading, 200 | 503), "{reading}");
    disk.free();
    // A server may have given up meanwhile.
    site.host.kill_and_restart();
    eventually(RECOVERY, || whoami(&site.server, &pair.access) == 200);
    let mut database = site.database();
    for token in &acknowledged {
        assert!(database.is_blacklisted(token.jti()), "acknowledged and forgotten");
    }
    assert!(!output.success() || database.is_blacklisted("a"), "acknowledged and forgotten");
    let last = tokens.last().expect("tokens").sign();
    eventually(RECOVERY, || blacklist(&site.server, &last) == 200);
    let reply = Ask::Refresh(last).send(site.server.client());
    reply.assert_not_valid("Token is blacklisted");
    database.assert_sound();
}

on_both!(a_full_disk_loses_nothing);
