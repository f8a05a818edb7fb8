//! Noise, and checks that tell a robust model from one that masks its gradients.

use crate::support::{Curved, World, at, embedder, gallery, world};
use candle_core::{Device, Tensor};
use rankle_attacks::{
    Agreement, AttackId, AttackOptions, Direction, Noise, Outcome, Pgd, Protocol, Setting, Solver, Targets, Threat, Zeros, build,
    directions, gradients, losses, run, slopes,
};
use rankle_core::{Dataset, Differentiable, Distance, Embedder, Error, Gallery, InputSpec, Result, Sets, Upstream};

const IMAGES: [usize; 12] = [3, 999, 17, 4, 250, 251, 0, 600, 601, 602, 77, 78];

/// A model with correct embeddings and masked gradients.
struct Masked<'a> {
    inner: &'a Curved,
    /// Mask of a gradient.
    mask: fn(&Tensor) -> candle_core::Result<Tensor>,
}

impl Embedder for Masked<'_> {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        self.inner.embed(images)
    }
    fn distance(&self) -> Distance {
        self.inner.distance()
    }
    fn input(&self) -> InputSpec {
        self.inner.input()
    }
}

impl Differentiable for Masked<'_> {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        Ok((self.mask)(&self.inner.input_gradient(images, upstream)?)?)
    }
}

fn setting<'a>(embedder: &'a dyn Differentiable, gallery: &'a Gallery, world: &'a World) -> Setting<'a> {
    let images: Sets<&dyn Dataset> = Sets::one(world);
    Setting { embedder, scene: at(gallery, Protocol::Paper, 9), images, batch_size: 5, eight_bit: false, keep_images: true }
}

fn linf(value: f64) -> Threat {
    Threat::linf(value).unwrap()
}

fn attacked<'a>(kind: AttackId, solver: &dyn Solver<dyn Differentiable + 'a>, setting: &Setting<'a>) -> (Targets, Outcome) {
    let attack = build(kind, 2, AttackOptions::default());
    let targets = attack.choose(&IMAGES, &setting.scene).unwrap();
    let outcome = run(&*attack, solver, setting, &IMAGES, &targets).unwrap();
    (targets, outcome)
}

fn agreement(kind: AttackId, setting: &Setting<'_>) -> Agreement {
    let attack = build(kind, 2, AttackOptions::default());
    let targets = attack.choose(&IMAGES, &setting.scene).unwrap();
    // The embedding shift has no gradient at the clean image.
    let (_, noisy) = attacked(kind, &Noise { threat: linf(0.2) }, setting);
    let noisy = noisy.adversarial.unwrap();
    let one = |(row, &image): (usize, &usize)| {
        let (own, at) = (targets.of_images(row..row + 1), noisy.narrow(0, row, 1).unwrap());
        let directions = directions(setting.scene.seed, image, 32, setting.images.gallery.shape()).unwrap();
        Agreement::of(&slopes(&*attack, setting, image, &own, &at, &directions).unwrap())
    };
    IMAGES.iter().enumerate().map(one).fold(Agreement::default(), Agreement::and)
}

/// The gradient with zeros in the first row of pixels: 5 of 25.
fn without_a_row(gradient: &Tensor) -> candle_core::Result<Tensor> {
    let (n, c, _, w) = gradient.dims4()?;
    Tensor::cat(&[&gradient.narrow(2, 0, 1)?.zeros_like()?, &gradient.narrow(2, 1, 4)?], 2)?.reshape((n, c, 5, w))
}

#[test]
fn gradients_agree_with_differences_unless_they_lie() {
    for distance in Distance::ALL {
        let (world, model) = (world(), embedder(2, distance));
        let gallery = gallery(&model, &world);
        for kind in AttackId::ALL {
            let honest = agreement(kind, &setting(&model, &gallery, &world));
            assert_eq!(honest.directions, IMAGES.len() * 32);
            assert_eq!(honest.holds(), Some(true), "{kind} {distance}: {honest:?}");
            for mask in
                [Tensor::zeros_like, |gradient: &Tensor| gradient * 1.2, |gradient: &Tensor| gradient.neg(), without_a_row]
            {
                let masked = Masked { inner: &model, mask };
                let lie = agreement(kind, &setting(&masked, &gallery, &world));
                assert_eq!((lie.steepness(), lie.holds()), (honest.steepness(), Some(false)), "{kind} {distance}: {lie:?}");
            }
        }
    }
}

