//! Progress of one job: a bar on a terminal, a rare plain line elsewhere, a line at once on SIGUSR1.
//!
//! Shows what it is given; time comes in with the samples, so the texts are tested without a clock.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use unicode_width::UnicodeWidthChar;

use super::{Screen, bytes, count, duration, rate};

/// Between two plain lines when standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// A bar position for "all": progress is shown in parts of this.
const FULL: u64 = 10_000;

/// How far a job is. Totals are 0 until known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// What is going on, in a word.
    pub(crate) phase: String,
    pub(crate) files_done: u64,
    pub(crate) files_total: u64,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: u64,
    pub(crate) errors: u64,
    /// Time since the start of the job.
    pub(crate) elapsed: Duration,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MeterStyle {
    /// A bar that is redrawn.
    Bar,
    /// A line, at most one in this time.
    Lines(Duration),
    /// Only on demand.
    Silent,
}

impl MeterStyle {
    /// A bar on a terminal, else rare lines.
    pub(crate) fn for_screen(screen: &Screen) -> Self {
        if screen.stderr_is_terminal {
            Self::Bar
        } else {
            Self::Lines(LINE_EVERY)
        }
    }
}

/// The progress of one job on the screen.
pub(crate) struct Meter {
    screen: Screen,
    style: MeterStyle,
    label: String,
    bar: Option<ProgressBar>,
    last_line: Instant,
    pace: Pace,
}

impl Meter {
    /// Shows nothing yet.
    pub(crate) fn new(screen: &Screen, style: MeterStyle, label: &str, now: Instant) -> Self {
        let bar = (style == MeterStyle::Bar).then(|| screen.bars().add(new_bar(label)));
        Self {
            screen: screen.clone(),
            style,
            label: label.to_owned(),
            bar,
            last_line: now,
            pace: Pace::default(),
        }
    }

    /// A new state; draws the bar, or a line if it is time for one.
    pub(crate) fn show(&mut self, sample: &Sample, now: Instant) {
        self.pace.add(sample);
        if let Some(bar) = &self.bar {
            bar.set_position(permyriad(sample).unwrap_or(0));
            bar.set_message(describe(sample, &self.pace));
        } else if let MeterStyle::Lines(every) = self.style
            && now.duration_since(self.last_line) >= every
        {
            self.print(sample, now);
        }
    }

    /// A line at once.
    pub(crate) fn print(&mut self, sample: &Sample, now: Instant) {
        self.last_line = now;
        let percent = match permyriad(sample) {
            Some(done) => format!("{:.1}%  ", done as f64 / 100.0),
            None => String::new(),
        };
        self.screen.note(&format!(
            "{}  {percent}{}",
            self.label,
            describe(sample, &self.pace)
        ));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            self.screen.bars().remove(&bar);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.finish();
    }
}

fn new_bar(label: &str) -> ProgressBar {
    let bar = ProgressBar::new(FULL);
    // What it is about has a line of its own, so that 80 columns hold the rest.
    let template = "{prefix}\n  [{bar:10}] {percent:>3}%  {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(shortened(label, stderr_width()));
    bar
}

fn stderr_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns >= 20)
        .unwrap_or(80)
}

/// A text that fits a line: the end of a path says more than its start.
fn shortened(label: &str, columns: usize) -> String {
    let mut width = 0;
    let kept = label
        .char_indices()
        .rev()
        .take_while(|(_, letter)| {
            width += letter.width().unwrap_or(0);
            width < columns
        })
        .last();
    match kept {
        Some((start, _)) if start > 0 => format!("…{}", &label[start..]),
        _ => label.to_owned(),
    }
}

/// Parts of ten thousand; none while the total is unknown.
fn permyriad(sample: &Sample) -> Option<u64> {
    let (done, total) = match (sample.bytes_total, sample.files_total) {
        (0, 0) => return None,
        (0, files) => (sample.files_done, files),
        (total, _) => (sample.bytes_done, total),
    };
    let part = u128::from(done.min(total)) * u128::from(FULL) / u128::from(total);
    u64::try_from(part).ok()
}

