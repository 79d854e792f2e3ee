//! How requests and answers look, whatever the route: slashes, bodies, methods, errors, health, a database that is
//! locked, read-only or broken. Cases 7, 8, 9 and 22 of every route.

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, Reply, percent, read_reply};
use crate::support::mint::{claims, jti};
use crate::support::now;
use crate::support::server::{PASSWORD, Server};

static SERVER: LazyLock<Server> = LazyLock::new(Server::with_ada);

/// Every token route that takes `POST`, without its slash.
const POSTED: [&str; 6] = [
    "/api/token",
    "/api/token/refresh",
    "/api/token/sliding",
    "/api/token/sliding/refresh",
    "/api/token/verify",
    "/api/token/blacklist",
];

fn ada() -> Value {
    json!({"username": "ada", "password": PASSWORD})
}

/// Fails if the answer is a page for a browser, or an error without a JSON body that says what is wrong.
#[track_caller]
fn assert_no_page(reply: &Reply, what: &str) {
    let kind = reply.header("content-type").unwrap_or_default();
    assert!(!kind.contains("html") && !reply.text.contains('<'), "{what}: {reply:?}");
    if reply.status >= 400 && !reply.text.is_empty() {
        assert_eq!(kind, "application/json", "{what}: {reply:?}");
        assert!(reply.json().is_object(), "{what}: {reply:?}");
    }
    assert_ne!(reply.status, 500, "{what}: {reply:?}");
}

#[test]
fn every_route_answers_with_and_without_a_slash() {
    let client = SERVER.client();
    for path in POSTED {
        let (bare, slash) = (client.post_json(path, &json!({})), client.post_json(&format!("{path}/"), &json!({})));
        assert_eq!(bare.status, 400, "{path}: {bare:?}");
        slash.assert(400, &bare.json());
    }
    for path in ["/api/token", "/api/token/"] {
        let pair = client.post_json(path, &ada());
        assert_eq!(pair.status, 200, "{path}: {pair:?}");
        let (access, refresh) = (pair.string("access"), pair.string("refresh"));
        let route = |name: &str| format!("/api/token/{name}{}", path.strip_prefix("/api/token").expect("a prefix"));
        assert_eq!(client.get(&route("whoami"), Some(&access)).status, 200);
        assert_eq!(client.post_json(&route("verify"), &json!({"token": access})).status, 200);
        let next = client.post_json(&route("refresh"), &json!({"refresh": refresh}));
        assert_eq!(next.status, 200, "{next:?}");
        let gone = client.post_json(&route("blacklist"), &json!({"refresh": next.string("refresh")}));
        gone.assert(200, &json!({}));
        let sliding = client.post_json(&route("sliding"), &ada());
        assert_eq!(sliding.status, 200, "{sliding:?}");
        let renewed = client.post_json(&route("sliding/refresh"), &json!({"token": sliding.string("token")}));
        assert_eq!(renewed.status, 200, "{renewed:?}");
    }
    assert_eq!(client.post_json("/api/token/?next=/x", &ada()).status, 200, "a query changes nothing");
}

// Case 9.
#[test]
fn forms_and_multipart_are_taken_like_json() {
    let client = SERVER.client();
    let fields = [("username", "ada"), ("password", PASSWORD)];
    for reply in [client.post_form("/api/token/", &fields), client.post_multipart("/api/token/", &fields)] {
        assert_eq!(reply.status, 200, "{reply:?}");
        let refresh = reply.string("refresh");
        let next = client.post_form("/api/token/refresh/", &[("refresh", &refresh)]);
        assert_eq!(next.status, 200, "{next:?}");
        let refresh = next.string("refresh");
        client.post_multipart("/api/token/verify/", &[("token", &refresh)]).assert(200, &json!({}));
        client.post_form("/api/token/blacklist/", &[("refresh", &refresh)]).assert(200, &json!({}));
        client.post_multipart("/api/token/blacklist/", &[("refresh", &refresh)]).assert(200, &json!({}));
        client.post_form("/api/token/refresh/", &[("refresh", &refresh)]).assert_not_valid("Token is blacklisted");
    }
    let (required, blank) = ("This field is required.", "This field may not be blank.");
    let empty = [("username", ""), ("other", "x")];
    for reply in [client.post_form("/api/token/", &empty), client.post_multipart("/api/token/", &empty)] {
        reply.assert(400, &json!({"username": [blank], "password": [required]}));
    }
    let wrong = [("username", "ada"), ("password", "wrong")];
    for reply in [client.post_form("/api/token/", &wrong), client.post_multipart("/api/token/", &wrong)] {
        reply.assert(401, &json!({"detail": "No active account found with the given credentials"}));
    }
}

