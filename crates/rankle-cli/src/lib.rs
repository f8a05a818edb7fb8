//! How the programs of rankle end: an exit code, and what went wrong in one line.
//!
//! 0: done; 1: a file, data or the machine stood in the way; 2: the arguments are wrong; 130: interrupted. It leaves out the
//! arguments themselves, progress, and what Ctrl-C does until then.
//!
//! ```
//! use anyhow::Context;
//! use rankle_cli::{Stop, code, line};
//!
//! let error = Err::<(), _>(Stop::interrupted("the same command goes on")).context("cell 7").unwrap_err();
//! assert_eq!((code(&error), line(&error).as_str()), (130, "error: cell 7: interrupted; the same command goes on"));
//! ```

use clap::error::ErrorKind;
use std::fmt::{self, Display};

/// Ends a program with an exit code of its own; every other error ends it with 1.
#[derive(Debug)]
pub struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    /// For what the arguments alone show to be wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// For Ctrl-C and its kin; `hint` says how to go on.
    pub fn interrupted(hint: impl Display) -> Self {
        Self { code: 130, message: format!("interrupted; {hint}") }
    }
}

impl Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}

/// The exit code of an error.
pub fn code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Stop>().map_or(1, |stop| stop.code)
}

/// The error and its causes in one line, without those that only repeat what was said.
pub fn line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(|cause| one_line(&cause.to_string())) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    format!("error: {text}")
}

/// Says what is wrong with the command line, in one line unless help was asked for, and returns the exit code.
pub fn refuse(error: &clap::Error) -> u8 {
    let help = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    if help.contains(&error.kind()) {
        // Nobody reads it: there is nobody left to tell.
        error.print().ok();
    } else {
        eprintln!("{}", complaint(error));
    }
    error.exit_code() as u8
}

/// What clap says in several lines, without its advice to read the manual.
fn complaint(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let usage = text.find("\nUsage:").or_else(|| text.find("\nFor more information")).unwrap_or(text.len());
    one_line(&text[..usage])
}

/// A text as one line. File names may hold anything: what would be a command to the terminal is written out.
pub fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn codes_and_lines_survive_added_context() {
        let wrap = |error: anyhow::Error| Err::<(), _>(error).context("cell 7").unwrap_err();
        let usage = wrap(Stop::usage("--xi is for sp-qa").into());
        assert_eq!((code(&usage), line(&usage)), (2, "error: cell 7: --xi is for sp-qa".to_owned()));
        let repeated = wrap(anyhow!("no disk").context("cannot write x: no\n  disk"));
        assert_eq!((code(&repeated), line(&repeated)), (1, "error: cell 7: cannot write x: no disk".to_owned()));
        assert_eq!(line(&anyhow!("a\x1b]0;name\x07.jpg is broken")), "error: a\\u{1b}]0;name\\u{7}.jpg is broken");
    }

    #[test]
    fn complaints_are_one_line_with_the_value_and_the_nearest() {
        let command = clap::Command::new("program").arg(clap::arg!(--device <NAME>).value_parser(["cpu", "metal"]));
        let error = command.try_get_matches_from(["program", "--device", "metall"]).unwrap_err();
        let said = complaint(&error);
        assert!(said.starts_with("error: invalid value 'metall' for '--device <NAME>' [possible values: cpu, metal]"), "{said}");
        assert!(said.ends_with("tip: a similar value exists: 'metal'") && said.lines().count() == 1, "{said}");
        assert_eq!(refuse(&error), 2);
    }
}
