//! A small HTTP/1.1 client that also sends what a polite client never would.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Requests to one port of this machine, each on a connection of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    port: u16,
}

impl Client {
    /// A client for `port`.
    pub(crate) fn new(port: u16) -> Self {
        Self { port }
    }

    /// The port.
    pub(crate) fn port(self) -> u16 {
        self.port
    }

    /// `POST` with a JSON body.
    pub(crate) fn post_json(self, path: &str, body: &Value) -> Reply {
        self.post(path, "application/json", body.to_string().as_bytes())
    }

    /// `POST` with an urlencoded form.
    pub(crate) fn post_form(self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value))).collect();
        self.post(path, "application/x-www-form-urlencoded", pairs.join("&").as_bytes())
    }

    /// `POST` with a multipart form.
    pub(crate) fn post_multipart(self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let boundary = "----------------8d1f0c5ebc2f";
        let mut body = String::new();
        for (name, value) in fields {
            let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend([&head, *value, "\r\n"]);
        }
        body.extend(["--", boundary, "--\r\n"]);
        self.post(path, &format!("multipart/form-data; boundary={boundary}"), body.as_bytes())
    }

    /// `POST` with any content type.
    pub(crate) fn post(self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        self.request("POST", path, &[("Content-Type", content_type)], body)
    }

    /// `GET`, with `Authorization: Bearer …` if there is a token.
    pub(crate) fn get(self, path: &str, bearer: Option<&str>) -> Reply {
        match bearer {
            Some(token) => self.get_as(path, &format!("Bearer {token}")),
            None => self.request("GET", path, &[], b""),
        }
    }

    /// `GET` with this `Authorization` header.
    pub(crate) fn get_as(self, path: &str, authorization: &str) -> Reply {
        self.request("GET", path, &[("Authorization", authorization)], b"")
    }

    /// Any request. `Host` and `Connection: close` are added, `Content-Length` where there is a body or the method is
    /// `POST`, each unless `headers` has it already.
    pub(crate) fn request(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let given = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut lines = vec![format!("{method} {path} HTTP/1.1")];
        if !given("Host") {
            lines.push(format!("Host: 127.0.0.1:{}", self.port));
        }
        if !given("Connection") {
            lines.push("Connection: close".to_owned());
        }
        if (!body.is_empty() || method == "POST") && !given("Content-Length") && !given("Transfer-Encoding") {
            lines.push(format!("Content-Length: {}", body.len()));
        }
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let mut bytes = format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes();
        bytes.extend_from_slice(body);
        self.try_raw(&bytes, method == "HEAD").unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// Sends these bytes and reads one answer; [`None`] if the connection closes without one.
    pub(crate) fn raw(self, bytes: &[u8]) -> Option<Reply> {
        self.try_raw(bytes, bytes.starts_with(b"HEAD "))
    }

    fn try_raw(self, bytes: &[u8], head_only: bool) -> Option<Reply> {
        let mut stream = self.connect();
        // A server that refuses early may close before it read everything; what counts is its answer.
        drop(stream.write_all(bytes));
        read_reply(&mut stream, head_only)
    }

    /// An open connection with a timeout of 10 seconds.
    pub(crate) fn connect(self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("connect to the server");
        stream.set_read_timeout(Some(TIMEOUT)).expect("set a timeout");
        stream.set_write_timeout(Some(TIMEOUT)).expect("set a timeout");
        stream.set_nodelay(true).expect("set an option");
        stream
    }
}

/// The answer to one request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In the order of arrival, names as they were sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The only header of this name; fails if there are several.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers_named(name);
        assert!(all.len() < 2, "several {name} headers: {self:?}");
        all.first().copied()
    }

    /// Every header of this name.
    pub(crate) fn headers_named(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// A member of the JSON body that is a string.
    pub(crate) fn string(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no string {name}: {self:?}")).to_owned()
    }

    /// Fails unless status and JSON body are these, with the headers that every answer of that status has.
    #[track_caller]
    pub(crate) fn assert(&self, status: u16, body: &Value) {
        assert_eq!((self.status, &self.json()), (status, body), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let challenge = self.header("www-authenticate");
        match challenge {
            Some(challenge) => assert!(status == 401 && challenge.contains(r#" realm="api""#), "{self:?}"),
            None => assert_ne!(status, 401, "no WWW-Authenticate: {self:?}"),
        }
    }

    /// Fails unless it is simplejwt's refusal of a token, with this text.
    #[track_caller]
    pub(crate) fn assert_not_valid(&self, detail: &str) {
        self.assert(401, &json!({"detail": detail, "code": "token_not_valid"}));
    }
}

/// Reads one answer from an open connection; [`None`] if there is none.
pub(crate) fn read_reply(stream: &mut TcpStream, head_only: bool) -> Option<Reply> {
    let deadline = Instant::now() + TIMEOUT;
    let mut bytes = Vec::new();
    let mut ended = false;
    loop {
        if let Some(reply) = parse(&bytes, head_only, ended) {
            drop(stream.shutdown(Shutdown::Both));
            return Some(reply);
        }
        if ended {
            assert!(bytes.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&bytes));
            return None;
        }
        assert!(Instant::now() < deadline, "no whole answer within 10 s: {:?}", String::from_utf8_lossy(&bytes));
        let mut buffer = [0; 8192];
        match stream.read(&mut buffer) {
            Ok(0) => ended = true,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => ended = true,
            // A machine that was suspended wakes up so.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("reading the answer: {error}; so far {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// The answer in `bytes`, if it is complete.
fn parse(bytes: &[u8], head_only: bool, ended: bool) -> Option<Reply> {
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = str::from_utf8(&bytes[..split]).expect("a head in UTF-8");
    let rest = &bytes[split + 4..];
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("a status line");
    let status: u16 = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|line| line.get(2..5))
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status line: {status_line:?}"));
    if status == 100 {
        return parse(rest, head_only, ended);
    }
    let headers: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        })
        .collect();
    let find = |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let body = if head_only || matches!(status, 204 | 304) {
        Vec::new()
    } else if find("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        unchunk(rest)?
    } else if let Some(length) = find("content-length") {
        let length: usize = length.parse().expect("a content length");
        rest.get(..length)?.to_vec()
    } else if ended {
        rest.to_vec()
    } else {
        return None;
    };
    let text = String::from_utf8(body).expect("a body in UTF-8");
    Some(Reply { status, headers, text })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let line = str::from_utf8(&rest[..end]).expect("a chunk size");
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).expect("a chunk size");
        rest = &rest[end + 2..];
        let chunk = rest.get(..size)?;
        rest = rest.get(size + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunk);
    }
}

/// Percent-encodes everything but the unreserved characters (RFC 3986 §2.3).
pub(crate) fn percent(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
