//! Telling another service what happened, by HTTP: each event once at least, signed, and again until it is taken.
//!
//! What is to be told stands in the ledger (`ledger/outbox.rs`), so that nothing is lost with a process, and of several processes one
//! delivers an event. No request waits for any of this. The signature and the headers are those of Standard Webhooks
//! (<https://www.standardwebhooks.com>), for which there are libraries in most languages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::metrics::Count;
use super::{Simplejwt, StartError};
use crate::chain::chain;
use crate::fetch;
use crate::ledger::{ACTIONS, Attempted, Backlog, EventRow, LedgerError, Taken, Wanted};
use crate::settings::{Secret, Settings, SettingsError, secret_bytes};

/// How many deliveries are under way at a time.
const AT_ONCE: i64 = 8;

/// How often it is looked whether there is something to deliver.
const LOOK: Duration = Duration::from_secs(1);

/// The wait after a delivery that failed: it doubles from the first to the last.
const WAIT: (TimeDelta, TimeDelta) = (TimeDelta::seconds(5), TimeDelta::hours(1));

/// The longest that this process rests where the other side takes nothing.
const REST: Duration = Duration::from_secs(60);

/// For how much longer than a delivery may take nobody else delivers the event.
const MARGIN: TimeDelta = TimeDelta::seconds(10);

/// Who is told, and how.
#[derive(Debug)]
pub(super) struct Webhook {
    client: fetch::Client,
    url: Secret,
    key: hmac::Key,
    actions: Vec<String>,
    timeout: Duration,
    retry_for: TimeDelta,
    /// Somebody in this process delivers.
    busy: AtomicBool,
    pub(super) counts: Counts,
}

/// What came of the deliveries.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) delivered: Count,
    pub(super) failed: Count,
    pub(super) given_up: Count,
}

impl Webhook {
    /// None where nobody is to be told.
    pub(super) fn new(settings: &Settings) -> Result<Option<Self>, StartError> {
        let (Some(url), Some(secret)) = (&settings.webhook_url, &settings.webhook_secret) else { return Ok(None) };
        let unknown = settings.webhook_events.iter().find(|name| !ACTIONS.contains(&name.as_str()));
        if let Some(unknown) = unknown {
            let why = format!("there is no event `{unknown}`; there are {}", ACTIONS.join(", "));
            return Err(SettingsError::Refused { name: "webhook_events", why }.into());
        }
        let all = || ACTIONS.iter().map(|&name| name.to_owned()).collect();
        let timeout = settings.webhook_timeout.as_std();
        Ok(Some(Self {
            client: fetch::Client::new(timeout),
            url: url.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret_bytes(secret.reveal())),
            actions: if settings.webhook_events.is_empty() { all() } else { settings.webhook_events.clone() },
            timeout,
            retry_for: settings.webhook_retry_for.as_delta(),
            busy: AtomicBool::new(false),
            counts: Counts::default(),
        }))
    }

    /// The value of the header `webhook-signature`.
    fn signature(&self, id: &str, timestamp: i64, body: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }

    /// Delivers one event; blocks.
    fn deliver(&self, event: &EventRow, now: DateTime<Utc>) -> Result<(), String> {
        let (id, timestamp, body) = (delivery_id(event), now.timestamp(), body(event));
        let signature = self.signature(&id, timestamp, &body);
        let timestamp = timestamp.to_string();
        let headers = [("webhook-id", &*id), ("webhook-timestamp", &*timestamp), ("webhook-signature", &*signature)];
        match self.client.post_json(self.url.reveal(), &headers, &body) {
            Ok(status) if (200..300).contains(&status) => Ok(()),
            Ok(status) => Err(format!("it was answered with {status}")),
            Err(error) => Err(chain(&error).to_string()),
        }
    }
}

/// The name of a delivery, the same however often it is tried. Together with the time, the number of a row is never given twice,
/// also where a database was put back.
fn delivery_id(event: &EventRow) -> String {
    format!("evt_{}_{}", event.id, event.at.timestamp_micros())
}

fn body(event: &EventRow) -> String {
    json!({
        "type": format!("simplejwt.{}", event.action),
        "timestamp": event.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "data": {
            "id": event.id,
            "action": event.action,
            "target": event.target,
            "user": event.user,
            "session": event.session,
            "reason": event.reason,
            "who": event.who,
            "via": event.via,
            "address": event.address,
        },
    })
    .to_string()
}

/// When to try again after this many attempts: twice as long after each, and up to a quarter more, so that many that failed
/// together do not come back together.
fn wait_after(attempt: u16) -> TimeDelta {
    let doubled = WAIT.0 * 2_i32.pow(u32::from(attempt.saturating_sub(1)).min(20));
    let wait = doubled.min(WAIT.1);
    let jitter = i64::from(uuid::Uuid::new_v4().as_bytes()[0]);
    wait + TimeDelta::milliseconds(wait.num_milliseconds() / 4 * jitter / 255)
}

