//! Preparation of photographs of any size for a network with a square input.

use super::decode::Exif;
use super::{Overrides, resample};
use crate::{Error, Result};
use image::RgbImage;
use rand::Rng;
use rankle_core::seed::Purpose;
use rankle_core::{Filter, InputSpec, Resize, Seed};
use std::fmt;

/// The preparation of photographs for a model: a resize, then a square crop. The crop is central for testing; for training it is
/// random and mirrored in half of the cases. Defined as torchvision's `Resize`, `CenterCrop` and `RandomCrop`.
///
/// For a model of gray images a photograph is converted to luma, by ITU-R 601-2 as in Pillow's `convert("L")`.
///
/// Displayed as in records, with the resize for testing: `resize=shorter,edge=256,crop=224,filter=bilinear,exif=rotate`, for gray
/// images followed by `,channels=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Preparation {
    rules: Rules,
    edge: u32,
    crop: u32,
    filter: Filter,
    pub(super) exif: Exif,
    gray: bool,
}

/// The resize of the photographs of a dataset, for training and for testing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Resize for training.
    pub training: Resize,
    /// Resize for testing.
    pub testing: Resize,
}

/// The crop of a resized photograph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Width and height of the photograph before the crop.
    size: (u32, u32),
    top: u32,
    left: u32,
    mirrored: bool,
}

impl Rules {
    /// The same resize for both purposes.
    pub const fn both(resize: Resize) -> Self {
        Self { training: resize, testing: resize }
    }
}

impl Preparation {
    /// The paper's preparation: resized to a square of 256 pixels whatever the shape, then cropped to 224 (METHOD.md 2.2).
    pub const PAPER: Self = Self {
        rules: Rules::both(Resize::Square),
        edge: 256,
        crop: 224,
        filter: Filter::Bilinear,
        exif: Exif::Rotate,
        gray: false,
    };
    /// The longest side of a crop, in pixels.
    pub const LARGEST: usize = 1024;
    /// The longest side before the crop that can be requested, in pixels.
    pub const LARGEST_EDGE: usize = 2048;

    /// The preparation for a model's input. The name of the dataset (`overrides`) has precedence over the model, and the model
    /// over the defaults: `rules`, bilinear, and a side before the crop of 8/7 of the model's, as in the paper.
    ///
    /// # Errors
    /// [`Error::Side`] for a model's side of 0 or above [`Preparation::LARGEST`]; [`Error::Edge`] for a side before the crop that
    /// is shorter than the crop or above [`Preparation::LARGEST_EDGE`].
    pub fn new(rules: Rules, input: &InputSpec, overrides: &Overrides) -> Result<Self> {
        let (channels, height, width) = input.shape;
        let side = height.max(width);
        if !(1..=Self::LARGEST).contains(&side) {
            return Err(Error::Side { found: side, most: Self::LARGEST });
        }
        let rules = overrides.resize.or(input.resize).map_or(rules, Rules::both);
        let edge = overrides.edge.or(input.edge).unwrap_or((side * 8).div_ceil(7));
        if !(side..=Self::LARGEST_EDGE).contains(&edge) {
            return Err(Error::Edge { edge, side, most: Self::LARGEST_EDGE });
        }
        Ok(Self {
            rules,
            edge: edge as u32,
            crop: side as u32,
            filter: overrides.filter.or(input.filter).unwrap_or(Filter::Bilinear),
            exif: overrides.exif.unwrap_or(Exif::Rotate),
            gray: channels == 1,
        })
    }

    /// The side of the crop, in pixels.
    pub fn side(self) -> usize {
        self.crop as usize
    }

    /// Number of channels: 1 for gray, 3 for RGB.
    pub fn channels(self) -> usize {
        if self.gray { 1 } else { 3 }
    }

    /// The center crop of a photograph with these sides; `None` if `resize=none` and the sides are not those of the crop.
    pub(super) fn middle(self, (width, height): (u32, u32)) -> Option<Cut> {
        let size = self.resized(self.rules.testing, width, height)?;
        Some(Cut { size, top: half(size.1 - self.crop), left: half(size.0 - self.crop), mirrored: false })
    }

