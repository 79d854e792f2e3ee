//! What the library logs, on standard error: one line a record, so that standard output belongs to results.

use log::{LevelFilter, Log, Metadata, Record};

use super::output::complain;
use super::serve::GREETING;

struct Logger {
    /// How much to say of ourselves; of everybody else only what is more pressing.
    own: LevelFilter,
    others: LevelFilter,
    /// Whether to let Rocket list its configuration, routes and fairings when it starts, as warnings.
    greeting: bool,
}

/// Starts logging. Rocket would bring a logger of its own, and leaves it out where there is one. `configured` is what the
/// settings say, where the flags say nothing.
pub(super) fn install(quiet: bool, verbose: u8, configured: Option<LevelFilter>) {
    let (own, others) = match (quiet, verbose, configured) {
        (false, 0, Some(level)) => (level, level),
        (true, ..) | (false, 0, None) => (LevelFilter::Warn, LevelFilter::Error),
        (false, 1, _) => (LevelFilter::Info, LevelFilter::Info),
        (false, ..) => (LevelFilter::Trace, LevelFilter::Debug),
    };
    let greeting = verbose > 0;
    // Only whoever calls this function twice in one process has a logger already: a test.
    if log::set_boxed_logger(Box::new(Logger { own, others, greeting })).is_ok() {
        log::set_max_level(own.max(others));
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        if target.starts_with(GREETING) {
            return self.greeting;
        }
        metadata.level() <= if target.starts_with(env!("CARGO_CRATE_NAME")) { self.own } else { self.others }
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mark = match record.level() {
                log::Level::Error => "error: ",
                log::Level::Warn if !record.target().starts_with(GREETING) => "warning: ",
                _ => "",
            };
            complain(mark, record.args());
        }
    }

    fn flush(&self) {}
}
