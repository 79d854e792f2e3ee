//! `POST /api/token/refresh/`. Cases 24 to 50.

use std::collections::HashMap;
use std::sync::{Barrier, LazyLock};
use std::thread;

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::mint::{Claims, Hash, KEY, base64url, claims, jti, payload};
use crate::support::now;
use crate::support::server::{PASSWORD, Server};

static SERVER: LazyLock<Server> = LazyLock::new(Server::with_ada);
/// One whose tokens have no grace.
static STRICT: LazyLock<Server> = LazyLock::new(|| Server::new().set("rotation_grace", "\"0s\"").start_with_ada());

fn refresh(server: &Server, token: &str) -> Reply {
    server.client().post_json("/api/token/refresh/", &json!({ "refresh": token }))
}

fn whoami(server: &Server, token: &str) -> Reply {
    server.client().get("/api/token/whoami/", Some(token))
}

/// A refresh token of `ada`, known to the ledger as Django would have it there.
fn known(server: &Server, claims: &Claims) -> String {
    server.database().record_as_django(claims);
    claims.sign()
}

fn of_ada(server: &Server) -> Claims {
    claims("refresh").with("user_id", server.user_id("ada"))
}

// Case 24.
#[test]
fn the_field_is_required() {
    let client = SERVER.client();
    for (body, message) in [
        (json!({}), "This field is required."),
        (json!({"refresh": ""}), "This field may not be blank."),
        (json!({"refresh": null}), "This field may not be null."),
        (json!({"refresh": ["x"]}), "Not a valid string."),
    ] {
        client.post_json("/api/token/refresh/", &body).assert(400, &json!({ "refresh": [message] }));
    }
}

// Case 25.
#[test]
fn a_token_without_exp_is_refused() {
    let token = of_ada(&SERVER).without("exp").sign();
    refresh(&SERVER, &token).assert_not_valid("Token has no 'exp' claim");
}

// Case 26.
#[test]
fn an_expired_token_is_refused() {
    let token = known(&SERVER, &of_ada(&SERVER).with("iat", now() - 60).with("exp", now() - 1));
    refresh(&SERVER, &token).assert_not_valid("Token is expired");
    let token = known(&SERVER, &of_ada(&SERVER).with("iat", now() - 60).with("exp", now()));
    refresh(&SERVER, &token).assert_not_valid("Token is expired");
}

// Case 27.
#[test]
fn a_token_that_we_did_not_sign_is_invalid() {
    let good = of_ada(&SERVER);
    let unsigned = format!("{}.{}.", base64url(br#"{"alg":"none","typ":"JWT"}"#), base64url(good.json().as_bytes()));
    let other_key = good.sign_with(Hash::Sha256, b"another key, and just as long as ours is.....");
    let (head, _) = other_key.rsplit_once('.').expect("three parts");
    SERVER.database().record_as_django(&good);
    for bad in [
        "garbage",
        "a.b.c",
        "..",
        &unsigned,
        &other_key,
        head,
        &good.sign_with(Hash::Sha384, KEY),
        &good.sign_with(Hash::Sha512, KEY),
        &good.sign_under(&json!({"alg": "none"})),
        &good.sign_under(&json!({"alg": "hs256"})),
    ] {
        refresh(&SERVER, bad).assert_not_valid("Token is invalid");
    }
    assert_eq!(refresh(&SERVER, &good.sign()).status, 200, "the same claims with our signature");
}

// Case 28.
#[test]
fn only_a_refresh_token_buys_tokens() {
    let pair = SERVER.login(&SERVER.another_user());
    refresh(&SERVER, &pair.access).assert_not_valid("Token has wrong type");
    for kind in ["access", "sliding", "untyped", "Refresh", ""] {
        let token = known(&SERVER, &claims(kind).with("user_id", SERVER.user_id("ada")));
        refresh(&SERVER, &token).assert_not_valid("Token has wrong type");
    }
}

// Case 29.
#[test]
fn a_token_must_say_its_type() {
    let token = known(&SERVER, &of_ada(&SERVER).without("token_type"));
    refresh(&SERVER, &token).assert_not_valid("Token has no type");
}

// Cases 30, 31 and 36 to 38 with our defaults.
#[test]
fn a_refresh_gives_a_new_pair_and_ends_the_old_token() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    let reply = refresh(&SERVER, &pair.refresh);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let body = reply.json();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "access and refresh: {body}");

    let (old, access, new) =
        (payload(&pair.refresh), payload(&reply.string("access")), payload(&reply.string("refresh")));
    assert_eq!((&access["token_type"], &new["token_type"]), (&json!("access"), &json!("refresh")));
    let iat = access["iat"].as_i64().expect("seconds");
    assert!((now() - 5..=now()).contains(&iat), "{access}");
    assert_eq!(access["exp"], iat + 300);
    assert_eq!(new["exp"], iat + 86_400, "a full lifetime again");
    assert!(access["jti"] != old["jti"] && new["jti"] != old["jti"] && access["jti"] != new["jti"]);
    for name in ["user_id", "sid"] {
        assert_eq!((&access[name], &new[name]), (&old[name], &old[name]), "{name}");
    }
    assert_eq!(whoami(&SERVER, &reply.string("access")).status, 200);

    let mut database = SERVER.database();
    let of_user = format!("token_blacklist_outstandingtoken WHERE user_id = '{}'", SERVER.user_id(&name));
    assert_eq!(database.count(&of_user), 2, "both refresh tokens are recorded");
    assert!(database.is_blacklisted(&jti(&pair.refresh)), "the old one is on Django's blacklist");
    assert!(!database.is_blacklisted(&jti(&reply.string("refresh"))));

    let verified = SERVER.client().post_json("/api/token/verify/", &json!({ "token": pair.refresh }));
    verified.assert_not_valid("Token is blacklisted");
    assert_eq!(refresh(&SERVER, &reply.string("refresh")).status, 200, "the new one works");
    refresh(&SERVER, &pair.refresh).assert_not_valid("Token is blacklisted");
}

