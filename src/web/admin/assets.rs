//! The files that go with the pages.

use rocket::http::ContentType;

use super::answer::Answer;

/// The stylesheet.
pub(in crate::web) fn style() -> Answer {
    Answer::file(ContentType::CSS, include_str!("../../../templates/admin/style.css"))
}

/// The picture in the tab of a browser.
pub(in crate::web) fn icon() -> Answer {
    Answer::file(ContentType::SVG, include_str!("../../../templates/admin/icon.svg"))
}

/// The script. Everything works without it.
pub(in crate::web) fn script() -> Answer {
    Answer::file(ContentType::JavaScript, include_str!("../../../templates/admin/script.js"))
}
