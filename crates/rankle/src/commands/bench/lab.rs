//! The steps that are timed, on real images and a fresh model.

use crate::system;
use anyhow::Result;
use candle_core::Tensor;
use rankle_attacks::{Batch, Direction, Kind, Protocol, Variant};
use rankle_core::{Dataset, Distance, Gallery, Points, Seed, Trainable};
use rankle_data::{Name, Split};
use rankle_models::Architecture;
use rankle_train::{Recipe, TripletLoss, draw_triplets};
use std::sync::Arc;

const DISTANCE: Distance = Distance::Cosine;
const SEED: Seed = Seed(0);

/// One thing to time, with how many images at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Embedding.
    Forward(usize),
    /// Embedding and the input gradient of a cosine loss.
    Pgd(usize),
    /// Forward, triplet loss, backward and Adam; the triplets are drawn beforehand.
    Training(usize),
    /// The place of one item in each list of 10,000.
    RankCount,
    /// The input gradient of a query attack with its loss over the whole gallery.
    Qa,
}

impl Step {
    pub(super) fn all() -> Vec<Self> {
        let networks = [100, 500].map(|n| [Self::Forward(n), Self::Pgd(n), Self::Training(n)]);
        networks.into_iter().flatten().chain([Self::RankCount, Self::Qa]).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Forward(_) => "c2f2-forward",
            Self::Pgd(_) => "c2f2-pgd-step",
            Self::Training(_) => "c2f2-training-step",
            Self::RankCount => "gallery-rank-count",
            Self::Qa => "qa-step",
        }
    }

    pub(super) fn images(self) -> usize {
        match self {
            Self::Forward(n) | Self::Pgd(n) | Self::Training(n) => n,
            Self::RankCount => 1000,
            Self::Qa => 100,
        }
    }
}

/// The images and the model.
pub(super) struct Lab {
    dataset: Arc<dyn Dataset>,
    model: Box<dyn Trainable>,
}

type Call<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

impl Lab {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            dataset: rankle_data::open(Name::Mnist, Split::Test, None)?,
            model: Architecture::C2f2.initialise(DISTANCE, SEED)?,
        })
    }

    /// All that is not timed.
    pub(super) fn prepare(&self, step: Step) -> Result<Call<'_>> {
        let model = self.model.as_embedder();
        let images: Vec<usize> = (0..step.images()).collect();
        let pixels = self.dataset.images(&images)?;
        match step {
            Step::Forward(_) => Ok(Box::new(move || {
                model.embed(&pixels)?;
                Ok(())
            })),
            Step::Pgd(_) => self.pgd(pixels),
            Step::Training(_) => self.training(pixels, &images),
            Step::RankCount => {
                let gallery = self.gallery()?;
                let points = self.embed(&images)?;
                let targets: Vec<u32> = images.iter().map(|&image| image as u32 + 1).collect();
                Ok(Box::new(move || {
                    gallery.placings(&points, &targets)?;
                    Ok(())
                }))
            }
            Step::Qa => self.query_attack(pixels, images),
        }
    }

    /// The loss is the cosine distance to a fixed point each.
    fn pgd(&self, pixels: Tensor) -> Result<Call<'_>> {
        let model = self.model.as_embedder();
        let towards = DISTANCE.place(&model.embed(&pixels.flip(&[0])?)?)?;
        let slope: Vec<f32> = towards.as_slice().iter().map(|x| -x).collect();
        Ok(Box::new(move || {
            model.input_gradient(&pixels, &mut |raw| DISTANCE.place(raw)?.pull_back(slope.clone()))?;
            Ok(())
        }))
    }

    fn training(&self, pixels: Tensor, images: &[usize]) -> Result<Call<'_>> {
        let mut model = Architecture::C2f2.initialise(DISTANCE, SEED)?;
        let labels: Vec<u32> = images.iter().map(|&image| self.dataset.labels()[image]).collect();
        let triplets = draw_triplets(&labels, SEED, 0);
        let recipe = Recipe::paper(DISTANCE);
        let loss = TripletLoss { margin: recipe.margin };
        let mut step = 0;
        Ok(Box::new(move || {
            let adam = recipe.adam(step);
            step += 1;
            let mut upstream = |raw: &Tensor| {
                let points = DISTANCE.place(raw)?;
                points.pull_back(loss.evaluate(&points, &triplets)?.1)
            };
            Ok(model.train_step(&pixels, &mut upstream, &adam)?)
        }))
    }

    fn query_attack(&self, pixels: Tensor, images: Vec<usize>) -> Result<Call<'_>> {
        let gallery = self.gallery()?;
        let attack = Kind::Query(Direction::Raise).attack(1, Variant::default());
        let clean = self.embed(&images)?;
        let targets = attack.choose(&images, &gallery, Protocol::Paper, SEED)?;
        Ok(Box::new(move || {
            let (gallery, labels, images, clean) = (&gallery, self.dataset.labels(), &*images, &clean);
            let batch = Batch { gallery, labels, images, clean, targets: targets.clone(), protocol: Protocol::Paper, seed: SEED };
            let bound = attack.bind(batch)?;
            self.model.as_embedder().input_gradient(&pixels, &mut |raw| Ok(bound.evaluate(raw)?.slope))?;
            Ok(())
        }))
    }

    fn embed(&self, images: &[usize]) -> Result<Points> {
        Ok(system::embed(self.model.as_embedder(), &*self.dataset, images)?)
    }

    fn gallery(&self) -> Result<Gallery> {
        let everything: Vec<usize> = (0..self.dataset.len()).collect();
        Ok(Gallery::new(&self.embed(&everything)?)?)
    }
}