#[test]
fn directions_must_have_the_shape_of_the_image() {
    let (world, model) = (world(), embedder(2, Distance::Cosine));
    let gallery = gallery(&model, &world);
    let (setting, kind) = (setting(&model, &gallery, &world), AttackId::Candidate(Direction::Raise));
    let attack = build(kind, 1, AttackOptions::default());
    let targets = attack.choose(&IMAGES[..1], &setting.scene).unwrap();
    let at = world.images(&IMAGES[..1]).unwrap();
    let other = directions(setting.scene.seed, 0, 2, (1, 5, 4)).unwrap();
    let refused = slopes(&*attack, &setting, IMAGES[0], &targets, &at, &other);
    assert!(matches!(refused, Err(Error::Shape { what: "the directions", .. })));
}

/// A search does not raise the loss of any image, and the batch size does not change the losses.
#[test]
fn losses_are_those_that_the_search_lowers() {
    let (world, model) = (world(), embedder(2, Distance::Cosine));
    let gallery = gallery(&model, &world);
    let setting = setting(&model, &gallery, &world);
    let clean = world.images(&IMAGES).unwrap();
    for kind in AttackId::ALL.into_iter().filter(|&kind| kind != AttackId::EmbeddingShift) {
        let attack = build(kind, 2, AttackOptions::default());
        let search = Pgd { iterations: 5, restarts: 1, random_start: false, ..Pgd::strict(linf(0.2)) };
        let (targets, outcome) = attacked(kind, &search, &setting);
        let at = |images: &Tensor| losses(&*attack, &setting, &IMAGES, &targets, images).unwrap();
        let (before, after) = (at(&clean), at(&outcome.adversarial.unwrap()));
        assert!(before.iter().zip(&after).all(|(before, after)| after <= before), "{kind}");
        assert!(after.iter().sum::<f64>() < before.iter().sum::<f64>(), "{kind}");
        let whole = losses(&*attack, &Setting { batch_size: 100, ..setting }, &IMAGES, &targets, &clean).unwrap();
        assert_eq!(whole, before, "{kind}");
        let too_few = losses(&*attack, &setting, &IMAGES, &targets, &clean.narrow(0, 0, 3).unwrap());
        assert!(matches!(too_few, Err(Error::Shape { .. })));
    }
}

#[test]
fn zeros_are_counted_by_pixel_and_by_image() {
    let rows = |rows: &[f32], shape: (usize, usize, usize, usize)| Tensor::from_slice(rows, shape, &Device::Cpu).unwrap();
    let zeros = Zeros::of(&rows(&[0.0, -0.0, 1e-30, 0.0, 1.0, -2.0], (3, 1, 1, 2))).unwrap();
    assert_eq!((zeros.pixels, zeros.images), (0.5, 1.0 / 3.0));
    assert!(matches!(Zeros::of(&rows(&[f32::NAN], (1, 1, 1, 1))), Err(Error::NotFinite(_))));

    let (world, model) = (world(), embedder(2, Distance::Cosine));
    let gallery = gallery(&model, &world);
    let (kind, clean) = (AttackId::Query(Direction::Raise), world.images(&IMAGES).unwrap());
    let masked = Masked { inner: &model, mask: Tensor::zeros_like };
    let share = |model: &dyn Differentiable| {
        let (attack, setting) = (build(kind, 2, AttackOptions::default()), setting(model, &gallery, &world));
        let targets = attack.choose(&IMAGES, &setting.scene).unwrap();
        Zeros::of(&gradients(&*attack, &setting, &IMAGES, &targets, &clean).unwrap()).unwrap()
    };
    assert_eq!(share(&model), Zeros { pixels: 0.0, images: 0.0 });
    assert_eq!(share(&masked), Zeros { pixels: 1.0, images: 1.0 });
}

#[test]
fn noise_goes_to_the_corners_and_asks_nobody() {
    let (world, model) = (world(), embedder(2, Distance::Cosine));
    let gallery = gallery(&model, &world);
    let masked = Masked { inner: &model, mask: Tensor::zeros_like };
    let noise = Noise { threat: linf(0.1) };
    let pixels = |model: &dyn Differentiable, kind| -> Vec<f32> {
        let (_, outcome) = attacked(kind, &noise, &setting(model, &gallery, &world));
        outcome.adversarial.unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    let noisy = pixels(&model, AttackId::EmbeddingShift);
    assert_eq!(noisy, pixels(&masked, AttackId::Candidate(Direction::Lower)));
    let clean: Vec<f32> = world.images(&IMAGES).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let moved: Vec<f32> = noisy.iter().zip(&clean).map(|(noisy, clean)| noisy - clean).collect();
    let held = |(moved, noisy): (&f32, &f32)| (moved.abs() - 0.1).abs() < 1e-6 || *noisy == 0.0 || *noisy == 1.0;
    assert!(moved.iter().zip(&noisy).all(held));
    let up = moved.iter().filter(|&&moved| moved > 0.0).count();
    assert!((moved.len() / 3..moved.len() * 2 / 3).contains(&up), "{up} of {}", moved.len());
}
