//! A progress bar for a map.

use indicatif::{ProgressBar, ProgressStyle};

#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(items: Option<usize>) -> Self {
        let (bar, style) = match items {
            Some(items) => (ProgressBar::new(items as u64), "{wide_bar} {human_pos}/{human_len} {per_sec} eta {eta}"),
            None => (ProgressBar::new_spinner(), "{spinner} {human_pos} {per_sec} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Progress(bar)
    }

    pub(super) fn step(&self) {
        self.0.inc(1);
    }

    pub(super) fn end(&self) {
        self.0.finish();
    }
}
