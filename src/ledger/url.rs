//! Which database: the URL, parsed once.

use std::fmt;
use std::path::Path;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::str::FromStr;

#[cfg(any(feature = "postgres", feature = "mysql"))]
use super::server::Server;

/// Where the ledger is.
///
/// | URL | database |
/// |---|---|
/// | `sqlite://simplejwt.sqlite3` | a file, relative to the working directory |
/// | `sqlite:////var/lib/x.sqlite3`, `sqlite:///var/lib/x.sqlite3` | a file, absolute |
/// | `sqlite://:memory:` | nothing on disk, for tests |
/// | `postgres://user:password@host:5432/name?sslmode=verify-full` | PostgreSQL, with all that libpq's URLs can say; `postgresql://` too |
/// | `mysql://user:password@host:3306/name?ssl_mode=required&ssl_ca=/etc/ssl/db.pem` | MariaDB or MySQL; `mariadb://` too |
///
/// Which of them a build knows is up to its features: `sqlite`, `postgres`, `mysql`. Neither [`Debug`] nor [`Display`](fmt::Display) ever shows a password, nor does the error of a URL that is refused.
///
/// ```
/// use rocket_simplejwt::ledger::DatabaseUrl;
///
/// let url: DatabaseUrl = "sqlite:////var/lib/app.sqlite3".parse()?;
/// assert_eq!(url.path(), Some("/var/lib/app.sqlite3".as_ref()));
/// # Ok::<(), rocket_simplejwt::ledger::DatabaseUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DatabaseUrl(pub(super) Place);

/// Where a URL leads.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    #[cfg(feature = "sqlite")]
    Memory,
    #[cfg(feature = "sqlite")]
    File(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Server),
    #[cfg(feature = "mysql")]
    Mysql(Server),
}

impl DatabaseUrl {
    /// A database that lives as long as its ledger does.
    #[cfg(feature = "sqlite")]
    pub const MEMORY: Self = Self(Place::Memory);

    /// What a process without a database has in its place. Nobody ever opens it.
    pub(super) fn nowhere() -> Self {
        #[cfg(feature = "sqlite")]
        let place = Place::Memory;
        #[cfg(all(not(feature = "sqlite"), feature = "postgres"))]
        let place = Place::Postgres(Server::nowhere("postgres"));
        #[cfg(all(not(feature = "sqlite"), not(feature = "postgres")))]
        let place = Place::Mysql(Server::nowhere("mysql"));
        Self(place)
    }

    /// The file of the database, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Place::Memory => None,
            #[cfg(feature = "sqlite")]
            Place::File(path) => Some(path),
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => None,
            #[cfg(feature = "mysql")]
            Place::Mysql(_) => None,
        }
    }

    /// Whether the database is in a file of its own, or only in memory: one that is there when it is opened.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Place::Memory | Place::File(_) => true,
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => false,
            #[cfg(feature = "mysql")]
            Place::Mysql(_) => false,
        }
    }

    /// How many connections there can be, if there is a limit: a second one to memory would find another memory.
    pub(super) const fn most_connections(&self) -> Option<u32> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Place::Memory => Some(1),
            #[cfg(feature = "sqlite")]
            Place::File(_) => None,
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => None,
            #[cfg(feature = "mysql")]
            Place::Mysql(_) => None,
        }
    }

    /// Where it leads.
    pub(super) const fn place(&self) -> &Place {
        &self.0
    }

    /// What SQLite opens: never a file that is not there, so that nothing is ever written into an empty database.
    #[cfg(feature = "sqlite")]
    pub(super) fn sqlite_uri(&self, writes: bool) -> String {
        match self.path() {
            None => ":memory:".to_owned(),
            Some(path) => {
                let mode = if writes { "rw" } else { "ro" };
                format!("file:{}?mode={mode}", percent_encoded(&path.to_string_lossy()))
            }
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

/// The databases, by the features that bring them, and whether this build has them.
const BUILT: [(&str, bool); 3] = [
    ("sqlite", cfg!(feature = "sqlite")),
    ("postgres", cfg!(feature = "postgres")),
    ("mysql", cfg!(feature = "mysql")),
];

/// The feature that knows URLs of this scheme, if any does.
fn feature_of(scheme: &str) -> Option<&'static str> {
    match scheme {
        "sqlite" => Some("sqlite"),
        "postgres" | "postgresql" => Some("postgres"),
        "mysql" | "mariadb" => Some("mysql"),
        _ => None,
    }
}

/// Whether a build with these databases is one without this feature.
fn lacks(feature: &str, built: [(&str, bool); 3]) -> bool {
    built.contains(&(feature, false))
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once("://").ok_or(DatabaseUrlError::NoScheme)?;
        if let Some(feature) = feature_of(scheme).filter(|feature| lacks(feature, BUILT)) {
            return Err(DatabaseUrlError::NotInThisBuild(feature));
        }
        match scheme {
            #[cfg(feature = "sqlite")]
            "sqlite" => sqlite(rest).map(Self),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => Ok(Self(Place::Postgres(Server::new("postgres", rest)?))),
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => {
                let server = Server::new("mysql", rest)?;
                if server.has_port_of_localhost() {
                    return Err(DatabaseUrlError::LocalPort);
                }
                server.check_mysql_options()?;
                Ok(Self(Place::Mysql(server)))
            }
            // The rest may hold a password, and so may something that is no scheme at all.
            _ => Err(DatabaseUrlError::UnknownScheme),
        }
    }
}

