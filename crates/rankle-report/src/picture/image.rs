//! Images in a picture.

use super::sheet::WHAT;
use crate::{Error, Result, canvas};

/// A gray or color image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    channels: usize,
    height: usize,
    width: usize,
    pixels: Vec<f32>,
}

impl Image {
    /// An image of shape `(channels, height, width)` with one channel or three and pixels in `[0, 1]`, in that order. Values
    /// outside of the range are clipped when drawn.
    ///
    /// # Errors
    /// [`Error::Make`] for another number of channels, pixels that do not fit the shape, no pixels, NaN and infinity.
    pub fn new((channels, height, width): (usize, usize, usize), pixels: Vec<f32>) -> Result<Self> {
        let fault = if channels != 1 && channels != 3 {
            Some(format!("an image has {channels} channels, only 1 and 3 can be shown"))
        } else if pixels.is_empty() || height.checked_mul(width).and_then(|n| n.checked_mul(channels)) != Some(pixels.len()) {
            Some(format!("an image of {channels} x {height} x {width} has {} pixels", pixels.len()))
        } else if pixels.iter().any(|pixel| !pixel.is_finite()) {
            Some("an image has a pixel that is not finite (NaN or infinity)".to_owned())
        } else {
            None
        };
        match fault {
            Some(reason) => Err(Error::Make { what: WHAT, reason }),
            None => Ok(Self { channels, height, width, pixels }),
        }
    }

    /// A perturbation as an image, amplified so that -epsilon is black, 0 is gray and +epsilon is white.
    ///
    /// # Errors
    /// As [`Image::new`].
    pub fn perturbation(shape: (usize, usize, usize), added: &[f32], epsilon: f64) -> Result<Self> {
        let gain = amplification(epsilon);
        Self::new(shape, added.iter().map(|added| 0.5 + gain * added).collect())
    }

    /// The image as a PNG of the same size, gray or color, with 8 bits per channel.
    ///
    /// # Errors
    /// [`Error::Make`] for an image larger than a PNG can be.
    pub fn png(&self) -> Result<Vec<u8>> {
        let fail = |error: &dyn std::fmt::Display| Error::Make { what: WHAT, reason: error.to_string() };
        let side = |length: usize| u32::try_from(length).map_err(|error| fail(&error));
        let color = if self.channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb };
        let plane = self.height * self.width;
        let byte = |at: usize| {
            let pixel = self.pixels[at % self.channels * plane + at / self.channels];
            (255.0 * pixel).round().clamp(0.0, 255.0) as u8
        };
        canvas::encode(
            (side(self.width)?, side(self.height)?),
            color,
            &(0..self.pixels.len()).map(byte).collect::<Vec<_>>(),
            WHAT,
        )
    }

    /// Difference from `clean`, amplified as in [`Image::perturbation`].
    pub(super) fn difference(&self, clean: &Self, epsilon: f64) -> Result<Self> {
        let shape = |image: &Self| (image.channels, image.height, image.width);
        if shape(self) != shape(clean) {
            let reason = format!("the image is {:?} before and {:?} after", shape(clean), shape(self));
            return Err(Error::Make { what: WHAT, reason });
        }
        let gain = amplification(epsilon);
        let pixels = self.pixels.iter().zip(&clean.pixels).map(|(after, before)| 0.5 + gain * (after - before)).collect();
        Ok(Self { pixels, ..*self })
    }

    /// Width and height of the image scaled to a square of `side` with its proportions.
    pub(super) fn fit(&self, side: u32) -> (u32, u32) {
        let longest = self.width.max(self.height) as u64;
        let fit = |length: usize| ((u64::from(side) * length as u64 + longest / 2) / longest).max(1) as u32;
        (fit(self.width), fit(self.height))
    }

    /// Red, green and blue of every pixel at another size; each is the mean of the pixels that it covers.
    pub(super) fn bytes(&self, (width, height): (u32, u32)) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(width as usize * height as usize * 3);
        let columns: Vec<_> = (0..width).map(|x| covered(x, width, self.width)).collect();
        for y in 0..height {
            let rows = covered(y, height, self.height);
            for columns in &columns {
                for channel in 0..3 {
                    let plane = &self.pixels[channel.min(self.channels - 1) * self.height * self.width..];
                    let sum: f32 = rows.clone().map(|row| plane[row * self.width..][columns.clone()].iter().sum::<f32>()).sum();
                    bytes.push((255.0 * sum / (rows.len() * columns.len()) as f32).round().clamp(0.0, 255.0) as u8);
                }
            }
        }
        bytes
    }
}

