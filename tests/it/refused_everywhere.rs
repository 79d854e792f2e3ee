//! Every way to revoke × every way to use a token × every kind of token × two processes. Attack cases 71 to 75, 77 and 78.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{Client, Reply};
use crate::support::database::{BLACKLISTED, OUTSTANDING, instant};
use crate::support::held::{Held, cli, end_in_list, logout, put_in_list, row_of, send, session};
use crate::support::mint::{jti, payload};
use crate::support::now;
use crate::support::server::{PASSWORD, Server};

/// What is refused: access and refresh token of the pair, the sliding token, the pair of the other session.
type Refused = [bool; 4];

const ACCESS: Refused = [true, false, false, false];
const SESSION: Refused = [true, true, false, false];
const SLIDING: Refused = [false, false, true, false];
const OTHERS: Refused = [true, true, true, false];
const ALL: Refused = [true; 4];

type Verb = (&'static str, Refused, fn(&Server, &Held));

const VERBS: &[Verb] = &[
    ("blacklist", SESSION, |server, held| {
        server
            .client()
            .post_json("/api/token/blacklist/", &json!({ "refresh": held.pair.refresh }))
            .assert(200, &json!({}));
    }),
    ("logout with the access token", SESSION, |server, held| logout(server, &held.pair.access, "local")),
    ("logout with the refresh token", SESSION, |server, held| logout(server, &held.pair.refresh, "local")),
    ("logout with the sliding token", SLIDING, |server, held| logout(server, &held.sliding, "local")),
    ("logout of the others", OTHERS, |server, held| logout(server, &held.other.access, "others")),
    ("logout everywhere", ALL, |server, held| logout(server, &held.other.refresh, "global")),
    ("end of a session in the list", SESSION, |server, held| {
        end_in_list(server, &held.other.access, &session(&held.pair.access));
    }),
    ("a token in the list", SESSION, |server, held| {
        put_in_list(server, &held.other.access, &held.pair.refresh, true);
    }),
    ("cli: the jti of an access token", ACCESS, |server, held| {
        cli(server, &["blacklist", &jti(&held.pair.access)], "");
    }),
    ("cli: an access token", ACCESS, |server, held| cli(server, &["blacklist", "--token", "-"], &held.pair.access)),
    ("cli: the jti of a refresh token", SESSION, |server, held| {
        cli(server, &["blacklist", &jti(&held.pair.refresh)], "");
    }),
    ("cli: a sliding token", SLIDING, |server, held| cli(server, &["blacklist", "--token", "-"], &held.sliding)),
    ("cli: sessions end", SESSION, |server, held| cli(server, &["sessions", "end", &session(&held.pair.access)], "")),
    ("cli: --session", SLIDING, |server, held| cli(server, &["blacklist", "--session", &session(&held.sliding)], "")),
    ("cli: the others", OTHERS, |server, held| {
        cli(server, &["sessions", "end", "--user", &held.id, "--but", &session(&held.other.access)], "");
    }),
    ("cli: --user", ALL, |server, held| cli(server, &["blacklist", "--user", &held.id], "")),
    ("cli: --user --before", ALL, |server, held| {
        let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).to_rfc3339();
        cli(server, &["blacklist", "--user", &held.id, "--before", &now], "");
    }),
    ("cli: passwd", ALL, |server, held| cli(server, &["users", "passwd", &held.name], PASSWORD)),
    ("cli: disable", ALL, |server, held| cli(server, &["users", "disable", &held.name], "")),
    ("cli: remove", ALL, |server, held| cli(server, &["users", "remove", &held.name, "--yes"], "")),
    ("cli: --before", ALL, |server, _| {
        let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).to_rfc3339();
        cli(server, &["blacklist", "--before", &now, "--yes"], "");
    }),
    ("cli: --all", ALL, |server, _| cli(server, &["blacklist", "--all"], "y")),
];

