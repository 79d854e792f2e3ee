//! How the databases describe their triggers, and take them away.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use crate::ledger::connection::AnyConnection;

/// A trigger or a function of ours, as its database describes it.
#[derive(Debug, QueryableByName)]
pub(in crate::ledger) struct Found {
    #[diesel(sql_type = Text)]
    pub(in crate::ledger) name: String,
    /// The table that it is on; empty for a function.
    #[diesel(sql_type = Text)]
    pub(in crate::ledger) place: String,
    /// What it does: its text, or the name of the function that it calls. Empty where this user may not see it.
    #[diesel(sql_type = Text)]
    pub(in crate::ledger) does: String,
    #[diesel(sql_type = Bool)]
    pub(in crate::ledger) enabled: bool,
    /// With whose rights it runs, where that has to be somebody's; empty elsewhere.
    #[diesel(sql_type = Text)]
    pub(in crate::ledger) definer: String,
}

/// What there is of ours.
pub(in crate::ledger) fn triggers(connection: &mut AnyConnection) -> QueryResult<Vec<Found>> {
    // On PostgreSQL one that fires only for what arrives by replication (R) is as good as off.
    let query = match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            "SELECT name, tbl_name AS place, sql AS does, 1 AS enabled, '' AS definer FROM sqlite_master \
             WHERE type = 'trigger' AND name LIKE 'simplejwt~_%' ESCAPE '~'"
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {
            "SELECT CAST(tgname AS text) AS name, CAST(relname AS text) AS place, CAST(proname AS text) AS does, \
             tgenabled IN ('O', 'A') AND (tgconstraint = 0 OR tginitdeferred) AS enabled, '' AS definer \
             FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid \
             WHERE NOT tgisinternal AND starts_with(tgname, 'simplejwt_') AND tgrelid IN \
             (to_regclass('token_blacklist_blacklistedtoken'), to_regclass('simplejwt_session'), \
             to_regclass('simplejwt_cutoff')) \
             UNION ALL SELECT CAST(proname AS text), '', prosrc, prosecdef OR proname LIKE 'simplejwt!_log!_%' ESCAPE '!', '' \
             FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace \
             WHERE nspname = current_schema() AND starts_with(proname, 'simplejwt_')"
        }
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => {
            // MySQL names what has no alias here in capitals. MariaDB tells somebody without the right TRIGGER the names alone.
            "SELECT trigger_name AS name, event_object_table AS place, \
             CAST(COALESCE(action_statement, '') AS CHAR) AS does, \
             TRUE AS enabled, COALESCE(definer, '') AS definer FROM information_schema.triggers \
             WHERE trigger_schema = DATABASE() AND LEFT(trigger_name, 10) = 'simplejwt_'"
        }
    };
    diesel::sql_query(query).load(connection)
}

/// Whether a user without the right to make triggers does not see any.
pub(in crate::ledger) const fn hides_triggers(connection: &AnyConnection) -> bool {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => false,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => false,
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => true,
    }
}

/// Whether there is nobody of that name any more, with whose rights a trigger would have to run. Where we may not know, there is.
#[cfg_attr(not(feature = "mysql"), expect(unused_variables, reason = "elsewhere a trigger has no rights of its own"))]
pub(in crate::ledger) fn is_nobody(connection: &mut AnyConnection, definer: &str) -> bool {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => false,
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => false,
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(mysql) => {
            let accounts = "SELECT count(*) AS number FROM mysql.user WHERE CONCAT(user, '@', host) = ?";
            let found = diesel::sql_query(accounts).bind::<Text, _>(definer).get_result::<super::NumberRow>(mysql);
            found.is_ok_and(|found| found.number == 0)
        }
    }
}

/// What takes a trigger away.
#[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "elsewhere their names are enough"))]
pub(in crate::ledger) fn drop_trigger(connection: &AnyConnection, name: &str, table: &str) -> String {
    match connection {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => format!("DROP TRIGGER IF EXISTS {name};"),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => format!("DROP TRIGGER IF EXISTS {name} ON {table};"),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(_) => format!("DROP TRIGGER IF EXISTS {name};"),
    }
}
