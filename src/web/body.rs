//! The bodies that the token routes take: JSON, form or multipart, at most 16 KiB, read with simplejwt's (Django REST
//! framework's) messages.

use std::fmt;
use std::time::Duration;

use rocket::data::ToByteUnit as _;
use rocket::futures::stream;
use rocket::http::{ContentType, RawStr, Status};
use rocket::{Data, Request, tokio};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::error::Reply;

/// How long a client has to send its body.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The fields of a request.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body of a request, whatever form it has.
    pub(super) async fn read(request: &Request<'_>, data: Data<'_>) -> Result<Self, Reply> {
        let kind = Media::of(request)?;
        let opened = data.open(16.kibibytes()).into_bytes();
        let bytes = match tokio::time::timeout(PATIENCE, opened).await {
            Err(_) => return Err(Reply::detail(Status::RequestTimeout, "The request took too long to arrive.")),
            Ok(Err(_)) => return Err(Reply::detail(Status::BadRequest, "The request body could not be read.")),
            Ok(Ok(bytes)) if !bytes.is_complete() => {
                return Err(Reply::coded(Status::PayloadTooLarge, "The request body is too large.", "too_large"));
            }
            Ok(Ok(bytes)) => bytes.into_inner(),
        };
        match kind {
            Media::Unstated if bytes.is_empty() => Ok(Map::new()),
            Media::Unstated => Err(unsupported("")),
            Media::Json => read_json(&bytes),
            Media::Form => read_form(&bytes),
            Media::Multipart(boundary) => read_multipart(bytes, boundary).await,
        }
        .map(Self)
    }

    /// The texts of two fields, or what is wrong with each of them.
    pub(super) fn both(&self, first: Field<'_>, second: Field<'_>) -> Result<(String, String), Reply> {
        match (self.text(first), self.text(second)) {
            (Ok(one), Ok(two)) => Ok((one, two)),
            (one, two) => {
                let named = [(first.name, one.err()), (second.name, two.err())];
                let wrong = named.into_iter().filter_map(|(name, error)| Some((name.to_owned(), json!([error?]))));
                Err(Reply::json(Status::BadRequest, Value::Object(wrong.collect())))
            }
        }
    }

    /// Whether there is a field of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The text of one field, or what is wrong with it.
    pub(super) fn one(&self, name: &str) -> Result<String, Reply> {
        self.text(Field::trimmed(name)).map_err(|error| Reply::json(Status::BadRequest, json!({ name: [error] })))
    }

    /// The value of one field, whatever it is.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn text(&self, field: Field<'_>) -> Result<String, &'static str> {
        let text = match self.0.get(field.name) {
            None => return Err("This field is required."),
            Some(Value::Null) => return Err("This field may not be null."),
            Some(Value::String(text)) if field.trim => text.trim().to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => return Err("Not a valid string."),
        };
        if text.is_empty() {
            Err("This field may not be blank.")
        } else if text.contains('\0') {
            Err("Null characters are not allowed.")
        } else {
            Ok(text)
        }
    }
}

/// A field, and whether the space around its text is dropped. That of a password belongs to it.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    name: &'a str,
    trim: bool,
}

impl<'a> Field<'a> {
    pub(super) fn trimmed(name: &'a str) -> Self {
        Self { name, trim: true }
    }

    pub(super) fn exact(name: &'a str) -> Self {
        Self { name, trim: false }
    }
}

enum Media {
    /// No `Content-Type`: only a request without a body needs none.
    Unstated,
    Json,
    Form,
    Multipart(String),
}

impl Media {
    fn of(request: &Request<'_>) -> Result<Self, Reply> {
        let stated = request.headers().get_one("Content-Type").unwrap_or_default();
        let unsupported = || unsupported(stated);
        if let Some(coding) = request.headers().get_one("Content-Encoding").filter(|coding| *coding != "identity") {
            let detail = format!("Unsupported content encoding \"{}\" in request.", printable(coding));
            return Err(Reply::detail(Status::UnsupportedMediaType, detail));
        }
        if stated.is_empty() {
            return Ok(Self::Unstated);
        }
        let media: ContentType = stated.parse().map_err(|_| unsupported())?;
        let utf8 = media.param("charset").is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"));
        match media {
            _ if !utf8 => Err(unsupported()),
            media if media.is_json() => Ok(Self::Json),
            media if media.is_form() => Ok(Self::Form),
            media if media.is_form_data() => {
                media.param("boundary").map(|boundary| Self::Multipart(boundary.into())).ok_or_else(unsupported)
            }
            _ => Err(unsupported()),
        }
    }
}

fn unsupported(media: &str) -> Reply {
    let detail = format!("Unsupported media type \"{}\" in request.", printable(media));
    Reply::detail(Status::UnsupportedMediaType, detail)
}

/// What a client sent, fit to be shown back to it.
fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(100).collect()
}

fn bad(detail: impl Into<String>) -> Reply {
    Reply::detail(Status::BadRequest, detail)
}

pub(super) fn read_json(bytes: &[u8]) -> Result<Map<String, Value>, Reply> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    let not_an_object = |found: &str| {
        let text = format!("Invalid data. Expected a dictionary, but got {found}.");
        Reply::json(Status::BadRequest, json!({ "non_field_errors": [text] }))
    };
    match serde_json::from_slice(bytes).map_err(|error| bad(format!("JSON parse error - {error}")))? {
        Value::Object(_) => {}
        Value::Null => {
            return Err(Reply::json(Status::BadRequest, json!({ "non_field_errors": ["No data provided"] })));
        }
        Value::Array(_) => return Err(not_an_object("list")),
        Value::String(_) => return Err(not_an_object("str")),
        Value::Bool(_) => return Err(not_an_object("bool")),
        Value::Number(number) if number.is_f64() => return Err(not_an_object("float")),
        Value::Number(_) => return Err(not_an_object("int")),
    }
    let Members(fields) = serde_json::from_slice(bytes).map_err(|error| bad(format!("JSON parse error - {error}")))?;
    Ok(fields)
}

/// The members of a JSON object, none of them twice: two readers could take different ones.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut fields = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a member twice"));
            }
        }
        Ok(Members(fields))
    }
}

fn read_form(bytes: &[u8]) -> Result<Map<String, Value>, Reply> {
    let not_utf8 = |_| bad("The form is not UTF-8.");
    let text = std::str::from_utf8(bytes).map_err(not_utf8)?;
    let mut fields = Map::new();
    for field in text.split('&').filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let name = RawStr::new(name).url_decode().map_err(not_utf8)?;
        let value = RawStr::new(value).url_decode().map_err(not_utf8)?;
        insert(&mut fields, name.into_owned(), value.into())?;
    }
    Ok(fields)
}

async fn read_multipart(bytes: Vec<u8>, boundary: String) -> Result<Map<String, Value>, Reply> {
    let malformed = |_| bad("Multipart form parse error");
    let whole = stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut form = multer::Multipart::new(whole, boundary);
    let mut fields = Map::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let name = field.name().unwrap_or_default().to_owned();
        let text = field.text_with_charset("utf-8").await.map_err(malformed)?;
        insert(&mut fields, name, text.into())?;
    }
    Ok(fields)
}

fn insert(fields: &mut Map<String, Value>, name: String, value: Value) -> Result<(), Reply> {
    match fields.insert(name, value) {
        None => Ok(()),
        Some(_) => Err(bad("The form has a field twice.")),
    }
}
