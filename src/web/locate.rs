//! Finds the token in a request: in the header, and where the settings say so in a cookie, the query or the body.

use std::borrow::Cow;
use std::sync::OnceLock;

use rocket::Request;
use rocket::http::RawStr;

use super::error::AuthError;
use crate::settings::{Settings, TokenLocation, Transport};
use crate::token::TokenKind;

/// Which of a client's two tokens is looked for: each has its own cookie, and may have its own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The access token, or a sliding one.
    Access,
    Refresh,
}

impl Slot {
    /// Where tokens of these kinds are looked for, and where then.
    pub(super) fn of(kinds: &[TokenKind]) -> (Self, Option<Self>) {
        match (kinds.contains(&TokenKind::Refresh), kinds.iter().any(|kind| *kind != TokenKind::Refresh)) {
            (true, false) => (Self::Refresh, None),
            (true, true) => (Self::Access, Some(Self::Refresh)),
            (false, _) => (Self::Access, None),
        }
    }

    pub(super) fn cookie(self, transport: &Transport) -> &str {
        match self {
            Self::Access => &transport.access_cookie_name,
            Self::Refresh => &transport.refresh_cookie_name,
        }
    }

    pub(super) fn json_key(self, transport: &Transport) -> &str {
        match self {
            Self::Access => &transport.json_key,
            Self::Refresh => &transport.refresh_json_key,
        }
    }

    pub(super) fn header(self, settings: &Settings) -> &str {
        match (self, &settings.transport.refresh_header_name) {
            (Self::Refresh, Some(name)) => name,
            _ => &settings.auth_header_name,
        }
    }
}

/// Which token was looked for first, and was nowhere.
#[derive(Default)]
struct Missed(OnceLock<Slot>);

/// Notes that a token was nowhere, for those who are told what is missing.
pub(super) fn miss(request: &Request<'_>, slot: Slot) -> AuthError {
    // The first one stands.
    let _ = request.local_cache(Missed::default).0.set(slot);
    AuthError::NotProvided
}

pub(super) fn missed(request: &Request<'_>) -> Slot {
    request.local_cache(Missed::default).0.get().copied().unwrap_or(Slot::Access)
}

/// A token, and where it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'r> {
    pub(super) text: Cow<'r, str>,
    pub(super) place: TokenLocation,
}

/// The token of a request: the first by precedence. Two places that hold different ones are an error, since two readers could
/// take different ones. `body` is the token that was found in a JSON body.
pub(super) fn find<'r>(
    request: &'r Request<'_>,
    settings: &'r Settings,
    slot: Slot,
    body: Option<&'r str>,
) -> Result<Option<Found<'r>>, AuthError> {
    let transport = &settings.transport;
    let mut found: Option<Found<'r>> = None;
    for place in transport.token_location.iter().copied() {
        let text = match place {
            TokenLocation::Headers => header(request, settings, slot)?.map(Cow::Borrowed),
            TokenLocation::Cookies => cookie(request, slot.cookie(transport))?.map(Cow::Borrowed),
            TokenLocation::QueryString => query(request, transport)?,
            TokenLocation::Json => body.map(Cow::Borrowed),
        };
        match (&found, text) {
            (_, None) => {}
            (None, Some(text)) => found = Some(Found { text, place }),
            (Some(first), Some(text)) if first.text == text => {}
            (Some(_), Some(_)) => return Err(AuthError::SeveralTokens),
        }
    }
    Ok(found)
}

/// The token that a route of ours was not given in its body: in the cookie, or in the header for refresh tokens.
pub(super) fn find_beside_body<'r>(
    request: &'r Request<'_>,
    settings: &'r Settings,
    slot: Slot,
) -> Result<Option<Found<'r>>, AuthError> {
    let transport = &settings.transport;
    let mut found = None;
    if transport.uses(TokenLocation::Cookies) {
        let place = TokenLocation::Cookies;
        found = cookie(request, slot.cookie(transport))?.map(|text| Found { text: text.into(), place });
    }
    if slot == Slot::Refresh && transport.refresh_header_name.is_some() && transport.uses(TokenLocation::Headers) {
        match (&found, header(request, settings, slot)?) {
            (Some(first), Some(text)) if first.text != text => return Err(AuthError::SeveralTokens),
            (None, Some(text)) => found = Some(Found { text: text.into(), place: TokenLocation::Headers }),
            _ => {}
        }
    }
    Ok(found)
}

fn header<'r>(request: &'r Request<'_>, settings: &Settings, slot: Slot) -> Result<Option<&'r str>, AuthError> {
    let values = request.headers().get(slot.header(settings));
    match read(values, &settings.auth_header_types, settings.transport.header_lists) {
        Presented::Nothing => Ok(None),
        Presented::Malformed => Err(AuthError::BadHeader),
        Presented::Token(text) => Ok(Some(text)),
    }
}

/// Whether a request brings something for the API in the header of tokens, whatever it is worth.
#[cfg(feature = "admin")]
pub(super) fn is_for_api(request: &Request<'_>, settings: &Settings) -> bool {
    !matches!(header(request, settings, Slot::Access), Ok(None))
}

/// What a header holds.
#[derive(Debug, PartialEq, Eq)]
enum Presented<'r> {
    /// No header, or one for another scheme.
    Nothing,
    /// Our scheme, but not followed by exactly one token; or several headers.
    Malformed,
    Token(&'r str),
}

