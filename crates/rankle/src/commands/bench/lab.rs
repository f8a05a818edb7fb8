//! Timed work, on real images and a new model.

use super::formula::{some_items, unit};
use super::row::{CLASSES, GALLERY, ITEM_DIM, ITEMS, Row, STEPS, Work};
use crate::network::Network;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use rankle_attacks::{
    AttackId, AttackOptions, Batch, Prescribed, Problem, Protocol, RankingAttack, Scene, Search, SearchKind, Solver as _,
    Targets, Threat, build,
};
use rankle_core::rank::Precision;
use rankle_core::{
    Dataset, Defense as _, Differentiable, Distance, Embedder, Embeddings, Gallery, Place, Ranking, Seed, Sets, Trainable,
};
use rankle_data::{Name, Split};
use rankle_defense::ShiftDefense;
use rankle_eval::Experiment;
use rankle_eval::experiment::preserved_beside;
use rankle_models::{Architecture, Isa, peak};
use rankle_train::{Recipe, Triplet, TripletLoss};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

const DISTANCE: Distance = Distance::Cosine;
const SEED: Seed = Seed(0);
/// Rounds of the inner loop of [`Work::Peak`]: a few milliseconds.
const ROUNDS: usize = 2_000_000;
/// Scale of the noise around the center of a class, large enough that the nearest item is often of another class.
const SPREAD: f32 = 2.1;

/// Result of a call, compared with the results of other programs on the same inputs.
pub(super) enum Answer {
    Tensor(Tensor),
    Embeddings(Embeddings),
    Numbers(Vec<(&'static str, f64)>),
}

/// A function that does the work once per call.
pub(super) type Call = Box<dyn FnMut() -> Result<Answer>>;

impl Answer {
    pub(super) fn results(&self) -> Result<BTreeMap<&'static str, f64>> {
        let magnitude = |numbers: &[f32]| {
            let sum: f64 = numbers.iter().map(|x| f64::from(x.abs())).sum();
            BTreeMap::from([("mean_magnitude", sum / numbers.len() as f64)])
        };
        Ok(match self {
            Self::Tensor(tensor) => magnitude(&tensor.flatten_all()?.to_vec1()?),
            Self::Embeddings(points) => magnitude(points.to_host()?.as_slice()),
            Self::Numbers(numbers) => numbers.iter().copied().collect(),
        })
    }
}

/// Floating-point operations of one call of [`Work::Peak`].
pub(super) fn peak_operations() -> u64 {
    peak::operations(Isa::best(), ROUNDS)
}

/// A model with the same random weights in every run of the benchmark.
pub(super) fn model(architecture: Architecture) -> Result<Box<dyn Trainable>> {
    Ok(architecture.initialize(DISTANCE, SEED, &Place::Kernels)?)
}

/// Prepares the inputs of a row, untimed, and returns the call to time.
pub(super) fn prepare(row: &Row) -> Result<Call> {
    let n = row.images;
    match &row.work {
        Work::Peak => Ok(Box::new(|| {
            peak::multiply_adds(Isa::best(), ROUNDS);
            Ok(Answer::Numbers(Vec::new()))
        })),
        Work::Forward(network) => {
            let (model, (pixels, _)) = (loaded(network)?, images(network.input(), n)?);
            Ok(Box::new(move || Ok(Answer::Embeddings(DISTANCE.normalize(&model.embed(&pixels)?)?))))
        }
        Work::Pgd(network) => pgd(network, n),
        Work::Training(architecture) => {
            let (pixels, labels) = images(architecture.input(), n)?;
            let mut learner = Learner::new(*architecture, &labels)?;
            Ok(Box::new(move || learner.learn(&pixels)))
        }
        Work::Query(kind) => query_attack(*kind, n),
        Work::Search(kind) => search(*kind, n),
        Work::RankCount => {
            let (gallery, points) = gallery(&*model(Architecture::C2f2)?, n)?;
            let targets: Vec<u32> = (1..=n as u32).collect();
            Ok(Box::new(move || {
                let counted = gallery.rank_counts(&points, &targets, None, Precision::Single)?;
                let closer: u64 = counted.counts.iter().map(|count| u64::from(count.closer)).sum();
                Ok(Answer::Numbers(vec![("mean_rank", closer as f64 / n as f64)]))
            }))
        }
        Work::Retrieval => retrieval(n),
        Work::AdversarialBatch => adversarial_batch(n),
        Work::Operation(operation) => operation.prepare(n),
    }
}

/// The network as other commands load it; with random weights if it brings none.
fn loaded(network: &Network) -> Result<Box<dyn Embedder>> {
    match network {
        Network::Architecture(architecture) => {
            let weights = model(*architecture)?.parameters()?;
            Ok(architecture.with_weights("random weights".as_ref(), &weights, DISTANCE, &Place::Kernels)?)
        }
        Network::Foreign(foreign) => Ok(foreign.load(DISTANCE, &Place::Kernels)?.embedder),
    }
}

/// MNIST test images and their labels; for a network with another input shape, noise in two classes.
fn images(shape: (usize, usize, usize), n: usize) -> Result<(Tensor, Vec<u32>)> {
    let (channels, height, width) = shape;
    let dataset = mnist()?;
    if dataset.shape() == shape {
        let first: Vec<usize> = (0..n).collect();
        return Ok((dataset.images(&first)?, dataset.labels()[..n].to_vec()));
    }
    let pixels: Vec<f32> = unit(53_000, n * channels * height * width).map(|x| (x + 1.0) / 2.0).collect();
    Ok((Tensor::from_vec(pixels, (n, channels, height, width), &Device::Cpu)?, (0..n as u32).map(|image| image % 2).collect()))
}

fn mnist() -> Result<Arc<dyn Dataset>> {
    Ok(rankle_data::open(Name::Mnist, Split::Test, None)?)
}

/// The embedded test set as a gallery, and the embeddings of its first `n` images.
fn gallery(model: &dyn Trainable, n: usize) -> Result<(Gallery, Embeddings)> {
    let everything: Vec<usize> = (0..GALLERY).collect();
    let (points, _) = rankle_eval::embed(model, &*mnist()?, &everything)?;
    Ok((Gallery::new(&points)?, points.select(&everything[..n])?))
}

/// A step of projected gradient descent whose loss is the cosine distance to the embedding of another image.
fn pgd(network: &Network, n: usize) -> Result<Call> {
    let (model, (pixels, _)) = (loaded(network)?, images(network.input(), n)?);
    let toward = DISTANCE.normalize(&model.embed(&pixels.flip(&[0])?)?)?;
    let gradient = toward.tensor().neg()?;
    Ok(Box::new(move || {
        let mut upstream = |raw: &Tensor| DISTANCE.normalize(raw)?.backward(&gradient);
        let model = model.differentiable().context("the model has no gradients")?;
        Ok(Answer::Tensor(model.input_gradient(&pixels, &mut upstream)?))
    }))
}

/// A model that is trained on one batch, with the same triplets in every step.
struct Learner {
    model: Box<dyn Trainable>,
    triplets: Vec<Triplet>,
    recipe: Recipe,
    steps: usize,
}

impl Learner {
    fn new(architecture: Architecture, labels: &[u32]) -> Result<Self> {
        Ok(Self { model: model(architecture)?, triplets: triplets(labels)?, recipe: Recipe::paper(DISTANCE), steps: 0 })
    }

