//! The first page of the admin.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::admin::{Browser, all_pages, finished, listed, set_back, start, unescaped};
use crate::support::client::{Client, Reply};
use crate::support::database::{Kind, instant};
use crate::support::mint::jti;
use crate::support::now;
use crate::support::server::{PASSWORD, Server};

fn admin() -> (Server, Client) {
    start(Server::new())
}

/// The overview, once it shows all of this.
#[track_caller]
fn wait_for(browser: &Browser, shown: &[&str]) -> Reply {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let page = browser.get("/admin/");
        assert_eq!(page.status, 200, "{page:?}");
        if shown.iter().all(|text| page.text.contains(text)) {
            return page;
        }
        assert!(Instant::now() < deadline, "{page:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_overview_counts_in_the_background_and_notes_each_hour() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let pair = server.login("ada");
    server.login("ada");
    assert_eq!(browser.post("/admin/token/blacklist", &[("jti", &jti(&pair.refresh))]).status, 303);
    let page = wait_for(
        &browser,
        &[
            "<b>1</b> live",
            "<b>1</b> blacklisted",
            "<b>2</b> <span class=\"key issued\">",
            "<b>1</b> <span class=\"key revoked\">",
        ],
    );
    for shown in ["Expiring soon", "<dd>ready</dd>", "<dt>Lag</dt><dd>", "<svg ", "Last 24 hours", "Last 30 days"] {
        assert!(page.text.contains(shown), "{shown}: {page:?}");
    }
    // The token and its session.
    let entries = page.text.split("<dt>Refused, in memory</dt><dd>").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(entries.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 0), "{page:?}");
    assert!(!page.text.contains("role=\"alert\""), "nothing is amiss: {page:?}");
}

#[test]
fn what_endangers_a_promise_is_said_first() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let mut database = server.database();
    match server.test_database().kind() {
        Kind::Sqlite => {
            let trigger = database
                .strings("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE '%blacklistedtoken'");
            database.execute(&format!("DROP TRIGGER {}", trigger[0]));
        }
        Kind::Postgres => {
            let trigger = database.strings(
                "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal \
                 AND tgrelid = 'token_blacklist_blacklistedtoken'::regclass",
            );
            database.execute(&format!("DROP TRIGGER {} ON token_blacklist_blacklistedtoken", trigger[0]));
        }
        Kind::Mysql => {
            let trigger = database.strings(
                "SELECT trigger_name FROM information_schema.triggers \
                 WHERE event_object_schema = DATABASE() AND event_object_table = 'token_blacklist_blacklistedtoken'",
            );
            database.execute(&format!("DROP TRIGGER {}", trigger[0]));
        }
    }
    let page = browser.get("/admin/");
    let warning = page.text.split("role=\"alert\">").nth(1).unwrap_or_else(|| panic!("no warning: {page:?}"));
    assert!(warning.contains("run `simplejwt migrate`"), "{page:?}");
}

#[test]
fn each_number_leads_to_a_list_of_just_as_many() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let rotated = || {
        let refresh = server.login("ada").refresh;
        assert_eq!(server.client().post_json("/api/token/refresh/", &json!({ "refresh": refresh })).status, 200);
        jti(&refresh)
    };
    let blacklisted = || {
        let token = jti(&server.login("ada").refresh);
        assert_eq!(browser.post("/admin/token/blacklist", &[("jti", &token)]).status, 303);
        token
    };
    rotated();
    blacklisted();
    // Of each a second one, whose time has passed since; and one that was good until then.
    let past = instant(now() - 100);
    for token in [rotated(), blacklisted(), jti(&server.login("ada").refresh)] {
        server.database().execute(&format!(
            "UPDATE token_blacklist_outstandingtoken SET expires_at = '{past}' WHERE jti = '{token}'"
        ));
    }
    let wanted = [("live", 2), ("superseded", 1), ("blacklisted", 1), ("expired", 3)];
    let shown = wanted.map(|(word, count)| format!("<b>{count}</b> {word}"));
    let page = wait_for(&browser, &shown.each_ref().map(String::as_str));
    for (word, count) in wanted {
        let link = page.text.split("<li><a href=\"").find(|rest| rest.contains(&format!("<b>{count}</b> {word}")));
        let link = link.and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("no {word}: {page:?}"));
        assert_eq!(all_pages(&browser, &unescaped(link), listed).len(), count, "{link}");
    }
}

#[test]
fn where_no_index_has_the_expiry_nothing_is_sorted_by_it() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    server.login("ada");
    let caption = "Live tokens, those first that expire first";
    assert!(browser.get("/admin/").text.contains(caption));
    let table = if server.test_database().kind() == Kind::Mysql { " ON token_blacklist_outstandingtoken" } else { "" };
    server.database().execute(&format!("DROP INDEX simplejwt_outstandingtoken_expires_at{table}"));
    let page = browser.get("/admin/");
    assert!(page.status == 200 && !page.text.contains(caption), "{page:?}");
    assert!(page.text.contains("simplejwt migrate --with-index"), "{page:?}");
}

#[test]
fn the_pages_are_there_while_nothing_can_be_written() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    server.login("ada");
    wait_for(&browser, &["<b>1</b> live"]);
    // So that each click would be noted.
    let long_ago = set_back(&server, "seen_at", 120);
    let seen_then = || server.database().count(&format!("simplejwt_admin_session WHERE seen_at = '{long_ago}'")) == 1;
    let mut lock = server.database();
    lock.keep_writers_out();
    for path in ["tokens", "blacklisted", "sessions", "users", "events", "flush"] {
        let begun = Instant::now();
        let page = browser.get(&format!("/admin/{path}"));
        assert_eq!(page.status, 200, "{path}: {page:?}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{path} waited for a write");
    }
    let page = browser.get("/admin/");
    assert!(page.status == 200 && page.text.contains("<dd>degraded: nothing can be issued"), "{page:?}");
    assert!(seen_then());
    let refused = browser.post("/admin/token/blacklist", &[("jti", &"a".repeat(32))]);
    assert_eq!(refused.status, 503, "{refused:?}");
    lock.let_writers_in();
    let deadline = Instant::now() + Duration::from_secs(20);
    while seen_then() {
        assert!(Instant::now() < deadline, "nobody was seen");
        assert_eq!(browser.get("/admin/tokens").status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.log().contains("a visit to the admin is not noted"), "{}", server.log());
    assert_eq!(Browser::new(client).try_sign_in("root", PASSWORD).status, 303);
}

#[test]
fn sqlite_a_count_that_failed_is_not_begun_anew_for_each_page() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    server.database().execute(
        "CREATE TRIGGER in_the_way BEFORE INSERT ON simplejwt_census BEGIN SELECT RAISE(ABORT, 'in the way'); END",
    );
    for _ in 0..3 {
        let page = browser.get("/admin/");
        assert!(page.status == 200 && page.text.contains("The tokens are being counted"), "{page:?}");
    }
    let failed = server.log().matches("the tokens cannot be counted").count();
    assert_eq!(failed, 1, "{}", server.log());
    // After a flush it is counted in any case.
    server.database().execute("DROP TRIGGER in_the_way");
    finished(&browser, &browser.post("/admin/flush/start", &[]));
    assert!(browser.get("/admin/").text.contains("<b>0</b> live"));
}
