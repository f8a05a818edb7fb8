//! Small data sets that are drawn, in the layout of large ones: for tests, and for trying a pipeline without gigabytes of photographs.

mod drawing;

use drawing::Product;
use image::codecs::jpeg::JpegEncoder;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::{fs, io};

/// Products of many shapes and textures, each in several views with its own viewpoint, light and clutter.
///
/// The same values draw the same images, and more products or views leave the others as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Products {
    /// How many there are.
    pub count: u32,
    /// How many images there are of each.
    pub views: u32,
    /// Another seed draws other products.
    pub seed: u64,
}

const HEADER: &str = "image_id class_id super_class_id path\n";

impl Products {
    /// Writes them into a folder in the layout of Stanford Online Products: JPEG files in a folder for each kind, and the lists
    /// `Ebay_train.txt` and `Ebay_test.txt`, of the first and the second half of the products. `next` is called before each image.
    ///
    /// # Errors
    /// When the folder cannot be written, and what `next` returns: nothing more is drawn then.
    pub fn write_sop<E: From<io::Error>>(&self, folder: &Path, mut next: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let mut lists = [HEADER.to_owned(), HEADER.to_owned()];
        let mut image_id = 0;
        for number in 1..=self.count {
            let product = Product::new(&mut self.random(number, 0));
            let (class, kind) = (product.kind() + 1, product.kind_name());
            let list = &mut lists[usize::from(number > self.count / 2)];
            let shelf = folder.join(format!("{kind}_final"));
            fs::create_dir_all(&shelf).map_err(|error| cannot_write(&shelf, error))?;
            for view in 1..=self.views {
                next()?;
                image_id += 1;
                let path = format!("{kind}_final/{number:06}_{}.JPG", view - 1);
                list.push_str(&format!("{image_id} {number} {class} {path}\n"));
                let mut jpeg = Vec::new();
                let image = product.photograph(&mut self.random(number, view));
                JpegEncoder::new_with_quality(&mut jpeg, 85).encode_image(&image).map_err(io::Error::other)?;
                write(&folder.join(path), jpeg)?;
            }
        }
        for (name, list) in ["Ebay_train.txt", "Ebay_test.txt"].iter().zip(lists) {
            write(&folder.join(name), list.into_bytes())?;
        }
        Ok(())
    }

    /// The stream of a product (view 0) or of a view.
    fn random(&self, product: u32, view: u32) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..12].copy_from_slice(&product.to_le_bytes());
        key[12..16].copy_from_slice(&view.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }
}

fn write(file: &Path, contents: Vec<u8>) -> io::Result<()> {
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

    /// Every file below a folder, by its name.
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

    #[test]
    fn the_same_values_draw_the_same_images() {
        let of = |count, views, seed| contents(written(count, views, seed).path());
        let first = of(4, 2, 0);
        assert_eq!(first.len(), 10); // with two lists
        assert_eq!(of(4, 2, 0), first);
        let pictures = |all: BTreeMap<String, Vec<u8>>| all.into_iter().filter(|(name, _)| name.ends_with("JPG"));
        // More views leave the others as they are, and no two images are alike.
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
