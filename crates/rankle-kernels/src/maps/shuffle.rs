//! From images to the first map, and back.

/// Puts images of `[0, 1]` pixels, channel by channel, into the layout of maps, with mean and standard deviation taken off.
///
/// A first convolution of stride 2 would use a register for three or even one channel. Here each 2×2 pixels become one pixel of
/// four times the channels, `(row, column, channel)` with the channel fastest, and the convolution one of stride 1 with half
/// the kernel: the same sums.
#[derive(Clone, Debug)]
pub struct Shuffle {
    channels: usize,
    size: (usize, usize),
    mean: Vec<f32>,
    inverse_std: Vec<f32>,
}

impl Shuffle {
    /// Images of `channels` channels and `size` rows and columns; of each channel the mean and the standard deviation.
    pub fn new(size: (usize, usize), mean: &[f32], std: &[f32]) -> Self {
        assert!(!mean.is_empty() && mean.len() == std.len() && size.0 > 0 && size.1 > 0, "images with channels and pixels");
        Self { channels: mean.len(), size, mean: mean.to_vec(), inverse_std: std.iter().map(|std| 1.0 / std).collect() }
    }

    /// Rows and columns of the map: half of the image's, rounded up.
    pub fn map(&self) -> (usize, usize) {
        (self.size.0.div_ceil(2), self.size.1.div_ceil(2))
    }

    /// Channels of the map: four times the image's.
    pub fn map_channels(&self) -> usize {
        4 * self.channels
    }

    /// Numbers per image.
    pub fn image_len(&self) -> usize {
        self.channels * self.size.0 * self.size.1
    }

    /// Numbers per image in the map.
    pub fn map_len(&self) -> usize {
        self.map().0 * self.map().1 * self.map_channels()
    }

    /// `(images, channels, height, width)` to the map. Where an odd image ends in the middle of 2×2 pixels there are zeros, which
    /// is what a padded convolution reads there.
    pub fn forward(&self, pixels: &[f32], map: &mut [f32]) {
        let images = pixels.len() / self.image_len();
        assert!(pixels.len() == images * self.image_len() && map.len() == images * self.map_len(), "images of this shape");
        if self.size.0 % 2 == 1 || self.size.1 % 2 == 1 {
            map.fill(0.0);
        }
        self.rows(images, |channel, place, row| {
            let (mean, scale) = (self.mean[channel], self.inverse_std[channel]);
            let pixels = &pixels[row..][..self.size.1];
            pixels.iter().zip(place).for_each(|(&pixel, place)| map[place] = (pixel - mean) * scale);
        });
    }

    /// The slope of the pixels from that of the map.
    pub fn backward(&self, map: &[f32], pixels: &mut [f32]) {
        let images = pixels.len() / self.image_len();
        assert!(pixels.len() == images * self.image_len() && map.len() == images * self.map_len(), "images of this shape");
        self.rows(images, |channel, place, row| {
            let scale = self.inverse_std[channel];
            let pixels = &mut pixels[row..][..self.size.1];
            pixels.iter_mut().zip(place).for_each(|(pixel, place)| *pixel = map[place] * scale);
        });
    }

    /// Every row of every channel of every image: the channel, where its pixels lie in the map, and where the row starts.
    fn rows(&self, images: usize, mut visit: impl FnMut(usize, &mut dyn Iterator<Item = usize>, usize)) {
        let (height, width) = self.size;
        let (columns, channels) = (self.map().1, self.channels);
        for image in 0..images {
            for channel in 0..channels {
                for y in 0..height {
                    let pixel = |x: usize| {
                        let (block, phase) = (y / 2 * columns + x / 2, y % 2 * 2 + x % 2);
                        (block * images + image) * 4 * channels + phase * channels + channel
                    };
                    visit(channel, &mut (0..width).map(pixel), ((image * channels + channel) * height + y) * width);
                }
            }
        }
    }

    /// The filters of a convolution of stride 2 with an odd kernel, `(outputs, channels, kernel, kernel)`, as those of a
    /// convolution of stride 1 on the map, `(outputs, 4 * channels, half, half)`; where there is no weight, zero.
    pub fn shuffle_filters(&self, weight: &[f32], kernel: usize) -> Vec<f32> {
        let mut shuffled = vec![0.0; weight.len() / (kernel * kernel) * 4 * half(kernel) * half(kernel)];
        self.taps(weight.len(), kernel, |place, shuffled_place| shuffled[shuffled_place] = weight[place]);
        shuffled
    }

    /// Back again: what [`Shuffle::shuffle_filters`] put in is taken out, the zeros are dropped.
    pub fn unshuffle_filters(&self, shuffled: &[f32], kernel: usize) -> Vec<f32> {
        let mut weight = vec![0.0; shuffled.len() / (4 * half(kernel) * half(kernel)) * kernel * kernel];
        self.taps(weight.len(), kernel, |place, shuffled_place| weight[place] = shuffled[shuffled_place]);
        weight
    }

    /// Zeros in front of the map that stand for `padding` zeros in front of the image, and the side of the shuffled kernel.
    pub fn shuffled_kernel(kernel: usize, padding: usize) -> (usize, usize) {
        assert!(kernel % 2 == 1 && padding % 2 == 1, "a kernel and a padding that an extra row of zeros makes even");
        (half(kernel), padding.div_ceil(2))
    }

    /// The kernel gets a row and a column of zeros in front, so that it is even.
    fn taps(&self, len: usize, kernel: usize, mut visit: impl FnMut(usize, usize)) {
        let (channels, half) = (self.channels, half(kernel));
        for place in 0..len {
            let (x, y) = (place % kernel + 1, place / kernel % kernel + 1);
            let (channel, output) = (place / (kernel * kernel) % channels, place / (kernel * kernel * channels));
            let map_channel = (y % 2 * 2 + x % 2) * channels + channel;
            visit(place, ((output * 4 * channels + map_channel) * half + y / 2) * half + x / 2);
        }
    }
}

/// Side of the shuffled kernel.
fn half(kernel: usize) -> usize {
    kernel.div_ceil(2)
}
