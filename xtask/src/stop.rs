//! The exit code of an error.

use std::fmt;

/// Ctrl-C or its kin: ends the program with 130; every other error ends it with 1.
#[derive(Debug)]
pub(crate) struct Interrupted {
    /// How to go on.
    pub(crate) hint: String,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted; {}", self.hint)
    }
}

impl std::error::Error for Interrupted {}

/// The exit code of an error.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Interrupted>() { 130 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn the_code_survives_added_context() {
        let stopped = anyhow::Error::new(Interrupted { hint: "run it again".into() }).context("while sweeping");
        assert_eq!((code(&stopped), format!("{stopped:#}")), (130, "while sweeping: interrupted; run it again".into()));
        let other: anyhow::Result<()> = Err(anyhow!("no such file")).context("reading");
        assert_eq!(code(&other.unwrap_err()), 1);
    }
}
