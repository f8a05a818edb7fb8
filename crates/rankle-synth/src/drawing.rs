//! Drawings of products: a shape with a texture, from some viewpoint, in some light, with clutter.

use image::{Rgb, RgbImage};
use rand::Rng;
use std::ops::Range;

type Color = [f32; 3];

/// The properties of a product that are the same in every view.
pub(crate) struct Product {
    shape: usize,
    texture: usize,
    colors: [Color; 2],
    /// Angular frequency of the texture, in radians per unit of the product.
    frequency: f32,
    /// Width divided by height.
    aspect: f32,
}

/// Position, viewpoint and light of a product in an image.
struct Pose {
    center: (f32, f32),
    /// Half the height of the product in pixels.
    size: f32,
    angle: f32,
    /// Narrowing by a view from the side: 1 from the front.
    squeeze: f32,
    /// Decrease of the light per unit of the product, from left to right and from top to bottom.
    light: (f32, f32),
}

const SHAPES: [&str; 6] = ["disc", "box", "ring", "star", "bottle", "cross"];
const TEXTURES: usize = 5;

impl Product {
    pub(crate) fn new(random: &mut impl Rng) -> Self {
        Self {
            shape: random.random_range(0..SHAPES.len()),
            texture: random.random_range(0..TEXTURES),
            colors: [color(random, 0.05..0.95), color(random, 0.05..0.95)],
            frequency: random.random_range(4.0..12.0),
            aspect: random.random_range(0.7..1.4),
        }
    }

    pub(crate) fn kind(&self) -> usize {
        self.shape
    }

    pub(crate) fn kind_name(&self) -> &'static str {
        SHAPES[self.shape]
    }

    /// Draws one view: clutter behind the product, its shadow, the product, and the exposure and noise of a camera.
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
                // In units of the product, which fills [-1, 1]; y points down.
                let (dx, dy) = ((x as f32 - pose.center.0) / pose.size, (y as f32 - pose.center.1) / pose.size);
                let (u, v) = ((cos * dx + sin * dy) / (pose.squeeze * self.aspect), cos * dy - sin * dx);
                // Coverage is 1 half a pixel inside of the edge, and 0 half a pixel outside.
                let cover = (0.5 - self.distance(u, v) * pose.size).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let light = 1.0 - pose.light.0 * dx - pose.light.1 * dy;
                    let own = mix(self.colors[0], self.colors[1], self.texture(u, v)).map(|value| value * light);
                    *pixel = mix(*pixel, own, cover);
                }
            }
        }
    }

    /// Approximate distance from the edge, negative inside.
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

    /// Share of the second color, in `[0, 1]`.
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
    /// A random viewpoint and light; the caller sets center and size.
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

/// A random number whose magnitude is in `range`, with a random sign.
fn away(random: &mut impl Rng, range: Range<f32>) -> f32 {
    let distance = random.random_range(range);
    if random.random() { distance } else { -distance }
}

/// The mixture of two colors, with `share` of the second.
fn mix(first: Color, second: Color, share: f32) -> Color {
    [0, 1, 2].map(|c| first[c] + share * (second[c] - first[c]))
}
