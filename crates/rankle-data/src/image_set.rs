//! Images held in memory as bytes.

use crate::{Error, Result, idx};
use candle_core::{Device, Tensor};
use rankle_core::{Dataset, dataset::check_indices};
use std::{fmt, path::Path};

/// Largest decompressed size in bytes that [`ImageSet::read_idx`] accepts: more than any published dataset in this format has.
const LARGEST: u64 = 1 << 30;

/// Labeled 8-bit images in memory, one byte per value; [`Dataset::images`] returns them as `u8 / 255` in f32.
#[derive(Clone)]
pub struct ImageSet {
    name: String,
    shape: (usize, usize, usize),
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl ImageSet {
    /// Creates a set called `name` from `pixels` in the order (image, channel, row, column) and one label per image; `shape` is
    /// `(channels, height, width)`.
    ///
    /// # Errors
    /// [`Error::Pixels`] if there are not exactly channels × height × width bytes per label, or if that product is 0.
    pub fn new(name: impl Into<String>, shape: (usize, usize, usize), pixels: Vec<u8>, labels: Vec<u32>) -> Result<Self> {
        let name = name.into();
        let sides = [shape.0, shape.1, shape.2, labels.len()];
        // The shape is multiplied first: it must not overflow even if there are no labels and the product is 0.
        let expected = sides.into_iter().try_fold(1usize, |product, side| product.checked_mul(side));
        if expected != Some(pixels.len()) || sides[..3].contains(&0) {
            return Err(Error::Pixels { name, found: pixels.len(), labels: labels.len(), shape });
        }
        Ok(Self { name, shape, pixels, labels })
    }

    /// Creates a set of gray images from the contents of two IDX files.
    ///
    /// # Errors
    /// [`Error::Counts`] if the numbers of images and labels differ.
    pub fn from_idx(name: impl Into<String>, images: idx::Images, labels: idx::Labels) -> Result<Self> {
        if images.count != labels.labels.len() {
            return Err(Error::Counts {
                images: images.path,
                found_images: images.count,
                labels: labels.path,
                found_labels: labels.labels.len(),
            });
        }
        let shape = (1, images.rows, images.columns);
        Self::new(name, shape, images.pixels, labels.labels.into_iter().map(u32::from).collect())
    }

    /// Reads a set of gray images from two IDX files, gzipped or plain, with labels below `classes`: for the user's own data. No
    /// hash is checked; [`crate::open`] does that for datasets known by name.
    ///
    /// # Errors
    /// Every error of an IDX file in [`Error`], and [`Error::Counts`].
    pub fn read_idx(name: impl Into<String>, images: &Path, labels: &Path, classes: usize) -> Result<Self> {
        let images = idx::images(images, idx::open(images)?, LARGEST)?;
        let labels = idx::labels(labels, idx::open(labels)?, classes, LARGEST)?;
        Self::from_idx(name, images, labels)
    }
}

impl Dataset for ImageSet {
    fn name(&self) -> &str {
        &self.name
    }
    fn shape(&self) -> (usize, usize, usize) {
        self.shape
    }
    fn labels(&self) -> &[u32] {
        &self.labels
    }
    fn images(&self, indices: &[usize]) -> rankle_core::Result<Tensor> {
        check_indices("image", indices, self.len())?;
        let (c, h, w) = self.shape;
        let size = c * h * w;
        let mut pixels = Vec::with_capacity(indices.len() * size);
        for &index in indices {
            pixels.extend(self.pixels[index * size..][..size].iter().map(|&pixel| f32::from(pixel) / 255.0));
        }
        Ok(Tensor::from_vec(pixels, (indices.len(), c, h, w), &Device::Cpu)?)
    }
}

/// Prints name and sizes, not 47 MB of pixels.
impl fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("ImageSet").field("name", &self.name).field("shape", &self.shape))
            .field("images", &self.labels.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_becomes_the_nearest_f32_of_a_255th() {
        let set = ImageSet::new("ramp", (1, 16, 16), (0..=255).collect(), vec![0]).unwrap();
        let pixels = set.images(&[0]).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (byte, pixel) in pixels.iter().enumerate() {
            assert_eq!(pixel.to_bits(), ((byte as f64 / 255.0) as f32).to_bits(), "{byte}");
        }
        // By hand: 128/255 is 128/256 + 128/256² + 128/256³ + …, one bit in eight, rounded up at the 24th bit.
        assert_eq!((pixels[0], pixels[51], pixels[255], pixels[128].to_bits()), (0.0, 0.2, 1.0, 0x3f00_8081));
    }

    #[test]
    fn images_come_in_the_order_of_the_indices() {
        let set = ImageSet::new("color", (3, 1, 2), (0..18).collect(), vec![4, 5, 6]).unwrap();
        let images = set.images(&[2, 0, 2]).unwrap();
        assert_eq!(images.dims(), [3, 3, 1, 2]);
        let bytes: Vec<u8> =
            images.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|pixel| (pixel * 255.0).round() as u8).collect();
        assert_eq!(bytes, [12, 13, 14, 15, 16, 17, 0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17]);
        assert_eq!((set.name(), set.shape(), set.labels(), set.len()), ("color", (3, 1, 2), &[4, 5, 6][..], 3));
        assert_eq!(set.images(&[]).unwrap().dims(), [0, 3, 1, 2]);
        assert_eq!(format!("{set:?}"), r#"ImageSet { name: "color", shape: (3, 1, 2), images: 3, .. }"#);
    }

    #[test]
    fn faults() {
        let set = ImageSet::new("two", (1, 1, 1), vec![1, 2], vec![0, 1]).unwrap();
        let says = set.images(&[1, 2]).unwrap_err().to_string();
        assert_eq!(says, "image index 2 is out of range: there are 2, counted from 0");
        let says = |shape, pixels, labels| ImageSet::new("odd", shape, pixels, labels).unwrap_err().to_string();
        let tail = "pass channels x height x width bytes, at least one, per label";
        let wanted = format!("the image set 'odd' has 5 pixels, expected 2 x 3 x 1 x 1: {tail}");
        assert_eq!(says((3, 1, 1), vec![0; 5], vec![0, 1]), wanted);
        let most = usize::MAX;
        let wanted = format!("the image set 'odd' has 0 pixels, expected 0 x {most} x 2 x 2: {tail}");
        assert_eq!(says((most, 2, 2), vec![], vec![]), wanted);
        let wanted = format!("the image set 'odd' has 0 pixels, expected 1 x 0 x {most} x {most}: {tail}");
        assert_eq!(says((0, most, most), vec![], vec![0]), wanted);
        let empty = ImageSet::new("empty", (1, 2, 2), vec![], vec![]).unwrap();
        assert_eq!(empty.images(&[]).unwrap().dims(), [0, 1, 2, 2]);
    }
}
