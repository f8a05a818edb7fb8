//! Small synthetic image datasets in the layouts of large ones, for tests and trial runs without gigabytes of photographs.
//! Reading them is left to [`rankle_data`](../rankle_data/index.html).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbor: [`rankle_data`](../rankle_data/index.html).
//!
//! ```
//! let folder = tempfile::tempdir()?;
//! let products = rankle_synth::Products { count: 4, views: 2, seed: 0 };
//! products.write_sop(folder.path(), || Ok::<(), std::io::Error>(()))?;
//! let list = std::fs::read_to_string(folder.path().join("Ebay_test.txt"))?;
//! assert_eq!(list.lines().count(), 1 + 2 * 2); // a header, and two views of each of the last two products
//! # Ok::<(), std::io::Error>(())
//! ```

mod drawing;

use drawing::Product;
use image::codecs::jpeg::JpegEncoder;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Products of many shapes and textures, each in several views with its own viewpoint, light and clutter.
///
/// The same values give the same images; more products or views do not change the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Products {
    /// Number of products.
    pub count: u32,
    /// Number of images per product.
    pub views: u32,
    /// The seed; another seed gives other products.
    pub seed: u64,
}

const SOP_HEADER: &str = "image_id class_id super_class_id path\n";
const INSHOP_HEADER: &str = "image_name item_id evaluation_status\n";

impl Products {
    /// Writes the products in the layout of Stanford Online Products: JPEG files in one folder per kind, and the lists
    /// `Ebay_train.txt` and `Ebay_test.txt` of the first and the second half of the products. `next` is called before each image.
    ///
    /// # Errors
    /// If the folder cannot be written, or with the error of `next`, after which nothing more is drawn.
    pub fn write_sop<E: From<io::Error>>(&self, folder: &Path, next: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let mut lists = [SOP_HEADER.to_owned(), SOP_HEADER.to_owned()];
        let mut image_id = 0;
        self.draw(folder, next, |product, number, view| {
            image_id += 1;
            let (class, kind) = (product.kind() + 1, product.kind_name());
            let path = format!("{kind}_final/{number:06}_{}.JPG", view - 1);
            lists[usize::from(!self.is_trained(number))].push_str(&format!("{image_id} {number} {class} {path}\n"));
            path.into()
        })?;
        for (name, list) in ["Ebay_train.txt", "Ebay_test.txt"].iter().zip(lists) {
            write(&folder.join(name), list.into_bytes())?;
        }
        Ok(())
    }

    /// Writes the products in the layout of In-Shop Clothes Retrieval: JPEG files in `Img/img`, and the list
    /// `Eval/list_eval_partition.txt`. The first half of the products is for training. Of each other product the first half of
    /// the views, at least one, are queries, and the rest are the gallery. `next` is called before each image.
    ///
    /// # Errors
    /// As [`Products::write_sop`].
    pub fn write_inshop<E: From<io::Error>>(&self, folder: &Path, next: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let count = u64::from(self.count) * u64::from(self.views);
        let mut list = format!("{count}\n{INSHOP_HEADER}");
        self.draw(folder, next, |product, number, view| {
            let item = format!("id_{number:08}");
            let path = format!("img/DRAWN/{}/{item}/{view:02}_1_front.jpg", product.kind_name());
            let status = match self.is_trained(number) {
                true => "train",
                false if view <= (self.views / 2).max(1) => "query",
                false => "gallery",
            };
            list.push_str(&format!("{path:<50} {item} {status}\n"));
            Path::new("Img").join(path)
        })?;
        write(&folder.join("Eval/list_eval_partition.txt"), list.into_bytes())?;
        Ok(())
    }

    /// Draws every view of every product into the file, relative to `folder`, that `file` returns for the product, its number and
    /// the number of the view, both counted from 1.
    fn draw<E: From<io::Error>>(
        &self,
        folder: &Path,
        mut next: impl FnMut() -> Result<(), E>,
        mut file: impl FnMut(&Product, u32, u32) -> PathBuf,
    ) -> Result<(), E> {
        for number in 1..=self.count {
            let product = Product::new(&mut self.random(number, 0));
            for view in 1..=self.views {
                next()?;
                let mut jpeg = Vec::new();
                let image = product.photograph(&mut self.random(number, view));
                JpegEncoder::new_with_quality(&mut jpeg, 85).encode_image(&image).map_err(io::Error::other)?;
                write(&folder.join(file(&product, number, view)), jpeg)?;
            }
        }
        Ok(())
    }

    /// True if a product is for training, in every layout.
    fn is_trained(&self, number: u32) -> bool {
        number <= self.count / 2
    }

