//! The program `rankle`. Everything is in the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(rankle::run(std::env::args_os()))
}
