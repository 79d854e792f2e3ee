//! What the lists of the admin show, and what they are asked for.

use serde_json::json;

use crate::support::admin::{Browser, all_pages, listed, record_many, set_back, start};
use crate::support::client::Client;
use crate::support::database::instant;
use crate::support::held::session;
use crate::support::mint::{claims, jti};
use crate::support::now;
use crate::support::server::Server;

fn admin() -> (Server, Client) {
    start(Server::new())
}

/// The name of a session that is not there yet.
const SESSION: &str = "01890000-0000-7000-8000-000000000000";

#[test]
fn the_tokens_of_a_session_go_on_page_by_page_in_every_order() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let name = |number: u32| format!("{:032x}", number * 7919 % 120);
    let jtis: Vec<String> = (0..120).map(name).collect();
    record_many(&server, &jtis, "7");
    record_many(&server, &["f".repeat(32)], "7");
    let (mut database, then) = (server.database(), instant(now()));
    let kept = instant(now() + 900);
    database.execute(&format!(
        "INSERT INTO simplejwt_session (id, user_id, created_at, last_used_at, keep_until) \
         VALUES ('{SESSION}', '7', '{then}', '{then}', '{kept}')"
    ));
    for (number, jti) in (0..).zip(&jtis) {
        database.execute(&format!(
            "INSERT INTO simplejwt_token (jti, kind, session_id, keep_until) VALUES ('{jti}', 'refresh', '{SESSION}', '{kept}')"
        ));
        // Several expire in the same second.
        let expires = instant(now() + 1_000 - number * 31 % 40);
        database.execute(&format!(
            "UPDATE token_blacklist_outstandingtoken SET expires_at = '{expires}' WHERE jti = '{jti}'"
        ));
    }
    let pages = |query: &str| all_pages(&browser, &format!("/admin/tokens?session={SESSION}{query}"), listed);
    let newest: Vec<String> = jtis.iter().rev().cloned().collect();
    assert_eq!(pages(""), newest);
    assert_eq!(pages("&order=oldest"), jtis);
    assert_eq!(pages("&order=user"), jtis, "they are all of one");
    let by_expiry = database.strings(&format!(
        "SELECT jti FROM token_blacklist_outstandingtoken WHERE jti <> '{}' ORDER BY expires_at, id",
        "f".repeat(32)
    ));
    assert_eq!(pages("&order=expiry"), by_expiry);
    assert_eq!(pages("&kind=refresh&state=live&user=7").len(), 120);
    assert_eq!(pages("&user=8"), Vec::<String>::new());
    let begins: Vec<String> = newest.iter().filter(|jti| jti.ends_with('3')).cloned().collect();
    let whole: Vec<String> = begins.iter().flat_map(|jti| pages(&format!("&jti={jti}"))).collect();
    assert_eq!(whole, begins);
}

#[test]
fn the_filters_find_what_they_say() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let (first, other) = (server.login("ada"), server.login("ada"));
    let of_first = session(&first.refresh);
    let next = server.client().post_json("/api/token/refresh/", &json!({"refresh": first.refresh})).string("refresh");
    let credentials = json!({"username": "ada", "password": crate::support::server::PASSWORD});
    let sliding = server.client().post_json("/api/token/sliding/", &credentials).string("token");
    let [first, other, next, sliding_jti] = [&first.refresh, &other.refresh, &next, &sliding].map(|token| jti(token));
    let asked = [
        ("kind=refresh".to_owned(), vec![&next, &other, &first]),
        ("kind=sliding".to_owned(), vec![&sliding_jti]),
        ("state=superseded".to_owned(), vec![&first]),
        ("state=live&kind=refresh".to_owned(), vec![&next, &other]),
        (format!("session={of_first}"), vec![&next, &first]),
        (format!("session={of_first}&state=superseded"), vec![&first]),
        (format!("user={}&kind=sliding", server.user_id("ada")), vec![&sliding_jti]),
    ];
    for (query, wanted) in asked {
        assert_eq!(
            listed(&browser.get(&format!("/admin/tokens?{query}"))).iter().collect::<Vec<_>>(),
            wanted,
            "{query}"
        );
    }
}