/// The ways to use a token that must not give or show anything.
fn uses(client: Client, token: &str) -> Vec<(&'static str, Reply)> {
    vec![
        ("guard", client.get("/api/token/whoami/", Some(token))),
        ("verify", client.post_json("/api/token/verify/", &json!({ "token": token }))),
        ("refresh", client.post_json("/api/token/refresh/", &json!({ "refresh": token }))),
        ("slide", client.post_json("/api/token/sliding/refresh/", &json!({ "token": token }))),
        ("sessions", client.get("/api/token/sessions/", Some(token))),
        ("end", send(client, "DELETE", "/api/token/sessions/01890000-0000-7000-8000-000000000000/", token, &json!({}))),
        ("tokens", client.get("/api/token/tokens/", Some(token))),
        ("others", send(client, "POST", "/api/token/logout/", token, &json!({ "scope": "others" }))),
        ("everywhere", send(client, "POST", "/api/token/logout/", token, &json!({ "scope": "global" }))),
    ]
}

/// Whether a token is good, by the way that changes nothing.
fn is_good(client: Client, token: &str) -> bool {
    let reply = client.post_json("/api/token/verify/", &json!({ "token": token }));
    assert!([200, 401].contains(&reply.status), "{reply:?}");
    reply.status == 200
}

#[test]
fn whatever_revoked_a_token_refuses_it_everywhere_and_refuses_nothing_else() {
    let server = Server::new()
        .set("own_tokens_routes", "true")
        .set("auth_token_classes", r#"["access", "sliding", "refresh"]"#)
        .start_with_ada();
    let sibling = server.sibling();
    for (name, expected, revoke) in VERBS {
        let held = Held::new(&server);
        let tokens = [&held.pair.access, &held.pair.refresh, &held.sliding, &held.other.access];
        for client in [server.client(), sibling.client()] {
            assert!(tokens.iter().all(|token| is_good(client, token)), "{name}: not good before");
        }
        revoke(&server, &held);
        for client in [server.client(), sibling.client()] {
            let deadline = Instant::now() + Duration::from_secs(20);
            // At once where it was asked for by HTTP; the others learn it within the bound.
            while tokens.iter().zip(expected).any(|(token, refused)| *refused && is_good(client, token)) {
                assert!(Instant::now() < deadline, "{name}: not refused");
            }
            for (token, refused) in tokens.iter().zip(expected) {
                assert_eq!(is_good(client, token), !refused, "{name}: {}", payload(token)["token_type"]);
                if *refused {
                    for (way, reply) in uses(client, token) {
                        assert_eq!(reply.status, 401, "{name}, {way}: {reply:?}");
                        assert!(!reply.text.contains("eyJ"), "{name}, {way}: a token in {reply:?}");
                    }
                }
            }
        }
    }
}

/// Case 73.
#[test]
fn a_login_right_after_a_revocation_is_good_and_one_right_before_is_not() {
    let server = Server::new().set("blacklist", "\"database\"").start_with_ada();
    let client = server.client();
    let mut before = server.login("ada");
    for round in 0..20 {
        logout(&server, &before.access, "global");
        let after = server.login("ada");
        assert!(!is_good(client, &before.access) && !is_good(client, &before.refresh), "{round}");
        assert!(is_good(client, &after.access) && is_good(client, &after.refresh), "{round}");
        before = after;
    }
}

/// Case 74.
#[test]
fn of_several_cutoffs_the_latest_counts() {
    let server = Server::new().set("blacklist", "\"database\"").start_with_ada();
    let id = server.user_id("ada");
    let pair = server.login("ada");
    let (now, earlier) =
        (chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).to_rfc3339(), "2026-01-01T00:00:00Z");
    let good = || is_good(server.client(), &pair.access);
    cli(&server, &["blacklist", "--before", earlier, "--yes"], "");
    cli(&server, &["blacklist", "--before", earlier, "--user", &id], "");
    assert!(good());
    cli(&server, &["blacklist", "--before", &now, "--user", &id], "");
    assert!(!good());
    cli(&server, &["blacklist", "--before", earlier, "--user", &id], "");
    cli(&server, &["blacklist", "--before", earlier, "--yes"], "");
    assert!(!good());
}

