//! Subcommands, one file each.

mod attack;
mod bench;
mod check;
mod classify;
mod completions;
mod convert;
mod embed;
mod evaluate;
mod man;
mod picture;
mod run;
mod sanity;
mod spread;
pub(crate) mod sweep;
mod train;
mod transfer;
mod universal;
mod verify;

pub(crate) use attack::Attack;
pub(crate) use bench::Bench;
pub(crate) use check::Check;
pub(crate) use classify::{Classify, PartAccuracy};
pub(crate) use completions::Completions;
pub(crate) use convert::Convert;
pub(crate) use embed::Embed;
pub(crate) use evaluate::Evaluate;
pub(crate) use man::Man;
pub(crate) use picture::Picture;
pub(crate) use run::Run;
pub(crate) use sanity::Sanity;
pub(crate) use spread::Spread;
pub(crate) use sweep::Sweep;
pub(crate) use train::Train;
pub(crate) use transfer::Transfer;
pub(crate) use universal::Universal;
pub(crate) use verify::Verify;
