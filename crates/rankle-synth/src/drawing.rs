//! Products and their photographs: a shape with a texture, seen from somewhere, in some light, among other things.

use image::{Rgb, RgbImage};
use rand::Rng;
use std::ops::Range;

type Color = [f32; 3];

/// What stays the same in every view.
pub(crate) struct Product {
    shape: usize,
    texture: usize,
    colors: [Color; 2],
    /// How fine the texture is.
    frequency: f32,
    /// Width over height.
    aspect: f32,
}

/// Where a product lies in an image, and how it is lit.
struct Pose {
    center: (f32, f32),
    /// Half its height in pixels.
    size: f32,
    angle: f32,
    /// How narrow it looks from the side: 1 from the front.
    squeeze: f32,
    /// How the light falls from left to right and from top to bottom.
    light: (f32, f32),
}

const SHAPES: [&str; 6] = ["disc", "box", "ring", "star", "bottle", "cross"];
const TEXTURES: usize = 5;

impl Product {
    /// Any product.
    pub(crate) fn new(random: &mut impl Rng) -> Self {
        Self {
            shape: random.random_range(0..SHAPES.len()),
            texture: random.random_range(0..TEXTURES),
            colors: [color(random, 0.05..0.95), color(random, 0.05..0.95)],
            frequency: random.random_range(4.0..12.0),
            aspect: random.random_range(0.7..1.4),
        }
    }

    /// The number of its shape.
    pub(crate) fn kind(&self) -> usize {
        self.shape
    }

    /// The name of its shape.
    pub(crate) fn kind_name(&self) -> &'static str {
        SHAPES[self.shape]
    }

    /// One view of it: other things behind it, its shadow, the product, the exposure and the noise of a camera.
    pub(crate) fn photograph(&self, random: &mut impl Rng) -> RgbImage {
        let (width, height) = (random.random_range(160..=288u32), random.random_range(160..=288u32));
        let half = width.min(height) as f32 / 2.0;
        let middle = (width as f32 / 2.0, height as f32 / 2.0);
        let [above, below] = [color(random, 0.4..0.95), color(random, 0.2..0.8)];
        let mut canvas = vec![above; (width * height) as usize];
        for (y, row) in canvas.chunks_exact_mut(width as usize).enumerate() {
            row.fill(mix(above, below, y as f32 / height as f32));
        }
        for _ in 0..random.random_range(0..5) {
            let place = |random: &mut _, middle: f32| middle * (1.0 + away(random, 0.6..1.1));
            let center = (place(random, middle.0), place(random, middle.1));
            let size = half * random.random_range(0.1..0.3);
            Self::new(random).paint(&mut canvas, width, &Pose { center, size, ..Pose::any(random) });
        }
        let size = half * random.random_range(0.55..0.8);
        let offset = |random: &mut _| half * away(random, 0.0..0.15);
        let pose = Pose { center: (middle.0 + offset(random), middle.1 + offset(random)), size, ..Pose::any(random) };
        let shadow = Pose { center: (pose.center.0 + 0.1 * size, pose.center.1 + 0.12 * size), light: (0.0, 0.0), ..pose };
        let dark = mix(below, [0.0; 3], 0.5);
        Self { colors: [dark; 2], texture: 0, ..*self }.paint(&mut canvas, width, &shadow);
        self.paint(&mut canvas, width, &pose);

        let exposure: Color = color(random, 0.93..1.07);
        let brightness = random.random_range(0.75..1.15);
        let mut pixels = canvas.into_iter();
        RgbImage::from_fn(width, height, |_, _| {
            let pixel = pixels.next().unwrap_or_default();
            let mut channel = |c: usize| pixel[c] * exposure[c] * brightness + random.random_range(-0.02..0.02);
            Rgb([channel(0), channel(1), channel(2)].map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8))
        })
    }

    fn paint(&self, canvas: &mut [Color], width: u32, pose: &Pose) {
        let (sin, cos) = pose.angle.sin_cos();
        for (y, row) in canvas.chunks_exact_mut(width as usize).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                // In units of the product: it fills [-1, 1], y downwards.
                let (dx, dy) = ((x as f32 - pose.center.0) / pose.size, (y as f32 - pose.center.1) / pose.size);
                let (u, v) = ((cos * dx + sin * dy) / (pose.squeeze * self.aspect), cos * dy - sin * dx);
                // Half a pixel inside of the edge it covers all, half a pixel outside nothing.
                let cover = (0.5 - self.distance(u, v) * pose.size).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let light = 1.0 - pose.light.0 * dx - pose.light.1 * dy;
                    let own = mix(self.colors[0], self.colors[1], self.texture(u, v)).map(|value| value * light);
                    *pixel = mix(*pixel, own, cover);
                }
            }
        }
    }

    /// About the distance from the edge, negative inside.
    fn distance(&self, u: f32, v: f32) -> f32 {
        let radius = u.hypot(v);
        let rectangle = |x: f32, y: f32, half_width: f32, half_height: f32| (x.abs() - half_width).max(y.abs() - half_height);
        match SHAPES[self.shape] {
            "disc" => radius - 1.0,
            "box" => rectangle(u, v, 0.9, 0.9),
            "ring" => (radius - 0.7).abs() - 0.3,
            "star" => radius - 0.7 - 0.3 * (5.0 * v.atan2(u)).cos(),
            "bottle" => rectangle(u, v - 0.3, 0.55, 0.7).min(rectangle(u, v + 0.6, 0.2, 0.4)),
            _ => rectangle(u, v, 1.0, 0.35).min(rectangle(u, v, 0.35, 1.0)),
        }
    }

    /// How much of the second color, in `[0, 1]`.
    fn texture(&self, u: f32, v: f32) -> f32 {
        let wave = |x: f32| 0.5 + 0.5 * (self.frequency * x).sin();
        match self.texture {
            0 => 0.0,                                          // plain
            1 => wave(u).round(),                              // stripes
            2 => (wave(u).round() - wave(v).round()).abs(),    // checks
            3 => f32::from(u8::from(wave(u) + wave(v) > 1.5)), // dots
            _ => wave(u.hypot(v)),                             // waves around the middle
        }
    }
}

impl Pose {
    /// Any viewpoint and any light; the place is the caller's.
    fn any(random: &mut impl Rng) -> Self {
        Self {
            center: (0.0, 0.0),
            size: 1.0,
            angle: away(random, 0.0..0.6),
            squeeze: random.random_range(0.65..1.0),
            light: (away(random, 0.0..0.35), away(random, 0.0..0.35)),
        }
    }
}

fn color(random: &mut impl Rng, range: Range<f32>) -> Color {
    [0; 3].map(|_| random.random_range(range.clone()))
}

/// So far from zero, to either side.
fn away(random: &mut impl Rng, range: Range<f32>) -> f32 {
    let distance = random.random_range(range);
    if random.random() { distance } else { -distance }
}

/// `share` of the second.
fn mix(first: Color, second: Color, share: f32) -> Color {
    [0, 1, 2].map(|c| first[c] + share * (second[c] - first[c]))
}
