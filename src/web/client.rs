//! From whom a request comes.

use std::convert::Infallible;
use std::net::IpAddr;

use rocket::Request;
use rocket::request::{FromRequest, Outcome};

use crate::service::Client;

impl Client {
    pub(super) fn of(request: &Request<'_>) -> Self {
        let user_agent = request.headers().get_one("User-Agent");
        Self { address: address(request), user_agent: user_agent.map(Into::into) }
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Client {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Infallible> {
        Outcome::Success(Self::of(request))
    }
}

/// The address of the client, as it is written down.
pub(super) fn address(request: &Request<'_>) -> Option<String> {
    ip(request).map(|address| address.to_string())
}

/// The address that Rocket's `ip_header` says, or that of the connection. Rocket reads that header unless it is told not to, and anybody
/// can send it. So whoever is elsewhere and claims to be on this machine, which nobody limits, has the address of the connection.
pub(super) fn ip(request: &Request<'_>) -> Option<IpAddr> {
    let is_here = |address: IpAddr| address.to_canonical().is_loopback();
    let elsewhere = request.remote().map(|remote| remote.ip()).filter(|remote| !is_here(*remote));
    match (request.client_ip(), elsewhere) {
        (Some(claimed), Some(remote)) if is_here(claimed) => Some(remote),
        (client, _) => client,
    }
}

#[cfg(test)]
mod tests {
    use rocket::http::Header;
    use rocket::local::blocking;

    use super::*;

    #[test]
    fn nobody_elsewhere_is_on_this_machine_by_saying_so() {
        let client =
            blocking::Client::untracked(rocket::custom(rocket::Config::debug_default())).expect("an application");
        let seen = |remote: &str, header: Option<&'static str>| {
            let request = client.get("/").remote(format!("{remote}:9").parse().expect("an address"));
            let request =
                header.into_iter().fold(request, |request, text| request.header(Header::new("X-Real-IP", text)));
            ip(request.inner()).expect("an address").to_string()
        };
        for claimed in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(seen("192.0.2.1", Some(claimed)), "192.0.2.1", "{claimed}");
            assert_eq!(seen("[2001:db8::1]", Some(claimed)), "2001:db8::1", "{claimed}");
        }
        assert_eq!(seen("192.0.2.1", None), "192.0.2.1");
        assert_eq!(seen("192.0.2.1", Some("198.51.100.7")), "198.51.100.7", "a proxy elsewhere");
        assert_eq!(seen("127.0.0.1", Some("198.51.100.7")), "198.51.100.7", "a proxy here");
        assert_eq!(seen("127.0.0.1", Some("127.0.0.1")), "127.0.0.1");
    }
}
