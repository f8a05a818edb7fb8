//! What an attacker sees at places of one's own choosing: the loss, its gradient, and whether the two agree.

use crate::run::{check, embed};
use crate::{Aim, Evaluation, RankingAttack, Setting, Targets};
use candle_core::{Device, Tensor};
use rankle_core::numbers::numbers;
use rankle_core::{Error, Result};

/// The attacker's loss of every image when it looks like its row of `at`, `(n, c, h, w)`; lower is better for the attacker.
///
/// # Errors
/// As [`crate::run`], and [`Error::Shape`] when `at` does not hold one image for each of `images`.
pub fn losses(
    attack: &dyn RankingAttack,
    setting: &Setting<'_>,
    images: &[usize],
    targets: &Targets,
    at: &Tensor,
) -> Result<Vec<f64>> {
    let mut losses = Vec::with_capacity(images.len());
    batches(attack, setting, images, targets, at, &mut |at, aim| {
        losses.append(&mut aim.evaluate(&setting.embedder.embed(at)?)?.loss);
        Ok(())
    })?;
    Ok(losses)
}

/// The gradient of that loss with respect to the pixels, shaped as `at` and on the CPU: what a search follows the sign of.
///
/// # Errors
/// As [`losses`].
pub fn gradients(
    attack: &dyn RankingAttack,
    setting: &Setting<'_>,
    images: &[usize],
    targets: &Targets,
    at: &Tensor,
) -> Result<Tensor> {
    let mut gradients = Vec::new();
    batches(attack, setting, images, targets, at, &mut |at, aim| {
        let gradient = setting.embedder.input_gradient(at, &mut |raw| {
            let Evaluation { slope, .. } = aim.evaluate(raw)?;
            Ok(slope.to_device(raw.device())?)
        })?;
        gradients.push(gradient.to_device(&Device::Cpu)?);
        Ok(())
    })?;
    Ok(Tensor::cat(&gradients, 0)?)
}

/// Where a gradient is exactly zero, as fractions. A sign attack does not move there, so a model whose gradients vanish looks
/// robust to it without being so.
///
/// # Source
/// Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, arXiv:1802.00420.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zeros {
    /// The share of all pixels.
    pub pixels: f64,
    /// The share of images without any other pixel.
    pub images: f64,
}

impl Zeros {
    /// Of gradients `(n, c, h, w)`.
    ///
    /// # Errors
    /// [`Error::Empty`] without images, [`Error::NotFinite`] for gradients that are no numbers.
    pub fn of(gradients: &Tensor) -> Result<Self> {
        let (images, values) = (gradients.dims().first().copied().unwrap_or(0), numbers(gradients)?);
        if images == 0 || values.is_empty() {
            return Err(Error::Empty("gradients"));
        }
        if !values.iter().all(|x| x.is_finite()) {
            return Err(Error::NotFinite("the gradient of the loss".into()));
        }
        let zeros = |values: &[f32]| values.iter().filter(|&&x| x == 0.0).count();
        let rows = values.chunks_exact(values.len() / images);
        let silent = rows.filter(|row| zeros(row) == row.len()).count();
        Ok(Self { pixels: zeros(&values) as f64 / values.len() as f64, images: silent as f64 / images as f64 })
    }
}

/// The loss at one pixel: its gradient, and the difference quotients to its two sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// What the model says.
    pub gradient: f64,
    /// For each of [`Slope::STEPS`] the quotient towards a darker and the one towards a brighter pixel.
    pub quotients: [[f64; 2]; Slope::STEPS.len()],
}

impl Slope {
    /// How far a pixel is moved. Wide steps cross the decisions of a network, narrow ones drown in the rounding of the loss.
    pub const STEPS: [f32; 2] = [1.0 / 256.0, 1.0 / 1024.0];

    /// The mean of both sides for the widest step, where all steps and sides agree: averages over many decisions of a network may
    /// agree by chance, as rounding may, but hardly both.
    fn quotient(&self) -> Option<f64> {
        let [left, right] = self.quotients[0];
        let mean = 0.5 * (left + right);
        self.quotients.as_flattened().iter().all(|&quotient| near(quotient, mean, mean)).then_some(mean)
    }
}

fn near(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= Agreement::TOLERANCE * scale.abs()
}

