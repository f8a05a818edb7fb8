//! The searches that a protocol or a defense prescribes.

use crate::{AnySearch, Apgd, Pgd, Protocol, Search, SearchKind, Square, Standard, Threat};
use rankle_core::{Error, Result};

/// Values for what a [`Search`] leaves open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prescribed {
    /// Values for PGD.
    pub pgd: Pgd,
    /// Values for APGD.
    pub apgd: Apgd,
}

impl Prescribed {
    /// The searches of attacks on single images under a protocol.
    pub fn by(protocol: Protocol, threat: Threat) -> Self {
        match protocol {
            Protocol::Paper => Self { pgd: Pgd::paper(threat), apgd: Apgd::from_clean(threat, Apgd::ITERATIONS) },
            Protocol::Strict => Self { pgd: Pgd::strict(threat), apgd: Apgd::strict(threat) },
        }
    }

    /// The searches of universal perturbations.
    pub fn universal(threat: Threat) -> Self {
        Self::of(Pgd::universal(threat))
    }

    /// PGD, or APGD from the clean image with as many gradients.
    pub fn of(pgd: Pgd) -> Self {
        Self { pgd, apgd: Apgd::from_clean(pgd.threat, pgd.iterations) }
    }

    /// The search that is chosen, PGD where none is named, its open values filled in. Without a random start the default is one search.
    ///
    /// # Errors
    /// [`Error::Refused`] for a parameter that is out of range or that the search does not take, and for restarts that would all be alike.
    pub fn fill(&self, chosen: Search) -> Result<AnySearch> {
        let Search { kind, step, iterations, random_start, restarts, query_budget } = chosen;
        let kind = kind.unwrap_or_default();
        chosen.check().map_err(Error::Refused)?;
        chosen.check_parameters(kind).map_err(Error::Refused)?;
        let threat = self.pgd.threat;
        if let (Some(false), Some(restarts @ 2..)) = (random_start, restarts) {
            return Err(Error::Refused(format!(
                "{restarts} restarts are all alike from the clean image: add a random start (random_start, --random-start)"
            )));
        }
        let starts = |is_random: bool, usual: usize| {
            let random_start = random_start.unwrap_or(is_random || restarts.is_some_and(|restarts| restarts > 1));
            (random_start, restarts.unwrap_or(if random_start { usual } else { 1 }))
        };
        Ok(match kind {
            SearchKind::Pgd => {
                let (random_start, restarts) = starts(self.pgd.random_start, self.pgd.restarts);
                let (step, iterations) = (step.unwrap_or(self.pgd.step), iterations.unwrap_or(self.pgd.iterations));
                AnySearch::Pgd(Pgd { step, iterations, random_start, restarts, ..self.pgd })
            }
            SearchKind::Apgd => {
                let (random_start, restarts) = starts(self.apgd.random_start, self.apgd.restarts);
                let iterations = iterations.unwrap_or(self.apgd.iterations);
                AnySearch::Apgd(Apgd { threat, iterations, random_start, restarts, ..self.apgd })
            }
            SearchKind::Square => AnySearch::Square(Square { threat, queries: query_budget.unwrap_or(Square::QUERIES) }),
            SearchKind::Standard => AnySearch::Standard(Standard { threat }),
        })
    }
}
