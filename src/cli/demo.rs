//! `serve --demo`: everything that is needed to try the service, in a directory that is gone afterwards.

use std::fs::DirBuilder;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use uuid::Uuid;

use super::actor::actor;
use super::exit::Failure;
use super::output::complain;
use super::past;
use crate::service::Simplejwt;
use crate::settings::Settings;
use crate::users::AdminAccess;

/// A directory for a database and its key; removed when this is dropped.
pub(super) struct Demo {
    directory: PathBuf,
}

const USER: &str = "demo";
/// Who may use the admin.
const STAFF: &str = "admin";

impl Demo {
    /// Makes the directory, for nobody else to read.
    pub(super) fn new() -> Result<Self, Failure> {
        let directory = std::env::temp_dir().join(format!("simplejwt-demo-{}", Uuid::new_v4().simple()));
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let unmade = |error| Failure::io(format_args!("{} cannot be made", directory.display()), &error);
        builder.create(&directory).map_err(unmade)?;
        Ok(Self { directory })
    }

    /// The defaults, on a database in the directory.
    pub(super) fn settings(&self) -> Settings {
        Settings { database_url: Some(self.url()), ..Settings::default() }
    }

    fn url(&self) -> String {
        format!("sqlite:///{}", self.directory.join("demo.sqlite3").display())
    }

    /// Adds a user, and gives the commands to try, in which `BASE` stands for the address.
    pub(super) async fn fill(&self, jwt: &Simplejwt) -> Result<String, Failure> {
        let password = &Uuid::new_v4().simple().to_string()[..20];
        jwt.add_user(USER, None, password, AdminAccess::None, &actor()).await?;
        jwt.add_user(STAFF, None, password, AdminAccess::Change, &actor()).await?;
        complain("", &"making up a month of logins, which takes some seconds");
        // What is made up is no news: among it are tokens that were used twice.
        let level = log::max_level();
        log::set_max_level(LevelFilter::Error.min(level));
        let filled = past::fill(jwt).await;
        log::set_max_level(level);
        filled?;
        Ok(guide(password, &self.url(), &self.directory))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            complain("warning: ", &format_args!("{} cannot be removed: {error}", self.directory.display()));
        }
    }
}

/// The commands to try. Each works as it stands in a POSIX shell, with nothing but `curl` and `sed`.
fn guide(password: &str, url: &str, directory: &Path) -> String {
    let field = |name: &str| format!(r#"$(echo "$TOKENS" | sed 's/.*"{name}":"\([^"]*\)".*/\1/')"#);
    let (access, refresh) = (field("access"), field("refresh"));
    format!(
        r#"A month of made-up logins is in it. Look around in a browser:

SITE/admin, for user {STAFF} with password {password}

Or try it in another terminal: log in, use the access token, refresh, blacklist.

TOKENS=$(curl -s BASE/ -d username={USER} -d password={password}); echo "$TOKENS"
curl -s BASE/whoami/ -H "Authorization: Bearer {access}"; echo
TOKENS=$(curl -s BASE/refresh/ -d refresh="{refresh}"); echo "$TOKENS"
curl -s BASE/blacklist/ -d refresh="{refresh}"; echo

After them the second line answers 401, since blacklisting ended the session. The other commands
work on this database too:  simplejwt --database-url {url} blacklisted list
Ctrl-C ends the server and removes {directory}"#,
        directory = directory.display(),
    )
}
