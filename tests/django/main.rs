//! Next to Django: our binary and a Django project with djangorestframework-simplejwt on one database. `scripts/django` says
//! how to run them, and `TEST_DJANGO_DATABASE_URL` on which server other than SQLite: `postgres://USER:PASSWORD@HOST:PORT/` or
//! `mysql://…`, as somebody who may create databases. Without a server, `-- --skip server_rights::` leaves out what needs one.
#![expect(clippy::expect_used, clippy::panic, reason = "a test helper that fails should fail the test")]

mod blacklist;
mod browser;
mod database;
mod django;
mod flush;
mod migrate;
mod rotation;
mod server_rights;
mod staff;
mod steps;
mod tables_of_ours;
mod times;
mod tokens;
mod users;

#[expect(dead_code, reason = "much of it is for the tests of our binary alone")]
#[path = "../it/support/mod.rs"]
mod support;