    fn learn(&mut self, pixels: &Tensor) -> Result<Answer> {
        let adam = self.recipe.adam(self.steps);
        self.steps += 1;
        let (loss, triplets, mut value) = (TripletLoss { margin: self.recipe.margin }, &self.triplets, 0.0);
        let mut upstream = |raw: &Tensor| {
            let points = DISTANCE.normalize(raw)?;
            let (current, gradient) = loss.evaluate(&points, triplets)?;
            value = current;
            points.backward(&points.like_rows(gradient)?)
        };
        self.model.train_step(pixels, &mut upstream, &adam)?;
        Ok(Answer::Numbers(vec![("loss", value)]))
    }
}

/// One triplet per image, the anchor: the next image of its class and the next of another class, in circular order.
fn triplets(labels: &[u32]) -> Result<Vec<Triplet>> {
    let following = |anchor: usize, same: bool| {
        let mut places = (1..=labels.len()).map(|step| (anchor + step) % labels.len());
        places.find(|&place| (labels[place] == labels[anchor]) == same).context("the images are of one class only")
    };
    let triplet = |anchor| Ok(Triplet { anchor, positive: following(anchor, true)?, negative: following(anchor, false)? });
    (0..labels.len()).map(triplet).collect()
}

fn query_attack(kind: AttackId, n: usize) -> Result<Call> {
    let model = model(Architecture::C2f2)?;
    let (gallery, clean) = gallery(&*model, n)?;
    let (pixels, labels) = (images(Architecture::C2f2.input(), n)?.0, mnist()?.labels().to_vec());
    let (images, targets): (Vec<usize>, _) = ((0..n).collect(), some_items(n, 1, GALLERY));
    let preserved = match kind {
        AttackId::PreservingQuery(direction) => {
            let experiment = Experiment::usual(kind, Threat::linf(0.3)?, Protocol::Paper, SEED);
            Some(preserved_beside(&experiment, direction, Sets::one(&gallery as &dyn Ranking), &images, &targets)?)
        }
        _ => None,
    };
    let targets = Targets::new(n, targets, 1, preserved, GALLERY)?;
    let attack: Box<dyn RankingAttack> = build(kind, 1, AttackOptions::default());
    Ok(Box::new(move || {
        let scene = Scene { sets: Sets::one(&gallery as &dyn Ranking), protocol: Protocol::Paper, seed: SEED };
        let (labels, images, clean) = (Sets::one(&*labels), &*images, &clean);
        let batch = Batch { scene, labels, images, clean, targets: targets.clone() };
        let bound = attack.instantiate(batch)?;
        let mut upstream = |raw: &Tensor| Ok(bound.evaluate(raw)?.gradient);
        Ok(Answer::Tensor(model.input_gradient(&pixels, &mut upstream)?))
    }))
}

/// A whole search by CA+, from the clean image.
fn search(kind: SearchKind, n: usize) -> Result<Call> {
    let model = model(Architecture::C2f2)?;
    let (gallery, clean) = gallery(&*model, n)?;
    let (pixels, labels) = (images(Architecture::C2f2.input(), n)?.0, mnist()?.labels().to_vec());
    let (images, keys): (Vec<usize>, Vec<u64>) = ((0..n).collect(), (0..n as u64).collect());
    let targets = Targets::new(n, some_items(n, 1, GALLERY), 1, None, GALLERY)?;
    let attack: Box<dyn RankingAttack> = build(AttackId::CA_PLUS, 1, AttackOptions::default());
    let chosen = Search { kind: Some(kind), iterations: Some(STEPS), ..Search::default() };
    let search = Prescribed::by(Protocol::Paper, Threat::linf(0.3)?).fill(chosen)?;
    Ok(Box::new(move || {
        let scene = Scene { sets: Sets::one(&gallery as &dyn Ranking), protocol: Protocol::Paper, seed: SEED };
        let (labels, images, clean) = (Sets::one(&*labels), &*images, &clean);
        let instance = attack.instantiate(Batch { scene, labels, images, clean, targets: targets.clone() })?;
        let problem = Problem { images: &pixels, keys: &keys, objective: &*instance, seed: SEED, place: &Place::Kernels };
        Ok(Answer::Tensor(search.solve(&*model as &dyn Differentiable, &problem)?))
    }))
}

/// Retrieval among as many items and classes as the test set of Stanford Online Products has; the classes are clusters of noise.
fn retrieval(queries: usize) -> Result<Call> {
    let labels: Vec<u32> = (0..ITEMS as u32).map(|item| item % CLASSES).collect();
    let centers: Vec<f32> = unit(54_000, CLASSES as usize * ITEM_DIM).collect();
    let mut items: Vec<f32> = unit(54_001, ITEMS * ITEM_DIM).collect();
    for (item, label) in items.chunks_exact_mut(ITEM_DIM).zip(&labels) {
        let center = &centers[*label as usize * ITEM_DIM..][..ITEM_DIM];
        item.iter_mut().zip(center).for_each(|(x, center)| *x = center + SPREAD * *x);
    }
    let gallery = Gallery::new(&DISTANCE.normalize(&Tensor::from_vec(items, (ITEMS, ITEM_DIM), &Device::Cpu)?)?)?;
    let queries: Vec<usize> = (0..queries).collect();
    Ok(Box::new(move || {
        let found =
            rankle_metrics::retrieve(Sets::one(&gallery), Sets::one(&labels), &queries, &mut |_| ControlFlow::Continue(()))?;
        Ok(Answer::Numbers(vec![("recall_at_1", found.recall_at(1)), ("map", found.mean_average_precision())]))
    }))
}

fn adversarial_batch(n: usize) -> Result<Call> {
    let (pixels, labels) = images(Architecture::C2f2.input(), n)?;
    let mut learner = Learner::new(Architecture::C2f2, &labels)?;
    let (defense, keys) = (ShiftDefense::paper(Threat::linf(0.3)?), (0..n as u64).collect::<Vec<_>>());
    Ok(Box::new(move || {
        let defended = defense.perturb(&*learner.model, &pixels, &keys, 0, SEED)?;
        learner.learn(&defended)?;
        Ok(Answer::Numbers(Vec::new()))
    }))
}
