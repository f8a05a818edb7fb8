//! Errors that choose their exit code.

use std::fmt;

/// Ends the program with a code of its own; every other error ends it with 1.
#[derive(Debug)]
pub(crate) struct Stop {
    /// The exit code.
    pub(crate) code: u8,
    /// What to tell the user.
    pub(crate) message: String,
}

impl Stop {
    /// Ctrl-C or its kin. `hint` says how to go on.
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
    error.downcast_ref::<Stop>().map_or(1, |stop| stop.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn the_code_survives_added_context() {
        let stopped = anyhow::Error::new(Stop::interrupted("run it again")).context("while sweeping");
        assert_eq!((code(&stopped), format!("{stopped:#}")), (130, "while sweeping: interrupted; run it again".into()));
        let other: anyhow::Result<()> = Err(anyhow!("no such file")).context("reading");
        assert_eq!(code(&other.unwrap_err()), 1);
    }
}
