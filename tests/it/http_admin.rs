//! What an operator does in the admin, page by page.

use rocket_simplejwt::{
    AdminAccess, AuthUser, Authenticator, AuthenticatorError, Credentials, Simplejwt, admin_routes, async_trait,
    token_routes,
};
use serde_json::json;

use crate::support::admin::{Browser, all_pages, finished, listed, set_back, start, unescaped};
use crate::support::app::App;
use crate::support::client::{Client, Reply};
use crate::support::mint::{claims, jti};
use crate::support::server::{PASSWORD, Server};

fn admin() -> (Server, Client) {
    start(Server::new())
}

/// The sessions in the list on a page.
fn sessions(page: &Reply) -> Vec<String> {
    let cells = page.text.split("href=\"/admin/session?id=").skip(1);
    cells.filter_map(|cell| Some(cell.split('"').next()?.to_owned())).collect()
}

/// What is asked for, and which numbers it holds for.
type Asked = (&'static str, fn(u32) -> bool);

#[test]
fn a_token_is_found_blacklisted_and_taken_back() {
    let (server, client) = admin();
    let pair = server.login("ada");
    let (token, user) = (jti(&pair.refresh), server.user_id("ada"));
    let browser = Browser::signed_in(client, "root");
    for search in [format!("user={user}"), format!("jti={}", &token[..6]), format!("jti={token}")] {
        assert_eq!(listed(&browser.get(&format!("/admin/tokens?{search}"))), [token.as_str()], "{search}");
    }
    let row = format!("/admin/token?jti={token}");
    assert!(browser.get(&row).text.contains(">live<"));

    let reply = browser.post("/admin/token/blacklist", &[("jti", &token), ("reason", "lost laptop")]);
    assert_eq!(reply.header("location"), Some(format!("{row}&said=blacklisted").as_str()));
    server.settle();
    let verify = |expected: u16| {
        let reply = server.client().post_json("/api/token/verify/", &json!({"token": pair.access}));
        assert_eq!(reply.status, expected, "{reply:?}");
    };
    verify(401);
    let page = browser.get(&row).text;
    for shown in [">blacklisted<", "lost laptop", "user:2", "(admin)", "127.0.0.1"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let again = browser.post("/admin/token/blacklist", &[("jti", &token)]);
    assert_eq!(again.header("location"), Some(format!("{row}&said=already").as_str()));

    let reply = browser.post("/admin/token/unblacklist", &[("jti", &token), ("reason", "found it")]);
    assert_eq!(reply.header("location"), Some(format!("{row}&said=reopened").as_str()));
    server.settle();
    verify(200);
    let events = server.database().strings(&format!(
        "SELECT action FROM simplejwt_event WHERE target = '{token}' AND via = 'admin' AND who = 'user:2' ORDER BY id"
    ));
    assert_eq!(events, ["blacklist", "unblacklist"]);
}

#[test]
fn the_list_goes_on_page_by_page_in_every_order() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let (now, mut all) = (crate::support::now(), Vec::new());
    for number in 0..120 {
        let token = format!("{:032x}", 0xabc0_0000_u64 + number * 7919 % 120);
        // Several expire in the same second.
        let user = (number % 3).to_string();
        server.database().record_row(&token, now + 600 + i64::try_from(number * 31 % 40).expect("small"), &user);
        all.push(token);
    }
    let pages = |query: &str| all_pages(&browser, &format!("/admin/tokens?{query}"), listed);
    let mut newest = all.clone();
    newest.reverse();
    assert_eq!(pages(""), newest);
    assert_eq!(pages("order=oldest"), all);
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(pages("jti=00000000"), sorted, "by jti");
    for query in ["order=expiry", "order=user", "state=live", "state=live&order=expiry"] {
        let mut found = pages(query);
        found.sort();
        assert_eq!(found, sorted, "{query}");
    }
    assert_eq!(pages("user=1").len(), 40);
    assert_eq!(pages("state=blacklisted"), Vec::<String>::new());
    assert_eq!(pages("kind=refresh"), Vec::<String>::new());
    let day = |days: i64| crate::support::database::instant(now + days * 86_400)[..10].to_owned();
    assert_eq!(pages(&format!("created_from={}&created_until={}", day(-1), day(2))).len(), 120);
    assert_eq!(pages(&format!("created_until={}", day(-1))).len(), 0);
    assert_eq!(pages(&format!("expires_from={}&expires_until={}", day(-1), day(2))).len(), 120);
    assert_eq!(pages(&format!("expires_from={}", day(2))).len(), 0);
}

#[test]
fn filters_hold_together_whichever_of_them_has_an_index() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let (now, mut database) = (crate::support::now(), server.database());
    let token = |number: u32| format!("{:x}{number:031x}", number % 5);
    for number in 0..240 {
        let expires = if number % 3 == 0 { now - 100 } else { now + 600 };
        database.record_row(&token(number), expires, if number % 2 == 0 { "7" } else { "8" });
        if number % 8 == 2 {
            database.blacklist_as_django(&token(number));
        }
    }
    let at = crate::support::database::instant(now).replace(' ', "T");
    let asked: [Asked; 9] = [
        ("tokens?user=7&jti=2", |number| number % 2 == 0 && number % 5 == 2),
        ("tokens?user=7&jti=200000000", |number| number % 2 == 0 && number % 5 == 2),
        ("tokens?user=7&state=expired", |number| number % 2 == 0 && number % 3 == 0),
        ("tokens?state=expired", |number| number % 3 == 0),
        ("tokens?state=live&order=expiry", |number| number % 3 != 0 && number % 8 != 2),
        ("tokens?user=8&expires_from=AT", |number| number % 2 == 1 && number % 3 != 0),
        ("tokens?jti=3&expires_until=AT", |number| number % 5 == 3 && number % 3 == 0),
        ("tokens?user=7&state=blacklisted&order=expiry", |number| number % 8 == 2),
        ("blacklisted?user=7", |number| number % 8 == 2),
    ];
    for (query, holds) in asked {
        let mut found = all_pages(&browser, &format!("/admin/{}", query.replace("AT", &at)), listed);
        found.sort();
        let mut wanted: Vec<String> = (0..240).filter(|number| holds(*number)).map(token).collect();
        wanted.sort();
        assert_eq!(found, wanted, "{query}");
    }
    let newest: Vec<String> = (0..240).rev().filter(|number| number % 8 == 2).map(token).collect();
    assert_eq!(all_pages(&browser, "/admin/blacklisted?user=7", listed), newest, "those issued last first");
    assert_eq!(all_pages(&browser, "/admin/tokens?user=7&state=blacklisted", listed), newest);
}

