//! Rotation that survives lost answers and catches theft, and the limits of a session. Attack cases 68 to 70 and 76.

use std::sync::{Arc, LazyLock};

use chrono::DateTime;
use rocket_simplejwt::service::OpenMode;
use rocket_simplejwt::token::{Clock as _, ManualClock};
use rocket_simplejwt::{Actor, AdminAccess, Settings, Simplejwt, SimplejwtFairing, Via, token_routes};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::{Client, Reply};
use crate::support::mint::{claims, jti, payload};
use crate::support::now;
use crate::support::server::{PASSWORD, Pair, Server};

fn refresh(client: Client, token: &str) -> Reply {
    client.post_json("/api/token/refresh/", &json!({ "refresh": token }))
}

#[track_caller]
fn refreshed(client: Client, token: &str) -> Pair {
    let reply = refresh(client, token);
    assert_eq!(reply.status, 200, "{reply:?}");
    Pair { access: reply.string("access"), refresh: reply.string("refresh") }
}

fn lets_in(client: Client, access: &str) -> bool {
    let reply = client.get("/api/token/whoami/", Some(access));
    assert!(matches!(reply.status, 200 | 401), "{reply:?}");
    reply.status == 200
}

#[track_caller]
fn assert_refused(client: Client, token: &str) {
    refresh(client, token).assert_not_valid("Token is blacklisted");
}

fn exp(token: &str) -> i64 {
    payload(token)["exp"].as_i64().expect("an exp")
}

static SERVER: LazyLock<Server> = LazyLock::new(|| generous().start_with_ada());

/// A server whose tokens have grace for as long as a test takes on the slowest machine.
fn generous() -> Server {
    Server::new().set("rotation_grace", "\"300s\"")
}

/// Puts the rotation of a token so many seconds into the past.
fn age(server: &Server, token: &str, seconds: i64) {
    let at = crate::support::database::instant(now() - seconds);
    let aged = server
        .database()
        .execute(&format!("UPDATE simplejwt_token SET superseded_at = '{at}' WHERE jti = '{}'", jti(token)));
    assert_eq!(aged, 1, "a token that was replaced");
}

/// What the events of one sort say of a token.
fn reasons(server: &Server, action: &str, token: &str) -> Vec<String> {
    let of = format!("action = '{action}' AND target = '{}'", jti(token));
    server.database().strings(&format!("SELECT reason FROM simplejwt_event WHERE {of} ORDER BY id"))
}

#[test]
fn whoever_lost_the_answer_gets_the_same_token_again() {
    let client = SERVER.client();
    let login = SERVER.login(&SERVER.another_user());
    let lost = refreshed(client, &login.refresh);
    let again = refreshed(client, &login.refresh);
    assert_eq!(payload(&again.refresh), payload(&lost.refresh), "the same jti, times and claims");
    assert_ne!(jti(&again.access), jti(&lost.access), "and a fresh access token");
    assert_eq!(payload(&again.access)["sid"], payload(&login.refresh)["sid"]);
    assert!(lets_in(client, &again.access) && lets_in(client, &lost.access));
    assert_eq!(reasons(&SERVER, "refresh_retry", &login.refresh), ["1"]);
    refreshed(client, &login.refresh);
    assert_eq!(reasons(&SERVER, "refresh_retry", &login.refresh), ["2"], "counted, not capped");
    refreshed(client, &again.refresh);
}

#[test]
fn two_tabs_whose_answers_come_out_of_order_stay_logged_in() {
    let client = SERVER.client();
    let login = SERVER.login(&SERVER.another_user());
    let (first, second) = (refreshed(client, &login.refresh), refreshed(client, &login.refresh));
    // One has gone on already when the other tab stores what it was given.
    let next = refreshed(client, &first.refresh);
    let late = refreshed(client, &second.refresh);
    assert_eq!(jti(&late.refresh), jti(&next.refresh));
    refreshed(client, &late.refresh);
}

