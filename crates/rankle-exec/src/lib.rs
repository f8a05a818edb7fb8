//! Models that are programs: any executable that answers `describe`, `embed` and, if it can, `gradient` over its standard input and
//! output is an [`Embedder`](rankle_core::Embedder).
//!
//! [PROTOCOL.md](protocol/index.html) is the whole protocol. A program that answers `gradient` is a white box; one that does not is
//! a black box. Several copies run at the same time; what each gets depends on the images alone, so no result depends on their
//! number. [`probe_distances`] tell two models apart where no file does.
//!
//! Left out: names on a command line, and whether a command may run (`rankle`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_core`](../rankle_core/index.html),
//! [`rankle`](../rankle/index.html).
//!
//! ```
//! use rankle_exec::{Program, Settings};
//! use std::time::Duration;
//!
//! let settings = Settings { timeout: Duration::from_secs(9), processes: 1, interrupted: || false };
//! let error = Program::start("no-such-program --model 7", settings).unwrap_err().to_string();
//! assert!(error.starts_with("exec:no-such-program --model 7 cannot be started ("));
//! ```

mod child;
mod command;
mod description;
mod frame;
mod pool;
mod probe;
mod program;
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../PROTOCOL.md")]
pub mod protocol {}
mod stderr;

pub use description::Description;
pub use probe::{PROBES, probe_distances, probe_images};
pub use program::{Program, ProgramModel, Settings};