/// Case 75.
#[test]
fn a_cutoff_in_the_future_is_refused() {
    let server = Server::with_ada();
    let pair = server.login("ada");
    let output = server.cli(&["blacklist", "--before", "2999-01-01T00:00:00Z", "--yes"]);
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(output.stderr.contains("--before lies in the future"), "{output:?}");
    assert_eq!(server.database().count("simplejwt_cutoff"), 0);
    assert!(is_good(server.client(), &pair.access));
}

/// Case 77.
#[test]
fn a_process_that_is_started_anew_never_takes_what_was_cut_off() {
    let mut server = Server::with_ada();
    let pair = server.login("ada");
    logout(&server, &pair.access, "global");
    for _ in 0..2 {
        server.kill9();
        server.restart();
        let deadline = Instant::now() + Duration::from_millis(500);
        while Instant::now() < deadline {
            let reply = server.client().get("/api/token/whoami/", Some(&pair.access));
            assert!([401, 503].contains(&reply.status), "{reply:?}");
        }
    }
}

/// Case 78.
#[test]
fn without_its_database_nothing_is_said_to_be_revoked() {
    let server = Server::new().set("own_tokens_routes", "true").start_with_ada();
    let client = server.client();
    let (here, there) = (server.login("ada"), server.login("ada"));
    let session = format!("/api/token/sessions/{}/", session(&there.access));
    let row = format!("/api/token/tokens/{}/", row_of(&server, &here.access, &there.refresh));
    let requests = [
        ("POST", "/api/token/logout/", json!({ "scope": "others" })),
        ("POST", "/api/token/logout/", json!({ "scope": "global" })),
        ("POST", "/api/token/logout/", json!({ "scope": "local" })),
        ("DELETE", session.as_str(), json!({})),
        ("PUT", row.as_str(), json!({ "revoke": true })),
    ];
    let tables = ["simplejwt_session", "simplejwt_cutoff", "simplejwt_user", "simplejwt_token"];
    for table in tables {
        server.database().execute(&format!("ALTER TABLE {table} RENAME TO {table}_away"));
    }
    for (method, path, body) in &requests {
        let reply = send(client, method, path, &here.access, body);
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{method} {path} {body}: {reply:?}");
    }
    for table in tables {
        server.database().execute(&format!("ALTER TABLE {table}_away RENAME TO {table}"));
    }
}

#[test]
fn a_user_with_100_000_tokens_is_out_at_once_whatever_django_has_to_be_told() {
    let server = Server::new().start_with_ada();
    let sibling = server.sibling();
    let (pair, id) = (server.login("ada"), server.user_id("ada"));
    let (created, expires) = (instant(now() - 60), instant(now() + 86_400));
    let mut database = server.database();
    database.begin();
    for batch in 0..100 {
        let rows: Vec<_> =
            (0..1000).map(|row| format!("('', '{created}', '{expires}', '{id}', 'many-{batch}-{row}')")).collect();
        let columns = "(token, created_at, expires_at, user_id, jti)";
        database.execute(&format!("INSERT INTO {OUTSTANDING} {columns} VALUES {}", rows.join(", ")));
    }
    database.execute("COMMIT");
    let asked = Instant::now();
    logout(&server, &pair.access, "global");
    let answered = asked.elapsed();
    assert!(!is_good(server.client(), &pair.access), "at once where it was asked for");
    while is_good(sibling.client(), &pair.access) {
        assert!(asked.elapsed() < Duration::from_secs(10), "not refused elsewhere");
    }
    let elsewhere = asked.elapsed();
    assert!(answered < Duration::from_secs(3), "{answered:?}");
    while database.count(BLACKLISTED) < 100_001 {
        assert!(asked.elapsed() < Duration::from_secs(120), "{} rows", database.count(BLACKLISTED));
        std::thread::sleep(Duration::from_millis(100));
    }
    println!(
        "answered after {answered:?}, refused elsewhere after {elsewhere:?}, all rows after {:?}",
        asked.elapsed()
    );
    assert!(is_good(server.client(), &server.login("ada").access));
}
