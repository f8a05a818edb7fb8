//! The traits of ranking attacks, their batches and their measures.

use crate::{Objective, Scene, Targets};
use rankle_core::rank::{Resolution, TieGroup};
use rankle_core::{Embeddings, Error, Ranking, Result, Role, Sets};

/// A ranking attack: chooses [`Targets`], indices in the set of the other role, and instantiates them as an [`AttackInstance`] in
/// one embedding space.
pub trait RankingAttack: Send + Sync {
    /// Role of the perturbed images: candidates, whose targets are queries, or queries, whose targets are candidates.
    fn perturbs(&self) -> Role;

    /// Chooses the targets of the attacked images, which are given by their indices in their own set. The draws are keyed by
    /// seed, attack family, direction and image. They depend neither on ε nor on the other images, and a smaller number of
    /// targets is a prefix of a larger one.
    ///
    /// # Errors
    /// [`Error::TooFewTargets`] when there are too few to choose from, [`Error::Empty`] for an attack on no targets,
    /// [`Error::Index`] when an image is not in its set.
    fn choose(&self, images: &[usize], scene: &Scene<'_>) -> Result<Targets>;

    /// The attack on one batch.
    ///
    /// # Errors
    /// [`Error::Shape`] when the targets are not of the kind that this attack needs.
    fn instantiate<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn AttackInstance + 'a>>;
}

/// An attack on one batch: the loss to lower, and the measures of its ranks.
pub trait AttackInstance: Objective {
    /// Measures the ranks when the images of the batch have these embeddings. Ranks are counted on the host.
    ///
    /// # Errors
    /// [`Error::Shape`] when the embeddings are not those of the batch.
    fn measures(&self, embeddings: &Embeddings) -> Result<Measures>;
}

/// Images that are attacked together, with their clean embeddings and targets.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Embedded sets, protocol and seed.
    pub scene: Scene<'a>,
    /// The class of every item of both sets.
    pub labels: Sets<&'a [u32]>,
    /// The indices of the attacked images in their set.
    pub images: &'a [usize],
    /// The embeddings of the clean images.
    pub clean: &'a Embeddings,
    /// The targets of these images.
    pub targets: Targets,
}

impl<'a> Batch<'a> {
    /// The gallery in the compute backend of the search.
    pub fn gallery(&self) -> &'a dyn Ranking {
        self.scene.sets.gallery
    }

    /// The gallery items that the images are; `None` if queries and gallery are two sets.
    pub fn itself(&self) -> Option<Vec<u32>> {
        self.scene.sets.itself(self.images).map(|images| images.iter().map(|&image| image as u32).collect())
    }

    pub(crate) fn check(&self, embeddings: &Embeddings) -> Result<()> {
        if embeddings.len() == self.images.len() {
            return Ok(());
        }
        let expected = format!("({}, {}), one row per image of the batch", self.images.len(), self.gallery().exact().dim());
        Err(Error::Shape { what: "the embedding", actual: vec![embeddings.len(), embeddings.dim()], expected })
    }
}

/// Measured ranks of attacked images, as fractions of the gallery: 0 is the top of a list, 1 its bottom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Per image the mean rank over its targets; empty for the embedding shift.
    pub rank: Vec<f64>,
    /// Per image the mean rank of its preserved items; empty for attacks that preserve none.
    pub preserved: Vec<f64>,
    /// Per image the nearest items of its class in its own list, itself left out; `None` for a class of one. Empty for attacks
    /// with targets.
    pub first_match: Vec<Option<TieGroup>>,
    /// Number of (image, target) pairs that are tied with another gallery item. The embedding shift counts the nearest item of
    /// the class as target.
    pub tied: usize,
    /// Number of (image, target) pairs.
    pub pairs: usize,
    /// Number of distance comparisons behind these ranks, and of those that f32 could not decide.
    pub resolution: Resolution,
}

impl Measures {
    /// The share of (image, target) pairs whose distance equals that of another gallery item; 0 without pairs.
    pub fn tie_share(&self) -> f64 {
        self.tied as f64 / self.pairs.max(1) as f64
    }

    /// Per image the probability, over all orders of tied items, that an item of its class is among the first `k`
    /// (METHOD.md 8.5). Images of a class of one are left out.
    pub fn hits(&self, k: usize) -> Vec<f64> {
        self.first_match.iter().flatten().map(|group| group.within(k)).collect()
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.rank.append(&mut other.rank);
        self.preserved.append(&mut other.preserved);
        self.first_match.append(&mut other.first_match);
        self.tied += other.tied;
        self.pairs += other.pairs;
        self.resolution = self.resolution.and(other.resolution);
    }
}
