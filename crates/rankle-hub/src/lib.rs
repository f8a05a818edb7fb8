//! Downloads weights and datasets from the Hugging Face hub, and archives from any server.
//!
//! Four rules:
//! 1. A file with its final name is complete, on disk, and has the published hash or the hash that the hub names.
//! 2. An interrupted download resumes.
//! 3. Servers and archives are not trusted. Names never lead out of a folder. The caller limits sizes, whatever is announced;
//!    time limits grow with the bytes received. Redirects from `https` to `http` are refused.
//! 4. One process at a time creates a file or a folder. Other processes wait, and use the result.
//!
//! Without features, this crate has names ([`Reference`]), hashes ([`Digest`]) and archives ([`unpack`]), and no network. `http`
//! adds `Hub` and `Home`, `tls` the `https` addresses of the real hub, `parquet` the hub's tables of images. `fetch` adds
//! all of these and the program that `cargo xtask fetch` runs.
//!
//! Layout and names of the hub's cache are those of the crate `hf-hub`, so that other programs find its files. Downloads are
//! this crate's own, because those of `hf-hub` get their final names before their content is checked.
//!
//! Uploads, tokens and private repositories are left out. The only environment variable of the hub that counts is `HF_ENDPOINT`,
//! the default of the option `--endpoint`. Names of datasets are in `cargo xtask fetch`, the reading of datasets in
//! `rankle_data`, the writing of complete files in `rankle_files`.
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_files`](../rankle_files/index.html),
//! [`rankle_cli`](../rankle_cli/index.html), [`rankle`](../rankle/index.html).
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
