//! The driver `rankle`: built in release mode, then spawned. All that xtask knows of its command line is here.

use crate::files;
use crate::process::{self, Usage};
use anyhow::{Context, Result, bail};
use rankle_cli::Stop;
use serde_json::Value;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Weights that are shipped, as seen from the root of the workspace.
pub(crate) const TRAINED: &str = "models/mnist-c2f2-cosine-triplet/model.safetensors";

/// How an interrupted run goes on.
const AGAIN: &str = "the same command goes on where it was";

/// The built program.
pub(crate) struct Driver {
    program: PathBuf,
    /// Whether it ends when this process does; older ones do not know how.
    ends_with_us: bool,
}

/// The program that called us, or the one on the path.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(files::root());
    command
}

impl Driver {
    /// Builds it, or finds it built. Cargo shows its own progress.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn build() -> Result<Self> {
        let mut command = cargo();
        command.args(["build", "--release", "--package", "rankle", "--bin", "rankle"]);
        command.arg("--message-format=json-render-diagnostics");
        let (status, messages) = process::run_capturing(&mut command, "nothing was computed yet")?;
        if !status.success() {
            bail!("the driver does not build: see the messages of cargo above");
        }
        let program = messages.lines().find_map(executable).context("cargo built the driver, but did not say where it is")?;
        Ok(Self { program, ends_with_us: true })
    }

    /// A program that was built before, and its version.
    ///
    /// # Errors
    /// When it is no driver.
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

    /// The hash of the program, which tells builds apart.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn sha256(&self) -> Result<String> {
        files::sha256(&self.program)
    }

    /// Runs a sub-command that answers on our standard output.
    ///
    /// # Errors
    /// When it fails; it said why on standard error.
    pub(crate) fn say(&self, name: &str, words: &[OsString], base: &Path) -> Result<()> {
        ended(name, process::run(self.command(name).current_dir(base).args(words), AGAIN)?)
    }

    /// Runs a sub-command, and returns its answer.
    ///
    /// # Errors
    /// As [`Driver::say`].
    pub(crate) fn ask(&self, name: &str, words: &[OsString], base: &Path) -> Result<String> {
        let (status, answer) = process::run_capturing(self.command(name).current_dir(base).args(words), AGAIN)?;
        ended(name, status).map(|()| answer)
    }

    /// A whole command with its arguments, separated by blanks: what it prints, and what it uses up.
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

    /// A sub-command, run in the root of the workspace.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(files::root()).arg(name);
        if self.ends_with_us {
            command.arg("--parent").arg(std::process::id().to_string());
        }
        command
    }
}

/// How a command of the driver ended that did not do its work.
#[derive(Debug)]
pub(crate) struct Failed {
    command: String,
    status: ExitStatus,
    /// The last line that it said.
    pub(crate) reason: String,
}

impl Failed {
    /// Whether its arguments were wrong: of an older driver, whether it lacks what was asked for.
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

/// How a sub-command ended whose output the user has seen.
fn ended(name: &str, status: ExitStatus) -> Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(2) => Err(Stop::usage(format!("`rankle {name}` takes no such arguments: its reason stands above")).into()),
        _ => bail!("`rankle {name}` failed ({status}): its reason stands above"),
    }
}

/// The path in one of cargo's messages, if that is the one about the driver.
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
