//! What feeds the log was dropped under a running server: whatever that acknowledges it refuses all the same, from the first request
//! after the acknowledgement on, and puts back what was dropped.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::thread::sleep;
use std::time::{Duration, Instant};

use rocket::serde::json::Json;
use rocket::{State, get, post, routes};
use rocket_simplejwt::{AccessToken, Actor, AdminAccess, Issue, Simplejwt, Target, Via, token_routes};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::Reply;
use crate::support::database::{Database, Kind, instant};
use crate::support::mint::{jti, payload};
use crate::support::now;
use crate::support::server::{Pair, Server};

/// Within what time what was dropped is put back, and every other process refuses: much less than the minute after which it is
/// looked at anyway.
const SOON: Duration = Duration::from_secs(15);

/// Drops whatever tells of a revocation.
fn drop_triggers(mut database: Database) {
    let names: &[(&str, &str)] = match database.kind() {
        Kind::Postgres => &[
            ("simplejwt_blacklisted", "token_blacklist_blacklistedtoken"),
            ("simplejwt_session_insert", "simplejwt_session"),
            ("simplejwt_session_update", "simplejwt_session"),
            ("simplejwt_cutoff_change", "simplejwt_cutoff"),
        ],
        Kind::Sqlite | Kind::Mysql => &[
            ("simplejwt_blacklisted_insert", ""),
            ("simplejwt_blacklisted_update", ""),
            ("simplejwt_session_insert", ""),
            ("simplejwt_session_update", ""),
            ("simplejwt_cutoff_insert", ""),
            ("simplejwt_cutoff_update", ""),
        ],
    };
    for (name, table) in names {
        let place = if table.is_empty() { String::new() } else { format!("ON {table}") };
        database.execute(&format!("DROP TRIGGER {name} {place}"));
    }
}

/// How many triggers of ours there are.
fn triggers(mut database: Database) -> i64 {
    database.count(match database.kind() {
        Kind::Postgres => "pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'simplejwt%'",
        Kind::Sqlite => "sqlite_master WHERE type = 'trigger' AND name LIKE 'simplejwt%'",
        Kind::Mysql => {
            "information_schema.triggers WHERE trigger_schema = DATABASE() AND trigger_name LIKE 'simplejwt%'"
        }
    })
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "it never comes to that: {what}");
        sleep(Duration::from_millis(20));
    }
}

fn whoami(server: &Server, token: &str) -> Reply {
    server.client().get("/api/token/whoami/", Some(token))
}

/// Waits until nothing is wrong with the triggers.
fn until_put_back(server: &Server) {
    eventually("the triggers are put back", || {
        let status = server.cli(&["status", "--format", "json"]).json();
        status["log"]["faults"].as_array().is_some_and(Vec::is_empty)
    });
}

