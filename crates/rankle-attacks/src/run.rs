//! The harness: attacks images and measures their ranks before and after.

use crate::{
    AttackInstance, Ball, Batch, CandidateAttack, Measures, PartOutcome, Problem, RankingAttack, Scene, Solver, Targets, Threat,
    shifts,
};
use candle_core::{Device, Tensor};
use rankle_core::dataset::check_indices;
use rankle_core::{Dataset, Differentiable, Embedder, Embeddings, Error, Place, Ranking, Result, Role, Sets, in_pieces};
use std::ops::Range;

/// Model, images and settings of an attack. `M` is the model interface that the solver needs.
pub struct Setting<'a, M: Embedder + ?Sized + 'a = dyn Differentiable + 'a> {
    /// The model under attack.
    pub embedder: &'a M,
    /// All images of both sets, embedded by `embedder`, with protocol and seed.
    pub scene: Scene<'a>,
    /// The images of both sets. Item `i` of an embedded set is image `i`.
    pub images: Sets<&'a dyn Dataset>,
    /// Largest number of images that are attacked at once. Costs memory, changes no result.
    pub batch_size: usize,
    /// True if adversarial images are rounded to multiples of 1/255 before they are ranked ([`Ball::eight_bit`]).
    pub eight_bit: bool,
    /// True if the outcome keeps the adversarial images.
    pub keep_images: bool,
}

/// The outcome of an attack. Every list has one entry per attacked image, in the given order.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Measures of the clean images.
    pub before: Measures,
    /// Measures of the adversarial images.
    pub after: Measures,
    /// Distance by which each embedding moved, in units of the model's distance.
    pub embedding_shift: Vec<f64>,
    /// Adversarial images `(n, c, h, w)`, on the CPU; `None` if they are not kept.
    pub adversarial: Option<Tensor>,
    /// Outcomes of the parts of [`crate::Standard`], each alone; empty for other searches.
    pub parts: Vec<PartOutcome>,
}

/// Source of the adversarial images that are measured.
pub(crate) struct Adversary<'a, M: Embedder + ?Sized> {
    /// Norm and radius of the ball.
    pub(crate) threat: Threat,
    /// The adversarial images of a problem, whose images have these places among the attacked ones.
    pub(crate) moved: &'a Moved<'a, M>,
}

pub(crate) type Moved<'a, M> = dyn Fn(&M, &Problem<'_>, Range<usize>) -> Result<Tensor> + 'a;

/// Attacks the images with the given indices in their set, that of [`RankingAttack::perturbs`]. The images of the solver are
/// projected onto the ball once more, so no result shows a perturbation outside of it. To follow or stop a run, pass a model that
/// counts its passes or returns [`Error::Interrupted`].
///
/// # Errors
/// [`Error::Empty`] without images; [`Error::Index`] and [`Error::Shape`] when sets, images and targets do not fit;
/// [`Error::Unrankable`] when an embedding of the model cannot be ranked; and the errors of the embedder, the attack and the
/// solver.
pub fn run<M: Embedder + ?Sized>(
    attack: &dyn RankingAttack,
    solver: &dyn Solver<M>,
    setting: &Setting<'_, M>,
    images: &[usize],
    targets: &Targets,
) -> Result<Outcome> {
    let adversary = Adversary { threat: solver.threat(), moved: &|model, problem, _| solver.solve(model, problem) };
    let mut outcomes = run_on(attack, adversary, setting, &[], images, targets)?;
    Ok(outcomes.swap_remove(0))
}

/// A model, and all images of both sets embedded by it.
pub(crate) struct Ranker<'a, M: Embedder + ?Sized + 'a = dyn Embedder + 'a> {
    pub(crate) embedder: &'a M,
    pub(crate) sets: Sets<&'a dyn Ranking>,
}