#[test]
fn sessions_are_listed_page_by_page_in_every_state() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let (now, mut database) = (crate::support::now(), server.database());
    let instant = crate::support::database::instant;
    let name = |number: u32| format!("01890000-0000-7000-8000-{number:012}");
    for number in 0..260 {
        let (began, ended) = (instant(now - 900), if number % 5 == 0 { "CURRENT_TIMESTAMP" } else { "NULL" });
        let kept = instant(if number % 4 == 0 { now - 100 } else { now + 600 });
        database.execute(&format!(
            "INSERT INTO simplejwt_session (id, user_id, created_at, last_used_at, ended_at, keep_until) \
             VALUES ('{}', '{}', '{began}', '{began}', {ended}, '{kept}')",
            name(number),
            7 + number % 2
        ));
    }
    let asked: [Asked; 5] = [
        ("user=7", |number| number % 2 == 0),
        ("user=7&state=ended", |number| number % 10 == 0),
        ("user=8&state=expired", |_| false),
        ("state=expired", |number| number % 4 == 0 && number % 5 != 0),
        ("user=8&state=open", |number| number % 2 == 1 && number % 5 != 0),
    ];
    for (query, holds) in asked {
        let wanted: Vec<String> = (0..260).rev().filter(|number| holds(*number)).map(name).collect();
        assert_eq!(all_pages(&browser, &format!("/admin/sessions?{query}"), sessions), wanted, "{query}");
    }
}

#[test]
fn a_jti_that_nobody_knows_can_be_blacklisted() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let page = browser.get("/admin/token?jti=0123456789abcdef0123456789abcdef");
    assert_eq!(page.status, 404, "{page:?}");
    let fields = [("jti", "0123456789abcdef0123456789abcdef")];
    assert_eq!(browser.post("/admin/token/blacklist", &fields).status, 303);
    assert!(server.database().is_blacklisted("0123456789abcdef0123456789abcdef"));
}