// Case 30: what was in the refresh token travels.
#[test]
fn custom_claims_travel_and_the_token_s_own_do_not() {
    let custom = json!({"role": "editor", "groups": [1, {"x": null}], "aud": "others", "azp": "app"});
    let mut token = of_ada(&SERVER).with("iat", now() - 10_000);
    for (name, value) in custom.as_object().expect("an object") {
        token = token.with(name, value.clone());
    }
    let reply = refresh(&SERVER, &known(&SERVER, &token));
    assert_eq!(reply.status, 200, "{reply:?}");
    for name in ["access", "refresh"] {
        let claims = payload(&reply.string(name));
        for (name, value) in custom.as_object().expect("an object") {
            assert_eq!(&claims[name], value, "{name} in {claims}");
        }
        assert!(claims["iat"].as_i64() > Some(now() - 100), "{claims}");
    }
    let third = refresh(&SERVER, &reply.string("refresh"));
    assert_eq!(payload(&third.string("access"))["role"], "editor", "through several generations");
}

// Case 32.
#[test]
fn an_inactive_user_gets_no_tokens() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    SERVER.database().execute(&format!("UPDATE simplejwt_user SET is_active = FALSE WHERE username = '{name}'"));
    let gone = json!({"detail": "No active account found for the given token."});
    refresh(&SERVER, &pair.refresh).assert(401, &gone);
    assert!(!SERVER.database().is_blacklisted(&jti(&pair.refresh)), "a refusal supersedes nothing");

    SERVER.database().execute(&format!("UPDATE simplejwt_user SET is_active = TRUE WHERE username = '{name}'"));
    assert_eq!(refresh(&SERVER, &pair.refresh).status, 200, "enabled again by another program");
}

#[test]
fn disabling_a_user_here_ends_the_sessions_at_once() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    let output = SERVER.cli(&["users", "disable", &name]);
    assert!(output.success(), "{output:?}");
    assert_eq!(whoami(&SERVER, &pair.access).status, 401);
    assert_eq!(refresh(&SERVER, &pair.refresh).status, 401);
    let output = SERVER.cli(&["users", "enable", &name]);
    assert!(output.success(), "{output:?}");
    assert_eq!(refresh(&SERVER, &pair.refresh).status, 401, "an ended session stays ended");
    assert_eq!(whoami(&SERVER, &pair.access).status, 401);
    SERVER.login(&name);
}

