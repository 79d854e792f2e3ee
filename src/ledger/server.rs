//! The URL of a database server, for the client libraries of PostgreSQL, MariaDB and MySQL: what they are told, and what nobody
//! else is.

use super::url::DatabaseUrlError;

/// A server of its own, and what to say to it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Server {
    /// As the client library has it.
    pub(super) scheme: &'static str,
    /// What follows the scheme. It may hold a password.
    rest: String,
}

impl Server {
    /// What follows `scheme://`, if it can be read in one way only.
    pub(super) fn new(scheme: &'static str, rest: &str) -> Result<Self, DatabaseUrlError> {
        let (place, _) = rest.split_once('?').unwrap_or((rest, ""));
        let database = place.split_once('/').map_or("", |(_, database)| database);
        // Of two ways to read a URL, the client library may take the other one, and show what we took for a password.
        let (authority, rest_of_place) = place.split_once('/').unwrap_or((place, ""));
        if rest_of_place.contains('@') || authority.matches('@').count() > 1 {
            return Err(DatabaseUrlError::NotEncoded);
        }
        if database.is_empty() || rest.contains('\0') {
            return Err(DatabaseUrlError::NoDatabase);
        }
        Ok(Self { scheme, rest: rest.to_owned() })
    }

    /// One that nobody ever asks.
    #[cfg(not(feature = "sqlite"))]
    pub(super) fn nowhere(scheme: &'static str) -> Self {
        Self { scheme, rest: "nowhere/none".to_owned() }
    }

    /// The URL as the client library takes it, with `defaults` for what it leaves open.
    fn conninfo(&self, defaults: &[(&str, &str)]) -> String {
        let Self { scheme, rest } = self;
        let (_, query) = rest.split_once('?').unwrap_or((rest, ""));
        let said = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let more = defaults.iter().filter(|(name, _)| !said(name)).map(|(name, value)| format!("{name}={value}"));
        let url = format!("{scheme}://{rest}");
        more.fold(url, |url, more| format!("{url}{}{more}", if url.contains('?') { '&' } else { '?' }))
    }

    /// What PostgreSQL's client library takes. It gives up on a server that takes the connection and then says nothing, and
    /// on a network that swallows what is sent, so that no thread waits for hours.
    #[cfg(feature = "postgres")]
    pub(super) fn libpq(&self) -> String {
        self.conninfo(&[
            ("connect_timeout", "2"),
            ("fallback_application_name", "simplejwt"),
            ("keepalives_idle", "10"),
            ("keepalives_interval", "5"),
            ("keepalives_count", "3"),
            ("tcp_user_timeout", "20000"),
        ])
    }

    /// What Diesel takes for MariaDB and MySQL.
    #[cfg(feature = "mysql")]
    pub(super) fn mysql(&self) -> String {
        self.conninfo(&[])
    }

    /// Whether a port is named that would not be looked at.
    #[cfg(feature = "mysql")]
    pub(super) fn has_port_of_localhost(&self) -> bool {
        let authority = self.rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        host.strip_prefix("localhost:").is_some_and(|port| !port.is_empty())
    }

    /// Checks the options of a MariaDB or MySQL URL. Diesel ignores those that it does not know, and MariaDB's client library
    /// ignores `ssl_mode`: whoever asks for safety in a way that neither understands would get none.
    #[cfg(feature = "mysql")]
    pub(super) fn check_mysql_options(&self) -> Result<(), DatabaseUrlError> {
        let options: Vec<_> = self.options().collect();
        let known = |name: &str| ["ssl_mode", "ssl_ca", "ssl_cert", "ssl_key", "unix_socket"].contains(&name);
        let once = |name: &str| options.iter().filter(|(other, _)| *other == name).count() == 1;
        if !options.iter().all(|(name, value)| known(name) && once(name) && !value.is_empty()) {
            return Err(DatabaseUrlError::MysqlOptions);
        }
        match self.option("ssl_mode").map(str::to_lowercase).as_deref() {
            None | Some("disabled" | "preferred") => Ok(()),
            Some("required" | "verify_ca" | "verify_identity") if mysqlclient_sys::SUPPORTS_MYSQL_SSL_MODE => Ok(()),
            Some("required") if self.option("ssl_ca").is_some() => Ok(()),
            Some("required") => Err(DatabaseUrlError::TlsWithoutCa),
            Some("verify_ca" | "verify_identity") => Err(DatabaseUrlError::TlsUnverified),
            Some(_) => Err(DatabaseUrlError::TlsMode),
        }
    }

    /// Whether the URL asks for a connection that is encrypted, and for none that is not.
    #[cfg(feature = "mysql")]
    pub(super) fn asks_for_tls(&self) -> bool {
        match self.option("ssl_mode").map(str::to_lowercase).as_deref() {
            None => ["ssl_ca", "ssl_cert", "ssl_key"].iter().any(|name| self.option(name).is_some()),
            Some(mode) => mode != "disabled" && mode != "preferred",
        }
    }

