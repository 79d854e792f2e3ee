//! The admin in a browser. Cases 101 to 112.

use serde_json::json;

use crate::support::admin::{Browser, FORM, cookie_of, form, set_back, start};
use crate::support::client::{Client, Reply};
use crate::support::held::session;
use crate::support::mint::{Hash, claims, jti};
use crate::support::server::{PASSWORD, Server};

fn admin() -> (Server, Client) {
    start(Server::new())
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.text.contains(&format!("data-code=\"{code}\"")), "{reply:?}");
}

/// Everything that changes something, with the fields that it needs.
const CHANGES: [(&str, &[(&str, &str)]); 14] = [
    ("/admin/token/blacklist", &[("jti", "8f14e45f")]),
    ("/admin/token/unblacklist", &[("jti", "8f14e45f")]),
    ("/admin/bulk", &[("jti", "8f14e45f")]),
    ("/admin/bulk/blacklist", &[("jti", "8f14e45f")]),
    ("/admin/session/end", &[("id", "01890000-0000-7000-8000-000000000000")]),
    ("/admin/sessions/end", &[("user", "1")]),
    ("/admin/users/add", &[("username", "eva"), ("new_password", PASSWORD)]),
    ("/admin/users/password", &[("username", "ada"), ("new_password", PASSWORD)]),
    ("/admin/users/active", &[("username", "ada"), ("active", "no")]),
    ("/admin/flush/try", &[]),
    ("/admin/flush/start", &[]),
    ("/admin/job/stop", &[("id", "x")]),
    ("/admin/find", &[("q", "8f14e45f")]),
    ("/admin/sign-out", &[]),
];

/// Everything that is looked at.
const PAGES: [&str; 8] = [
    "/admin/",
    "/admin/tokens",
    "/admin/token?jti=x",
    "/admin/blacklisted",
    "/admin/sessions",
    "/admin/users",
    "/admin/events",
    "/admin/flush",
];

#[test]
fn case_101_nobody_gets_in_without_a_session() {
    let (server, client) = admin();
    for path in PAGES {
        let reply = client.get(path, None);
        assert_eq!((reply.status, reply.header("location")), (303, Some("/admin/sign-in")), "{path}: {reply:?}");
        assert_refused(&client.get(path, Some(&server.login("ada").access)), 403, "forbidden");
        // What a proxy before it asks for is no token.
        let reply = client.get_as(path, "Basic eDp5");
        assert_eq!((reply.status, reply.header("location")), (303, Some("/admin/sign-in")), "{path}: {reply:?}");
    }
    for (path, fields) in CHANGES {
        let reply = client.request("POST", path, &[FORM], form(fields).as_bytes());
        assert_eq!(reply.status, 303, "{path}: {reply:?}");
        assert_eq!(reply.header("location"), Some("/admin/sign-in"));
    }
    let mut browser = Browser::new(client);
    for (name, password) in [("ada", PASSWORD), ("root", "wrong"), ("nobody", PASSWORD)] {
        let reply = browser.try_sign_in(name, password);
        assert_eq!(reply.status, 403, "{reply:?}");
        assert!(reply.text.contains("correct username and password for a staff account"), "{reply:?}");
    }
    // The API's port has no admin.
    assert_eq!(server.client().get("/admin/", None).status, 404);
}

#[track_caller]
fn assert_too_many(reply: &Reply) {
    assert_eq!(reply.status, 429, "{reply:?}");
    let wait: u32 = reply.header("retry-after").and_then(|wait| wait.parse().ok()).expect("Retry-After");
    assert!((3000..=3600).contains(&wait) && reply.text.contains(&format!("in {wait} seconds")), "{reply:?}");
}

#[test]
fn case_101_too_many_passwords_close_the_door_for_a_while_from_this_machine_too() {
    // By default nobody limits this machine, from which almost everybody comes here.
    let (server, client) = start(Server::new().set("login_name_rate_limit", "\"5/5h\""));
    let mut browser = Browser::new(client);
    for _ in 0..5 {
        assert_eq!(browser.try_sign_in("root", "wrong").status, 403);
    }
    assert_too_many(&browser.try_sign_in("root", PASSWORD));
    assert_too_many(&browser.try_sign_in("ROOT", PASSWORD));
    assert_eq!(browser.try_sign_in("ada", PASSWORD).status, 403, "another name; no staff");
    server.login("ada");

    let (_server, client) = start(Server::new().set("login_rate_limit", "\"3/3h\""));
    let mut browser = Browser::new(client);
    for name in ["root", "ada", "nobody"] {
        assert_eq!(browser.try_sign_in(name, "wrong").status, 403);
    }
    assert_too_many(&browser.try_sign_in("root", PASSWORD));
}

