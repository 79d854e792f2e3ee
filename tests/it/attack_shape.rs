//! Attacks on encoding and shape: cases 28 to 36 of the attack list. "Signed" means with the right key.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use serde_json::json;

use crate::support::attack::{Stage, WHOAMI, hs256, resident};
use crate::support::mint::{Claims, Hash, KEY, base64url, claims, sign};
use crate::support::now;
use crate::support::server::Server;

static S1: LazyLock<Stage> = LazyLock::new(|| Stage::new(Server::new().start(), good().sign()));

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn good() -> Claims {
    claims("access").with("exp", now() + 3600)
}

fn signed_bytes(payload: &[u8]) -> String {
    sign(Hash::Sha256, KEY, HEADER.as_bytes(), payload)
}

fn signed(payload: &str) -> String {
    signed_bytes(payload.as_bytes())
}

/// Puts a good signature on any text.
fn put_signature(message: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), message.as_bytes());
    format!("{message}.{}", base64url(tag.as_ref()))
}

/// Good claims with more members, as JSON text.
fn with_members(members: &str) -> String {
    let json = claims("access").json();
    format!("{},{members}}}", &json[..json.len() - 1])
}

// Cases 28 and 29.
#[test]
fn only_the_compact_form_is_read() {
    let token = claims("access").sign();
    let [header, body, signature] = <[&str; 3]>::try_from(token.split('.').collect::<Vec<_>>()).expect("three parts");
    let flat = json!({"protected": header, "payload": body, "signature": signature});
    let general = json!({"payload": body, "signatures": [{"protected": header, "signature": signature}]});
    let unprotected = json!({"header": {"alg": "none"}, "payload": body, "signature": ""});
    for text in [flat, general, unprotected] {
        S1.refused("JSON", &text.to_string());
        S1.refused("JSON in base64url", &base64url(text.to_string().as_bytes()));
    }
    let other = base64url(claims("access").with("user_id", "2").json().as_bytes());
    for polyglot in [
        format!(r#"{{"  {header}.{other}.":"","protected":"{header}","payload":"{body}","signature":"{signature}"}}"#),
        format!(r#"{{"protected":"{header}","payload":"{body}","signature":"{signature}","x":".{other}."}}"#),
        format!(r#"{header}.{other}.{signature}{{"protected":"{header}","payload":"{body}"}}"#),
        format!("{header}.{body}.{signature}\n{header}.{other}."),
        format!("{token}~{other}~"),
        format!("{token},{token}"),
    ] {
        S1.refused("a polyglot", &polyglot);
    }
}

// Case 30.
#[test]
fn an_encrypted_token_is_none() {
    let inner = format!("{}.{}.", base64url(br#"{"alg":"none"}"#), base64url(claims("access").json().as_bytes()));
    for header in [
        r#"{"alg":"dir","enc":"A128GCM"}"#,
        r#"{"alg":"RSA-OAEP","enc":"A256GCM","cty":"JWT"}"#,
        r#"{"alg":"A128KW","enc":"A128CBC-HS256","zip":"DEF"}"#,
        r#"{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"c2FsdA"}"#,
        r#"{"alg":"ECDH-ES","enc":"A128GCM","epk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}"#,
        HEADER,
    ] {
        let header = base64url(header.as_bytes());
        let (key, iv, tag) = (base64url(&[1; 40]), base64url(&[2; 12]), base64url(&[3; 16]));
        let text = base64url(inner.as_bytes());
        S1.refused("five parts", &format!("{header}.{key}.{iv}.{text}.{tag}"));
        S1.refused("five parts, no key", &format!("{header}..{iv}.{text}.{tag}"));
        S1.refused("five parts, signed", &put_signature(&format!("{header}.{key}.{iv}.{text}")));
        S1.refused(
            "three parts, signed",
            &put_signature(&format!("{header}.{text}")).replacen("eyJhbGciOiJIUzI1NiI", "eyJhbGciOiJkaXIiLCI", 1),
        );
    }
}

// Case 31.
#[test]
fn a_token_has_three_parts() {
    let token = claims("access").sign();
    let parts: Vec<&str> = token.split('.').collect();
    let (header, body) = (parts[0], parts[1]);
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        format!("{header}.{body}"),
        format!(".{token}"),
        format!("{token}."),
        format!("{token}.x"),
        format!("{header}..{}", parts[2]),
        format!(".{body}.{}", parts[2]),
        format!("{token}.{token}"),
        put_signature(""),
        put_signature("."),
        put_signature(header),
        put_signature(&format!("{header}.")),
        put_signature(&format!(".{body}")),
        put_signature(&format!("{header}.{body}.")),
        put_signature(&format!("{header}..{body}")),
        put_signature(&format!("{header}.{body}.{body}")),
        put_signature(&format!(".{header}.{body}")),
    ] {
        S1.refused(&format!("{text:?}"), &text);
    }
}

#[test]
fn a_million_dots_cost_nothing() {
    let before = resident(S1.server.pid());
    for length in [8000, 8193, 15_000, 90_000] {
        S1.refused("dots", &".".repeat(length));
    }
    let many = format!(
        "GET {WHOAMI} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        ".".repeat(1_000_000)
    );
    for _ in 0..5 {
        let status = S1.client().raw(many.as_bytes()).map(|reply| reply.status);
        assert!(matches!(status, Some(401 | 431) | None), "{status:?}");
    }
    S1.refused("dots in a body", &".".repeat(1_000_000));
    let grown = resident(S1.server.pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

// Case 32.
#[test]
fn no_part_has_a_second_spelling() {
    // Long enough that every group of four characters occurs, and with both of the characters that differ between alphabets.
    let claims = good().with("x", "\u{ff}\u{fe}\u{fb}???>>>~~~").json();
    let parts = [HEADER.to_owned(), claims].map(|part| base64url(part.as_bytes()));
    assert!(parts[1].contains('-') || parts[1].contains('_'), "the alphabets differ in this text");
    S1.accepted("the first spelling", &put_signature(&parts.join(".")));
    let spoilt = |part: &str| -> Vec<String> {
        let middle = part.len() / 2;
        let mut spoilt: Vec<String> = [
            "=", "==", " ", "\t", "\n", "\r\n", "%2E", "%", "#", "\u{a0}", "\u{200b}", "\0", "+", "/", "*", "\u{ff0e}",
        ]
        .iter()
        .flat_map(|junk| {
            let inside = format!("{}{junk}{}", &part[..middle], &part[middle..]);
            [format!("{part}{junk}"), inside, format!("{junk}{part}")]
        })
        .collect();
        spoilt.push(format!("{part}A"));
        spoilt.push(part[..part.len() - 1].to_owned());
        spoilt.push(part.replace('-', "+").replace('_', "/"));
        spoilt.push(part.replacen('e', "%65", 1));
        spoilt.retain(|text| text != part);
        spoilt
    };
    for index in [0, 1] {
        for text in spoilt(&parts[index]) {
            let mut parts = parts.clone();
            parts[index] = text;
            let token = put_signature(&parts.join("."));
            if token.trim() == token {
                S1.refused(&format!("part {index}, signed"), &token);
            }
        }
    }
    let (message, signature) = S1.good.rsplit_once('.').expect("three parts");
    for text in spoilt(signature) {
        let token = format!("{message}.{text}");
        if token.trim() == token {
            S1.refused("the signature", &token);
        }
    }
}

#[test]
fn bits_that_the_last_character_has_over_are_zero() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let twins = |part: &str| -> Vec<String> {
        let (head, last) = part.split_at(part.len() - 1);
        let value = ALPHABET.iter().position(|known| last.as_bytes() == [*known]).expect("of the alphabet");
        let spare = match part.len() % 4 {
            2 => 16,
            3 => 4,
            _ => 1,
        };
        (1..spare).map(|more| format!("{head}{}", char::from(ALPHABET[value + more]))).collect()
    };
    // A signature of HMAC-SHA-256 has 43 characters, the last of which carries four bits.
    let (message, signature) = S1.good.rsplit_once('.').expect("three parts");
    assert_eq!(twins(signature).len(), 3);
    for twin in twins(signature) {
        S1.refused("the signature", &format!("{message}.{twin}"));
    }
    let mut tried = 0;
    for fill in ["", "x", "xx"] {
        let header = base64url(HEADER.as_bytes());
        let body = base64url(good().with("x", fill).json().as_bytes());
        for twin in twins(&body) {
            S1.refused("the claims, signed", &put_signature(&format!("{header}.{twin}")));
            tried += 1;
        }
        let named = base64url(format!("{HEADER}{}", " ".repeat(fill.len())).as_bytes());
        for twin in twins(&named) {
            S1.refused("the header, signed", &put_signature(&format!("{twin}.{body}")));
            tried += 1;
        }
    }
    assert_eq!(tried, 2 * (3 + 15), "each length once");
}

// Case 33.
#[test]
fn claims_are_utf8_without_a_mark() {
    let json = claims("access").json();
    let utf16 = |units: fn(u16) -> [u8; 2]| json.encode_utf16().flat_map(units).collect::<Vec<u8>>();
    let spoil = |with: &[u8]| {
        let text = with_members(r#""x":"?""#);
        let at = text.rfind('?').expect("the mark");
        [&text.as_bytes()[..at], with, &text.as_bytes()[at + 1..]].concat()
    };
    for (case, payload) in [
        ("UTF-16 LE", utf16(u16::to_le_bytes)),
        ("UTF-16 BE", utf16(u16::to_be_bytes)),
        ("UTF-16 with a mark", [&[0xff, 0xfe], &utf16(u16::to_le_bytes)[..]].concat()),
        ("a mark", [&[0xef, 0xbb, 0xbf], json.as_bytes()].concat()),
        ("Latin-1", spoil(b"\xe9")),
        ("a cut sequence", spoil(b"\xe2\x82")),
        ("an overlong slash", spoil(b"\xc0\xaf")),
        ("an overlong NUL", spoil(b"\xc0\x80")),
        ("a surrogate in UTF-8", spoil(b"\xed\xa0\x80")),
        ("beyond Unicode", spoil(b"\xf4\x90\x80\x80")),
        ("half a surrogate pair", spoil(br"\ud800")),
        ("the other half", spoil(br"\udc00")),
        ("a surrogate pair the wrong way round", spoil(br"\udc00\ud800")),
        ("a NUL byte", spoil(b"\0")),
        ("a bare line break", spoil(b"\n")),
        ("a bad escape", spoil(br"\x41")),
    ] {
        S1.refused(case, &signed_bytes(&payload));
    }
    S1.accepted("a whole surrogate pair", &signed_bytes(&spoil(br"\ud83d\ude00")));
    S1.accepted("an escaped NUL in a claim of no meaning", &signed_bytes(&spoil(br"\u0000")));
}

// Case 34.
#[test]
fn claims_are_an_object() {
    let (exp, iat) = (now() + 300, now());
    for payload in [
        "",
        "null",
        "[]",
        "{}",
        r#""x""#,
        "1",
        "true",
        &format!("[{}]", claims("access").json()),
        &format!(r#"["access","a",{exp},{iat},null,null,"1",null,{{}}]"#),
        &format!(r#"[["token_type","access"],["exp",{exp}],["jti","a"]]"#),
        &json!(claims("access").json()).to_string(),
    ] {
        S1.refused(payload, &signed(payload));
    }
}

// Case 35.
#[test]
fn claims_are_json_and_nothing_after_it() {
    let json = claims("access").json();
    let inner = &json[1..json.len() - 1];
    for payload in [
        format!("{json}x"),
        format!("{json}\0"),
        format!("{json}{json}"),
        format!("{json} {{}}"),
        format!("{json};"),
        format!("{json}// a comment"),
        format!("/* a comment */{json}"),
        format!("{{/**/{inner}}}"),
        format!("{{{inner},}}"),
        format!("{{,{inner}}}"),
        format!("{{{inner}"),
        json.replace('"', "'"),
        with_members("x:1"),
        with_members(r#""x":NaN"#),
        with_members(r#""x":Infinity"#),
        with_members(r#""x":-Infinity"#),
        with_members(r#""x":undefined"#),
        with_members(r#""x":True"#),
        with_members(r#""x":01"#),
        with_members(r#""x":+1"#),
        with_members(r#""x":.5"#),
        with_members(r#""x":5."#),
        with_members(r#""x":0x10"#),
        with_members(r#""x":1e"#),
        with_members(r#""x" 1"#),
        format!("\u{b}{json}"),
        format!(")]}}',\n{json}"),
        format!("{json}\u{a0}"),
    ] {
        S1.refused(&payload, &signed(&payload));
    }
    S1.accepted("space around it", &signed(&format!(" \t\r\n{json}\r\n")));
}

// Case 36.
#[test]
fn depth_and_length_are_bounded() {
    let deep = |depth: usize| with_members(&format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    let objects = |depth: usize| with_members(&format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth)));
    S1.accepted("nesting of 100", &signed(&deep(100)));
    for depth in [128, 200, 1000, 2500, 100_000] {
        S1.refused(&format!("arrays in {depth}"), &signed(&deep(depth)));
    }
    for depth in [128, 200, 800, 100_000] {
        S1.refused(&format!("objects in {depth}"), &signed(&objects(depth)));
    }
    S1.refused("open arrays", &signed(&"[".repeat(5000)));
    S1.refused("open objects", &signed(&r#"{"a":"#.repeat(1000)));
    for number in ["1e400", "-1e400", "1e99999999999", &"9".repeat(5000), &format!("0.{}", "3".repeat(1_000_000))] {
        let payload = with_members(&format!(r#""exp2":1,"nbf":{number}"#));
        S1.refused("a number beyond all", &signed(&payload));
    }
    S1.refused("infinity in a claim of no meaning", &signed(&with_members(r#""x":1e400"#)));
    let members: Vec<String> = (0..100_000).map(|index| format!(r#""m{index}":0"#)).collect();
    S1.refused("100,000 members", &signed(&with_members(&members.join(","))));
    S1.accepted("500 members", &signed(&with_members(&members[..500].join(","))));
    S1.refused("a long text", &signed(&with_members(&format!(r#""x":"{}""#, "x".repeat(1_000_000)))));
    // The header has no depth at all.
    let header = format!(r#"{{"alg":{}"HS256"{}}}"#, "[".repeat(2000), "]".repeat(2000));
    S1.refused("a deep header", &hs256(KEY, &header, &claims("access").json()));
}
