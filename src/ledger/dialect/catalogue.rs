//! How the databases describe their tables.

use diesel::connection::SimpleConnection;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use diesel::migration::MigrationConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text};

use super::NumberRow;
#[cfg(feature = "mysql")]
use super::TextRow;
use crate::ledger::connection::AnyConnection;
use crate::ledger::user_key::UserKeyType;

/// A column of a table, as its database describes it.
#[derive(Debug, QueryableByName)]
pub(in crate::ledger) struct Column {
    #[diesel(sql_type = Text)]
    pub(in crate::ledger) name: String,
    /// Its declared type, in lower case.
    #[diesel(sql_type = Text)]
    pub(in crate::ledger) declared: String,
    /// A row without it is refused.
    #[diesel(sql_type = Bool)]
    pub(in crate::ledger) required: bool,
}

/// The columns of `table`; none if there is no such table.
pub(in crate::ledger) fn columns(connection: &mut AnyConnection, table: &str) -> QueryResult<Vec<Column>> {
    let query = match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            "SELECT name, lower(type) AS declared, \"notnull\" AND dflt_value IS NULL AS required \
             FROM pragma_table_info(?)"
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {
            "SELECT CAST(attname AS text) AS name, lower(format_type(atttypid, atttypmod)) AS declared, \
             attnotnull AND NOT atthasdef AND attidentity = '' AS required FROM pg_attribute \
             WHERE attrelid = to_regclass(quote_ident($1)) AND attnum > 0 AND NOT attisdropped"
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => {
            "SELECT column_name AS name, CAST(lower(column_type) AS CHAR) AS declared, \
             is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%auto_increment%' AS required \
             FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?"
        }
    };
    diesel::sql_query(query).bind::<Text, _>(table).load(connection)
}

/// Whether there is such a table, also where this user may not read it.
pub(in crate::ledger) fn has_table(connection: &mut AnyConnection, table: &str) -> QueryResult<bool> {
    let query = match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => "SELECT count(*) AS number FROM sqlite_master WHERE type = 'table' AND name = ?",
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {
            "SELECT count(*) AS number FROM pg_class WHERE oid = to_regclass(quote_ident($1))"
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => {
            "SELECT count(*) AS number FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = ?"
        }
    };
    Ok(diesel::sql_query(query).bind::<Text, _>(table).get_result::<NumberRow>(connection)?.number > 0)
}

/// Whether an index begins with this column.
pub(in crate::ledger) fn has_index(connection: &mut AnyConnection, table: &str, column: &str) -> QueryResult<bool> {
    let query = match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            "SELECT count(*) AS number FROM pragma_index_list AS list \
             JOIN pragma_index_info AS info ON info.arg = list.name \
             WHERE list.arg = ? AND info.seqno = 0 AND info.name = ?"
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {
            "SELECT count(*) AS number FROM pg_index JOIN pg_attribute \
             ON attrelid = indrelid AND attnum = indkey[0] \
             WHERE indrelid = to_regclass(quote_ident($1)) AND indisvalid AND indpred IS NULL AND attname = $2"
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => {
            "SELECT count(*) AS number FROM information_schema.statistics \
             WHERE table_schema = DATABASE() AND table_name = ? AND seq_in_index = 1 AND column_name = ?"
        }
    };
    let found = diesel::sql_query(query).bind::<Text, _>(table).bind::<Text, _>(column);
    Ok(found.get_result::<NumberRow>(connection)?.number > 0)
}

/// Whether a table has an index of this name.
#[cfg_attr(not(feature = "mysql"), expect(unused_variables, reason = "elsewhere nobody has to ask"))]
pub(in crate::ledger) fn is_index_named(connection: &mut AnyConnection, table: &str, index: &str) -> QueryResult<bool> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(false),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Ok(false),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => {
            let found = diesel::sql_query(
                "SELECT count(*) AS number FROM information_schema.statistics \
                 WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?",
            );
            let found = found.bind::<Text, _>(table).bind::<Text, _>(index).get_result::<NumberRow>(mysql)?;
            Ok(found.number > 0)
        }
    }
}

/// Whether an index has the rows of each value of a column in the order of their keys.
#[cfg_attr(
    not(feature = "postgres"),
    expect(unused_variables, clippy::unnecessary_wraps, reason = "elsewhere every index holds the key")
)]
pub(in crate::ledger) fn has_order(connection: &mut AnyConnection, table: &str, column: &str) -> QueryResult<bool> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(true),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => Ok(true),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(postgres) => {
            let found = diesel::sql_query(
                "SELECT count(*) AS number FROM pg_index \
                 JOIN pg_attribute AS first ON first.attrelid = indrelid AND first.attnum = indkey[0] \
                 JOIN pg_attribute AS second ON second.attrelid = indrelid AND second.attnum = indkey[1] \
                 WHERE indrelid = to_regclass(quote_ident($1)) AND indisvalid AND indpred IS NULL \
                 AND first.attname = $2 AND second.attname = 'id'",
            );
            let found = found.bind::<Text, _>(table).bind::<Text, _>(column);
            Ok(found.get_result::<NumberRow>(postgres)?.number > 0)
        }
    }
}

/// A table and its key, to which a column refers.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::ledger) struct Reference {
    #[diesel(sql_type = Text)]
    pub(in crate::ledger) table: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::ledger) column: Option<String>,
}

