//! Tables, curves and pictures made from the records of attacks.
//!
//! The crate holds the published numbers ([`published`]), compares records with them ([`Comparison`]), and renders comparisons as
//! text ([`terminal`], [`markdown`]), CSV ([`spreadsheet`]) and curves ([`curves`]). It also renders single attacks ([`picture`])
//! and sanity checks ([`Sanity`]), and stores the ranks of single images beside records ([`ImageRanks`]). Ranks, recalls and
//! shares are in percent, epsilon in pixel units, and an embedding shift in units of the distance.
//!
//! Left out: the format of records (`rankle-record`, whose types are re-exported), tensors, models and attacks (`rankle-eval`),
//! the command line (`rankle`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_record`](../rankle_record/index.html),
//! [`rankle_eval`](../rankle_eval/index.html), [`rankle`](../rankle/index.html).
//!
//! ```
//! use rankle_report::{AttackId, Comparison, Journal, Protocol, RunSetting, published, terminal};
//!
//! // A published table is data with a source.
//! let table = published::table("mnist-ct").unwrap();
//! assert_eq!(table.rank(AttackId::CA_PLUS, 1, 0.3), Some(2.1));
//!
//! // A folder without records is an empty table, not an error.
//! let folder = tempfile::tempdir()?;
//! let records = Journal::at(folder.path().join("records.jsonl")).read()?.records;
//! let setting = RunSetting { protocol: Protocol::Paper, eight_bit: false, images: 1000, seed: 0 };
//! let comparison = Comparison::new(table, &setting, &records, None);
//! assert_eq!(comparison.rows.len(), 80);
//! assert!(terminal::render(&comparison).contains("0 of 80 cells"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bars;
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
mod vector;

pub use comparison::{Comparison, NOTEWORTHY, NOTEWORTHY_ERRORS, Row, Summary};
pub use grid::Grid;
pub use image_ranks::{ImageRanks, RankKeeper};
pub use json::joined;
pub use published::{PublishedCell, PublishedTable};
pub use rankle_record::{
    AttackId, AttackOptions, AttackSpec, Cell, Change, Claim, Claims, Direction, Epsilon, Error, Estimate, Facts, FolderLock,
    Follower, Journal, Norm, ObjectiveKind, Protocol, Provenance, Reading, Record, Result, RunSetting, Search, SharedBy, Source,
    Subject, TargetPool, TornLine, Unseen, WhiteBox, sample,
};
pub use sanity::Sanity;
pub use spread::SeedSpread;
pub use system::System;

#[cfg(test)]
mod synthetic;
