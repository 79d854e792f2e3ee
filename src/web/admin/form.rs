//! What a form or an address says.

use std::time::Duration;

use rocket::data::ToByteUnit as _;
use rocket::http::{RawStr, Status};
use rocket::{Data, Request, tokio};

use super::answer::Problem;

/// How long a browser has to send a form.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a text in a form or an address has at most.
const MOST: usize = 2_000;

/// What somebody may paste in which there is a token, of 8 KiB at most.
const MOST_TOKEN: usize = 16 * 1024;

/// The fields of a form, or of the part of an address after the `?`. A field may stand there several times.
#[derive(Debug, Default)]
pub(in crate::web) struct Form(Vec<(String, String)>);

/// Reads a form that was sent.
pub(in crate::web) async fn read(request: &Request<'_>, data: Data<'_>) -> Result<Form, Problem> {
    if !request.content_type().is_some_and(|media| media.is_form()) {
        return Err(Problem::new(Status::UnsupportedMediaType, "media", "This takes the forms of our own pages only."));
    }
    let late = || Problem::new(Status::RequestTimeout, "late", "The form took too long to arrive.");
    let opened = data.open(64.kibibytes()).into_bytes();
    let bytes = tokio::time::timeout(PATIENCE, opened).await.map_err(|_| late())?.map_err(|_| late())?;
    if !bytes.is_complete() {
        return Err(Problem::new(Status::PayloadTooLarge, "too_large", "The form is too large."));
    }
    Form::parse(std::str::from_utf8(&bytes.into_inner()).map_err(|_| Problem::bad("The form is not UTF-8."))?)
}

impl Form {
    /// What an address says.
    pub(in crate::web) fn of_query(request: &Request<'_>) -> Result<Self, Problem> {
        request.uri().query().map_or_else(|| Ok(Self::default()), |query| Self::parse(query.as_str()))
    }

    /// The fields in an address or the body of a form.
    pub(in crate::web) fn parse(text: &str) -> Result<Self, Problem> {
        let decode = |text: &str| {
            let text = RawStr::new(text).url_decode().map_err(|_| Problem::bad("The form is not UTF-8."))?;
            if text.contains('\0') {
                Err(Problem::bad("Null characters are not allowed."))
            } else {
                Ok(text.into_owned())
            }
        };
        let fields = text.split('&').filter(|field| !field.is_empty()).map(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            Ok((decode(name)?, decode(value)?))
        });
        fields.collect::<Result<_, _>>().map(Self)
    }

    /// Every value of a field.
    pub(in crate::web) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text of a field without the space around it; [`None`] if there is none or nothing in it.
    pub(in crate::web) fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        Ok(self.exact(name, MOST)?.map(str::trim).filter(|text| !text.is_empty()))
    }

    /// A text that may be a token.
    pub(in crate::web) fn long_text(&self, name: &str) -> Result<Option<&str>, Problem> {
        Ok(self.exact(name, MOST_TOKEN)?.map(str::trim).filter(|text| !text.is_empty()))
    }

    /// A password, with all the space in it.
    pub(in crate::web) fn password(&self, name: &str) -> Result<Option<&str>, Problem> {
        Ok(self.exact(name, MOST)?.filter(|text| !text.is_empty()))
    }

    fn exact(&self, name: &str, most: usize) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() {
            return Err(Problem::bad("A field stands in the form twice."));
        }
        if value.is_some_and(|value| value.len() > most) {
            return Err(Problem::bad("A text in the form is too long."));
        }
        Ok(value)
    }

    /// A field that has to be there.
    pub(in crate::web) fn needed(&self, name: &'static str) -> Result<&str, Problem> {
        self.text(name)?.ok_or_else(|| Problem::bad("A field of the form is missing."))
    }

    /// A field that means something, which not every text does.
    pub(in crate::web) fn parsed<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let unread = || Problem::bad("The address or the form says something that makes no sense here.");
        self.text(name)?.map(|text| read(text).ok_or_else(unread)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let form = Form::parse("a=1+2&b=%C3%A9&a=3&c=&d").expect("a form");
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["1 2", "3"]);
        assert_eq!(form.text("b").ok().flatten(), Some("é"));
        assert_eq!(form.text("c").ok().flatten(), None);
        assert!(form.text("a").is_err(), "twice");
        for bad in ["a=%00", "a=%FF"] {
            assert!(Form::parse(bad).is_err(), "{bad}");
        }
        assert!(Form::parse(&format!("a={}", "x".repeat(3000))).expect("a form").text("a").is_err());
    }
}
