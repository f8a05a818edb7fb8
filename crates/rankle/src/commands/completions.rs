//! `rankle completions`: completion scripts of shells.

use crate::arguments::Arguments;
use crate::progress;
use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print the script that completes rankle's commands and options in a shell.
#[derive(Args)]
#[command(after_help = "Example:\n  rankle completions bash > ~/.local/share/bash-completion/completions/rankle")]
pub(crate) struct Completions {
    /// Shell that the script is for
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "rankle", &mut script);
        progress::answer(String::from_utf8(script)?.trim_end())
    }
}