#[test]
fn form_text_is_decoded() {
    let name = "Zoë & Söhne=100% +1";
    SERVER.add_user(name, "pass & wörd+ %41");
    let client = SERVER.client();
    let fields = [("username", name), ("password", "pass & wörd+ %41")];
    assert_eq!(client.post_form("/api/token/", &fields).status, 200);
    assert_eq!(client.post_multipart("/api/token/", &fields).status, 200);
    let body =
        format!("username={}&password={}", percent(name).replace("%20", "+"), percent(fields[1].1).replace("%20", "+"));
    let kind = "application/x-www-form-urlencoded; charset=UTF-8";
    assert_eq!(client.post("/api/token/", kind, body.as_bytes()).status, 200, "a plus is a space");
    for broken in
        [&b"username=%ff&password=x"[..], b"username=\xff&password=x", b"username=%zz&password=x", b"%", b"&&="]
    {
        let reply = client.post("/api/token/", "application/x-www-form-urlencoded", broken);
        assert!(matches!(reply.status, 400 | 401), "{broken:?}: {reply:?}");
        assert_no_page(&reply, "a broken form");
    }
}

#[test]
fn broken_multipart_is_a_client_s_error() {
    let client = SERVER.client();
    for (kind, body) in [
        ("multipart/form-data; boundary=x", ""),
        ("multipart/form-data; boundary=x", "nothing of the kind"),
        ("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nada"),
        ("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data\r\n\r\nada\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", "--x\r\n\r\nada\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=y",
            "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nada\r\n--x--\r\n",
        ),
    ] {
        let reply = client.post("/api/token/", kind, body.as_bytes());
        assert_eq!(reply.status, 400, "{kind} {body:?}: {reply:?}");
        assert_no_page(&reply, body);
    }
    for kind in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary"] {
        let reply = client.post("/api/token/", kind, b"--x\r\n\r\n--x--");
        assert!(matches!(reply.status, 400 | 415), "{kind}: {reply:?}");
        assert_no_page(&reply, kind);
    }
}

#[test]
fn json_is_known_by_its_content_type() {
    let client = SERVER.client();
    for kind in
        ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8"]
    {
        assert_eq!(client.post("/api/token/", kind, ada().to_string().as_bytes()).status, 200, "{kind}");
    }
}

// Case 7.
#[test]
fn any_other_content_type_is_415() {
    let client = SERVER.client();
    for path in POSTED {
        for kind in
            ["text/xml", "text/plain", "application/vnd.api+json", "application/jwt", "application/octet-stream"]
        {
            for path in [path.to_owned(), format!("{path}/")] {
                let reply = client.post(&path, kind, ada().to_string().as_bytes());
                reply.assert(415, &json!({"detail": format!("Unsupported media type \"{kind}\" in request.")}));
            }
        }
    }
    let none = client.request("POST", "/api/token/", &[], ada().to_string().as_bytes());
    assert_eq!(none.status, 415, "a body without a type: {none:?}");
    assert_no_page(&none, "no type");
    for odd in ["nonsense", "/", "application/", "application/json, text/plain", "*/*", "application/*"] {
        let reply = client.post("/api/token/", odd, ada().to_string().as_bytes());
        assert_eq!(reply.status, 415, "{odd}: {reply:?}");
        assert_no_page(&reply, odd);
    }
    let twice = [("Content-Type", "text/plain"), ("Content-Type", "application/json")];
    let reply = client.request("POST", "/api/token/", &twice, ada().to_string().as_bytes());
    assert!(matches!(reply.status, 400 | 415), "two types: {reply:?}");
}

