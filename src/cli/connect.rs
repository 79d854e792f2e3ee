//! Which settings, which keys, which database: the same for every command.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;

use super::exit::Failure;
use super::output::{Format, Output, complain};
use crate::ledger::DatabaseUrl;
use crate::service::{Builder, OpenMode, Simplejwt};
use crate::settings::Settings;
use crate::token::generate_key;

/// What every command takes.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
#[expect(clippy::doc_markdown, reason = "clap shows the comments as they are")]
pub(super) struct Common {
    /// The database [default: the setting database_url, or DATABASE_URL, or sqlite://simplejwt.sqlite3]
    #[arg(long, global = true, value_name = "URL", env = "SIMPLEJWT_DATABASE_URL", hide_env_values = true)]
    pub(super) database_url: Option<String>,

    /// The settings, section [default.simplejwt] [default: Rocket.toml here or in a directory above]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Work on a database whose settings could lose what it acknowledges, with a warning
    #[arg(long, global = true)]
    pub(super) allow_unsafe_durability: bool,

    /// How to write results: for people, or for programs
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(super) format: Format,

    /// Say nothing of what was done: only results that were asked for, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Say more; given twice, say everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

/// What a command needs keys for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// To make tokens.
    ToSign,
    /// To read tokens. Those of `jwk_url` are fetched.
    ToVerify,
    /// For nothing: it must work for somebody who may not read the key, and while the key is lost.
    Unused,
}

/// How long a command waits for a database to open. With the two seconds that one operation has, an answer comes within
/// five.
const OPENING: Duration = Duration::from_secs(3);

/// The same where the database may have to be made.
const MAKING: Duration = Duration::from_secs(30);

impl Common {
    pub(super) const fn output(&self) -> Output {
        Output::new(self.format, self.quiet)
    }

    /// The configuration as the server would read it.
    pub(super) fn figment(&self) -> Result<Figment, Failure> {
        if let Some(file) = &self.config {
            // figment would take a file that is not there for an empty one.
            let unreadable = |error| Failure::Usage(format!("--config: {} cannot be read: {error}", file.display()));
            drop(std::fs::read(file).map_err(unreadable)?);
        }
        Ok(Settings::figment(self.config.as_deref()))
    }

    /// The settings, with the database that counts, and with the key beside it where no other is configured.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = Settings::from_figment(&self.figment()?)?;
        if let Some(url) = &self.database_url {
            settings.database_url = Some(url.clone());
        } else if settings.database_url.is_none() {
            settings.database_url = match std::env::var("DATABASE_URL") {
                Ok(url) => Some(url),
                Err(std::env::VarError::NotPresent) => None,
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(Failure::Usage("DATABASE_URL is no text in UTF-8".into()));
                }
            };
        }
        settings.allow_unsafe_durability |= self.allow_unsafe_durability;
        if !settings.has_keys() {
            settings.signing_key_file = key_beside(&settings)?.filter(|file| file.exists());
        }
        Ok(settings)
    }

    /// Opens a database that is there.
    pub(super) async fn open(&self, keys: Keys) -> Result<Simplejwt, Failure> {
        self.open_as(OpenMode::Existing, keys).await
    }

    /// Opens a database, and with [`OpenMode::Serve`] makes it if it is not there.
    pub(super) async fn open_as(&self, mode: OpenMode, keys: Keys) -> Result<Simplejwt, Failure> {
        let builder = Simplejwt::builder(self.settings()?);
        let builder = match keys {
            Keys::ToSign | Keys::ToVerify => builder,
            Keys::Unused => builder.without_keys(),
        };
        let jwt = opened(builder, mode).await?;
        #[cfg(feature = "jwk-url")]
        if keys == Keys::ToVerify {
            fetch_keys(&jwt).await?;
        }
        Ok(jwt)
    }

    /// Opens a database to look at it and at what is wrong with it, without keys.
    pub(super) async fn open_to_look(&self) -> Result<Simplejwt, Failure> {
        let builder = Simplejwt::builder(self.settings()?).without_keys().only_to_look();
        opened(builder, OpenMode::Existing).await
    }
}