/// Does as [`run`], and measures `others`, too: one outcome for the attacked model, then one for each other model.
pub(crate) fn run_on<M: Embedder + ?Sized>(
    attack: &dyn RankingAttack,
    adversary: Adversary<'_, M>,
    setting: &Setting<'_, M>,
    others: &[Ranker<'_>],
    images: &[usize],
    targets: &Targets,
) -> Result<Vec<Outcome>> {
    others.iter().try_for_each(|other| check_sets(other.sets, setting))?;
    let dataset = *setting.images.of(attack.perturbs());
    let mut outcomes = vec![Outcome::default(); 1 + others.len()];
    let (mut kept, mut done) = (Vec::new(), 0);
    each_batch(attack, &setting.source(), setting, (images, targets), &mut |batch| {
        let BatchInHand { indices, images, clean, instance, targets } = batch;
        let place = setting.scene.sets.gallery.place();
        let keys: Vec<u64> = indices.iter().map(|&index| index as u64).collect();
        let problem = Problem { images, keys: &keys, objective: instance, seed: setting.scene.seed, place };
        let moved = (adversary.moved)(setting.embedder, &problem, done..done + indices.len())?;
        let ball = Ball::around(images, adversary.threat);
        let mut adversarial = ball.project(&moved)?;
        if setting.eight_bit {
            adversarial = ball.eight_bit(&adversarial)?;
        }
        let perturbed = |row: usize| perturbed(dataset, indices[row]);
        let mut found = vec![Outcome::of(instance, clean, &embed(setting.embedder, place, &adversarial, perturbed)?)?];
        for other in others {
            let place = other.sets.gallery.place();
            let clean = embed(other.embedder, place, images, |row| dataset.describe(indices[row]))?;
            let moved = embed(other.embedder, place, &adversarial, perturbed)?;
            let instance = attack.instantiate(setting.batch(other.sets, indices, &clean, targets.clone()))?;
            found.push(Outcome::of(&*instance, &clean, &moved)?);
        }
        let adversarial = if setting.keep_images { Some(adversarial.to_device(&Device::Cpu)?) } else { None };
        // Nothing fails from here on, so that no image is counted twice.
        outcomes.iter_mut().zip(found).for_each(|(outcome, found)| outcome.append(found));
        kept.extend(adversarial);
        done += indices.len();
        Ok(())
    })?;
    if setting.keep_images {
        outcomes[0].adversarial = Some(Tensor::cat(&kept, 0)?);
    }
    Ok(outcomes)
}

/// A batch of images with the attack instantiated on them.
pub(crate) struct BatchInHand<'b> {
    pub(crate) indices: &'b [usize],
    /// The clean images.
    pub(crate) images: &'b Tensor,
    /// The embeddings of the clean images.
    pub(crate) clean: &'b Embeddings,
    pub(crate) instance: &'b dyn AttackInstance,
    pub(crate) targets: &'b Targets,
}

/// Passes the images to `hand_on` in embedded batches, with the attack on each batch. No result depends on the batch size, which
/// is halved where a device has no memory for it: `hand_on` keeps nothing of a batch that fails.
pub(crate) fn each_batch<E: Embedder + ?Sized, M: Embedder + ?Sized>(
    attack: &dyn RankingAttack,
    ranker: &Ranker<'_, E>,
    setting: &Setting<'_, M>,
    (images, targets): (&[usize], &Targets),
    hand_on: &mut dyn FnMut(BatchInHand<'_>) -> Result<()>,
) -> Result<()> {
    let (role, sets) = (attack.perturbs(), ranker.sets);
    check(sets, role, setting, images, targets)?;
    let dataset = *setting.images.of(role);
    in_pieces(images.len(), &mut setting.at_once(role, targets), |piece| {
        let indices = &images[piece.clone()];
        let images = sets.gallery.place().to_device(&dataset.images(indices)?)?;
        let targets = targets.of_images(piece);
        let clean = embed(ranker.embedder, sets.gallery.place(), &images, |row| dataset.describe(indices[row]))?;
        let instance = attack.instantiate(setting.batch(sets, indices, &clean, targets.clone()))?;
        hand_on(BatchInHand { indices, images: &images, clean: &clean, instance: &*instance, targets: &targets })
    })
}

impl<M: Embedder + ?Sized> Clone for Setting<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Embedder + ?Sized> Copy for Setting<'_, M> {}

impl<M: Embedder + ?Sized> Setting<'_, M> {
    pub(crate) fn source(&self) -> Ranker<'_, M> {
        Ranker { embedder: self.embedder, sets: self.scene.sets }
    }

    /// The batch of attacked images, embedded in the space of `sets`.
    pub(crate) fn batch<'b>(
        &'b self,
        sets: Sets<&'b dyn Ranking>,
        images: &'b [usize],
        clean: &'b Embeddings,
        targets: Targets,
    ) -> Batch<'b> {
        let labels = self.images.map(|dataset| dataset.labels());
        Batch { scene: Scene { sets, ..self.scene }, labels, images, clean, targets }
    }

    /// Number of images to attack at once: candidate attacks sort lists within a budget, query attacks sort none.
    fn at_once(&self, role: Role, targets: &Targets) -> usize {
        let lists = match role {
            Role::Candidate => {
                CandidateAttack::LIST_BYTES / (4 * self.scene.sets.gallery.len() * targets.targets_per_image().max(1))
            }
            Role::Query => usize::MAX,
        };
        self.batch_size.min(lists).max(1)
    }
}

impl Outcome {
    /// The outcome of a batch, without its images.
    pub(crate) fn of(instance: &dyn AttackInstance, clean: &Embeddings, moved: &Embeddings) -> Result<Self> {
        let (before, after) = (instance.measures(clean)?, instance.measures(moved)?);
        Ok(Self { before, after, embedding_shift: shifts(clean, moved)?, ..Self::default() })
    }