#[test]
fn a_token_used_again_after_its_successor_ends_the_session() {
    let client = SERVER.client();
    let login = SERVER.login(&SERVER.another_user());
    let second = refreshed(client, &login.refresh);
    let third = refreshed(client, &second.refresh);
    assert_refused(client, &login.refresh);
    assert_eq!(reasons(&SERVER, "reuse", &login.refresh), ["after_use"]);
    for token in [&login.refresh, &second.refresh, &third.refresh] {
        assert_refused(client, token);
    }
    for access in [&login.access, &second.access, &third.access] {
        assert!(!lets_in(client, access), "access tokens go with their session");
    }
}

// Attack case 70: the thief is first, or the victim.
#[test]
fn a_fork_ends_the_session_whoever_comes_first() {
    let server = Server::new().set("rotation_grace", "\"0s\"").start_with_ada();
    let sibling = server.sibling();
    for victim_first in [true, false] {
        let stolen = server.login("ada");
        let (first, second) = if victim_first { (&server, &sibling) } else { (&sibling, &server) };
        let one = refreshed(first.client(), &stolen.refresh);
        assert_refused(second.client(), &stolen.refresh);
        for server in [&server, &sibling] {
            server.settle();
            assert_refused(server.client(), &one.refresh);
            assert!(!lets_in(server.client(), &one.access) && !lets_in(server.client(), &stolen.access));
        }
        assert_eq!(reasons(&server, "reuse", &stolen.refresh), ["recent"]);
    }
}

#[test]
fn a_grandparent_ends_the_session_and_so_does_a_parent_after_its_grace() {
    let server = generous().start_with_ada();
    let client = server.client();
    let login = server.login("ada");
    let second = refreshed(client, &login.refresh);
    let third = refreshed(client, &second.refresh);
    age(&server, &login.refresh, 400);
    assert_refused(client, &login.refresh);
    assert_refused(client, &third.refresh);
    assert_eq!(reasons(&server, "reuse", &login.refresh), ["stale"]);

    let login = server.login("ada");
    let second = refreshed(client, &login.refresh);
    age(&server, &login.refresh, 301);
    assert_refused(client, &login.refresh);
    assert_refused(client, &second.refresh);
    assert_eq!(reasons(&server, "reuse", &login.refresh), ["recent"]);
}

#[test]
fn a_denied_refresh_costs_no_write_after_the_first() {
    // With a token recorded for each access token, that would be the easiest to forget.
    let server = Server::new().set("rotation_grace", "\"0s\"").set("record_access_tokens", "true").start_with_ada();
    let client = server.client();
    let login = server.login("ada");
    let second = refreshed(client, &login.refresh);
    let without_session = claims("refresh").with("user_id", server.user_id("ada"));
    server.database().record_as_django(&without_session);
    let without_session = without_session.sign();
    let successor = refreshed(client, &without_session);
    assert_refused(client, &login.refresh);
    assert_refused(client, &without_session);
    let mut database = server.database();
    // The log of MariaDB is put in order by whoever comes first.
    server.settle();
    let before = database.dump();
    for token in [&login.refresh, &second.refresh, &without_session, &successor.refresh] {
        for _ in 0..3 {
            assert_refused(client, token);
        }
    }
    assert_eq!(database.dump(), before);
}

#[test]
fn a_token_that_was_blacklisted_gets_no_grace() {
    let client = SERVER.client();
    for of_successor in [false, true] {
        let login = SERVER.login(&SERVER.another_user());
        let second = refreshed(client, &login.refresh);
        let target = if of_successor { &second.refresh } else { &login.refresh };
        let reply = client.post_json("/api/token/blacklist/", &json!({ "refresh": target }));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_refused(client, &login.refresh);
        assert_refused(client, &second.refresh);
        assert!(!lets_in(client, &second.access));
        assert_eq!(reasons(&SERVER, "reuse", &login.refresh), [""; 0], "somebody logged out, that is all");
    }
}

#[test]
fn a_session_that_was_ended_gives_nothing_for_its_newest_token_nor_for_the_one_before() {
    let client = SERVER.client();
    let name = SERVER.another_user();
    let login = SERVER.login(&name);
    let second = refreshed(client, &login.refresh);
    assert!(SERVER.cli(&["users", "disable", &name]).success());
    assert!(SERVER.cli(&["users", "enable", &name]).success());
    assert_refused(client, &second.refresh);
    assert_refused(client, &login.refresh);
}

