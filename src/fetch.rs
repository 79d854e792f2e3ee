//! Small documents from elsewhere, and to elsewhere, over HTTP.

use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};
#[cfg(any(feature = "cli", feature = "jwk-url"))]
use ureq::{Body, http::Response};

/// Somebody who asks, for so long at most each time, and goes nowhere else for an answer. A status of an error is an answer too.
#[derive(Debug)]
pub(crate) struct Client(Agent);

impl Client {
    pub(crate) fn new(timeout: Duration) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            .tls_config(tls)
            .user_agent(concat!("rocket_simplejwt/", env!("CARGO_PKG_VERSION")));
        Self(config.build().into())
    }

    /// Sends a document, and gives the status of the answer.
    #[cfg(feature = "webhook")]
    pub(crate) fn post_json(&self, url: &str, headers: &[(&str, &str)], body: &str) -> Result<u16, Error> {
        let request = self.0.post(url).header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Ok(request.send(body)?.status().as_u16())
    }
}

/// Asks for a document.
#[cfg(any(feature = "cli", feature = "jwk-url"))]
pub(crate) fn get(url: &str, accept: &str, timeout: Duration) -> Result<Response<Body>, Error> {
    Client::new(timeout).0.get(url).header("accept", accept).call()
}