// Case 8.
#[test]
fn any_other_method_is_405() {
    let client = SERVER.client();
    for path in POSTED {
        for path in [path.to_owned(), format!("{path}/")] {
            for method in ["GET", "PUT", "PATCH", "DELETE"] {
                let reply = client.request(method, &path, &[], b"");
                reply.assert(405, &json!({"detail": format!("Method \"{method}\" not allowed.")}));
                let allowed = reply.header("allow").unwrap_or_default().to_owned();
                assert!(allowed.split(',').any(|method| method.trim() == "POST"), "{reply:?}");
            }
            let head = client.request("HEAD", &path, &[], b"");
            assert_eq!((head.status, head.text.as_str()), (405, ""), "{head:?}");
        }
    }
    let access = SERVER.login("ada").access;
    let authorization = format!("Bearer {access}");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let reply = client.request(method, "/api/token/whoami/", &[("Authorization", &authorization)], b"");
        reply.assert(405, &json!({"detail": format!("Method \"{method}\" not allowed.")}));
        assert!(reply.header("allow").unwrap_or_default().contains("GET"), "{reply:?}");
    }
}

#[test]
fn a_form_cannot_change_its_method() {
    let fields = [("_method", "DELETE"), ("username", "ada"), ("password", PASSWORD)];
    let reply = SERVER.client().post_form("/api/token/", &fields);
    assert_eq!(reply.status, 200, "`_method` is a field like any other: {reply:?}");
    for method in ["PUT", "GET", "delete", "patch"] {
        let reply = SERVER.client().post_form("/api/token/verify/", &[("_method", method), ("token", "x")]);
        reply.assert_not_valid("Token is invalid");
    }
    let whoami = SERVER.client().post_form("/api/token/whoami/", &[("_method", "GET")]);
    assert_eq!(whoami.status, 405, "{whoami:?}");
    // A request that was of another method to begin with stays so.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for method in ["PUT", "PATCH"] {
        let reply = SERVER.client().request(method, "/api/token/verify/", &form, b"_method=x&token=x");
        assert_eq!(reply.status, 405, "{reply:?}");
    }
}

#[test]
fn head_and_options_are_answered_without_a_body_or_a_page() {
    let access = SERVER.login("ada").access;
    let authorization = format!("Bearer {access}");
    let head = SERVER.client().request("HEAD", "/api/token/whoami/", &[("Authorization", &authorization)], b"");
    assert_eq!((head.status, head.text.as_str()), (200, ""), "{head:?}");
    let head = SERVER.client().request("HEAD", "/api/token/whoami/", &[], b"");
    assert_eq!((head.status, head.text.as_str()), (401, ""), "{head:?}");
    for path in POSTED {
        let reply = SERVER.client().request("OPTIONS", &format!("{path}/"), &[], b"");
        assert!(matches!(reply.status, 200 | 204 | 405), "{path}: {reply:?}");
        assert_no_page(&reply, path);
        assert!(reply.header("allow").unwrap_or_default().contains("POST"), "{path}: {reply:?}");
    }
}

#[test]
fn nothing_is_answered_with_a_page() {
    let client = SERVER.client();
    for path in [
        "/",
        "/nothing",
        "/api",
        "/api/token/nothing",
        "/api/token/nothing/",
        "/api/token/refresh/x",
        "/api/token//",
        "//api/token/",
        "/api/token/%ff",
        "/api/token/%00",
        "/api/token/..%2f",
        "/api/token/<script>",
        "/api/token/../whoami/",
        "/api/token/whoami;x=1/",
    ] {
        for method in ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT", "NONSENSE"] {
            let reply = client.request(method, path, &[], b"");
            assert_no_page(&reply, &format!("{method} {path}"));
            assert!(reply.status >= 200, "{method} {path}: {reply:?}");
        }
    }
    let missing = client.get("/nothing", None);
    assert_eq!(missing.status, 404, "{missing:?}");
    assert!(missing.json()["detail"].is_string(), "{missing:?}");
}

