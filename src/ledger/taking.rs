//! Deleting rows and reading them in one go: the database looks for each of them once.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::methods::{ExecuteDsl, LoadQuery};

use super::LedgerError;
use super::connection::AnyConnection;
use super::dialect;

/// A DELETE that answers with columns of what it deletes, of the type `ST`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking<D, ST> {
    delete: D,
    columns: &'static str,
    sql_type: PhantomData<ST>,
}

impl<D, ST> Query for Taking<D, ST> {
    type SqlType = ST;
}

impl<D, ST> QueryId for Taking<D, ST> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<D, ST> RunQueryDsl<AnyConnection> for Taking<D, ST> {}

impl<D, ST, DB> QueryFragment<DB> for Taking<D, ST>
where
    DB: Backend,
    D: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.delete.walk_ast(pass.reborrow())?;
        pass.push_sql(" RETURNING ");
        pass.push_sql(self.columns);
        Ok(())
    }
}

/// Deletes rows, and gives `columns` of them, which are what `select` asks of the same rows. A database that cannot say what it deletes is
/// asked before.
///
/// # Errors
///
/// [`LedgerError::Conflict`] where somebody changed them in between.
pub(super) fn take<'query, D, S, ST, T>(
    connection: &mut AnyConnection,
    delete: D,
    columns: &'static str,
    select: S,
) -> Result<Vec<T>, LedgerError>
where
    S: Query<SqlType = ST> + LoadQuery<'query, AnyConnection, T>,
    D: ExecuteDsl<AnyConnection>,
    Taking<D, ST>: LoadQuery<'query, AnyConnection, T>,
{
    if dialect::has_returning(connection) {
        return Ok(Taking { delete, columns, sql_type: PhantomData }
            .internal_load(connection)?
            .collect::<QueryResult<_>>()?);
    }
    let found = select.internal_load(connection)?.collect::<QueryResult<Vec<T>>>()?;
    if D::execute(delete, connection)? == found.len() { Ok(found) } else { Err(LedgerError::Conflict) }
}
