//! What an attack is and what came of it, as plain data.
//!
//! An [`AttackSpec`] says what is done to an image; the command line is parsed into one, plans list it, records keep it. A
//! [`Cell`] is a spec with the [`Subject`] that is attacked: a line of a plan. A [`Record`] is a cell with the [`Facts`] that
//! decide its outcome, and the outcome: one line of JSON, flat, kept in a [`Journal`] that any number of processes may share. An
//! [`Estimate`] is what a sample says about its mean.
//!
//! Ranks, recalls and shares are in percent; epsilon and steps are in pixel units, `[0, 1]`.
//!
//! Left out: this crate knows no tensor, no model, no command line and no table.
//!
//! ```
//! use rankle_record::{AttackId, AttackOptions, AttackSpec, Protocol};
//!
//! let spec = AttackSpec::new(AttackId::CA_PLUS, 0.3, Protocol::Paper, 0);
//! assert_eq!(spec.check(), Ok(()));
//! let weighted = AttackSpec { options: AttackOptions { xi: Some(1.0), ..spec.options }, ..spec };
//! assert!(weighted.check().unwrap_err().ends_with("; ca+ keeps none"));
//! ```

mod attack;
mod cell;
mod change;
mod claims;
mod columns;
mod convert;
mod error;
mod estimate;
pub mod finite;
mod journal;
mod lock;
mod options;
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
pub use error::{Error, Result};
pub use estimate::Estimate;
pub use journal::{Follower, Journal, Reading, Torn};
pub use lock::FolderLock;
pub use options::{Norm, ObjectiveKind, Protocol, TargetPool};
pub use provenance::Provenance;
pub use record::{FORMAT, Format, Record, Unseen, WhiteBox};
pub use spec::{AttackOptions, AttackSpec, Search, SharedBy};
pub use subject::{Subject, data_in_words};

/// The one of that name.
fn named<T: Copy + std::fmt::Display>(what: &'static str, name: &str, all: &[T]) -> Result<T> {
    let unknown = |known| Error::Unknown { what, name: name.into(), known };
    rankle_registry::named(name, all.iter().copied()).map_err(unknown)
}
