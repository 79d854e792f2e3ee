//! Events are delivered to another service: each once at least, signed, and again until it is taken.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::mint::jti;
use crate::support::server::Server;

const SECRET: &[u8] = b"0123456789abcdef01234567";

/// A request that came, if its signature was good.
#[derive(Clone, Debug)]
struct Delivery {
    id: String,
    body: Value,
}

/// Another service, on a thread of its own. It answers with `status`.
struct Receiver {
    port: u16,
    status: Arc<AtomicU16>,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    over: Arc<AtomicBool>,
}

impl Receiver {
    fn new(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let receiver = Self {
            port: listener.local_addr().expect("an address").port(),
            status: Arc::new(AtomicU16::new(status)),
            deliveries: Arc::default(),
            over: Arc::default(),
        };
        let (status, deliveries, over) =
            (Arc::clone(&receiver.status), Arc::clone(&receiver.deliveries), Arc::clone(&receiver.over));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let (status, deliveries) = (Arc::clone(&status), Arc::clone(&deliveries));
                thread::spawn(move || serve(stream.expect("a connection"), &status, &deliveries));
            }
        });
        receiver
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Release);
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().expect("no thread panicked").clone()
    }

    /// Waits until so many have come.
    fn wait_for(&self, count: usize) -> Vec<Delivery> {
        let begun = Instant::now();
        loop {
            let deliveries = self.deliveries();
            if deliveries.len() >= count {
                return deliveries;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{count} are expected: {deliveries:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// Reads requests from one connection, as long as it is open.
fn serve(mut stream: TcpStream, status: &AtomicU16, deliveries: &Mutex<Vec<Delivery>>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some((head, body)) = request(&mut bytes) {
            let status = status.load(Ordering::Acquire);
            deliveries.lock().expect("no thread panicked").push(delivery(&head, &body));
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Takes one request off what was read, if all of it is there.
fn request(bytes: &mut Vec<u8>) -> Option<(String, String)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let length: usize = header(&head, "content-length").parse().expect("a length");
    let body = bytes.get(end..end + length)?.to_vec();
    bytes.drain(..end + length);
    Some((head, String::from_utf8(body).expect("text")))
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let found = head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    });
    found.unwrap_or_else(|| panic!("no {name} in {head}"))
}

/// What docs/events.md tells a receiver to do.
fn delivery(head: &str, body: &str) -> Delivery {
    assert!(head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(head, "content-type"), "application/json");
    let (id, timestamp) = (header(head, "webhook-id"), header(head, "webhook-timestamp"));
    let signature = header(head, "webhook-signature").strip_prefix("v1,").expect("a version");
    let signed = format!("{id}.{timestamp}.{body}");
    let signature = STANDARD.decode(signature).expect("base64");
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes(), &signature).expect("a good signature");
    let age = crate::support::now() - timestamp.parse::<i64>().expect("seconds");
    assert!((-5..60).contains(&age), "{head}");
    Delivery { id: id.to_owned(), body: serde_json::from_str(body).expect("JSON") }
}

fn settings(server: Server, receiver: &Receiver) -> Server {
    let secret = format!("\"whsec_{}\"", STANDARD.encode(SECRET));
    let url = format!("\"http://127.0.0.1:{}/hook?x=1\"", receiver.port);
    server.set("webhook_url", &url).set("webhook_secret", &secret)
}

/// How often each event was delivered, by its target.
/// Not that a user was added.
const OF_TOKENS: &str = r#"["blacklist", "disable_user"]"#;

fn by_target(deliveries: &[Delivery]) -> BTreeMap<String, usize> {
    let mut targets = BTreeMap::new();
    for delivery in deliveries {
        *targets.entry(delivery.body["data"]["target"].as_str().expect("a target").to_owned()).or_default() += 1;
    }
    targets
}

#[test]
fn what_happens_is_delivered_by_one_of_several_processes_and_says_no_token() {
    let receiver = Receiver::new(204);
    let server = settings(Server::new(), &receiver).set("webhook_events", OF_TOKENS).start_with_ada();
    let sibling = server.sibling();
    let pairs: Vec<_> = (0..12).map(|_| server.login("ada")).collect();
    for (number, pair) in pairs.iter().enumerate() {
        let at = if number % 2 == 0 { &server } else { &sibling };
        at.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
    }
    assert!(server.cli(&["users", "disable", "ada"]).success());
    let deliveries = receiver.wait_for(13);
    // Long enough for a second process to deliver what a first one did.
    thread::sleep(Duration::from_secs(3));
    let targets = by_target(&receiver.deliveries());
    assert_eq!((targets.len(), targets.values().max()), (13, Some(&1)), "{targets:?}");
    let first = deliveries.iter().find(|one| one.body["data"]["target"] == jti(&pairs[0].refresh)).expect("the first");
    assert_eq!(first.body["type"], "simplejwt.blacklist");
    let data = &first.body["data"];
    let user = server.user_id("ada");
    assert_eq!((&data["user"], &data["via"], &data["address"]), (&json!(user), &json!("http"), &json!("127.0.0.1")));
    assert_eq!(first.id.split('_').nth(1), Some(data["id"].to_string().as_str()));
    let said: String = deliveries.iter().map(|delivery| delivery.body.to_string()).collect();
    assert!(pairs.iter().all(|pair| !said.contains(&pair.refresh) && !said.contains(&pair.access)));
    let status = server.cli(&["status", "--format", "json"]).json();
    assert_eq!(status["undelivered"], json!({ "events": 0, "oldest_at": null }));
}

#[test]
fn what_is_not_taken_is_delivered_again_under_the_same_name_also_after_a_restart() {
    let receiver = Receiver::new(500);
    let server = settings(Server::new(), &receiver).set("webhook_timeout", "\"2s\"").set("webhook_events", OF_TOKENS);
    let mut server = server.set("metrics_token", "\"scrape-0123456789\"").start_with_ada();
    let pair = server.login("ada");
    let begun = Instant::now();
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits for the receiver");
    receiver.wait_for(1);
    server.kill9();
    // Also what happens while nobody delivers.
    assert!(server.cli(&["users", "disable", "ada"]).success());
    receiver.answer(200);
    server.restart();
    let deliveries = receiver.wait_for(3);
    let names: Vec<_> = deliveries.iter().map(|one| (one.body["data"]["action"].clone(), one.id.clone())).collect();
    let blacklisted: Vec<_> = names.iter().filter(|(action, _)| *action == "blacklist").collect();
    assert_eq!(blacklisted.len(), 2, "{names:?}");
    assert_eq!(blacklisted[0].1, blacklisted[1].1, "a repetition can be told");
    assert_eq!(by_target(&deliveries).len(), 2);
    let figures = || server.client().get("/metrics", Some("scrape-0123456789")).text;
    let delivered = "simplejwt_webhook_deliveries_total{fate=\"delivered\"} 2\n";
    while !figures().contains(delivered) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", figures());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn only_what_is_wanted_is_delivered() {
    let receiver = Receiver::new(200);
    let server = settings(Server::new(), &receiver).set("webhook_events", "[\"disable_user\"]").start_with_ada();
    let pair = server.login("ada");
    server.client().post_json("/api/token/blacklist/", &json!({ "refresh": pair.refresh })).assert(200, &json!({}));
    assert!(server.cli(&["users", "disable", "ada"]).success());
    let deliveries = receiver.wait_for(1);
    assert_eq!(deliveries[0].body["type"], "simplejwt.disable_user");
    assert_eq!(receiver.deliveries().len(), 1);
}

#[test]
fn a_webhook_that_nobody_could_trust_or_read_refuses_to_start() {
    for (settings, named) in [
        (&[("webhook_url", "http://hooks.example/")][..], "webhook_url"),
        (&[("webhook_url", "https://hooks.example/")], "webhook_secret"),
        (&[("webhook_url", "https://hooks.example/"), ("webhook_secret", "short-secret-text")], "webhook_secret"),
    ] {
        let server =
            settings.iter().fold(Server::new(), |server, (name, value)| server.set(name, &format!("{value:?}")));
        let output = server.cli(&["serve", "--port", "0"]);
        assert_eq!(output.code(), 2, "{output:?}");
        assert!(output.stderr.contains(&format!("`{named}`")) && !output.stderr.contains("short-secret"), "{output:?}");
    }
    let server = settings(Server::new(), &Receiver::new(200)).set("webhook_events", "[\"theft\"]");
    let output = server.cli(&["serve", "--port", "0"]);
    assert!(output.code() == 2 && output.stderr.contains("`theft`"), "{output:?}");
}
