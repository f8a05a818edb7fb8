//! Pipes without a reader and full disks: results are kept, and the exit code tells the failure.
#![cfg(target_os = "linux")]

use crate::support::{Digits, on_mnist, outcome, rankle, splits, weights};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

/// Destinations of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Reader,
    NoReader,
    FullDisk,
}

impl To {
    const ALL: [Self; 3] = [Self::Reader, Self::NoReader, Self::FullDisk];

    fn stdio(self) -> Stdio {
        match self {
            Self::Reader => Stdio::null(),
            Self::NoReader => {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                OwnedFd::from(writer).into()
            }
            Self::FullDisk => File::options().write(true).open("/dev/full").unwrap().into(),
        }
    }
}

fn code(command: &mut Command, stdout: To, stderr: To) -> i32 {
    command.stdout(stdout.stdio()).stderr(stderr.stdio()).status().unwrap().code().unwrap_or(-1)
}

/// `train … 2>&1 | head -1` once panicked and lost the training.
#[test]
fn whatever_becomes_of_the_streams_the_work_is_finished() {
    let (digits, queries) = (splits(), Digits::new(100));
    for (stdout, stderr) in [(To::NoReader, To::NoReader), (To::FullDisk, To::Reader), (To::Reader, To::FullDisk)] {
        let expected = i32::from(stdout == To::FullDisk);
        let folder = tempfile::tempdir().unwrap();
        let mut train = rankle("train --model c2f2 --distance cosine --batch-size 100 --epochs 1 --dataset");
        train.arg(format!("folder:{}", digits.path().display())).arg("--output").arg(folder.path().join("model"));
        let ended = code(&mut train, stdout, stderr);
        assert_eq!(ended, expected, "train: {stdout:?} {stderr:?}");
        assert!(folder.path().join("model/card.toml").exists());

        let file = folder.path().join("x.safetensors");
        let mut attack = queries.on("attack --attack ca+ --epsilon 0.1 --images 2 -vv");
        attack.arg("--weights").arg(weights()).arg("--save-adversarial").arg(&file);
        assert_eq!(code(&mut attack, stdout, stderr), expected, "attack: {stdout:?} {stderr:?}");
        assert!(file.exists());
    }
}

#[test]
fn results_and_refusals_end_alike() {
    for stderr in To::ALL {
        for (stdout, expected) in [(To::Reader, 0), (To::NoReader, 0), (To::FullDisk, 1)] {
            for arguments in ["--help", "attack --help", "--version"] {
                assert_eq!(code(&mut rankle(arguments), stdout, stderr), expected, "{arguments}: {stdout:?} {stderr:?}");
            }
            let list = format!("run --list {}/../../xtask/plans/mnist.toml", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(code(&mut rankle(&list), stdout, stderr), expected, "{list}: {stdout:?} {stderr:?}");
            let bench = "bench --name c2f2-forward --seconds 0.01";
            assert_eq!(code(&mut rankle(bench), stdout, stderr), expected, "{stdout:?} {stderr:?}");
            assert_eq!(code(&mut rankle("atack"), stdout, stderr), 2);
            assert_eq!(code(&mut on_mnist("attack", "--attack ca+ --epsilon 0.1 --images 10001"), stdout, stderr), 1);
        }
    }
}

/// A disk that fills during an attack loses the file, not the numbers.
#[test]
fn what_cannot_be_saved_is_told_after_the_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    // Limits files to 512 KiB: the check before the work passes, and the 1,255 KB of 200 images fail. SIGXFSZ is ignored, because
    // a full disk sends no signal.
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; ulimit -f 1024; exec "$0" "$@""#, env!("CARGO_BIN_EXE_rankle")]);
    let attack = on_mnist("attack", "--attack es --epsilon 0.1 --images 200 --iterations 2 --format json --save-adversarial");
    let (code, stdout, stderr) = outcome(command.args(attack.get_args()).arg(&file));
    assert_eq!((code, stdout.lines().count()), (1, 1), "{stderr}");
    assert!(stdout.starts_with("{\"") && stderr.contains("x.safetensors cannot be written"), "{stderr}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Outputs are checked before anything is computed.
#[test]
fn outputs_that_cannot_be_are_refused_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.safetensors");
    fs::write(&list, "0-3").unwrap();
    let said = |command: &mut Command, output: &Path| {
        let (code, stdout, stderr) = outcome(command.arg(output));
        assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{stderr}");
        (code, stderr)
    };
    let listed = format!("--image-indices @{}", list.display());
    for (command, option) in [("embed", "--output"), ("attack", "--attack es --epsilon 0.1 --save-adversarial")] {
        let (code, stderr) = said(&mut on_mnist(command, &format!("{listed} {option}")), &list);
        assert!(code == 2 && stderr.contains("and --image-indices both name"), "{stderr}");
    }
    assert_eq!(fs::read_to_string(&list).unwrap(), "0-3");
    let (code, stderr) = said(&mut on_mnist("embed", "--output"), &folder.path().join("x".repeat(300) + ".safetensors"));
    assert!(code == 1 && stderr.contains("cannot be written"), "{stderr}");
}

/// Endless inputs were once read without end.
#[test]
fn what_has_no_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records.jsonl");
    let endless = Path::new("/dev/zero");
    let (sweep, weights) =
        ("sweep --plan /dev/zero --records", "evaluate --dataset mnist --model c2f2 --distance cosine --weights");
    for command in [
        rankle(sweep).arg(&records),
        rankle(weights).arg(endless),
        &mut on_mnist("embed", "--output x.safetensors --image-indices @/dev/zero"),
        &mut on_mnist("evaluate", "--threads 1000000000000000000"),
    ] {
        let (code, stdout, stderr) = outcome(command);
        assert!((code == 1 || code == 2) && stdout.is_empty() && stderr.lines().count() == 1, "{stderr}");
        let parts = ["it is not a regular file", "at most 1024 threads"];
        assert!(parts.iter().any(|part| stderr.contains(part)), "{stderr}");
    }
    // A list may come through a pipe, up to a limit.
    let piped = |source: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!(r#"{source} | "$0" "$@""#), env!("CARGO_BIN_EXE_rankle")]);
        let embed = on_mnist("embed", "--image-indices @/dev/stdin --output");
        outcome(command.args(embed.get_args()).arg(folder.path().join("x.safetensors")))
    };
    let (code, stdout, stderr) = piped("echo 0-3");
    assert!(code == 0 && stdout.contains(": 4 embeddings"), "{stderr}");
    let (code, _, stderr) = piped("yes 7");
    assert!(code == 1 && stderr.contains("it holds more than 64 MiB"), "{stderr}");
}