#[test]
fn case_101_a_password_is_guessed_at_as_often_as_if_there_were_one_door() {
    let limited = Server::new().set("login_name_rate_limit", "\"5/5h\"").set("rate_limit_trusted", "[]");
    let (server, client) = start(limited);
    let log_in = |password: &str| {
        let body = json!({"username": "root", "password": password});
        server.client().post_json("/api/token/", &body).status
    };
    let mut browser = Browser::new(client);
    assert_eq!([log_in("wrong"), log_in("wrong"), log_in("wrong")], [401; 3]);
    assert_eq!(browser.try_sign_in("root", "wrong").status, 403);
    assert_eq!(browser.try_sign_in("root", PASSWORD).status, 303);
    // From here the name has signed in by now, so that this address has a count of its own for it; the password once more counts, too.
    set_back(&server, "confirmed_at", 400);
    let confirm = || browser.post("/admin/sessions/end", &[("user", "1"), ("password", "wrong")]);
    for _ in 0..4 {
        let reply = confirm();
        assert!(reply.status == 403 && reply.text.contains("not your password"), "{reply:?}");
    }
    assert_eq!(log_in(PASSWORD), 200);
    let reply = confirm();
    assert!(reply.status == 403 && reply.text.contains("Too many attempts"), "{reply:?}");
    assert_eq!(log_in(PASSWORD), 429);
}

#[test]
fn case_102_a_form_needs_its_token() {
    let (server, client) = admin();
    let before = Browser::new(client);
    let (browser, other) = (Browser::signed_in(client, "root"), Browser::signed_in(client, "root"));
    let blacklisted = server.database().count("token_blacklist_blacklistedtoken");
    for (path, fields) in CHANGES {
        assert_refused(&browser.post_bare(path, fields, &[]), 403, "csrf");
        for token in ["", "x", &other.csrf, &before.csrf, &browser.csrf.to_lowercase()] {
            assert_refused(&browser.post_bare(path, &[&[("csrf", token)], fields].concat(), &[]), 403, "csrf");
        }
        let reply = browser.get(path);
        assert_refused(&reply, 405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some("POST"));
    }
    assert_eq!(server.database().count("token_blacklist_blacklistedtoken"), blacklisted);
    // To sign in needs one too, or somebody could be signed in as somebody else.
    let fields = [("username", "root"), ("password", PASSWORD)];
    assert_refused(&before.post_bare("/admin/sign-in", &fields, &[]), 403, "csrf");
    let no_cookie = client.request("POST", "/admin/sign-in", &[FORM], form(&fields).as_bytes());
    assert_refused(&no_cookie, 403, "csrf");
    // A form of a page elsewhere cannot pretend to be another method, nor a page here to be looked at.
    for method in ["PUT", "PATCH", "DELETE", "TRACE"] {
        assert_eq!(client.request(method, "/admin/token/blacklist", &[("Cookie", &browser.cookie)], b"").status, 405);
    }
}

