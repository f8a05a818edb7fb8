//! From an image to the first map, and back.

use crate::size::{product, sum};

/// Puts an image of `[0, 1]` pixels, channel by channel, into the layout of maps, padded, with mean and standard deviation
/// taken off.
///
/// A first convolution of stride 2 would use a register for three or even one channel. Here each 2×2 pixels become one pixel of
/// four times the channels, `(row, column, channel)` with the channel fastest, and the convolution one of stride 1 with half
/// the kernel, without padding: the same sums.
#[derive(Clone, Debug)]
pub struct Shuffle {
    channels: usize,
    size: (usize, usize),
    kernel: usize,
    /// Zeros in front of the image, with the one that makes the kernel even.
    before: usize,
    map: (usize, usize),
    mean: Vec<f32>,
    inverse_std: Vec<f32>,
}

impl Shuffle {
    /// Images of `size` rows and columns, of each channel the mean and the standard deviation, for a convolution of stride 2 with
    /// an odd kernel and an odd padding.
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

    /// Rows and columns of the padded map: just what the convolution reads.
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

    /// Numbers in its map.
    pub fn map_len(&self) -> usize {
        product([self.map.0, self.map.1, self.map_channels()])
    }

    /// `(channels, height, width)` to the map.
    pub fn forward(&self, pixels: &[f32], map: &mut [f32]) {
        assert!(pixels.len() == self.image_len() && map.len() == self.map_len(), "an image of this shape");
        map.fill(0.0);
        self.rows(|channel, places, row| {
            let (mean, scale) = (self.mean[channel], self.inverse_std[channel]);
            let pixels = &pixels[row..][..self.size.1];
            pixels.iter().zip(places).for_each(|(&pixel, place)| map[place] = (pixel - mean) * scale);
        });
    }

    /// The gradient of the pixels from that of the map; where the convolution reads no pixel, zero.
    pub fn backward(&self, map: &[f32], pixels: &mut [f32]) {
        assert!(pixels.len() == self.image_len() && map.len() == self.map_len(), "an image of this shape");
        pixels.fill(0.0);
        self.rows(|channel, places, row| {
            let scale = self.inverse_std[channel];
            let pixels = &mut pixels[row..][..self.size.1];
            pixels.iter_mut().zip(places).for_each(|(pixel, place)| *pixel = map[place] * scale);
        });
    }

    /// Every row of every channel that the convolution reads: the channel, where its pixels lie in the map, and where in the
    /// image it starts.
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

    /// The filters `(outputs, channels, kernel, kernel)` as those of the convolution on the map,
    /// `(outputs, 4 * channels, half, half)`; where there is no weight, zero.
    pub fn shuffle_filters(&self, weight: &[f32]) -> Vec<f32> {
        let (filter, shuffled) = self.filter_lens();
        assert!(weight.len().is_multiple_of(filter), "whole filters");
        let mut shuffled = vec![0.0; product([weight.len() / filter, shuffled])];
        self.taps(weight.len(), |place, shuffled_place| shuffled[shuffled_place] = weight[place]);
        shuffled
    }

    /// Back again: what [`Shuffle::shuffle_filters`] put in is taken out, the zeros are dropped.
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

    /// The kernel gets a row and a column of zeros in front, so that it is even.
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
