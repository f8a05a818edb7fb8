//! Labeled image datasets from files: MNIST and Fashion-MNIST by name, any other pair of IDX files, photographs in the layouts of
//! Stanford Online Products, CUB-200-2011, Cars-196 and In-Shop Clothes Retrieval, and any folder with one sub-folder per class.
//!
//! IDX files may be gzipped or plain; the first bytes decide, not the name. Each is checked before it is used: magic number,
//! dimensions, exact length, labels in range, and for datasets known by name the SHA-256 of the decompressed bytes. A size in a
//! header alone never causes an allocation. An error message is one line: file, value found, value expected, what to do.
//!
//! Photographs are decoded on demand, turned upright, converted to RGB or gray, resized and cropped ([`Preparation`]), with the
//! same bytes as Pillow and torchvision. Their sizes are checked before memory is allocated, and the images that all threads of a
//! process decode at one time share a budget of 1 GiB. Paths in lists must stay inside the folder of their dataset.
//! [`broken_images`] lists the images that cannot be used; the option `skip-broken` in the name of a dataset leaves them out.
//!
//! Left out: this crate downloads nothing (`cargo xtask fetch` does), reads no environment variables, and shuffles nothing
//! ([`rankle_train`](../rankle_train/index.html) does). Pixels are `u8 / 255` as f32, in `[0, 1]`: the normalization by mean and
//! standard deviation belongs to the embedder.
//!
//! The feature `embedded-mnist` (off by default) compiles MNIST in: `open(Name::Mnist, Split::Test, None)` then needs no file.
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_core`](../rankle_core/index.html),
//! [`rankle_files`](../rankle_files/index.html), [`rankle_synth`](../rankle_synth/index.html), [`rankle`](../rankle/index.html).
//!
//! ```
//! use rankle_core::Dataset;
//! use rankle_data::{ImageSet, Name, idx};
//! use std::path::Path;
//!
//! // Two images of one row and two columns, and their labels, in the format of IDX files.
//! let images = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, /* pixels */ 0, 255, 51, 102];
//! let labels = [0, 0, 8, 1, 0, 0, 0, 2, /* labels */ 7, 3];
//! let images = idx::images(Path::new("tiny-images"), &images[..], 1 << 20)?;
//! let labels = idx::labels(Path::new("tiny-labels"), &labels[..], 10, 1 << 20)?;
//! let tiny = ImageSet::from_idx("tiny", images, labels)?;
//! assert_eq!(tiny.labels(), [7, 3]);
//! assert_eq!(tiny.images(&[1])?.flatten_all()?.to_vec1::<f32>()?, [0.2, 0.4]);
//!
//! // An unknown name is answered with the nearest known one.
//! let slip = "minst".parse::<Name>().unwrap_err();
//! assert_eq!(slip.to_string(), "unknown dataset 'minst', did you mean 'mnist'? known: mnist, fashion-mnist");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod classes;
mod credits;
mod embedded;
mod error;
pub mod idx;
mod idx_folder;
mod image_set;
mod manifest;
mod options;
mod photos;
mod registry;
mod source;
mod split;
mod text;

pub use check::{BrokenImage, Watch, broken_images};
pub use classes::with_classes_of;
pub use credits::Credits;
pub use error::{Error, Result};
pub use idx_folder::IdxFolder;
pub use image_set::ImageSet;
pub use manifest::{FileEntry, FilePair, Manifest};
pub use photos::{Division, Exif, Folder, Overrides, Photos, Preparation, Published, Rules, is_photo};
pub use registry::{Name, open};
pub use source::Source;
pub use split::Split;
