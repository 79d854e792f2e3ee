//! A browser sends cookies also when another site asks it to. So what comes with a token cookie and may change something has to
//! prove that a page of ours sent it: by a secret that the token holds and the page sends back (double submit), and by what the
//! browser says of the origin.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use rocket::http::{Method, RawStr};
use rocket::request::{self, FromRequest};
use rocket::{Data, Ignite, Request, Rocket, Sentinel, tokio};

use super::bearer::handle;
use super::body::PATIENCE;
use super::error::{AuthError, CsrfFault};
use super::guard::is_missing;
use super::locate::Slot;
use crate::settings::{TokenLocation, Transport};
use crate::token::Verified;

/// Asks for the proof, where the method needs one. A cookie whose token has no secret proves nothing.
pub(super) fn require(
    request: &Request<'_>,
    transport: &Transport,
    slot: Slot,
    token: &Verified,
) -> Result<(), CsrfFault> {
    if !needs_proof(request.method(), transport) {
        return Ok(());
    }
    let said = origin(request, transport)?;
    if !transport.cookie_csrf_protect {
        // Then nothing else proves it.
        return if said == Origin::Ours { Ok(()) } else { Err(CsrfFault::Origin) };
    }
    let secret = token.csrf().filter(|secret| !secret.is_empty()).ok_or(CsrfFault::NoSecret)?;
    let (header, field) = match slot {
        Slot::Access => (&transport.access_csrf_header_name, Field::read(request).access.as_deref()),
        Slot::Refresh => (&transport.refresh_csrf_header_name, Field::read(request).refresh.as_deref()),
    };
    let mut sent = request.headers().get(header).chain(field);
    let first = sent.next().ok_or(CsrfFault::Missing)?;
    let equal = verify_slices_are_equal(first.as_bytes(), secret.as_bytes()).is_ok();
    if equal && sent.all(|other| other == first) { Ok(()) } else { Err(CsrfFault::Mismatch) }
}

/// Refuses a request that the browser says comes from another site. For logins: no token is there yet to hold a secret.
pub(super) fn refuse_foreign(request: &Request<'_>, transport: &Transport) -> Result<(), CsrfFault> {
    origin(request, transport).map(drop)
}

/// A guard that refuses a request of which the browser says that another site sent it, with 403: for the login of an application that
/// sets cookies. At a login there is no token yet to hold a secret, and another site shall not log somebody in as somebody else.
#[derive(Clone, Copy, Debug)]
pub struct SameOrigin(());

#[rocket::async_trait]
impl<'r> FromRequest<'r> for SameOrigin {
    type Error = AuthError;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, AuthError> {
        let checked = handle(request).and_then(|jwt| Ok(refuse_foreign(request, &jwt.settings().transport)?));
        match checked {
            Ok(()) => request::Outcome::Success(Self(())),
            Err(error) => {
                super::catchers::remember(request, &error);
                request::Outcome::Error((super::render::status(&error, request), error))
            }
        }
    }
}

impl Sentinel for SameOrigin {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        is_missing(rocket, "SameOrigin")
    }
}

fn needs_proof(method: Method, transport: &Transport) -> bool {
    let listed = |name: &str| transport.csrf_methods.iter().any(|method| method == name);
    match method {
        // Rocket answers it with the route for GET.
        Method::Head => listed("GET") || listed("HEAD"),
        Method::Get | Method::Options => listed(method.as_str()),
        _ => true,
    }
}

#[derive(PartialEq, Eq)]
enum Origin {
    Ours,
    /// The browser says nothing, or it is none.
    Unsaid,
}

/// `Sec-Fetch-Site` is the browser's own judgement, which no page can forge and no proxy spoils. Where it is not sent, `Origin` has to
/// be the host that was asked.
fn origin(request: &Request<'_>, transport: &Transport) -> Result<Origin, CsrfFault> {
    let site = request.headers().get_one("Sec-Fetch-Site");
    let origin = request.headers().get_one("Origin");
    let trusted = |origin: &str| transport.trusted_origins.iter().any(|trusted| trusted == origin);
    match (site, origin) {
        (Some("same-origin"), _) => Ok(Origin::Ours),
        (_, Some(origin)) if trusted(origin) => Ok(Origin::Ours),
        (None | Some("none"), Some(origin)) if is_host(origin, request) => Ok(Origin::Ours),
        (None | Some("none"), None) => Ok(Origin::Unsaid),
        _ => Err(CsrfFault::Origin),
    }
}