// Attack case 68, without its Redis.
#[test]
fn what_was_used_up_is_known_after_a_restart_and_a_flush() {
    let mut server = generous().start_with_ada();
    let login = server.login("ada");
    let lost = refreshed(server.client(), &login.refresh);
    server.restart();
    let again = refreshed(server.client(), &login.refresh);
    assert_eq!(jti(&again.refresh), jti(&lost.refresh), "grace, too, is a matter of the ledger");
    let third = refreshed(server.client(), &again.refresh);
    assert!(server.cli(&["flushexpiredtokens"]).success());
    server.restart();
    assert_refused(server.client(), &login.refresh);
    assert_refused(server.client(), &third.refresh);
    assert!(!lets_in(server.client(), &third.access));
}

#[test]
fn reuse_is_not_undone() {
    let client = SERVER.client();
    let login = SERVER.login(&SERVER.another_user());
    let second = refreshed(client, &login.refresh);
    let third = refreshed(client, &second.refresh);
    assert_refused(client, &login.refresh);
    for token in [&login.refresh, &second.refresh, &third.refresh] {
        let output = SERVER.cli(&["unblacklist", &jti(token)]);
        assert_eq!(output.code(), 1, "{output:?}");
        assert_refused(client, token);
    }
    let found = SERVER.cli(&["check", &jti(&third.refresh)]);
    assert_eq!(found.code(), 1, "{found:?}");
    assert!(found.stderr.contains("(refresh token reused)"), "it says why: {found:?}");
}

#[test]
fn the_successor_is_signed_with_the_key_of_today() {
    let mut server = generous().start_with_ada();
    let login = server.login("ada");
    let lost = refreshed(server.client(), &login.refresh);
    let old = str::from_utf8(crate::support::mint::KEY).expect("an ASCII key").to_owned();
    server.change("verifying_keys", &format!("[{{ algorithm = \"HS256\", key = {old:?} }}]"));
    server.change("signing_key", "\"another key, and just as long as the first one was\"");
    server.change("signing_key_id", "\"new\"");
    server.restart();
    let again = refreshed(server.client(), &login.refresh);
    assert_eq!(payload(&again.refresh), payload(&lost.refresh));
    assert_ne!(again.refresh, lost.refresh, "other bytes, the same token");
    refreshed(server.client(), &again.refresh);
    let late = refreshed(server.client(), &lost.refresh);
    refreshed(server.client(), &late.refresh);
}

#[test]
fn a_login_of_django_is_followed_from_token_to_token() {
    let client = SERVER.client();
    let django = claims("refresh").with("user_id", SERVER.user_id("ada")).with("role", "editor");
    SERVER.database().record_as_django(&django);
    let first = django.sign();
    let second = refreshed(client, &first);
    assert_eq!(payload(&refreshed(client, &first).refresh), payload(&second.refresh), "it has grace");
    assert_eq!(payload(&second.refresh).get("sid"), None, "and no session");
    let third = refreshed(client, &second.refresh);
    assert_refused(client, &first);
    assert_refused(client, &third.refresh);
    assert!(SERVER.database().is_blacklisted(&jti(&third.refresh)), "for Django, too");
    assert_eq!(reasons(&SERVER, "reuse", &first), ["after_use"]);
}

/// An application whose clock is ours, with `ada`.
struct Timed {
    app: App,
    clock: Arc<ManualClock>,
}

