//! `cargo xtask spread`: `rankle spread`, built when it is needed.

use crate::driver::Driver;
use anyhow::Result;
use clap::Args;
use std::ffi::OsString;

/// Compare models that were trained with different seeds, cell by cell, with the published table: as `rankle spread`.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Spread {
    /// The arguments of `rankle spread`, as in mnist-ct RECORDS.jsonl RECORDS.jsonl
    #[arg(value_name = "ARGUMENT", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Spread {
    pub(crate) fn run(self) -> Result<()> {
        // The files are named as seen from where the user is.
        Driver::build()?.say("spread", &self.words, ".".as_ref())
    }
}
