//! The connection: one enum over the databases that this build knows. Alone in its file, because what the derive
//! writes is long and looks like nothing of ours. `build.rs` refuses a build that knows none.

/// A connection to whichever database the URL names.
#[derive(diesel::MultiConnection)]
pub(super) enum AnyConnection {
    /// The embedded database.
    #[cfg(feature = "sqlite")]
    Sqlite(diesel::SqliteConnection),
    /// PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(diesel::PgConnection),
    /// MariaDB, or MySQL.
    #[cfg(feature = "mysql")]
    Mysql(diesel::MysqlConnection),
}
