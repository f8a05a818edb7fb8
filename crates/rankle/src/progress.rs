//! What is said on standard error while the work goes on: lines by `tracing`, and bars where somebody watches.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt;
use std::io::{self, Write};
use std::sync::LazyLock;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format::Writer};
use tracing_subscriber::registry::LookupSpan;

/// Hides itself where standard error is no terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Sets up both. Quiet leaves errors only; each `verbose` says more.
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
    // It fails where the library was called before in this process: then the lines of that call go on.
    lines.try_init().ok();
}

/// A bar over `total` units of work, with the time left.
pub(crate) fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {elapsed} gone, {eta} left  {msg}");
    BARS.add(ProgressBar::new(total).with_style(style.expect("the template is valid")))
}

/// Whether bars are seen; where they are not, lines say how far the work is.
pub(crate) fn visible() -> bool {
    !BARS.is_hidden()
}

/// Writes a result to standard output, which is for nothing else.
pub(crate) use rankle_cli::answer;

/// Takes all bars away.
pub(crate) fn clear() {
    BARS.clear().ok();
}

/// `warning: …`, or nothing but the message.
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

/// Where nobody hears it, the work goes on.
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