    #[cfg(feature = "mysql")]
    fn option(&self, name: &str) -> Option<&str> {
        self.options().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// What stands behind the question mark.
    #[cfg(feature = "mysql")]
    fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        let (_, query) = self.rest.split_once('?').unwrap_or((&self.rest, ""));
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The password in the place for it, if there is one.
    fn password(&self) -> Option<&str> {
        let authority = self.rest.split(['/', '?']).next()?;
        Some(authority.rsplit_once('@')?.0.split_once(':')?.1)
    }

    /// A message of the client library, without what nobody else may read.
    pub(super) fn without_secrets(&self, message: &str) -> String {
        let whole = message.replace(&self.rest, &self.shown());
        self.password().filter(|password| !password.is_empty()).map_or(whole.clone(), |it| whole.replace(it, "***"))
    }

    /// What follows the scheme, without passwords.
    pub(super) fn shown(&self) -> String {
        let (place, query) =
            self.rest.split_once('?').map_or((self.rest.as_str(), None), |(it, query)| (it, Some(query)));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let authority = match authority.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((name, _)) => format!("{name}:***@{host}"),
                None => authority.to_owned(),
            },
            None => authority.to_owned(),
        };
        let mut shown = format!("{authority}/{database}");
        if let Some(query) = query {
            let masked = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name, _)) if name.contains("pass") => format!("{name}=***"),
                _ => pair.to_owned(),
            });
            shown.push('?');
            shown.push_str(&masked.collect::<Vec<_>>().join("&"));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::super::url::{DatabaseUrl, DatabaseUrlError, Place};

    #[cfg(feature = "postgres")]
    #[test]
    fn no_password_of_a_server_is_shown() {
        for (url, shown) in [
            ("postgres://ada@h/db", "postgres://ada@h/db"),
            ("postgresql://ada:s3cr3t@h:1/db", "postgres://ada:***@h:1/db"),
            ("postgres://ada:a:s3cr3t@h/db?x=y", "postgres://ada:***@h/db?x=y"),
            (
                "postgres:///db?host=/run&password=s3cr3t&sslpassword=s3cr3t",
                "postgres:///db?host=/run&password=***&sslpassword=***",
            ),
        ] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
            let Place::Postgres(server) = url.place() else { panic!("{url}") };
            let said = format!("invalid port number in \"{}\": s3cr3t", server.libpq());
            assert!(!server.without_secrets(&said).contains("a:s3cr3t"), "{said}");
        }
        let url: DatabaseUrl = "postgres://h/db?connect_timeout=9".parse().unwrap();
        let Place::Postgres(server) = url.place() else { panic!("{url}") };
        assert_eq!(
            server.libpq(),
            "postgres://h/db?connect_timeout=9&fallback_application_name=simplejwt\
             &keepalives_idle=10&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=20000"
        );
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn whoever_asks_for_tls_gets_it_or_an_error() {
        use DatabaseUrlError::*;
        let server = |options: &str| match format!("mysql://ada:s3cr3t@h/db{options}").parse::<DatabaseUrl>() {
            Ok(DatabaseUrl(Place::Mysql(server))) => Ok(server.asks_for_tls()),
            Ok(other) => panic!("{other}"),
            Err(error) => Err(error),
        };
        for (options, asks) in [
            ("", false),
            ("?unix_socket=/run/mysqld/mysqld.sock", false),
            ("?ssl_mode=disabled", false),
            ("?ssl_mode=Preferred&ssl_ca=/ca.pem", false),
            ("?ssl_ca=/ca.pem", true),
            ("?ssl_cert=/c.pem&ssl_key=/k.pem", true),
            ("?ssl_mode=REQUIRED&ssl_ca=/ca.pem", true),
        ] {
            assert_eq!(server(options), Ok(asks), "{options}");
        }
        for options in
            ["?sslmode=verify-full", "?ssl-mode=REQUIRED", "?tls=true", "?ssl%5Fmode=required", "?ssl_ca", "?ssl_ca="]
        {
            assert_eq!(server(options), Err(MysqlOptions), "{options}");
        }
        assert_eq!(server("?ssl_mode=required&ssl_ca=/ca.pem&ssl_mode=disabled"), Err(MysqlOptions));
        assert_eq!(server("?ssl_mode=verify-full"), Err(TlsMode));
        if !mysqlclient_sys::SUPPORTS_MYSQL_SSL_MODE {
            assert_eq!(server("?ssl_mode=required"), Err(TlsWithoutCa));
            for mode in ["verify_ca", "VERIFY_IDENTITY"] {
                assert_eq!(server(&format!("?ssl_mode={mode}&ssl_ca=/ca.pem")), Err(TlsUnverified), "{mode}");
            }
        }
    }
}
