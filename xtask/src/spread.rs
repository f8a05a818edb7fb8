//! `cargo xtask spread`: runs `rankle spread`, and builds it if need be.

use crate::driver::Driver;
use anyhow::Result;
use clap::Args;
use std::ffi::OsString;

/// Compare models trained with different seeds, cell by cell, with the published table: as `rankle spread`.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Spread {
    /// Arguments of `rankle spread`, as in mnist-ct RECORDS.jsonl RECORDS.jsonl
    #[arg(value_name = "ARGUMENT", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Spread {
    pub(crate) fn run(self) -> Result<()> {
        // Paths of the user are relative to the user's working directory.
        Driver::build()?.say("spread", &self.words, ".".as_ref())
    }
}
