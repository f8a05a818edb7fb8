//! Child processes, one at a time, and interrupts.

use anyhow::{Context, Result, bail};
use rankle_cli::Stop;
use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;
use wait4::{ResUse, Wait4};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Process id of the running child; 0 if there is none.
static CHILD: AtomicU32 = AtomicU32::new(0);

/// Makes Ctrl-C, SIGTERM and SIGHUP stop the child, which finishes what it is writing; then this program ends with 130.
pub(crate) fn watch_for_interrupts() -> Result<()> {
    ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        let child = CHILD.load(Ordering::SeqCst);
        if child != 0 {
            terminate(child);
        }
    })
    .context("cannot watch for Ctrl-C")
}

/// Reports an interrupt, for work in this process.
///
/// # Errors
/// [`Stop`] with `hint` when the user has asked to stop.
pub(crate) fn check_interrupt(hint: &str) -> Result<()> {
    if interrupted() { Err(Stop::interrupted(hint).into()) } else { Ok(()) }
}

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Passes a SIGTERM on, which reaches only this process. A Ctrl-C reaches the child twice, which it counts as one request.
fn terminate(child: u32) {
    if cfg!(unix) {
        Command::new("kill").arg("-TERM").arg(child.to_string()).stderr(Stdio::null()).status().ok();
    }
}

/// Runs a child to its end.
///
/// # Errors
/// When it cannot be started, and [`Stop`] with `hint` after an interrupt.
pub(crate) fn run(command: &mut Command, hint: &str) -> Result<ExitStatus> {
    Ok(run_measured(command.stdout(Stdio::inherit()), hint)?.0)
}

/// Runs a child as [`run`] does, and returns its standard output instead of showing it.
///
/// # Errors
/// As [`run`], and when the output is not UTF-8.
pub(crate) fn run_capturing(command: &mut Command, hint: &str) -> Result<(ExitStatus, String)> {
    run_measuring(command, hint).map(|(status, output, _)| (status, output))
}

/// Runs a child until `reached` is true of a line on its standard error, then stops it as a Ctrl-C would.
///
/// # Errors
/// As [`run`], and when the child ends before.
pub(crate) fn run_until(command: &mut Command, hint: &str, mut reached: impl FnMut(&str) -> bool) -> Result<()> {
    let (_, last, _) = run_child(command.stdout(Stdio::null()).stderr(Stdio::piped()), hint, |child| {
        let (id, mut last) = (child.id(), Some(String::new()));
        for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).split(b'\n')).map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if last.is_some() && reached(&line) {
                terminate(id);
                last = None;
            }
            last = last.map(|_| line.into_owned());
        }
        last
    })?;
    last.map_or(Ok(()), |last| bail!("it ended before: {last}"))
}

/// Resources used by a child and by the children it waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Time from start to end.
    pub(crate) seconds: f64,
    /// CPU time of all threads together.
    pub(crate) cpu_seconds: f64,
    /// Largest resident memory, in MB (10⁶ bytes); `None` if the system does not report it.
    pub(crate) peak_mb: Option<f64>,
}

/// Runs a child as [`run_capturing`] does, and returns its use of resources, too.
///
/// # Errors
/// As [`run_capturing`].
pub(crate) fn run_measuring(command: &mut Command, hint: &str) -> Result<(ExitStatus, String, Usage)> {
    run_measured(command.stdout(Stdio::piped()), hint)
}

/// Runs a child as [`run_measuring`] does, and returns its standard error, too, which is not shown.
///
/// # Errors
/// As [`run_capturing`].
pub(crate) fn run_hearing(command: &mut Command, hint: &str) -> Result<(ExitStatus, String, String, Usage)> {
    let mut said = tempfile::tempfile().context("no temporary file can be made")?;
    let same = said.try_clone().context("no temporary file can be shared")?;
    let (status, output, usage) = run_measured(command.stdout(Stdio::piped()).stderr(same), hint)?;
    let mut bytes = Vec::new();
    said.rewind().and_then(|()| said.read_to_end(&mut bytes)).context("a temporary file cannot be read")?;
    Ok((status, output, String::from_utf8_lossy(&bytes).into_owned(), usage))
}

fn run_measured(command: &mut Command, hint: &str) -> Result<(ExitStatus, String, Usage)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let (status, output, usage) = run_child(command, hint, |child| {
        let mut output = String::new();
        child.stdout.take().map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut output)).map(|_| output)
    })?;
    if status.code() == Some(130) {
        return Err(Stop::interrupted(hint).into());
    }
    Ok((status, output.with_context(|| format!("the output of {program} is not text"))?, usage))
}

/// Starts a child, lets `read` take its output, and waits for its end.
fn run_child<T>(command: &mut Command, hint: &str, read: impl FnOnce(&mut Child) -> T) -> Result<(ExitStatus, T, Usage)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {program}"))?;
    CHILD.store(child.id(), Ordering::SeqCst);
    if interrupted() {
        terminate(child.id()); // the interrupt came between the start and the line above
    }
    let output = read(&mut child);
    let used = child.wait4();
    CHILD.store(0, Ordering::SeqCst);
    let ResUse { status, rusage } = used.with_context(|| format!("lost {program}"))?;
    let usage = Usage {
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: (rusage.utime + rusage.stime).as_secs_f64(),
        peak_mb: (rusage.maxrss > 0).then_some(rusage.maxrss as f64 / 1e6),
    };
    check_interrupt(hint)?;
    Ok((status, output, usage))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_child_used_up_is_known() {
        let (status, output, usage) = run_measuring(&mut shell("sleep 0.1; echo done"), "").unwrap();
        assert!(status.success() && output == "done\n");
        assert!(usage.seconds >= 0.1 && usage.cpu_seconds < usage.seconds);
        assert!(usage.peak_mb.is_none_or(|mb| mb > 0.1 && mb < 1000.0), "{usage:?}");
    }

    #[test]
    fn a_child_is_run_to_its_end() {
        let (status, output) = run_capturing(&mut shell("echo one; echo two; exit 3"), "").unwrap();
        assert_eq!((status.code(), output.as_str()), (Some(3), "one\ntwo\n"));
        let (status, output, said, _) = run_hearing(&mut shell("echo out; echo why >&2; exit 2"), "").unwrap();
        assert_eq!((status.code(), output.as_str(), said.as_str()), (Some(2), "out\n", "why\n"));
        let error = run(&mut shell("exit 130"), "say it again").unwrap_err();
        assert_eq!((rankle_cli::code(&error), error.to_string()), (130, "interrupted; say it again".to_owned()));
        let error = run(&mut Command::new("no-such-program"), "").unwrap_err();
        assert_eq!(error.to_string(), "cannot start no-such-program");
    }

    #[test]
    fn a_child_is_stopped_at_the_line_that_is_waited_for() {
        let mut lines = Vec::new();
        let start = Instant::now();
        let mut slow = shell(r"printf 'one\n\377\ntwo\n' >&2; exec sleep 30");
        run_until(&mut slow, "", |line| {
            lines.push(line.to_owned());
            line == "two"
        })
        .unwrap();
        assert_eq!(lines, ["one", "\u{fffd}", "two"]);
        assert!(start.elapsed().as_secs() < 20);
        let error = run_until(&mut shell("echo broken >&2; exit 1"), "", |_| false).unwrap_err();
        assert_eq!(error.to_string(), "it ended before: broken");
    }
}
