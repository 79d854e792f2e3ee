//! The users of a Django project: `auth_user`, or the table of the project's own user model. It is only read, but for
//! `last_login`.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::connection::AnyConnection;
use super::dialect::{self, Parameter, placeholder};
use super::error::SchemaError;
use super::key_form::KeyForm;
use super::time::stored;
use super::{Ledger, LedgerError, UserField};

/// Where a Django project keeps its users. [`None`] is a column that its user model does without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoColumns {
    /// The table.
    pub table: String,
    /// The primary key.
    pub id: String,
    /// The name to log in with.
    pub username: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The hash of the password.
    pub password: String,
    /// Whether the user may log in. Without the column everybody may.
    pub is_active: Option<String>,
    /// When the user logged in last.
    pub last_login: Option<String>,
}

impl DjangoColumns {
    /// Each column with the name that it has in the settings.
    fn named(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let all = [
            ("id", Some(&self.id)),
            ("username", self.username.as_ref()),
            ("email", self.email.as_ref()),
            ("password", Some(&self.password)),
            ("is_active", self.is_active.as_ref()),
            ("last_login", self.last_login.as_ref()),
        ];
        all.into_iter().filter_map(|(field, column)| Some((field, column?)))
    }

    fn of(&self, field: UserField) -> Option<&str> {
        match field {
            UserField::Id => Some(&self.id),
            UserField::Username => self.username.as_deref(),
            UserField::Email => self.email.as_deref(),
        }
    }
}

/// A table of Django's users that was found in the database, with every column.
#[derive(Clone, Debug)]
pub struct DjangoTable {
    columns: DjangoColumns,
    key: KeyForm,
}

/// A user of a Django project.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DjangoUserRow {
    /// The primary key as Django writes it in a token: a UUID with hyphens, however the column has it.
    pub id: String,
    /// The name, where the model has one.
    pub username: Option<String>,
    /// The e-mail address, where the model has one.
    pub email: Option<String>,
    /// What Django stored of the password.
    pub password: String,
    /// Whether the user may log in.
    pub is_active: bool,
}

impl fmt::Debug for DjangoUserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DjangoUserRow").field("id", &self.id).field("username", &self.username).finish_non_exhaustive()
    }
}

impl DjangoUserRow {
    /// The field that names the user, if the user has it.
    #[must_use]
    pub fn field(&self, field: UserField) -> Option<&str> {
        let text = match field {
            UserField::Id => Some(self.id.as_str()),
            UserField::Username => self.username.as_deref(),
            UserField::Email => self.email.as_deref(),
        };
        // Django writes an empty text for an address that it does not know.
        text.filter(|text| !text.is_empty())
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<Text>)]
    id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    username: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    email: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    password: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    is_active: Option<String>,
}

/// How many rows are looked at that the database takes for equal. It may compare without case, and an address need not be
/// unique.
const ALIKE: usize = 100;

