//! Small documents from elsewhere, over HTTP.

use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Error};

/// Asks for a document, for so long at most, and goes nowhere else for it. A status of an error is an answer too.
pub(crate) fn get(url: &str, accept: &str, timeout: Duration) -> Result<ureq::http::Response<Body>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .http_status_as_error(false)
        .tls_config(tls)
        .user_agent(concat!("rocket_simplejwt/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    agent.get(url).header("accept", accept).call()
}
