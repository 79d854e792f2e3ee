//! Which database: the URL, parsed once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the ledger is.
///
/// | URL | database |
/// |---|---|
/// | `sqlite://simplejwt.sqlite3` | a file, relative to the working directory |
/// | `sqlite:////var/lib/x.sqlite3`, `sqlite:///var/lib/x.sqlite3` | a file, absolute |
/// | `sqlite://:memory:` | nothing on disk, for tests |
///
/// Neither [`Debug`] nor [`Display`](fmt::Display) ever shows a password, nor does the error of a URL that is refused.
///
/// ```
/// use rocket_simplejwt::ledger::DatabaseUrl;
///
/// let url: DatabaseUrl = "sqlite:////var/lib/app.sqlite3".parse()?;
/// assert_eq!(url.path(), Some("/var/lib/app.sqlite3".as_ref()));
/// # Ok::<(), rocket_simplejwt::ledger::DatabaseUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DatabaseUrl(Place);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    Memory,
    File(PathBuf),
}

impl DatabaseUrl {
    /// A database that lives as long as its ledger does.
    pub const MEMORY: Self = Self(Place::Memory);

    /// The file of the database, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Memory => None,
            Place::File(path) => Some(path),
        }
    }

    /// What SQLite opens: never a file that is not there, so that nothing is ever written into an empty database.
    #[cfg(feature = "sqlite")]
    pub(super) fn sqlite_uri(&self) -> String {
        match &self.0 {
            Place::Memory => ":memory:".to_owned(),
            Place::File(path) => format!("file:{}?mode=rw", percent_encoded(&path.to_string_lossy())),
        }
    }
}

/// The path as a part of a URI: SQLite would take `?`, `#` and `%` for its own.
#[cfg(feature = "sqlite")]
fn percent_encoded(path: &str) -> String {
    use fmt::Write as _;

    path.bytes().fold(String::with_capacity(path.len()), |mut uri, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => uri.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
        uri
    })
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once("://").ok_or(DatabaseUrlError::NoScheme)?;
        match scheme {
            "sqlite" => sqlite(rest).map(Self),
            "postgres" | "postgresql" | "mysql" | "mariadb" => Err(DatabaseUrlError::NotInThisBuild(scheme.to_owned())),
            // The rest may hold a password, and so may something that is no scheme at all.
            _ => Err(DatabaseUrlError::UnknownScheme),
        }
    }
}

fn sqlite(rest: &str) -> Result<Place, DatabaseUrlError> {
    if rest == ":memory:" {
        return Ok(Place::Memory);
    }
    if rest.contains('?') {
        return Err(DatabaseUrlError::Options);
    }
    let path = match rest.strip_prefix('/') {
        Some(absolute) => format!("/{}", absolute.trim_start_matches('/')),
        None => rest.to_owned(),
    };
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(DatabaseUrlError::NoFile);
    }
    Ok(Place::File(path.into()))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Memory => f.write_str("sqlite://:memory:"),
            Place::File(path) if path.is_absolute() => write!(f, "sqlite:///{}", path.display()),
            Place::File(path) => write!(f, "sqlite://{}", path.display()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// Why a text is no database URL for this build. Says nothing of the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseUrlError {
    /// No `scheme://` at its start.
    #[error(
        "the database URL has no scheme; for a file write sqlite://simplejwt.sqlite3 or sqlite:////var/lib/simplejwt.sqlite3"
    )]
    NoScheme,
    /// A scheme of no database that we know.
    #[error("the scheme of the database URL is unknown; this build knows only sqlite://")]
    UnknownScheme,
    /// A database that is known, but not compiled in.
    #[error("a {0}:// database is not supported by this build, which knows only sqlite://")]
    NotInThisBuild(String),
    /// Options behind a question mark.
    #[error("a sqlite:// URL takes no options; leave out the question mark and what follows it")]
    Options,
    /// No path, or the path of a directory.
    #[error(
        "the sqlite:// URL names no file; write sqlite://simplejwt.sqlite3 or sqlite:////var/lib/simplejwt.sqlite3"
    )]
    NoFile,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(url: &str) -> String {
        url.parse::<DatabaseUrl>().unwrap().path().unwrap().display().to_string()
    }

    #[test]
    fn three_or_four_slashes_are_absolute_and_two_are_relative() {
        assert_eq!(path("sqlite://x.sqlite3"), "x.sqlite3");
        assert_eq!(path("sqlite://dir/x.sqlite3"), "dir/x.sqlite3");
        assert_eq!(path("sqlite://../x"), "../x");
        assert_eq!(path("sqlite:///x.sqlite3"), "/x.sqlite3");
        assert_eq!(path("sqlite:////var/lib/x.sqlite3"), "/var/lib/x.sqlite3");
        assert_eq!("sqlite://:memory:".parse(), Ok(DatabaseUrl::MEMORY));
        assert_eq!(DatabaseUrl::MEMORY.path(), None);
    }

    #[test]
    fn every_other_url_is_refused_without_showing_it() {
        use DatabaseUrlError::*;
        for (url, error) in [
            ("", NoScheme),
            ("db.sqlite3", NoScheme),
            ("sqlite:db.sqlite3", NoScheme),
            ("sqlite://", NoFile),
            ("sqlite:///", NoFile),
            ("sqlite://dir/", NoFile),
            ("sqlite://a\0b", NoFile),
            ("sqlite://x.sqlite3?mode=rwc", Options),
            ("postgres://user:secret@host/db", NotInThisBuild("postgres".into())),
            ("mysql://user:secret@host/db", NotInThisBuild("mysql".into())),
            ("user:secret://host", UnknownScheme),
            ("SQLITE://x", UnknownScheme),
        ] {
            let found = url.parse::<DatabaseUrl>().unwrap_err();
            assert_eq!(found, error, "{url}");
            assert!(!format!("{found} {found:?}").contains("secret"));
        }
    }

    #[test]
    fn the_uri_opens_only_what_is_there() {
        let url: DatabaseUrl = "sqlite://a b/ü%20#1.db".parse().unwrap();
        assert_eq!(url.sqlite_uri(), "file:a%20b/%C3%BC%2520%231.db?mode=rw");
        assert_eq!(DatabaseUrl::MEMORY.sqlite_uri(), ":memory:");
    }

    proptest! {
        #[test]
        fn display_is_a_url_for_the_same_place(url in "sqlite://[a-z/.% #é]{1,20}") {
            if let Ok(url) = url.parse::<DatabaseUrl>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }

        #[test]
        fn no_text_panics(url in ".*") {
            drop(url.parse::<DatabaseUrl>());
        }
    }
}
