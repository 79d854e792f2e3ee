//! What takes longer than a page: many tokens at once, and the flush.

use crate::support::admin::{Browser, finished, job_of, listed, record_many, start};
use crate::support::client::Client;
use crate::support::database::instant;
use crate::support::now;
use crate::support::server::Server;

fn admin() -> (Server, Client) {
    start(Server::new())
}

#[test]
fn many_tokens_are_blacklisted_at_once() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let now = now();
    for number in 0..230 {
        let user = if number < 30 { "7" } else { "8" };
        server.database().record_row(&format!("{number:032x}"), now + 600, user);
    }
    let chosen =
        [("jti", &*format!("{:032x}", 1)), ("jti", &*format!("{:032x}", 2)), ("all", "user=8&"), ("which", "these")];
    let asked = browser.post("/admin/bulk", &chosen);
    assert!(asked.status == 200 && asked.text.contains("Blacklist 2 tokens"), "{asked:?}");
    assert_eq!(server.database().count("token_blacklist_blacklistedtoken"), 0, "only asked");
    let done = finished(&browser, &browser.post("/admin/bulk/blacklist", &[chosen[0], chosen[1], ("reason", "two")]));
    assert!(done.contains("done: 2 tokens are blacklisted"), "{done}");

    let asked = browser.post("/admin/bulk", &[("all", "user=8&"), ("which", "all")]);
    assert!(asked.status == 200 && asked.text.contains("Blacklist 200 tokens"), "{asked:?}");
    let done =
        finished(&browser, &browser.post("/admin/bulk/blacklist", &[("all", "user=8&"), ("reason", "all of 8")]));
    assert!(done.contains("done: 200 tokens are blacklisted"), "{done}");
    assert_eq!(server.database().count("token_blacklist_blacklistedtoken"), 202);
    let why = "simplejwt_event WHERE action = 'blacklist' AND via = 'admin' AND reason = 'all of 8' AND who = 'user:2'";
    assert_eq!(server.database().count(why), 200);
    for (path, fields) in
        [("/admin/bulk", &[("which", "these")][..]), ("/admin/bulk/blacklist", &[("all", "user=nobody")])]
    {
        let reply = browser.post(path, fields);
        assert!(reply.status == 400 || finished(&browser, &reply).contains("0 tokens"), "{path}: {reply:?}");
    }
}

#[test]
fn a_flush_is_tried_and_then_run() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    for number in 0..40 {
        server.database().record_row(&format!("{number:032x}"), now() - 100_000, "7");
    }
    // Long ago, or they could have been renewed.
    server.database().execute("UPDATE token_blacklist_outstandingtoken SET created_at = expires_at");
    // Something new, or the flush would not believe the clock.
    server.login("ada");
    let page = browser.get("/admin/flush");
    assert!(page.text.contains("There was none yet") && !page.text.contains("Flush now"), "{page:?}");
    // It may go through whole tables, so that nobody waits for it: its page says what came of it, and has the button.
    let tried = finished(&browser, &browser.post("/admin/flush/try", &[]));
    assert!(tried.contains("It would delete: 40 outstanding"), "{tried}");
    assert!(tried.contains("action=\"/admin/flush/start\"") && tried.contains("Flush now"), "{tried}");
    assert_eq!(server.database().count("token_blacklist_outstandingtoken"), 41, "only tried");
    let done = finished(&browser, &browser.post("/admin/flush/start", &[]));
    assert!(done.contains("done: 40 outstanding"), "{done}");
    assert_eq!(server.database().count("token_blacklist_outstandingtoken"), 1);
    assert!(browser.get("/admin/flush").text.contains("40 outstanding"));
    assert_eq!(server.database().count("simplejwt_event WHERE action = 'flush' AND who = 'user:2'"), 1);
    // It counted at its end.
    let overview = browser.get("/admin/");
    assert!(overview.status == 200 && overview.text.contains("<b>1</b> live"), "{overview:?}");
    assert_eq!(browser.get("/admin/job?id=x").status, 404);
}

#[test]
fn a_dry_run_that_cannot_be_done_keeps_nobody_from_the_flush() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    server.login("ada");
    // A record from the future, which the clock contradicts.
    server.database().record_row(&"f".repeat(32), now() + 600, "7");
    let ahead = instant(now() + 100_000);
    server.database().execute(&format!("UPDATE token_blacklist_outstandingtoken SET created_at = '{ahead}'"));
    let tried = finished(&browser, &browser.post("/admin/flush/try", &[]));
    assert!(tried.contains(">failed<") && tried.contains("set the clock"), "{tried}");
    assert!(tried.contains("action=\"/admin/flush/start\""), "{tried}");
}

