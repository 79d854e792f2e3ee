//! Text that somebody else may have written.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::sql_types::Text;

/// A text that somebody else may have written. SQLite takes any bytes for one: what is no text reads as nothing, so that one such
/// row cannot stop the reading of the others. No token can have such a jti.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromSqlRow)]
pub(super) struct ForeignText(pub(super) Option<String>);

impl<DB: Backend> FromSql<Text, DB> for ForeignText
where
    String: FromSql<Text, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(String::from_sql(bytes).ok()))
    }
}

impl ForeignText {
    /// The text of a column that may have none.
    pub(super) fn of(column: Option<Self>) -> Option<String> {
        column.and_then(|text| text.0)
    }
}

/// No text reads as an empty one, which is nobody's name.
impl From<ForeignText> for String {
    fn from(text: ForeignText) -> Self {
        text.0.unwrap_or_default()
    }
}
