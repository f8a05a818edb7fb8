//! The objective of the embedding shift.

use crate::Objective;
use candle_core::Tensor;
use rand::Rng;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Distance, Embeddings, Error, Evaluation, Result};

/// Moves the embedding of each image as far as possible from its clean embedding: `L_i = -d(f(x̃_i), f(x_i))`, with `1 - ũ·u` for
/// cosine and `‖ṽ - v + 10⁻⁶‖` for Euclidean distance.
///
/// At the clean image the cosine loss has no gradient, so the first step follows the gradient of `s·‖v‖` instead, with a sign `s`
/// given for each image. Under Euclidean distance the offset already provides a gradient.
///
/// # Source
/// Zhou et al., ECCV 2020, arXiv:2002.11293, section 4 ("maximum-shift-distance"); METHOD.md 7.5.
#[derive(Clone, Debug)]
pub struct EmbeddingShift {
    clean: Embeddings,
    /// Signs of the first step, `(n, 1)`.
    signs: Tensor,
}

impl EmbeddingShift {
    /// The objective of a batch: `clean` holds its clean embeddings, `signs` one `±1` for each image, as drawn by [`signs`].
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one sign per image.
    pub fn new(clean: Embeddings, signs: Vec<f32>) -> Result<Self> {
        if signs.len() != clean.len() {
            let expected = format!("({}), one per image", clean.len());
            return Err(Error::Shape { what: "the list of signs", actual: vec![signs.len()], expected });
        }
        let signs = Tensor::from_vec(signs, (clean.len(), 1), clean.tensor().device())?;
        Ok(Self { clean, signs })
    }

    fn normalized(&self, raw: &Tensor) -> Result<Embeddings> {
        self.clean.place().normalize(self.clean.distance(), raw)
    }
}

impl Objective for EmbeddingShift {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        let moved = self.normalized(raw)?;
        let Evaluation { loss, gradient, .. } = moved.shift_from(&self.clean)?;
        Ok(Evaluation::new(loss.neg()?, moved.backward(&gradient.neg()?)?))
    }

    fn first_gradient(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        if self.clean.distance() == Distance::Euclidean {
            return Ok(None);
        }
        let embeddings = self.normalized(raw)?;
        if embeddings.tensor().dims() != self.clean.tensor().dims() {
            let expected = format!("{:?}", self.clean.tensor().dims());
            return Err(Error::Shape { what: "the embedding", actual: embeddings.tensor().dims().to_vec(), expected });
        }
        Ok(Some(embeddings.tensor().broadcast_mul(&self.signs)?))
    }
}

/// Distance of each embedding from the clean one in the same row, as the paper reports it.
///
/// # Errors
/// [`Error::Shape`] when clean and moved embeddings differ in shape or distance.
pub fn shifts(clean: &Embeddings, moved: &Embeddings) -> Result<Vec<f64>> {
    moved.shift_from(clean)?.losses()
}

/// One random sign `±1` per key, drawn for `purpose`: [`Purpose::FirstStep`] with keys `[image, 0]` in an attack,
/// [`Purpose::TrainingFirstStep`] with keys `[epoch, image]` in adversarial training.
pub fn signs(seed: Seed, purpose: Purpose, keys: &[[u64; 2]]) -> Vec<f32> {
    keys.iter().map(|&key| if seed.stream(purpose, key).random::<bool>() { 1.0 } else { -1.0 }).collect()
}