#[test]
fn case_103_what_another_site_sends_is_refused() {
    let (_server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    for headers in [
        &[("Origin", "https://evil.example")][..],
        &[("Origin", "null")],
        &[("Origin", "http://127.0.0.1:1")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "none")],
    ] {
        for (path, fields) in CHANGES {
            assert_refused(&browser.post_from(path, fields, headers), 403, "csrf");
        }
        let fresh = Browser::new(client);
        let fields = [("username", "root"), ("password", PASSWORD)];
        assert_refused(&fresh.post_from("/admin/sign-in", &fields, headers), 403, "csrf");
    }
    let own = [("Host", "admin.example"), ("Origin", "https://admin.example"), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(browser.post_from("/admin/find", &[("q", "x")], &own).status, 303);
}

#[test]
fn case_104_only_forms_are_read() {
    let (_server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let json = format!(r#"{{"csrf":"{}","jti":"x"}}"#, browser.csrf);
    for media in ["text/plain", "application/json", "multipart/form-data; boundary=x", ""] {
        let headers = [("Cookie", browser.cookie.as_str()), ("Content-Type", media)];
        let reply = client.request("POST", "/admin/token/blacklist", &headers, json.as_bytes());
        assert_refused(&reply, 415, "media");
    }
}

#[test]
fn case_105_what_others_wrote_is_shown_as_text() {
    let (server, client) = admin();
    let nasty = r#"<script>alert(1)</script>"onx='x' javascript:alert(1) {{7*7}} {% raw %}"#;
    let browser = Browser::signed_in(client, "root");
    let token = jti(&server.login("ada").refresh);
    let reply = browser.post("/admin/token/blacklist", &[("jti", &token), ("reason", nasty)]);
    assert_eq!(reply.status, 303, "{reply:?}");
    // So may whoever adds users, and whoever logs in with any program.
    let name = r#"<script>alert(7)</script>"onx="#;
    let her = [("username", name), ("email", r#""onx=<img src=x>@a.example"#), ("new_password", PASSWORD)];
    let added = browser.post("/admin/users/add", &[&her[..], &[("access", "change")]].concat());
    assert_eq!(added.status, 303, "{added:?}");
    let body = json!({"username": "ada", "password": PASSWORD}).to_string();
    let headers = [("Content-Type", "application/json"), ("User-Agent", nasty)];
    let login = server.client().request("POST", "/api/token/", &headers, body.as_bytes());
    let session = session(&login.string("refresh"));
    let ended = browser.post("/admin/session/end", &[("id", &session), ("reason", nasty)]);
    assert_eq!(ended.status, 303, "{ended:?}");
    let mut browser = Browser::new(client);
    assert_eq!(browser.try_sign_in(name, PASSWORD).status, 303);
    // Django may have recorded anything.
    server.database().record_row(
        "a<script>alert(2)</script>",
        crate::support::now() + 600,
        "'\"><img src=x onerror=alert(3)>'",
    );
    let pages = [
        "/admin/blacklisted".to_owned(),
        "/admin/events".to_owned(),
        "/admin/events?target=%3Cscript%3Ealert(5)%3C%2Fscript%3E".to_owned(),
        "/admin/sessions?user=%22onx%3D%3Cscript%3Ealert(6)".to_owned(),
        format!("/admin/session?id={session}"),
        "/admin/sessions".to_owned(),
        format!("/admin/token?jti={token}"),
        "/admin/tokens".to_owned(),
        "/admin/users".to_owned(),
        "/admin/tokens?user=%3Cscript%3Ealert(4)%3C%2Fscript%3E%22onx%3D".to_owned(),
        "/admin/tokens?jti=%3Cscript%3E".to_owned(),
    ];
    for path in pages {
        let page = browser.get(&path);
        for raw in ["<script>alert", "<img src=x", "\"onx", "49 "] {
            assert!(!page.text.contains(raw), "{path}: {raw}: {page:?}");
        }
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!page.text.contains(" style=") && !page.text.contains(" onclick="), "{path}");
    }
    for (path, shown) in [
        (format!("/admin/token?jti={token}"), "&#60;script&#62;alert(1)"),
        // The User-Agent, and why it ended; and who is signed in.
        (format!("/admin/session?id={session}"), "<dt>With</dt><dd>&#60;script&#62;alert(1)"),
        (format!("/admin/session?id={session}"), "</span> &#60;script&#62;alert(1)"),
        ("/admin/users".to_owned(), "<span>&#60;script&#62;alert(7)"),
        ("/admin/users".to_owned(), "&#60;img src=x&#62;@a.example"),
    ] {
        let page = browser.get(&path);
        assert!(page.text.contains(shown), "{path}: {shown}: {page:?}");
    }
}

#[test]
fn case_106_no_page_is_framed_or_kept() {
    let (_server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let fresh = Browser::new(client).get("/admin/sign-in");
    for page in [browser.get("/admin/tokens"), browser.get("/admin/tokens?order=x"), fresh, client.get("/admin/", None)]
    {
        let header = |name: &str| page.header(name).unwrap_or_default().to_owned();
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{page:?}");
        assert!(header("content-security-policy").contains("base-uri 'none'"), "{page:?}");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "same-origin");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(page.header("server"), None);
    }
}

#[test]
fn case_108_no_page_shows_a_token_or_a_hash() {
    let (server, client) = admin();
    let pair = server.login("ada");
    let browser = Browser::signed_in(client, "root");
    let hash = server.database().value("SELECT password FROM simplejwt_user WHERE username = 'ada'").expect("a hash");
    // As a browser that was given the token finds its row.
    let found = browser.post("/admin/find", &[("q", &pair.refresh)]);
    let row = format!("/admin/token?jti={}", jti(&pair.refresh));
    assert_eq!((found.status, found.header("location")), (303, Some(row.as_str())), "{found:?}");
    let signature = pair.refresh.rsplit('.').next().expect("a signature");
    let forged = format!("{}x", pair.access);
    let refused = browser.post("/admin/find", &[("q", &forged)]);
    assert_refused(&refused, 400, "bad_request");
    assert!(!server.database().dump().contains(signature));
    // Django keeps the whole token.
    server.database().execute(&format!(
        "UPDATE token_blacklist_outstandingtoken SET token = '{}' WHERE jti = '{}'",
        pair.refresh,
        jti(&pair.refresh)
    ));
    assert!(server.database().dump().contains(signature));
    let session = format!("/admin/session?id={}", session(&pair.refresh));
    let pages = PAGES.iter().copied().chain([row.as_str(), &session]).map(|path| browser.get(path));
    for page in pages.chain([found, refused]) {
        for secret in [signature, &pair.access, &hash, &forged, "$argon2"] {
            assert!(!page.text.contains(secret) && !page.headers.iter().any(|(_, value)| value.contains(secret)));
        }
    }
    assert!(!server.log().contains(signature), "{}", server.log());
}

#[test]
fn case_108_a_pasted_token_is_in_no_address_whatever_stands_around_it() {
    let (server, client) = admin();
    let (refresh, browser) = (server.login("ada").refresh, Browser::signed_in(client, "root"));
    let row = format!("/admin/token?jti={}", jti(&refresh));
    let foreign = claims("refresh").sign_with(Hash::Sha256, b"another key, which is long enough for HS256");
    let (start, end) = refresh.split_at(60);
    let around = |token: &str| {
        [
            token.to_owned(),
            format!("Bearer {token}"),
            format!("\"{token}\""),
            format!("{{\"refresh\":\"{token}\"}}"),
            format!("refresh_token_cookie={token}"),
            format!("Cookie: a=b; refresh_token_cookie={token}; c=d"),
            format!("Authorization:Bearer{token}"),
        ]
    };
    for by in ["jti", "user"] {
        for text in around(&refresh).into_iter().chain([format!("{start}\n {end}"), format!("{foreign} {refresh}")]) {
            let found = browser.post("/admin/find", &[("q", &text), ("by", by)]);
            assert_eq!((found.status, found.header("location")), (303, Some(row.as_str())), "{by}: {text}: {found:?}");
        }
        for text in around(&foreign) {
            let refused = browser.post("/admin/find", &[("q", &text), ("by", by)]);
            assert_refused(&refused, 400, "bad_request");
            assert_eq!(refused.header("location"), None, "{text}");
            let signature = foreign.rsplit('.').next().expect("a signature");
            assert!(!refused.text.contains(signature) && !refused.text.contains("eyJ"), "{refused:?}");
        }
        // What only looks a little like one is looked for.
        let found = browser.post("/admin/find", &[("q", "eva.key.example"), ("by", by)]);
        assert_eq!(found.header("location"), Some(format!("/admin/tokens?{by}=eva.key.example").as_str()), "{found:?}");
    }
}

#[test]
fn case_109_the_cookie_is_bound_to_this_host_and_out_of_reach_of_scripts() {
    let (server, client) = admin();
    let mut browser = Browser::new(client);
    let page = client.get("/admin/sign-in", None);
    let signed_in = browser.try_sign_in("root", PASSWORD);
    for reply in [&page, &signed_in] {
        let cookie = reply.header("set-cookie").expect("a cookie");
        assert!(cookie.starts_with("__Host-simplejwt-admin="), "{cookie}");
        for part in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
    // What the database has of it lets nobody in.
    let secret = browser.cookie.split('=').nth(1).expect("a value").to_owned();
    assert!(!server.database().dump().contains(&secret));
    let digest = server.database().value("SELECT digest FROM simplejwt_admin_session").expect("a row");
    let thief = Browser { cookie: format!("__Host-simplejwt-admin={digest}"), ..browser.clone() };
    assert_eq!(thief.get("/admin/tokens").status, 303);
    // Two of them are none.
    let two = format!("{}; __Host-simplejwt-admin=x", browser.cookie);
    assert_eq!(Browser { cookie: two, ..browser }.get("/admin/tokens").status, 303);
}

#[test]
fn case_110_what_makes_no_sense_is_400() {
    let (_server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    let long = "x".repeat(10_000);
    for query in [
        "jti=%27%20OR%201%3D1--",
        "jti=a%00b",
        "user=a%00b",
        "kind=admin",
        "state=%27%3B%20DROP%20TABLE%20x",
        "order=id%3BDROP",
        "session=1",
        "created_from=1e9",
        "expires_until=-1",
        "after=-1",
        "after=1e9",
        "after=99999999999999999999",
        "after=x",
        "jti=%FF",
        "jti=a&jti=b",
        &format!("user={long}"),
    ] {
        assert_refused(&browser.get(&format!("/admin/tokens?{query}")), 400, "bad_request");
    }
    for query in ["after=9223372036854775807", "after=0&order=oldest", "order=expiry&after=1&key=x", "user=%25", "x=y"]
    {
        assert_eq!(browser.get(&format!("/admin/tokens?{query}")).status, 200, "{query}");
    }
    for path in ["users?after=-1", "blacklisted?before=0", "blacklisted?before=-1", "sessions?after=x&state=x", "job"] {
        assert_refused(&browser.get(&format!("/admin/{path}")), 400, "bad_request");
    }
    for path in
        ["sessions?after=x", "sessions?state=x", "users?said=x", "token?jti=a&said=x", "events?after=x&follow=x"]
    {
        assert_refused(&browser.get(&format!("/admin/{path}")), 400, "bad_request");
    }
    let endless = browser.get(&format!("/admin/tokens?user={}", "x".repeat(1_000_000)));
    assert!([400, 414, 431].contains(&endless.status), "{}", endless.status);
    for fields in
        [&[("jti", "")][..], &[("jti", "a b")], &[("jti", &long)], &[("jti", "a"), ("jti", "b")], &[("jti", "a\0")]]
    {
        assert_refused(&browser.post("/admin/token/blacklist", fields), 400, "bad_request");
    }
    assert_refused(
        &browser.post("/admin/token/blacklist", &[("jti", "a"), ("reason", "two\nlines")]),
        400,
        "bad_request",
    );
    let heap = "x".repeat(70_000);
    assert_refused(&browser.post("/admin/find", &[("q", &heap)]), 413, "too_large");
}

#[test]
fn case_111_after_signing_out_the_cookie_is_worth_nothing() {
    let (server, client) = admin();
    let browser = Browser::signed_in(client, "root");
    assert_eq!(browser.get("/admin/tokens").status, 200);
    let reply = browser.post("/admin/sign-out", &[]);
    assert_eq!((reply.status, reply.header("location")), (303, Some("/admin/sign-in")), "{reply:?}");
    assert!(reply.header("set-cookie").expect("a cookie").contains("Max-Age=0"));
    assert_eq!(browser.get("/admin/tokens").status, 303);
    assert_eq!(browser.post("/admin/find", &[("q", "x")]).status, 303);
    let events = server.database().strings("SELECT action FROM simplejwt_event WHERE via = 'admin' ORDER BY id");
    assert_eq!(events, ["admin_sign_in", "admin_sign_out"]);
}

#[test]
fn case_112_a_cookie_from_before_signing_in_is_worth_nothing_after() {
    let (_server, client) = admin();
    let before = Browser::new(client);
    let mut browser = before.clone();
    let first = browser.try_sign_in("root", PASSWORD);
    assert_ne!(before.cookie, cookie_of(&first));
    assert_eq!(before.get("/admin/tokens").status, 303);
    // Elsewhere one can be signed in as well.
    let elsewhere = Browser::signed_in(client, "root");
    // Whoever signs in again is signed out of what was before.
    let old = browser.clone();
    let again = browser.try_sign_in("root", PASSWORD);
    assert_eq!(again.status, 303, "{again:?}");
    assert_ne!(old.cookie, browser.cookie);
    assert_eq!(old.get("/admin/tokens").status, 303);
    assert_eq!([&browser, &elsewhere].map(|browser| browser.get("/admin/tokens").status), [200; 2]);
}

#[test]
fn a_session_of_the_admin_is_over_after_a_while_and_when_somebody_ends_it() {
    let (server, client) = admin();
    // Half an hour without a click, and twelve hours in any case.
    for (column, good, over) in [("seen_at", 1_700, 1_801), ("ends_at", -10, 1)] {
        let browser = Browser::signed_in(client, "root");
        // What loads itself again is no click, and is not noted.
        let looks = || browser.get("/admin/tokens?again=yes").status;
        set_back(&server, column, good);
        assert_eq!(looks(), 200, "{column}");
        set_back(&server, column, over);
        assert_eq!(looks(), 303, "{column}");
        assert_eq!(browser.get("/admin/tokens").status, 303, "{column}");
        assert_eq!(browser.post("/admin/token/blacklist", &[("jti", "x")]).status, 303, "{column}");
        server.database().execute("DELETE FROM simplejwt_admin_session");
    }
    let browser = Browser::signed_in(client, "root");
    let id = server.database().value("SELECT session_id FROM simplejwt_admin_session").expect("a session");
    assert!(browser.get("/admin/sessions").text.contains(&id), "a session like any other");
    let ended = server.cli(&["sessions", "end", &id]);
    assert!(ended.success(), "{ended:?}");
    assert_eq!(browser.get("/admin/tokens").status, 303);
    let browser = Browser::signed_in(client, "root");
    let lifetime = "admin_session_lifetime is counted from the sign-in";
    let left = server.database().seconds("ends_at");
    let ends =
        server.database().number(&format!("SELECT {left} FROM simplejwt_admin_session WHERE session_id <> '{id}'"));
    assert!((ends - crate::support::now() - 12 * 3_600).abs() < 60, "{lifetime}: {ends}");
    assert_eq!(browser.get("/admin/tokens").status, 200);
}

#[test]
fn whoever_is_disabled_or_gets_another_password_is_out_at_once() {
    let (server, client) = admin();
    for command in [&["users", "disable", "root"][..], &["users", "passwd", "root"]] {
        let browser = Browser::signed_in(client, "root");
        assert_eq!(browser.get("/admin/tokens").status, 200);
        let done = server.cli_stdin(command, &format!("{PASSWORD}\n"));
        assert!(done.success(), "{done:?}");
        assert_eq!(browser.get("/admin/tokens").status, 303, "{command:?}");
        assert_eq!(browser.post("/admin/token/blacklist", &[("jti", "x")]).status, 303, "{command:?}");
        assert!(server.cli(&["users", "enable", "root"]).success());
        assert_eq!(browser.get("/admin/tokens").status, 303, "also when the user is let in again");
    }
    let browser = Browser::signed_in(client, "root");
    server.database().execute("UPDATE simplejwt_user SET is_staff = false WHERE username = 'root'");
    assert_eq!(browser.get("/admin/tokens").status, 303);
}

#[test]
fn whoever_may_only_look_changes_nothing() {
    let (server, client) = admin();
    let added = server.cli_stdin(&["users", "add", "eva", "--view-only"], &format!("{PASSWORD}\n"));
    assert!(added.success(), "{added:?}");
    let browser = Browser::signed_in(client, "eva");
    let token = jti(&server.login("ada").refresh);
    let page = browser.get(&format!("/admin/token?jti={token}"));
    assert!(page.status == 200 && !page.text.contains("/admin/token/blacklist"), "{page:?}");
    for (path, fields) in CHANGES.iter().filter(|(path, _)| !["/admin/find", "/admin/sign-out"].contains(path)) {
        assert_refused(&browser.post(path, fields), 403, "forbidden");
    }
    for path in PAGES.iter().filter(|path| !path.contains("token?")) {
        let page = browser.get(path);
        assert_eq!(page.status, 200, "{page:?}");
        // Only to find and to sign out.
        assert_eq!(page.text.matches("method=\"post\"").count(), 2, "{page:?}");
    }
    assert!(!server.database().is_blacklisted(&token));
    assert_eq!(browser.post("/admin/find", &[("q", &token)]).status, 303);
    assert_eq!(browser.post("/admin/sign-out", &[]).status, 303);
}
