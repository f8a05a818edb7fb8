//! Conversion between planes and the stacks of [`crate::maps`].

use crate::size::product;

/// Pixels and channels of a block, which stays in the cache.
const BLOCK: usize = 16;

/// Converts planes `(images, channels, pixels)` to a stack `(pixels, images, channels)`.
pub fn to_stack(planes: &[f32], images: usize, channels: usize, stack: &mut [f32]) {
    let pixels = check(planes, images, channels, stack);
    for (image, planes) in planes.chunks_exact(channels * pixels).enumerate() {
        for first in (0..pixels).step_by(BLOCK) {
            let count = BLOCK.min(pixels - first);
            for channel in (0..channels).step_by(BLOCK) {
                let width = BLOCK.min(channels - channel);
                let place = |pixel: usize| ((first + pixel) * images + image) * channels + channel;
                let source = |channel_of: usize| (channel + channel_of) * pixels + first;
                if count == BLOCK && width == BLOCK {
                    let mut block = [[0.0; BLOCK]; BLOCK];
                    for (index, row) in block.iter_mut().enumerate() {
                        row.copy_from_slice(&planes[source(index)..][..BLOCK]);
                    }
                    for pixel in 0..BLOCK {
                        let target: &mut [f32; BLOCK] = (&mut stack[place(pixel)..][..BLOCK]).try_into().expect("a block");
                        *target = std::array::from_fn(|index| block[index][pixel]);
                    }
                    continue;
                }
                for pixel in 0..count {
                    for (index, target) in stack[place(pixel)..][..width].iter_mut().enumerate() {
                        *target = planes[source(index) + pixel];
                    }
                }
            }
        }
    }
}

/// Converts a stack to planes: the inverse of [`to_stack`].
pub fn from_stack(stack: &[f32], images: usize, channels: usize, planes: &mut [f32]) {
    let pixels = check(planes, images, channels, stack);
    for (image, planes) in planes.chunks_exact_mut(channels * pixels).enumerate() {
        for first in (0..pixels).step_by(BLOCK) {
            let count = BLOCK.min(pixels - first);
            for channel in (0..channels).step_by(BLOCK) {
                let width = BLOCK.min(channels - channel);
                let place = |pixel: usize| ((first + pixel) * images + image) * channels + channel;
                let target = |channel_of: usize| (channel + channel_of) * pixels + first;
                if count == BLOCK && width == BLOCK {
                    let mut block = [[0.0; BLOCK]; BLOCK];
                    for (pixel, row) in block.iter_mut().enumerate() {
                        row.copy_from_slice(&stack[place(pixel)..][..BLOCK]);
                    }
                    for index in 0..BLOCK {
                        let target: &mut [f32; BLOCK] = (&mut planes[target(index)..][..BLOCK]).try_into().expect("a block");
                        *target = std::array::from_fn(|pixel| block[pixel][index]);
                    }
                    continue;
                }
                for index in 0..width {
                    for (pixel, target) in planes[target(index)..][..count].iter_mut().enumerate() {
                        *target = stack[place(pixel) + index];
                    }
                }
            }
        }
    }
}

/// Panics on sizes that do not fit; returns the number of pixels of a plane.
fn check(planes: &[f32], images: usize, channels: usize, stack: &[f32]) -> usize {
    let each = product([images, channels]);
    assert!(each > 0 && planes.len() == stack.len() && planes.len().is_multiple_of(each), "planes of every channel");
    planes.len() / each
}
