//! Faults at each system call that writes files: strace kills the process there, or makes the call fail.

use crate::Size;
use crate::scenario::Scenario;
use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

/// System calls that change the content of a disk.
const WRITING: &str = "write,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat";

pub(crate) fn kills(size: &Size) {
    for scenario in Scenario::all() {
        let killed = each_call(scenario, size, "signal=KILL", &|output, what| {
            assert_eq!(output.status.code(), None, "{what}: it outlived its death");
        });
        println!("soak: {}: killed at {killed} system calls, all recovered", scenario.name);
    }
}

pub(crate) fn errors(size: &Size) {
    for (error, code) in [("a full disk", "error=ENOSPC"), ("a broken disk", "error=EIO")] {
        for scenario in Scenario::all() {
            let failed = each_call(scenario, size, code, &|output, what| {
                let stderr = String::from_utf8_lossy(&output.stderr);
                // A progress or warning line that cannot be written is no failure.
                assert!(matches!(output.status.code(), Some(0 | 1)), "{what}: {:?}: {stderr}", output.status);
                assert!(!stderr.contains("panicked"), "{what}: {stderr}");
            });
            println!("soak: {}: {error} at {failed} system calls, all recovered", scenario.name);
        }
    }
}

/// Runs a command once per writing call, with a fault at that call; returns the number of faults that occurred.
fn each_call(scenario: &Scenario, size: &Size, fault: &str, check: &dyn Fn(&Output, &str)) -> usize {
    let mut met = 0;
    for (name, number) in calls(scenario).into_iter().skip(size.every / 2).step_by(size.every) {
        let (folder, command) = scenario.start();
        let (output, log) = strace(&command, &["-e", &format!("inject={name}:{fault}:when={number}")]);
        // The number of progress lines depends on the time, so a call may be absent in this run.
        if !log.contains("(INJECTED)") && !log.contains("killed by SIGKILL") {
            continue;
        }
        met += 1;
        let what = format!("{}: {fault} at {name} {number}", scenario.name);
        check(&output, &what);
        scenario.check_begun(folder.path(), &what);
        scenario.check_recovered(folder.path(), &what);
    }
    assert!(met > 0, "{}: no call was met", scenario.name);
    met
}

/// Writing calls of a command: each name with the numbers 1 to the largest count of one thread.
fn calls(scenario: &Scenario) -> Vec<(String, usize)> {
    let (_folder, command) = scenario.start();
    let (output, log) = strace(&command, &[]);
    assert!(output.status.success(), "{}: strace: {}", scenario.name, String::from_utf8_lossy(&output.stderr));
    let mut threads = BTreeMap::<(&str, &str), usize>::new();
    for line in log.lines() {
        // A call that another thread interrupts is logged in two lines; only the first has a parenthesis after the name.
        let call = line.split_once(char::is_whitespace).map(|(thread, call)| (thread, call.trim_start()));
        if let Some((thread, (name, _))) = call.and_then(|(thread, call)| Some((thread, call.split_once('(')?))) {
            *threads.entry((name, thread)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::<&str, usize>::new();
    for ((name, _), count) in threads {
        let known = most.entry(name).or_default();
        *known = count.max(*known);
    }
    most.into_iter().flat_map(|(name, count)| (1..=count).map(move |number| (name.to_owned(), number))).collect()
}

/// Runs a command on one thread under strace; returns its output and the log of strace.
fn strace(command: &Command, injection: &[&str]) -> (Output, String) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", &format!("trace={WRITING}")]).args(injection).arg("-o").arg(log.path());
    strace.arg(command.get_program()).args(command.get_args()).args(["--threads", "1"]);
    let output = strace.stdin(Stdio::null()).output().expect("strace runs: install the package strace");
    (output, String::from_utf8_lossy(&std::fs::read(log.path()).unwrap()).into_owned())
}