#[test]
fn the_pages_are_small_and_ask_nobody_else() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    for number in 0..60 {
        server.database().record_row(&format!("{number:032x}"), crate::support::now() + 600, &number.to_string());
    }
    for path in ["/admin/tokens", "/admin/style.css", "/admin/script.js", "/admin/icon.svg", "/admin/sign-in"] {
        let page = browser.get(path);
        assert!(page.text.len() < 100 * 1024, "{path}: {}", page.text.len());
        let elsewhere = page.text.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !elsewhere.contains("http://") && !elsewhere.contains("https://") && !elsewhere.contains("url("),
            "{path}"
        );
    }
}

#[test]
fn the_admin_is_not_there_unless_somebody_asks_for_it() {
    let server = Server::with_ada();
    assert_eq!(server.client().get("/admin/", None).status, 404);
    assert!(!server.log().contains("admin at"), "{}", server.log());
}

#[test]
fn case_107_what_changes_much_needs_the_password_again() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    server.database().record_row(&"a".repeat(32), crate::support::now() + 600, "7");
    set_back(&server, "confirmed_at", 400);
    let all = [("all", "user=7&")];
    let everything = [
        ("/admin/bulk/blacklist", &all[..]),
        ("/admin/sessions/end", &[("user", "1")]),
        ("/admin/users/password", &[("username", "ada"), ("new_password", "a new password")]),
        ("/admin/users/add", &[("username", "eva"), ("new_password", "a new password"), ("access", "change")]),
        ("/admin/users/active", &[("username", "ada"), ("active", "no")]),
        ("/admin/users/active", &[("username", "ada"), ("active", "yes")]),
    ];
    for (path, fields) in everything {
        for password in [&[][..], &[("password", "wrong")]] {
            let reply = browser.post(path, &[fields, password].concat());
            assert_eq!(reply.status, 403, "{path}: {reply:?}");
            assert!(reply.text.contains("data-code=\"reauth\""), "{path}: {reply:?}");
        }
    }
    assert_eq!(server.database().count("token_blacklist_blacklistedtoken"), 0);
    server.login("ada");
    let password = [("password", PASSWORD)];
    let done = finished(&browser, &browser.post("/admin/bulk/blacklist", &[&all[..], &password].concat()));
    assert!(done.contains("done: 1 tokens"), "{done}");
    // For a few minutes it is not asked for again.
    assert_eq!(browser.post("/admin/sessions/end", &[("user", "1")]).status, 303);
}

#[test]
fn sessions_are_seen_with_their_chains_and_ended() {
    let (server, client) = admin();
    let pair = server.login("ada");
    let rotated = server.client().post_json("/api/token/refresh/", &json!({"refresh": pair.refresh}));
    let session = crate::support::mint::payload(&pair.refresh)["sid"].as_str().expect("a session").to_owned();
    let browser = Browser::signed_in(client, "root");
    let list = browser.get(&format!("/admin/sessions?user={}", server.user_id("ada")));
    assert!(list.status == 200 && list.text.contains(&session), "{list:?}");
    let chain = browser.get(&format!("/admin/session?id={session}"));
    let (first, second) = (jti(&pair.refresh), jti(&rotated.string("refresh")));
    let place = |jti: &str| chain.text.find(jti).unwrap_or_else(|| panic!("no {jti}: {chain:?}"));
    assert!(place(&first) < place(&second), "{chain:?}");
    assert!(chain.text.contains(">superseded<") && chain.text.contains("class=\"follows\""), "{chain:?}");

    let ended = browser.post("/admin/session/end", &[("id", &session), ("reason", "laptop lost")]);
    assert_eq!(ended.status, 303, "{ended:?}");
    server.settle();
    let verify = server.client().post_json("/api/token/verify/", &json!({"token": rotated.string("access")}));
    assert_eq!(verify.status, 401, "{verify:?}");
    assert!(browser.get(&format!("/admin/session?id={session}")).text.contains("laptop lost"));

    let other = server.login("ada");
    let all = browser.post("/admin/sessions/end", &[("user", &server.user_id("ada")), ("reason", "moved out")]);
    assert_eq!(all.status, 303, "{all:?}");
    server.settle();
    let verify = server.client().post_json("/api/token/verify/", &json!({"token": other.access}));
    assert_eq!(verify.status, 401, "{verify:?}");
    for (path, status) in
        [("/admin/session?id=x", 400), ("/admin/session?id=01890000-0000-7000-8000-000000000000", 404)]
    {
        assert_eq!(browser.get(path).status, status, "{path}");
    }
    let actions =
        server.database().strings("SELECT DISTINCT action FROM simplejwt_event WHERE via = 'admin' AND who = 'user:2'");
    assert!(actions.iter().any(|action| action == "end_session"), "{actions:?}");
}

