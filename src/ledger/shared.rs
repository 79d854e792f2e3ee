//! How simplejwt's two tables look in this database. Django may have made them, and then the type of `user_id`, and the way in
//! which texts are compared, are Django's.

use std::borrow::Cow;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::adopt::OUTSTANDING;
use super::connection::AnyConnection;
use super::dialect::{self, Literals};
use super::error::{LedgerError, SchemaError};
use super::key_form::KeyForm;
use super::many::Value;
#[cfg(feature = "admin")]
use super::raw::Condition;
use super::raw::{Around, Raw};
use super::user_key::{UserKey, UserKeyType};
use crate::token::{Jti, SessionId};

/// How simplejwt's two tables look in this database.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    kind: UserKeyType,
    form: KeyForm,
    /// Table and column of the users, where the database would refuse the id of none.
    references: Option<(String, String)>,
    user_cast: dialect::Around,
    words: Literals,
    /// The condition under which an outstanding row and a row of facts are of the same token.
    same_jti: Cow<'static, str>,
    /// Whether the database takes some jti for others, so that what it finds has to be looked at.
    loose: bool,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl Shared {
    /// Looks at the tables.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Missing`] if they are not there.
    pub(super) fn of(connection: &mut AnyConnection) -> Result<Self, LedgerError> {
        let columns = dialect::columns(connection, OUTSTANDING)?;
        let Some(column) = columns.iter().find(|column| column.name == "user_id") else {
            return Err(SchemaError::Missing(OUTSTANDING.to_owned()).into());
        };
        let form = KeyForm::of(&column.declared, dialect::has_wide_integers(connection));
        let references = dialect::references(connection, OUTSTANDING, "user_id")?;
        let references = references.map(|found| (found.table, found.column.unwrap_or_else(|| "rowid".to_owned())));
        let collation = dialect::loose_collation(connection, OUTSTANDING)?;
        let same_jti = match &collation {
            None => "simplejwt_token.jti = token_blacklist_outstandingtoken.jti".into(),
            // With the column's own collation its index can be used; the bytes then tell those apart that it takes for the same.
            Some((charset, collation)) => format!(
                "({OUTSTANDING}.jti = CONVERT(simplejwt_token.jti USING {charset}) COLLATE {collation} \
                 AND CAST(simplejwt_token.jti AS BINARY) = CAST({OUTSTANDING}.jti AS BINARY))"
            )
            .into(),
        };
        let (user_cast, words) = (dialect::user_cast(connection, form), dialect::literals(connection));
        let kind = match form {
            KeyForm::Text(_) => UserKeyType::Text,
            KeyForm::Integer(_) if column.declared.contains("bigint") => UserKeyType::BigInt,
            KeyForm::Integer(_) => UserKeyType::Integer,
            KeyForm::Uuid | KeyForm::HexUuid => UserKeyType::Uuid,
        };
        Ok(Self { kind, form, references, user_cast, words, same_jti, loose: collation.is_some() })
    }

    /// The type of user keys.
    pub(super) const fn user_key_type(&self) -> UserKeyType {
        self.kind
    }

    /// That an outstanding row and a row of facts are of the same token.
    pub(super) fn same_jti(&self) -> Raw<Bool> {
        Raw::new(self.same_jti.clone())
    }

    /// Whether Django made the tables, and so may write into them.
    pub(super) const fn is_djangos(&self) -> bool {
        self.references.is_some() || self.loose
    }

    /// Whether the table takes some jti for others.
    pub(super) const fn is_loose(&self) -> bool {
        self.loose
    }

    /// That a column is one of these numbers.
    pub(super) fn is_number_among(&self, column: &str, numbers: &[i64]) -> Raw<Bool> {
        Raw::once(self.words.is_number_among(column, numbers))
    }

    /// The same of as many numbers as a page has rows: a statement that is planned once, where a database can be told so.
    #[cfg(feature = "admin")]
    pub(super) fn is_number_of_page(&self, column: &str, numbers: &[i64]) -> Condition {
        match self.words.number_of_array(column, numbers) {
            Some((before, array, after)) => Condition::bound(before, array, after),
            None => self.is_number_among(column, numbers).into(),
        }
    }

    /// That a column is one of these tokens.
    pub(super) fn is_token_among(&self, column: &str, jtis: &[Jti]) -> Raw<Bool> {
        Raw::once(self.words.is_name_among(column, jtis))
    }

    /// That a column is one of these sessions.
    pub(super) fn is_session_among(&self, column: &str, sessions: &[SessionId]) -> Raw<Bool> {
        Raw::once(self.words.is_name_among(column, sessions))
    }

    /// That nothing is known of any token of a session.
    pub(super) fn has_no_token(&self) -> Raw<Bool> {
        Raw::new(format!(
            "NOT EXISTS (SELECT 1 FROM simplejwt_token{} WHERE simplejwt_token.session_id = simplejwt_session.id)",
            self.words.by_session
        ))
    }

    /// That an outstanding row, found by this jti, is of this very token.
    pub(super) fn is_exactly<'a>(&self, jti: &'a str) -> Around<Bool, &'a str, Text> {
        let condition = if self.loose { "CAST(token_blacklist_outstandingtoken.jti AS BINARY) = " } else { JTI_IS };
        Raw::around::<_, Text>(condition, jti, "")
    }

    /// The user of an outstanding row, as text.
    pub(super) fn user_text(&self) -> Raw<Nullable<Text>> {
        Raw::new(self.user_as_text())
    }

    /// The same, in SQL.
    pub(super) fn user_as_text(&self) -> String {
        self.words.text_of(USER_ID)
    }

    /// That an outstanding row is of the user whose key the column has as this text.
    pub(super) fn is_of_user(&self, text: String) -> Around<Bool, String, Text> {
        let (before, after) = self.user_cast;
        Raw::around::<_, Text>(format!("{USER_ID} = {before}"), text, after)
    }

    /// The user of an outstanding row compared with a key that the column has as this text.
    #[cfg(feature = "admin")]
    pub(super) fn compares_to_user(&self, comparison: &str, text: String) -> Around<Bool, String, Text> {
        let (before, after) = self.user_cast;
        Raw::around::<_, Text>(format!("{USER_ID} {comparison} {before}"), text, after)
    }

    /// A user's key, to be written into the column.
    pub(super) fn user_value(&self, text: Option<String>) -> Around<Nullable<Text>, Option<String>, Nullable<Text>> {
        let (before, after) = self.user_cast;
        Raw::around::<_, Nullable<Text>>(before, text, after)
    }

    /// The same in one of several rows.
    pub(super) const fn user_in_row<'a>(&self, text: Option<&'a str>) -> Value<'a> {
        Value::Cast(self.user_cast, text)
    }

    /// `expires_at` of an outstanding row, as text that stands in the order of the column.
    pub(super) fn expiry_text(&self) -> Raw<Text> {
        Raw::new(self.words.text_of(EXPIRES_AT))
    }

    /// The expiry of an outstanding row compared with one that was read as [`expiry_text`](Self::expiry_text).
    pub(super) fn expires(&self, comparison: &str, expiry: &str) -> Around<Bool, String, Text> {
        let (before, after) = self.words.instant;
        Raw::around::<_, Text>(format!("{EXPIRES_AT} {comparison} {before}"), expiry.to_owned(), after)
    }

    /// The key as the column has it; [`None`] if it cannot hold that key.
    pub(super) fn text(&self, key: &UserKey) -> Option<String> {
        self.form.text(key.as_str())
    }

    /// What to write for a user: nothing if the column cannot hold the key, or if it must name a user and there is
    /// none, as simplejwt does.
    pub(super) fn to_write(
        &self,
        connection: &mut AnyConnection,
        key: Option<&UserKey>,
    ) -> QueryResult<Option<String>> {
        let Some(text) = key.and_then(|key| self.text(key)) else { return Ok(None) };
        let Some((users, id)) = &self.references else { return Ok(Some(text)) };
        let (before, after) = self.user_cast;
        let query = format!(
            "SELECT count(*) AS number FROM {} WHERE {} = {before}{}{after}",
            self.words.quoted(users),
            self.words.quoted(id),
            dialect::placeholder(connection, 1)
        );
        let found = diesel::sql_query(query).bind::<Text, _>(&text).get_result::<Found>(connection)?;
        Ok((found.number > 0).then_some(text))
    }

    /// What the column has, as a key.
    pub(super) fn key(&self, text: String) -> UserKey {
        self.form.key(text).into()
    }
}

const JTI_IS: &str = "token_blacklist_outstandingtoken.jti = ";
const USER_ID: &str = "token_blacklist_outstandingtoken.user_id";
const EXPIRES_AT: &str = "token_blacklist_outstandingtoken.expires_at";