// Case 33.
#[test]
fn a_deleted_user_gets_no_tokens() {
    let gone = json!({"detail": "No active account found for the given token."});
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    SERVER.database().execute(&format!("DELETE FROM simplejwt_user WHERE username = '{name}'"));
    refresh(&SERVER, &pair.refresh).assert(401, &gone);

    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    let output = SERVER.cli(&["users", "remove", &name, "--yes"]);
    assert!(output.success(), "{output:?}");
    assert_eq!(refresh(&SERVER, &pair.refresh).status, 401);
    assert_eq!(whoami(&SERVER, &pair.access).status, 401, "removing ends the sessions");
}

// Case 34.
#[test]
fn a_token_without_a_user_is_refreshed() {
    let token = claims("refresh").without("user_id").with("client", "cron");
    SERVER.database().record_row(token.jti(), now() + 300, "NULL");
    let reply = refresh(&SERVER, &token.sign());
    assert_eq!(reply.status, 200, "{reply:?}");
    let access = payload(&reply.string("access"));
    assert_eq!((access.get("user_id"), &access["client"]), (None, &json!("cron")));
}

// Case 35.
#[test]
fn an_integer_as_user_id_is_taken() {
    let id: i64 = SERVER.user_id("ada").parse().expect("a number");
    let reply = refresh(&SERVER, &known(&SERVER, &claims("refresh").with("user_id", id)));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(payload(&reply.string("access"))["user_id"], id.to_string(), "and becomes a string");
}

#[test]
fn without_rotation_a_refresh_gives_an_access_token_only() {
    let server = Server::new().set("rotate_refresh_tokens", "false").start_with_ada();
    let pair = server.login("ada");
    for _ in 0..3 {
        let reply = refresh(&server, &pair.refresh);
        assert_eq!(reply.status, 200, "{reply:?}");
        let body = reply.json();
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
        assert_eq!(whoami(&server, &reply.string("access")).status, 200);
    }
    let mut database = server.database();
    assert_eq!(database.count("token_blacklist_outstandingtoken"), 1);
    assert_eq!(database.count("token_blacklist_blacklistedtoken"), 0);
}

// Case 36.
#[test]
fn rotation_without_blacklisting_leaves_the_old_token_good() {
    let server = Server::new().set("blacklist_after_rotation", "false").start_with_ada();
    let token = of_ada(&server).with("role", "editor").with("exp", now() + 100);
    let token = known(&server, &token);
    let (first, second) = (refresh(&server, &token), refresh(&server, &token));
    for reply in [&first, &second] {
        assert_eq!(reply.status, 200, "{reply:?}");
        let new = payload(&reply.string("refresh"));
        assert_ne!(new["jti"], payload(&token)["jti"]);
        assert!(new["exp"].as_i64() > Some(now() + 86_000), "{new}");
        assert_eq!(new["role"], "editor");
        assert_eq!(refresh(&server, &reply.string("refresh")).status, 200);
    }
    assert_eq!(server.database().count("token_blacklist_blacklistedtoken"), 0);
}

// Case 37.
#[test]
fn rotation_leaves_two_rows_and_one_on_the_blacklist() {
    let server = Server::with_ada();
    let pair = server.login("ada");
    let reply = refresh(&server, &pair.refresh);
    assert_eq!(reply.status, 200, "{reply:?}");
    let mut database = server.database();
    let mut jtis = database.strings("SELECT jti FROM token_blacklist_outstandingtoken ORDER BY id");
    assert_eq!(jtis, [jti(&pair.refresh), jti(&reply.string("refresh"))]);
    jtis.truncate(1);
    let blacklisted = database.strings(
        "SELECT o.jti FROM token_blacklist_blacklistedtoken b JOIN token_blacklist_outstandingtoken o ON o.id = b.token_id",
    );
    assert_eq!(blacklisted, jtis);
}

// Case 38.
#[test]
fn a_reused_token_is_blacklisted() {
    let pair = STRICT.login(&STRICT.another_user());
    assert_eq!(refresh(&STRICT, &pair.refresh).status, 200);
    for _ in 0..2 {
        refresh(&STRICT, &pair.refresh).assert_not_valid("Token is blacklisted");
    }
}

