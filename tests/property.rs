//! What must hold for every token, tried with many that nobody would write by hand.
//!
//! The clock stands still, so that a failure depends on nothing but the case that is printed.
#![expect(clippy::expect_used, reason = "a test helper that fails should fail the test")]

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rocket_simplejwt::token::{
    Algorithm, Jti, KeyRing, Minter, NewToken, SessionId, SigningKey, StatedKind, TokenError, TokenKind, TokenRules,
    Verifier, generate_key,
};
use serde_json::{Map, Number, Value, json};

const NOW: i64 = 1_800_000_000;
const FLOAT_NOW: f64 = 1_800_000_000.0;
const KEY: &[u8] = b"kY3vW8qLr5Zt1Nc7Xb2Mf9Hs4Gd6Jp0QaTuEiOyRwSxV";
/// One of every family.
const FAMILIES: [Algorithm; 5] =
    [Algorithm::HS256, Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).expect("an instant")
}

/// A key, who mints with it, who verifies with it, and two good tokens of it.
struct Party {
    algorithm: Algorithm,
    minter: Minter,
    verifier: Verifier,
    tokens: [String; 2],
}

impl Party {
    fn new(algorithm: Algorithm, text: &[u8], rules: TokenRules) -> Self {
        let key = SigningKey::from_text(algorithm, None, text).expect("a good key");
        let ring = Arc::new(KeyRing::new(Some(key), Vec::new()).expect("a good ring"));
        let rules = Arc::new(rules);
        let minter = Minter::new(Arc::clone(&ring), Arc::clone(&rules));
        let verifier = Verifier::new(ring, rules);
        let tokens = ["1", "2"].map(|user| minter.mint(&plain(user)).expect("a token"));
        for token in &tokens {
            verifier.verify(token, now()).expect("a good token");
        }
        Self { algorithm, minter, verifier, tokens }
    }

    /// Fails if `text` passes although it is not one of the two tokens. An ECDSA signature has a second spelling that anybody
    /// can compute, so there it is the signed part that must be one of ours.
    fn check(&self, text: &str) -> Result<(), TestCaseError> {
        if self.verifier.verify(text, now()).is_ok() {
            let ecdsa = matches!(self.algorithm, Algorithm::ES256 | Algorithm::ES384);
            let known = self.tokens.iter().any(|good| if ecdsa { signed(good) == signed(text) } else { good == text });
            prop_assert!(known, "{} takes {text:?}", self.algorithm);
        }
        Ok(())
    }
}

static PARTIES: LazyLock<Vec<Party>> = LazyLock::new(|| {
    let party = |algorithm| {
        let key = generate_key(algorithm).expect("a key");
        Party::new(algorithm, key.trim().as_bytes(), TokenRules::default())
    };
    FAMILIES.into_iter().map(party).collect()
});

fn plain(user: &str) -> NewToken {
    NewToken {
        kind: TokenKind::Access,
        jti: Jti::random(),
        issued_at: now(),
        expires_at: now() + TimeDelta::seconds(300),
        refresh_expires_at: None,
        user: Some(user.to_owned()),
        session: Some(SessionId::starting_at(1_800_000_000_000)),
        custom: Map::new(),
    }
}

/// What stands before the signature.
fn signed(token: &str) -> &str {
    token.rsplit_once('.').map_or("", |(signed, _)| signed)
}