    /// A random crop, mirrored or not, drawn by seed, epoch and index; `None` as in [`Preparation::middle`].
    pub(super) fn anywhere(self, (width, height): (u32, u32), seed: Seed, epoch: u64, index: usize) -> Option<Cut> {
        let size = self.resized(self.rules.training, width, height)?;
        let mut random = seed.stream(Purpose::Augmentation, [epoch, index as u64]);
        // Drawn as u32: the result must not depend on the width of a pointer.
        let mut margin = |side| random.random_range(0..=side - self.crop);
        let (top, left) = (margin(size.1), margin(size.0));
        Some(Cut { size, top, left, mirrored: random.random() })
    }

    /// Width and height before the crop, neither of them shorter than the crop; `None` if the photograph has the wrong size.
    fn resized(self, resize: Resize, width: u32, height: u32) -> Option<(u32, u32)> {
        // At most the longest decoded side times the longest edge, 2^25: no overflow.
        let long = |long: u32, short: u32| self.edge * long / short;
        match resize {
            Resize::Square => Some((self.edge, self.edge)),
            Resize::Shorter if width <= height => Some((self.edge, long(height, width))),
            Resize::Shorter => Some((long(width, height), self.edge)),
            Resize::None => ((width, height) == (self.crop, self.crop)).then_some((width, height)),
        }
    }

    /// Resizes and crops `image`, and writes the result to `pixels` as `channels × side × side` numbers in `[0, 1]`, channel by
    /// channel. For one channel, `image` is gray afterward.
    pub(super) fn apply(self, image: &mut RgbImage, cut: Cut, pixels: &mut [f32]) {
        let Cut { size, top, left, mirrored } = cut;
        if self.gray {
            // Luma in all three channels: they are resized alike, and the first one is used.
            image.pixels_mut().for_each(|pixel| pixel.0 = [luma(pixel.0); 3]);
        }
        let part = (left..left + self.crop, top..top + self.crop);
        let square = resample::resample(image, size, part, self.filter);
        let side = self.side();
        for (channel, plane) in pixels.chunks_exact_mut(side * side).enumerate() {
            for (row, from) in plane.chunks_exact_mut(side).zip(square.chunks_exact(3 * side)) {
                let values = from[channel..].iter().step_by(3).map(|&value| f32::from(value) / 255.0);
                if mirrored {
                    row.iter_mut().rev().zip(values).for_each(|(pixel, value)| *pixel = value);
                } else {
                    row.iter_mut().zip(values).for_each(|(pixel, value)| *pixel = value);
                }
            }
        }
    }
}

impl fmt::Display for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rules, edge, crop, filter, exif, gray } = self;
        match rules.testing {
            Resize::None => write!(f, "resize=none,crop={crop},exif={exif}"),
            resize => write!(f, "resize={resize},edge={edge},crop={crop},filter={filter},exif={exif}"),
        }?;
        f.write_str(if *gray { ",channels=1" } else { "" })
    }
}

/// The luma of ITU-R 601-2, in the integers of Pillow.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue) + 0x8000) >> 16) as u8
}