fn amplification(epsilon: f64) -> f32 {
    if epsilon > 0.0 { (0.5 / epsilon) as f32 } else { 0.0 }
}

/// Range of the `len` original pixels that pixel `at` of `size` covers.
fn covered(at: u32, size: u32, len: usize) -> std::ops::Range<usize> {
    let (at, size) = (at as usize, size as usize);
    at * len / size..((at + 1) * len).div_ceil(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_and_smaller_sizes_show_the_same() {
        let gray = Image::new((1, 1, 2), vec![0.0, 1.0]).unwrap();
        assert_eq!(gray.bytes((4, 1)), [0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255]);
        assert_eq!(gray.bytes((1, 1)), [128, 128, 128]);
        assert_eq!(gray.fit(100), (100, 50));
        let color = Image::new((3, 2, 1), vec![1.0, 0.0, 0.5, 0.5, -3.0, 7.0]).unwrap();
        assert_eq!(color.bytes((1, 2)), [255, 128, 0, 0, 128, 255]);
        assert_eq!(color.fit(7), (4, 7));
    }

    #[test]
    fn a_png_has_every_pixel_as_it_is() {
        let decoded = |image: &Image| {
            let bytes = image.png().unwrap();
            let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let frame = reader.next_frame(&mut pixels).unwrap();
            (frame.color_type, frame.width, frame.height, pixels)
        };
        let levels: Vec<f32> = (0..=255).map(|level| level as f32 / 255.0).collect();
        let gray = Image::new((1, 8, 32), levels).unwrap();
        assert_eq!(decoded(&gray), (png::ColorType::Grayscale, 32, 8, (0..=255).collect()));
        let color = Image::new((3, 2, 1), vec![1.0, 0.0, 0.5, 0.5, -3.0, 7.0]).unwrap();
        assert_eq!(decoded(&color), (png::ColorType::Rgb, 1, 2, vec![255, 128, 0, 0, 128, 255]));
    }

    #[test]
    fn the_difference_is_gray_where_nothing_was_added() {
        let image = |pixels: &[f32]| Image::new((1, 1, 3), pixels.to_vec()).unwrap();
        let difference = image(&[0.2, 0.5, 0.8]).difference(&image(&[0.4, 0.5, 0.6]), 0.2).unwrap();
        assert!(difference.pixels.iter().zip([0.0, 0.5, 1.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{difference:?}");
        assert_eq!(image(&[0.1; 3]).difference(&image(&[0.1; 3]), 0.0).unwrap().pixels, [0.5; 3]);
        let other = Image::new((1, 3, 1), vec![0.0; 3]).unwrap();
        let message = other.difference(&image(&[0.0; 3]), 0.1).unwrap_err().to_string();
        assert_eq!(message, "cannot make the ranking picture: the image is (1, 1, 3) before and (1, 3, 1) after");
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let says = |shape, pixels| Image::new(shape, pixels).unwrap_err().to_string();
        assert!(says((2, 1, 1), vec![0.0; 2]).contains("2 channels"));
        assert!(says((1, 2, 2), vec![0.0; 3]).contains("1 x 2 x 2 has 3 pixels"));
        assert!(says((1, 0, 2), vec![]).contains("has 0 pixels"));
        assert!(says((1, usize::MAX, 2), vec![0.0]).contains("has 1 pixels"));
        assert!(says((1, 1, 1), vec![f32::NAN]).contains("not finite"));
    }
}
