//! Studies of models that nobody registered, on drawn images.

use candle_core::Tensor;
use rankle_attacks::{AttackId, Direction, Protocol, Threat};
use rankle_core::{Dataset, Differentiable, Distance, Embedder, InputSpec, Place, Result, Role, Seed, Sets, Upstream, toy};
use rankle_eval::plan::{Book, Job, Planned, Shelf, compute};
use rankle_eval::sanity::{Forgetful, Questions};
use rankle_eval::{
    Error, Experiment, Identity, Model, Monitor, Origin, RankedSubject, Subject, Unwatched, experiment, percent, transfer,
    universal, verify,
};
use rankle_record::{AttackSpec, Cell, SharedBy};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

fn identity(name: &str) -> Identity {
    let subject = rankle_record::Subject {
        dataset: "toy".into(),
        query_dataset: None,
        gallery_dataset: None,
        model: name.into(),
        weights: format!("{name}.safetensors"),
        distance: "cosine".into(),
        loss: None,
        defense: None,
    };
    Identity {
        shown: subject.data(),
        subject,
        preprocessing: None,
        weights_sha256: format!("hash of {name}"),
        device: "cpu".into(),
        instruction_set: "any".into(),
        code_version: "0".into(),
    }
}

fn toy_images() -> Sets<Arc<dyn Dataset>> {
    Sets::one(Arc::new(toy::dataset(0)))
}

fn subject(seed: u64, monitor: Arc<dyn Monitor>) -> Subject {
    let model = Model::new(toy::embedder(seed, Distance::Cosine).unwrap());
    Subject::new(model, toy_images(), identity(&format!("toy-{seed}")), monitor).unwrap()
}

fn unwatched() -> Arc<dyn Monitor> {
    Arc::new(Unwatched)
}

fn usual(attack: AttackId) -> Experiment {
    Experiment::usual(attack, Threat::linf(0.1).unwrap(), Protocol::Paper, Seed(3))
}

#[test]
fn every_attack_on_a_model_of_ones_own_has_a_record() {
    let ranked = RankedSubject::new(subject(0, unwatched())).unwrap();
    for attack in [AttackId::CA_PLUS, AttackId::CA_MINUS, AttackId::QA_PLUS, AttackId::EmbeddingShift] {
        let experiment = usual(attack);
        let experiment = if attack.has_targets() { experiment } else { experiment.with_targets(0) };
        let images = ranked.subject().sample(experiment.perturbs(), experiment.seed(), 12).unwrap();
        let targets = experiment.choose(&images, ranked.sets()).unwrap();
        let outcome = experiment.run(&ranked, &images, &targets, false).unwrap();
        let inputs = experiment.inputs(ranked.subject(), images.len(), Origin::default());
        let record = experiment::record(ranked.subject(), inputs, &outcome, Instant::now());
        let record = ranked.subject().followed(record);
        assert_eq!((record.facts.gallery, record.cell.images, record.gradient_error), (200, 12, None), "{attack}");
        match attack.direction() {
            Some(Direction::Raise) => assert!(record.rank_after < record.rank_before, "{attack}"),
            Some(Direction::Lower) => assert!(record.rank_after > record.rank_before, "{attack}"),
            None => assert!(record.recall_at_1_after <= record.recall_at_1_before && record.rank_after.is_none()),
        }
        assert!(record.to_line().unwrap().contains("\"weights_sha256\":\"hash of toy-0\""));
    }
}

