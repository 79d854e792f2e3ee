//! Many values in one statement: rows to write, and names to look for. Diesel has such statements prepared anew each time; here
//! those of the usual size are prepared once.

use std::marker::PhantomData;

use diesel::connection::Connection;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::methods::LoadQuery;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::connection::AnyConnection;
use super::dialect::{self, Around};
use super::time::Stored;

/// A statement of more rows or names is not kept: there would be one of each number, and a server keeps only so many.
const KEPT: usize = 8;

/// Few enough for one statement on every database.
const CHUNK: usize = 1024;

type Any = <AnyConnection as Connection>::Backend;

/// A value in a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Text(Option<&'a str>),
    /// Text that the database makes something else of.
    Cast(Around, Option<&'a str>),
    Number(i64),
    At(Stored),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Stored> for Value<'_> {
    fn from(at: Stored) -> Self {
        Self::At(at)
    }
}

impl QueryFragment<Any> for Value<'_> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Any>) -> QueryResult<()> {
        match self {
            Self::Text(text) => pass.push_bind_param::<Nullable<Text>, _>(text),
            Self::Cast((before, after), text) => {
                pass.push_sql(before);
                pass.push_bind_param::<Nullable<Text>, _>(text)?;
                pass.push_sql(after);
                Ok(())
            }
            Self::Number(number) => pass.push_bind_param::<BigInt, _>(number),
            Self::At(at) => at.walk_ast(pass),
        }
    }
}

/// Rows that are inserted at once.
struct Insert<'a, const COLUMNS: usize> {
    into: &'a str,
    rows: &'a [[Value<'a>; COLUMNS]],
    then: &'a str,
}

impl<const COLUMNS: usize> QueryId for Insert<'_, COLUMNS> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<const COLUMNS: usize> RunQueryDsl<AnyConnection> for Insert<'_, COLUMNS> {}

impl<const COLUMNS: usize> QueryFragment<Any> for Insert<'_, COLUMNS> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Any>) -> QueryResult<()> {
        if self.rows.len() > KEPT {
            pass.unsafe_to_cache_prepared();
        }
        pass.push_sql("INSERT INTO ");
        pass.push_sql(self.into);
        let mut before_row = " VALUES (";
        for row in self.rows {
            pass.push_sql(before_row);
            before_row = "), (";
            let mut before_value = "";
            for value in row {
                pass.push_sql(before_value);
                before_value = ", ";
                value.walk_ast(pass.reborrow())?;
            }
        }
        pass.push_sql(")");
        pass.push_sql(self.then);
        Ok(())
    }
}

/// Inserts rows; `into` is the table with its columns.
pub(super) fn insert<const COLUMNS: usize>(
    connection: &mut AnyConnection,
    into: &str,
    rows: &[[Value<'_>; COLUMNS]],
) -> QueryResult<()> {
    rows.chunks(CHUNK).try_for_each(|rows| Insert { into, rows, then: "" }.execute(connection).map(drop))
}

/// Changes rows that are there, each to values of its own. All columns that have to have a value are among those of `into`, `key` is the first of
/// them, and those in `set` are changed. Nobody else may be able to take the rows away meanwhile: they would be made anew.
pub(super) fn update<const COLUMNS: usize>(
    connection: &mut AnyConnection,
    into: &str,
    key: &str,
    set: &[&str],
    rows: &[[Value<'_>; COLUMNS]],
) -> QueryResult<()> {
    let then = dialect::or_set(connection, key, set);
    rows.chunks(CHUNK).try_for_each(|rows| Insert { into, rows, then: &then }.execute(connection).map(drop))
}

/// A SELECT of the columns `ST` in rows that have one of some names.
pub(super) struct Lookup<'a, ST> {
    /// Up to the column with the name.
    select: &'a str,
    names: Names<'a>,
    then: &'a str,
    /// Whether the statement is prepared once and used again.
    kept: bool,
    sql_type: PhantomData<ST>,
}

/// Some names.
enum Names<'a> {
    /// As one value.
    Array(String),
    List(Vec<&'a str>),
}

impl<'a> Names<'a> {
    fn of(connection: &AnyConnection, names: &[&'a str]) -> Self {
        if dialect::has_arrays(connection) {
            let quoted: Vec<_> =
                names.iter().map(|name| format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\""))).collect();
            return Self::Array(format!("{{{}}}", quoted.join(",")));
        }
        // One statement serves several numbers of them.
        let mut list = names.to_vec();
        list.resize(names.len().next_power_of_two(), names.last().copied().unwrap_or_default());
        Self::List(list)
    }
}

impl<ST> Query for Lookup<'_, ST> {
    type SqlType = ST;
}

impl<ST> QueryId for Lookup<'_, ST> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST> RunQueryDsl<AnyConnection> for Lookup<'_, ST> {}

impl<ST> QueryFragment<Any> for Lookup<'_, ST> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Any>) -> QueryResult<()> {
        if !self.kept {
            pass.unsafe_to_cache_prepared();
        }
        pass.push_sql(self.select);
        match &self.names {
            Names::Array(array) => {
                // In a query of its own, or the server plans for these very names, and does so each time.
                pass.push_sql(" = ANY(ARRAY(SELECT unnest(CAST(");
                pass.push_bind_param::<Text, _>(array)?;
                pass.push_sql(" AS text[]))))");
            }
            Names::List(names) => {
                if names.len() > KEPT {
                    pass.unsafe_to_cache_prepared();
                }
                let mut before = " IN (";
                for name in names {
                    pass.push_sql(before);
                    before = ", ";
                    pass.push_bind_param::<Text, _>(name)?;
                }
                pass.push_sql(")");
            }
        }
        pass.push_sql(self.then);
        Ok(())
    }
}

/// Finds rows by name: `select` ends with the column that has one of the names, `then` comes after them.
pub(super) fn find<'a, ST, T>(
    connection: &mut AnyConnection,
    select: &'a str,
    names: &[&'a str],
    then: &'a str,
) -> QueryResult<Vec<T>>
where
    Lookup<'a, ST>: LoadQuery<'a, AnyConnection, T>,
{
    load(connection, select, names, then, true)
}

/// The rows of a table by their key, which nobody else can change now.
pub(super) fn lock<ST, T>(
    connection: &mut AnyConnection,
    columns: &str,
    table: &str,
    key: &str,
    names: &[&str],
) -> QueryResult<Vec<T>>
where
    for<'a> Lookup<'a, ST>: LoadQuery<'a, AnyConnection, T>,
{
    let (of_key, locked, kept) = dialect::locks_rows(connection);
    let select = format!("SELECT {columns} FROM {table}{of_key} WHERE {key}");
    load(connection, &select, names, &format!(" ORDER BY {key}{locked}"), kept)
}

fn load<'a, ST, T>(
    connection: &mut AnyConnection,
    select: &'a str,
    names: &[&'a str],
    then: &'a str,
    kept: bool,
) -> QueryResult<Vec<T>>
where
    Lookup<'a, ST>: LoadQuery<'a, AnyConnection, T>,
{
    let mut found = Vec::with_capacity(names.len());
    for names in names.chunks(CHUNK) {
        let names = Names::of(connection, names);
        let lookup = Lookup { select, names, then, kept, sql_type: PhantomData };
        for row in lookup.internal_load(connection)? {
            found.push(row?);
        }
    }
    Ok(found)
}
