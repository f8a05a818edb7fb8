//! What a run leaves behind: one record per table cell, the tables and curves made from records, and pictures of single attacks.
//!
//! This crate owns the published numbers, the ranks of single images beside records ([`ImageRanks`]), and renders records, whose
//! format is that of `rankle-record`. It knows no tensor, no
//! model and no command line: numbers come in, text and pictures go out. Everything here is in percent
//! where a rank, a recall or a share is meant; epsilon is in pixel units and an embedding shift in units of the distance.
//!
//! ```
//! use rankle_report::{AttackId, Comparison, Journal, Protocol, RunSetting, published, terminal};
//!
//! // The published tables are data with a source ...
//! let table = published::table("mnist-ct").unwrap();
//! assert_eq!(table.rank(AttackId::CA_PLUS, 1, 0.3), Some(2.1));
//!
//! // ... and a folder without records is an empty table, not an error.
//! let folder = tempfile::tempdir()?;
//! let records = Journal::at(folder.path().join("records.jsonl")).read()?.records;
//! let setting = RunSetting { protocol: Protocol::Paper, eight_bit: false, images: 1000, seed: 0 };
//! let comparison = Comparison::new(table, &setting, &records, None);
//! assert_eq!(comparison.rows.len(), 80);
//! assert!(terminal::render(&comparison).contains("0 of 80 cells"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod canvas;
mod comparison;
pub mod curves;
mod grid;
mod image_ranks;
mod json;
pub mod markdown;
pub mod picture;
pub mod published;
pub mod sanity;
pub mod spread;
pub mod spreadsheet;
mod system;
pub mod terminal;

pub use comparison::{Comparison, NOTEWORTHY, NOTEWORTHY_ERRORS, Row, Summary};
pub use grid::Grid;
pub use image_ranks::{ImageRanks, RankKeeper};
pub use json::joined;
pub use published::{PublishedCell, PublishedTable};
pub use rankle_record::{
    AttackId, AttackOptions, AttackSpec, Cell, Change, Claim, Claims, Direction, Error, Estimate, Facts, FolderLock, Follower,
    Journal, Norm, ObjectiveKind, Protocol, Provenance, Reading, Record, Result, RunSetting, Search, SharedBy, Source, Subject,
    TargetPool, Torn, Unseen, WhiteBox, sample,
};
pub use sanity::Sanity;
pub use spread::SeedSpread;
pub use system::System;

#[cfg(test)]
mod synthetic;
