//! How an instant is written. Diesel writes one as a `TIMESTAMP` on MariaDB and MySQL, also into a column that is a
//! `DATETIME`; and what is written as a `TIMESTAMP` has to lie between 1970 and 2038.

use chrono::NaiveDateTime;
use diesel::backend::Backend;
use diesel::connection::Connection;
use diesel::expression::{Expression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{HasSqlType, SqlType, Timestamp};

use crate::ledger::connection::AnyConnection;
use crate::ledger::time::Stored;

/// What a parameter that is an instant is declared as.
#[derive(Clone, Copy, Debug, QueryId, SqlType)]
#[diesel(sqlite_type(name = "Text"))]
#[diesel(postgres_type(oid = 1114, array_oid = 1115))]
#[diesel(mysql_type(name = "DateTime"))]
pub(in crate::ledger) struct Parameter;

impl Expression for Stored {
    type SqlType = Timestamp;
}

impl<QS> AppearsOnTable<QS> for Stored {}

impl<QS> SelectableExpression<QS> for Stored {}

impl<GB> ValidGrouping<GB> for Stored {
    type IsAggregate = is_aggregate::Never;
}

impl QueryId for Stored {
    type QueryId = Self;
}

impl<DB> QueryFragment<DB> for Stored
where
    DB: Backend + HasSqlType<Parameter>,
    Self: ToSql<Parameter, DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        pass.push_bind_param::<Parameter, Self>(self)
    }
}

/// The value itself is written as Diesel writes it.
macro_rules! write_like_a_timestamp {
    ($backend:ty) => {
        impl ToSql<Parameter, $backend> for Stored {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, $backend>) -> serialize::Result {
                <NaiveDateTime as ToSql<Timestamp, $backend>>::to_sql(&self.0, out)
            }
        }
    };
}

#[cfg(feature = "sqlite")]
write_like_a_timestamp!(diesel::sqlite::Sqlite);
#[cfg(feature = "postgres")]
write_like_a_timestamp!(diesel::pg::Pg);
#[cfg(feature = "mysql")]
write_like_a_timestamp!(diesel::mysql::Mysql);

type Any = <AnyConnection as Connection>::Backend;

impl HasSqlType<Parameter> for Any {
    fn metadata(lookup: &mut Self::MetadataLookup) -> Self::TypeMetadata {
        Self::lookup_sql_type::<Parameter>(lookup)
    }
}

impl ToSql<Parameter, Any> for Stored {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Any>) -> serialize::Result {
        out.set_value((Parameter, self));
        Ok(IsNull::No)
    }
}

/// The instant in a column less a minute, in SQL; on SQLite in the form in which the triggers write theirs.
pub(in crate::ledger) fn a_minute_before(connection: &AnyConnection, column: &str) -> String {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => format!("strftime('%Y-%m-%d %H:%M:%f', {column}, '-60 seconds')"),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => format!("{column} - INTERVAL '60' SECOND"),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => format!("{column} - INTERVAL 60 SECOND"),
    }
}
