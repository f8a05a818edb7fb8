//! Universal perturbations: one perturbation for many images.

use crate::ball::{shorten, steepest};
use crate::draw::distinct;
use crate::run::{BatchInHand, Ranker, check_sets, each_batch, embed, perturbed};
use crate::shared_images::{Chunk, SharedImages};
use crate::{
    AnySearch, AttackInstance, Ball, Cost, Direction, Measures, Outcome, Pgd, Protocol, RankingAttack, Scene, Setting, Targets,
    Threat, Victim,
};
use candle_core::{Device, Tensor};
use rand::Rng;
use rankle_core::dataset::check_indices;
use rankle_core::numbers::numbers;
use rankle_core::seed::Purpose;
use rankle_core::{Dataset, Embeddings, Error, Gallery, Ranking, Result, Role, Sets};

/// Searches for one perturbation that moves all images of a batch (I-CA±) or one item in the lists of all of them (I-QA±).
///
/// The perturbation is computed on the images at even positions of the batch, the seen half. Those at odd positions, the unseen
/// half, measure its effect on other images. The loss is the sum over the seen half.
///
/// [`Pgd`] starts at zero, whatever it keeps returns its last iterate, and follows the steepest descent. After every step each image clips the perturbation, first to keep that
/// image in `[0, 1]`, then to the ball, and the mean of the clipped copies is kept. Under [`Protocol::Paper`] images are not clipped
/// while the gradient is computed, and the unseen half takes part in the clipping, as in the original (METHOD.md 10). Under
/// [`Protocol::Strict`] images are clipped, and the unseen half is not used.
///
/// For other searches the perturbation is the only image of the problem, and its rank the sum over the seen half. Under both
/// protocols images are clipped to `[0, 1]`, and the unseen half is not used. Random draws are keyed by the target.
/// [`crate::Standard`] runs the parts that follow the loss of the attack.
///
/// # Source
/// Zhou et al., ECCV 2020, arXiv:2002.11293, section 4.5; METHOD.md 10.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UniversalAttack {
    /// The search, whose threat is that of the perturbation: [`Pgd::universal`], or any other one.
    pub search: AnySearch,
}

/// A universal perturbation and its measures.
#[derive(Clone, Debug)]
pub struct UniversalOutcome {
    /// The perturbation `(1, c, h, w)`, to be added to any image, which is then clipped to `[0, 1]`.
    pub perturbation: Tensor,
    /// Measures on the model that the perturbation was computed on.
    pub source: Halves,
    /// Measures on the victim, for which both halves are unseen; `None` without a victim.
    pub victim: Option<Halves>,
}

/// The two halves of a batch.
#[derive(Clone, Debug)]
pub struct Halves {
    /// The images that the perturbation was computed on.
    pub seen: Half,
    /// The images that the perturbation was not computed on.
    pub unseen: Half,
}

/// Measures of one half of a batch, with one rank per image. A minus attack counts only the images nearest to the target, 1 % of
/// the half and at least one, as only their ranks can fall.
#[derive(Clone, Debug, Default)]
pub struct Half {
    /// The indices of the counted images in their set.
    pub images: Vec<usize>,
    /// Measures of the clean images.
    pub before: Measures,
    /// Measures of the perturbed images.
    pub after: Measures,
    /// Distance by which the embedding of each counted image moves, in units of the model's distance.
    pub embedding_shift: Vec<f64>,
}

impl UniversalAttack {
    /// Cost of the search for each seen image. A query of [`crate::Square`] embeds all of them.
    pub fn cost(&self) -> Cost {
        let Cost { gradients, queries } = self.search.cost();
        if let AnySearch::Pgd(_) = self.search {
            return self.search.cost();
        }
        // The loss takes the embeddings of all images, which are embedded once more for their gradients.
        Cost { gradients, queries: queries.saturating_add(gradients) }
    }

