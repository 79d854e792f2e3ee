//! `/metrics`: figures for Prometheus, for whoever has the token, or at an address of their own.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rocket::error::ErrorKind;
use rocket_simplejwt::{Simplejwt, metrics_routes, token_routes};
use serde_json::json;

use crate::support::app::{App, configuration};
use crate::support::client::{Client, Reply};
use crate::support::database::TestDatabase;
use crate::support::mint::claims;
use crate::support::server::Server;

const TOKEN: &str = "scrape-0123456789";

fn measured() -> Server {
    Server::new().set("metrics_token", &format!("{TOKEN:?}"))
}

/// What each line says, by its name with its labels. Checks the form on the way.
fn figures(reply: &Reply) -> BTreeMap<String, f64> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let content_type = reply.header("content-type").expect("a content type");
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(reply.text.ends_with("# EOF\n"), "{}", reply.text);
    let mut figures = BTreeMap::new();
    for line in reply.text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a number");
        let twice = figures.insert(name.to_owned(), value.parse().expect("a number"));
        assert!(twice.is_none(), "{name} stands there twice");
    }
    figures
}

fn scrape(server: &Server) -> BTreeMap<String, f64> {
    figures(&server.client().get("/metrics", Some(TOKEN)))
}

#[test]
fn without_the_setting_there_is_nothing() {
    let server = Server::with_ada();
    assert_eq!(server.client().get("/metrics", Some(TOKEN)).status, 404);
    assert_eq!(server.client().get("/metrics", None).status, 404);
}

#[test]
fn whoever_has_the_token_gets_figures_and_nobody_else() {
    let server = measured().start_with_ada();
    let access = server.login("ada").access;
    let bearer = |text: &str| format!("Bearer {text}");
    let good = [bearer(TOKEN), format!("bearer {TOKEN}")];
    for header in &good {
        figures(&server.client().get_as("/metrics", header));
    }
    figures(&server.client().get("/metrics/", Some(TOKEN)));
    for bad in [
        bearer(&access),
        bearer(&TOKEN[1..]),
        bearer(&format!("{TOKEN}x")),
        bearer(&TOKEN.to_uppercase()),
        bearer(""),
        bearer(&format!(" {TOKEN}")),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
    ] {
        let reply = server.client().get_as("/metrics", &bad);
        assert_eq!(reply.status, 401, "{bad}: {reply:?}");
        assert_eq!(reply.headers_named("www-authenticate"), ["Bearer realm=\"metrics\""]);
        assert!(!reply.text.contains("simplejwt_"), "{reply:?}");
    }
    assert_eq!(server.client().get("/metrics", None).status, 401);
    let twice = [("Authorization", good[0].as_str()), ("Authorization", good[0].as_str())];
    assert_eq!(server.client().request("GET", "/metrics", &twice, b"").status, 401);
    assert_eq!(server.client().post_json("/metrics", &json!({})).status, 404);
    assert!(!server.log().contains(TOKEN), "the log has the token:\n{}", server.log());
}