#[test]
fn everything_of_a_user_ends_whatever_name_tokens_have_for_the_user() {
    let (server, client) = start(Server::new().set("user_id_field", "\"username\""));
    let key = server.user_id("ada");
    // Somebody whose name is the key of another one.
    server.add_user(&key, PASSWORD);
    let (hers, other) = (server.login("ada"), server.login(&key));
    // As Django issues them: no session, and no record here.
    let bare = claims("access").with("user_id", "ada").with("iat", crate::support::now() - 60).sign();
    let whoami = |token: &str| server.client().get("/api/token/whoami/", Some(token)).status;
    assert_eq!([&hers.access, &bare, &other.access].map(|token| whoami(token)), [200; 3]);
    let browser = Browser::signed_in(client, "root");
    let ended = browser.post("/admin/sessions/end", &[("user", &key), ("reason", "moved out")]);
    assert_eq!(ended.status, 303, "{ended:?}");
    assert_eq!([&hers.access, &bare, &other.access].map(|token| whoami(token)), [401, 401, 200]);
    assert_eq!(whoami(&server.login("ada").access), 200);
    // Nobody has that key any more, and somebody else that name.
    assert!(server.cli(&["users", "remove", "ada", "--yes"]).success());
    let refused = browser.post("/admin/sessions/end", &[("user", &key)]);
    assert!(refused.status == 400 && refused.text.contains("User not found"), "{refused:?}");
    assert_eq!(whoami(&other.access), 200);
}

#[test]
fn what_ends_everything_from_before_an_instant_ends_sign_ins_to_the_admin_too() {
    let (server, client) = start(Server::new().set("user_id_field", "\"username\""));
    for whose in [&["--user", "root"][..], &["--all", "--yes"]] {
        let browser = Browser::signed_in(client, "root");
        let done = server.cli(&["blacklist", "--user", "ada"]);
        assert!(done.success(), "{done:?}");
        assert_eq!(browser.get("/admin/tokens").status, 200, "it was about somebody else");
        let done = server.cli(&[&["blacklist"], whose].concat());
        assert!(done.success(), "{done:?}");
        assert_eq!(browser.get("/admin/tokens").status, 303, "{whose:?}");
        assert_eq!(Browser::signed_in(client, "root").get("/admin/tokens").status, 200, "{whose:?}");
    }
}

/// An application's users, whose claim is not the key, by which they cannot be asked for.
#[derive(Clone, Copy, Debug)]
struct Prefixed;

struct Person(String);

impl AuthUser for Person {
    fn id(&self) -> String {
        format!("key-{}", self.0)
    }

    fn claim(&self) -> String {
        format!("claim-{}", self.0)
    }
}

#[async_trait]
impl Authenticator for Prefixed {
    type User = Person;

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Person>, AuthenticatorError> {
        Ok((credentials.password == PASSWORD).then(|| Person(credentials.username.clone())))
    }

    async fn user_by_claim(&self, claim: &str) -> Result<Option<Person>, AuthenticatorError> {
        Ok(claim.strip_prefix("claim-").map(|name| Person(name.to_owned())))
    }

    async fn admin_access(&self, user: &Person) -> Result<AdminAccess, AuthenticatorError> {
        Ok(if user.0 == "root" { AdminAccess::Change } else { AdminAccess::None })
    }
}

#[test]
fn sessions_of_users_who_cannot_be_asked_for_by_key_end_at_once_all_the_same() {
    // Nothing of it is heard of otherwise.
    let app = App::launch("poll_interval = \"10s\"", |rocket| {
        let fairing = Simplejwt::fairing().authenticator(Prefixed);
        rocket.attach(fairing).mount("/api/token", token_routes()).mount("/admin", admin_routes())
    });
    let login = |name: &str| {
        let body = json!({"username": name, "password": PASSWORD});
        app.client().post_json("/api/token/", &body).string("access")
    };
    let tokens = [login("ada"), login("eva")];
    let browser = Browser::signed_in(app.client(), "root");
    let ended = browser.post("/admin/sessions/end", &[("user", "key-ada")]);
    assert_eq!(ended.status, 303, "{ended:?}");
    let whoami = |token: &String| app.client().get("/api/token/whoami/", Some(token)).status;
    assert_eq!(tokens.each_ref().map(whoami), [401, 200]);
    assert_eq!(whoami(&login("ada")), 200);
}

