//! From a photograph of any size to the square that a network takes.

use crate::{Error, Result};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use rand::Rng;
use rankle_core::Seed;
use rankle_core::seed::Purpose;

/// The paper resizes to a square of 256 pixels, whatever the shape, and cuts one of 224 out of it: the middle for testing,
/// any for training, mirrored half of the time (`method.md` 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Preparation {
    resize: u32,
    crop: u32,
}

/// What is cut out of the resized square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    top: usize,
    left: usize,
    mirrored: bool,
}

impl Preparation {
    /// 256 and 224, the paper's.
    pub const PAPER: Self = Self { resize: 256, crop: 224 };
    /// The longest side that [`Preparation::to_side`] accepts.
    pub const LARGEST: usize = 1024;

    /// Cuts of `side` by `side` pixels, from a square larger in the paper's proportion 8 : 7.
    ///
    /// # Errors
    /// [`Error::Side`] for 0 and beyond [`Preparation::LARGEST`].
    pub fn to_side(side: usize) -> Result<Self> {
        match u32::try_from(side) {
            Ok(crop) if crop > 0 && side <= Self::LARGEST => Ok(Self { resize: (crop * 8).div_ceil(7), crop }),
            _ => Err(Error::Side { found: side, most: Self::LARGEST }),
        }
    }

    /// The side of what is cut out.
    pub fn side(self) -> usize {
        self.crop as usize
    }

    /// The middle.
    pub(super) fn middle(self) -> Cut {
        let margin = (self.resize - self.crop) as usize / 2;
        Cut { top: margin, left: margin, mirrored: false }
    }

    /// Anywhere, mirrored or not: the draw of one image in one epoch.
    pub(super) fn anywhere(self, seed: Seed, epoch: u64, index: usize) -> Cut {
        let mut random = seed.stream(Purpose::Augmentation, [epoch, index as u64]);
        // As u32: the draw must not depend on the width of a pointer.
        let mut margin = || random.random_range(0..=self.resize - self.crop) as usize;
        let (top, left) = (margin(), margin());
        Cut { top, left, mirrored: random.random() }
    }

    /// Resizes `image`, and writes the cut as `3 × side × side` numbers in `[0, 1]`, channel by channel.
    pub(super) fn apply(self, image: &RgbImage, cut: Cut, pixels: &mut [f32]) -> Result<()> {
        let square = resize(image, self.resize, self.resize)?;
        let (width, side) = (self.resize as usize, self.side());
        for (channel, plane) in pixels.chunks_exact_mut(side * side).enumerate() {
            for (y, row) in plane.chunks_exact_mut(side).enumerate() {
                let from = &square[3 * ((cut.top + y) * width + cut.left)..][..3 * side];
                let values = from[channel..].iter().step_by(3).map(|&value| f32::from(value) / 255.0);
                if cut.mirrored {
                    row.iter_mut().rev().zip(values).for_each(|(pixel, value)| *pixel = value);
                } else {
                    row.iter_mut().zip(values).for_each(|(pixel, value)| *pixel = value);
                }
            }
        }
        Ok(())
    }
}

