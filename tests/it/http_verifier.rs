//! A service that only verifies, with the right to read the database and no other: what is revoked at the primary is refused there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rocket::error::ErrorKind;
use rocket_simplejwt::service::OpenMode;
use rocket_simplejwt::settings::{Secret, Settings};
use rocket_simplejwt::{Issue, Refusal, Simplejwt, account_routes, admin_routes, token_routes};
use serde_json::json;

use crate::support::app::{App, configuration};
use crate::support::attack::PrivateKey;
use crate::support::client::{Client, Reply};
use crate::support::database::{Database, Kind};
use crate::support::mint::{KEY, claims, jti};
use crate::support::server::Server;

/// The example, as an application of ours.
#[path = "../../examples/verifier.rs"]
#[expect(dead_code, reason = "its main function is not called")]
mod example;

/// What a verifier reads, as it stands in docs/databases.md.
const READ: [&str; 8] = [
    "__diesel_schema_migrations",
    "token_blacklist_outstandingtoken",
    "token_blacklist_blacklistedtoken",
    "simplejwt_token",
    "simplejwt_session",
    "simplejwt_cutoff",
    "simplejwt_revocation",
    "simplejwt_revocation_state",
];

/// Within what time a verifier must refuse what was revoked: the bound, and time for a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(5);

/// An account that may read, as long as this is there.
struct Reader {
    url: String,
    kind: Kind,
    name: String,
    administrator: Database,
}

impl Reader {
    fn of(server: &Server) -> Self {
        let (kind, url) = (server.test_database().kind(), server.test_database().url());
        let name = format!("reader_{}", &crate::support::unique("x")[2..14]);
        let mut administrator = server.database();
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let url = match kind {
            // The file is opened to be read, whoever does it.
            Kind::Sqlite => url.clone(),
            Kind::Postgres | Kind::Mysql => format!("{scheme}://{name}:pw@{place}"),
        };
        match kind {
            Kind::Sqlite => {}
            Kind::Postgres => {
                administrator.execute(&format!("CREATE ROLE {name} LOGIN PASSWORD 'pw'"));
                administrator.execute(&format!("GRANT SELECT ON {} TO {name}", READ.join(", ")));
            }
            Kind::Mysql => {
                let database = administrator.value("SELECT DATABASE()").expect("a database");
                for host in ["%", "localhost"] {
                    administrator.execute(&format!("CREATE USER {name}@'{host}' IDENTIFIED BY 'pw'"));
                    for table in READ.iter().chain(&["simplejwt_inbox"]) {
                        administrator.execute(&format!("GRANT SELECT ON {database}.{table} TO {name}@'{host}'"));
                    }
                }
            }
        }
        Self { url, kind, name, administrator }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let name = &self.name;
        let statements = match self.kind {
            Kind::Sqlite => vec![],
            Kind::Postgres => vec![format!("DROP OWNED BY {name}"), format!("DROP ROLE {name}")],
            Kind::Mysql => ["%", "localhost"].iter().map(|host| format!("DROP USER {name}@'{host}'")).collect(),
        };
        for statement in statements {
            drop(self.administrator.try_execute(&statement));
        }
    }
}

/// A service that issues, and one beside it that only verifies.
fn services(blacklist: &str) -> (Server, Server, Reader) {
    let primary = Server::new().set("blacklist", r#""cached""#).start_with_ada();
    let reader = Reader::of(&primary);
    let verifier = primary.beside(&reader.url, &["--verify-only"]).set("blacklist", &format!("{blacklist:?}")).start();
    (primary, verifier, reader)
}

fn whoami(client: Client, token: &str) -> Reply {
    client.get("/api/token/whoami/", Some(token))
}

#[track_caller]
fn assert_soon(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON);
        sleep(Duration::from_millis(10));
    }
}

