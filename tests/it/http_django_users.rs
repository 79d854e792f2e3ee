//! Logins of the users of a Django project (`users = "django"`), and what keeps such a server from starting.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rocket::{get, routes};
use rocket_simplejwt::settings::{Secret, Settings, UsersKind};
use rocket_simplejwt::{
    Authenticator, AuthenticatorError, Credentials, CurrentUser, DjangoUser, Simplejwt, async_trait, token_routes,
};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::Reply;
use crate::support::database::Kind;
use crate::support::mint::{KEY, claims, payload};
use crate::support::now;
use crate::support::server::{PASSWORD, Pair, Server};
use crate::support::unique;

/// What Django's migrations make, as far as it is of use here: its users, and simplejwt's two tables.
const DJANGO: &str = "
    CREATE TABLE django_migrations (id SERIAL, app varchar(255) NOT NULL, name varchar(255) NOT NULL, applied INSTANT NOT NULL);
    CREATE TABLE auth_user (id INT_SERIAL, password varchar(128) NOT NULL, last_login INSTANT NULL,
        is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE, last_name varchar(150) NOT NULL,
        email varchar(254) NOT NULL, is_staff bool NOT NULL, is_active bool NOT NULL, date_joined INSTANT NOT NULL,
        first_name varchar(150) NOT NULL);
    CREATE TABLE token_blacklist_outstandingtoken (
        token LONG_TEXT NOT NULL, created_at INSTANT NULL, expires_at INSTANT NOT NULL,
        user_id integer NULL, jti varchar(255) NOT NULL UNIQUE, id SERIAL,
        CONSTRAINT user_fk FOREIGN KEY (user_id) REFERENCES auth_user (id) DEFERRED);
    CREATE TABLE token_blacklist_blacklistedtoken (
        blacklisted_at INSTANT NOT NULL, token_id bigint NOT NULL UNIQUE, id SERIAL,
        CONSTRAINT token_fk FOREIGN KEY (token_id) REFERENCES token_blacklist_outstandingtoken (id) DEFERRED);
";

/// The same with a user model of the project's own, which knows an address and no name, and a UUID as its key.
const PEOPLE: &str = "
    CREATE TABLE accounts_person (password varchar(128) NOT NULL, last_login INSTANT NULL,
        id UUID NOT NULL PRIMARY KEY, mail varchar(254) NOT NULL UNIQUE);
    CREATE TABLE token_blacklist_outstandingtoken (
        token LONG_TEXT NOT NULL, created_at INSTANT NULL, expires_at INSTANT NOT NULL,
        user_id UUID NULL, jti varchar(255) NOT NULL UNIQUE, id SERIAL,
        CONSTRAINT user_fk FOREIGN KEY (user_id) REFERENCES accounts_person (id) DEFERRED);
    CREATE TABLE token_blacklist_blacklistedtoken (
        blacklisted_at INSTANT NOT NULL, token_id bigint NOT NULL UNIQUE, id SERIAL,
        CONSTRAINT token_fk FOREIGN KEY (token_id) REFERENCES token_blacklist_outstandingtoken (id) DEFERRED);
";

/// [`PASSWORD`] as Django 5.2 stores it, with few iterations, and the MD5 of that.
const HASH: &str = "pbkdf2_sha256$1000$saltySalt42$mEsJdS3n/q4yagqsHyEdBRfdS3mjFhe573HVV29pGYY=";
const DIGEST: &str = "5ED824F10EB0271DC100AB38C5957212";

/// The same by every hasher, with Django's own parameters where that is a matter of a second.
const HASHES: [&str; 8] = [
    HASH,
    "pbkdf2_sha256$1000000$k63g9hkLRwjKDf6kJ8eA76$48LNVsYCt3r3vSWDqKvPuq5GKz97++e4zHFQiDQUkJQ=",
    "pbkdf2_sha1$1000000$B6Fd4aW27tNOYyPAirNcQg$YoOXqsZhezlodjeyAty4+XqLESg=",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$bmttMDN6Vk9NM0kxQWFrRnNrWFpIdA$HmD8AyN37e/bsFKAfGVASGJOKpTjuwhm1aU8IxZHXAk",
    "argon2$argon2i$v=19$m=512,t=2,p=2$c2FsdHlTYWx0NDI$Cm7cjp7hUpaeWD9COvZ/6qHd3t5HtwD+EABL19Rm1ww",
    "bcrypt_sha256$$2b$12$wGFqozd18jjS9BOC.RGesejLACfamgiJp9kcpdOHYUfAvL2e.ioRC",
    "bcrypt$$2b$12$VnyK8allU6rIrZbH6yKQSOKdZSLQF0cPeFGBL21exy.SiIIJkmTkK",
    "scrypt$16384$a0Fj9W46nXLHlUnNfVgzD6$8$5$\
     scK836QFYMrrwFF7hCJPZP5jpdj7ig77Cn0AX2begtAK9jYl3rMIb/nnrfOTMnyqdnZDOyAReRez2G2bKVaGQw==",
];