#[test]
fn a_request_that_is_no_http_is_refused_and_the_server_goes_on() {
    let client = SERVER.client();
    for bytes in [
        &b"nonsense\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/token/ HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /api/token/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /api/token/ HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = client.connect();
        stream.write_all(bytes).expect("send");
        stream.shutdown(std::net::Shutdown::Write).expect("end the request");
        if let Some(reply) = read_reply(&mut stream, false) {
            assert!((400..500).contains(&reply.status), "{bytes:?}: {reply:?}");
            assert_no_page(&reply, "no HTTP");
        }
    }
    assert_eq!(client.post_json("/api/token/", &ada()).status, 200);
}

#[test]
fn a_body_has_16_kib_at_most() {
    let client = SERVER.client();
    let padded = |length: usize| {
        let text = ada().to_string();
        format!("{text}{}", " ".repeat(length - text.len()))
    };
    assert_eq!(client.post("/api/token/", "application/json", padded(16 * 1024).as_bytes()).status, 200);
    for length in [16 * 1024 + 1, 1024 * 1024] {
        let reply = client.post("/api/token/", "application/json", padded(length).as_bytes());
        assert_eq!(reply.status, 413, "{length}: {reply:?}");
        assert_no_page(&reply, "too large");
    }
    let long = "x".repeat(20_000);
    for reply in [
        client.post_form("/api/token/", &[("username", &long), ("password", "x")]),
        client.post_multipart("/api/token/", &[("username", &long), ("password", "x")]),
    ] {
        assert_eq!(reply.status, 413, "{reply:?}");
        assert_no_page(&reply, "too large");
    }
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", 20_000, padded(20_000));
    let headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")];
    let reply = client.request("POST", "/api/token/", &headers, chunked.as_bytes());
    assert_eq!(reply.status, 413, "{reply:?}");
    let small = format!("{:x}\r\n{}\r\n0\r\n\r\n", ada().to_string().len(), ada());
    let reply = client.request("POST", "/api/token/", &headers, small.as_bytes());
    assert_eq!(reply.status, 200, "a body in chunks is a body: {reply:?}");
}

#[test]
fn deep_and_empty_bodies_are_a_client_s_error() {
    let client = SERVER.client();
    for body in [
        "[".repeat(8000),
        "{\"a\":".repeat(2000),
        format!("{{\"username\": {}1{}}}", "[".repeat(4000), "]".repeat(4000)),
    ] {
        let reply = client.post("/api/token/", "application/json", body.as_bytes());
        assert_eq!(reply.status, 400, "{reply:?}");
        assert_no_page(&reply, "deep");
    }
    for kind in ["application/json", "application/x-www-form-urlencoded"] {
        let required = json!({"refresh": ["This field is required."]});
        client.post("/api/token/refresh/", kind, b"").assert(400, &required);
    }
    client
        .post_json("/api/token/refresh/", &json!(null))
        .assert(400, &json!({"non_field_errors": ["No data provided"]}));
    let bare = client.request("POST", "/api/token/", &[], b"");
    assert!(matches!(bare.status, 400 | 415), "{bare:?}");
    assert_no_page(&bare, "no body");
}

#[test]
fn token_answers_are_kept_by_nobody() {
    let client = SERVER.client();
    let pair = SERVER.login("ada");
    for reply in [
        client.post_json("/api/token/", &ada()),
        client.post_json("/api/token/", &json!({})),
        client.post_json("/api/token/", &json!({"username": "ada", "password": "wrong"})),
        client.post_json("/api/token/refresh/", &json!({"refresh": "x"})),
        client.post_json("/api/token/refresh/", &json!({"refresh": pair.refresh})),
        client.post_json("/api/token/verify/", &json!({"token": pair.access})),
        client.get("/api/token/whoami/", Some(&pair.access)),
        client.get("/api/token/whoami/", None),
        client.get("/api/token/", None),
    ] {
        assert_eq!(reply.headers_named("cache-control"), ["no-store"], "{reply:?}");
    }
}

