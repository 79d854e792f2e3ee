//! What an application is told of. That every way to revoke something leaves exactly one event is in `http_one_event`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rocket::tokio::sync::Semaphore;
use rocket::{Build, Rocket};
use rocket_simplejwt::{Actor, AdminAccess, Simplejwt, TokenEvent, Via, metrics_routes, token_routes};
use serde_json::json;

use crate::support::app::App;
use crate::support::client::Client;
use crate::support::mint::jti;

/// What the callbacks were told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<TokenEvent>>>);

impl Told {
    fn add(&self, event: TokenEvent) {
        self.0.lock().expect("no thread panicked").push(event);
    }

    /// What was told, in short.
    fn short(&self) -> Vec<String> {
        let told = self.0.lock().expect("no thread panicked");
        told.iter().map(short).collect()
    }

    /// Waits until something was told.
    fn wait_for(&self, wanted: &str) {
        let begun = Instant::now();
        while !self.short().iter().any(|told| told == wanted) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{wanted} is not among {:?}", self.short());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn short(event: &TokenEvent) -> String {
    match event {
        TokenEvent::Issued(news) => format!("issued {} {}", news.kind, news.jti),
        TokenEvent::Refreshed(news) => format!("refreshed {} {}", news.kind, news.jti),
        TokenEvent::Revoked(row) => format!("revoked {}", row.target),
        TokenEvent::Restored(row) => format!("restored {}", row.target),
        TokenEvent::UserChanged(row) => format!("{} {}", row.action, row.target),
        other => format!("{other:?}"),
    }
}

fn login(client: Client) -> (String, String) {
    let reply = client.post_json("/api/token/", &json!({ "username": "ada", "password": "password of ada" }));
    assert_eq!(reply.status, 200, "{reply:?}");
    (reply.string("access"), reply.string("refresh"))
}

fn with_ada(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.mount("/api/token", token_routes()).attach(rocket::fairing::AdHoc::on_liftoff("ada", |rocket| {
        Box::pin(async {
            let jwt: &Simplejwt = rocket.state().expect("the fairing");
            let actor = Actor { who: "library".to_owned(), via: Via::Library, address: None };
            let added = jwt.add_user("ada", None, "password of ada", AdminAccess::None, &actor).await;
            added.expect("a new user");
        })
    }))
}

#[test]
fn an_application_is_told_what_it_did_and_what_anybody_did() {
    let told = Told::default();
    let heard = told.clone();
    let app = App::launch("", move |rocket| {
        let fairing = Simplejwt::fairing().on_event(move |event| {
            let told = heard.clone();
            async move { told.add(event) }
        });
        with_ada(rocket.attach(fairing))
    });
    let client = app.client();
    let (access, refresh) = login(client);
    told.wait_for(&format!("issued refresh {}", jti(&refresh)));
    told.wait_for(&format!("issued access {}", jti(&access)));
    let renewed = client.post_json("/api/token/refresh/", &json!({ "refresh": refresh }));
    let next = renewed.string("refresh");
    told.wait_for(&format!("refreshed refresh {}", jti(&next)));
    told.wait_for(&format!("refreshed access {}", jti(&renewed.string("access"))));
    client.post_json("/api/token/blacklist/", &json!({ "refresh": next })).assert(200, &json!({}));
    told.wait_for(&format!("revoked {}", jti(&next)));
    // Somebody else, in another process.
    app.database().execute(
        "INSERT INTO simplejwt_event (at, action, target, who, via) \
         VALUES ('2027-01-15 08:00:00', 'unblacklist', 'elsewhere', 'cli:root', 'cli')",
    );
    told.wait_for("restored elsewhere");
    // The user may have been added before anybody listened, or after.
    let told: Vec<_> = told.short().into_iter().filter(|text| !text.starts_with("add_user")).collect();
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(told.iter().all(|text| !text.contains(&access) && !text.contains(&next)));
}

#[test]
fn a_callback_that_panics_or_hangs_hinders_no_request_and_no_other_event() {
    let told = Told::default();
    let heard = told.clone();
    let app = App::launch("", move |rocket| {
        let fairing = Simplejwt::fairing()
            .on_event(async |event| assert!(!matches!(event, TokenEvent::Issued(_)), "a fault of the application"))
            .on_event(move |event| {
                let told = heard.clone();
                async move {
                    if matches!(event, TokenEvent::Refreshed(_)) {
                        std::future::pending::<()>().await;
                    }
                    told.add(event);
                }
            });
        with_ada(rocket.attach(fairing))
    });
    let (_, refresh) = login(app.client());
    told.wait_for(&format!("issued refresh {}", jti(&refresh)));
    // The callbacks hang from here on.
    let mut refresh = refresh;
    let begun = Instant::now();
    for _ in 0..20 {
        let renewed = app.client().post_json("/api/token/refresh/", &json!({ "refresh": refresh }));
        assert_eq!(renewed.status, 200, "{renewed:?}");
        refresh = renewed.string("refresh");
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// How many news may wait for the callbacks.
const QUEUE: u64 = 1024;

#[test]
fn news_that_find_no_room_are_counted_and_hold_up_nobody() {
    const METRICS: &str = "scrape-0123456789";
    let told = Told::default();
    let (heard, gate) = (told.clone(), Arc::new(Semaphore::new(0)));
    let closed = Arc::clone(&gate);
    let app = App::launch(&format!("metrics_token = {METRICS:?}"), move |rocket| {
        let fairing = Simplejwt::fairing().on_event(move |event| {
            let (told, closed) = (heard.clone(), Arc::clone(&closed));
            async move {
                drop(closed.acquire().await);
                told.add(event);
            }
        });
        with_ada(rocket.attach(fairing)).mount("/metrics", metrics_routes())
    });
    let client = app.client();
    let figure = |fate: &str| {
        let (name, text) =
            (format!("simplejwt_callbacks_total{{fate=\"{fate}\"}} "), client.get("/metrics", Some(METRICS)).text);
        let value = text.lines().find_map(|line| line.strip_prefix(&name)).and_then(|value| value.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let credentials = json!({ "username": "ada", "password": "password of ada" });
    let sliding = client.post_json("/api/token/sliding/", &credentials).string("token");
    // Each is one piece of news, and no write.
    let sent = QUEUE + 200;
    let mut slowest = Duration::ZERO;
    for _ in 1..sent {
        let begun = Instant::now();
        let slid = client.post_json("/api/token/sliding/refresh/", &json!({ "token": sliding }));
        slowest = slowest.max(begun.elapsed());
        assert_eq!(slid.status, 200, "{slid:?}");
    }
    assert!(slowest < Duration::from_secs(5), "a request waited for the callbacks: {slowest:?}");
    let dropped = figure("dropped");
    // One is being told, and one that stands in the ledger may have taken a place as well.
    assert!((sent - QUEUE - 1..=sent - QUEUE).contains(&dropped), "{dropped}");
    assert_eq!((figure("called"), figure("failed")), (0, 0), "nobody was told yet");

    gate.add_permits(Semaphore::MAX_PERMITS);
    let begun = Instant::now();
    let of_tokens = || told.short().iter().filter(|text| !text.starts_with("add_user")).count() as u64;
    while of_tokens() < sent - dropped {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} of {}", of_tokens(), sent - dropped);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.post_json("/api/token/sliding/refresh/", &json!({ "token": sliding })).status, 200);
    while of_tokens() < sent - dropped + 1 {
        assert!(begun.elapsed() < Duration::from_secs(20), "what was dropped is gone, and nothing else");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((of_tokens(), figure("dropped")), (sent - dropped + 1, dropped));
}