/// A server of a project, with default settings.
static SERVER: LazyLock<Server> = LazyLock::new(|| project().start());

/// A database as Django's migrations leave it. Nothing runs yet.
fn untouched(tables: &str) -> Server {
    let server = Server::new();
    if server.test_database().kind() == Kind::Sqlite {
        std::fs::write(server.database_path(), "").expect("an empty database");
    }
    server.database().execute(&server.test_database().kind().djangos(tables));
    server
}

/// The same with our tables.
fn database(tables: &str) -> Server {
    let server = untouched(tables);
    let migrated = server.cli(&["migrate"]);
    assert!(migrated.success(), "{migrated:?}");
    server
}

/// A project that takes Django's users, one of them `ada`.
fn project() -> Server {
    let server = database(DJANGO).set("users", "\"django\"");
    add(&server, "ada", HASH);
    server
}

/// Adds a user as Django does, and returns the id.
fn add(server: &Server, name: &str, hash: &str) -> String {
    let mut database = server.database();
    database.execute(&format!(
        "INSERT INTO auth_user (password, is_superuser, username, last_name, email, is_staff, is_active, date_joined, \
         first_name) VALUES ('{hash}', '0', '{name}', '', '{name}@example.org', '0', '1', '2026-01-01 00:00:00', '')"
    ));
    database.strings(&format!("SELECT id FROM auth_user WHERE username = '{name}'")).concat()
}

/// What Django does before it deletes a user.
fn disown(server: &Server, name: &str) {
    server.database().execute(&format!(
        "UPDATE token_blacklist_outstandingtoken SET user_id = NULL \
         WHERE user_id = (SELECT id FROM auth_user WHERE username = '{name}')"
    ));
}

/// Adds a user whom no other test knows.
fn another_user() -> String {
    let name = unique("user");
    add(&SERVER, &name, HASH);
    name
}

fn obtain(server: &Server, name: &str, password: &str) -> Reply {
    server.client().post_json("/api/token/", &json!({"username": name, "password": password}))
}

fn refresh(server: &Server, token: &str) -> Reply {
    server.client().post_json("/api/token/refresh/", &json!({ "refresh": token }))
}

fn bad_credentials() -> Value {
    json!({"detail": "No active account found with the given credentials"})
}

fn no_active_account() -> Value {
    json!({"detail": "No active account found for the given token."})
}