    /// The random stream of a product (view 0) or of a view.
    fn random(&self, product: u32, view: u32) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..12].copy_from_slice(&product.to_le_bytes());
        key[12..16].copy_from_slice(&view.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }
}

/// Writes a file, and creates the folders above it.
fn write(file: &Path, contents: Vec<u8>) -> io::Result<()> {
    let shelf = file.parent().unwrap_or(file);
    fs::create_dir_all(shelf).map_err(|error| cannot_write(shelf, error))?;
    fs::write(file, contents).map_err(|error| cannot_write(file, error))
}

fn cannot_write(place: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn written(count: u32, views: u32, seed: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        Products { count, views, seed }.write_sop(folder.path(), || Ok::<_, io::Error>(())).unwrap();
        folder
    }

    /// The contents of every file below a folder, by file name.
    fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(contents(&path));
            } else {
                found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
            }
        }
        found
    }

    #[test]
    fn the_layout_is_that_of_the_original() {
        let folder = written(5, 2, 0);
        let mut next = 1;
        for (name, products) in [("Ebay_train.txt", 1..=2), ("Ebay_test.txt", 3..=5)] {
            let list = fs::read_to_string(folder.path().join(name)).unwrap();
            let mut lines = list.lines();
            assert_eq!(lines.next(), Some("image_id class_id super_class_id path"));
            for product in products {
                for _ in 0..2 {
                    let columns: Vec<&str> = lines.next().unwrap().split(' ').collect();
                    assert_eq!((columns.len(), columns[0], columns[1]), (4, &*next.to_string(), &*product.to_string()));
                    let image = image::load_from_memory(&fs::read(folder.path().join(columns[3])).unwrap()).unwrap();
                    assert!(image.width() >= 160 && image.height() >= 160 && image.color() == image::ColorType::Rgb8);
                    next += 1;
                }
            }
            assert_eq!(lines.next(), None);
        }
    }

    /// The images are equal to those of the other layout.
    #[test]
    fn clothes_have_one_list_with_queries_and_a_gallery() {
        let (folder, products) = (tempfile::tempdir().unwrap(), Products { count: 4, views: 3, seed: 0 });
        products.write_inshop(folder.path(), || Ok::<_, io::Error>(())).unwrap();
        let list = fs::read_to_string(folder.path().join("Eval/list_eval_partition.txt")).unwrap();
        let mut lines = list.lines();
        assert_eq!((lines.next(), lines.next()), (Some("12"), Some("image_name item_id evaluation_status")));
        let drawn = contents(written(4, 3, 0).path());
        for product in 1..=4 {
            for (view, tested) in ["query", "gallery", "gallery"].iter().enumerate() {
                let columns: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
                let status = if product <= 2 { "train" } else { tested };
                assert_eq!(columns[1..], [&*format!("id_0000000{product}"), status]);
                let image = fs::read(folder.path().join("Img").join(columns[0])).unwrap();
                assert!(image == drawn[&format!("00000{product}_{view}.JPG")], "{}", columns[0]);
            }
        }
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn the_same_values_draw_the_same_images() {
        let of = |count, views, seed| contents(written(count, views, seed).path());
        let first = of(4, 2, 0);
        assert_eq!(first.len(), 10); // with two lists
        assert_eq!(of(4, 2, 0), first);
        let pictures = |all: BTreeMap<String, Vec<u8>>| all.into_iter().filter(|(name, _)| name.ends_with("JPG"));
        // More views leave the others unchanged, and no two images are equal.
        let more = of(4, 3, 0);
        assert!(pictures(first.clone()).all(|(name, bytes)| more[&name] == bytes));
        let distinct: BTreeSet<Vec<u8>> = pictures(more).map(|(_, bytes)| bytes).collect();
        assert_eq!(distinct.len(), 12);
        assert!(pictures(of(4, 2, 1)).all(|(name, bytes)| first.get(&name) != Some(&bytes)));
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("Ebay_test.txt")).unwrap();
        let error = Products { count: 1, views: 1, seed: 0 }.write_sop(folder.path(), || Ok::<_, io::Error>(())).unwrap_err();
        assert!(error.to_string().contains("cannot write") && error.to_string().contains("Ebay_test.txt"), "{error}");
    }

    #[test]
    fn whoever_watches_can_end_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut left = 3;
        let outcome = Products { count: 4, views: 2, seed: 0 }.write_sop(folder.path(), || {
            left -= 1;
            if left == 0 { Err(io::Error::other("enough")) } else { Ok(()) }
        });
        assert_eq!(outcome.unwrap_err().to_string(), "enough");
        assert_eq!(contents(folder.path()).len(), 2);
    }
}
