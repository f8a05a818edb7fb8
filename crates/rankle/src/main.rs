//! The program `rankle`. Everything is in the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The pool shares images out to threads, so a product within one image needs no threads of its own. Unless candle is told so,
    // it reads /proc/cpuinfo for each of the thousands of products of a foreign network, which takes longer than the products.
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", "1") };
    ExitCode::from(rankle::run(std::env::args_os()))
}
