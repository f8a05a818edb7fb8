//! What killing, starving and lying to the program leaves behind. Slow, so it is behind the feature `soak`: `cargo xtask soak` runs
//! the long form, with --short the one of every change, and shows what was counted.
//!
//! Whatever happens to a command, a file under its final name is whole or not there; the same command then ends as if nothing had
//! been, and leaves nothing else behind. What comes from outside never panics it.

#[cfg(target_os = "linux")]
mod faults;
mod hostile;
mod kills;
mod scenario;
#[allow(dead_code, reason = "shared with the fast tests, which use all of it")]
#[path = "../driver/support.rs"]
mod support;

/// How much is tried.
struct Size {
    /// Kills and interrupts at a random moment, and readers that go at one, per command.
    moments: usize,
    /// Of the system calls of a command only one in so many.
    every: usize,
    /// Spoiled inputs of each class.
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