impl Timed {
    fn launch(settings: &str) -> Self {
        let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(now(), 0).expect("an instant")));
        let app = App::launch_async(settings, {
            let clock = Arc::clone(&clock);
            move |rocket| {
                Box::pin(async move {
                    let settings = Settings::from_figment(rocket.figment()).expect("good settings");
                    let jwt = Simplejwt::builder(settings).clock(clock).open(OpenMode::Serve).await.expect("a handle");
                    let actor = Actor { who: "test".to_owned(), via: Via::Library, address: None };
                    jwt.add_user("ada", None, PASSWORD, AdminAccess::None, &actor).await.expect("a user");
                    rocket.attach(SimplejwtFairing::with(jwt)).mount("/api/token", token_routes())
                })
            }
        });
        Self { app, clock }
    }

    fn login(&self) -> Pair {
        let reply = self.try_login();
        assert_eq!(reply.status, 200, "{reply:?}");
        Pair { access: reply.string("access"), refresh: reply.string("refresh") }
    }

    fn try_login(&self) -> Reply {
        self.app.client().post_json("/api/token/", &json!({"username": "ada", "password": PASSWORD}))
    }

    fn slide(&self, token: &str) -> Reply {
        self.app.client().post_json("/api/token/sliding/refresh/", &json!({ "token": token }))
    }

    fn sliding_login(&self) -> String {
        let body = json!({"username": "ada", "password": PASSWORD});
        self.app.client().post_json("/api/token/sliding/", &body).string("token")
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }
}

#[test]
fn the_grace_ends_to_the_second_and_is_never_extended() {
    let timed = Timed::launch("");
    let client = timed.app.client();
    let login = timed.login();
    let second = refreshed(client, &login.refresh);
    for _ in 0..3 {
        timed.clock.advance(3);
        assert_eq!(jti(&refreshed(client, &login.refresh).refresh), jti(&second.refresh));
    }
    timed.clock.advance(1);
    assert_refused(client, &login.refresh);
    assert_refused(client, &second.refresh);
}

#[test]
fn on_a_device_that_sleeps_the_grace_lasts_until_the_successor_is_used() {
    let timed = Timed::launch("grace_until_used = true");
    let client = timed.app.client();
    let login = timed.login();
    let lost = refreshed(client, &login.refresh);
    timed.clock.advance(30_000);
    let again = refreshed(client, &login.refresh);
    assert_eq!(jti(&again.refresh), jti(&lost.refresh));
    refreshed(client, &again.refresh);
    assert_refused(client, &login.refresh);
}

// Attack case 76.
#[test]
fn nothing_of_a_session_outlives_it() {
    let timed = Timed::launch("session_lifetime = \"1h\"\nrefresh_token_lifetime = \"50m\"");
    let client = timed.app.client();
    let (mut pair, end) = (timed.login(), timed.now() + 3600);
    assert_eq!(exp(&pair.refresh), timed.now() + 3000);
    timed.clock.advance(2999);
    pair = refreshed(client, &pair.refresh);
    assert_eq!(exp(&pair.refresh), end, "no full lifetime any more");
    timed.clock.advance(598);
    pair = refreshed(client, &pair.refresh);
    assert_eq!((exp(&pair.refresh), exp(&pair.access)), (end, end));
    assert!(lets_in(client, &pair.access));
    timed.clock.advance(3);
    assert!(!lets_in(client, &pair.access));
    refresh(client, &pair.refresh).assert_not_valid("Token is expired");
    // Also where the token itself says more: the session is what counts.
    let sid = payload(&pair.refresh)["sid"].clone();
    let longer = claims("refresh").with("user_id", payload(&pair.refresh)["user_id"].clone()).with("sid", sid);
    let longer = longer.with("exp", timed.now() + 1000);
    timed.app.database().record_as_django(&longer);
    refresh(client, &longer.sign()).assert_not_valid("Token is expired");
    assert_eq!(payload(&timed.login().access)["exp"], timed.now() + 300, "a new login is another session");
}

#[test]
fn a_sliding_token_ends_with_its_session_too() {
    let timed = Timed::launch("session_lifetime = \"10m\"");
    let token = timed.sliding_login();
    let end = timed.now() + 600;
    assert_eq!(payload(&token)["refresh_exp"], end);
    timed.clock.advance(299);
    let token = timed.slide(&token).string("token");
    timed.clock.advance(298);
    let token = timed.slide(&token).string("token");
    assert_eq!(exp(&token), end);
    timed.clock.advance(3);
    assert_eq!(timed.slide(&token).status, 401);
}