#[test]
fn a_connection_serves_several_requests() {
    let mut stream = SERVER.client().connect();
    for _ in 0..3 {
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n").expect("send");
        let mut seen = Vec::new();
        let mut buffer = [0; 1024];
        while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
            let count = std::io::Read::read(&mut stream, &mut buffer).expect("an answer");
            assert_ne!(count, 0, "closed after {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..count]);
        }
        assert!(seen.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&seen));
    }
}

#[test]
fn a_healthy_server_says_so() {
    for path in ["/health/live", "/health/ready"] {
        let reply = SERVER.client().get(path, None);
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(reply.string("status"), path.rsplit('/').next().expect("a word"));
        assert!(!reply.text.contains("sql") && !reply.text.contains('/'), "no paths for everybody: {reply:?}");
    }
}

/// Fails unless the request was put off, within the five seconds that the design allows.
#[track_caller]
fn assert_put_off(what: &str, request: impl FnOnce() -> Reply) {
    let start = Instant::now();
    let reply = request();
    assert_eq!(reply.status, 503, "{what}: {reply:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{what} took {:?}", start.elapsed());
    let seconds: u32 = reply.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{what}: {reply:?}");
    assert_no_page(&reply, what);
    assert!(reply.json()["detail"].is_string(), "{what}: {reply:?}");
    assert!(!reply.text.contains("sql") && !reply.text.contains('/'), "{what}: {reply:?}");
}

/// Waits until the server says that it takes writes again. The answer may be a second old.
#[track_caller]
fn wait_until_ready(client: Client) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while client.get("/health/ready", None).json()["status"] != "ready" {
        assert!(Instant::now() < deadline, "the server does not notice that it may write again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_locked_database_puts_writers_off_and_nothing_is_half_done() {
    let server = Server::with_ada();
    let client = server.client();
    let pair = server.login("ada");
    let other = server.login("ada");
    let rows = |server: &Server| {
        let mut database = server.database();
        ["token_blacklist_outstandingtoken", "token_blacklist_blacklistedtoken", "simplejwt_session", "simplejwt_token"]
            .map(|table| database.count(table))
    };
    let before = rows(&server);

    let mut lock = server.database();
    lock.keep_writers_out();
    std::thread::scope(|scope| {
        let post =
            |what, path, body: Value| scope.spawn(move || assert_put_off(what, || client.post_json(path, &body)));
        post("obtain", "/api/token/", ada());
        post("sliding", "/api/token/sliding/", ada());
        post("refresh", "/api/token/refresh/", json!({"refresh": pair.refresh}));
        post("blacklist", "/api/token/blacklist/", json!({"refresh": other.refresh}));
        let output = server.cli(&["blacklist", &jti(&other.refresh)]);
        assert_eq!(output.code(), 75, "{output:?}");
    });
    let ready = client.get("/health/ready", None);
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("degraded")), "{ready:?}");
    client.get("/health/live", None).assert(200, &json!({"status": "live"}));
    assert_eq!(client.get("/api/token/whoami/", Some(&pair.access)).status, 200, "readers go on");
    lock.let_writers_in();

    assert_eq!(rows(&server), before, "what was put off was not done");
    wait_until_ready(client);
    assert_eq!(client.post_json("/api/token/refresh/", &json!({"refresh": pair.refresh})).status, 200);
    client.post_json("/api/token/blacklist/", &json!({"refresh": other.refresh})).assert(200, &json!({}));
    client
        .post_json("/api/token/refresh/", &json!({"refresh": other.refresh}))
        .assert_not_valid("Token is blacklisted");
}

