//! The embedding shift: away from where the image was.

use crate::{Aim, Evaluation};
use candle_core::Tensor;
use rand::Rng;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Distance, Error, Points, Result};

/// Moves the embedding of each image as far as possible from its clean place: `L_i = -d(f(x̃_i), f(x_i))`, with `1 - ũ·u`
/// for cosine and `‖ṽ - v + 10⁻⁶‖` for Euclidean distance.
///
/// At the clean image the cosine loss has no slope. There, the first step follows the slope of `s·‖v‖` instead, with a
/// sign `s` given for each image; for Euclidean distance the offset already provides a slope.
///
/// # Source
/// Zhou et al., ECCV 2020, arXiv:2002.11293, section 4 ("maximum-shift-distance"); `method.md` 7.5, `pitfalls.md` P-14.
#[derive(Clone, Debug)]
pub struct EmbeddingShift {
    clean: Points,
    signs: Vec<f32>,
}

/// The offset that PyTorch's paired distance adds to each difference.
const OFFSET: f32 = 1e-6;

impl EmbeddingShift {
    /// `clean` holds the embeddings of the clean batch, `signs` one `±1` for each of them, as [`signs`] draws them.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one sign per image.
    pub fn new(clean: Points, signs: Vec<f32>) -> Result<Self> {
        if signs.len() != clean.len() {
            let expected = format!("({}), one per image", clean.len());
            return Err(Error::Shape { what: "the list of signs", actual: vec![signs.len()], expected });
        }
        Ok(Self { clean, signs })
    }
}

impl Aim for EmbeddingShift {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        let moved = place_like(&self.clean, raw)?;
        let loss = shifts(&self.clean, &moved)?.into_iter().map(|shift| -shift).collect();
        let slope = match self.clean.distance() {
            Distance::Cosine => self.clean.as_slice().to_vec(),
            Distance::Euclidean => euclidean_slope(&self.clean, &moved),
        };
        Ok(Evaluation { loss, slope: moved.pull_back(slope)? })
    }

    fn first_slope(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        if self.clean.distance() == Distance::Euclidean {
            return Ok(None);
        }
        let mut points = place_like(&self.clean, raw)?.as_slice().to_vec();
        for (row, sign) in points.chunks_exact_mut(self.clean.dim()).zip(&self.signs) {
            row.iter_mut().for_each(|x| *x *= sign);
        }
        Ok(Some(Tensor::from_vec(points, raw.shape(), &candle_core::Device::Cpu)?))
    }
}

/// How far each point has moved: the distance between equal rows, as the paper reports it.
///
/// # Errors
/// [`Error::Shape`] when the two do not have the same shape or distance.
pub fn shifts(clean: &Points, moved: &Points) -> Result<Vec<f64>> {
    check(clean, moved)?;
    let dim = clean.dim().max(1);
    let rows = clean.as_slice().chunks_exact(dim).zip(moved.as_slice().chunks_exact(dim));
    Ok(match clean.distance() {
        Distance::Cosine => rows.map(|(u, v)| 1.0 - sum(u, v, |u, v| f64::from(u) * f64::from(v))).collect(),
        Distance::Euclidean => rows.map(|(u, v)| euclidean(u, v)).collect(),
    })
}

/// One `±1` per key, drawn for `purpose`: [`Purpose::FirstStep`] with `[image, 0]` in an attack,
/// [`Purpose::TrainingFirstStep`] with `[epoch, image]` in adversarial training.
pub fn signs(seed: Seed, purpose: Purpose, keys: &[[u64; 2]]) -> Vec<f32> {
    keys.iter().map(|&key| if seed.stream(purpose, key).random::<bool>() { 1.0 } else { -1.0 }).collect()
}

fn place_like(clean: &Points, raw: &Tensor) -> Result<Points> {
    let points = clean.distance().place(raw)?;
    check(clean, &points)?;
    Ok(points)
}

fn check(clean: &Points, moved: &Points) -> Result<()> {
    if (clean.len(), clean.dim(), clean.distance()) == (moved.len(), moved.dim(), moved.distance()) {
        return Ok(());
    }
    let expected = format!("({}, {}) under {} distance", clean.len(), clean.dim(), clean.distance());
    Err(Error::Shape { what: "the embedding", actual: vec![moved.len(), moved.dim()], expected })
}

/// Summed in one fixed order, in eight lanes so that the compiler may use them.
fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f64) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (a, b) = (a.chunks(8), b.chunks(8));
    for (a, b) in a.zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    lanes.iter().sum()
}

fn euclidean(clean: &[f32], moved: &[f32]) -> f64 {
    sum(clean, moved, |u, v| f64::from(v - u + OFFSET).powi(2)).sqrt()
}

fn euclidean_slope(clean: &Points, moved: &Points) -> Vec<f32> {
    let dim = clean.dim().max(1);
    let mut slope = Vec::with_capacity(clean.as_slice().len());
    for (u, v) in clean.as_slice().chunks_exact(dim).zip(moved.as_slice().chunks_exact(dim)) {
        let distance = euclidean(u, v);
        let scale = if distance > 0.0 { (-1.0 / distance) as f32 } else { 0.0 };
        slope.extend(u.iter().zip(v).map(|(&u, &v)| scale * (v - u + OFFSET)));
    }
    slope
}
