//! SQL that the portable query language has no word for. Diesel's own way to say it would have the statement prepared anew
//! each time.

use std::borrow::Cow;
use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::dsl::AsExprOf;
use diesel::expression::{AsExpression, Expression, TypedExpressionType, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
#[cfg(feature = "admin")]
use diesel::sql_types::Text;
use diesel::sql_types::{Bool, SqlType};

/// SQL of the type `ST`, around a value that is bound to it.
#[derive(Clone, Debug)]
pub(super) struct Raw<ST, V = ()> {
    before: Cow<'static, str>,
    value: V,
    after: &'static str,
    /// Whether the same text will be run again.
    again: bool,
    sql_type: PhantomData<ST>,
}

/// SQL with a value of the type `VST` bound in it.
pub(super) type Around<ST, V, VST> = Raw<ST, AsExprOf<V, VST>>;

impl<ST> Raw<ST> {
    /// SQL as it stands.
    pub(super) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { before: sql.into(), value: (), after: "", again: true, sql_type: PhantomData }
    }

    /// SQL, a value, and more SQL.
    pub(super) fn around<V, VST>(
        before: impl Into<Cow<'static, str>>,
        value: V,
        after: &'static str,
    ) -> Around<ST, V, VST>
    where
        VST: SqlType + TypedExpressionType,
        V: AsExpression<VST>,
    {
        Raw { before: before.into(), value: value.as_expression(), after, again: true, sql_type: PhantomData }
    }
}

impl Raw<Bool> {
    /// A condition with values written into its text, which will hardly be run again: as a part of the text thousands of them
    /// are read by the database in a fraction of the time that as many parameters take.
    pub(super) fn once(sql: String) -> Self {
        Self { again: false, ..Self::new(sql) }
    }
}

/// A condition that may have a text bound in it.
#[cfg(feature = "admin")]
pub(super) type Condition = Raw<Bool, Option<AsExprOf<String, Text>>>;

#[cfg(feature = "admin")]
impl From<Raw<Bool>> for Condition {
    fn from(Raw { before, after, again, .. }: Raw<Bool>) -> Self {
        Self { before, value: None, after, again, sql_type: PhantomData }
    }
}

#[cfg(feature = "admin")]
impl Condition {
    /// With a text between two pieces of SQL.
    pub(super) fn bound(before: String, text: String, after: &'static str) -> Self {
        let value = AsExpression::<Text>::as_expression(text);
        Self { before: before.into(), value: Some(value), after, again: true, sql_type: PhantomData }
    }
}

impl<ST: TypedExpressionType, V> Expression for Raw<ST, V> {
    type SqlType = ST;
}

impl<ST, V, QS> AppearsOnTable<QS> for Raw<ST, V> where Self: Expression {}

impl<ST, V, QS> SelectableExpression<QS> for Raw<ST, V> where Self: AppearsOnTable<QS> {}

impl<ST, V, GB> ValidGrouping<GB> for Raw<ST, V> {
    type IsAggregate = is_aggregate::Never;
}

impl<ST, V> QueryId for Raw<ST, V> {
    type QueryId = ();

    // The text says which statement it is.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST, V, DB> QueryFragment<DB> for Raw<ST, V>
where
    DB: Backend,
    V: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        if !self.again {
            pass.unsafe_to_cache_prepared();
        }
        pass.push_sql(&self.before);
        self.value.walk_ast(pass.reborrow())?;
        pass.push_sql(self.after);
        Ok(())
    }
}
