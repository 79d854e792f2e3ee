//! What a user of a Django project may do with tokens, as Django's own admin has it. Only read.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::connection::AnyConnection;
use super::dialect;
use super::django_users::{DjangoTable, is_true};
use super::{Ledger, LedgerError};

/// A user who may enter Django's admin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DjangoStaff {
    /// Whether the user may do everything.
    pub is_superuser: bool,
    /// The user's permissions for simplejwt's two tables, such as `view_outstandingtoken`: the user's own and those of groups.
    pub permissions: Vec<String>,
}

#[derive(QueryableByName)]
struct Flags {
    #[diesel(sql_type = Nullable<Text>)]
    is_staff: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    is_superuser: Option<String>,
}

#[derive(QueryableByName)]
struct Permission {
    #[diesel(sql_type = Text)]
    codename: String,
}

/// The column of a table between two others that names a user: the one that is neither its own key nor the other side's.
fn column_of_user(connection: &mut AnyConnection, table: &str, other: &str) -> QueryResult<Option<String>> {
    let columns = dialect::columns(connection, table)?;
    Ok(columns.into_iter().map(|column| column.name).find(|name| name != "id" && name != other))
}

fn permissions(connection: &mut AnyConnection, table: &DjangoTable, key: &str) -> QueryResult<Vec<String>> {
    let (own, groups) = (format!("{}_user_permissions", table.name()), format!("{}_groups", table.name()));
    let (Some(owner), Some(member)) =
        (column_of_user(connection, &own, "permission_id")?, column_of_user(connection, &groups, "group_id")?)
    else {
        return Ok(Vec::new());
    };
    let words = dialect::literals(connection);
    let quoted = |name: &str| words.quoted(name);
    let query = format!(
        "SELECT p.codename AS codename FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id \
         WHERE c.app_label = 'token_blacklist' AND (p.id IN (SELECT permission_id FROM {} WHERE {} = {}) \
         OR p.id IN (SELECT gp.permission_id FROM auth_group_permissions gp JOIN {} g ON g.group_id = gp.group_id \
         WHERE g.{} = {}))",
        quoted(&own),
        quoted(&owner),
        table.key_parameter(connection, 1),
        quoted(&groups),
        quoted(&member),
        table.key_parameter(connection, 2),
    );
    let rows: Vec<Permission> = diesel::sql_query(query).bind::<Text, _>(key).bind::<Text, _>(key).load(connection)?;
    Ok(rows.into_iter().map(|row| row.codename).collect())
}

fn staff(connection: &mut AnyConnection, table: &DjangoTable, id: &str) -> QueryResult<Option<DjangoStaff>> {
    let Some(key) = table.key_text(id).filter(|key| !key.contains('\0')) else { return Ok(None) };
    let columns = dialect::columns(connection, table.name())?;
    let has = |name: &str| columns.iter().any(|column| column.name == name);
    // A user model without that flag has nobody who is staff.
    if !has("is_staff") {
        return Ok(None);
    }
    let words = dialect::literals(connection);
    let superuser = if has("is_superuser") { words.text_of("is_superuser") } else { words.text_of("NULL") };
    let query = format!(
        "SELECT {} AS is_staff, {superuser} AS is_superuser FROM {} WHERE {} = {}",
        words.text_of("is_staff"),
        words.quoted(table.name()),
        words.quoted(table.id_column()),
        table.key_parameter(connection, 1),
    );
    let found: Option<Flags> = diesel::sql_query(query).bind::<Text, _>(&key).get_result(connection).optional()?;
    let says = |flag: &Option<String>| flag.as_deref().is_some_and(is_true);
    let Some(flags) = found.filter(|flags| says(&flags.is_staff)) else { return Ok(None) };
    let is_superuser = says(&flags.is_superuser);
    let permissions = if is_superuser { Vec::new() } else { permissions(connection, table, &key)? };
    Ok(Some(DjangoStaff { is_superuser, permissions }))
}

impl Ledger {
    /// What the user with this key may do in Django's admin; [`None`] for one who may not enter it.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn django_staff(&self, table: &DjangoTable, id: &str) -> Result<Option<DjangoStaff>, LedgerError> {
        let (table, id) = (table.clone(), id.to_owned());
        self.run(move |connection| Ok(staff(connection, &table, &id)?)).await
    }
}
