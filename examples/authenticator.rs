//! An application with users of its own: a Diesel table in a database and a pool of its own, and passwords hashed with
//! Argon2. Handlers get the application's own type, [`Person`].
//!
//! ```text
//! cargo run --example authenticator
//! ```
//!
//! It makes `people.sqlite3` in the working directory, beside the ledger, with the users `ada` (password `lovelace`) and
//! `charles` (password `babbage`), whose account is locked. Then try:
//!
//! ```text
//! curl -d username=ada -d password=lovelace http://127.0.0.1:8000/api/token/
//! curl -d username=charles -d password=babbage http://127.0.0.1:8000/api/token/
//! curl -H "Authorization: Bearer $ACCESS" http://127.0.0.1:8000/me
//! curl -X POST -H "Authorization: Bearer $ACCESS" http://127.0.0.1:8000/lock
//! curl -H "Authorization: Bearer $ACCESS" http://127.0.0.1:8000/me
//! ```
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::error::Error;

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use rocket::serde::Serialize;
use rocket::serde::json::Json;
use rocket::tokio::task::spawn_blocking;
use rocket::{State, get, post, routes};
use rocket_simplejwt::settings::{Secret, Settings};
use rocket_simplejwt::token::generate_key;
use rocket_simplejwt::users::Passwords;
use rocket_simplejwt::{
    AuthUser, Authenticator, AuthenticatorError, Credentials, CurrentUser, Simplejwt, token_routes,
};

diesel::table! {
    /// The users of this application.
    person (id) {
        /// The key, which goes into the tokens.
        id -> Integer,
        /// What a user logs in with.
        name -> Text,
        /// The hash of the password.
        password -> Text,
        /// Whether the account is locked.
        locked -> Bool,
    }
}

/// A user, as this application knows one.
#[derive(Clone, Queryable, Selectable, Serialize)]
#[diesel(table_name = person)]
#[serde(crate = "rocket::serde")]
struct Person {
    id: i32,
    name: String,
    #[serde(skip)]
    password: String,
    locked: bool,
}

impl AuthUser for Person {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn is_active(&self) -> bool {
        !self.locked
    }
}

/// Where the users are. Nothing here is special to SQLite: it could be any database that Diesel knows.
#[derive(Clone)]
struct People {
    pool: Pool<ConnectionManager<SqliteConnection>>,
    passwords: Passwords,
}

impl People {
    /// Opens the database, and fills it if it is empty.
    async fn open() -> Result<Self, Box<dyn Error>> {
        let people =
            Self { pool: Pool::new(ConnectionManager::new("people.sqlite3"))?, passwords: Passwords::default() };
        let make = "CREATE TABLE IF NOT EXISTS person (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, \
                    password TEXT NOT NULL, locked BOOLEAN NOT NULL)";
        people.ask(move |connection| diesel::sql_query(make).execute(connection)).await?;
        for (name, password, locked) in [("ada", "lovelace", false), ("charles", "babbage", true)] {
            let hash = people.passwords.hash(password).await?;
            let row = (person::name.eq(name), person::password.eq(hash), person::locked.eq(locked));
            people
                .ask(move |connection| diesel::insert_or_ignore_into(person::table).values(row).execute(connection))
                .await?;
        }
        Ok(people)
    }

    /// Lends a connection to `work` on a thread that may wait, as Diesel does.
    async fn ask<T, F>(&self, work: F) -> Result<T, AuthenticatorError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let pool = self.pool.clone();
        let answer = spawn_blocking(move || {
            let mut connection = pool.get().map_err(AuthenticatorError::new)?;
            work(&mut connection).map_err(AuthenticatorError::new)
        });
        answer.await.map_err(AuthenticatorError::new)?
    }

    async fn set_locked(&self, id: i32, locked: bool) -> Result<usize, AuthenticatorError> {
        let change = diesel::update(person::table.find(id)).set(person::locked.eq(locked));
        self.ask(|connection| change.execute(connection)).await
    }
}

#[rocket::async_trait]
impl Authenticator for People {
    type User = Person;

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Person>, AuthenticatorError> {
        let query = person::table.filter(person::name.eq(credentials.username.clone())).select(Person::as_select());
        let found = self.ask(|connection| query.first(connection).optional()).await?;
        // Also where nobody has that name: the answer then takes as long as one to a wrong password.
        let stored = found.as_ref().map(|person| person.password.clone());
        let right = self.passwords.verify(&credentials.password, stored).await.map_err(AuthenticatorError::new)?;
        Ok(found.filter(|_| right))
    }

    async fn user_by_claim(&self, claim: &str) -> Result<Option<Person>, AuthenticatorError> {
        let Ok(id) = claim.parse::<i32>() else { return Ok(None) };
        let query = person::table.find(id).select(Person::as_select());
        self.ask(move |connection| query.first(connection).optional()).await
    }
}

#[get("/me")]
fn me(user: CurrentUser<Person>) -> Json<Person> {
    Json(user.clone())
}

/// Locks the account of whoever asks. From then on the user can neither log in nor refresh, and `CurrentUser` refuses the
/// tokens that are there already.
#[post("/lock")]
async fn lock(user: CurrentUser<Person>, people: &State<People>) -> Result<&'static str, rocket::http::Status> {
    match people.set_locked(user.id, true).await {
        Ok(_) => Ok("locked\n"),
        Err(_) => Err(rocket::http::Status::ServiceUnavailable),
    }
}

#[rocket::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A key of this moment: every token dies with the process. A real application leaves `settings` out, and names the file
    // of its key in Rocket.toml: `[default.simplejwt]`, `signing_key_file = "jwt.key"`.
    let mut settings = Settings::default();
    settings.signing_key = generate_key(settings.algorithm).map(Secret::new);

    let people = People::open().await?;
    rocket::build()
        .attach(Simplejwt::fairing().settings(settings).authenticator(people.clone()))
        .manage(people)
        .mount("/api/token", token_routes())
        .mount("/", routes![me, lock])
        .launch()
        .await?;
    Ok(())
}