    /// Computes the perturbation for the images with the given indices in their set and one target (the query of I-CA±, the
    /// candidate of I-QA±), and measures it. `attack` has one target per image and goes in `direction`. `setting.batch_size`
    /// bounds the number of images that are embedded at once and changes no result.
    ///
    /// # Errors
    /// [`Error::Empty`] for fewer than two images, which have no halves; [`Error::Refused`] for [`Pgd`] with a random start;
    /// [`Error::Index`] and [`Error::Shape`] when images, target and sets do not fit; and the errors of the embedders and the attack.
    pub fn run(
        &self,
        (attack, direction): (&dyn RankingAttack, Direction),
        setting: &Setting<'_>,
        victim: Option<Victim<'_>>,
        images: &[usize],
        target: u32,
    ) -> Result<UniversalOutcome> {
        if images.len() < 2 {
            return Err(Error::Empty("unseen images (a universal perturbation needs at least two images)"));
        }
        if let AnySearch::Pgd(Pgd { random_start: true, .. }) = self.search {
            return Err(Error::Refused("a universal perturbation by pgd starts at zero, not at random".into()));
        }
        let dataset = *setting.images.of(attack.perturbs());
        check_indices("image", images, dataset.len())?;
        let work = Work { attack, direction, setting, dataset, target, threat: self.search.threat() };
        let source: Ranker<'_> = Ranker { embedder: setting.embedder, sets: setting.scene.sets };
        let victim = victim.map(|Victim { embedder, sets }| Ranker { embedder, sets });
        [Some(&source), victim.as_ref()].into_iter().flatten().try_for_each(|ranker| check_sets(ranker.sets, setting))?;
        check_indices("target", &[target as usize], work.targets(source.sets).len())?;

        let half = |parity: usize| -> Vec<usize> { images.iter().skip(parity).step_by(2).copied().collect() };
        let (seen, unseen) = (half(0), half(1));
        let clipping = match setting.scene.protocol {
            Protocol::Paper => images,
            Protocol::Strict => &seen,
        };
        let perturbation = self.search(&work, &source, &seen, clipping)?;
        let measure = |ranker: &Ranker<'_>| -> Result<Halves> {
            let half = |images: &[usize]| work.measure(ranker, images, &perturbation);
            Ok(Halves { seen: half(&seen)?, unseen: half(&unseen)? })
        };
        let (source, victim) = (measure(&source)?, victim.as_ref().map(measure).transpose()?);
        Ok(UniversalOutcome { perturbation: work.tensor(&perturbation)?, source, victim })
    }

    fn search(&self, work: &Work<'_>, source: &Ranker<'_>, seen: &[usize], clipping: &[usize]) -> Result<Vec<f32>> {
        let at_once = work.setting.batch_size.max(1);
        let clean: Vec<Embeddings> = seen.chunks(at_once).map(|images| work.clean(source, images)).collect::<Result<_>>()?;
        if work.threat.radius() == 0.0 {
            return Ok(vec![0.0; work.size()]);
        }
        let mut chunks = Vec::new();
        for (number, (images, clean)) in seen.chunks(at_once).zip(&clean).enumerate() {
            let instance = work.instantiate(source, images, clean)?;
            chunks.push(Chunk { first: number * at_once, images: work.dataset.images(images)?, instance });
        }
        let shared = SharedImages {
            embedder: work.setting.embedder,
            place: work.setting.scene.sets.gallery.place(),
            threat: work.threat,
            clips: !matches!(self.search, AnySearch::Pgd(_)) || work.setting.scene.protocol == Protocol::Strict,
            chunks,
        };
        match self.search {
            AnySearch::Pgd(search) => descend(&search, &shared, &numbers(&work.dataset.images(clipping)?)?, work.size()),
            search => shared.solve(search, u64::from(work.target), work.setting.scene.seed),
        }
    }
}

/// Descends from zero. After every step all images of `clipping` clip the perturbation.
fn descend(search: &Pgd, shared: &SharedImages<'_>, clipping: &[f32], size: usize) -> Result<Vec<f32>> {
    let mut perturbation = vec![0.0f32; size];
    for _ in 0..search.iterations {
        let gradient = shared.gradient(&perturbation, |chunk, raw| Ok(chunk.instance.evaluate(raw)?.gradient))?;
        let mut direction: Vec<f32> = gradient.into_iter().map(|sum| sum as f32).collect();
        steepest(search.threat.norm(), &mut direction);
        perturbation.iter_mut().zip(direction).for_each(|(p, direction)| *p -= search.step as f32 * direction);
        clip(search.threat, &mut perturbation, clipping);
    }
    Ok(perturbation)
}

/// Replaces the perturbation by the mean of its copies, each clipped first to keep one image in `[0, 1]`, then to the ball.
fn clip(threat: Threat, perturbation: &mut [f32], images: &[f32]) {
    let (mut sums, mut copy) = (vec![0.0f64; perturbation.len()], vec![0.0f32; perturbation.len()]);
    for image in images.chunks_exact(perturbation.len()) {
        copy.iter_mut().zip(perturbation.iter().zip(image)).for_each(|(copy, (&p, &x))| *copy = p.clamp(-x, 1.0 - x));
        shorten(threat, &mut copy);
        sums.iter_mut().zip(&copy).for_each(|(sum, &p)| *sum += f64::from(p));
    }
    let count = (images.len() / perturbation.len()) as f64;
    perturbation.iter_mut().zip(sums).for_each(|(p, sum)| *p = (sum / count) as f32);
}