/// Whether an origin is the host that was asked: of HTTP/1 that is the header `Host`, and of HTTP/2 the authority of the address.
pub(super) fn is_host(origin: &str, request: &Request<'_>) -> bool {
    let asked = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    asked.zip(request.host()).is_some_and(|(asked, host)| host.to_string().eq_ignore_ascii_case(asked))
}

/// How much of a body Rocket shows before routing.
const PEEK: usize = 512;

/// What a form says, where `csrf_check_form` is on.
#[derive(Default)]
struct Field {
    access: Option<String>,
    refresh: Option<String>,
}

impl Field {
    fn read<'r>(request: &'r Request<'_>) -> &'r Self {
        request.local_cache(Self::default)
    }
}

/// Looks for the secret in the beginning of a form; the body stays for the handler. Rocket shows 512 bytes of it before routing.
pub(super) async fn look_into_form(request: &Request<'_>, data: &mut Data<'_>, transport: &Transport) {
    let wanted = transport.csrf_check_form
        && transport.uses(TokenLocation::Cookies)
        && needs_proof(request.method(), transport)
        && request.content_type().is_some_and(|media| media.is_form());
    if !wanted || tokio::time::timeout(PATIENCE, data.peek(PEEK)).await.is_err() {
        return;
    }
    let whole = data.peek_complete();
    let start = data.peek(PEEK).await;
    request.local_cache(|| Field {
        access: field(start, whole, &transport.access_csrf_field_name),
        refresh: field(start, whole, &transport.refresh_csrf_field_name),
    });
}

/// Notes what a form of our own pages says, which is read before anybody asks for the token, of whichever kind that is.
#[cfg(feature = "admin")]
pub(super) fn found_in_form(request: &Request<'_>, secret: Option<&str>) {
    request.local_cache(|| Field { access: secret.map(Into::into), refresh: secret.map(Into::into) });
}

/// The value of a field that lies within the beginning of a form, from its name to its end.
fn field(start: &[u8], whole: bool, name: &str) -> Option<String> {
    let mut pairs = start.split(|byte| *byte == b'&').collect::<Vec<_>>();
    if !whole {
        // It may be cut off.
        pairs.pop();
    }
    let pairs = pairs.into_iter().filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
    let mut values = pairs.filter(|(other, _)| *other == name).map(|(_, value)| value);
    let value = values.next()?;
    let alone = values.next().is_none();
    RawStr::new(value).url_decode().ok().filter(|_| alone).map(Into::into)
}

#[cfg(test)]
mod tests {
    use rocket::http::uri::Host;
    use rocket::local::blocking::Client;

    use super::*;

    #[test]
    fn the_host_that_was_asked_need_not_be_in_a_header() {
        let client = Client::untracked(rocket::custom(rocket::Config::debug_default())).expect("an application");
        let mut request = client.post("/");
        let asked = |request: &Request<'_>| {
            ["https://a.example", "http://A.example", "https://b.example", "a.example"]
                .map(|origin| is_host(origin, request))
        };
        assert_eq!(asked(request.inner()), [false; 4], "nobody was asked");
        // As Rocket has it of HTTP/2.
        request.inner_mut().set_host(Host::parse("a.example").expect("a host"));
        assert_eq!(request.inner().headers().get_one("Host"), None);
        assert_eq!(asked(request.inner()), [true, true, false, false]);
    }

    #[test]
    fn a_field_is_read_only_where_its_end_is_seen() {
        let field = |text: &str, whole| field(text.as_bytes(), whole, "csrf_token");
        assert_eq!(field("csrf_token=abc&x=1", false).as_deref(), Some("abc"));
        assert_eq!(field("x=1&csrf_token=a%62c", true).as_deref(), Some("abc"));
        assert_eq!(field("x=1&csrf_token=ab", false), None);
        assert_eq!(field("csrf_token=a&csrf_token=b&", false), None, "two readers could take different ones");
        assert_eq!(field("xcsrf_token=a&csrf_token", true), None);
    }
}