/// A token of exactly these bytes, signed with [`KEY`].
fn sign(header: &[u8], payload: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

fn sign_claims(payload: &str) -> String {
    sign(br#"{"alg":"HS256","typ":"JWT"}"#, payload.as_bytes())
}

/// What is done to a good token.
#[derive(Clone, Debug)]
enum Mutation {
    FlipBit(Index, u8),
    Truncate(Index),
    Remove(Index),
    Insert(Index, char),
    Repeat(Index),
    /// The start of one token and the rest of the other.
    Splice(Index, Index),
    /// Each part from either token, in any order.
    Parts([Index; 3]),
    /// One part decoded and written in another way.
    Recode(Index, Recoding),
    SwapCase(Index),
}

#[derive(Clone, Copy, Debug)]
enum Recoding {
    Padded,
    Standard,
    /// The bits that the last character has over are set.
    TrailingBits,
    Doubled,
    /// The same JSON with spaces.
    Spaced,
    /// The same JSON with one name written with an escape.
    Escaped,
    Percent,
    LineBreak,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let recoding = select(vec![
        Recoding::Padded,
        Recoding::Standard,
        Recoding::TrailingBits,
        Recoding::Doubled,
        Recoding::Spaced,
        Recoding::Escaped,
        Recoding::Percent,
        Recoding::LineBreak,
    ]);
    prop_oneof![
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Mutation::FlipBit(at, bit)),
        2 => any::<Index>().prop_map(Mutation::Truncate),
        1 => any::<Index>().prop_map(Mutation::Remove),
        2 => (any::<Index>(), any::<char>()).prop_map(|(at, what)| Mutation::Insert(at, what)),
        1 => any::<Index>().prop_map(Mutation::Repeat),
        2 => any::<(Index, Index)>().prop_map(|(one, other)| Mutation::Splice(one, other)),
        2 => any::<[Index; 3]>().prop_map(Mutation::Parts),
        4 => (any::<Index>(), recoding).prop_map(|(part, how)| Mutation::Recode(part, how)),
        1 => any::<Index>().prop_map(Mutation::SwapCase),
    ]
}

fn mutate(tokens: &[String; 2], mutation: &Mutation) -> String {
    let mut bytes = tokens[0].clone().into_bytes();
    let place = |at: &Index| at.index(tokens[0].len());
    match mutation {
        Mutation::FlipBit(at, bit) => bytes[place(at)] ^= 1 << bit,
        Mutation::Truncate(at) => bytes.truncate(place(at)),
        Mutation::Remove(at) => drop(bytes.remove(place(at))),
        Mutation::Insert(at, what) => {
            let mut text = tokens[0].clone();
            text.insert(place(at), *what);
            bytes = text.into_bytes();
        }
        Mutation::Repeat(at) => bytes.insert(place(at), tokens[0].as_bytes()[place(at)]),
        Mutation::Splice(one, other) => {
            let rest = &tokens[1].as_bytes()[other.index(tokens[1].len())..];
            bytes = [&tokens[0].as_bytes()[..place(one)], rest].concat();
        }
        Mutation::Parts(chosen) => {
            let all: Vec<&str> = tokens.iter().flat_map(|token| token.split('.')).collect();
            bytes = chosen.map(|index| *index.get(&all)).join(".").into_bytes();
        }
        Mutation::Recode(part, how) => {
            let mut parts: Vec<String> = tokens[0].split('.').map(Into::into).collect();
            let part = part.index(parts.len());
            parts[part] = recode(&parts[part], *how);
            bytes = parts.join(".").into_bytes();
        }
        Mutation::SwapCase(at) => {
            let byte = &mut bytes[place(at)];
            *byte = if byte.is_ascii_lowercase() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn recode(part: &str, how: Recoding) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    let json = String::from_utf8_lossy(&bytes);
    match how {
        Recoding::Padded => URL_SAFE.encode(&bytes),
        Recoding::Standard => STANDARD.encode(&bytes),
        Recoding::TrailingBits => {
            let (head, last) = part.split_at(part.len() - 1);
            let value = ALPHABET.iter().position(|known| last.as_bytes() == [*known]).expect("of the alphabet");
            format!("{head}{}", char::from(ALPHABET[(value | 1) & 63]))
        }
        Recoding::Doubled => URL_SAFE_NO_PAD.encode(part),
        Recoding::Spaced => URL_SAFE_NO_PAD.encode(json.replace(':', " : ")),
        Recoding::Escaped => URL_SAFE_NO_PAD.encode(json.replacen("\"a", "\"\\u0061", 1)),
        Recoding::Percent => part.replacen('e', "%65", 1),
        Recoding::LineBreak => format!("{}\r\n{}", &part[..part.len() / 2], &part[part.len() / 2..]),
    }
}

/// Any JSON, not too deep.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |number| Number::from_f64(number).map(Value::Number)),
        ".{0,20}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::hash_map(".{0,8}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Claims that an application may add: any name but those that have a meaning in every token.
fn custom_claims() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof!["[a-z_]{1,12}", ".{0,12}"].prop_filter("a free name", |name| !is_ours(name));
    prop::collection::hash_map(name, json_value(), 0..6).prop_map(|members| members.into_iter().collect())
}

fn is_ours(name: &str) -> bool {
    ["token_type", "jti", "user_id", "refresh_exp", "exp", "iat", "nbf", "iss", "aud", "sid"].contains(&name)
}

fn kind() -> impl Strategy<Value = TokenKind> {
    select(vec![TokenKind::Access, TokenKind::Refresh, TokenKind::Sliding])
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn no_text_is_a_token(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        for party in PARTIES.iter() {
            prop_assert!(party.verifier.verify(&text, now()).is_err());
        }
    }

    #[test]
    fn no_text_of_the_right_shape_is_a_token(text in "[A-Za-z0-9_=+/-]{0,80}(\\.[A-Za-z0-9_=+/-]{0,80}){0,5}") {
        for party in PARTIES.iter() {
            prop_assert!(party.verifier.verify(&text, now()).is_err());
        }
    }

    #[test]
    fn no_signature_that_was_made_up_is_taken(
        alg in prop_oneof![select(Algorithm::ALL.map(|known| known.as_str().to_owned()).to_vec()), ".{0,6}"],
        kid in prop::option::of(".{0,6}"),
        signature in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut header = json!({"alg": alg});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        for party in PARTIES.iter() {
            let payload = party.tokens[0].split('.').nth(1).expect("three parts");
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            let text = format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(&signature));
            prop_assert!(party.verifier.verify(&text, now()).is_err(), "{text}");
        }
    }

    #[test]
    fn no_mutation_of_a_good_token_is_one(mutations in prop::collection::vec(mutation(), 1..4)) {
        for party in PARTIES.iter() {
            let mut tokens = party.tokens.clone();
            for mutation in &mutations {
                if tokens[0].split('.').count() == 3 && tokens[0].split('.').all(|part| URL_SAFE_NO_PAD.decode(part).is_ok_and(|bytes| !bytes.is_empty())) {
                    tokens[0] = mutate(&tokens, mutation);
                }
                party.check(&tokens[0])?;
            }
        }
    }

    /// Whoever has the key can sign anything; nothing that they sign makes us panic, and an object is all that we take.
    #[test]
    fn bytes_that_are_no_object_are_no_claims(
        header in prop_oneof![Just(br#"{"alg":"HS256"}"#.to_vec()), prop::collection::vec(any::<u8>(), 0..60)],
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let party = Party::new(Algorithm::HS256, KEY, TokenRules::default());
        prop_assert!(party.verifier.verify(&sign(&header, &payload), now()).is_err());
    }

    #[test]
    fn a_token_of_one_key_is_none_of_another(from in any::<Index>(), to in any::<Index>()) {
        let (from, to) = (from.get(&PARTIES), to.get(&PARTIES));
        if from.algorithm != to.algorithm {
            prop_assert!(to.verifier.verify(&from.tokens[0], now()).is_err());
        }
    }
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn what_is_minted_is_what_is_read(
        algorithm in any::<Index>(),
        kind in kind(),
        jti in "[A-Za-z0-9._~-]{1,255}",
        lifetime in 1..100_000_000i64,
        renewable in 0..100_000_000i64,
        user in prop::option::of(".{1,40}"),
        with_session in any::<bool>(),
        custom in custom_claims(),
    ) {
        let party = algorithm.get(&PARTIES);
        let token = NewToken {
            kind,
            jti: jti.parse().expect("a jti"),
            issued_at: now(),
            expires_at: now() + TimeDelta::seconds(lifetime),
            refresh_expires_at: (kind == TokenKind::Sliding).then(|| now() + TimeDelta::seconds(renewable)),
            user,
            session: with_session.then(|| SessionId::starting_at(1_799_999_999_123)),
            custom,
        };
        let text = party.minter.mint(&token).map_err(|error| TestCaseError::reject(error.to_string()))?;
        let read = party.verifier.verify(&text, now()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read.jti(), &token.jti);
        prop_assert_eq!(read.kind(), StatedKind::Known(kind));
        prop_assert_eq!(read.session(), token.session);
        prop_assert_eq!(read.user_id(), token.user.as_deref());
        prop_assert_eq!((read.expires_at(), read.issued_at()), (token.expires_at, Some(token.issued_at)));
        prop_assert_eq!(read.refresh_expires_at(), token.refresh_expires_at);
        prop_assert_eq!(read.custom_claims(), &token.custom, "{}", text);
        // And once more, as from a refresh token to an access token and on.
        let again = NewToken { custom: read.custom_claims().clone(), ..token.clone() };
        let text = party.minter.mint(&again).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let read = party.verifier.verify(&text, now()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read.custom_claims(), &token.custom, "a second time");
    }

    /// The rules of time, once more and in other words.
    #[test]
    fn time_decides_to_the_second(
        exp in -700i64..700,
        nbf in prop::option::of(-700i64..700),
        iat in prop::option::of(-700i64..700),
        leeway in select(vec![0, 1, 10, 300]),
        most in prop::option::of(1i64..700),
        fraction in prop::option::of(0.01f64..0.99),
    ) {
        let rules = TokenRules { leeway, max_token_lifetime: most, ..TokenRules::default() };
        let party = Party::unminted(rules);
        let exp_text = fraction.map_or_else(|| (NOW + exp).to_string(), |part| format!("{}{}", NOW + exp, &format!("{part:.2}")[1..]));
        let mut payload = format!(r#"{{"exp":{exp_text},"jti":"a","token_type":"access""#);
        for (name, value) in [("nbf", nbf), ("iat", iat)] {
            if let Some(value) = value {
                write!(payload, r#","{name}":{}"#, NOW + value).expect("writing to a string");
            }
        }
        payload.push('}');
        let verdict = party.verify(&sign_claims(&payload), now());
        let expired = exp + leeway <= 0;
        let early = [nbf, iat].into_iter().flatten().any(|start| start > leeway);
        let odd = iat.is_some_and(|iat| iat > exp);
        let far = most.is_some_and(|most| exp > most + leeway);
        match verdict {
            Ok(read) => {
                prop_assert!(!expired && !early && !odd && !far, "{}", payload);
                prop_assert_eq!(read.expires_at().timestamp(), NOW + exp, "a fraction never makes it later");
            }
            Err(TokenError::Expired) => prop_assert!(expired, "{}", payload),
            Err(error) => prop_assert!(early || odd || far, "{}: {:?}", payload, error),
        }
    }

    /// Every claim that has a meaning, each with any JSON value or absent: the verdict is what its type says.
    #[test]
    fn types_decide(
        exp in member(), jti in member(), kind in member(), user in member(), iat in member(), nbf in member(),
        session in member(), refresh_exp in member(), other in member(),
    ) {
        let fields = [
            ("exp", &exp), ("jti", &jti), ("token_type", &kind), ("user_id", &user), ("iat", &iat), ("nbf", &nbf),
            ("sid", &session), ("refresh_exp", &refresh_exp), ("other", &other),
        ];
        let members: Map<String, Value> =
            fields.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value).clone()?))).collect();
        let payload = Value::Object(members.clone()).to_string();
        let verdict = Party::unminted(TokenRules::default()).verify(&sign_claims(&payload), now());
        let good = fields.iter().all(|(name, value)| fits(name, value.as_ref()));
        prop_assert_eq!(verdict.is_ok(), good, "{}: {:?}", payload, verdict.err());
        // Each member a second time, even with the same value, spoils it.
        for (name, value) in &members {
            let twice = format!("{},{}:{value}}}", &payload[..payload.len() - 1], json!(name));
            prop_assert!(Party::unminted(TokenRules::default()).verify(&sign_claims(&twice), now()).is_err(), "{}", twice);
        }
    }
}

impl Party {
    /// Who verifies what [`sign`] signs, under these rules.
    fn unminted(rules: TokenRules) -> Verifier {
        let key = SigningKey::from_text(Algorithm::HS256, None, KEY).expect("a good key");
        Verifier::new(Arc::new(KeyRing::new(Some(key), Vec::new()).expect("a good ring")), Arc::new(rules))
    }
}

/// The value of a claim: often a sensible one, or else anything; or absent.
fn member() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        1 => Just(None),
        6 => Just(Some(Value::from(NOW))),
        2 => Just(Some(Value::from(NOW + 60))),
        6 => Just(Some(Value::from("0190a3b2-7c3e-7d61-9b0a-3f2f6c1d2e4b"))),
        1 => select(vec!["", "access", "a b", "A~.-_9", "0190A3B2-7C3E-7D61-9B0A-3F2F6C1D2E4B"]).prop_map(|text| Some(text.into())),
        1 => json_value().prop_map(Some),
    ]
}

