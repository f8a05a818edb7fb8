//! `rankle man`: manual pages.

use crate::arguments::Arguments;
use crate::{files, progress};
use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;
use std::path::PathBuf;

/// Write manual pages: rankle.1, and one for every command.
#[derive(Args)]
#[command(after_help = "Example:\n  rankle man --output ~/.local/share/man/man1 && man rankle-attack")]
pub(crate) struct Man {
    /// Folder for the pages; created if it does not exist
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> Result<()> {
        let folder = &self.output;
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let mut program = Arguments::command().disable_help_subcommand(true);
        program.build();
        let commands: Vec<clap::Command> = program.get_subcommands().cloned().collect();
        let count = 1 + commands.len();
        for command in std::iter::once(program).chain(commands) {
            let name = format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()));
            let mut page = Vec::new();
            Page::new(command).render(&mut page).with_context(|| format!("{name} cannot be rendered"))?;
            files::write(&folder.join(name), page)?;
        }
        progress::answer(format!("{count} pages are in {}", folder.display()))
    }
}
