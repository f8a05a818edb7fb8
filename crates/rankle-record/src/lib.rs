//! Attack specs, plans and records of attacks on image rankings, as plain data.
//!
//! An [`AttackSpec`] is an attack with all its choices. A [`Cell`] is a spec with the [`Subject`] under attack: one line of a
//! plan. A [`Record`] is a cell with its other inputs, the [`Facts`], and the outcome: one flat line of JSON in a [`Journal`]. An
//! [`Estimate`] is a sample mean with its standard error. Ranks, recalls and shares are in percent; epsilon and steps are in
//! pixel units, `[0, 1]`.
//!
//! Left out: tensors and searches (`rankle-attacks`), plans (`rankle-eval`), tables and pictures (`rankle-report`), the command
//! line.
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_files`](../rankle_files/index.html),
//! [`rankle_registry`](../rankle_registry/index.html), [`rankle_attacks`](../rankle_attacks/index.html),
//! [`rankle_eval`](../rankle_eval/index.html), [`rankle_report`](../rankle_report/index.html).
//!
//! ```
//! use rankle_record::{AttackId, AttackOptions, AttackSpec, Protocol};
//!
//! let spec = AttackSpec::new(AttackId::CA_PLUS, 0.3, Protocol::Paper, 0);
//! assert_eq!(spec.check(), Ok(()));
//! let weighted = AttackSpec { options: AttackOptions { xi: Some(1.0), ..spec.options }, ..spec };
//! assert!(weighted.check().unwrap_err().ends_with("; ca+ has no such items"));
//! ```

mod attack;
mod cell;
mod change;
mod claims;
mod columns;
mod convert;
mod epsilon;
mod error;
mod estimate;
pub mod finite;
mod journal;
mod lock;
mod options;
mod probes;
mod provenance;
mod record;
pub mod sample;
pub mod schema;
mod spec;
mod subject;

pub use attack::{AttackId, Declaration, Direction};
pub use cell::{Cell, Facts, RunSetting, Source};
pub use change::Change;
pub use claims::{Claim, Claims};
pub use columns::Columns;
pub use convert::convert;
pub use epsilon::Epsilon;
pub use error::{Error, Result};
pub use estimate::Estimate;
pub use journal::{Follower, Journal, Reading, TornLine};
pub use lock::FolderLock;
pub use options::{Norm, ObjectiveKind, Protocol, SearchKind, TargetPool};
pub use probes::ProbeDistances;
pub use provenance::Provenance;
pub use record::{FORMAT, Format, PartOutcome, Record, Unseen, WhiteBox};
pub use spec::{AttackOptions, AttackSpec, Search, SharedBy};
pub use subject::{Subject, data_in_words};

/// Finds the item of `all` called `name`.
fn named<T: Copy + std::fmt::Display>(what: &'static str, name: &str, all: &[T]) -> Result<T> {
    let unknown = |known| Error::Unknown { what, name: name.into(), known };
    rankle_registry::named(name, all.iter().copied()).map_err(unknown)
}
