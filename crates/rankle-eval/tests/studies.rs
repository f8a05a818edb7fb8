//! Studies of models that are not registered, on drawn images.

use candle_core::Tensor;
use rankle_attacks::{AttackId, Direction, Protocol, Threat};
use rankle_core::{Dataset, Differentiable, Distance, Embedder, InputSpec, Place, Result, Role, Seed, Sets, Upstream, toy};
use rankle_eval::plan::{Book, Job, Planned, Shelf, compute};
use rankle_eval::sanity::{NoMemory, Questions};
use rankle_eval::{
    Error, Experiment, Identity, Model, Monitor, Origin, RankedSubject, Subject, Unwatched, experiment, percent, transfer,
    universal, verify,
};
use rankle_record::{AttackOptions, AttackSpec, Cell, ObjectiveKind, SearchKind, SharedBy};
use rankle_report::sanity::Verdict;
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
        probe_distances: None,
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
    // Images that cannot be divided into the batches, and a spec without a universal part.
    let refused = |experiment: &Experiment, images: &[usize]| universal::run(experiment, &from, None, images).err().unwrap();
    for images in [&images[..1], &images[..5], &[]] {
        assert!(matches!(refused(&experiment, images), Error::Invalid(_)), "{}", images.len());
    }
    assert_eq!(refused(&usual(AttackId::QA_PLUS), &images).to_string(), "the spec of qa+ has no universal part");
}

/// The toy model with its embeddings scaled and moved, and its gradient times a factor; without one it is a black box.
struct Altered {
    toy: toy::ToyEmbedder,
    scale: f64,
    shift: f64,
    gradient: Option<f64>,
    shape: (usize, usize, usize),
}

/// The toy model as it is.
fn unaltered() -> Altered {
    let toy = toy::embedder(0, Distance::Cosine).unwrap();
    Altered { shape: toy.input().shape, toy, scale: 1.0, shift: 0.0, gradient: Some(1.0) }
}

/// A model with half of the true gradient.
fn lying() -> Altered {
    Altered { gradient: Some(0.5), ..unaltered() }
}

impl Altered {
    fn alter(&self, embeddings: &Tensor) -> Result<Tensor> {
        Ok(embeddings.affine(self.scale, self.shift)?)
    }
}

impl Embedder for Altered {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        self.alter(&self.toy.embed(images)?)
    }
    fn distance(&self) -> Distance {
        self.toy.distance()
    }
    fn input(&self) -> InputSpec {
        InputSpec::of_shape(self.shape)
    }
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        self.gradient.map(|_| self as _)
    }
}

impl Differentiable for Altered {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        let mut altered = |embeddings: &Tensor| upstream(&self.alter(embeddings)?);
        let gradient = self.toy.input_gradient(images, &mut altered)?;
        Ok((gradient * (self.scale * self.gradient.unwrap_or(0.0)))?)
    }
}

fn of_model(embedder: impl Embedder + 'static) -> RankedSubject {
    let subject = Subject::new(Model::new(embedder), toy_images(), identity("own"), unwatched()).unwrap();
    RankedSubject::new(subject).unwrap()
}

#[test]
fn a_record_says_that_the_gradient_it_followed_was_none() {
    let ranked = of_model(lying());
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
    let ranked = of_model(Altered { gradient: None, ..unaltered() });
    let experiment = usual(AttackId::CA_PLUS);
    let targets = experiment.choose(&[7], ranked.sets()).unwrap();
    let refused = experiment.run(&ranked, &[7], &targets, false).unwrap_err();
    assert!(refused.to_string().starts_with("the model is a black box"), "{refused}");
    assert_eq!(ranked.exact().gallery.len(), 200);
}

