//! The searches that a protocol or a defense prescribes.

use crate::{AnySearch, Apgd, Pgd, Protocol, Search, SearchKind, Square, Standard, Threat};
use rankle_core::{Error, Result};

/// Values for what a [`Search`] leaves open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prescribed {
    /// The algorithm, unless another one or the step of [`Pgd`] is chosen.
    pub usual: SearchKind,
    /// Values for PGD.
    pub pgd: Pgd,
    /// Values for APGD.
    pub apgd: Apgd,
}

impl Prescribed {
    /// The searches of attacks on single images under a protocol.
    pub fn by(protocol: Protocol, threat: Threat) -> Self {
        match protocol {
            Protocol::Paper => {
                let apgd = Apgd::from_clean(threat, Apgd::ITERATIONS);
                Self { usual: SearchKind::Pgd, pgd: Pgd::paper(threat), apgd }
            }
            Protocol::Strict => Self { usual: SearchKind::Apgd, pgd: Pgd::strict(threat), apgd: Apgd::strict(threat) },
        }
    }

    /// The searches of universal perturbations under a protocol.
    pub fn universal(protocol: Protocol, threat: Threat) -> Self {
        let usual = match protocol {
            Protocol::Paper => SearchKind::Pgd,
            Protocol::Strict => SearchKind::Apgd,
        };
        Self { usual, ..Self::of(Pgd::universal(threat)) }
    }

    /// PGD, or APGD from the clean image with as many gradients.
    pub fn of(pgd: Pgd) -> Self {
        Self { usual: SearchKind::Pgd, pgd, apgd: Apgd::from_clean(pgd.threat, pgd.iterations) }
    }

    /// The search that is chosen, its open values filled in. Without a random start the default is one search.
    ///
    /// # Errors
    /// [`Error::Refused`] for a parameter that the search does not take.
    pub fn fill(&self, chosen: Search) -> Result<AnySearch> {
        let Search { kind, step, iterations, random_start, restarts, query_budget } = chosen;
        let kind = kind.unwrap_or(if step.is_some() { SearchKind::Pgd } else { self.usual });
        chosen.check_parameters(kind).map_err(Error::Refused)?;
        let threat = self.pgd.threat;
        // Several searches from one start would all be alike.
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
                AnySearch::Apgd(Apgd { threat, iterations, random_start, restarts })
            }
            SearchKind::Square => AnySearch::Square(Square { threat, queries: query_budget.unwrap_or(Square::QUERIES) }),
            SearchKind::Standard => AnySearch::Standard(Standard { threat }),
        })
    }
}