// Case 39.
#[test]
fn a_token_that_the_ledger_does_not_know_is_refused() {
    let token = of_ada(&SERVER).sign();
    let reply = refresh(&SERVER, &token);
    assert_eq!((reply.status, &reply.json()["code"]), (401, &json!("token_not_valid")), "{reply:?}");
    assert!(!SERVER.database().is_outstanding(&jti(&token)), "and nothing is recorded");

    let lost = SERVER.login(&SERVER.another_user()).refresh;
    for table in ["token_blacklist_outstandingtoken", "simplejwt_token"] {
        SERVER.database().execute(&format!("DELETE FROM {table} WHERE jti = '{}'", jti(&lost)));
    }
    let reply = refresh(&SERVER, &lost);
    assert_eq!((reply.status, &reply.json()["code"]), (401, &json!("token_not_valid")), "its rows are lost: {reply:?}");
}

// Case 39 with simplejwt's behaviour.
#[test]
fn an_unknown_token_is_taken_where_that_is_asked_for() {
    let server = Server::new().set("unknown_refresh_tokens", "\"accept\"").start_with_ada();
    let token = of_ada(&server).sign();
    let reply = refresh(&server, &token);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(server.database().is_blacklisted(&jti(&token)), "it is recorded when it is superseded");
    assert_eq!(refresh(&server, &reply.string("refresh")).status, 200);
    refresh(&server, &token).assert_not_valid("Token is blacklisted");
}

// Case 40.
#[test]
fn with_the_blacklist_off_no_table_is_touched() {
    let server = Server::new().set("blacklist", "\"off\"").set("blacklist_after_rotation", "false").start_with_ada();
    let pair = server.login("ada");
    for token in [&pair.refresh, &pair.refresh, &of_ada(&server).sign()] {
        let reply = refresh(&server, token);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_ne!(jti(&reply.string("refresh")), jti(token));
        assert_eq!(whoami(&server, &reply.string("access")).status, 200);
    }
    let reply = server.client().post_json("/api/token/blacklist/", &json!({"refresh": pair.refresh}));
    assert_eq!(reply.status, 404, "it must not pretend: {reply:?}");
    let mut database = server.database();
    for table in
        ["token_blacklist_outstandingtoken", "token_blacklist_blacklistedtoken", "simplejwt_token", "simplejwt_session"]
    {
        assert_eq!(database.count(table), 0, "{table}");
    }
}

// Case 41.
#[test]
fn a_changed_password_ends_the_token_where_that_is_checked() {
    let server = Server::new().set("check_revoke_token", "true").start_with_ada();
    server.add_user("eve", "another password");
    let pair = server.login("ada");
    let changed = "UPDATE simplejwt_user SET password = (SELECT password FROM simplejwt_user WHERE username = 'eve') \
                   WHERE username = 'ada'";
    server.database().execute(changed);
    refresh(&server, &pair.refresh).assert(401, &json!({"detail": "The user's password has been changed."}));
    assert!(server.database().is_blacklisted(&jti(&pair.refresh)), "the refusal does not roll it back");
    refresh(&server, &pair.refresh).assert_not_valid("Token is blacklisted");

    let eve = server.client().post_json("/api/token/", &json!({"username": "eve", "password": "another password"}));
    assert_eq!(refresh(&server, &eve.string("refresh")).status, 200, "others go on");
}

#[test]
fn a_new_password_given_here_ends_the_sessions_at_once() {
    let name = SERVER.another_user();
    let pair = SERVER.login(&name);
    let output = SERVER.cli_stdin(&["users", "passwd", &name], "a new password\n");
    assert!(output.success(), "{output:?}");
    assert_eq!(refresh(&SERVER, &pair.refresh).status, 401);
    assert_eq!(whoami(&SERVER, &pair.access).status, 401);
    let old = SERVER.client().post_json("/api/token/", &json!({"username": name, "password": PASSWORD}));
    assert_eq!(old.status, 401, "{old:?}");
    let new = SERVER.client().post_json("/api/token/", &json!({"username": name, "password": "a new password"}));
    assert_eq!(new.status, 200, "{new:?}");
}

