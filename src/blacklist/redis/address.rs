//! Where Redis is: the URL, parsed once.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where Redis is.
///
/// | URL | what |
/// |---|---|
/// | `redis://user:password@host:6379/0` | one server; `redis://:password@host` where there is no user |
/// | `redis+sentinel://user:password@sentinel1:26379,sentinel2:26379/mymaster/0` | the master of that name, which Sentinels know |
/// | `redis+cluster://user:password@node1:6379,node2:6379` | a Cluster, of which some nodes are named |
///
/// With `rediss` in the place of `redis` everything goes over TLS; `?ca_file=/etc/ssl/redis.pem` names the authority that signed
/// for the servers where the system does not know it. Sentinels that ask for a password get it from `?sentinel_password=…` (and
/// `sentinel_user=…`), joined by `&`. In user and password, `%40` stands for `@`, and so on.
///
/// Neither [`Debug`] nor the error of a URL that is refused ever shows a password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) kind: Kind,
    pub(super) nodes: Vec<(String, u16)>,
    pub(super) login: Login,
    pub(super) database: i64,
    pub(super) tls: bool,
    pub(super) ca_file: Option<PathBuf>,
}

/// What is at the nodes.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Server,
    Sentinel {
        /// The name of the master.
        master: String,
        /// How one logs in to the Sentinels themselves.
        login: Login,
    },
    Cluster,
}

/// How one logs in.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUrl").field("nodes", &self.nodes).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Why a URL of Redis is refused. Says no part of it that could be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisUrlError {
    /// No scheme that is known.
    #[error("must begin with redis://, redis+sentinel:// or redis+cluster://, or with rediss for TLS")]
    Scheme,
    /// A node that is none.
    #[error("must name a host, or several with commas between them, each with a port if it is not the usual one")]
    Node,
    /// Several servers that are neither Sentinels nor a Cluster.
    #[error("names several hosts: write redis+sentinel:// or redis+cluster:// if that is what they are")]
    Several,
    /// No name of a master.
    #[error("must say after the hosts what the Sentinels call the master: redis+sentinel://host/mymaster")]
    Master,
    /// A database that is none.
    #[error("must have the number of a database, if anything, after the hosts; a Cluster has but one")]
    Database,
    /// A user without a password, or `%` without two digits.
    #[error("must have `user:password@` or `:password@` before the host, with %40 for @ and %25 for % in them")]
    Login,
    /// An option that is not known.
    #[error("has an unknown option after the `?`: there are ca_file, sentinel_user and sentinel_password")]
    Option,
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match base {
            "redis" => false,
            "rediss" => true,
            _ => return Err(RedisUrlError::Scheme),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold what looks like the end of the hosts.
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let options = Options::parse(query, tls, kind == "sentinel")?;
        let (kind, usual_port, database) = match kind {
            "" if hosts.contains(',') => return Err(RedisUrlError::Several),
            "" => (Kind::Server, 6379, path),
            "cluster" if path.is_empty() => (Kind::Cluster, 6379, ""),
            "cluster" => return Err(RedisUrlError::Database),
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                let master = decoded(master).filter(|master| !master.is_empty()).ok_or(RedisUrlError::Master)?;
                (Kind::Sentinel { master, login: options.sentinel }, 26379, database)
            }
            _ => return Err(RedisUrlError::Scheme),
        };
        let database = match database {
            "" => 0,
            number => number.parse().ok().filter(|number| *number >= 0).ok_or(RedisUrlError::Database)?,
        };
        let nodes = hosts.split(',').map(|host| node(host, usual_port)).collect::<Result<_, _>>()?;
        Ok(Self {
            kind,
            nodes,
            login: login.map_or(Ok(Login::default()), Login::parse)?,
            database,
            tls,
            ca_file: options.ca_file,
        })
    }
}

#[derive(Default)]
struct Options {
    ca_file: Option<PathBuf>,
    sentinel: Login,
}