/// The slopes of one image at some of its pixels (places in `c × h × w`). `at`, `(1, c, h, w)`, is what the image looks like;
/// `targets` are its own.
///
/// # Errors
/// As [`losses`], and [`Error::Index`] for a pixel outside of the image.
pub fn slopes(
    attack: &dyn RankingAttack,
    setting: &Setting<'_>,
    image: usize,
    targets: &Targets,
    at: &Tensor,
    pixels: &[usize],
) -> Result<Vec<Slope>> {
    let gradient = gradients(attack, setting, &[image], targets, at)?;
    let (gradient, here) = (numbers(&gradient)?, numbers(at)?);
    if let Some(&index) = pixels.iter().find(|&&pixel| pixel >= here.len()) {
        return Err(Error::Index { what: "pixel", index, len: here.len() });
    }
    // The image itself, then every pixel moved to the left and to the right.
    let steps = || Slope::STEPS.into_iter().flat_map(|step| [-step, step]);
    let moved = pixels.iter().flat_map(|&pixel| steps().map(move |step| (pixel, step)));
    let moved = moved.flat_map(|(pixel, step)| {
        let mut image = here.to_vec();
        image[pixel] += step;
        image
    });
    let sides = 2 * Slope::STEPS.len();
    let copies = 1 + sides * pixels.len();
    let all: Vec<f32> = here.iter().copied().chain(moved).collect();
    let mut shape = at.dims().to_vec();
    shape[0] = copies;
    let repeat = |indices: &[u32]| indices.repeat(copies);
    let preserved = targets.preserved().map(|(indices, set)| (repeat(indices), set));
    let targets = match targets.set() {
        0 => Targets::none(copies),
        set => Targets::new(copies, repeat(targets.indices()), set, preserved, setting.gallery.len())?,
    };
    let losses = losses(attack, setting, &vec![image; copies], &targets, &Tensor::from_vec(all, shape, &Device::Cpu)?)?;
    let slope = |(&pixel, losses_of): (&usize, &[f64])| {
        // What was really moved, after rounding.
        let quotient = |(&side, step): (&f64, f32)| (side - losses[0]) / f64::from(here[pixel] + step - here[pixel]);
        let quotients: Vec<f64> = losses_of.iter().zip(steps()).map(quotient).collect();
        let both = |at: usize| [quotients[2 * at], quotients[2 * at + 1]];
        Slope { gradient: f64::from(gradient[pixel]), quotients: std::array::from_fn(both) }
    };
    Ok(pixels.iter().zip(losses[1..].chunks_exact(sides)).map(slope).collect())
}

/// How many gradients are what the loss does. A network of ReLUs and maxima is smooth only between its decisions: where one flips
/// inside the step, or the loss hardly changes, a quotient says nothing, and the place is left out. The choice asks the
/// quotients alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// How many places were looked at.
    pub places: usize,
    /// How many of them were steep and smooth.
    pub smooth: usize,
    /// How many of these have the gradient of their quotients.
    pub agreeing: usize,
}

impl Agreement {
    /// How near two slopes must be, relative to the quotient.
    pub const TOLERANCE: f64 = 0.05;

    /// Counts the slopes of one image: steep is a tenth of its steepest.
    pub fn of(slopes: &[Slope]) -> Self {
        let smooth: Vec<(f64, f64)> =
            slopes.iter().filter_map(|slope| Some((slope.gradient, slope.quotient()?))).filter(|(_, q)| *q != 0.0).collect();
        let steepest = smooth.iter().fold(0.0, |most: f64, (_, quotient)| most.max(quotient.abs()));
        let steep: Vec<&(f64, f64)> = smooth.iter().filter(|(_, quotient)| quotient.abs() >= 0.1 * steepest).collect();
        let agreeing = steep.iter().filter(|(gradient, quotient)| near(*gradient, *quotient, *quotient)).count();
        Self { places: slopes.len(), smooth: steep.len(), agreeing }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self { places: self.places + other.places, smooth: self.smooth + other.smooth, agreeing: self.agreeing + other.agreeing }
    }
}

/// Binds the attack batch by batch, and hands each batch on with what its images look like.
fn batches(
    attack: &dyn RankingAttack,
    setting: &Setting<'_>,
    images: &[usize],
    targets: &Targets,
    at: &Tensor,
    each: &mut dyn FnMut(&Tensor, &dyn Aim) -> Result<()>,
) -> Result<()> {
    check(setting.gallery, setting, images, targets)?;
    if at.dims().first() != Some(&images.len()) {
        let expected = format!("({}, c, h, w), one row per image", images.len());
        return Err(Error::Shape { what: "what the images look like", actual: at.dims().to_vec(), expected });
    }
    let mut done = 0;
    for indices in images.chunks(setting.batch_size.max(1)) {
        let clean = embed(setting.embedder, &setting.dataset.images(indices)?, "a clean image")?;
        let own = targets.of_images(done..done + indices.len());
        let bound = attack.bind(setting.batch(setting.gallery, indices, &clean, own))?;
        each(&at.narrow(0, done, indices.len())?, &*bound)?;
        done += indices.len();
    }
    Ok(())
}