#[cfg(feature = "sqlite")]
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
            #[cfg(feature = "postgres")]
            Place::Postgres(server) => write!(f, "{}://{}", server.scheme, server.shown()),
            #[cfg(feature = "mysql")]
            Place::Mysql(server) => write!(f, "{}://{}", server.scheme, server.shown()),
            #[cfg(feature = "sqlite")]
            Place::Memory => f.write_str("sqlite://:memory:"),
            #[cfg(feature = "sqlite")]
            Place::File(path) if path.is_absolute() => write!(f, "sqlite:///{}", path.display()),
            #[cfg(feature = "sqlite")]
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
    #[error("the scheme of the database URL is unknown; use sqlite://, postgres:// or mysql://")]
    UnknownScheme,
    /// A database that is known, but not compiled in.
    #[error("this build knows no {0}:// databases; build it with the feature `{0}`: cargo build --features {0}")]
    NotInThisBuild(&'static str),
    /// A password, or a name, with characters that mean something in a URL.
    #[error("the database URL has an @ where none can be; write @ as %40 and / as %2F in user, password and database")]
    NotEncoded,
    /// A port of `localhost`, which MariaDB's client library does not look at.
    #[error(
        "with the host localhost a mysql:// URL means the socket and its port counts for nothing; write 127.0.0.1, or unix_socket=FILE"
    )]
    LocalPort,
    /// No name of a database.
    #[error("the URL names no database; write postgres://user@host/name or mysql://user@host/name")]
    NoDatabase,
    /// An option that would be ignored, or one without a value, or one that is given twice.
    #[error(
        "a mysql:// URL takes the options ssl_mode, ssl_ca, ssl_cert, ssl_key and unix_socket, each once and with a value; leave out every other"
    )]
    MysqlOptions,
    /// An `ssl_mode` of another name.
    #[error("ssl_mode is one of disabled, preferred, required, verify_ca and verify_identity")]
    TlsMode,
    /// TLS without which there is to be no connection, in a build that cannot have it so.
    #[error(
        "ssl_mode=required needs ssl_ca=FILE in this build: MariaDB's client library uses TLS only with a file of certificates"
    )]
    TlsWithoutCa,
    /// A server that is to be verified, in a build that cannot do it.
    #[error(
        "this build cannot keep ssl_mode=verify_ca and verify_identity, because Diesel cannot ask MariaDB's client library for it; use ssl_mode=required with ssl_ca=FILE on a network that you trust, unix_socket, or a tunnel, or build with MySQL's client library"
    )]
    TlsUnverified,
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
            #[cfg(feature = "postgres")]
            ("postgres://user:secret@host", NoDatabase),
            #[cfg(feature = "postgres")]
            ("postgres://user:a/secret@host/db", NotEncoded),
            #[cfg(feature = "postgres")]
            ("postgres://user:a@secret@host/db", NotEncoded),
            #[cfg(feature = "mysql")]
            ("mysql://user:secret@localhost:3307/db", LocalPort),
            #[cfg(feature = "postgres")]
            ("postgres://user:secret@host/?sslmode=require", NoDatabase),
            ("user:secret://host", UnknownScheme),
            ("SQLITE://x", UnknownScheme),
        ] {
            let found = url.parse::<DatabaseUrl>().unwrap_err();
            assert_eq!(found, error, "{url}");
            assert!(!format!("{found} {found:?}").contains("secret"));
        }
    }

    #[test]
    fn a_database_that_is_not_compiled_in_is_named_by_its_feature() {
        const ALL: [&str; 3] = ["sqlite", "postgres", "mysql"];
        for (url, feature) in [
            ("sqlite://file", "sqlite"),
            ("postgres://user:secret@host/db", "postgres"),
            ("postgresql://user:secret@host/db", "postgres"),
            ("mysql://user:secret@host/db", "mysql"),
            ("mariadb://user:secret@host/db", "mysql"),
        ] {
            let scheme = url.split_once("://").unwrap().0;
            assert_eq!(feature_of(scheme), Some(feature), "{url}");
            for missing in ALL {
                let built = ALL.map(|name| (name, name != missing));
                assert_eq!(lacks(feature, built), feature == missing, "{url} without {missing}");
            }
            let found = url.parse::<DatabaseUrl>();
            let expected = Err(DatabaseUrlError::NotInThisBuild(feature));
            assert_eq!(found == expected, lacks(feature, BUILT), "{found:?}");
            let said = DatabaseUrlError::NotInThisBuild(feature).to_string();
            assert!(said.contains(&format!("--features {feature}")), "{said}");
        }
        assert_eq!(feature_of("https"), None);
    }

    #[test]
    fn the_uri_opens_only_what_is_there() {
        let url: DatabaseUrl = "sqlite://a b/ü%20#1.db".parse().unwrap();
        assert_eq!(url.sqlite_uri(true), "file:a%20b/%C3%BC%2520%231.db?mode=rw");
        assert_eq!(url.sqlite_uri(false), "file:a%20b/%C3%BC%2520%231.db?mode=ro");
        assert_eq!(DatabaseUrl::MEMORY.sqlite_uri(true), ":memory:");
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