/// Waits until the log holds this.
fn await_log(server: &Server, text: &str) {
    let end = Instant::now() + Duration::from_secs(10);
    while !server.log().contains(text) {
        assert!(Instant::now() < end, "no {text:?} in {}", server.log());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_password_of_every_hasher_logs_in_and_no_other_does() {
    for hash in HASHES {
        let name = unique("user");
        let id = add(&SERVER, &name, hash);
        let Pair { access, refresh } = SERVER.login(&name);
        assert_eq!(payload(&access)["user_id"], id.as_str(), "{hash}");
        assert_eq!(SERVER.client().get("/api/token/whoami/", Some(&access)).status, 200, "{hash}");
        let jti = crate::support::mint::jti(&refresh);
        let whose = SERVER
            .database()
            .value(&format!("SELECT user_id FROM token_blacklist_outstandingtoken WHERE jti = '{jti}'"));
        assert_eq!(whose, Some(id), "as Django records it");
        for wrong in ["x", "correct horse battery stapl", &format!("{PASSWORD} ")] {
            obtain(&SERVER, &name, wrong).assert(401, &bad_credentials());
        }
    }
}

#[test]
fn what_is_no_password_logs_nobody_in_and_is_not_shown() {
    for (hash, said) in [
        ("!Vl0XFbAJdmpJNEoANHn3fFWu63vwlymg5R5OMMUl", None),
        ("md5$zjX4jOU4vY8RwCv3Gdwy2p$8dfef1c9edcc21c5d9ebf9fbc2b58d38", Some("the hasher md5 is not supported")),
        ("correct horse battery staple", Some("not in the form of any of Django's hashers")),
        ("pbkdf2_sha256$many$saltySalt42$Zm9v", Some("no well-formed hash of pbkdf2_sha256")),
        (
            "scrypt$1073741824$saltySalt42$8$5$VXunMdseEVXP2rM2ehl3xqQxxDOKRnEvTVGQp8KfoyD+ExvrCdaL6jWkP9XhnYJolzPxZ/dMizCCbwp3htmfhQ==",
            Some("for scrypt take too much"),
        ),
    ] {
        let name = unique("user");
        add(&SERVER, &name, hash);
        obtain(&SERVER, &name, PASSWORD).assert(401, &bad_credentials());
        obtain(&SERVER, &name, hash).assert(401, &bad_credentials());
        if let Some(said) = said {
            await_log(&SERVER, said);
        }
        assert!(!SERVER.log().contains(hash), "{}", SERVER.log());
    }
}

#[test]
fn an_unknown_name_and_an_inactive_user_are_refused_alike() {
    let inactive = another_user();
    SERVER.database().execute(&format!("UPDATE auth_user SET is_active = '0' WHERE username = '{inactive}'"));
    for name in [&inactive, &unique("nobody"), "ADA", "ada@example.org", "a' OR '1'='1"] {
        obtain(&SERVER, name, PASSWORD).assert(401, &bad_credentials());
    }
}

#[test]
fn inactive_users_log_in_where_nobody_checks() {
    let server = project().set("check_user_is_active", "false").start();
    server.database().execute("UPDATE auth_user SET is_active = '0'");
    let pair = server.login("ada");
    assert_eq!(refresh(&server, &pair.refresh).status, 200);
}

#[test]
fn a_login_is_noted_where_it_is_asked_to() {
    let last_login =
        &format!("SELECT {} FROM auth_user WHERE username = 'ada'", SERVER.database().seconds("last_login"));
    SERVER.login("ada");
    assert_eq!(SERVER.database().value(last_login), None);

    let server = project().set("update_last_login", "true").start();
    obtain(&server, "ada", "wrong").assert(401, &bad_credentials());
    assert_eq!(server.database().value(last_login), None, "a failed login is none");
    let before = now();
    let pair = server.login("ada");
    let noted = server.database().number(last_login);
    assert!((before..=now()).contains(&noted), "{noted}");
    let written = server.database().strings("SELECT last_login FROM auth_user").concat();
    assert!(written.len() >= 19 && written.as_bytes()[10] == b' ', "no letter between date and time: {written}");
    server.database().execute("UPDATE auth_user SET last_login = NULL");
    assert_eq!(refresh(&server, &pair.refresh).status, 200);
    assert_eq!(server.database().value(last_login), None, "a refresh is no login");
}

#[test]
fn a_user_who_was_disabled_or_deleted_refreshes_no_more() {
    for change in ["UPDATE auth_user SET is_active = '0'", "DELETE FROM auth_user"] {
        let name = another_user();
        let pair = SERVER.login(&name);
        let rotated = refresh(&SERVER, &pair.refresh);
        assert_eq!(rotated.status, 200, "{rotated:?}");
        disown(&SERVER, &name);
        SERVER.database().execute(&format!("{change} WHERE username = '{name}'"));
        refresh(&SERVER, &rotated.string("refresh")).assert(401, &no_active_account());
        let access = rotated.string("access");
        assert_eq!(SERVER.client().get("/api/token/whoami/", Some(&access)).status, 200, "reads no user");
    }
}

#[test]
fn a_claim_that_names_nobody_is_refused() {
    for id in ["999999", "x", "99999999999999999999", "0b0f58ea-2d0c-4b5c-9d3c-8f3f2a1d4e77"] {
        let token = claims("refresh").with("user_id", id);
        SERVER.database().record_row(token.jti(), now() + 300, "NULL");
        refresh(&SERVER, &token.sign()).assert(401, &no_active_account());
    }
}

#[test]
fn a_token_dies_with_the_password_as_simplejwts_do() {
    let server = project().set("check_revoke_token", "true").start();
    let pair = server.login("ada");
    for token in [&pair.access, &pair.refresh] {
        assert_eq!(payload(token)["hash_password"], DIGEST);
    }
    // A token of Django, which never was here.
    let django = claims("refresh").with("hash_password", DIGEST);
    server.database().record_as_django(&django);
    let refreshed = refresh(&server, &django.sign());
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_eq!(payload(&refreshed.string("refresh"))["hash_password"], DIGEST);

    server.database().execute(&format!("UPDATE auth_user SET password = '{}'", HASHES[4]));
    let changed = json!({"detail": "The user's password has been changed."});
    for token in [&pair.refresh, &refreshed.string("refresh")] {
        refresh(&server, token).assert(401, &changed);
        refresh(&server, token).assert_not_valid("Token is blacklisted");
    }
    let again = server.login("ada");
    assert_eq!(refresh(&server, &again.refresh).status, 200);
}

#[test]
fn a_user_model_of_its_own_with_a_uuid_and_no_name() {
    const UUID: &str = "0b0f58ea-2d0c-4b5c-9d3c-8f3f2a1d4e77";
    let columns = "{ username = \"\", email = \"mail\", is_active = \"\" }";
    let server = database(PEOPLE)
        .set("users", "\"django\"")
        .set("django_user_table", "\"accounts_person\"")
        .set("django_user_columns", columns)
        .set("username_field", "\"email\"")
        .set("update_last_login", "true");
    let stored = UUID.replace('-', "");
    server.database().execute(&format!(
        "INSERT INTO accounts_person (password, id, mail) VALUES ('{HASH}', '{stored}', 'ada@example.org')"
    ));
    let server = server.start();
    let login =
        |address: &str| server.client().post_json("/api/token/", &json!({"email": address, "password": PASSWORD}));
    login("eva@example.org").assert(401, &bad_credentials());
    let reply = login("ada@example.org");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(payload(&reply.string("refresh"))["user_id"], UUID, "as Django writes it");
    assert_eq!(server.database().count("accounts_person WHERE last_login IS NOT NULL"), 1);
    assert_eq!(server.database().count(&format!("token_blacklist_outstandingtoken WHERE user_id = '{stored}'")), 1);
    let refreshed = refresh(&server, &reply.string("refresh"));
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    for spelling in [stored.as_str(), UUID] {
        let token = claims("refresh").with("user_id", spelling);
        server.database().record_row(token.jti(), now() + 300, "NULL");
        assert_eq!(refresh(&server, &token.sign()).status, 200, "{spelling}");
    }
}

#[test]
fn the_claim_may_hold_the_name_or_the_address() {
    for (field, claim) in [("username", "ada"), ("email", "ada@example.org")] {
        let server = project().set("user_id_field", &format!("{field:?}")).start();
        let pair = server.login("ada");
        assert_eq!(payload(&pair.access)["user_id"], claim);
        assert_eq!(refresh(&server, &pair.refresh).status, 200);
        assert_eq!(server.database().count("token_blacklist_outstandingtoken WHERE user_id = 1"), 2, "by its key");
    }
}

#[test]
fn a_table_or_column_that_is_not_there_keeps_the_server_from_starting() {
    for (name, value, said) in [
        ("django_user_table", "\"users\"", "setting `django_user_table`: the database has no table 'users'"),
        (
            "django_user_columns",
            "{ email = \"mail\" }",
            "setting `django_user_columns`: the table 'auth_user' has no column 'mail'",
        ),
        ("django_user_columns", "{ mail = \"mail\" }", "mail"),
        ("django_user_table", "\"auth user\"", "setting `django_user_table`"),
        ("django_user_columns", "{ username = \"\" }", "setting `django_user_columns`: `username` must not be empty"),
        ("user_id_field", "\"uid\"", "setting `user_id_field`: the users have no field 'uid'"),
        ("users", "\"djang\"", "`users`: expected one of builtin, django"),
    ] {
        let server = untouched(DJANGO).set("users", "\"django\"").set(name, value);
        let output = server.cli(&["serve", "--port", "0"]);
        assert_eq!(output.code(), 2, "{output:?}");
        assert!(output.stderr.contains(said), "{output:?}");
        let tables = server.test_database().connect().tables();
        let ours = tables.iter().any(|name| name.starts_with("simplejwt_"));
        assert!(!ours, "no table of ours in what may be the wrong database: {tables:?}");
    }
}

#[test]
fn no_database_is_made_for_users_that_it_could_not_have() {
    let server = Server::new().set("users", "\"django\"");
    let output = server.cli(&["serve", "--port", "0"]);
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(!server.has_database());
}

#[test]
fn commands_that_need_no_user_work_without_the_table() {
    let server = project().set("django_user_table", "\"gone\"");
    for command in [&["flushexpiredtokens"][..], &["status"], &["blacklist", "x"]] {
        let output = server.cli(command);
        assert_eq!(output.code(), 0, "{output:?}");
    }
}

struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    type User = DjangoUser;

    async fn authenticate(&self, _: &Credentials) -> Result<Option<DjangoUser>, AuthenticatorError> {
        Ok(None)
    }

    async fn user_by_claim(&self, _: &str) -> Result<Option<DjangoUser>, AuthenticatorError> {
        Ok(None)
    }
}

#[test]
fn an_applications_authenticator_wins() {
    let app = App::launch("users = \"django\"", |rocket| {
        rocket.attach(Simplejwt::fairing().authenticator(Nobody)).mount("/api/token", token_routes())
    });
    let credentials = json!({"username": "ada", "password": PASSWORD});
    app.client().post_json("/api/token/", &credentials).assert(401, &bad_credentials());
}

#[get("/me")]
fn me(user: CurrentUser<DjangoUser>) -> String {
    format!("{} {:?} {:?} {}", user.id, user.username, user.email, user.is_active)
}

#[test]
fn an_application_gets_djangos_user() {
    let server = project().start();
    let mut settings = Settings::default();
    settings.users = Some(UsersKind::Django);
    settings.database_url = Some(server.test_database().url());
    settings.signing_key = Some(Secret::new(str::from_utf8(KEY).expect("an ASCII key")));
    let app = App::launch("", |rocket| rocket.attach(Simplejwt::fairing().settings(settings)).mount("/", routes![me]));
    let pair = server.login("ada");
    let reply = app.client().get("/me", Some(&pair.access));
    assert_eq!((reply.status, reply.text.as_str()), (200, "1 Some(\"ada\") Some(\"ada@example.org\") true"));
    server.database().execute("UPDATE auth_user SET is_active = '0'");
    let inactive = app.client().get("/me", Some(&pair.access));
    inactive.assert(401, &json!({"detail": "User is inactive", "code": "user_inactive"}));
    disown(&server, "ada");
    server.database().execute("DELETE FROM auth_user");
    let gone = app.client().get("/me", Some(&pair.access));
    gone.assert(401, &json!({"detail": "User not found", "code": "user_not_found"}));
}

#[test]
fn the_users_are_managed_in_django() {
    let server = Server::new().set("users", "\"django\"");
    for command in
        [&["add", "eva"][..], &["list"], &["passwd", "ada"], &["disable", "ada"], &["remove", "ada", "--yes"]]
    {
        let arguments = [&["users"], command].concat();
        let output = server.cli_stdin(&arguments, "password\n");
        assert_eq!((output.code(), output.stdout.as_str()), (2, ""), "{output:?}");
        assert!(output.stderr.contains("managed in Django"), "{output:?}");
        assert!(output.stderr.contains("manage.py createsuperuser"), "{output:?}");
    }
    assert!(!server.has_database());
}

#[test]
fn a_server_on_djangos_database_does_not_start_before_it_knows_whose_users_log_in() {
    let mut server = database(DJANGO);
    for arguments in [&["serve", "--port", "0"][..], &["users", "add", "ada"]] {
        let output = server.cli_stdin(arguments, &format!("{PASSWORD}\n"));
        assert_eq!(output.code(), 2, "{output:?}");
        assert!(output.stderr.contains("set `users = \"django\"`"), "{output:?}");
    }
    assert_eq!(server.database().count("simplejwt_user"), 0);
    server.change("users", "\"builtin\"");
    server.add_user("ada", PASSWORD);
    let server = server.start();
    await_log(&server, "share their ids");
    server.login("ada");
}