async fn opened(builder: Builder, mode: OpenMode) -> Result<Simplejwt, Failure> {
    // A file on a hung network drive would hold up whoever opens it, for ever.
    let limit = if mode == OpenMode::Serve { MAKING } else { OPENING };
    let opening = tokio::spawn(builder.open(mode));
    let Ok(opened) = tokio::time::timeout(limit, opening).await else {
        return Err(Failure::TryAgain(format!("the database did not open within {limit:?}; try again")));
    };
    Ok(opened.map_err(|_| Failure::Failed("opening the database ended without an answer".into()))??)
}

/// Fetches the keys of `jwk_url`. Without them nobody can tell whether a token is good.
#[cfg(feature = "jwk-url")]
async fn fetch_keys(jwt: &Simplejwt) -> Result<(), Failure> {
    use crate::service::FetchError;

    jwt.fetch_keys().await.map_err(|error| {
        let text = format!("setting `jwk_url`: {}", crate::chain::chain(&error));
        if matches!(error, FetchError::Keys(_)) { Failure::Failed(text) } else { Failure::TryAgain(text) }
    })
}

/// Where the key is that goes with a database file: `x.sqlite3.key` beside `x.sqlite3`.
fn key_beside(settings: &Settings) -> Result<Option<PathBuf>, Failure> {
    let url: DatabaseUrl =
        settings.database_url().parse().map_err(|error| Failure::Ledger(crate::ledger::LedgerError::Url(error)))?;
    Ok(url.path().map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".key");
        name.into()
    }))
}

/// For a server without a key: makes one beside the database, and says so.
pub(super) fn ensure_key(settings: &mut Settings, output: Output) -> Result<(), Failure> {
    if settings.has_keys() {
        return Ok(());
    }
    let Some(file) = key_beside(settings)? else { return Ok(()) };
    let key = generate_key(settings.algorithm).ok_or_else(no_randomness)?;
    match write_new(&file, key.as_bytes()) {
        Ok(()) => output.aside(format_args!(
            "no key was configured: made one in {}; keep it safe, since whoever has it can make tokens, and without it all \
             tokens are void",
            file.display()
        )),
        // Another server was faster, and its key serves both.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Failure::io(format_args!("the key file {} cannot be written", file.display()), &error)),
    }
    settings.signing_key_file = Some(file);
    Ok(())
}

pub(super) fn no_randomness() -> Failure {
    Failure::TryAgain("the system has no randomness to give for a key".into())
}

/// Writes a file that only its owner can read. It appears whole or not at all, and never in the place of another: whoever
/// finds it can use it.
pub(super) fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", uuid::Uuid::new_v4().simple()));
    let draft = PathBuf::from(draft);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(content)?;
        if !content.ends_with(b"\n") {
            file.write_all(b"\n")?;
        }
        file.sync_all()?;
        std::fs::hard_link(&draft, path)
    });
    if let Err(error) = std::fs::remove_file(&draft)
        && error.kind() != ErrorKind::NotFound
    {
        complain("warning: ", &format_args!("{} cannot be removed: {error}", draft.display()));
    }
    written?;
    // The name of a file is on disk only when its directory is.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { std::fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

/// The database with its whole path, so that nobody mistakes one for another.
pub(super) fn name_of(url: &DatabaseUrl) -> String {
    match url.path().map(std::path::absolute) {
        Some(Ok(path)) => format!("sqlite:///{}", path.display()),
        _ => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_private_whole_and_never_in_the_place_of_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        write_new(&path, b"first").expect("a new file");
        let again = write_new(&path, b"second").expect_err("there is one");
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).expect("the file"), b"first\n");
        assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 1, "no draft is left");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_database_is_named_with_its_whole_path() {
        let name = |url: &str| name_of(&url.parse().expect("a good URL"));
        assert_eq!(name("sqlite:////var/lib/x.sqlite3"), "sqlite:////var/lib/x.sqlite3");
        let here = std::env::current_dir().expect("a working directory");
        assert_eq!(name("sqlite://x.sqlite3"), format!("sqlite:///{}/x.sqlite3", here.display()));
        assert_eq!(name("sqlite://:memory:"), "sqlite://:memory:");
    }
}