/// To what the database has a column refer.
pub(in crate::ledger) fn references(
    connection: &mut AnyConnection,
    table: &str,
    column: &str,
) -> QueryResult<Option<Reference>> {
    let query = match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            "SELECT \"table\", \"to\" AS \"column\" FROM pragma_foreign_key_list(?) WHERE \"from\" = ?"
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {
            "SELECT CAST(target.relname AS text) AS \"table\", CAST(there.attname AS text) AS \"column\" \
             FROM pg_constraint JOIN pg_class AS target ON target.oid = confrelid \
             JOIN pg_attribute AS here ON here.attrelid = conrelid AND here.attnum = conkey[1] \
             JOIN pg_attribute AS there ON there.attrelid = confrelid AND there.attnum = confkey[1] \
             WHERE contype = 'f' AND conrelid = to_regclass(quote_ident($1)) AND here.attname = $2"
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => {
            "SELECT referenced_table_name AS `table`, referenced_column_name AS `column` \
             FROM information_schema.key_column_usage WHERE table_schema = DATABASE() \
             AND referenced_table_name IS NOT NULL AND table_name = ? AND column_name = ?"
        }
    };
    diesel::sql_query(query).bind::<Text, _>(table).bind::<Text, _>(column).get_result(connection).optional()
}

/// How texts of `table.jti` are compared, where that is not byte for byte: character set and collation. `utf8mb4_bin` is none of the exact
/// ones: it takes no notice of spaces at the end.
#[cfg_attr(not(feature = "mysql"), expect(unused_variables, reason = "only there texts are compared so"))]
pub(in crate::ledger) fn loose_collation(
    connection: &mut AnyConnection,
    table: &str,
) -> QueryResult<Option<(String, String)>> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => Ok(None),
        // Its collations order, and do not take one text for another, unless somebody made one that does.
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => Ok(None),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => {
            #[derive(QueryableByName)]
            struct Row {
                #[diesel(sql_type = Text)]
                charset: String,
                #[diesel(sql_type = Text)]
                collation: String,
            }
            let found = diesel::sql_query(
                "SELECT character_set_name AS charset, collation_name AS collation FROM information_schema.columns \
                 WHERE table_schema = DATABASE() AND table_name = ? AND column_name = 'jti' \
                 AND collation_name NOT IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin')",
            )
            .bind::<Text, _>(table)
            .get_result::<Row>(connection)
            .optional()?;
            Ok(found.map(|row| (row.charset, row.collation)))
        }
    }
}

/// Whether a column of integers holds 64 bits, whatever size it was declared with.
pub(in crate::ledger) const fn has_wide_integers(connection: &AnyConnection) -> bool {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => true,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => false,
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => false,
    }
}

/// Makes Diesel's book of migrations, if it is not there.
pub(in crate::ledger) fn make_book(connection: &mut AnyConnection) -> QueryResult<()> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => connection.setup().map(drop),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => connection.setup().map(drop),
        // Diesel's own has a type of time here that ends in 2038.
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => connection.batch_execute(
            "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (version varchar(50) NOT NULL PRIMARY KEY, \
             run_on datetime NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        ),
    }
}

/// Takes an index out, if it is there.
#[cfg_attr(not(feature = "mysql"), expect(unused_variables, reason = "elsewhere indexes have names of their own"))]
pub(in crate::ledger) fn drop_index(connection: &mut AnyConnection, table: &str, index: &str) -> QueryResult<()> {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(sqlite) => sqlite.batch_execute(&format!("DROP INDEX IF EXISTS {index}")),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(postgres) => postgres.batch_execute(&format!("DROP INDEX IF EXISTS {index}")),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => {
            // Not every version knows IF EXISTS here.
            if is_index_named(connection, table, index)? {
                connection.batch_execute(&format!("DROP INDEX {index} ON {table}"))
            } else {
                Ok(())
            }
        }
    }
}

/// The type to declare for a user key.
pub(in crate::ledger) fn declared_type(connection: &mut AnyConnection, kind: UserKeyType) -> QueryResult<&'static str> {
    Ok(match (&mut *connection, kind) {
        (_, UserKeyType::Integer) => "integer",
        (_, UserKeyType::BigInt) => "bigint",
        #[cfg(feature = "sqlite")]
        (AnyConnection::Sqlite(_), UserKeyType::Text) => "text",
        // Django keeps a UUID in 32 characters, where the database has no type for it.
        #[cfg(feature = "sqlite")]
        (AnyConnection::Sqlite(_), UserKeyType::Uuid) => "char(32)",
        #[cfg(feature = "postgres")]
        (AnyConnection::Postgres(_), UserKeyType::Text) => "text",
        #[cfg(feature = "postgres")]
        (AnyConnection::Postgres(_), UserKeyType::Uuid) => "uuid",
        #[cfg(feature = "mysql")]
        (AnyConnection::Mysql(_), UserKeyType::Text) => {
            // As in the migrations.
            "varchar(500) CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/"
        }
        #[cfg(feature = "mysql")]
        (AnyConnection::Mysql(_), UserKeyType::Uuid) => {
            let version =
                diesel::sql_query("SELECT CAST(VERSION() AS CHAR) AS text").get_result::<TextRow>(connection)?;
            if has_uuid(&version.text) { "uuid" } else { "char(32)" }
        }
    })
}

/// MariaDB has that type since 10.7, MySQL has not.
#[cfg(feature = "mysql")]
fn has_uuid(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    version.contains("MariaDB") && (numbers.next(), numbers.next()) >= (Some(10), Some(7))
}

#[cfg(all(test, feature = "mysql"))]
mod tests {
    use super::*;

    #[test]
    fn the_version_tells_whether_there_is_a_type_for_uuids() {
        for (version, has) in [
            ("10.11.19-MariaDB-0+deb12u1", true),
            ("11.4.2-MariaDB", true),
            ("10.6.18-MariaDB", false),
            ("8.0.36", false),
            ("9.1.0", false),
        ] {
            assert_eq!(has_uuid(version), has, "{version}");
        }
    }
}
