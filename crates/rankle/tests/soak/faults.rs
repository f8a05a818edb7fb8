//! Faults at each system call with which files are written: strace kills the process there, or lets the call fail.

use crate::Size;
use crate::scenario::Scenario;
use std::process::{Command, Output, Stdio};

/// The calls that change what is on a disk.
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
                // A remark that cannot be written is nobody's failure.
                assert!(matches!(output.status.code(), Some(0 | 1)), "{what}: {:?}: {stderr}", output.status);
                assert!(!stderr.contains("panicked"), "{what}: {stderr}");
            });
            println!("soak: {}: {error} at {failed} system calls, all recovered", scenario.name);
        }
    }
}

/// Runs a command with a fault at its first writing call, then at the next one, until it meets none.
fn each_call(scenario: &Scenario, size: &Size, fault: &str, check: &dyn Fn(&Output, &str)) -> usize {
    let mut met = 0;
    for call in (1..).step_by(size.every) {
        let (folder, command) = scenario.start();
        let log = folder.path().with_extension("strace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", &format!("trace={WRITING}")]);
        strace.args(["-e", &format!("inject={WRITING}:{fault}:when={call}")]).arg("-o").arg(&log);
        strace.arg(command.get_program()).args(command.get_args()).args(["--threads", "1"]);
        let output = strace.stdin(Stdio::null()).output().expect("strace runs: install the package strace");
        let log =
            std::fs::read_to_string(log).map(|text| (text.contains("(INJECTED)") || text.contains("killed by SIGKILL"), text));
        let (injected, _) = log.expect("strace writes its log");
        let what = format!("{}: {fault} at call {call}", scenario.name);
        if !injected {
            assert!(output.status.success(), "{what}: strace: {}", String::from_utf8_lossy(&output.stderr));
            break;
        }
        met += 1;
        check(&output, &what);
        scenario.check_begun(folder.path(), &what);
        scenario.check_recovered(folder.path(), &what);
    }
    assert!(met > 0, "{}: no call was met", scenario.name);
    met
}
