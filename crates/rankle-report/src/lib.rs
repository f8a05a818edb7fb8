//! What a run leaves behind: one record per table cell, the tables and curves made from records, and pictures of single attacks.
//!
//! This crate owns the format of the records, the file they are kept in, the locks around it, and the published numbers. It
//! knows no tensor, no model and no command line: numbers come in, text and pictures go out. Everything here is in percent
//! where a rank, a recall or a share is meant; epsilon is in pixel units and an embedding shift in units of the distance.
//!
//! ```
//! use rankle_report::{Attack, Comparison, Journal, Setting, published, terminal};
//!
//! // The published tables are data with a source ...
//! let table = published::table("mnist-ct").unwrap();
//! assert_eq!(table.rank(Attack::CandidateRaise, 1, 0.3), Some(2.1));
//!
//! // ... and a folder without records is an empty table, not an error.
//! let folder = tempfile::tempdir()?;
//! let records = Journal::at(folder.path().join("records.jsonl")).read()?.records;
//! let setting = Setting { protocol: "paper".into(), eight_bit: false, images: 1000, seed: 0 };
//! let comparison = Comparison::new(table, &setting, &records, None);
//! assert_eq!(comparison.rows.len(), 80);
//! assert!(terminal::render(&comparison).contains("0 of 80 cells"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attack;
mod canvas;
mod cell;
mod claims;
mod comparison;
pub mod curves;
mod error;
mod finite;
mod grid;
mod journal;
mod json;
mod lock;
pub mod markdown;
pub mod picture;
mod plan;
pub mod published;
mod record;
pub mod sanity;
pub mod spread;
pub mod spreadsheet;
mod system;
pub mod terminal;

pub use attack::Attack;
pub use cell::{Cell, Source, Universal};
pub use claims::{Claim, Claims};
pub use comparison::{Comparison, NOTEWORTHY, NOTEWORTHY_ERRORS, Row, Summary};
pub use error::{Error, Result};
pub use grid::Grid;
pub use journal::{Follower, Journal, Reading, Torn};
pub use json::joined;
pub use lock::FolderLock;
pub use plan::{Planned, Setting};
pub use record::{Record, Unseen, WhiteBox};
pub use sanity::Sanity;
pub use system::System;

#[cfg(test)]
mod synthetic;
