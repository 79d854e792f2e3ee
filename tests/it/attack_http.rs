//! Attacks through HTTP itself: cases 79 to 85 and 92 to 99 of the attack list. What the shape of plain requests decides stands in
//! `http_shapes`; here is what no plain client sends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::attack::{Stage, VERIFY, WHOAMI, request, statuses};
use crate::support::client::{Reply, percent, read_reply};
use crate::support::mint::{Claims, KEY, claims};
use crate::support::server::{PASSWORD, Server};
use crate::support::{now, unique};

/// A server whose database nothing here may change.
static S1: LazyLock<Stage> = LazyLock::new(|| Stage::new(Server::new().start(), good().sign()));
/// A server with a user.
static ADA: LazyLock<Server> = LazyLock::new(Server::with_ada);

fn good() -> Claims {
    claims("access").with("exp", now() + 3600)
}

/// Everything that comes back until the server closes the connection, or falls silent for two seconds.
fn conversation(bytes: &[u8]) -> String {
    let mut stream = S1.client().connect();
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("set a timeout");
    // A server may close before it has read everything.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn bad_header(reply: &Reply) {
    assert_eq!((reply.status, reply.string("code").as_str()), (401, "bad_authorization_header"), "{reply:?}");
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="api""#), "{reply:?}");
}

// Cases 79 and 81.
#[test]
fn a_request_has_one_credential() {
    let (good, other) = (format!("Bearer {}", S1.good), format!("Bearer {}", good().sign()));
    for values in [
        vec![good.as_str(), good.as_str()],
        vec![&good, &other],
        vec![&good, ""],
        vec!["", &good],
        vec![&good, "Basic YQ=="],
        vec!["Basic YQ==", &good],
        vec![&good, &good, &good],
    ] {
        let headers: Vec<_> = values.iter().map(|value| ("Authorization", *value)).collect();
        bad_header(&S1.client().request("GET", WHOAMI, &headers, b""));
    }
    for value in [format!("{good}, {good}"), format!("{good},{good}"), format!("{good}, {other}"), format!("{good} x")]
    {
        bad_header(&S1.client().get_as(WHOAMI, &value));
    }
    // A token elsewhere than in the header is none: it neither helps nor hurts.
    let elsewhere = format!("{WHOAMI}?token={0}&access_token={0}&jwt={0}", S1.good);
    let cookie = format!("access_token={0}; jwt={0}; Authorization={0}", S1.good);
    let headers = [("Cookie", cookie.as_str()), ("X-Authorization", &good), ("Proxy-Authorization", &good)];
    let reply = S1.client().request("GET", &elsewhere, &headers, b"");
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="api""#), "no token was sent, none is bad");
    let bad = format!("{WHOAMI}?token=x");
    let headers = [("Cookie", "access_token=x"), ("Authorization", good.as_str())];
    assert_eq!(S1.client().request("GET", &bad, &headers, b"").status, 200);
    let form = format!("access_token={}", S1.good);
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(S1.client().request("GET", WHOAMI, &kind, form.as_bytes()).status, 401, "a token in the body");
    S1.good_as_ever("after all of them");
}