/// The target of perturbation `number` of batch `batch`, whose images have the given role: a uniform item of the set of targets.
/// It is the same for every ε and model, and, in one set, for every attack; under [`Protocol::Strict`] it is none of the images.
///
/// # Errors
/// [`Error::TooFewTargets`] when every item is an image of the batch.
pub fn universal_target(scene: &Scene<'_>, role: Role, (batch, number): (u64, u64), images: &[usize]) -> Result<u32> {
    let mut rng = scene.seed.stream(Purpose::Universal, [batch, number]);
    let len = scene.sets.of(role.other()).len();
    match scene.protocol {
        Protocol::Paper => Ok(rng.random_range(0..len as u32)),
        Protocol::Strict => {
            let order = distinct(&mut rng, len, len);
            let free =
                order.into_iter().find(|&item| scene.sets.itself(item).is_none_or(|item| !images.contains(&(item as usize))));
            free.ok_or(Error::TooFewTargets { wanted: 1, available: 0 })
        }
    }
}

/// The inputs of a universal attack, which stay the same in every step.
struct Work<'a> {
    attack: &'a dyn RankingAttack,
    direction: Direction,
    setting: &'a Setting<'a>,
    /// The set of the perturbed images.
    dataset: &'a dyn Dataset,
    target: u32,
    threat: Threat,
}

impl Work<'_> {
    /// The set that the target is in.
    fn targets<'b>(&self, sets: Sets<&'b dyn Ranking>) -> &'b Gallery {
        sets.of(self.attack.perturbs().other()).exact()
    }

    /// Number of values per image.
    fn size(&self) -> usize {
        let (channels, height, width) = self.dataset.shape();
        channels * height * width
    }

    fn tensor(&self, perturbation: &[f32]) -> Result<Tensor> {
        let (channels, height, width) = self.dataset.shape();
        Ok(Tensor::from_slice(perturbation, (1, channels, height, width), &Device::Cpu)?)
    }

    fn clean(&self, ranker: &Ranker<'_>, images: &[usize]) -> Result<Embeddings> {
        embed(ranker.embedder, ranker.sets.gallery.place(), &self.dataset.images(images)?, |row| {
            self.dataset.describe(images[row])
        })
    }

    fn instantiate<'b>(
        &'b self,
        ranker: &Ranker<'b>,
        images: &'b [usize],
        clean: &'b Embeddings,
    ) -> Result<Box<dyn AttackInstance + 'b>> {
        self.attack.instantiate(self.setting.batch(ranker.sets, images, clean, self.target_of(images, ranker)?))
    }

    /// The same target for every image.
    fn target_of(&self, images: &[usize], ranker: &Ranker<'_>) -> Result<Targets> {
        Targets::new(images.len(), vec![self.target; images.len()], 1, None, self.targets(ranker.sets).len())
    }

    fn measure(&self, ranker: &Ranker<'_>, images: &[usize], perturbation: &[f32]) -> Result<Half> {
        let images = match self.direction {
            Direction::Raise => images.to_vec(),
            Direction::Lower => self.nearest(ranker, images)?,
        };
        let (perturbation, targets) = (self.tensor(perturbation)?, self.target_of(&images, ranker)?);
        let mut half = Half::default();
        each_batch(self.attack, ranker, self.setting, (&images, &targets), &mut |batch| {
            let BatchInHand { indices, images: pixels, clean, instance, .. } = batch;
            let ball = Ball::around(pixels, self.threat);
            let mut moved = ball.project(&pixels.broadcast_add(&perturbation.to_device(pixels.device())?)?)?;
            if self.setting.eight_bit {
                moved = ball.eight_bit(&moved)?;
            }
            let whose = |row: usize| perturbed(self.dataset, indices[row]);
            let moved = embed(ranker.embedder, ranker.sets.gallery.place(), &moved, whose)?;
            let Outcome { before, after, mut embedding_shift, .. } = Outcome::of(instance, clean, &moved)?;
            half.before.append(before);
            half.after.append(after);
            half.embedding_shift.append(&mut embedding_shift);
            Ok(())
        })?;
        half.images = images;
        Ok(half)
    }

    /// The images nearest to the target, 1 % of them and at least one; of equal distances the first images.
    fn nearest(&self, ranker: &Ranker<'_>, images: &[usize]) -> Result<Vec<usize>> {
        let mut by_distance = Vec::with_capacity(images.len());
        for images in images.chunks(self.setting.batch_size.max(1)) {
            let points = self.clean(ranker, images)?;
            let distances = self.targets(ranker.sets).distances_to(&points, &vec![self.target; images.len()])?;
            by_distance.extend(distances.into_iter().zip(images.iter().copied()));
        }
        by_distance.sort_by(|a, b| a.0.total_cmp(&b.0));
        by_distance.truncate((images.len() / 100).max(1));
        Ok(by_distance.into_iter().map(|(_, image)| image).collect())
    }
}