#[test]
fn what_does_not_fit_is_told() {
    let model = Model::new(Altered { shape: (3, 8, 8), ..unaltered() });
    let refused = Subject::new(model, toy_images(), identity("own"), unwatched()).err().unwrap().to_string();
    assert_eq!(refused, "the model takes images of (3, 8, 8) (channels, height, width), those of toy are (1, 8, 8)");
    let few = subject(0, unwatched()).sample(Role::Query, Seed(0), 201).unwrap_err().to_string();
    assert_eq!(few, "201 images are more than the 200 of toy: choose at most 200");
}

/// A monitor that ends the work after some units.
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

/// A monitor that keeps to which units it was set.
#[derive(Default)]
struct Positions(AtomicU64, std::sync::Mutex<Vec<u64>>);

impl Monitor for Positions {
    fn advance(&self, units: u64) -> ControlFlow<()> {
        self.0.fetch_add(units, Ordering::Relaxed);
        ControlFlow::Continue(())
    }
    fn done(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn set_done(&self, units: u64) {
        self.0.store(units, Ordering::Relaxed);
        self.1.lock().unwrap().push(units);
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
    // Enough for the first cell: 200 images to embed, its attack, and 20 units more.
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
    let positions = Arc::new(Positions::default());
    let again =
        compute(&plan, Book::open(&folder.path().join("again.jsonl")).unwrap(), &mut Toys, |_| positions.clone()).unwrap();
    // Once for each cell, never back to its beginning: that would spoil the pace that a bar estimates.
    let [first, second, third] = [0, 1, 2].map(|at| plan[at].job.cost());
    assert_eq!(*positions.1.lock().unwrap(), [200 + first, 200 + first + second, 400 + first + second + third]);
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
        Questions { ranked, other, threat, images: 6, seed: Seed(0), memory: &NoMemory }.ask().unwrap()
    };
    let page = ask(Some(other));
    assert_eq!((page.checks.len(), page.images, page.gallery), (9, 6, 200));
    assert!(page.recall_at_1.unwrap() > 90.0 && page.against.is_some());
    assert_eq!(ask(None).against, None);
    assert_eq!(ranked.subject().to_string(), "toy (toy-0, cosine)");
    assert_eq!(percent(0.29), 29.0);
    assert!(matches!(Place::default(), Place::Kernels));
    assert!(Error::Invalid("x".into()).to_string() == "x");
}

/// The toy images in 100 classes of two similar ones, so that recalls at 1, 10 and 100 of a list of 199 differ.
struct Pairs(toy::ToyDataset, Vec<u32>);

impl Dataset for Pairs {
    fn name(&self) -> &str {
        "pairs"
    }
    fn shape(&self) -> (usize, usize, usize) {
        self.0.shape()
    }
    fn labels(&self) -> &[u32] {
        &self.1
    }
    fn images(&self, indices: &[usize]) -> Result<Tensor> {
        self.0.images(indices)
    }
}

#[test]
fn the_recalls_of_a_shift_are_those_of_a_sort() {
    let embedder = toy::embedder(0, Distance::Cosine).unwrap();
    let images: Arc<dyn Dataset> = Arc::new(Pairs(toy::dataset(0), (0..200).map(|image| image / 8 * 4 + image % 4).collect()));
    let model = Model::new(embedder.clone());
    let subject = Subject::new(model, Sets::one(images.clone()), identity("toy"), unwatched()).unwrap();
    let ranked = RankedSubject::new(subject).unwrap();
    let threat = Threat::linf(0.2).unwrap();
    let experiment = Experiment::usual(AttackId::EmbeddingShift, threat, Protocol::Paper, Seed(3)).with_targets(0);
    let attacked: Vec<usize> = (0..40).map(|n| 5 * n).collect();
    let targets = experiment.choose(&attacked, ranked.sets()).unwrap();
    let outcome = experiment.run(&ranked, &attacked, &targets, true).unwrap();
    let record = experiment::record(
        ranked.subject(),
        experiment.inputs(ranked.subject(), 40, Origin::default()),
        &outcome,
        Instant::now(),
    );

    let unit = |images: &Tensor| -> Vec<Vec<f64>> {
        let rows = embedder.embed(images).unwrap().to_vec2::<f32>().unwrap();
        let length = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        rows.iter().map(|row| row.iter().map(|&x| f64::from(x) / length(row)).collect()).collect()
    };
    let gallery = unit(&images.images(&(0..200).collect::<Vec<_>>()).unwrap());
    // Percent of the images whose twin is among the k nearest other items.
    let recall = |queries: &[Vec<f64>], k: usize| {
        let found = |(query, &image): (&Vec<f64>, &usize)| {
            let similarity = |item: usize| query.iter().zip(&gallery[item]).map(|(a, b)| a * b).sum::<f64>();
            let mut others: Vec<usize> = (0..200).filter(|&item| item != image).collect();
            others.sort_by(|&a, &b| similarity(b).total_cmp(&similarity(a)));
            others[..k].iter().any(|&item| images.labels()[item] == images.labels()[image])
        };
        100.0 * queries.iter().zip(&attacked).filter(|&pair| found(pair)).count() as f64 / 40.0
    };
    let before = unit(&images.images(&attacked).unwrap());
    let after = unit(outcome.adversarial.as_ref().unwrap());
    let recorded = [
        [record.recall_at_1_before, record.recall_at_1_after],
        [record.recall_at_10_before, record.recall_at_10_after],
        [record.recall_at_100_before, record.recall_at_100_after],
    ];
    let expected = [1, 10, 100].map(|k| [Some(recall(&before, k)), Some(recall(&after, k))]);
    assert_eq!(recorded, expected);
    let [_, ten, hundred] = expected;
    assert!(expected[0] != ten && ten[0] != ten[1] && ten != hundred && hundred[0] != hundred[1], "{expected:?}");
}

/// The cost that a progress bar is told beforehand is what the monitor counts until the end.
#[test]
fn the_work_of_a_study_is_what_its_cost_says() {
    let monitors = [0, 1].map(|_| Arc::new(Ending(AtomicU64::new(0), u64::MAX)));
    let [ranked, other] = [0, 1].map(|seed| RankedSubject::new(subject(seed, monitors[seed as usize].clone())).unwrap());
    let done = || monitors.iter().map(|monitor| monitor.done()).sum::<u64>();
    assert_eq!(done(), 2 * 200, "both galleries");
    let images: Vec<usize> = (10..18).collect();
    let threat = |epsilon: f64| Threat::linf(epsilon).unwrap();
    for attack in [AttackId::CA_PLUS, AttackId::QA_MINUS, AttackId::SP_QA_PLUS, AttackId::EmbeddingShift] {
        for (protocol, epsilon) in [(Protocol::Paper, 0.1), (Protocol::Strict, 0.1), (Protocol::Paper, 0.0)] {
            let experiment = Experiment::usual(attack, threat(epsilon), protocol, Seed(1));
            let experiment = if attack.has_targets() { experiment } else { experiment.with_targets(0) };
            let targets = experiment.choose(&images, ranked.sets()).unwrap();
            let start = done();
            experiment.run(&ranked, &images, &targets, false).unwrap();
            assert_eq!(done() - start, experiment.cost(images.len()), "{attack} {protocol} {epsilon}");
            if attack == AttackId::CA_PLUS {
                let start = done();
                transfer::run(&experiment, &ranked, &other, &images, &targets).unwrap();
                assert_eq!(done() - start, transfer::cost(&experiment, images.len()), "transfer, {protocol} {epsilon}");
            }
        }
    }
    // Several searches of which the last iterates are compared.
    let search = rankle_record::Search { random_start: Some(true), restarts: Some(3), ..Default::default() };
    let spec = AttackSpec { search, ..AttackSpec::new(AttackId::CA_PLUS, 0.1, Protocol::Paper, 3) };
    let experiment = Experiment::new(&spec).unwrap();
    let targets = experiment.choose(&images, ranked.sets()).unwrap();
    let start = done();
    experiment.run(&ranked, &images, &targets, false).unwrap();
    assert_eq!(done() - start, experiment.cost(images.len()), "three searches");
    let kinds = [None, Some(SearchKind::Apgd), Some(SearchKind::Square), Some(SearchKind::Standard)];
    for (attack, kind) in [AttackId::CA_PLUS, AttackId::QA_PLUS].into_iter().flat_map(|attack| kinds.map(|kind| (attack, kind))) {
        let shared = SharedBy { batches: 2, perturbations: if kind.is_none() { 3 } else { 1 } };
        let search = rankle_record::Search { kind, ..Default::default() };
        let spec = AttackSpec { universal: Some(shared), search, ..AttackSpec::new(attack, 0.1, Protocol::Paper, 3) };
        let experiment = Experiment::new(&spec).unwrap();
        let start = done();
        universal::run(&experiment, &ranked, None, &images).unwrap();
        assert_eq!(done() - start, universal::cost(&experiment, images.len(), false), "universal {attack}");
        let start = done();
        universal::run(&experiment, &ranked, Some(&other), &images).unwrap();
        assert_eq!(done() - start, universal::cost(&experiment, images.len(), true), "universal {attack}, transferred");
    }
    let units = |attack, objective| {
        let options = AttackOptions { objective: Some(objective), ..AttackOptions::default() };
        Experiment::new(&AttackSpec { options, ..AttackSpec::new(attack, 0.1, Protocol::Paper, 0) }).unwrap().gradient_units()
    };
    assert_eq!([AttackId::CA_PLUS, AttackId::QA_PLUS].map(|attack| units(attack, ObjectiveKind::Ranking)), [2, 3]);
    assert_eq!(units(AttackId::QA_PLUS, ObjectiveKind::Distance), 2);
}

/// Every check that a model can fail has a model that fails it and, but for the two that compare searches, one that passes it. Only a
/// defect of the search fails `effort`.
#[test]
fn every_verdict_of_the_sanity_checks_is_reached_in_both_directions() {
    let page = |ranked: RankedSubject, other: Option<RankedSubject>, epsilon: f64| {
        let threat = Threat::linf(epsilon).unwrap();
        Questions { ranked, other, threat, images: 40, seed: Seed(0), memory: &NoMemory }.ask().unwrap()
    };
    let verdicts = |page: &rankle_report::Sanity| -> Vec<(String, Verdict)> {
        page.checks.iter().map(|check| (check.name.clone(), check.verdict)).collect()
    };
    use Verdict::{Fail, Pass};
    let expect = |name: &str, page: &rankle_report::Sanity, expected: &[(&str, Verdict)]| {
        let found = verdicts(page);
        for (check, verdict) in expected {
            assert!(found.contains(&((*check).to_owned(), *verdict)), "{name}: {check} is not {verdict}: {found:?}");
        }
    };
    let sound = page(of_model(unaltered()), Some(of_model(toy::embedder(1, Distance::Cosine).unwrap())), 0.05);
    expect(
        "sound",
        &sound,
        &[
            ("noise", Pass),
            ("effort", Pass),
            ("unbounded", Pass),
            ("transfer", Pass),
            ("gradients", Pass),
            ("zeros", Pass),
            ("collapse", Pass),
        ],
    );
    let masked = page(of_model(Altered { gradient: Some(0.0), ..unaltered() }), Some(of_model(unaltered())), 0.05);
    expect(
        "masked",
        &masked,
        &[
            ("noise", Fail),
            ("effort", Pass),
            ("enough", Fail),
            ("unbounded", Fail),
            ("transfer", Fail),
            ("gradient-free", Fail),
            ("zeros", Fail),
            ("collapse", Pass),
        ],
    );
    expect("lying", &page(of_model(lying()), None, 0.05), &[("gradients", Fail), ("zeros", Pass), ("noise", Pass)]);
    expect("collapsed", &page(of_model(Altered { scale: 1e-3, shift: 1.0, ..unaltered() }), None, 0.05), &[("collapse", Fail)]);
}
