//! The program `rankle`: one call of the library's `run`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(rankle::run(std::env::args_os()))
}
