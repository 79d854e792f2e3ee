//! What the attacks share: keys of every kind, a listener that records who calls, and what must hold after each of them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair};
use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::database::Database;
use super::mint::{Claims, Hash, base64url, sign};
use super::server::Server;

pub(crate) const WHOAMI: &str = "/api/token/whoami/";
pub(crate) const VERIFY: &str = "/api/token/verify/";

/// A private key, and everything that can be made of it.
pub(crate) struct PrivateKey {
    /// The algorithm that it is meant for.
    pub(crate) alg: &'static str,
    /// In PKCS #8.
    pub(crate) pem: String,
    secret: Secret,
}

enum Secret {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl PrivateKey {
    /// A fresh one, made by the command line under test.
    pub(crate) fn generate(server: &Server, alg: &'static str) -> Self {
        let output = server.cli(&["keys", "generate", "--algorithm", alg]);
        assert!(output.success(), "keys generate: {output:?}");
        Self::from_pem(alg, &output.stdout)
    }

    /// One from a file, PKCS #8.
    pub(crate) fn from_pem(alg: &'static str, text: &str) -> Self {
        let der = pem::parse(text).expect("PEM").into_contents();
        let secret = match alg {
            "ES256" => {
                Secret::Ec(EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &der).expect("a key"))
            }
            "ES384" => {
                Secret::Ec(EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &der).expect("a key"))
            }
            "EdDSA" => Secret::Ed(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).expect("a key")),
            _ => Secret::Rsa(RsaKeyPair::from_pkcs8(&der).expect("a key")),
        };
        Self { alg, pem: text.to_owned(), secret }
    }

    /// A signature as `alg` has it, whatever the key is meant for.
    pub(crate) fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.secret {
            Secret::Ec(key) => key.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Secret::Ed(key) => key.sign(message).as_ref().to_vec(),
            Secret::Rsa(key) => {
                let encoding: &'static dyn RsaEncoding = match alg {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => panic!("no RSA algorithm: {other}"),
                };
                let mut signed = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signed).expect("a signature");
                signed
            }
        }
    }

    /// A token of exactly these header and payload bytes.
    pub(crate) fn token(&self, header: &[u8], payload: &[u8]) -> String {
        let message = format!("{}.{}", base64url(header), base64url(payload));
        format!("{message}.{}", base64url(&self.sign(self.alg, message.as_bytes())))
    }

    /// The token of these claims, with a header that says the key's algorithm.
    pub(crate) fn sign_claims(&self, claims: &Claims) -> String {
        self.token(json!({"alg": self.alg, "typ": "JWT"}).to_string().as_bytes(), claims.json().as_bytes())
    }

    /// The public key as `SubjectPublicKeyInfo`.
    pub(crate) fn public_der(&self) -> Vec<u8> {
        let der = |der: PublicKeyX509Der<'_>| der.as_ref().to_vec();
        match &self.secret {
            Secret::Rsa(key) => {
                let public: &rsa::PublicKey = key.public_key();
                der(public.as_der().expect("DER"))
            }
            Secret::Ec(key) => der(key.public_key().as_der().expect("DER")),
            Secret::Ed(key) => der(key.public_key().as_der().expect("DER")),
        }
    }

    /// The public key as its kind has it: PKCS #1 for RSA, a point for the others.
    pub(crate) fn public_bytes(&self) -> Vec<u8> {
        match &self.secret {
            Secret::Rsa(key) => key.public_key().as_ref().to_vec(),
            Secret::Ec(key) => key.public_key().as_ref().to_vec(),
            Secret::Ed(key) => key.public_key().as_ref().to_vec(),
        }
    }

    /// The public key in PEM, as `openssl pkey -pubout` writes it.
    pub(crate) fn public_pem(&self) -> String {
        pem_text("PUBLIC KEY", self.public_der())
    }

    /// The public key as a JWK.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let (alg, bytes) = (self.alg, self.public_bytes());
        match &self.secret {
            Secret::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus().big_endian_without_leading_zero(), public.exponent());
                let e = e.big_endian_without_leading_zero();
                json!({"kty": "RSA", "kid": kid, "alg": alg, "use": "sig", "n": base64url(n), "e": base64url(e)})
            }
            Secret::Ec(_) => {
                let (x, y) = bytes[1..].split_at(bytes.len() / 2);
                let crv = if alg == "ES384" { "P-384" } else { "P-256" };
                json!({"kty": "EC", "crv": crv, "kid": kid, "alg": alg, "use": "sig", "x": base64url(x), "y": base64url(y)})
            }
            Secret::Ed(_) => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": alg, "x": base64url(&bytes)}),
        }
    }
}

/// PEM with line ends as Unix has them.
pub(crate) fn pem_text(tag: &str, der: Vec<u8>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}

/// A token of exactly these header and payload bytes, signed with HS256.
pub(crate) fn hs256(key: &[u8], header: &str, payload: &str) -> String {
    sign(Hash::Sha256, key, header.as_bytes(), payload.as_bytes())
}

/// An HTTP server of our own that answers everything with one document, and counts.
pub(crate) struct Listener {
    port: u16,
    calls: Arc<AtomicUsize>,
    document: Arc<Mutex<String>>,
}

impl Listener {
    /// One that answers with `document`.
    pub(crate) fn new(document: &Value) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (calls, document) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(document.to_string())));
        let (counter, answer) = (Arc::clone(&calls), Arc::clone(&document));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
                thread::spawn(move || answer_once(stream, &answer));
            }
        });
        Self { port, calls, document }
    }

    /// Answers with this from now on.
    pub(crate) fn say(&self, document: &str) {
        document.clone_into(&mut self.document.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How often somebody connected.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn answer_once(mut stream: TcpStream, body: &str) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    // Whoever hung up needs no answer.
    drop(stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()));
}

