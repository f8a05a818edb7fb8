//! Help on a closed pipe ends quietly; on a full disk it reports an error.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    OwnedFd::from(writer).into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn lists_end_like_lists() {
    for arguments in [&["reproduce", "--help"][..], &["--help"]] {
        let code = |stdout: Stdio, stderr: Stdio| {
            let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
            xtask.args(arguments).stdout(stdout).stderr(stderr).status().unwrap().code()
        };
        let codes = [code(nobody(), nobody()), code(Stdio::null(), full()), code(full(), Stdio::null()), code(full(), full())];
        assert_eq!(codes, [Some(0), Some(0), Some(1), Some(1)], "{arguments:?}");
    }
}