#[test]
fn all_that_match_are_those_that_were_there_when_it_was_confirmed() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let jtis: Vec<String> = (0..3_000).map(|number| format!("a{number:031}")).collect();
    record_many(&server, &jtis, "7");
    // In the order of this search it comes last.
    let late = format!("a{}", "f".repeat(31));
    let started = browser.post("/admin/bulk/blacklist", &[("all", "jti=a&")]);
    server.database().record_row(&late, now() + 600, "7");
    let page = browser.get(job_of(&started));
    assert!(page.text.contains("at work"), "it was over too soon to show anything: {page:?}");
    let done = finished(&browser, &started);
    assert!(done.contains("done: 3000 tokens are blacklisted"), "{done}");
    assert!(server.database().is_outstanding(&late) && !server.database().is_blacklisted(&late));
}

#[test]
fn a_job_shows_how_far_it_is_is_found_again_and_stops() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let jtis: Vec<String> = (0..450).map(|number| format!("{number:032x}")).collect();
    record_many(&server, &jtis, "8");
    let mut lock = server.database();
    lock.keep_writers_out();
    let chosen: Vec<(&str, &str)> = jtis[..3].iter().map(|jti| ("jti", jti.as_str())).collect();
    let few = browser.post("/admin/bulk/blacklist", &chosen);
    let all = browser.post("/admin/bulk/blacklist", &[("all", "user=8&")]);
    let page = browser.get(job_of(&few)).text;
    assert!(page.contains(">at work<") && page.contains("0 of about 3 done"), "{page}");
    assert!(page.contains("<progress max=\"3\" value=\"0\"") && page.contains("data-refresh"), "{page}");
    // Whoever has closed that page finds it again.
    let list = browser.get("/admin/flush").text;
    for job in [&few, &all].map(job_of) {
        assert!(list.contains(&format!("href=\"{job}\"")), "{list}");
    }
    assert_eq!(list.matches(">at work<").count(), 2, "{list}");
    let id = job_of(&all).split('=').nth(1).expect("an id");
    let stopped = browser.post("/admin/job/stop", &[("id", id)]);
    assert_eq!(stopped.header("location"), Some(job_of(&all)), "{stopped:?}");
    lock.let_writers_in();
    assert!(finished(&browser, &few).contains("done: 3 tokens are blacklisted"));
    // The step that was under way is done, if one was.
    let page = finished(&browser, &all);
    let stopped = ["stopped: 0 tokens", "stopped: 200 tokens"].iter().any(|said| page.contains(said));
    assert!(stopped && !page.contains("<progress"), "{page}");
    assert!(server.database().count("token_blacklist_blacklistedtoken") <= 203);
    let list = browser.get("/admin/flush").text;
    assert!(list.matches(">over<").count() == 2 && !list.contains(">at work<"), "{list}");
}

#[test]
fn what_cannot_be_a_jti_is_left_out_of_those_chosen() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let (good, odd) = ("b".repeat(32), "not a jti");
    for jti in [good.as_str(), odd] {
        server.database().record_row(jti, now() + 600, "7");
    }
    assert_eq!(listed(&browser.get("/admin/tokens")).len(), 2);
    let chosen = [("jti", odd), ("jti", good.as_str()), ("which", "these")];
    let asked = browser.post("/admin/bulk", &chosen);
    assert!(asked.status == 200 && asked.text.contains("Blacklist 1 token"), "{asked:?}");
    assert!(asked.text.contains("1 of those chosen is left out"), "{asked:?}");
    let done = finished(&browser, &browser.post("/admin/bulk/blacklist", &chosen[..2]));
    assert!(done.contains("done: 1 tokens are blacklisted"), "{done}");
    assert!(server.database().is_blacklisted(&good));
    assert_eq!(browser.post("/admin/bulk", &chosen[..1]).status, 400, "nothing is left");
}

#[test]
fn a_flush_that_died_is_not_said_to_be_at_work() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    for (silent, said) in [(10, "at work"), (120, "stopped without an end")] {
        let at = instant(now() - silent);
        server.database().execute(&format!(
            "INSERT INTO simplejwt_flush_run \
             (started_at, heartbeat_at, as_of, outstanding, blacklisted, tokens, sessions, events) \
             VALUES ('{at}', '{at}', '{at}', 0, 0, 0, 0, 0)"
        ));
        for page in ["/admin/", "/admin/flush"] {
            let page = browser.get(page);
            assert!(page.text.contains(&format!("<dd>{said}</dd>")), "{said}: {page:?}");
        }
    }
}
