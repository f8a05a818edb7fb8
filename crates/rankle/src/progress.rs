//! Progress on standard error: log lines by `tracing`, and bars on a terminal. In a log file, regular lines replace the bars.

use crate::interrupt;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rankle_eval::Monitor;
use std::fmt;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format::Writer};
use tracing_subscriber::registry::LookupSpan;

/// The bars; hidden if standard error is no terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Sets up lines and bars. `quiet` leaves errors only; each `verbose` adds a level.
pub(crate) fn start(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => Level::ERROR,
        (_, 0) => Level::INFO,
        (_, 1) => Level::DEBUG,
        _ => Level::TRACE,
    };
    if quiet {
        BARS.set_draw_target(ProgressDrawTarget::hidden());
    }
    let lines = tracing_subscriber::fmt().with_max_level(level).event_format(Lines).with_writer(|| AboveTheBars);
    // This fails if the library was called before in this process; then the subscriber of that call remains.
    lines.try_init().ok();
}

/// A bar over `total` units of work, with the time left. Where bars are hidden, regular lines report the same.
pub(crate) fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {elapsed} gone, {eta} left  {msg}");
    let bar = BARS.add(ProgressBar::new(total).with_style(style.expect("the template is valid")));
    if !visible() && tracing::enabled!(Level::INFO) {
        tell(&bar);
    }
    bar
}

/// The monitor of a study that moves a bar and stops on an interrupt.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn monitor(bar: &ProgressBar) -> Arc<dyn Monitor> {
        Arc::new(Self(bar.clone()))
    }
}

impl Monitor for Bar {
    fn advance(&self, units: u64) -> ControlFlow<()> {
        let flow = interrupt::flow();
        if flow.is_continue() {
            self.0.inc(units);
        }
        flow
    }
    fn done(&self) -> u64 {
        self.0.position()
    }
    fn set_done(&self, units: u64) {
        self.0.set_position(units);
    }
    fn skip(&self, units: u64) {
        self.0.inc(units);
        self.0.reset_eta();
    }
    fn total(&self) -> u64 {
        self.0.length().unwrap_or(0)
    }
    fn enter(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }
    fn news(&self, line: &str) {
        if !visible() {
            tracing::info!("{line}");
        }
    }
}

/// True if bars are seen; otherwise lines report the progress.
pub(crate) fn visible() -> bool {
    !BARS.is_hidden()
}

/// Pause before the first line; shorter work is not reported.
const FIRST_LINE: Duration = Duration::from_secs(2);
/// Longest pause between lines; until then each line comes at twice the time of the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Starts a thread that reports a bar in lines until the bar is finished or dropped.
fn tell(bar: &ProgressBar) {
    let (bar, start) = (bar.downgrade(), Instant::now());
    let lines = move || {
        let mut pause = FIRST_LINE;
        loop {
            thread::sleep(pause);
            let Some(bar) = bar.upgrade().filter(|bar| !bar.is_finished()) else { return };
            tracing::info!("{}", state(&bar));
            pause = start.elapsed().min(LONGEST_PAUSE);
        }
    };
    // If no thread starts, the work goes on without lines.
    thread::Builder::new().name("progress".to_owned()).spawn(lines).ok();
}

/// State of a bar as a line that begins with `progress: `, to be told from other lines.
fn state(bar: &ProgressBar) -> String {
    let (done, gone) = (bar.position(), span(bar.elapsed()));
    let far = match bar.length().filter(|&all| all > 0) {
        // Before the first unit there is no estimate.
        Some(all) if done > 0 => {
            format!("{:.0} % done, {gone} gone{}", 100.0 * done.min(all) as f64 / all as f64, left(bar.eta()))
        }
        _ => format!("{gone} gone"),
    };
    match bar.message() {
        message if message.is_empty() => format!("progress: {far}"),
        message => format!("progress: {far}: {message}"),
    }
}

/// Longest time left that is told: after a pause, as of a machine that slept, estimates are beyond all bounds for a while.
const LONGEST_LEFT: Duration = Duration::from_secs(60 * 24 * 3600);

/// The end of a line that says how long the work will take; nothing while the estimate begins anew, when it is 0.
fn left(time: Duration) -> String {
    if time.is_zero() || time > LONGEST_LEFT { String::new() } else { format!(", about {} left", span(time)) }
}

/// A duration in seconds, minutes or hours, by its length.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} min", seconds / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

/// Runs `work` without log lines, as with `--quiet`, and removes its bars afterward.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let done = tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), work);
    clear();
    done
}

/// Writes a result to standard output, which carries results only.
pub(crate) use rankle_cli::answer;

pub(crate) fn clear() {
    BARS.clear().ok();
}

/// Log line format: `warning: …` for a warning, the plain message for information.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        match *event.metadata().level() {
            Level::ERROR => writer.write_str("error: ")?,
            Level::WARN => writer.write_str("warning: ")?,
            Level::INFO => {}
            Level::DEBUG | Level::TRACE => writer.write_str("debug: ")?,
        }
        let mut message = String::new();
        context.field_format().format_fields(Writer::new(&mut message), event)?;
        writeln!(writer, "{}", rankle_cli::one_line(&message))
    }
}

/// Standard error, written above the bars. A failed write is ignored, so that the work goes on.
struct AboveTheBars;

impl Write for AboveTheBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write_all(bytes)).ok();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_the_work_is() {
        let bar = ProgressBar::hidden();
        assert_eq!(state(&bar), "progress: 0 s gone");
        bar.set_length(200);
        bar.set_message("ca+ on mnist");
        assert_eq!(state(&bar), "progress: 0 s gone: ca+ on mnist");
        bar.set_position(50);
        let line = state(&bar);
        assert!(line.starts_with("progress: 25 % done, 0 s gone, about ") && line.ends_with(" left: ca+ on mnist"), "{line}");
        bar.set_position(300);
        assert!(state(&bar).starts_with("progress: 100 % done"), "{}", state(&bar));
    }

    #[test]
    fn what_is_no_estimate_is_not_told() {
        assert_eq!(left(Duration::from_secs(9000)), ", about 2.5 h left");
        assert_eq!([Duration::ZERO, Duration::MAX].map(left), ["", ""]);
    }

    #[test]
    fn times_are_told_in_the_unit_that_suits_them() {
        let said = [7, 119, 120, 7199, 9000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(said, ["7 s", "119 s", "2 min", "119 min", "2.5 h"]);
    }
}