// Cases 80 and 82.
#[test]
fn a_header_that_is_none_is_refused() {
    let token = S1.good.as_bytes();
    let send = |value: &[u8]| {
        let mut bytes = b"GET /api/token/whoami/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: ".to_vec();
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n\r\n");
        S1.client().raw(&bytes).map(|reply| reply.status)
    };
    let bearer = |junk: &[u8]| [b"Bearer ", junk].concat();
    assert_eq!(send(&bearer(token)), Some(200));
    assert_eq!(send(&[b" \t ", &bearer(token)[..], b" \t"].concat()), Some(200), "space around a value is none of it");
    let mut values = vec![
        b"Bearer".to_vec(),
        b"Bearer ".to_vec(),
        token.to_vec(),
        bearer(b"\""),
        bearer(&[b"\"", token, b"\""].concat()),
        bearer(&[b"token=", token].concat()),
        [b"Bearer:", token].concat(),
        [b"Bearer\t", token].concat(),
        [b"Bearer=", token].concat(),
        [b"Bearer", token].concat(),
        [b"Bearer\xa0", token].concat(),
        bearer(b"\xff\xfe"),
        bearer(b"\xc3\xa9.\xc3\xa9.\xc3\xa9"),
        [b"B\xc3\xa9arer ", token].concat(),
    ];
    for byte in [0x00, 0x01, 0x08, 0x0a, 0x0b, 0x0d, 0x1b, 0x7f, 0x80, 0x85, 0xa0, 0xff] {
        values.push(bearer(&[token, &[byte], b"x"].concat()));
        values.push(bearer(&[&token[..20], &[byte], &token[20..]].concat()));
        values.push(bearer(&[&[byte], token].concat()));
    }
    for value in values {
        let status = send(&value);
        assert!(matches!(status, Some(400 | 401) | None), "{:?}: {status:?}", String::from_utf8_lossy(&value));
    }
    // A header folded over two lines (obsolete since RFC 7230).
    for fold in [b"Bearer\r\n ".as_slice(), b"Bearer \r\n\t"] {
        let status = send(&[fold, token].concat());
        assert!(matches!(status, Some(400 | 401) | None), "{status:?}");
    }
    for name in ["Authorization ", " Authorization", "Authorization\0", "Author\u{131}zation", "Authorization\t"] {
        let bytes = request(
            "GET /api/token/whoami/ HTTP/1.1",
            &["Connection: close", &format!("{name}: Bearer {}", S1.good)],
            b"",
        );
        let status = S1.client().raw(&bytes).map(|reply| reply.status);
        assert!(matches!(status, Some(400 | 401) | None), "{name:?}: {status:?}");
    }
    S1.good_as_ever("after all of them");
}

// Case 83: what a proxy and we could read differently must not become a second request.
#[test]
fn a_request_has_one_end() {
    let hidden = format!("GET {WHOAMI} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", S1.good);
    let chunked = format!("0\r\n\r\n{hidden}");
    let both = format!("Content-Length: {}", chunked.len());
    let short = format!("Content-Length: {}", 5);
    for (case, headers) in [
        ("CL and TE", vec![both.as_str(), "Transfer-Encoding: chunked"]),
        ("TE and CL", vec!["Transfer-Encoding: chunked", &both]),
        ("CL before TE, short", vec![&short, "Transfer-Encoding: chunked"]),
        ("two lengths", vec![&short, &both]),
        ("two lengths in one", vec!["Content-Length: 5, 6"]),
        ("a negative length", vec!["Content-Length: -1"]),
        ("a signed length", vec!["Content-Length: +5"]),
        ("a hexadecimal length", vec!["Content-Length: 0x5"]),
        ("a length beyond all", vec!["Content-Length: 99999999999999999999"]),
        ("an empty length", vec!["Content-Length: "]),
        ("TE twice", vec!["Transfer-Encoding: chunked", "Transfer-Encoding: identity"]),
        ("TE, other order", vec!["Transfer-Encoding: chunked, identity"]),
        ("TE unknown", vec!["Transfer-Encoding: xchunked"]),
        ("TE with a tab", vec!["Transfer-Encoding:\tidentity"]),
        ("a space before the colon", vec!["Content-Length : 5"]),
    ] {
        let mut headers = headers.clone();
        headers.push("Content-Type: application/json");
        let answer = conversation(&request(&format!("POST {VERIFY} HTTP/1.1"), &headers, chunked.as_bytes()));
        assert!(!answer.contains("HTTP/1.1 200"), "{case}: the hidden request was answered:\n{answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{case}: {answer}");
    }
    for chunks in [
        "x\r\nabc\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "ffffffffffffffffff\r\n",
        "3;\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
    ] {
        let headers = ["Content-Type: application/json", "Transfer-Encoding: chunked"];
        let bytes = request(&format!("POST {VERIFY} HTTP/1.1"), &headers, format!("{chunks}{hidden}").as_bytes());
        let answer = conversation(&bytes);
        assert!(!answer.contains("HTTP/1.1 200"), "{chunks:?}: {answer}");
    }
    S1.good_as_ever("after all of them");
}