impl Simplejwt {
    /// Delivers events to `webhook_url`, also those that happened while nobody did, until this is dropped. The fairing does it between
    /// liftoff and shutdown. Returns at once where there is none, and where somebody in this process does it already.
    pub async fn deliver_webhooks(&self) {
        let Some(webhook) = self.inner.webhook.as_ref().filter(|_| !self.verifies_only()) else { return };
        if webhook.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let _over = Over(&webhook.busy);
        let mut failures = 0;
        loop {
            // Where the last one failed, one is enough to find out whether the next will.
            let limit = if failures == 0 { AT_ONCE } else { 1 };
            let rest = match self.deliver_some(limit).await {
                Ok(Delivered::Nothing) => LOOK,
                Ok(Delivered::All) => {
                    failures = 0;
                    Duration::ZERO
                }
                Ok(Delivered::NotAll) => {
                    failures += 1;
                    REST.min(LOOK * 2_u32.pow(failures.min(6)))
                }
                Err(error) => {
                    log::info!("events cannot be delivered now: {}", chain(&error));
                    REST.min(LOOK * 10)
                }
            };
            sleep(rest).await;
        }
    }

    async fn deliver_some(&self, limit: i64) -> Result<Delivered, LedgerError> {
        let Some(webhook) = &self.inner.webhook else { return Ok(Delivered::Nothing) };
        let now = self.inner.clock.now();
        let wanted = Wanted { actions: webhook.actions.clone(), since: now - webhook.retry_for, limit };
        let timeout = TimeDelta::from_std(webhook.timeout).unwrap_or(MARGIN);
        let taken = self.ledger().take_deliveries(&wanted, now, now + timeout + MARGIN).await?;
        if taken.is_empty() {
            return Ok(Delivered::Nothing);
        }
        let mut under_way = JoinSet::new();
        for taken in taken {
            let jwt = self.clone();
            under_way.spawn_blocking(move || jwt.deliver_one(&taken));
        }
        let attempts: Vec<_> = under_way.join_all().await.into_iter().flatten().collect();
        let all = attempts.iter().all(|(_, attempted)| *attempted == Attempted::Delivered);
        self.ledger().settle_deliveries(attempts).await?;
        Ok(if all { Delivered::All } else { Delivered::NotAll })
    }

    fn deliver_one(&self, taken: &Taken) -> Option<(i64, Attempted)> {
        let webhook = self.inner.webhook.as_ref()?;
        let (event, now) = (&taken.event, self.inner.clock.now());
        let attempted = match webhook.deliver(event, now) {
            Ok(()) => {
                webhook.counts.delivered.add(1);
                Attempted::Delivered
            }
            Err(why) => {
                webhook.counts.failed.add(1);
                let next = now + wait_after(taken.attempt);
                if next < event.at + webhook.retry_for {
                    log::info!("event {} was not delivered (attempt {}): {why}", event.id, taken.attempt);
                    Attempted::Again(next)
                } else {
                    webhook.counts.given_up.add(1);
                    log::error!("event {} is not delivered any more after {} attempts: {why}", event.id, taken.attempt);
                    Attempted::GivenUp
                }
            }
        };
        Some((event.id, attempted))
    }

    /// How many events wait to be delivered to `webhook_url`. [`None`] where there is none.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn undelivered(&self) -> Result<Option<Backlog>, LedgerError> {
        let Some(webhook) = &self.inner.webhook else { return Ok(None) };
        let since = self.inner.clock.now() - webhook.retry_for;
        self.ledger().undelivered(&webhook.actions, since).await.map(Some)
    }
}

/// What came of one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivered {
    Nothing,
    All,
    NotAll,
}

/// Nobody delivers any more.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(secret: &str) -> Webhook {
        let settings = Settings {
            webhook_url: Some(Secret::new("http://127.0.0.1:1/")),
            webhook_secret: Some(Secret::new(secret)),
            ..Settings::default()
        };
        Webhook::new(&settings).expect("good settings").expect("a webhook")
    }

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of the specification's own libraries.
        let webhook = webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = webhook.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn neither_the_secret_nor_the_url_is_shown() {
        let shown = format!("{:?}", webhook("0123456789abcdef01234567"));
        assert!(!shown.contains("127.0.0.1") && !shown.contains("abcdef"), "{shown}");
    }

    #[test]
    fn a_secret_is_what_it_encodes_or_its_own_text() {
        assert_eq!(secret_bytes("whsec_AQID"), [1, 2, 3]);
        assert_eq!(secret_bytes("plain"), b"plain");
        assert_eq!(secret_bytes("whsec_!"), b"whsec_!");
    }

    #[test]
    fn waits_double_up_to_an_hour_with_up_to_a_quarter_more() {
        for (attempt, seconds) in [(1, 5), (2, 10), (5, 80), (30, 3600), (u16::MAX, 3600)] {
            let wait = wait_after(attempt);
            let least = TimeDelta::seconds(seconds);
            assert!(least <= wait && wait <= least * 5 / 4, "{attempt}: {wait}");
        }
    }
}
