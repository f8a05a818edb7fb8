//! The driver `rankle`, built by cargo and run as a process. All that xtask knows of its command line is here.

use crate::files;
use crate::process::{self, Usage};
use anyhow::{Context, Result, bail};
use rankle_cli::Stop;
use serde_json::Value;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Shipped weights, relative to the root of the workspace.
pub(crate) const TRAINED: &str = "models/mnist-c2f2-cosine-triplet/model.safetensors";

/// Hint after an interrupt.
const AGAIN: &str = "the same command goes on where it was";

pub(crate) struct Driver {
    program: PathBuf,
    /// True if the program ends with this process; older builds have no option for that.
    ends_with_us: bool,
}

/// The cargo that called this program, or the one on the path.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(files::root());
    command
}

impl Driver {
    /// Builds the driver if need be, in the profile of this program: `cargo xtask` is a release, `cargo run --bin xtask` shares what
    /// the tests have compiled. No result depends on it. Cargo shows its own progress.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn build() -> Result<Self> {
        Self::build_as(if cfg!(debug_assertions) { "dev" } else { "release" })
    }

    /// Builds the driver as users have it, for timing.
    ///
    /// # Errors
    /// As [`Driver::build`].
    pub(crate) fn release() -> Result<Self> {
        Self::build_as("release")
    }

    /// Builds the driver with names and line numbers, for profilers.
    ///
    /// # Errors
    /// As [`Driver::build`].
    pub(crate) fn profiling() -> Result<Self> {
        Self::build_as("profiling")
    }

    fn build_as(profile: &str) -> Result<Self> {
        let mut command = cargo();
        // No --package: see .cargo/config.toml.
        command.args(["build", "--profile", profile, "--bin", "rankle"]);
        command.arg("--message-format=json-render-diagnostics");
        let (status, messages) = process::run_capturing(&mut command, "nothing was computed yet")?;
        if !status.success() {
            bail!("the driver does not build: see the messages of cargo above");
        }
        let program = messages.lines().find_map(executable).context("cargo built the driver, but did not say where it is")?;
        Ok(Self { program, ends_with_us: true })
    }

    /// An older build, and its version.
    ///
    /// # Errors
    /// When the program is no driver.
    pub(crate) fn older(program: &Path) -> Result<(Self, String)> {
        let program = std::path::absolute(program).with_context(|| format!("{} is not a path", program.display()))?;
        let mut command = Command::new(&program);
        let (status, output, ..) = process::run_hearing(command.arg("--version"), "nothing was computed yet")?;
        match output.trim().strip_prefix("rankle ") {
            Some(version) if status.success() && !version.contains(char::is_whitespace) => {
                let version = version.to_owned();
                Ok((Self { program, ends_with_us: false }, version))
            }
            _ => bail!("{} is no driver: asked for its --version, `rankle` says its name and a number", program.display()),
        }
    }

    /// Path of the program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// SHA-256 of the program, which tells builds apart.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn sha256(&self) -> Result<String> {
        files::sha256(&self.program)
    }

    /// Runs a sub-command that writes to this process's standard output.
    ///
    /// # Errors
    /// When the sub-command fails; it has written the reason to standard error.
    pub(crate) fn say(&self, name: &str, words: &[OsString], base: &Path) -> Result<()> {
        ended(name, process::run(self.command(name).current_dir(base).args(words), AGAIN)?)
    }

    /// Runs a sub-command and returns its standard output.
    ///
    /// # Errors
    /// As [`Driver::say`].
    pub(crate) fn ask(&self, name: &str, words: &[OsString], base: &Path) -> Result<String> {
        let (status, answer) = process::run_capturing(self.command(name).current_dir(base).args(words), AGAIN)?;
        ended(name, status).map(|()| answer)
    }

    /// Runs a sub-command, given as words separated by blanks; returns its standard output and its use of resources.
    ///
    /// # Errors
    /// [`Failed`] when the driver fails.
    pub(crate) fn measure(&self, line: &str, threads: usize) -> Result<(String, Usage)> {
        let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let mut command = self.command(name);
        command.args(["--threads", &threads.to_string()]).args(arguments.split_whitespace());
        let (status, output, said, usage) = process::run_hearing(&mut command, "nothing more was written")?;
        if !status.success() {
            let reason = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            return Err(Failed { command: name.to_owned(), status, reason }.into());
        }
        Ok((output, usage))
    }

    /// A sub-command in the root of the workspace.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(files::root()).arg(name);
        if self.ends_with_us {
            command.arg("--parent").arg(std::process::id().to_string());
        }
        command
    }
}

/// Failure of a sub-command.
#[derive(Debug)]
pub(crate) struct Failed {
    command: String,
    status: ExitStatus,
    /// Last line on its standard error.
    pub(crate) reason: String,
}

impl Failed {
    /// True if the arguments were wrong; an older driver then lacks a feature.
    pub(crate) fn is_usage(&self) -> bool {
        self.status.code() == Some(2)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, status, reason } = self;
        let colon = if reason.is_empty() { "" } else { ": " };
        write!(f, "`rankle {command}` failed ({status}){colon}{reason}")
    }
}

impl std::error::Error for Failed {}

/// Turns the exit status of a sub-command into a result; the user has seen its messages.
fn ended(name: &str, status: ExitStatus) -> Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(2) => Err(Stop::usage(format!("`rankle {name}` takes no such arguments: the reason stands above")).into()),
        _ => bail!("`rankle {name}` failed ({status}): the reason stands above"),
    }
}

/// Path of the driver, if this message of cargo names it.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == "rankle";
    if ours { message["executable"].as_str().map(PathBuf::from) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages_of_cargo() {
        let other = r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}"#;
        let library = r#"{"reason":"compiler-artifact","target":{"name":"rankle"},"executable":null}"#;
        let ours = r#"{"reason":"compiler-artifact","target":{"name":"rankle"},"executable":"/t/release/rankle"}"#;
        let found: Vec<_> = [other, "not JSON", library, ours].into_iter().filter_map(executable).collect();
        assert_eq!(found, [PathBuf::from("/t/release/rankle")]);
    }

    #[cfg(unix)]
    #[test]
    fn the_exit_code_of_the_driver_is_handed_on() {
        let code = |script: &str| {
            let status = Command::new("sh").args(["-c", script]).status().unwrap();
            ended("run", status).map_or_else(|error| rankle_cli::code(&error), |()| 0)
        };
        assert_eq!(["exit 0", "exit 1", "exit 2", "kill -9 $$"].map(code), [0, 1, 2, 1]);
    }
}
