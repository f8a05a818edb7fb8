//! Robustness against kills, full disks, closed pipes and hostile files. Slow, so behind the feature `soak`: `cargo xtask soak`
//! runs the long form, with --short the form for every change, and shows the counts.
//!
//! Whatever happens to a command, a file under its final name is whole or absent. The same command, run again, ends as if nothing
//! had happened and leaves no other files. No input from outside makes it panic.

#[cfg(target_os = "linux")]
mod faults;
mod hostile;
mod kills;
mod scenario;
#[allow(dead_code, reason = "shared with the fast tests, which use all of it")]
#[path = "../driver/support.rs"]
mod support;

/// Number of trials.
struct Size {
    /// Kills, interrupts and closed pipes at random moments, per command.
    moments: usize,
    /// Step between the tested system calls of a command.
    every: usize,
    /// Corrupted inputs of each class.
    inputs: usize,
}

macro_rules! form {
    ($form:ident, $size:expr) => {
        mod $form {
            use super::*;
            const SIZE: Size = $size;

            #[test]
            fn kills_at_random_moments() {
                kills::at_random_moments(&SIZE);
            }
            #[cfg(target_os = "linux")]
            #[test]
            fn kills_at_system_calls() {
                faults::kills(&SIZE);
            }
            #[cfg(target_os = "linux")]
            #[test]
            fn full_disks() {
                faults::errors(&SIZE);
            }
            #[test]
            fn dead_pipes() {
                kills::readers_that_go(&SIZE);
            }
            #[test]
            fn hostile_files() {
                hostile::files(&SIZE);
            }
        }
    };
}

form!(short, Size { moments: 4, every: 5, inputs: 9 });
form!(long, Size { moments: 30, every: 1, inputs: 90 });
