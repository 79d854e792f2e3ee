//! The connection: one enum over the databases that this build knows. Alone in its file, because what the derive
//! writes is long and looks like nothing of ours.

#[cfg(not(feature = "sqlite"))]
compile_error!("rocket_simplejwt needs a database: switch on the feature `sqlite`");

/// A connection to whichever database the URL names.
#[cfg_attr(feature = "sqlite", derive(diesel::MultiConnection))]
pub(super) enum AnyConnection {
    /// The embedded database.
    #[cfg(feature = "sqlite")]
    Sqlite(diesel::SqliteConnection),
}
