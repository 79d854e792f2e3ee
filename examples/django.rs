//! A Rocket application on the database of a Django project: the same users, the same tokens, the same blacklist.
//!
//! The setting `users = "django"` does the same without a line of code, and knows every hasher and user model. This is for
//! whoever wants more of a user than that, or decides otherwise who may log in: an `Authenticator` on Django's own table, by
//! Diesel, on SQLite.
//!
//! Run it in the directory of the Django project, beside `db.sqlite3`. Once, and with `simplejwt` standing for
//! `cargo run --manifest-path …/Cargo.toml --`:
//!
//! ```text
//! python manage.py shell -v 0 -c 'from django.conf import settings; print(settings.SECRET_KEY)' > django.key
//! chmod 600 django.key
//! simplejwt --database-url sqlite://db.sqlite3 migrate
//! ```
//!
//! Then, with the name and password of a Django user:
//!
//! ```text
//! cargo run --manifest-path …/Cargo.toml --example django
//! curl -d username=ada -d password=lovelace http://127.0.0.1:8000/api/token/
//! curl -H "Authorization: Bearer $ACCESS" http://127.0.0.1:8000/me
//! ```
//!
//! Tokens that Django's simplejwt issues do as well as these, and each side refuses what the other has blacklisted. See
//! `docs/django.md`.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::error::Error;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use rocket::tokio::task::spawn_blocking;
use rocket::{get, routes};
use rocket_simplejwt::settings::Settings;
use rocket_simplejwt::{
    AuthUser, Authenticator, AuthenticatorError, Credentials, CurrentUser, Simplejwt, token_routes,
};

diesel::table! {
    /// Django's own users; as many of its columns as are needed.
    auth_user (id) {
        /// The key, which goes into the tokens.
        id -> Integer,
        /// What a user logs in with.
        username -> Text,
        /// `pbkdf2_sha256$rounds$salt$hash`, unless the project chose another hasher.
        password -> Text,
        /// Whether the user may log in.
        is_active -> Bool,
    }
}

/// A user of the Django project.
#[derive(Queryable, Selectable)]
#[diesel(table_name = auth_user)]
struct DjangoUser {
    id: i32,
    username: String,
    password: String,
    is_active: bool,
}

impl AuthUser for DjangoUser {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn is_active(&self) -> bool {
        self.is_active
    }
}

struct DjangoUsers(Pool<ConnectionManager<SqliteConnection>>);

impl DjangoUsers {
    /// Runs `work` on a thread that may wait, as Diesel and PBKDF2 do.
    async fn ask<T, F>(&self, work: F) -> Result<T, AuthenticatorError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let pool = self.0.clone();
        let answer = spawn_blocking(move || {
            let mut connection = pool.get().map_err(AuthenticatorError::new)?;
            work(&mut connection).map_err(AuthenticatorError::new)
        });
        answer.await.map_err(AuthenticatorError::new)?
    }
}

#[rocket::async_trait]
impl Authenticator for DjangoUsers {
    type User = DjangoUser;

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<DjangoUser>, AuthenticatorError> {
        let Credentials { username, password } = credentials.clone();
        let query = auth_user::table.filter(auth_user::username.eq(username)).select(DjangoUser::as_select());
        self.ask(move |connection| {
            let found = query.first(connection).optional()?;
            let right = is_password(&password, found.as_ref().map_or(NOBODY, |user| &user.password));
            Ok(found.filter(|_| right))
        })
        .await
    }

    async fn user_by_claim(&self, claim: &str) -> Result<Option<DjangoUser>, AuthenticatorError> {
        let Ok(id) = claim.parse::<i32>() else { return Ok(None) };
        let query = auth_user::table.find(id).select(DjangoUser::as_select());
        self.ask(move |connection| query.first(connection).optional()).await
    }
}

/// The hash of no password, so that an unknown name takes as long as a wrong password. As many rounds as Django 5.2 has.
const NOBODY: &str = "pbkdf2_sha256$1000000$nobody$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Whether this is the password behind a hash of Django's default hasher.
fn is_password(password: &str, stored: &str) -> bool {
    let parts: Vec<_> = stored.split('$').collect();
    let ["pbkdf2_sha256", rounds, salt, hash] = parts[..] else { return false };
    let (Ok(rounds), Ok(hash)) = (rounds.parse::<NonZeroU32>(), STANDARD.decode(hash)) else { return false };
    let (salt, password) = (salt.as_bytes(), password.as_bytes());
    pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password, &hash).is_ok()
}

#[get("/me")]
fn me(user: CurrentUser<DjangoUser>) -> String {
    format!("You are {}, as Django knows you.\n", user.username)
}

#[rocket::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::default();
    settings.database_url = Some("sqlite://db.sqlite3".into());
    settings.signing_key_file = Some("django.key".into());

    let users = DjangoUsers(Pool::new(ConnectionManager::new("db.sqlite3"))?);
    rocket::build()
        .attach(Simplejwt::fairing().settings(settings).authenticator(users))
        .mount("/api/token", token_routes())
        .mount("/", routes![me])
        .launch()
        .await?;
    Ok(())
}