#[test]
fn what_happens_is_counted_once_and_by_its_reason() {
    let server = measured().set("rotation_grace", "\"0s\"").start_with_ada();
    let before = scrape(&server);
    let client = server.client();
    let pair = server.login("ada");
    assert_eq!(client.post_json("/api/token/", &json!({"username": "ada", "password": "wrong"})).status, 401);
    for token in [pair.access.as_str(), "x.y.z", pair.refresh.as_str()] {
        client.get("/api/token/whoami/", Some(token));
    }
    let expired = claims("access").with("exp", 1_700_000_000).with("iat", 1_600_000_000).sign();
    client.post_json("/api/token/verify/", &json!({ "token": expired }));
    let (signed, signature) = pair.access.rsplit_once('.').expect("a signature");
    let forged = format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    client.get("/api/token/whoami/", Some(&forged));
    client.get_as("/api/token/whoami/", "Bearer two words");
    assert_eq!(client.post_json("/api/token/refresh/", &json!({ "refresh": pair.refresh })).status, 200);
    assert_eq!(client.post_json("/api/token/refresh/", &json!({ "refresh": pair.refresh })).status, 401);
    let other = server.login("ada");
    for _ in 0..2 {
        assert_eq!(client.post_json("/api/token/blacklist/", &json!({ "refresh": other.refresh })).status, 200);
    }
    client.get("/api/token/whoami/", Some(&other.access));
    client.post_json("/api/token/sliding/", &json!({"username": "ada", "password": crate::support::server::PASSWORD}));

    let after = scrape(&server);
    let grown: BTreeMap<_, _> = after
        .iter()
        .map(|(name, value)| (name.as_str(), value - before[name]))
        .filter(|(name, more)| name.contains("_total") && !name.contains("_blacklist_") && *more != 0.0)
        .collect();
    let expected = BTreeMap::from([
        (r#"simplejwt_refusals_total{reason="bad_credentials"}"#, 1.0),
        (r#"simplejwt_refusals_total{reason="bad_header"}"#, 1.0),
        (r#"simplejwt_refusals_total{reason="blacklisted"}"#, 1.0),
        (r#"simplejwt_refusals_total{reason="expired"}"#, 1.0),
        (r#"simplejwt_refusals_total{reason="malformed"}"#, 1.0),
        (r#"simplejwt_refusals_total{reason="reused"}"#, 1.0),
        (r#"simplejwt_refusals_total{reason="signature"}"#, 1.0),
        (r#"simplejwt_refusals_total{reason="wrong_type"}"#, 1.0),
        ("simplejwt_revocations_total", 1.0),
        (r#"simplejwt_tokens_issued_total{kind="access"}"#, 3.0),
        (r#"simplejwt_tokens_issued_total{kind="refresh"}"#, 3.0),
        (r#"simplejwt_tokens_issued_total{kind="sliding"}"#, 1.0),
        // Five by header, one by the body, two refreshes, two blacklistings, one more by header.
        ("simplejwt_verifications_total", 10.0),
    ]);
    assert_eq!(grown, expected);
}

#[test]
fn no_figure_names_anybody() {
    let server = measured().start_with_ada();
    let pair = server.login("ada");
    let text = server.client().get("/metrics", Some(TOKEN)).text;
    let names = text.lines().filter(|line| !line.starts_with('#')).count();
    for _ in 0..3 {
        server.client().get("/api/token/whoami/", Some(&server.login("ada").access));
        let gone = claims("access").with("user_id", "a-user").sign();
        server.client().get("/api/token/whoami/", Some(&gone));
    }
    let text = server.client().get("/metrics", Some(TOKEN)).text;
    assert_eq!(
        text.lines().filter(|line| !line.starts_with('#')).count(),
        names,
        "a label that clients choose:\n{text}"
    );
    for secret in ["ada", "a-user", pair.access.as_str(), TOKEN, crate::support::mint::jti(&pair.refresh).as_str()] {
        assert!(!text.contains(secret), "{secret} stands in\n{text}");
    }
}

#[test]
fn the_blacklist_in_memory_is_measured() {
    let server = measured().set("blacklist", r#""cached""#).start_with_ada();
    let pair = server.login("ada");
    let before = scrape(&server);
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
    let after = scrape(&server);
    let name = |name: &str| format!("simplejwt_blacklist_{name}");
    let grew = |figure: &str| after[&name(figure)] > before[&name(figure)];
    assert!(grew("entries") && grew("sequence") && grew("pulls_total"), "{before:?}\n{after:?}");
    assert!(after[&name("bytes")] > 0.0 && after[&name("lag_seconds")] < 5.0, "{after:?}");
    assert!((after[&name("ready")] - 1.0).abs() < f64::EPSILON, "{after:?}");
    assert!((after[&name("believed")] - 1.0).abs() < f64::EPSILON && after[&name("trigger_faults")] < 1.0, "{after:?}");
    assert!(!after.contains_key(&name("redis_answers_total")), "there is no Redis: {after:?}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64();
    let age = now - after[&name("last_pull_timestamp_seconds")];
    assert!((-1.0..5.0).contains(&age), "pulled {age} s ago");
    for none in ["reloads_total", "triggers_mended_total", "repaired_total", "lost_rows_total"] {
        assert!(after[&name(none)] < 1.0, "{none}: {after:?}");
    }
}

#[test]
fn a_log_that_was_begun_anew_is_counted() {
    let server = measured().set("blacklist", r#""cached""#).start_with_ada();
    server.database().execute("UPDATE simplejwt_revocation_state SET generation = 'another one'");
    let begun = Instant::now();
    while scrape(&server)["simplejwt_blacklist_reloads_total"] < 1.0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "not loaded anew");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn figures_can_have_an_address_of_their_own() {
    let server = measured().set("metrics_address", r#""127.0.0.1:0""#).start_with_ada();
    assert_eq!(server.client().get("/metrics", Some(TOKEN)).status, 404, "not where everybody gets");
    let apart = client_of_metrics(&server);
    figures(&apart.get("/metrics", Some(TOKEN)));
    assert_eq!(apart.get("/metrics", None).status, 401);
    for path in ["/", "/api/token/", "/health/live"] {
        assert_eq!(apart.get(path, Some(TOKEN)).status, 404, "nothing else is there: {path}");
    }
}

#[test]
fn on_this_machine_no_token_is_needed_there_and_it_ends_with_the_server() {
    let mut server = Server::new().set("metrics_address", r#""127.0.0.1:0""#).start();
    let apart = client_of_metrics(&server);
    figures(&apart.get("/metrics", None));
    // Once it answers, it hears signals.
    assert_eq!(server.client().get("/health/live", None).status, 200);
    let ended = server.terminate();
    assert!(ended.success(), "it ends although two servers run in it: {ended:?}");
}

#[test]
fn an_address_that_is_taken_or_open_to_all_does_not_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    for (setting, said) in
        [(format!("\"{address}\""), "metrics_address"), (r#""0.0.0.0:0""#.to_owned(), "metrics_token")]
    {
        let server = Server::new().set("metrics_address", &setting);
        let output = server.cli(&["serve", "--port", "0"]);
        assert!(!output.success() && output.stderr.contains(said), "{output:?}");
    }
}

fn client_of_metrics(server: &Server) -> Client {
    let begun = Instant::now();
    loop {
        // It is said before the server listens, but on another output.
        let log = server.log();
        let port = log.split("metrics at http://127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next());
        if let Some(port) = port.and_then(|port| port.parse().ok()) {
            return Client::new(port);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "no address of metrics in\n{log}");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_application_mounts_them_where_it_likes() {
    let app = App::launch(&format!("metrics_token = {TOKEN:?}"), |rocket| {
        rocket
            .attach(Simplejwt::fairing().protect("/"))
            .mount("/api/token", token_routes())
            .mount("/internal/metrics", metrics_routes())
    });
    figures(&app.client().get("/internal/metrics", Some(TOKEN)));
    assert_eq!(app.client().get("/internal/metrics", None).status, 401);
    assert_eq!(app.client().get("/metrics", Some(TOKEN)).status, 401, "protected");
}

#[test]
fn an_application_that_mounts_them_without_a_token_does_not_launch() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = TestDatabase::new(directory.path());
    let rocket = rocket::custom(configuration(&database, "")).attach(Simplejwt::fairing());
    let ignited = rocket::execute(rocket.mount("/metrics", metrics_routes()).ignite());
    let error = ignited.expect_err("everybody could read them");
    assert!(matches!(error.kind(), ErrorKind::FailedFairings(_)), "{error}");
}
