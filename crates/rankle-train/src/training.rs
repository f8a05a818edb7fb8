//! The training loop.

use crate::sampler::{Sampler, Sampling};
use crate::{EpochLoss, LossBuilder, Recipe};
use candle_core::Tensor;
use rand::seq::SliceRandom;
use rankle_core::seed::Purpose;
use rankle_core::{Dataset, Defense, Error, Result, Seed, Trainable, Waiting, read_ahead};
use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

/// A training run: the dataset, the hyperparameters, the defense and the seed.
pub struct Training<'a> {
    /// The training images.
    pub dataset: &'a dyn Dataset,
    /// The hyperparameters.
    pub recipe: Recipe,
    /// The defense; `None` for plain training.
    pub defense: Option<&'a dyn Defense>,
    /// The seed of every draw.
    pub seed: Seed,
}

/// Progress of a run: with the state of the model, all that a resumed run needs. The default is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Number of optimizer steps made so far.
    pub step: usize,
    /// Loss of the epoch of the last step, from its first batch on; over all its images when the epoch has just ended.
    pub loss: EpochLoss,
}

/// State of a run after an optimizer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Progress from which a checkpoint taken now is resumed.
    pub progress: Progress,
    /// Number of steps of the whole run.
    pub steps: usize,
    /// True if an epoch has just ended.
    pub epoch_ended: bool,
}

/// The images of one optimizer step.
struct Batch {
    step: usize,
    epoch: usize,
    /// Number of images of the batch, without those drawn from the whole set for comparison.
    count: usize,
    indices: Vec<usize>,
    images: Tensor,
}

impl Training<'_> {
    /// Optimizer steps per epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.dataset.len().div_ceil(self.recipe.batch_size.max(1))
    }
    /// Optimizer steps of the whole run.
    pub fn steps(&self) -> usize {
        self.recipe.epochs * self.steps_per_epoch()
    }

    /// Number of images in a range of optimizer steps, with those drawn for comparison. An epoch may end with a smaller batch.
    pub fn images(&self, steps: Range<usize>) -> usize {
        let upto = |step: usize| {
            let (epochs, batches) = (step / self.steps_per_epoch().max(1), step % self.steps_per_epoch().max(1));
            epochs * self.dataset.len() + (batches * self.recipe.batch_size).min(self.dataset.len())
        };
        let each = match self.recipe.sampling {
            Sampling::Batch => 1,
            Sampling::Set(_) => self.recipe.loss.group_size(),
        };
        each * upto(steps.end).saturating_sub(upto(steps.start))
    }

    /// Trains with the loss of the recipe: [`Training::run_with`] with that loss.
    ///
    /// # Errors
    /// As [`Training::run_with`].
    pub fn run(
        &self,
        model: &mut dyn Trainable,
        from: Progress,
        watch: &mut dyn FnMut(Moment, &dyn Trainable) -> ControlFlow<()>,
    ) -> Result<Waiting> {
        let Recipe { loss, margin, .. } = self.recipe;
        let loss_of: &LossBuilder<'_> = match self.recipe.sampling {
            Sampling::Batch => &|labels, step| loss.for_batch(margin, labels, self.seed, step),
            Sampling::Set(draw) => &move |labels, _| Some(loss.for_groups(margin, labels, draw)),
        };
        self.run_with(model, loss_of, from, watch)
    }

    /// Trains with any loss, from `from` to the end. A new model starts from the default, a checkpoint from the progress that
    /// `watch` received with it. `watch` is called after every step; it may save the model, and it may stop the run. The next
    /// batch is loaded while the model trains on the current one; the time that the model still waited for data is returned.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `watch` breaks; [`Error::NotFinite`] for a pixel or a loss that is not finite;
    /// [`Error::Empty`] for an empty batch size, an empty dataset, a dataset of a single class, a ranking loss without two images
    /// of any class, and a first epoch without a loss. The weights stay those of the last step that `watch` saw.
    pub fn run_with(
        &self,
        model: &mut dyn Trainable,
        loss: &LossBuilder<'_>,
        from: Progress,
        watch: &mut dyn FnMut(Moment, &dyn Trainable) -> ControlFlow<()>,
    ) -> Result<Waiting> {
        if self.dataset.is_empty() {
            return Err(Error::Empty("training images"));
        }
        if self.recipe.batch_size == 0 {
            return Err(Error::Empty("images in a batch"));
        }
        let all = self.dataset.labels();
        if all.iter().all(|label| *label == all[0]) {
            return Err(Error::Empty("images of a second class"));
        }
        let mut seen = HashSet::new();
        if self.recipe.loss.is_ranking() && all.iter().all(|label| seen.insert(label)) {
            return Err(Error::Empty("pairs of images of one class to learn from"));
        }
        let (per_epoch, steps) = (self.steps_per_epoch(), self.steps());
        let sampler = match self.recipe.sampling {
            Sampling::Batch => None,
            Sampling::Set(draw) => Some(Sampler::new(all, draw)),
        };
        let mut order = (usize::MAX, Vec::new());
        let load = |step: usize| {
            let (epoch, batch) = (step / per_epoch, step % per_epoch);
            if order.0 != epoch {
                order = (epoch, self.order(epoch));
            }
            let batch = order.1.chunks(self.recipe.batch_size).nth(batch).unwrap_or_default();
            let indices = match &sampler {
                None => batch.to_vec(),
                Some(sampler) => self.recipe.loss.groups(sampler, batch, self.seed, epoch as u64),
            };
            let images = self.dataset.training_images(&indices, self.seed, epoch as u64)?;
            Ok(Batch { step, epoch, count: batch.len(), indices, images })
        };
        let mut epoch_loss = from.loss;
        read_ahead(from.step..steps, load, |Batch { step, epoch, count, indices, mut images }| {
            let labels: Vec<u32> = indices.iter().map(|&image| all[image]).collect();
            let loss = loss(&labels, step as u64);
            if step % per_epoch == 0 {
                epoch_loss = EpochLoss::default();
            }
            // A batch may have no loss, for example no triplets.
            if let Some(loss) = loss {
                if let Some(defense) = self.defense {
                    let keys: Vec<u64> = indices.iter().map(|&image| image as u64).collect();
                    images = defense.perturb(model, &images, &keys, epoch as u64, self.seed)?;
                }
                let distance = model.distance();
                model.train_step(
                    &images,
                    &mut |raw| {
                        let points = distance.normalize(raw)?;
                        let (loss, gradient) = loss(&points)?;
                        if !loss.is_finite() {
                            return Err(Error::NotFinite(format!("the loss of optimizer step {}", step + 1)));
                        }
                        epoch_loss.add(loss, count);
                        points.backward(&points.like_rows(gradient)?)
                    },
                    &self.recipe.adam(step),
                )?;
            }
            let epoch_ended = (step + 1) % per_epoch == 0;
            if epoch_ended && epoch == 0 && epoch_loss.images == 0 {
                return Err(Error::Empty("batches in the first epoch with images to compare (larger batches have more)"));
            }
            let moment = Moment { progress: Progress { step: step + 1, loss: epoch_loss }, steps, epoch_ended };
            if watch(moment, model).is_break() { Err(Error::Interrupted) } else { Ok(()) }
        })
    }

    /// The order of the images in an epoch.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        order.shuffle(&mut self.seed.stream(Purpose::Order, [epoch as u64, 0]));
        order
    }
}