#[test]
fn a_model_transfers_to_another_and_shares_perturbations() {
    let [from, to] = [0, 1].map(|seed| RankedSubject::new(subject(seed, unwatched())).unwrap());
    let experiment = usual(AttackId::QA_PLUS);
    let images = to.subject().sample(experiment.perturbs(), experiment.seed(), 12).unwrap();
    let targets = experiment.choose(&images, from.sets()).unwrap();
    let outcome = transfer::run(&experiment, &from, &to, &images, &targets).unwrap();
    let moved =
        |outcome: &rankle_attacks::Outcome| outcome.before.rank.iter().sum::<f64>() - outcome.after.rank.iter().sum::<f64>();
    assert!(moved(&outcome.source) > moved(&outcome.victim).abs());
    let record = transfer::record(to.subject(), experiment.inputs(to.subject(), 12, Origin::default()), &outcome, Instant::now());
    assert!(record.white_box.is_some_and(|white_box| white_box.rank_after < record.rank_after));
    let shared = SharedBy { batches: 2, perturbations: 1 };
    let spec = AttackSpec { universal: Some(shared), ..AttackSpec::new(AttackId::QA_PLUS, 0.1, Protocol::Strict, 3) };
    let experiment = Experiment::new(&spec).unwrap();
    let made = universal::run(&experiment, &from, Some(&to), &images).unwrap();
    assert!(made.len() == 2 && made.iter().all(|made| made.outcome.victim.is_some()));
    // Batches that the images cannot be divided into, and a spec of no universal attack.
    let refused = |experiment: &Experiment, images: &[usize]| universal::run(experiment, &from, None, images).err().unwrap();
    for images in [&images[..1], &images[..5], &[]] {
        assert!(matches!(refused(&experiment, images), Error::Invalid(_)), "{}", images.len());
    }
    assert_eq!(refused(&usual(AttackId::QA_PLUS), &images).to_string(), "the spec of qa+ has no universal part");
}

/// A model whose gradient is half of what it should be, and one that has none.
struct Lying(toy::ToyEmbedder);
struct BlackBox(toy::ToyEmbedder);

impl Embedder for Lying {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        self.0.embed(images)
    }
    fn distance(&self) -> Distance {
        self.0.distance()
    }
    fn input(&self) -> InputSpec {
        self.0.input()
    }
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for Lying {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        Ok((self.0.input_gradient(images, upstream)? * 0.5)?)
    }
}

impl Embedder for BlackBox {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        self.0.embed(images)
    }
    fn distance(&self) -> Distance {
        self.0.distance()
    }
    fn input(&self) -> InputSpec {
        self.0.input()
    }
}

fn of_model(embedder: impl Embedder + 'static) -> RankedSubject {
    let subject = Subject::new(Model::new(embedder), toy_images(), identity("own"), unwatched()).unwrap();
    RankedSubject::new(subject).unwrap()
}

#[test]
fn a_record_says_that_the_gradient_it_followed_was_none() {
    let ranked = of_model(Lying(toy::embedder(0, Distance::Cosine).unwrap()));
    let record = |epsilon: f64| {
        let threat = Threat::linf(epsilon).unwrap();
        let experiment = Experiment::usual(AttackId::CA_PLUS, threat, Protocol::Paper, Seed(0));
        let targets = experiment.choose(&[7], ranked.sets()).unwrap();
        let outcome = experiment.run(&ranked, &[7], &targets, false).unwrap();
        let inputs = experiment.inputs(ranked.subject(), 1, Origin::default());
        ranked.subject().followed(experiment::record(ranked.subject(), inputs, &outcome, Instant::now()))
    };
    assert_eq!(record(0.0).gradient_error, None, "nothing was followed yet");
    let error = record(0.1).gradient_error.unwrap();
    assert!((45.0..55.0).contains(&error), "{error}");
    assert!(record(0.1).to_line().unwrap().contains("\"gradient_error\":"));
    assert_eq!(record(0.0).gradient_error, None, "at radius 0 no gradient is followed");
}

#[test]
fn a_black_box_is_ranked_and_refuses_searches_by_gradient() {
    let ranked = of_model(BlackBox(toy::embedder(0, Distance::Cosine).unwrap()));
    let experiment = usual(AttackId::CA_PLUS);
    let targets = experiment.choose(&[7], ranked.sets()).unwrap();
    let refused = experiment.run(&ranked, &[7], &targets, false).unwrap_err();
    assert!(refused.to_string().starts_with("the model is a black box"), "{refused}");
    assert_eq!(ranked.exact().gallery.len(), 200);
}

#[test]
fn what_does_not_fit_is_told() {
    struct Square(toy::ToyEmbedder);
    impl Embedder for Square {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            self.0.embed(images)
        }
        fn distance(&self) -> Distance {
            self.0.distance()
        }
        fn input(&self) -> InputSpec {
            InputSpec::of_shape((3, 8, 8))
        }
    }
    let model = Model::new(Square(toy::embedder(0, Distance::Cosine).unwrap()));
    let refused = Subject::new(model, toy_images(), identity("own"), unwatched()).err().unwrap().to_string();
    assert_eq!(refused, "the model takes images of (3, 8, 8) (channels, height, width), those of toy are (1, 8, 8)");
    let few = subject(0, unwatched()).sample(Role::Query, Seed(0), 201).unwrap_err().to_string();
    assert_eq!(few, "201 images are more than the 200 of toy: choose at most 200");
}

