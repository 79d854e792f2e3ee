//! Limits on logins and refreshes: decided before a password is hashed or the database is asked. Attack case 99.

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::server::{PASSWORD, Server};

/// A server that believes a proxy, and limits everybody.
fn limited(limits: &[(&str, &str)]) -> Server {
    let server = Server::new().env("ROCKET_IP_HEADER", "X-Real-IP").set("rate_limit_trusted", "[]");
    let server = server.set("login_rate_limit", "\"off\"").set("login_name_rate_limit", "\"off\"");
    let server = server.set("refresh_rate_limit", "\"off\"").set("refresh_session_rate_limit", "\"off\"");
    limits.iter().fold(server, |server, (name, limit)| server.set(name, &format!("{limit:?}")))
}

fn post(server: &Server, path: &str, address: &str, body: &Value) -> Reply {
    let headers = [("X-Real-IP", address), ("Content-Type", "application/json")];
    server.client().request("POST", path, &headers, body.to_string().as_bytes())
}

fn try_in(server: &Server, address: &str, name: &str, password: &str) -> Reply {
    post(server, "/api/token/", address, &json!({ "username": name, "password": password }))
}

/// Every limit counts one an hour here, so that a wait has about so many seconds.
fn assert_too_many(reply: &Reply, at_least: u64, at_most: u64) {
    assert_eq!(reply.status, 429, "{reply:?}");
    let wait: u64 = reply.header("retry-after").and_then(|text| text.parse().ok()).expect("whole seconds");
    assert!((at_least..=at_most).contains(&wait), "{reply:?}");
    let detail = format!("Request was throttled. Expected available in {wait} seconds.");
    assert_eq!(reply.json(), json!({ "detail": detail }));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(reply.headers_named("www-authenticate").is_empty());
}

#[test]
fn an_address_has_so_many_attempts_whatever_comes_of_them() {
    let server =
        limited(&[("login_rate_limit", "3/3h")]).set("metrics_token", "\"scrape-0123456789\"").start_with_ada();
    let home = "192.0.2.1";
    assert_eq!(try_in(&server, home, "ada", PASSWORD).status, 200);
    assert_eq!(try_in(&server, home, "ada", "wrong").status, 401);
    assert_eq!(try_in(&server, home, "nobody", "wrong").status, 401);
    assert_too_many(&try_in(&server, home, "ada", PASSWORD), 3000, 3600);
    let sliding = json!({ "username": "ada", "password": PASSWORD });
    assert_too_many(&post(&server, "/api/token/sliding/", home, &sliding), 3000, 3600);
    assert_eq!(try_in(&server, "192.0.2.2", "ada", PASSWORD).status, 200, "another address has its own");
    // Of IPv6 somebody has as many addresses as there are.
    for number in 0..3 {
        assert_eq!(try_in(&server, &format!("2001:db8::{number}"), "ada", "wrong").status, 401);
    }
    assert_eq!(try_in(&server, "2001:db8::ffff", "ada", PASSWORD).status, 429);
    assert_eq!(try_in(&server, "2001:db8:0:1::1", "ada", PASSWORD).status, 200);
    let figures = server.client().get("/metrics", Some("scrape-0123456789")).text;
    assert!(figures.contains("simplejwt_rate_limited_total{limit=\"login\"} 3\n"), "{figures}");
    assert!(figures.contains("simplejwt_refusals_total{reason=\"too_many\"} 3\n"), "{figures}");
}

#[test]
fn a_name_is_guessed_at_from_many_addresses_only_so_often_and_its_owner_is_not_kept_out() {
    let server = limited(&[("login_name_rate_limit", "4/4h")]).start_with_ada();
    let bob = server.another_user();
    let home = "192.0.2.1";
    assert_eq!(try_in(&server, home, "ada", PASSWORD).status, 200);
    let guess = |number: u8| try_in(&server, &format!("198.51.100.{number}"), "ada", "wrong");
    for number in 0..3 {
        assert_eq!(guess(number).status, 401);
    }
    assert_too_many(&guess(3), 3000, 3600);
    assert_too_many(&try_in(&server, "198.51.100.4", "ADA", "wrong"), 3000, 3600);
    assert_too_many(&try_in(&server, "198.51.100.5", "ada", PASSWORD), 3000, 3600);
    assert_eq!(try_in(&server, home, "ada", PASSWORD).status, 200, "from where she has logged in before");
    assert_eq!(try_in(&server, "198.51.100.6", &bob, PASSWORD).status, 200);
}

