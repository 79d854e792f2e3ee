//! Values of columns that others made, as text and back: we know their types only when we see them.

use std::fmt::{Display, Write as _};

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
    /// After the table in which the tokens of a session are looked for.
    pub(in crate::ledger) by_session: &'static str,
    /// After a jti to order by its bytes, and between two of them to say that the first comes later in that order: with the operators
    /// of the index by which the beginning of a jti is found.
    #[cfg(feature = "admin")]
    pub(in crate::ledger) by_bytes: (&'static str, &'static str),
    /// What asks for a beginning, and what stands there for everything that may follow.
    #[cfg(feature = "admin")]
    begins: (&'static str, &'static str),
    /// A list that a column is compared with, as fast as the database can read one.
    list: List,
}

/// What stands before a list of values and after it, and around each value that is a text.
#[derive(Clone, Copy, Debug)]
struct List {
    before: &'static str,
    quote: &'static str,
    after: &'static str,
    /// What stands in a list in which nothing is: an empty one is no SQL everywhere.
    none: &'static str,
    /// What makes an array of numbers of a text, if there are arrays.
    #[cfg(feature = "admin")]
    as_array: Option<&'static str>,
}

/// What every database takes.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
const IN: List = List {
    before: " IN (",
    quote: "'",
    after: ")",
    none: "NULL",
    #[cfg(feature = "admin")]
    as_array: None,
};

/// One value to PostgreSQL, instead of thousands that it would look at one by one before it looks for any of them.
#[cfg(feature = "postgres")]
const ANY: List = List {
    before: " = ANY('{",
    quote: "\"",
    after: "}')",
    none: "",
    #[cfg(feature = "admin")]
    as_array: Some(" AS bigint[]))"),
};

/// The words of this database.
pub(in crate::ledger) const fn literals(connection: &AnyConnection) -> Literals {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Literals {
            as_text: ("CAST(", " AS TEXT)"),
            instant: ("", ""),
            quote: '"',
            by_session: "",
            #[cfg(feature = "admin")]
            by_bytes: ("", ">"),
            #[cfg(feature = "admin")]
            begins: ("GLOB", "*"),
            list: IN,
        },
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Literals {
            as_text: ("CAST(", " AS text)"),
            instant: ("CAST(", " AS timestamptz)"),
            quote: '"',
            by_session: "",
            #[cfg(feature = "admin")]
            by_bytes: (" USING ~<~", "~>~"),
            #[cfg(feature = "admin")]
            begins: ("LIKE", "%"),
            list: ANY,
        },
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => Literals {
            as_text: ("CAST(", " AS CHAR)"),
            instant: ("CAST(", " AS DATETIME(6))"),
            quote: '`',
            // After many rows came or went it may still take the table for a small one, and go through all of it for each
            // session.
            by_session: " FORCE INDEX (simplejwt_token_session_id)",
            #[cfg(feature = "admin")]
            by_bytes: ("", ">"),
            #[cfg(feature = "admin")]
            begins: ("LIKE", "%"),
            list: IN,
        },
    }
}

impl Literals {
    /// A name, so that none can be mistaken for anything else.
    pub(in crate::ledger) fn quoted(&self, name: &str) -> String {
        let quote = self.quote;
        let doubled = name.replace(quote, &format!("{quote}{quote}"));
        format!("{quote}{doubled}{quote}")
    }

    /// That `column` is one of these numbers.
    pub(in crate::ledger) fn is_number_among(&self, column: &str, numbers: &[i64]) -> String {
        self.is_among(column, "", numbers.iter())
    }

    /// The same, if an array can be a value by itself: what stands before it, the array, and what stands after it.
    #[cfg(feature = "admin")]
    pub(in crate::ledger) fn number_of_array(
        &self,
        column: &str,
        numbers: &[i64],
    ) -> Option<(String, String, &'static str)> {
        let after = self.list.as_array?;
        let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
        Some((format!("{column} = ANY(CAST("), format!("{{{}}}", numbers.join(",")), after))
    }

    /// That `column` is one of these texts, of which none has a character that means anything in SQL.
    pub(in crate::ledger) fn is_name_among<T: Display>(&self, column: &str, names: &[T]) -> String {
        self.is_among(column, self.list.quote, names.iter())
    }

    fn is_among<T: Display>(&self, column: &str, quote: &str, values: impl Iterator<Item = T>) -> String {
        let mut sql = format!("{column}{}", self.list.before);
        let start = sql.len();
        for value in values {
            if sql.len() > start {
                sql.push(',');
            }
            sql.push_str(quote);
            // Nothing can go wrong with writing into a string.
            let _ = write!(sql, "{value}");
            sql.push_str(quote);
        }
        if sql.len() == start {
            sql.push_str(self.list.none);
        }
        sql + self.list.after
    }

    /// That `column` begins with these characters of a jti, found by its index.
    #[cfg(feature = "admin")]
    pub(in crate::ledger) fn starts_with(&self, column: &str, beginning: &crate::token::Jti) -> String {
        let (operator, anything) = self.begins;
        // Of the characters of a jti only this one means anything to LIKE, and none to GLOB.
        let plain = if operator == "LIKE" { beginning.as_str().replace('_', "\\_") } else { beginning.to_string() };
        format!("{column} {operator} '{plain}{anything}'")
    }

    /// A column, to be read as text.
    pub(in crate::ledger) fn text_of(&self, column: &str) -> String {
        format!("{}{column}{}", self.as_text.0, self.as_text.1)
    }
}

/// Whether a DELETE can give what it deletes. MariaDB can, but tells only after a statement ran which columns it has; Diesel asks
/// before. MySQL cannot.
pub(in crate::ledger) const fn has_returning(connection: &AnyConnection) -> bool {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => true,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => true,
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => false,
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

/// Whether a list can be one parameter.
pub(in crate::ledger) const fn has_arrays(connection: &AnyConnection) -> bool {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => false,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => true,
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => false,
    }
}

/// The end of an INSERT that sets these columns of the rows that are there already.
#[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), expect(unused_variables, reason = "others name no key"))]
pub(in crate::ledger) fn or_set(connection: &AnyConnection, key: &str, columns: &[&str]) -> String {
    let (before, around) = match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => (format!(" ON CONFLICT ({key}) DO UPDATE SET "), ("excluded.", "")),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => (format!(" ON CONFLICT ({key}) DO UPDATE SET "), ("excluded.", "")),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => (" ON DUPLICATE KEY UPDATE ".to_owned(), ("VALUES(", ")")),
    };
    let set: Vec<_> = columns.iter().map(|column| format!("{column} = {}{column}{}", around.0, around.1)).collect();
    before + &set.join(", ")
}