/// Bilinear with anti-aliasing, as Pillow's `resize(…, BILINEAR)` and so torchvision's: a triangle as wide as two pixels of
/// the coarser of the two grids. Integers throughout, so every machine has the same bytes; a value may differ from Pillow's
/// by one of 255.
fn resize(image: &RgbImage, width: u32, height: u32) -> Result<Vec<u8>> {
    let refused = |reason: String| Error::Resize { width: image.width(), height: image.height(), reason };
    let from = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3);
    let from = from.map_err(|error| refused(error.to_string()))?;
    let mut to = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&from, &mut to, &options).map_err(|error| refused(error.to_string()))?;
    Ok(to.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use std::collections::HashSet;

    /// As in `tests/fixtures/make_pillow.py`: smooth, with sharp edges, and no symmetry.
    fn formula(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let edge = if (x / 5 + y / 3) % 2 == 0 { 90 } else { 0 };
            Rgb([(x * 7 + y * 3) % 166 + edge, (x * x + 2 * y) % 166 + edge, (y * y + x * y) % 166 + edge]
                .map(|value| value as u8))
        })
    }

    #[test]
    fn as_pillow_does_up_and_down() {
        for (from, to, wanted) in [
            ((97, 71), (16, 16), &include_bytes!("../../tests/fixtures/pillow-97x71-16x16.bin")[..]),
            ((5, 7), (24, 24), &include_bytes!("../../tests/fixtures/pillow-5x7-24x24.bin")[..]),
            ((200, 9), (24, 24), &include_bytes!("../../tests/fixtures/pillow-200x9-24x24.bin")[..]),
        ] {
            let found = resize(&formula(from.0, from.1), to.0, to.1).unwrap();
            assert_eq!(found.len(), wanted.len());
            let worst = found.iter().zip(wanted).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 1, "{from:?} to {to:?}: {worst}");
        }
    }

    /// What the library does with its vector instructions it does without them.
    #[test]
    fn every_instruction_set_has_the_same_bytes() {
        let image = formula(301, 203);
        let from = ImageRef::new(301, 203, image.as_raw(), PixelType::U8x3).unwrap();
        let mut plain = Image::new(256, 256, PixelType::U8x3);
        let mut resizer = Resizer::new();
        // SAFETY: no instruction beyond the baseline is asked for.
        unsafe { resizer.set_cpu_extensions(fast_image_resize::CpuExtensions::None) };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        resizer.resize(&from, &mut plain, &options).unwrap();
        assert_eq!(resize(&image, 256, 256).unwrap(), plain.into_vec());
    }

    #[test]
    fn one_pixel_fills_the_square_and_needles_are_resized() {
        let mut pixels = vec![0.0; 3 * 7 * 7];
        let preparation = Preparation::to_side(7).unwrap();
        preparation.apply(&RgbImage::from_pixel(1, 1, Rgb([0, 51, 255])), preparation.middle(), &mut pixels).unwrap();
        assert_eq!(pixels, [[0.0; 49], [0.2; 49], [1.0; 49]].concat());
        assert_eq!(resize(&formula(1, 5000), 8, 8).unwrap().len(), 192);
        assert_eq!(resize(&formula(5000, 1), 8, 8).unwrap().len(), 192);
    }

    #[test]
    fn cuts_take_what_they_say() {
        // A square that needs no resizing, its red the column and its green the row.
        let preparation = Preparation { resize: 8, crop: 6 };
        let image = RgbImage::from_fn(8, 8, |x, y| Rgb([x as u8, y as u8, 0]));
        let cut = |cut| {
            let mut pixels = vec![9.0; 3 * 36];
            preparation.apply(&image, cut, &mut pixels).unwrap();
            let byte = |place: usize| (pixels[place] * 255.0).round() as usize;
            // Columns along the first row, rows along the first column.
            ((0..6).map(byte).collect::<Vec<_>>(), (0..6).map(|y| byte(36 + 6 * y)).collect::<Vec<_>>())
        };
        assert_eq!(cut(preparation.middle()), ((1..7).collect(), (1..7).collect()));
        let corner = Cut { top: 2, left: 0, mirrored: true };
        assert_eq!(cut(corner), ((0..6).rev().collect(), (2..8).collect()));
    }

    #[test]
    fn draws_are_keyed_and_reach_every_corner() {
        let draw = |seed, epoch, index| Preparation::PAPER.anywhere(Seed(seed), epoch, index);
        assert_eq!(draw(0, 1, 2), draw(0, 1, 2));
        assert!(draw(0, 1, 2) != draw(1, 1, 2) && draw(0, 1, 2) != draw(0, 2, 2) && draw(0, 1, 2) != draw(0, 1, 3));
        let all: Vec<Cut> = (0..2000).map(|index| draw(0, 0, index)).collect();
        for of in [|cut: &Cut| cut.top, |cut: &Cut| cut.left] {
            assert_eq!(all.iter().map(of).collect::<HashSet<_>>(), (0..=32).collect());
        }
        let mirrored = all.iter().filter(|cut| cut.mirrored).count();
        assert!((900..1100).contains(&mirrored), "{mirrored} of 2000");
    }

    #[test]
    fn sides() {
        assert_eq!(Preparation::to_side(224).unwrap(), Preparation::PAPER);
        for side in [1, 32, 299, 1024] {
            let preparation = Preparation::to_side(side).unwrap();
            assert!(preparation.side() == side && preparation.resize > preparation.crop);
        }
        let says = |side| Preparation::to_side(side).unwrap_err().to_string();
        assert_eq!(says(0), "photographs cannot be cut to 0 pixels a side: 1 to 1024 can be had");
        assert!(Preparation::to_side(usize::MAX).is_err());
    }
}
