//! Order of system calls, listed by `strace`: a folder gets its name after its files are on disk.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Cursor, Write};
use std::process::Command;

fn archive() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["set/list.txt", "set/images/1.jpg", "set/images/deep/2.jpg"] {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(name.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn everything_is_on_the_disk_before_the_folder_has_its_name_and_then_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let (path, output, log) = (folder.path().join("set.zip"), folder.path().join("data/set"), folder.path().join("log"));
    fs::write(&path, archive()).unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-e", "trace=syncfs,fsync,/^rename", "-o"]).arg(&log);
    command.arg(env!("CARGO_BIN_EXE_rankle-hub")).args(["archive", "--landmark", "list.txt", "--most-entries", "9"]);
    command.args(["--most-bytes", "999", "--lock"]).arg(folder.path().join("sums"));
    let outcome = command.arg("--file").arg(&path).arg("--output").arg(&output).output();
    let outcome = outcome.expect("this test needs strace (`apt-get install strace`)");
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));

    let log = fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let named = format!("\"{}\"", output.display());
    let rename = lines.iter().position(|line| line.contains("rename") && line.contains(&named)).unwrap();
    let temporary = lines[rename].split('"').nth(1).unwrap();
    // The whole file system of the folder.
    let all = format!("<{temporary}>");
    assert!(lines[..rename].iter().any(|line| line.contains("syncfs(") && line.contains(&all)), "{log}");
    let parent = format!("<{}>", output.parent().unwrap().display());
    assert!(lines[rename..].iter().any(|line| line.contains(" fsync(") && line.contains(&parent)), "{log}");
}
