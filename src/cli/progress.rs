//! The progress of a flush, for whoever watches it.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::output::{Output, wants_color};
use crate::service::Progress;

/// A bar on a terminal, and nothing elsewhere.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar on standard error, where somebody would see it.
    pub(super) fn new(output: Output) -> Self {
        if !output.shows_progress() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(style("counting what has expired {spinner} {elapsed}"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    /// No bar.
    pub(super) const fn hidden() -> Self {
        Self(None)
    }

    /// Whether there is one.
    pub(super) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// Shows how far the flush is.
    pub(super) fn show(&self, progress: &Progress) {
        let Some(bar) = &self.0 else { return };
        if let (None, Some(total)) = (bar.length(), progress.total) {
            let color = if wants_color() { ".cyan" } else { "" };
            bar.set_length(total);
            bar.set_style(style(&format!(
                "{{bar:30{color}}} {{human_pos}} of {{human_len}} tokens, {{rate}}, {{eta}} left"
            )));
        }
        bar.set_position(progress.flushed.outstanding);
    }

    /// Takes it away, so that the summary stands alone.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A template of ours always parses; if one did not, the plain bar would do.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
        // What cannot be drawn is left out.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    })
}