/// A running server, a token that it takes, and an eye on its database.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) good: String,
    watch: Mutex<(Database, String)>,
}

impl Stage {
    /// Takes a server that runs. `good` is a token that it takes.
    pub(crate) fn new(server: Server, good: String) -> Self {
        let mut database = server.database();
        let version = database.version();
        let stage = Self { server, good, watch: Mutex::new((database, version)) };
        stage.good_as_ever("at the start");
        stage
    }

    pub(crate) fn client(&self) -> Client {
        self.server.client()
    }

    /// Fails unless the token is refused in the header and in a body, nothing was written, and the good token still works.
    #[track_caller]
    pub(crate) fn refused(&self, case: &str, token: &str) {
        let in_header = !token.is_empty()
            && token.bytes().all(|byte| (0x20..0x7f).contains(&byte))
            && token.trim() == token
            && token.len() < 100_000;
        if in_header {
            self.refused_in_header(case, token);
        }
        if token.trim() == token {
            let reply = self.client().post_json(VERIFY, &json!({ "token": token }));
            match reply.status {
                413 if token.len() > 15_000 => assert_eq!(reply.string("code"), "too_large", "{case}: {reply:?}"),
                400 if token.is_empty() || token.contains('\0') => {}
                _ => assert_refusal(case, &reply),
            }
        }
        assert!(in_header || token.trim() == token, "{case}: sent nowhere");
        self.good_as_ever(case);
    }

    #[track_caller]
    fn refused_in_header(&self, case: &str, token: &str) {
        let reply = self.client().get(WHOAMI, Some(token));
        if token.contains([' ', ',']) {
            assert_eq!((reply.status, reply.string("code").as_str()), (401, "bad_authorization_header"), "{case}");
        } else {
            assert_refusal(case, &reply);
            let challenge = reply.header("www-authenticate").unwrap_or_default();
            assert!(challenge.contains(r#"error="invalid_token""#), "{case}: {reply:?}");
        }
    }

    /// Fails unless the token is taken, in the header and in a body.
    #[track_caller]
    pub(crate) fn accepted(&self, case: &str, token: &str) {
        let reply = self.client().get(WHOAMI, Some(token));
        assert_eq!(reply.status, 200, "{case}: {reply:?}");
        let reply = self.client().post_json(VERIFY, &json!({ "token": token }));
        assert_eq!(reply.status, 200, "{case}: {reply:?}");
    }

    /// Fails unless nothing was written and the good token works.
    #[track_caller]
    pub(crate) fn good_as_ever(&self, case: &str) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let now = watch.0.version();
        assert_eq!(now, watch.1, "{case}: something was written");
        drop(watch);
        let reply = self.client().get(WHOAMI, Some(&self.good));
        assert_eq!(reply.status, 200, "{case}: the good token: {reply:?}");
    }
}

/// Fails unless this is the 401 of a token that is no good, without a word about why that helps an attacker.
#[track_caller]
pub(crate) fn assert_refusal(case: &str, reply: &Reply) {
    assert_eq!(reply.status, 401, "{case}: {reply:?}");
    assert_eq!(reply.string("code"), "token_not_valid", "{case}: {reply:?}");
    assert!(reply.header("www-authenticate").is_some(), "{case}: {reply:?}");
}

/// Sends one `GET` for each token over a single connection, each after the answer to the one before, and gives the statuses.
pub(crate) fn statuses(client: Client, path: &str, tokens: &[String]) -> Vec<u16> {
    let mut stream = client.connect();
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set a timeout");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut status_of = |token| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("send");
        read_status(&mut reader)
    };
    tokens.iter().map(&mut status_of).collect()
}

/// Reads one answer with a `Content-Length`, and gives its status.
fn read_status(reader: &mut BufReader<TcpStream>) -> u16 {
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).expect("a line"), 0, "the connection was closed");
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest[..3].parse().expect("a status");
        } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    status
}

/// The memory that a process holds, in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("a process");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * 4096
}

/// Sends one JSON body and gives the status, or [`None`] where there was no answer: the server may die at any moment.
pub(crate) fn attempt(port: u16, path: &str, body: &Value) -> Option<(u16, Value)> {
    let body = body.to_string();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n");
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A connection that breaks after the answer broke after the answer.
    drop(stream.read_to_end(&mut answer));
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}

/// A server that is started in an unusual way. Killed when it is dropped.
pub(crate) struct Spawned {
    child: std::process::Child,
    pub(crate) port: u16,
}

impl Spawned {
    /// Runs `script` in a shell, in which `"$@"` is the server on `port`. `serve` must keep its process (`exec`).
    pub(crate) fn start(server: &Server, script: &str) -> Self {
        // Between this and the server's start somebody else may take the port; the wait below would end in an error then.
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a port").port();
        let command = server.command();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
        shell.args(["serve", "--port", &port.to_string()]).current_dir(server.directory());
        shell.stdin(std::process::Stdio::null());
        let child = shell.spawn().expect("start a shell");
        let mut spawned = Self { child, port };
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while attempt(port, VERIFY, &json!({})).is_none() {
            let ended = spawned.child.try_wait().expect("ask for the status");
            assert_eq!(ended, None, "the server ended: {script}");
            assert!(std::time::Instant::now() < deadline, "the server does not answer: {script}");
            thread::sleep(Duration::from_millis(10));
        }
        spawned
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// Whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("ask for the status").is_none()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Numbers without a pattern, the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // Vigna's xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit.max(1)
    }
}

/// A request as bytes: the head's lines after the first, and a body.
pub(crate) fn request(line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{line}\r\nHost: a\r\n").into_bytes();
    for header in headers {
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}
