//! `cargo xtask test`: the checks that a change must pass.

mod emulate;
mod sanitize;

use crate::driver::cargo;
use crate::soak::SOAK;
use crate::{check_device, process};
use anyhow::{Context, Result, bail};
use clap::Args;
use rankle_cli::{answer, say};
use serde_json::Value;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Check formatting, clippy and documentation, and run all fast tests and doctests, including those of the example program
/// outside of the workspace (crates/rankle/examples/own-model); stop at the first failure.
///
/// Tests run under cargo-nextest if it is installed. Slow tests are targets behind a cargo feature `slow-tests`
/// (`[[test]] required-features = ["slow-tests"]`): always linted, run with --slow. The tests of `cargo xtask soak` are
/// linted as well.
#[derive(Args)]
pub(crate) struct Test {
    /// Also run the slow tests, the tests of the kernels under AddressSanitizer if the compiler has it, and `check-device`
    #[arg(long)]
    slow: bool,
    /// Run only the tests of the kernels, compiled for another processor, under QEMU. Needs a Rust library for that processor, a
    /// linker and the emulator; names the packages that have them if they are missing
    #[arg(long, value_name = "PROCESSOR", conflicts_with = "slow")]
    emulate: Option<emulate::Processor>,
}

/// A program with its own model, outside of the workspace.
const OUTSIDE: &str = "crates/rankle/examples/own-model/Cargo.toml";
const FORMATTING: &str = "fmt --all --check";
const CLIPPY: &str = "clippy --workspace --all-targets";

/// A call of cargo.
#[derive(Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) title: &'static str,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, OsString)>,
}

impl Step {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When cargo fails; it has written the reason to standard error.
    pub(crate) fn run(&self) -> Result<()> {
        say(format_args!("── {} · cargo {}", self.title, self.arguments.join(" ")));
        let mut command = cargo();
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        let status = process::run(&mut command, "no verdict")?;
        if !status.success() {
            bail!("{} failed: `cargo {}` ended with {status}", self.title, self.arguments.join(" "));
        }
        Ok(())
    }
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        let mut left_out = String::new();
        let mut steps = match self.emulate {
            Some(processor) => processor.steps()?,
            None => steps(&slow_features()?, nextest(), self.slow),
        };
        if self.slow {
            match sanitize::step() {
                Ok(step) => steps.push(step),
                Err(reason) => left_out.push_str(&format!("; left out: kernels under AddressSanitizer, for {reason}")),
            }
        }
        for step in &steps {
            step.run()?;
        }
        if self.slow {
            // Its crates may have to be downloaded.
            let (of_devices, without) = check_device::steps()?;
            of_devices.iter().try_for_each(Step::run)?;
            steps.extend(of_devices);
            left_out.extend(without.map(|reason| format!("; {reason}")));
        }
        let titles: Vec<&str> = steps.iter().map(|step| step.title).collect();
        answer(format_args!("cargo xtask test: {} all passed in {} s{left_out}", titles.join(", "), start.elapsed().as_secs()))?;
        Ok(())
    }
}

/// Calls of cargo for all checks. `slow` are the features that enable slow tests, as in `rankle-train/slow-tests`.
fn steps(slow: &[String], nextest: bool, run_slow: bool) -> Vec<Step> {
    let step = |title, line: &str, with_slow: bool, rest: &[&str]| {
        let mut arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if line != FORMATTING {
            let slow = slow.iter().filter(|_| with_slow).map(String::as_str);
            let soak = (line == CLIPPY).then_some(SOAK);
            let features: Vec<&str> = slow.chain(soak).collect();
            if !features.is_empty() {
                arguments.extend(["--features".to_owned(), features.join(",")]);
            }
        }
        arguments.extend(rest.iter().map(|&word| word.to_owned()));
        Step { title, arguments, environment: Vec::new() }
    };
    let tests = if nextest { "nextest run --workspace" } else { "test --workspace --lib --bins --tests" };
    vec![
        step("formatting", FORMATTING, false, &[]),
        step("clippy", CLIPPY, true, &["--", "-D", "warnings"]),
        Step {
            environment: vec![("RUSTDOCFLAGS".into(), "-D warnings".into())],
            ..step("docs", "doc --workspace --no-deps", false, &[])
        },
        step("doctests", "test --workspace --doc", false, &[]),
        step("tests", tests, run_slow, &[]),
        Step {
            arguments: format!("fmt --check --manifest-path {OUTSIDE}").split(' ').map(str::to_owned).collect(),
            ..step("formatting outside", FORMATTING, false, &[])
        },
        outside("clippy outside", "clippy", &["--all-targets", "--", "-D", "warnings"]),
        outside("tests outside", "test", &[]),
    ]
}

