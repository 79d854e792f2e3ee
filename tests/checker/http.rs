//! Requests to processes that may be dead, or asleep.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::history::Outcome;

/// For how long an answer is waited for: longer than anybody sleeps.
const PATIENCE: Duration = Duration::from_secs(8);

/// Status and body; [`None`] where there is no whole answer.
pub(crate) type Answer = Option<(u16, String)>;

pub(crate) fn post(port: u16, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    exchange(port, &head, &body)
}

/// The same by whoever has this token.
pub(crate) fn post_as(port: u16, path: &str, token: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}",
        body.len()
    );
    exchange(port, &head, &body)
}

pub(crate) fn whoami(port: u16, token: &str) -> Answer {
    exchange(port, &format!("GET /api/token/whoami/ HTTP/1.1\r\nAuthorization: Bearer {token}"), "")
}

/// What an answer means.
pub(crate) fn outcome(answer: Answer) -> Outcome {
    match answer {
        Some((200 | 204, _)) => Outcome::Ok,
        Some((401, body)) if body.contains("Token is blacklisted") => Outcome::Refused,
        Some((401, _)) => Outcome::Invalid,
        Some((503, _)) => Outcome::Unavailable,
        // Of somebody who is killed as he answers.
        None => Outcome::Unknown,
        Some((status, body)) => panic!("an answer that nobody should get: {status} {body}"),
    }
}

fn exchange(port: u16, head: &str, body: &str) -> Answer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.write_all(format!("{head}\r\nHost: a\r\nConnection: close\r\n\r\n{body}").as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A connection that breaks after the answer broke after the answer.
    drop(stream.read_to_end(&mut answer));
    let text = String::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    (status == 204 || length == Some(body.len())).then(|| (status, body.to_owned()))
}