/// The most important first: what does not fit is cut off at the end.
fn describe(sample: &Sample, pace: &Pace) -> String {
    let mut parts = Vec::new();
    if !sample.phase.is_empty() {
        parts.push(sample.phase.clone());
    }
    if sample.errors > 0 {
        parts.push(format!("{} errors", count(sample.errors)));
    }
    parts.push(match sample.bytes_total {
        0 => bytes(sample.bytes_done),
        total => format!("{} / {}", bytes(sample.bytes_done), bytes(total)),
    });
    parts.push(rate(sample.bytes_done, sample.elapsed));
    if let Some(left) = pace.time_left(sample) {
        parts.push(format!("ETA {}", duration(left)));
    }
    parts.push(match sample.files_total {
        0 => format!("{} files", count(sample.files_done)),
        total => format!("{}/{} files", count(sample.files_done), count(total)),
    });
    parts.join("  ")
}

/// Recent speed, for an estimate of the time that is left.
#[derive(Debug, Default)]
struct Pace {
    last: Option<(Duration, u64)>,
    bytes_per_second: f64,
}

impl Pace {
    fn add(&mut self, sample: &Sample) {
        let Some((time, done)) = self.last else {
            self.last = Some((sample.elapsed, sample.bytes_done));
            return;
        };
        let seconds = sample.elapsed.saturating_sub(time).as_secs_f64();
        if seconds < 0.5 {
            return;
        }
        let speed = sample.bytes_done.saturating_sub(done) as f64 / seconds;
        // Weight of the new speed: about the last ten seconds count.
        let weight = (seconds / 10.0).min(1.0);
        self.bytes_per_second = if self.bytes_per_second > 0.0 {
            self.bytes_per_second * (1.0 - weight) + speed * weight
        } else {
            speed
        };
        self.last = Some((sample.elapsed, sample.bytes_done));
    }

    fn time_left(&self, sample: &Sample) -> Option<Duration> {
        let left = sample
            .bytes_total
            .checked_sub(sample.bytes_done)
            .filter(|left| *left > 0)?;
        if self.bytes_per_second < 1.0 {
            return None;
        }
        Duration::try_from_secs_f64(left as f64 / self.bytes_per_second).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, Sample, describe, permyriad, shortened};
    use std::time::Duration;

    fn sample(seconds: u64, bytes_done: u64, bytes_total: u64) -> Sample {
        Sample {
            phase: "backup".into(),
            files_done: 1200,
            files_total: if bytes_total == 0 { 0 } else { 5000 },
            bytes_done,
            bytes_total,
            errors: 0,
            elapsed: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn unknown_totals_have_no_percentage() {
        let now = sample(2, 4 << 20, 0);
        assert_eq!(permyriad(&now), None);
        assert_eq!(
            describe(&now, &Pace::default()),
            "backup  4.000 MiB  2.0 MiB/s  1,200 files"
        );
    }

    #[test]
    fn known_totals_have_percentage_and_time_left() {
        let mut pace = Pace::default();
        pace.add(&sample(0, 0, 100 << 20));
        let mut now = sample(10, 50 << 20, 100 << 20);
        pace.add(&now);
        now.errors = 2;
        assert_eq!(permyriad(&now), Some(5000));
        let text = describe(&now, &pace);
        assert_eq!(
            text,
            "backup  2 errors  50.000 MiB / 100.000 MiB  5.0 MiB/s  ETA 10 s  1,200/5,000 files"
        );
    }

    #[test]
    fn labels_keep_their_end() {
        for (label, columns, expected) in [
            ("/a/short/path", 80, "/a/short/path"),
            ("/a/long/path", 8, "…ng/path"),
            ("", 8, ""),
            ("/日本語", 5, "…本語"),
        ] {
            assert_eq!(shortened(label, columns), expected, "{label}");
        }
    }

    #[test]
    fn a_source_that_shrank_is_never_over_all() {
        assert_eq!(permyriad(&sample(1, 300, 200)), Some(10_000));
    }
}
