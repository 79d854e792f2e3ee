//! An application that only verifies, by a Redis that others feed, and has no database.
#![expect(clippy::needless_pass_by_value, reason = "Rocket hands guards over by value")]

use std::thread::sleep;
use std::time::{Duration, Instant};

use rocket::{get, routes};
use rocket_simplejwt::{AccessToken, AnyToken, RefreshToken, Simplejwt, health_routes};

use crate::host::Redis;
use crate::processes::{SOON, believed, blacklist, on};
use crate::support::app::App;
use crate::support::mint::KEY;

#[get("/access")]
fn with_access(token: AccessToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/any")]
fn with_any(token: AnyToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

#[get("/refresh")]
fn with_refresh(token: RefreshToken) -> String {
    token.user_id().unwrap_or("nobody").to_owned()
}

fn status(app: &App, path: &str, token: &str) -> u16 {
    app.client().get(path, Some(token)).status
}

#[track_caller]
fn eventually(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON);
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_application_that_only_verifies_needs_no_database() {
    let redis = Redis::server();
    let mut primary = on(&redis).start_with_ada();
    believed(&primary);
    let key = str::from_utf8(KEY).expect("an ASCII key");
    let settings = format!(
        "blacklist = \"redis\"\nredis_url = {:?}\nsigning_key = {key:?}\nstaleness_bound = \"1s\"\n",
        redis.url
    );
    // Where somebody else's database is, it is not told.
    let app = App::beside(primary.shared_database(), &settings, |rocket| {
        let routes = routes![with_access, with_any, with_refresh];
        rocket.attach(Simplejwt::fairing().verify_only()).mount("/", routes).mount("/health", health_routes())
    });
    // Until Redis is believed, nothing is decided.
    eventually(|| match app.client().get("/health/ready", None) {
        ready if ready.status == 200 => {
            assert_eq!(ready.json()["role"], "verifier");
            assert_eq!(ready.json()["blacklist"]["believed"], true);
            true
        }
        _ => false,
    });
    let (pair, stays) = (primary.login("ada"), primary.login("ada"));
    for path in ["/access", "/any"] {
        let reply = app.client().get(path, Some(&pair.access));
        assert_eq!((reply.status, reply.text), (200, primary.user_id("ada")), "{path}");
    }
    // Which refresh tokens there are is in the ledger alone.
    for path in ["/refresh", "/any", "/access"] {
        assert_eq!(status(&app, path, &pair.refresh), 401, "{path}");
    }
    blacklist(&primary, &pair);
    for path in ["/access", "/any"] {
        eventually(|| status(&app, path, &pair.access) == 401);
        assert_eq!(status(&app, path, &stays.access), 200);
    }
    // Nobody follows the log any more: a revocation might be missing.
    primary.kill9();
    eventually(|| status(&app, "/access", &stays.access) == 503);
    assert_eq!(app.client().get("/health/ready", None).status, 503);
}
