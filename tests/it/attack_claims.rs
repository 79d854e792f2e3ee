//! Attacks through the claims: cases 37 to 56 of the attack list. Every token here is signed with the right key, so that
//! nothing but the reader of the claims can refuse it. Case 56 (two issuers in one ledger) does not arise: one ledger has one
//! issuer.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::attack::{Stage, WHOAMI, hs256};
use crate::support::mint::{Claims, KEY, claims};
use crate::support::server::Server;
use crate::support::{now, unique};

/// The default settings.
static S1: LazyLock<Stage> = LazyLock::new(|| Stage::new(Server::new().start(), good().sign()));
/// With an issuer and two audiences.
static NAMED: LazyLock<Stage> = LazyLock::new(|| {
    let server = Server::new().set("issuer", r#""https://a.example""#).set("audience", r#"["a", "b"]"#).start();
    Stage::new(server, named().with("exp", now() + 3600).sign())
});

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
/// The end of the year 9999.
const END: i64 = 253_402_300_799;

fn good() -> Claims {
    claims("access").with("exp", now() + 3600)
}

fn named() -> Claims {
    claims("access").with("iss", "https://a.example").with("aud", "a")
}

/// Good claims whose member `name` is this JSON text, whatever it is.
fn raw(name: &str, value: &str) -> String {
    let json = claims("access").without(name).json();
    hs256(KEY, HEADER, &format!(r#"{},"{name}":{value}}}"#, &json[..json.len() - 1]))
}

/// Good claims with this text instead of the member `name`.
fn instead(name: &str, members: &str) -> String {
    let json = claims("access").without(name).json();
    hs256(KEY, HEADER, &format!("{},{members}}}", &json[..json.len() - 1]))
}

#[track_caller]
fn refused_each(name: &str, values: &[&str]) {
    for value in values {
        S1.refused(&format!("{name}: {value}"), &raw(name, value));
    }
}

/// JSON of every type but a number.
const NO_NUMBERS: [&str; 9] =
    ["null", r#""x""#, r#""""#, r#""9999999999""#, "true", "false", "[]", "{}", "[9999999999]"];

// Cases 37 to 39 and 41.
#[test]
fn exp_is_a_number_in_the_future_and_always_there() {
    S1.refused("no exp", &claims("access").without("exp").sign());
    refused_each("exp", &NO_NUMBERS);
    refused_each("exp", &["-1", "-0.5", "0", "-0", "0.0", "1", "-9223372036854775808", "-1e300"]);
    refused_each(
        "exp",
        &["1e300", "1e18", "1e15", "18446744073709551615", "18446744073709551616", "9223372036854775807"],
    );
    refused_each("exp", &["9223372036854775808", "253402300800", "1e400", "NaN"]);
    S1.accepted("the year 9999", &claims("access").with("exp", END).sign());
    S1.accepted("far away", &claims("access").with("exp", now() + 100 * 366 * 86_400).sign());
}

// Case 40. The second of the boundary itself is in the property tests, where the clock stands still.
#[test]
fn a_token_is_expired_from_its_last_second_on() {
    let at = |seconds: i64| claims("access").with("iat", now() - 60).with("exp", now() + seconds).sign();
    for seconds in [-3600, -1, 0] {
        let token = at(seconds);
        S1.refused(&format!("exp = now {seconds}"), &token);
        let reply = S1.client().get(WHOAMI, Some(&token));
        assert_eq!(reply.json()["messages"][0]["message"], "Token is expired");
    }
    S1.accepted("exp = now + 60", &at(60));
    let lenient = Stage::new(Server::new().set("leeway", "\"10s\"").start(), good().sign());
    for seconds in [-3600, -11, -10] {
        lenient.refused(&format!("leeway 10: exp = now {seconds}"), &at(seconds));
    }
    lenient.accepted("leeway 10: exp = now - 1", &at(-1));
    lenient.refused("leeway 10: iat = now + 60", &claims("access").with("iat", now() + 60).sign());
    lenient.accepted("leeway 10: iat = now + 5", &claims("access").with("iat", now() + 5).sign());
}

// Case 41, and the setting.
#[test]
fn a_far_exp_is_refused_where_there_is_a_limit() {
    let server = Server::new().set("max_token_lifetime", "\"1d\"").start();
    let stage = Stage::new(server, good().sign());
    for exp in [now() + 86_400 + 60, now() + 864_000, END] {
        stage.refused(&exp.to_string(), &claims("access").with("exp", exp).sign());
    }
    stage.accepted("a day less a minute", &claims("access").with("exp", now() + 86_340).sign());
}

// Case 42.
#[test]
fn a_fraction_of_a_second_is_no_second() {
    let fraction = |seconds: i64, part: &str| raw("exp", &format!("{}{part}", now() + seconds));
    S1.refused("the present second and a half", &fraction(0, ".999999"));
    S1.refused("a second ago and a half", &fraction(-1, ".5"));
    S1.accepted("a minute and a half", &fraction(60, ".5"));
    S1.accepted("in scientific notation", &raw("exp", "9.9e10"));
}

// Cases 43, 50 and 54.
#[test]
fn no_claim_stands_twice() {
    let exp = now() + 300;
    for members in [
        format!(r#""exp":1,"exp":{exp}"#),
        format!(r#""exp":{exp},"exp":1"#),
        format!(r#""exp":{exp},"exp":{exp}"#),
        format!(r#""exp":{exp},"\u0065xp":1"#),
        format!(r#""\u0065xp":1,"exp":{exp}"#),
    ] {
        S1.refused(&members, &instead("exp", &members));
    }
    for members in [
        r#""token_type":"access","token_type":"refresh""#,
        r#""token_type":"refresh","token_type":"access""#,
        r#""token_type":"access","token_typ\u0065":"refresh""#,
    ] {
        S1.refused(members, &instead("token_type", members));
    }
    for name in ["iat", "nbf", "user_id", "sid", "iss", "aud", "sub", "role", "refresh_exp", ""] {
        let members = format!(r#""{name}":1,"{name}":1"#);
        S1.refused(&members, &instead(name, &members));
    }
}

// Case 50.
#[test]
fn a_revoked_jti_is_not_hidden_behind_another() {
    let server = Server::new().start();
    let (revoked, other) = (unique("revoked"), unique("other"));
    let output = server.cli(&["blacklist", &revoked]);
    assert!(output.success(), "{output:?}");
    let stage = Stage::new(server, good().sign());
    stage.refused("the revoked one", &claims("access").with("jti", revoked.as_str()).sign());
    for members in [
        format!(r#""jti":"{revoked}","jti":"{other}""#),
        format!(r#""jti":"{other}","jti":"{revoked}""#),
        format!(r#""jti":"{other}","j\u0074i":"{revoked}""#),
        format!(r#""j\u0074i":"{revoked}","jti":"{other}""#),
    ] {
        stage.refused(&members, &instead("jti", &members));
    }
    stage.refused("with an escape", &raw("jti", &format!(r#""\u0072{}""#, &revoked[1..])));
    stage.accepted("another", &claims("access").with("jti", other).sign());
}

// Case 44.
#[test]
fn a_token_is_not_used_before_its_time() {
    refused_each("nbf", &NO_NUMBERS);
    refused_each("nbf", &["1e300", "18446744073709551615", "253402300800", "-1e300"]);
    S1.refused("tomorrow", &claims("access").with("nbf", now() + 86_400).sign());
    S1.refused("in a minute", &claims("access").with("nbf", now() + 60).sign());
    S1.accepted("now", &claims("access").with("nbf", now()).sign());
    S1.accepted("never was anything else", &claims("access").with("nbf", 0).sign());
}

// Case 45.
#[test]
fn iat_is_a_whole_second_that_has_come() {
    refused_each("iat", &NO_NUMBERS);
    refused_each("iat", &["-1", "1.5", "1e300", "18446744073709551615", "253402300800"]);
    S1.refused("in a minute", &claims("access").with("iat", now() + 60).sign());
    S1.refused("tomorrow, exp later", &claims("access").with("iat", now() + 86_400).with("exp", now() + 90_000).sign());
    let lenient = Stage::new(Server::new().set("leeway", "\"300s\"").start(), good().sign());
    let backwards = claims("access").with("iat", now() + 20).with("exp", now() + 10);
    lenient.refused("expired before it was issued", &backwards.sign());
    S1.accepted("none", &claims("access").without("iat").sign());
    S1.accepted("in 1970", &claims("access").with("iat", 0).sign());
}

/// What no single name can be taken for.
fn no_name(good: &str) -> Vec<Value> {
    let capital = good.to_uppercase();
    vec![
        json!(null),
        json!(42),
        json!(true),
        json!({}),
        json!({ good: good }),
        json!(["evil"]),
        json!([["evil", good]]),
        json!(""),
        json!(format!("{good}x")),
        json!(format!("x{good}")),
        json!(format!("{good}/")),
        json!(format!("{good} ")),
        json!(format!("{good}\0")),
        json!(capital),
        json!("evil"),
        json!(format!("evil,{good}")),
        json!(format!("evil {good}")),
        json!("*"),
    ]
}

// Case 46.
#[test]
fn the_issuer_is_the_one_configured() {
    let issuer = "https://a.example";
    NAMED.refused("none", &named().without("iss").sign());
    for iss in no_name(issuer).into_iter().chain([json!([issuer]), json!(["evil", issuer]), json!("https://a.exampl")])
    {
        NAMED.refused(&iss.to_string(), &named().with("iss", iss).sign());
    }
    NAMED.accepted("ours", &named().sign());
    S1.accepted("anybody, where none is configured", &named().with("iss", "evil").sign());
}

// Case 47.
#[test]
fn the_audience_names_one_of_those_configured() {
    NAMED.refused("none", &named().without("aud").sign());
    for aud in
        no_name("a").into_iter().chain([json!([]), json!([1, 2]), json!(["a", 1]), json!(["a", null]), json!([["a"]])])
    {
        NAMED.refused(&aud.to_string(), &named().with("aud", aud).sign());
    }
    for aud in [json!("a"), json!("b"), json!(["a"]), json!(["other", "b"]), json!(["a", "a"])] {
        NAMED.accepted(&aud.to_string(), &named().with("aud", aud).sign());
    }
    S1.accepted("anybody, where none is configured", &named().with("aud", json!([1])).sign());
}

// Case 48, as the claim is called here.
#[test]
fn a_user_is_named_by_a_string_or_an_integer() {
    for user in [json!(""), json!([]), json!(["1"]), json!({}), json!({"$ne": 1}), json!(null), json!(true), json!(1.5)]
    {
        S1.refused(&user.to_string(), &claims("access").with("user_id", user).sign());
    }
    refused_each("user_id", &["1e2", "18446744073709551616", "1.0"]);
    for user in [json!("1"), json!(7), json!(-7), json!("ada@example.org"), json!(u64::MAX)] {
        S1.accepted(&user.to_string(), &claims("access").with("user_id", user).sign());
    }
    S1.accepted("nobody", &claims("access").without("user_id").sign());
}

// Cases 49 and 51.
#[test]
fn a_jti_is_plain_text() {
    S1.refused("none", &claims("access").without("jti").sign());
    for jti in [json!(null), json!(5), json!(true), json!([]), json!({}), json!(["a"]), json!("")] {
        S1.refused(&jti.to_string(), &claims("access").with("jti", jti).sign());
    }
    for jti in [
        " ",
        "a b",
        " a",
        "a ",
        "a\0",
        "\0",
        "a\n",
        "a\r\nb",
        "a\t",
        "a%",
        "a%00",
        "a'",
        "a\"",
        "a\\",
        "a/b",
        "a+b",
        "a=",
        "a:b",
        "a,b",
        "a;b",
        "a|b",
        "a*",
        "a<b>",
        "a&b",
        "a#",
        "a?",
        "a@b",
        "a$b",
        "(a)",
        "[a]",
        "{a}",
        "e\u{301}",
        "\u{e9}",
        "\u{202e}a",
        "\u{200b}",
        "\u{1f600}",
        "\u{ff41}",
        "\u{130}",
        "a\u{7f}",
        "x' OR '1'='1",
        "'; DROP TABLE simplejwt_token;--",
    ] {
        S1.refused(&format!("{jti:?}"), &claims("access").with("jti", jti).sign());
    }
    for jti in ["a", "A~Z.a-z_0", "~", ".", "..", "-x", "0", "null", "00000000-0000-0000-0000-000000000000"] {
        S1.accepted(jti, &claims("access").with("jti", jti).sign());
    }
}

// Case 52.
#[test]
fn a_jti_has_255_characters_at_most() {
    let server = Server::new().start();
    let longest = claims("access").with("jti", "j".repeat(255));
    let twin = claims("access").with("jti", format!("{}k", "j".repeat(254)));
    assert_eq!(server.client().get(WHOAMI, Some(&longest.sign())).status, 200);
    let output = server.cli(&["blacklist", longest.jti()]);
    assert!(output.success(), "{output:?}");
    let stage = Stage::new(server, good().sign());
    stage.refused("revoked", &longest.sign());
    stage.accepted("another in the last character", &twin.sign());
    for length in [256, 300, 2705, 65_536, 1_000_000] {
        stage.refused(&length.to_string(), &claims("access").with("jti", "j".repeat(length)).sign());
    }
}

// Case 53.
#[test]
fn jtis_that_differ_in_case_are_two() {
    let server = Server::new().start();
    let base = unique("x");
    let jtis = [format!("{base}abc"), format!("{base}ABC"), format!("{base}Abc")];
    let of = |jti: &str| claims("access").with("jti", jti).sign();
    let status = |jti: &str| server.client().get(WHOAMI, Some(&of(jti))).status;
    let mut revoked = Vec::new();
    for jti in &jtis {
        assert_eq!(status(jti), 200);
        let output = server.cli(&["blacklist", jti]);
        assert!(output.success(), "{output:?}");
        revoked.push(jti);
        for jti in &jtis {
            assert_eq!(status(jti), if revoked.contains(&jti) { 401 } else { 200 }, "{jti} after {revoked:?}");
        }
    }
    assert_eq!(server.database().count("token_blacklist_blacklistedtoken"), 3);
    for near in [format!("{base}ab"), format!("{base}abcd"), format!("{base}ab_"), base.to_uppercase()] {
        assert_eq!(status(&near), 200, "{near}");
    }
}

// Case 54.
#[test]
fn the_kind_is_one_of_three_words() {
    let refused = |case: &str, token: &str| {
        let reply = S1.client().get(WHOAMI, Some(token));
        assert_eq!(reply.status, 401, "{case}: {reply:?}");
        S1.good_as_ever(case);
    };
    refused("none", &claims("access").without("token_type").sign());
    for kind in [
        json!("Access"),
        json!("ACCESS"),
        json!("access "),
        json!(""),
        json!("refresh"),
        json!("sliding"),
        json!("acc\0ess"),
    ] {
        refused(&kind.to_string(), &claims("access").with("token_type", kind).sign());
    }
    for kind in [json!(null), json!(1), json!(true), json!([]), json!(["access"]), json!({"access": 1})] {
        S1.refused(&kind.to_string(), &claims("access").with("token_type", kind).sign());
    }
}

// Case 55.
#[test]
fn a_token_has_8_kib_at_most() {
    let filled = |length: usize| {
        let mut low = 0;
        // The length of the text grows with the fill in steps of one or two.
        loop {
            let token = claims("access").with("fill", "x".repeat(low)).sign();
            if token.len() >= length {
                return token;
            }
            low += ((length - token.len()) * 3 / 4).max(1);
        }
    };
    let longest = filled(8191);
    assert!(longest.len() <= 8192, "{}", longest.len());
    S1.accepted("8 KiB", &longest);
    S1.refused("a little more", &filled(8193));
    S1.refused("9 kB", &filled(9000));
    S1.refused("90 kB", &filled(90_000));
}

#[test]
fn a_session_is_named_in_one_spelling() {
    for sid in [
        json!(null),
        json!(1),
        json!([]),
        json!(""),
        json!("x"),
        json!("0190a3b27c3e7d619b0a3f2f6c1d2e4b"),
        json!("0190A3B2-7C3E-7D61-9B0A-3F2F6C1D2E4B"),
        json!("{0190a3b2-7c3e-7d61-9b0a-3f2f6c1d2e4b}"),
        json!("urn:uuid:0190a3b2-7c3e-7d61-9b0a-3f2f6c1d2e4b"),
        json!(" 0190a3b2-7c3e-7d61-9b0a-3f2f6c1d2e4b"),
    ] {
        S1.refused(&sid.to_string(), &claims("access").with("sid", sid).sign());
    }
    S1.accepted("its own", &claims("access").with("sid", "0190a3b2-7c3e-7d61-9b0a-3f2f6c1d2e4b").sign());
}

#[test]
fn a_claim_under_its_old_name_means_nothing() {
    let server = Server::new().set("jti_claim", "\"id\"").set("token_type_claim", "\"kind\"").start();
    let token = |id: &str, jti: &str| {
        claims("access").without("token_type").with("kind", "access").with("id", id).with("jti", jti).sign()
    };
    let (revoked, other) = (unique("a"), unique("b"));
    let output = server.cli(&["blacklist", &revoked]);
    assert!(output.success(), "{output:?}");
    let stage = Stage::new(server, token(&other, "x"));
    stage.refused("the name that counts", &token(&revoked, &other));
    stage.accepted("the name that does not", &token(&other, &revoked));
    stage.refused("only the old name", &claims("access").sign());
}