/// What each claim may be, written down independently of the reader. The times are such that only types and the present
/// matter.
fn fits(name: &str, value: Option<&Value>) -> bool {
    let Some(value) = value else { return !matches!(name, "exp" | "jti") };
    let whole = value.as_i64();
    match name {
        "exp" => whole.map_or_else(
            || value.as_f64().is_some_and(|exp| in_range(exp) && exp.floor() > FLOAT_NOW),
            |exp| exp > NOW && exp <= 253_402_300_799,
        ),
        "nbf" => whole.map_or_else(
            || value.as_f64().is_some_and(|nbf| in_range(nbf) && nbf.ceil() <= FLOAT_NOW),
            |nbf| (-253_402_300_799..=NOW).contains(&nbf),
        ),
        "iat" => whole.is_some_and(|iat| (0..=NOW).contains(&iat)),
        "refresh_exp" => whole.map_or_else(|| value.as_f64().is_some_and(in_range), |end| end.abs() <= 253_402_300_799),
        "jti" => value.as_str().is_some_and(|jti| {
            (1..=255).contains(&jti.len())
                && jti.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
        }),
        "token_type" => value.is_string(),
        "user_id" => value.as_str().map_or_else(|| value.is_i64() || value.is_u64(), |user| !user.is_empty()),
        "sid" => value.as_str() == Some("0190a3b2-7c3e-7d61-9b0a-3f2f6c1d2e4b"),
        _ => true,
    }
}

fn in_range(seconds: f64) -> bool {
    seconds.abs() <= 253_402_300_799.0
}
