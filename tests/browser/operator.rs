//! What an operator does.

use serde_json::json;

use crate::support::admin;
use crate::support::mint::{jti, payload};
use crate::support::server::{PASSWORD, Server};
use crate::webdriver::Browser;

/// The admin of a server, somebody who is signed in there, and the port of it.
fn signed_in() -> (Server, Browser, String) {
    let (server, _) = admin::start(Server::new());
    let log = server.log();
    let base = log.split("admin at ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    let (browser, base) = (Browser::start(), base.to_owned());
    browser.go(&format!("{base}/tokens"));
    assert_eq!(browser.address(), format!("{base}/sign-in"));
    browser.fill("#username", "root");
    browser.fill("#password", PASSWORD);
    browser.click("main button");
    browser.wait_for("Overview");
    (server, browser, base)
}

fn verify(server: &Server, token: &str) -> u16 {
    server.settle();
    server.client().post_json("/api/token/verify/", &json!({"token": token})).status
}

#[test]
fn a_users_token_is_found_blacklisted_and_restored_and_its_session_ended() {
    let (server, browser, base) = signed_in();
    let pair = server.login("ada");
    let user = server.user_id("ada");
    browser.fill("#q", &user);
    browser.click("button[value=user]");
    browser.wait_for(&jti(&pair.refresh));
    browser.click(&format!("a[href$='{}']", jti(&pair.refresh)));
    browser.wait_for("The token is refused from now on");
    browser.fill("#reason", "lost laptop");
    browser.click("button.danger");
    browser.wait_for("it is refused from now on.");
    assert_eq!(verify(&server, &pair.access), 401);

    browser.go(&format!("{base}/blacklisted"));
    browser.wait_for("lost laptop");
    browser.click("td form button");
    browser.wait_for("its session is open again");
    assert_eq!(verify(&server, &pair.access), 200);

    // The whole token finds its row, and is in no address.
    browser.fill("#q", &pair.refresh);
    browser.click("button[value=jti]");
    browser.wait_for("Blacklist");
    assert_eq!(browser.address(), format!("{base}/token?jti={}", jti(&pair.refresh)));

    let session = payload(&pair.refresh)["sid"].as_str().expect("a session").to_owned();
    browser.click(&format!("a[href$='/session?id={session}']"));
    browser.wait_for("Its tokens");
    browser.click("button.danger");
    browser.wait_for("Over since");
    assert_eq!(verify(&server, &pair.access), 401);

    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert!(browser.hosts().iter().all(|host| base.contains(host.as_str())), "{:?}", browser.hosts());
    browser.click(".who button");
    browser.wait_for("For staff");
    browser.go(&format!("{base}/tokens"));
    assert_eq!(browser.address(), format!("{base}/sign-in"));
}

#[test]
fn ten_thousand_are_blacklisted_and_what_expired_is_flushed_before_ones_eyes() {
    let (server, browser, base) = signed_in();
    let mut database = server.database();
    let expires = crate::support::database::instant(crate::support::now() + 600);
    let past = crate::support::database::instant(crate::support::now() - 100_000);
    for (user, when) in [("7", &expires), ("8", &past)] {
        for start in (0..10_000).step_by(500) {
            let rows: Vec<String> = (start..start + 500)
                .map(|number| format!("('', '{past}', '{when}', '{user}', '{user}{number:031x}')"))
                .collect();
            database.execute(&format!(
                "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, user_id, jti) VALUES {}",
                rows.join(", ")
            ));
        }
    }
    browser.go(&format!("{base}/tokens?user=7"));
    browser.click("button[value=all]");
    browser.wait_for("Blacklist 10000");
    browser.fill("#reason", "all of them");
    browser.click("button.danger");
    browser.wait_for("done: 10000 tokens are blacklisted");
    assert_eq!(database.count("token_blacklist_blacklistedtoken"), 10_000);

    // Something new, or the flush would not believe the clock.
    server.login("ada");
    browser.go(&format!("{base}/flush"));
    browser.click("main button");
    browser.wait_for("It would delete: 10000 outstanding");
    browser.click("button.danger");
    browser.wait_for("done: 10000 outstanding");
    assert_eq!(database.count("token_blacklist_outstandingtoken WHERE user_id = '8'"), 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_happens_is_followed_before_ones_eyes_and_keeps_nobody_signed_in() {
    let (server, browser, base) = signed_in();
    browser.go(&format!("{base}/events?follow=yes"));
    browser.wait_for("Stop following");
    let then = admin::set_back(&server, "seen_at", 120);
    // It stays this very page, also while the server has trouble.
    browser.run(
        "window.stays = 1; window.troubles = 0; const real = window.fetch; \
         window.fetch = (...asked) => window.troubles < 2 \
             ? (window.troubles += 1, Promise.resolve(new Response('', {status: 500 + 3 * window.troubles}))) \
             : real(...asked)",
    );
    let token = jti(&server.login("ada").refresh);
    assert!(server.cli(&["blacklist", &token, "--reason", "seen at once"]).success());
    browser.wait_for("seen at once");
    assert_eq!(browser.run("return [window.stays, window.troubles]"), json!([1, 2]));
    let seen = server.database().count(&format!("simplejwt_admin_session WHERE seen_at = '{then}'"));
    assert_eq!(seen, 1, "nobody clicked");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // Where somebody ended the session meanwhile, the page says so.
    let id = server.database().value("SELECT session_id FROM simplejwt_admin_session").expect("a session");
    assert!(server.cli(&["sessions", "end", &id]).success());
    browser.wait_for("For staff");
    assert_eq!(browser.address(), format!("{base}/sign-in"));
}