/// A call of cargo on the program outside of the workspace. It shares the target folder, so that common dependencies are compiled
/// once if their features agree.
fn outside(title: &'static str, verb: &str, rest: &[&str]) -> Step {
    let words = [&[verb, "--manifest-path", OUTSIDE, "--target-dir", "target"], rest].concat();
    Step { title, arguments: words.into_iter().map(str::to_owned).collect(), environment: Vec::new() }
}

fn nextest() -> bool {
    let output = cargo().args(["nextest", "--version"]).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

/// The compiler that cargo uses.
pub(crate) fn rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

/// Standard output of a program, without the last line break; `None` if the program does not exist or fails.
pub(crate) fn heard(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned())
}

fn slow_features() -> Result<Vec<String>> {
    let mut command = cargo();
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let (status, output) = process::run_capturing(&mut command, "no verdict")?;
    if !status.success() {
        bail!("`cargo metadata` failed: see its message above");
    }
    let metadata: Value = serde_json::from_str(&output).context("`cargo metadata` printed no JSON")?;
    Ok(packages_with_slow_tests(&metadata))
}

fn packages_with_slow_tests(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let slow = packages.filter(|package| package["features"].get("slow-tests").is_some());
    slow.filter_map(|package| Some(format!("{}/slow-tests", package["name"].as_str()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(slow: &[&str], nextest: bool, run_slow: bool) -> Vec<String> {
        let slow: Vec<String> = slow.iter().map(|&feature| feature.to_owned()).collect();
        steps(&slow, nextest, run_slow).iter().map(|step| step.arguments.join(" ")).collect()
    }

    #[test]
    fn without_slow_tests_those_of_soak_alone_are_linted() {
        assert_eq!(
            lines(&[], true, true),
            [
                "fmt --all --check",
                "clippy --workspace --all-targets --features rankle/soak -- -D warnings",
                "doc --workspace --no-deps",
                "test --workspace --doc",
                "nextest run --workspace",
                "fmt --check --manifest-path crates/rankle/examples/own-model/Cargo.toml",
                "clippy --manifest-path crates/rankle/examples/own-model/Cargo.toml --target-dir target --all-targets -- -D warnings",
                "test --manifest-path crates/rankle/examples/own-model/Cargo.toml --target-dir target",
            ]
        );
    }

    #[test]
    fn slow_tests_are_always_linted_and_run_on_demand() {
        let slow = ["a/slow-tests", "b/slow-tests"];
        let features = "a/slow-tests,b/slow-tests";
        let fast = lines(&slow, false, false);
        assert_eq!(fast[1], format!("clippy --workspace --all-targets --features {features},rankle/soak -- -D warnings"));
        assert_eq!(fast[4], "test --workspace --lib --bins --tests");
        assert_eq!(lines(&slow, true, true)[4], format!("nextest run --workspace --features {features}"));
        assert_eq!(steps(&[], true, false)[2].environment, [("RUSTDOCFLAGS".into(), "-D warnings".into())]);
    }

    #[test]
    fn a_program_that_is_not_there_has_no_answer() {
        assert_eq!(heard(&mut Command::new("no-such-program")), None);
        assert_eq!(heard(Command::new("rustc").args(["--print", "no-such-thing"])), None);
        assert!(heard(Command::new("rustc").arg("--version")).is_some_and(|line| line.starts_with("rustc ")));
    }

    #[test]
    fn slow_tests_are_found_by_their_feature() {
        let metadata = serde_json::json!({"packages": [
            {"name": "rankle-core", "features": {"cuda": []}},
            {"name": "rankle-train", "features": {"slow-tests": [], "cuda": []}},
        ]});
        assert_eq!(packages_with_slow_tests(&metadata), ["rankle-train/slow-tests"]);
    }
}