fn what_is_revoked_at_the_primary_is_refused(blacklist: &str) {
    let (primary, verifier, _reader) = services(blacklist);
    let status = |token: &str| whoami(verifier.client(), token).status;
    // By HTTP: the access token goes with its session, and so does the refresh token.
    let pair = primary.login("ada");
    let verify = |token: &str| verifier.client().post_json("/api/token/verify/", &json!({ "token": token })).status;
    assert_eq!((status(&pair.access), verify(&pair.access), verify(&pair.refresh)), (200, 200, 200));
    primary.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
    assert_soon(|| status(&pair.access) == 401);
    assert_eq!((verify(&pair.access), verify(&pair.refresh)), (401, 401));
    // By the command line, and back.
    let token = claims("access").with("user_id", primary.user_id("ada"));
    let text = token.sign();
    assert_eq!(status(&text), 200);
    assert!(primary.cli(&["blacklist", token.jti(), "--expires-at", "2099-01-01T00:00:00Z"]).success());
    assert_soon(|| status(&text) == 401);
    assert!(primary.cli(&["unblacklist", token.jti()]).success());
    assert_soon(|| status(&text) == 200);
    // By Django, with nobody there who could put the log in order.
    let mut primary = primary;
    let pair = primary.login("ada");
    assert_eq!(status(&pair.access), 200);
    primary.kill9();
    primary.database().blacklist_as_django(&jti(&pair.refresh));
    assert_soon(|| status(&pair.access) == 401);
}

#[test]
fn what_is_revoked_at_the_primary_is_refused_from_memory() {
    what_is_revoked_at_the_primary_is_refused("cached");
}

#[test]
fn what_is_revoked_at_the_primary_is_refused_by_asking() {
    what_is_revoked_at_the_primary_is_refused("database");
}

#[test]
fn it_has_no_route_that_issues_or_revokes_and_says_what_it_is() {
    let (primary, verifier, _reader) = services("cached");
    let pair = primary.login("ada");
    for path in ["", "refresh/", "sliding/", "sliding/refresh/", "blacklist/"] {
        let body = json!({ "username": "ada", "password": crate::support::server::PASSWORD, "refresh": pair.refresh });
        let reply = verifier.client().post_json(&format!("/api/token/{path}"), &body);
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
    }
    let ready = verifier.client().get("/health/ready", None);
    assert_eq!(ready.status, 200);
    assert_eq!((&ready.json()["status"], &ready.json()["role"]), (&json!("ready"), &json!("verifier")));
    assert!(primary.client().get("/health/ready", None).json().get("role").is_none());
    assert_eq!(whoami(primary.client(), &pair.access).status, 200, "none of that revoked anything");
}