// Case 42.
#[test]
fn a_token_of_the_future_waits() {
    for early in
        [of_ada(&SERVER).with("iat", now() + 1000).with("exp", now() + 2000), of_ada(&SERVER).with("nbf", now() + 200)]
    {
        refresh(&SERVER, &known(&SERVER, &early)).assert_not_valid("Token is invalid");
    }
    let begun = of_ada(&SERVER).with("nbf", now() - 1);
    assert_eq!(refresh(&SERVER, &known(&SERVER, &begun)).status, 200);

    let lenient = Server::new().set("leeway", "\"2m\"").start_with_ada();
    for early in [of_ada(&lenient).with("iat", now() + 110), of_ada(&lenient).with("nbf", now() + 110)] {
        let reply = refresh(&lenient, &known(&lenient, &early));
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    for early in [of_ada(&lenient).with("iat", now() + 140), of_ada(&lenient).with("nbf", now() + 140)] {
        refresh(&lenient, &known(&lenient, &early)).assert_not_valid("Token is invalid");
    }
    let late = of_ada(&lenient).with("iat", now() - 200).with("exp", now() - 100);
    assert_eq!(refresh(&lenient, &known(&lenient, &late)).status, 200, "exp has the leeway too");
    let too_late = of_ada(&lenient).with("iat", now() - 200).with("exp", now() - 120);
    refresh(&lenient, &known(&lenient, &too_late)).assert_not_valid("Token is expired");
}

// Case 43.
#[test]
fn times_are_numbers() {
    for name in ["iat", "exp", "nbf"] {
        for wrong in [json!((now() + 60).to_string()), json!(null), json!([now() + 60]), json!(true)] {
            let token = of_ada(&SERVER).with(name, wrong);
            SERVER.database().record_row(token.jti(), now() + 300, "NULL");
            refresh(&SERVER, &token.sign()).assert_not_valid("Token is invalid");
        }
    }
}

// Case 44.
#[test]
fn exp_may_have_a_fraction_which_counts_as_the_whole_second() {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let now = now() as f64;
    let token = |exp: f64| {
        let token = of_ada(&SERVER).with("iat", crate::support::now() - 60).with("exp", exp);
        SERVER.database().record_row(token.jti(), crate::support::now() + 300, "NULL");
        token.sign()
    };
    assert_eq!(refresh(&SERVER, &token(now + 100.5)).status, 200);
    refresh(&SERVER, &token(now + 0.9)).assert_not_valid("Token is expired");
    refresh(&SERVER, &token(now - 0.5)).assert_not_valid("Token is expired");
}

// Case 45.
#[test]
fn a_jti_is_a_string() {
    for wrong in [json!(7), json!(["a"]), json!({"a": 1}), json!(null), json!(true), json!("")] {
        refresh(&SERVER, &of_ada(&SERVER).with("jti", wrong).sign()).assert_not_valid("Token is invalid");
    }
}

// Case 46.
#[test]
fn a_token_without_jti_is_refused() {
    refresh(&SERVER, &of_ada(&SERVER).without("jti").sign()).assert_not_valid("Token has no id");
}

// Case 47.
#[test]
fn a_user_id_that_fits_no_user_is_refused() {
    let gone = json!({"detail": "No active account found for the given token."});
    for id in ["ada", "0", "-1", "1e3", " 1", "99999999999999999999999", "1; DROP TABLE simplejwt_user", "\u{0}"] {
        let token = known(&SERVER, &of_ada(&SERVER).with("user_id", id));
        refresh(&SERVER, &token).assert(401, &gone);
    }
    for id in [json!(1.5), json!([1]), json!({"id": 1}), json!(true), json!(null), json!("")] {
        let token = known(&SERVER, &of_ada(&SERVER).with("user_id", id));
        refresh(&SERVER, &token).assert_not_valid("Token is invalid");
    }
}

// Case 48.
#[test]
fn an_absurd_exp_is_refused() {
    for exp in [json!(1_000_000_000_000_000_000_i64), json!(u64::MAX), json!(1e300), json!(i64::MIN), json!(-1e300)] {
        let token = of_ada(&SERVER).with("exp", exp);
        SERVER.database().record_row(token.jti(), now() + 300, "NULL");
        refresh(&SERVER, &token.sign()).assert_not_valid("Token is invalid");
    }
}

// Case 49.
#[test]
fn a_jti_has_its_length_and_its_alphabet() {
    for jti in ["x".repeat(256), "x".repeat(300), "a b".into(), "a'b".into(), "a\0".into(), "é".into(), "a%".into()] {
        refresh(&SERVER, &of_ada(&SERVER).with("jti", jti).sign()).assert_not_valid("Token is invalid");
    }
    let longest = of_ada(&SERVER).with("jti", format!("{}{}", uuid::Uuid::new_v4(), "x".repeat(219)));
    assert_eq!(longest.jti().len(), 255);
    assert_eq!(refresh(&SERVER, &known(&SERVER, &longest)).status, 200);
    let upper = of_ada(&SERVER);
    let upper = upper.clone().with("jti", upper.jti().to_uppercase());
    SERVER.database().record_row(&upper.jti().to_lowercase(), now() + 300, "NULL");
    assert_eq!(refresh(&SERVER, &upper.sign()).status, 401, "another jti than its lower-case form");
}

/// The answers to one token, presented by so many at once, in turn to two servers.
fn all_at_once(servers: [&Server; 2], token: &str, callers: usize) -> Vec<Reply> {
    let barrier = Barrier::new(callers);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|caller| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    // Who is put off on a busy machine asks again.
                    let mut replies = (0..50).map(|_| refresh(servers[caller % 2], token));
                    replies.find(|reply| reply.status != 503).expect("an answer")
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller")).collect()
    })
}