/// Reads one header. The scheme is compared without case (RFC 9110 §11.1) and is followed by one space and the token. With
/// `lists`, that is one element of a list with commas.
fn read<'r>(mut values: impl Iterator<Item = &'r str>, schemes: &[String], lists: bool) -> Presented<'r> {
    let Some(value) = values.next() else { return Presented::Nothing };
    if values.next().is_some() {
        return Presented::Malformed;
    }
    if !lists {
        return element(value, schemes);
    }
    let mut found = Presented::Nothing;
    for part in value.split(',') {
        let next = element(part.trim_matches([' ', '\t']), schemes);
        if next != Presented::Nothing && found != Presented::Nothing {
            return Presented::Malformed;
        }
        if next != Presented::Nothing {
            found = next;
        }
    }
    found
}

fn element<'r>(value: &'r str, schemes: &[String]) -> Presented<'r> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let rest = if schemes.iter().any(|own| own.eq_ignore_ascii_case(scheme)) && !scheme.is_empty() {
        rest
    } else if !value.is_empty() && matches!(schemes, [own] if own.is_empty()) {
        value
    } else {
        return Presented::Nothing;
    };
    let whole = !rest.is_empty() && !rest.contains([' ', '\t', ',']);
    if whole { Presented::Token(rest) } else { Presented::Malformed }
}

/// The cookie of this name. It is read as the browser sent it: Rocket decodes `%5F%5FHost-x` to `__Host-x`, and anybody below the
/// domain can set the former.
fn cookie<'r>(request: &'r Request<'_>, name: &str) -> Result<Option<&'r str>, AuthError> {
    let mut headers = request.headers().get("Cookie").peekable();
    if headers.peek().is_none() {
        // Rocket's local client writes no header.
        return Ok(request.cookies().get(name).map(rocket::http::Cookie::value).filter(|value| !value.is_empty()));
    }
    let mut found: Option<&str> = None;
    for pair in headers.flat_map(|header| header.split(';')) {
        let Some((_, value)) = pair.trim().split_once('=').filter(|(other, _)| *other == name) else { continue };
        // A second one comes from elsewhere, and nobody knows which is whose.
        if found.is_some_and(|first| first != value) {
            return Err(AuthError::SeveralTokens);
        }
        found = Some(value);
    }
    Ok(found.filter(|value| !value.is_empty()))
}

fn query<'r>(request: &'r Request<'_>, transport: &Transport) -> Result<Option<Cow<'r, str>>, AuthError> {
    let Some(query) = request.uri().query() else { return Ok(None) };
    let mut found = None;
    for pair in query.as_str().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if RawStr::new(name).url_decode().is_ok_and(|name| name == transport.query_string_name)
            && found.replace(value).is_some()
        {
            return Err(AuthError::SeveralTokens);
        }
    }
    let Some(value) = found.filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = RawStr::new(value).url_decode().map_err(|_| AuthError::BadParameter)?;
    let prefix = transport.query_string_value_prefix.as_str();
    let text = match value {
        Cow::Borrowed(value) => value.strip_prefix(prefix).map(Cow::Borrowed),
        Cow::Owned(value) => value.strip_prefix(prefix).map(|text| Cow::Owned(text.to_owned())),
    };
    text.filter(|text| !text.is_empty()).ok_or(AuthError::BadParameter).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(value: &'static str, schemes: &[&str], lists: bool) -> Presented<'static> {
        let schemes: Vec<_> = schemes.iter().map(|&scheme| scheme.to_owned()).collect();
        read([value].into_iter(), &schemes, lists)
    }

    #[test]
    fn a_header_is_a_scheme_a_space_and_a_token() {
        let schemes = ["Bearer".to_owned(), "JWT".to_owned()];
        let read = |values: &[&'static str]| read(values.iter().copied(), &schemes, false);
        for token in ["Bearer x", "bearer x", "BEARER x", "JWT x"] {
            assert_eq!(read(&[token]), Presented::Token("x"), "{token}");
        }
        for nothing in ["", "Basic x", "x", "Bearerx", "Bearer\tx"] {
            assert_eq!(read(&[nothing]), Presented::Nothing, "{nothing:?}");
        }
        for malformed in ["Bearer", "Bearer ", "Bearer  x", "Bearer x y", "Bearer x, Bearer x", "Bearer x,"] {
            assert_eq!(read(&[malformed]), Presented::Malformed, "{malformed:?}");
        }
        assert_eq!(read(&["Bearer x", "Bearer x"]), Presented::Malformed);
        assert_eq!(read(&[]), Presented::Nothing);
    }

    #[test]
    fn a_list_has_one_element_of_ours() {
        for token in ["Bearer x", "Basic y, Bearer x", "Bearer x,  ", ",Bearer x", "Bearer x, Basic y"] {
            assert_eq!(reads(token, &["Bearer"], true), Presented::Token("x"), "{token}");
        }
        for malformed in ["Bearer x, Bearer x", "Bearer x, Bearer", "Bearer", "Bearer x y, Basic z"] {
            assert_eq!(reads(malformed, &["Bearer"], true), Presented::Malformed, "{malformed}");
        }
        for nothing in ["", " , ", "Basic Bearer", "Basic x"] {
            assert_eq!(reads(nothing, &["Bearer"], true), Presented::Nothing, "{nothing}");
        }
    }

    #[test]
    fn no_scheme_is_a_token_alone() {
        assert_eq!(reads("x", &[""], false), Presented::Token("x"));
        assert_eq!(reads("x y", &[""], false), Presented::Malformed);
        assert_eq!(reads("", &[""], false), Presented::Nothing);
    }
}