// Case 84.
#[test]
fn a_header_block_has_an_end() {
    S1.refused("8,193 bytes", &"x".repeat(8193));
    let status = |bytes: &[u8]| S1.client().raw(bytes).map(|reply| reply.status);
    let line = format!("GET {WHOAMI} HTTP/1.1");
    let long = format!("Authorization: Bearer {}", "x".repeat(1_000_000));
    let refused = status(&request(&line, &["Connection: close", &long], b""));
    assert!(matches!(refused, Some(401 | 431) | None), "a megabyte: {refused:?}");
    let many: Vec<String> = (0..500).map(|index| format!("X-{index}: x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = status(&request(&line, &many, b""));
    assert!(matches!(refused, Some(400..=431) | None), "500 headers: {refused:?}");
    let path = format!("GET {WHOAMI}?{} HTTP/1.1", "x".repeat(100_000));
    let refused = status(&request(&path, &["Connection: close"], b""));
    assert!(matches!(refused, Some(401 | 414 | 431) | None), "a long path: {refused:?}");
    // A head that never ends is cut off by its size.
    let mut stream = S1.client().connect();
    let block = "x".repeat(64 * 1024);
    let mut sent = 0_usize;
    let ended = loop {
        if stream.write_all(block.as_bytes()).is_err() {
            break true;
        }
        sent += block.len();
        if sent > 8 << 20 {
            break false;
        }
    };
    assert!(ended, "the server read {sent} bytes of one line");
    S1.good_as_ever("after all of them");
}

// Case 85.
#[test]
fn only_http_1_is_spoken() {
    let upgrade = request(
        &format!("GET {WHOAMI} HTTP/1.1"),
        &["Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
        b"",
    );
    let answer = conversation(&upgrade);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let answer = conversation(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 505"), "{answer:?}");
    let websocket = request(
        &format!("GET {WHOAMI} HTTP/1.1"),
        &[
            "Connection: Upgrade, close",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ],
        b"",
    );
    let answer = conversation(&websocket);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

// Case 92.
#[test]
fn other_methods_change_nothing_and_show_nothing() {
    let authorization = format!("Bearer {}", S1.good);
    for path in ["", "refresh/", "sliding/", "sliding/refresh/", "verify/", "blacklist/", "whoami/"] {
        let path = format!("/api/token/{path}");
        for method in
            ["TRACE", "CONNECT", "PATCH", "PUT", "DELETE", "OPTIONS", "HEAD", "PROPFIND", "get", "Get", "G\u{c9}T"]
        {
            let headers = [("Authorization", authorization.as_str()), ("X-Canary", "canary")];
            let mut bytes =
                format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n")
                    .into_bytes();
            for (name, value) in headers {
                bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
            let answer = conversation(&bytes);
            let may_succeed = method == "OPTIONS" || (method == "HEAD" && path.ends_with("whoami/"));
            assert!(may_succeed || !answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
            assert!(!answer.contains("canary") && !answer.contains(&S1.good), "{method} {path} echoes: {answer}");
            assert!(!answer.contains("HTTP/1.1 5"), "{method} {path}: {answer}");
        }
    }
    S1.good_as_ever("after all of them");
}

// Case 93 on the routes of the service. The same for `.protect` is in `http_library`.
#[test]
fn no_spelling_of_a_path_opens_it() {
    for path in [
        "//api/token/whoami/",
        "/api//token/whoami/",
        "/api/token//whoami/",
        "/api/token/whoami//",
        "/api/token/./whoami/",
        "/api/token/x/../whoami/",
        "/api/token/x/%2e%2e/whoami/",
        "/api/token/%77hoami/",
        "/api/token/whoami%2f",
        "/api/token/whoami;x=1",
        "/api/token/whoami/;x",
        "/API/TOKEN/WHOAMI/",
        "/api/token/whoami/.",
        "/api/token/whoami/%00",
        "/api/token/whoami%00",
        "/api/token/whoami/?x=1",
        "/api/token/whoami?",
        "/api/token/whoami/#x",
        "/api\\token\\whoami",
        "http://a/api/token/whoami/",
        "http://evil.example/api/token/whoami/",
        "*",
    ] {
        for authorization in ["", "Authorization: Bearer x"] {
            let answer = conversation(&request(
                &format!("GET {path} HTTP/1.1"),
                &["Connection: close", authorization][..if authorization.is_empty() { 1 } else { 2 }],
                b"",
            ));
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
            assert!(!answer.contains("user_id"), "{path}: {answer}");
        }
    }
}

// Cases 94 and 98: what the log gets.
#[test]
fn a_log_record_is_one_line_and_says_nothing_secret() {
    let server = Server::with_ada();
    let pair = server.login("ada");
    let canary = unique("canary");
    let evil = format!("\u{1b}[31m{canary}\u{202e}\"}}\\n");
    // HTTP itself takes no control characters in a header.
    let printable = evil.replace('\u{1b}', "");
    let client = server.client();
    let agent = [("User-Agent", printable.as_str()), ("Content-Type", "application/json"), ("Referer", &printable)];
    for body in [
        json!({"username": format!("{evil}\r\nerror: forged {canary}"), "password": canary}),
        json!({"username": "ada", "password": format!("{canary}\n{canary}")}),
    ] {
        let reply = client.request("POST", "/api/token/", &agent, body.to_string().as_bytes());
        assert_eq!(reply.status, 401, "{reply:?}");
    }
    let body = json!({"username": "ada", "password": PASSWORD}).to_string();
    assert_eq!(
        client.request("POST", "/api/token/", &agent, body.as_bytes()).status,
        200,
        "a login with such a client"
    );
    let mut tokens = vec![
        claims("access").with("jti", format!("a\r\n{evil}")).sign(),
        claims("access").with("user_id", format!("1\r\nerror: forged {canary}")).sign(),
        crate::support::attack::hs256(KEY, &json!({"alg": "HS256", "kid": format!("\n{evil}")}).to_string(), "{}"),
        crate::support::attack::hs256(KEY, &json!({"alg": format!("{evil}\n")}).to_string(), "{}"),
    ];
    tokens.extend((0..300).map(|_| claims("access").sign_with(crate::support::mint::Hash::Sha256, canary.as_bytes())));
    let seen = statuses(client, WHOAMI, &tokens);
    assert_eq!(
        seen.iter().filter(|status| **status == 401).count(),
        tokens.len() - 1,
        "all but the one with a strange user"
    );
    let path = format!("/{}", percent(&format!("{evil}\r\nerror: forged {canary}")));
    assert_eq!(client.get(&path, None).status, 404);
    let output = server.cli(&["blacklist", &crate::support::mint::jti(&pair.refresh), "--reason", "one \u{202e}line"]);
    assert!(output.success() || output.code() == 2, "{output:?}");

    let log = server.log();
    assert!(!log.lines().any(|line| line.starts_with("error: forged")), "a record was forged:\n{log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\u{202e}'), "the terminal is written to:\n{log}");
    assert!(log.lines().all(|line| line.len() <= 1024), "a long line:\n{log}");
    // At the level of the tests Rocket itself writes four lines for each request.
    assert!(log.lines().count() <= 4 * (tokens.len() + 10) + 200, "the log grows faster than the requests");
    for secret in [PASSWORD, &pair.refresh, &pair.access, str::from_utf8(KEY).expect("ASCII")] {
        assert!(!log.contains(secret), "the log has a secret:\n{log}");
    }
    for token in &tokens {
        assert!(!log.contains(token.rsplit('.').next().expect("three parts")), "the log has a token:\n{log}");
    }
}

// Case 95: whatever goes wrong, the answer is JSON and tells nothing about the inside.
#[test]
fn no_error_shows_the_inside() {
    let server = Server::new().set("blacklist", "\"database\"").start();
    let client = server.client();
    let bad = || client.post_json(VERIFY, &json!({"token": "x"}));
    let mut replies = vec![
        client.get(WHOAMI, None),
        client.get("/nothing", None),
        client.get("/api/token/", None),
        client.post("/api/token/", "text/xml", b""),
        client.post("/api/token/", "application/json", b"{"),
        client.post_json("/api/token/", &json!({})),
        client.post_json("/api/token/", &json!({"username": "x' OR '1'='1", "password": "\u{ffff}"})),
        client.post("/api/token/", "application/json", &[b' '; 20_000]),
        bad(),
    ];
    server.database().execute("DROP TABLE token_blacklist_blacklistedtoken");
    replies.push(client.get(WHOAMI, Some(&good().sign())));
    replies.push(client.post_json("/api/token/blacklist/", &json!({"refresh": claims("refresh").sign()})));
    let found: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(found, [401, 404, 405, 415, 400, 400, 401, 413, 401, 503, 503]);
    for reply in &replies {
        assert_eq!(reply.header("content-type"), Some("application/json"), "{reply:?}");
        assert!(reply.json().is_object(), "{reply:?}");
        assert_eq!(reply.header("server"), None, "{reply:?}");
        let text = reply.text.to_lowercase();
        for inside in [
            "sql",
            "postgres",
            "maria",
            "select",
            "no such table",
            "relation",
            "exist",
            "/tmp",
            ".rs",
            "panicked",
            "diesel",
            "rocket",
            env!("CARGO_PKG_VERSION"),
        ] {
            assert!(!text.contains(inside), "{inside}: {reply:?}");
        }
    }
}

// Case 96: a token that is not genuine is never looked up. With the tables gone, only what needs them fails.
#[test]
fn the_signature_is_checked_before_anything_is_looked_up() {
    let server = Server::new().set("blacklist", "\"database\"").start();
    let other = b"another key of at least thirty-two bytes";
    let cases = || {
        let expired = claims("access").with("iat", now() - 60).with("exp", now() - 1);
        [
            ("wrong signature", claims("access").sign_with(crate::support::mint::Hash::Sha256, other), 401),
            (
                "wrong signature of a refresh token",
                claims("refresh").sign_with(crate::support::mint::Hash::Sha256, other),
                401,
            ),
            ("unknown kid", claims("access").sign_under(&json!({"alg": "HS256", "kid": "x"})), 401),
            ("expired", expired.sign(), 401),
            ("a jti that is none", claims("access").with("jti", "a b").sign(), 401),
            ("genuine", claims("access").sign(), 503),
            ("a genuine refresh token", claims("refresh").sign(), 503),
        ]
    };
    for table in ["token_blacklist_blacklistedtoken", "token_blacklist_outstandingtoken"] {
        server.database().execute(&format!("DROP TABLE {table}"));
    }
    for (case, token, expected) in cases() {
        assert_eq!(server.client().get(WHOAMI, Some(&token)).status, expected, "{case}");
        assert_eq!(server.client().post_json(VERIFY, &json!({ "token": token })).status, expected, "{case}");
    }
}

// Case 99.
#[test]
fn who_has_an_account_is_not_told() {
    let login = |name: &str, password: &str| {
        ADA.client().post_json("/api/token/", &json!({"username": name, "password": password}))
    };
    let wrong = login("ada", "wrong");
    assert_eq!(wrong.status, 401);
    let head = |reply: &Reply| -> Vec<(String, String)> {
        reply.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date")).cloned().collect()
    };
    for name in ["nobody", "ADA", "ad\u{e4}", &"x".repeat(5000), "ada\u{200b}", "*", "' OR 1=1 --", "\u{202e}ada"] {
        for password in ["wrong", PASSWORD] {
            let reply = login(name, password);
            assert_eq!(
                (reply.status, &reply.text, head(&reply)),
                (wrong.status, &wrong.text, head(&wrong)),
                "{name:?}"
            );
        }
    }
}

/// Sends one line of a head after the other, and never its end.
fn slowly(stream: &mut TcpStream, lines: usize) -> bool {
    (0..lines).all(|index| {
        std::thread::sleep(Duration::from_millis(10));
        stream.write_all(format!("X-{index}: x\r\n").as_bytes()).is_ok()
    })
}

// Fault 55 as far as it goes without a proxy: whoever dawdles holds up nobody else.
#[test]
fn slow_clients_hold_up_nobody() {
    let mut streams: Vec<TcpStream> = (0..100).map(|_| S1.client().connect()).collect();
    for stream in &mut streams {
        stream.write_all(format!("GET {WHOAMI} HTTP/1.1\r\nHost: a\r\n").as_bytes()).expect("send");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    for _ in 0..20 {
        S1.good_as_ever("beside a hundred half requests");
    }
    assert!(Instant::now() < deadline, "everybody else had to wait");
    assert!(slowly(&mut streams[0], 5));
    let mut last = streams.pop().expect("a stream");
    last.write_all(b"\r\n").expect("the end of the head");
    assert_eq!(read_reply(&mut last, false).map(|reply| reply.status), Some(401), "late is not never");
    drop(streams);
    let none: Value = S1.client().get(WHOAMI, None).json();
    assert!(none["detail"].is_string());
}
