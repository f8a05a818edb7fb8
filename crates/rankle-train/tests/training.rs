//! The training loop on C2F2 and a few synthetic images: it learns, repeats, resumes after an interruption, and refuses data it
//! cannot learn from.

use candle_core::{Device, Tensor};
use rand::Rng;
use rankle_core::seed::Purpose;
use rankle_core::{Dataset, Defense, Differentiable, Distance, Error, Result, Seed, Trainable};
use rankle_defense::ShiftDefense;
use rankle_models::{Architecture, Convnet, Layers};
use rankle_train::{EpochLoss, Loss, Moment, PairRule, Progress, Recipe, Sampling, Training};
use std::ops::ControlFlow;

const PIXELS: usize = 784;

/// 28×28 images of noise, with a slightly brighter bar whose height in the image depends on the class.
struct Bars {
    labels: Vec<u32>,
    pixels: Vec<f32>,
}

impl Bars {
    fn new(labels: impl IntoIterator<Item = u32>) -> Self {
        let labels: Vec<u32> = labels.into_iter().collect();
        let mut rng = Seed(1).stream(Purpose::Toy, [2, 0]);
        let mut pixels = Vec::with_capacity(labels.len() * PIXELS);
        for &label in &labels {
            for at in 0..PIXELS as u32 {
                let bar = (8 * label..8 * label + 8).contains(&(at / 28));
                pixels.push(rng.random_range(0.0..0.8) + if bar { 0.15 } else { 0.0 });
            }
        }
        Self { labels, pixels }
    }
    /// 20 images in each of three classes.
    fn sixty() -> Self {
        Self::new((0..60).map(|image| image % 3))
    }
}

impl Dataset for Bars {
    fn name(&self) -> &str {
        "bars"
    }
    fn shape(&self) -> (usize, usize, usize) {
        (1, 28, 28)
    }
    fn labels(&self) -> &[u32] {
        &self.labels
    }
    fn images(&self, indices: &[usize]) -> Result<Tensor> {
        rankle_core::dataset::check_indices("image", indices, self.len())?;
        let pixels: Vec<f32> = indices.iter().flat_map(|&i| &self.pixels[i * PIXELS..][..PIXELS]).copied().collect();
        Ok(Tensor::from_vec(pixels, (indices.len(), 1, 28, 28), &Device::Cpu)?)
    }
}

/// Noise keyed by epoch and image: a resumed run can repeat it only if it passes the right keys.
struct Noise;

impl Defense for Noise {
    fn perturb(&self, _: &dyn Differentiable, images: &Tensor, keys: &[u64], epoch: u64, seed: Seed) -> Result<Tensor> {
        let noise: Vec<f32> = keys
            .iter()
            .flat_map(|&key| {
                let mut rng = seed.stream(Purpose::Toy, [epoch, key]);
                (0..PIXELS).map(move |_| rng.random_range(-0.1..0.1)).collect::<Vec<f32>>()
            })
            .collect();
        Ok((images + Tensor::from_vec(noise, images.shape(), images.device())?)?)
    }
}

const RECIPE: Recipe = Recipe {
    epochs: 2,
    batch_size: 20,
    learning_rate: 1e-3,
    weight_decay: 1e-7,
    loss: Loss::Triplet,
    margin: 0.2,
    sampling: Sampling::Batch,
};
const CONTRASTIVE: Recipe = Recipe { loss: Loss::Contrastive, ..RECIPE };

fn model() -> Convnet {
    Convnet::initialize(Layers::C2F2, Distance::Cosine, Seed(0))
}

fn training(dataset: &dyn Dataset) -> Training<'_> {
    Training { dataset, recipe: RECIPE, defense: None, seed: Seed(0) }
}

/// Contents of a checkpoint file.
fn bytes(model: &dyn Trainable) -> Vec<u8> {
    safetensors::serialize(model.checkpoint().unwrap(), None).unwrap()
}

const START: Progress = Progress { step: 0, loss: EpochLoss { sum: 0.0, images: 0 } };

/// Trains to the end, and returns the mean loss of the last epoch.
fn final_loss(training: &Training<'_>, model: &mut dyn Trainable, from: Progress) -> f64 {
    let mut last = None;
    training
        .run(model, from, &mut |moment, _| {
            last = moment.progress.loss.mean();
            ControlFlow::Continue(())
        })
        .unwrap();
    last.unwrap()
}

