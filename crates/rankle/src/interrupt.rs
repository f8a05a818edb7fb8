//! Ctrl-C, SIGTERM and SIGHUP, polled between small units of work.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static ASKED: AtomicBool = AtomicBool::new(false);
static SINCE: OnceLock<Instant> = OnceLock::new();

/// A second request after this long ends the process at once. That is safe, since files are written atomically. The limit exists
/// because a terminal and a parent process may both pass on one Ctrl-C; both arrive at once and count as one request.
const PATIENCE: Duration = Duration::from_secs(3);

/// Interval at which the parent process is checked.
const PARENT: Duration = Duration::from_millis(500);

/// Turns interrupts into requests to stop; the end of the process `parent`, if given, is one as well.
///
/// # Errors
/// When the operating system refuses.
pub(crate) fn watch(parent: Option<u32>) -> anyhow::Result<()> {
    #[cfg(unix)]
    if let Some(parent) = parent {
        std::thread::spawn(move || {
            while std::os::unix::process::parent_id() == parent {
                std::thread::sleep(PARENT);
            }
            ASKED.store(true, Ordering::SeqCst);
        });
    }
    #[cfg(not(unix))]
    let _ = parent;
    let handled = ctrlc::set_handler(|| {
        ASKED.store(true, Ordering::SeqCst);
        if SINCE.get_or_init(Instant::now).elapsed() > PATIENCE {
            std::process::exit(130);
        }
    });
    match handled {
        // The library was called before in this process.
        Err(ctrlc::Error::MultipleHandlers) => Ok(()),
        handled => anyhow::Context::context(handled, "cannot watch for Ctrl-C"),
    }
}

/// True if the user has asked the program to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// The state of [`asked`] in the form that the libraries' progress callbacks return.
pub(crate) fn flow() -> std::ops::ControlFlow<()> {
    if asked() { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
}