const ROUNDS: usize = 4;
const CALLERS: usize = 64;

// Case 50, and attack case 67.
#[test]
fn of_parallel_refreshes_on_two_servers_without_grace_one_wins_and_the_session_is_over() {
    let (server, sibling) = (&*STRICT, STRICT.sibling());
    for round in 0..ROUNDS {
        let name = server.another_user();
        let pair = server.login(&name);
        let replies = all_at_once([server, &sibling], &pair.refresh, CALLERS);
        let mut counts: HashMap<u16, usize> = HashMap::new();
        for reply in &replies {
            *counts.entry(reply.status).or_default() += 1;
        }
        assert_eq!(counts, HashMap::from([(200, 1), (401, CALLERS - 1)]), "round {round}");
        for loser in replies.iter().filter(|reply| reply.status == 401) {
            loser.assert_not_valid("Token is blacklisted");
        }
        let winner = replies.iter().find(|reply| reply.status == 200).expect("one winner");
        let mut database = server.database();
        let of_user = format!("token_blacklist_outstandingtoken WHERE user_id = '{}'", server.user_id(&name));
        assert_eq!(database.count(&of_user), 2, "one successor in the ledger");
        let events = format!("simplejwt_event WHERE target = '{}'", jti(&pair.refresh));
        assert_eq!(database.count(&events), 1, "exactly one event");
        assert_eq!(database.count(&format!("{events} AND action = 'reuse' AND reason = 'recent'")), 1);
        for server in [server, &sibling] {
            refresh(server, &winner.string("refresh")).assert_not_valid("Token is blacklisted");
            server.settle();
            for access in [&pair.access, &winner.string("access")] {
                assert_eq!(whoami(server, access).status, 401, "round {round}: its access tokens, too");
            }
        }
    }
}

#[test]
fn of_parallel_refreshes_on_two_servers_within_the_grace_all_get_one_successor() {
    let server = Server::new().set("rotation_grace", "\"300s\"").start_with_ada();
    let sibling = server.sibling();
    for round in 0..ROUNDS {
        let name = server.another_user();
        let pair = server.login(&name);
        let replies = all_at_once([&server, &sibling], &pair.refresh, CALLERS);
        let mut access: Vec<String> = replies.iter().map(|reply| jti(&reply.string("access"))).collect();
        let mut successors: Vec<Value> = replies.iter().map(|reply| payload(&reply.string("refresh"))).collect();
        assert_eq!(successors.len(), CALLERS, "round {round}");
        successors.dedup();
        assert_eq!(successors.len(), 1, "round {round}: the same jti, the same times, the same claims");
        access.sort();
        access.dedup();
        assert_eq!(access.len(), CALLERS, "each gets an access token of its own");
        let mut database = server.database();
        let of_user = format!("token_blacklist_outstandingtoken WHERE user_id = '{}'", server.user_id(&name));
        assert_eq!(database.count(&of_user), 2, "one successor in the ledger");
        let retries = format!("SELECT reason FROM simplejwt_event WHERE target = '{}'", jti(&pair.refresh));
        assert_eq!(database.strings(&retries), ["63"], "counted in one event");
        let next = refresh(&sibling, &replies[0].string("refresh"));
        assert_eq!(next.status, 200, "it works on the other server: {next:?}");
        refresh(&server, &pair.refresh).assert_not_valid("Token is blacklisted");
    }
}
