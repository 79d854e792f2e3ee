//! Values of columns that others made, as text and back: we know their types only when we see them.

use crate::ledger::connection::AnyConnection;
use crate::ledger::key_form::KeyForm;

/// The SQL around a column, or a parameter.
pub(in crate::ledger) type Around = (&'static str, &'static str);

/// How this database writes what the portable query language has no word for.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct Literals {
    /// Around a column to read it as text.
    pub(in crate::ledger) as_text: Around,
    /// Around text that was an instant of a column, to be compared with that column. Others write that column too: what they
    /// wrote may be no instant, and still has its place in the order.
    pub(in crate::ledger) instant: Around,
    /// Around a name.
    pub(in crate::ledger) quote: char,
}

/// The words of this database.
pub(in crate::ledger) const fn literals(connection: &AnyConnection) -> Literals {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Literals { as_text: ("CAST(", " AS TEXT)"), instant: ("", ""), quote: '"' },
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {
            Literals { as_text: ("CAST(", " AS text)"), instant: ("CAST(", " AS timestamptz)"), quote: '"' }
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => {
            Literals { as_text: ("CAST(", " AS CHAR)"), instant: ("CAST(", " AS DATETIME(6))"), quote: '`' }
        }
    }
}

impl Literals {
    /// A name, so that none can be mistaken for anything else.
    pub(in crate::ledger) fn quoted(&self, name: &str) -> String {
        let quote = self.quote;
        let doubled = name.replace(quote, &format!("{quote}{quote}"));
        format!("{quote}{doubled}{quote}")
    }

    /// A column, to be read as text.
    pub(in crate::ledger) fn text_of(&self, column: &str) -> String {
        format!("{}{column}{}", self.as_text.0, self.as_text.1)
    }
}

/// What stands around text that becomes a value of a column of users.
#[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "only PostgreSQL wants to know the type"))]
pub(in crate::ledger) const fn user_cast(connection: &AnyConnection, form: KeyForm) -> Around {
    match connection {
        // These two take text for whatever the column is.
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => ("", ""),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => ("", ""),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => match form {
            KeyForm::Text(_) | KeyForm::HexUuid => ("", ""),
            KeyForm::Integer(16) => ("CAST(", " AS smallint)"),
            KeyForm::Integer(32) => ("CAST(", " AS integer)"),
            KeyForm::Integer(_) => ("CAST(", " AS bigint)"),
            KeyForm::Uuid => ("CAST(", " AS uuid)"),
        },
    }
}

/// The place of a parameter, counted from 1.
#[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "the others count for themselves"))]
pub(in crate::ledger) fn placeholder(connection: &AnyConnection, number: u8) -> String {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => "?".to_owned(),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => format!("${number}"),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => "?".to_owned(),
    }
}
