//! Labeled images from files: MNIST and Fashion-MNIST by name, and any other pair of IDX files; photographs in the layouts of
//! Stanford Online Products, CUB-200-2011, Cars-196 and In-Shop Clothes Retrieval, and in any folder with a sub-folder per class.
//!
//! A file is believed only after it was checked: magic number, dimensions, exact length, labels in range, and for the
//! datasets known by name the SHA-256 of the decompressed bytes. Sizes in a header are never trusted with memory. Files may
//! be gzipped or plain; the first bytes decide, not the name. Each fault is one line: the file, what it holds, what was
//! expected, what to do.
//!
//! A photograph is decoded when it is asked for, upright, as RGB or gray, resized and cut as the name of its dataset says, or its model, or
//! as is usual for the dataset ([`Preparation`]), to the same bytes as Pillow and torchvision; sizes in its header are not trusted
//! either, and all threads of a process together take at most 1 GiB to decode in. Paths in lists never lead out of the folder of
//! their dataset. [`broken_images`] finds those of a dataset that cannot be used, and `skip-broken` in its name leaves them out.
//!
//! Left out: this crate downloads nothing, reads no environment, and shuffles nothing.
//! Pixels are `u8 / 255` as f32, in `[0, 1]`: mean and standard deviation belong to the embedder.
//!
//! With the feature `embedded-mnist` (off by default) MNIST is compiled in, and
//! `open(Name::Mnist, Split::Test, None)` needs no file.
//!
//! ```
//! use rankle_core::Dataset;
//! use rankle_data::{ImageSet, Name, idx};
//! use std::path::Path;
//!
//! // Two images of one row and two columns, and their labels, as IDX files hold them.
//! let images = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, /* pixels */ 0, 255, 51, 102];
//! let labels = [0, 0, 8, 1, 0, 0, 0, 2, /* labels */ 7, 3];
//! let images = idx::images(Path::new("tiny-images"), &images[..], 1 << 20)?;
//! let labels = idx::labels(Path::new("tiny-labels"), &labels[..], 10, 1 << 20)?;
//! let tiny = ImageSet::from_idx("tiny", images, labels)?;
//! assert_eq!(tiny.labels(), [7, 3]);
//! assert_eq!(tiny.images(&[1])?.flatten_all()?.to_vec1::<f32>()?, [0.2, 0.4]);
//!
//! // A slip of the pen is answered with the nearest name.
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