impl Options {
    fn parse(query: &str, tls: bool, sentinel: bool) -> Result<Self, RedisUrlError> {
        let mut options = Self::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').ok_or(RedisUrlError::Option)?;
            let value = decoded(value).ok_or(RedisUrlError::Option)?;
            match name {
                "ca_file" if tls => options.ca_file = Some(value.into()),
                "sentinel_user" if sentinel => options.sentinel.user = Some(value),
                "sentinel_password" if sentinel => options.sentinel.password = Some(value),
                _ => return Err(RedisUrlError::Option),
            }
        }
        Ok(options)
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let (user, password) = text.split_once(':').ok_or(RedisUrlError::Login)?;
        let part = |text: &str| decoded(text).ok_or(RedisUrlError::Login);
        let user = Some(part(user)?).filter(|user| !user.is_empty());
        Ok(Self { user, password: Some(part(password)?) })
    }
}

/// A host, with its port or the usual one. An IPv6 address stands in brackets.
fn node(text: &str, usual_port: u16) -> Result<(String, u16), RedisUrlError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(RedisUrlError::Node)?)),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(RedisUrlError::Node);
    }
    let port = port.map_or(Ok(usual_port), |port| port.parse().map_err(|_| RedisUrlError::Node))?;
    Ok((host.to_owned(), port))
}

/// Text in which `%` and two hex digits stand for a byte.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> RedisUrl {
        url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn a_server_is_found_with_and_without_everything_that_can_be_left_out() {
        let url = parsed("redis://localhost");
        assert_eq!((url.nodes, url.database, url.tls), (vec![("localhost".to_owned(), 6379)], 0, false));
        let url = parsed("rediss://ada:p%40ss:%25@10.0.0.1:7000/3?ca_file=/etc/ca.pem");
        assert_eq!((url.nodes, url.database, url.tls), (vec![("10.0.0.1".to_owned(), 7000)], 3, true));
        assert_eq!((url.login.user.as_deref(), url.login.password.as_deref()), (Some("ada"), Some("p@ss:%")));
        assert_eq!(url.ca_file, Some("/etc/ca.pem".into()));
        let url = parsed("redis://:a/b@[::1]:7001");
        assert_eq!((url.nodes, url.login.password.as_deref()), (vec![("::1".to_owned(), 7001)], Some("a/b")));
        assert_eq!(url.login.user, None);
    }

    #[test]
    fn sentinels_and_clusters_have_several_nodes() {
        let url = parsed("redis+sentinel://:x@s1,s2:7000/my-master/2?sentinel_password=y&sentinel_user=z");
        assert_eq!(url.nodes, [("s1".to_owned(), 26379), ("s2".to_owned(), 7000)]);
        assert_eq!(url.database, 2);
        let Kind::Sentinel { master, login } = url.kind else { panic!("no Sentinel") };
        assert_eq!(master, "my-master");
        assert_eq!((login.user.as_deref(), login.password.as_deref()), (Some("z"), Some("y")));
        let url = parsed("rediss+cluster://n1:1,n2:2,n3");
        assert!(url.kind == Kind::Cluster && url.tls && url.nodes.len() == 3);
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret() {
        for (bad, error) in [
            ("localhost:6379", RedisUrlError::Scheme),
            ("http://s3cret@x", RedisUrlError::Scheme),
            ("redis+magic://:s3cret@x", RedisUrlError::Scheme),
            ("redis://", RedisUrlError::Node),
            ("redis://:s3cret@x:port", RedisUrlError::Node),
            ("redis://a b", RedisUrlError::Node),
            ("redis://:s3cret@a,b", RedisUrlError::Several),
            ("redis+sentinel://:s3cret@a,b", RedisUrlError::Master),
            ("redis://:s3cret@a/b", RedisUrlError::Database),
            ("redis://a/-1", RedisUrlError::Database),
            ("redis+cluster://a/0", RedisUrlError::Database),
            ("redis://s3cret@a", RedisUrlError::Login),
            ("redis://:s3cret%4@a", RedisUrlError::Login),
            ("redis://a?s3cret=x", RedisUrlError::Option),
            ("redis://a?ca_file=/x", RedisUrlError::Option),
            ("rediss://a?sentinel_password=s3cret", RedisUrlError::Option),
        ] {
            let found = bad.parse::<RedisUrl>().expect_err(bad);
            assert_eq!(found, error, "{bad}");
            assert!(!format!("{found} {found:?}").contains("s3cret"), "{found}");
        }
        let shown = format!("{:?}", parsed("redis+sentinel://s3cret:s3cret@a/m?sentinel_password=s3cret"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
