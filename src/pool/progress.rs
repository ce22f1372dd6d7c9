//! The progress bar of a map. Without the feature `progress` there never is one.

#[cfg(feature = "progress")]
mod bar {
    use indicatif::{ProgressBar, ProgressStyle};

    #[derive(Debug)]
    pub(in super::super) struct MapProgress(ProgressBar);

    impl MapProgress {
        /// A bar, or without a number of inputs a spinner; none if it is not to be shown.
        pub(in super::super) fn start(is_shown: bool, items: Option<usize>) -> Option<Self> {
            if !is_shown {
                return None;
            }
            let (bar, style) = match items {
                Some(items) => {
                    (ProgressBar::new(items as u64), "{wide_bar} {human_pos}/{human_len} {per_sec} eta {eta}")
                }
                None => (ProgressBar::new_spinner(), "{spinner} {human_pos} {per_sec} {elapsed}"),
            };
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            Some(MapProgress(bar))
        }

        pub(in super::super) fn step(&self) {
            self.0.inc(1);
        }

        pub(in super::super) fn end(&self) {
            self.0.finish();
        }
    }
}

#[cfg(not(feature = "progress"))]
mod bar {
    #[derive(Debug)]
    pub(in super::super) enum MapProgress {}

    impl MapProgress {
        pub(in super::super) fn start(_is_shown: bool, _items: Option<usize>) -> Option<Self> {
            None
        }

        pub(in super::super) fn step(&self) {
            match *self {}
        }

        pub(in super::super) fn end(&self) {
            match *self {}
        }
    }
}

pub(super) use bar::MapProgress;
