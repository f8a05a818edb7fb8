//! The attacks on classifiers: their losses and searches.

use crate::{AnySearch, Apgd, Cost, Misclassification, Objective, Pgd, TargetedDlr, Threat};
use rankle_core::{Error, Place, Result};
use std::{fmt, str::FromStr};

/// Untargeted attacks on classifiers: `fgsm`, `pgd`, `apgd`, `standard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClassifierAttack {
    /// The fast gradient sign method: one step of size ε (Goodfellow et al., arXiv:1412.6572).
    Fgsm,
    /// Projected gradient descent: ten steps of size ε/5 from the clean image (Madry et al., arXiv:1706.06083).
    Pgd,
    /// Auto-PGD on the cross-entropy: 100 steps from the clean image (Croce and Hein, arXiv:2003.01690).
    Apgd,
    /// Auto-PGD on the cross-entropy, then on the targeted DLR for each of nine target classes: AutoAttack (the same paper)
    /// without FAB and Square attack.
    Standard,
}

/// One part of an attack on a classifier: a search, made for each target of its loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassifierPart {
    /// Its name.
    pub name: &'static str,
    /// The loss that it follows.
    pub loss: ClassifierLoss,
    /// The search.
    pub search: AnySearch,
}

/// Losses of attacks on classifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassifierLoss {
    /// [`Misclassification`].
    CrossEntropy,
    /// [`TargetedDlr`], with the classes that have the largest logits at the clean image as targets, one after the other.
    TargetedDlr,
}

impl ClassifierAttack {
    /// All attacks, for messages and menus.
    pub const ALL: [Self; 4] = [Self::Fgsm, Self::Pgd, Self::Apgd, Self::Standard];

    /// The PGD of the paper's code (METHOD.md 12). Unlike in that code, the gradient is that of the classifier in evaluation mode,
    /// without dropout: an attack that follows a network other than its victim is weaker.
    pub fn pgd(threat: Threat) -> Pgd {
        Pgd::from_clean(threat, threat.radius() / 5.0, 10)
    }

    /// Its parts, in their order.
    pub fn parts(self, threat: Threat) -> Vec<ClassifierPart> {
        let by_cross_entropy = |name, search| ClassifierPart { name, loss: ClassifierLoss::CrossEntropy, search };
        let apgd = Apgd::from_clean(threat, Apgd::ITERATIONS);
        match self {
            Self::Fgsm => vec![by_cross_entropy("fgsm", Pgd::from_clean(threat, threat.radius(), 1).into())],
            Self::Pgd => vec![by_cross_entropy("pgd", Self::pgd(threat).into())],
            Self::Apgd => vec![by_cross_entropy("apgd", AnySearch::Apgd(apgd))],
            // The first part is `apgd` itself, so that no image resists this attack that does not resist the other.
            Self::Standard => vec![
                by_cross_entropy("apgd-ce", AnySearch::Apgd(apgd)),
                ClassifierPart {
                    name: "apgd-t",
                    loss: ClassifierLoss::TargetedDlr,
                    search: AnySearch::Apgd(Apgd { random_start: true, ..apgd }),
                },
            ],
        }
    }
}

impl ClassifierPart {
    /// Cost for an image that never leaves its class. Every result is classified.
    pub fn cost(&self) -> Cost {
        let (searches, Cost { gradients, queries }) = (self.loss.searches(usize::MAX) as u64, self.search.cost());
        Cost { gradients: searches * gradients, queries: searches * (queries + 1) }
    }
}

impl ClassifierLoss {
    /// Largest number of target classes, that of AutoAttack.
    pub const TARGETS: usize = 9;

    /// Number of searches for each image of a classifier with this many classes.
    pub fn searches(self, classes: usize) -> usize {
        match self {
            Self::CrossEntropy => 1,
            Self::TargetedDlr => classes.saturating_sub(1).min(Self::TARGETS),
        }
    }

    /// The loss on a batch of images with these labels and targets.
    pub(crate) fn objective(self, labels: Vec<u32>, targets: Vec<u32>, place: &Place) -> Box<dyn Objective> {
        match self {
            Self::CrossEntropy => Box::new(Misclassification { labels, place: place.clone() }),
            Self::TargetedDlr => Box::new(TargetedDlr { labels, targets }),
        }
    }
}

impl fmt::Display for ClassifierAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fgsm => "fgsm",
            Self::Pgd => "pgd",
            Self::Apgd => "apgd",
            Self::Standard => "standard",
        })
    }
}

impl FromStr for ClassifierAttack {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        let unknown = |known| Error::Unknown { what: "attack", name: name.into(), known };
        rankle_registry::named(name, Self::ALL.into_iter()).map_err(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Iterate;

    #[test]
    fn the_searches_are_those_of_the_papers() {
        let threat = Threat::linf(0.3).unwrap();
        let parts = |attack: ClassifierAttack| attack.parts(threat);
        let clean = |step, iterations| AnySearch::Pgd(Pgd::from_clean(threat, step, iterations));
        for (attack, search) in [(ClassifierAttack::Fgsm, clean(0.3, 1)), (ClassifierAttack::Pgd, clean(0.06, 10))] {
            let [ClassifierPart { loss: ClassifierLoss::CrossEntropy, search: found, .. }] = parts(attack)[..] else { panic!() };
            assert_eq!(found, search);
            assert!(matches!(found, AnySearch::Pgd(Pgd { keep: Iterate::Last, .. })));
        }
        let (apgd, standard) = (parts(ClassifierAttack::Apgd), parts(ClassifierAttack::Standard));
        assert_eq!((apgd[0].loss, apgd[0].search), (standard[0].loss, standard[0].search));
        assert_eq!(apgd[0].cost(), Cost { gradients: 100, queries: 2 });
        assert_eq!(standard[1].cost(), Cost { gradients: 900, queries: 18 });
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for attack in ClassifierAttack::ALL {
            assert_eq!(attack.to_string().parse::<ClassifierAttack>().unwrap(), attack);
        }
        let error = "bim".parse::<ClassifierAttack>().unwrap_err().to_string();
        assert!(error.contains("known: fgsm, pgd, apgd, standard"), "{error}");
    }

    #[test]
    fn each_other_class_is_a_target_up_to_nine() {
        let searches = |classes| ClassifierLoss::TargetedDlr.searches(classes);
        assert_eq!([0, 1, 2, 4, 10, 100].map(searches), [0, 0, 1, 3, 9, 9]);
    }
}
