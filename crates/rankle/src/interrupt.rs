//! Ctrl-C, SIGTERM and SIGHUP: the work looks here between small pieces of itself.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static ASKED: AtomicBool = AtomicBool::new(false);
static SINCE: OnceLock<Instant> = OnceLock::new();

/// Whoever asks again after this long does not want to wait any more. Nothing is ever half-written, so that is safe. A
/// terminal and a parent process that both pass on one Ctrl-C do it at once: that is one request.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often is looked whether the parent is still there.
const PARENT: Duration = Duration::from_millis(500);

/// From here on, interrupts are requests, and so is the end of the parent process, where one is named.
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

/// Whether the user wants the program to end.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// [`asked`], for the progress callbacks of the libraries.
pub(crate) fn flow() -> std::ops::ControlFlow<()> {
    if asked() { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
}