fn to_the_end(_: Moment, _: &dyn Trainable) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn the_loss_falls_and_every_step_is_reported() {
    let dataset = Bars::sixty();
    let rankings = Distance::ALL.map(|distance| [Loss::Triplet, Loss::Contrastive].map(|loss| (Layers::C2F2, distance, loss)));
    let classifier = (Layers::C2F2_CLASSIFIER, Distance::Euclidean, Loss::CrossEntropy);
    for (layers, distance, loss) in rankings.into_iter().flatten().chain([classifier]) {
        let margin = Recipe::paper(distance).margin;
        let training = Training { recipe: Recipe { margin, loss, ..RECIPE }, ..training(&dataset) };
        let mut moments = Vec::new();
        let mut model = Convnet::initialize(layers, distance, Seed(0));
        training
            .run(&mut model, START, &mut |moment, _| {
                moments.push(moment);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(moments.iter().map(|m| m.progress.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(moments.iter().map(|m| m.epoch_ended).collect::<Vec<_>>(), [false, false, true, false, false, true]);
        assert!(moments.iter().all(|m| m.steps == 6));
        assert_eq!(moments.iter().map(|m| m.progress.loss.images).collect::<Vec<_>>(), [20, 40, 60, 20, 40, 60]);
        let [first, second] = [2, 5].map(|step| moments[step].progress.loss.mean().unwrap());
        // Six steps separate the classes; pulling together all images of a class takes more.
        let share = if loss == Loss::Triplet { 0.5 } else { 0.95 };
        assert!(first > 0.01 && second < share * first, "{distance} {loss}: from {first} to {second}");
    }
}

/// Sampling from the whole set, as for photographs: a pair or a triplet for every image.
#[test]
fn the_loss_falls_with_companions_from_the_whole_set() {
    let dataset = Bars::sixty();
    let mut models = Vec::new();
    for (distance, loss, draw) in [
        (Distance::Cosine, Loss::Triplet, PairRule::Strict),
        (Distance::Cosine, Loss::Triplet, PairRule::Paper),
        (Distance::Euclidean, Loss::Triplet, PairRule::Strict),
        (Distance::Cosine, Loss::Contrastive, PairRule::Strict),
        (Distance::Cosine, Loss::Contrastive, PairRule::Paper),
    ] {
        let paper = Recipe::photographs(distance, loss, draw);
        let recipe = Recipe { margin: paper.margin, sampling: paper.sampling, epochs: 4, loss, ..RECIPE };
        let mut losses = Vec::new();
        let mut model = Convnet::initialize(Layers::C2F2, distance, Seed(0));
        Training { recipe, ..training(&dataset) }
            .run(&mut model, START, &mut |moment, _| {
                losses.extend(moment.progress.loss.mean().filter(|_| moment.epoch_ended));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(losses.len(), 4);
        let (first, last) = (losses[0], losses[3]);
        assert!(first > 1e-3 && last < 0.8 * first, "{distance} {loss} {draw:?}: from {first} to {last}");
        models.push(bytes(&model));
    }
    assert!(models[0] != models[1] && models[3] != models[4], "the draw has no effect");
}

/// The same images and samples, and constant weights: only the division into batches differs. Earlier, the loss of the last batch
/// was reported; with sampling from the whole set that was a sum, which grew with the batch size.
#[test]
fn the_loss_of_an_epoch_does_not_depend_on_the_batch_size() {
    let dataset = Bars::new((0..31).map(|image| image % 3));
    let of_the_set = [Loss::Triplet, Loss::Contrastive].map(|loss| (loss, Architecture::C2f2, Sampling::Set(PairRule::Strict)));
    for (loss, architecture, sampling) in
        of_the_set.into_iter().chain([(Loss::CrossEntropy, Architecture::Softmax, Sampling::Batch)])
    {
        let of = |batch_size| {
            let recipe = Recipe { epochs: 1, learning_rate: 0.0, margin: 0.5, batch_size, loss, sampling, ..RECIPE };
            let mut model = architecture.initialize(Distance::Euclidean, Seed(0), &rankle_core::Place::default()).unwrap();
            final_loss(&Training { recipe, ..training(&dataset) }, &mut *model, START)
        };
        let whole = of(31);
        assert!(whole > 0.01, "{loss}: {whole}");
        for batch_size in [2, 3, 10] {
            let mean = of(batch_size);
            assert!((mean - whole).abs() < 1e-6 * whole, "{loss}: {mean} in batches of {batch_size}, {whole} in one");
        }
    }
}

#[test]
fn the_images_of_some_steps_are_counted() {
    let dataset = Bars::sixty();
    let in_25s = Recipe { batch_size: 25, epochs: 2, ..RECIPE };
    let plain = Training { recipe: in_25s, ..training(&dataset) };
    assert_eq!(plain.steps(), 6);
    let images = [0..0, 0..1, 2..3, 0..3, 1..4, 0..6].map(|steps| plain.images(steps));
    assert_eq!(images, [0, 25, 10, 60, 60, 120]);
    for (loss, each) in [(Loss::Triplet, 3), (Loss::Contrastive, 2)] {
        let recipe = Recipe { loss, sampling: Sampling::Set(PairRule::Strict), ..in_25s };
        assert_eq!(Training { recipe, ..training(&dataset) }.images(0..6), each * 120);
    }
}

#[test]
fn one_seed_gives_one_model_and_another_seed_another() {
    let dataset = Bars::sixty();
    let run = |seed| {
        let mut model = model();
        Training { seed, ..training(&dataset) }.run(&mut model, START, &mut to_the_end).unwrap();
        bytes(&model)
    };
    let first = run(Seed(0));
    assert!(first == run(Seed(0)), "the same seed, other bytes");
    assert!(first != run(Seed(1)), "the seed has no effect");
}

#[test]
fn a_run_that_was_stopped_at_any_step_goes_on_as_if_it_had_not() {
    let dataset = Bars::sixty();
    let pgd = ShiftDefense::prescribed(rankle_attacks::Threat::linf(0.1).unwrap()).pgd;
    let shift = ShiftDefense { search: rankle_attacks::Pgd { iterations: 2, ..pgd }.into() };
    // The contrastive loss draws nothing, so one stop is as good a test as all.
    type Run<'a> = (&'a str, Recipe, Option<&'a dyn Defense>, &'a [usize]);
    let whole_set = Recipe { sampling: Sampling::Set(PairRule::Strict), ..RECIPE };
    let runs: [Run<'_>; 5] = [
        ("none", RECIPE, None, &[1, 2, 3, 4, 5]),
        ("noise", RECIPE, Some(&Noise), &[1, 2, 3, 4, 5]),
        ("shift", RECIPE, Some(&shift), &[1, 2, 3, 4, 5]),
        ("contrastive", CONTRASTIVE, None, &[4]),
        ("the whole set", whole_set, Some(&Noise), &[2]),
    ];
    let mut results = Vec::new();
    for (name, recipe, defense, stops) in runs {
        let training = Training { recipe, defense, ..training(&dataset) };
        assert_eq!(training.steps(), 6);
        let mut whole = model();
        let expected_loss = final_loss(&training, &mut whole, START);
        let expected = bytes(&whole);
        for &stop in stops {
            let mut stopped = model();
            let mut state = None;
            let result = training.run(&mut stopped, START, &mut |moment, model| {
                if moment.progress.step < stop {
                    return ControlFlow::Continue(());
                }
                state = Some((model.checkpoint().unwrap(), moment.progress));
                ControlFlow::Break(())
            });
            assert!(matches!(result, Err(Error::Interrupted)), "{name}, step {stop}: {result:?}");

            // Another seed: all state has to come from the checkpoint.
            let mut resumed = Convnet::initialize(Layers::C2F2, Distance::Cosine, Seed(9));
            let (state, progress) = state.unwrap();
            resumed.restore(state).unwrap();
            assert!(bytes(&resumed) == bytes(&stopped), "{name}, step {stop}: the checkpoint is not the model");
            assert_eq!(final_loss(&training, &mut resumed, progress), expected_loss, "{name}, step {stop}");
            assert!(bytes(&resumed) == expected, "{name}, step {stop}: other bytes");
        }
        results.push(expected);
    }
    assert!(results[0] != results[1] && results[0] != results[2], "a defense has no effect");
    assert!(results[0] != results[3], "the loss has no effect");
    assert!(results[1] != results[4], "the sampling has no effect");
}

/// Dropout is keyed by the seed of the training; all other state is in the checkpoint.
#[test]
fn a_classifier_goes_on_as_if_it_had_not_been_stopped_and_takes_no_labels_without_a_class() {
    let dataset = Bars::sixty();
    let training = Training { recipe: Recipe { batch_size: 20, ..Recipe::classifier(2) }, ..training(&dataset) };
    let start =
        |seed| Architecture::C2f2Classifier.initialize(Distance::Euclidean, seed, &rankle_core::Place::default()).unwrap();
    let mut whole = start(Seed(0));
    let mut state = None;
    training
        .run(&mut *whole, START, &mut |moment, model| {
            if moment.progress.step == 4 {
                state = Some((model.checkpoint().unwrap(), moment.progress));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let (state, progress) = state.unwrap();
    let mut resumed =
        Architecture::C2f2Classifier.resume(Distance::Euclidean, Seed(0), state, &rankle_core::Place::default()).unwrap();
    training.run(&mut *resumed, progress, &mut to_the_end).unwrap();
    assert!(bytes(&*resumed) == bytes(&*whole));

    let strange = Bars::new((0..60).map(|image| image % 12));
    let error = Training { dataset: &strange, ..training }.run(&mut *start(Seed(0)), START, &mut to_the_end).unwrap_err();
    assert!(matches!(error, Error::Index { what: "class", len: 10, .. }), "{error}");
}

#[test]
fn a_batch_of_one_class_teaches_nothing_and_stops_nothing() {
    // The last batch of each epoch is a single image.
    let dataset = Bars::new((0..41).map(|image| image % 3));
    let (mut before, mut lone) = (Vec::new(), 0);
    training(&dataset)
        .run(&mut model(), START, &mut |Moment { progress, epoch_ended, .. }, model| {
            let now = bytes(model);
            if epoch_ended {
                lone += 1;
                assert_eq!(progress.loss.images, 40, "only those of the batches that teach count");
                assert!(now == before, "step {} moved the weights", progress.step);
            } else {
                assert!(now != before, "step {} did not move the weights", progress.step);
            }
            before = now;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(lone, 2);
}

/// Every case ends with an error that names the reason, and leaves the weights unchanged.
#[test]
fn what_cannot_be_learned_from_is_refused() {
    let whole = Bars::sixty();
    let broken = |value: f32| {
        let mut dataset = Bars::sixty();
        dataset.pixels.iter_mut().skip(300).step_by(PIXELS).for_each(|pixel| *pixel = value);
        dataset
    };
    let (one, empty, singletons) = (Bars::new([2; 30]), Bars::new([]), Bars::new(0..4));
    let (nan, infinite) = (broken(f32::NAN), broken(f32::INFINITY));
    let no_batch = Recipe { batch_size: 0, ..RECIPE };
    let no_margin = Recipe { margin: f64::NAN, ..RECIPE };
    let one_by_one = Recipe { batch_size: 1, ..RECIPE };
    let singles = "there are no pairs of images of one class to learn from";
    let cases: [(&str, &Bars, Recipe, &str); 9] = [
        ("one class", &one, RECIPE, "there are no images of a second class"),
        ("singletons", &singletons, RECIPE, singles),
        ("singletons and pairs", &singletons, CONTRASTIVE, singles),
        ("batches of one class each", &whole, one_by_one, "there are no batches in the first epoch with images to compare"),
        ("no images", &empty, RECIPE, "there are no training images"),
        ("an empty batch", &whole, no_batch, "there are no images in a batch"),
        ("NaN", &nan, RECIPE, "a batch of images holds a value that is not finite"),
        ("infinity", &infinite, RECIPE, "a batch of images holds a value that is not finite"),
        ("a margin of NaN", &whole, no_margin, "the loss of optimizer step 1 holds a value that is not finite"),
    ];
    for (what, dataset, recipe, message) in cases {
        let mut model = model();
        let before = bytes(&model);
        let mut steps = 0;
        let result = Training { recipe, ..training(dataset) }.run(&mut model, START, &mut |_, _| {
            steps += 1;
            ControlFlow::Continue(())
        });
        let error = result.expect_err(what);
        let numeric = message.contains("finite");
        assert!(
            if numeric { matches!(error, Error::NotFinite(_)) } else { matches!(error, Error::Empty(_)) },
            "{what}: {error:?}"
        );
        assert!(error.to_string().contains(message), "{what}: {error}");
        assert_eq!(steps, if recipe.batch_size == 1 { 59 } else { 0 }, "{what}");
        assert!(bytes(&model) == before, "{what}: the weights have changed");
    }
}
