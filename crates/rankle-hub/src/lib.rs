//! Downloads: weights and datasets from the Hugging Face hub, archives from anywhere.
//!
//! Four rules. What has its final name is whole, is on the disk, and has the hash that was published for it, or that the hub names.
//! What was interrupted goes on where it was. What a server or an archive says is not trusted: names never lead out of a folder,
//! sizes are bounded by what was agreed on, not by what is announced, and time by how many bytes come; `https` never leads to
//! `http`. One process at a time makes a file or a folder: the others wait for it, and take what it made.
//!
//! Without features this crate knows names ([`Reference`]), hashes ([`Digest`]) and archives ([`unpack`]), and asks nobody. `http`
//! adds `Hub` and `Home`, `tls` the `https` addresses that the real hub has, `parquet` the hub's tables of images. `fetch` is
//! all of it, with the program that `cargo xtask fetch` runs.
//!
//! The layout of the hub's cache and the names in it are those of the crate `hf-hub`, so that other programs find what is there.
//! The bytes are moved here: its own downloads go by their final name before their content could be checked.
//!
//! Left out: uploading, tokens and private repositories. This crate reads no environment.
//!
//! ```
//! use rankle_hub::Reference;
//!
//! let weights: Reference = "hf:timm/resnet18.tv_in1k".parse()?;
//! assert_eq!((weights.repository.name(), weights.file.as_str()), ("timm/resnet18.tv_in1k", "model.safetensors"));
//! assert!("hf:timm/../../etc".parse::<Reference>().is_err());
//! # Ok::<(), rankle_hub::Error>(())
//! ```

#[cfg(feature = "http")]
mod access;
mod archive;
#[cfg(feature = "http")]
mod client;
mod digest;
#[cfg(feature = "http")]
mod download;
mod error;
mod folder;
#[cfg(feature = "http")]
mod home;
#[cfg(feature = "http")]
mod hub;
mod lock;
#[cfg(feature = "http")]
mod pace;
mod reference;
#[cfg(test)]
#[path = "../tests/server/mod.rs"]
mod server;
#[cfg(feature = "parquet")]
mod table;
mod watch;

#[cfg(feature = "http")]
pub use access::Access;
pub use archive::{Limits, unpack};
pub use digest::{Digest, sha256};
pub use error::{Error, Result};
#[cfg(feature = "http")]
pub use home::{Download, Home};
#[cfg(feature = "http")]
pub use hub::Hub;
pub use lock::Lock;
pub use reference::{Kind, Reference, Repository};
#[cfg(feature = "parquet")]
pub use table::{Part, idx, photos};
pub use watch::{Watch, Watcher, telling, unwatched};