#[test]
fn it_says_when_the_log_does_not_tell_of_everything_and_asks_the_database_then() {
    let mut primary = Server::new().set("blacklist", r#""cached""#).start_with_ada();
    let [pair, other] = [(); 2].map(|()| primary.login("ada"));
    let reader = Reader::of(&primary);
    // Who mends it is away.
    primary.kill9();
    let mut database = primary.database();
    database.execute(match reader.kind {
        Kind::Postgres => "ALTER TABLE token_blacklist_blacklistedtoken DISABLE TRIGGER simplejwt_blacklisted",
        Kind::Sqlite | Kind::Mysql => "DROP TRIGGER simplejwt_blacklisted_insert",
    });
    let verifier = primary.beside(&reader.url, &["--verify-only"]).set("blacklist", r#""cached""#).start();
    assert_eq!(whoami(verifier.client(), &pair.access).status, 200);
    let ready = verifier.client().get("/health/ready", None).json();
    // To a reader on MariaDB and MySQL no trigger is there.
    let sees = reader.kind != Kind::Mysql;
    let told = &ready["blacklist"];
    assert_eq!((&told["trigger_faults"], &told["believed"]), (&json!(u8::from(sees)), &json!(!sees)), "{ready}");
    assert_eq!(ready["status"], "ready");
    if sees {
        database.blacklist_as_django(&jti(&pair.refresh));
        assert_eq!(whoami(verifier.client(), &pair.access).status, 401, "nobody told, and it is refused");
        assert_eq!(whoami(verifier.client(), &other.access).status, 200);
        assert!(verifier.log().contains("simplejwt_blacklisted"), "{}", verifier.log());
    }
}

#[test]
fn it_writes_nothing() {
    let mut primary = Server::new().set("blacklist", r#""cached""#).start_with_ada();
    // With all rights, so that nothing but itself keeps it from writing.
    let mut verifier = primary.beside(&primary.test_database().url(), &["--verify-only"]).start();
    let (pair, gone) = (primary.login("ada"), primary.login("ada"));
    assert!(primary.cli(&["blacklist", &jti(&gone.refresh)]).success());
    primary.kill9();
    let mut database = primary.database();
    // A row that on MariaDB nobody has moved to the log yet.
    database.blacklist_as_django(&jti(&pair.refresh));
    let before = database.version();
    verifier.restart();
    assert_soon(|| whoami(verifier.client(), &gone.access).status == 401);
    for token in [&pair.access, &gone.access, "x.y.z"] {
        whoami(verifier.client(), token);
        verifier.client().post_json("/api/token/verify/", &json!({ "token": token }));
        verifier.client().get("/health/ready", None);
    }
    sleep(Duration::from_millis(600));
    assert_eq!(database.version(), before, "somebody wrote");
}

#[test]
fn the_public_key_is_enough() {
    let here = Server::new();
    let key = PrivateKey::generate(&here, "ES256");
    let file = here.directory().join("private.pem");
    std::fs::write(&file, &key.pem).expect("write the key");
    let private = format!("{:?}", file.display().to_string());
    let primary =
        here.set("algorithm", r#""ES256""#).unset("signing_key").set("signing_key_file", &private).start_with_ada();
    let reader = Reader::of(&primary);
    let public = key.public_pem();
    let verifier = primary
        .beside(&reader.url, &["--verify-only"])
        .set("algorithm", r#""ES256""#)
        .unset("signing_key")
        .set("verifying_key", &format!("{public:?}"))
        .start();
    let pair = primary.login("ada");
    assert_eq!(whoami(verifier.client(), &pair.access).status, 200);
    primary.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
    assert_soon(|| whoami(verifier.client(), &pair.access).status == 401);
}

#[test]
fn a_right_that_it_lacks_is_named() {
    let (primary, mut verifier, mut reader) = services("cached");
    verifier.kill9();
    let (name, revoke) = (reader.name.clone(), "REVOKE SELECT ON");
    match reader.kind {
        // Who may read the file may read it all.
        Kind::Sqlite => return,
        Kind::Postgres => drop(reader.administrator.execute(&format!("{revoke} simplejwt_cutoff FROM {name}"))),
        Kind::Mysql => {
            for host in ["%", "localhost"] {
                reader.administrator.execute(&format!("{revoke} simplejwt_cutoff FROM {name}@'{host}'"));
            }
        }
    }
    let output = verifier.cli(&["serve", "--port", "0", "--verify-only"]);
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(output.stderr.contains("GRANT SELECT ON simplejwt_cutoff"), "{output:?}");
    drop(primary);
}

#[test]
fn without_tables_there_is_nothing_to_verify_and_none_are_made() {
    let empty = Server::new();
    let verifier = empty.beside(&empty.test_database().url(), &[]);
    let output = verifier.cli(&["serve", "--port", "0", "--verify-only"]);
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(output.stderr.contains("simplejwt migrate"), "{output:?}");
    assert!(!empty.has_database(), "somebody made it");
    let keyless = empty.beside(&empty.test_database().url(), &[]).unset("signing_key");
    let output = keyless.cli(&["serve", "--port", "0", "--verify-only"]);
    assert!(!output.success() && output.stderr.contains("no key is configured"), "{output:?}");
}

#[test]
fn the_example_refuses_what_the_primary_revoked() {
    let primary = Server::new().set("blacklist", r#""cached""#).start_with_ada();
    let reader = Reader::of(&primary);
    let mut settings = Settings::default();
    settings.database_url = Some(reader.url.clone());
    settings.signing_key = Some(Secret::new(str::from_utf8(KEY).expect("an ASCII key")));
    let app = App::beside(primary.shared_database(), "", |rocket| example::application(rocket, settings));
    let hello = |token: &str| app.client().get("/api/hello", Some(token));
    let pair = primary.login("ada");
    let said = hello(&pair.access);
    assert_eq!((said.status, said.text), (200, format!("Hello, user {}\n", primary.user_id("ada"))));
    assert_eq!(app.client().get("/api/nowhere", None).status, 401, "protected as a whole");
    primary.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
    assert_soon(|| hello(&pair.access).status == 401);
    assert_eq!(app.client().post_json("/token/", &json!({})).status, 404);
    assert_eq!(app.client().get("/health/ready", None).json()["role"], "verifier");
}

#[test]
fn an_application_that_verifies_only_and_issues_does_not_launch() {
    let primary = Server::new();
    assert!(primary.cli(&["migrate"]).success());
    for (at, routes) in [("/token", token_routes()), ("/account", account_routes()), ("/admin", admin_routes())] {
        let rocket = rocket::custom(configuration(primary.test_database(), ""));
        let rocket = rocket.attach(Simplejwt::fairing().verify_only()).mount(at, routes);
        let error = rocket::execute(rocket.ignite()).expect_err("it has routes that issue or revoke");
        assert!(matches!(error.kind(), ErrorKind::FailedFairings(_)), "{error}");
    }
}

#[test]
fn a_handle_that_verifies_only_issues_and_revokes_nothing() {
    let primary = Server::new().start_with_ada();
    let reader = Reader::of(&primary);
    let pair = primary.login("ada");
    rocket::execute(async {
        let mut settings = Settings::default();
        settings.database_url = Some(reader.url.clone());
        settings.signing_key = Some(Secret::new(str::from_utf8(KEY).expect("an ASCII key")));
        let jwt = Simplejwt::builder(settings).open(OpenMode::VerifyOnly).await.expect("a handle");
        assert!(jwt.verifies_only());
        let said = |refusal: Refusal| match refusal {
            Refusal::Misuse(reason) => assert!(reason.to_string().contains("only verifies"), "{reason}"),
            other => panic!("{other:?}"),
        };
        said(jwt.issue(Issue::access("1")).await.expect_err("it has the key, and must not use it"));
        said(jwt.issue_pair(Issue::refresh("1")).await.expect_err("nothing can be recorded"));
        said(jwt.refresh(&pair.refresh).await.expect_err("nothing can be rotated"));
        said(jwt.blacklist(&pair.refresh, None).await.expect_err("nothing can be revoked"));
        jwt.verify(&pair.access).await.expect("a good token");
        jwt.verify(&pair.refresh).await.expect("a good token");
    });
}

#[test]
fn a_missing_trigger_is_left_to_those_who_may_put_it_back() {
    let (mut primary, mut verifier, _reader) = services("cached");
    primary.kill9();
    let on = if primary.test_database().kind() == Kind::Postgres { " ON simplejwt_session" } else { "" };
    primary.database().execute(&format!("DROP TRIGGER simplejwt_session_insert{on}"));
    verifier.restart();
    assert_eq!(verifier.client().get("/health/ready", None).status, 200);
    let found = primary.cli(&["status", "--format", "json"]).json();
    assert_eq!(found["log"]["faults"].as_array().map(Vec::len), Some(1), "{found}");
}

#[test]
fn sqlite_files_that_may_only_be_read_are_enough() {
    let primary = Server::new().set("blacklist", r#""cached""#).start_with_ada();
    let open_to_all = |mode: u32, path: &Path| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("change the mode");
    };
    for entry in std::fs::read_dir(primary.directory()).expect("the directory") {
        open_to_all(0o644, &entry.expect("an entry").path());
    }
    open_to_all(0o755, primary.directory());
    let mut verifier = primary.beside(&primary.test_database().url(), &["--verify-only"]);
    // As root it runs as nobody from now on.
    verifier.set_read_only(true);
    let verifier = verifier.start();
    let pair = primary.login("ada");
    assert_eq!(whoami(verifier.client(), &pair.access).status, 200);
    primary.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
    assert_soon(|| whoami(verifier.client(), &pair.access).status == 401);
    assert_eq!(primary.login("ada").access.split('.').count(), 3, "the primary goes on writing");
}
