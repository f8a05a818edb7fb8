//! What a ranking attack is: it chooses targets, bends their places, and measures them.

use crate::{Objective, Scene, Targets};
use rankle_core::rank::{Resolution, TieGroup};
use rankle_core::{Embeddings, Error, Ranking, Result, Role, Sets};

/// Decides what to move. [`Targets`] are indices in the set of the other role; an [`AttackInstance`] is those targets in one embedding
/// space.
pub trait RankingAttack: Send + Sync {
    /// What the perturbed images are: candidates, whose targets are queries, or queries, whose targets are candidates.
    fn perturbs(&self) -> Role;

    /// Chooses the targets of the attacked images, which are known by their indices in their own set. The draws are keyed by
    /// seed, attack family, direction and image: they depend neither on epsilon nor on the other images, and the sets
    /// of different sizes are prefixes of one draw.
    ///
    /// # Errors
    /// [`Error::TooFewTargets`] when there are too few to choose from, [`Error::Empty`] for an attack on nothing,
    /// [`Error::Index`] when an image is not in its set.
    fn choose(&self, images: &[usize], scene: &Scene<'_>) -> Result<Targets>;

    /// The attack on one batch.
    ///
    /// # Errors
    /// [`Error::Shape`] when the targets are not of the kind that this attack needs.
    fn instantiate<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn AttackInstance + 'a>>;
}

/// An attack on one batch: the loss to lower, and the ranks that come of it.
pub trait AttackInstance: Objective {
    /// Where the targets stand when the images of the batch have these embeddings. Ranks are exact, and on the host.
    ///
    /// # Errors
    /// [`Error::Shape`] when the embeddings are not those of the batch.
    fn measures(&self, embeddings: &Embeddings) -> Result<Measures>;
}

/// The images that are attacked together, and what is known about them.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Where the attack takes place.
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
    /// The gallery, where the search is computed.
    pub fn gallery(&self) -> &'a dyn Ranking {
        self.scene.sets.gallery
    }

    /// The gallery items that the images are themselves, where queries are gallery items.
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

/// Where the targets of attacked images stand. Ranks are fractions of the gallery: 0 is the top of a list, 1 its bottom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Per image the mean rank over its targets; empty for the embedding shift.
    pub rank: Vec<f64>,
    /// Per image the mean rank of the items to be preserved; empty for attacks that preserve nothing.
    pub preserved: Vec<f64>,
    /// Per image the nearest items of its class in its own list without itself, `None` for a class of one; empty for attacks
    /// with targets.
    pub first_match: Vec<Option<TieGroup>>,
    /// How many (image, target) pairs are tied with another gallery item; the target of the embedding shift is the nearest item
    /// of the class.
    pub tied: usize,
    /// How many (image, target) pairs there are.
    pub pairs: usize,
    /// What f32 could not decide of the comparisons behind these ranks.
    pub resolution: Resolution,
}

impl Measures {
    /// The share of (image, target) pairs whose distance equals that of another gallery item; 0 of none.
    pub fn tie_share(&self) -> f64 {
        self.tied as f64 / self.pairs.max(1) as f64
    }

    /// Per image whether an item of its class is among the first `k` (METHOD.md 8.5), as the probability over all orders of
    /// tied items; images of a class of one are left out.
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