#[test]
fn a_session_that_rests_for_too_long_is_over() {
    let timed = Timed::launch("session_idle_lifetime = \"1h\"");
    let client = timed.app.client();
    let mut pair = timed.login();
    for _ in 0..3 {
        assert_eq!(exp(&pair.refresh), timed.now() + 3600, "its tokens say so");
        timed.clock.advance(3599);
        pair = refreshed(client, &pair.refresh);
    }
    timed.clock.advance(3600);
    refresh(client, &pair.refresh).assert_not_valid("Token is expired");

    let timed = Timed::launch("session_idle_lifetime = \"1h\"\nrotate_refresh_tokens = false");
    let client = timed.app.client();
    let pair = timed.login();
    assert_eq!(exp(&pair.refresh), timed.now() + 86_400, "one token for all the time");
    for _ in 0..3 {
        timed.clock.advance(3599);
        assert_eq!(refresh(client, &pair.refresh).status, 200);
    }
    timed.clock.advance(3600);
    refresh(client, &pair.refresh).assert_not_valid("Token is expired");
}

#[test]
fn a_refresh_that_does_not_rotate_ends_with_its_session_as_well() {
    let timed = Timed::launch("session_lifetime = \"1h\"\nrotate_refresh_tokens = false");
    let client = timed.app.client();
    let pair = timed.login();
    let end = timed.now() + 3600;
    assert_eq!(exp(&pair.refresh), end);
    timed.clock.advance(3590);
    assert_eq!(exp(&refresh(client, &pair.refresh).string("access")), end);
    timed.clock.advance(10);
    assert_eq!(refresh(client, &pair.refresh).status, 401);
}

#[test]
fn the_oldest_session_makes_room_and_its_access_tokens_go_with_it() {
    let timed = Timed::launch("max_sessions_per_user = 2");
    let client = timed.app.client();
    let first = timed.login();
    timed.clock.advance(1);
    let second = timed.login();
    timed.clock.advance(1);
    let first = refreshed(client, &first.refresh);
    let third = timed.login();
    assert!(lets_in(client, &first.access) && lets_in(client, &third.access), "the first was used since");
    assert!(!lets_in(client, &second.access));
    assert_refused(client, &second.refresh);
    timed.sliding_login();
    assert!(!lets_in(client, &first.access), "a sliding login counts, too");
    let events = timed.app.database().strings("SELECT session_id FROM simplejwt_event WHERE action = 'evict'");
    let sid = |pair: &Pair| payload(&pair.access)["sid"].as_str().expect("a session").to_owned();
    assert_eq!(events, [sid(&second), sid(&first)]);
}

#[test]
fn a_login_too_many_is_refused_where_that_is_wanted() {
    let timed = Timed::launch("max_sessions_per_user = 1\nmax_sessions_policy = \"refuse\"");
    let client = timed.app.client();
    let first = timed.login();
    let refused = timed.try_login();
    let body: Value = refused.json();
    assert_eq!((refused.status, &body["code"]), (403, &json!("too_many_sessions")), "{refused:?}");
    let wrong = client.post_json("/api/token/", &json!({"username": "ada", "password": "wrong"}));
    assert_eq!(wrong.status, 401, "that there is no room learns only who has the password");
    let reply = client.post_json("/api/token/blacklist/", &json!({"refresh": first.refresh}));
    assert_eq!(reply.status, 200, "{reply:?}");
    timed.login();
    timed.clock.advance(86_400);
    timed.login();
}

#[test]
fn access_tokens_are_shortened_by_chance_and_never_lengthened() {
    let timed = Timed::launch("access_token_lifetime = \"1000s\"\naccess_lifetime_jitter = 0.25");
    let client = timed.app.client();
    let mut pair = timed.login();
    let mut lives = Vec::new();
    for _ in 0..40 {
        pair = refreshed(client, &pair.refresh);
        lives.push(exp(&pair.access) - timed.now());
        assert_eq!(exp(&pair.refresh), timed.now() + 86_400, "refresh tokens are not");
    }
    assert!(lives.iter().all(|life| (749..=1000).contains(life)), "{lives:?}");
    assert!(lives.iter().max() > lives.iter().min(), "{lives:?}");
}
