//! Conversion of an image to the first map, and back.

use crate::size::{product, sum};

/// Converts an image of `[0, 1]` pixels, channel by channel, to a padded map, normalized by mean and standard deviation.
///
/// A first convolution of stride 2 would use a register for three or even one channel. Here each 2×2 pixels become one pixel of
/// four times the channels, `(row, column, channel)` with the channel fastest, and the convolution becomes one of stride 1 with
/// half the kernel and without padding; its sums are the same.
#[derive(Clone, Debug)]
pub struct Shuffle {
    channels: usize,
    size: (usize, usize),
    kernel: usize,
    /// Zeros in front of the image, including the one that makes the kernel even.
    before: usize,
    map: (usize, usize),
    mean: Vec<f32>,
    inverse_std: Vec<f32>,
}

impl Shuffle {
    /// For images of `size` (rows and columns), with the mean and the standard deviation of each channel, and for a convolution
    /// of stride 2 with an odd kernel and an odd padding.
    pub fn new(size: (usize, usize), mean: &[f32], std: &[f32], kernel: usize, padding: usize) -> Self {
        assert!(!mean.is_empty() && mean.len() == std.len() && size.0 > 0 && size.1 > 0, "images with channels and pixels");
        assert!(kernel % 2 == 1 && padding % 2 == 1, "a kernel and a padding that one more row of zeros makes even");
        let padded = |side: usize| sum([side, padding, padding]);
        assert!(padded(size.0) >= kernel && padded(size.1) >= kernel, "the kernel is larger than the padded image");
        let side = |side: usize| sum([(padded(side) - kernel) / 2, kernel.div_ceil(2)]);
        Self {
            channels: mean.len(),
            size,
            kernel,
            before: sum([padding, 1]),
            map: (side(size.0), side(size.1)),
            mean: mean.to_vec(),
            inverse_std: std.iter().map(|std| 1.0 / std).collect(),
        }
    }

    /// Rows and columns of the padded map: exactly the pixels that the convolution reads.
    pub fn map(&self) -> (usize, usize) {
        self.map
    }

    /// Channels of the map: four times the image's.
    pub fn map_channels(&self) -> usize {
        product([4, self.channels])
    }

    /// Side of the kernel on the map.
    pub fn map_kernel(&self) -> usize {
        self.kernel.div_ceil(2)
    }

    /// Numbers in an image.
    pub fn image_len(&self) -> usize {
        product([self.channels, self.size.0, self.size.1])
    }

    /// Numbers in the map of an image.
    pub fn map_len(&self) -> usize {
        product([self.map.0, self.map.1, self.map_channels()])
    }

    /// Converts an image `(channels, height, width)` to its map.
    pub fn forward(&self, pixels: &[f32], map: &mut [f32]) {
        assert!(pixels.len() == self.image_len() && map.len() == self.map_len(), "an image of this shape");
        map.fill(0.0);
        self.rows(|channel, places, row| {
            let (mean, scale) = (self.mean[channel], self.inverse_std[channel]);
            let pixels = &pixels[row..][..self.size.1];
            pixels.iter().zip(places).for_each(|(&pixel, place)| map[place] = (pixel - mean) * scale);
        });
    }

    /// Computes the gradient of the pixels from the gradient of the map; zero for pixels that the convolution does not read.
    pub fn backward(&self, map: &[f32], pixels: &mut [f32]) {
        assert!(pixels.len() == self.image_len() && map.len() == self.map_len(), "an image of this shape");
        pixels.fill(0.0);
        self.rows(|channel, places, row| {
            let scale = self.inverse_std[channel];
            let pixels = &mut pixels[row..][..self.size.1];
            pixels.iter_mut().zip(places).for_each(|(pixel, place)| *pixel = map[place] * scale);
        });
    }

    /// Visits every row of every channel that the convolution reads: the channel, the positions of the row's pixels in the map,
    /// and the start of the row in the image.
    fn rows(&self, mut visit: impl FnMut(usize, &mut dyn Iterator<Item = usize>, usize)) {
        let (height, width) = self.size;
        let (read_rows, read_columns) = (height.min(2 * self.map.0 - self.before), width.min(2 * self.map.1 - self.before));
        for channel in 0..self.channels {
            for y in 0..read_rows {
                let place = |x: usize| {
                    let (y, x) = (y + self.before, x + self.before);
                    let (block, phase) = (y / 2 * self.map.1 + x / 2, y % 2 * 2 + x % 2);
                    (block * 4 + phase) * self.channels + channel
                };
                visit(channel, &mut (0..read_columns).map(place), (channel * height + y) * width);
            }
        }
    }

    /// Converts filters `(outputs, channels, kernel, kernel)` to those of the convolution on the map,
    /// `(outputs, 4 * channels, half, half)`; entries without a weight are zero.
    pub fn shuffle_filters(&self, weight: &[f32]) -> Vec<f32> {
        let (filter, shuffled) = self.filter_lens();
        assert!(weight.len().is_multiple_of(filter), "whole filters");
        let mut shuffled = vec![0.0; product([weight.len() / filter, shuffled])];
        self.taps(weight.len(), |place, shuffled_place| shuffled[shuffled_place] = weight[place]);
        shuffled
    }

    /// The inverse of [`Shuffle::shuffle_filters`]; the entries without a weight are dropped.
    pub fn unshuffle_filters(&self, shuffled: &[f32]) -> Vec<f32> {
        let (filter, shuffled_filter) = self.filter_lens();
        assert!(shuffled.len().is_multiple_of(shuffled_filter), "whole filters");
        let mut weight = vec![0.0; product([shuffled.len() / shuffled_filter, filter])];
        self.taps(weight.len(), |place, shuffled_place| weight[place] = shuffled[shuffled_place]);
        weight
    }

    /// Numbers in the filter of one output, and in a shuffled one.
    fn filter_lens(&self) -> (usize, usize) {
        let half = self.map_kernel();
        (product([self.channels, self.kernel, self.kernel]), product([self.map_channels(), half, half]))
    }

    /// Visits every weight: its position in the filters and in the shuffled ones. The kernel gets a row and a column of zeros in
    /// front, so that it is even.
    fn taps(&self, len: usize, mut visit: impl FnMut(usize, usize)) {
        let (channels, kernel, half) = (self.channels, self.kernel, self.map_kernel());
        for place in 0..len {
            let (x, y) = (place % kernel + 1, place / kernel % kernel + 1);
            let (channel, output) = (place / (kernel * kernel) % channels, place / (kernel * kernel * channels));
            let map_channel = (y % 2 * 2 + x % 2) * channels + channel;
            visit(place, ((output * 4 * channels + map_channel) * half + y / 2) * half + x / 2);
        }
    }
}