#[test]
fn a_token_that_was_presented_again_is_marked_in_its_chain() {
    let (server, client) = start(Server::new().set("rotation_grace", "\"0s\""));
    let browser = Browser::signed_in(client, "root");
    let pair = server.login("ada");
    let renew = || server.client().post_json("/api/token/refresh/", &json!({"refresh": pair.refresh})).status;
    assert_eq!(renew(), 200);
    let page = format!("/admin/session?id={}", session(&pair.refresh));
    assert!(!browser.get(&page).text.contains("presented it again"));
    assert_eq!(renew(), 401);
    let page = browser.get(&page);
    let marked = page.text.split("<li class=\"").skip(1).find(|item| item.contains(&jti(&pair.refresh)));
    let marked = marked.unwrap_or_else(|| panic!("no chain: {page:?}"));
    assert!(marked.contains("reused\">") && marked.contains("Somebody presented it again"), "{page:?}");
    assert_eq!(page.text.matches("presented it again").count(), 1, "{page:?}");
    assert!(page.text.contains(">session ended<"), "{page:?}");
}

#[test]
fn instants_that_no_database_holds_are_refused() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    for far in ["%2B262142-12-31", "-262143-01-01T00:00", "%2B262142-12-31T23:59:59", "0001-01-01", "10000-01-01"] {
        for field in ["created_from", "created_until", "expires_from", "expires_until"] {
            for order in ["newest", "oldest", "expiry"] {
                let reply = browser.get(&format!("/admin/tokens?{field}={far}&order={order}"));
                assert_eq!(reply.status, 400, "{field}={far}: {reply:?}");
            }
        }
    }
    for edge in ["1000-01-01", "9999-12-31T23:59:59"] {
        for query in ["created_from", "created_until", "expires_from", "expires_until"] {
            assert_eq!(browser.get(&format!("/admin/tokens?{query}={edge}&order=oldest")).status, 200, "{query}");
        }
    }
    let fields = [("jti", "8f14e45f"), ("expires_at", "+262142-12-31T23:59")];
    assert_eq!(browser.post("/admin/token/blacklist", &fields).status, 400);
    assert!(!server.database().is_outstanding("8f14e45f"));
}

#[test]
fn an_expiry_in_the_past_is_refused_as_on_the_command_line() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    for past in ["2020-01-01T00:00", "2020-01-01T00:00:00Z"] {
        let output = server.cli(&["blacklist", "8f14e45f", "--expires-at", "2020-01-01T00:00:00Z"]);
        assert!(output.code() == 2 && output.stderr.contains("The expiry lies in the past"), "{output:?}");
        let reply = browser.post("/admin/token/blacklist", &[("jti", "8f14e45f"), ("expires_at", past)]);
        assert!(reply.status == 400 && reply.text.contains("The expiry lies in the past"), "{reply:?}");
    }
    assert!(!server.database().is_outstanding("8f14e45f"));
    let reply = browser.post("/admin/token/blacklist", &[("jti", "8f14e45f"), ("expires_at", "2099-01-01")]);
    assert_eq!(reply.status, 303, "{reply:?}");
}

#[test]
fn an_expired_token_of_ours_finds_its_row() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let expired = claims("refresh").with("iat", now() - 900).with("exp", now() - 600);
    server.database().record_as_django(&expired);
    let found = browser.post("/admin/find", &[("q", &expired.sign())]);
    let row = format!("/admin/token?jti={}", expired.jti());
    assert_eq!((found.status, found.header("location")), (303, Some(row.as_str())), "{found:?}");
    assert!(browser.get(&row).text.contains(">expired<"));
    // Whoever signs otherwise says nothing.
    let forged = expired.sign_with(crate::support::mint::Hash::Sha256, b"another key, which is long enough for HS256");
    assert_eq!(browser.post("/admin/find", &[("q", &forged)]).status, 400);
}

#[test]
fn what_loads_itself_again_keeps_nobody_signed_in() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let by_script = |path: &str| {
        client.request("GET", path, &[("Cookie", &browser.cookie), ("Simplejwt-Again", "yes")], b"").status
    };
    let seen = |at: &str| server.database().count(&format!("simplejwt_admin_session WHERE seen_at = '{at}'")) == 1;
    let then = set_back(&server, "seen_at", 120);
    assert_eq!(by_script("/admin/events?follow=yes"), 200);
    assert_eq!(browser.get("/admin/events?follow=yes&again=yes").status, 200, "without script");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(seen(&then), "nobody was there");
    assert_eq!(browser.get("/admin/events?follow=yes").status, 200);
    let begun = std::time::Instant::now();
    while seen(&then) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "a click counts");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    set_back(&server, "seen_at", 1_801);
    assert_eq!(by_script("/admin/events?follow=yes"), 303);
    assert!(browser.get("/admin/script.js").text.contains("\"Simplejwt-Again\""), "our script sends it");
}