/// Half of a margin; a tie is rounded to the even number, as in torchvision's `CenterCrop`.
fn half(margin: u32) -> u32 {
    (f64::from(margin) / 2.0).round_ties_even() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use sha2::{Digest, Sha256};
    use std::collections::HashSet;

    /// A smooth image with sharp edges and no symmetry, as in `tests/fixtures/make_pillow.py`.
    fn formula(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let edge = if (x / 5 + y / 3) % 2 == 0 { 90 } else { 0 };
            Rgb([(x * 7 + y * 3) % 166 + edge, (x * x + 2 * y) % 166 + edge, (y * y + x * y) % 166 + edge]
                .map(|value| value as u8))
        })
    }

    fn preparation(resize: Resize, edge: u32, crop: u32, filter: Filter) -> Preparation {
        Preparation { rules: Rules::both(resize), edge, crop, filter, exif: Exif::Rotate, gray: false }
    }

    /// The center crop as bytes: RGB, row by row.
    fn middle(preparation: Preparation, image: &RgbImage) -> Vec<u8> {
        let size = preparation.side() * preparation.side();
        let mut pixels = vec![9.0; 3 * size];
        preparation.apply(&mut image.clone(), preparation.middle(image.dimensions()).unwrap(), &mut pixels);
        let byte = |place: usize| (pixels[place] * 255.0).round() as u8;
        (0..size).flat_map(|place| [0, 1, 2].map(|channel| byte(channel * size + place))).collect()
    }

    macro_rules! expected {
        ($name:literal) => {
            [
                &include_bytes!(concat!("../../tests/fixtures/pillow-", $name, "-bilinear.bin"))[..],
                &include_bytes!(concat!("../../tests/fixtures/pillow-", $name, "-bicubic.bin"))[..],
            ]
        };
    }

    /// Every byte is equal, for larger and smaller results and for needles.
    #[test]
    fn resized_as_pillow_does() {
        for ((width, height), (to_width, to_height), expected) in [
            ((97, 71), (16, 16), expected!("97x71-16x16")),
            ((5, 7), (24, 24), expected!("5x7-24x24")),
            ((200, 9), (24, 24), expected!("200x9-24x24")),
            ((40, 130), (30, 20), expected!("40x130-30x20")), // the vertical pass first
        ] {
            for (filter, expected) in Filter::ALL.into_iter().zip(expected) {
                let size = (to_width, to_height);
                let found = resample::resample(&formula(width, height), size, (0..to_width, 0..to_height), filter);
                assert!(found == expected, "{width}×{height} to {to_width}×{to_height}, {filter}");
            }
        }
    }

    #[test]
    fn the_middle_is_that_of_torchvision() {
        for ((width, height), edge, expected) in [
            ((81, 60), 37, expected!("81x60-shorter37-middle32")),
            ((60, 81), 39, expected!("60x81-shorter39-middle32")),
            ((30, 20), 39, expected!("30x20-shorter39-middle32")),
        ] {
            for (filter, expected) in Filter::ALL.into_iter().zip(expected) {
                let found = middle(preparation(Resize::Shorter, edge, 32, filter), &formula(width, height));
                assert!(found == expected, "{width}×{height}, {edge}, {filter}");
            }
        }
        // Typical sides of photographs; expected is the SHA-256 of the bytes.
        for ((width, height), preparation, expected) in [
            (
                (640, 480),
                preparation(Resize::Square, 256, 256, Filter::Bilinear),
                "1e7982dafafaf34b3dfd83bdaa16c40d756bdde320682715557104c21a41e3cf",
            ),
            (
                (640, 480),
                preparation(Resize::Square, 256, 256, Filter::Bicubic),
                "5e9846be0e51b3a66ca43a9efbb709dcc4353d4c44a1b39bf16d75b1dcedbb97",
            ),
            (
                (300, 400),
                preparation(Resize::Shorter, 256, 224, Filter::Bilinear),
                "e004ac757effdbd8c04eb4677de38f831c700211281bc24f2b83cad0dcf442e5",
            ),
            (
                (300, 400),
                preparation(Resize::Shorter, 256, 224, Filter::Bicubic),
                "ef6be8afaa07d3a6697352b616b2c30363abd068d2f37ea7521e2f3aed9be456",
            ),
        ] {
            let found = Sha256::digest(middle(preparation, &formula(width, height)));
            let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, expected, "{width}×{height}, {preparation}");
        }
    }

    /// Photographs are converted to luma before they are resized.
    #[test]
    fn gray_is_that_of_pillow() {
        let expected = [
            &include_bytes!("../../tests/fixtures/pillow-81x60-luma-shorter37-middle32-bilinear.bin")[..],
            include_bytes!("../../tests/fixtures/pillow-81x60-luma-shorter37-middle32-bicubic.bin"),
        ];
        for (filter, expected) in Filter::ALL.into_iter().zip(expected) {
            let (mut image, mut pixels) = (formula(81, 60), [9.0; 32 * 32]);
            let preparation = Preparation { gray: true, ..preparation(Resize::Shorter, 37, 32, filter) };
            preparation.apply(&mut image, preparation.middle((81, 60)).unwrap(), &mut pixels);
            assert!(pixels.map(|pixel| (pixel * 255.0).round() as u8) == expected, "{filter}");
        }
        assert!((0..=255).all(|value| luma([value; 3]) == value));
    }

    #[test]
    fn one_pixel_fills_the_square_and_needles_cost_no_more_than_their_middle() {
        let preparation = preparation(Resize::Shorter, 8, 7, Filter::Bilinear);
        let white = middle(preparation, &RgbImage::from_pixel(1, 1, Rgb([0, 51, 255])));
        assert_eq!(white, [0, 51, 255].repeat(49));
        // Resized entirely they would have 2048×33,554,432 pixels, 192 GB.
        for (width, height) in [(1, 16_384), (16_384, 1)] {
            let preparation = Preparation { edge: 2048, ..preparation };
            assert_eq!(middle(preparation, &RgbImage::from_pixel(width, height, Rgb([7, 8, 9]))), [7, 8, 9].repeat(49));
            let corner = preparation.anywhere((width, height), Seed(0), 0, 0).unwrap();
            preparation.apply(&mut formula(width, height), corner, &mut [0.0; 3 * 49]);
        }
    }

    #[test]
    fn cuts_take_what_they_say() {
        // A square that needs no resize; red is the column, green the row.
        let preparation = preparation(Resize::Square, 8, 6, Filter::Bicubic);
        let image = RgbImage::from_fn(8, 8, |x, y| Rgb([x as u8, y as u8, 0]));
        let cut = |cut| {
            let mut pixels = vec![9.0; 3 * 36];
            preparation.apply(&mut image.clone(), cut, &mut pixels);
            let byte = |place: usize| (pixels[place] * 255.0).round() as usize;
            // Columns along the first row, rows along the first column.
            ((0..6).map(byte).collect::<Vec<_>>(), (0..6).map(|y| byte(36 + 6 * y)).collect::<Vec<_>>())
        };
        assert_eq!(cut(preparation.middle((8, 8)).unwrap()), ((1..7).collect(), (1..7).collect()));
        let corner = Cut { size: (8, 8), top: 2, left: 0, mirrored: true };
        assert_eq!(cut(corner), ((0..6).rev().collect(), (2..8).collect()));
        // Halves of 1, 3, 5 and 7, as in torchvision.
        assert_eq!([1, 3, 5, 7].map(half), [0, 2, 2, 4]);
    }

    #[test]
    fn only_photographs_of_the_right_size_go_without_resizing() {
        let preparation = preparation(Resize::None, 8, 6, Filter::Bilinear);
        assert_eq!(middle(preparation, &formula(6, 6)), formula(6, 6).into_raw());
        for size in [(6, 7), (7, 6), (8, 8), (3, 3)] {
            assert_eq!((preparation.middle(size), preparation.anywhere(size, Seed(0), 0, 0)), (None, None));
        }
        let cuts: HashSet<(u32, u32)> = (0..100)
            .map(|index| preparation.anywhere((6, 6), Seed(0), 0, index).map(|cut| (cut.top, cut.left)).unwrap())
            .collect();
        assert_eq!(cuts, HashSet::from([(0, 0)]));
    }

    #[test]
    fn draws_are_keyed_and_reach_every_corner() {
        let draw = |seed, epoch, index| Preparation::PAPER.anywhere((640, 480), Seed(seed), epoch, index).unwrap();
        assert_eq!(draw(0, 1, 2), draw(0, 1, 2));
        assert!(draw(0, 1, 2) != draw(1, 1, 2) && draw(0, 1, 2) != draw(0, 2, 2) && draw(0, 1, 2) != draw(0, 1, 3));
        let all: Vec<Cut> = (0..2000).map(|index| draw(0, 0, index)).collect();
        for of in [|cut: &Cut| cut.top, |cut: &Cut| cut.left] {
            assert_eq!(all.iter().map(of).collect::<HashSet<_>>(), (0..=32).collect());
        }
        let mirrored = all.iter().filter(|cut| cut.mirrored).count();
        assert!((900..1100).contains(&mirrored), "{mirrored} of 2000");
        // Crops come from the whole resized photograph, not only from its middle square.
        let shorter = Preparation { rules: Rules::both(Resize::Shorter), ..Preparation::PAPER };
        let cuts: Vec<Cut> = (0..5000).map(|index| shorter.anywhere((640, 480), Seed(0), 0, index).unwrap()).collect();
        assert_eq!(cuts[0].size, (341, 256));
        let most = |of: fn(&Cut) -> u32| cuts.iter().map(of).max().unwrap();
        assert_eq!((most(|cut| cut.left), most(|cut| cut.top)), (341 - 224, 32));
    }

    /// The name of the dataset has precedence over the model, and the model over the defaults.
    #[test]
    fn precedence() {
        let cub = Rules { training: Resize::Square, testing: Resize::Shorter };
        let torchvision = InputSpec::of_shape((3, 224, 224));
        let timm = InputSpec { resize: Some(Resize::Shorter), edge: Some(236), filter: Some(Filter::Bicubic), ..torchvision };
        let says = |rules, input, overrides| Preparation::new(rules, &input, &overrides).unwrap().to_string();
        let (square, none) = (Rules::both(Resize::Square), Overrides::default());
        assert_eq!(Preparation::new(square, &torchvision, &none).unwrap(), Preparation::PAPER);
        assert_eq!(says(square, torchvision, none), "resize=square,edge=256,crop=224,filter=bilinear,exif=rotate");
        assert_eq!(says(cub, torchvision, none), "resize=shorter,edge=256,crop=224,filter=bilinear,exif=rotate");
        assert_eq!(Preparation::new(cub, &torchvision, &none).unwrap().rules, cub);
        assert_eq!(says(square, timm, none), "resize=shorter,edge=236,crop=224,filter=bicubic,exif=rotate");
        let said = Overrides {
            resize: Some(Resize::Square),
            edge: Some(224),
            filter: Some(Filter::Bilinear),
            exif: Some(Exif::Ignore),
            ..none
        };
        assert_eq!(says(cub, timm, said), "resize=square,edge=224,crop=224,filter=bilinear,exif=ignore");
        assert_eq!(Preparation::new(cub, &timm, &said).unwrap().rules, square);
        let none = Overrides { resize: Some(Resize::None), ..none };
        assert_eq!(says(cub, timm, none), "resize=none,crop=224,exif=rotate");
        let gray = InputSpec::of_shape((1, 28, 28));
        assert_eq!(says(square, gray, none), "resize=none,crop=28,exif=rotate,channels=1");
        assert_eq!(Preparation::new(square, &gray, &none).unwrap().channels(), 1);
    }

    #[test]
    fn sides() {
        let new = |side, edge| {
            let (input, overrides) = (InputSpec::of_shape((3, side, side)), Overrides { edge, ..Overrides::default() });
            Preparation::new(Rules::both(Resize::Square), &input, &overrides)
        };
        for side in [1, 32, 299, 1024] {
            let preparation = new(side, None).unwrap();
            assert!(preparation.side() == side && preparation.edge > preparation.crop);
        }
        let says = |side, edge| new(side, edge).unwrap_err().to_string();
        assert_eq!(says(0, None), "photographs cannot be cropped to 0 pixels a side: 1 to 1024 are possible");
        assert!(new(usize::MAX, None).is_err() && new(224, Some(224)).is_ok());
        let edge = "edge=223 does not fit a model that takes 224 pixels a side: 224 to 2048 are possible";
        assert_eq!(says(224, Some(223)), edge);
    }
}
