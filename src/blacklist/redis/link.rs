//! The connection to Redis, wherever that is.

use std::fmt::Display;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Script, ServerErrorKind, TlsCertificates, TlsMode,
    Value, cmd,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::address::{Kind, Login, RedisUrl};

/// How long a connection may take to come about, and an answer of the feed's to come. A request does not wait for either.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection. Cheap to clone; what is asked by several at once goes over the one connection.
#[derive(Clone)]
pub(super) enum Link {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Connects: to the server, to what the Sentinels say is the master, or to all nodes of the Cluster.
    pub(super) async fn new(url: &RedisUrl) -> Result<Self, RedisError> {
        // Boxed, so that the many futures that could come here have no room for it.
        let connecting = Box::pin(async {
            match &url.kind {
                Kind::Server | Kind::Sentinel { .. } => {
                    let client = url.client().await?;
                    Ok(Self::Server(client.get_multiplexed_async_connection_with_config(&config()).await?))
                }
                Kind::Cluster => Ok(Self::Cluster(url.cluster()?.get_async_connection().await?)),
            }
        });
        tokio::time::timeout(PATIENCE * 2, connecting).await.unwrap_or_else(|_| Err(late()))
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match self {
            Self::Server(server) => server.req_packed_command(command),
            Self::Cluster(cluster) => cluster.req_packed_command(command),
        };
        answer.await.and_then(Value::extract_error)
    }

    /// Runs a script, which is sent in full where the server does not know it yet.
    pub(super) async fn run(&mut self, script: &Script, code: &str, call: &Call) -> Result<Value, RedisError> {
        match self.send(&call.command("EVALSHA", script.get_hash())).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(&call.command("EVAL", code)).await
            }
            done => done,
        }
    }
}

/// What a script is given.
#[derive(Debug, Default)]
pub(super) struct Call {
    keys: Vec<String>,
    arguments: Vec<String>,
}

impl Call {
    pub(super) fn key(&mut self, key: impl Into<String>) -> &mut Self {
        self.keys.push(key.into());
        self
    }

    pub(super) fn argument(&mut self, argument: impl Display + Copy) -> &mut Self {
        self.arguments.push(argument.to_string());
        self
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}

/// Connects a second time and listens to a channel. The connection lives as long as what is returned first.
pub(super) async fn listen(
    url: &RedisUrl,
    channel: &str,
) -> Result<(MultiplexedConnection, UnboundedReceiver<PushInfo>), RedisError> {
    let connecting = async {
        let (sender, messages) = tokio::sync::mpsc::unbounded_channel();
        let config = config().set_push_sender(sender);
        let mut connection = url.listener().await?.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(channel).await?;
        Ok((connection, messages))
    };
    tokio::time::timeout(PATIENCE * 2, connecting).await.unwrap_or_else(|_| Err(late()))
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE))
}

fn late() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time").into()
}

impl RedisUrl {
    /// A client of the server, or of the present master.
    async fn client(&self) -> Result<Client, RedisError> {
        let Kind::Sentinel { master, login } = &self.kind else {
            let node = self.nodes.first().ok_or_else(nowhere)?;
            return self.client_of(self.info(node, ProtocolVersion::RESP2)?);
        };
        let nodes = self.nodes.iter().map(|node| self.address(node));
        let mut builder = SentinelClientBuilder::new(nodes, master, SentinelServerType::Master)?
            .set_client_to_redis_db(self.database);
        if self.tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = self.certificates()? {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
        if let Some(user) = &self.login.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &self.login.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(user) = &login.user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = &login.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        builder.build()?.async_get_client().await
    }

    fn cluster(&self) -> Result<ClusterClient, RedisError> {
        let nodes = self.nodes.iter().map(|node| self.info(node, ProtocolVersion::RESP2));
        let mut builder = ClusterClient::builder(nodes.collect::<Result<Vec<_>, _>>()?)
            .connection_timeout(PATIENCE)
            .response_timeout(PATIENCE)
            .overall_response_timeout(Some(PATIENCE))
            .retries(2)
            .min_retry_wait(20)
            .max_retry_wait(100);
        if let Some(certificates) = self.certificates()? {
            builder = builder.certs(certificates);
        }
        builder.build()
    }

    /// A client that can listen: a message goes to every node of a Cluster.
    async fn listener(&self) -> Result<Client, RedisError> {
        if let Kind::Sentinel { .. } = self.kind {
            let client = self.client().await?;
            let known = client.get_connection_info();
            let settings = known.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            return self.client_of(known.clone().set_redis_settings(settings));
        }
        let mut failed = nowhere();
        for node in &self.nodes {
            let client = self.client_of(self.info(node, ProtocolVersion::RESP3)?)?;
            match client.get_multiplexed_async_connection_with_config(&config()).await {
                Ok(_) => return Ok(client),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn client_of(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        match self.certificates()? {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        }
    }

    fn info(&self, node: &(String, u16), protocol: ProtocolVersion) -> Result<ConnectionInfo, RedisError> {
        let Login { user, password } = &self.login;
        let mut settings = RedisConnectionInfo::default().set_db(self.database).set_protocol(protocol);
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        Ok(self.address(node).into_connection_info()?.set_redis_settings(settings))
    }

    fn address(&self, (host, port): &(String, u16)) -> ConnectionAddr {
        if !self.tls {
            return ConnectionAddr::Tcp(host.clone(), *port);
        }
        // Where the application has chosen what does its cryptography, that is taken.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        }
        ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
    }

    /// The authority that signed for the servers, if it is named. Read anew for each connection, as it may be renewed.
    fn certificates(&self) -> Result<Option<TlsCertificates>, RedisError> {
        let read = |path| std::fs::read(path).map_err(RedisError::from);
        let root_cert = self.ca_file.as_deref().map(read).transpose()?;
        Ok(root_cert.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) }))
    }
}

fn nowhere() -> RedisError {
    (ErrorKind::InvalidClientConfig, "no node is named").into()
}
