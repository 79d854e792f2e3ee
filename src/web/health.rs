//! `/health/live` and `/health/ready`, for whoever restarts or routes around this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use rocket::http::{Method, Status};
use rocket::route::{Handler, Outcome, Route};
use rocket::tokio::sync::Mutex;
use rocket::{Data, Request};
use serde_json::json;

use super::bearer::handle;
use super::error::Reply;

use crate::service::{CacheState, Health, in_time};

/// For how long one answer serves everybody who asks: these routes are open to all.
const FRESH: Duration = Duration::from_secs(1);

/// The health routes, to be mounted at `/health`.
///
/// `GET /live` is 200 while the process answers at all. `GET /ready` is 200 with `{"status": "ready"}`; 200 with
/// `"degraded"` while the database takes no writes, so that tokens are checked but not issued; 503 with `"unready"` where
/// nothing can be decided. A service that only verifies says so with `"role": "verifier"`. With `blacklist = "cached"` it also
/// says how what is in memory stands.
#[must_use]
pub fn health_routes() -> Vec<Route> {
    vec![Route::new(Method::Get, "/live", Live), Route::new(Method::Get, "/ready", Ready(Arc::default()))]
}

#[derive(Clone)]
struct Live;

#[rocket::async_trait]
impl Handler for Live {
    async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> Outcome<'r> {
        Outcome::from(request, Reply::json(Status::Ok, json!({ "status": "live" })))
    }
}

#[derive(Clone)]
struct Ready(Arc<Mutex<Option<(Instant, Health)>>>);

#[rocket::async_trait]
impl Handler for Ready {
    async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> Outcome<'r> {
        let Ok(jwt) = handle(request) else { return Outcome::from(request, Reply::server_error()) };
        // Whoever comes while the answer is being found out waits for that one.
        let mut latest = self.0.lock().await;
        let (at, health) = match latest.take().filter(|(at, _)| at.elapsed() < FRESH) {
            Some(known) => known,
            None => {
                // It is as fresh as its end, or else each of those who wait would ask again, one after the other.
                let health = in_time(jwt.health()).await;
                (Instant::now(), health)
            }
        };
        *latest = Some((at, health.clone()));
        drop(latest);
        let say = |status, word| Reply::json(status, json!({ "status": word }));
        let reply = match health {
            Health::Ready => say(Status::Ok, "ready"),
            Health::Degraded => say(Status::Ok, "degraded"),
            Health::Unready => Reply::unavailable().and("status", "unready"),
        };
        let reply = if jwt.verifies_only() { reply.and("role", "verifier") } else { reply };
        let reply = match jwt.cache_state() {
            Some(cache) => reply.and("blacklist", in_memory(&cache)),
            None => reply,
        };
        Outcome::from(request, reply)
    }
}

/// How the blacklist in memory stands, for whoever watches this process.
fn in_memory(cache: &CacheState) -> serde_json::Value {
    json!({
        "believed": cache.believed,
        "entries": cache.entries,
        "bytes": cache.bytes,
        "lag_ms": u64::try_from(cache.lag.as_millis()).ok(),
        "sequence": cache.sequence,
        "loaded": cache.loaded,
        "last_pull": cache.last_pull.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        "repaired": cache.repaired,
        "lost_rows": cache.lost_rows,
        "trigger_faults": cache.trigger_faults,
    })
}