#[test]
fn users_are_added_and_changed() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let eva =
        [("username", "eva"), ("email", "eva@example.org"), ("new_password", "a long password"), ("access", "view")];
    let added = browser.post("/admin/users/add", &eva);
    assert_eq!(added.header("location"), Some("/admin/users?said=added"), "{added:?}");
    let list = browser.get("/admin/users?said=added");
    assert!(list.text.contains("eva@example.org") && list.text.contains("staff, view only"), "{list:?}");
    assert!(!list.text.contains("$argon2"));
    let again = browser.post("/admin/users/add", &eva);
    assert!(again.status == 400 && again.text.contains("exists already"), "{again:?}");
    let mut hers = Browser::new(client);
    assert_eq!(hers.try_sign_in("eva", "a long password").status, 303);

    let set = browser.post("/admin/users/password", &[("username", "eva"), ("new_password", "another password")]);
    assert_eq!(set.status, 303, "{set:?}");
    assert_eq!(hers.get("/admin/").status, 303, "out with the old password");
    let mut hers = Browser::new(client);
    assert_eq!(hers.try_sign_in("eva", "another password").status, 303);
    let disabled = browser.post("/admin/users/active", &[("username", "eva"), ("active", "no")]);
    assert_eq!(disabled.header("location"), Some("/admin/users?said=disabled"), "{disabled:?}");
    assert_eq!(hers.get("/admin/").status, 303, "out");
    let enabled = browser.post("/admin/users/active", &[("username", "eva"), ("active", "yes")]);
    assert_eq!(enabled.status, 303, "{enabled:?}");
    let events = server
        .database()
        .strings("SELECT action FROM simplejwt_event WHERE target = 'user:3' AND who = 'user:2' ORDER BY id");
    assert_eq!(events, ["add_user", "set_password", "disable_user", "enable_user"]);
    for bad in [("username", ""), ("username", "nobody")] {
        assert_eq!(browser.post("/admin/users/active", &[bad, ("active", "no")]).status, 400);
    }
}

#[test]
fn what_was_blacklisted_is_listed_with_who_did_it() {
    let (server, client) = admin();
    let pair = server.login("ada");
    // A rotation puts a row into the blacklist, too: nobody revoked that one.
    let rotated = server.client().post_json("/api/token/refresh/", &json!({"refresh": pair.refresh}));
    let browser = Browser::signed_in(client, "root");
    let fields =
        [("jti", "0123456789abcdef0123456789abcdef"), ("expires_at", "2099-01-01T00:00"), ("reason", "by hand")];
    assert_eq!(browser.post("/admin/token/blacklist", &fields).status, 303);
    let revoked = jti(&rotated.string("refresh"));
    assert!(server.cli(&["blacklist", &revoked, "--reason", "on the line"]).success());
    let page = browser.get("/admin/blacklisted");
    assert_eq!(listed(&page), [revoked.as_str(), "0123456789abcdef0123456789abcdef"], "the newest first");
    for shown in ["by hand", "user:2", "on the line", "(cli)", "2099-01-01 00:00:00", "127.0.0.1"] {
        assert!(page.text.contains(shown), "{shown}: {page:?}");
    }
    assert_eq!(listed(&browser.get("/admin/blacklisted?user=nobody")), Vec::<String>::new());
}

#[test]
fn events_are_filtered_and_followed() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    for number in 0..60 {
        let token = format!("{number:032x}");
        assert_eq!(browser.post("/admin/token/blacklist", &[("jti", &token)]).status, 303);
    }
    let page = browser.get("/admin/events?action=blacklist");
    assert_eq!(page.text.matches(">blacklist</td>").count(), 50, "{page:?}");
    let next =
        page.text.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a next page");
    let rest = browser.get(&unescaped(next));
    assert_eq!(rest.text.matches(">blacklist</td>").count(), 10, "{rest:?}");
    assert!(browser.get("/admin/events?follow=yes").text.contains("data-refresh"));
    assert!(browser.get("/admin/events?action=admin_sign_in").text.contains(">admin_sign_in</td>"));
    for bad in ["action=x", "before=0", "before=x", "follow=no"] {
        assert_eq!(browser.get(&format!("/admin/events?{bad}")).status, 400, "{bad}");
    }
    drop(server);
}
