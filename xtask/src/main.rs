//! `cargo xtask`: the published tables, checks, downloads and benchmarks of rankle.
//!
//! This program links no tensor library, so it starts at once. Work on tensors is done by the driver `rankle`, which it builds
//! and runs as a process.

mod bench;
mod check_device;
mod driver;
mod fetch;
mod files;
mod plans;
mod process;
mod reproduce;
mod soak;
mod spread;
mod synth;
mod test;
mod verify;

use clap::{Parser, Subcommand};
use rankle_cli::say;
use std::process::ExitCode;

/// Reproduce the published tables, test the code, fetch data, measure speed.
///
/// Exit codes: 0 done; 1 a file, the data or the machine caused an error, or a record disagrees; 2 the arguments are wrong; 130
/// interrupted.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Reproduce(reproduce::Reproduce),
    Spread(spread::Spread),
    Test(test::Test),
    CheckDevice(check_device::CheckDevice),
    Soak(soak::Soak),
    Fetch(fetch::Fetch),
    Bench(bench::Bench),
    Synth(synth::Synth),
    Verify(verify::Verify),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return ExitCode::from(rankle_cli::refuse(&error)),
    };
    let outcome = process::watch_for_interrupts().and_then(|()| match arguments.command {
        Command::Reproduce(command) => command.run(),
        Command::Spread(command) => command.run(),
        Command::Test(command) => command.run(),
        Command::CheckDevice(command) => command.run(),
        Command::Soak(command) => command.run(),
        Command::Fetch(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Synth(command) => command.run(),
        Command::Verify(command) => command.run(),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(rankle_cli::line(&error));
            ExitCode::from(rankle_cli::code(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        for (line, wrong, nearest) in [
            (["cargo xtask", "reproduce", "mnst"], "'mnst'", "'mnist'"),
            (["cargo xtask", "fetch", "fashion-mnst"], "'fashion-mnst'", "'fashion-mnist'"),
            (["cargo xtask", "reproduc", "mnist"], "'reproduc'", "'reproduce'"),
        ] {
            let Err(error) = Arguments::try_parse_from(line) else { panic!("{wrong} was taken") };
            let text = error.to_string();
            assert!(text.contains(wrong) && text.contains(nearest), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn wrong_numbers_and_contradictions_are_refused() {
        for line in [
            "reproduce --images 0",
            "reproduce --images 10001",
            "reproduce --threads 0",
            "reproduce --seed -1",
            "reproduce --full --quick",
            "reproduce --full --images 5",
            "reproduce --quick --retrain",
            "reproduce --train-seed 1",
            "reproduce mnist curve-of-something",
            "spread",
            "fetch imagenet",
            "fetch sop --from a --url b",
            "bench --rounds 0",
            "bench --against rankle --against-pytorch",
            "bench --against rankle --markdown",
            "synth cub",
            "synth sop --products 3",
            "synth sop --views 1",
            "synth inshop --products 3",
            "verify --sample 0",
            "test --emulate z80",
            "test --emulate aarch64 --slow",
        ] {
            let Err(error) = Arguments::try_parse_from(["cargo xtask"].into_iter().chain(line.split(' '))) else {
                panic!("{line} was taken")
            };
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