    /// Adds the outcome of another batch.
    fn append(&mut self, mut other: Self) {
        self.before.append(other.before);
        self.after.append(other.after);
        self.embedding_shift.append(&mut other.embedding_shift);
    }
}

/// Checks that there are images, that they are in their set, and that sets and targets fit.
pub(crate) fn check<M: Embedder + ?Sized>(
    sets: Sets<&dyn Ranking>,
    role: Role,
    setting: &Setting<'_, M>,
    images: &[usize],
    targets: &Targets,
) -> Result<()> {
    if images.is_empty() {
        return Err(Error::Empty("images to attack"));
    }
    check_sets(sets, setting)?;
    if targets.images() != images.len() {
        let expected = format!("({}, set), one row per attacked image", images.len());
        return Err(Error::Shape {
            what: "the list of targets",
            actual: vec![targets.images(), targets.targets_per_image()],
            expected,
        });
    }
    check_indices("image", images, sets.of(role).len())
}

/// Checks that the embedded sets belong to the images, and that the images have the input shape of the model.
pub(crate) fn check_sets<M: Embedder + ?Sized>(sets: Sets<&dyn Ranking>, setting: &Setting<'_, M>) -> Result<()> {
    let expected = setting.embedder.input().shape;
    for set in setting.images.iter() {
        let (channels, height, width) = set.shape();
        if set.shape() != expected {
            let expected = format!("{expected:?}, the input of the model");
            return Err(Error::Shape { what: "an image", actual: vec![channels, height, width], expected });
        }
    }
    if sets.is_one() != setting.images.is_one() {
        let expected = "a separate query set for both images and embeddings, or for neither".into();
        return Err(Error::Shape {
            what: "the search",
            actual: vec![sets.iter().count(), setting.images.iter().count()],
            expected,
        });
    }
    for (what, role) in [("the gallery", Role::Candidate), ("the set of queries", Role::Query)] {
        let (embedded, dataset) = (sets.of(role), setting.images.of(role));
        if embedded.len() != dataset.len() {
            let expected = format!("({}), one item per image of '{}'", dataset.len(), dataset.name());
            return Err(Error::Shape { what, actual: vec![embedded.len()], expected });
        }
    }
    Ok(())
}

/// Embeds images and checks that they can be ranked; `whose` names an image in an error.
pub(crate) fn embed<M: Embedder + ?Sized>(
    embedder: &M,
    place: &Place,
    images: &Tensor,
    whose: impl Fn(usize) -> String,
) -> Result<Embeddings> {
    let embeddings = place.normalize(embedder.distance(), &embedder.embed(&place.to_device(images)?)?)?;
    embeddings.check(images.dims()[0], whose)?;
    Ok(embeddings)
}

/// The name of a perturbed image in errors.
pub(crate) fn perturbed(dataset: &dyn Dataset, image: usize) -> String {
    format!("the perturbed {}", dataset.describe(image))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;
    use rankle_core::{Distance, Gallery, Seed, toy};

    /// The lists of a batch of candidates stay within their budget; those of a single image may exceed it.
    #[test]
    fn fewer_candidates_are_attacked_at_once_where_their_lists_are_long() {
        let (model, dataset) = (toy::embedder(0, Distance::Euclidean).unwrap(), toy::dataset(0));
        let at_once = |len: usize, targets: usize, role: Role| {
            let places: Vec<f32> = (0..len).map(|at| at as f32).collect();
            let raw = Tensor::from_vec(places, (len, 1), &Device::Cpu).unwrap();
            let gallery = Gallery::new(&Distance::Euclidean.normalize(&raw).unwrap()).unwrap();
            let scene = Scene { sets: Sets::one(&gallery), protocol: Protocol::Paper, seed: Seed(0) };
            let (embedder, images): (&dyn Embedder, _) = (&model, Sets::one(&dataset as &dyn Dataset));
            let setting = Setting { embedder, scene, images, batch_size: 112, eight_bit: false, keep_images: false };
            setting.at_once(role, &Targets::new(1, vec![0; targets], targets, None, len).unwrap())
        };
        assert_eq!(at_once(10_000, 10, Role::Candidate), 112);
        let (len, targets) = (1_000_000, 10);
        let few = at_once(len, targets, Role::Candidate);
        assert!(
            4 * few * targets * len <= CandidateAttack::LIST_BYTES && 4 * (few + 1) * targets * len > CandidateAttack::LIST_BYTES
        );
        assert_eq!(at_once(len, 1000, Role::Candidate), 1);
        assert_eq!(at_once(len, targets, Role::Query), 112);
    }
}