#[test]
fn a_name_that_nobody_has_is_limited_like_one_that_somebody_has() {
    let server = limited(&[("login_name_rate_limit", "2/2h")]).start_with_ada();
    for name in ["ada", "nobody"] {
        let replies: Vec<_> = (0..3).map(|_| try_in(&server, "192.0.2.1", name, "wrong").status).collect();
        assert_eq!(replies, [401, 401, 429], "{name}");
    }
}

#[test]
fn who_comes_too_often_costs_no_database() {
    let server = limited(&[("login_rate_limit", "1/1h"), ("refresh_rate_limit", "1/1h")]).start_with_ada();
    let home = "192.0.2.1";
    let pair = try_in(&server, home, "ada", PASSWORD).json();
    let renew = || post(&server, "/api/token/refresh/", home, &json!({ "refresh": pair["refresh"] }));
    assert_eq!(renew().status, 200);
    // Nobody can write any more, and where the limit were asked later the answer would be 503 after a while.
    let mut database = server.database();
    database.keep_writers_out();
    let begun = std::time::Instant::now();
    assert_too_many(&try_in(&server, home, "ada", PASSWORD), 3500, 3600);
    assert_too_many(&renew(), 3500, 3600);
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    database.let_writers_in();
}

#[test]
fn the_tokens_of_a_session_are_renewed_only_so_often_from_wherever() {
    let server = limited(&[("refresh_session_rate_limit", "2/2h")]).start_with_ada();
    let mut pair = try_in(&server, "192.0.2.1", "ada", PASSWORD).json();
    let other = try_in(&server, "192.0.2.1", "ada", PASSWORD).json();
    for number in 0..2 {
        let body = json!({ "refresh": pair["refresh"] });
        let reply = post(&server, "/api/token/refresh/", &format!("198.51.100.{number}"), &body);
        assert_eq!(reply.status, 200, "{reply:?}");
        pair = reply.json();
    }
    let renew = |token: &Value| post(&server, "/api/token/refresh/", "198.51.100.9", &json!({ "refresh": token }));
    assert_too_many(&renew(&pair["refresh"]), 3000, 3600);
    assert_eq!(renew(&other["refresh"]).status, 200, "another session has its own");
    // What nobody signed is no session of anybody.
    let text = pair["refresh"].as_str().expect("a token");
    assert_eq!(renew(&json!(format!("{}x", &text[..text.len() - 1]))).status, 401);

    let sliding =
        post(&server, "/api/token/sliding/", "192.0.2.1", &json!({ "username": "ada", "password": PASSWORD }));
    let slide = || post(&server, "/api/token/sliding/refresh/", "192.0.2.1", &sliding.json()).status;
    assert_eq!([slide(), slide(), slide()], [200, 200, 429]);
}

#[test]
fn an_address_renews_only_so_often_and_good_for_nothing_counts_too() {
    let server = limited(&[("refresh_rate_limit", "2/2h")]).start_with_ada();
    let pair = try_in(&server, "192.0.2.1", "ada", PASSWORD).json();
    let renew = |token: &Value| post(&server, "/api/token/refresh/", "192.0.2.1", &json!({ "refresh": token })).status;
    assert_eq!([renew(&json!("x")), renew(&pair["refresh"]), renew(&json!("x"))], [401, 200, 429]);
}

#[test]
fn who_is_trusted_is_not_limited_and_this_machine_is_by_default() {
    let server = Server::new().set("login_rate_limit", "\"1/1h\"").start_with_ada();
    for _ in 0..3 {
        server.login("ada");
    }
    let server =
        limited(&[("login_rate_limit", "1/1h")]).set("rate_limit_trusted", "[\"192.0.2.0/24\"]").start_with_ada();
    let of = |address: &str| (0..3).map(|_| try_in(&server, address, "ada", PASSWORD).status).collect::<Vec<_>>();
    assert_eq!(of("192.0.2.77"), [200, 200, 200]);
    assert_eq!(of("127.0.0.1"), [200, 429, 429]);
}
