//! Attacks through bodies: cases 86 to 91 of the attack list. What the shape of plain requests decides stands in `http_shapes`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;

use crate::support::attack::{Stage, VERIFY, WHOAMI, request};
use crate::support::client::read_reply;
use crate::support::mint::claims;
use crate::support::now;
use crate::support::server::Server;

/// A server whose database nothing here may change.
static S1: LazyLock<Stage> =
    LazyLock::new(|| Stage::new(Server::new().start(), claims("access").with("exp", now() + 3600).sign()));

// Cases 86 and 89: an endless body.
#[test]
fn an_endless_body_is_cut_off() {
    for path in ["blacklist", "refresh", "verify", ""] {
        let token = "x".repeat(1 << 20);
        let reply = S1.client().post_json(&format!("/api/token/{path}"), &json!({"refresh": token, "token": token}));
        assert_eq!((reply.status, reply.string("code").as_str()), (413, "too_large"), "{path}: {reply:?}");
    }
    for kind in ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let mut stream = S1.client().connect();
        let kind = format!("Content-Type: {kind}");
        let head = request(&format!("POST {VERIFY} HTTP/1.1"), &[&kind, "Transfer-Encoding: chunked"], b"");
        stream.write_all(&head).expect("send the head");
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        // Far more than the limit of 16 KiB, and less than any test machine has memory for.
        for _ in 0..16 {
            if stream.write_all(chunk.as_bytes()).is_err() {
                break;
            }
        }
        let reply = read_reply(&mut stream, false).expect("an answer before the end of the body");
        assert_eq!(reply.status, 413, "{kind}: {reply:?}");
    }
    S1.good_as_ever("after all of them");
}

// Case 89: a body that does not come. The only test here that waits for a limit of the server. Rocket itself waits without
// a limit for the first 14 bytes of a body, before it asks anybody; that is for a proxy to cut off.
#[test]
fn a_body_that_stalls_is_given_up() {
    let stalled = |kind: &str, more: &str, body: &str| {
        let mut stream = S1.client().connect();
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set a timeout");
        let kind = format!("Content-Type: {kind}");
        let head = request(&format!("POST {VERIFY} HTTP/1.1"), &[&kind, more], body.as_bytes());
        stream.write_all(&head).expect("send");
        stream
    };
    let mut waiting = [
        stalled("application/json", "Content-Length: 100", r#"{"token": "the rest of it never "#),
        stalled("application/json", "Transfer-Encoding: chunked", "20\r\n{\"token\": \"the rest of it never \r\n"),
        stalled("application/x-www-form-urlencoded", "Content-Length: 100", "token=the-rest-of-it-never-comes"),
        stalled("multipart/form-data; boundary=x", "Content-Length: 100", "--x\r\nContent-Disposition: form-data;"),
    ];
    // Meanwhile everybody else is served.
    S1.good_as_ever("while bodies stall");
    for stream in &mut waiting {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // Nothing more comes after the answer: the connection is of no use any more.
        let ended = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(length) => answer.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break true,
                Err(_) => break !answer.is_empty(),
            }
            if answer.windows(4).any(|window| window == b"\r\n\r\n") {
                break true;
            }
        };
        let text = String::from_utf8_lossy(&answer);
        let refused = text.is_empty() || text.starts_with("HTTP/1.1 408") || text.starts_with("HTTP/1.1 400");
        assert!(ended && refused, "given up: {ended}, after {text:?}");
    }
    S1.good_as_ever("after bodies stalled");
}

// Cases 87, 88 and 90.
#[test]
fn a_body_means_one_thing() {
    let token = S1.good.clone();
    let body = json!({ "token": token }).to_string();
    for kind in [
        "text/plain",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
        "application/x-www-form-urlencoded; charset=utf-7",
        "application/jose+json",
        "text/json",
        "",
        "application/json\u{2028}",
    ] {
        let reply = S1.client().post(VERIFY, kind, body.as_bytes());
        assert!(matches!(reply.status, 400 | 415), "{kind}: {reply:?}");
    }
    for coding in ["gzip", "deflate", "br", "x-gzip", "identity, gzip", "unknown"] {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", coding)];
        let reply = S1.client().request("POST", VERIFY, &headers, b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xabVPJT\xb2\0\x02\0");
        assert_eq!(reply.status, 415, "{coding}: {reply:?}");
        let reply = S1.client().request("POST", VERIFY, &headers, body.as_bytes());
        assert_eq!(reply.status, 415, "{coding}: {reply:?}");
    }
    let twice = [
        format!(r#"{{"token":"x","token":"{token}"}}"#),
        format!(r#"{{"token":"{token}","token":"x"}}"#),
        format!(r#"{{"token":"{token}","token":"{token}"}}"#),
        format!(r#"{{"token":"{token}","tok\u0065n":"x"}}"#),
    ];
    for body in twice {
        let reply = S1.client().post(VERIFY, "application/json", body.as_bytes());
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
    }
    for body in [format!("token=x&token={token}"), format!("token={token}&token=x"), format!("token={token}&tok%65n=x")]
    {
        let reply = S1.client().post(VERIFY, "application/x-www-form-urlencoded", body.as_bytes());
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
    }
    let reply = S1.client().post_multipart(VERIFY, &[("token", "x"), ("token", &token)]);
    assert_eq!(reply.status, 400, "{reply:?}");
    for body in [
        json!({"token": [token]}),
        json!({"token": {"token": token}}),
        json!({"token": true}),
        json!({"token": null}),
        json!([{"token": token}]),
        json!(token),
    ] {
        let reply = S1.client().post_json(VERIFY, &body);
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
    }
    for body in
        [&b"{\"token\":\"\xff\"}"[..], b"\xef\xbb\xbf{}", b"\xfe\xff\0{\0}", b"{\"token\":\"\\ud800\"}", b"\0", b"{\0}"]
    {
        let reply = S1.client().post(VERIFY, "application/json", body);
        assert_eq!(reply.status, 400, "{body:?}: {reply:?}");
    }
    let file = format!(
        "--x\r\nContent-Disposition: form-data; name=\"token\"; filename=\"t\"\r\nContent-Type: application/gzip\r\n\r\n{token}\r\n--x--\r\n"
    );
    let reply = S1.client().post(VERIFY, "multipart/form-data; boundary=x", file.as_bytes());
    assert!(matches!(reply.status, 200 | 400), "a part with a type of its own: {reply:?}");
    S1.accepted("the same token as it should be sent", &token);
}

// Case 91.
#[test]
fn a_form_keeps_its_method() {
    let token = S1.good.as_str();
    for method in ["GET", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "nonsense", ""] {
        for name in ["_method", "%5fmethod", "_METHOD"] {
            let body = format!("{name}={method}&token={token}");
            let reply = S1.client().post(VERIFY, "application/x-www-form-urlencoded", body.as_bytes());
            assert_eq!(reply.status, 200, "{body}: {reply:?}");
        }
        // A page elsewhere can post a form, but neither ask for an answer to GET nor read one.
        let form = [("_method", method), ("token", token)];
        let reply = S1.client().post_form(WHOAMI, &form);
        assert_eq!(reply.status, 405, "{method}: {reply:?}");
    }
    for override_name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let authorization = format!("Bearer {token}");
        let headers = [(override_name, "GET"), ("Authorization", authorization.as_str())];
        let reply = S1.client().request("POST", WHOAMI, &headers, b"");
        assert_eq!(reply.status, 405, "{override_name}: {reply:?}");
    }
    S1.good_as_ever("after all of them");
}
