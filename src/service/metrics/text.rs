//! The numbers in the text format of `OpenMetrics`, which Prometheus reads.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, Reason};
use crate::blacklist::CacheState;
use crate::service::{Inner, Simplejwt};
use crate::token::TokenKind;

impl Simplejwt {
    /// What this process did and how its blacklist stands, in the text format of `OpenMetrics`, for an application that shows it in a
    /// way of its own. No name of a user, no jti and no token is in it.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Numbers(self.clone())));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// The numbers of the moment at which they are asked for.
#[derive(Debug)]
struct Numbers(Simplejwt);

impl Collector for Numbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        sheet.one("simplejwt_build", "Which version runs.", &version)?;
        self.0.inner.metrics.write(&mut sheet)?;
        self.0.inner.write_doings(&mut sheet)?;
        self.0.cache_state().map_or(Ok(()), |state| write_blacklist(&state, &mut sheet))
    }
}

impl Metrics {
    fn write(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter("simplejwt_verifications", "Tokens that were checked.", self.verifications.get())?;
        let issued = TokenKind::ALL.into_iter().map(TokenKind::as_str).zip(self.issued.iter().map(super::Count::get));
        sheet.counters("simplejwt_tokens_issued", "Tokens that were given to somebody.", "kind", issued)?;
        let refusals = Reason::ALL.iter().map(|(reason, name)| (*name, self.refusals[*reason as usize].get()));
        sheet.counters("simplejwt_refusals", "Requests and tokens that were refused.", "reason", refusals)?;
        sheet.counter(
            "simplejwt_unavailable",
            "Requests to which there was no answer (503).",
            self.unavailable.get(),
        )?;
        sheet.counter("simplejwt_revocations", "Tokens that this process revoked.", self.revocations.get())?;
        sheet.counter("simplejwt_refresh_retries", "Refresh tokens that were given once more.", self.retries.get())?;
        sheet.counter("simplejwt_evictions", "Sessions that made room for new ones.", self.evictions.get())?;
        sheet.counter("simplejwt_restorations", "Revocations that this process took back.", self.restorations.get())
    }
}

impl Inner {
    /// What was limited, noted and told.
    fn write_doings(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let refused = self.limits.refused().into_iter();
        sheet.counters("simplejwt_rate_limited", "Requests that came too often.", "limit", refused)?;
        if let Some(uses) = &self.uses {
            let counts = &uses.counts;
            let fates = [("written", counts.written.get()), ("dropped", counts.dropped.get())];
            let help = "Notes of when a session was last used.";
            sheet.counters("simplejwt_last_used", help, "fate", fates.into_iter())?;
            let help = "Transactions that wrote such notes.";
            sheet.counter("simplejwt_last_used_writes", help, counts.transactions.get())?;
        }
        let hooks = &self.hooks;
        let fates = [("called", hooks.called.get()), ("failed", hooks.failed.get()), ("dropped", hooks.dropped.get())];
        sheet.counters("simplejwt_callbacks", "Events for callbacks of the application.", "fate", fates.into_iter())?;
        #[cfg(feature = "webhook")]
        if let Some(webhook) = &self.webhook {
            let counts = &webhook.counts;
            let fates = [
                ("delivered", counts.delivered.get()),
                ("failed", counts.failed.get()),
                ("given_up", counts.given_up.get()),
            ];
            sheet.counters("simplejwt_webhook_deliveries", "Attempts to deliver events.", "fate", fates.into_iter())?;
        }
        Ok(())
    }
}

fn write_blacklist(state: &CacheState, sheet: &mut Sheet<'_>) -> fmt::Result {
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let ready = i64::from(state.ready);
    sheet.gauge("simplejwt_blacklist_ready", "Whether requests are answered from memory: 1 or 0.", ready)?;
    let help = "Whether that is by what was told; otherwise the ledger is asked each time: 1 or 0.";
    sheet.gauge("simplejwt_blacklist_believed", help, i64::from(state.believed))?;
    let help = "Triggers that feed the log, are wrong, and could not be put back.";
    sheet.gauge("simplejwt_blacklist_trigger_faults", help, number(state.trigger_faults))?;
    if let (Some(answers), Some(disbelieved)) = (state.answers, state.disbelieved) {
        sheet.counter("simplejwt_blacklist_redis_answers", "Tokens about which Redis has decided.", answers)?;
        let help = "Times that Redis was asked, and could not be believed.";
        sheet.counter("simplejwt_blacklist_redis_disbelieved", help, disbelieved)?;
    }
    let entries = number(state.entries);
    sheet.gauge("simplejwt_blacklist_entries", "Tokens, sessions and cutoffs that are refused, in memory.", entries)?;
    let (bytes, lag) = (number(state.bytes), state.lag.as_secs_f64());
    sheet.measure("simplejwt_blacklist", "The memory that they take.", &Unit::Bytes, &bytes)?;
    if state.sequence.is_some() {
        // Before the first look at the ledger it is no number that anybody could do something with.
        let help = "For how long a revocation of another process may be unknown here.";
        sheet.measure("simplejwt_blacklist_lag", help, &Unit::Seconds, &lag)?;
    }
    if let Some(sequence) = state.sequence {
        sheet.gauge("simplejwt_blacklist_sequence", "The last row of the log that was read.", sequence)?;
    }
    if let Some(at) = state.last_pull {
        let help = "When the log was last read to its end, since 1970.";
        let seconds = Duration::from_millis(at.timestamp_millis().max(0).unsigned_abs()).as_secs_f64();
        sheet.measure("simplejwt_blacklist_last_pull_timestamp", help, &Unit::Seconds, &seconds)?;
    }
    sheet.counter("simplejwt_blacklist_pulls", "Reads of the log to its end.", state.pulls)?;
    sheet.counter("simplejwt_blacklist_pull_failures", "Reads of the log that failed.", state.failures)?;
    sheet.counter("simplejwt_blacklist_reloads", "Times that everything had to be loaded anew.", state.reloads)?;
    let help = "Triggers that feed the log, and were found missing or wrong and put back.";
    sheet.counter("simplejwt_blacklist_triggers_mended", help, state.mended)?;
    let help = "Revocations in the database of which its log had not told.";
    sheet.counter("simplejwt_blacklist_repaired", help, state.repaired)?;
    let help = "Revocations that the database had lost, and that were written back.";
    sheet.counter("simplejwt_blacklist_lost_rows", help, state.lost_rows)?;
    let help = "Times that the database said that there is something new.";
    sheet.counter("simplejwt_blacklist_wake_ups", help, state.wake_ups)
}

/// What is being written.
struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn one(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.one(name, help, &ConstCounter::new(value))
    }

    fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        self.one(name, help, &ConstGauge::new(value))
    }

    fn measure(&mut self, name: &str, help: &str, unit: &Unit, value: &impl EncodeGaugeValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, Some(unit), MetricType::Gauge)?;
        metric.encode_gauge(value)
    }

    fn counters<'n>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (&'n str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in values {
            encode_labelled(&mut family, &[(label, value)], count)?;
        }
        Ok(())
    }
}

fn encode_labelled(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, count: u64) -> fmt::Result {
    ConstCounter::new(count).encode(family.encode_family(labels)?)
}
