//! Exit codes, and errors in one line.

use clap::error::ErrorKind;
use std::fmt;

/// Ends the program with an exit code of its own; every other error ends it with 1.
#[derive(Debug)]
pub(crate) struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    /// For what the arguments alone show to be wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// For Ctrl-C and its kin; `hint` says how to go on.
    pub(crate) fn interrupted(hint: impl fmt::Display) -> Self {
        Self { code: 130, message: format!("interrupted; {hint}") }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}

/// The exit code of an error.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Stop>() {
        Some(stop) => stop.code,
        None if is_interrupt(error) => 130,
        None => 1,
    }
}

/// Whether a library stopped because it was asked to.
pub(crate) fn is_interrupt(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(rankle_core::Error::Interrupted)))
}

/// The error and its causes in one line, without those that only repeat what was said.
pub(crate) fn line(error: &anyhow::Error) -> String {
    if is_interrupt(error) {
        return "error: interrupted; nothing was written".to_owned();
    }
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
pub(crate) fn refuse(error: &clap::Error) -> u8 {
    let help = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    if help.contains(&error.kind()) {
        // Nobody reads it: there is nobody left to tell.
        error.print().ok();
    } else {
        let text = error.render().to_string();
        let usage = text.find("\nUsage:").or_else(|| text.find("\nFor more information")).unwrap_or(text.len());
        eprintln!("{}", one_line(&text[..usage]));
    }
    error.exit_code() as u8
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
        let interrupted = wrap(rankle_core::Error::Interrupted.into());
        assert_eq!((code(&interrupted), line(&interrupted)), (130, "error: interrupted; nothing was written".to_owned()));
        let repeated = wrap(anyhow!("no disk").context("cannot write x: no\n  disk"));
        assert_eq!((code(&repeated), line(&repeated)), (1, "error: cell 7: cannot write x: no disk".to_owned()));
    }
}