/// Ends the work after so many units.
struct Ending(AtomicU64, u64);

impl Monitor for Ending {
    fn advance(&self, units: u64) -> ControlFlow<()> {
        match self.0.fetch_add(units, Ordering::Relaxed) + units > self.1 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
    fn done(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn set_done(&self, units: u64) {
        self.0.store(units, Ordering::Relaxed);
    }
}

struct Toys;

impl Shelf<u64> for Toys {
    fn open(&mut self, key: &u64, sha256: &str, monitor: Arc<dyn Monitor>) -> rankle_eval::Result<Subject> {
        assert_eq!(sha256, format!("hash of toy-{key}"));
        Ok(subject(*key, monitor))
    }
}

#[test]
fn a_plan_is_computed_once_ended_resumed_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    let planned = |seed: u64, epsilon: f64| {
        let subject = subject(seed, unwatched());
        let spec = AttackSpec::new(AttackId::CA_PLUS, epsilon, Protocol::Paper, 0);
        let cell = Cell { table: None, subject: subject.identity.subject.clone(), spec, images: 5, from: None };
        let job = Job::new(cell, seed, None, format!("line {seed}")).unwrap();
        Planned::new(job, &subject, None).unwrap()
    };
    let plan: Vec<Planned<u64>> = [(0, 0.05), (0, 0.1), (1, 0.1)].map(|(seed, epsilon)| planned(seed, epsilon)).into();
    // Enough for the first cell: 200 images embedded, then 20 steps.
    let first = 200 + plan[0].job.cost() + 20;
    let ended =
        compute(&plan, Book::open(&file).unwrap(), &mut Toys, |_| Arc::new(Ending(AtomicU64::new(0), first))).unwrap_err();
    assert!(ended.error.is_interrupt() && ended.done == 1 && ended.lost.is_none(), "{ended:?}");
    let records = compute(&plan, Book::open(&file).unwrap(), &mut Toys, |_| unwatched()).unwrap();
    assert_eq!(records.iter().map(|record| record.cell.spec.epsilon).collect::<Vec<_>>(), [0.05, 0.1, 0.1]);
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written.lines().count(), 3);

    let ready: Vec<verify::Ready<u64>> = (verify::read(&file).unwrap().into_iter().zip(&plan))
        .map(|(recorded, planned)| verify::Ready { recorded, cell: planned.inputs.cell.clone(), job: planned.job.clone() })
        .collect();
    let wanted: Vec<&verify::Ready<u64>> = ready.iter().collect();
    let again = compute(&plan, Book::open(&folder.path().join("again.jsonl")).unwrap(), &mut Toys, |_| unwatched()).unwrap();
    assert!(verify::differences(&wanted, &again).unwrap().is_empty());
    let mut other = again.clone();
    other[1].rank_after = other[1].rank_after.map(|rank| rank + 1e-9);
    assert_eq!(verify::records_of(&verify::differences(&wanted, &other).unwrap()), 1);
}

#[test]
fn the_questions_of_a_skeptic_are_asked_of_any_model() {
    let [ranked, other] = [0, 1].map(|seed| RankedSubject::new(subject(seed, unwatched())).unwrap());
    let threat = Threat::linf(0.05).unwrap();
    let ask = |other: Option<RankedSubject>| {
        let ranked = RankedSubject::new(subject(0, unwatched())).unwrap();
        Questions { ranked, other, threat, images: 6, seed: Seed(0), memory: &Forgetful }.ask().unwrap()
    };
    let page = ask(Some(other));
    assert_eq!((page.checks.len(), page.images, page.gallery), (8, 6, 200));
    assert!(page.recall_at_1.unwrap() > 90.0 && page.against.is_some());
    assert_eq!(ask(None).against, None);
    assert_eq!(ranked.subject().to_string(), "toy (toy-0, cosine)");
    assert_eq!(percent(0.29), 29.0);
    assert!(matches!(Place::default(), Place::Kernels));
    assert!(Error::Invalid("x".into()).to_string() == "x");
}