/// Whether a truth value says yes, in the words of every database.
pub(super) fn is_true(text: &str) -> bool {
    ["1", "t", "true"].iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

fn resolve(connection: &mut AnyConnection, columns: DjangoColumns) -> Result<DjangoTable, LedgerError> {
    let found = dialect::columns(connection, &columns.table)?;
    if found.is_empty() {
        return Err(SchemaError::NoUserTable(columns.table).into());
    }
    for (field, name) in columns.named() {
        if found.iter().all(|column| column.name != *name) {
            let (table, column) = (columns.table.clone(), name.clone());
            return Err(SchemaError::NoUserColumn { table, field, column }.into());
        }
    }
    let id = found.into_iter().find(|column| column.name == columns.id);
    let wide = dialect::has_wide_integers(connection);
    let key = id.map_or(KeyForm::Text(None), |column| KeyForm::of(&column.declared, wide));
    Ok(DjangoTable { columns, key })
}

impl DjangoTable {
    /// Its name.
    #[cfg(feature = "admin")]
    pub(super) fn name(&self) -> &str {
        &self.columns.table
    }

    /// The column of its primary key.
    #[cfg(feature = "admin")]
    pub(super) fn id_column(&self) -> &str {
        &self.columns.id
    }

    /// A key as the column has it; [`None`] if it cannot hold that key.
    #[cfg(feature = "admin")]
    pub(super) fn key_text(&self, id: &str) -> Option<String> {
        self.key.text(id)
    }

    /// The users whose `field` the database takes for `value`.
    fn select(&self, connection: &AnyConnection, field: UserField, column: &str) -> String {
        let words = dialect::literals(connection);
        let table = words.quoted(&self.columns.table);
        // With its table, or SQLite would take the name of a column that is gone for a text.
        let qualified = |name: &str| format!("{table}.{}", words.quoted(name));
        let text = |name: Option<&str>| words.text_of(&name.map_or_else(|| "NULL".to_owned(), qualified));
        let DjangoColumns { id, username, email, password, is_active, .. } = &self.columns;
        let parameter = match field {
            UserField::Id => self.key_parameter(connection, 1),
            UserField::Username | UserField::Email => placeholder(connection, 1),
        };
        format!(
            "SELECT {} AS id, {} AS username, {} AS email, {} AS password, {} AS is_active FROM {table} \
             WHERE {} = {parameter} LIMIT {ALIKE}",
            text(Some(id)),
            text(username.as_deref()),
            text(email.as_deref()),
            text(Some(password)),
            text(is_active.as_deref()),
            qualified(column),
        )
    }

    /// The place of a key, in a form that the column is compared with by its index.
    pub(super) fn key_parameter(&self, connection: &AnyConnection, number: u8) -> String {
        let (before, after) = dialect::user_cast(connection, self.key);
        format!("{before}{}{after}", placeholder(connection, number))
    }

    fn user(&self, row: Row) -> Option<DjangoUserRow> {
        let has_flag = self.columns.is_active.is_some();
        Some(DjangoUserRow {
            id: self.key.key(row.id?),
            username: row.username,
            email: row.email,
            password: row.password.unwrap_or_default(),
            is_active: !has_flag || row.is_active.as_deref().is_some_and(is_true),
        })
    }
}

fn find(
    connection: &mut AnyConnection,
    table: &DjangoTable,
    field: UserField,
    value: &str,
) -> QueryResult<Option<DjangoUserRow>> {
    let Some(column) = table.columns.of(field) else { return Ok(None) };
    let key = if field == UserField::Id { table.key.text(value) } else { Some(value.to_owned()) };
    // PostgreSQL takes no zero byte in a text, not even to compare with, and nobody's name or address is empty.
    let Some(key) = key.filter(|key| !key.is_empty() && !key.contains('\0')) else { return Ok(None) };
    let query = table.select(connection, field, column);
    let rows: Vec<Row> = diesel::sql_query(query).bind::<Text, _>(&key).load(connection)?;
    let is_exact = |user: &DjangoUserRow| match field {
        UserField::Id => table.key.text(&user.id).as_ref() == Some(&key),
        UserField::Username | UserField::Email => user.field(field) == Some(value),
    };
    let mut exact = rows.into_iter().filter_map(|row| table.user(row)).filter(is_exact);
    match (exact.next(), exact.next()) {
        (found, None) => Ok(found),
        (_, Some(_)) => {
            log::warn!(
                "several users of the table {} have the same {column}: none of them is meant",
                table.columns.table
            );
            Ok(None)
        }
    }
}

fn note_login(connection: &mut AnyConnection, table: &DjangoTable, id: &str, at: DateTime<Utc>) -> QueryResult<()> {
    let (Some(last_login), Some(key)) = (&table.columns.last_login, table.key.text(id)) else { return Ok(()) };
    let words = dialect::literals(connection);
    let query = format!(
        "UPDATE {} SET {} = {} WHERE {} = {}",
        words.quoted(&table.columns.table),
        words.quoted(last_login),
        placeholder(connection, 1),
        words.quoted(&table.columns.id),
        table.key_parameter(connection, 2),
    );
    diesel::sql_query(query).bind::<Parameter, _>(stored(at)).bind::<Text, _>(key).execute(connection)?;
    Ok(())
}

impl Ledger {
    /// Looks up the table of a Django project's users.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Schema`] if the table or a column is not there; otherwise when the database does not answer.
    pub async fn django_table(&self, columns: DjangoColumns) -> Result<DjangoTable, LedgerError> {
        self.run(move |connection| resolve(connection, columns)).await
    }

    /// The one user whose `field` is `value`, byte for byte. A key is compared by what it means: a UUID may be written in
    /// any way.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn django_user_by(
        &self,
        table: &DjangoTable,
        field: UserField,
        value: &str,
    ) -> Result<Option<DjangoUserRow>, LedgerError> {
        let (table, value) = (table.clone(), value.to_owned());
        self.run(move |connection| Ok(find(connection, &table, field, &value)?)).await
    }

    /// Notes when a user logged in, where the table has a column for it.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn set_django_last_login(
        &self,
        table: &DjangoTable,
        id: &str,
        at: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        let (table, id) = (table.clone(), id.to_owned());
        self.write(move |connection| Ok(note_login(connection, &table, &id, at)?)).await
    }

    /// Whether this is the database of a Django project.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn is_djangos(&self) -> Result<bool, LedgerError> {
        self.run(|connection| Ok(!dialect::columns(connection, "django_migrations")?.is_empty())).await
    }
}
