//! Rows of the benchmark, and their numbers of floating-point operations.

use super::operation::Operation;
use crate::network::Network;
use rankle_attacks::{AttackId, Direction};
use rankle_models::{Architecture, Vit};
use rankle_record::SearchKind;

/// A piece of work on a number of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) work: Work,
    /// Number of images or queries.
    pub(super) images: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Multiply-adds in registers: the peak speed of the processor, to compare the other rows with.
    Peak,
    /// Embedding of images, normalized to length one.
    Forward(Network),
    /// Input gradient of a cosine distance.
    Pgd(Network),
    /// Training step: forward, triplet loss, backward and Adam.
    Training(Architecture),
    /// Input gradient of a query attack, whose loss runs over the whole gallery.
    Query(AttackId),
    /// A search of [`STEPS`] steps by CA+ with one query.
    Search(SearchKind),
    /// Rank of one item in each list of 10,000.
    RankCount,
    /// All retrieval metrics of queries among 60,502 items.
    Retrieval,
    /// Adversarial images for a batch, in 30 steps, and a training step on them.
    AdversarialBatch,
    /// An operation and its input gradient.
    Operation(Operation),
}

/// Number of images for a network that takes photographs.
const PHOTOGRAPHS: usize = 8;
/// Number of steps of a search.
pub(super) const STEPS: usize = 30;
/// Size of the MNIST test set, and sizes of a gallery like the test set of Stanford Online Products.
pub(super) const GALLERY: usize = 10_000;
pub(super) const ITEMS: usize = 60_502;
pub(super) const ITEM_DIM: usize = 512;
pub(super) const CLASSES: u32 = 11_316;

impl Row {
    pub(super) fn all() -> Vec<Self> {
        use Work::{AdversarialBatch, Forward, Peak, Pgd, Query, RankCount, Retrieval, Search, Training};
        let c2f2 = Architecture::C2f2;
        let rows = [
            (Peak, 1),
            (Forward(c2f2.into()), 100),
            (Forward(c2f2.into()), 500),
            (Pgd(c2f2.into()), 100),
            (Pgd(c2f2.into()), 500),
            (Training(c2f2), 100),
            (Training(c2f2), 500),
            (Pgd(Architecture::LeNet.into()), 100),
            (Pgd(Architecture::RESNET18_OF_28.into()), 100),
            (Forward(Architecture::RESNET18.into()), PHOTOGRAPHS),
            (Pgd(Architecture::RESNET18.into()), PHOTOGRAPHS),
            (Training(Architecture::RESNET18), PHOTOGRAPHS),
            (Query(AttackId::Query(Direction::Raise)), 100),
            (Query(AttackId::PreservingQuery(Direction::Raise)), 100),
            (Search(SearchKind::Pgd), 100),
            (Search(SearchKind::Apgd), 100),
            (RankCount, 1000),
            (Retrieval, 1024),
            (AdversarialBatch, 1000),
        ];
        let rows = rows.into_iter().map(|(work, images)| Self { work, images });
        let photographs = [Architecture::MOBILENET_V2, Architecture::RESNET50, Architecture::Vit(Vit::SMALL)];
        let operations = Operation::ALL.map(|operation| Self { work: Work::Operation(operation), images: PHOTOGRAPHS });
        rows.chain(photographs.into_iter().flat_map(|model| Self::of(&model.into()))).chain(operations).collect()
    }

    /// The rows of a network for photographs.
    pub(super) fn of(network: &Network) -> [Self; 2] {
        [Work::Forward(network.clone()), Work::Pgd(network.clone())].map(|work| Self { work, images: PHOTOGRAPHS })
    }

    /// False for the gradient of a model that has none.
    pub(super) fn is_possible(&self) -> bool {
        !matches!(&self.work, Work::Pgd(Network::Foreign(foreign)) if !foreign.has_gradient())
    }

    pub(super) fn name(&self) -> String {
        match &self.work {
            Work::Peak => "f32-peak".to_owned(),
            Work::Forward(network) => format!("{}-forward", called(network)),
            Work::Pgd(network) => format!("{}-pgd-step", called(network)),
            Work::Training(model) => format!("{model}-training-step"),
            Work::Query(kind) => format!("{}-step", kind.to_string().trim_end_matches('+')),
            Work::Search(search) => format!("{search}-search"),
            Work::RankCount => "gallery-rank-count".to_owned(),
            Work::Retrieval => "retrieval".to_owned(),
            Work::AdversarialBatch => "adversarial-batch".to_owned(),
            Work::Operation(operation) => operation.name().to_owned(),
        }
    }

    /// Name and number of images, unique among all rows.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.name(), self.images)
    }

    /// The model that the work uses, if any.
    pub(super) fn architecture(&self) -> Option<Architecture> {
        match &self.work {
            Work::Peak | Work::Retrieval | Work::Operation(_) => None,
            Work::Forward(network) | Work::Pgd(network) => network.architecture(),
            Work::Training(model) => Some(*model),
            Work::Query(_) | Work::Search(_) | Work::RankCount | Work::AdversarialBatch => Some(Architecture::C2f2),
        }
    }

    /// Floating-point operations of one call, a multiply-add counted as two; `None` if operations on zeros are skipped, so that
    /// their number is not known beforehand, or if another algorithm with fewer operations is used.
    pub(super) fn operations(&self) -> Option<f64> {
        let images = self.images as f64;
        match &self.work {
            Work::Peak => Some(super::lab::peak_operations() as f64),
            Work::Forward(Network::Architecture(Architecture::C2f2)) => Some(2.0 * images * C2F2 as f64),
            Work::RankCount => Some(2.0 * images * (GALLERY * 1024) as f64),
            Work::Retrieval => Some(2.0 * images * (ITEMS * ITEM_DIM) as f64),
            Work::Forward(_)
            | Work::Pgd(_)
            | Work::Training(_)
            | Work::Query(_)
            | Work::Search(_)
            | Work::AdversarialBatch
            | Work::Operation(_) => None,
        }
    }
}

/// The name of a network in rows: an ONNX file goes by its own.
fn called(network: &Network) -> String {
    match network.name_of_file() {
        Some(file) => format!("onnx-{file}"),
        None => network.to_string(),
    }
}

/// Multiply-adds of C2F2 for one image, without those of kernel rows on the padding, which are not computed. Factors: image rows
/// summed over all kernel rows, columns, kernel columns, inputs, outputs.
const C2F2: usize = (5 * 28 - 6) * 28 * 5 * 32 + (5 * 14 - 6) * 14 * 5 * 32 * 64 + 3136 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_id() {
        let mut ids: Vec<String> = Row::all().iter().map(Row::id).collect();
        ids.sort_unstable();
        assert!(ids.windows(2).all(|two| two[0] != two[1]), "{ids:?}");
        assert!(ids.contains(&"c2f2-pgd-step/500".to_owned()) && ids.contains(&"sp-qa-step/100".to_owned()));
    }
}