#[test]
fn what_is_acknowledged_is_refused_at_once_although_the_log_does_not_tell_of_it() {
    let server = Server::new().set("blacklist", r#""cached""#).start_with_ada();
    let sibling = server.sibling();
    let (client, name) = (server.client(), server.another_user());
    let logout = |token: &str, scope: &str| {
        let (bearer, body) = (format!("Bearer {token}"), json!({ "scope": scope }).to_string());
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let reply = client.request("POST", "/api/token/logout/", &headers, body.as_bytes());
        assert_eq!(reply.status, 204, "{reply:?}");
    };
    for how in ["blacklist", "local", "others", "global"] {
        let [pair, other] = [(); 2].map(|()| server.login(&name));
        assert_eq!((whoami(&server, &pair.access).status, whoami(&sibling, &pair.access).status), (200, 200));
        drop_triggers(server.database());
        match how {
            "blacklist" => {
                client.post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
            }
            "others" => logout(&other.access, how),
            _ => logout(&pair.access, how),
        }
        let reply = whoami(&server, &pair.access);
        assert_eq!(reply.status, 401, "{how}: {reply:?}");
        until_put_back(&server);
        eventually("the other process refuses", || whoami(&sibling, &pair.access).status == 401);
        assert_eq!(whoami(&server, &pair.access).status, 401, "{how}: and goes on");
        assert_eq!(whoami(&server, &other.access).status == 401, how == "global", "{how}");
    }
    let log = server.log();
    assert!(log.contains("the log does not tell of them") && log.contains("it was put back"), "{log}");
}

#[test]
fn what_is_dead_by_itself_is_not_missed() {
    let mut server = Server::new().set("blacklist", r#""cached""#).start_with_ada();
    let [left, ended, live] = [(); 3].map(|()| server.login("ada"));
    let session = |pair: &Pair| payload(&pair.access)["sid"].as_str().expect("a session").to_owned();
    let past = instant(now() - 86_400);
    for (pair, end) in [(&left, "NULL".to_owned()), (&ended, format!("'{past}'"))] {
        let id = session(pair);
        server.database().execute(&format!(
            "UPDATE simplejwt_session SET keep_until = '{past}', ended_at = {end} WHERE id = '{id}'"
        ));
    }
    // What it loads has nothing of them.
    server.restart();
    let (client, bearer) = (server.client(), format!("Bearer {}", live.access));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    for _ in 0..2 {
        let path = format!("/api/token/sessions/{}/", session(&ended));
        assert_eq!(client.request("DELETE", &path, &headers, b"").status, 204);
        let others = client.request("POST", "/api/token/logout/", &headers, br#"{"scope": "others"}"#);
        assert_eq!(others.status, 204, "{others:?}");
    }
    assert_eq!(client.get("/health/ready", None).json()["blacklist"]["believed"], true);
    assert_eq!(whoami(&server, &live.access).status, 200);
    assert!(!server.log().contains("does not tell of them"), "{}", server.log());
}

#[get("/any")]
fn any(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

fn actor() -> Actor {
    Actor { who: "test".to_owned(), via: Via::Library, address: None }
}

#[post("/users/<name>")]
async fn add(name: &str, jwt: &State<Simplejwt>) -> Json<Value> {
    let user = jwt.add_user(name, None, "a good long password", AdminAccess::None, &actor()).await.expect("a user");
    let pair = jwt.issue_pair(Issue::refresh(user.id.to_string())).await.expect("a pair");
    Json(json!({ "access": pair.access.text }))
}

#[post("/disable/<name>")]
async fn disable(name: &str, jwt: &State<Simplejwt>) {
    jwt.set_active(name, false, &actor()).await.expect("a user who is disabled");
}

#[post("/everybody")]
async fn everybody(jwt: &State<Simplejwt>) {
    jwt.revoke(vec![Target::Everybody], None, actor()).await.expect("a cutoff of everybody");
}

#[test]
fn so_is_everything_of_a_user_who_is_disabled_and_of_everybody() {
    let app = App::launch("blacklist = \"cached\"", |rocket| {
        rocket
            .attach(Simplejwt::fairing())
            .mount("/auth", token_routes())
            .mount("/", routes![any, add, disable, everybody])
    });
    let client = app.client();
    for (name, path) in [("grace", "/disable/grace"), ("edsger", "/everybody")] {
        let access = client.post_json(&format!("/users/{name}"), &json!({})).string("access");
        assert_eq!(client.get("/any", Some(&access)).status, 200);
        let all = triggers(app.database());
        drop_triggers(app.database());
        let reply = client.post_json(path, &json!({}));
        assert_eq!(reply.status, 200, "{reply:?}");
        let reply = client.get("/any", Some(&access));
        assert_eq!(reply.status, 401, "{path}: {reply:?}");
        eventually("the triggers are put back", || triggers(app.database()) == all);
    }
}

/// An account that may do everything with rows, and nothing with tables.
fn without_rights(server: &Server, kind: Kind) -> (String, String) {
    let (name, url) = (format!("plain_{}", &crate::support::unique("x")[2..14]), server.test_database().url());
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let mut administrator = server.database();
    if kind == Kind::Postgres {
        administrator.execute(&format!("CREATE ROLE {name} LOGIN PASSWORD 'pw'"));
        let rows = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES";
        administrator.execute(&format!("GRANT {rows} IN SCHEMA public TO {name}"));
        administrator.execute(&format!("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}"));
    } else {
        let database = administrator.value("SELECT DATABASE()").expect("a database");
        for host in ["%", "localhost"] {
            administrator.execute(&format!("CREATE USER {name}@'{host}' IDENTIFIED BY 'pw'"));
            administrator.execute(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO {name}@'{host}'"));
        }
    }
    (format!("{scheme}://{name}:pw@{place}"), name)
}

#[test]
fn where_they_cannot_be_put_back_the_database_is_asked() {
    let owner = Server::with_ada();
    let kind = owner.test_database().kind();
    if kind == Kind::Sqlite {
        // Whoever may write there may do everything.
        return;
    }
    let (url, name) = without_rights(&owner, kind);
    let mut server = owner.beside(&url, &[]).set("blacklist", r#""cached""#).start();
    let [first, second] = [(); 2].map(|()| server.login("ada"));
    assert_eq!((whoami(&server, &first.access).status, whoami(&server, &second.access).status), (200, 200));
    let ready = server.client().get("/health/ready", None).json();
    assert_eq!((&ready["blacklist"]["believed"], &ready["blacklist"]["trigger_faults"]), (&json!(true), &json!(0)));
    drop_triggers(owner.database());
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": first.refresh })).assert(200, &json!({}));
    assert_eq!(whoami(&server, &first.access).status, 401);
    // It has found out, and knows that it does not hear of what others do.
    let mut ready = Value::Null;
    eventually("it asks the database", || {
        ready = server.client().get("/health/ready", None).json();
        ready["blacklist"]["trigger_faults"].as_u64() >= Some(1)
    });
    assert_eq!((&ready["status"], &ready["blacklist"]["believed"]), (&json!("ready"), &json!(false)), "{ready}");
    owner.database().blacklist_as_django(&jti(&second.refresh));
    assert_eq!(whoami(&server, &second.access).status, 401, "heard of by nobody, and refused");
    assert_eq!(whoami(&server, &first.access).status, 401);
    assert!(server.log().contains("cannot be put back"), "{}", server.log());
    server.kill9();
    let mut administrator = owner.database();
    let statements = match kind {
        Kind::Postgres => vec![format!("DROP OWNED BY {name}"), format!("DROP ROLE {name}")],
        _ => ["%", "localhost"].iter().map(|host| format!("DROP USER {name}@'{host}'")).collect(),
    };
    for statement in statements {
        drop(administrator.try_execute(&statement));
    }
}
