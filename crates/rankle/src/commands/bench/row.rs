//! What is timed, and how much arithmetic it is.

use rankle_attacks::{Direction, Kind};
use rankle_models::Architecture;

/// One thing to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) work: Work,
    /// How many images or queries at once.
    pub(super) images: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Multiply-adds in registers: the yardstick for all others.
    Peak,
    /// Unit embeddings.
    Forward(Architecture),
    /// Embedding, and the input gradient of a cosine distance.
    Pgd(Architecture),
    /// Forward, triplet loss, backward and Adam.
    Training(Architecture),
    /// The input gradient of a query attack with its loss over the whole gallery.
    Query(Kind),
    /// The place of one item in each list of 10,000.
    RankCount,
    /// Every measure of retrieval for some queries among 60,502 items.
    Retrieval,
    /// Adversaries for a batch, 30 steps, and a training step on them.
    AdversarialBatch,
}

/// Items of the test set that is searched, and of one as large as that of Stanford Online Products, with its classes.
pub(super) const GALLERY: usize = 10_000;
pub(super) const ITEMS: usize = 60_502;
pub(super) const ITEM_DIM: usize = 512;
pub(super) const CLASSES: u32 = 11_316;

impl Row {
    pub(super) fn all() -> Vec<Self> {
        use Work::{AdversarialBatch, Forward, Peak, Pgd, Query, RankCount, Retrieval, Training};
        let c2f2 = Architecture::C2f2;
        let rows = [
            (Peak, 1),
            (Forward(c2f2), 100),
            (Forward(c2f2), 500),
            (Pgd(c2f2), 100),
            (Pgd(c2f2), 500),
            (Training(c2f2), 100),
            (Training(c2f2), 500),
            (Pgd(Architecture::LeNet), 100),
            (Pgd(Architecture::ResNet18Of28), 100),
            (Forward(Architecture::ResNet18), 8),
            (Pgd(Architecture::ResNet18), 8),
            (Training(Architecture::ResNet18), 8),
            (Query(Kind::Query(Direction::Raise)), 100),
            (Query(Kind::PreservingQuery(Direction::Raise)), 100),
            (RankCount, 1000),
            (Retrieval, 1024),
            (AdversarialBatch, 1000),
        ];
        rows.map(|(work, images)| Self { work, images }).into()
    }

    pub(super) fn name(self) -> String {
        match self.work {
            Work::Peak => "f32-peak".to_owned(),
            Work::Forward(model) => format!("{model}-forward"),
            Work::Pgd(model) => format!("{model}-pgd-step"),
            Work::Training(model) => format!("{model}-training-step"),
            Work::Query(kind) => format!("{}-step", kind.to_string().trim_end_matches('+')),
            Work::RankCount => "gallery-rank-count".to_owned(),
            Work::Retrieval => "retrieval".to_owned(),
            Work::AdversarialBatch => "adversarial-batch".to_owned(),
        }
    }

    /// Name and size: no two rows share it.
    pub(super) fn id(self) -> String {
        format!("{}/{}", self.name(), self.images)
    }

    /// Which model it needs.
    pub(super) fn architecture(self) -> Option<Architecture> {
        match self.work {
            Work::Peak | Work::Retrieval => None,
            Work::Forward(model) | Work::Pgd(model) | Work::Training(model) => Some(model),
            Work::Query(_) | Work::RankCount | Work::AdversarialBatch => Some(Architecture::C2f2),
        }
    }

    /// Floating-point operations of one call, a multiply-add counted as two; `None` where work is skipped because numbers are
    /// zero, so that nothing can be said beforehand.
    pub(super) fn operations(self) -> Option<f64> {
        let images = self.images as f64;
        match self.work {
            Work::Peak => Some(super::lab::peak_operations() as f64),
            Work::Forward(model) => forward(model).map(|(_, all)| images * all),
            // Dense in both directions, but for the gradient of the pixels, which training does not need. The other networks'
            // gradients skip what ReLU and pooling let no slope through.
            Work::Pgd(model) if is_resnet(model) => forward(model).map(|(_, all)| images * 2.0 * all),
            Work::Training(model) if is_resnet(model) => forward(model).map(|(first, all)| images * (3.0 * all - first)),
            Work::RankCount => Some(2.0 * images * (GALLERY * 1024) as f64),
            Work::Retrieval => Some(2.0 * images * (ITEMS * ITEM_DIM) as f64),
            Work::Pgd(_) | Work::Training(_) | Work::Query(_) | Work::AdversarialBatch => None,
        }
    }
}

fn is_resnet(model: Architecture) -> bool {
    matches!(model, Architecture::ResNet18Of28 | Architecture::ResNet18)
}

/// Operations of the convolutions and dense layers for one image, those of the first layer by themselves as well. Only for models
/// of which a row needs them.
fn forward(model: Architecture) -> Option<(f64, f64)> {
    let (first, all): (u64, u64) = match model {
        // Pixels, inputs of each, outputs.
        Architecture::C2f2 => (28 * 28 * 25 * 32, 28 * 28 * 25 * 32 + 14 * 14 * 25 * 32 * 64 + 3136 * 1024),
        Architecture::ResNet18Of28 | Architecture::ResNet18 => resnet18(model.input()),
        _ => return None,
    };
    Some((2.0 * first as f64, 2.0 * all as f64))
}

/// Multiply-adds of the first convolution and of all: the stem, and four stages of two blocks of two convolutions.
fn resnet18((channels, height, width): (usize, usize, usize)) -> (u64, u64) {
    let pixels = |stride: usize| (height.div_ceil(stride) * width.div_ceil(stride)) as u64;
    let first = pixels(2) * 49 * channels as u64 * 64;
    let stages = [(4, 64, 64), (8, 64, 128), (16, 128, 256), (32, 256, 512)].map(|(stride, inputs, outputs)| {
        let shortcut = if inputs == outputs { 0 } else { inputs * outputs };
        pixels(stride) * (9 * outputs * (inputs + 3 * outputs) + shortcut)
    });
    (first, first + stages.iter().sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_id() {
        let mut ids: Vec<String> = Row::all().into_iter().map(Row::id).collect();
        ids.sort_unstable();
        assert!(ids.windows(2).all(|two| two[0] != two[1]), "{ids:?}");
        assert!(ids.contains(&"c2f2-pgd-step/500".to_owned()) && ids.contains(&"sp-qa-step/100".to_owned()));
    }

    #[test]
    fn operations_of_known_networks() {
        assert_eq!(forward(Architecture::C2f2), Some((1_254_400.0, 27_747_328.0)));
        // torchvision counts 1,814,073,344 multiply-adds, 512,000 of them in the classifier that is left out here.
        assert_eq!(resnet18((3, 224, 224)), (118_013_952, 1_813_561_344));
    }
}
