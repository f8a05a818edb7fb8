//! Exit codes, and errors in one line, including interrupts of the libraries.

pub(crate) use rankle_cli::{Stop, refuse};

pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if is_interrupt(error) { 130 } else { rankle_cli::code(error) }
}

/// True if a library stopped because of an interrupt.
pub(crate) fn is_interrupt(error: &anyhow::Error) -> bool {
    let of_a_study =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref().is_some_and(rankle_eval::Error::is_interrupt);
    let of_a_library =
        |cause: &(dyn std::error::Error + 'static)| matches!(cause.downcast_ref(), Some(rankle_core::Error::Interrupted));
    error.chain().any(|cause| of_a_study(cause) || of_a_library(cause))
}

pub(crate) fn line(error: &anyhow::Error) -> String {
    if is_interrupt(error) { "error: interrupted; nothing was written".to_owned() } else { rankle_cli::line(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_library_that_was_interrupted_says_so_once() {
        let interrupted = Err::<(), _>(rankle_core::Error::Interrupted).context("cell 7").unwrap_err();
        assert_eq!((code(&interrupted), line(&interrupted)), (130, "error: interrupted; nothing was written".to_owned()));
        let usage = Err::<(), _>(Stop::usage("--xi is for sp-qa")).context("cell 7").unwrap_err();
        assert_eq!((code(&usage), line(&usage)), (2, "error: cell 7: --xi is for sp-qa".to_owned()));
    }
}
