//! `flushexpiredtokens`: for cron.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use serde_json::Value;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::connect::{Common, Keys};
use super::exit::{Exit, Failure};
use super::output::{self, Output, instant, instant_text, maybe};
use super::progress::Bar;
use crate::ledger::FlushOutcome;
use crate::service::{FlushOptions, FlushReport};
use crate::settings::Span;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt flushexpiredtokens --dry-run
  17 3 * * *  simplejwt --config /etc/simplejwt/Rocket.toml flushexpiredtokens --quiet --max-time 1h

Rows go in small batches, beside running servers; a run can be stopped at any time, and the next
one goes on. Nothing goes that still makes a token refused.
Exit code: 0 done, or stopped at a limit that was given; 75 interrupted, or the database does not
answer: the next run goes on; 1 the clock contradicts the ledger.")]
pub(super) struct FlushArgs {
    /// Count what would go, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// How long one batch should take [default: 50ms on SQLite, where others wait for it; 250ms elsewhere]
    #[arg(long, value_name = "TIME", value_parser = parse_batch_time)]
    batch_time: Option<Duration>,

    /// How long to rest between batches [default: 10ms on SQLite, where others can write only then; 0s elsewhere]
    #[arg(long, value_name = "TIME", value_parser = parse_pause)]
    pause: Option<Duration>,

    /// Stop after so long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    max_time: Option<Duration>,

    /// Stop after so many rows, give or take a batch
    #[arg(long, value_name = "ROWS")]
    max_rows: Option<u64>,

    /// Leave what expired less than so long ago
    #[arg(long, value_name = "TIME", default_value = "0s")]
    older_than: Span,

    /// Believe this machine's clock, also where the ledger contradicts it
    #[arg(long)]
    force: bool,

    /// Give up if another flush is running (exit code 75), instead of sharing the work with it
    #[arg(long)]
    fail_if_running: bool,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "not a length of time; write it like 50ms, 90s or 1h".into())
}

fn parse_batch_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    let fits = (Duration::from_millis(1)..=Duration::from_secs(1)).contains(&time);
    if fits { Ok(time) } else { Err("a batch takes 1ms to 1s: everybody else waits for it".into()) }
}

fn parse_pause(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text)?;
    if pause <= Duration::from_secs(10) { Ok(pause) } else { Err("a pause takes 10s at most".into()) }
}

/// Deletes what nobody can need any more.
pub(super) async fn run(common: &Common, args: FlushArgs) -> Result<Exit, Failure> {
    let output = common.output();
    let jwt = common.open(Keys::Unused).await?;
    let bar = if args.dry_run { Bar::hidden() } else { Bar::new(output) };
    let options = FlushOptions {
        dry_run: args.dry_run,
        batch_time: args.batch_time,
        pause: args.pause,
        max_time: args.max_time,
        max_rows: args.max_rows,
        older_than: args.older_than,
        force: args.force,
        fail_if_running: args.fail_if_running,
        with_total: bar.is_shown(),
    };
    // Where nothing is deleted, nothing has to be brought to an end: a signal ends the process.
    let report = if args.dry_run {
        jwt.flush_expired_tokens(&options, &AtomicBool::new(false), |_| ()).await?
    } else {
        let signals = Signals::listen()?;
        let flush = jwt.flush_expired_tokens(&options, &signals.stop, |progress| bar.show(progress));
        let report = unless(signals.insisted(), flush).await;
        bar.clear();
        report.ok_or_else(|| {
            Failure::TryAgain("stopped within a batch, which was not done; the next run goes on".into())
        })??
    };
    print(output, &report)?;
    Ok(if report.outcome == FlushOutcome::Interrupted { Exit::TryAgain } else { Exit::Done })
}

/// Ctrl-C and SIGTERM: the first one ends the run after the batch that is under way, the second one at once.
struct Signals {
    stop: Arc<AtomicBool>,
    again: Arc<Notify>,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let signals = Self { stop: Arc::default(), again: Arc::default() };
        let failed = |error| Failure::io("signals cannot be caught", &error);
        let (stop, again) = (Arc::clone(&signals.stop), Arc::clone(&signals.again));
        let hear = move || {
            if stop.swap(true, Ordering::Relaxed) {
                again.notify_one();
            }
        };
        #[cfg(unix)]
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let (mut signal, hear) = (signal(kind).map_err(failed)?, hear.clone());
            tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    hear();
                }
            });
        }
        #[cfg(not(unix))]
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                hear();
            }
        });
        Ok(signals)
    }

    async fn insisted(&self) {
        self.again.notified().await;
    }
}

/// Runs `work`, unless `end` comes first.
async fn unless<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    let (mut end, mut work) = (pin!(end), pin!(work));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

fn print(output: Output, report: &FlushReport) -> Result<(), Failure> {
    if let Some(now) = report.clock_ahead {
        output::warn(format_args!(
            "nothing in the ledger is nearly as new as this machine's clock ({}): only what expired before {} went; if \
             the clock is right, --force takes the rest",
            instant_text(now),
            instant_text(report.as_of)
        ));
    }
    if !output.is_for_people() {
        return output.record(&fields(report));
    }
    let rows = &report.flushed;
    let what = if report.dry_run { "would flush" } else { "flushed" };
    let how = match report.outcome {
        _ if report.dry_run => "",
        FlushOutcome::Limited => "; stopped at the limit, the next run goes on",
        FlushOutcome::Interrupted => "; interrupted, the next run goes on",
        _ => "",
    };
    let addresses = match rows.addresses {
        0 => String::new(),
        forgotten => format!(" and forgot {forgotten} addresses"),
    };
    output.done(format_args!(
        "{what} {} rows in {:.1} s ({} outstanding, {} blacklisted, {} token records, {} sessions, {} events){addresses}{how}",
        rows.total(),
        report.elapsed.as_secs_f64(),
        rows.outstanding,
        rows.blacklisted,
        rows.tokens,
        rows.sessions,
        rows.events,
    ))
}

fn fields(report: &FlushReport) -> Vec<(&'static str, Value)> {
    let rows = &report.flushed;
    let outcome = if report.dry_run { "dry_run" } else { report.outcome.as_str() };
    let milliseconds = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX);
    vec![
        ("outcome", outcome.into()),
        ("total", rows.total().into()),
        ("outstanding", rows.outstanding.into()),
        ("blacklisted", rows.blacklisted.into()),
        ("tokens", rows.tokens.into()),
        ("sessions", rows.sessions.into()),
        ("events", rows.events.into()),
        ("addresses", rows.addresses.into()),
        ("as_of", instant(report.as_of)),
        ("clock_ahead", maybe(report.clock_ahead)),
        ("elapsed_ms", milliseconds.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_limits() {
        assert_eq!(parse_batch_time("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_pause("0s"), Ok(Duration::ZERO));
        for bad in ["", "50", "0ms", "2s", "-1s", "soon"] {
            assert!(parse_batch_time(bad).is_err(), "{bad}");
        }
        assert!(parse_pause("11s").is_err());
    }
}