#[test]
fn sqlite_a_read_only_file_puts_writers_off() {
    let mut server = Server::with_ada();
    let pair = server.login("ada");
    server.kill9();
    // Somebody else has it open, or a reader would have to write its shared memory.
    let mut other = server.database();
    assert_eq!(other.count("simplejwt_user"), 1);
    server.set_read_only(true);
    server.restart();
    let client = server.client();
    assert_put_off("obtain", || client.post_json("/api/token/", &ada()));
    assert_put_off("refresh", || client.post_json("/api/token/refresh/", &json!({"refresh": pair.refresh})));
    assert_put_off("blacklist", || client.post_json("/api/token/blacklist/", &json!({"refresh": pair.refresh})));
    let ready = client.get("/health/ready", None);
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("degraded")), "{ready:?}");
    assert_eq!(client.get("/api/token/whoami/", Some(&pair.access)).status, 200);

    server.set_read_only(false);
    wait_until_ready(client);
    client.post_json("/api/token/blacklist/", &json!({"refresh": pair.refresh})).assert(200, &json!({}));
    drop(other);
}

#[test]
fn a_database_without_its_tables_is_never_taken_for_an_empty_blacklist() {
    let server = Server::new().set("blacklist", "\"database\"").start_with_ada();
    let pair = server.login("ada");
    let client = server.client();
    client.post_json("/api/token/blacklist/", &json!({"refresh": pair.refresh})).assert(200, &json!({}));
    server.database().execute("ALTER TABLE token_blacklist_blacklistedtoken RENAME TO away");
    assert_put_off("whoami", || client.get("/api/token/whoami/", Some(&pair.access)));
    assert_put_off("a token that is fine", || client.get("/api/token/whoami/", Some(&claims("access").sign())));
    assert_put_off("refresh", || client.post_json("/api/token/refresh/", &json!({"refresh": pair.refresh})));
    assert_put_off("verify", || client.post_json("/api/token/verify/", &json!({"token": pair.access})));
    assert_put_off("ready", || client.get("/health/ready", None));
    server.database().execute("ALTER TABLE away RENAME TO token_blacklist_blacklistedtoken");
    client.post_json("/api/token/verify/", &json!({"token": pair.refresh})).assert_not_valid("Token is blacklisted");
    assert_eq!(client.get("/api/token/whoami/", Some(&pair.access)).status, 401);
}

#[test]
fn nor_does_what_is_in_memory_count_when_the_log_is_gone() {
    let server = Server::new().set("staleness_bound", "\"1s\"").start_with_ada();
    let pair = server.login("ada");
    let client = server.client();
    client.post_json("/api/token/blacklist/", &json!({"refresh": pair.refresh})).assert(200, &json!({}));
    let fine = claims("access").sign();
    server.database().execute("ALTER TABLE simplejwt_revocation RENAME TO away");
    let begun = Instant::now();
    while client.get("/api/token/whoami/", Some(&fine)).status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(5), "it is still accepted");
        std::thread::sleep(Duration::from_millis(20));
    }
    for token in [&fine, &pair.access] {
        assert_put_off("whoami", || client.get("/api/token/whoami/", Some(token)));
    }
    server.database().execute("ALTER TABLE away RENAME TO simplejwt_revocation");
    wait_until_ready(client);
    assert_eq!(client.get("/api/token/whoami/", Some(&pair.access)).status, 401);
    assert_eq!(client.get("/api/token/whoami/", Some(&fine)).status, 200);
}

#[test]
fn bad_tokens_are_refused_without_asking_the_database() {
    let server = Server::with_ada();
    server.database().execute("ALTER TABLE token_blacklist_outstandingtoken RENAME TO away");
    let client = server.client();
    let expired = claims("access").with("iat", now() - 60).with("exp", now() - 1).sign();
    for (token, message) in [("x", "Token is invalid"), (expired.as_str(), "Token is expired")] {
        client.post_json("/api/token/verify/", &json!({"token": token})).assert_not_valid(message);
        assert_eq!(client.get("/api/token/whoami/", Some(token)).status, 401);
    }
}
